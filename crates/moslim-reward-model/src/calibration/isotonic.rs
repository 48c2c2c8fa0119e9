//! Monotone maps without a formula.

use serde::{Deserialize, Serialize};

use crate::calibration::labels::normalised;

/// A non-decreasing map from x to y: linear between its knots, constant outside of them.
///
/// It is the least-squares non-decreasing step function, by pooling adjacent violators (Ayer et al. 1955; for
/// calibration Zadrozny and Elkan 2002), with every step drawn together to the weighted mean of its x and the
/// means joined by lines (centered isotonic regression, Oron and Flournoy 2017): nearby x have nearby y.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isotonic {
    /// `[x, y]`, x strictly ascending, y not descending.
    pub knots: Vec<[f64; 2]>,
}

/// Neighbours that share one y.
#[derive(Clone, Copy)]
struct Block {
    x: f64,
    y: f64,
    weight: f64,
}

impl Block {
    /// Both blocks as one, at their weighted means.
    fn pooled(self, other: Self) -> Self {
        let weight = self.weight + other.weight;
        let share = if weight > 0.0 { other.weight / weight } else { 0.5 };
        let mean = |a: f64, b: f64| (a * (1.0 - share) + b * share).clamp(a.min(b), a.max(b));
        Self { x: mean(self.x, other.x), y: mean(self.y, other.y), weight }
    }
}

impl Isotonic {
    /// The map that fits best to `y` at `x` with `weights` (more than 0; only ratios count), all
    /// `[n_samples]`.
    ///
    /// Samples with equal x are one sample at their mean.
    ///
    /// # Panics
    /// `x`, `y` and `weights` have different lengths.
    pub fn fit(x: &[f64], y: &[f64], weights: &[f64]) -> Self {
        assert_eq!(x.len(), y.len(), "as many x as y");
        assert_eq!(x.len(), weights.len(), "as many x as weights");
        let weights = normalised(weights);
        let mut samples: Vec<Block> =
            (0..x.len()).map(|i| Block { x: x[i], y: y[i], weight: weights[i] }).collect();
        samples.sort_by(|a, b| a.x.total_cmp(&b.x));

        let mut distinct: Vec<Block> = Vec::new();
        for sample in samples {
            match distinct.last_mut() {
                Some(last) if last.x == sample.x => *last = last.pooled(sample),
                _ => distinct.push(sample),
            }
        }
        let mut blocks: Vec<Block> = Vec::new();
        for mut block in distinct {
            while let Some(before) = blocks.pop_if(|before| before.y >= block.y) {
                block = before.pooled(block);
            }
            blocks.push(block);
        }
        Self { knots: blocks.iter().map(|block| [block.x, block.y]).collect() }
    }

    /// y at `x`; `x` itself if there are no knots.
    pub fn apply(&self, x: f64) -> f64 {
        let n_before = self.knots.partition_point(|knot| knot[0] <= x);
        let after = self.knots.get(n_before);
        match (self.knots[..n_before].last(), after) {
            (None, None) => x,
            (Some(knot), None) | (None, Some(knot)) => knot[1],
            (Some(&[x0, y0]), Some(&[x1, y1])) => {
                // Halved, so that the difference of huge numbers is finite.
                let share = (x / 2.0 - x0 / 2.0) / (x1 / 2.0 - x0 / 2.0);
                (y0 * (1.0 - share) + y1 * share).clamp(y0.min(y1), y0.max(y1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    /// y from `sklearn.isotonic.IsotonicRegression` (scikit-learn 1.9.1), the mean x of its steps by hand.
    #[test]
    fn steps_are_those_of_scikit_learn() {
        let x = [4.0, 2.0, 2.0, 3.0, 1.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let y = [4.0, 3.0, 2.0, 1.0, 1.0, 4.5, 3.5, 6.0, 5.0, 8.0];
        let weights = [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 3.0, 1.0];
        let expected =
            [[1.0, 1.0], [2.25, 2.0], [4.0, 4.0], [16.0 / 3.0, 4.166667], [7.75, 5.25], [9.0, 8.0]];
        let map = Isotonic::fit(&x, &y, &weights);
        assert_eq!(map.knots.len(), expected.len(), "{map:?}");
        for (knot, expected) in map.knots.iter().zip(expected) {
            assert_close(knot[0], expected[0]);
            assert_close(knot[1], expected[1]);
        }
    }

    #[test]
    fn lines_join_the_knots_and_nothing_lies_outside() {
        let map = Isotonic { knots: vec![[0.0, 1.0], [2.0, 5.0]] };
        let y = [-3.0, 0.0, 0.5, 2.0, 9.0].map(|x| map.apply(x));
        assert_eq!(y, [1.0, 1.0, 2.0, 5.0, 5.0]);
        assert_eq!(Isotonic { knots: vec![] }.apply(0.3), 0.3);
        let wide = Isotonic { knots: vec![[f64::MIN, 0.0], [f64::MAX, 1.0]] };
        assert_eq!(wide.apply(0.0), 0.5);
    }

    /// The step of sample i is at `max over a <= i of min over b >= i of mean y[a..=b]` (Barlow et al. 1972).
    #[test]
    fn steps_are_those_of_the_max_min_formula() {
        let y: Vec<f64> = (0..60).map(|i| f64::from(i * 53 % 17) + f64::from(i) * 0.2).collect();
        let weights: Vec<f64> = (0..60).map(|i| 1.0 + f64::from(i % 3)).collect();
        let x: Vec<f64> = (0..60).map(f64::from).collect();
        let mean = |a: usize, b: usize| {
            let sum = |value: &dyn Fn(usize) -> f64| (a..=b).map(value).sum::<f64>();
            sum(&|i| weights[i] * y[i]) / sum(&|i| weights[i])
        };
        let lowest = |a: usize, i: usize| (i..60).map(|b| mean(a, b)).fold(f64::INFINITY, f64::min);
        let step = |i: usize| (0..=i).map(|a| lowest(a, i)).fold(f64::NEG_INFINITY, f64::max);
        let mut steps: Vec<f64> = (0..60).map(step).collect();
        steps.dedup_by(|a, b| (*a - *b).abs() < 1e-9);

        let map = Isotonic::fit(&x, &y, &weights);
        assert_eq!(map.check(), Ok(()));
        assert!(steps.len() > 5 && steps.len() == map.knots.len(), "{steps:?} {map:?}");
        for (step, knot) in steps.iter().zip(&map.knots) {
            assert_close(knot[1], *step);
        }
        let ys: Vec<f64> = (-10..700).map(|x| map.apply(f64::from(x) / 10.0)).collect();
        assert!(ys.is_sorted());
    }

    #[test]
    fn extreme_samples_are_fitted_without_a_panic() {
        let x = [f64::MAX, f64::MIN, 0.0, -0.0, 1e-320, f64::MAX];
        let y = [f64::MIN, f64::MAX, 0.0, 1.0, f64::MAX, f64::MAX];
        for weights in
            [[1.0; 6], [f64::MAX; 6], [1e-320; 6], [0.0; 6], [f64::MAX, 1e-320, 1.0, 1.0, 0.0, 0.0]]
        {
            let map = Isotonic::fit(&x, &y, &weights);
            assert_eq!(map.check(), Ok(()), "{weights:?} {map:?}");
        }
        assert!(Isotonic::fit(&[], &[], &[]).knots.is_empty());
    }
}
