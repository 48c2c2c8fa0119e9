//! How often which level met which, and the agreement that follows from it.

use std::ops::AddAssign;

use moslim_data::Level;
use serde::Serialize;

use super::{WeightedPair, weighted_kendall_tau_b, weighted_spearman};

/// Counts of pairs of levels: rows are the truth or the level asked for, columns the level predicted or achieved. `[n_levels, n_levels]`
///
/// Every measure of agreement is NaN when nothing was counted.
///
/// ```
/// let mut counts = moslim_eval::stats::CountMatrix::new(3);
/// counts.count(0, 0);
/// counts.count(2, 1);
/// assert_eq!(counts.exact(), 0.5);
/// assert_eq!(counts.within_one(), 1.0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CountMatrix {
    rows: Vec<Vec<usize>>,
}

impl CountMatrix {
    /// A matrix without counts for an objective of K levels.
    pub fn new(n_levels: usize) -> Self {
        Self { rows: vec![vec![0; n_levels]; n_levels] }
    }

    /// Counts one pair of levels.
    ///
    /// # Panics
    /// When a level is not below K.
    pub fn count(&mut self, row: Level, column: Level) {
        let n_levels = self.rows.len();
        assert!(
            row.max(column) < n_levels,
            "levels {row} and {column} must be below the number of levels, {n_levels}"
        );
        self.rows[row][column] += 1;
    }

    /// The counts, row by row.
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// The number of pairs counted.
    pub fn total(&self) -> usize {
        self.rows.iter().flatten().sum()
    }

    /// The share of pairs of equal levels.
    pub fn exact(&self) -> f64 {
        self.mean(|distance| f64::from(distance == 0))
    }

    /// The share of pairs at most one level apart.
    pub fn within_one(&self) -> f64 {
        self.mean(|distance| f64::from(distance <= 1))
    }

    /// The mean distance in levels.
    pub fn mean_absolute_error(&self) -> f64 {
        self.mean(|distance| distance as f64)
    }

    /// [`spearman`](super::spearman) of the pairs.
    pub fn spearman(&self) -> f64 {
        spearman_of_counts(&self.rows)
    }

    /// [`kendall_tau_b`](super::kendall_tau_b) of the pairs.
    pub fn kendall_tau_b(&self) -> f64 {
        weighted_kendall_tau_b(&pairs(&self.rows))
    }

    /// Cohen's kappa with quadratic weights ([Cohen 1968]): `1 - Σ (i-j)² o_ij / Σ (i-j)² e_ij`, with `e` the counts expected of independent rows and columns.
    ///
    /// 1 is full agreement, 0 that of chance; NaN when chance could not disagree, as when there is one level only.
    ///
    /// [Cohen 1968]: https://doi.org/10.1037/h0026256
    pub fn quadratic_weighted_kappa(&self) -> f64 {
        let row_totals: Vec<usize> = self.rows.iter().map(|row| row.iter().sum()).collect();
        let column_totals = self.column_totals();
        let (mut observed, mut expected) = (0.0, 0.0);
        for (i, row) in self.rows.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                let weight = i.abs_diff(j).pow(2) as f64;
                observed += weight * count as f64;
                expected += weight * row_totals[i] as f64 * column_totals[j] as f64;
            }
        }
        if expected == 0.0 { f64::NAN } else { 1.0 - observed * self.total() as f64 / expected }
    }

    /// The mean column level of every row; NaN for a row without counts. `[n_levels]`
    pub fn mean_by_row(&self) -> Vec<f64> {
        self.rows
            .iter()
            .map(|row| {
                let sum: usize = row.iter().enumerate().map(|(level, count)| level * count).sum();
                sum as f64 / row.iter().sum::<usize>() as f64
            })
            .collect()
    }

    /// How often each level occurs among the columns. `[n_levels]`
    pub(crate) fn column_totals(&self) -> Vec<usize> {
        (0..self.rows.len()).map(|column| self.rows.iter().map(|row| row[column]).sum()).collect()
    }

    fn mean(&self, value_at_distance: impl Fn(usize) -> f64) -> f64 {
        let mut sum = 0.0;
        for (i, row) in self.rows.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                sum += count as f64 * value_at_distance(i.abs_diff(j));
            }
        }
        sum / self.total() as f64
    }
}

/// The cells of a table of counts as pairs of their row and column.
fn pairs(rows: &[Vec<usize>]) -> Vec<WeightedPair> {
    let cells = (rows.iter().enumerate())
        .flat_map(|(i, row)| row.iter().enumerate().map(move |(j, &count)| (i, j, count)));
    cells
        .filter(|&(.., count)| count > 0)
        .map(|(i, j, count)| WeightedPair { x: i as f64, y: j as f64, weight: count as f64 })
        .collect()
}

/// [`spearman`](super::spearman) of observations that a table counts, by the level of one side and then of the other,
/// which may have another number of levels.
///
/// ```
/// // Three observations: (0, 0), (0, 0) and (1, 2).
/// let rho = moslim_eval::stats::spearman_of_counts(&[vec![2, 0, 0], vec![0, 0, 1]]);
/// assert!((rho - 1.0).abs() < 1e-12);
/// ```
pub fn spearman_of_counts(rows: &[Vec<usize>]) -> f64 {
    weighted_spearman(&pairs(rows))
}

impl AddAssign<&CountMatrix> for CountMatrix {
    fn add_assign(&mut self, other: &CountMatrix) {
        assert_eq!(self.rows.len(), other.rows.len(), "count matrices of different numbers of levels");
        for (own, added) in self.rows.iter_mut().flatten().zip(other.rows.iter().flatten()) {
            *own += added;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::{kendall_tau_b, spearman};

    fn counted(n_levels: usize, pairs: &[(Level, Level)]) -> CountMatrix {
        let mut counts = CountMatrix::new(n_levels);
        for &(row, column) in pairs {
            counts.count(row, column);
        }
        counts
    }

    #[test]
    fn agreement_equals_the_golden_values() {
        let asked = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4];
        let achieved = [0, 1, 1, 3, 3, 1, 1, 2, 4, 4];
        let counts = counted(5, &asked.into_iter().zip(achieved).collect::<Vec<_>>());
        assert_eq!(counts.total(), 10);
        assert_eq!(counts.exact(), 0.6);
        assert_eq!(counts.within_one(), 1.0);
        assert_eq!(counts.mean_absolute_error(), 0.4);
        assert!((counts.quadratic_weighted_kappa() - 0.894_737).abs() < 1e-6);
        assert_eq!(counts.mean_by_row(), [0.5, 1.0, 1.5, 3.5, 3.5]);
    }

    #[test]
    fn kappa_is_one_for_agreement_minus_one_for_reversal_and_nan_without_choice() {
        assert_eq!(counted(2, &[(0, 0), (1, 1)]).quadratic_weighted_kappa(), 1.0);
        assert_eq!(counted(2, &[(0, 1), (1, 0)]).quadratic_weighted_kappa(), -1.0);
        assert!(counted(3, &[(1, 1), (1, 1)]).quadratic_weighted_kappa().is_nan());
    }

    #[test]
    fn nothing_counted_is_nan() {
        let empty = CountMatrix::new(3);
        assert!(empty.exact().is_nan() && empty.mean_absolute_error().is_nan());
        assert!(empty.spearman().is_nan() && empty.kendall_tau_b().is_nan());
        assert!(empty.quadratic_weighted_kappa().is_nan());
        assert!(empty.mean_by_row().iter().all(|mean| mean.is_nan()));
    }

    #[test]
    #[should_panic(expected = "levels 1 and 2 must be below the number of levels, 2")]
    fn a_level_outside_the_objective_is_a_mistake() {
        CountMatrix::new(2).count(1, 2);
    }

    proptest! {
        #[test]
        fn correlations_equal_those_of_the_pairs_written_out(
            pairs in prop::collection::vec((0_usize..4, 0_usize..4), 2..50),
        ) {
            let counts = counted(4, &pairs);
            let x: Vec<f64> = pairs.iter().map(|&(x, _)| x as f64).collect();
            let y: Vec<f64> = pairs.iter().map(|&(_, y)| y as f64).collect();
            for (of_counts, of_pairs) in [
                (counts.spearman(), spearman(&x, &y)),
                (counts.kendall_tau_b(), kendall_tau_b(&x, &y)),
            ] {
                prop_assert!((of_counts - of_pairs).abs() < 1e-12 || (of_counts.is_nan() && of_pairs.is_nan()));
            }
        }
    }
}
