//! A run in the terminal: how its numbers went, where its time goes, and how long it still takes.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::number::compact;

mod rows;
mod sparkline;
#[cfg(test)]
mod tests;

use rows::{Row, find_rows, names, printable};
use sparkline::{bar, sparkline};

/// Wider is not easier to read.
const WIDEST: usize = 400;

/// A sparkline of fewer cells says nothing; a narrow terminal has fewer columns instead.
const NARROWEST_LINE: usize = 8;

/// How many of the latest lines say how long a step takes.
const RECENT: usize = 50;

/// What of the key's end is shown.
const LONGEST_NAME: usize = 32;

/// Renders the metrics of a stage, a line per step, for a terminal that is `width` characters wide.
///
/// Steps are counted by the lines' `step`, and the time by the seconds under `timing/`.
/// What no line has is left out; what a line lacks, or has as something else than a number, is a gap.
///
/// ```
/// let line = |score| serde_json::Map::from_iter([("objective/scores".to_owned(), score)]);
/// let view = moslim::view(&[line(0.5.into()), line(1.5.into())], "policy", 60, Some(8));
/// assert!(view.starts_with("policy: step 2 of 8, 25 %\n"));
/// assert!(view.contains("▁█"));
/// ```
pub fn view(lines: &[Map<String, Value>], stage: &str, width: usize, total_steps: Option<usize>) -> String {
    let groups = find_rows(lines);
    let times = names(lines, "timing/").into_iter().map(|name| Row::new(lines, name)).collect::<Vec<_>>();
    let layout = Layout::new(groups.iter().flat_map(|(_, rows)| rows).chain(&times), width.min(WIDEST));
    let mut text = heading(lines, stage, total_steps);
    for (index, (group, rows)) in groups.iter().enumerate() {
        // Once is enough.
        let columns = if index == 0 { NUMBERS.as_slice() } else { &[] };
        text += &layout.group(group, rows, columns);
    }
    text += &layout.times(&times, lines.len());
    text.lines().flat_map(|line| line.chars().take(width).chain(['\n'])).collect()
}

/// The stage, how far it is, and how long it took and takes.
fn heading(lines: &[Map<String, Value>], stage: &str, total_steps: Option<usize>) -> String {
    let stage = printable(stage);
    let Some(last) = lines.last() else {
        return format!("{stage}: no step yet\n");
    };
    let step = last.get("step").and_then(Value::as_f64).map_or(lines.len() as u64, |step| step as u64);
    let mut text = format!("{stage}: step {step}");
    if let Some(total) = total_steps {
        let share = step as f64 / total.max(1) as f64;
        write!(text, " of {total}, {:.0} %", 100.0 * share.min(1.0)).ok();
    }
    let seconds: Vec<f64> = lines.iter().map(seconds_of).collect();
    let so_far: f64 = seconds.iter().sum();
    if so_far > 0.0 {
        let recent = &seconds[seconds.len().saturating_sub(RECENT)..];
        let per_step = recent.iter().sum::<f64>() / recent.len() as f64;
        let left = total_steps.map(|total| (total as u64).saturating_sub(step));
        if let Some(left) = left.filter(|&left| left > 0) {
            write!(text, ", about {} left", duration(left as f64 * per_step)).ok();
        }
        write!(text, ", {} so far", duration(so_far)).ok();
    }
    text + "\n"
}

/// The seconds of a line.
fn seconds_of(line: &Map<String, Value>) -> f64 {
    let times = line.iter().filter(|(name, _)| name.starts_with("timing/"));
    times.filter_map(|(_, value)| value.as_f64()).filter(|seconds| *seconds > 0.0).sum()
}

/// A time in its two largest units.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", compact(seconds)),
        (0, 0, minutes) => format!("{minutes} min {} s", whole % 60),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{} d {} h", days, hours % 24),
    }
}

/// What is said of a series in numbers, in the order of [`Row::numbers`].
const NUMBERS: [&str; 4] = ["first", "last", "min", "max"];

/// What is said of a share of the time.
const TIMES: [&str; 2] = ["share", "a step"];

/// Where the columns are.
struct Layout {
    name: usize,
    line: usize,
    number: usize,
    n_numbers: usize,
}

impl Layout {
    fn new<'a>(rows: impl Iterator<Item = &'a Row>, width: usize) -> Self {
        let mut layout = Self { name: 0, line: 0, number: TIMES[1].len(), n_numbers: 0 };
        let mut n_lines = 0;
        for row in rows {
            layout.name = layout.name.max(row.label.chars().count());
            let longest = row.numbers().map(|number| compact(number).len()).into_iter().max();
            layout.number = layout.number.max(longest.unwrap_or(0));
            n_lines = n_lines.max(row.values.len());
        }
        let left = width.saturating_sub(2 + layout.name + 2);
        layout.n_numbers = (left.saturating_sub(NARROWEST_LINE) / (layout.number + 2)).min(NUMBERS.len());
        let left = left.saturating_sub(layout.n_numbers * (layout.number + 2));
        layout.line = left.min(n_lines).max(NARROWEST_LINE);
        layout
    }

    /// The columns' names, behind that of a group.
    fn heading(&self, group: &str, columns: &[&str]) -> String {
        let columns = columns.iter().map(|&column| column.to_owned());
        self.line(&format!("{group:<0$}", 2 + self.name), "", columns)
    }

    /// The group's series.
    fn group(&self, group: &str, rows: &[Row], columns: &[&str]) -> String {
        let row = |row: &Row| {
            self.line(&self.name(row), &sparkline(&row.values, self.line), row.numbers().map(compact))
        };
        self.heading(group, columns) + &rows.iter().map(row).collect::<String>()
    }

    /// The shares of the time, as bars.
    fn times(&self, times: &[Row], n_lines: usize) -> String {
        let seconds = |row: &Row| row.values.iter().flatten().filter(|seconds| **seconds > 0.0).sum::<f64>();
        let total: f64 = times.iter().map(seconds).sum();
        if total <= 0.0 {
            return String::new();
        }
        let row = |row: &Row| {
            let share = seconds(row) / total;
            let per_step = compact(seconds(row) / n_lines.max(1) as f64);
            let numbers = [format!("{:.0} %", 100.0 * share), format!("{per_step} s")];
            self.line(&self.name(row), &bar(share, self.line), numbers)
        };
        self.heading("time", &TIMES) + &times.iter().map(row).collect::<String>()
    }

    fn name(&self, row: &Row) -> String {
        format!("  {:<1$}", row.label, self.name)
    }

    fn line(&self, name: &str, drawn: &str, numbers: impl IntoIterator<Item = String>) -> String {
        let mut text = format!("{name}  {drawn:<0$}", self.line);
        for number in numbers.into_iter().take(self.n_numbers) {
            write!(text, "  {number:>0$}", self.number).ok();
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    }
}
