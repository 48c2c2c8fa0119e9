//! Levels for methods that take weights: a monotone curve per objective, read backwards.

use moslim_baselines::Weights;
use moslim_data::Request;
use moslim_eval::stats::mean;

use super::measured::LevelCurve;

/// The levels that a method's policies reach, as functions of the weights.
pub(super) struct Curves {
    pub curves: Vec<LevelCurve>,
    /// Highest level of every objective.
    highest: Vec<f64>,
}

impl Curves {
    /// Fits a curve for every objective to the mean levels at every weighting.
    ///
    /// Other objectives have different weights where one has the same, so the observed level at a weight is a mean.
    ///
    /// # Shapes
    /// - `levels`: mean positions, `[n_weightings][n_objectives]`
    pub(super) fn fit(
        names: &[String],
        n_levels: &[usize],
        weightings: &[Weights],
        levels: &[Vec<f64>],
    ) -> Self {
        let curve = |(objective, name): (usize, &String)| {
            let mut points: Vec<(f64, f64)> = weightings
                .iter()
                .zip(levels)
                .map(|(weights, levels)| (weights.as_slice()[objective], levels[objective]))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let at_weight: Vec<(f64, Vec<f64>)> = points
                .chunk_by(|a, b| a.0 == b.0)
                .map(|same| (same[0].0, same.iter().map(|point| point.1).collect()))
                .collect();
            let observed: Vec<f64> = at_weight.iter().map(|(_, levels)| mean(levels)).collect();
            let counts: Vec<f64> = at_weight.iter().map(|(_, levels)| levels.len() as f64).collect();
            LevelCurve {
                objective: name.clone(),
                weights: at_weight.into_iter().map(|(weight, _)| weight).collect(),
                fitted: isotonic(&observed, &counts),
                observed,
            }
        };
        Self {
            curves: names.iter().enumerate().map(curve).collect(),
            highest: n_levels.iter().map(|&n| (n - 1) as f64).collect(),
        }
    }

    /// The weighting, of those measured, whose fitted levels are nearest to a request; of equals the most even one.
    pub(super) fn nearest(&self, request: &Request, weightings: &[Weights]) -> usize {
        let distance = |weights: &Weights| {
            let asked = request.levels.iter().zip(&self.highest).enumerate();
            let distances = asked.filter_map(|(objective, (level, highest))| {
                let found = self.curves[objective].at(weights.as_slice()[objective]);
                Some((found - (*level)?).abs() / highest)
            });
            distances.sum::<f64>()
        };
        let unevenness = |weights: &Weights| weights.as_slice().iter().map(|weight| weight.powi(2)).sum();
        let key = |weights: &Weights| [distance(weights), unevenness(weights)];
        let keys: Vec<[f64; 2]> = weightings.iter().map(key).collect();
        let better = |a: &[f64; 2], b: &[f64; 2]| {
            a[0] < b[0] - SAME_DISTANCE || (a[0] < b[0] + SAME_DISTANCE && a[1] < b[1])
        };
        (1..keys.len()).fold(0, |best, other| if better(&keys[other], &keys[best]) { other } else { best })
    }
}

/// Distances that differ by less are equal.
const SAME_DISTANCE: f64 = 1e-9;

impl LevelCurve {
    /// The fitted level at a weight that was measured.
    fn at(&self, weight: f64) -> f64 {
        let place = self.weights.iter().position(|&measured| measured == weight);
        self.fitted[place.expect("only weights that were measured are asked for")]
    }
}

/// The values that never fall and are nearest to others in the sum of weighted squares: neighbours in the wrong order are pooled
/// until there are none ([Ayer et al. 1955](https://doi.org/10.1214/aoms/1177728423)).
fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    // Mean, weight and number of every pool.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (&value, &weight) in values.iter().zip(weights) {
        let mut pool = (value, weight, 1);
        while let Some(&(mean, before, n)) = pools.last().filter(|last| last.0 > pool.0) {
            let both = before + pool.1;
            pool = ((mean * before + pool.0 * pool.1) / both, both, n + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(mean, _, n)| std::iter::repeat_n(mean, n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_the_wrong_order_are_pooled() {
        assert_eq!(isotonic(&[1.0, 2.0, 3.0], &[1.0; 3]), [1.0, 2.0, 3.0]);
        // 3 and 1 with weights 1 and 3: (3 + 3) / 4.
        assert_eq!(isotonic(&[0.0, 3.0, 1.0, 4.0], &[1.0, 1.0, 3.0, 1.0]), [0.0, 1.5, 1.5, 4.0]);
        // Pooled backwards: 4, 3, 2 are 3 together.
        assert_eq!(isotonic(&[4.0, 3.0, 2.0], &[1.0; 3]), [3.0; 3]);
        assert_eq!(isotonic(&[], &[]), [0.0; 0]);
    }

    #[test]
    fn a_request_finds_the_weighting_that_comes_nearest() {
        let weightings = Weights::grid(2, 2).unwrap(); // (0, 1), (½, ½), (1, 0)
        let names = ["a", "b"].map(String::from);
        let levels = [[0.0, 1.0], [3.0, 0.8], [2.0, 0.0]].map(Vec::from);
        let curves = Curves::fit(&names, &[5, 2], &weightings, &levels);
        assert_eq!(curves.curves[0].fitted, [0.0, 2.5, 2.5]);
        assert_eq!(curves.curves[1].weights, [0.0, 0.5, 1.0]);
        let nearest =
            |levels: [Option<f64>; 2]| curves.nearest(&Request { levels: levels.into() }, &weightings);
        assert_eq!(nearest([Some(0.0), None]), 0);
        // (½, ½) and (1, 0) have the same fitted level of a; the first is more even.
        assert_eq!(nearest([Some(4.0), None]), 1);
        // |2.5 − 4|/4 + |0 − 0| against the same + 0.8.
        assert_eq!(nearest([Some(4.0), Some(0.0)]), 2);
    }
}
