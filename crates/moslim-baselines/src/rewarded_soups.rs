//! Rewarded Soups ([Ramé et al. 2023](https://arxiv.org/abs/2306.04488)): one policy per reward, mixed in weight space.
//!
//! `θ(λ) = Σ_i λ_i θ_i` with `λ_i ≥ 0` and `Σ_i λ_i = 1`; the policies must have been trained from one start.
//! [`RewardedSoup`] mixes complete weights, [`LoraSoup`] adapters on one base.

mod lora;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use moslim_lm::CausalLm;

use crate::weights::is_on_simplex;

pub use lora::LoraSoup;

/// Policies of one shape, each trained for one reward.
pub struct RewardedSoup {
    policies: Vec<CausalLm>,
}

/// Why policies cannot be mixed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SoupError {
    /// There is nothing to mix.
    #[error("no policy, expected at least one")]
    Empty,
    /// A policy has other tensors than the first.
    #[error("policy {0} has other tensors than the first")]
    Shape(usize),
    /// A policy has an adapter, whose factors must not be averaged as if they were weights.
    #[error("policy {0} has an adapter, expected merged weights, or a LoRA soup")]
    Adapter(usize),
    /// A policy has no adapter.
    #[error("policy {0} has no adapter, expected one")]
    NoAdapter(usize),
    /// A policy has other weights than the first beside its adapter.
    #[error("policy {0} has another base than the first, expected adapters on one base")]
    Base(usize),
    /// Factors that are averaged by themselves are not alike.
    #[error(
        "policy {policy}: adapter of {map} unlike the first policy's, expected the same maps, ranks and scales"
    )]
    Factors {
        /// The policy.
        policy: usize,
        /// The map.
        map: String,
    },
    /// There is not one weight per policy.
    #[error("{found} weights for {expected} policies")]
    Length {
        /// Weights given.
        found: usize,
        /// Policies in the soup.
        expected: usize,
    },
    /// The weights are not a mixture.
    #[error("weights {0:?}, expected non-negative numbers that sum to 1")]
    Weights(Vec<f64>),
}

impl RewardedSoup {
    /// Takes the policies, in the order in which weights will name them.
    ///
    /// # Errors
    /// If there is none, one has an adapter that is not merged, or their tensors differ in number or shape.
    pub fn new(policies: Vec<CausalLm>) -> Result<Self, SoupError> {
        let shapes = |policy: &CausalLm| -> Vec<Vec<usize>> {
            weights(policy).iter().map(|weight| weight.shape().to_vec()).collect()
        };
        let first = shapes(policies.first().ok_or(SoupError::Empty)?);
        if let Some(adapted) = policies.iter().position(|policy| !policy.lora_factors().is_empty()) {
            return Err(SoupError::Adapter(adapted));
        }
        match policies.iter().position(|policy| shapes(policy) != first) {
            Some(other) => Err(SoupError::Shape(other)),
            None => Ok(Self { policies }),
        }
    }

    /// The policy θ(λ).
    ///
    /// # Errors
    /// If there is not one weight per policy, a weight is negative or not finite, or they do not sum to 1 within 1e-6.
    pub fn mix(&self, lambda: &[f64]) -> Result<CausalLm, SoupError> {
        check_lambda(lambda, self.policies.len())?;
        let mut sums: Vec<Vec<f64>> = Vec::new();
        for (policy, &share) in self.policies.iter().zip(lambda).filter(|&(_, &share)| share > 0.0) {
            let weights = weights(policy);
            sums.resize_with(weights.len(), Vec::new);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                sum.resize(weight.shape().num_elements(), 0.0);
                sum.iter_mut().zip(weight.iter::<f64>()).for_each(|(sum, value)| *sum += share * value);
            }
        }
        let mut mixture = Replace { weights: sums.into_iter() };
        Ok(self.policies[0].clone().map(&mut mixture))
    }
}

/// Refuses weights that are no mixture of so many policies.
fn check_lambda(lambda: &[f64], n_policies: usize) -> Result<(), SoupError> {
    if lambda.len() != n_policies {
        return Err(SoupError::Length { found: lambda.len(), expected: n_policies });
    }
    match is_on_simplex(lambda) {
        true => Ok(()),
        false => Err(SoupError::Weights(lambda.to_vec())),
    }
}

/// All weights of a policy, in the order in which modules are visited.
fn weights(policy: &CausalLm) -> Vec<TensorData> {
    struct Collect(Vec<TensorData>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(parameter.val().into_data());
        }
    }
    let mut collect = Collect(Vec::new());
    policy.visit(&mut collect);
    collect.0
}

/// Puts other values into the weights of a policy, in the order in which modules are visited.
struct Replace {
    weights: std::vec::IntoIter<Vec<f64>>,
}

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.weights.next().expect("policies of one shape have as many tensors");
        parameter.map(|old| {
            let data = TensorData::new(values, old.shape()).convert_dtype(old.dtype());
            Tensor::from_data(data, &old.device())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use moslim_lm::ModelConfig;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    fn policy(seed: u64, width: usize) -> CausalLm {
        let config = ModelConfig::small(7, width, 12, 1, 2);
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default())
    }

    pub(super) fn values(policy: &CausalLm) -> Vec<f32> {
        weights(policy).iter().flat_map(|weight| weight.iter::<f32>().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_mixture_is_the_mean_of_the_weights() {
        let (a, b) = (policy(1, 8), policy(2, 8));
        let soup = RewardedSoup::new(vec![a.clone(), b.clone()]).unwrap();
        assert_eq!(values(&soup.mix(&[1.0, 0.0]).unwrap()), values(&a));
        assert_eq!(values(&soup.mix(&[0.0, 1.0]).unwrap()), values(&b));
        let expected = values(&a).into_iter().zip(values(&b)).map(|(a, b)| 0.25 * a + 0.75 * b);
        for (found, expected) in values(&soup.mix(&[0.25, 0.75]).unwrap()).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{found} instead of {expected}");
        }
    }

    #[test]
    fn what_is_no_soup_is_refused() {
        assert_eq!(RewardedSoup::new(vec![]).err(), Some(SoupError::Empty));
        assert_eq!(RewardedSoup::new(vec![policy(1, 8), policy(1, 16)]).err(), Some(SoupError::Shape(1)));
        let soup = RewardedSoup::new(vec![policy(1, 8), policy(2, 8)]).unwrap();
        assert_eq!(soup.mix(&[1.0]).err(), Some(SoupError::Length { found: 1, expected: 2 }));
        for wrong in [[0.5, 0.6], [1.5, -0.5], [f64::NAN, 1.0]] {
            assert!(matches!(soup.mix(&wrong), Err(SoupError::Weights(_))));
        }
    }
}
