//! Prompts, the answers sampled to them, and the time it took.

use moslim_data::{Prompt, Request};
use moslim_lm::{CausalLm, Exchange, Generated, in_parallel, response_logprobs};
use serde::{Deserialize, Serialize};

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
    /// The answers with the log-probabilities they were sampled with. `[n_prompts · n_samples]`
    pub answers: Vec<Generated>,
}

impl Rollout {
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

/// Log-probabilities of the response tokens under a model that does not learn. One list per exchange
pub(crate) fn frozen_logprobs(
    model: &CausalLm,
    exchanges: &[Exchange<'_>],
    temperature: f64,
    batch_size: usize,
) -> Vec<Vec<f64>> {
    let logprobs_of = |batch: &[Exchange<'_>]| -> Vec<Vec<f64>> {
        let grid = response_logprobs(model, batch, temperature).logprobs;
        let longest = grid.dims()[1];
        let grid: Vec<f32> =
            grid.into_data().convert::<f32>().try_to_vec().expect("log-probabilities are floats");
        let lines = batch.iter().zip(grid.chunks(longest));
        lines
            .map(|(exchange, line)| line[..exchange.response.len()].iter().copied().map(f64::from).collect())
            .collect()
    };
    in_parallel(&model.device(), exchanges.chunks(batch_size).collect(), logprobs_of).concat()
}

/// Where the time of a step went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// Sampling answers.
    pub generate: f64,
    /// Scoring answers.
    pub reward: f64,
    /// Log-probabilities under the reference.
    pub reference: f64,
    /// Log-probabilities under the policy, gradients and the optimizer.
    pub update: f64,
}

impl std::ops::AddAssign for PhaseSeconds {
    fn add_assign(&mut self, other: Self) {
        self.generate += other.generate;
        self.reward += other.reward;
        self.reference += other.reference;
        self.update += other.update;
    }
}
