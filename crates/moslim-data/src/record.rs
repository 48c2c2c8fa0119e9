//! What one line of a preference file says.

use std::sync::Arc;

use crate::{Level, Prompt};

/// An answer to a prompt with the levels that somebody or something gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledResponse {
    /// The question, without any request for levels.
    pub prompt: Prompt,
    /// The answer.
    pub response: String,
    /// One entry per objective of the schema; `None` where the label is missing.
    pub levels: Vec<Option<Level>>,
    /// Who or what gave each label, such as `human` or a model's name: one entry per objective, `None` where it is not known.
    pub sources: Vec<Option<Source>>,
    /// How much its labels count in a loss or a vote, beside 1 for one that says nothing of it.
    pub weight: f64,
}

/// Who or what gave a label; the labels of one answer share the text.
pub type Source = Arc<str>;

impl LabeledResponse {
    /// An answer whose labels nobody in particular gave, and of weight 1.
    ///
    /// ```
    /// let answer = moslim_data::LabeledResponse::new("Why?", "Because.", vec![Some(3), None]);
    /// assert_eq!(answer.weight, 1.0);
    /// ```
    pub fn new(prompt: impl Into<Prompt>, response: impl Into<String>, levels: Vec<Option<Level>>) -> Self {
        Self {
            prompt: prompt.into(),
            response: response.into(),
            sources: vec![None; levels.len()],
            levels,
            weight: 1.0,
        }
    }

    /// The same with one source for all its labels.
    pub fn from_source(mut self, source: &str) -> Self {
        let source: Source = source.into();
        self.sources = self.levels.iter().map(|level| level.map(|_| source.clone())).collect();
        self
    }
}

/// One answer of a pair is preferred to the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The question.
    pub prompt: Prompt,
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
    Prompt(Prompt),
}
