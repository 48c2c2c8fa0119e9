//! From a head's outputs to the probability of every level, as fitted to labels.

use moslim_data::Level;
use serde::{Deserialize, Serialize};

use crate::calibration::{
    CalibrationError, Isotonic, Labels, Readout, fit_cumulative, fit_cumulative_without_labels,
    fit_deviation, fit_temperature, fit_vector_scaling,
};
use crate::head::center;
use crate::{Calibration, HeadKind, RewardHead, Target};

/// How the outputs of one head become probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadReader {
    /// From outputs to probabilities.
    pub readout: Readout,
    /// From the expected level to that which answers of that expected level have; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isotonic: Option<Isotonic>,
}

/// What a head put out for answers, and their labels.
pub struct Labelled<'a> {
    /// `[n_answers][n_outputs]`
    pub outputs: Vec<&'a [f64]>,
    /// Positions between levels, counted from 0.
    pub labels: Vec<f64>,
    /// How much they count.
    pub weights: Vec<f64>,
}

impl<'a> Labelled<'a> {
    /// The answers that have a label for a head.
    ///
    /// # Shapes
    /// - `outputs`: `[n_answers][n_heads][n_outputs]`
    /// - `targets`: the targets of every answer, one entry per head
    pub fn of(head: usize, outputs: &'a [Vec<Vec<f64>>], targets: &[(&[Option<Target>], f64)]) -> Self {
        let mut labelled = Self { outputs: vec![], labels: vec![], weights: vec![] };
        for (outputs, (targets, weight)) in outputs.iter().zip(targets) {
            if let Some(Target::Level(level)) = targets[head] {
                labelled.outputs.push(&outputs[head]);
                labelled.labels.push(level);
                labelled.weights.push(*weight);
            }
        }
        labelled
    }

    fn scores(&self) -> Vec<f64> {
        self.outputs.iter().map(|outputs| outputs[0]).collect()
    }

    /// What a regression predicts, as levels.
    fn predictions(&self, n_levels: usize) -> Vec<f64> {
        self.outputs.iter().map(|outputs| outputs[0] + center(n_levels)).collect()
    }

    fn for_fit(&self, n_levels: usize) -> Labels {
        Labels::new(&self.labels, &self.weights, n_levels)
    }

    fn logits(&self) -> Vec<Vec<f64>> {
        self.outputs.iter().map(|outputs| outputs.to_vec()).collect()
    }
}

impl HeadReader {
    /// A readout as it is.
    pub fn plain(readout: Readout) -> Self {
        Self { readout, isotonic: None }
    }

    /// The reader of a trained head before it is calibrated.
    ///
    /// Classes and cumulative logits say themselves what they mean; the deviation of a regression, and the levels of a head
    /// that learned from pairs, are fitted to the answers it was trained on.
    /// Without labels all levels of a head of pairs are equally frequent among those answers, whose scores are `scores`.
    pub fn of_training(head: &RewardHead, labelled: &Labelled<'_>, scores: &[f64]) -> Self {
        let n_levels = head.n_levels;
        Self::plain(match head.kind {
            HeadKind::Softmax
            | HeadKind::SmoothedSoftmax { .. }
            | HeadKind::HlGauss { .. }
            | HeadKind::Ordinal => head.first_readout(),
            HeadKind::Regression => {
                fit_deviation(&labelled.predictions(n_levels), &labelled.for_fit(n_levels))
            }
            HeadKind::BradleyTerry { .. } if labelled.labels.is_empty() => {
                fit_cumulative_without_labels(scores, n_levels)
            }
            HeadKind::BradleyTerry { .. } => fit_cumulative(&labelled.scores(), &labelled.for_fit(n_levels)),
        })
    }

    /// The reader fitted to answers that the head has not learned from; unchanged without labels.
    pub fn calibrated(self, calibration: Calibration, labelled: &Labelled<'_>) -> Self {
        if calibration == Calibration::None || labelled.labels.is_empty() {
            return self;
        }
        let n_levels = self.readout.n_levels();
        let labels = labelled.for_fit(n_levels);
        let readout = match (&self.readout, calibration) {
            (Readout::Softmax { .. }, Calibration::Vector) => fit_vector_scaling(&labelled.logits(), &labels),
            (Readout::Softmax { .. }, _) => fit_temperature(&labelled.logits(), &labels),
            (Readout::Cumulative { .. }, _) => fit_cumulative(&labelled.scores(), &labels),
            (Readout::Gaussian { .. }, _) => fit_deviation(&labelled.predictions(n_levels), &labels),
        };
        let reader = Self::plain(readout);
        let isotonic = (calibration == Calibration::Isotonic).then(|| {
            let expected: Vec<f64> = labelled
                .outputs
                .iter()
                .map(|outputs| expected_level(&reader.probabilities(outputs)))
                .collect();
            let [expected, labels, weights] = grouped(&expected, &labelled.labels, &labelled.weights);
            Isotonic::fit(&expected, &labels, &weights)
        });
        Self { isotonic, ..reader }
    }

    /// The probability of every level; sums to 1.
    ///
    /// With an isotonic function the probabilities are tilted, `p'_c ∝ p_c exp(θ c)`, so that the expected level is what it says.
    pub fn probabilities(&self, outputs: &[f64]) -> Vec<f64> {
        let probabilities = match &self.readout {
            Readout::Gaussian { n_levels, .. } => {
                self.readout.probabilities(&[outputs[0] + center(*n_levels)])
            }
            readout => readout.probabilities(outputs),
        };
        match &self.isotonic {
            None => probabilities,
            Some(isotonic) => {
                let level = isotonic.apply(expected_level(&probabilities));
                tilted(probabilities, level)
            }
        }
    }

    /// What is wrong with it, for one that was read from a file.
    pub(crate) fn check(&self) -> Result<(), CalibrationError> {
        self.readout.check()?;
        self.isotonic.as_ref().map_or(Ok(()), Isotonic::check)
    }

    /// The thresholds of cumulative logits on the scale of the score; empty for others.
    pub(crate) fn thresholds(&self) -> Vec<f64> {
        match &self.readout {
            Readout::Cumulative { slope, thresholds } => thresholds.iter().map(|b| b / slope).collect(),
            _ => vec![],
        }
    }
}

/// Answers of which an isotonic function knows no more than their mean: a few at an end of the scale would make it sure of them.
const GROUP: usize = 20;

/// The weighted means of x and y over groups of at least [`GROUP`] answers of similar x, and their weights.
fn grouped(x: &[f64], y: &[f64], weights: &[f64]) -> [Vec<f64>; 3] {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let n_groups = (x.len() / GROUP).max(1);
    let mut groups = [vec![], vec![], vec![]];
    for group in 0..n_groups {
        let rows = &order[group * x.len() / n_groups..(group + 1) * x.len() / n_groups];
        let weight: f64 = rows.iter().map(|&row| weights[row]).sum();
        let mean = |of: &[f64]| rows.iter().map(|&row| of[row] * weights[row]).sum::<f64>() / weight;
        for (values, value) in groups.iter_mut().zip([mean(x), mean(y), weight]) {
            values.push(value);
        }
    }
    groups
}

/// The mean level under the probabilities, counted from 0.
pub(crate) fn expected_level(probabilities: &[f64]) -> f64 {
    probabilities.iter().enumerate().map(|(level, p)| level as f64 * p).sum()
}

/// The most probable level, the lowest of equal ones.
pub(crate) fn most_probable(probabilities: &[f64]) -> Level {
    let higher =
        |best: Level, level: Level| if probabilities[level] > probabilities[best] { level } else { best };
    (0..probabilities.len()).fold(0, higher)
}

/// The smallest distance to the ends of the scale that an expected level is tilted to.
const FROM_THE_ENDS: f64 = 1e-3;

/// The distribution nearest to `probabilities` (in the Kullback-Leibler divergence to them) with this expected level.
fn tilted(probabilities: Vec<f64>, level: f64) -> Vec<f64> {
    let highest = (probabilities.len() - 1) as f64;
    let level = level.clamp(FROM_THE_ENDS, highest - FROM_THE_ENDS);
    let at = |theta: f64| {
        let weights = probabilities.iter().enumerate();
        // Relative to the end that grows, so that nothing overflows.
        let anchor = if theta > 0.0 { highest } else { 0.0 };
        let weights: Vec<f64> =
            weights.map(|(c, p)| p.max(1e-12) * (theta * (c as f64 - anchor)).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
    };
    // The expected level rises with θ; e^±60 is beyond every ratio of the probabilities above.
    let (mut low, mut high) = (-60.0, 60.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        match expected_level(&at(middle)) < level {
            true => low = middle,
            false => high = middle,
        }
    }
    at((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilting_moves_the_expected_level_and_keeps_the_shape() {
        let probabilities = vec![0.2, 0.5, 0.3];
        let same = tilted(probabilities.clone(), 1.1);
        probabilities.iter().zip(&same).for_each(|(p, q)| assert!((p - q).abs() < 1e-9, "{same:?}"));
        // By hand: 0.2, 0.5 t, 0.3 t² with t = sqrt(2/3): equal ends, expected level 1.
        let even = tilted(probabilities, 1.0);
        assert!((even[0] - even[2]).abs() < 1e-9, "{even:?}");
        assert!((even[0] - 0.2 / (0.4 + 0.5 * (2.0f64 / 3.0).sqrt())).abs() < 1e-9, "{even:?}");
        for level in [-1.0, 0.0, 2.0, 5.0] {
            let end = tilted(vec![1.0, 0.0, 0.0], level);
            assert!((end.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            assert!((expected_level(&end) - level.clamp(0.001, 1.999)).abs() < 1e-6, "{end:?}");
        }
    }

    #[test]
    fn calibration_without_labels_changes_nothing() {
        let reader = HeadReader::plain(Readout::softmax(3));
        let none = Labelled { outputs: vec![], labels: vec![], weights: vec![] };
        assert_eq!(reader.clone().calibrated(Calibration::Vector, &none), reader);
    }

    #[test]
    fn a_few_lucky_answers_make_nothing_sure() {
        // One answer is far out, and its label the highest; among all others labels are even.
        let outputs: Vec<Vec<f64>> =
            (0..40).map(|n| vec![0.0, if n == 39 { 9.0 } else { f64::from(n) / 100.0 }]).collect();
        let labelled = Labelled {
            outputs: outputs.iter().map(Vec::as_slice).collect(),
            labels: (0..40).map(|n| f64::from(n % 2)).collect(),
            weights: vec![1.0; 40],
        };
        let reader = HeadReader::plain(Readout::softmax(2)).calibrated(Calibration::Isotonic, &labelled);
        // Two groups of 20 with ten labels of each level.
        let p = reader.probabilities(&outputs[39])[1];
        assert!((p - 0.5).abs() < 1e-6, "{p}");
    }

    #[test]
    fn groups_have_twenty_answers_at_least_by_hand() {
        let x: Vec<f64> = (0..50).map(|n| f64::from(49 - n)).collect();
        let y: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
        let [mean_x, mean_y, weights] = grouped(&x, &y, &vec![0.5; 50]);
        assert_eq!((mean_x, mean_y, weights), (vec![12.0, 37.0], vec![24.0, 74.0], vec![12.5, 12.5]));
    }

    #[test]
    fn isotonic_calibration_mends_a_biased_level() {
        // The head says "level 2" where half the answers are of level 0.
        let outputs = [vec![0.0, 0.0, 4.0], vec![4.0, 0.0, 0.0]];
        let labelled = Labelled {
            outputs: (0..40).map(|row| outputs[row % 2].as_slice()).collect(),
            labels: (0..40).map(|row| if row % 4 == 0 { 2.0 } else { 0.0 }).collect(),
            weights: vec![1.0; 40],
        };
        let plain = HeadReader::plain(Readout::softmax(3));
        let reader = plain.clone().calibrated(Calibration::Isotonic, &labelled);
        let level = |reader: &HeadReader, outputs: &[f64]| expected_level(&reader.probabilities(outputs));
        assert!(level(&plain, &outputs[0]) > 1.9);
        assert!((level(&reader, &outputs[0]) - 1.0).abs() < 0.01);
    }
}
