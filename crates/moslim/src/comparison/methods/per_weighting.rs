//! A policy for every weighting that is measured, which reads questions as they are.

use moslim_baselines::Weights;
use moslim_data::Prompt;
use moslim_lm::CausalLm;

use super::super::dial::{Asked, Dial, Takes};
use super::super::ground::Ground;
use crate::Error;

/// Policies of single weightings.
pub(super) struct PerWeighting<'a> {
    pub ground: &'a Ground<'a>,
    pub policies: Vec<(Weights, CausalLm)>,
}

/// The name of a weighting's training.
pub(super) fn name_of(weights: &Weights) -> String {
    let weights: Vec<String> = weights.as_slice().iter().map(|weight| format!("{weight:.3}")).collect();
    format!("weights-{}", weights.join("-"))
}

impl Dial for PerWeighting<'_> {
    fn takes(&self) -> Takes {
        Takes::Weights
    }

    fn policy(&self, asked: &Asked) -> Result<CausalLm, Error> {
        let trained = self.policies.iter().find(|(weights, _)| weights == asked.weights());
        Ok(trained.expect("only weightings that are measured are asked for").1.clone())
    }

    fn prompt(&self, _asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error> {
        self.ground.plain(question)
    }
}
