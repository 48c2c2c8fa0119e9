//! The command line.

mod chat;
mod data_commands;
mod model_arguments;
mod reward_commands;
mod text_commands;
mod watch_command;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use chat::Chat;
use clap::{Args, Parser, Subcommand};
use data_commands::{BadMapping, DataCommand};
use moslim::{Available, Comparison, Datasets, Error, Plan, Progress, Recipe, Run, Surroundings};
use moslim_data::ReadError;
use reward_commands::RewardCommand;
use text_commands::{Generate, Logprobs};
use watch_command::Watch;

/// Aligns one language model with several preferences at once and lets people dial them in the prompt.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All stages of a recipe: start policy, reward model, policy, evaluation, report
    Train(Train),
    /// The start policy only: plain text and answers, without any request
    Sft(Stage),
    /// Reward models alone: train, measure, classify
    #[command(subcommand)]
    Reward(RewardCommand),
    /// Policy optimisation by RLOO only, from a run folder with a start policy and a reward model
    Rloo(PolicyStage),
    /// The same by PPO
    Ppo(PolicyStage),
    /// The same by DPO on the policy's own answers
    OnlineDpo(PolicyStage),
    /// The same by fine-tuning on the best of several answers
    BestOfN(PolicyStage),
    /// The same by GRPO
    Grpo(PolicyStage),
    /// Evaluation and report only, from a run folder with a policy
    Eval(Stage),
    /// Trains and measures several methods on one ground, and writes a report that compares them
    Compare(Compare),
    /// Shows how the policy optimisation of a run is going, with curves, times and warnings
    Watch(Watch),
    /// Answers a question as asked, or continues a text
    Generate(Generate),
    /// A conversation in the terminal, with answers as they come
    Chat(Chat),
    /// Log-probabilities of the tokens of a text
    Logprobs(Logprobs),
    /// Prints a recipe as it would be run
    Recipe(RecipeArguments),
    /// Prints what a recipe takes of memory, stage by stage, and fails if that is more than there is
    Plan(PlanArguments),
    /// Looks at data before anything is trained on it
    #[command(subcommand)]
    Data(DataCommand),
}

#[derive(Args)]
struct RecipeArguments {
    /// An embedded recipe (quickstart, full, truthfulqa, compare) or a TOML file
    #[arg(default_value = "quickstart")]
    recipe: String,
    /// Changes a setting, such as policy.max_steps=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
}

#[derive(Args)]
struct PlanArguments {
    #[command(flatten)]
    recipe: RecipeArguments,
    /// Where tensors live: flex (the CPU), cuda:0 or tch, as far as built in
    #[arg(long, default_value = moslim::default_device())]
    device: String,
    /// The memory to fit into, such as 24GB, instead of what is free now
    #[arg(long, value_parser = Available::parse)]
    memory: Option<Available>,
}

#[derive(Args)]
struct Train {
    #[command(flatten)]
    stage: Stage,
    /// Replaces an earlier run in the same folder
    #[arg(long)]
    overwrite: bool,
    /// Goes on with the run in this folder, with its own recipe; --set names changes that are meant
    #[arg(long, value_name = "DIR", conflicts_with_all = ["recipe", "out", "overwrite"])]
    resume: Option<PathBuf>,
}

#[derive(Args)]
struct Compare {
    /// An embedded recipe (compare) or a TOML file with a table comparison
    #[arg(default_value = "compare")]
    recipe: String,
    /// Changes a setting, such as comparison.seeds=[0]; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// The folder of the comparison [default: runs/NAME-OF-THE-RECIPE]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replaces an earlier comparison in the same folder
    #[arg(long)]
    overwrite: bool,
    /// Goes on with the comparison in this folder, with its own recipe; --set names changes that are meant
    #[arg(long, value_name = "DIR", conflicts_with_all = ["recipe", "out", "overwrite"])]
    resume: Option<PathBuf>,
    /// Trains this method or variant only, and compares it with those that are there; may be repeated, also in several programs at once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where tensors live: flex (the CPU), cuda:0 or tch, as far as built in
    #[arg(long, default_value = moslim::default_device())]
    device: String,
    /// Shows nothing but errors
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
struct PolicyStage {
    #[command(flatten)]
    stage: Stage,
    /// Goes on from the last checkpoint
    #[arg(long)]
    resume: bool,
}

#[derive(Args)]
struct Stage {
    #[command(flatten)]
    recipe: RecipeArguments,
    /// The run folder [default: runs/NAME-OF-THE-RECIPE]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where tensors live: flex (the CPU), cuda:0 or tch, as far as built in
    #[arg(long, default_value = moslim::default_device())]
    device: String,
    /// Shows nothing but errors
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    moslim::keep_freed_memory();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that went away is no reason to fail a second time.
            let _ = writeln!(std::io::stderr(), "error: {}", with_causes(&error));
            let is_bad_data = error.is::<ReadError>() || error.is::<BadMapping>();
            ExitCode::from(match error.downcast_ref() {
                Some(Error::Interrupted { .. }) => 130,
                _ if is_bad_data => 2,
                _ => 1,
            })
        }
    }
}

/// The error and its causes, without those that it quotes already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Train(train) => train.run(),
        Command::Sft(stage) => one_stage(&stage, moslim::pretrain_and_sft),
        Command::Reward(command) => command.run(),
        Command::Rloo(stage) => stage.run("rloo"),
        Command::Ppo(stage) => stage.run("ppo"),
        Command::OnlineDpo(stage) => stage.run("online-dpo"),
        Command::BestOfN(stage) => stage.run("best-of-n"),
        Command::Grpo(stage) => stage.run("grpo"),
        Command::Eval(stage) => one_stage(&stage, moslim::evaluate),
        Command::Compare(compare) => compare.run(),
        Command::Watch(watch) => watch.run(),
        Command::Generate(arguments) => arguments.run(),
        Command::Chat(arguments) => arguments.run(),
        Command::Logprobs(arguments) => arguments.run(),
        Command::Recipe(arguments) => {
            let recipe = Recipe::read(&arguments.recipe, &arguments.changes)?;
            Ok(write!(std::io::stdout(), "{}", recipe.to_toml())?)
        }
        Command::Plan(arguments) => arguments.run(),
        Command::Data(command) => command.run(),
    }
}

fn one_stage(stage: &Stage, work: fn(&Run, &Datasets) -> Result<(), Error>) -> anyhow::Result<()> {
    let run = stage.run()?;
    Ok(work(&run, &Datasets::of(&run.recipe)?)?)
}

impl Train {
    fn run(self) -> anyhow::Result<()> {
        let Self { stage, overwrite, resume } = self;
        if let Some(folder) = resume {
            if Comparison::is_in(&folder) {
                return Err(Error::Unusable {
                    place: folder.display().to_string(),
                    found: "a comparison".into(),
                    expected: "a run; comparisons go on with `moslim compare --resume`".into(),
                })?;
            }
            let run = Run::resume(&folder, &stage.recipe.changes, stage.surroundings()?)?;
            return Ok(moslim::train(&run, Available::on(&stage.device))?);
        }
        let (recipe, surroundings, folder) = (stage.recipe()?, stage.surroundings()?, stage.folder());
        if overwrite {
            // Nothing is replaced by what has nothing to learn from.
            Datasets::of(&recipe)?;
        }
        moslim::make_room(&folder, overwrite)?;
        Ok(moslim::train(&Run::new(recipe, &folder, surroundings)?, Available::on(&stage.device))?)
    }
}

impl Compare {
    fn run(self) -> anyhow::Result<()> {
        let surroundings = surroundings(&self.device, self.quiet)?;
        let comparison = match &self.resume {
            Some(folder) => Comparison::resume(folder, &self.changes, self.only, surroundings)?,
            None => {
                let recipe = Recipe::read(&self.recipe, &self.changes)?;
                let folder = run_folder(self.out.as_deref(), &self.recipe);
                Comparison::new(recipe, self.only, &folder, self.overwrite, surroundings)?
            }
        };
        Ok(comparison.run(Available::on(&self.device))?)
    }
}

/// The folder that a person named, or one named after the recipe.
fn run_folder(out: Option<&Path>, recipe: &str) -> PathBuf {
    let name = Path::new(recipe).file_stem().unwrap_or_default();
    out.map_or_else(|| Path::new("runs").join(name), Path::to_owned)
}

/// The device, what the person sees, and Ctrl-C.
fn surroundings(device: &str, quiet: bool) -> anyhow::Result<Surroundings> {
    let progress = if quiet { Progress::Hidden } else { Progress::Shown };
    let interrupted = Arc::new(AtomicBool::new(false));
    let raised = interrupted.clone();
    ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;
    Ok(Surroundings { device: moslim::device(device)?, progress, interrupted })
}

impl PolicyStage {
    fn run(mut self, algorithm: &str) -> anyhow::Result<()> {
        self.stage.recipe.changes.push(format!("policy.algorithm={algorithm}"));
        let mut run = self.stage.run()?;
        run.resume = self.resume;
        Ok(moslim::optimize_policy(&run, &Datasets::of(&run.recipe)?)?)
    }
}

impl PlanArguments {
    fn run(&self) -> anyhow::Result<()> {
        let recipe = Recipe::read(&self.recipe.recipe, &self.recipe.changes)?;
        let plan = Plan::of(&recipe, &Datasets::of(&recipe)?, &moslim::device(&self.device)?)?;
        let available = self.memory.unwrap_or_else(|| Available::on(&self.device));
        writeln!(std::io::stdout(), "{plan}\n{available}")?;
        Ok(plan.check(available, true)?)
    }
}

impl Stage {
    fn folder(&self) -> PathBuf {
        run_folder(self.out.as_deref(), &self.recipe.recipe)
    }

    fn recipe(&self) -> anyhow::Result<Recipe> {
        Ok(Recipe::read(&self.recipe.recipe, &self.recipe.changes)?)
    }

    fn run(&self) -> anyhow::Result<Run> {
        Ok(Run::new(self.recipe()?, &self.folder(), self.surroundings()?)?)
    }

    fn surroundings(&self) -> anyhow::Result<Surroundings> {
        surroundings(&self.device, self.quiet)
    }
}
