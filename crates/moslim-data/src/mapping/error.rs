//! What can be wrong with a row.

use thiserror::Error;

use crate::ValuePath;

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
    /// A text is no conversation.
    #[error("{path}: {found}, expected a conversation")]
    NoTurns {
        /// Where it stands.
        path: ValuePath,
        /// What stands there.
        found: String,
    },
    /// A conversation does not end where an answer can follow.
    #[error("{path}: the last turn is the {role}'s, expected the user's")]
    LastTurn {
        /// Where it stands.
        path: ValuePath,
        /// Who speaks last.
        role: String,
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
    /// A weight is no positive number.
    #[error("weight: found {found}, expected a number from 1e-6 to 1e6")]
    Weight {
        /// What stands there.
        found: String,
    },
    /// Quantiles need the files that they are quantiles of.
    #[error("{objective}: bins = \"quantiles\" before the values were read, expected numbers")]
    Quantiles {
        /// The objective.
        objective: String,
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
    /// The two answers are one.
    #[error("the two answers are the same")]
    Same,
    /// What is compared is not two answers to one prompt.
    #[error("the two conversations do not begin with the same question")]
    DifferentPrompts,
}

impl MappingError {
    /// What is wrong, without the value that was found.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::NoText { path, .. } => format!("{path}: not a text or a list of turns"),
            Self::NoTurns { path, .. } => format!("{path}: not a conversation"),
            Self::Level { objective, expected, .. } => format!("{objective}: not {expected}"),
            Self::Rank { path, .. } => format!("{path}: not a number"),
            Self::Weight { .. } => "weight: not a number from 1e-6 to 1e6".into(),
            other => other.to_string(),
        }
    }

    /// Whether a row is not wrong, but says nothing to learn from.
    pub(crate) fn is_no_mistake(&self) -> bool {
        matches!(self, Self::Equal | Self::Same | Self::DifferentPrompts)
    }
}
