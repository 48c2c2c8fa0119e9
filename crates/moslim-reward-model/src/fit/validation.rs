//! A look at the model during training, on answers that it does not learn from.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::items::{Items, all_exchanges};
use super::{FitConfig, Metric, ValidationConfig};
use crate::loss::{Aggregation, Said};
use crate::model::matrix;
use crate::reader::{HeadReader, expected_level, most_probable};
use crate::{
    Label, LossAggregation, MultiHeadRewardModel, Target, TrainingSet, label_weights, masked_losses,
};

/// What a model is worth on validation answers. A measure without answers is absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The loss that is trained on; with learned uncertainties the sum of the heads' means.
    pub loss: Option<f64>,
    /// See [`Metric::IntensityAccuracy`].
    pub intensity_accuracy: Option<f64>,
    /// See [`Metric::Mae`].
    pub mae: Option<f64>,
}

impl Validation {
    /// Measures a model without gradients.
    pub fn of(model: &MultiHeadRewardModel, data: &TrainingSet, config: &FitConfig) -> Self {
        let items = Items::new(data, model.heads.len(), config);
        let (exchanges, _) = all_exchanges(data);
        let features = model.in_precision(config.precision).features(&exchanges);
        let labels = items.labels(&(0..data.len()).collect::<Vec<_>>());
        let rule = match config.loss_aggregation {
            LossAggregation::Uncertainty => LossAggregation::SumOfHeadMeans,
            rule => rule,
        };
        let weights = label_weights(&labels);
        let aggregation = Aggregation { rule, label_weights: &weights, log_variances: &[] };
        let pooled =
            (!features.is_empty()).then(|| matrix(features.iter().map(Vec::as_slice), &model.device()));
        let losses = pooled.map(|pooled| masked_losses(&model.heads, &pooled, &labels, &aggregation).total);
        let outputs = model.outputs_of_features(&features);
        let (mut accuracies, mut distances) = (Vec::new(), Vec::new());
        for (index, (head, labels)) in model.heads.iter().zip(&labels).enumerate() {
            let reader = HeadReader::plain(head.first_readout());
            let of = |row: usize| &outputs[row][index];
            let (mut hits, mut distance) = (vec![], vec![]);
            for Label { row, what, .. } in labels {
                match what {
                    Said::BetterThan { rejected, .. } => hits.push(of(*row)[0] > of(*rejected)[0]),
                    Said::Target(Target::Level(level)) => {
                        let probabilities = reader.probabilities(of(*row));
                        hits.push(most_probable(&probabilities) == level.round() as usize);
                        distance.push((expected_level(&probabilities) - level).abs());
                    }
                    Said::Target(Target::Outputs(_)) => {}
                }
            }
            if !hits.is_empty() {
                accuracies.push(hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64);
            }
            if !distance.is_empty() {
                distances.extend(mean(&distance));
            }
        }
        let loss = losses.flatten().map(|loss| loss.into_scalar::<f32>().into());
        Self { loss, intensity_accuracy: mean(&accuracies), mae: mean(&distances) }
    }

    /// The measure, so that lower is better; infinitely bad if there is none.
    pub fn badness(&self, metric: Metric) -> f64 {
        let found = match metric {
            Metric::Loss => self.loss,
            Metric::IntensityAccuracy => self.intensity_accuracy.map(|accuracy| -accuracy),
            Metric::Mae => self.mae,
        };
        found.filter(|badness| !badness.is_nan()).unwrap_or(f64::INFINITY)
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Which of the models seen so far is the best, and whether to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The step of the best model, and what it is worth.
    pub best: Option<(usize, Validation)>,
    /// Looks since then.
    pub without_improvement: usize,
}

impl Selection {
    /// Takes in the look after a step; says whether the model is the best so far, and whether to go on.
    pub fn see(
        &mut self,
        step: usize,
        seen: Validation,
        config: &ValidationConfig,
    ) -> (bool, ControlFlow<()>) {
        let badness = |seen: &Validation| seen.badness(config.metric_for_best_model);
        let is_best = self.best.as_ref().is_none_or(|(_, best)| badness(&seen) < badness(best));
        match is_best {
            true => *self = Self { best: Some((step, seen)), without_improvement: 0 },
            false => self.without_improvement += 1,
        }
        let patience = config.early_stopping_patience.unwrap_or(usize::MAX);
        let flow = if self.without_improvement >= patience {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        };
        (is_best, flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_look_is_kept_and_patience_ends() {
        let config = |metric_for_best_model| ValidationConfig {
            share: 0.1,
            eval_steps: Some(10),
            metric_for_best_model,
            early_stopping_patience: Some(2),
            calibration: Default::default(),
        };
        let looks = [(1.0, 0.5), (0.8, 0.4), (0.9, 0.6), (0.8, 0.3)];
        let looks = looks.map(|(loss, accuracy)| Validation {
            loss: Some(loss),
            intensity_accuracy: Some(accuracy),
            mae: None,
        });
        let all = |metric| {
            let mut selection = Selection::default();
            let seen: Vec<(bool, bool)> = looks
                .iter()
                .zip(1..)
                .map(|(look, step)| {
                    let (is_best, flow) = selection.see(step, *look, &config(metric));
                    (is_best, flow.is_break())
                })
                .collect();
            (seen, selection.best.unwrap().0)
        };
        let (yes, no) = (true, false);
        assert_eq!(all(Metric::Loss), (vec![(yes, no), (yes, no), (no, no), (no, yes)], 2));
        assert_eq!(all(Metric::IntensityAccuracy), (vec![(yes, no), (no, no), (yes, no), (no, no)], 3));
    }

    #[test]
    fn a_measure_that_is_missing_is_never_the_best_and_survives_a_file() {
        let look = |loss| Validation { loss, intensity_accuracy: Some(0.5), mae: None };
        let mut selection = Selection::default();
        let config = ValidationConfig {
            share: 0.1,
            eval_steps: Some(10),
            metric_for_best_model: Metric::Loss,
            early_stopping_patience: None,
            calibration: Default::default(),
        };
        let seen: Vec<bool> = [None, Some(f64::NAN), Some(2.0), None, Some(1.0)]
            .into_iter()
            .zip(1..)
            .map(|(loss, step)| selection.see(step, look(loss), &config).0)
            .collect();
        assert_eq!(seen, [true, false, true, false, true]);
        let written = serde_json::to_string(&selection).unwrap();
        assert_eq!(serde_json::from_str::<Selection>(&written).unwrap(), selection);
    }
}
