//! Which numbers are shown.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::LONGEST_NAME;

/// A key, or all that begin with it.
enum Key {
    One(&'static str),
    Each(&'static str),
}

/// The groups in their order.
const GROUPS: [(&str, &[Key]); 5] = [
    (
        "reward",
        &[
            Key::One("objective/scores"),
            Key::One("objective/rlhf_reward"),
            Key::Each("objective/scores/"),
            Key::Each("objective/level/"),
        ],
    ),
    ("distance", &[Key::One("objective/kl"), Key::One("policy/entropy_avg")]),
    ("text", &[Key::One("completions/mean_length"), Key::One("completions/clipped_ratio")]),
    (
        "training",
        &[
            Key::One("loss/policy_avg"),
            Key::One("loss/value_avg"),
            Key::One("policy/clipfrac_avg"),
            Key::One("grad_norm"),
            Key::One("lr"),
        ],
    ),
    ("memory", &[Key::One("memory/peak_bytes")]),
];

/// The values of a key over the lines.
pub(super) struct Row {
    /// The key as it is shown.
    pub(super) label: String,
    /// Per line; `None` is a gap.
    pub(super) values: Vec<Option<f64>>,
}

impl Row {
    pub(super) fn new(lines: &[Map<String, Value>], name: &str) -> Self {
        Self { label: label(name), values: series(lines, name) }
    }

    /// The first, the last, the smallest and the largest; zeros if there is none.
    pub(super) fn numbers(&self) -> [f64; 4] {
        let mut found = self.values.iter().flatten().copied();
        let Some(first) = found.next() else {
            return [0.0; 4];
        };
        found.fold([first; 4], |[first, _, min, max], value| [first, value, min.min(value), max.max(value)])
    }
}

/// The groups that any line has a number of.
pub(super) fn find_rows(lines: &[Map<String, Value>]) -> Vec<(&'static str, Vec<Row>)> {
    let rows = |keys: &[Key]| -> Vec<Row> {
        let names = keys.iter().flat_map(|key| match key {
            Key::One(name) => vec![*name],
            Key::Each(prefix) => names(lines, prefix),
        });
        names.map(|name| Row::new(lines, name)).filter(|row| row.values.iter().any(Option::is_some)).collect()
    };
    GROUPS.iter().map(|(group, keys)| (*group, rows(keys))).filter(|(_, rows)| !rows.is_empty()).collect()
}

/// The keys with a prefix, in the order in which they first occur.
pub(super) fn names<'a>(lines: &'a [Map<String, Value>], prefix: &str) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    let all = lines.iter().flat_map(Map::keys).map(String::as_str);
    all.filter(|name| name.starts_with(prefix) && seen.insert(*name)).collect()
}

/// The values of a key; what is no finite number is a gap.
pub(super) fn series(lines: &[Map<String, Value>], name: &str) -> Vec<Option<f64>> {
    lines.iter().map(|line| line.get(name)?.as_f64().filter(|value| value.is_finite())).collect()
}

/// The end of a key, which tells it from others.
fn label(name: &str) -> String {
    let name = printable(name);
    let n = name.chars().count();
    match n > LONGEST_NAME {
        true => std::iter::once('…').chain(name.chars().skip(n + 1 - LONGEST_NAME)).collect(),
        false => name,
    }
}

/// The text without what would move the cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}
