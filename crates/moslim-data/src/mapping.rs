//! How the rows of somebody's file become records: a table of paths, which is data.

mod check;
mod error;
mod label_at;
mod quantiles;
mod text_at;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::Source;
use crate::record_json::as_weight;
use crate::rows::RowValue;
use crate::value_path::{Entry, as_number, scalar, shortened};
use crate::{Comparison, Item, LabeledResponse, Level, Objective, ObjectiveSchema, Prompt, ValuePath};

pub(crate) use quantiles::with_quantiles;

pub use error::MappingError;
pub use label_at::{Bins, Even, Extreme, LabelAt, LabelMeaning};
pub use quantiles::Bounds;
pub use text_at::{Side, Speakers, TextAt, TextPart};

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
    /// Who or what gave the labels: a name, or where it stands.
    #[serde(default)]
    pub source: Option<NameAt>,
    /// Where it stands how much they count; 1 where there is nothing.
    #[serde(default)]
    pub weight: Option<ValuePath>,
}

/// Where two answers stand of which one is preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonMapping {
    /// What they are compared in: a name, or where it stands.
    pub objective: NameAt,
    /// The prompt; without it the answers are conversations, and the prompt is what both begin with, up to a turn of the user.
    #[serde(default)]
    pub prompt: Option<TextAt>,
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

impl Mapping {
    /// The records of a row, in the order of the mapping.
    pub fn items(&self, row: &RowValue<'_>) -> Vec<Result<Item, MappingError>> {
        let whole = Entry { row, part: row };
        let answers = self.answers.iter().flat_map(|mapping| {
            let of_part = |part| self.answers_in(mapping, Entry { row, part });
            mapping.parts(row).into_iter().flat_map(of_part)
        });
        let comparisons = self.comparisons.iter().map(|mapping| mapping.pair(whole));
        let rankings = self.rankings.iter().flat_map(|mapping| mapping.pairs(whole));
        let prompts = self.prompts.iter().flat_map(|mapping| {
            parts(&mapping.each, row).into_iter().map(|part| mapping.prompt.prompt(Entry { row, part }))
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

    /// Who gave each of these labels: a label's own source, otherwise that of the answer.
    fn sources(
        &self,
        mapping: &AnswerMapping,
        levels: &[Option<Level>],
        entry: Entry<'_>,
    ) -> Result<Vec<Option<Source>>, MappingError> {
        let of_all = mapping.source.as_ref().map(|source| source.read_if_there(entry)).transpose()?;
        let of_all: Option<Source> = of_all.flatten().map(Into::into);
        let of_label = |(objective, level): (&Objective, &Option<Level>)| {
            let own = mapping.labels.get(&objective.name).and_then(LabelAt::source);
            match (level, own) {
                (None, _) => Ok(None),
                (Some(_), None) => Ok(of_all.clone()),
                (Some(_), Some(own)) => own.read_if_there(entry).map(|source| source.map(Into::into)),
            }
        };
        self.objectives.iter().zip(levels).map(of_label).collect()
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
            let prompt = mapping.prompt.prompt(entry)?;
            let levels: Vec<Option<Level>> = self.objectives.iter().map(level).collect::<Result<_, _>>()?;
            let sources = self.sources(mapping, &levels, entry)?;
            Ok(LabeledResponse {
                prompt,
                response: response?,
                levels,
                sources,
                weight: mapping.weight(entry)?,
            })
        };
        mapping.response.read_all(entry).into_iter().map(answer).collect()
    }
}

/// The entries of a row; the row itself where none are named.
fn parts<'a>(each: &Option<ValuePath>, row: &'a RowValue<'a>) -> Vec<&'a RowValue<'a>> {
    match each {
        Some(each) => each.find_all(Entry { row, part: row }),
        None => vec![row],
    }
}

impl AnswerMapping {
    fn parts<'a>(&self, row: &'a RowValue<'a>) -> Vec<&'a RowValue<'a>> {
        parts(&self.each, row)
    }

    fn weight(&self, entry: Entry<'_>) -> Result<f64, MappingError> {
        match self.weight.as_ref().and_then(|path| path.find(entry)) {
            None | Some(RowValue::Null) => Ok(1.0),
            Some(value) => as_weight(as_number(value))
                .ok_or_else(|| MappingError::Weight { found: shortened(&value.to_string()) }),
        }
    }
}

impl ComparisonMapping {
    fn pair(&self, entry: Entry<'_>) -> Result<Comparison, MappingError> {
        let is = |one_of: &Option<OneOf>| one_of.as_ref().is_some_and(|one_of| one_of.holds(entry));
        if is(&self.equal) {
            return Err(MappingError::Equal);
        }
        let (prompt, mut chosen, mut rejected) = match &self.prompt {
            Some(prompt) => {
                let answers = (self.chosen.read(entry)?, self.rejected.read(entry)?);
                (prompt.prompt(entry)?, answers.0, answers.1)
            }
            None => Prompt::shared(self.chosen.turns(entry)?, self.rejected.turns(entry)?)
                .ok_or(MappingError::DifferentPrompts)?,
        };
        if prompt.is_empty() {
            return Err(MappingError::Empty { path: self.chosen.path().clone() });
        }
        if chosen == rejected {
            return Err(MappingError::Same);
        }
        if is(&self.swapped) {
            std::mem::swap(&mut chosen, &mut rejected);
        }
        Ok(Comparison { prompt, objective: self.objective.read(entry)?, chosen, rejected })
    }
}

impl RankingMapping {
    /// A pair for each two answers of different rank, the best first.
    fn pairs(&self, entry: Entry<'_>) -> Vec<Result<Comparison, MappingError>> {
        let ranked: Result<Vec<(f64, String)>, MappingError> =
            self.each.find_all(entry).into_iter().map(|part| self.ranked(Entry { part, ..entry })).collect();
        let (prompt, objective) = (self.prompt.prompt(entry), self.objective.read(entry));
        let (mut ranked, prompt, objective) = match (ranked, prompt, objective) {
            (Ok(ranked), Ok(prompt), Ok(objective)) => (ranked, prompt, objective),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return vec![Err(error)],
        };
        ranked.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let pairs = ranked.iter().enumerate().flat_map(|(index, (rank, chosen))| {
            let worse =
                ranked[index + 1..].iter().filter(move |(other, text)| other > rank && text != chosen);
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
        match value.and_then(as_number) {
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

    /// As [`read`](Self::read), where there may be none.
    fn read_if_there(&self, entry: Entry<'_>) -> Result<Option<String>, MappingError> {
        match self {
            Self::At { at } if at.find(entry).is_none_or(RowValue::is_null) => Ok(None),
            source => source.read(entry).map(Some),
        }
    }
}

impl OneOf {
    fn holds(&self, entry: Entry<'_>) -> bool {
        self.at.find(entry).and_then(scalar).is_some_and(|value| self.values.contains(&value))
    }
}
