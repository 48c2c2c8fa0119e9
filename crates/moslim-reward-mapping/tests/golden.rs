//! Values worked out by hand or with an independent double-precision program, and what follows from the formulas.
// Expected values are written out as they were computed elsewhere.
#![allow(clippy::approx_constant)]

use moslim_data::Request;
use moslim_reward_mapping::{
    ClassProbabilities, ClassStats, Ddof, Divisor, MappingKind, MaskRule, RewardMapping, TargetStats,
};

const READING_A: MappingKind =
    MappingKind::ZWithinHead { eps: 1e-9, ddof: Ddof::Population, scale_by_sqrt_k: false };

fn mapping(kind: MappingKind, divisor: Divisor) -> RewardMapping {
    RewardMapping::new(kind, divisor, MaskRule::AskedInPrompt)
}

/// The score of one head for one target.
fn single(kind: MappingKind, p: &[f64], target: f64) -> f64 {
    let request = Request { levels: vec![Some(target)] };
    mapping(kind, Divisor::None).score(&ClassProbabilities(vec![p.to_vec()]), &request, None).unwrap()
}

fn score(mapping: &RewardMapping, heads: &[&[f64]], levels: &[Option<f64>]) -> f64 {
    let probabilities = ClassProbabilities(heads.iter().map(|head| head.to_vec()).collect());
    mapping.score(&probabilities, &Request { levels: levels.to_vec() }, None).unwrap()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

fn one_hot(n_classes: usize, class: usize) -> Vec<f64> {
    (0..n_classes).map(|c| if c == class { 1.0 } else { 0.0 }).collect()
}

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "found {found}, expected {expected}");
}

#[test]
fn reading_a_of_two_heads() {
    let [first, second] = [softmax(&[0.0, 1.0, 2.0, 1.0, 0.0]), softmax(&[-1.0, 1.0])];
    assert_close(single(READING_A, &first, 2.0), 1.889243);
    assert_close(single(READING_A, &second, 1.0), 1.0);
    assert_close(single(READING_A, &second, 0.0), -1.0);

    let heads: [&[f64]; 2] = [&first, &second];
    assert_close(score(&mapping(READING_A, Divisor::K), &heads, &[Some(2.0), Some(1.0)]), 1.444621);
    assert_close(score(&mapping(READING_A, Divisor::K), &heads, &[Some(2.0), None]), 0.944621);
    assert_close(score(&mapping(READING_A, Divisor::MaskSum), &heads, &[Some(2.0), None]), 1.889243);
    assert_close(score(&mapping(READING_A, Divisor::None), &heads, &[Some(2.0), Some(1.0)]), 2.889243);
}

#[test]
fn reading_a_with_either_deviation() {
    let p = [0.05, 0.1, 0.15, 0.5, 0.2];
    assert_close(single(READING_A, &p, 3.0), 1.897367);
    let sample = MappingKind::ZWithinHead { eps: 1e-9, ddof: Ddof::Sample, scale_by_sqrt_k: false };
    assert_close(single(sample, &p, 3.0), 1.697056);
}

#[test]
fn reading_a_ranges_with_the_square_root_of_the_number_of_classes() {
    for (n_classes, hit, miss) in
        [(2, 1.0, -1.0), (3, 1.414214, -0.707107), (5, 2.0, -0.5), (10, 3.0, -0.333333)]
    {
        let p = one_hot(n_classes, 1);
        assert_close(single(READING_A, &p, 1.0), hit);
        assert_close(single(READING_A, &p, 0.0), miss);
        let scaled = MappingKind::ZWithinHead { eps: 1e-9, ddof: Ddof::Population, scale_by_sqrt_k: true };
        assert_close(single(scaled, &p, 1.0), 1.0);
    }
}

#[test]
fn reading_a_punishes_an_undecided_miss_more_than_a_confident_one() {
    assert_close(single(READING_A, &[0.0, 0.25, 0.25, 0.25, 0.25], 0.0), -2.0);
    assert_close(single(READING_A, &[0.0, 1.0, 0.0, 0.0, 0.0], 0.0), -0.5);
}

#[test]
fn reading_a_is_a_sign_for_two_classes() {
    for p in [0.01, 0.3, 0.49] {
        assert_close(single(READING_A, &[p, 1.0 - p], 0.0), -1.0);
        assert_close(single(READING_A, &[p, 1.0 - p], 1.0), 1.0);
    }
}

#[test]
fn reading_a_is_blind_to_confidence() {
    for p in [[0.96, 0.01, 0.01, 0.01, 0.01], [0.2004, 0.1999, 0.1999, 0.1999, 0.1999]] {
        assert!((single(READING_A, &p, 0.0) - 2.0).abs() < 1e-5);
    }
}

#[test]
fn reading_a_is_blind_to_order_and_the_distances_are_not() {
    let [near, far] = [3, 0].map(|class| one_hot(5, class));
    assert_close(single(READING_A, &near, 4.0), single(READING_A, &far, 4.0));
    let by_distance = [(1.0, 4.0), (0.25, 1.0)];
    for (normalize, (near_cost, far_cost)) in [false, true].into_iter().zip(by_distance) {
        for kind in
            [MappingKind::ExpectedLevelDistance { normalize }, MappingKind::ExpectedAbsError { normalize }]
        {
            assert_close(single(kind.clone(), &near, 4.0), -near_cost);
            assert_close(single(kind, &far, 4.0), -far_cost);
        }
    }
}

#[test]
fn reading_a_of_a_uniform_prediction_is_zero() {
    for n_classes in [2, 3, 5, 10] {
        assert_close(single(READING_A, &vec![1.0 / n_classes as f64; n_classes], 1.0), 0.0);
    }
}

#[test]
fn one_two_and_three_heads_with_unequal_numbers_of_classes() {
    let hits = [one_hot(2, 1), one_hot(3, 1), one_hot(5, 1)];
    let heads: Vec<&[f64]> = hits.iter().map(Vec::as_slice).collect();
    // Means of the first terms of 1, 1.414214, 2.
    for (n_heads, expected) in [(1, 1.0), (2, 1.207107), (3, 1.471405)] {
        let levels = vec![Some(1.0); n_heads];
        assert_close(score(&mapping(READING_A, Divisor::K), &heads[..n_heads], &levels), expected);
    }
}

#[test]
fn reading_b_of_two_heads() {
    let [first, second] = [softmax(&[0.0, 1.0, 2.0, 1.0, 0.0]), softmax(&[0.0, 1.0])];
    let stats = TargetStats(vec![
        vec![ClassStats { mean: 0.4, std: 0.2 }; 5],
        vec![ClassStats { mean: 0.5, std: 0.25 }; 2],
    ]);
    let probabilities = ClassProbabilities(vec![first, second]);
    let request = Request { levels: vec![Some(2.0), Some(1.0)] };
    for kind in [MappingKind::ZDataset, MappingKind::ZRunning { momentum: 0.01 }] {
        let mapping = mapping(kind, Divisor::K);
        let terms = mapping.terms(&probabilities, &request, Some(&stats)).unwrap();
        assert_close(terms[0].unwrap(), 0.491989);
        assert_close(terms[1].unwrap(), 0.924234);
        assert_close(mapping.score(&probabilities, &request, Some(&stats)).unwrap(), 0.708112);
    }
}

#[test]
fn the_order_aware_terms() {
    let p = [0.05, 0.1, 0.15, 0.5, 0.2];
    assert_close(single(MappingKind::Prob, &p, 3.0), 0.5);
    assert_close(single(MappingKind::LogProb { floor: 1e-6 }, &p, 3.0), -0.693147);
    assert_close(single(MappingKind::ExpectedLevelDistance { normalize: false }, &p, 3.0), -0.3);
    assert_close(single(MappingKind::ExpectedAbsError { normalize: false }, &p, 3.0), -0.7);
    assert_close(single(MappingKind::ExpectedLevelDistance { normalize: true }, &p, 3.0), -0.075);
    assert_close(single(MappingKind::ExpectedAbsError { normalize: true }, &p, 3.0), -0.175);
    assert_close(single(MappingKind::ProbPlusDistance, &p, 3.0), 0.425);
    // E = 2.7 of at most 4, at any target.
    for target in [0.0, 4.0] {
        assert_close(single(MappingKind::WeightedSum { weights: vec![2.0] }, &p, target), 1.35);
    }
    assert_close(single(MappingKind::LogProb { floor: 1e-3 }, &one_hot(5, 0), 3.0), 1e-3_f64.ln());
}

#[test]
fn a_fractional_target_is_two_hot() {
    // 0.75 · 0.5 + 0.25 · 0.2 = 0.425 and E = 2.7.
    let p = [0.05, 0.1, 0.15, 0.5, 0.2];
    assert_close(single(MappingKind::Prob, &p, 3.25), 0.425);
    assert_close(single(MappingKind::ExpectedLevelDistance { normalize: false }, &p, 3.25), -0.55);
}

#[test]
fn the_mask_rule_decides_about_a_free_objective() {
    let heads: [&[f64]; 2] = [&[0.2, 0.8], &[0.1, 0.3, 0.6]];
    let asked = mapping(MappingKind::Prob, Divisor::None);
    assert_close(score(&asked, &heads, &[Some(0.0), None]), 0.2);
    assert_close(score(&asked, &heads, &[None, None]), 0.0);
    assert_close(score(&mapping(MappingKind::Prob, Divisor::MaskSum), &heads, &[None, None]), 0.0);
    let all = RewardMapping { mask: MaskRule::All, ..asked };
    assert_close(score(&all, &heads, &[Some(0.0), None]), 0.2 + 0.6);
}
