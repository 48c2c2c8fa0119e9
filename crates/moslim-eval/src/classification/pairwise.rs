//! Whether a head puts two answers to one prompt in the right order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use moslim_data::Level;
use rand::Rng;
use serde::Serialize;

use super::Share;
use crate::stats::{Interval, bootstrap_interval};

/// Of two answers to one prompt with different labels, how often the higher one has the higher expected level; ties count half.
///
/// NaN when no prompt has two answers with different labels.
/// An expected level that is NaN is in the wrong order with any other.
///
/// ```
/// use moslim_eval::classification::pairwise_accuracy;
/// // Prompt 0 has one pair, in the right order; prompt 1 has one tie.
/// assert_eq!(pairwise_accuracy(&[0.2, 1.7, 0.5, 0.5], &[0, 1, 0, 1], &[0, 0, 1, 1]), 0.75);
/// ```
///
/// # Panics
/// When the slices differ in length.
pub fn pairwise_accuracy(expected_levels: &[f64], labels: &[Level], prompts: &[usize]) -> f64 {
    Share::sum(&ordered_pairs(expected_levels, labels, prompts)).value()
}

/// How often a head prefers the answer that was preferred, of pairs that were compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedReport {
    /// The number of pairs.
    pub n: usize,
    /// The share of pairs whose chosen answer has the higher expected level; ties count half.
    pub accuracy: f64,
    /// Its 95 % bootstrap interval over prompts.
    pub interval: Interval,
}

impl ComparedReport {
    /// Compares the expected levels of chosen and rejected answers; `prompts` says which pairs belong to one prompt.
    ///
    /// # Panics
    /// When there is not one prompt per pair.
    pub fn new(levels: &[(f64, f64)], prompts: &[usize], resamples: usize, rng: &mut impl Rng) -> Self {
        assert_eq!(levels.len(), prompts.len(), "one prompt per pair");
        let mut by_prompt = BTreeMap::<usize, Share>::new();
        for (&(chosen, rejected), &prompt) in levels.iter().zip(prompts) {
            by_prompt.entry(prompt).or_default().add(in_order(chosen, rejected));
        }
        let shares: Vec<Share> = by_prompt.into_values().collect();
        let interval = bootstrap_interval(shares.len(), resamples, rng, |drawn| {
            Share::sum(drawn.iter().map(|&prompt| &shares[prompt])).value()
        });
        Self { n: levels.len(), accuracy: Share::sum(&shares).value(), interval }
    }
}

/// 1 if the higher one has the higher expected level, ½ if both have the same.
fn in_order(of_higher: f64, of_lower: f64) -> f64 {
    match of_higher.partial_cmp(&of_lower) {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Equal) => 0.5,
        _ => 0.0,
    }
}

/// For every prompt, the share of its pairs with different labels that are put in the right order.
pub(super) fn ordered_pairs(expected_levels: &[f64], labels: &[Level], prompts: &[usize]) -> Vec<Share> {
    assert!(
        expected_levels.len() == labels.len() && prompts.len() == labels.len(),
        "{} labels need as many expected levels and prompts, got {} and {}",
        labels.len(),
        expected_levels.len(),
        prompts.len(),
    );
    let mut by_prompt = BTreeMap::<usize, Vec<(Level, f64)>>::new();
    for ((&expected, &label), &prompt) in expected_levels.iter().zip(labels).zip(prompts) {
        by_prompt.entry(prompt).or_default().push((label, expected));
    }
    let share = |mut answers: Vec<(Level, f64)>| {
        answers.sort_by_key(|&(label, _)| label);
        let mut share = Share::default();
        for (position, &(higher, expected_of_higher)) in answers.iter().enumerate() {
            for &(lower, expected_of_lower) in &answers[..position] {
                if lower < higher {
                    share.add(in_order(expected_of_higher, expected_of_lower));
                }
            }
        }
        share
    };
    by_prompt.into_values().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compared_pairs_by_hand() {
        use rand::SeedableRng;
        let rng = &mut rand::rngs::ChaCha8Rng::seed_from_u64(0);
        let report =
            ComparedReport::new(&[(1.0, 0.5), (0.2, 0.2), (0.1, 0.9), (3.0, 2.0)], &[0, 0, 1, 2], 200, rng);
        assert_eq!((report.n, report.accuracy), (4, 0.625));
        assert!(report.interval.low < 0.5 && report.interval.high > 0.75, "{report:?}");
    }

    #[test]
    fn pairs_are_made_within_a_prompt_and_of_different_labels() {
        // The answers of prompt 0 have equal labels; across prompts the order would be wrong.
        assert!(pairwise_accuracy(&[0.9, 0.1, 0.0], &[0, 0, 1], &[0, 0, 1]).is_nan());
    }
}
