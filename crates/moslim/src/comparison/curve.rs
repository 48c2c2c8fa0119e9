//! Levels for methods that take weights: a monotone curve per objective, read backwards.

use moslim_baselines::Weights;
use moslim_data::Request;
use moslim_eval::stats::mean;
use moslim_reward_model::Isotonic;

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
            let weights: Vec<f64> = at_weight.into_iter().map(|(weight, _)| weight).collect();
            let curve = Isotonic::fit(&weights, &observed, &counts);
            let fitted = weights.iter().map(|&weight| curve.apply(weight)).collect();
            LevelCurve { objective: name.clone(), fitted, weights, observed }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_finds_the_weighting_that_comes_nearest() {
        let weightings = Weights::grid(2, 2).unwrap(); // (0, 1), (½, ½), (1, 0)
        let names = ["a", "b"].map(String::from);
        let levels = [[0.0, 1.0], [3.0, 0.8], [2.0, 0.0]].map(Vec::from);
        let curves = Curves::fit(&names, &[5, 2], &weightings, &levels);
        assert_eq!(curves.curves[0].observed, [0.0, 3.0, 2.0]);
        // 3 and 2 are in the wrong order: 2.5 at ¾, and a line from (0, 0).
        let expected = [0.0, 2.5 * 0.5 / 0.75, 2.5];
        for (found, expected) in curves.curves[0].fitted.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
        assert_eq!(curves.curves[1].weights, [0.0, 0.5, 1.0]);
        let nearest =
            |levels: [Option<f64>; 2]| curves.nearest(&Request { levels: levels.into() }, &weightings);
        assert_eq!(nearest([Some(0.0), None]), 0);
        assert_eq!(nearest([Some(1.6), None]), 1);
        assert_eq!(nearest([Some(4.0), None]), 2);
        // |1.67 − 2|/4 + |0.8 − 1| is less than |2.5 − 2|/4 + |0 − 1|.
        assert_eq!(nearest([Some(2.0), Some(1.0)]), 1);
        // Nothing is nearer to nothing; the weights are as even as can be.
        assert_eq!(nearest([None, None]), 1);
    }
}
