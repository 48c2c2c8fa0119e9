//! Every piece of work: what it executes, what it takes at least, and how that grows.

use burn::module::Module;
use burn::tensor::{Device, Distribution, Int, Tensor};
use moslim_data::{Objective, ObjectiveSchema, Request};
use moslim_kernels::{logits_at_once, token_logprobs};
use moslim_lm::{
    BYTES_PER_NUMBER, CausalLm, Exchange, ModelConfig, Optimizer, OptimizerConfig, Precision, SamplingParams,
    Stops, TokenRng, generate, n_lanes, packed_bytes, sft_gradients,
};
use moslim_reward_model::{HeadConfig, MultiHeadRewardModel};
use moslim_rl::{Algorithm, KlConfig, PolicyPrompt, PolicyTrainer, RlooConfig, TrainingConfig};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::arithmetic::Arithmetic;
use crate::shape::Shape;

/// A piece of work, prepared.
pub struct Work {
    /// Weights of the model.
    pub parameters: f64,
    /// Additions and multiplications that nobody gets around.
    pub floating_point_operations: f64,
    /// Bytes of weights, gradients and moments, where the work has a training in it.
    pub least_bytes: Option<f64>,
    /// Bytes that it takes beyond the model and its inputs, about: what they depend on, and how.
    pub expected_bytes: f64,
    execute: Box<dyn FnMut()>,
}

impl Work {
    /// Executes it once.
    pub fn execute(&mut self) {
        (self.execute)();
    }
}

/// Prepares the work with this name, whose shape it must be.
///
/// # Panics
/// If it is none of the known names.
pub fn prepare(name: &str, config: &ModelConfig, shape: &Shape) -> Work {
    let size = |dimension: &str| shape.get(dimension);
    match name {
        "matmul" => matmul(size("n")),
        "train" => train(config, size("rows"), size("length")),
        "generate" => generation(config, size("prompts"), size("samples")),
        "rloo" => rloo(config, size("prompts"), size("samples")),
        "score" => score(config, size("answers"), size("longest"), size("objectives")),
        "logprobs" => logprobs(config.hidden_size, size("tokens"), size("vocabulary")),
        "logprobs-gradient" => logprobs_gradient(config.hidden_size, size("tokens"), size("vocabulary")),
        _ => panic!("{name} has a shape, so it is known"),
    }
}

/// Tokens of prompts and answers.
const PROMPT: usize = 32;
const ANSWER: usize = 64;

/// Answers of a micro-batch.
const MICRO_BATCH: usize = 4;

/// Micro-batches, or parts of a batch, that are at work at once.
fn lanes() -> usize {
    n_lanes(&Device::default())
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

fn model(config: &ModelConfig) -> CausalLm {
    CausalLm::new(config, &mut rng(), &Device::default().autodiff())
}

fn tokens(config: &ModelConfig, rows: usize, length: usize) -> Vec<Vec<u32>> {
    let mut rng = rng();
    let mut row = || (0..length).map(|_| rng.random_range(0..config.vocab_size as u32)).collect();
    (0..rows).map(|_| row()).collect()
}

fn optimizer() -> OptimizerConfig {
    OptimizerConfig::new(1e-5)
}

fn matmul(n: usize) -> Work {
    let matrix = || Tensor::<2>::random([n, n], Distribution::Normal(0.0, 1.0), &Device::default());
    let (a, b) = (matrix(), matrix());
    Work {
        parameters: 0.0,
        floating_point_operations: 2.0 * (n as f64).powi(3),
        least_bytes: None,
        expected_bytes: BYTES_PER_NUMBER * (n as f64).powi(2),
        execute: Box::new(move || {
            let product = a.clone().matmul(b.clone()).into_data();
            assert_eq!(product.num_elements(), n * n);
        }),
    }
}

/// Forward, backward and AdamW over rows of which every token is predicted.
fn train(config: &ModelConfig, n_rows: usize, length: usize) -> Work {
    let arithmetic = Arithmetic::of(config);
    let rows = tokens(config, n_rows, length + 1);
    let mut trained = Some((model(config), Optimizer::new(optimizer(), usize::MAX)));
    Work {
        parameters: arithmetic.parameters,
        floating_point_operations: 3.0
            * n_rows as f64
            * (arithmetic.reading(length, length) + arithmetic.predicting(length)),
        least_bytes: Some(arithmetic.per_weight(4.0)),
        // Gradients and two moments, and what the backward pass needs of every token.
        expected_bytes: arithmetic.per_weight(3.0)
            + (n_rows * length) as f64 * config.activation_bytes_per_token(&Device::default()),
        execute: Box::new(move || {
            let (model, mut optimizer) = trained.take().expect("it was put back");
            let batch: Vec<Exchange<'_>> =
                rows.iter().map(|row| Exchange { prompt: &row[..1], response: &row[1..] }).collect();
            let (gradients, loss) = sft_gradients(&model, &batch, rows.len().div_ceil(2), Precision::F32);
            assert!(loss.is_finite());
            trained = Some((optimizer.step(model, gradients).0, optimizer));
        }),
    }
}

fn whole_answers() -> SamplingParams {
    SamplingParams { max_new_tokens: ANSWER, ..SamplingParams::default() }
}

/// What writing so many answers holds when they end: their caches, and the packed matrices.
fn writing_bytes(config: &ModelConfig, n_answers: usize) -> f64 {
    (n_answers * (PROMPT + ANSWER)) as f64 * config.cache_bytes_per_token()
        + packed_bytes(config, Precision::F32, n_answers, &Device::default())
}

/// Answers to every prompt.
fn generation(config: &ModelConfig, n_prompts: usize, n_samples: usize) -> Work {
    let arithmetic = Arithmetic::of(config);
    let (model, prompts) = (model(config).valid(), tokens(config, n_prompts, PROMPT));
    let n_answers = n_prompts * n_samples;
    Work {
        parameters: arithmetic.parameters,
        floating_point_operations: n_prompts as f64 * arithmetic.answering(PROMPT, ANSWER, n_samples),
        least_bytes: None,
        expected_bytes: writing_bytes(config, n_answers),
        execute: Box::new(move || {
            let rng = TokenRng::new(0, 0);
            let answers = generate(&model, &prompts, n_samples, &whole_answers(), &Stops::default(), &rng);
            assert_eq!(answers.len(), n_answers);
            assert!(answers.iter().all(|answer| answer.tokens.len() == ANSWER));
        }),
    }
}

/// A whole step of RLOO: sampling, reference, update.
fn rloo(config: &ModelConfig, n_prompts: usize, n_samples: usize) -> Work {
    let arithmetic = Arithmetic::of(config);
    let training = TrainingConfig {
        micro_batch_size: MICRO_BATCH,
        ..TrainingConfig::new(n_samples, whole_answers(), optimizer())
    };
    let algorithm = Algorithm::Rloo(RlooConfig { kl: KlConfig::in_reward(0.05), ..RlooConfig::default() });
    let mut trainer =
        PolicyTrainer::new(training, algorithm, model(config), None, Stops::default(), usize::MAX)
            .expect("the settings are in range");
    let prompt = |tokens: Vec<u32>| PolicyPrompt {
        prompt: "".into(),
        request: Request { levels: vec![Some(0.0)] },
        plain_tokens: tokens.clone(),
        tokens,
    };
    let prompts: Vec<PolicyPrompt> = tokens(config, n_prompts, PROMPT).into_iter().map(prompt).collect();
    let n_answers = n_prompts * n_samples;
    // Answers to a prompt share its reading; the reference reads once, the update counts three times.
    let answering = n_prompts as f64 * arithmetic.answering(PROMPT, ANSWER, n_samples);
    let updated = n_answers.min(lanes() * MICRO_BATCH) * ANSWER;
    let mut step = 0;
    Work {
        parameters: arithmetic.parameters,
        floating_point_operations: 5.0 * answering,
        // Policy, reference, gradients and two moments.
        least_bytes: Some(arithmetic.per_weight(5.0)),
        // Sampling is over when the update begins, which holds a few micro-batches at once.
        expected_bytes: arithmetic.per_weight(4.0)
            + writing_bytes(config, n_answers)
                .max(updated as f64 * config.activation_bytes_per_token(&Device::default())),
        execute: Box::new(move || {
            let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0] % 7);
            step += 1;
            let done =
                trainer.step(&prompts, &mut reward, &TokenRng::new(0, step)).expect("it does not fail");
            assert_eq!(done.stats.n_answers, n_answers);
        }),
    }
}

/// Outputs of heads with five, five and two classes, and so on, for answers of many lengths.
fn score(config: &ModelConfig, n_answers: usize, longest: usize, n_objectives: usize) -> Work {
    let arithmetic = Arithmetic::of(config);
    let highest = |index: usize| [4, 4, 1][index % 3];
    let objectives =
        (0..n_objectives).map(|index| Objective::with_scale(format!("objective_{index}"), 0, highest(index)));
    let schema = ObjectiveSchema::new(objectives.collect()).expect("the names differ");
    let heads = vec![HeadConfig::default(); n_objectives];
    let start = model(config).valid();
    let model = MultiHeadRewardModel::new(&start, config.hidden_size, &schema, &heads, &mut rng());
    let lengths: Vec<usize> = (0..n_answers).map(|i| 20 + i * 97 % (longest - 19)).collect();
    let mut rows = tokens(config, n_answers, longest);
    rows.iter_mut().zip(&lengths).for_each(|(row, &length)| row.truncate(length));
    let n_classes: usize = schema.n_levels().into_iter().sum();
    let of_heads = 2.0 * (config.hidden_size * n_classes) as f64;
    let part = (ROWS_OF_A_PART * longest).min(CELLS_OF_A_PART);
    let together = lengths.iter().sum::<usize>().min(lanes() * part);
    Work {
        parameters: arithmetic.parameters,
        floating_point_operations: lengths
            .iter()
            .map(|&length| arithmetic.reading(length, 1) + of_heads)
            .sum(),
        least_bytes: None,
        // The widest that a layer makes of a token, its gate and what it multiplies.
        expected_bytes: BYTES_PER_NUMBER * (together * 3 * config.intermediate_size) as f64,
        execute: Box::new(move || {
            let answers: Vec<Exchange<'_>> =
                rows.iter().map(|row| Exchange { prompt: &row[..1], response: &row[1..] }).collect();
            let outputs = model.outputs(&answers);
            assert_eq!((outputs.len(), outputs[0].len()), (rows.len(), n_objectives));
        }),
    }
}

/// Answers, and tokens, that scoring reads together: `MOST_ROWS` and `MOST_CELLS` of `moslim-reward-model/src/parts.rs`.
const ROWS_OF_A_PART: usize = 64;
const CELLS_OF_A_PART: usize = 8192;

/// Hidden states, a vocabulary matrix, and the tokens that are asked for.
fn logprob_inputs(
    width: usize,
    n_tokens: usize,
    vocabulary: usize,
    device: &Device,
) -> (Tensor<2>, Tensor<2>, Tensor<1, Int>) {
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.02), device);
    let chosen: Vec<i32> = (0..n_tokens).map(|i| (i * 7919 % vocabulary) as i32).collect();
    let chosen = Tensor::<1, Int>::from_ints(chosen.as_slice(), device);
    (random([n_tokens, width]), random([width, vocabulary]), chosen)
}

/// Log-probabilities of chosen tokens under a large vocabulary.
fn logprobs(width: usize, n_tokens: usize, vocabulary: usize) -> Work {
    let device = Device::default();
    let (states, matrix, chosen) = logprob_inputs(width, n_tokens, vocabulary, &device);
    let logits = logits_at_once(n_tokens, vocabulary, &device);
    Work {
        parameters: 0.0,
        floating_point_operations: 2.0 * (n_tokens * vocabulary * width) as f64,
        least_bytes: None,
        expected_bytes: BYTES_PER_NUMBER * logits as f64,
        execute: Box::new(move || {
            let (logprobs, _) = token_logprobs(states.clone(), matrix.clone(), chosen.clone(), 1.0);
            assert!(logprobs.sum().into_scalar::<f32>().is_finite());
        }),
    }
}

/// The same with the gradients of hidden states and vocabulary matrix.
fn logprobs_gradient(width: usize, n_tokens: usize, vocabulary: usize) -> Work {
    let device = Device::default().autodiff();
    let (states, matrix, chosen) = logprob_inputs(width, n_tokens, vocabulary, &device);
    let (states, matrix) = (states.require_grad(), matrix.require_grad());
    let logits = logits_at_once(n_tokens, vocabulary, &device);
    Work {
        parameters: 0.0,
        floating_point_operations: 6.0 * (n_tokens * vocabulary * width) as f64,
        least_bytes: None,
        expected_bytes: BYTES_PER_NUMBER * (logits + width * (n_tokens + vocabulary)) as f64,
        execute: Box::new(move || {
            let (logprobs, _) = token_logprobs(states.clone(), matrix.clone(), chosen.clone(), 1.0);
            let gradients = logprobs.sum().backward();
            assert_eq!(matrix.grad(&gradients).expect("it is trained").dims(), [width, vocabulary]);
        }),
    }
}
