//! The command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use moslim::{Datasets, Error, PolicyFolder, Progress, Recipe, Run};
use moslim_data::Request;
use moslim_lm::{SamplingParams, TokenRng};

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
    Train(Stage),
    /// The start policy only: plain text and answers, without any request
    Sft(Stage),
    /// The reward model only, from a run folder with a start policy
    Reward(Stage),
    /// Policy optimisation by RLOO only, from a run folder with a start policy and a reward model
    Rloo(Stage),
    /// Evaluation and report only, from a run folder with a policy
    Eval(Stage),
    /// Answers a question as asked
    Generate(Generate),
    /// Prints a recipe as it would be run
    Recipe(RecipeArguments),
}

#[derive(Args)]
struct RecipeArguments {
    /// An embedded recipe (quickstart, full, truthfulqa) or a TOML file
    #[arg(default_value = "quickstart")]
    recipe: String,
    /// Changes a setting, such as policy.max_steps=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
}

#[derive(Args)]
struct Stage {
    #[command(flatten)]
    recipe: RecipeArguments,
    /// The run folder [default: runs/NAME-OF-THE-RECIPE]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replaces an earlier run in the same folder
    #[arg(long)]
    overwrite: bool,
    /// Where tensors live: flex (the CPU), cuda:0 or tch, as far as built in
    #[arg(long, default_value = moslim::default_device())]
    device: String,
    /// Shows nothing but errors
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
struct Generate {
    /// A policy folder, such as runs/quickstart/policy
    #[arg(long)]
    model: PathBuf,
    /// The question
    #[arg(long)]
    prompt: String,
    /// The levels asked for, such as helpfulness=5,honesty=2
    #[arg(long, default_value = "")]
    want: String,
    /// 0 takes the most probable token
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Keeps the most probable tokens up to this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// The longest answer, in tokens
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Decides the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where tensors live
    #[arg(long, default_value = moslim::default_device())]
    device: String,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that went away is no reason to fail a second time.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            let interrupted =
                error.downcast_ref().is_some_and(|error| matches!(error, Error::Interrupted(_)));
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Train(stage) => {
            let folder = stage.folder();
            if folder.exists() {
                match stage.overwrite {
                    true => std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?,
                    false => return Err(Error::RunExists(folder).into()),
                }
            }
            Ok(moslim::train(&stage.run()?)?)
        }
        Command::Sft(stage) => one_stage(&stage, moslim::pretrain_and_sft),
        Command::Reward(stage) => one_stage(&stage, moslim::train_reward_model),
        Command::Rloo(stage) => one_stage(&stage, moslim::optimize_policy),
        Command::Eval(stage) => one_stage(&stage, moslim::evaluate),
        Command::Generate(arguments) => generate(&arguments),
        Command::Recipe(arguments) => {
            let recipe = Recipe::read(&arguments.recipe, &arguments.changes)?;
            Ok(write!(std::io::stdout(), "{}", recipe.to_toml())?)
        }
    }
}

fn one_stage(stage: &Stage, work: fn(&Run, &Datasets) -> Result<(), Error>) -> anyhow::Result<()> {
    let run = stage.run()?;
    Ok(work(&run, &Datasets::of(&run.recipe)?)?)
}

impl Stage {
    fn folder(&self) -> PathBuf {
        let name = Path::new(&self.recipe.recipe).file_stem().unwrap_or_default();
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }

    fn run(&self) -> anyhow::Result<Run> {
        let recipe = Recipe::read(&self.recipe.recipe, &self.recipe.changes)?;
        let progress = if self.quiet { Progress::Hidden } else { Progress::Shown };
        let interrupted = Arc::new(AtomicBool::new(false));
        let raised = interrupted.clone();
        ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed))
            .context("cannot watch for Ctrl-C")?;
        Ok(Run::new(recipe, &self.folder(), moslim::device(&self.device)?, progress, interrupted)?)
    }
}

fn generate(arguments: &Generate) -> anyhow::Result<()> {
    let policy = PolicyFolder::read(&arguments.model, &moslim::device(&arguments.device)?)?;
    let request = match arguments.want.as_str() {
        "" => Request::free(&policy.schema),
        want => Request::parse(want, &policy.schema)?,
    };
    anyhow::ensure!(
        arguments.temperature >= 0.0,
        "--temperature {}: expected at least 0",
        arguments.temperature
    );
    anyhow::ensure!(
        arguments.top_p > 0.0 && arguments.top_p <= 1.0,
        "--top-p {}: expected above 0 and at most 1",
        arguments.top_p
    );
    let params = SamplingParams {
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        max_new_tokens: arguments.max_new_tokens,
    };
    let rng = TokenRng::new(arguments.seed, 0);
    let answers = policy.answer(&[(&arguments.prompt, &request)], &params, &rng)?;
    Ok(writeln!(std::io::stdout(), "{}", policy.lm.tokenizer.decode(&answers[0].tokens)?)?)
}
