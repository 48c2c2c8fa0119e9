//! Training a reward model on labelled answers.

use std::ops::ControlFlow;

use moslim_data::{LabeledResponse, Level, Prompt, balanced_weights};
use moslim_lm::{
    EpochBatches, Exchange, LmError, Message, Optimizer, OptimizerConfig, Precision, Tokenizer, sum_gradients,
};
use serde::{Deserialize, Serialize};

use crate::{MultiHeadRewardModel, WeightedLabel, label_weights, masked_cross_entropy};

/// An answer to a prompt as tokens, and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledExchange {
    /// The prompt without any request.
    pub prompt: Vec<u32>,
    /// The answer and the end token.
    pub response: Vec<u32>,
    /// One entry per objective; `None` where the label is missing.
    pub levels: Vec<Option<Level>>,
    /// How much the labels count.
    pub weight: f64,
}

/// The turns of a prompt as a chat template reads them.
pub fn messages(prompt: &Prompt) -> Vec<Message> {
    let before =
        prompt.before.iter().map(|turn| Message { role: turn.role.clone(), content: turn.content.clone() });
    before.chain([Message::user(prompt.question.clone())]).collect()
}

impl LabeledExchange {
    /// Tokenizes a record.
    ///
    /// # Errors
    /// If the tokenizer or the chat template fails.
    pub fn new(tokenizer: &Tokenizer, record: &LabeledResponse) -> Result<Self, LmError> {
        let (prompt, response) = tokenizer.encode_exchange(&messages(&record.prompt), &record.response)?;
        Ok(Self { prompt, response, levels: record.levels.clone(), weight: record.weight })
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
    /// Which answers a step sees.
    #[serde(default)]
    pub sampling: Sampling,
    /// How much the classes of a head count.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Whether a batch has answers of similar length.
    #[serde(default)]
    pub group_by_length: bool,
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
            sampling: Sampling::Shuffled,
            class_weights: ClassWeights::None,
            group_by_length: false,
            optimizer,
        }
    }
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
    /// [balanced weights](balanced_weights) of an answer's labels.
    Balanced,
}

/// How much the classes of a head count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// So that each has the same total weight in the data: [`balanced_weights`].
    Balanced,
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
    let labels = weighted_labels(examples, config);
    for (index, rows) in batches(examples, config, seed).take(total_steps).enumerate() {
        let labels: Vec<&[Option<WeightedLabel>]> = rows.iter().map(|&row| labels[row].as_slice()).collect();
        let weights = label_weights(&labels);
        if weights.iter().all(|&weight| weight == 0.0) {
            continue;
        }
        let parts =
            rows.chunks(config.micro_batch_size).zip(labels.chunks(config.micro_batch_size)).collect();
        let (gradients, losses) = sum_gradients(&model, &model.device(), parts, |model, (rows, labels)| {
            let answers: Vec<Exchange<'_>> = rows.iter().map(|&row| examples[row].exchange()).collect();
            let losses = masked_cross_entropy(
                &model.in_precision(config.precision).logits(&answers),
                labels,
                &weights,
            );
            (losses.total, losses.heads)
        });
        let lr = optimizer.learning_rate();
        let grad_norm;
        (model, grad_norm) = optimizer.step(model, gradients);
        let head_losses =
            (0..weights.len()).map(|head| sum(losses.iter().map(|heads| heads[head]))).collect();
        let step = FitStep { step: index + 1, total_steps, head_losses, grad_norm, lr };
        if after_step(&step).is_break() {
            break;
        }
    }
    model
}

/// The balanced weight of every level of every objective.
fn level_weights(examples: &[LabeledExchange]) -> Vec<Vec<f64>> {
    let n_objectives = examples.first().map_or(0, |example| example.levels.len());
    let of_objective = |objective: usize| {
        let levels: Vec<Level> = examples.iter().filter_map(|example| example.levels[objective]).collect();
        let mut counts = vec![0; levels.iter().max().map_or(0, |highest| highest + 1)];
        levels.into_iter().for_each(|level| counts[level] += 1);
        balanced_weights(&counts)
    };
    (0..n_objectives).map(of_objective).collect()
}

/// What the loss is made of.
fn weighted_labels(examples: &[LabeledExchange], config: &FitConfig) -> Vec<Vec<Option<WeightedLabel>>> {
    let of_levels = level_weights(examples);
    let label = |example: &LabeledExchange, objective: usize, level: Level| {
        let of_example = if config.sampling == Sampling::Weighted { 1.0 } else { example.weight };
        let of_class = match config.class_weights {
            ClassWeights::None => 1.0,
            ClassWeights::Balanced => of_levels[objective][level],
        };
        WeightedLabel { level, weight: of_example * of_class }
    };
    let labels = |example: &LabeledExchange| {
        let levels = example.levels.iter().enumerate();
        levels.map(|(objective, level)| level.map(|level| label(example, objective, level))).collect()
    };
    examples.iter().map(labels).collect()
}

/// The order in which examples are seen.
fn batches(examples: &[LabeledExchange], config: &FitConfig, seed: u64) -> EpochBatches {
    let batches = EpochBatches::new(examples.len(), config.batch_size, seed);
    let batches = match config.sampling {
        Sampling::Shuffled => batches,
        Sampling::Weighted => {
            batches.weighted(&examples.iter().map(|example| example.weight).collect::<Vec<_>>())
        }
        Sampling::Balanced => batches.weighted(&sampling_weights(examples)),
    };
    match config.group_by_length {
        false => batches,
        true => {
            let length = |example: &LabeledExchange| example.prompt.len() + example.response.len();
            batches.grouped_by_length(examples.iter().map(length).collect())
        }
    }
}

/// The mean of the balanced weights of an answer's labels; 0 where it has none, unless no answer has any.
fn sampling_weights(examples: &[LabeledExchange]) -> Vec<f64> {
    let of_levels = level_weights(examples);
    let weight = |example: &LabeledExchange| {
        let weights = example.levels.iter().zip(&of_levels);
        let weights: Vec<f64> = weights.filter_map(|(level, weights)| Some(weights[(*level)?])).collect();
        weights.iter().sum::<f64>() / weights.len().max(1) as f64
    };
    let weights: Vec<f64> = examples.iter().map(weight).collect();
    match weights.iter().any(|&weight| weight > 0.0) {
        true => weights,
        false => vec![1.0; examples.len()],
    }
}

/// The sum of what is there; `None` if nothing is.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use moslim_lm::LrSchedule;

    use super::*;

    fn examples(levels: &[[Option<Level>; 2]]) -> Vec<LabeledExchange> {
        let example = |levels: &[Option<Level>; 2]| LabeledExchange {
            prompt: vec![1],
            response: vec![2],
            levels: levels.to_vec(),
            weight: 0.5,
        };
        levels.iter().map(example).collect()
    }

    fn config(sampling: Sampling, class_weights: ClassWeights) -> FitConfig {
        let optimizer = OptimizerConfig {
            learning_rate: 1e-3,
            warmup_ratio: 0.0,
            lr_scheduler_type: LrSchedule::Constant,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        };
        FitConfig { sampling, class_weights, ..FitConfig::new(1.0, 4, optimizer) }
    }

    #[test]
    fn weights_of_answers_and_classes_multiply() {
        // Head 0: three of level 0, one of level 2; head 1: one label.
        let examples = examples(&[[Some(0), None], [Some(0), Some(1)], [Some(0), None], [Some(2), None]]);
        let weights = |sampling, class_weights| -> Vec<f64> {
            let labels = weighted_labels(&examples, &config(sampling, class_weights));
            labels.into_iter().map(|row| row[0].unwrap().weight).collect()
        };
        assert_eq!(weights(Sampling::Shuffled, ClassWeights::None), [0.5; 4]);
        // What decides how often an answer is drawn does not count a second time.
        assert_eq!(weights(Sampling::Weighted, ClassWeights::None), [1.0; 4]);
        // 4 / (2 · 3) and 4 / (2 · 1), halved.
        let balanced = weights(Sampling::Balanced, ClassWeights::Balanced);
        assert_eq!(balanced, [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0]);
    }

    #[test]
    fn balanced_sampling_shows_rare_levels_as_often_as_frequent_ones() {
        let mut levels = vec![[Some(0), None]; 90];
        levels.extend([[Some(1), None]; 10]);
        levels.extend([[None, None]; 50]);
        let examples = examples(&levels);
        let order = batches(&examples, &config(Sampling::Balanced, ClassWeights::None), 3);
        let drawn: Vec<usize> = order.take(500).flatten().collect();
        let of_level = |level| drawn.iter().filter(|&&row| levels[row][0] == level).count();
        // Over 4 standard deviations of sqrt(2000 / 4).
        assert!(of_level(Some(1)).abs_diff(1000) < 100 && of_level(None) == 0);
    }
}
