//! Prompts and the answers sampled to them.

use moslim_data::{Prompt, Request};
use moslim_lm::{
    CausalLm, Exchange, Generated, SamplingParams, Stops, TokenRng, generate, generate_each, in_parallel,
    response_logprobs,
};

/// A prompt of policy optimisation.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyPrompt {
    /// The question as a person would put it, without the request.
    pub prompt: Prompt,
    /// The levels asked for.
    pub request: Request,
    /// What the policy reads: the question with the request.
    pub tokens: Vec<u32>,
    /// The question alone, as the reward and (by default) the reference read it.
    pub plain_tokens: Vec<u32>,
}

/// Answers of a policy to prompts; the answers to one prompt stand together.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Answers per prompt.
    pub n_samples: usize,
    /// The answers with their log-probabilities under the policy that is trained. `[n_prompts · n_samples]`
    pub answers: Vec<Generated>,
    /// The log-probabilities of the engine that sampled, where it is not the policy itself. One list per answer
    pub engine_logprobs: Option<Vec<Vec<f32>>>,
}

impl Rollout {
    /// Answers that the policy sampled itself.
    pub fn new(n_samples: usize, answers: Vec<Generated>) -> Self {
        Self { n_samples, answers, engine_logprobs: None }
    }

    /// The log-probability of every answer as a whole, as it was sampled. `[n_prompts · n_samples]`
    pub fn logprobs(&self) -> Vec<f64> {
        let sum = |answer: &Generated| answer.logprobs.iter().map(|&logprob| f64::from(logprob)).sum();
        self.answers.iter().map(sum).collect()
    }

    /// Every answer with a prompt in front of it, chosen by the prompt's number.
    pub fn exchanges<'a>(&'a self, prompt: impl Fn(usize) -> &'a [u32]) -> Vec<Exchange<'a>> {
        let exchange = |(row, answer): (usize, &'a Generated)| Exchange {
            prompt: prompt(row / self.n_samples),
            response: &answer.tokens,
        };
        self.answers.iter().enumerate().map(exchange).collect()
    }
}

/// What is to be sampled in a step.
pub struct RolloutJobs<'a> {
    /// The policy as it is now, without gradients.
    pub policy: &'a CausalLm,
    /// The prompts that it answers.
    pub asked: &'a [Vec<u32>],
    /// The reference.
    pub reference: &'a CausalLm,
    /// The prompts that the reference answers.
    pub free: &'a [Vec<u32>],
    /// Answers per prompt.
    pub n_samples: usize,
    /// How tokens are drawn.
    pub sampling: &'a SamplingParams,
    /// What ends an answer.
    pub stops: &'a Stops,
    /// Random numbers of this step.
    pub rng: &'a TokenRng,
}

impl RolloutJobs<'_> {
    /// The reference's answers, sampled here.
    pub fn answers_of_reference(&self) -> Vec<Generated> {
        match self.free {
            [] => vec![],
            free => generate(self.reference, free, self.n_samples, self.sampling, self.stops, self.rng),
        }
    }
}

/// Why an engine could not sample.
#[derive(Debug, thiserror::Error)]
#[error("rollout: {0}")]
pub struct RolloutError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Where answers are sampled.
pub trait RolloutEngine {
    /// The answers to `asked` and to `free`, those to one prompt together.
    ///
    /// # Errors
    /// If the engine fails.
    fn sample(&mut self, jobs: &RolloutJobs<'_>) -> Result<[Vec<Generated>; 2], RolloutError>;

    /// Whether log-probabilities of the answers to `asked` are those of another program, so that they have to be computed again here.
    fn is_elsewhere(&self) -> bool {
        false
    }
}

/// Samples with the models themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltInEngine;

impl RolloutEngine for BuiltInEngine {
    fn sample(&mut self, jobs: &RolloutJobs<'_>) -> Result<[Vec<Generated>; 2], RolloutError> {
        let &RolloutJobs { policy, asked, reference, free, n_samples, sampling, stops, rng } = jobs;
        let jobs = [(policy, asked), (reference, free)];
        let mut answers = generate_each(&jobs, n_samples, sampling, stops, rng).into_iter();
        Ok([(); 2].map(|()| answers.next().expect("one list per job")))
    }
}

/// Log-probabilities of the response tokens under a model that does not learn. One list per exchange
pub(crate) fn frozen_logprobs(
    model: &CausalLm,
    exchanges: &[Exchange<'_>],
    temperature: f64,
    batch_size: usize,
) -> Vec<Vec<f64>> {
    let logprobs_of = |batch: &[Exchange<'_>]| -> Vec<Vec<f64>> {
        lines(response_logprobs(model, batch, temperature).logprobs, batch)
    };
    in_parallel(&model.device(), exchanges.chunks(batch_size).collect(), logprobs_of).concat()
}

/// The rows of a grid without their padding.
pub(crate) fn lines(grid: burn::tensor::Tensor<2>, exchanges: &[Exchange<'_>]) -> Vec<Vec<f64>> {
    let longest = grid.dims()[1];
    let grid: Vec<f32> =
        grid.into_data().convert::<f32>().try_to_vec().expect("numbers of tokens are floats");
    let lines = exchanges.iter().zip(grid.chunks(longest));
    lines
        .map(|(exchange, line)| line[..exchange.response.len()].iter().copied().map(f64::from).collect())
        .collect()
}
