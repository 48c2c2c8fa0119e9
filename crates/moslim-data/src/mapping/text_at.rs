//! Where prompts and answers stand, and what is cut off around them.

use serde::{Deserialize, Serialize};

use super::MappingError;
use crate::prompt::{continuation, turns_in, turns_of};
use crate::rows::RowValue;
use crate::value_path::{Entry, shortened};
use crate::{Prompt, SpokenTurn, ValuePath};

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
    /// Where this stands, the text begins after it.
    #[serde(default)]
    pub after: Option<String>,
    /// Where this stands, the text ends before it.
    #[serde(default)]
    pub until: Option<String>,
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
    /// What stands before every turn in a text that is a conversation.
    #[serde(default)]
    pub speakers: Option<Speakers>,
    /// Which side of the divider, or of the turns: what comes before the last one, or the last one.
    #[serde(default)]
    pub side: Option<Side>,
}

/// What stands before every turn in a text that is a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speakers {
    /// Before what the user says, such as `\n\nHuman:`.
    pub user: String,
    /// Before what the assistant says.
    pub assistant: String,
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

impl TextAt {
    pub(super) fn path(&self) -> &ValuePath {
        match self {
            Self::Whole(path) => path,
            Self::Part(part) => &part.at,
        }
    }

    pub(super) fn non_empty(&self, entry: Entry<'_>) -> Result<String, MappingError> {
        match self.read(entry)? {
            text if text.trim().is_empty() => Err(MappingError::Empty { path: self.path().clone() }),
            text => Ok(text),
        }
    }

    /// A text, or what is said in several turns; the last one if they do not begin with the assistant's.
    pub(super) fn read(&self, entry: Entry<'_>) -> Result<String, MappingError> {
        Ok(self.found(self.value(entry)?)?.text())
    }

    /// A question, or a conversation that ends in one.
    pub(super) fn prompt(&self, entry: Entry<'_>) -> Result<Prompt, MappingError> {
        let prompt = match self.found(self.value(entry)?)? {
            Found::Text(text) => text.into(),
            Found::Turns(turns) => Prompt::of_turns(turns)
                .map_err(|role| MappingError::LastTurn { path: self.path().clone(), role })?,
        };
        match prompt.is_empty() {
            true => Err(MappingError::Empty { path: self.path().clone() }),
            false => Ok(prompt),
        }
    }

    /// A conversation.
    pub(super) fn turns(&self, entry: Entry<'_>) -> Result<Vec<SpokenTurn>, MappingError> {
        match self.found(self.value(entry)?)? {
            Found::Turns(turns) => Ok(turns),
            Found::Text(text) => {
                Err(MappingError::NoTurns { path: self.path().clone(), found: shortened(&text) })
            }
        }
    }

    /// All texts that the path leads to; one that is missing if it leads nowhere.
    pub(super) fn read_all(&self, entry: Entry<'_>) -> Vec<Result<String, MappingError>> {
        match self.path().find_all(entry).as_slice() {
            [] | [_] => vec![self.read(entry)],
            values => values.iter().map(|value| Ok(self.found(value)?.text())).collect(),
        }
    }

    fn value<'a>(&self, entry: Entry<'a>) -> Result<&'a RowValue<'a>, MappingError> {
        match self.path().find(entry) {
            None | Some(RowValue::Null) => Err(MappingError::Missing { path: self.path().clone() }),
            Some(value) => Ok(value),
        }
    }

    fn no_text(&self, found: &str) -> MappingError {
        MappingError::NoText { path: self.path().clone(), found: shortened(found) }
    }

    /// The part of a value that is meant.
    fn found(&self, value: &RowValue<'_>) -> Result<Found, MappingError> {
        let part = match self {
            Self::Whole(_) => None,
            Self::Part(part) => Some(part),
        };
        let mut turns = match (value, part) {
            (RowValue::Str(text), None) => return Ok(Found::Text(text.to_string())),
            (RowValue::Str(text), Some(part)) => {
                let text = part.cut(text);
                match &part.speakers {
                    None => return part.divided(text).map(Found::Text),
                    Some(Speakers { user, assistant }) => turns_in(text, user, assistant),
                }
            }
            (turns, _) => turns_of(turns).ok_or_else(|| self.no_text(&value.to_string()))?,
        };
        if turns.is_empty() {
            return Err(self.no_text(&value.to_string()));
        }
        match part.and_then(|part| part.side) {
            None => {}
            Some(Side::Before) => drop(turns.pop()),
            Some(Side::Last) => drop(turns.drain(..turns.len() - 1)),
        }
        Ok(Found::Turns(turns))
    }
}

/// What stands at a place.
enum Found {
    Text(String),
    Turns(Vec<SpokenTurn>),
}

impl Found {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            // Some data sets repeat the prompt before the answer.
            Self::Turns(turns) => match turns.first().is_some_and(|first| first.role == "assistant") {
                true => continuation(&turns),
                false => turns.into_iter().next_back().map_or_else(String::new, |last| last.content),
            },
        }
    }
}

impl TextPart {
    /// What is left of a text when its ends are cut off.
    fn cut<'a>(&self, text: &'a str) -> &'a str {
        let cut = |text, part: &Option<String>, cut: for<'t> fn(&'t str, &str) -> Option<&'t str>| match part
        {
            Some(part) => cut(text, part).unwrap_or(text),
            None => text,
        };
        let text = cut(text, &self.after, |text, part| Some(text.split_once(part)?.1.trim_start()));
        let text = cut(text, &self.until, |text, part| Some(text.split_once(part)?.0.trim_end()));
        let text = cut(text, &self.prefix, |text, part| text.strip_prefix(part));
        cut(text, &self.suffix, |text, part| text.strip_suffix(part))
    }

    /// The side of the divider that is meant.
    fn divided(&self, text: &str) -> Result<String, MappingError> {
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
