//! Laws that hold for every prediction and request.

use moslim_data::Request;
use moslim_reward_mapping::{
    ClassProbabilities, Ddof, Divisor, MappingKind, MaskRule, RewardMapping, TargetStats,
};
use proptest::prelude::*;

/// One head: probabilities over 2 to 7 classes, from a confident to a flat softmax.
fn any_head() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-20.0..20.0_f64, 2..8).prop_map(|logits| {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    })
}

/// One head with a target level, whole or fractional, or none.
fn any_head_and_level() -> impl Strategy<Value = (Vec<f64>, Option<f64>)> {
    (any_head(), prop::option::of(0.0..=1.0_f64), any::<bool>()).prop_map(|(head, share, is_whole)| {
        let level = share.map(|share| share * (head.len() - 1) as f64);
        let level = level.map(|level| if is_whole { level.round() } else { level });
        (head, level)
    })
}

fn reading_a(scale_by_sqrt_k: bool) -> MappingKind {
    MappingKind::ZWithinHead { eps: 1e-9, ddof: Ddof::Population, scale_by_sqrt_k }
}

fn score(
    kind: MappingKind,
    divisor: Divisor,
    heads: &[(Vec<f64>, Option<f64>)],
    stats: Option<&TargetStats>,
) -> f64 {
    let probabilities = ClassProbabilities(heads.iter().map(|(head, _)| head.clone()).collect());
    let request = Request { levels: heads.iter().map(|(_, level)| *level).collect() };
    RewardMapping::new(kind, divisor, MaskRule::AskedInPrompt).score(&probabilities, &request, stats).unwrap()
}

proptest! {
    #[test]
    fn every_kind_keeps_its_bounds((head, level) in any_head_and_level()) {
        let highest = (head.len() - 1) as f64;
        let single = |kind| score(kind, Divisor::None, &[(head.clone(), level)], None);
        for (kind, low, high) in [
            (reading_a(false), -highest.sqrt(), highest.sqrt()),
            (reading_a(true), -1.0, 1.0),
            (MappingKind::Prob, 0.0, 1.0),
            (MappingKind::LogProb { floor: 1e-4 }, 1e-4_f64.ln(), 0.0),
            (MappingKind::ExpectedLevelDistance { normalize: false }, -highest, 0.0),
            (MappingKind::ExpectedLevelDistance { normalize: true }, -1.0, 0.0),
            (MappingKind::ExpectedAbsError { normalize: false }, -highest, 0.0),
            (MappingKind::ExpectedAbsError { normalize: true }, -1.0, 0.0),
            (MappingKind::ProbPlusDistance, -1.0, 1.0),
            (MappingKind::WeightedSum { weights: vec![3.0] }, 0.0, 3.0),
        ] {
            let found = single(kind.clone());
            prop_assert!((low - 1e-9..=high + 1e-9).contains(&found), "{kind:?}: {found}");
        }
    }

    #[test]
    fn the_distance_of_the_mean_is_at_most_the_mean_distance((head, level) in any_head_and_level()) {
        let single = |kind| score(kind, Divisor::None, &[(head.clone(), level)], None);
        let of_the_mean = single(MappingKind::ExpectedLevelDistance { normalize: false });
        let mean_distance = single(MappingKind::ExpectedAbsError { normalize: false });
        prop_assert!(of_the_mean >= mean_distance - 1e-9);
    }

    #[test]
    fn prob_plus_distance_is_the_sum_of_both((head, level) in any_head_and_level()) {
        let single = |kind| score(kind, Divisor::None, &[(head.clone(), level)], None);
        let sum = single(MappingKind::Prob) + single(MappingKind::ExpectedLevelDistance { normalize: true });
        prop_assert!((single(MappingKind::ProbPlusDistance) - sum).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_heads_does_not_matter(
        heads in prop::collection::vec((any_head_and_level(), any_head(), -2.0..2.0_f64), 1..5)
            .prop_flat_map(|heads| (Just(heads.clone()), Just(heads).prop_shuffle())),
    ) {
        let (heads, shuffled) = heads;
        for divisor in [Divisor::K, Divisor::MaskSum, Divisor::None] {
            let [score, shuffled_score] = [&heads, &shuffled].map(|heads| {
                let weights = heads.iter().map(|(_, _, weight)| *weight).collect();
                let heads: Vec<_> = heads.iter().map(|(head, _, _)| head.clone()).collect();
                [reading_a(false), MappingKind::ProbPlusDistance, MappingKind::WeightedSum { weights }]
                    .map(|kind| score(kind, divisor, &heads, None))
            });
            for (score, shuffled_score) in score.into_iter().zip(shuffled_score) {
                prop_assert!((score - shuffled_score).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_calibration_set_scores_zero_on_average_with_unit_deviation(
        answers in prop::collection::vec(prop::collection::vec(0.05..1.0_f64, 3), 2..20),
        target in 0..3_usize,
    ) {
        let normalize = |head: &Vec<f64>| head.iter().map(|p| p / head.iter().sum::<f64>()).collect::<Vec<f64>>();
        let answers: Vec<Vec<f64>> = answers.iter().map(normalize).collect();
        let probabilities: Vec<_> = answers.iter().map(|head| ClassProbabilities(vec![head.clone()])).collect();
        let stats = TargetStats::from_probabilities(&probabilities).unwrap();
        prop_assume!(stats.0[0][target].std > 1e-4);

        let scores: Vec<f64> = answers
            .into_iter()
            .map(|head| score(MappingKind::ZDataset, Divisor::K, &[(head, Some(target as f64))], Some(&stats)))
            .collect();
        let n = scores.len() as f64;
        prop_assert!((scores.iter().sum::<f64>() / n).abs() < 1e-9);
        prop_assert!((scores.iter().map(|score| score * score).sum::<f64>() / n - 1.0).abs() < 1e-9);
    }
}
