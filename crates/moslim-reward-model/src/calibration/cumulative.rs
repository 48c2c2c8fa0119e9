//! Ordered levels as intervals of one score.

use std::f64::consts::PI;

use crate::calibration::logistic::sigmoid;
use crate::calibration::minimise::newton;
use crate::calibration::proportional_odds::ProportionalOdds;
use crate::calibration::{Labels, Readout};

/// The least slope per standard deviation of the scores, in nats: a score that says nothing, or the opposite.
const LEAST_SLOPE: f64 = 1e-3;

/// Proportional odds (McCullagh 1980) by maximum likelihood: [`Readout::Cumulative`] for scores s
/// `[n_samples]`.
///
/// With `a_ij = slope·s_i − thresholds[j]`, two-hot labels q and weights w of sum 1, minimises
///
/// ```text
/// −Σ_i w_i Σ_c q_ic ln(σ(a_i,c−1) − σ(a_ic))
///     = Σ_ij w_i (q_i,j+1 softplus(−a_ij) + q_ij softplus(a_ij))
///       − Σ_ic w_i q_ic ln(1 − e^(thresholds[c−1] − thresholds[c]))
/// ```
///
/// (the last sum over inner levels), which is convex and infinite where thresholds do not ascend. Every label
/// is mixed with `1/(n + 1)` of all levels evenly, n the effective sample size `1 / Σ w²`: one sample more,
/// of no particular level. So levels that never occur keep finite thresholds and separable scores a finite
/// slope. A slope is at least 0.001 per standard deviation of the scores: against the labels' order a score
/// says nothing. No samples give [`fit_cumulative_without_labels`].
///
/// # Panics
/// There are not as many scores as labels.
pub fn fit_cumulative(scores: &[f64], labels: &Labels) -> Readout {
    labels.assert_len(scores.len());
    if labels.is_empty() {
        return fit_cumulative_without_labels(scores, labels.n_levels());
    }
    let standard = Standard::of(scores);
    let scores: Vec<f64> = scores.iter().map(|&score| standard.of_score(score)).collect();
    let problem = ProportionalOdds::new(&scores, labels);
    let mut fitted = newton(problem.start(1.0), |parameters| problem.objective(parameters, false));
    if fitted[0] < LEAST_SLOPE {
        // By convexity the best of all sufficient slopes is then the least.
        fitted = newton(problem.start(LEAST_SLOPE), |parameters| problem.objective(parameters, true));
    }
    standard.readout(fitted[0], &fitted[1..])
}

/// [`Readout::Cumulative`] that makes all levels equally frequent among `scores` `[n_samples]`, unlabelled.
///
/// `thresholds[c]` solves `mean_i σ(slope·s_i − thresholds[c]) = 1 − (c + 1)/K`: it is a quantile of scores
/// and noise together. The slope is `π / (√3 · std)`, for which the logistic noise has the deviation of the
/// scores. Unlabelled scores cannot tell how reliable they are; this assumes that they order `½ + asin(√½)/π`
/// = 75 % of all pairs of answers as their levels would (normal scores).
///
/// # Panics
/// `n_levels` is 0.
pub fn fit_cumulative_without_labels(scores: &[f64], n_levels: usize) -> Readout {
    assert!(n_levels > 0, "at least one level");
    let standard = Standard::of(scores);
    let slope = PI / 3f64.sqrt();
    let mut positions: Vec<f64> = scores.iter().map(|&score| slope * standard.of_score(score)).collect();
    if positions.is_empty() {
        positions.push(0.0);
    }
    let thresholds = (1..n_levels).map(|n_below| quantile(&positions, n_below as f64 / n_levels as f64));
    standard.readout(slope, &thresholds.collect::<Vec<_>>())
}

/// The threshold that `positions` plus logistic noise stay below with the probability `share`, by bisection.
fn quantile(positions: &[f64], share: f64) -> f64 {
    let below = |threshold: f64| {
        positions.iter().map(|position| sigmoid(threshold - position)).sum::<f64>() / positions.len() as f64
    };
    // All scores at an end of the range would have the quantile of the noise, there.
    let noise = (share / (1.0 - share)).ln();
    let (low, high) = positions.iter().fold((0.0_f64, 0.0_f64), |(low, high), &x| (low.min(x), high.max(x)));
    let (mut low, mut high) = (low + noise, high + noise);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if below(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Scores in standard deviations from their mean, so that neither their unit nor their zero matters.
struct Standard {
    mean: f64,
    deviation: f64,
    /// Whether scores differ by more than rounding errors; if not they are all at the mean.
    is_spread: bool,
}

impl Standard {
    fn of(scores: &[f64]) -> Self {
        // In units of the largest: squares of huge scores would be infinite.
        let unit = scores.iter().fold(0.0_f64, |unit, score| unit.max(score.abs()));
        if unit < 1e-280 {
            return Self { mean: 0.0, deviation: 1.0, is_spread: false };
        }
        let mean_of = |value: &dyn Fn(f64) -> f64| {
            scores.iter().map(|score| value(score / unit)).sum::<f64>() / scores.len() as f64
        };
        let mean = mean_of(&|score| score);
        let deviation = mean_of(&|score| (score - mean).powi(2)).sqrt();
        let is_spread = deviation > 1e-12;
        Self { mean: mean * unit, deviation: if is_spread { deviation * unit } else { unit }, is_spread }
    }

    fn of_score(&self, score: f64) -> f64 {
        // Halved, so that the difference of huge numbers is finite.
        if self.is_spread { (score / 2.0 - self.mean / 2.0) / (self.deviation / 2.0) } else { 0.0 }
    }

    /// The readout of scores for `slope` and `thresholds` of standard scores.
    fn readout(&self, slope: f64, thresholds: &[f64]) -> Readout {
        let shift = slope * (self.mean / self.deviation);
        let mut thresholds: Vec<f64> = thresholds.iter().map(|threshold| threshold + shift).collect();
        for j in 1..thresholds.len() {
            // Next to a large shift two thresholds may round to one.
            thresholds[j] = thresholds[j].max(thresholds[j - 1].next_up());
        }
        Readout::Cumulative { slope: slope / self.deviation, thresholds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(readout: Readout) -> (f64, Vec<f64>) {
        assert_eq!(readout.check(), Ok(()));
        let Readout::Cumulative { slope, thresholds } = readout else { panic!("{readout:?}") };
        (slope, thresholds)
    }

    fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < tolerance, "{found:?} {expected:?}");
        }
    }

    /// The documented sum minimised by `scipy.optimize.minimize` (SciPy 1.17.1).
    #[test]
    fn slope_and_thresholds_are_those_of_scipy() {
        let scores = [-1.2, 0.4, 2.5, 0.9, -0.3, 1.7, 3.1, 0.1, 2.0];
        let weights = [1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 3.0, 1.0, 1.5];
        let fit =
            |positions: [f64; 9]| parameters(fit_cumulative(&scores, &Labels::new(&positions, &weights, 4)));
        let (slope, thresholds) = fit([0.0, 1.0, 3.0, 1.5, 0.0, 2.0, 3.0, 1.0, 1.0]);
        assert_close(&[slope], &[2.003773], 2e-6);
        assert_close(&thresholds, &[-0.544210, 3.257209, 4.487578], 2e-6);
        // The same without a sample that is wholly at level 2.
        let (slope, thresholds) = fit([0.0, 1.0, 3.0, 1.5, 0.0, 1.0, 3.0, 1.0, 1.0]);
        assert_close(&[slope], &[1.941579], 2e-6);
        assert_close(&thresholds, &[-0.523802, 3.881957, 4.396772], 2e-6);
    }

    #[test]
    fn many_samples_find_the_truth_whatever_the_unit_of_the_score() {
        let truth = Readout::Cumulative { slope: 2.0, thresholds: vec![-1.5, 0.0, 0.5, 2.0] };
        for (unit, zero) in [(1.0, 0.0), (1e-3, 5.0), (1e6, -3e6)] {
            let (mut scores, mut positions, mut weights) = (Vec::new(), Vec::new(), Vec::new());
            for i in 0..2000 {
                let score = f64::from(i % 100 - 50) / 25.0;
                for (level, &p) in truth.probabilities(&[score]).iter().enumerate() {
                    scores.push(zero + unit * score);
                    positions.push(level as f64);
                    weights.push(p);
                }
            }
            let (slope, thresholds) =
                parameters(fit_cumulative(&scores, &Labels::new(&positions, &weights, 5)));
            let unshifted: Vec<f64> = thresholds.iter().map(|threshold| threshold - slope * zero).collect();
            assert_close(&[slope * unit], &[2.0], 0.01);
            assert_close(&unshifted, &[-1.5, 0.0, 0.5, 2.0], 0.01);
        }
    }

    #[test]
    fn a_score_against_the_order_says_nothing() {
        let scores = [3.0, 2.0, 1.0, 0.0];
        let labels = Labels::new(&[0.0, 0.0, 1.0, 2.0], &[1.0; 4], 3);
        let readout = fit_cumulative(&scores, &labels);
        let (low, high) = (readout.probabilities(&[0.0]), readout.probabilities(&[3.0]));
        // Frequencies 2, 1 and 1 of 4, and one sample more spread evenly: (2 + ⅓)/5, (1 + ⅓)/5 twice.
        assert_close(&low, &[7.0 / 15.0, 4.0 / 15.0, 4.0 / 15.0], 1e-3);
        assert_close(&high, &low, 1e-2);
        assert!((parameters(readout).0 - 1e-3 / 1.25f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn levels_that_never_occur_and_separable_scores_stay_finite() {
        let scores: Vec<f64> = (0..40).map(f64::from).collect();
        let positions: Vec<f64> = (0..40).map(|i| if i < 20 { 1.0 } else { 3.0 }).collect();
        let readout = fit_cumulative(&scores, &Labels::new(&positions, &[1.0; 40], 5));
        let (slope, thresholds) = parameters(readout.clone());
        assert!(slope < 100.0 && thresholds.iter().all(|threshold| threshold.abs() < 1000.0), "{readout:?}");
        assert!(
            readout.probabilities(&[5.0])[1] > 0.9 && readout.probabilities(&[35.0])[3] > 0.9,
            "{readout:?}"
        );
    }

    /// Frequencies of the levels over the scores, whatever their distribution.
    #[test]
    fn without_labels_all_levels_are_equally_frequent() {
        let skewed: Vec<f64> = (0..50).map(|i| (f64::from(i) / 8.0).exp() - 20.0).collect();
        let two_piles = [[3.0; 10], [900.0; 10]].concat();
        for scores in [skewed, two_piles, vec![1e9], vec![-2.5; 7], vec![0.0; 3]] {
            let readout = fit_cumulative_without_labels(&scores, 4);
            parameters(readout.clone());
            for level in 0..4 {
                let sum: f64 = scores.iter().map(|&score| readout.probabilities(&[score])[level]).sum();
                assert!((sum / scores.len() as f64 - 0.25).abs() < 1e-3, "{readout:?} {level}");
            }
        }
        let (slope, thresholds) = parameters(fit_cumulative_without_labels(&[], 3));
        assert_close(&[slope], &[1.8137993642], 1e-9); // π/√3
        assert_close(&thresholds, &[-(2f64.ln()), 2f64.ln()], 1e-9);
    }

    /// The noise is as wide as the scores: with deviation 2 the slope is π/(2√3).
    #[test]
    fn without_labels_the_slope_follows_the_deviation() {
        let (slope, thresholds) = parameters(fit_cumulative_without_labels(&[1.0, 5.0], 2));
        assert_close(&[slope], &[0.9068996821], 1e-9);
        assert_close(&thresholds, &[3.0 * 0.9068996821], 1e-9); // By symmetry at the mean, 3.
    }

    #[test]
    fn samples_that_say_nothing_or_are_extreme_give_usable_readouts() {
        let labels =
            |positions: &[f64], n_levels| Labels::new(positions, &vec![1.0; positions.len()], n_levels);
        assert_eq!(fit_cumulative(&[], &labels(&[], 3)), fit_cumulative_without_labels(&[], 3));
        parameters(fit_cumulative(&[2.0; 3], &labels(&[0.0, 1.0, 1.0], 3)));
        assert!(parameters(fit_cumulative(&[2.0, 3.0], &labels(&[0.0, 0.0], 1))).1.is_empty());
        for scores in
            [[f64::MAX, f64::MIN, 0.0], [1e30, 1e30, -1e30], [1e-310, 2e-310, 0.0], [1e15, 1e15 + 1.0, 1e15]]
        {
            let readout = fit_cumulative(&scores, &labels(&[2.0, 0.0, 0.7], 3));
            parameters(readout.clone());
            parameters(fit_cumulative_without_labels(&scores, 5));
            assert!(readout.probabilities(&[scores[0]]).iter().all(|p| p.is_finite()));
        }
    }
}
