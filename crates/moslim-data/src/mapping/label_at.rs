//! Where labels stand, and which levels their values are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MappingError;
use crate::value_path::{Entry, scalar, shortened};
use crate::{Level, Objective, ValuePath};

/// Where a label stands, and which level its value is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LabelAt {
    /// A value that is the name of a level.
    Name(ValuePath),
    /// A value that means a level.
    Meaning(LabelMeaning),
}

/// A value that means a level; at most one of `values`, `bins` and `level` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMeaning {
    /// Where the value stands.
    #[serde(default)]
    pub at: Option<ValuePath>,
    /// Where this stands in a value, the rest does not count.
    #[serde(default)]
    pub until: Option<String>,
    /// The level that each value means, as texts.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The numbers from which on the next level begins: one fewer than there are levels.
    #[serde(default)]
    pub bins: Vec<f64>,
    /// Where the path leads to several values, such as judgements of every statement: which of their levels counts.
    /// Without it the first value does.
    #[serde(default)]
    pub of_several: Option<Extreme>,
    /// A level that all answers have, such as that of the preferred one of a pair.
    #[serde(default)]
    pub level: Option<String>,
}

/// An end of the order of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extreme {
    /// The lowest level.
    Lowest,
    /// The highest level.
    Highest,
}

impl LabelAt {
    pub(super) fn level(
        &self,
        objective: &Objective,
        entry: Entry<'_>,
        missing: &[String],
    ) -> Result<Option<Level>, MappingError> {
        let no_meaning = LabelMeaning::default();
        let (at, meaning) = match self {
            Self::Name(path) => (Some(path), &no_meaning),
            Self::Meaning(meaning) => (meaning.at.as_ref(), meaning),
        };
        if let Some(level) = &meaning.level {
            return meaning.named(objective, level).map(Some);
        }
        let values = at.map(|path| path.find_all(entry)).unwrap_or_default();
        let mut levels = values.into_iter().map(|value| meaning.of(objective, value, missing));
        match meaning.of_several {
            None => levels.next().unwrap_or(Ok(None)),
            Some(which) => {
                let levels: Vec<Option<Level>> = levels.collect::<Result<_, _>>()?;
                let levels = levels.into_iter().flatten();
                Ok(if which == Extreme::Lowest { levels.min() } else { levels.max() })
            }
        }
    }
}

impl LabelMeaning {
    fn named(&self, objective: &Objective, name: &str) -> Result<Level, MappingError> {
        objective.level(name).ok_or_else(|| wrong(objective, name, objective.expected_levels()))
    }

    /// The level that a value means; `None` where it means that there is none.
    fn of(
        &self,
        objective: &Objective,
        value: &Value,
        missing: &[String],
    ) -> Result<Option<Level>, MappingError> {
        if value.is_null() {
            return Ok(None);
        }
        let value = scalar(value).ok_or_else(|| {
            wrong(objective, &value.to_string(), format!("one of {}", objective.expected_levels()))
        })?;
        let text = match &self.until {
            Some(until) => value.split_once(until.as_str()).map_or(value.as_str(), |(text, _)| text),
            None => &value,
        };
        let text = text.trim();
        if text.is_empty() || missing.iter().any(|name| name == text) {
            return Ok(None);
        }
        if !self.values.is_empty() {
            let name = self.values.get(text).ok_or_else(|| {
                let expected: Vec<&str> = self.values.keys().map(String::as_str).collect();
                wrong(objective, text, format!("one of {}", expected.join(", ")))
            })?;
            return self.named(objective, name).map(Some);
        }
        if self.bins.is_empty() {
            return self.named(objective, text).map(Some);
        }
        let number: f64 = text
            .parse()
            .ok()
            .filter(|number: &f64| !number.is_nan())
            .ok_or_else(|| wrong(objective, text, "a number".into()))?;
        let level = self.bins.iter().filter(|&&bound| number >= bound).count();
        match level < objective.n_levels() {
            true => Ok(Some(level)),
            false => Err(wrong(objective, text, format!("{} levels for the bins", self.bins.len() + 1))),
        }
    }
}

fn wrong(objective: &Objective, found: &str, expected: String) -> MappingError {
    MappingError::Level { objective: objective.name.clone(), found: shortened(found), expected }
}
