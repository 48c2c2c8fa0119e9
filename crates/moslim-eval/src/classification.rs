//! How well a reward-model head classifies: accuracy, calibration, order.

mod measures;
mod pairwise;
mod reliability;
mod selective;

use std::collections::BTreeMap;

use moslim_data::Level;
use rand::Rng;
use serde::Serialize;

use self::measures::{Scored, confusion, majority, measures, recall_by_level, reliability};
use self::pairwise::ordered_pairs;
use crate::stats::{CountMatrix, Interval, bootstrap_intervals};

pub use self::measures::Measures;
pub use self::pairwise::{ComparedReport, pairwise_accuracy};
pub use self::reliability::ReliabilityBin;
pub use self::selective::SelectiveRisk;

/// What one head's class probabilities are worth against the labels.
///
/// The predicted level is the most probable class, the lowest of equal ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadReport {
    /// The number of labelled answers.
    pub n: usize,
    /// What is measured.
    #[serde(flatten)]
    pub measures: Measures<f64>,
    /// The share of the most frequent label: the accuracy of a head that has learnt nothing else.
    pub majority: f64,
    /// The share of each level's answers that are predicted as that level; NaN for a level that no label names. `[n_levels]`
    pub recall_by_level: Vec<f64>,
    /// 95 % bootstrap intervals over prompts.
    pub intervals: Measures<Interval>,
    /// Counts of labels (rows) against predicted levels (columns).
    pub confusion: CountMatrix,
    /// Accuracy by confidence, from the least to the most confident; bins without answers are left out.
    pub reliability: Vec<ReliabilityBin>,
    /// Whether it errs less where its most probable level is more probable.
    pub selective: SelectiveRisk,
    /// Whether it errs less where the opinions on the expected level lie closer together; absent if there is one opinion alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selective_by_deviation: Option<SelectiveRisk>,
    /// The same measures by who or what gave the label; empty if that is not known of any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_source: BTreeMap<String, SourceReport>,
}

/// What a head is worth against the labels of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceReport {
    /// The number of its labels.
    pub n: usize,
    /// What is measured.
    #[serde(flatten)]
    pub measures: Measures<f64>,
    /// 95 % bootstrap intervals over prompts.
    pub intervals: Measures<Interval>,
}

/// The mean level under the class probabilities, `Σ_c c p_c`, counted from 0.
///
/// ```
/// assert_eq!(moslim_eval::classification::expected_level(&[0.25, 0.25, 0.5]), 1.25);
/// ```
pub fn expected_level(probabilities: &[f64]) -> f64 {
    probabilities.iter().enumerate().map(|(level, probability)| level as f64 * probability).sum()
}

/// Answers with labels for a head, and what the head says of them.
#[derive(Clone, Debug, Default)]
pub struct Classified<'a> {
    /// `[n_answers, n_levels]`
    pub probabilities: Vec<Vec<f64>>,
    /// `[n_answers]`
    pub labels: Vec<Level>,
    /// Which answers belong to one prompt. `[n_answers]`
    pub prompts: Vec<usize>,
    /// Who or what gave the labels, where it is known. `[n_answers]`
    pub sources: Vec<Option<&'a str>>,
    /// How far the opinions on the expected level lie apart, if there are several. `[n_answers]`
    pub deviations: Option<Vec<f64>>,
}

impl HeadReport {
    /// Compares one head's class probabilities with the labels.
    ///
    /// Intervals come from `resamples` draws of the prompts.
    ///
    /// # Panics
    /// When the lengths differ, or a label is not below the number of levels.
    pub fn new(classified: &Classified<'_>, resamples: usize, rng: &mut impl Rng) -> Self {
        let Classified { probabilities, labels, prompts, sources, deviations } = classified;
        let n = labels.len();
        assert!(
            probabilities.len() == n && prompts.len() == n && sources.len() == n,
            "{n} labels need as many rows of probabilities, prompts and sources, got {}, {} and {}",
            probabilities.len(),
            prompts.len(),
            sources.len(),
        );
        let n_levels = probabilities.first().map_or(0, Vec::len);
        assert!(
            probabilities.iter().all(|row| row.len() == n_levels),
            "every answer needs {n_levels} probabilities"
        );
        let answers: Vec<Scored> =
            probabilities.iter().zip(labels).map(|(row, &label)| Scored::new(row, label)).collect();
        let mut measured = |rows: &[usize]| {
            let answers: Vec<(Scored, usize)> =
                rows.iter().map(|&row| (answers[row], prompts[row])).collect();
            with_intervals(n_levels, &answers, resamples, rng)
        };
        let (measures, intervals) = measured(&(0..n).collect::<Vec<_>>());
        let mut of_source = |source: &str| {
            let rows: Vec<usize> = (0..n).filter(|&row| sources[row] == Some(source)).collect();
            let (measures, intervals) = measured(&rows);
            SourceReport { n: rows.len(), measures, intervals }
        };
        let is_wrong: Vec<bool> = answers.iter().map(|answer| !answer.is_hit()).collect();
        let doubts: Vec<f64> = answers.iter().map(|answer| 1.0 - answer.confidence).collect();
        let mut names: Vec<&str> = sources.iter().flatten().copied().collect();
        names.sort_unstable();
        names.dedup();
        let by_source = names.into_iter().map(|name| (name.to_owned(), of_source(name))).collect();
        let confusion = confusion(n_levels, answers.iter());
        Self {
            n,
            measures,
            majority: majority(&confusion),
            recall_by_level: recall_by_level(&confusion),
            intervals,
            reliability: reliability(answers.iter()).filled(),
            confusion,
            selective: SelectiveRisk::new(&doubts, &is_wrong),
            selective_by_deviation: deviations
                .as_ref()
                .map(|deviations| SelectiveRisk::new(deviations, &is_wrong)),
            by_source,
        }
    }
}

/// The measures of answers, given with their prompts, and their intervals over prompts.
fn with_intervals(
    n_levels: usize,
    answers: &[(Scored, usize)],
    resamples: usize,
    rng: &mut impl Rng,
) -> (Measures<f64>, Measures<Interval>) {
    let expected: Vec<f64> = answers.iter().map(|(answer, _)| answer.expected).collect();
    let labels: Vec<Level> = answers.iter().map(|(answer, _)| answer.label).collect();
    let prompts: Vec<usize> = answers.iter().map(|(_, prompt)| *prompt).collect();
    let pairs = ordered_pairs(&expected, &labels, &prompts);
    let mut by_prompt = BTreeMap::<usize, Vec<&Scored>>::new();
    for (answer, prompt) in answers {
        by_prompt.entry(*prompt).or_default().push(answer);
    }
    let by_prompt: Vec<Vec<&Scored>> = by_prompt.into_values().collect();
    let of_prompts = |drawn: &[usize]| {
        let answers: Vec<&Scored> = drawn.iter().flat_map(|&prompt| &by_prompt[prompt]).copied().collect();
        measures(n_levels, &answers, Share::sum(drawn.iter().map(|&prompt| &pairs[prompt])))
    };
    let intervals =
        bootstrap_intervals(by_prompt.len(), resamples, rng, |drawn| of_prompts(drawn).to_array());
    let all: Vec<usize> = (0..by_prompt.len()).collect();
    (of_prompts(&all), Measures::from_fn(|index| intervals[index]))
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
}

/// The most probable level, the lowest of equal ones.
pub fn most_probable(probabilities: &[f64]) -> Level {
    let mut best = 0;
    for (level, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = level;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;

    fn report(probabilities: &[Vec<f64>], labels: &[Level], prompts: &[usize]) -> HeadReport {
        let sources = vec![None; labels.len()];
        of_sources(probabilities, labels, prompts, sources)
    }

    fn of_sources(
        probabilities: &[Vec<f64>],
        labels: &[Level],
        prompts: &[usize],
        sources: Vec<Option<&str>>,
    ) -> HeadReport {
        let (probabilities, labels, prompts) = (probabilities.to_vec(), labels.to_vec(), prompts.to_vec());
        let classified = Classified { probabilities, labels, prompts, sources, deviations: None };
        HeadReport::new(&classified, 400, &mut ChaCha8Rng::seed_from_u64(5))
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
        assert_eq!(report.measures.intensity_accuracy, 0.5);
        assert_eq!(report.measures.within_one, 0.75);
        assert_eq!(report.majority, 0.5); // two of the four labels are 1
        assert_eq!(report.recall_by_level, [1.0, 0.5, 0.0]);
        assert_eq!(report.measures.balanced_accuracy, 0.5);
        assert_eq!(report.confusion.rows(), [[1, 0, 0], [0, 1, 1], [1, 0, 0]]);
        // F1 of level 0: 2·1/(1+2); of level 1: 2·1/(2+1); of level 2: 0.
        assert_close(report.measures.macro_f1, 4.0 / 9.0);
    }

    #[test]
    fn errors_and_order_by_hand() {
        let report = four_answers();
        assert_close(report.measures.mae, (0.2 + 0.1 + 0.6 + 1.4) / 4.0);
        // Σ (i-j)² o = 1 + 4 = 5; rows 1, 2, 1 and columns 2, 1, 1 expect (1·1 + 4·1 + 2·2 + 2·1 + 4·2 + 1·1) / 4 = 5.
        assert_close(report.measures.quadratic_weighted_kappa, 0.0);
        // Ranks of E: 1, 3, 4, 2; of the labels: 1, 2.5, 2.5, 4. Σ dx dy = 2.25 + 0 + 0 - 0.75 = 1.5, over sqrt(5 · 4.5).
        assert_close(report.measures.spearman, 1.5 / f64::sqrt(22.5));
        // Prompt 0 is in order, prompt 1 is not.
        assert_eq!(report.measures.pairwise_accuracy, 0.5);
    }

    #[test]
    fn calibration_by_hand() {
        let report = four_answers();
        // 0.6 opens the tenth bin of 15, which holds a miss and a miss; 0.8 and 0.9 are hits in bins of their own.
        assert_eq!(report.reliability.iter().map(|bin| bin.n).collect::<Vec<_>>(), [2, 1, 1]);
        assert_close(report.measures.ece, (2.0 * 0.6 + 0.2 + 0.1) / 4.0);
        // 0.04+0.04, 0.01+0.01, 0.36+0.36, 0.36+0.04+0.64
        assert_close(report.measures.brier, (0.08 + 0.02 + 0.72 + 1.04) / 4.0);
    }

    #[test]
    fn doubts_order_the_answers_by_hand() {
        // By confidence: .9 and .8 are hits, then two misses at .6: risks 0, 0, 1/3, 1/2.
        assert_close(four_answers().selective.mean_risk, (1.0 / 3.0 + 0.5) / 4.0);
        let classified = Classified {
            probabilities: vec![vec![0.9, 0.1], vec![0.9, 0.1]],
            labels: vec![0, 1],
            prompts: vec![0, 1],
            sources: vec![None, None],
            deviations: Some(vec![0.2, 0.1]),
        };
        let report = HeadReport::new(&classified, 10, &mut ChaCha8Rng::seed_from_u64(0));
        // Both are equally probable, and the one on which opinions agree is wrong.
        assert_close(report.selective.mean_risk, 0.5);
        assert_close(report.selective_by_deviation.unwrap().mean_risk, 0.75);
    }

    #[test]
    fn recognition_and_sources_by_hand() {
        // The middle of three levels is 1: only level 2 is above it. Said so of answer 2 alone, whose label is 1; answer 3 is missed.
        assert_eq!(four_answers().measures.recognition_accuracy, 0.5);
        let probabilities: Vec<Vec<f64>> = [0.9, 0.2, 0.7].map(|p| vec![1.0 - p, p]).into();
        let sources = vec![Some("people"), Some("model"), None];
        let report = of_sources(&probabilities, &[1, 1, 0], &[0, 0, 1], sources);
        let accuracy = |source: &str| report.by_source[source].measures.intensity_accuracy;
        assert_eq!((report.by_source.len(), accuracy("people"), accuracy("model")), (2, 1.0, 0.0));
        let of_model = &serde_json::to_value(&report).unwrap()["by_source"]["model"];
        assert_eq!(
            (&of_model["n"], &of_model["intervals"]["intensity_accuracy"]),
            (&1.into(), &[0.0, 0.0].into())
        );
        let unknown = serde_json::to_value(four_answers()).unwrap();
        assert!(unknown.get("by_source").is_none() && unknown["intervals"]["mae"][0].is_number());
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
        assert!(
            broken.measures.mae.is_nan() && broken.measures.ece.is_nan() && broken.measures.brier.is_nan()
        );
    }

    #[test]
    #[should_panic(expected = "2 labels need as many rows")]
    fn missing_rows_are_a_mistake() {
        report(&[vec![1.0]], &[0, 0], &[0, 0]);
    }
}
