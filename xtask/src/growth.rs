//! `cargo xtask bench growth`: pieces of work at growing sizes, and how their time and memory grow.

mod axes;
mod chart;
mod curve;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::axes::{AXES, Axis};
use self::chart::draw;
use self::curve::{Curve, Point, points_table, slopes_table, to_json};
use crate::numbers::{bytes, seconds};
use crate::side::{Side, Works};

/// The arguments of `cargo xtask bench growth`.
#[derive(Debug, Args)]
pub struct GrowthArguments {
    /// Write everything that was measured here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the curves here.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// What grows, may be given several times; everything if absent.
    #[arg(long, value_name = "NAME")]
    axis: Vec<String>,
    /// A model: stories260k, llama-7m, llama-25m, llama-125m.
    #[arg(long, value_name = "NAME", default_value = "llama-7m")]
    model: String,
    /// Executions of every size at least; what is short is executed more often.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
}

/// Short works are executed until they took so many seconds, or so often.
const SECONDS_OF_A_POINT: f64 = 2.0;
const MOST_ROUNDS: usize = 25;

/// Measures every axis that was asked for.
///
/// # Errors
/// If an axis does not exist, a file cannot be written, or a piece of work cannot be built, started or executed.
pub fn growth(arguments: &GrowthArguments, root: &Path) -> Result<ExitCode> {
    ensure!(arguments.rounds > 0, "--rounds: 0, expected at least 1");
    let axes = chosen(&arguments.axis)?;
    // What cannot be written is said now, not after minutes.
    for path in arguments.json.iter().chain(&arguments.svg) {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let works = Works::build(root)?;
    let (began, n_points) = (Instant::now(), axes.iter().map(|axis| axis.values.len()).sum::<usize>());
    let mut n_done = 0;
    let mut curves = Vec::new();
    for axis in axes {
        let mut curve = Curve { axis, points: Vec::new() };
        for &value in axis.values {
            let point = measure(&works, axis, value, arguments)?;
            n_done += 1;
            let memory = point.beyond_bytes.map_or_else(String::new, |beyond| format!(", {}", bytes(beyond)));
            let time = seconds(point.seconds);
            eprintln!("[{n_done}/{n_points}] {}, {value} {}: {time}{memory}", axis.name, axis.unit);
            curve.points.push(point);
        }
        curves.push(curve);
    }
    eprintln!("{n_points} of {n_points} sizes in {:.0} s", began.elapsed().as_secs_f64());
    println!("{}\n\n{}", points_table(&curves), slopes_table(&curves));
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&to_json(&arguments.model, &curves))?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &arguments.svg {
        let svg = draw(&arguments.model, &curves);
        fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The axes with these names, in their own order; all of them without names.
fn chosen(names: &[String]) -> Result<Vec<&'static Axis>> {
    for name in names {
        let known = AXES.iter().map(|axis| axis.name).collect::<Vec<_>>();
        ensure!(known.contains(&name.as_str()), "--axis {name}: expected one of {}", known.join(", "));
    }
    let is_chosen = |axis: &&Axis| names.is_empty() || names.iter().any(|name| name == axis.name);
    Ok(AXES.iter().filter(is_chosen).collect())
}

/// Executes a work of one size, in a process of its own.
fn measure(works: &Works, axis: &Axis, value: usize, arguments: &GrowthArguments) -> Result<Point> {
    let mut settings: Vec<String> = axis.fixed.iter().map(ToString::to_string).collect();
    settings.push(format!("{}={value}", axis.dimension));
    let mut side = Side::start(works.command(axis.work, &arguments.model, &settings))?;
    let mut executions = Vec::new();
    let mut spent = 0.0;
    while executions.len() < arguments.rounds || spent < SECONDS_OF_A_POINT && executions.len() < MOST_ROUNDS
    {
        let execution = side.run()?;
        spent += execution.seconds;
        executions.push(execution);
    }
    Ok(Point::of(value, &side.ready, &executions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), AXES.len());
        let names = ["score-objectives", "train-batch"].map(String::from);
        let found: Vec<&str> = chosen(&names).unwrap().iter().map(|axis| axis.name).collect();
        assert_eq!(found, ["train-batch", "score-objectives"]);
        let error = chosen(&["batch".into()]).unwrap_err().to_string();
        assert!(error.starts_with("--axis batch: expected one of train-batch, train-length"), "{error}");
    }

    #[test]
    fn axes_have_different_names_and_rising_values() {
        for (index, axis) in AXES.iter().enumerate() {
            assert!(AXES[..index].iter().all(|other| other.name != axis.name), "{}", axis.name);
            assert!(axis.values.len() >= 4 && axis.values.is_sorted_by(|a, b| a < b), "{}", axis.name);
        }
    }
}
