//! What supervised training reads: prompts and responses, in tokens.

use std::path::PathBuf;

use moslim_data::{LabeledResponse, Request};
use moslim_lm::ModelFolder;
use moslim_reward_model::messages;
use rand::RngExt;
use rand::seq::index;

use crate::run::Purpose;
use crate::stages::check_context;
use crate::stages::fitting::fitting;
use crate::{Datasets, Error, PolicyFolder, PretrainingRecipe, Run};

/// The tokens of a prompt and of its response.
pub(super) type Example = (Vec<u32>, Vec<u32>);

/// Plain text in windows of equal length.
pub(super) fn windows(
    lm: &ModelFolder,
    texts: &[(PathBuf, String)],
    pretraining: &PretrainingRecipe,
) -> Result<Vec<Example>, Error> {
    let mut windows = Vec::new();
    for (path, text) in texts {
        let tokens = lm.tokenizer.encode(text)?;
        let before = windows.len();
        windows.extend(tokens.chunks_exact(pretraining.window).map(<[u32]>::to_vec));
        if windows.len() == before {
            return Err(Error::Unusable {
                place: path.display().to_string(),
                found: format!("{} tokens", tokens.len()),
                expected: format!("at least one window of {}", pretraining.window),
            });
        }
    }
    if windows.is_empty() {
        return Err(Error::Unusable {
            place: "pretraining.files".into(),
            found: "no file".into(),
            expected: "at least one, or no table pretraining".into(),
        });
    }
    // Where the model has no begin token, the end of one document begins the next.
    let begin = vec![lm.tokenizer.bos().unwrap_or(lm.tokenizer.eos())];
    let examples: Vec<Example> = windows.into_iter().map(|window| (begin.clone(), window)).collect();
    check_context(&lm.config, "window", examples.iter().map(|(begin, window)| begin.len() + window.len()))?;
    Ok(examples)
}

/// Answers to questions without any request.
pub(super) fn answers(run: &Run, datasets: &Datasets, lm: &ModelFolder) -> Result<Vec<Example>, Error> {
    let examples = datasets.sft.iter();
    let examples =
        examples.map(|(prompt, answer)| Ok(lm.tokenizer.encode_exchange(&messages(prompt), answer)?));
    short_enough(run, lm, examples.collect::<Result<_, Error>>()?)
}

/// Labelled answers to questions that ask for the very levels that they have, or for some of them, or for none.
pub(super) fn answers_as_asked(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
    free: f64,
) -> Result<Vec<Example>, Error> {
    let labeled = &datasets.labeled.answers;
    if labeled.is_empty() {
        return Err(Error::Unusable {
            place: "conditional_sft".into(),
            found: "no labelled answer".into(),
            expected: "some; data.pairs = \"label\" makes two labelled answers of a pair".into(),
        });
    }
    let mut rng = run.rng(Purpose::ConditionalRequests);
    let example = |answer: &LabeledResponse| {
        let request = own_levels(answer, free, &mut rng);
        let (_, response) =
            policy.lm.tokenizer.encode_exchange(&messages(&answer.prompt), &answer.response)?;
        Ok((policy.encode(&answer.prompt, &request)?, response))
    };
    short_enough(run, &policy.lm, labeled.iter().map(example).collect::<Result<_, Error>>()?)
}

/// A request for levels that an answer has: for none with probability `free`, else for a uniformly drawn number of those known.
fn own_levels(answer: &LabeledResponse, free: f64, rng: &mut impl rand::Rng) -> Request {
    let mut request = Request { levels: vec![None; answer.levels.len()] };
    let known: Vec<usize> =
        (0..answer.levels.len()).filter(|&objective| answer.levels[objective].is_some()).collect();
    if !known.is_empty() && !rng.random_bool(free) {
        let n_asked = rng.random_range(1..=known.len());
        for place in index::sample(rng, known.len(), n_asked) {
            let objective = known[place];
            request.levels[objective] = answer.levels[objective].map(|level| level as f64);
        }
    }
    request
}

fn short_enough(run: &Run, lm: &ModelFolder, examples: Vec<Example>) -> Result<Vec<Example>, Error> {
    fitting(run, &lm.config, "answer", examples, |(prompt, answer)| prompt.len() + answer.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;

    #[test]
    fn an_answer_is_asked_for_by_levels_that_it_has() {
        let levels = vec![Some(2), None, Some(0)];
        let answer = LabeledResponse::new("Why?", "So.", levels);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..4000 {
            let request = own_levels(&answer, 0.2, &mut rng);
            *counts.entry(format!("{:?}", request.levels)).or_default() += 1;
        }
        // A fifth asks for nothing; half of the rest for one, either as often, and half for both.
        for (levels, expected) in [
            ("[None, None, None]", 800),
            ("[Some(2.0), None, None]", 800),
            ("[None, None, Some(0.0)]", 800),
            ("[Some(2.0), None, Some(0.0)]", 1600),
        ] {
            // Over 4 standard deviations of sqrt(4000 · 0.24).
            assert!(counts[levels].abs_diff(expected) < 130, "{levels}: {counts:?}");
        }
        assert_eq!(counts.len(), 4);
        let unlabeled = LabeledResponse::new("Why?", "So.", vec![None, None]);
        assert!(own_levels(&unlabeled, 0.0, &mut rng).is_free());
    }
}
