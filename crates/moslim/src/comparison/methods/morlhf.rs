//! MORLHF: one policy per weighting, trained on the weighted sum of the rewards; every training has an equal share of the samples.

use moslim_baselines::{Morlhf, RewardNormalization, Weights};
use moslim_data::Prompt;
use moslim_lm::CausalLm;

use super::super::dial::{Asked, Dial, Takes};
use super::super::ground::{ExpectedLevels, Ground};
use super::super::workshop::Workshop;
use crate::{Error, NormalizationName};

/// A policy for every weighting that is measured.
struct Policies<'a> {
    ground: &'a Ground<'a>,
    policies: Vec<(Weights, CausalLm)>,
}

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let share = samples / ground.weightings.len();
    let normalization = normalization(shop)?;
    let mut policies = Vec::new();
    for weights in &ground.weightings {
        let policy = weighted(shop, weights, &normalization, share)?;
        policies.push((weights.clone(), policy));
    }
    Ok(Box::new(Policies { ground, policies }))
}

/// What the recipe says of making rewards comparable, with its numbers.
pub(super) fn normalization(shop: &mut Workshop<'_>) -> Result<RewardNormalization, Error> {
    Ok(match shop.ground.recipe.morlhf.reward_normalization {
        NormalizationName::None => RewardNormalization::None,
        NormalizationName::Fixed => RewardNormalization::Fixed(shop.ordinary_statistics()?),
        NormalizationName::Running => RewardNormalization::Running,
    })
}

/// The policy of one weighting.
pub(super) fn weighted(
    shop: &mut Workshop<'_>,
    weights: &Weights,
    normalization: &RewardNormalization,
    samples: usize,
) -> Result<CausalLm, Error> {
    let ground = shop.ground;
    let mut reward = Morlhf::new(ExpectedLevels(ground), weights.clone(), normalization.clone())?;
    let name: Vec<String> = weights.as_slice().iter().map(|weight| format!("{weight:.3}")).collect();
    shop.reinforced(&format!("weights-{}", name.join("-")), samples, &mut reward, |prompt| {
        ground.about_all(prompt, ground.plain(prompt)?)
    })
}

impl Dial for Policies<'_> {
    fn takes(&self) -> Takes {
        Takes::Weights
    }

    fn which(&self, asked: &Asked) -> Result<String, Error> {
        Ok(format!("{:?}", asked.weights().as_slice()))
    }

    fn policy(&self, asked: &Asked) -> Result<CausalLm, Error> {
        let trained = self.policies.iter().find(|(weights, _)| weights == asked.weights());
        Ok(trained.expect("only weightings that are measured are asked for").1.clone())
    }

    fn prompt(&self, _asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error> {
        self.ground.plain(question)
    }
}
