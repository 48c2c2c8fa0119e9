//! Where a value stands in a row.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objective::integer;

/// Where a value stands in a row: keys and positions (from 0) with dots between them; `*` means every one.
///
/// In a key, `\.` is a dot.
/// A path that begins with `$.` starts at the whole row, where others start at the entry at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ValuePath {
    from_row: bool,
    steps: Vec<String>,
}

const EVERY: &str = "*";

impl From<String> for ValuePath {
    fn from(text: String) -> Self {
        let rest = text.strip_prefix("$.");
        let mut steps = vec![String::new()];
        let mut characters = rest.unwrap_or(&text).chars().peekable();
        while let Some(character) = characters.next() {
            let step = steps.last_mut().expect("there is a first step");
            match character {
                '\\' if characters.peek() == Some(&'.') => step.extend(characters.next()),
                '.' => steps.push(String::new()),
                other => step.push(other),
            }
        }
        Self { from_row: rest.is_some(), steps }
    }
}

impl From<ValuePath> for String {
    fn from(path: ValuePath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(|step| step.replace('.', r"\.")).collect();
        write!(f, "{}{}", if self.from_row { "$." } else { "" }, steps.join("."))
    }
}

/// A row, and the part of it that a record is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub row: &'a Value,
    pub part: &'a Value,
}

impl ValuePath {
    /// The value in an entry, if it is there; the first of several.
    pub(crate) fn find<'a>(&self, entry: Entry<'a>) -> Option<&'a Value> {
        self.find_all(entry).into_iter().next()
    }

    /// All values that the path leads to.
    pub(crate) fn find_all<'a>(&self, entry: Entry<'a>) -> Vec<&'a Value> {
        let mut found = vec![if self.from_row { entry.row } else { entry.part }];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| inside(value, step)).collect();
        }
        found
    }
}

/// The values one step inside another.
fn inside<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    match (value, step) {
        (Value::Object(fields), EVERY) => fields.values().collect(),
        (Value::Array(elements), EVERY) => elements.iter().collect(),
        (Value::Object(fields), key) => fields.get(key).into_iter().collect(),
        (Value::Array(elements), position) => {
            position.parse::<usize>().ok().and_then(|index| elements.get(index)).into_iter().collect()
        }
        _ => vec![],
    }
}

/// A value as people would write it: `4.0` is 4.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => {
            let text = number.to_string();
            let whole = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 1e15);
            Some(match (integer(&text), whole) {
                (None, Some(whole)) => (whole as i64).to_string(),
                _ => text,
            })
        }
        _ => None,
    }
}

/// As much of a value as an error shows.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.chars().count() > SHOWN {
        true => text.chars().take(SHOWN).chain(['…']).collect(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_into_objects_and_lists() {
        let row = json!({"a": {"b.c": [10, {"d": 20}]}, "each": [{"x": 1}, {"x": 2}, {}]});
        let entry = Entry { row: &row, part: &row["each"][1] };
        let path = |text: &str| ValuePath::from(text.to_owned());
        assert_eq!(path("x").find(entry), Some(&json!(2)));
        assert_eq!(path(r"$.a.b\.c.1.d").find(entry), Some(&json!(20)));
        assert_eq!(path("$.each.*.x").find_all(entry), [&json!(1), &json!(2)]);
        assert_eq!(path("$.a.*.0").find(entry), Some(&json!(10)));
        for nowhere in ["y", "$.each.9", "$.each.x", "x.y", "$.a.b.c"] {
            assert_eq!(path(nowhere).find(entry), None, "{nowhere}");
        }
        for text in ["x", r"$.a.b\.c.1", "*.x"] {
            assert_eq!(path(text).to_string(), text);
        }
    }
}
