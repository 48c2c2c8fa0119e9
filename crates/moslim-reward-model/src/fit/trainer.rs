//! A reward model in the middle of its training.

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use moslim_lm::{
    EpochBatches, Exchange, LmError, Optimizer, Precision, load_training, save_training, sum_gradients,
};

use super::items::{Items, all_exchanges};
use super::{Backbone, FitConfig, FitStep};
use crate::loss::{Aggregation, Losses};
use crate::model::matrix;
use crate::{LossAggregation, MultiHeadRewardModel, TrainingSet, label_weights, masked_losses};

/// A reward model in the middle of its training: one step at a time, and written and read at any of them.
///
/// The order of the data follows from the seed, and everything else is in the checkpoint, so that a run which goes on from one
/// ends in the same weights, to the bit, as one that never stopped.
pub struct Trainer<'a> {
    trained: Trained,
    config: &'a FitConfig,
    items: Items<'a>,
    batches: EpochBatches,
    /// What the heads read, if the backbone does not change.
    features: Option<Arc<Features>>,
    optimizer: Optimizer,
    step: usize,
    total_steps: usize,
}

/// What the heads of a model read of all answers of a training set, for trainings that leave the backbone as it is.
pub struct Features {
    /// `[n_answers][hidden_size]`, both answers of a pair
    states: Vec<Vec<f32>>,
    /// Where those of every item begin.
    firsts: Vec<usize>,
}

impl Features {
    /// Reads every answer once.
    pub fn of(model: &MultiHeadRewardModel, data: &TrainingSet, precision: Precision) -> Self {
        let (exchanges, firsts) = all_exchanges(data);
        Self { states: model.valid().in_precision(precision).features(&exchanges), firsts }
    }
}

/// All that is learned.
#[derive(Module, Debug)]
struct Trained {
    model: MultiHeadRewardModel,
    /// See [`LossAggregation::Uncertainty`]; empty otherwise.
    log_variances: Vec<Param<Tensor<1>>>,
}

impl<'a> Trainer<'a> {
    /// At the start of a run.
    ///
    /// # Panics
    /// If there is no answer and no pair, or a batch size is 0.
    pub fn new(model: MultiHeadRewardModel, data: &'a TrainingSet, config: &'a FitConfig, seed: u64) -> Self {
        let features = match config.backbone {
            Backbone::Trained => None,
            Backbone::Frozen => Some(Arc::new(Features::of(&model, data, config.precision))),
        };
        Self::with_features(model, data, config, seed, features)
    }

    /// At the start of a run that leaves the backbone as it is, whatever the configuration says of that.
    ///
    /// # Panics
    /// If there is no answer and no pair, a batch size is 0, or the features are those of other data.
    pub fn on_features(
        model: MultiHeadRewardModel,
        data: &'a TrainingSet,
        config: &'a FitConfig,
        seed: u64,
        features: Arc<Features>,
    ) -> Self {
        assert_eq!(features.firsts.len(), data.len(), "features of as many items");
        Self::with_features(model, data, config, seed, Some(features))
    }

    fn with_features(
        model: MultiHeadRewardModel,
        data: &'a TrainingSet,
        config: &'a FitConfig,
        seed: u64,
        features: Option<Arc<Features>>,
    ) -> Self {
        let model = model.with_gradient_checkpointing(config.gradient_checkpointing);
        let items = Items::new(data, model.heads.len(), config);
        let batches = items.order(config, seed);
        let log_variances = match config.loss_aggregation {
            LossAggregation::Uncertainty => {
                let zero = || Param::from_tensor(Tensor::zeros([1], &model.device())).set_require_grad(true);
                model.heads.iter().map(|_| zero()).collect()
            }
            _ => vec![],
        };
        let total_steps = config.total_steps(data.len());
        let optimizer = Optimizer::new(config.optimizer.clone(), total_steps);
        let trained = Trained { model, log_variances };
        Self { trained, config, items, batches, features, optimizer, step: 0, total_steps }
    }

    /// The number of steps of the run.
    pub fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// The number of steps done.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// The model as it is.
    pub fn model(&self) -> &MultiHeadRewardModel {
        &self.trained.model
    }

    /// Does the next step; `None` at the end of the run. A batch without any label changes nothing.
    pub fn step(&mut self) -> Option<FitStep> {
        if self.step == self.total_steps {
            return None;
        }
        let batch = self.batches.next().expect("batches never end");
        self.step += 1;
        let weights = label_weights(&self.items.labels(&batch));
        let parts: Vec<&[usize]> = batch.chunks(self.config.micro_batch_size).collect();
        let device = self.trained.model.device();
        let (gradients, losses) = sum_gradients(&self.trained, &device, parts, |trained, part| {
            let losses = self.losses(trained, part, &weights);
            (losses.total, losses.heads)
        });
        let lr = self.optimizer.learning_rate();
        let mut grad_norm = 0.0;
        if weights.iter().any(|&weight| weight > 0.0) {
            (self.trained, grad_norm) = self.optimizer.step(self.trained.clone(), gradients);
        }
        let of_head =
            |head: usize| losses.iter().filter_map(|heads| heads[head]).reduce(|sum, loss| sum + loss);
        Some(FitStep {
            step: self.step,
            total_steps: self.total_steps,
            head_losses: (0..weights.len()).map(of_head).collect(),
            grad_norm,
            lr,
        })
    }

    fn losses(&self, trained: &Trained, items: &[usize], label_weights: &[f64]) -> Losses {
        let Trained { model, log_variances } = trained;
        let answers: Vec<Vec<Exchange<'_>>> = items.iter().map(|&item| self.items.exchanges(item)).collect();
        let pooled = match &self.features {
            None => model.in_precision(self.config.precision).pooled(&answers.concat()),
            Some(features) => {
                let Features { states, firsts } = features.as_ref();
                let rows = items.iter().zip(&answers);
                let rows = rows.flat_map(|(&item, answers)| firsts[item]..firsts[item] + answers.len());
                let rows: Vec<&[f32]> = rows.map(|row| states[row].as_slice()).collect();
                matrix(rows.into_iter(), &model.device())
            }
        };
        let rule = self.config.loss_aggregation;
        let aggregation = Aggregation { rule, label_weights, log_variances };
        masked_losses(&model.heads, &pooled, &self.items.labels(items), &aggregation)
    }

    /// Writes everything that the next step depends on into an existing folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        save_training(&self.trained, &self.optimizer, folder)
    }

    /// Goes on where [`save`](Self::save) was called after so many steps, with the same data, configuration and seed.
    ///
    /// # Errors
    /// If a file is missing or malformed, or holds another model.
    pub fn resume(mut self, folder: &Path, steps_done: usize) -> Result<Self, LmError> {
        (self.trained, self.optimizer) = load_training(self.trained, self.optimizer, folder)?;
        self.batches = self.batches.skip_to(steps_done);
        self.step = steps_done;
        Ok(self)
    }
}
