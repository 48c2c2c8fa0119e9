//! MOSLIM: one policy that is asked for levels in the prompt, trained on the reward model's classes mapped against what was asked.

use moslim_data::{PreferenceSampler, Prompt, Request};
use moslim_eval::classification::most_probable;
use moslim_lm::CausalLm;
use moslim_reward_mapping::ClassProbabilities;
use moslim_reward_model::messages;

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::workshop::{Example, GENERATE, Workshop};
use crate::Error;
use crate::run::Purpose;
use crate::stages::{ORDINARY_ANSWERS, hold_unasked, policy_prompt};

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let (run, recipe) = (ground.run, &ground.run.recipe.policy);
    let mut reward = ground.mapped_reward()?;
    if recipe.unasked_coef > 0.0 {
        shop.timed(GENERATE, |_| hold_unasked(run, ground.datasets, &ground.start, &mut reward))?;
        shop.count_answers(ORDINARY_ANSWERS);
    }
    let sampler = PreferenceSampler::new(recipe.requests.clone(), &ground.datasets.schema)?;
    let mut requests = run.rng(Purpose::Requests);
    let start = match (ground.recipe.moslim.conditional_share * samples as f64).round() as usize {
        0 => None,
        n => Some(conditional(shop, &sampler, n)?),
    };
    let policy = shop.reinforced("policy", start, samples, &mut reward, |prompt| {
        policy_prompt(&ground.start, prompt, sampler.sample(&mut requests))
    })?;
    let wording = Box::new(|asked: &Asked, prompt: &_| ground.start.encode(prompt, asked.levels()));
    Ok(Box::new(OnePolicy { takes: Takes::Levels, policy, wording }))
}

/// Fine-tunes the start policy on answers of the data, asked for by their own levels as far as a drawn request names them.
fn conditional(
    shop: &mut Workshop<'_>,
    sampler: &PreferenceSampler,
    n_answers: usize,
) -> Result<CausalLm, Error> {
    let ground = shop.ground;
    shop.kept("conditional", |shop, number| {
        let data = &ground.datasets.sft[..n_answers.min(ground.datasets.sft.len())];
        let texts: Vec<(&Prompt, &str)> =
            data.iter().map(|(prompt, answer)| (prompt, answer.as_str())).collect();
        let judged = shop.judged_data(&texts)?;
        let mut rng = ground.run.member_rng(Purpose::Requests, number);
        let example = |((prompt, answer), heads): (&(&Prompt, &str), &ClassProbabilities)| {
            let drawn = sampler.sample(&mut rng).levels.into_iter().zip(&heads.0);
            let levels = drawn.map(|(drawn, head)| drawn.map(|_| most_probable(head) as f64)).collect();
            let (_, response) = ground.start.lm.tokenizer.encode_exchange(&messages(prompt), answer)?;
            Ok((ground.start.encode(prompt, &Request { levels })?, response))
        };
        let examples: Vec<Example> = texts.iter().zip(&judged).map(example).collect::<Result<_, Error>>()?;
        shop.fine_tuned("conditional", &ground.recipe.fine_tuning, ground.trainable(number)?, &examples)
    })
}
