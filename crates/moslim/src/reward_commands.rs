//! Reward models: training one, measuring it, classifying answers with it, and teaching it more.

mod add_objective;
mod explain;
mod report;
mod score;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use moslim::{Datasets, Labeled, Opinion, data_files, fitting_labeled};
use moslim_data::{ObjectiveSchema, Pairs, PreferenceData, ReadOptions};
use moslim_reward_model::RewardModelFolder;

use self::add_objective::AddObjective;
use self::explain::Explain;
use self::report::Report;
use self::score::Score;
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
    /// Prints every term of the score of one answer, from the raw outputs of the heads to the reward
    Explain(Explain),
    /// Teaches a trained reward model further objectives; prints how well it classifies, and what it forgot
    AddObjective(AddObjective),
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
    /// A folder with a reward model, such as runs/quickstart/reward-model; with --adapter, the language model it belongs to
    #[arg(long)]
    model: PathBuf,
    /// A folder with the adapter of a reward model, such as runs/mine/reward-model-adapter
    #[arg(long)]
    adapter: Option<PathBuf>,
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
    /// Measures the mean of all opinions, such as those of the members of an ensemble, instead of the model's own
    #[arg(long)]
    mean: bool,
    /// Draws of the prompts that intervals come from
    #[arg(long, default_value = "1000")]
    resamples: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Writes a page with pictures: reliability, confusion, risk by certainty
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl RewardCommand {
    /// Does what was asked for.
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Fit(fit) => fit.run(),
            Self::Eval(eval) => eval.run(),
            Self::Score(score) => score.run(),
            Self::Explain(explain) => explain.run(),
            Self::AddObjective(add) => add.run(),
        }
    }
}

impl Model {
    fn read(&self) -> anyhow::Result<RewardModelFolder> {
        let (folder, device) = (moslim::model_folder(&self.model)?, moslim::device(&self.device)?);
        let inner = folder.join("reward-model");
        if !folder.join("config.json").exists() && inner.exists() {
            bail!(
                "{}: the folder of a run, expected that of a model, such as {}",
                folder.display(),
                inner.display()
            );
        }
        Ok(match &self.adapter {
            None => RewardModelFolder::read(&folder, &device)?,
            Some(adapter) => {
                RewardModelFolder::read_adapter(&moslim::model_folder(adapter)?, &folder, &device)?
            }
        })
    }

    /// The error of one who asks a model for opinions that it does not have.
    fn without_opinions(&self) -> anyhow::Error {
        anyhow!("{self}: no uncertainty, expected a model trained with reward_model.uncertainty")
    }
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.adapter.as_ref().unwrap_or(&self.model).display().fmt(f)
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
        let held_out = fitting_labeled(&run, &model.config, &model.tokenizer, &datasets.held_out)?;
        let resamples = run.recipe.evaluation.resamples;
        let report = Report::of(&model, &held_out, Opinion::Own, resamples, run.recipe.seed)?;
        report.print(self.json)
    }
}

impl Eval {
    fn run(&self) -> anyhow::Result<()> {
        let model = self.model.read()?;
        if self.mean && model.uncertainty.is_none() {
            return Err(self.model.without_opinions());
        }
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
        let opinion = if self.mean { Opinion::Mean } else { Opinion::Own };
        let report = Report::of(&model, &data, opinion, self.resamples, 0)?;
        if let Some(path) = &self.html {
            moslim::write_whole(path, report.page().as_bytes())?;
        }
        report.print(self.json)
    }
}

fn names(schema: &ObjectiveSchema) -> Vec<&str> {
    schema.objectives().iter().map(|objective| objective.name.as_str()).collect()
}
