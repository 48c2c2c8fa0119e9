//! What can be wrong with a record.

use thiserror::Error;

/// What is wrong with a record.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The record is no object.
    #[error("{found}, expected an object")]
    NoObject {
        /// The JSON type found.
        found: &'static str,
    },
    /// A field that must be there is not, or is null.
    #[error("missing field `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A text that must say something is empty.
    #[error("{field}: empty, expected a text")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A conversation does not end where an answer can follow.
    #[error("prompt: the last turn is the {role}'s, expected the user's")]
    LastTurn {
        /// Who speaks last.
        role: String,
    },
    /// A value has the wrong JSON type.
    #[error("{field}: {found}, expected {expected}")]
    WrongType {
        /// The field, or the objective within `labels`.
        field: String,
        /// The type found.
        found: &'static str,
        /// The type expected.
        expected: &'static str,
    },
    /// A key that no record has.
    #[error("unknown field `{found}`, expected one of {expected}")]
    UnknownField {
        /// The key.
        found: String,
        /// The keys that a record may have.
        expected: String,
    },
    /// A label for an objective that the schema does not have.
    #[error("unknown objective `{found}`, expected one of {expected}")]
    UnknownObjective {
        /// The name.
        found: String,
        /// The names that the schema has.
        expected: String,
    },
    /// A weight that is no positive number.
    #[error("weight: {found}, expected a number from 1e-6 to 1e6")]
    Weight {
        /// The value as written.
        found: String,
    },
    /// A label that is no level of its objective.
    #[error("{objective}: level {found}, expected {expected}")]
    Level {
        /// The objective.
        objective: String,
        /// The label as written.
        found: String,
        /// The levels that the objective has.
        expected: String,
    },
}

impl RecordError {
    /// What is wrong, without the value that was found.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Level { objective, expected, .. } => format!("{objective}: not a level of {expected}"),
            Self::Weight { .. } => "weight: not a number from 1e-6 to 1e6".into(),
            other => other.to_string(),
        }
    }
}
