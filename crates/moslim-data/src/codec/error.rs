//! What can go wrong with a prompt codec.

use thiserror::Error;

/// Why a codec cannot be made, or a prompt cannot be written or read.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CodecError {
    /// A placeholder is missing or stands too often.
    #[error("{field} `{text}`: {placeholder} found {found} time(s), expected exactly once")]
    Placeholder {
        /// The part of the config.
        field: &'static str,
        /// Its text.
        text: String,
        /// The placeholder.
        placeholder: &'static str,
        /// How often it stands there.
        found: usize,
    },
    /// Sentences for an objective that the schema does not have.
    #[error("sentences: unknown objective `{found}`, expected one of {expected}")]
    UnknownObjective {
        /// The name.
        found: String,
        /// The names that the schema has.
        expected: String,
    },
    /// Not one sentence per level.
    #[error("sentences: {objective}: {found} text(s), expected one for each of {expected} levels")]
    SentenceCount {
        /// The objective.
        objective: String,
        /// The number of sentences.
        found: usize,
        /// The number of levels.
        expected: usize,
    },
    /// A level's text has no characters.
    #[error("{objective}: level {level} has an empty text")]
    EmptyItem {
        /// The objective.
        objective: String,
        /// The level's name.
        level: String,
    },
    /// A text that can be read as two different requests.
    #[error("`{text}` can be read as `{first}` and as `{second}`")]
    Ambiguous {
        /// The text.
        text: String,
        /// One reading.
        first: String,
        /// Another one.
        second: String,
    },
    /// A level that cannot be written: out of range, or a fraction among sentences or named levels.
    #[error("{objective}: no text for a level at position {position}")]
    Level {
        /// The objective.
        objective: String,
        /// The position, counted from 0.
        position: f64,
    },
    /// The prompt and the request would not be read back as they are.
    #[error("prompt with request `{asked}` would be read back with request `{found}` or another prompt")]
    ReadsDifferently {
        /// The request.
        asked: String,
        /// The request that would be read.
        found: String,
    },
}

/// The text before and after the only `placeholder` of `text`.
pub(super) fn split_at_placeholder<'t>(
    field: &'static str,
    text: &'t str,
    placeholder: &'static str,
) -> Result<(&'t str, &'t str), CodecError> {
    match text.split(placeholder).collect::<Vec<_>>().as_slice() {
        [before, after] => Ok((before, after)),
        parts => {
            Err(CodecError::Placeholder { field, text: text.into(), placeholder, found: parts.len() - 1 })
        }
    }
}
