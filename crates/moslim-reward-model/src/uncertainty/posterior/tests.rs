//! The closed form against the definition, against sampling, and for every kind of label.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::head::linear;

const LAMBDA: f64 = 0.7;
const WEIGHTS: [f64; 4] = [1.0, 2.0, 0.5, 1.5];
/// What the map reads; the third direction is hardly seen.
const SEEN: [[f32; 3]; 4] = [[1.0, 0.5, 0.0], [0.3, -1.0, 0.1], [-0.7, 0.2, 0.0], [0.9, 0.9, -0.1]];

fn tensor<const N: usize, const M: usize>(rows: [[f32; M]; N]) -> Tensor<2> {
    Tensor::from_data(rows, &Device::default())
}

fn head(kind: HeadKind, n_levels: usize, weights: Tensor<2>, thresholds: &[f64]) -> RewardHead {
    RewardHead::from_parts(kind, n_levels, None, linear(weights), thresholds)
}

fn labels() -> Vec<Label> {
    let label = |(row, weight)| Label { row, what: Said::Target(Target::Level(0.0)), weight };
    WEIGHTS.into_iter().enumerate().map(label).collect()
}

/// `(Σ_n w_n x_n x_nᵀ ⊗ Λ_n + λI)⁻¹`, written out.
fn covariance_of_weights(curvatures: &[DMatrix<f64>]) -> DMatrix<f64> {
    let m = curvatures[0].nrows();
    let mut precision = DMatrix::identity(3 * m, 3 * m) * LAMBDA;
    for ((x, weight), curvature) in SEEN.iter().zip(WEIGHTS).zip(curvatures) {
        let x = DMatrix::from_fn(3, 1, |i, _| f64::from(x[i]));
        precision += (&x * x.transpose()).kronecker(curvature) * weight;
    }
    precision.try_inverse().unwrap()
}

/// The covariance of the outputs for x under a covariance of the weights.
fn of_outputs(weights: &DMatrix<f64>, x: [f32; 3]) -> DMatrix<f64> {
    let m = weights.nrows() / 3;
    let jacobian = DMatrix::from_fn(1, 3, |_, j| f64::from(x[j])).kronecker(&DMatrix::identity(m, m));
    &jacobian * weights * jacobian.transpose()
}

fn closed(head: &RewardHead, x: [f32; 3]) -> (HeadPosterior, Vec<f64>, DMatrix<f64>) {
    let posterior = HeadPosterior::fit(head, &tensor(SEEN), &labels(), 1.0, Some(LAMBDA));
    let deviations = posterior.deviations(head, tensor([x])).remove(0);
    let covariance = posterior.covariance(&deviations);
    let m = covariance.len();
    (posterior, deviations, DMatrix::from_fn(m, m, |i, j| covariance[i][j]))
}

fn assert_near(found: &DMatrix<f64>, expected: &DMatrix<f64>, tolerance: f64) {
    assert!((found - expected).abs().max() < tolerance, "{found} {expected}");
}

#[test]
fn two_classes_and_single_outputs_are_exact() {
    let two = head(HeadKind::Softmax, 2, tensor([[0.5, -0.2], [0.1, 0.8], [0.0, 0.3]]), &[]);
    let curvatures: Vec<DMatrix<f64>> = SEEN
        .iter()
        .map(|x| {
            let gap = 0.7 * x[0] - 0.7 * x[1] - 0.3 * x[2];
            let p = 1.0 / (1.0 + f64::from(-gap).exp());
            DMatrix::from_row_slice(2, 2, &[1.0, -1.0, -1.0, 1.0]) * (p * (1.0 - p))
        })
        .collect();
    let weights = covariance_of_weights(&curvatures);
    for x in [[1.0, 0.0, 0.0], [0.2, -0.4, 3.0]] {
        assert_near(&closed(&two, x).2, &of_outputs(&weights, x), 1e-5);
    }

    let ordinal = head(HeadKind::Ordinal, 3, tensor([[0.5], [0.1], [0.3]]), &[-0.5, 1.0]);
    let curvatures: Vec<DMatrix<f64>> = SEEN
        .iter()
        .map(|x| {
            let score = f64::from(0.5 * x[0] + 0.1 * x[1] + 0.3 * x[2]);
            let slope = |b: f64| {
                let p = 1.0 / (1.0 + (b - score).exp());
                p * (1.0 - p)
            };
            DMatrix::from_element(1, 1, slope(-0.5) + slope(1.0))
        })
        .collect();
    let weights = covariance_of_weights(&curvatures);
    assert_near(&closed(&ordinal, [0.2, -0.4, 3.0]).2, &of_outputs(&weights, [0.2, -0.4, 3.0]), 1e-5);
}

#[test]
fn the_closed_form_is_what_sampling_finds() {
    let two = head(HeadKind::Softmax, 2, tensor([[0.5, -0.2], [0.1, 0.8], [0.0, 0.3]]), &[]);
    let x = [0.4, -0.6, 1.2];
    let (posterior, deviations, expected) = closed(&two, x);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut normals = || StandardNormal.sample(&mut rng);
    let normals: Vec<Vec<f64>> = (0..40_000).map(|_| vec![normals(), normals()]).collect();
    let drawn = posterior.draws(&[1.0, -2.0], &deviations, &normals);
    let n = drawn.len() as f64;
    let mean = [0, 1].map(|i| drawn.iter().map(|draw| draw[i]).sum::<f64>() / n);
    let found = DMatrix::from_fn(2, 2, |i, j| {
        drawn.iter().map(|draw| (draw[i] - mean[i]) * (draw[j] - mean[j])).sum::<f64>() / n
    });
    assert_near(&found, &expected, 0.03 * expected.max());
    assert!((mean[0] - 1.0).abs() < 0.02 && (mean[1] + 2.0).abs() < 0.02, "{mean:?}");
}

#[test]
fn three_classes_are_near_and_unseen_directions_have_the_prior() {
    let weights = [[0.5, -0.2, 0.1], [0.1, 0.8, -0.4], [0.0, 0.3, 0.2]];
    let three = head(HeadKind::Softmax, 3, tensor(weights), &[]);
    let curvatures: Vec<DMatrix<f64>> = SEEN
        .iter()
        .map(|x| {
            let logit = |c: usize| (0..3).map(|j| f64::from(x[j] * weights[j][c])).sum::<f64>().exp();
            let total: f64 = (0..3).map(logit).sum();
            let p = [0, 1, 2].map(|c| logit(c) / total);
            DMatrix::from_fn(3, 3, |i, j| f64::from(u8::from(i == j)) * p[i] - p[i] * p[j])
        })
        .collect();
    let exact = covariance_of_weights(&curvatures);
    let x = [1.0, 0.0, 0.0];
    let expected = of_outputs(&exact, x);
    assert_near(&closed(&three, x).2, &expected, 0.05 * expected.max());
    // The map saw next to nothing of the third direction: 2²/λ there.
    let unseen = closed(&three, [0.0, 0.0, 2.0]).2;
    assert!((unseen[(0, 0)] - 4.0 / LAMBDA).abs() < 0.1, "{unseen}");
}

#[test]
fn the_prior_is_the_one_of_the_largest_evidence() {
    let (a, b, square): (_, _, f64) = ([5.0, 40.0, 0.3, 0.0], [0.6, 0.4, 0.0], 3.7);
    let found = most_evident(&a, &b, square, 4);
    let evidence = |lambda: f64| {
        let products = a.iter().flat_map(|a| b.iter().map(move |b| a * b));
        let parts = products.map(|h| 0.5 * lambda.ln() - 0.5 * (h + lambda).ln());
        parts.sum::<f64>() - 0.5 * lambda * square
    };
    for factor in [0.8, 0.95, 1.05, 1.25] {
        assert!(evidence(found * factor) < evidence(found), "{found} {factor}");
    }
    assert_eq!(most_evident(&[0.0], &[1.0], 1.0, 8), 9.0);
}

#[test]
fn pairs_regressions_and_imitation_by_hand() {
    // One input of pairs, x = (1, 0, 0) − (0, 1, 0), margin ½ · distance 2: the gap is 0.5 − 0.1 − 1.
    let seen = tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    let pairs = head(HeadKind::BradleyTerry { margin: 0.5 }, 3, tensor([[0.5], [0.1], [0.3]]), &[]);
    let better = Label { row: 0, what: Said::BetterThan { rejected: 1, distance: 2.0 }, weight: 2.0 };
    // It stands for three of the data.
    let posterior = HeadPosterior::fit(&pairs, &seen, &[better], 3.0, Some(LAMBDA));
    let gap: f64 = 0.5 - 0.1 - 1.0;
    let slope = 6.0 * gap.exp() / (1.0 + gap.exp()).powi(2);
    let deviation = |posterior: &HeadPosterior, head: &RewardHead, x: [f32; 3]| {
        posterior.deviations(head, tensor([x])).remove(0)[0]
    };
    // Told from the mean input (½, ½, 0): along (1, −1)/√2 the precision is 2 · slope + λ, elsewhere λ.
    let expected = (0.5 / (2.0 * slope + LAMBDA)).sqrt();
    assert!((deviation(&posterior, &pairs, [1.0, 0.0, 0.0]) - expected).abs() < 1e-5);
    assert!(deviation(&posterior, &pairs, [0.5, 0.5, 0.0]) < 1e-6, "the offset of all scores says nothing");

    // Outputs 0.5 and 0.1 around level 1 of 3: residuals 0.5 + 1 − 2 = −0.5 and 0.1 + 1 − 1 = 0.1, variance 0.13.
    let regression = head(HeadKind::Regression, 3, tensor([[0.5], [0.1], [0.3]]), &[]);
    let told = |row, level| Label { row, what: Said::Target(Target::Level(level)), weight: 1.0 };
    let posterior = HeadPosterior::fit(&regression, &seen, &[told(0, 2.0), told(1, 1.0)], 1.0, Some(LAMBDA));
    let expected = (1.0 / (1.0 / 0.13 + LAMBDA)).sqrt();
    assert!((deviation(&posterior, &regression, [1.0, 0.0, 0.0]) - expected).abs() < 1e-5);
    assert!((deviation(&posterior, &regression, [0.0, 0.0, 1.0]) - LAMBDA.recip().sqrt()).abs() < 1e-5);

    // Imitated outputs 0.7 and 0.1: residuals −0.2 and 0, variance 0.02.
    let imitated =
        |row, output| Label { row, what: Said::Target(Target::Outputs(vec![output])), weight: 1.0 };
    let labels = [imitated(0, 0.7), imitated(1, 0.1)];
    let posterior = HeadPosterior::fit(&regression, &seen, &labels, 1.0, Some(LAMBDA));
    let expected = (1.0 / (1.0 / 0.02 + LAMBDA)).sqrt();
    assert!((deviation(&posterior, &regression, [1.0, 0.0, 0.0]) - expected).abs() < 1e-5);
}
