//! `moslim data inspect`

use moslim_reward_model::messages;
use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use moslim_data::{Example, InspectOptions, Inspection, LengthPercentiles};
use moslim_eval::stats::spearman_of_counts;
use moslim_lm::{LmError, Tokenizer};

use super::{Choice, Input, page};

/// `moslim data inspect`
#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    input: Input,
    /// What happens to rows that cannot be used
    #[arg(long, value_enum, default_value = "fail")]
    on_error: Choice,
    /// A model folder, or a model on the hub, whose tokens lengths are counted in and whose chat template shows the examples
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Writes the same as a page with pictures
    #[arg(long)]
    html: Option<PathBuf>,
}

impl Inspect {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mapping = self.input.mapping()?;
        let tokenizer = match &self.tokenizer {
            Some(path) => Some(Tokenizer::read(&moslim::model_folder(path)?)?),
            None => None,
        };
        // Lengths are counted deep inside; what goes wrong there is told afterwards.
        let failed: RefCell<Option<LmError>> = RefCell::default();
        let tokens = tokenizer.as_ref().map(|tokenizer| {
            |text: &str| match tokenizer.encode(text) {
                Ok(ids) => ids.len(),
                Err(error) => {
                    *failed.borrow_mut() = Some(error);
                    0
                }
            }
        });
        let options = InspectOptions {
            mapping: mapping.as_ref(),
            on_error: self.on_error.into(),
            length: tokens.as_ref().map(|length| length as &dyn Fn(&str) -> usize),
        };
        let found = Inspection::of(&self.input.files()?, options)?;
        if let Some(error) = failed.take() {
            return Err(error.into());
        }
        let report = Report::new(found, tokenizer.as_ref())?;
        if let Some(path) = &self.html {
            moslim::write_whole(path, page::page(&report).as_bytes())?;
        }
        let mut out = std::io::stdout().lock();
        match self.json {
            true => Ok(writeln!(out, "{}", report.to_json()?)?),
            false => Ok(print(&mut out, &report)?),
        }
    }
}

/// What was found, and what is made of it for readers.
pub(super) struct Report {
    pub found: Inspection,
    /// What lengths are counted in.
    pub unit: &'static str,
    /// The correlation of every two objectives, in the order of their tables; NaN where one does not vary.
    pub spearman: Vec<f64>,
    pub examples: Vec<Shown>,
}

/// An example as it is shown.
pub(super) struct Shown {
    /// The levels in a few words.
    pub labels: String,
    /// The record as the model will see it.
    pub text: String,
}

impl Report {
    fn new(found: Inspection, tokenizer: Option<&Tokenizer>) -> Result<Self, LmError> {
        let show = |example: &Example| show(example, tokenizer);
        Ok(Self {
            unit: if tokenizer.is_some() { "tokens" } else { "characters" },
            spearman: found.together.iter().map(|table| spearman_of_counts(&table.counts)).collect(),
            examples: found.examples.iter().map(show).collect::<Result<_, _>>()?,
            found,
        })
    }

    pub(super) fn lengths(&self) -> [(&'static str, LengthPercentiles); 2] {
        [("prompts", self.found.prompt_lengths), ("answers", self.found.response_lengths)]
    }

    fn to_json(&self) -> serde_json::Result<String> {
        let mut value = serde_json::to_value(&self.found)?;
        value["length_unit"] = self.unit.into();
        for (table, rho) in value["together"].as_array_mut().into_iter().flatten().zip(&self.spearman) {
            table["spearman"] = (*rho).into();
        }
        for (example, shown) in value["examples"].as_array_mut().into_iter().flatten().zip(&self.examples) {
            example["text"] = shown.text.as_str().into();
        }
        serde_json::to_string(&value)
    }
}

/// A record as text: with a tokenizer, its tokens as text, those of the chat template included.
fn show(example: &Example, tokenizer: Option<&Tokenizer>) -> Result<Shown, LmError> {
    let Example { prompt, response, rejected, labels } = example;
    let whole = |response: &Option<String>| match (tokenizer, response) {
        (None, Some(response)) => Ok(format!("{prompt}\n→ {response}")),
        (None, None) => Ok(prompt.to_string()),
        (Some(tokenizer), None) => tokenizer.decode_whole(&tokenizer.encode_chat(&messages(prompt))?),
        (Some(tokenizer), Some(response)) => {
            let (prompt, response) = tokenizer.encode_exchange(&messages(prompt), response)?;
            tokenizer.decode_whole(&[prompt, response].concat())
        }
    };
    let labels: Vec<String> =
        labels.iter().map(|(objective, level)| format!("{objective}: {level}")).collect();
    let labels = if labels.is_empty() { "no labels".into() } else { labels.join(", ") };
    let text = match rejected {
        None => whole(response)?,
        Some(_) => format!("{}\n\nrejected:\n{}", whole(response)?, whole(rejected)?),
    };
    Ok(Shown { labels, text })
}

/// A number for people.
pub(super) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "–".into() }
}

/// As much of an example as a terminal shows.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 600;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// What was found, for the terminal.
fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let found = &report.found;
    for file in &found.files {
        writeln!(out, "{}: {}, {} records", file.path.display(), file.format, file.records)?;
    }
    let Inspection { records, labeled, comparisons, prompts, duplicates, contradictions, .. } = found;
    writeln!(out, "\nrecords         {records:>9}, {labeled} with labels, {comparisons} pairs")?;
    writeln!(out, "prompts         {prompts:>9}")?;
    writeln!(out, "duplicates      {duplicates:>9}, {contradictions} of them with other labels")?;
    for (reason, n) in &found.dropped.dropped {
        writeln!(out, "dropped         {n:>9}, {reason}")?;
    }
    for error in &found.dropped.first_errors {
        writeln!(out, "  {error}")?;
    }
    for (name, labels) in &found.objectives {
        let all = labels.counts.iter().sum::<usize>() + labels.missing;
        writeln!(out, "\n{name}")?;
        for (level, &n) in labels.levels.iter().zip(&labels.counts) {
            bar(out, level, n, all)?;
        }
        bar(out, "no label", labels.missing, all)?;
        for (source, n) in &labels.sources {
            writeln!(out, "  from {source}: {n}")?;
        }
        if let Some(bounds) = found.bounds.get(name) {
            writeln!(out, "  the next level begins at {bounds:?}")?;
        }
    }
    for (table, rho) in found.together.iter().zip(&report.spearman) {
        let [one, other] = &table.objectives;
        let n: usize = table.counts.iter().flatten().sum();
        writeln!(out, "\n{one} and {other}: {n} answers with both, Spearman correlation {}", number(*rho))?;
    }
    writeln!(out, "\nlengths in {:11} {:>6} {:>6} {:>6} {:>6}", report.unit, "50 %", "90 %", "99 %", "max")?;
    for (name, lengths) in report.lengths() {
        let LengthPercentiles { p50, p90, p99, max, .. } = lengths;
        writeln!(out, "  {name:20} {p50:>6} {p90:>6} {p99:>6} {max:>6}")?;
    }
    for (index, example) in report.examples.iter().enumerate() {
        writeln!(out, "\nexample {}: {}\n{}", index + 1, example.labels, shortened(&example.text))?;
    }
    Ok(())
}

/// A number, its share, and a bar of that length.
fn bar(out: &mut impl Write, name: &str, n: usize, all: usize) -> std::io::Result<()> {
    const WIDTH: f64 = 40.0;
    let share = n as f64 / all.max(1) as f64;
    let bar = "█".repeat((share * WIDTH).round() as usize);
    writeln!(out, "  {name:12} {n:>9} {:>5.1} % {bar}", 100.0 * share)
}
