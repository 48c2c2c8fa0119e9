//! How much a hypervolume owes to the choice of prompts.

use rand::Rng;
use serde::Serialize;

use super::hypervolume::dominated_volume;
use super::{Place, PointsError, error};
use crate::stats::{Interval, mean, resampled_in_groups};

/// A hypervolume with its uncertainty over prompts, or over training seeds and prompts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HypervolumeEstimate {
    /// The hypervolume of the points' mean scores on the prompts given; of several seeds, the mean.
    pub value: f64,
    /// The mean of the resamples.
    /// It tends to lie above `value`, as a front takes the best of points that chance has moved.
    pub mean: f64,
    /// The 95 % interval of the resamples.
    pub interval: Interval,
    /// The hypervolume in every resample.
    #[serde(skip)]
    pub resampled: Vec<f64>,
}

/// [`hypervolume`](super::hypervolume) of points that are means over prompts, with its interval under resampling of the prompts ([Efron 1979]).
///
/// Every resample draws prompts with replacement, the same for all points, averages each point's scores over them and computes the hypervolume of these means.
/// Two methods on the same prompts see the same draws when both are given a generator with the same seed.
/// All numbers are NaN without prompts, and mean and interval without resamples.
///
/// ```
/// use moslim_eval::pareto::bootstrap_hypervolume;
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
///
/// // Two points, each scored on three prompts for two objectives.
/// let scores = [
///     vec![vec![2.0, 1.0], vec![3.0, 1.0], vec![4.0, 1.0]],
///     vec![vec![1.0, 2.0], vec![1.0, 2.0], vec![1.0, 2.0]],
/// ];
/// let mut rng = ChaCha8Rng::seed_from_u64(0);
/// let volume = bootstrap_hypervolume(&scores, &[0.0, 0.0], 1000, &mut rng)?;
/// assert_eq!(volume.value, 4.0); // of (3, 1) and (1, 2)
/// assert_eq!([volume.interval.low, volume.interval.high], [3.0, 5.0]); // the first point is at (2, 1) up to (4, 1)
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `scores`: `[n_points, n_prompts, n_objectives]`
/// - `reference`: `[n_objectives]`
///
/// # Errors
/// When points differ in their number of prompts, scores in their number of objectives from the reference, there is no objective, or a number is not finite.
///
/// [Efron 1979]: https://doi.org/10.1214/aos/1176344552
pub fn bootstrap_hypervolume(
    scores: &[Vec<Vec<f64>>],
    reference: &[f64],
    resamples: usize,
    rng: &mut impl Rng,
) -> Result<HypervolumeEstimate, PointsError> {
    bootstrap_hypervolume_over_seeds(&[scores], reference, resamples, rng)
}

/// The mean over training seeds of the [`hypervolume`](super::hypervolume) that each reached, with its interval under resampling of seeds, and of prompts within each seed.
///
/// Every seed has policies and prompts of its own, as many prompts as it likes; see [`bootstrap_interval_in_groups`](crate::stats::bootstrap_interval_in_groups) on how they are drawn.
/// One seed gives [`bootstrap_hypervolume`] with the same draws.
/// Value and mean are NaN when a seed has no prompts, and all numbers when there is no seed.
///
/// ```
/// use moslim_eval::pareto::bootstrap_hypervolume_over_seeds;
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
///
/// // Two seeds with one point each, whose prompts agree.
/// let scores = [vec![vec![vec![2.0, 1.0]; 4]], vec![vec![vec![4.0, 1.0]; 5]]];
/// let mut rng = ChaCha8Rng::seed_from_u64(0);
/// let volume = bootstrap_hypervolume_over_seeds(&scores, &[0.0, 0.0], 1000, &mut rng)?;
/// assert_eq!(volume.value, 3.0); // of 2 and 4
/// assert_eq!([volume.interval.low, volume.interval.high], [2.0, 4.0]); // the first seed twice up to the second twice
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `scores`: `[n_seeds, n_points, n_prompts, n_objectives]`
/// - `reference`: `[n_objectives]`
///
/// # Errors
/// As [`bootstrap_hypervolume`], of any seed.
pub fn bootstrap_hypervolume_over_seeds<S: AsRef<[Vec<Vec<f64>>]>>(
    scores: &[S],
    reference: &[f64],
    resamples: usize,
    rng: &mut impl Rng,
) -> Result<HypervolumeEstimate, PointsError> {
    let sizes =
        scores.iter().map(|scores| check(scores.as_ref(), reference)).collect::<Result<Vec<_>, _>>()?;
    let volume_of = |seed: usize, prompts: &[usize]| volume_on(scores[seed].as_ref(), prompts, reference);
    let of_seeds = sizes.iter().enumerate().map(|(seed, &size)| volume_of(seed, &Vec::from_iter(0..size)));
    let value = mean(&of_seeds.collect::<Vec<_>>());
    let resamples = if sizes.contains(&0) { 0 } else { resamples };
    let resampled = resampled_in_groups(&sizes, resamples, rng, |draws| {
        mean(&draws.iter().map(|draw| volume_of(draw.group, &draw.clusters)).collect::<Vec<_>>())
    });
    Ok(HypervolumeEstimate { value, mean: mean(&resampled), interval: Interval::of(&resampled), resampled })
}

/// The hypervolume of the points' means over these prompts; NaN without prompts.
fn volume_on(scores: &[Vec<Vec<f64>>], prompts: &[usize], reference: &[f64]) -> f64 {
    if prompts.is_empty() {
        return f64::NAN;
    }
    let points: Vec<Vec<f64>> =
        scores.iter().map(|scores| mean_scores(scores, prompts, reference.len())).collect();
    dominated_volume(&points, reference)
}

/// The mean of the scores on these prompts. `[n_objectives]`
fn mean_scores(scores: &[Vec<f64>], prompts: &[usize], n_objectives: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n_objectives];
    for &prompt in prompts {
        for (sum, score) in sums.iter_mut().zip(&scores[prompt]) {
            *sum += score;
        }
    }
    sums.iter().map(|sum| sum / prompts.len() as f64).collect()
}

/// The number of prompts that all points share.
fn check(scores: &[Vec<Vec<f64>>], reference: &[f64]) -> Result<usize, PointsError> {
    error::check(reference, reference.len(), Place::ReferencePoint)?;
    let n_prompts = scores.first().map_or(0, Vec::len);
    for (point, scores) in scores.iter().enumerate() {
        if scores.len() != n_prompts {
            return Err(PointsError::Prompts { point, found: scores.len(), expected: n_prompts });
        }
        error::check_each(scores, reference.len(), |prompt| Place::Scores { point, prompt })?;
    }
    Ok(n_prompts)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;

    fn estimate(scores: &[Vec<Vec<f64>>], reference: &[f64]) -> Result<HypervolumeEstimate, PointsError> {
        bootstrap_hypervolume(scores, reference, 4000, &mut ChaCha8Rng::seed_from_u64(1))
    }

    /// The same in every one of 4000 resamples.
    fn constant(value: f64) -> HypervolumeEstimate {
        let interval = Interval { low: value, high: value };
        HypervolumeEstimate { value, mean: value, interval, resampled: vec![value; 4000] }
    }

    #[test]
    fn interval_of_one_point_is_two_standard_errors_wide() {
        // 200 coin flips of 1 or 3 times a constant height of 2: 4, with a standard error of 2 · sqrt(1 / 200) = 0.1414.
        let flips: Vec<Vec<f64>> = (0..200).map(|flip| vec![1.0 + f64::from(flip % 2) * 2.0, 2.0]).collect();
        let volume = estimate(&[flips], &[0.0, 0.0]).unwrap();
        assert_eq!(volume.value, 4.0);
        assert!((volume.mean - 4.0).abs() < 0.01, "{volume:?}");
        assert!((volume.interval.low - 3.723).abs() < 0.03, "{volume:?}");
        assert!((volume.interval.high - 4.277).abs() < 0.03, "{volume:?}");
    }

    #[test]
    fn points_see_the_same_draw() {
        // The points (x, 1) and (1, 4 - x) fill x + (4 - x) - 1 = 3 whatever the draw makes of x, if it is the same x.
        let x = |prompt: u32| f64::from(1 + prompt % 3);
        let wide = (0..16).map(|prompt| vec![x(prompt), 1.0]).collect();
        let high = (0..16).map(|prompt| vec![1.0, 4.0 - x(prompt)]).collect();
        let volume = estimate(&[wide, high], &[0.0, 0.0]).unwrap();
        assert_eq!(volume, constant(3.0));
    }

    #[test]
    fn the_mean_of_a_maximum_lies_above_it() {
        // In one dimension the hypervolume is the larger mean, both near 0.5: E max exceeds max E.
        let flips = |shift: u32| -> Vec<Vec<f64>> {
            (0..100).map(|prompt| vec![f64::from((prompt + shift) % 2)]).collect()
        };
        let volume = estimate(&[flips(0), flips(1)], &[0.0]).unwrap();
        // The two means are m and 1 - m, so the volume is ½ + |m - ½|, half-normal: 0.05 · sqrt(2/π) = 0.0399 above.
        assert_eq!(volume.value, 0.5);
        assert!((volume.mean - 0.5399).abs() < 0.003, "{volume:?}");
    }

    fn over_seeds(scores: &[Vec<Vec<Vec<f64>>>]) -> HypervolumeEstimate {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        bootstrap_hypervolume_over_seeds(scores, &[0.0, 0.0], 4000, rng).unwrap()
    }

    #[test]
    fn seeds_that_agree_and_seeds_that_differ() {
        let seed = |side: f64, n_prompts: usize| vec![vec![vec![side, 2.0]; n_prompts]];
        assert_eq!(over_seeds(&[seed(3.0, 5), seed(3.0, 7)]), constant(6.0));
        // 64 seeds of 2 or 6: 4 with a standard error of 2 / sqrt(64) = 0.25.
        let seeds: Vec<_> = (0..64).map(|index| seed(f64::from(1 + index % 2 * 2), 2)).collect();
        let volume = over_seeds(&seeds);
        assert_eq!(volume.value, 4.0);
        assert!((volume.mean - 4.0).abs() < 0.02, "{volume:?}");
        assert!((volume.interval.low - 3.51).abs() < 0.05, "{volume:?}");
        assert!((volume.interval.high - 4.49).abs() < 0.05, "{volume:?}");
    }

    #[test]
    fn fronts_are_taken_by_seed() {
        // Each seed alone reaches 4 · 1; their points together would reach 7.
        let volume = over_seeds(&[vec![vec![vec![4.0, 1.0]; 3]], vec![vec![vec![1.0, 4.0]; 3]]]);
        assert_eq!(volume, constant(4.0));
    }

    #[test]
    fn no_seed_or_a_seed_without_prompts_is_nan() {
        assert!(over_seeds(&[]).value.is_nan() && over_seeds(&[]).interval.low.is_nan());
        assert!(over_seeds(&[vec![vec![vec![1.0, 1.0]]], vec![vec![]]]).value.is_nan());
        let odd = [vec![vec![vec![1.0, 1.0]]], vec![vec![vec![1.0]]]];
        let error = bootstrap_hypervolume_over_seeds(&odd, &[0.0, 0.0], 1, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(error.unwrap_err().to_string(), "point 0 on prompt 0 has 1 objectives, expected 2");
    }

    #[test]
    fn no_prompt_or_no_resample_is_null() {
        let nothing = estimate(&[vec![], vec![]], &[0.0]).unwrap();
        let json = serde_json::to_string(&nothing).unwrap();
        assert_eq!(json, r#"{"value":null,"mean":null,"interval":[null,null]}"#);
        assert!(estimate(&[], &[0.0]).unwrap().value.is_nan());
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        let once = bootstrap_hypervolume(&[vec![vec![2.0]]], &[0.0], 0, rng).unwrap();
        assert_eq!(once.value, 2.0);
        assert!(once.mean.is_nan() && once.interval.low.is_nan());
    }

    #[test]
    fn scores_of_different_shape_or_without_a_number_are_refused() {
        let message = |scores: &[Vec<Vec<f64>>]| estimate(scores, &[0.0, 0.0]).unwrap_err().to_string();
        let fine = vec![vec![1.0, 1.0], vec![2.0, 2.0]];
        assert_eq!(
            message(&[fine.clone(), vec![vec![1.0, 1.0]]]),
            "point 1 has scores of 1 prompts, expected 2"
        );
        assert_eq!(
            message(&[fine.clone(), vec![vec![1.0], vec![1.0, 1.0]]]),
            "point 1 on prompt 0 has 1 objectives, expected 2"
        );
        assert_eq!(
            message(&[vec![vec![f64::NAN, 1.0]]]),
            "point 0 on prompt 0 is NaN in objective 0, expected a finite number"
        );
        assert_eq!(estimate(&[fine], &[]).unwrap_err().to_string(), "the reference point has no objective");
    }
}
