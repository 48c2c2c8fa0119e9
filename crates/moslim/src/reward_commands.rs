//! Reward models: training one, measuring it, and classifying answers with it.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use moslim::{
    Datasets, Labeled, PolicyFolder, classify, data_files, measure_heads, measure_pairs,
    with_fitting_held_out,
};
use moslim_data::{ObjectiveSchema, Pairs, PreferenceData, Prompt, ReadOptions};
use moslim_eval::classification::{ComparedReport, HeadReport, Measures};
use moslim_reward_model::RewardModelFolder;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::Stage;
use crate::data_commands::{Choice, read_mapping};

/// `moslim reward`
#[derive(Subcommand)]
pub enum RewardCommand {
    /// Trains the reward model of a recipe, and its start policy if the run folder has none; prints how well it classifies
    Fit(Fit),
    /// Measures a reward model on labelled answers
    Eval(Eval),
    /// Classifies answers: reads JSON lines from standard input and writes them back with the probability of every level
    Score(Score),
}

/// `moslim reward fit`
#[derive(Args)]
pub struct Fit {
    #[command(flatten)]
    stage: Stage,
    /// Goes on from the checkpoint that an interrupted training left, if it left one
    #[arg(long)]
    resume: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// A reward model and where it is computed.
#[derive(Args)]
struct Model {
    /// A folder with a reward model, such as runs/quickstart/reward-model
    #[arg(long)]
    model: PathBuf,
    /// Where tensors live
    #[arg(long, default_value = moslim::default_device())]
    device: String,
}

/// `moslim reward eval`
#[derive(Args)]
pub struct Eval {
    #[command(flatten)]
    model: Model,
    /// Labelled answers: files as those of `moslim data inspect`, with labels for the model's objectives
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// A mapping as a TOML file, or a recipe with data.mapping
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// What happens to rows that cannot be used
    #[arg(long, value_enum, default_value = "fail")]
    on_error: Choice,
    /// Makes two labelled answers of a pair
    #[arg(long)]
    label_pairs: bool,
    /// Draws of the prompts that intervals come from
    #[arg(long, default_value = "1000")]
    resamples: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// `moslim reward score`
#[derive(Args)]
pub struct Score {
    #[command(flatten)]
    model: Model,
    /// Answers that are classified together
    #[arg(long, default_value = "256", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
}

impl RewardCommand {
    /// Does what was asked for.
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Fit(fit) => fit.run(),
            Self::Eval(eval) => eval.run(),
            Self::Score(score) => score.run(),
        }
    }
}

impl Model {
    fn read(&self) -> anyhow::Result<RewardModelFolder> {
        Ok(RewardModelFolder::read(&moslim::model_folder(&self.model)?, &moslim::device(&self.device)?)?)
    }
}

impl Fit {
    fn run(&self) -> anyhow::Result<()> {
        let mut run = self.stage.run()?;
        run.resume = self.resume;
        let datasets = Datasets::of(&run.recipe)?;
        if !run.start_folder().exists() {
            moslim::pretrain_and_sft(&run, &datasets)?;
        }
        moslim::train_reward_model(&run, &datasets)?;
        let model = RewardModelFolder::read(&run.reward_model_folder(), &run.device)?;
        let start = PolicyFolder::read(&run.start_folder(), &run.device)?;
        let datasets = with_fitting_held_out(&run, &datasets, &start)?;
        report(&model, &datasets.held_out, run.recipe.evaluation.resamples, run.recipe.seed, self.json)
    }
}

impl Eval {
    fn run(&self) -> anyhow::Result<()> {
        let model = self.model.read()?;
        let options = ReadOptions {
            objectives: Some(model.schema.clone()),
            mapping: self.mapping.as_deref().map(read_mapping).transpose()?,
            on_error: self.on_error.into(),
            pairs: if self.label_pairs { Pairs::Label } else { Pairs::Compare },
        };
        let data = PreferenceData::read(&data_files(&self.data)?, &options)?;
        writeln!(std::io::stderr(), "{}", data.summary())?;
        let data = Labeled { answers: data.answers, pairs: data.comparisons };
        let labels = data.answers.iter().any(|answer| answer.levels.iter().any(Option::is_some));
        let pairs = data.pairs.iter().any(|pair| model.schema.index_of(&pair.objective).is_some());
        if !labels && !pairs {
            bail!(
                "no label and no pair for {}, expected some to measure on",
                names(&model.schema).join(", ")
            );
        }
        report(&model, &data, self.resamples, 0, self.json)
    }
}

fn names(schema: &ObjectiveSchema) -> Vec<&str> {
    schema.objectives().iter().map(|objective| objective.name.as_str()).collect()
}

/// Measures a reward model and prints what was found.
fn report(
    model: &RewardModelFolder,
    data: &Labeled,
    resamples: usize,
    seed: u64,
    as_json: bool,
) -> anyhow::Result<()> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let heads = measure_heads(model, &data.answers, resamples, rng)?;
    let pairs = measure_pairs(model, &data.pairs, resamples, rng)?;
    let named = || names(&model.schema).into_iter().zip(&heads).zip(&pairs);
    let mut out = std::io::stdout().lock();
    if as_json {
        let numbers = named().map(|((name, head), pairs)| Ok((name.to_owned(), to_json(head, pairs)?)));
        let numbers: Map<String, Value> = numbers.collect::<serde_json::Result<_>>()?;
        return Ok(writeln!(out, "{}", Value::Object(numbers))?);
    }
    writeln!(
        out,
        "{:20} {:>7} {:>9} {:>15} {:>9} {:>9} {:>6} {:>6} {:>6}",
        "objective", "answers", "accuracy", "95 %", "balanced", "majority", "mae", "kappa", "ece"
    )?;
    for ((name, head), _) in named().filter(|((_, head), pairs)| head.n > 0 || pairs.is_none()) {
        let HeadReport { n, measures, majority, intervals, .. } = head;
        let Measures { intensity_accuracy, balanced_accuracy, mae, ece, .. } = measures;
        let kappa = measures.quadratic_weighted_kappa;
        let (low, high) = (intervals.intensity_accuracy.low, intervals.intensity_accuracy.high);
        writeln!(
            out,
            "{name:20} {n:>7} {intensity_accuracy:>9.3} {:>15} {balanced_accuracy:>9.3} {majority:>9.3} {mae:>6.3} {kappa:>6.3} {ece:>6.3}",
            format!("{low:.3} to {high:.3}")
        )?;
    }
    for ((name, _), pairs) in named() {
        if let Some(ComparedReport { n, accuracy, interval }) = pairs {
            let (low, high) = (interval.low, interval.high);
            writeln!(
                out,
                "{name:20} {n:>7} pairs, {accuracy:.3} in the right order ({low:.3} to {high:.3})"
            )?;
        }
    }
    Ok(())
}

/// A report with the short name of its kappa, and that on pairs if there are any; numbers that are none are null.
fn to_json(head: &HeadReport, pairs: &Option<ComparedReport>) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(head)?;
    value["kappa"] = json!(head.measures.quadratic_weighted_kappa);
    if let Some(pairs) = pairs {
        value["pairs"] = serde_json::to_value(pairs)?;
    }
    Ok(value)
}

impl Score {
    fn run(&self) -> anyhow::Result<()> {
        let model = self.model.read()?;
        let mut out = std::io::stdout().lock();
        let mut rows = Vec::new();
        for (index, line) in std::io::stdin().lock().lines().enumerate() {
            let place = || format!("standard input:{}", index + 1);
            let line = line.with_context(place)?;
            if line.trim().is_empty() {
                continue;
            }
            rows.push(Row::read(&line).map_err(|problem| anyhow!("{}: {problem}", place()))?);
            if rows.len() == self.batch_size as usize {
                write_scored(&model, std::mem::take(&mut rows), &mut out)?;
            }
        }
        write_scored(&model, rows, &mut out)
    }
}

/// A line to be scored.
struct Row {
    fields: Map<String, Value>,
    prompt: Prompt,
    response: String,
}

impl Row {
    fn read(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let Value::Object(fields) = value else { return Err(format!("{value}, expected an object")) };
        let field = |name: &str| fields.get(name).ok_or_else(|| format!("missing field `{name}`"));
        let prompt = field("prompt")?;
        let prompt = serde_json::from_value(prompt.clone()).map_err(|_| {
            format!("prompt: {prompt}, expected a text or a list of turns that ends in the user's")
        })?;
        let response = field("response")?;
        let response = response.as_str().ok_or_else(|| format!("response: {response}, expected a text"))?;
        Ok(Self { response: response.into(), prompt, fields })
    }
}

fn write_scored(model: &RewardModelFolder, rows: Vec<Row>, out: &mut impl Write) -> anyhow::Result<()> {
    let answers: Vec<(&Prompt, &str)> = rows.iter().map(|row| (&row.prompt, row.response.as_str())).collect();
    let probabilities = classify(model, &answers)?;
    for (Row { mut fields, .. }, probabilities) in rows.into_iter().zip(probabilities) {
        let levels = names(&model.schema).into_iter().zip(&probabilities.0);
        let levels: Map<String, Value> = levels.map(|(name, head)| (name.into(), json!(head))).collect();
        fields.insert("levels".into(), Value::Object(levels));
        writeln!(out, "{}", Value::Object(fields))?;
    }
    // Whoever reads on sees whole batches.
    Ok(out.flush()?)
}
