//! The statistics behind the measures: pure functions of numbers.
//!
//! Where a statistic is not defined (nothing was given, one side is constant, a value is not finite), it is NaN, as in SciPy.
//! `serde_json` writes NaN as `null`.

mod bootstrap;
mod count_matrix;

pub use bootstrap::{
    GroupDraw, Interval, bootstrap_interval, bootstrap_interval_in_groups, bootstrap_intervals,
    resampled_in_groups,
};
pub use count_matrix::{CountMatrix, spearman_of_counts};

/// Two values observed together, and how often they were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightedPair {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) weight: f64,
}

/// The arithmetic mean; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Spearman's rank correlation ρ: Pearson's correlation of the ranks, equal values sharing their average rank.
///
/// NaN when a side is constant.
///
/// ```
/// assert_eq!(moslim_eval::stats::spearman(&[1.0, 2.0, 3.0], &[0.1, 0.2, 9.0]), 1.0);
/// ```
///
/// # Panics
/// When the slices differ in length.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    weighted_spearman(&pairs(x, y))
}

/// Kendall's rank correlation τ-b, which corrects for ties on both sides.
///
/// `τ_b = (C - D) / sqrt((n₀ - t_x)(n₀ - t_y))` over the n₀ pairs of observations, of which C agree in order, D disagree, and t_x and t_y are tied.
/// NaN when a side is constant.
/// The time is quadratic in the number of *distinct* points, so levels are cheap at any number of answers.
///
/// ```
/// let tau = moslim_eval::stats::kendall_tau_b(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]);
/// assert!((tau - 1.0 / 3.0).abs() < 1e-12); // two pairs agree, one does not
/// ```
///
/// # Panics
/// When the slices differ in length.
pub fn kendall_tau_b(x: &[f64], y: &[f64]) -> f64 {
    let mut pairs = pairs(x, y);
    pairs.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    pairs.dedup_by(|next, kept| {
        let equal = next.x == kept.x && next.y == kept.y;
        if equal {
            kept.weight += next.weight;
        }
        equal
    });
    weighted_kendall_tau_b(&pairs)
}

/// The slope of the least-squares line of `y` on `x`; NaN when `x` is constant.
///
/// ```
/// assert_eq!(moslim_eval::stats::slope(&[0.0, 1.0, 2.0], &[1.0, 3.0, 5.0]), 2.0);
/// ```
///
/// # Panics
/// When the slices differ in length.
pub fn slope(x: &[f64], y: &[f64]) -> f64 {
    let moments = CentralMoments::of(&pairs(x, y));
    moments.xy / moments.xx
}

pub(crate) fn weighted_spearman(pairs: &[WeightedPair]) -> f64 {
    if !all_finite(pairs) {
        return f64::NAN;
    }
    let x = average_ranks(pairs, |pair| pair.x);
    let y = average_ranks(pairs, |pair| pair.y);
    let ranked: Vec<_> =
        (pairs.iter().zip(x).zip(y)).map(|((pair, x), y)| WeightedPair { x, y, ..*pair }).collect();
    let moments = CentralMoments::of(&ranked);
    moments.xy / (moments.xx * moments.yy).sqrt()
}

/// The pairs must be distinct points: one point of weight 2 is two observations tied on both sides.
pub(crate) fn weighted_kendall_tau_b(pairs: &[WeightedPair]) -> f64 {
    if !all_finite(pairs) {
        return f64::NAN;
    }
    let (mut agreement, mut untied_x, mut untied_y) = (0.0, 0.0, 0.0);
    for (position, a) in pairs.iter().enumerate() {
        for b in &pairs[..position] {
            let weight = a.weight * b.weight;
            let (order_x, order_y) = (order(a.x, b.x), order(a.y, b.y));
            agreement += weight * order_x * order_y;
            untied_x += weight * order_x.abs();
            untied_y += weight * order_y.abs();
        }
    }
    agreement / f64::sqrt(untied_x * untied_y)
}

fn pairs(x: &[f64], y: &[f64]) -> Vec<WeightedPair> {
    assert_eq!(x.len(), y.len(), "paired values must come in equal numbers");
    (x.iter().zip(y)).map(|(&x, &y)| WeightedPair { x, y, weight: 1.0 }).collect()
}

fn all_finite(pairs: &[WeightedPair]) -> bool {
    pairs.iter().all(|pair| pair.x.is_finite() && pair.y.is_finite())
}

/// -1, 0 or 1 as `a` lies below, at or above `b`.
fn order(a: f64, b: f64) -> f64 {
    f64::from(i8::from(a > b) - i8::from(a < b))
}

/// Ranks up to a constant that no correlation sees.
fn average_ranks(pairs: &[WeightedPair], value: impl Fn(&WeightedPair) -> f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|&a, &b| value(&pairs[a]).total_cmp(&value(&pairs[b])));
    let mut ranks = vec![0.0; pairs.len()];
    let mut below = 0.0;
    for tied in order.chunk_by(|&a, &b| value(&pairs[a]) == value(&pairs[b])) {
        let weight: f64 = tied.iter().map(|&index| pairs[index].weight).sum();
        for &index in tied {
            ranks[index] = below + weight / 2.0;
        }
        below += weight;
    }
    ranks
}

/// Weighted sums of squares and products about the means.
struct CentralMoments {
    xx: f64,
    xy: f64,
    yy: f64,
}

impl CentralMoments {
    fn of(pairs: &[WeightedPair]) -> Self {
        let total: f64 = pairs.iter().map(|pair| pair.weight).sum();
        let mean = |value: fn(&WeightedPair) -> f64| {
            // The mean of equal values is that value: no rounding may give a constant a spread.
            let first = pairs.first().map_or(f64::NAN, value);
            first + pairs.iter().map(|pair| pair.weight * (value(pair) - first)).sum::<f64>() / total
        };
        let (mean_x, mean_y) = (mean(|pair| pair.x), mean(|pair| pair.y));
        let mut moments = Self { xx: 0.0, xy: 0.0, yy: 0.0 };
        for pair in pairs {
            let (x, y) = (pair.x - mean_x, pair.y - mean_y);
            moments.xx += pair.weight * x * x;
            moments.xy += pair.weight * x * y;
            moments.yy += pair.weight * y * y;
        }
        moments
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: [f64; 10] = [1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    const ACHIEVED: [f64; 10] = [1.0, 2.0, 2.0, 4.0, 4.0, 2.0, 2.0, 3.0, 5.0, 5.0];

    #[test]
    fn rank_correlations_equal_the_golden_values() {
        assert!((spearman(&ASKED, &ACHIEVED) - 0.894_792).abs() < 1e-6);
        assert!((kendall_tau_b(&ASKED, &ACHIEVED) - 0.805_807).abs() < 1e-6);
    }

    #[test]
    fn slope_is_that_of_least_squares() {
        // Means 1 and 2; Σ dx dy = (-1)(-1) + 0 + 1·2 = 3, Σ dx² = 2.
        assert_eq!(slope(&[0.0, 1.0, 2.0], &[1.0, 1.0, 4.0]), 1.5);
    }

    #[test]
    fn what_is_not_defined_is_nan() {
        for statistic in [spearman, kendall_tau_b, slope] {
            assert!(statistic(&[], &[]).is_nan());
            assert!(statistic(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]).is_nan(), "constant");
            assert!(statistic(&[1.0, f64::NAN, 2.0], &[1.0, 2.0, 3.0]).is_nan(), "not a number");
        }
        assert!(mean(&[]).is_nan());
    }

    #[test]
    #[should_panic(expected = "equal numbers")]
    fn sides_of_different_length_are_a_mistake() {
        spearman(&[1.0], &[1.0, 2.0]);
    }

    proptest! {
        #[test]
        fn rank_correlations_see_only_the_order(
            points in prop::collection::vec((0_i32..6, 0_i32..6), 2..40),
        ) {
            let x: Vec<f64> = points.iter().map(|&(x, _)| x.into()).collect();
            let y: Vec<f64> = points.iter().map(|&(_, y)| y.into()).collect();
            let stretched: Vec<f64> = x.iter().map(|x| x.exp()).collect();
            let reversed: Vec<f64> = x.iter().map(|x| -x).collect();
            for correlation in [spearman, kendall_tau_b] {
                let value = correlation(&x, &y);
                if value.is_nan() {
                    continue;
                }
                prop_assert!(value.abs() <= 1.0 + 1e-12);
                prop_assert!((correlation(&y, &x) - value).abs() < 1e-12);
                prop_assert!((correlation(&stretched, &y) - value).abs() < 1e-12);
                prop_assert!((correlation(&reversed, &y) + value).abs() < 1e-12);
            }
        }
    }
}
