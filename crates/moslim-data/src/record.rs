//! What one line of a preference file says.

use crate::Level;

/// An answer to a prompt with the levels that somebody or something gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledResponse {
    /// The question, without any request for levels.
    pub prompt: String,
    /// The answer.
    pub response: String,
    /// One entry per objective of the schema; `None` where the label is missing.
    pub levels: Vec<Option<Level>>,
    /// Who or what gave the labels, such as `human` or a data set's name.
    pub source: Option<String>,
}
