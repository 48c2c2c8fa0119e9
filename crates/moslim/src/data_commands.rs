//! Looking at data, and making it ready, before anything is trained on it.

mod inspect;
mod page;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use inspect::Inspect;
use moslim::DataFiles;
use moslim_data::{
    Comparison, Mapping, ObjectiveSchema, OnError, Pairs, PreferenceData, ReadOptions, check_output_name,
    is_held_out, split_by_prompt, write_comparisons, write_records,
};

/// `moslim data`
#[derive(Subcommand)]
pub enum DataCommand {
    /// Says what files hold: records, levels, missing labels, pairs, duplicates
    Inspect(Inspect),
    /// Writes files of any known format as one of labelled answers in MOSLIM's own, and one of pairs
    Convert(Convert),
    /// Divides answers and pairs by their prompts into those to train on and those held out
    Split(SplitFiles),
    /// Reads files to their end; the first row that cannot be used is an error
    Validate(Validate),
}

/// Files to read, and how.
#[derive(Args)]
struct Input {
    /// JSON lines, JSON, CSV or TSV, each perhaps with .gz or .zst, or Parquet; or a data set of the hub, hf://datasets/owner/name/file
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A mapping as a TOML file, or a recipe with data.mapping: where prompts, answers and labels stand in a row
    #[arg(long)]
    mapping: Option<PathBuf>,
}

/// Files to make labelled answers of.
#[derive(Args)]
struct Labelled {
    #[command(flatten)]
    input: Input,
    /// What happens to rows that cannot be used
    #[arg(long, value_enum, default_value = "fail")]
    on_error: Choice,
    /// Makes two labelled answers of a pair: the preferred one has the highest level, the other one the lowest
    #[arg(long)]
    label_pairs: bool,
}

/// `moslim data convert`
#[derive(Args)]
pub struct Convert {
    #[command(flatten)]
    labelled: Labelled,
    /// The file to write the labelled answers into: .jsonl, .jsonl.gz or .parquet
    #[arg(long, required_unless_present = "pairs_out")]
    out: Option<PathBuf>,
    /// The file to write the pairs into, of the same kinds
    #[arg(long)]
    pairs_out: Option<PathBuf>,
}

/// `moslim data split`
#[derive(Args)]
pub struct SplitFiles {
    #[command(flatten)]
    labelled: Labelled,
    /// The folder to write train.jsonl and held-out.jsonl into, and of pairs train-pairs.jsonl and held-out-pairs.jsonl
    #[arg(long)]
    out: PathBuf,
    /// The share of the prompts that is held out, from 0 to 1
    #[arg(long, value_parser = share, default_value = "0.1")]
    held_out: f64,
    /// Another one holds out other prompts
    #[arg(long, default_value = "0")]
    seed: u64,
}

/// `moslim data validate`
#[derive(Args)]
pub struct Validate {
    #[command(flatten)]
    input: Input,
}

/// What happens to rows that cannot be used.
#[derive(Clone, Copy, ValueEnum)]
pub enum Choice {
    /// The first one is an error
    Fail,
    /// They are dropped and counted
    Skip,
}

impl From<Choice> for OnError {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Fail => Self::Fail,
            Choice::Skip => Self::Skip,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected a number from 0 to 1".into())
}

impl DataCommand {
    /// Does what was asked for.
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Inspect(inspect) => inspect.run(),
            Self::Convert(convert) => convert.run(),
            Self::Split(split) => split.run(),
            Self::Validate(validate) => validate.run(),
        }
    }
}

impl Input {
    fn mapping(&self) -> anyhow::Result<Option<Mapping>> {
        Ok(self.mapping.as_deref().map(read_mapping).transpose()?)
    }

    /// The files, those of the hub fetched.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        Ok(moslim::data_files(&self.files)?)
    }

    fn read(&self, on_error: OnError, pairs: Pairs) -> anyhow::Result<PreferenceData> {
        let options = ReadOptions { objectives: None, mapping: self.mapping()?, on_error, pairs };
        Ok(PreferenceData::read(&self.files()?, &options)?)
    }
}

impl Labelled {
    /// What the files hold, with a word about it.
    fn read(&self) -> anyhow::Result<PreferenceData> {
        let pairs = if self.label_pairs { Pairs::Label } else { Pairs::Compare };
        let data = self.input.read(self.on_error.into(), pairs)?;
        let mut notes = std::io::stderr().lock();
        writeln!(notes, "{}", data.summary())?;
        for (reason, n) in &data.dropped.dropped {
            writeln!(notes, "dropped {n}: {reason}")?;
        }
        Ok(data)
    }
}

impl Convert {
    fn run(&self) -> anyhow::Result<()> {
        for path in self.out.iter().chain(&self.pairs_out) {
            check_output_name(path)?;
        }
        anyhow::ensure!(self.out != self.pairs_out, "--out and --pairs-out name one file, expected two");
        let PreferenceData { schema, answers, comparisons, .. } = self.labelled.read()?;
        match &self.pairs_out {
            Some(path) if comparisons.is_empty() => {
                anyhow::bail!("{}: no pairs, expected some", path.display())
            }
            Some(path) => write_comparisons(path, &comparisons)?,
            None if comparisons.is_empty() => {}
            None => writeln!(
                std::io::stderr(),
                "left out: {} pairs; --pairs-out writes them, --label-pairs makes labelled answers of them",
                comparisons.len()
            )?,
        }
        match (&self.out, schema) {
            (None, _) => Ok(()),
            (Some(path), None) => anyhow::bail!("{}: no labels, expected some to write", path.display()),
            (Some(path), Some(schema)) => {
                write_records(path, &schema, &answers)?;
                Ok(write!(std::io::stdout(), "{}", as_recipe(path, &schema)?)?)
            }
        }
    }
}

impl SplitFiles {
    fn run(&self) -> anyhow::Result<()> {
        let PreferenceData { schema, answers, comparisons, .. } = self.labelled.read()?;
        if schema.is_none() && comparisons.is_empty() {
            anyhow::bail!("no labels and no pairs, expected some to divide");
        }
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let mut out = std::io::stdout().lock();
        if let Some(schema) = schema {
            let (train, held_out) = split_by_prompt(answers, self.held_out, self.seed);
            for (name, records) in [("train.jsonl", train), ("held-out.jsonl", held_out)] {
                let path = self.out.join(name);
                write_records(&path, &schema, &records)?;
                writeln!(out, "{}: {} answers", path.display(), records.len())?;
            }
        }
        if !comparisons.is_empty() {
            let held_out = |pair: &Comparison| is_held_out(&pair.prompt, self.held_out, self.seed);
            let (held_out, train): (Vec<_>, Vec<_>) = comparisons.into_iter().partition(held_out);
            for (name, pairs) in [("train-pairs.jsonl", train), ("held-out-pairs.jsonl", held_out)] {
                let path = self.out.join(name);
                write_comparisons(&path, &pairs)?;
                writeln!(out, "{}: {} pairs", path.display(), pairs.len())?;
            }
        }
        Ok(())
    }
}

impl Validate {
    fn run(&self) -> anyhow::Result<()> {
        let data = self.input.read(OnError::Fail, Pairs::Compare)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", data.summary())?;
        for (reason, n) in &data.dropped.dropped {
            writeln!(out, "dropped {n}: {reason}")?;
        }
        let is_empty = data.answers.is_empty() && data.comparisons.is_empty() && data.prompts.is_empty();
        anyhow::ensure!(!is_empty, "nothing is left, expected records");
        Ok(())
    }
}

/// The part of a recipe that trains on a file.
fn as_recipe(path: &Path, schema: &ObjectiveSchema) -> anyhow::Result<String> {
    let files = DataFiles::One(path.into());
    let data = toml::Table::from_iter([
        ("source".to_owned(), "files".into()),
        ("labeled".to_owned(), toml::Value::try_from(files)?),
        ("objectives".to_owned(), toml::Value::try_from(schema)?),
    ]);
    Ok(toml::to_string(&toml::Table::from_iter([("data".to_owned(), toml::Value::Table(data))]))?)
}

/// A mapping that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct BadMapping {
    path: PathBuf,
    problem: String,
}

/// Reads a mapping, or the one in `[data.mapping]` of a recipe.
pub fn read_mapping(path: &Path) -> Result<Mapping, BadMapping> {
    let bad = |problem: String| BadMapping { path: path.into(), problem: problem.trim_end().into() };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    match table.get("data") {
        // Errors of the text itself know their line.
        None => toml::from_str(&text).map_err(|error| bad(error.to_string())),
        Some(data) => match data.get("mapping") {
            None => Err(bad("no data.mapping, expected one in a recipe".into())),
            Some(mapping) => {
                mapping.clone().try_into().map_err(|error| bad(format!("data.mapping: {error}")))
            }
        },
    }
}
