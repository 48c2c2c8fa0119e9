//! Estimators of the divergence from a reference policy.

use serde::{Deserialize, Serialize};

/// An estimator of KL(π‖π_ref) from samples of π ([Schulman 2020](http://joschu.net/blog/kl-approx.html)).
///
/// With ℓ = log π − log π_ref at a sampled token:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `ℓ`: unbiased, negative for some samples.
    K1,
    /// `ℓ²/2`: biased, small variance, never negative.
    K2,
    /// `e^(−ℓ) − 1 + ℓ`: unbiased, never negative.
    K3,
}

impl KlEstimator {
    /// The estimate from one log-ratio, in nats.
    ///
    /// ```
    /// use moslim_rl::ops::KlEstimator;
    /// assert_eq!(KlEstimator::K2.estimate(-0.5), 0.125);
    /// ```
    pub fn estimate(self, log_ratio: f64) -> f64 {
        match self {
            Self::K1 => log_ratio,
            Self::K2 => log_ratio.powi(2) / 2.0,
            Self::K3 => (-log_ratio).exp_m1() + log_ratio,
        }
    }
}

/// How the weight of the KL term follows the divergence ([Ziegler et al. 2019](https://arxiv.org/abs/1909.08593), section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveKl {
    /// The divergence aimed at, in nats per answer.
    pub target: f64,
    /// Answers in which the weight can change by a factor of e, times five; 10 000 in the source.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// The weight after `n_answers` with a mean divergence: `β (1 + clip(KL/target − 1, ±0.2) · n / horizon)`.
    ///
    /// ```
    /// let adaptive = moslim_rl::ops::AdaptiveKl { target: 3.0, horizon: 10_000.0 };
    /// assert!((adaptive.next(0.2, 6.0, 64) - 0.200256).abs() < 1e-9);
    /// ```
    pub fn next(&self, beta: f64, kl: f64, n_answers: usize) -> f64 {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        (beta * (1.0 + error * n_answers as f64 / self.horizon)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_log_ratios() {
        let estimates =
            |ratio| [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3].map(|kl| kl.estimate(ratio));
        for (found, expected) in
            [(estimates(-0.5), [-0.5, 0.125, 0.148721]), (estimates(0.5), [0.5, 0.125, 0.106531])]
        {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }

    /// The expectation over a categorical distribution is the divergence itself for K1 and K3.
    #[test]
    fn unbiased_over_a_categorical_distribution() {
        let (policy, reference) = ([0.7, 0.2, 0.1f64], [0.3, 0.3, 0.4f64]);
        let exact: f64 = policy.iter().zip(reference).map(|(p, q)| p * (p / q).ln()).sum();
        for estimator in [KlEstimator::K1, KlEstimator::K3] {
            let mean: f64 =
                policy.iter().zip(reference).map(|(p, q)| p * estimator.estimate((p / q).ln())).sum();
            assert!((mean - exact).abs() < 1e-12);
        }
    }
}
