//! How a reward model is trained.

use std::collections::BTreeMap;

use moslim_data::ObjectiveSchema;
use moslim_lm::{OptimizerConfig, Precision};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{HeadConfig, LossAggregation, UncertaintyConfig};

/// How a reward model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Times the data is seen.
    pub num_train_epochs: f64,
    /// Answers or pairs per step.
    pub batch_size: usize,
    /// Answers or pairs whose gradient is computed at once; changes speed and memory, not the result.
    pub micro_batch_size: usize,
    /// The numbers in which the backbone is computed.
    #[serde(default)]
    pub precision: Precision,
    /// Whether layers compute their activations again in the backward pass instead of keeping them: less memory, a third more arithmetic.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// The heads, where [`heads`](Self::heads) does not say otherwise.
    #[serde(default)]
    pub head: HeadConfig,
    /// The heads of single objectives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub heads: BTreeMap<String, HeadConfig>,
    /// What of the model learns.
    #[serde(default)]
    pub backbone: Backbone,
    /// How the losses of the heads become one.
    #[serde(default)]
    pub loss_aggregation: LossAggregation,
    /// Which answers a step sees.
    #[serde(default)]
    pub sampling: Sampling,
    /// How much the classes of a head count.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Whether a batch has answers of similar length.
    #[serde(default)]
    pub group_by_length: bool,
    /// What is kept from training to choose and to calibrate on; nothing if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationConfig>,
    /// How the model knows what it does not know; it does not if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<UncertaintyConfig>,
    /// A checkpoint is written every so many steps; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<usize>,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
}

impl FitConfig {
    /// Everything else as it is by default, and gradients of whole batches at once.
    pub fn new(num_train_epochs: f64, batch_size: usize, optimizer: OptimizerConfig) -> Self {
        Self {
            num_train_epochs,
            batch_size,
            micro_batch_size: batch_size,
            precision: Precision::F32,
            gradient_checkpointing: false,
            head: HeadConfig::default(),
            heads: BTreeMap::new(),
            backbone: Backbone::Trained,
            loss_aggregation: LossAggregation::SumOfHeadMeans,
            sampling: Sampling::Shuffled,
            class_weights: ClassWeights::None,
            group_by_length: false,
            validation: None,
            uncertainty: None,
            save_steps: None,
            optimizer,
        }
    }

    /// The head of every objective.
    ///
    /// # Errors
    /// If a head is named that is no objective's, or a setting is out of its range.
    pub fn heads(&self, schema: &ObjectiveSchema) -> Result<Vec<HeadConfig>, FitError> {
        self.check_steps()?;
        if let Some((setting, found, expected)) =
            self.uncertainty.as_ref().and_then(UncertaintyConfig::mistake)
        {
            return Err(FitError { setting, found: found.to_string(), expected: expected.into() });
        }
        let names: Vec<&str> = schema.objectives().iter().map(|objective| objective.name.as_str()).collect();
        if let Some(name) = self.heads.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(FitError { setting: "heads", found: name.clone(), expected: names.join(", ") });
        }
        let heads: Vec<HeadConfig> =
            names.into_iter().map(|name| self.heads.get(name).unwrap_or(&self.head).clone()).collect();
        for head in &heads {
            if let Some((setting, found, expected)) = head.kind.mistake() {
                return Err(FitError { setting, found: found.to_string(), expected: expected.into() });
            }
            if head.hidden_size == Some(0) {
                let expected = "at least 1".into();
                return Err(FitError { setting: "hidden_size", found: "0".into(), expected });
            }
        }
        let metric = self.validation.map(|validation| validation.metric_for_best_model);
        if metric == Some(Metric::Mae) && heads.iter().all(|head| head.kind.compares()) {
            return Err(FitError {
                setting: "validation.metric_for_best_model",
                found: "mae".into(),
                expected: "loss or intensity_accuracy, since heads of pairs have no distance to a label"
                    .into(),
            });
        }
        Ok(heads)
    }

    /// Whether the steps at which something happens can be.
    fn check_steps(&self) -> Result<(), FitError> {
        let wrong = |setting, found: String, expected: &str| {
            Err(FitError { setting, found, expected: expected.into() })
        };
        if !(self.num_train_epochs > 0.0 && self.num_train_epochs.is_finite()) {
            return wrong("num_train_epochs", self.num_train_epochs.to_string(), "a finite number above 0");
        }
        if self.save_steps == Some(0) {
            return wrong("save_steps", "0".into(), "at least 1");
        }
        let Some(ValidationConfig { share, eval_steps, early_stopping_patience, .. }) = self.validation
        else {
            return Ok(());
        };
        if !(share > 0.0 && share < 1.0) {
            return wrong("validation.share", share.to_string(), "above 0 and below 1");
        }
        if eval_steps == Some(0) {
            return wrong("validation.eval_steps", "0".into(), "at least 1");
        }
        match (early_stopping_patience, eval_steps) {
            (Some(0), _) => wrong("validation.early_stopping_patience", "0".into(), "at least 1"),
            (Some(found), None) => wrong(
                "validation.early_stopping_patience",
                found.to_string(),
                "validation.eval_steps beside it, or there is one look alone",
            ),
            _ => Ok(()),
        }
    }

    /// The number of steps over so many answers and pairs.
    pub fn total_steps(&self, n_items: usize) -> usize {
        let per_epoch = n_items as f64 / self.batch_size.min(n_items).max(1) as f64;
        (self.num_train_epochs * per_epoch).round() as usize
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{setting}: {found}, expected {expected}")]
pub struct FitError {
    /// Which one.
    pub setting: &'static str,
    /// Its value.
    pub found: String,
    /// What could be.
    pub expected: String,
}

/// What of the model learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// Everything, or the adapter of the backbone if it has one, and the heads.
    #[default]
    Trained,
    /// The heads alone: every answer is read once, before the first step.
    Frozen,
}

/// What is kept from training, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// The share of the prompts whose answers are kept from training.
    pub share: f64,
    /// They are measured every so many steps, and the best model is kept; at the end only, and the last is kept, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_steps: Option<usize>,
    /// What best means.
    #[serde(default)]
    pub metric_for_best_model: Metric,
    /// Training ends when the measure did not improve so many times one after the other; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping_patience: Option<usize>,
    /// How the probabilities are calibrated on them.
    #[serde(default)]
    pub calibration: Calibration,
}

/// A measure of a model on validation answers, over heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The loss that is trained on.
    #[default]
    Loss,
    /// The mean over heads of the share of answers whose most probable level is the label;
    /// of pairs in the right order for heads that learn from pairs.
    IntensityAccuracy,
    /// The mean over heads of the mean distance between expected level and label, in levels; without heads of pairs.
    Mae,
}

/// How the probabilities of a head are made honest, on answers that it has not learned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// Not at all.
    None,
    /// One number divides all logits ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)); for a score, slope and thresholds,
    /// and for a regression the deviation.
    #[default]
    Temperature,
    /// A factor and a shift for every class of a softmax; otherwise as `temperature`.
    Vector,
    /// As `temperature`, and the expected level goes through a rising function fitted to the labels.
    Isotonic,
}

/// Which answers a step sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each once in every epoch; the loss counts it by its weight.
    #[default]
    Shuffled,
    /// Drawn with replacement, in proportion to their weights; the loss counts all the same.
    Weighted,
    /// Drawn with replacement so that every level of an objective comes about as often: in proportion to the mean of the
    /// [balanced weights](moslim_data::balanced_weights) of an answer's labels; a pair counts 1.
    Balanced,
}

/// How much the classes of a head count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// So that each has the same total weight in the data: [`balanced_weights`](moslim_data::balanced_weights).
    Balanced,
}
