//! How the probability of a class is spread over answers: what reading B standardises with.

use serde::{Deserialize, Serialize};

use crate::formula::interpolate;
use crate::{ClassProbabilities, MappingError};

/// Deviations up to this count as none: the class has not varied, and dividing by rounding noise would explode.
const MIN_STD: f64 = 1e-8;

/// Mean and standard deviation of one class's probability over answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassStats {
    /// The mean.
    pub mean: f64,
    /// The population standard deviation.
    pub std: f64,
}

impl ClassStats {
    /// `(p − mean) / std`, or 0 for a class that has not varied.
    fn standardize(self, p: f64) -> f64 {
        if self.std > MIN_STD { (p - self.mean) / self.std } else { 0.0 }
    }
}

/// [`ClassStats`] of every head and class, `[n_heads][n_classes]`, ragged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetStats(pub Vec<Vec<ClassStats>>);

impl TargetStats {
    /// Mean and population deviation over the answers of a calibration set.
    ///
    /// # Errors
    /// No answers, or answers whose heads differ.
    ///
    /// ```
    /// use moslim_reward_mapping::{ClassProbabilities, TargetStats};
    ///
    /// let answers = [vec![0.25, 0.75], vec![0.75, 0.25]].map(|head| ClassProbabilities(vec![head]));
    /// let stats = TargetStats::from_probabilities(&answers)?;
    /// assert_eq!((stats.0[0][1].mean, stats.0[0][1].std), (0.5, 0.25));
    /// # Ok::<(), moslim_reward_mapping::MappingError>(())
    /// ```
    pub fn from_probabilities(answers: &[ClassProbabilities]) -> Result<Self, MappingError> {
        let expected = answers.first().ok_or(MappingError::NoAnswers)?.n_classes();
        if let Some(other) = answers.iter().find(|answer| answer.n_classes() != expected) {
            return Err(MappingError::StatsShape { found: expected, expected: other.n_classes() });
        }
        let class_stats = |head: usize, class: usize| {
            let mean_over_answers = |value: &dyn Fn(f64) -> f64| {
                answers.iter().map(|answer| value(answer.0[head][class])).sum::<f64>() / answers.len() as f64
            };
            let mean = mean_over_answers(&|p| p);
            ClassStats { mean, std: mean_over_answers(&|p| (p - mean).powi(2)).sqrt() }
        };
        let heads = expected.iter().enumerate();
        Ok(Self(heads.map(|(head, &n)| (0..n).map(|class| class_stats(head, class)).collect()).collect()))
    }

    /// K for every head.
    pub(crate) fn n_classes(&self) -> Vec<usize> {
        self.0.iter().map(Vec::len).collect()
    }

    /// Whether these are the statistics of heads with `expected` classes.
    pub(crate) fn check_shape(&self, expected: Vec<usize>) -> Result<(), MappingError> {
        let found = self.n_classes();
        if found == expected { Ok(()) } else { Err(MappingError::StatsShape { found, expected }) }
    }

    /// `(p[t] − mean) / std` of the target class; between two levels, linear between their values.
    pub(crate) fn z(&self, head: usize, probabilities: &[f64], target: f64) -> f64 {
        interpolate(|class| self.0[head][class].standardize(probabilities[class]), target)
    }
}

/// [`TargetStats`] that follow the answers of a running training.
///
/// After the first batch, with momentum `m`, old mean `μ` and variance `σ²`, and the batch's `μ_b` and `σ_b²`:
/// `μ ← (1 − m) μ + m μ_b` and `σ² ← (1 − m) σ² + m σ_b² + m (1 − m) (μ_b − μ)²`,
/// which are the mean and the variance of the mixture of the past and the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningStats {
    momentum: f64,
    stats: Option<TargetStats>,
}

impl RunningStats {
    /// Statistics of nothing yet; `momentum` is the weight of a new batch.
    ///
    /// # Errors
    /// A momentum that is not above 0 and at most 1.
    ///
    /// ```
    /// use moslim_reward_mapping::{ClassProbabilities, RunningStats};
    ///
    /// let mut running = RunningStats::new(0.5)?;
    /// assert!(running.stats().is_none());
    /// for p in [0.2, 0.6] {
    ///     running.update(&[ClassProbabilities(vec![vec![p, 1.0 - p]])])?;
    /// }
    /// let first_class = running.stats().unwrap().0[0][0];
    /// assert!((first_class.mean - 0.4).abs() < 1e-12 && (first_class.std - 0.2).abs() < 1e-12);
    /// # Ok::<(), moslim_reward_mapping::MappingError>(())
    /// ```
    pub fn new(momentum: f64) -> Result<Self, MappingError> {
        check_momentum(momentum)?;
        Ok(Self { momentum, stats: None })
    }

    /// Takes in a batch of answers.
    ///
    /// # Errors
    /// No answers, or answers whose heads differ from each other or from those before; nothing is then changed.
    pub fn update(&mut self, batch: &[ClassProbabilities]) -> Result<(), MappingError> {
        let batch = TargetStats::from_probabilities(batch)?;
        let Some(stats) = &mut self.stats else {
            self.stats = Some(batch);
            return Ok(());
        };
        stats.check_shape(batch.n_classes())?;
        let m = self.momentum;
        for (old, new) in stats.0.iter_mut().flatten().zip(batch.0.iter().flatten()) {
            let distance = new.mean - old.mean;
            let var = (1.0 - m) * old.std.powi(2) + m * new.std.powi(2) + m * (1.0 - m) * distance.powi(2);
            *old = ClassStats { mean: old.mean + m * distance, std: var.sqrt() };
        }
        Ok(())
    }

    /// The present statistics, or `None` before the first batch.
    pub fn stats(&self) -> Option<&TargetStats> {
        self.stats.as_ref()
    }
}

pub(crate) fn check_momentum(momentum: f64) -> Result<(), MappingError> {
    if momentum > 0.0 && momentum <= 1.0 {
        Ok(())
    } else {
        Err(MappingError::Setting { setting: "momentum", found: momentum, expected: "above 0 and at most 1" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(p: f64) -> ClassProbabilities {
        ClassProbabilities(vec![vec![p, 1.0 - p]])
    }

    #[test]
    fn momentum_one_forgets_and_one_half_weighs_equally() {
        // Two batches of equal weight are one big batch: 0.1, 0.3, 0.6, 0.8 have mean 0.45 and deviation sqrt(0.0725).
        let batches = [[0.1, 0.3], [0.6, 0.8]].map(|batch| batch.map(answer));
        for (momentum, mean, std) in [(1.0, 0.7, 0.1), (0.5, 0.45, 0.0725_f64.sqrt())] {
            let mut running = RunningStats::new(momentum).unwrap();
            for batch in &batches {
                running.update(batch).unwrap();
            }
            let found = running.stats().unwrap().0[0][0];
            assert!((found.mean - mean).abs() < 1e-12 && (found.std - std).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn a_class_that_has_not_varied_says_nothing() {
        let constant = TargetStats::from_probabilities(&[answer(0.3), answer(0.3)]).unwrap();
        let rounding_noise = TargetStats(vec![vec![ClassStats { mean: 0.3, std: 1e-12 }; 2]]);
        for stats in [constant, rounding_noise] {
            assert_eq!(stats.z(0, &[0.9, 0.1], 0.0), 0.0);
        }
    }

    #[test]
    fn between_two_levels_the_value_is_linear() {
        let [low, high] = [ClassStats { mean: 0.2, std: 0.1 }, ClassStats { mean: 0.4, std: 0.2 }];
        let stats = TargetStats(vec![vec![low, high]]);
        // z is 3 at level 0 and 0.5 at level 1; 0.75 · 3 + 0.25 · 0.5 = 2.375.
        assert!((stats.z(0, &[0.5, 0.5], 0.25) - 2.375).abs() < 1e-12);
    }

    #[test]
    fn batches_that_do_not_fit_are_refused() {
        let mut running = RunningStats::new(0.1).unwrap();
        assert_eq!(running.update(&[]), Err(MappingError::NoAnswers));
        running.update(&[answer(0.5)]).unwrap();
        let other = ClassProbabilities(vec![vec![0.2, 0.3, 0.5]]);
        let message = running.update(&[other]).unwrap_err().to_string();
        assert_eq!(message, "target statistics of heads with [2] classes, expected [3]");
        assert!(RunningStats::new(0.0).is_err() && RunningStats::new(f64::NAN).is_err());
    }

    #[test]
    fn statistics_survive_a_file() {
        let mut running = RunningStats::new(0.3).unwrap();
        for p in [0.1, 1.0 / 3.0] {
            running.update(&[answer(p)]).unwrap();
        }
        let file = serde_json::to_string(&running).unwrap();
        assert_eq!(serde_json::from_str::<RunningStats>(&file).unwrap(), running);
    }
}
