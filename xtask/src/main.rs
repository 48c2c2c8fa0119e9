//! Automation of the workspace: `cargo xtask train | test | ci | bench | docs`.
//!
//! It starts cargo and links nothing of the workspace, so it builds in seconds and never waits for Burn.

mod compare;
mod growth;
mod numbers;
mod side;
mod steps;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::compare::CompareArguments;
use crate::growth::GrowthArguments;
use crate::tasks::TrainArguments;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Automation of the MOSLIM workspace")]
enum Task {
    /// Train, evaluate and report: `moslim train`, built for release.
    Train(TrainArguments),
    /// Run every test of the workspace, documentation and repository rules included.
    Test {
        /// Run only the tests whose name contains this.
        filter: Option<String>,
    },
    /// Run everything that continuous integration runs.
    Ci,
    /// Measure the speed of every crate, whole pieces of work beside PyTorch, or how time and memory grow.
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        /// Run only the benchmarks whose name contains this.
        filter: Option<String>,
        #[command(subcommand)]
        task: Option<BenchTask>,
    },
    /// Build the documentation of every crate and print where it is.
    Docs,
}

#[derive(Debug, clap::Subcommand)]
enum BenchTask {
    /// Execute every piece of work in turns with a twin in Python, and print ratios.
    Compare(CompareArguments),
    /// Execute pieces of work at growing sizes, and print how time and memory grow beside what is expected.
    Growth(GrowthArguments),
}

fn main() -> Result<ExitCode> {
    let root = workspace_root();
    match Task::parse() {
        Task::Train(arguments) => steps::hand_over(&tasks::train(&arguments)),
        Task::Test { filter } => steps::run(&[tasks::test(filter)], &root),
        Task::Ci => steps::run(&tasks::ci(&root)?, &root),
        Task::Bench { task: Some(BenchTask::Compare(arguments)), .. } => compare::compare(&arguments, &root),
        Task::Bench { task: Some(BenchTask::Growth(arguments)), .. } => growth::growth(&arguments, &root),
        Task::Bench { filter, .. } => steps::run(&[tasks::bench(filter)], &root),
        Task::Docs => {
            let code = steps::run(&[tasks::docs()], &root)?;
            if code == ExitCode::SUCCESS {
                println!("{}", tasks::target_directory(&root).join("doc/moslim/index.html").display());
            }
            Ok(code)
        }
    }
}

fn workspace_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("the folder of xtask lies in the workspace").to_owned()
}
