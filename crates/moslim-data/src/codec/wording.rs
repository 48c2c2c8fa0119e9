//! How the levels of one objective are worded.

use super::CodecError;
use super::error::split_at_placeholder;
use crate::Objective;

/// The longest fractional level that is looked for: the digits of an integer, a point and six decimals.
const MAX_NUMBER_LENGTH: usize = 28;

#[derive(Clone, Debug)]
pub(super) enum Wording {
    /// One text per level.
    Sentences(Vec<String>),
    /// The level's name between two texts.
    Item { before: String, after: String },
}

impl Wording {
    pub(super) fn new(
        objective: &Objective,
        sentences: Option<Vec<String>>,
        item: &str,
    ) -> Result<Self, CodecError> {
        let Some(sentences) = sentences else {
            let (before, after) = split_at_placeholder("item", item, "{level}")?;
            let [before, after] = [before, after].map(|part| part.replace("{objective}", &objective.name));
            return Ok(Self::Item { before, after });
        };
        let (found, expected) = (sentences.len(), objective.n_levels());
        if found != expected {
            return Err(CodecError::SentenceCount { objective: objective.name.clone(), found, expected });
        }
        if let Some(empty) = sentences.iter().position(String::is_empty) {
            let level = objective.levels[empty].clone();
            return Err(CodecError::EmptyItem { objective: objective.name.clone(), level });
        }
        Ok(Self::Sentences(sentences))
    }

    /// The text of a level, if it has one.
    pub(super) fn text(&self, objective: &Objective, position: f64) -> Option<String> {
        match self {
            Self::Sentences(sentences) => {
                let level = sentences.iter().enumerate().find(|(level, _)| *level as f64 == position);
                level.map(|(_, sentence)| sentence.clone())
            }
            Self::Item { before, after } => {
                Some([before, &*objective.position_name(position)?, after].concat())
            }
        }
    }

    /// Every level whose text `text` starts with, and what follows it there.
    pub(super) fn readings<'t>(&self, objective: &Objective, text: &'t str) -> Vec<(f64, &'t str)> {
        match self {
            Self::Sentences(sentences) => {
                let rests = sentences.iter().map(|sentence| text.strip_prefix(sentence.as_str()));
                numbered(rests).collect()
            }
            Self::Item { before, after } => {
                let Some(text) = text.strip_prefix(before.as_str()) else {
                    return Vec::new();
                };
                let names = objective.levels.iter();
                let whole = numbered(
                    names.map(|name| text.strip_prefix(name.as_str())?.strip_prefix(after.as_str())),
                );
                whole.chain(fractional_readings(objective, after, text)).collect()
            }
        }
    }
}

/// Pairs whatever was found with its level.
fn numbered<'t>(rests: impl Iterator<Item = Option<&'t str>>) -> impl Iterator<Item = (f64, &'t str)> {
    rests.enumerate().filter_map(|(level, rest)| Some((level as f64, rest?)))
}

/// The fractional levels that `text` starts with, followed by `after`.
///
/// A number may run into what follows it ("level 3.5."), so every length of it is tried.
fn fractional_readings<'t>(
    objective: &Objective,
    after: &str,
    text: &'t str,
) -> impl Iterator<Item = (f64, &'t str)> {
    let n_number_characters =
        text.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')).count();
    (1..=n_number_characters.min(MAX_NUMBER_LENGTH)).filter_map(move |length| {
        let (number, rest) = text.split_at(length);
        let rest = rest.strip_prefix(after)?;
        let position = objective.position(number)?;
        let is_canonical = position.fract() != 0.0 && objective.position_name(position)? == number;
        is_canonical.then_some((position, rest))
    })
}
