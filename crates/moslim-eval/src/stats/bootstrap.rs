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

impl Interval {
    /// The middle 95 % of what a statistic came to in the resamples; those where it is not finite are left out.
    ///
    /// Of the differences of two methods, resample by resample of the same draws, it says whether one is better.
    ///
    /// ```
    /// use moslim_eval::stats::Interval;
    ///
    /// let interval = Interval::of(&Vec::from_iter((0..=1000).map(f64::from)));
    /// assert_eq!([interval.low, interval.high], [25.0, 975.0]);
    /// ```
    pub fn of(resamples: &[f64]) -> Self {
        let mut values: Vec<f64> = resamples.iter().copied().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Self { low: percentile(&values, 0.025), high: percentile(&values, 0.975) }
    }
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
            values.push(value);
        }
    }
    std::array::from_fn(|index| Interval::of(&values[index]))
}

/// What was drawn of one group, such as the prompts of one training seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupDraw {
    /// The group.
    pub group: usize,
    /// Its clusters, as many as it has, with repetitions.
    pub clusters: Vec<usize>,
}

/// The 95 % percentile interval of a statistic under resampling at two levels: groups, and within each group drawn its clusters ([Davison and Hinkley 1997], section 3.8).
///
/// Groups are training seeds where what was trained should speak for other seeds too; clusters are the prompts that each was measured on.
/// `sizes` has the number of clusters of every group, and `statistic` receives as many draws as there are groups, the same group several times or never.
/// One group is always the one drawn, so that this is [`bootstrap_interval`] with the same draws.
/// Few groups make the interval too narrow rather than too wide: n groups show `(n - 1) / n` of the variance between them.
///
/// ```
/// use moslim_eval::stats::{bootstrap_interval_in_groups, mean};
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
///
/// let hits: [&[f64]; 2] = [&[1.0, 1.0], &[0.0, 0.0, 0.0]]; // two seeds, which differ more than their prompts do
/// let mut rng = ChaCha8Rng::seed_from_u64(0);
/// let interval = bootstrap_interval_in_groups(&[2, 3], 1000, &mut rng, |draws| {
///     let of_group = |group: usize, drawn: &[usize]| mean(&drawn.iter().map(|&i| hits[group][i]).collect::<Vec<_>>());
///     mean(&draws.iter().map(|draw| of_group(draw.group, &draw.clusters)).collect::<Vec<_>>())
/// });
/// assert_eq!((interval.low, interval.high), (0.0, 1.0));
/// ```
///
/// [Davison and Hinkley 1997]: https://doi.org/10.1017/CBO9780511802843
pub fn bootstrap_interval_in_groups(
    sizes: &[usize],
    resamples: usize,
    rng: &mut impl Rng,
    statistic: impl FnMut(&[GroupDraw]) -> f64,
) -> Interval {
    Interval::of(&resampled_in_groups(sizes, resamples, rng, statistic))
}

/// What a statistic comes to in every resample of [`bootstrap_interval_in_groups`]; nothing without groups.
///
/// # Panics
/// When a group has no clusters.
pub fn resampled_in_groups<T>(
    sizes: &[usize],
    resamples: usize,
    rng: &mut impl Rng,
    mut statistic: impl FnMut(&[GroupDraw]) -> T,
) -> Vec<T> {
    let mut draws = vec![GroupDraw::default(); sizes.len()];
    let resamples = if sizes.is_empty() { 0 } else { resamples };
    let resampled = (0..resamples).map(|_| {
        for draw in &mut draws {
            // No number is drawn where there is no choice.
            draw.group = if sizes.len() == 1 { 0 } else { rng.random_range(0..sizes.len()) };
            let size = sizes[draw.group];
            draw.clusters.resize(size, 0);
            draw.clusters.fill_with(|| rng.random_range(0..size));
        }
        statistic(&draws)
    });
    resampled.collect()
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

    /// The interval of the mean over groups of their means.
    fn interval_of_groups(groups: &[Vec<f64>]) -> Interval {
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        bootstrap_interval_in_groups(&sizes, 4000, &mut ChaCha8Rng::seed_from_u64(1), |draws| {
            let of_draw = |draw: &GroupDraw| {
                mean(&draw.clusters.iter().map(|&index| groups[draw.group][index]).collect::<Vec<_>>())
            };
            mean(&draws.iter().map(of_draw).collect::<Vec<_>>())
        })
    }

    #[test]
    fn one_group_is_no_group() {
        let values: Vec<f64> = (0..30).map(|index| f64::from(index % 7)).collect();
        assert_eq!(interval_of_groups(std::slice::from_ref(&values)), interval_of_mean(&values));
    }

    #[test]
    fn groups_that_differ_and_clusters_that_differ_add_up() {
        // Constant within: 64 groups of 0 or 1, 0.5 ± 1.96 · sqrt(0.25 / 64) = 0.1225.
        let between: Vec<Vec<f64>> = (0..64).map(|group| vec![f64::from(group % 2); 3]).collect();
        let interval = interval_of_groups(&between);
        assert!((interval.low - 0.3775).abs() < 0.02, "{interval:?}");
        assert!((interval.high - 0.6225).abs() < 0.02, "{interval:?}");
        // Equal groups of 4 coins each: 256 coins in all, 0.5 ± 1.96 · sqrt(0.25 / 256) = 0.0612.
        let interval = interval_of_groups(&vec![vec![0.0, 1.0, 0.0, 1.0]; 64]);
        assert!((interval.low - 0.4388).abs() < 0.01, "{interval:?}");
        assert!((interval.high - 0.5612).abs() < 0.01, "{interval:?}");
    }

    #[test]
    fn no_group_and_empty_groups_have_no_interval() {
        let constant = bootstrap_interval_in_groups(&[], 10, &mut ChaCha8Rng::seed_from_u64(1), |_| 1.0);
        assert!(constant.low.is_nan());
        assert!(interval_of_groups(&[vec![], vec![]]).high.is_nan());
        // Draws without the empty group remain.
        assert_eq!(interval_of_groups(&[vec![], vec![2.0]]), Interval { low: 2.0, high: 2.0 });
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
