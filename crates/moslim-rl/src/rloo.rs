//! REINFORCE leave-one-out ([Ahmadian et al. 2024](https://arxiv.org/abs/2402.14740)), as box 1 there and TRL's `RLOOTrainer`.
//!
//! Deviations, each an option or stated: the reference may read the prompt without the request, because it has never
//! seen one; prompts without a request take no part in the surrogate but keep the policy where it was
//! ([`RlooConfig::free_prompt_coef`]).

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;
use moslim_lm::{
    CausalLm, Exchange, Generated, Optimizer, OptimizerConfig, Precision, SamplingParams, Stops, TokenRng,
    generate_each, response_distributions, response_logprobs, sum_gradients,
};
use serde::{Deserialize, Serialize};

use crate::ops::{
    KlEstimator, ResponseMask, clipped_surrogate_loss, forward_divergence, rloo_advantages,
    scale_to_unit_variance,
};
use crate::rollout::frozen_logprobs;
use crate::{PhaseSeconds, PolicyPrompt, Reward, RewardError, Rollout};

/// What the reference policy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferencePrompt {
    /// The question alone: the KL term keeps answers close to ordinary ones.
    Plain,
    /// The question with the request, as the policy.
    WithRequest,
}

/// The settings of RLOO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RlooConfig {
    /// k, answers per prompt; at least 2.
    pub num_generations: usize,
    /// β, the weight of the KL term in the reward.
    pub beta: f64,
    /// Updates per rollout.
    pub num_iterations: usize,
    /// ε, beyond which the ratio is clipped.
    pub epsilon: f64,
    /// Whether advantages are divided by their standard deviation over the batch.
    pub normalize_advantages: bool,
    /// Subtracted from the score of an answer without an end token.
    pub missing_eos_penalty: f64,
    /// What the reference reads.
    pub reference_prompt: ReferencePrompt,
    /// Weight of staying as before on prompts without a request.
    ///
    /// The reference answers them, and the divergence KL(π_ref‖π) along these answers, summed over their tokens, joins the loss.
    /// It is that of the whole distributions, so its gradient is exactly 0 where both policies agree.
    pub free_prompt_coef: f64,
    /// Answers whose gradient is computed at once; changes speed and memory, not the result.
    pub micro_batch_size: usize,
    /// The numbers in which policy and reference are computed.
    #[serde(default)]
    pub precision: Precision,
    /// How answers are sampled; the temperature holds for all log-probabilities.
    pub sampling: SamplingParams,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
}

/// What one step did; means over the answers to prompts with a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepStats {
    /// Mean score.
    pub score: f64,
    /// Mean score minus the KL term: what is maximised.
    pub rlhf_reward: f64,
    /// Mean divergence from the reference, summed over the answer, by K1. In nats
    pub kl: f64,
    /// The same by K3.
    pub kl_k3: f64,
    /// Mean entropy per token, in nats.
    pub entropy: f64,
    /// Mean answer length, in tokens.
    pub mean_length: f64,
    /// Share of answers without an end token.
    pub clipped_ratio: f64,
    /// Share of prompts whose answers all scored the same.
    pub frac_reward_zero_std: f64,
    /// KL(π_ref‖π) per answer to prompts without a request, in nats; `None` without such prompts.
    pub free_prompt_kl: Option<f64>,
    /// The surrogate loss before the first update.
    pub loss: f64,
    /// Norm of the gradient before it was clipped, of the first update.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
    /// Largest |ρ − 1| of a token before the first update: sampling and training disagree by so much.
    pub ratio_error: f64,
    /// Answers sampled, those of the reference included.
    pub n_answers: usize,
    /// Where the time went.
    pub seconds: PhaseSeconds,
}

/// A policy in training.
pub struct Rloo {
    config: RlooConfig,
    stops: Stops,
    policy: CausalLm,
    reference: CausalLm,
    optimizer: Optimizer,
}

impl Rloo {
    /// Starts from a policy on a device with gradients; its copy is the reference.
    ///
    /// # Panics
    /// If there are fewer than 2 answers per prompt.
    pub fn new(config: RlooConfig, policy: CausalLm, stops: Stops, total_steps: usize) -> Self {
        assert!(config.num_generations > 1, "leave-one-out needs at least 2 answers per prompt");
        let optimizer = Optimizer::new(config.optimizer.clone(), total_steps * config.num_iterations);
        let reference = policy.valid().in_precision(config.precision);
        Self { config, stops, policy, reference, optimizer }
    }

    /// The policy as it is now, on a device with gradients.
    pub fn policy(&self) -> &CausalLm {
        &self.policy
    }

    /// One rollout and its updates.
    ///
    /// `rng` must be fresh for every step.
    ///
    /// # Errors
    /// Those of the reward.
    pub fn step(
        &mut self,
        prompts: &[PolicyPrompt],
        reward: &mut dyn Reward,
        rng: &TokenRng,
    ) -> Result<StepStats, RewardError> {
        let mut clock = Clock::start();
        let (asked, free): (Vec<PolicyPrompt>, Vec<PolicyPrompt>) =
            prompts.iter().cloned().partition(|prompt| !prompt.request.is_free());
        let lr = self.optimizer.learning_rate();

        // y ~ π(·|x), k answers to every prompt; the reference answers those without a request.
        let k = self.config.num_generations;
        let [rollout, free_rollout] = self.rollouts(&asked, &free, rng);
        let generate = clock.lap();

        let scores = self.penalised(reward.score(&asked, &rollout)?, &rollout);
        let reward_seconds = clock.lap();

        let read_by_reference = |index: usize| match self.config.reference_prompt {
            ReferencePrompt::Plain => asked[index].plain_tokens.as_slice(),
            ReferencePrompt::WithRequest => asked[index].tokens.as_slice(),
        };
        let divergence = self.divergence(&rollout, &rollout.exchanges(read_by_reference));
        let reference = clock.lap();

        // r = R − β Σ log π/π_ref, A = r − mean of the siblings' r.
        let rewards: Vec<f64> =
            scores.iter().zip(&divergence.k1).map(|(score, kl)| score - self.config.beta * kl).collect();
        let mut advantages = rloo_advantages(&rewards, k);
        if self.config.normalize_advantages {
            advantages = scale_to_unit_variance(&advantages);
        }
        let exchanges = rollout.exchanges(|index| &asked[index].tokens);
        let free_exchanges = free_rollout.exchanges(|index| &free[index].plain_tokens);
        let first = self.update(&rollout, &exchanges, &advantages, &free_exchanges);
        for _ in 1..self.config.num_iterations {
            self.update(&rollout, &exchanges, &advantages, &free_exchanges);
        }
        let update = clock.lap();

        let n = rollout.answers.len().max(1) as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
        let same = |scores: &&[f64]| scores.iter().all(|score| score == &scores[0]);
        Ok(StepStats {
            score: mean(&mut scores.iter().copied()),
            rlhf_reward: mean(&mut rewards.iter().copied()),
            kl: mean(&mut divergence.k1.iter().copied()),
            kl_k3: mean(&mut divergence.k3.iter().copied()),
            entropy: first.entropy,
            mean_length: mean(&mut rollout.answers.iter().map(|answer| answer.tokens.len() as f64)),
            clipped_ratio: mean(&mut rollout.answers.iter().map(|answer| f64::from(!answer.finished))),
            frac_reward_zero_std: scores.chunks(k).filter(same).count() as f64 / (n / k as f64),
            free_prompt_kl: first.free_prompt_kl,
            loss: first.loss,
            grad_norm: first.grad_norm,
            lr,
            ratio_error: first.ratio_error,
            n_answers: rollout.answers.len() + free_rollout.answers.len(),
            seconds: PhaseSeconds { generate, reward: reward_seconds, reference, update },
        })
    }

    /// The policy's answers to prompts with a request, and the reference's to those without.
    fn rollouts(&self, asked: &[PolicyPrompt], free: &[PolicyPrompt], rng: &TokenRng) -> [Rollout; 2] {
        let RlooConfig { num_generations: n_samples, sampling, .. } = &self.config;
        let asked: Vec<Vec<u32>> = asked.iter().map(|prompt| prompt.tokens.clone()).collect();
        let free: Vec<Vec<u32>> = free.iter().map(|prompt| prompt.plain_tokens.clone()).collect();
        let jobs = [
            (&self.policy.valid().in_precision(self.config.precision), asked.as_slice()),
            (&self.reference, free.as_slice()),
        ];
        let mut answers = generate_each(&jobs, *n_samples, sampling, &self.stops, rng).into_iter();
        [(); 2]
            .map(|()| Rollout { n_samples: *n_samples, answers: answers.next().expect("one list per job") })
    }

    fn penalised(&self, scores: Vec<f64>, rollout: &Rollout) -> Vec<f64> {
        let penalty = |finished: bool| {
            if finished { 0.0 } else { self.config.missing_eos_penalty }
        };
        scores.iter().zip(&rollout.answers).map(|(score, answer)| score - penalty(answer.finished)).collect()
    }

    /// The divergence of every answer from the reference, summed over its tokens.
    fn divergence(&self, rollout: &Rollout, read_by_reference: &[Exchange<'_>]) -> Divergence {
        let temperature = self.config.sampling.temperature;
        let reference =
            frozen_logprobs(&self.reference, read_by_reference, temperature, self.config.micro_batch_size);
        let sum = |estimator: KlEstimator| {
            let answers = rollout.answers.iter().zip(&reference);
            let of_answer = answers.map(|(answer, reference)| {
                let tokens = answer.logprobs.iter().zip(reference);
                tokens.map(|(&policy, reference)| estimator.estimate(f64::from(policy) - reference)).sum()
            });
            of_answer.collect()
        };
        Divergence { k1: sum(KlEstimator::K1), k3: sum(KlEstimator::K3) }
    }

    /// One optimizer step on the surrogate and the free prompts, its gradient summed over micro-batches.
    fn update(
        &mut self,
        rollout: &Rollout,
        exchanges: &[Exchange<'_>],
        advantages: &[f64],
        free_exchanges: &[Exchange<'_>],
    ) -> Update {
        let temperature = self.config.sampling.temperature;
        let old_logprobs = rollout.logprobs();
        let n_tokens = count_tokens(exchanges) as f64;
        let size = self.config.micro_batch_size;
        let asked = exchanges.chunks(size).enumerate().map(|(index, batch)| Part::Asked(index * size, batch));
        let parts = asked.chain(free_exchanges.chunks(size).map(Part::Free)).collect();
        let loss = |policy: &CausalLm, part: Part<'_>| {
            let policy = &policy.in_precision(self.config.precision);
            match part {
                Part::Asked(first, batch) => {
                    let rows = first..first + batch.len();
                    let lengths: Vec<usize> = batch.iter().map(|exchange| exchange.response.len()).collect();
                    let found = response_logprobs(policy, batch, temperature);
                    let ratio_error =
                        ratio_error(found.logprobs.clone().inner(), &rollout.answers[rows.clone()]);
                    let mask = ResponseMask::from_lengths(&lengths, &policy.device());
                    let losses = clipped_surrogate_loss(
                        mask.sum_per_response(found.logprobs),
                        &old_logprobs[rows.clone()],
                        &advantages[rows],
                        self.config.epsilon,
                    );
                    let loss = losses.sum() / exchanges.len() as f64;
                    let update = Update {
                        loss: scalar(loss.clone()),
                        entropy: scalar(found.entropies.inner().sum()) / n_tokens,
                        ratio_error,
                        ..Update::default()
                    };
                    (Some(loss), update)
                }
                Part::Free(batch) => {
                    let before = response_distributions(&self.reference, batch, temperature);
                    let now = response_distributions(policy, batch, temperature);
                    let before = Tensor::from_inner(before).to_device(&now.device());
                    let divergence = forward_divergence(now, before).sum() / free_exchanges.len() as f64;
                    let update =
                        Update { free_prompt_kl: Some(scalar(divergence.clone())), ..Update::default() };
                    (Some(divergence * self.config.free_prompt_coef), update)
                }
            }
        };
        let (gradients, found) = sum_gradients(&self.policy, &self.policy.device(), parts, loss);
        let (policy, grad_norm) = self.optimizer.step(self.policy.clone(), gradients);
        self.policy = policy;
        let update = found.into_iter().fold(Update::default(), Update::and);
        Update { grad_norm, ..update }
    }
}

struct Divergence {
    k1: Vec<f64>,
    k3: Vec<f64>,
}

/// What a micro-batch consists of.
enum Part<'a> {
    /// Answers to prompts with a request, and the number of the first one.
    Asked(usize, &'a [Exchange<'a>]),
    /// The reference's answers to prompts without one.
    Free(&'a [Exchange<'a>]),
}

/// What is known of one update, or of a micro-batch of it.
#[derive(Default)]
struct Update {
    loss: f64,
    entropy: f64,
    ratio_error: f64,
    grad_norm: f64,
    free_prompt_kl: Option<f64>,
}

impl Update {
    /// Both micro-batches together.
    fn and(self, other: Self) -> Self {
        Self {
            loss: self.loss + other.loss,
            entropy: self.entropy + other.entropy,
            ratio_error: self.ratio_error.max(other.ratio_error),
            grad_norm: self.grad_norm,
            free_prompt_kl: match (self.free_prompt_kl, other.free_prompt_kl) {
                (Some(one), Some(another)) => Some(one + another),
                (one, another) => one.or(another),
            },
        }
    }
}

fn count_tokens(exchanges: &[Exchange<'_>]) -> usize {
    exchanges.iter().map(|exchange| exchange.response.len()).sum()
}

fn scalar(value: Tensor<1>) -> f64 {
    f64::from(value.into_scalar::<f32>())
}

/// The largest |ρ − 1| over the tokens of some answers, between sampling and a forward pass.
fn ratio_error(logprobs: Tensor<2>, answers: &[Generated]) -> f64 {
    let longest = logprobs.dims()[1];
    let logprobs: Vec<f32> =
        logprobs.into_data().convert::<f32>().try_to_vec().expect("log-probabilities are floats");
    let answers = answers.iter().zip(logprobs.chunks(longest));
    answers
        .flat_map(|(answer, now)| now.iter().zip(&answer.logprobs))
        .map(|(now, sampled)| f64::from(now - sampled).exp_m1().abs())
        .fold(0.0, f64::max)
}

/// Measures the phases of a step.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start or the last lap.
    fn lap(&mut self) -> f64 {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        seconds
    }
}
