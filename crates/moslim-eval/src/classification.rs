//! How well a reward-model head classifies: accuracy, calibration, order.

mod pairwise;
mod reliability;

use std::collections::BTreeMap;

use moslim_data::Level;
use rand::Rng;
use serde::Serialize;

use self::pairwise::ordered_pairs;
use self::reliability::{expected_calibration_error, reliability};
use crate::stats::{CountMatrix, Interval, bootstrap_interval, mean, spearman};

pub use self::pairwise::pairwise_accuracy;
pub use self::reliability::ReliabilityBin;

/// What one head's class probabilities are worth against the labels.
///
/// The predicted level is the most probable class, the lowest of equal ones.
/// A measure that is not defined on these answers is NaN, `null` in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadReport {
    /// The number of labelled answers.
    pub n: usize,
    /// The share of answers whose predicted level is the label.
    pub intensity_accuracy: f64,
    /// The share of answers whose predicted level is at most one away from the label.
    pub within_one: f64,
    /// The mean distance in levels between the [`expected_level`] and the label.
    pub mae: f64,
    /// The share of the most frequent label: the accuracy of a head that has learnt nothing else.
    pub majority: f64,
    /// The share of each level's answers that are predicted as that level; NaN for a level that no label names. `[n_levels]`
    pub recall_by_level: Vec<f64>,
    /// The mean of `recall_by_level` over the levels that occur among the labels.
    pub balanced_accuracy: f64,
    /// The mean F1 score over the levels that occur among the labels.
    pub macro_f1: f64,
    /// The expected calibration error ([Guo et al. 2017], eq. 3): `Σ_b (n_b/n) |accuracy_b - confidence_b|` over the bins of `reliability`.
    ///
    /// [Guo et al. 2017]: https://arxiv.org/abs/1706.04599
    pub ece: f64,
    /// The Brier score: the mean over answers of `Σ_c (p_c - [c = label])²`, from 0 to 2.
    pub brier: f64,
    /// Cohen's kappa with quadratic weights between label and predicted level.
    pub quadratic_weighted_kappa: f64,
    /// Spearman's ρ between the expected level and the label.
    pub spearman: f64,
    /// The share of pairs put in the right order; see [`pairwise_accuracy`].
    pub pairwise_accuracy: f64,
    /// 95 % bootstrap intervals over prompts.
    pub intervals: HeadIntervals,
    /// Counts of labels (rows) against predicted levels (columns).
    pub confusion: CountMatrix,
    /// Accuracy by confidence, from the least to the most confident; bins without answers are left out.
    pub reliability: Vec<ReliabilityBin>,
}

/// The intervals of a [`HeadReport`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeadIntervals {
    /// Of [`HeadReport::intensity_accuracy`].
    pub intensity_accuracy: Interval,
    /// Of [`HeadReport::pairwise_accuracy`].
    pub pairwise_accuracy: Interval,
}

/// The mean level under the class probabilities, `Σ_c c p_c`, counted from 0.
///
/// ```
/// assert_eq!(moslim_eval::classification::expected_level(&[0.25, 0.25, 0.5]), 1.25);
/// ```
pub fn expected_level(probabilities: &[f64]) -> f64 {
    probabilities.iter().enumerate().map(|(level, probability)| level as f64 * probability).sum()
}

impl HeadReport {
    /// Compares one head's class probabilities with the labels; `prompts` says which answers belong to one prompt.
    ///
    /// Intervals come from `resamples` draws of the prompts.
    ///
    /// # Shapes
    /// - `probabilities`: `[n_answers, n_levels]`
    /// - `labels`, `prompts`: `[n_answers]`
    ///
    /// # Panics
    /// When the lengths differ, or a label is not below the number of levels.
    pub fn new(
        probabilities: &[Vec<f64>],
        labels: &[Level],
        prompts: &[usize],
        resamples: usize,
        rng: &mut impl Rng,
    ) -> Self {
        let n = labels.len();
        assert!(
            probabilities.len() == n && prompts.len() == n,
            "{n} labels need as many rows of probabilities and prompts, got {} and {}",
            probabilities.len(),
            prompts.len(),
        );
        let n_levels = probabilities.first().map_or(0, Vec::len);
        assert!(
            probabilities.iter().all(|row| row.len() == n_levels),
            "every answer needs {n_levels} probabilities"
        );

        let mut confusion = CountMatrix::new(n_levels);
        let mut hits_by_prompt = BTreeMap::<usize, Share>::new();
        let mut brier = Vec::with_capacity(n);
        for ((row, &label), &prompt) in probabilities.iter().zip(labels).zip(prompts) {
            let predicted = most_probable(row);
            confusion.count(label, predicted);
            hits_by_prompt.entry(prompt).or_default().add(f64::from(predicted == label));
            brier.push(
                (row.iter().enumerate()).map(|(c, p)| (p - f64::from(c == label)).powi(2)).sum::<f64>(),
            );
        }
        let hits_by_prompt: Vec<Share> = hits_by_prompt.into_values().collect();
        let expected: Vec<f64> = probabilities.iter().map(|row| expected_level(row)).collect();
        let labels_as_numbers: Vec<f64> = labels.iter().map(|&label| label as f64).collect();
        let distances: Vec<f64> =
            (expected.iter().zip(&labels_as_numbers)).map(|(e, label)| (e - label).abs()).collect();
        let ordered_pairs = ordered_pairs(&expected, labels, prompts);
        let reliability = reliability(probabilities, labels);
        let recall_by_level = recall_by_level(&confusion);

        Self {
            n,
            intensity_accuracy: confusion.exact(),
            within_one: confusion.within_one(),
            mae: mean(&distances),
            majority: majority(&confusion),
            balanced_accuracy: mean_of_defined(&recall_by_level),
            recall_by_level,
            macro_f1: mean_of_defined(&f1_by_level(&confusion)),
            ece: expected_calibration_error(&reliability),
            brier: mean(&brier),
            quadratic_weighted_kappa: confusion.quadratic_weighted_kappa(),
            spearman: spearman(&expected, &labels_as_numbers),
            pairwise_accuracy: Share::sum(&ordered_pairs).value(),
            intervals: HeadIntervals {
                intensity_accuracy: Share::interval(&hits_by_prompt, resamples, rng),
                pairwise_accuracy: Share::interval(&ordered_pairs, resamples, rng),
            },
            confusion,
            reliability,
        }
    }
}

/// So many of so many.
#[derive(Clone, Copy, Default)]
struct Share {
    hits: f64,
    total: f64,
}

impl Share {
    fn add(&mut self, hit: f64) {
        self.hits += hit;
        self.total += 1.0;
    }

    fn sum<'a>(shares: impl IntoIterator<Item = &'a Share>) -> Share {
        shares.into_iter().fold(Share::default(), |sum, share| Share {
            hits: sum.hits + share.hits,
            total: sum.total + share.total,
        })
    }

    fn value(self) -> f64 {
        self.hits / self.total
    }

    fn interval(by_prompt: &[Share], resamples: usize, rng: &mut impl Rng) -> Interval {
        bootstrap_interval(by_prompt.len(), resamples, rng, |drawn| {
            Share::sum(drawn.iter().map(|&prompt| &by_prompt[prompt])).value()
        })
    }
}

fn most_probable(probabilities: &[f64]) -> Level {
    let mut best = 0;
    for (level, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = level;
        }
    }
    best
}

fn majority(confusion: &CountMatrix) -> f64 {
    let most: usize = confusion.rows().iter().map(|row| row.iter().sum()).max().unwrap_or(0);
    most as f64 / confusion.total() as f64
}

fn recall_by_level(confusion: &CountMatrix) -> Vec<f64> {
    (confusion.rows().iter().enumerate())
        .map(|(level, row)| row[level] as f64 / row.iter().sum::<usize>() as f64)
        .collect()
}

/// `2 TP / (2 TP + FP + FN)`; NaN for a level that no label names.
fn f1_by_level(confusion: &CountMatrix) -> Vec<f64> {
    let predicted = confusion.column_totals();
    (confusion.rows().iter().enumerate())
        .map(|(level, row)| match row.iter().sum::<usize>() {
            0 => f64::NAN,
            labelled => 2.0 * row[level] as f64 / (labelled + predicted[level]) as f64,
        })
        .collect()
}

fn mean_of_defined(values: &[f64]) -> f64 {
    mean(&values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;

    fn report(probabilities: &[Vec<f64>], labels: &[Level], prompts: &[usize]) -> HeadReport {
        HeadReport::new(probabilities, labels, prompts, 400, &mut ChaCha8Rng::seed_from_u64(5))
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    /// Predicted 0, 1, 2, 0 for the labels 0, 1, 1, 2.
    fn four_answers() -> HeadReport {
        let probabilities = [
            vec![0.8, 0.2, 0.0], // E 0.2
            vec![0.1, 0.9, 0.0], // E 0.9
            vec![0.0, 0.4, 0.6], // E 1.6
            vec![0.6, 0.2, 0.2], // E 0.6
        ];
        report(&probabilities, &[0, 1, 1, 2], &[0, 0, 1, 1])
    }

    #[test]
    fn accuracies_by_hand() {
        let report = four_answers();
        assert_eq!(report.n, 4);
        assert_eq!(report.intensity_accuracy, 0.5);
        assert_eq!(report.within_one, 0.75);
        assert_eq!(report.majority, 0.5); // two of the four labels are 1
        assert_eq!(report.recall_by_level, [1.0, 0.5, 0.0]);
        assert_eq!(report.balanced_accuracy, 0.5);
        assert_eq!(report.confusion.rows(), [[1, 0, 0], [0, 1, 1], [1, 0, 0]]);
        // F1 of level 0: 2·1/(1+2); of level 1: 2·1/(2+1); of level 2: 0.
        assert_close(report.macro_f1, 4.0 / 9.0);
    }

    #[test]
    fn errors_and_order_by_hand() {
        let report = four_answers();
        assert_close(report.mae, (0.2 + 0.1 + 0.6 + 1.4) / 4.0);
        // Σ (i-j)² o = 1 + 4 = 5; rows 1, 2, 1 and columns 2, 1, 1 expect (1·1 + 4·1 + 2·2 + 2·1 + 4·2 + 1·1) / 4 = 5.
        assert_close(report.quadratic_weighted_kappa, 0.0);
        // Ranks of E: 1, 3, 4, 2; of the labels: 1, 2.5, 2.5, 4. Σ dx dy = 2.25 + 0 + 0 - 0.75 = 1.5, over sqrt(5 · 4.5).
        assert_close(report.spearman, 1.5 / f64::sqrt(22.5));
        // Prompt 0 is in order, prompt 1 is not.
        assert_eq!(report.pairwise_accuracy, 0.5);
    }

    #[test]
    fn calibration_by_hand() {
        let report = four_answers();
        // 0.6 opens the tenth bin of 15, which holds a miss and a miss; 0.8 and 0.9 are hits in bins of their own.
        assert_eq!(report.reliability.iter().map(|bin| bin.n).collect::<Vec<_>>(), [2, 1, 1]);
        assert_close(report.ece, (2.0 * 0.6 + 0.2 + 0.1) / 4.0);
        // 0.04+0.04, 0.01+0.01, 0.36+0.36, 0.36+0.04+0.64
        assert_close(report.brier, (0.08 + 0.02 + 0.72 + 1.04) / 4.0);
    }

    #[test]
    fn intervals_resample_whole_prompts() {
        // One prompt is all right, the other all wrong: a draw of two gives 0, 1/2 or 1.
        let probabilities = vec![vec![1.0, 0.0]; 20];
        let labels: Vec<Level> = (0..20).map(|answer| answer / 10).collect();
        let interval = report(&probabilities, &labels, &labels).intervals.intensity_accuracy;
        assert_eq!(interval, Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn no_answers_give_nulls_and_a_broken_head_gives_no_panic() {
        let json = serde_json::to_value(report(&[], &[], &[])).unwrap();
        assert_eq!(json["n"], 0);
        assert!(json["intensity_accuracy"].is_null() && json["ece"].is_null() && json["majority"].is_null());
        let broken = report(&[vec![f64::NAN, f64::NAN]], &[1], &[0]);
        assert!(broken.mae.is_nan() && broken.ece.is_nan() && broken.brier.is_nan());
    }

    #[test]
    #[should_panic(expected = "2 labels need as many rows")]
    fn missing_rows_are_a_mistake() {
        report(&[vec![1.0]], &[0, 0], &[0, 0]);
    }
}
