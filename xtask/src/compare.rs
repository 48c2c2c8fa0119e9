//! `cargo xtask bench compare`: our side and its twin in Python, in turns, and what their times and memory come to.

mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::summary::{Rounds, Row, table};
use crate::side::{Execution, Side, Works};

/// The arguments of `cargo xtask bench compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// A Python with torch, transformers and TRL, for the other side; without it our own is measured alone.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Write the list of results here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A model, may be given several times: stories260k, llama-7m, llama-25m, llama-125m.
    #[arg(long, value_name = "NAME", default_value = "llama-7m")]
    model: Vec<String>,
    /// A piece of work, may be given several times; all of them if absent.
    #[arg(long, value_name = "NAME")]
    work: Vec<String>,
    /// Executions of every work by every side.
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,
}

/// A piece of work, and its shape as it stands in the results.
const WORKS: [(&str, &str); 6] = [
    ("train", "16x128"),
    ("generate-16", "16x(32+64)"),
    ("generate-64", "64x(32+64)"),
    ("rloo", "16x4x(32+64)"),
    ("score", "256x(20..400)"),
    ("logprobs", "2048x151936"),
];

/// The dense product that says what the machine can do, which every floor is taken from.
const PRODUCT: &str = "matmul";

/// Measures everything that was asked for.
///
/// # Errors
/// If a side cannot be started, ends early, or speaks another language, or a file cannot be written.
pub fn compare(arguments: &CompareArguments, root: &Path) -> Result<ExitCode> {
    ensure!(arguments.rounds > 0, "--rounds: 0, expected at least 1");
    let known = |work: &String| WORKS.iter().any(|(name, _)| name == work);
    if let Some(unknown) = arguments.work.iter().find(|work| !known(work)) {
        let names = WORKS.map(|(name, _)| name).join(", ");
        anyhow::bail!("--work {unknown}: expected one of {names}");
    }
    let works = Works::build(root)?;
    let measure = |work: &str, model: &str| {
        eprintln!("{work} of {model}");
        rounds(&works, work, model, arguments, root)
    };
    let product = measure(PRODUCT, "llama-7m")?;
    let rate = product.best_rate();
    eprintln!("the fastest dense product: {:.0} GFLOP/s", rate / 1e9);
    let mut rows = vec![product.time(PRODUCT, "1024x1024x1024", "-", rate)];
    for model in &arguments.model {
        for (work, shape) in WORKS {
            if arguments.work.is_empty() || arguments.work.iter().any(|asked| asked == work) {
                let measured = measure(work, model)?;
                rows.push(measured.time(work, shape, model, rate));
                rows.extend(measured.memory(work, shape, model));
            }
        }
    }
    println!("{}", table(&rows));
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&rows.iter().map(Row::to_json).collect::<Vec<_>>())?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every execution of one work by both sides, which take turns in beginning.
fn rounds(
    works: &Works,
    work: &str,
    model: &str,
    arguments: &CompareArguments,
    root: &Path,
) -> Result<Rounds> {
    let (name, settings) = as_ours(work);
    let mut ours = Side::start(works.command(name, model, &settings))?;
    let mut theirs = match &arguments.python {
        Some(python) => Some(Side::start(theirs(python, work, model, root))?),
        None => None,
    };
    let mut rounds = Rounds::new(&ours.ready);
    for round in 0..arguments.rounds {
        let (mut of_us, mut of_them): (Option<Execution>, Option<Execution>) = (None, None);
        for turn in 0..2 {
            match (round + turn) % 2 {
                0 => of_us = Some(ours.run()?),
                _ => of_them = theirs.as_mut().map(Side::run).transpose()?,
            }
        }
        rounds.push(of_us.expect("it had its turn"), of_them);
    }
    Ok(rounds)
}

/// What our side calls a work.
fn as_ours(work: &str) -> (&str, Vec<String>) {
    match work.strip_prefix("generate-") {
        Some(prompts) => ("generate", vec![format!("prompts={prompts}")]),
        None => (work, vec![]),
    }
}

fn theirs(python: &Path, work: &str, model: &str, root: &Path) -> std::process::Command {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = std::process::Command::new(python);
    command.current_dir(root).arg("tools/reference/works.py").args([work, model]);
    command.args(["--threads", &threads.to_string()]);
    command
}
