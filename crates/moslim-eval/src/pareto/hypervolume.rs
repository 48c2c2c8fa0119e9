//! The volume that a set of points dominates, exactly.

use super::{Place, PointsError, error};

/// The volume of everything that lies above the reference point and that a point dominates ([Zitzler & Thiele 1999]).
///
/// `HV(P, r) = λ(∪ₚ [r₁, p₁] × … × [r_D, p_D])`, with λ the volume; larger is better, and 0 for no points.
/// A point that is not above the reference in *every* objective adds nothing.
/// The reference point must be chosen before the methods are seen and be the same for all of them;
/// hypervolumes with different references, or of scores on different scales, say nothing about each other.
///
/// It is exact in any number of dimensions, from the exclusive volumes of [While, Bradstreet & Barone 2012]:
/// boxes are stacked by their last side, so that every one adds its height times what its base does not share with higher ones, a volume in one dimension less.
/// The time for n points is that of sorting in two dimensions and `n² log n` in three; beyond, it grows by up to a factor n for each further dimension.
/// The result is infinite or NaN when a volume is beyond what an `f64` holds.
///
/// ```
/// let points = [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0]];
/// assert_eq!(moslim_eval::pareto::hypervolume(&points, &[0.0, 0.0])?, 6.0);
/// # Ok::<(), moslim_eval::pareto::PointsError>(())
/// ```
///
/// # Shapes
/// - `points`: `[n_points, n_objectives]`
/// - `reference`: `[n_objectives]`
///
/// # Errors
/// When a point has another number of objectives than the reference, there is no objective, or a number is not finite.
///
/// [Zitzler & Thiele 1999]: https://doi.org/10.1109/4235.797969
/// [While, Bradstreet & Barone 2012]: https://doi.org/10.1109/TEVC.2010.2077298
pub fn hypervolume<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> Result<f64, PointsError> {
    error::check(reference, reference.len(), Place::ReferencePoint)?;
    error::check_each(points, reference.len(), Place::Point)?;
    Ok(dominated_volume(points, reference))
}

/// [`hypervolume`] of points that were checked before.
pub(super) fn dominated_volume<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> f64 {
    let mut boxes = Boxes::new(reference.len());
    for point in points {
        let sides = point.as_ref().iter().zip(reference).map(|(score, reference)| score - reference);
        if sides.clone().all(|side| side > 0.0) {
            boxes.push(sides);
        }
    }
    boxes.volume_of_union()
}

/// Boxes that have the origin as a corner, given by their sides, one after the other.
#[derive(Debug)]
struct Boxes {
    n_sides: usize,
    sides: Vec<f64>,
}

impl Boxes {
    fn new(n_sides: usize) -> Self {
        Self { n_sides, sides: Vec::new() }
    }

    fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.sides.chunks_exact(self.n_sides)
    }

    /// Adds a box.
    /// From three sides on, where a union is costly, boxes that are part of another one are left out.
    fn push(&mut self, sides: impl Iterator<Item = f64>) {
        let n_sides = self.n_sides;
        let new_at = self.sides.len();
        self.sides.extend(sides);
        if n_sides <= 2 {
            return;
        }
        let (old, new) = self.sides.split_at(new_at);
        if old.chunks_exact(n_sides).any(|old| covers(old, new)) {
            self.sides.truncate(new_at);
            return;
        }
        let mut kept = 0;
        for at in (0..new_at).step_by(n_sides) {
            if !covers(&self.sides[new_at..], &self.sides[at..at + n_sides]) {
                self.sides.copy_within(at..at + n_sides, kept);
                kept += n_sides;
            }
        }
        self.sides.copy_within(new_at.., kept);
        self.sides.truncate(kept + n_sides);
    }

    fn volume_of_union(&self) -> f64 {
        match self.n_sides {
            1 => self.sides.iter().copied().fold(0.0, f64::max),
            2 => self.area_of_staircase(),
            _ => self.volume_of_stack(),
        }
    }

    /// From the widest box to the narrowest, every one adds what it rises above the steps before.
    fn area_of_staircase(&self) -> f64 {
        let mut steps: Vec<&[f64]> = self.iter().collect();
        steps.sort_unstable_by(|a, b| b[0].total_cmp(&a[0]));
        let (mut area, mut height) = (0.0, 0.0);
        for step in steps {
            if step[1] > height {
                area += step[0] * (step[1] - height);
                height = step[1];
            }
        }
        area
    }

    /// From the highest box to the lowest: where a base is not under a higher box, the box fills up to its own height.
    fn volume_of_stack(&self) -> f64 {
        let base = self.n_sides - 1;
        let mut stack: Vec<&[f64]> = self.iter().collect();
        stack.sort_unstable_by(|a, b| b[base].total_cmp(&a[base]));
        let mut shared = Boxes::new(base);
        let mut volume = 0.0;
        for (index, top) in stack.iter().enumerate() {
            shared.sides.clear();
            for higher in &stack[..index] {
                shared.push(top[..base].iter().zip(*higher).map(|(a, b)| a.min(*b)));
            }
            let own_base = top[..base].iter().product::<f64>() - shared.volume_of_union();
            volume += own_base * top[base];
        }
        volume
    }
}

/// Whether no side of `inner` is longer than that of `outer`.
fn covers(outer: &[f64], inner: &[f64]) -> bool {
    outer.iter().zip(inner).all(|(outer, inner)| outer >= inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

    use super::*;
    use crate::pareto::simplex_weights;

    #[track_caller]
    fn check<const D: usize>(points: &[[f64; D]], reference: [f64; D], expected: f64) {
        let volume = hypervolume(points, &reference).unwrap();
        assert!((volume - expected).abs() < 1e-12, "{volume} instead of {expected}");
    }

    #[test]
    fn equals_the_golden_values() {
        check(&[[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0], [2.5, 0.5]], [0.0, 0.0], 6.0);
        check(&[[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]], [0.0; 3], 13.0);
    }

    #[test]
    fn equals_volumes_by_hand() {
        check(&[[2.0], [5.0], [-1.0]], [1.0], 4.0);
        check(&[[3.0, -1.0]], [1.0, -4.0], 6.0);
        // Two boxes of 2 · 1 · 1 · 1 that share the unit cube, in four dimensions.
        check(&[[2.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 2.0]], [0.0; 4], 3.0);
        // Five arms of length 2 around the unit cube, in five dimensions.
        let arms: Vec<[f64; 5]> =
            (0..5).map(|arm| std::array::from_fn(|side| if side == arm { 3.0 } else { 1.0 })).collect();
        check(&arms, [0.0; 5], 11.0);
    }

    #[test]
    fn equals_the_example_of_pymoo() {
        // The value that the documentation of pymoo prints for ZDT1's front, f₂ = 1 - sqrt(f₁), minimised:
        // every tenth of 100 points times 1.1, with the reference point (1.2, 1.2).
        let points: Vec<[f64; 2]> = (0..100)
            .step_by(10)
            .map(|step| f64::from(step) / 99.0)
            .map(|x| [-1.1 * x, 1.1 * (x.sqrt() - 1.0)])
            .collect();
        check(&points, [-1.2, -1.2], 0.963_164_644_818_230_6);
    }

    #[test]
    fn points_not_above_the_reference_in_every_objective_add_nothing() {
        let front = [[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]];
        check(&front, [0.0; 3], 3.0);
        let more = [front[0], [9.0, 9.0, 0.0], front[1], [9.0, -9.0, 9.0], [-1.0; 3]];
        check(&more, [0.0; 3], 3.0);
        check(&[], [0.0, 0.0], 0.0);
    }

    /// n over k.
    fn binomial(n: usize, k: usize) -> f64 {
        (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
    }

    #[test]
    fn lattices_on_the_simplex_hold_the_unit_cells_that_combinatorics_counts() {
        for (n_objectives, divisions) in [(1, 3), (2, 50), (3, 12), (4, 7), (5, 5), (6, 4), (7, 3)] {
            let points = simplex_weights(n_objectives, divisions);
            let cells = (divisions as f64).powi(n_objectives as i32);

            // Maximised: cells j with Σ (jᵢ + 1) ≤ H, of which there are C(H, D); the simplex below the front holds 1/D!.
            let below = binomial(divisions, n_objectives.min(divisions + 1)) / cells;
            let volume = hypervolume(&points, &vec![0.0; n_objectives]).unwrap();
            assert!((volume - below).abs() < 1e-12, "{n_objectives}: {volume} instead of {below}");

            // Minimised: all cells but those with Σ jᵢ < H, of which there are C(H + D - 1, D).
            let losses: Vec<Vec<f64>> =
                points.iter().map(|point| point.iter().map(|loss| -loss).collect()).collect();
            let above = 1.0 - binomial(divisions + n_objectives - 1, n_objectives) / cells;
            let volume = hypervolume(&losses, &vec![-1.0; n_objectives]).unwrap();
            assert!((volume - above).abs() < 1e-12, "{n_objectives}: {volume} instead of {above}");
        }
    }

    #[test]
    fn a_dense_quarter_of_a_circle_approaches_its_area() {
        // The front of DTLZ2 in two dimensions; maximised, the area under it is π/4, and every step loses less than it is long and wide.
        let n_steps = 10_000;
        let angle = |step: usize| std::f64::consts::FRAC_PI_2 * step as f64 / n_steps as f64;
        let points: Vec<[f64; 2]> =
            (0..=n_steps).map(|step| [angle(step).cos(), angle(step).sin()]).collect();
        let missing = std::f64::consts::FRAC_PI_4 - hypervolume(&points, &[0.0, 0.0]).unwrap();
        assert!(missing > 0.0 && missing < 1.0 / n_steps as f64, "{missing}");
    }

    #[test]
    fn equals_an_estimate_from_random_darts() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for n_objectives in [3, 4, 5, 6] {
            let mut vector =
                |_| -> Vec<f64> { (0..n_objectives).map(|_| rng.random_range(0.2..1.0)).collect() };
            let points: Vec<Vec<f64>> = (0..40).map(&mut vector).collect();
            let n_darts = 40_000;
            let mut dart = || -> Vec<f64> { (0..n_objectives).map(|_| rng.random_range(0.0..1.0)).collect() };
            let hits =
                (0..n_darts).map(|_| dart()).filter(|dart| points.iter().any(|point| covers(point, dart)));
            let share = hits.count() as f64 / f64::from(n_darts);
            let volume = hypervolume(&points, &vec![0.0; n_objectives]).unwrap();
            // Four standard errors, of at most sqrt(0.25 / 40 000) = 0.0025.
            assert!((volume - share).abs() < 0.01, "{n_objectives}: {volume}, darts {share}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_and_what_is_too_large_does_not_panic() {
        let not_finite = |place| PointsError::NotFinite { place, objective: 1, value: f64::INFINITY };
        assert_eq!(hypervolume(&[[1.0, f64::INFINITY]], &[0.0; 2]), Err(not_finite(Place::Point(0))));
        assert_eq!(hypervolume(&[[1.0, 1.0]], &[0.0, f64::INFINITY]), Err(not_finite(Place::ReferencePoint)));
        assert!(hypervolume(&[[1.0, f64::NAN]], &[0.0; 2]).is_err());
        assert_eq!(
            hypervolume(&[[1.0, 1.0, 1.0]], &[0.0; 2]),
            Err(PointsError::Objectives { place: Place::Point(0), found: 3, expected: 2 })
        );
        let none: [[f64; 0]; 0] = [];
        assert_eq!(hypervolume(&none, &[]), Err(PointsError::NoObjective { place: Place::ReferencePoint }));
        let huge = [[f64::MAX, 1.0, f64::MAX], [1.0, f64::MAX, f64::MAX], [f64::MAX, f64::MAX, 1.0]];
        assert!(!hypervolume(&huge, &[f64::MIN; 3]).unwrap().is_finite());
    }

    /// Points with ties, some of them not above the reference 0.
    fn point_sets(max_points: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
        (1_usize..6).prop_flat_map(move |n_objectives| {
            let score = (-3_i32..7).prop_map(f64::from);
            prop::collection::vec(prop::collection::vec(score, n_objectives), 1..=max_points)
        })
    }

    fn volume(points: &[Vec<f64>]) -> f64 {
        hypervolume(points, &vec![0.0; points[0].len()]).unwrap()
    }

    /// `λ(∪ Bᵢ) = Σ_S (-1)^(|S|+1) λ(∩_S Bᵢ)` over every set S of boxes but the empty one.
    fn by_inclusion_and_exclusion(points: &[Vec<f64>]) -> f64 {
        (1_u32..1 << points.len())
            .map(|set| {
                let chosen = || points.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0);
                let side = |objective: usize| {
                    chosen().map(|(_, point)| point[objective]).fold(f64::INFINITY, f64::min).max(0.0)
                };
                let common: f64 = (0..points[0].len()).map(side).product();
                if chosen().count() % 2 == 1 { common } else { -common }
            })
            .sum()
    }

    proptest! {
        #[test]
        fn equals_inclusion_and_exclusion(points in point_sets(8)) {
            prop_assert_eq!(volume(&points), by_inclusion_and_exclusion(&points)); // whole numbers: exact
        }

        #[test]
        fn does_not_depend_on_the_order_of_points_or_objectives(points in point_sets(15), turn in 0_usize..15) {
            let mut turned = points.clone();
            turned.rotate_left(turn % points.len());
            let mirrored: Vec<Vec<f64>> =
                points.iter().map(|point| point.iter().rev().copied().collect()).collect();
            prop_assert_eq!(volume(&points), volume(&turned));
            prop_assert_eq!(volume(&points), volume(&mirrored));
        }

        #[test]
        fn grows_with_every_point_that_is_not_dominated_and_with_no_other(points in point_sets(15)) {
            let (last, others) = points.split_last().unwrap();
            let before = if others.is_empty() { 0.0 } else { volume(others) };
            let inside = last.iter().all(|&score| score > 0.0);
            let fresh = inside && !others.iter().any(|other| covers(other, last));
            prop_assert_eq!(volume(&points) > before, fresh);
            prop_assert!(volume(&points) >= before);
        }

        #[test]
        fn moves_with_the_reference_and_scales_with_an_objective(points in point_sets(10)) {
            let moved: Vec<Vec<f64>> = points
                .iter()
                .map(|point| point.iter().enumerate().map(|(i, x)| if i == 0 { 4.0 * x } else { x - 3.0 }).collect())
                .collect();
            let mut reference = vec![-3.0; points[0].len()];
            reference[0] = 0.0;
            prop_assert_eq!(hypervolume(&moved, &reference).unwrap(), 4.0 * volume(&points));
        }
    }
}
