//! P-MORL: one policy whose prompts name a preference of every objective, trained on the mean of their rewards.

use rand::RngExt;

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::workshop::Workshop;
use super::preferences::Preferences;
use crate::Error;
use crate::run::Purpose;

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let preferences = Preferences::of(ground)?;
    let combinations = preferences.sentences.combinations()?;
    let mut reward = preferences.reward(shop)?;
    let mut rng = ground.run.rng(Purpose::Requests);
    let policy = shop.reinforced("policy", None, samples, &mut reward, |prompt| {
        preferences.policy_prompt(prompt, &combinations[rng.random_range(0..combinations.len())])
    })?;
    let wording = Box::new(move |asked: &Asked, question: &_| {
        preferences.prompt(question, &preferences.nearest(asked.levels()))
    });
    Ok(Box::new(OnePolicy { takes: Takes::Levels, policy, wording }))
}
