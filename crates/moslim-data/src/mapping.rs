//! How the rows of somebody's file become records: a table of paths, which is data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::conversation::{as_text, turns_of};
use crate::value_path::{Entry, scalar, shortened};
use crate::{Comparison, Item, LabeledResponse, Level, Objective, ObjectiveSchema, ValuePath};

/// What the rows of a file mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The objectives that its labels are for.
    #[serde(default)]
    pub objectives: Vec<Objective>,
    /// Answers with labels: every row gives one for each of these.
    #[serde(default)]
    pub answers: Vec<AnswerMapping>,
    /// Pairs of which one answer is preferred: every row gives one for each of these.
    #[serde(default)]
    pub comparisons: Vec<ComparisonMapping>,
    /// Values that mean that there is no label, next to `null`, absence and the empty text.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// Where an answer and its labels stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerMapping {
    /// The entries of a row that are answers; the row itself where this is absent.
    #[serde(default)]
    pub each: Option<ValuePath>,
    /// The prompt.
    pub prompt: TextAt,
    /// The answer.
    pub response: TextAt,
    /// The label of each objective.
    #[serde(default)]
    pub labels: BTreeMap<String, LabelAt>,
    /// Who or what gave the labels.
    #[serde(default)]
    pub source: Option<String>,
}

/// Where two answers stand of which one is preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonMapping {
    /// What they are compared in.
    pub objective: String,
    /// The prompt.
    pub prompt: TextAt,
    /// The answer that is preferred.
    pub chosen: TextAt,
    /// The other one.
    pub rejected: TextAt,
    /// Where a value says which of the two is preferred, the values that mean the second; then they change places.
    #[serde(default)]
    pub swapped: Option<OneOf>,
    /// Where a value says that neither is preferred; such a pair is dropped.
    #[serde(default)]
    pub equal: Option<OneOf>,
}

/// A value, and some that it may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOf {
    /// Where it stands.
    pub at: ValuePath,
    /// The values, as texts.
    pub values: Vec<String>,
}

/// Where a text stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TextAt {
    /// The whole value: a text, or a list of turns.
    Whole(ValuePath),
    /// A part of it.
    Part(TextPart),
}

/// A part of a text, or of a list of turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPart {
    /// Where the text stands.
    pub at: ValuePath,
    /// What is cut off at its beginning, if it is there.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What is cut off at its end, if it is there.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Divides the text where it stands last.
    #[serde(default)]
    pub divider: Option<String>,
    /// Whether it divides the text where it stands first instead.
    #[serde(default)]
    pub at_first: bool,
    /// Which side of the divider, or of a list of turns: what comes before the last one, or the last one.
    #[serde(default)]
    pub side: Option<Side>,
}

/// A side of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Everything before the last answer.
    Before,
    /// The last answer.
    Last,
}

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMeaning {
    /// Where the value stands.
    #[serde(default)]
    pub at: Option<ValuePath>,
    /// The level that each value means, as texts.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The numbers from which on the next level begins: one fewer than there are levels.
    #[serde(default)]
    pub bins: Vec<f64>,
    /// A level that all answers have, such as that of the preferred one of a pair.
    #[serde(default)]
    pub level: Option<String>,
}

/// Why a row gives no record.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MappingError {
    /// There is nothing where a text should be.
    #[error("{path}: nothing there, expected a text")]
    Missing {
        /// Where it was looked for.
        path: ValuePath,
    },
    /// The value is no text.
    #[error("{path}: {found}, expected a text or a list of turns")]
    NoText {
        /// Where it stands.
        path: ValuePath,
        /// What stands there.
        found: String,
    },
    /// A prompt says nothing.
    #[error("{path}: empty, expected a text")]
    Empty {
        /// Where it stands.
        path: ValuePath,
    },
    /// The text cannot be divided.
    #[error("{path}: found no {divider:?}")]
    Undivided {
        /// Where it stands.
        path: ValuePath,
        /// What should divide it.
        divider: String,
    },
    /// A label is no level of its objective.
    #[error("{objective}: found {found}, expected {expected}")]
    Level {
        /// The objective.
        objective: String,
        /// The value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Neither answer of a pair is preferred.
    #[error("the two answers are judged equal")]
    Equal,
}

impl Mapping {
    /// The records of a row, in the order of the mapping.
    pub fn items(&self, row: &Value) -> Vec<Result<Item, MappingError>> {
        let whole = Entry { row, part: row };
        let answers = self.answers.iter().flat_map(|mapping| {
            let parts = match &mapping.each {
                Some(each) => each.find_all(whole),
                None => vec![row],
            };
            parts.into_iter().map(|part| self.answer(mapping, Entry { row, part }).map(Item::Answer))
        });
        let comparisons = self.comparisons.iter().map(|mapping| mapping.pair(whole).map(Item::Comparison));
        answers.chain(comparisons).collect()
    }

    /// The objectives as a schema; `None` where there are none.
    ///
    /// # Errors
    /// If their names or levels cannot be used.
    pub fn schema(&self) -> Result<Option<ObjectiveSchema>, crate::SchemaError> {
        match self.objectives.is_empty() {
            true => Ok(None),
            false => ObjectiveSchema::new(self.objectives.clone()).map(Some),
        }
    }

    fn answer(&self, mapping: &AnswerMapping, entry: Entry<'_>) -> Result<LabeledResponse, MappingError> {
        let level = |objective: &Objective| match mapping.labels.get(&objective.name) {
            Some(label) => label.level(objective, entry, &self.missing),
            None => Ok(None),
        };
        Ok(LabeledResponse {
            prompt: mapping.prompt.non_empty(entry)?,
            response: mapping.response.read(entry)?,
            levels: self.objectives.iter().map(level).collect::<Result<_, _>>()?,
            source: mapping.source.clone(),
        })
    }
}

impl ComparisonMapping {
    fn pair(&self, entry: Entry<'_>) -> Result<Comparison, MappingError> {
        let is = |one_of: &Option<OneOf>| one_of.as_ref().is_some_and(|one_of| one_of.holds(entry));
        if is(&self.equal) {
            return Err(MappingError::Equal);
        }
        let (mut chosen, mut rejected) = (self.chosen.read(entry)?, self.rejected.read(entry)?);
        if is(&self.swapped) {
            std::mem::swap(&mut chosen, &mut rejected);
        }
        let prompt = self.prompt.non_empty(entry)?;
        Ok(Comparison { prompt, objective: self.objective.clone(), chosen, rejected })
    }
}

impl OneOf {
    fn holds(&self, entry: Entry<'_>) -> bool {
        self.at.find(entry).and_then(scalar).is_some_and(|value| self.values.contains(&value))
    }
}

impl TextAt {
    fn path(&self) -> &ValuePath {
        match self {
            Self::Whole(path) => path,
            Self::Part(part) => &part.at,
        }
    }

    fn non_empty(&self, entry: Entry<'_>) -> Result<String, MappingError> {
        match self.read(entry)? {
            text if text.trim().is_empty() => Err(MappingError::Empty { path: self.path().clone() }),
            text => Ok(text),
        }
    }

    fn read(&self, entry: Entry<'_>) -> Result<String, MappingError> {
        let path = self.path();
        let value = match path.find(entry) {
            None | Some(Value::Null) => return Err(MappingError::Missing { path: path.clone() }),
            Some(value) => value,
        };
        let no_text = || MappingError::NoText { path: path.clone(), found: shortened(&value.to_string()) };
        match (self, value) {
            (Self::Whole(_), Value::String(text)) => Ok(text.clone()),
            (Self::Whole(_), turns) => turns_of(turns).map(|turns| as_text(&turns)).ok_or_else(no_text),
            (Self::Part(part), Value::String(text)) => part.of(text),
            (Self::Part(part), turns) => {
                let turns = turns_of(turns).ok_or_else(no_text)?;
                let (last, before) = turns.split_last().ok_or_else(no_text)?;
                Ok(match part.side {
                    Some(Side::Before) => as_text(before),
                    Some(Side::Last) => last.content.clone(),
                    None => as_text(&turns),
                })
            }
        }
    }
}

impl TextPart {
    fn of(&self, text: &str) -> Result<String, MappingError> {
        let text = match &self.prefix {
            Some(prefix) => text.strip_prefix(prefix.as_str()).unwrap_or(text),
            None => text,
        };
        let text = match &self.suffix {
            Some(suffix) => text.strip_suffix(suffix.as_str()).unwrap_or(text),
            None => text,
        };
        let Some(divider) = &self.divider else { return Ok(text.into()) };
        let undivided = || MappingError::Undivided { path: self.at.clone(), divider: divider.clone() };
        let sides = match self.at_first {
            true => text.split_once(divider.as_str()),
            false => text.rsplit_once(divider.as_str()),
        };
        let (before, last) = sides.ok_or_else(undivided)?;
        Ok(match self.side {
            Some(Side::Before) => before.trim().into(),
            _ => last.trim().into(),
        })
    }
}

impl LabelAt {
    fn level(
        &self,
        objective: &Objective,
        entry: Entry<'_>,
        missing: &[String],
    ) -> Result<Option<Level>, MappingError> {
        let (at, meaning) = match self {
            Self::Name(path) => (Some(path), None),
            Self::Meaning(meaning) => (meaning.at.as_ref(), Some(meaning)),
        };
        let wrong = |found: &str, expected: String| MappingError::Level {
            objective: objective.name.clone(),
            found: shortened(found),
            expected,
        };
        let named = |name: &str| {
            objective.level(name).map(Some).ok_or_else(|| wrong(name, objective.expected_levels()))
        };
        if let Some(level) = meaning.and_then(|meaning| meaning.level.as_ref()) {
            return named(level);
        }
        let value = match at.and_then(|path| path.find(entry)) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => scalar(value).ok_or_else(|| {
                wrong(&value.to_string(), format!("one of {}", objective.expected_levels()))
            })?,
        };
        let text = value.trim();
        if text.is_empty() || missing.iter().any(|name| name == text) {
            return Ok(None);
        }
        match meaning {
            Some(LabelMeaning { values, .. }) if !values.is_empty() => match values.get(text) {
                Some(name) => named(name),
                None => {
                    let expected: Vec<&str> = values.keys().map(String::as_str).collect();
                    Err(wrong(text, format!("one of {}", expected.join(", "))))
                }
            },
            Some(LabelMeaning { bins, .. }) if !bins.is_empty() => {
                let number: f64 = text.parse().map_err(|_| wrong(text, "a number".into()))?;
                if number.is_nan() {
                    return Err(wrong(text, "a number".into()));
                }
                let level = bins.iter().filter(|&&bound| number >= bound).count();
                match level < objective.n_levels() {
                    true => Ok(Some(level)),
                    false => Err(wrong(text, format!("{} levels for the bins", bins.len() + 1))),
                }
            }
            _ => named(text),
        }
    }
}
