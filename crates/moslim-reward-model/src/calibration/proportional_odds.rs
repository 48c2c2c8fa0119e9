//! The likelihood of a proportional-odds model.

use crate::calibration::Labels;
use crate::calibration::logistic::{sigmoid, softplus};
use crate::calibration::minimise::Local;

/// What `fit_cumulative` minimises; its parameters are the slope and then the thresholds, `[K]` together.
pub(crate) struct ProportionalOdds<'a> {
    scores: &'a [f64],
    /// `w_i q_ic` with q smoothed, `[n_samples][K]`: how much of all samples is sample i at level c.
    masses: Vec<Vec<f64>>,
    /// Their sums over samples, `[K]`.
    level_masses: Vec<f64>,
}

impl<'a> ProportionalOdds<'a> {
    /// For `scores`, mixing every label with all levels evenly by `1/(n + 1)`.
    pub(crate) fn new(scores: &'a [f64], labels: &Labels) -> Self {
        let n_levels = labels.n_levels();
        let smoothing = (labels.effective_size() + 1.0).recip();
        let mass = |i: usize, weight: f64, level: usize| {
            weight * ((1.0 - smoothing) * labels.share(i, level) + smoothing / n_levels as f64)
        };
        let samples = labels.weights().iter().enumerate();
        let masses: Vec<Vec<f64>> =
            samples.map(|(i, &weight)| (0..n_levels).map(|level| mass(i, weight, level)).collect()).collect();
        let level_masses = (0..n_levels).map(|level| masses.iter().map(|mass| mass[level]).sum()).collect();
        Self { scores, masses, level_masses }
    }

    /// Parameters with `slope` whose thresholds would give the levels their frequencies if all scores were 0.
    pub(crate) fn start(&self, slope: f64) -> Vec<f64> {
        let odds_below = |level: usize| {
            let (below, above) = self.level_masses.split_at(level);
            below.iter().sum::<f64>() / above.iter().sum::<f64>()
        };
        let thresholds = (1..self.level_masses.len()).map(|level| odds_below(level).ln());
        [slope].into_iter().chain(thresholds).collect()
    }

    /// The mean negative log-likelihood at `parameters`, along the thresholds only if `slope_is_fixed`.
    pub(crate) fn objective(&self, parameters: &[f64], slope_is_fixed: bool) -> Local {
        let n = parameters.len();
        let (slope, thresholds) = (parameters[0], &parameters[1..]);
        if thresholds.windows(2).any(|pair| pair[1] <= pair[0]) {
            return Local::flat(f64::INFINITY, n);
        }
        let mut local = Local::flat(0.0, n);
        for (score, mass) in self.scores.iter().zip(&self.masses) {
            for (j, threshold) in thresholds.iter().enumerate() {
                let a = slope * score - threshold;
                let (below, above) = (mass[j], mass[j + 1]);
                local.value += above * softplus(-a) + below * softplus(a);
                let derivative = below * sigmoid(a) - above * sigmoid(-a);
                let curvature = (below + above) * sigmoid(a) * sigmoid(-a);
                // a moves by the score with the slope and by −1 with the threshold.
                local.gradient[0] += derivative * score;
                local.gradient[j + 1] -= derivative;
                local.hessian[0][0] += curvature * score * score;
                local.hessian[0][j + 1] -= curvature * score;
                local.hessian[j + 1][0] -= curvature * score;
                local.hessian[j + 1][j + 1] += curvature;
            }
        }
        self.add_gaps(thresholds, &mut local);
        if slope_is_fixed {
            local.gradient[0] = 0.0;
            local.hessian[0].fill(0.0);
            local.hessian.iter_mut().for_each(|row| row[0] = 0.0);
            local.hessian[0][0] = 1.0;
        }
        local
    }

    /// `−mass ln(1 − e^−gap)` for every inner level, whose gap lies between its two thresholds.
    fn add_gaps(&self, thresholds: &[f64], local: &mut Local) {
        for (pair, (level, mass)) in thresholds.windows(2).zip(self.level_masses.iter().enumerate().skip(1)) {
            let gap = pair[1] - pair[0];
            local.value -= mass * (-(-gap).exp_m1()).ln();
            let derivative = -mass / gap.exp_m1();
            let curvature = mass / (gap.exp_m1() * -(-gap).exp_m1());
            let (lower, upper) = (level, level + 1);
            local.gradient[lower] -= derivative;
            local.gradient[upper] += derivative;
            for (i, j, sign) in
                [(lower, lower, 1.0), (upper, upper, 1.0), (lower, upper, -1.0), (upper, lower, -1.0)]
            {
                local.hessian[i][j] += sign * curvature;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Readout;

    const SCORES: [f64; 4] = [-1.0, 0.2, 0.5, 1.7];

    fn labels() -> Labels {
        Labels::new(&[0.0, 2.0, 1.4, 3.0], &[1.0, 2.0, 1.0, 0.5], 4)
    }

    /// Against the textbook formula, level by level.
    #[test]
    fn value_is_the_cross_entropy_with_the_smoothed_labels() {
        let (scores, labels) = (SCORES, labels());
        let parameters = [1.3, -0.7, 0.1, 0.9];
        let readout = Readout::Cumulative { slope: parameters[0], thresholds: parameters[1..].to_vec() };
        let smoothing = 1.0 / (20.25 / 6.25 + 1.0); // (Σ w)² = 4.5², Σ w² = 6.25
        let mut expected = 0.0;
        for (i, weight) in [1.0, 2.0, 1.0, 0.5].iter().enumerate() {
            for (c, p) in readout.probabilities(&[scores[i]]).iter().enumerate() {
                let q = (1.0 - smoothing) * labels.share(i, c) + smoothing / 4.0;
                expected -= weight / 4.5 * q * p.ln();
            }
        }
        let found = ProportionalOdds::new(&scores, &labels).objective(&parameters, false).value;
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn derivatives_are_those_of_small_differences() {
        let labels = labels();
        let problem = ProportionalOdds::new(&SCORES, &labels);
        let parameters = [1.3, -0.7, 0.1, 0.9];
        let here = problem.objective(&parameters, false);
        for i in 0..4 {
            let [before, after] = [-1e-5, 1e-5].map(|step| {
                let mut moved = parameters;
                moved[i] += step;
                problem.objective(&moved, false)
            });
            assert!((here.gradient[i] - (after.value - before.value) / 2e-5).abs() < 1e-8, "{i}");
            for j in 0..4 {
                let difference = (after.gradient[j] - before.gradient[j]) / 2e-5;
                assert!((here.hessian[i][j] - difference).abs() < 1e-8, "{i} {j}");
            }
        }
    }

    #[test]
    fn thresholds_that_do_not_ascend_are_infinitely_bad() {
        let labels = labels();
        let problem = ProportionalOdds::new(&SCORES, &labels);
        assert_eq!(problem.objective(&[1.0, 0.0, 0.0, 1.0], false).value, f64::INFINITY);
    }
}
