//! Training a reward model on labelled answers.

use std::ops::ControlFlow;

use moslim_data::{LabeledResponse, Level};
use moslim_lm::{
    EpochBatches, Exchange, LmError, Optimizer, OptimizerConfig, Precision, Tokenizer, sum_gradients,
};
use serde::{Deserialize, Serialize};

use crate::{MultiHeadRewardModel, label_counts, masked_cross_entropy};

/// An answer to a prompt as tokens, and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledExchange {
    /// The prompt without any request.
    pub prompt: Vec<u32>,
    /// The answer and the end token.
    pub response: Vec<u32>,
    /// One entry per objective; `None` where the label is missing.
    pub levels: Vec<Option<Level>>,
}

impl LabeledExchange {
    /// Tokenizes a record.
    ///
    /// # Errors
    /// If the tokenizer or the chat template fails.
    pub fn new(tokenizer: &Tokenizer, record: &LabeledResponse) -> Result<Self, LmError> {
        let (prompt, response) = tokenizer.encode_exchange(&record.prompt, &record.response)?;
        Ok(Self { prompt, response, levels: record.levels.clone() })
    }

    /// The tokens without the labels.
    pub fn exchange(&self) -> Exchange<'_> {
        Exchange { prompt: &self.prompt, response: &self.response }
    }
}

/// How a reward model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Times the data is seen.
    pub num_train_epochs: f64,
    /// Answers per step.
    pub batch_size: usize,
    /// Answers whose gradient is computed at once; changes speed and memory, not the result.
    pub micro_batch_size: usize,
    /// The numbers in which the backbone is computed.
    #[serde(default)]
    pub precision: Precision,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitStep {
    /// The step, counted from 1.
    pub step: usize,
    /// The number of steps of the run.
    pub total_steps: usize,
    /// Mean cross-entropy of each head over its labels of the batch; `None` without labels. In nats
    pub head_losses: Vec<Option<f64>>,
    /// Norm of the gradient before it was clipped.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
}

/// Trains all heads and the backbone; `after_step` sees every step and may end the run early.
///
/// A batch without any label changes nothing.
///
/// # Panics
/// If there is no example or a batch size is 0.
pub fn fit(
    mut model: MultiHeadRewardModel,
    examples: &[LabeledExchange],
    config: &FitConfig,
    seed: u64,
    mut after_step: impl FnMut(&FitStep) -> ControlFlow<()>,
) -> MultiHeadRewardModel {
    let per_epoch = examples.len() as f64 / config.batch_size.min(examples.len()) as f64;
    let total_steps = (config.num_train_epochs * per_epoch).round() as usize;
    let mut optimizer = Optimizer::new(config.optimizer.clone(), total_steps);
    let batches = EpochBatches::new(examples.len(), config.batch_size, seed);
    for (index, rows) in batches.take(total_steps).enumerate() {
        let labels: Vec<&[Option<Level>]> = rows.iter().map(|&row| examples[row].levels.as_slice()).collect();
        let counts = label_counts(&labels);
        if counts.iter().all(|&count| count == 0) {
            continue;
        }
        let parts =
            rows.chunks(config.micro_batch_size).zip(labels.chunks(config.micro_batch_size)).collect();
        let (gradients, losses) = sum_gradients(&model, &model.device(), parts, |model, (rows, labels)| {
            let answers: Vec<Exchange<'_>> = rows.iter().map(|&row| examples[row].exchange()).collect();
            let losses =
                masked_cross_entropy(&model.in_precision(config.precision).logits(&answers), labels, &counts);
            (losses.total, losses.heads)
        });
        let lr = optimizer.learning_rate();
        let grad_norm;
        (model, grad_norm) = optimizer.step(model, gradients);
        let head_losses = (0..counts.len()).map(|head| sum(losses.iter().map(|heads| heads[head]))).collect();
        let step = FitStep { step: index + 1, total_steps, head_losses, grad_norm, lr };
        if after_step(&step).is_break() {
            break;
        }
    }
    model
}

/// The sum of what is there; `None` if nothing is.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().reduce(|sum, value| sum + value)
}
