//! The prompts of policy optimisation.

use moslim_data::{Prompt, Request};
use moslim_reward_model::messages;
use moslim_rl::PolicyPrompt;

use crate::stages::fitting::{LONGEST_ROLLOUT, fitting, fitting_labeled};
use crate::{Datasets, Error, PolicyFolder, Run};

/// The prompts of training that leave room for the longest answer, also if they ask for everything.
pub(crate) fn fitting_prompts<'a>(
    run: &Run,
    datasets: &'a Datasets,
    start: &PolicyFolder,
) -> Result<Vec<&'a Prompt>, Error> {
    let rollouts = longest_rollouts(run, &datasets.train_prompts, start)?;
    let fitting = fitting(run, &start.lm.config, LONGEST_ROLLOUT, rollouts, |(_, length)| *length)?;
    Ok(fitting.into_iter().map(|(prompt, _)| prompt).collect())
}

/// The prompts with their length when they ask for everything and get the longest answer.
fn longest_rollouts<'a>(
    run: &Run,
    prompts: &'a [Prompt],
    policy: &PolicyFolder,
) -> Result<Vec<(&'a Prompt, usize)>, Error> {
    let highest = policy.schema.n_levels().into_iter().map(|n| Some((n - 1) as f64));
    let request = Request { levels: highest.collect() };
    let longest_answer = run.recipe.policy.training.sampling.max_new_tokens;
    prompts
        .iter()
        .map(|prompt| Ok((prompt, policy.encode(prompt, &request)?.len() + longest_answer)))
        .collect()
}

/// The data without the held-out answers and prompts that are longer than the recipe allows; nothing is measured on them.
///
/// # Errors
/// If one is longer than the model was made for, or none is left.
pub(crate) fn with_fitting_held_out(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
) -> Result<Datasets, Error> {
    let lm = &policy.lm;
    let held_out = fitting_labeled(run, &lm.config, &lm.tokenizer, &datasets.held_out)?;
    let rollouts = longest_rollouts(run, &datasets.held_out_prompts, policy)?;
    let rollouts = fitting(run, &lm.config, LONGEST_ROLLOUT_HELD_OUT, rollouts, |(_, length)| *length)?;
    Ok(Datasets {
        held_out,
        held_out_prompts: rollouts.into_iter().map(|(prompt, _)| prompt.clone()).collect(),
        ..datasets.clone()
    })
}

/// What [`fitting`] calls a rollout of the evaluation.
const LONGEST_ROLLOUT_HELD_OUT: &str = "answer of max_new_tokens to held-out prompt";

/// A prompt of policy optimisation from a question and a request.
pub(crate) fn policy_prompt(
    policy: &PolicyFolder,
    prompt: &Prompt,
    request: Request,
) -> Result<PolicyPrompt, Error> {
    Ok(PolicyPrompt {
        prompt: prompt.clone(),
        tokens: policy.encode(prompt, &request)?,
        plain_tokens: policy.lm.tokenizer.encode_chat(&messages(prompt))?,
        request,
    })
}
