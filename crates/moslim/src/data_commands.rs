//! Looking at data before anything is trained on it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use moslim_data::{Inspection, Mapping, OnError};

/// `moslim data`
#[derive(Subcommand)]
pub enum DataCommand {
    /// Says what files hold: records, levels, missing labels, pairs, duplicates
    Inspect(Inspect),
}

/// `moslim data inspect`
#[derive(Args)]
pub struct Inspect {
    /// JSON lines, JSON, CSV or TSV, each perhaps with .gz or .zst, or Parquet
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A TOML file that says where prompts, answers and labels stand in a row, for files of no known format
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// What happens to rows that cannot be used
    #[arg(long, value_enum, default_value = "fail")]
    on_error: Choice,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// The first one is an error
    Fail,
    /// They are dropped and counted
    Skip,
}

impl DataCommand {
    /// Does what was asked for.
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Inspect(inspect) => inspect.run(),
        }
    }
}

impl Inspect {
    fn run(&self) -> anyhow::Result<()> {
        let mapping = self.mapping.as_deref().map(read_mapping).transpose()?;
        let on_error = match self.on_error {
            Choice::Fail => OnError::Fail,
            Choice::Skip => OnError::Skip,
        };
        let found = Inspection::of(&self.files, mapping.as_ref(), on_error)?;
        let mut out = std::io::stdout().lock();
        match self.json {
            true => {
                serde_json::to_writer(&mut out, &found)?;
                Ok(writeln!(out)?)
            }
            false => Ok(print(&mut out, &found)?),
        }
    }
}

fn read_mapping(path: &Path) -> anyhow::Result<Mapping> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), error.to_string().trim_end()))
}

fn print(out: &mut impl Write, found: &Inspection) -> std::io::Result<()> {
    for file in &found.files {
        writeln!(out, "{}: {}, {} records", file.path.display(), file.format, file.records)?;
    }
    let Inspection { records, labeled, comparisons, prompts, duplicates, contradictions, .. } = found;
    writeln!(out, "\nrecords         {records:>9}, {labeled} with labels, {comparisons} pairs")?;
    writeln!(out, "prompts         {prompts:>9}")?;
    writeln!(out, "duplicates      {duplicates:>9}, {contradictions} of them with other labels")?;
    for (reason, n) in &found.dropped {
        writeln!(out, "dropped         {n:>9}, {reason}")?;
    }
    for error in &found.first_errors {
        writeln!(out, "  {error}")?;
    }
    for (name, labels) in &found.objectives {
        let all = labels.counts.iter().sum::<usize>() + labels.missing;
        writeln!(out, "\n{name}")?;
        for (level, &n) in labels.levels.iter().zip(&labels.counts) {
            bar(out, level, n, all)?;
        }
        bar(out, "no label", labels.missing, all)?;
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
