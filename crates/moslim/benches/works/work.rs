//! Every piece of work: what it executes, and what it takes at least.

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Int, Tensor};
use moslim_data::{Objective, ObjectiveSchema, Request};
use moslim_kernels::token_logprobs;
use moslim_lm::{
    CausalLm, Exchange, LrSchedule, ModelConfig, Optimizer, OptimizerConfig, Precision, SamplingParams,
    Stops, TokenRng, generate, sft_gradients,
};
use moslim_reward_model::{HeadConfig, MultiHeadRewardModel};
use moslim_rl::{
    Algorithm, KlConfig, MissingEos, PolicyPrompt, PolicyTrainer, ReferencePrompt, RlooConfig, TrainingConfig,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The names of all works.
pub const NAMES: [&str; 7] = ["matmul", "train", "generate-16", "generate-64", "rloo", "score", "logprobs"];

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// What is measured.
    Full,
    /// Enough to see that it runs.
    Tiny,
}

/// A piece of work, prepared.
pub struct Work {
    /// Weights of the model.
    pub parameters: usize,
    /// Additions and multiplications that nobody gets around.
    pub floating_point_operations: f64,
    /// Bytes of weights, gradients and moments, where the work has a training in it.
    pub least_bytes: Option<f64>,
    execute: Box<dyn FnMut()>,
}

impl Work {
    /// Executes it once.
    pub fn execute(&mut self) {
        (self.execute)();
    }
}

/// Prepares the work with this name.
pub fn prepare(name: &str, config: &ModelConfig, size: Size) -> Result<Work> {
    let arithmetic = Arithmetic::of(config);
    let rows = |full| if size == Size::Full { full } else { 4 };
    let (floating_point_operations, least_bytes, execute): (f64, Option<f64>, Box<dyn FnMut()>) = match name {
        "matmul" => {
            let n = if size == Size::Full { 1024 } else { 16 };
            (2.0 * f64::from(n).powi(3), None, Box::new(matmul(n as usize)))
        }
        "train" => {
            let (rows, length) = (rows(16), 128);
            let needed = 3.0 * rows as f64 * arithmetic.reading(length, length);
            (needed, Some(16.0 * arithmetic.parameters), Box::new(train(config, rows, length)))
        }
        "generate-16" | "generate-64" => {
            let rows = rows(if name == "generate-16" { 16 } else { 64 });
            let needed = rows as f64 * (arithmetic.reading(PROMPT, 0) + arithmetic.writing(PROMPT, ANSWER));
            (needed, None, Box::new(generation(config, rows)))
        }
        "rloo" => {
            let prompts = rows(16);
            let answers = (prompts * SIBLINGS) as f64;
            // Answers to a prompt share its reading; the reference reads once, the update counts three times.
            let prompt = prompts as f64 * arithmetic.reading(PROMPT, 0);
            let answer = answers * arithmetic.writing(PROMPT, ANSWER);
            // Policy, reference, gradients and two moments.
            (5.0 * (prompt + answer), Some(20.0 * arithmetic.parameters), Box::new(rloo(config, prompts)))
        }
        "score" => {
            let lengths: Vec<usize> =
                (0..rows(256)).map(|i| if size == Size::Full { 20 + i * 97 % 381 } else { 3 + i }).collect();
            let needed = lengths.iter().map(|&length| arithmetic.reading(length, 0)).sum();
            (needed, None, Box::new(score(config, lengths)))
        }
        "logprobs" => {
            let (tokens, vocabulary) = if size == Size::Full { (2048, 151_936) } else { (8, 100) };
            let needed = 2.0 * (tokens * vocabulary * config.hidden_size) as f64;
            (needed, None, Box::new(logprobs(config.hidden_size, tokens, vocabulary)))
        }
        _ => bail!("no work {name}, expected one of {}", NAMES.join(", ")),
    };
    let parameters = arithmetic.parameters as usize;
    Ok(Work { parameters, floating_point_operations, least_bytes, execute })
}

/// Tokens of prompts and answers, and answers to a prompt.
const PROMPT: usize = 32;
const ANSWER: usize = 64;
const SIBLINGS: usize = 4;

/// What reading takes, in additions and multiplications.
struct Arithmetic {
    parameters: f64,
    /// Of all layers, for a token.
    layers: f64,
    /// Of the vocabulary matrix, for a token whose successor is predicted.
    vocabulary: f64,
    /// Of attention, for a token and one that it sees.
    seen: f64,
}

impl Arithmetic {
    fn of(config: &ModelConfig) -> Self {
        let (width, layers) = (config.hidden_size as f64, config.num_hidden_layers as f64);
        let heads_width = (config.num_attention_heads * config.head_dim()) as f64;
        let keys_width = (config.key_heads() * config.head_dim()) as f64;
        let maps = width * (2.0 * heads_width + 2.0 * keys_width + 3.0 * config.intermediate_size as f64);
        let vocabulary = width * config.vocab_size as f64;
        let matrices = if config.tie_word_embeddings { 1.0 } else { 2.0 };
        Self {
            parameters: layers * (maps + 2.0 * width) + width + matrices * vocabulary,
            layers: 2.0 * layers * maps,
            vocabulary: 2.0 * vocabulary,
            seen: 4.0 * layers * heads_width,
        }
    }

    /// A sequence from its beginning, of which the last tokens predict their successor.
    fn reading(&self, length: usize, predicting: usize) -> f64 {
        let n = length as f64;
        n * self.layers + predicting as f64 * self.vocabulary + n * (n + 1.0) / 2.0 * self.seen
    }

    /// An answer behind a prompt that was read, every token of which is predicted.
    fn writing(&self, prompt: usize, answer: usize) -> f64 {
        let whole = self.reading(prompt + answer, answer);
        whole - self.reading(prompt, 0)
    }
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
    OptimizerConfig {
        learning_rate: 1e-5,
        warmup_ratio: 0.0,
        lr_scheduler_type: LrSchedule::Constant,
        adam_beta1: 0.9,
        adam_beta2: 0.999,
        adam_epsilon: 1e-8,
        weight_decay: 0.0,
        max_grad_norm: 1.0,
    }
}

fn matmul(n: usize) -> impl FnMut() + 'static {
    let matrix = || Tensor::<2>::random([n, n], Distribution::Normal(0.0, 1.0), &Device::default());
    let (a, b) = (matrix(), matrix());
    move || {
        let product = a.clone().matmul(b.clone()).into_data();
        assert_eq!(product.num_elements(), n * n);
    }
}

/// Forward, backward and AdamW over rows of which every token is predicted.
fn train(config: &ModelConfig, rows: usize, length: usize) -> impl FnMut() + 'static {
    let rows = tokens(config, rows, length + 1);
    let mut trained = Some((model(config), Optimizer::new(optimizer(), usize::MAX)));
    move || {
        let (model, mut optimizer) = trained.take().expect("it was put back");
        let batch: Vec<Exchange<'_>> =
            rows.iter().map(|row| Exchange { prompt: &row[..1], response: &row[1..] }).collect();
        let (gradients, loss) = sft_gradients(&model, &batch, rows.len() / 2, Precision::F32);
        assert!(loss.is_finite());
        trained = Some((optimizer.step(model, gradients).0, optimizer));
    }
}

fn whole_answers() -> SamplingParams {
    SamplingParams { max_new_tokens: ANSWER, ..SamplingParams::default() }
}

/// One answer to every prompt.
fn generation(config: &ModelConfig, rows: usize) -> impl FnMut() + 'static {
    let (model, prompts) = (model(config).valid(), tokens(config, rows, PROMPT));
    move || {
        let answers =
            generate(&model, &prompts, 1, &whole_answers(), &Stops::default(), &TokenRng::new(0, 0));
        assert!(answers.iter().all(|answer| answer.tokens.len() == ANSWER));
    }
}

/// A whole step of RLOO: sampling, reference, update.
fn rloo(config: &ModelConfig, n_prompts: usize) -> impl FnMut() + 'static {
    let training = TrainingConfig {
        num_generations: SIBLINGS,
        num_iterations: 1,
        num_mini_batches: 1,
        micro_batch_size: 16,
        missing_eos: MissingEos::Keep,
        reward_clip_range: None,
        entropy_coef: 0.0,
        reference_prompt: ReferencePrompt::WithRequest,
        ref_model_sync_steps: None,
        free_prompt_coef: 0.0,
        importance_cap: None,
        precision: Precision::F32,
        gradient_checkpointing: false,
        sampling: whole_answers(),
        optimizer: optimizer(),
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
    let mut step = 0;
    move || {
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0] % 7);
        step += 1;
        let done = trainer.step(&prompts, &mut reward, &TokenRng::new(0, step)).expect("it does not fail");
        assert_eq!(done.stats.n_answers, n_prompts * SIBLINGS);
    }
}

/// Outputs of three heads, twelve classes in all, for answers of many lengths.
fn score(config: &ModelConfig, lengths: Vec<usize>) -> impl FnMut() + 'static {
    let objectives = [("helpfulness", 4), ("honesty", 4), ("harmlessness", 1)];
    let objectives = objectives.map(|(name, highest)| Objective::with_scale(name, 0, highest));
    let schema = ObjectiveSchema::new(objectives.to_vec()).expect("the names differ");
    let heads = [HeadConfig::default(), HeadConfig::default(), HeadConfig::default()];
    let start = model(config).valid();
    let model = MultiHeadRewardModel::new(&start, config.hidden_size, &schema, &heads, &mut rng());
    let mut rows = tokens(config, lengths.len(), *lengths.iter().max().expect("there are answers"));
    rows.iter_mut().zip(&lengths).for_each(|(row, &length)| row.truncate(length));
    move || {
        let answers: Vec<Exchange<'_>> =
            rows.iter().map(|row| Exchange { prompt: &row[..1], response: &row[1..] }).collect();
        assert_eq!(model.outputs(&answers).len(), rows.len());
    }
}

/// Log-probabilities of chosen tokens under a large vocabulary.
fn logprobs(width: usize, n_tokens: usize, vocabulary: usize) -> impl FnMut() + 'static {
    let device = Device::default();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.02), &device);
    let (states, matrix) = (random([n_tokens, width]), random([width, vocabulary]));
    let chosen: Vec<i32> = (0..n_tokens).map(|i| (i * 7919 % vocabulary) as i32).collect();
    let chosen = Tensor::<1, Int>::from_ints(chosen.as_slice(), &device);
    move || {
        let (logprobs, _) = token_logprobs(states.clone(), matrix.clone(), chosen.clone(), 1.0);
        assert!(logprobs.sum().into_scalar::<f32>().is_finite());
    }
}
