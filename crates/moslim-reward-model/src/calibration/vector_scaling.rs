//! A scale and a bias for every logit.

use crate::calibration::logistic::log_softmax;
use crate::calibration::minimise::{Local, newton};
use crate::calibration::temperature::{best_temperature, bounded};
use crate::calibration::{Labels, Readout};

/// Vector scaling (Guo et al. 2017, section 4.2): the `scale` and `bias` for which `softmax(scale ∘ logits +
/// bias)` fits best.
///
/// With `x = logits / T`, T of [`fit_temperature`](crate::fit_temperature), and `scale = r / T`, minimises
///
/// ```text
/// −Σ_i w_i Σ_c q_ic ln softmax(r ∘ x_i + b)_c + (‖r − 1‖² + ‖b‖²) / 2n
/// ```
///
/// for logits `[n_samples][K]`, two-hot labels q, weights w of sum 1 and effective sample size `n = 1 / Σ
/// w²`. The ridge is a standard normal prior around the temperature's solution, worth a sample or so: few
/// samples hardly leave the temperature, a level that never occurs keeps a finite bias, separable samples
/// keep a finite scale, and of all biases that differ by a constant those with sum 0 are taken. The problem
/// is convex. As in the paper a scale may have any sign. No samples give the plain softmax.
///
/// # Panics
/// There are not as many samples as labels, or a sample has not K logits.
pub fn fit_vector_scaling(logits: &[Vec<f64>], labels: &Labels) -> Readout {
    let beta = best_temperature(logits, labels).recip();
    let n_levels = labels.n_levels();
    if labels.is_empty() {
        return Readout::softmax(n_levels);
    }
    let samples: Vec<Vec<f64>> =
        logits.iter().map(|sample| bounded(sample).iter().map(|logit| beta * logit).collect()).collect();
    let start = [vec![1.0; n_levels], vec![0.0; n_levels]].concat();
    let fitted = newton(start, |parameters| objective(&samples, labels, parameters));
    let (ratios, bias) = fitted.split_at(n_levels);
    Readout::Softmax { scale: ratios.iter().map(|r| r * beta).collect(), bias: bias.to_vec() }
}

/// The function that [`fit_vector_scaling`] minimises, at `parameters` (r, then b).
fn objective(samples: &[Vec<f64>], labels: &Labels, parameters: &[f64]) -> Local {
    let n_levels = labels.n_levels();
    let (ratios, bias) = parameters.split_at(n_levels);
    let mut local = ridge(parameters, n_levels, labels.effective_size().recip());
    for (i, (x, &weight)) in samples.iter().zip(labels.weights()).enumerate() {
        let z: Vec<f64> = (0..n_levels).map(|c| ratios[c] * x[c] + bias[c]).collect();
        let ln_p = log_softmax(&z);
        let p: Vec<f64> = ln_p.iter().map(|ln_p| ln_p.exp()).collect();
        for c in 0..n_levels {
            let q = labels.share(i, c);
            local.value -= if q > 0.0 { weight * q * ln_p[c] } else { 0.0 };
            // Derivatives by z_c: p − q, and diag(p) − p pᵀ; z_c moves by x_c with r_c and by 1 with b_c.
            let slope = weight * (p[c] - q);
            local.gradient[c] += slope * x[c];
            local.gradient[n_levels + c] += slope;
            for d in 0..n_levels {
                let curvature = weight * p[c] * (if c == d { 1.0 - p[c] } else { -p[d] });
                local.hessian[c][d] += curvature * x[c] * x[d];
                local.hessian[c][n_levels + d] += curvature * x[c];
                local.hessian[n_levels + c][d] += curvature * x[d];
                local.hessian[n_levels + c][n_levels + d] += curvature;
            }
        }
    }
    local
}

/// `strength/2 · (‖r − 1‖² + ‖b‖²)`.
fn ridge(parameters: &[f64], n_levels: usize, strength: f64) -> Local {
    let mut local = Local::flat(0.0, parameters.len());
    for (i, parameter) in parameters.iter().enumerate() {
        let distance = parameter - if i < n_levels { 1.0 } else { 0.0 };
        local.value += 0.5 * strength * distance * distance;
        local.gradient[i] = strength * distance;
        local.hessian[i][i] = strength;
    }
    local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(logits: &[Vec<f64>], labels: &Labels) -> (Vec<f64>, Vec<f64>) {
        let readout = fit_vector_scaling(logits, labels);
        assert_eq!(readout.check(), Ok(()));
        let Readout::Softmax { scale, bias } = readout else { panic!("{readout:?}") };
        (scale, bias)
    }

    fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < tolerance, "{found:?} {expected:?}");
        }
    }

    /// The documented sum minimised by `scipy.optimize.minimize` (SciPy 1.17.1).
    #[test]
    fn scales_and_biases_are_those_of_scipy() {
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
        let (scale, bias) = fit(&logits, &Labels::new(&positions, &weights, 3));
        assert_close(&scale, &[0.784593, 0.756303, 0.623851], 2e-6);
        assert_close(&bias, &[-0.190645, -0.018769, 0.209414], 2e-6);
    }

    /// 3000 samples of a grid of logits, labelled in proportion to the softmax of known scales and biases.
    #[test]
    fn many_samples_find_the_truth() {
        let truth = Readout::Softmax { scale: vec![0.5, 0.8, 0.3], bias: vec![0.4, -0.9, 0.5] };
        let (mut logits, mut positions, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..1000 {
            let sample: Vec<f64> = [7, 11, 13].map(|step| f64::from(i * step % 17 - 8) / 2.0).to_vec();
            for (level, &p) in truth.probabilities(&sample).iter().enumerate() {
                positions.push(level as f64);
                weights.push(p);
                logits.push(sample.clone());
            }
        }
        let (scale, bias) = fit(&logits, &Labels::new(&positions, &weights, 3));
        assert_close(&scale, &[0.5, 0.8, 0.3], 0.01);
        assert_close(&bias, &[0.4, -0.9, 0.5], 0.02);
    }

    #[test]
    fn a_level_that_never_occurs_stays_possible_and_becomes_rare() {
        let logits: Vec<Vec<f64>> = (0..40).map(|i| vec![f64::from(i % 4), 1.0, 0.5]).collect();
        let positions: Vec<f64> =
            (0..40).map(|i| if (i % 4 > 1) == (i % 10 > 0) { 0.0 } else { 1.0 }).collect();
        let readout = fit_vector_scaling(&logits, &Labels::new(&positions, &[1.0; 40], 3));
        let p = readout.probabilities(&logits[0]);
        assert!(p[2] > 1e-4 && p[2] < 0.1, "{p:?}");
    }

    #[test]
    fn samples_that_say_nothing_or_everything_give_finite_numbers() {
        assert_eq!(fit_vector_scaling(&[], &Labels::new(&[], &[], 3)), Readout::softmax(3));
        fit(&[vec![0.0, 1.0], vec![1.0, 0.0]], &Labels::new(&[1.0, 0.0], &[1.0; 2], 2));
        let wild = [vec![f64::MAX, f64::MIN, 0.0], vec![1e30, -1e30, 1e30], vec![0.1, 0.0, 1.0]];
        for weights in [[1.0; 3], [1.0, 1e-200, f64::MAX]] {
            fit(&wild, &Labels::new(&[2.0, 1.0, 0.5], &weights, 3));
        }
    }
}
