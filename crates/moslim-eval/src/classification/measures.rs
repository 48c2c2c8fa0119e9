//! The measures of a head, of some answers or of a draw of them.

use moslim_data::Level;
use serde::Serialize;

use super::reliability::ReliabilityBins;
use super::{Share, expected_level, most_probable};
use crate::stats::{CountMatrix, mean, spearman};

/// What is measured of a head; `T` is a number, or the interval of one.
///
/// A measure that is not defined on the answers is NaN, `null` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measures<T> {
    /// The share of answers whose predicted level is the label.
    pub intensity_accuracy: T,
    /// The share of answers whose predicted level is at most one away from the label.
    pub within_one: T,
    /// The mean over the levels that occur among the labels of the share that is predicted as that level.
    pub balanced_accuracy: T,
    /// The mean F1 score over the levels that occur among the labels.
    pub macro_f1: T,
    /// The mean distance in levels between the [`expected_level`] and the label.
    pub mae: T,
    /// Cohen's kappa with quadratic weights between label and predicted level.
    pub quadratic_weighted_kappa: T,
    /// Spearman's ρ between the expected level and the label.
    pub spearman: T,
    /// The expected calibration error ([Guo et al. 2017], eq. 3): `Σ_b (n_b/n) |accuracy_b - confidence_b|` over the bins of `reliability`.
    ///
    /// [Guo et al. 2017]: https://arxiv.org/abs/1706.04599
    pub ece: T,
    /// The Brier score: the mean over answers of `Σ_c (p_c - [c = label])²`, from 0 to 2.
    pub brier: T,
    /// One reading of "preference accuracy": the share of pairs put in the right order; see [`pairwise_accuracy`](super::pairwise_accuracy).
    pub pairwise_accuracy: T,
    /// The other reading of "preference accuracy": how often the head says rightly whether the preference is met,
    /// that is, whether the level lies above the middle of the scale.
    pub recognition_accuracy: T,
}

impl<T> Measures<T> {
    fn from_array(values: [T; N_MEASURES]) -> Self {
        let [
            intensity_accuracy,
            within_one,
            balanced_accuracy,
            macro_f1,
            mae,
            quadratic_weighted_kappa,
            spearman,
            ece,
            brier,
            pairwise_accuracy,
            recognition_accuracy,
        ] = values;
        Self {
            intensity_accuracy,
            within_one,
            balanced_accuracy,
            macro_f1,
            mae,
            quadratic_weighted_kappa,
            spearman,
            ece,
            brier,
            pairwise_accuracy,
            recognition_accuracy,
        }
    }

    /// One of something for every measure.
    pub(super) fn from_fn(of: impl FnMut(usize) -> T) -> Self {
        Self::from_array(std::array::from_fn(of))
    }

    /// What the fields are called, in their order.
    pub const NAMES: [&'static str; N_MEASURES] = [
        "intensity accuracy",
        "within one level",
        "balanced accuracy",
        "macro F1",
        "MAE",
        "quadratic-weighted kappa",
        "Spearman",
        "ECE",
        "Brier",
        "pairwise accuracy",
        "recognition",
    ];

    /// In the order of the fields.
    pub fn to_array(self) -> [T; N_MEASURES] {
        [
            self.intensity_accuracy,
            self.within_one,
            self.balanced_accuracy,
            self.macro_f1,
            self.mae,
            self.quadratic_weighted_kappa,
            self.spearman,
            self.ece,
            self.brier,
            self.pairwise_accuracy,
            self.recognition_accuracy,
        ]
    }
}

/// The number of measures.
pub const N_MEASURES: usize = 11;

/// What one answer adds to the measures.
#[derive(Clone, Copy)]
pub(super) struct Scored {
    pub label: Level,
    pub predicted: Level,
    pub expected: f64,
    pub confidence: f64,
    brier: f64,
    recognized: bool,
}

impl Scored {
    pub(super) fn new(probabilities: &[f64], label: Level) -> Self {
        let predicted = most_probable(probabilities);
        let off = |(c, p): (usize, &f64)| (p - f64::from(c == label)).powi(2);
        let is_met = |level: Level| 2 * level > probabilities.len() - 1;
        let met: f64 = probabilities.iter().enumerate().filter(|(c, _)| is_met(*c)).map(|(_, p)| p).sum();
        Self {
            label,
            predicted,
            expected: expected_level(probabilities),
            confidence: probabilities[predicted],
            brier: probabilities.iter().enumerate().map(off).sum(),
            recognized: (met >= 0.5) == is_met(label),
        }
    }

    pub(super) fn is_hit(&self) -> bool {
        self.predicted == self.label
    }
}

/// Counts of labels (rows) against predicted levels (columns).
pub(super) fn confusion<'a>(n_levels: usize, answers: impl Iterator<Item = &'a Scored>) -> CountMatrix {
    let mut confusion = CountMatrix::new(n_levels);
    answers.for_each(|answer| confusion.count(answer.label, answer.predicted));
    confusion
}

/// Accuracy by confidence.
pub(super) fn reliability<'a>(answers: impl Iterator<Item = &'a Scored>) -> ReliabilityBins {
    let mut bins = ReliabilityBins::default();
    answers.for_each(|answer| bins.add(answer.confidence, answer.is_hit()));
    bins
}

/// The measures of some answers and their pairs.
pub(super) fn measures(n_levels: usize, answers: &[&Scored], pairs: Share) -> Measures<f64> {
    let confusion = confusion(n_levels, answers.iter().copied());
    let of = |value: &dyn Fn(&Scored) -> f64| -> Vec<f64> { answers.iter().map(|&a| value(a)).collect() };
    let labels = of(&|answer| answer.label as f64);
    Measures {
        intensity_accuracy: confusion.exact(),
        within_one: confusion.within_one(),
        balanced_accuracy: mean_of_defined(&recall_by_level(&confusion)),
        macro_f1: mean_of_defined(&f1_by_level(&confusion)),
        mae: mean(&of(&|answer| (answer.expected - answer.label as f64).abs())),
        quadratic_weighted_kappa: confusion.quadratic_weighted_kappa(),
        spearman: spearman(&of(&|answer| answer.expected), &labels),
        ece: reliability(answers.iter().copied()).expected_calibration_error(),
        brier: mean(&of(&|answer| answer.brier)),
        pairwise_accuracy: pairs.value(),
        recognition_accuracy: mean(&of(&|answer| f64::from(answer.recognized))),
    }
}

pub(super) fn majority(confusion: &CountMatrix) -> f64 {
    let most: usize = confusion.rows().iter().map(|row| row.iter().sum()).max().unwrap_or(0);
    most as f64 / confusion.total() as f64
}

pub(super) fn recall_by_level(confusion: &CountMatrix) -> Vec<f64> {
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
