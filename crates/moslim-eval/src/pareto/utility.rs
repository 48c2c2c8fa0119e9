//! What a set of points is worth to users who weigh the objectives differently.

use super::{Place, PointsError, error};
use crate::stats::mean;

/// Expected utility ([Zintgraf et al. 2015]): the mean over weight vectors w of `maxₚ w·p`, the best that a user with these weights can choose.
///
/// Larger is better; NaN without points or without weights.
/// Weights need not sum to 1, but a longer vector counts for more; [`simplex_weights`] gives equally spaced ones.
/// As utilities are linear, only points on the convex hull of the front count.
///
/// ```
/// use moslim_eval::pareto::expected_utility;
///
/// let weights = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]];
/// assert_eq!(expected_utility(&[[4.0, 0.0], [0.0, 2.0]], &weights)?, (4.0 + 2.0 + 2.0) / 3.0);
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
/// - `weights`: `[n_weights, n_objectives]`
///
/// # Errors
/// When points and weights differ in their number of objectives, there is none, a number is not finite, or a weight is below 0.
///
/// [Zintgraf et al. 2015]: https://www.fransoliehoek.net/publications/htmlfiles/b2hd-Zintgraf15Benelearn.html
pub fn expected_utility<P: AsRef<[f64]>, W: AsRef<[f64]>>(
    points: &[P],
    weights: &[W],
) -> Result<f64, PointsError> {
    check(points, Place::Point, weights)?;
    let utilities: Vec<f64> = weights.iter().map(|weights| best_utility(points, weights.as_ref())).collect();
    Ok(mean(&utilities))
}

/// Maximum utility loss ([Zintgraf et al. 2015]): the maximum over weight vectors w of `max_q w·q - maxₚ w·p`, with q from a reference front.
///
/// It is what the user who is served worst loses by having `points` in place of the reference front.
/// Smaller is better, and below 0 when `points` serve every user better; NaN without points, reference front or weights.
///
/// ```
/// use moslim_eval::pareto::maximum_utility_loss;
///
/// let weights = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]];
/// let reference_front = [[4.0, 0.0], [3.0, 3.0]];
/// assert_eq!(maximum_utility_loss(&[[4.0, 0.0]], &reference_front, &weights)?, 3.0); // at the last weights
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
/// - `reference_front`: `[n_reference_points, n_objectives]`
/// - `weights`: `[n_weights, n_objectives]`
///
/// # Errors
/// As [`expected_utility`], of the reference front too.
///
/// [Zintgraf et al. 2015]: https://www.fransoliehoek.net/publications/htmlfiles/b2hd-Zintgraf15Benelearn.html
pub fn maximum_utility_loss<P: AsRef<[f64]>, Q: AsRef<[f64]>, W: AsRef<[f64]>>(
    points: &[P],
    reference_front: &[Q],
    weights: &[W],
) -> Result<f64, PointsError> {
    check(points, Place::Point, weights)?;
    check(reference_front, Place::ReferenceFront, weights)?;
    let losses = (weights.iter().map(AsRef::as_ref))
        .map(|weights| best_utility(reference_front, weights) - best_utility(points, weights));
    Ok(losses.reduce(f64::max).unwrap_or(f64::NAN))
}

/// Equally spaced weight vectors that sum to 1: all whose entries are multiples of `1 / divisions` ([Das & Dennis 1998]). `[n_weights, n_objectives]`
///
/// There are `C(divisions + n_objectives - 1, n_objectives - 1)` of them, in ascending order: 11 with two objectives and 10 divisions, 66 with three.
/// With 0 divisions it is the middle alone, and no objective has no weights.
///
/// ```
/// let weights = moslim_eval::pareto::simplex_weights(2, 4);
/// assert_eq!(weights, [[0.0, 1.0], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]);
/// ```
///
/// [Das & Dennis 1998]: https://doi.org/10.1137/S1052623496307510
pub fn simplex_weights(n_objectives: usize, divisions: usize) -> Vec<Vec<f64>> {
    if n_objectives == 0 {
        return Vec::new();
    }
    if divisions == 0 {
        return vec![vec![1.0 / n_objectives as f64; n_objectives]];
    }
    // Every beginning is continued by every number of parts that is left; the last objective takes the rest.
    let mut beginnings = vec![(Vec::with_capacity(n_objectives), divisions)];
    for _ in 1..n_objectives {
        beginnings = (beginnings.into_iter())
            .flat_map(|(beginning, left)| {
                (0..=left).map(move |parts| ([beginning.as_slice(), &[parts]].concat(), left - parts))
            })
            .collect();
    }
    (beginnings.into_iter())
        .map(|(mut parts, rest)| {
            parts.push(rest);
            parts.iter().map(|&parts| parts as f64 / divisions as f64).collect()
        })
        .collect()
}

fn best_utility<P: AsRef<[f64]>>(points: &[P], weights: &[f64]) -> f64 {
    let utility = |point: &P| point.as_ref().iter().zip(weights).map(|(score, weight)| score * weight).sum();
    points.iter().map(utility).reduce(f64::max).unwrap_or(f64::NAN)
}

fn check<P: AsRef<[f64]>, W: AsRef<[f64]>>(
    points: &[P],
    place: impl Fn(usize) -> Place,
    weights: &[W],
) -> Result<(), PointsError> {
    let n_objectives = error::check_all(points, place)?;
    if n_objectives == 0 {
        error::check_all(weights, Place::Weights)?;
    } else {
        error::check_each(weights, n_objectives, Place::Weights)?;
    }
    for (index, weights) in weights.iter().enumerate() {
        let negative = weights.as_ref().iter().enumerate().find(|(_, weight)| **weight < 0.0);
        if let Some((objective, &value)) = negative {
            return Err(PointsError::NegativeWeight { place: Place::Weights(index), objective, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: [[f64; 2]; 5] = [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0], [2.5, 0.5]];

    #[test]
    fn expected_utility_equals_the_golden_value() {
        let utility = expected_utility(&GOLDEN, &simplex_weights(2, 10)).unwrap();
        assert!((utility - 2.545_455).abs() < 1e-6, "{utility}");
    }

    #[test]
    fn loss_is_that_of_the_user_served_worst() {
        // At weights (w, 1-w) the reference gives max(3 - 2w, 1 + 2w), (2, 2) gives 2: a loss of |1 - 2w|.
        let weights = [[0.5, 0.5], [0.75, 0.25], [0.125, 0.875]];
        assert_eq!(maximum_utility_loss(&[[2.0, 2.0]], &GOLDEN, &weights), Ok(0.75));
        assert_eq!(maximum_utility_loss(&GOLDEN, &GOLDEN, &weights), Ok(0.0));
        // (4, 4) is 4 to everyone: better by 2 at the least at w = ½, by 1.25 at w = 1/8.
        assert_eq!(maximum_utility_loss(&[[4.0, 4.0]], &GOLDEN, &weights), Ok(-1.25));
    }

    #[test]
    fn weights_are_all_multiples_that_sum_to_one() {
        assert_eq!(
            simplex_weights(3, 2),
            [
                [0.0, 0.0, 1.0],
                [0.0, 0.5, 0.5],
                [0.0, 1.0, 0.0],
                [0.5, 0.0, 0.5],
                [0.5, 0.5, 0.0],
                [1.0, 0.0, 0.0]
            ]
        );
        assert_eq!(simplex_weights(3, 12).len(), 91); // Das & Dennis: C(14, 2)
        assert_eq!(simplex_weights(5, 6).len(), 210); // C(10, 4)
        assert_eq!(simplex_weights(1, 5), [[1.0]]);
        assert_eq!(simplex_weights(4, 0), [[0.25; 4]]);
        assert!(simplex_weights(0, 3).is_empty());
    }

    #[test]
    fn nothing_given_is_nan() {
        let none: [[f64; 2]; 0] = [];
        let weights = [[0.5, 0.5]];
        assert!(expected_utility(&none, &weights).unwrap().is_nan());
        assert!(expected_utility(&GOLDEN, &none).unwrap().is_nan());
        assert!(maximum_utility_loss(&none, &GOLDEN, &weights).unwrap().is_nan());
        assert!(maximum_utility_loss(&GOLDEN, &none, &weights).unwrap().is_nan());
        assert!(maximum_utility_loss(&GOLDEN, &GOLDEN, &none).unwrap().is_nan());
    }

    #[test]
    fn what_is_no_weight_or_no_point_is_refused() {
        let negative = PointsError::NegativeWeight { place: Place::Weights(1), objective: 0, value: -0.5 };
        assert_eq!(
            negative.to_string(),
            "weight vector 1 is -0.5 in objective 0, expected a weight of at least 0"
        );
        assert_eq!(expected_utility(&GOLDEN, &[[0.0, 1.0], [-0.5, 1.5]]), Err(negative));
        assert_eq!(
            expected_utility(&GOLDEN, &[[1.0]]),
            Err(PointsError::Objectives { place: Place::Weights(0), found: 1, expected: 2 })
        );
        assert!(expected_utility(&GOLDEN, &[[f64::NAN, 1.0]]).is_err());
        assert!(expected_utility(&[[f64::NAN, 1.0]], &[[0.5, 0.5]]).is_err());
        assert_eq!(
            maximum_utility_loss(&GOLDEN, &[[1.0, 2.0, 3.0]], &[[0.5, 0.5]]),
            Err(PointsError::Objectives { place: Place::Weights(0), found: 2, expected: 3 })
        );
        assert_eq!(
            maximum_utility_loss(&GOLDEN, &[[0.0, f64::INFINITY]], &[[0.5, 0.5]]),
            Err(PointsError::NotFinite {
                place: Place::ReferenceFront(0),
                objective: 1,
                value: f64::INFINITY
            })
        );
    }

    proptest! {
        #[test]
        fn more_points_are_worth_no_less(
            points in prop::collection::vec(prop::array::uniform3(-5.0..5.0), 2..20),
        ) {
            let weights = simplex_weights(3, 6);
            let (_, fewer) = points.split_last().unwrap();
            let utility = |points: &[[f64; 3]]| expected_utility(points, &weights).unwrap();
            prop_assert!(utility(&points) >= utility(fewer));
            prop_assert!(maximum_utility_loss(fewer, &points, &weights).unwrap() >= 0.0);
            prop_assert!(maximum_utility_loss(&points, fewer, &weights).unwrap() <= 0.0);
        }

        #[test]
        fn weights_lie_on_the_simplex(n_objectives in 1_usize..6, divisions in 1_usize..7) {
            for weights in simplex_weights(n_objectives, divisions) {
                prop_assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
                prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }
}
