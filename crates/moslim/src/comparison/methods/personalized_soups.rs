//! Personalized Soups: one policy per preference, merged in equal parts; every training has an equal share of the samples.

use moslim_data::{Prompt, Request};
use moslim_lm::CausalLm;

use super::super::dial::{Asked, Dial, Takes};
use super::super::workshop::Workshop;
use super::preferences::Preferences;
use super::rewarded_soups::Soup;
use crate::Error;

/// A soup that is asked for the preferences whose policies are merged.
struct Merges<'a> {
    preferences: Preferences<'a>,
    soup: Soup,
}

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let preferences = Preferences::of(ground)?;
    let mut reward = preferences.reward(shop)?;
    let single = preferences.sentences.preferences();
    let names = ground.names();
    let mut policies = Vec::new();
    for &(objective, preference) in &single {
        let mut request = Request::free(&ground.datasets.schema);
        request.levels[objective] = Some(preference as f64);
        let name = format!("{}-{preference}", names[objective]);
        let word = |prompt: &Prompt| preferences.policy_prompt(prompt, &request);
        policies.push(shop.reinforced(&name, None, samples / single.len(), &mut reward, word)?);
    }
    Ok(Box::new(Merges { soup: Soup::of(ground, policies)?, preferences }))
}

impl Dial for Merges<'_> {
    fn takes(&self) -> Takes {
        Takes::Levels
    }

    fn which(&self, asked: &Asked) -> Result<String, Error> {
        Ok(format!("{:?}", self.preferences.nearest(asked.levels()).levels))
    }

    fn policy(&self, asked: &Asked) -> Result<CausalLm, Error> {
        let preferences = self.preferences.nearest(asked.levels());
        self.soup.mix(&self.preferences.sentences.uniform_merge(&preferences)?)
    }

    fn prompt(&self, asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error> {
        self.preferences.prompt(question, &self.preferences.nearest(asked.levels()))
    }
}
