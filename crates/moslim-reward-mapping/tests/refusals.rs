//! What is refused, and with which words.

use moslim_data::Request;
use moslim_reward_mapping::{
    ClassProbabilities, ClassStats, Ddof, Divisor, MappingError, MappingKind, MaskRule, RewardMapping,
    TargetStats,
};

fn mapping(kind: MappingKind) -> RewardMapping {
    RewardMapping::new(kind, Divisor::K, MaskRule::AskedInPrompt)
}

#[test]
fn what_does_not_fit_is_refused() {
    let weights = |weights: &[f64]| MappingKind::WeightedSum { weights: weights.to_vec() };
    let nan = f64::NAN;
    let reading_a = |eps| MappingKind::ZWithinHead { eps, ddof: Ddof::Sample, scale_by_sqrt_k: true };
    for (kind, heads, levels, message) in [
        (MappingKind::Prob, vec![], vec![None], "probabilities of 0 head(s), expected 1 as in the request"),
        (MappingKind::Prob, vec![vec![1.0]], vec![None], "head 0: 1 class(es), expected at least 2"),
        (
            MappingKind::Prob,
            vec![vec![0.5, nan]],
            vec![None],
            "head 0: class 1 has probability NaN, expected 0 to 1",
        ),
        (MappingKind::Prob, vec![vec![0.5, 0.5]], vec![Some(1.5)], "head 0: level 1.5, expected 0 to 1"),
        (MappingKind::Prob, vec![vec![0.5, 0.5]], vec![Some(nan)], "head 0: level NaN, expected 0 to 1"),
        (
            MappingKind::ZDataset,
            vec![vec![0.5, 0.5]],
            vec![Some(1.0)],
            "no target statistics, expected those of a calibration set",
        ),
        (reading_a(0.0), vec![vec![0.5, 0.5]], vec![None], "eps: 0, expected a finite number above 0"),
        (
            MappingKind::LogProb { floor: 2.0 },
            vec![vec![0.5, 0.5]],
            vec![None],
            "floor: 2, expected above 0 and at most 1",
        ),
        (
            MappingKind::ZRunning { momentum: nan },
            vec![vec![0.5, 0.5]],
            vec![None],
            "momentum: NaN, expected above 0 and at most 1",
        ),
        (
            weights(&[1.0, 2.0]),
            vec![vec![0.5, 0.5]],
            vec![None],
            "weights: 2 number(s), expected one for each of 1 heads",
        ),
        (weights(&[nan]), vec![vec![0.5, 0.5]], vec![None], "weights: NaN, expected finite numbers"),
    ] {
        let error = mapping(kind).score(&ClassProbabilities(heads), &Request { levels }, None).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let stats = TargetStats(vec![vec![ClassStats { mean: 0.5, std: 0.1 }; 2]]);
    let probabilities = ClassProbabilities(vec![vec![0.2, 0.3, 0.5]]);
    let request = Request { levels: vec![Some(0.0)] };
    let error = mapping(MappingKind::ZDataset).score(&probabilities, &request, Some(&stats)).unwrap_err();
    assert_eq!(error, MappingError::StatsShape { found: vec![2], expected: vec![3] });
}

#[test]
fn a_recipe_writes_every_setting_and_no_other() {
    let recipe = r#"{
        "kind": {"z_within_head": {"eps": 1e-9, "ddof": 0, "scale_by_sqrt_k": false}},
        "divisor": "k",
        "mask": "asked_in_prompt"
    }"#;
    let read: RewardMapping = serde_json::from_str(recipe).unwrap();
    assert_eq!(
        read,
        mapping(MappingKind::ZWithinHead { eps: 1e-9, ddof: Ddof::Population, scale_by_sqrt_k: false })
    );
    assert_eq!(serde_json::from_str::<RewardMapping>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    for (old, new, message) in [
        ("\"ddof\": 0", "\"ddof\": 2", "ddof: 2, expected 0 or 1"),
        ("\"ddof\": 0,", "", "missing field `ddof`"),
        ("\"ddof\": 0", "\"ddof\": 0, \"dof\": 0", "unknown field `dof`"),
        ("\"mask\"", "\"masks\"", "unknown field `masks`"),
    ] {
        let error = serde_json::from_str::<RewardMapping>(&recipe.replace(old, new)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
