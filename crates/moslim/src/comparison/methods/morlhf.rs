//! MORLHF: one policy per weighting, trained on the weighted sum of the rewards; every training has an equal share of the samples.

use moslim_baselines::{Morlhf, RewardNormalization, Weights};
use moslim_lm::CausalLm;

use super::super::dial::Dial;
use super::super::ground::ExpectedLevels;
use super::super::workshop::Workshop;
use super::per_weighting::{PerWeighting, name_of};
use crate::{Error, NormalizationName};

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let share = samples / ground.weightings.len();
    let normalization = normalization(shop)?;
    let mut policies = Vec::new();
    for weights in &ground.weightings {
        let policy = weighted(shop, weights, &normalization, share)?;
        policies.push((weights.clone(), policy));
    }
    Ok(Box::new(PerWeighting { ground, policies }))
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
    shop.reinforced(&name_of(weights), None, samples, &mut reward, |prompt| {
        ground.about_all(prompt, ground.plain(prompt)?)
    })
}
