//! One temperature for all logits.

use crate::calibration::minimise::root;
use crate::calibration::{Labels, Readout};

/// The range of temperatures: validation samples that are all right, or all wrong, would have none.
const COLDEST: f64 = 0.05;
const HOTTEST: f64 = 20.0;

/// Larger logits are taken for this, so that no sum of them is infinite; a network's f32 cannot hold such.
const LARGEST_LOGIT: f64 = 1e100;

/// Temperature scaling (Guo et al. 2017, section 4.2): the T for which `softmax(logits / T)` fits best.
///
/// Minimises the mean cross-entropy `L(β) = −Σ_i w_i Σ_c q_ic ln softmax(β z_i)_c` with `β = 1/T`, logits z
/// `[n_samples][K]`, two-hot labels q and weights w of sum 1.
/// L is convex in β, so its derivative `Σ_i w_i (E_p[z_i] − E_q[z_i])` changes its sign once.
/// T lies in 0.05..=20; it is 1 where the samples say nothing about it.
///
/// # Panics
/// There are not as many samples as labels, or a sample has not K logits.
pub fn fit_temperature(logits: &[Vec<f64>], labels: &Labels) -> Readout {
    Readout::temperature(best_temperature(logits, labels), labels.n_levels())
}

/// T of [`fit_temperature`].
pub(crate) fn best_temperature(logits: &[Vec<f64>], labels: &Labels) -> f64 {
    labels.assert_len(logits.len());
    for sample in logits {
        assert_eq!(sample.len(), labels.n_levels(), "a logit for every level");
    }
    let samples: Vec<Vec<f64>> = logits.iter().map(|sample| bounded(sample)).collect();
    let slope = |beta: f64| -> f64 {
        let terms = samples.iter().zip(labels.weights()).enumerate();
        terms.map(|(i, (z, weight))| weight * excess(z, beta, |level| labels.share(i, level))).sum()
    };
    if slope(1.0) == 0.0 { 1.0 } else { root(HOTTEST.recip(), COLDEST.recip(), slope).recip() }
}

/// The logits of one sample within ±[`LARGEST_LOGIT`].
pub(crate) fn bounded(logits: &[f64]) -> Vec<f64> {
    logits.iter().map(|logit| logit.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)).collect()
}

/// `E_p[z] − E_q[z]` with `p = softmax(beta z)`, for z measured from the largest.
fn excess(z: &[f64], beta: f64, q: impl Fn(usize) -> f64) -> f64 {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut of_model, mut of_label) = (0.0, 0.0, 0.0);
    for (level, z) in z.iter().map(|z| z - largest).enumerate() {
        let e = (beta * z).exp();
        sum += e;
        of_model += e * z;
        of_label += q(level) * z;
    }
    of_model / sum - of_label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::logistic::log_softmax;

    fn temperature(logits: &[Vec<f64>], positions: &[f64], weights: &[f64]) -> f64 {
        best_temperature(logits, &Labels::new(positions, weights, logits[0].len()))
    }

    /// T by `scipy.optimize.minimize_scalar` (SciPy 1.17.1).
    #[test]
    fn temperature_is_that_of_scipy() {
        let logits = [
            [2.0, 0.5, -1.0],
            [0.3, 1.2, 0.8],
            [-0.5, 0.4, 2.2],
            [1.5, 1.0, -0.7],
            [-1.0, 2.0, 0.1],
            [0.9, -0.2, 1.1],
            [3.0, -1.0, 0.5],
            [-0.4, 0.6, 0.2],
        ]
        .map(|sample| sample.to_vec());
        let positions = [0.0, 1.0, 2.0, 1.0, 1.3, 0.0, 0.6, 2.0];
        let weights = [1.0, 2.0, 1.0, 0.5, 1.0, 1.5, 1.0, 3.0];
        let found = temperature(&logits, &positions, &weights);
        assert!((found - 1.384135).abs() < 1e-6, "{found}");
    }

    /// Every sample has every label, weighted with the probability of the label before the logits grew.
    #[test]
    fn logits_three_times_too_large_have_temperature_three() {
        let (mut logits, mut positions, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for truth in [[0.0, 1.0, -0.5], [2.0, 0.3, 0.1], [-1.0, 0.0, 1.5]] {
            for (level, ln_p) in log_softmax(&truth).iter().enumerate() {
                logits.push(truth.map(|z| 3.0 * z + 7.0).to_vec());
                positions.push(level as f64);
                weights.push(ln_p.exp());
            }
        }
        assert!((temperature(&logits, &positions, &weights) - 3.0).abs() < 1e-9);

        let labels = Labels::new(&positions, &weights, 3);
        let loss = |readout: &Readout| -> f64 {
            let p = |i: usize| readout.probabilities(&logits[i])[positions[i] as usize];
            (0..9).map(|i| -labels.weights()[i] * p(i).ln()).sum()
        };
        let fitted = fit_temperature(&logits, &labels);
        assert!(loss(&fitted) < loss(&Readout::softmax(3)) - 0.1);
    }

    #[test]
    fn samples_without_a_best_temperature_have_a_usable_one() {
        let separated = vec![vec![0.0, 1.0], vec![1.0, 0.0]];
        assert!((temperature(&separated, &[1.0, 0.0], &[1.0; 2]) - 0.05).abs() < 1e-12);
        assert!((temperature(&separated, &[0.0, 1.0], &[1.0; 2]) - 20.0).abs() < 1e-12);
        assert_eq!(temperature(&[vec![3.0, 3.0]], &[1.0], &[1.0]), 1.0);
        assert_eq!(fit_temperature(&[], &Labels::new(&[], &[], 4)), Readout::softmax(4));
        let wild = vec![vec![f64::MAX, f64::MIN], vec![1e30, -1e30], vec![0.1, 0.0]];
        let found = temperature(&wild, &[0.0, 1.0, 1.0], &[1.0, 1e-200, f64::MAX]);
        assert!((0.05..=20.0 + 1e-9).contains(&found), "{found}");
    }
}
