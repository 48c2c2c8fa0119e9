//! Means, deviations and quantiles of rewards.

use serde::{Deserialize, Serialize};

use crate::BaselineError;
use crate::error::{check_finite, check_table};

/// A deviation below this is none: all values are equal.
const NO_DEVIATION: f64 = 1e-8;

/// The mean of a reward and its standard deviation (population form).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanStd {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
}

impl MeanStd {
    /// Those of some values.
    ///
    /// # Errors
    /// If there are none, or one is infinite or no number.
    ///
    /// ```
    /// use moslim_baselines::MeanStd;
    /// assert_eq!(MeanStd::of(&[1.0, 3.0])?, MeanStd { mean: 2.0, std: 1.0 });
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn of(values: &[f64]) -> Result<Self, BaselineError> {
        if values.is_empty() {
            return Err(BaselineError::Empty { what: "rewards" });
        }
        check_finite("reward", values)?;
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        Ok(Self { mean, std: variance.sqrt() })
    }

    /// Those of every objective over a data set.
    ///
    /// # Shapes
    /// - `rewards`: `[n_answers][n_objectives]`
    /// - returns: `[n_objectives]`
    ///
    /// # Errors
    /// If there are none, rows differ in length, or a reward is infinite or no number.
    pub fn of_columns(rewards: &[Vec<f64>]) -> Result<Vec<Self>, BaselineError> {
        let n_objectives = check_table(rewards)?;
        (0..n_objectives).map(|objective| Self::of(&column(rewards, objective))).collect()
    }

    /// `z = (r − mean) / std`; where nothing deviates, the distance from the mean.
    pub fn z(self, reward: f64) -> f64 {
        (reward - self.mean) / if self.std > NO_DEVIATION { self.std } else { 1.0 }
    }
}

/// The mean and deviation of all values seen so far, batch by batch ([Chan, Golub & LeVeque 1983](https://doi.org/10.1080/00031305.1983.10483115)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningMeanStd {
    n: f64,
    mean: f64,
    squares: f64,
}

impl RunningMeanStd {
    /// Takes in a batch: `mean += δ·m/(n+m)`, `squares += squares_batch + δ²·n·m/(n+m)` with `δ = mean_batch − mean`.
    ///
    /// # Errors
    /// If a value is infinite or no number; nothing is taken in then.
    pub fn update(&mut self, batch: &[f64]) -> Result<(), BaselineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let MeanStd { mean, std } = MeanStd::of(batch)?;
        let n = batch.len() as f64;
        let (delta, all) = (mean - self.mean, self.n + n);
        self.squares += std.powi(2) * n + delta.powi(2) * self.n * n / all;
        self.mean += delta * n / all;
        self.n = all;
        Ok(())
    }

    /// The statistics of what was seen; `None` before anything was.
    pub fn mean_std(&self) -> Option<MeanStd> {
        (self.n > 0.0).then(|| MeanStd { mean: self.mean, std: (self.squares / self.n).sqrt() })
    }
}

/// The rewards of one objective.
pub(crate) fn column(rewards: &[Vec<f64>], objective: usize) -> Vec<f64> {
    rewards.iter().map(|row| row[objective]).collect()
}

/// The value below which a share of the values lies, with lines between neighbours (NumPy's default); `values` are some, and finite.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z_has_mean_0_and_deviation_1() {
        let statistics = MeanStd::of(&[2.0, 4.0, 9.0]).unwrap();
        // Mean 5, squares 9 + 1 + 16.
        assert_eq!(statistics, MeanStd { mean: 5.0, std: (26f64 / 3.0).sqrt() });
        assert!((statistics.z(9.0) - 4.0 / (26f64 / 3.0).sqrt()).abs() < 1e-12);
        let constant = MeanStd::of(&[0.7, 0.7]).unwrap();
        assert_eq!((constant.z(0.7), constant.z(1.7)), (0.0, 1.0));
        let columns = MeanStd::of_columns(&[vec![1.0, 5.0], vec![3.0, 5.0]]).unwrap();
        assert_eq!(columns, [MeanStd { mean: 2.0, std: 1.0 }, MeanStd { mean: 5.0, std: 0.0 }]);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(MeanStd::of(&[]), Err(BaselineError::Empty { what: "rewards" }));
        assert!(MeanStd::of(&[1.0, f64::NAN]).is_err());
        let mut running = RunningMeanStd::default();
        assert!(running.update(&[f64::INFINITY]).is_err());
        assert_eq!((running.mean_std(), running.update(&[])), (None, Ok(())));
        assert_eq!(running.mean_std(), None);
    }

    #[test]
    fn batches_one_by_one_are_as_all_at_once() {
        let values = [3.0, -1.0, 4.0, 1.5, -9.0, 2.5, 6.0];
        let all = MeanStd::of(&values).unwrap();
        for size in [1, 2, 3, 7] {
            let mut running = RunningMeanStd::default();
            values.chunks(size).for_each(|batch| running.update(batch).unwrap());
            let MeanStd { mean, std } = running.mean_std().unwrap();
            assert!((mean - all.mean).abs() < 1e-12 && (std - all.std).abs() < 1e-12, "{size}: {mean} {std}");
        }
    }

    #[test]
    fn quantiles_lie_on_lines_between_neighbours() {
        let values = [40.0, 10.0, 30.0, 20.0];
        for (share, expected) in [(0.0, 10.0), (0.5, 25.0), (0.7, 31.0), (1.0, 40.0)] {
            assert!((quantile(&values, share) - expected).abs() < 1e-9, "{share}");
        }
        assert_eq!(quantile(&[5.0], 0.7), 5.0);
    }
}
