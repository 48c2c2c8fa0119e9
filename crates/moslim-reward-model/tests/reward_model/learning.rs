//! What heads learn, and from what.

use burn::module::Module;
use moslim_reward_model::{HeadConfig, HeadKind};

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
