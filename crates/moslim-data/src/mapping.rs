//! How the rows of somebody's file become records: a table of paths, which is data.

mod label_at;
mod text_at;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::value_path::{Entry, scalar, shortened};
use crate::{Comparison, Item, LabeledResponse, Objective, ObjectiveSchema, ValuePath};

pub use label_at::{Extreme, LabelAt, LabelMeaning};
pub use text_at::{Side, TextAt, TextPart};

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
    /// Answers in an order of preference: every row gives a pair for each two of them that differ in rank.
    #[serde(default)]
    pub rankings: Vec<RankingMapping>,
    /// Prompts without an answer: every row gives one for each of these.
    #[serde(default)]
    pub prompts: Vec<PromptMapping>,
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
    /// The answer; where the path leads to several, each is one.
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
    /// What they are compared in: a name, or where it stands.
    pub objective: NameAt,
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

/// Where answers stand that are ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingMapping {
    /// What they are compared in: a name, or where it stands.
    pub objective: NameAt,
    /// The prompt.
    pub prompt: TextAt,
    /// The entries of a row that are answers.
    pub each: ValuePath,
    /// The answer in an entry.
    pub response: TextAt,
    /// Its rank in an entry, a number; the lowest is the best.
    pub rank: ValuePath,
}

/// Where a prompt stands that has no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptMapping {
    /// The entries of a row that are prompts; the row itself where this is absent.
    #[serde(default)]
    pub each: Option<ValuePath>,
    /// The prompt.
    pub prompt: TextAt,
}

/// A name, or where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NameAt {
    /// The name.
    Name(String),
    /// Where a row has it.
    At {
        /// Where.
        at: ValuePath,
    },
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
    /// A rank is no number.
    #[error("{path}: found {found}, expected a number")]
    Rank {
        /// Where it stands.
        path: ValuePath,
        /// What stands there.
        found: String,
    },
    /// Neither answer of a pair is preferred.
    #[error("the two answers are judged equal")]
    Equal,
}

impl Mapping {
    /// The records of a row, in the order of the mapping.
    pub fn items(&self, row: &Value) -> Vec<Result<Item, MappingError>> {
        let whole = Entry { row, part: row };
        let parts = |each: &Option<ValuePath>| match each {
            Some(each) => each.find_all(whole),
            None => vec![row],
        };
        let answers = self.answers.iter().flat_map(|mapping| {
            let of_part = |part| self.answers_in(mapping, Entry { row, part });
            parts(&mapping.each).into_iter().flat_map(of_part)
        });
        let comparisons = self.comparisons.iter().map(|mapping| mapping.pair(whole));
        let rankings = self.rankings.iter().flat_map(|mapping| mapping.pairs(whole));
        let prompts = self.prompts.iter().flat_map(|mapping| {
            parts(&mapping.each).into_iter().map(|part| mapping.prompt.non_empty(Entry { row, part }))
        });
        let pairs = comparisons.chain(rankings).map(|pair| pair.map(Item::Comparison));
        let prompts = prompts.map(|prompt| prompt.map(Item::Prompt));
        answers.map(|answer| answer.map(Item::Answer)).chain(pairs).chain(prompts).collect()
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

    fn answers_in(
        &self,
        mapping: &AnswerMapping,
        entry: Entry<'_>,
    ) -> Vec<Result<LabeledResponse, MappingError>> {
        let level = |objective: &Objective| match mapping.labels.get(&objective.name) {
            Some(label) => label.level(objective, entry, &self.missing),
            None => Ok(None),
        };
        let answer = |response: Result<String, MappingError>| {
            Ok(LabeledResponse {
                prompt: mapping.prompt.non_empty(entry)?,
                response: response?,
                levels: self.objectives.iter().map(level).collect::<Result<_, _>>()?,
                source: mapping.source.clone(),
            })
        };
        mapping.response.read_all(entry).into_iter().map(answer).collect()
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
        Ok(Comparison { prompt, objective: self.objective.read(entry)?, chosen, rejected })
    }
}

impl RankingMapping {
    /// A pair for each two answers of different rank, the best first.
    fn pairs(&self, entry: Entry<'_>) -> Vec<Result<Comparison, MappingError>> {
        let ranked: Result<Vec<(f64, String)>, MappingError> =
            self.each.find_all(entry).into_iter().map(|part| self.ranked(Entry { part, ..entry })).collect();
        let (prompt, objective) = (self.prompt.non_empty(entry), self.objective.read(entry));
        let (mut ranked, prompt, objective) = match (ranked, prompt, objective) {
            (Ok(ranked), Ok(prompt), Ok(objective)) => (ranked, prompt, objective),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return vec![Err(error)],
        };
        ranked.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let pairs = ranked.iter().enumerate().flat_map(|(index, (rank, chosen))| {
            let worse = ranked[index + 1..].iter().filter(move |(other, _)| other > rank);
            worse.map(move |(_, rejected)| (chosen, rejected))
        });
        let pairs: Vec<Result<Comparison, MappingError>> = pairs
            .map(|(chosen, rejected)| {
                let (chosen, rejected) = (chosen.clone(), rejected.clone());
                Ok(Comparison { prompt: prompt.clone(), objective: objective.clone(), chosen, rejected })
            })
            .collect();
        if pairs.is_empty() { vec![Err(MappingError::Equal)] } else { pairs }
    }

    fn ranked(&self, entry: Entry<'_>) -> Result<(f64, String), MappingError> {
        let value = self.rank.find(entry);
        let number = value.and_then(scalar).and_then(|text| text.trim().parse::<f64>().ok());
        match number.filter(|number| !number.is_nan()) {
            Some(number) => Ok((number, self.response.read(entry)?)),
            None => Err(MappingError::Rank {
                path: self.rank.clone(),
                found: value.map_or("nothing".into(), |value| shortened(&value.to_string())),
            }),
        }
    }
}

impl NameAt {
    fn read(&self, entry: Entry<'_>) -> Result<String, MappingError> {
        match self {
            Self::Name(name) => Ok(name.clone()),
            Self::At { at } => TextAt::Whole(at.clone()).non_empty(entry),
        }
    }
}

impl OneOf {
    fn holds(&self, entry: Entry<'_>) -> bool {
        self.at.find(entry).and_then(scalar).is_some_and(|value| self.values.contains(&value))
    }
}
