//! RiC's steps on numbers that are known.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::*;
use crate::MeanStd;

const RANGE: RewardRange = RewardRange { low: -4.3, high: 4.2 };

fn weights(weights: &[f64]) -> Weights {
    Weights::new(weights.to_vec()).unwrap()
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(3)
}

#[test]
fn known_targets() {
    let table = [
        ([0.5, 0.5], [1.7, 1.7], [4.2, 4.2], [0.0, 0.0]),
        ([0.3, 0.7], [-1.0, 3.5], [0.8, 4.2], [-1.8, 1.6]),
        ([1.0, 0.0], [4.2, -4.3], [4.2, -4.3], [4.2, -4.3]),
    ];
    for (of, l2, linf, linear) in table {
        let targets = |map: PreferenceMap| map.targets(&weights(&of), &[RANGE; 2]).unwrap();
        assert_eq!(targets(PreferenceMap::L2), l2, "{of:?}");
        assert_eq!(targets(PreferenceMap::Linf), linf, "{of:?}");
        assert_eq!(targets(PreferenceMap::Linear), linear, "{of:?}");
    }
    let zero = PreferenceMap::Linear.targets(&weights(&[0.5, 0.5]), &[RANGE; 2]).unwrap()[0];
    assert!(zero.is_sign_positive(), "a prompt would say -0.0");
}

#[test]
fn targets_of_any_number_of_objectives() {
    let ranges = [(-1.0, 1.0), (0.0, 10.0), (-3.0, 0.0)].map(|(low, high)| RewardRange { low, high });
    let targets = |map: PreferenceMap| map.targets(&weights(&[0.2, 0.2, 0.6]), &ranges).unwrap();
    assert_eq!(targets(PreferenceMap::Linear), [-0.6, 2.0, -1.2]);
    // 0.2/√0.44 = 0.3015, 0.6/√0.44 = 0.9045.
    assert_eq!(targets(PreferenceMap::L2), [-0.4, 3.0, -0.3]);
    // min(3 · 0.2, 1) = 0.6.
    assert_eq!(targets(PreferenceMap::Linf), [0.2, 6.0, 0.0]);
    let one = PreferenceMap::L2.targets(&weights(&[1.0]), &ranges[..1]).unwrap();
    assert_eq!(one, [1.0]);
    assert!(PreferenceMap::L2.targets(&weights(&[1.0]), &ranges).is_err());
    let turned = RewardRange { low: 1.0, high: 0.0 };
    assert!(PreferenceMap::L2.targets(&weights(&[1.0]), &[turned]).is_err());
    let endless = RewardRange { low: 0.0, high: f64::INFINITY };
    assert!(PreferenceMap::L2.targets(&weights(&[1.0]), &[endless]).is_err());
}

#[test]
fn rewards_stand_in_prompts_with_one_decimal() {
    let tokens = RewardTokens::numbered(3).unwrap();
    let text = tokens.append("Is 2.0 > 1.0?", &[0.04, -0.04, 12.36]).unwrap();
    assert_eq!(text, "Is 2.0 > 1.0? <rm1_score> 0.0 <rm2_score> 0.0 <rm3_score> 12.4");
    assert_eq!(tokens.split(&text).unwrap(), ("Is 2.0 > 1.0?", vec![0.0, 0.0, 12.4]));
    // Rewards that a prompt quotes stay where they are.
    let twice = tokens.append(&text, &[1.0, 2.0, 3.0]).unwrap();
    assert_eq!(tokens.split(&twice).unwrap().0, text);
    let again = tokens.relabel(&twice, &[-1.0, -2.0, -3.0]).unwrap();
    assert_eq!(again, format!("{text} <rm1_score> -1.0 <rm2_score> -2.0 <rm3_score> -3.0"));

    for no_rewards in [
        "",
        "Why?",
        "Why? <rm1_score> 1.0",
        "Why? <rm1_score> 1.0 <rm2_score> inf <rm3_score> 1.0",
        "<rm1_score> x <rm2_score> 1.0 <rm3_score> 1.0",
    ] {
        let message = tokens.split(no_rewards).unwrap_err().to_string();
        assert_eq!(message, format!("prompt `{no_rewards}`, expected rewards at its end"));
    }
    assert!(tokens.text(&[1.0]).is_err() && tokens.text(&[1.0, f64::NAN, 0.0]).is_err());
    let named = |names: &[&str]| RewardTokens::named(names.iter().map(ToString::to_string).collect());
    assert_eq!(named(&["harmless"]).unwrap().text(&[0.25]).unwrap(), "<harmless> 0.2");
    for wrong in [&[][..], &["a", "a"], &["a b"], &["<a"], &[""]] {
        assert!(named(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn ranges_are_those_of_the_data_or_of_gaussian_draws() {
    let rewards = vec![vec![-0.5, 2.0], vec![1.5, 3.0], vec![0.0, 1.0]];
    let data = RangeSource::online(Mode::Paper).ranges(&rewards, &mut rng()).unwrap();
    assert_eq!(data, [RewardRange { low: -0.5, high: 1.5 }, RewardRange { low: 1.0, high: 3.0 }]);
    assert_eq!(RangeSource::inference(Mode::Paper), RangeSource::Data);
    let gaussian = RangeSource::online(Mode::ReleasedCode).ranges(&rewards, &mut rng()).unwrap();
    assert_eq!(gaussian.len(), 2);
    assert_ne!(gaussian[0], gaussian[1]);
    for RewardRange { low, high } in gaussian {
        assert!((-5.5..-3.6).contains(&low) && (3.6..5.5).contains(&high), "{low} {high}");
    }
    assert_eq!(RangeSource::inference(Mode::ReleasedCode), RangeSource::Gaussian { n_draws: 50_000 });
    assert!(RangeSource::Gaussian { n_draws: 0 }.ranges(&rewards, &mut rng()).is_err());
    assert!(RangeSource::Data.ranges(&[], &mut rng()).is_err());
}

#[test]
fn all_but_the_smallest_dimension_of_a_target_are_at_the_maximum() {
    let ranges = [(-4.3, 4.2), (-1.0, 3.0), (0.0, 100.0)].map(|(low, high)| RewardRange { low, high });
    let mut rng = rng();
    let (mut below, mut low) = ([0; 3], 0);
    for _ in 0..300 {
        let target = draw_target(&ranges, &mut rng).unwrap();
        let lower: Vec<usize> = (0..3).filter(|&i| target[i] < ranges[i].high).collect();
        assert!(lower.len() <= 1, "{target:?}");
        for i in lower {
            below[i] += 1;
            low += usize::from(target[i] < ranges[i].at(0.5));
        }
        assert!(target.iter().all(|&t| t == to_tenths(t)), "{target:?}");
        assert!(target.iter().zip(&ranges).all(|(&t, range)| (range.low..=range.high).contains(&t)));
    }
    // Whatever the scale, each is the smallest equally often: 100 ± 3 deviations of 8.2.
    assert!(below.iter().all(|n| (75..=125).contains(n)), "{below:?}");
    // The smallest of three uniform draws lies below a half with 7/8; alone, with a half.
    assert!((240..=285).contains(&low), "{low}");
    let low = |ranges: &[RewardRange], rng: &mut ChaCha8Rng| {
        let targets = (0..400).map(|_| draw_target(ranges, rng).unwrap());
        targets.filter(|target| target[0] < -0.05).count()
    };
    let alone = low(&ranges[..1], &mut rng);
    assert!((160..=240).contains(&alone), "{alone}");
    let turned = RewardRange { low: 1.0, high: 0.0 };
    assert!(draw_target(&[], &mut rng).is_err() && draw_target(&[turned], &mut rng).is_err());
}

#[test]
fn good_in_anything_is_good_enough() {
    let rewards = vec![vec![0.0, 9.0], vec![1.0, 8.0], vec![2.0, 7.0], vec![3.0, 6.0], vec![4.0, 5.0]];
    assert_eq!(quantile_filter(&rewards, 0.75).unwrap(), [0, 1, 3, 4]);
    assert_eq!(quantile_filter(&rewards, 1.0).unwrap(), [0, 4]);
    assert_eq!(quantile_filter(&rewards, 0.0).unwrap(), [0, 1, 2, 3, 4]);
    assert!([-0.1, 1.1, f64::NAN].iter().all(|&share| quantile_filter(&rewards, share).is_err()));

    let drawn = draw_originals(&rewards, 0.75, 2, &mut rng()).unwrap();
    assert!(drawn.len() == 2 && drawn.is_sorted() && !drawn.contains(&2), "{drawn:?}");
    assert_eq!(draw_originals(&rewards, 0.75, 9, &mut rng()).unwrap(), [0, 1, 3, 4]);

    let prompts = draw_prompts(3, 60, &mut rng()).unwrap();
    assert!(prompts.len() == 60 && (0..3).all(|prompt| prompts.contains(&prompt)));
    assert!(draw_prompts(0, 1, &mut rng()).is_err());
}

#[test]
fn an_answer_ends_before_the_next_turn() {
    assert_eq!(clean_answer("The Human: a study."), Some("The Human: a study."));
    assert_eq!(clean_answer("Yes.\nAssistant: No.\nHuman: Hm."), Some("Yes."));
    assert_eq!(clean_answer("Fine :) :)"), Some("Fine :) :)"));
    assert_eq!(clean_answer("Fine :) :) :)"), None);
    assert_eq!(clean_answer("Yes.\n\nHuman: ....."), Some("Yes."));
}

#[test]
fn both_tails_of_balanced_rewards_reach_as_far() {
    let found = balance_rewards(&[-20.0, -2.0, 0.0, 0.5, 2.0]).unwrap();
    // Quantiles of the clipped: −10 + 0.0004 · 8 and 2 − 0.0004 · 1.5.
    let expected = [-4.0, 8.0 / -9.9968, 0.0, 2.0 / 1.9994, 4.0];
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    assert_eq!(balance_rewards(&[1.0, 1.0]).unwrap(), [4.0, 4.0]);
    assert_eq!(balance_rewards(&[0.0]).unwrap(), [0.0]);
    // A single one of 20 001 lies beyond the quantile, which says nothing of its side.
    for sign in [1.0, -1.0] {
        let alone = balance_rewards(&[vec![-sign; 20_000], vec![2.0 * sign]].concat()).unwrap();
        assert_eq!((alone[0], alone[20_000]), (-4.0 * sign, 2.0 * sign));
    }
    assert!(balance_rewards(&[]).is_err() && balance_rewards(&[f64::NAN]).is_err());
}

#[test]
fn normalised_rewards_have_one_scale() {
    let rewards = vec![vec![1.0, 100.0], vec![3.0, 300.0]];
    let statistics = MeanStd::of_columns(&rewards).unwrap();
    let z = |row: &[f64]| row.iter().zip(&statistics).map(|(r, s)| s.z(*r)).collect::<Vec<_>>();
    assert_eq!([z(&rewards[0]), z(&rewards[1])], [[-1.0, -1.0], [1.0, 1.0]]);
}

#[test]
fn the_weights_of_three_lie_on_the_simplex() {
    let weights = EVALUATION_WEIGHTS_OF_THREE.map(|triple| Weights::new(triple.to_vec()).unwrap());
    assert_eq!(weights[7], Weights::uniform(3).unwrap());
}
