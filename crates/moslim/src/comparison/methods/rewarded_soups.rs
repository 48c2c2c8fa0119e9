//! Rewarded Soups: one policy per reward, mixed in weight space; every training has an equal share of the samples.

use moslim_baselines::{LoraSoup, RewardedSoup, Weights};
use moslim_data::Prompt;
use moslim_lm::CausalLm;

use super::super::dial::{Asked, Dial, Takes};
use super::super::ground::Ground;
use super::super::workshop::Workshop;
use super::morlhf;
use crate::Error;

/// Policies of one start, ready to be mixed: their weights, or their adapters on one base.
pub(super) enum Soup {
    Weights(RewardedSoup),
    Adapters(Box<LoraSoup>),
}

impl Soup {
    pub(super) fn of(ground: &Ground<'_>, policies: Vec<CausalLm>) -> Result<Self, Error> {
        Ok(match ground.run.recipe.lora {
            None => Self::Weights(RewardedSoup::new(policies)?),
            Some(_) => Self::Adapters(Box::new(LoraSoup::new(&policies, ground.recipe.rewarded_soups.mode)?)),
        })
    }

    /// The mixture.
    pub(super) fn mix(&self, lambda: &[f64]) -> Result<CausalLm, Error> {
        Ok(match self {
            Self::Weights(soup) => soup.mix(lambda)?,
            Self::Adapters(soup) => soup.mix(lambda)?,
        })
    }
}

/// A soup that is asked by its λ.
struct Mixtures<'a> {
    ground: &'a Ground<'a>,
    soup: Soup,
}

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let n = ground.n_objectives();
    let normalization = morlhf::normalization(shop)?;
    let mut policies = Vec::new();
    for objective in 0..n {
        let alone = (0..n).map(|other| f64::from(u8::from(other == objective))).collect();
        policies.push(morlhf::weighted(shop, &Weights::new(alone)?, &normalization, samples / n)?);
    }
    Ok(Box::new(Mixtures { ground, soup: Soup::of(ground, policies)? }))
}

impl Dial for Mixtures<'_> {
    fn takes(&self) -> Takes {
        Takes::Weights
    }

    fn policy(&self, asked: &Asked) -> Result<CausalLm, Error> {
        self.soup.mix(asked.weights().as_slice())
    }

    fn prompt(&self, _asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error> {
        self.ground.plain(question)
    }
}
