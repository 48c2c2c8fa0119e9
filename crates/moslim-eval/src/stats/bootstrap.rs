//! Uncertainty by resampling.

use rand::{Rng, RngExt};
use serde::Serialize;

/// The lower and the upper end of a 95 % interval, written as `[low, high]`; both NaN when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(into = "[f64; 2]")]
pub struct Interval {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

/// The 95 % percentile interval of a statistic under resampling of whole clusters ([Efron 1979]).
///
/// Answers to one prompt are not independent, so prompts are drawn, with replacement, and each brings all of its answers.
/// `statistic` receives the indices of the clusters drawn, `n_clusters` of them with repetitions.
/// To compare two methods on the same prompts, let it return their difference: both sides then see the same draw.
/// Draws on which the statistic is not finite are left out; when none is left, both ends are NaN.
///
/// ```
/// use moslim_eval::stats::{bootstrap_interval, mean};
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
///
/// let hits = [1.0, 0.0, 1.0, 1.0];
/// let mut rng = ChaCha8Rng::seed_from_u64(0);
/// let interval = bootstrap_interval(hits.len(), 1000, &mut rng, |prompts| {
///     mean(&prompts.iter().map(|&prompt| hits[prompt]).collect::<Vec<_>>())
/// });
/// assert!(interval.low < 0.75 && interval.high == 1.0);
/// ```
///
/// [Efron 1979]: https://doi.org/10.1214/aos/1176344552
pub fn bootstrap_interval(
    n_clusters: usize,
    resamples: usize,
    rng: &mut impl Rng,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> Interval {
    let [interval] = bootstrap_intervals(n_clusters, resamples, rng, |drawn| [statistic(drawn)]);
    interval
}

/// [`bootstrap_interval`] of several statistics, which see the same draws.
pub fn bootstrap_intervals<const N: usize>(
    n_clusters: usize,
    resamples: usize,
    rng: &mut impl Rng,
    mut statistics: impl FnMut(&[usize]) -> [f64; N],
) -> [Interval; N] {
    if n_clusters == 0 {
        return [Interval { low: f64::NAN, high: f64::NAN }; N];
    }
    let mut drawn = vec![0; n_clusters];
    let mut values = vec![Vec::with_capacity(resamples); N];
    for _ in 0..resamples {
        drawn.fill_with(|| rng.random_range(0..n_clusters));
        for (values, value) in values.iter_mut().zip(statistics(&drawn)) {
            if value.is_finite() {
                values.push(value);
            }
        }
    }
    std::array::from_fn(|index| {
        let values = &mut values[index];
        values.sort_by(f64::total_cmp);
        Interval { low: percentile(values, 0.025), high: percentile(values, 0.975) }
    })
}

/// Linear between the two nearest order statistics, as NumPy does by default.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = share * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;
    use crate::stats::mean;

    fn interval_of_mean(values: &[f64]) -> Interval {
        bootstrap_interval(values.len(), 4000, &mut ChaCha8Rng::seed_from_u64(1), |drawn| {
            mean(&drawn.iter().map(|&index| values[index]).collect::<Vec<_>>())
        })
    }

    #[test]
    fn percentile_interpolates() {
        let values = [0.0, 10.0, 20.0, 30.0, 40.0];
        assert_eq!(percentile(&values, 0.025), 1.0); // 0.025 · 4 = 0.1 of the way to the second value
        assert_eq!(percentile(&values, 0.975), 39.0);
    }

    #[test]
    fn interval_of_a_mean_is_two_standard_errors_wide() {
        // 200 coin flips: standard error sqrt(0.25 / 200) = 0.0354, so 0.5 ± 0.0693.
        let coin: Vec<f64> = (0..200).map(|flip| f64::from(flip % 2)).collect();
        let interval = interval_of_mean(&coin);
        assert!((interval.low - 0.4307).abs() < 0.008, "{interval:?}");
        assert!((interval.high - 0.5693).abs() < 0.008, "{interval:?}");
    }

    #[test]
    fn a_constant_has_no_width() {
        assert_eq!(interval_of_mean(&[2.0; 7]), Interval { low: 2.0, high: 2.0 });
    }

    #[test]
    fn no_cluster_or_no_finite_draw_gives_null() {
        let empty = interval_of_mean(&[]);
        let undefined = interval_of_mean(&[f64::NAN]);
        assert_eq!(serde_json::to_string(&[empty, undefined]).unwrap(), "[[null,null],[null,null]]");
    }

    #[test]
    fn draws_without_a_value_are_left_out() {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let interval = bootstrap_interval(3, 500, rng, |drawn| if drawn[0] == 0 { f64::NAN } else { 1.0 });
        assert_eq!(interval, Interval { low: 1.0, high: 1.0 });
    }
}
