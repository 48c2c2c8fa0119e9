//! Training a reward model on labelled answers and pairs.

mod config;
mod items;
mod posteriors;
mod trainer;
mod validation;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::{MultiHeadRewardModel, TrainingSet};

pub use config::{
    Backbone, Calibration, ClassWeights, FitConfig, FitError, Metric, Sampling, ValidationConfig,
};
pub use posteriors::fit_posteriors;
pub use trainer::{Features, Trainer};
pub use validation::{Selection, Validation};

/// What one step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitStep {
    /// The step, counted from 1.
    pub step: usize,
    /// The number of steps of the run.
    pub total_steps: usize,
    /// The mean loss of each head over its labels of the batch; `None` without labels.
    pub head_losses: Vec<Option<f64>>,
    /// Norm of the gradient before it was clipped; 0 if the batch has no label.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
}

/// Trains a model to the end of its run; `after_step` sees every step and may end it early.
///
/// Whoever needs more, such as checkpoints or a look at the model on the way, uses a [`Trainer`].
///
/// # Panics
/// If there is no answer and no pair, or a batch size is 0.
pub fn fit(
    model: MultiHeadRewardModel,
    data: &TrainingSet,
    config: &FitConfig,
    seed: u64,
    mut after_step: impl FnMut(&FitStep) -> ControlFlow<()>,
) -> MultiHeadRewardModel {
    let mut trainer = Trainer::new(model, data, config, seed);
    while let Some(step) = trainer.step() {
        if after_step(&step).is_break() {
            break;
        }
    }
    trainer.model().clone()
}
