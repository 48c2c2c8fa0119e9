//! What heads learn, and from what.

use burn::module::Module;
use moslim_reward_model::{HeadConfig, HeadKind, LabeledExchange, MultiHeadRewardModel, Target};

use crate::support::*;

#[test]
fn incomplete_labels_teach_both_heads() {
    // Every answer is labelled for one objective only.
    let model = fit_on(&records(1200, 0, |row| [row % 2 == 0, row % 2 == 1]), 3.0);
    let held_out = records(200, 9, |_| [true, true]);
    // Guessing reaches about 1/4 and 1/2.
    assert!(accuracy(&model, &held_out, 0) > 0.95, "{}", accuracy(&model, &held_out, 0));
    assert!(accuracy(&model, &held_out, 1) > 0.95, "{}", accuracy(&model, &held_out, 1));
}

#[test]
fn every_kind_of_head_learns_levels() {
    let held_out = records(200, 9, |_| [true, true]);
    let train = records(1200, 0, |_| [true, true]);
    // Regression and pairs know no levels of their own, so what is nearest counts.
    for (kind, least) in [
        (HeadKind::SmoothedSoftmax { smoothing: 0.1 }, 0.95),
        (HeadKind::HlGauss { sigma: 0.75 }, 0.95),
        (HeadKind::Ordinal, 0.95),
        (HeadKind::Regression, 0.95),
        (HeadKind::BradleyTerry { margin: 0.0 }, 0.9),
        (HeadKind::BradleyTerry { margin: 0.5 }, 0.9),
    ] {
        let model = fit_heads(&train, &both(kind.clone()), &config(3.0));
        let found = [0, 1].map(|objective| accuracy(&model, &held_out, objective));
        assert!(found.iter().all(|found| *found > least), "{kind:?}: {found:?}");
    }
}

#[test]
fn heads_of_different_kinds_learn_side_by_side() {
    let heads = [
        HeadConfig { kind: HeadKind::Ordinal, hidden_size: Some(8) },
        HeadConfig { kind: HeadKind::Softmax, hidden_size: None },
    ];
    let model = fit_heads(&records(1200, 0, |row| [row % 3 < 2, row % 2 == 1]), &heads, &config(6.0));
    let held_out = records(200, 9, |_| [true, true]);
    let found = [0, 1].map(|objective| accuracy(&model, &held_out, objective));
    assert!(found.iter().all(|found| *found > 0.9), "{found:?}");
}

#[test]
fn a_head_without_labels_keeps_its_weights_to_the_bit() {
    let heads = both(HeadKind::Softmax);
    let (model, config) = fresh(&heads);
    let before = score_weights(&folder(model.valid(), config, &heads));
    let after = score_weights(&fit_on(&records(64, 0, |_| [false, true]), 1.0));
    // Four rows of 16 numbers belong to `count`, the other two to `shout`.
    let count = 4 * 16 * 4;
    assert_eq!(before[..count], after[..count]);
    assert_ne!(before[count..], after[count..]);
}

#[test]
fn rehearsal_tells_heads_what_they_said_and_leaves_labels_alone() {
    let heads = [HeadKind::Softmax, HeadKind::BradleyTerry { margin: 0.0 }]
        .map(|kind| HeadConfig { kind, hidden_size: None });
    let old = fit_on(&records(64, 0, |_| [true, true]), 1.0);
    // The first answer has a label, and the pairs of `shout` have answers that have none.
    let later = records(12, 3, |row| [row == 0, true]);
    let mut set = data(&later, &heads);
    let (n_answers, n_pairs) = (set.answers.len(), set.pairs.len());
    assert_eq!(n_answers, 1);
    let only_count = MultiHeadRewardModel::clone(&old.model);
    set.rehearse(&only_count, 2);
    assert_eq!(set.pairs.len(), n_pairs);
    assert!(set.answers.len() > 6, "{} answers", set.answers.len());
    assert_eq!(set.answers[0].targets[0], Some(Target::Level(later[0].levels[0].unwrap() as f64)));
    let exchanges: Vec<_> = set.answers.iter().map(LabeledExchange::exchange).collect();
    let outputs = old.model.outputs(&exchanges);
    for (answer, outputs) in set.answers.iter().zip(&outputs).skip(1) {
        assert_eq!(answer.targets[0], Some(Target::Outputs(outputs[0].clone())));
    }
}

#[test]
fn heads_of_another_model_stand_in_front() {
    let softmax = both(HeadKind::Softmax);
    let (mut one, other) = (fresh(&softmax).0, fit_on(&records(64, 0, |_| [true, true]), 1.0).model);
    let before = bits(&one);
    one = one.with_heads_of(&other);
    assert_ne!(bits(&one), before);
    // The backbone is the fresh one, so that equal heads do not make equal models.
    assert_ne!(bits(&one), bits(&other));
    assert_eq!(one.heads().len(), 2);
}

#[test]
fn a_bootstrap_changes_the_weights_and_keeps_their_mean() {
    use rand::SeedableRng;
    let softmax = both(HeadKind::Softmax);
    let set = data(&records(2000, 0, |_| [true, true]), &softmax);
    let drawn = set.bootstrapped(&mut rand::rngs::ChaCha8Rng::seed_from_u64(1));
    let weights: Vec<f64> = drawn.answers.iter().map(|answer| answer.weight).collect();
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / weights.len() as f64;
    // An exponential distribution has mean and variance 1.
    assert!((mean - 1.0).abs() < 0.1 && (variance - 1.0).abs() < 0.25, "{mean} {variance}");
    assert!(weights.iter().all(|weight| *weight > 0.0));
}

#[test]
fn an_ordinal_head_is_sure_of_levels_in_the_middle() {
    // Few small steps: weights get far, because a score is the sum of many, and thresholds must keep up.
    let heads = both(HeadKind::Ordinal);
    let mut config = config(6.0);
    config.optimizer.learning_rate = 1.5e-3;
    let model = fit_heads(&records(1200, 0, |_| [true, true]), &heads, &config);
    let held_out = records(200, 9, |_| [true, true]);
    let middle: Vec<f64> = probabilities(&model, &held_out)
        .iter()
        .zip(&held_out)
        .filter(|(_, record)| matches!(record.levels[0], Some(1 | 2)))
        .map(|(heads, record)| heads[0][record.levels[0].unwrap()])
        .collect();
    let sure = middle.iter().sum::<f64>() / middle.len() as f64;
    assert!(sure > 0.6, "{sure}");
}
