//! MOSLIM: one policy that is asked for levels in the prompt, trained on the reward model's classes mapped against what was asked.

use moslim_data::PreferenceSampler;

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::workshop::{GENERATE, Workshop};
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
    let policy = shop.reinforced("policy", samples, &mut reward, |prompt| {
        policy_prompt(&ground.start, prompt, sampler.sample(&mut requests))
    })?;
    let wording = Box::new(|asked: &Asked, prompt: &_| ground.start.encode(prompt, asked.levels()));
    Ok(Box::new(OnePolicy { takes: Takes::Levels, policy, wording }))
}
