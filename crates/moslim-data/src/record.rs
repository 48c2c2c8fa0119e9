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

/// One answer of a pair is preferred to the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The question.
    pub prompt: String,
    /// What they are compared in.
    pub objective: String,
    /// The preferred answer.
    pub chosen: String,
    /// The other one.
    pub rejected: String,
}

/// What rows give.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An answer, with labels for the mapping's objectives.
    Answer(LabeledResponse),
    /// A pair.
    Comparison(Comparison),
    /// A prompt without an answer.
    Prompt(String),
}
