//! Where a value stands in a row.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::objective::integer;
use crate::rows::RowValue;

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
    pub row: &'a RowValue<'a>,
    pub part: &'a RowValue<'a>,
}

impl ValuePath {
    /// The value in an entry, if it is there; the first of several.
    pub(crate) fn find<'a>(&self, entry: Entry<'a>) -> Option<&'a RowValue<'a>> {
        self.find_all(entry).into_iter().next()
    }

    /// All values that the path leads to.
    pub(crate) fn find_all<'a>(&self, entry: Entry<'a>) -> Vec<&'a RowValue<'a>> {
        let mut found = vec![if self.from_row { entry.row } else { entry.part }];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| inside(value, step)).collect();
        }
        found
    }
}

/// The values one step inside another.
fn inside<'a>(value: &'a RowValue<'a>, step: &str) -> Vec<&'a RowValue<'a>> {
    match (value, step) {
        (RowValue::Object(fields), EVERY) => fields.values().collect(),
        (RowValue::Array(elements), EVERY) => elements.iter().collect(),
        // The last one holds, as elsewhere, where a key stands twice.
        (RowValue::Object(fields), key) => fields
            .iter()
            .filter(|(name, _)| *name == key)
            .last()
            .map(|(_, value)| value)
            .into_iter()
            .collect(),
        (RowValue::Array(elements), position) => {
            position.parse::<usize>().ok().and_then(|index| elements.get(index)).into_iter().collect()
        }
        _ => vec![],
    }
}

/// A value as people would write it: `4.0` is 4.
pub(crate) fn scalar(value: &RowValue<'_>) -> Option<String> {
    match value {
        RowValue::Str(text) => Some(text.to_string()),
        RowValue::Bool(value) => Some(value.to_string()),
        RowValue::Number(number) => {
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

/// A number, or a text that is one.
pub(crate) fn as_number(value: &RowValue<'_>) -> Option<f64> {
    number(&scalar(value)?)
}

/// The number that a text is.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| !number.is_nan())
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
        let row = RowValue::from(&row);
        let entry = Entry { row: &row, part: row.get("each").get(1) };
        let path = |text: &str| ValuePath::from(text.to_owned());
        let found = |text| path(text).find_all(entry).into_iter().filter_map(scalar).collect::<Vec<_>>();
        assert_eq!(found("x"), ["2"]);
        assert_eq!(found(r"$.a.b\.c.1.d"), ["20"]);
        assert_eq!(found("$.each.*.x"), ["1", "2"]);
        assert_eq!(found("$.a.*.0"), ["10"]);
        for nowhere in ["y", "$.each.9", "$.each.x", "x.y", "$.a.b.c"] {
            assert_eq!(path(nowhere).find(entry), None, "{nowhere}");
        }
        for text in ["x", r"$.a.b\.c.1", "*.x"] {
            assert_eq!(path(text).to_string(), text);
        }
    }
}
