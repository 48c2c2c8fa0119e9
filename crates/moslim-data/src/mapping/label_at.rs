//! Where labels stand, and which levels their values are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MappingError, NameAt};
use crate::rows::RowValue;
use crate::value_path::{Entry, number, scalar, shortened};
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
    /// From which numbers on the next level begins.
    #[serde(default)]
    pub bins: Option<Bins>,
    /// Where the path leads to several values, such as judgements of every statement: which of their levels counts.
    /// Without it the first value does.
    #[serde(default)]
    pub of_several: Option<Extreme>,
    /// A level that all answers have, such as that of the preferred one of a pair.
    #[serde(default)]
    pub level: Option<String>,
    /// Who or what gave this label, where that is not what gave the answer's others: a name, or where it stands.
    #[serde(default)]
    pub source: Option<NameAt>,
}

/// From which numbers on the next level begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bins {
    /// From these, one fewer than there are levels, ascending.
    From(Vec<f64>),
    /// From those that give every level as many of the values in the files as ties allow.
    Of(Even),
}

/// How levels share the values of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Even {
    /// Every level has as many.
    Quantiles,
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
    /// Who gave this label, where it is said of this one.
    pub(super) fn source(&self) -> Option<&NameAt> {
        match self {
            Self::Name(_) => None,
            Self::Meaning(meaning) => meaning.source.as_ref(),
        }
    }

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

    /// A value as text; `None` where it means that there is no label.
    pub(super) fn text(
        &self,
        objective: &Objective,
        value: &RowValue<'_>,
        missing: &[String],
    ) -> Result<Option<String>, MappingError> {
        if value.is_null() {
            return Ok(None);
        }
        let mut text = scalar(value).ok_or_else(|| {
            wrong(objective, &value.to_string(), format!("one of {}", objective.expected_levels()))
        })?;
        if let Some(end) = self.until.as_deref().and_then(|until| text.find(until)) {
            text.truncate(end);
        }
        let text = text.trim();
        let is_missing = text.is_empty() || missing.iter().any(|name| name == text);
        Ok((!is_missing).then(|| text.to_owned()))
    }

    /// The level that a value means; `None` where it means that there is none.
    fn of(
        &self,
        objective: &Objective,
        value: &RowValue<'_>,
        missing: &[String],
    ) -> Result<Option<Level>, MappingError> {
        let Some(text) = self.text(objective, value, missing)? else { return Ok(None) };
        let text = text.as_str();
        if !self.values.is_empty() {
            let name = self.values.get(text).ok_or_else(|| {
                let expected: Vec<&str> = self.values.keys().map(String::as_str).collect();
                wrong(objective, text, format!("one of {}", expected.join(", ")))
            })?;
            return self.named(objective, name).map(Some);
        }
        let Some(bins) = &self.bins else { return self.named(objective, text).map(Some) };
        let Bins::From(bounds) = bins else {
            return Err(MappingError::Quantiles { objective: objective.name.clone() });
        };
        let number = number(text).ok_or_else(|| wrong(objective, text, "a number".into()))?;
        let level = bounds.iter().filter(|&&bound| number >= bound).count();
        match level < objective.n_levels() {
            true => Ok(Some(level)),
            false => Err(wrong(objective, text, format!("{} levels for the bins", bounds.len() + 1))),
        }
    }
}

fn wrong(objective: &Objective, found: &str, expected: String) -> MappingError {
    MappingError::Level { objective: objective.name.clone(), found: shortened(found), expected }
}
