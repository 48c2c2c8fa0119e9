//! Which points nothing beats, and how they lie.

use super::{Place, PointsError, error};

/// Whether `a` is at least as good as `b` in every objective and better in one.
///
/// Equal points do not dominate each other, and a point with a NaN neither dominates nor is dominated.
///
/// ```
/// use moslim_eval::pareto::dominates;
///
/// assert!(dominates(&[2.0, 1.0], &[1.0, 1.0]));
/// assert!(!dominates(&[2.0, 1.0], &[1.0, 2.0]));
/// ```
///
/// # Panics
/// When the points differ in their number of objectives.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    assert_eq!(a.len(), b.len(), "points must have the same number of objectives");
    a.iter().zip(b).all(|(a, b)| a >= b) && a.iter().zip(b).any(|(a, b)| a > b)
}

/// The indices, in ascending order, of the points that no other point dominates: the Pareto front.
///
/// Dominance is strict, without the tolerance that some published fronts are drawn with, so the front does not depend on the spread of the other points.
/// Points that are equal stay together: all of them are in the front or none.
///
/// ```
/// let points = [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0], [2.5, 0.5]];
/// assert_eq!(moslim_eval::pareto::non_dominated(&points)?, [0, 1, 2]);
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
///
/// # Errors
/// When the points differ in their number of objectives, have none, or hold a number that is not finite.
pub fn non_dominated<P: AsRef<[f64]>>(points: &[P]) -> Result<Vec<usize>, PointsError> {
    error::check_all(points, Place::Point)?;
    let beaten = |point: &[f64]| points.iter().any(|other| dominates(other.as_ref(), point));
    Ok((0..points.len()).filter(|&index| !beaten(points[index].as_ref())).collect())
}

/// The number of distinct points in the Pareto front of `points`; 0 for no points.
///
/// More points are not better by themselves: compare methods that had the same number of runs or requests.
///
/// ```
/// let points = [[1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [1.0, 1.0]];
/// assert_eq!(moslim_eval::pareto::cardinality(&points)?, 2);
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
///
/// # Errors
/// As [`non_dominated`].
pub fn cardinality<P: AsRef<[f64]>>(points: &[P]) -> Result<usize, PointsError> {
    Ok(distinct_front(points)?.len())
}

/// How far apart the points of the front lie ([Xu et al. 2020]): `S = 1/(n-1) · Σᵢ Σⱼ (sᵢ[j+1] - sᵢ[j])²`.
///
/// n is the number of distinct points in the Pareto front of `points`, and `sᵢ` their scores of objective i in ascending order.
/// Smaller is denser.
/// One point has a sparsity of 0, as dense as can be, so that sparsity says something only beside the hypervolume; NaN for no points.
///
/// ```
/// let points = [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0]];
/// assert_eq!(moslim_eval::pareto::sparsity(&points)?, 2.0); // (1² + 1²) / 2 for each of two objectives
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
///
/// # Errors
/// As [`non_dominated`].
///
/// [Xu et al. 2020]: https://proceedings.mlr.press/v119/xu20h.html
pub fn sparsity<P: AsRef<[f64]>>(points: &[P]) -> Result<f64, PointsError> {
    let front = distinct_front(points)?;
    let n_gaps = match front.len() {
        0 => return Ok(f64::NAN),
        1 => return Ok(0.0),
        n_points => n_points - 1,
    };
    let squared_gaps = |objective: usize| -> f64 {
        let mut scores: Vec<f64> = front.iter().map(|point| point[objective]).collect();
        scores.sort_by(f64::total_cmp);
        scores.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum()
    };
    Ok((0..front[0].len()).map(squared_gaps).sum::<f64>() / n_gaps as f64)
}

/// Inverted generational distance ([Coello Coello & Reyes Sierra 2004]): the mean distance from a point of the reference front to the nearest of `points`.
///
/// Distances are Euclidean, so objectives on different scales should be brought to one before; 0 is best.
/// All of `points` count, dominated ones too, and the reference front is taken as it is; NaN when either is empty.
/// Where no true front is known, the front of all methods' points together serves as reference.
///
/// ```
/// use moslim_eval::pareto::inverted_generational_distance;
///
/// let reference_front = [[0.0, 4.0], [3.0, 0.0]];
/// assert_eq!(inverted_generational_distance(&[[0.0, 0.0]], &reference_front)?, 3.5);
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
/// - `reference_front`: `[n_reference_points, n_objectives]`
///
/// # Errors
/// When points of either set differ in their number of objectives, have none, or hold a number that is not finite.
///
/// [Coello Coello & Reyes Sierra 2004]: https://doi.org/10.1007/978-3-540-24694-7_71
#[doc(alias = "igd")]
pub fn inverted_generational_distance<P: AsRef<[f64]>, Q: AsRef<[f64]>>(
    points: &[P],
    reference_front: &[Q],
) -> Result<f64, PointsError> {
    let n_objectives = error::check_all(reference_front, Place::ReferenceFront)?;
    if n_objectives == 0 {
        error::check_all(points, Place::Point)?;
        return Ok(f64::NAN);
    }
    error::check_each(points, n_objectives, Place::Point)?;
    let to_nearest = |target: &[f64]| {
        let distances = points.iter().map(|point| distance(point.as_ref(), target));
        distances.reduce(f64::min).unwrap_or(f64::NAN)
    };
    let distances: Vec<f64> = reference_front.iter().map(|target| to_nearest(target.as_ref())).collect();
    Ok(crate::stats::mean(&distances))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The points of the front, equal ones once.
fn distinct_front<P: AsRef<[f64]>>(points: &[P]) -> Result<Vec<&[f64]>, PointsError> {
    let mut distinct: Vec<&[f64]> = Vec::new();
    for index in non_dominated(points)? {
        let point = points[index].as_ref();
        if !distinct.contains(&point) {
            distinct.push(point);
        }
    }
    Ok(distinct)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: [[f64; 2]; 5] = [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0], [2.5, 0.5]];

    #[test]
    fn front_equals_the_golden_values() {
        assert_eq!(non_dominated(&GOLDEN), Ok(vec![0, 1, 2]));
        assert_eq!(cardinality(&GOLDEN), Ok(3));
        assert_eq!(sparsity(&GOLDEN), Ok(2.0));
    }

    #[test]
    fn a_point_is_beaten_by_a_tie_in_all_but_one_objective() {
        assert_eq!(non_dominated(&[[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]), Ok(vec![1]));
        assert_eq!(non_dominated(&[[1.0], [3.0], [2.0]]), Ok(vec![1]));
    }

    #[test]
    fn equal_points_stay_and_count_once() {
        let points = [[2.0, 0.0], [0.0, 2.0], [2.0, -0.0], [0.0, 0.0], [0.0, 0.0]];
        assert_eq!(non_dominated(&points), Ok(vec![0, 1, 2]));
        assert_eq!(cardinality(&points), Ok(2));
        assert_eq!(sparsity(&points), Ok(8.0)); // 2² + 2² over one gap; the copy would have halved it
    }

    #[test]
    fn sparsity_sorts_every_objective_by_itself() {
        // Objective 0: 0, 1, 4 with gaps 1, 3; objective 1: 0, 5, 6 with gaps 5, 1; objective 2: 0, 0, 2 with gaps 0, 2.
        let points = [[4.0, 5.0, 0.0], [0.0, 6.0, 0.0], [1.0, 0.0, 2.0]];
        assert_eq!(cardinality(&points), Ok(3));
        assert_eq!(sparsity(&points), Ok((10.0 + 26.0 + 4.0) / 2.0));
    }

    #[test]
    fn no_point_and_one_point() {
        let none: [[f64; 2]; 0] = [];
        assert_eq!(non_dominated(&none), Ok(vec![]));
        assert_eq!(cardinality(&none), Ok(0));
        assert!(sparsity(&none).unwrap().is_nan());
        assert_eq!(sparsity(&[[1.0, 2.0]]), Ok(0.0));
        assert!(inverted_generational_distance(&none, &GOLDEN).unwrap().is_nan());
        assert!(inverted_generational_distance(&GOLDEN, &none).unwrap().is_nan());
    }

    /// The front of the test problem ZDT1, `f₂ = 1 - sqrt(f₁)`, to be minimised, at 100 points.
    fn zdt1() -> Vec<[f64; 2]> {
        (0..100).map(|step| f64::from(step) / 99.0).map(|x| [-x, x.sqrt() - 1.0]).collect()
    }

    #[test]
    fn distance_equals_the_example_of_pymoo() {
        // The value that the documentation of pymoo prints for every tenth point times 1.1.
        let front = zdt1();
        let points: Vec<[f64; 2]> = front.iter().step_by(10).map(|point| point.map(|x| 1.1 * x)).collect();
        let distance = inverted_generational_distance(&points, &front).unwrap();
        assert!((distance - 0.066_909_083_003_276_6).abs() < 1e-14, "{distance}");
    }

    #[test]
    fn what_is_not_a_point_is_refused() {
        let wrong = [vec![1.0, 2.0], vec![1.0, f64::INFINITY]];
        let error = PointsError::NotFinite { place: Place::Point(1), objective: 1, value: f64::INFINITY };
        assert_eq!(non_dominated(&wrong), Err(error.clone()));
        assert_eq!(cardinality(&wrong), Err(error.clone()));
        assert_eq!(sparsity(&wrong), Err(error.clone()));
        assert_eq!(inverted_generational_distance(&wrong, &GOLDEN), Err(error.clone()));
        assert_eq!(inverted_generational_distance(&wrong, &GOLDEN[..0]), Err(error));
        assert_eq!(
            inverted_generational_distance(&[[1.0]], &GOLDEN),
            Err(PointsError::Objectives { place: Place::Point(0), found: 1, expected: 2 })
        );
        assert_eq!(
            inverted_generational_distance(&GOLDEN, &[[]]),
            Err(PointsError::NoObjective { place: Place::ReferenceFront(0) })
        );
    }

    proptest! {
        #[test]
        fn the_rest_is_beaten_by_the_front_and_the_front_by_nothing(
            points in (1_usize..5).prop_flat_map(|n_objectives| {
                prop::collection::vec(prop::collection::vec(0_i32..5, n_objectives), 1..25)
            }),
        ) {
            let points: Vec<Vec<f64>> =
                points.iter().map(|point| point.iter().map(|&score| score.into()).collect()).collect();
            let front = non_dominated(&points).unwrap();
            prop_assert!(front.is_sorted());
            for (index, point) in points.iter().enumerate() {
                let beaten = front.iter().any(|&other| dominates(&points[other], point));
                prop_assert_eq!(beaten, !front.contains(&index));
            }
        }

        #[test]
        fn distance_to_itself_is_none(points in prop::collection::vec(prop::array::uniform3(-5.0..5.0), 1..20)) {
            prop_assert_eq!(inverted_generational_distance(&points, &points), Ok(0.0));
        }
    }
}
