//! How far a predicted level is from the label.

use crate::calibration::minimise::root;
use crate::calibration::normal::{ln_density, ln_interval};
use crate::calibration::readout::rounding_interval;
use crate::calibration::{Labels, Readout};

/// The smallest deviation, in levels: predictions that are all right would have none.
const SMALLEST: f64 = 0.05;

/// A prediction further out, in levels, is taken for this; the largest deviation is best for it anyway.
const FURTHEST: f64 = 1e6;

/// The deviation σ of [`Readout::Gaussian`] by maximum likelihood.
///
/// Minimises `−Σ_i w_i Σ_c q_ic ln(Φ(τ (c + ½ − ŷ_i)) − Φ(τ (c − ½ − ŷ_i)))` over `τ = 1/σ`, for predicted
/// levels ŷ `[n_samples]`, two-hot labels q and weights w of sum 1. It is convex in τ, because the normal
/// probability of an interval is log-concave in its two ends (Prékopa 1973), so its derivative changes its
/// sign once. σ lies in 0.05..=K levels; it is 1 without samples.
///
/// # Panics
/// There are not as many predictions as labels.
pub fn fit_deviation(predictions: &[f64], labels: &Labels) -> Readout {
    labels.assert_len(predictions.len());
    let n_levels = labels.n_levels();
    if labels.is_empty() {
        return Readout::Gaussian { deviation: 1.0, n_levels };
    }
    let slope = |tau: f64| -> f64 {
        let samples = predictions.iter().zip(labels.weights()).enumerate();
        let of_sample = |(i, (prediction, weight)): (usize, (&f64, &f64))| {
            let prediction = prediction.clamp(-FURTHEST, FURTHEST);
            let levels = (0..n_levels).map(|level| (level, labels.share(i, level))).filter(|(_, q)| *q > 0.0);
            levels
                .map(|(level, q)| {
                    let (low, high) = rounding_interval(level, n_levels);
                    -weight * q * ln_interval_slope(low - prediction, high - prediction, tau)
                })
                .sum::<f64>()
        };
        samples.map(of_sample).sum()
    };
    let tau = root((n_levels as f64).recip(), SMALLEST.recip(), slope);
    Readout::Gaussian { deviation: tau.recip(), n_levels }
}

/// `d/dτ ln(Φ(τ high) − Φ(τ low)) = (high φ(τ high) − low φ(τ low)) / (Φ(τ high) − Φ(τ low))`.
fn ln_interval_slope(low: f64, high: f64, tau: f64) -> f64 {
    let ln_p = ln_interval(tau * low, tau * high);
    let end = |end: f64| if end.is_finite() { end * (ln_density(tau * end) - ln_p).exp() } else { 0.0 };
    end(high) - end(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(predictions: &[f64], labels: &Labels) -> f64 {
        let readout = fit_deviation(predictions, labels);
        assert_eq!(readout.check(), Ok(()));
        let Readout::Gaussian { deviation, n_levels } = readout else { panic!("{readout:?}") };
        assert_eq!(n_levels, labels.n_levels());
        deviation
    }

    /// σ by `scipy.optimize.minimize_scalar` (SciPy 1.17.1).
    #[test]
    fn deviation_is_that_of_scipy() {
        let predictions = [0.2, 1.4, 2.9, 1.1, 0.6, 2.2, 3.4, 1.0, -0.5];
        let positions = [0.0, 1.0, 3.0, 1.5, 0.0, 2.0, 3.0, 1.0, 1.0];
        let weights = [1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 3.0, 1.0, 1.5];
        let found = deviation(&predictions, &Labels::new(&positions, &weights, 4));
        assert!((found - 0.678043).abs() < 1e-6, "{found}");
    }

    #[test]
    fn labels_drawn_with_a_deviation_find_it() {
        for truth in [0.3, 0.8, 2.0] {
            let readout = Readout::Gaussian { deviation: truth, n_levels: 5 };
            let (mut predictions, mut positions, mut weights) = (Vec::new(), Vec::new(), Vec::new());
            for step in 0..20 {
                let prediction = f64::from(step) / 4.0 - 0.4;
                for (level, &p) in readout.probabilities(&[prediction]).iter().enumerate() {
                    predictions.push(prediction);
                    positions.push(level as f64);
                    weights.push(p);
                }
            }
            let found = deviation(&predictions, &Labels::new(&positions, &weights, 5));
            assert!((found - truth).abs() < 1e-9, "{found} {truth}");
        }
    }

    #[test]
    fn samples_without_a_best_deviation_have_a_usable_one() {
        assert_eq!(deviation(&[], &Labels::new(&[], &[], 3)), 1.0);
        assert!(
            (deviation(&[0.0, 1.0, 2.0], &Labels::new(&[0.0, 1.0, 2.0], &[1.0; 3], 3)) - 0.05).abs() < 1e-12
        );
        assert!((deviation(&[2.0, 0.0], &Labels::new(&[0.0, 2.0], &[1.0; 2], 3)) - 3.0).abs() < 1e-12);
        let wild = [f64::MAX, f64::MIN, 1e30, 0.0];
        assert!((deviation(&wild, &Labels::new(&[1.0; 4], &[1.0; 4], 3)) - 3.0).abs() < 1e-12);
        assert!(deviation(&[0.3], &Labels::new(&[0.0], &[1.0], 1)).is_finite());
    }
}
