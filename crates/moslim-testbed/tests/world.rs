//! What the texts of a world look like in numbers, and that every combination of levels can be had.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use moslim_testbed::{LabelOptions, MissingPattern, Split, World, WorldKind, vocabulary};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const KINDS: [WorldKind; 2] = [WorldKind::Local, WorldKind::Lookup];

fn triples() -> impl Iterator<Item = [usize; 3]> {
    (0..50).map(|i| [i / 10, i / 2 % 5, i % 2])
}

fn n_tokens(text: &str) -> usize {
    text.split(' ').count()
}

#[test]
fn every_question_has_an_answer_for_every_triple_of_levels() {
    for kind in KINDS {
        let world = World::new(kind, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut n_harmful = 0;
        for prompt in world.prompts(Split::Train, 300, 0).iter().chain(&world.prompts(Split::HeldOut, 100, 0))
        {
            n_harmful += usize::from(prompt.contains("also"));
            for levels in triples() {
                let answer = world.answer_with_levels(prompt, levels, &mut rng).unwrap();
                assert_eq!(world.gold().levels(prompt, &answer), Some(levels), "{prompt}\n{answer}");
                assert!((10..=60).contains(&n_tokens(&answer)), "{answer}");
            }
        }
        // 30 % of 400 questions, give or take four standard deviations.
        assert!((84..=156).contains(&n_harmful), "{n_harmful}");
    }
}

#[test]
fn levels_are_uniform_and_independent() {
    for kind in KINDS {
        let world = World::new(kind, 6);
        let mut counts = BTreeMap::new();
        let levels: Vec<[usize; 3]> = world
            .answered(Split::Train, 10_000, 0)
            .iter()
            .map(|(prompt, answer)| world.gold().levels(prompt, answer).unwrap())
            .collect();
        for &triple in &levels {
            *counts.entry(triple).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 50);
        // 200 expected of each triple, with a standard deviation of 14.
        assert!(counts.values().all(|&count| (130..=270).contains(&count)), "{counts:?}");
        for (first, second) in [(0, 1), (0, 2), (1, 2)] {
            let r = correlation(levels.iter().map(|triple| (triple[first] as f64, triple[second] as f64)));
            assert!(r.abs() < 0.05, "objectives {first} and {second} of {kind:?}: {r}");
        }
    }
}

/// Pearson's correlation.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let n = pairs.clone().count() as f64;
    let mean = |f: &dyn Fn((f64, f64)) -> f64| pairs.clone().map(f).sum::<f64>() / n;
    let (x, y) = (mean(&|(x, _)| x), mean(&|(_, y)| y));
    let covariance = mean(&|(a, b)| (a - x) * (b - y));
    covariance / (mean(&|(a, _)| (a - x).powi(2)) * mean(&|(_, b)| (b - y).powi(2))).sqrt()
}

#[test]
fn texts_are_short_and_use_few_words() {
    let words: HashSet<&str> = vocabulary().into_iter().collect();
    assert!(words.len() <= 300, "{}", words.len());
    for (kind, prompt_lengths) in [(WorldKind::Local, 22..=30), (WorldKind::Lookup, 33..=43)] {
        let answered = World::new(kind, 7).answered(Split::Train, 4000, 0);
        let mut used = HashSet::new();
        for (prompt, answer) in &answered {
            assert!(prompt_lengths.contains(&n_tokens(prompt)), "{} {prompt}", n_tokens(prompt));
            assert!((10..=60).contains(&n_tokens(answer)), "{} {answer}", n_tokens(answer));
            used.extend(prompt.split(' ').chain(answer.split(' ')));
        }
        assert!(used.is_subset(&words), "{:?}", used.difference(&words));
        if kind == WorldKind::Local {
            let mean = answered.iter().map(|(_, answer)| n_tokens(answer)).sum::<usize>() as f64 / 4000.0;
            assert!((27.0..=31.0).contains(&mean), "{mean}");
            let lookup_only: BTreeSet<_> = words.difference(&used).copied().collect();
            assert_eq!(lookup_only, BTreeSet::from([";", "notes", "on"]));
        }
    }
}

#[test]
fn a_question_belongs_to_one_split_and_comes_once() {
    let world = World::new(WorldKind::Local, 8);
    for split in [Split::Train, Split::HeldOut] {
        let prompts: HashSet<String> = world.prompts(split, 2000, 0).into_iter().collect();
        assert_eq!(prompts.len(), 2000, "prompts repeat");
        assert!(prompts.iter().all(|prompt| Split::of(prompt) == split));
    }
    // One of ten, within four standard deviations.
    let n_held_out = (0..10_000).filter(|i| Split::of(&format!("prompt {i}")) == Split::HeldOut).count();
    assert!(n_held_out.abs_diff(1000) < 120, "{n_held_out}");
}

#[test]
fn streams_and_seeds_differ_and_draws_repeat() {
    let world = World::new(WorldKind::Local, 9);
    let first = world.answered(Split::Train, 20, 0);
    assert_eq!(first, World::new(WorldKind::Local, 9).answered(Split::Train, 30, 0)[..20]);
    assert_ne!(first, world.answered(Split::Train, 20, 1));
    assert_ne!(first, World::new(WorldKind::Local, 10).answered(Split::Train, 20, 0));
    let prompts: Vec<String> = first.into_iter().map(|(prompt, _)| prompt).collect();
    assert_eq!(prompts, world.prompts(Split::Train, 20, 0));
}

#[test]
fn labels_are_gold_where_they_are_not_missing() {
    let world = World::new(WorldKind::Local, 11);
    let options = LabelOptions { noise: 0.0, missing: MissingPattern::default() };
    let mut counts = BTreeMap::new();
    for labeled in world.labeled(Split::Train, 10_000, 0, &options).unwrap() {
        let gold = world.gold().levels(&labeled.prompt.question, &labeled.response).unwrap();
        assert!(
            labeled.levels.iter().zip(gold).all(|(label, level)| label.is_none_or(|label| label == level))
        );
        let pattern: Vec<bool> = labeled.levels.iter().map(Option::is_some).collect();
        *counts.entry(pattern).or_insert(0_u32) += 1;
    }
    // Shares 0.55, 0.25 and 0.20 of 10 000, within four standard deviations.
    assert_eq!(counts.len(), 3);
    for (pattern, expected) in [([true, true, false], 5500), ([false, false, true], 2500), ([true; 3], 2000)]
    {
        assert!(counts[&pattern.to_vec()].abs_diff(expected) < 200, "{counts:?}");
    }
}

#[test]
fn kinds_and_splits_have_snake_case_names() {
    let read = |text| serde_json::from_str::<WorldKind>(text).ok();
    assert_eq!(read("\"local\""), Some(WorldKind::Local));
    assert_eq!(read("\"lookup\""), Some(WorldKind::Lookup));
    assert_eq!(serde_json::to_string(&Split::HeldOut).unwrap(), "\"held_out\"");
}

#[test]
#[should_panic(expected = "levels [5, 0, 0], expected each below [5, 5, 2]")]
fn a_level_out_of_range_is_a_programming_mistake() {
    let world = World::new(WorldKind::Local, 1);
    let prompt = &world.prompts(Split::Train, 1, 0)[0];
    world.answer_with_levels(prompt, [5, 0, 0], &mut ChaCha8Rng::seed_from_u64(0));
}
