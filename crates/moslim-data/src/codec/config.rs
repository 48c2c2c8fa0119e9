//! What a prompt codec is made of, and the forms that other work uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The parts of a prompt codec; all of them are texts.
///
/// MOSLIM's own wording is not known; the constructors are the forms of related work, and a recipe may write any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptCodecConfig {
    /// One item, with `{objective}` for the objective's name and, exactly once, `{level}` for the level's name.
    pub item: String,
    /// For the objectives named here, one text per level from the lowest to the highest, instead of `item`.
    #[serde(default)]
    pub sentences: BTreeMap<String, Vec<String>>,
    /// What stands between two items.
    pub separator: String,
    /// The whole text, with `{prompt}` and `{request}` exactly once each; unused when nothing is asked for.
    ///
    /// What stands between the two is left out where the prompt is empty, such as in a system turn that says nothing else.
    pub template: String,
    /// The turn of the conversation that the request is written into.
    #[serde(default)]
    pub turn: Turn,
}

/// A turn of a conversation that can carry a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// What the model is told before the conversation.
    System,
    /// The question.
    #[default]
    User,
}

impl PromptCodecConfig {
    /// `< helpfulness: 5 > < honesty: 3 > Why?`, the prefix of CPO (Guo et al. 2024, arXiv 2402.19085).
    pub fn cpo_tokens() -> Self {
        Self::new("< {objective}: {level} >", " ", "{request} {prompt}")
    }

    /// `Why? <helpfulness:5><honesty:3>`; a tokenizer can make each item one token.
    pub fn one_token() -> Self {
        Self::new("<{objective}:{level}>", "", "{prompt} {request}")
    }

    /// `helpfulness:5,honesty:3` on a line of its own after the prompt, as in SteerLM (Dong et al. 2023, arXiv 2310.05344).
    pub fn level_list() -> Self {
        Self::new("{objective}:{level}", ",", "{prompt}\n{request}")
    }

    /// `Answer with helpfulness 5. Answer with honesty 3.` after the prompt, in plain words.
    pub fn sentences() -> Self {
        Self::new("Answer with {objective} {level}.", " ", "{prompt} {request}")
    }

    fn new(item: &str, separator: &str, template: &str) -> Self {
        Self {
            item: item.into(),
            sentences: BTreeMap::new(),
            separator: separator.into(),
            template: template.into(),
            turn: Turn::User,
        }
    }
}
