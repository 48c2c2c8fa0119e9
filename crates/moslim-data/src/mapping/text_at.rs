//! Where prompts and answers stand, and what is cut off around them.

use serde::{Deserialize, Serialize};

use super::MappingError;
use crate::ValuePath;
use crate::conversation::{as_text, turns_of};
use crate::rows::RowValue;
use crate::value_path::{Entry, shortened};

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

    pub(super) fn read(&self, entry: Entry<'_>) -> Result<String, MappingError> {
        match self.path().find(entry) {
            None | Some(RowValue::Null) => Err(MappingError::Missing { path: self.path().clone() }),
            Some(value) => self.of(value),
        }
    }

    /// All texts that the path leads to; one that is missing if it leads nowhere.
    pub(super) fn read_all(&self, entry: Entry<'_>) -> Vec<Result<String, MappingError>> {
        match self.path().find_all(entry).as_slice() {
            [] | [_] => vec![self.read(entry)],
            values => values.iter().map(|value| self.of(value)).collect(),
        }
    }

    fn of(&self, value: &RowValue<'_>) -> Result<String, MappingError> {
        let path = self.path();
        let no_text = || MappingError::NoText { path: path.clone(), found: shortened(&value.to_string()) };
        match (self, value) {
            (Self::Whole(_), RowValue::Str(text)) => Ok(text.to_string()),
            (Self::Whole(_), turns) => turns_of(turns).map(|turns| as_text(&turns)).ok_or_else(no_text),
            (Self::Part(part), RowValue::Str(text)) => part.of(text),
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
        let cut = |text, part: &Option<String>, cut: for<'t> fn(&'t str, &str) -> Option<&'t str>| match part
        {
            Some(part) => cut(text, part).unwrap_or(text),
            None => text,
        };
        let text = cut(text, &self.after, |text, part| Some(text.split_once(part)?.1.trim_start()));
        let text = cut(text, &self.until, |text, part| Some(text.split_once(part)?.0.trim_end()));
        let text = cut(text, &self.prefix, |text, part| text.strip_prefix(part));
        let text = cut(text, &self.suffix, |text, part| text.strip_suffix(part));
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
