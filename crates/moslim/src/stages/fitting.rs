//! What is short enough for a model and a recipe.

use moslim_data::{Comparison, LabeledResponse, Prompt};
use moslim_lm::{ModelConfig, Tokenizer};
use moslim_reward_model::messages;

use crate::{Error, Labeled, Run};

/// What [`check_context`] calls a rollout.
pub(crate) const LONGEST_ROLLOUT: &str = "answer of max_new_tokens to prompt";

/// Refuses sequences that are longer than the model was made for; nothing is cut.
pub(crate) fn check_context(
    config: &ModelConfig,
    what: &str,
    lengths: impl Iterator<Item = usize>,
) -> Result<(), Error> {
    let context = config.max_position_embeddings;
    match lengths.enumerate().find(|&(_, length)| length > context) {
        None => Ok(()),
        Some((index, length)) => Err(Error::Unusable {
            place: format!("{what} {}", index + 1),
            found: format!("{length} tokens"),
            expected: format!("at most {context}, the model's max_position_embeddings"),
        }),
    }
}

/// Leaves out what is longer than the recipe allows, and says how much; refuses what is longer than the model was made for.
pub(super) fn fitting<T>(
    run: &Run,
    config: &ModelConfig,
    what: &str,
    mut items: Vec<T>,
    length: impl Fn(&T) -> usize,
) -> Result<Vec<T>, Error> {
    if let Some(max_length) = run.recipe.data.max_length() {
        let before = items.len();
        items.retain(|item| length(item) <= max_length);
        let n = before - items.len();
        if items.is_empty() && n > 0 {
            return Err(Error::Unusable {
                place: "data.max_length".into(),
                found: max_length.to_string(),
                expected: format!("more; every {what} is longer"),
            });
        }
        if n > 0 {
            run.progress.say(&format!("{what}: {n} of {before} left out, longer than {max_length} tokens"));
        }
    }
    check_context(config, what, items.iter().map(length))?;
    Ok(items)
}

/// Held-out answers and pairs without those that are longer than the recipe allows; nothing is measured on them.
///
/// # Errors
/// If one is longer than the model was made for, or none is left.
pub fn fitting_labeled(
    run: &Run,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    held_out: &Labeled,
) -> Result<Labeled, Error> {
    let length = |prompt: &Prompt, response: &str| -> Result<usize, Error> {
        let (prompt, response) = tokenizer.encode_exchange(&messages(prompt), response)?;
        Ok(prompt.len() + response.len())
    };
    let answers = held_out.answers.iter();
    let answers = answers.map(|answer| Ok((answer, length(&answer.prompt, &answer.response)?)));
    let answers: Vec<(&LabeledResponse, usize)> = answers.collect::<Result<_, Error>>()?;
    let answers = fitting(run, config, "held-out answer", answers, |(_, length)| *length)?;
    let pairs = held_out.pairs.iter().map(|pair| {
        let lengths = (length(&pair.prompt, &pair.chosen)?, length(&pair.prompt, &pair.rejected)?);
        Ok((pair, lengths.0.max(lengths.1)))
    });
    let pairs: Vec<(&Comparison, usize)> = pairs.collect::<Result<_, Error>>()?;
    let pairs = fitting(run, config, "held-out pair", pairs, |(_, length)| *length)?;
    Ok(Labeled {
        answers: answers.into_iter().map(|(answer, _)| answer.clone()).collect(),
        pairs: pairs.into_iter().map(|(pair, _)| pair.clone()).collect(),
    })
}
