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
