//! Losses against values computed elsewhere.

use std::f64::consts::LN_2;

use burn::nn::Linear;
use moslim_lm::normal;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::*;

/// A head that passes on the first outputs of what it is given.
fn transparent(kind: HeadKind, n_levels: usize, width: usize, thresholds: &[f64]) -> RewardHead {
    let n_outputs = kind.n_outputs(n_levels);
    let device = Device::default();
    let score = Linear { weight: Param::from_tensor(Tensor::eye(width, &device)), bias: None };
    let score =
        Linear { weight: score.weight.map(|weight| weight.slice([0..width, 0..n_outputs])), bias: None };
    RewardHead::from_parts(kind, n_levels, None, score, thresholds)
}

fn told(row: usize, level: f64) -> Label {
    Label { row, what: Said::Target(Target::Level(level)), weight: 1.0 }
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

fn value(loss: Option<Tensor<1>>) -> f64 {
    loss.unwrap().into_scalar::<f32>().into()
}

fn sum_of_means(head: RewardHead, rows: &[&[f32]], labels: Vec<Label>) -> f64 {
    let device = Device::default();
    let pooled = grid(rows.iter().map(|row| row.iter().map(|&x| f64::from(x)).collect()), &device);
    let labels = [labels];
    let weights = label_weights(&labels);
    let rule = Aggregation { rule: Default::default(), label_weights: &weights, log_variances: &[] };
    value(masked_losses(&[head], &pooled, &labels, &rule).total)
}

/// Heads K = (5, 2), three samples, two missing labels; values computed in double precision elsewhere.
#[test]
fn head_means_of_incomplete_labels() {
    let device = Device::default();
    // Five columns for the first head, two for the second, which therefore is a slice of the identity of its own.
    let rows = [
        [0.0, 1.0, 2.0, 1.0, 0.0, 7.0, 0.0],
        [9.0, 0.0, 0.0, 0.0, 0.0, 0.5, -0.5],
        [1.0, 0.0, 0.0, 0.0, -1.0, -1.0, 1.0],
    ];
    let pooled = Tensor::<2>::from_data(rows, &device);
    let mut second = transparent(HeadKind::Softmax, 2, 7, &[]);
    second.score.weight = Param::from_tensor(Tensor::<2>::eye(7, &device).slice([0..7, 5..7]));
    let heads = [transparent(HeadKind::Softmax, 5, 7, &[]), second];
    let labels = [vec![told(0, 2.0), told(2, 4.0)], vec![told(1, 0.0), told(2, 1.0)]];
    let weights = label_weights(&labels);
    let log_variances: Vec<Param<Tensor<1>>> =
        [0.0f32, 0.5].map(|s| Param::from_tensor(Tensor::from_data([s], &device))).into();
    let losses = |rule, rows: std::ops::Range<usize>| {
        let rule = Aggregation { rule, label_weights: &weights, log_variances: &log_variances };
        let here = |label: &&Label| rows.contains(&label.row);
        let moved = |label: &Label| Label { row: label.row - rows.start, ..label.clone() };
        let labels = labels.each_ref().map(|labels| labels.iter().filter(here).map(moved).collect());
        masked_losses(&heads, &pooled.clone().slice([rows.clone(), 0..7]), &labels, &rule)
    };
    let means = losses(LossAggregation::SumOfHeadMeans, 0..3);
    close(means.heads[0].unwrap(), 1.751187);
    close(means.heads[1].unwrap(), 0.220095);
    close(value(means.total), 1.971282);
    close(value(losses(LossAggregation::MeanOverLabels, 0..3).total), 0.985641);
    // By hand from the head means: 1.751187 / ln 5 + 0.220095 / ln 2, and 1.751187 + e^-0.5 · 0.220095 + 0.5.
    close(
        value(losses(LossAggregation::EntropyNormalised, 0..3).total),
        1.751187 / 1.609438 + 0.220095 / LN_2,
    );
    close(value(losses(LossAggregation::Uncertainty, 0..3).total), 1.751187 + 0.606531 * 0.220095 + 0.5);

    // Parts of the batch, one of them without any label of the first head.
    for rule in
        [LossAggregation::SumOfHeadMeans, LossAggregation::MeanOverLabels, LossAggregation::Uncertainty]
    {
        let parts = [0..1, 1..2, 2..3].map(|rows| losses(rule, rows));
        assert_eq!((parts[0].heads[1], parts[1].heads[0]), (None, None));
        let total: f64 = parts.into_iter().map(|part| value(part.total)).sum();
        close(total, value(losses(rule, 0..3).total));
    }
    let nothing = [vec![], vec![]];
    let rule = Aggregation { rule: Default::default(), label_weights: &[0.0, 0.0], log_variances: &[] };
    assert!(masked_losses(&heads, &pooled, &nothing, &rule).total.is_none());
}

#[test]
fn a_label_of_weight_two_counts_as_two() {
    let rows: [&[f32]; 3] = [&[0.3, -0.2], &[1.0, 0.5], &[-2.0, 0.1]];
    let head = || transparent(HeadKind::Softmax, 2, 2, &[]);
    let twice = Label { weight: 2.0, ..told(1, 0.0) };
    let found = sum_of_means(head(), &rows, vec![told(0, 1.0), twice, told(2, 1.0)]);
    close(found, sum_of_means(head(), &rows, vec![told(0, 1.0), told(1, 0.0), told(1, 0.0), told(2, 1.0)]));
    // By hand: (ln(1 + e^0.5) + 2 ln(1 + e^-0.5) + ln(1 + e^-2.1)) / 4
    let by_hand = (0.5f64.exp().ln_1p() + 2.0 * (-0.5f64).exp().ln_1p() + (-2.1f64).exp().ln_1p()) / 4.0;
    close(found, by_hand);
}

/// The cross-entropy of logits [0, 1, 2, 1, 0] with the distribution around level 3 of 1..=5, computed elsewhere.
#[test]
fn hl_gauss_cross_entropy() {
    let head = transparent(HeadKind::HlGauss { sigma: 0.75 }, 5, 5, &[]);
    close(sum_of_means(head, &[&[0.0, 1.0, 2.0, 1.0, 0.0]], vec![told(0, 2.0)]), 1.245597);
}

/// Predictions 3.5 and 1.0 for labels 4 and 1.5, computed elsewhere; a missing one between them.
#[test]
fn masked_squared_error() {
    // Five levels counted from 0: the middle is 2, so that outputs of 1.5 and −1 are 3.5 and 1.
    let rows: [&[f32]; 3] = [&[1.5], &[99.0], &[-1.0]];
    let head = transparent(HeadKind::Regression, 5, 1, &[]);
    close(sum_of_means(head, &rows, vec![told(0, 4.0), told(2, 1.5)]), 0.25);
}

#[test]
fn cumulative_logits_by_hand() {
    let softplus = |z: f64| z.exp().ln_1p();
    let thresholds = [-1.0, 0.5, 2.0];
    let head = || transparent(HeadKind::Ordinal, 4, 1, &thresholds);
    // Score 0.8 and level 2: above the first two thresholds, below the third.
    let expected = softplus(-1.8) + softplus(-0.3) + softplus(-1.2);
    close(sum_of_means(head(), &[&[0.8]], vec![told(0, 2.0)]), expected);
    // A quarter of the way from level 1 to level 2: the second threshold counts a quarter as passed.
    let between = softplus(-1.8) + 0.25 * softplus(-0.3) + 0.75 * softplus(0.3) + softplus(-1.2);
    close(sum_of_means(head(), &[&[0.8]], vec![told(0, 1.25)]), between);
    let found = head().ascending_thresholds().unwrap().into_data().try_to_vec::<f32>().unwrap();
    found.iter().zip(thresholds).for_each(|(&found, expected)| close(found.into(), expected));
}

#[test]
fn pairs_by_hand() {
    let better =
        |row, rejected, distance| Label { row, what: Said::BetterThan { rejected, distance }, weight: 1.0 };
    let rows: [&[f32]; 2] = [&[1.5], &[0.5]];
    let loss = |margin, label| {
        sum_of_means(transparent(HeadKind::BradleyTerry { margin }, 2, 1, &[]), &rows, vec![label])
    };
    // ln(1 + e^-1), ln(1 + e^1), and with a margin of 0.25 for each of two levels ln(1 + e^-0.5).
    close(loss(0.0, better(0, 1, 2.0)), 0.313262);
    close(loss(0.0, better(1, 0, 2.0)), 1.313262);
    close(loss(0.25, better(0, 1, 2.0)), 0.474077);
}

#[test]
fn another_heads_outputs_are_imitated() {
    let imitate = |outputs: &[f64]| Label {
        row: 0,
        what: Said::Target(Target::Outputs(outputs.to_vec())),
        weight: 1.0,
    };
    // Logits (0, 0) against probabilities (3/4, 1/4): ln 2. The same again: the entropy of (3/4, 1/4).
    let of_classes = |logits: &[f32]| {
        sum_of_means(transparent(HeadKind::Softmax, 2, 2, &[]), &[logits], vec![imitate(&[3f64.ln(), 0.0])])
    };
    close(of_classes(&[0.0, 0.0]), LN_2);
    close(of_classes(&[3f32.ln(), 0.0]), 0.562335);
    let head = transparent(HeadKind::BradleyTerry { margin: 0.0 }, 2, 1, &[]);
    close(sum_of_means(head, &[&[0.5]], vec![imitate(&[2.0])]), 2.25);
}

#[test]
fn a_layer_of_its_own_changes_nothing_at_first() {
    let device = Device::default();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let config = crate::HeadConfig { hidden_size: Some(5), ..Default::default() };
    let head = RewardHead::new(&config, 3, 2, &mut rng, &device);
    let x = normal([4, 3], 1.0, &mut rng, &device);
    let plain = head.score.forward(x.clone()).into_data();
    assert_eq!(head.outputs(x).into_data(), plain);
}
