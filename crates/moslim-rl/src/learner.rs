//! The models in training, and how a loss changes them.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use moslim_lm::{
    CausalLm, Exchange, Generated, Optimizer, OptimizerConfig, logprobs_of_states, predicting_states,
    response_distributions, sum_gradients, take_gradients,
};

use crate::critic::Critic;
use crate::experience::Experience;
use crate::ops::{KlEstimator, ResponseMask, forward_divergence};
use crate::{KlPlacement, TrainingConfig};

/// The policy, and what estimates the value of its states, if anything does.
#[derive(Module, Debug)]
pub(crate) struct ActorCritic {
    pub policy: CausalLm,
    pub critic: Option<Critic>,
}

/// The models in training with their optimizers, and the reference.
pub(crate) struct Learner {
    pub config: TrainingConfig,
    pub model: ActorCritic,
    /// What the policy is kept close to, in the precision of rollouts.
    pub reference: CausalLm,
    pub optimizer: Optimizer,
    pub critic_optimizer: Option<Optimizer>,
}

/// The rows that a loss is computed from, in units that stay together.
pub(crate) struct Units {
    rows: Vec<usize>,
    size: usize,
    /// What a nat per answer weighs beside the loss of the algorithm.
    nat: Nat,
}

/// What a nat per answer weighs beside a loss.
#[derive(Clone, Copy)]
enum Nat {
    /// So much: the loss is a mean over answers or pairs.
    PerAnswer(f64),
    /// As much as a nat of any token: the loss is a mean over tokens.
    PerToken,
}

impl Units {
    /// Every answer by itself.
    pub(crate) fn answers(rows: Vec<usize>) -> Self {
        Self { rows, size: 1, nat: Nat::PerAnswer(1.0) }
    }

    /// The same for a loss that is a mean over tokens.
    pub(crate) fn tokens(rows: Vec<usize>) -> Self {
        Self { nat: Nat::PerToken, ..Self::answers(rows) }
    }

    /// Pairs of answers, for a loss in which a nat of difference counts `nat`; in a batch the first and the second follow each other.
    pub(crate) fn pairs(pairs: &[[usize; 2]], nat: f64) -> Self {
        Self { rows: pairs.concat(), size: 2, nat: Nat::PerAnswer(nat) }
    }

    /// The rows of every mini-batch; several are drawn anew in every iteration, and each keeps the order of the rows.
    ///
    /// There are at most as many as units, and at least one.
    fn mini_batches(&self, n: usize, iteration: usize, experience: &Experience<'_>) -> Vec<Vec<usize>> {
        let units: Vec<&[usize]> = self.rows.chunks(self.size).collect();
        let n = n.min(units.len());
        if n <= 1 {
            return vec![self.rows.clone()];
        }
        // Positions that no token of an answer has.
        let position = (1 << 40) + iteration;
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by(|&a, &b| {
            experience.rng.uniform(a, position).total_cmp(&experience.rng.uniform(b, position))
        });
        let batches = (0..n).map(|batch| {
            let mut chosen: Vec<usize> =
                order[batch * units.len() / n..(batch + 1) * units.len() / n].to_vec();
            chosen.sort_unstable();
            chosen.into_iter().flat_map(|unit| units[unit]).copied().collect()
        });
        batches.collect()
    }
}

/// A part of a mini-batch, as the policy in training sees it.
pub(crate) struct Batch<'a> {
    experience: &'a Experience<'a>,
    rows: &'a [usize],
    entropy_coef: f64,
    /// Answers of the whole mini-batch.
    pub n_answers: f64,
    /// Response tokens of the whole mini-batch.
    pub n_tokens: f64,
    /// `[n_rows, longest]`
    pub logprobs: Tensor<2>,
    /// `[n_rows, longest]`
    pub entropies: Tensor<2>,
    /// The value of the state before every token. `[n_rows, longest]`
    pub values: Option<Tensor<2>>,
    pub mask: ResponseMask,
}

impl Batch<'_> {
    /// Numbers of the answers. `[n_rows]`
    pub(crate) fn per_answer(&self, of_all: &[f64]) -> Tensor<1> {
        let values: Vec<f32> = self.rows.iter().map(|&row| of_all[row] as f32).collect();
        Tensor::from_data(TensorData::new(values, [self.rows.len()]), &self.logprobs.device())
    }

    /// Numbers of the tokens, 0 at padding. `[n_rows, longest]`
    pub(crate) fn per_token(&self, of_all: &[Vec<f64>]) -> Tensor<2> {
        let [n_rows, longest] = self.logprobs.dims();
        let mut values = vec![0.0f32; n_rows * longest];
        for (line, &row) in values.chunks_mut(longest).zip(self.rows) {
            line.iter_mut().zip(&of_all[row]).for_each(|(cell, &value)| *cell = value as f32);
        }
        Tensor::from_data(TensorData::new(values, [n_rows, longest]), &self.logprobs.device())
    }

    /// The sum of a loss with what it has besides, `β Σ ℓ²/2` if the KL term is part of the loss and the entropy bonus, over a normaliser.
    ///
    /// K2 is what has the gradient of KL(π‖π_ref) of every token there: that of K1 is 0 in expectation, and that of K3 belongs to KL(π_ref‖π).
    /// Unlike in the reward, what a token does to the divergence of later ones is not counted.
    pub(crate) fn regularized(&self, mut sum: Tensor<1>, normalizer: f64) -> Tensor<1> {
        if let Some((KlPlacement::Loss, beta)) = self.experience.kl {
            let log_ratios = self.logprobs.clone() - self.per_token(&self.experience.reference_logprobs);
            sum = sum + self.mask.sum(log_ratios.square() * 0.5) * beta;
        }
        if self.entropy_coef > 0.0 {
            sum = sum - self.mask.sum(self.entropies.clone()) * self.entropy_coef;
        }
        sum / normalizer
    }
}

/// The loss of a part of a mini-batch.
pub(crate) struct Loss {
    /// What is differentiated; those of all parts are added.
    pub total: Tensor<1>,
    /// Numbers to report; those of all parts are added.
    pub metrics: Vec<(&'static str, f64)>,
}

/// What the updates of a step did.
#[derive(Default)]
pub(crate) struct Update {
    /// The loss before the first update.
    pub loss: f64,
    /// Mean entropy per token before the first update; `None` if nothing was learned from.
    pub entropy: Option<f64>,
    /// Largest |ρ − 1| of a token before the first update; not a number if a log-probability was none.
    pub ratio_error: f64,
    /// Norm of the gradient before it was clipped, of the first update; not finite if that of any update, or of a value model, was not.
    pub grad_norm: f64,
    /// Divergence from the reference's own answers, before the first update.
    pub free_prompt_kl: Option<f64>,
    /// Further numbers, means over all updates.
    pub metrics: BTreeMap<String, f64>,
}

/// What was found about a part of a mini-batch.
#[derive(Default)]
struct Found {
    loss: f64,
    entropy: Option<f64>,
    ratio_error: f64,
    free_prompt_kl: Option<f64>,
    metrics: Vec<(&'static str, f64)>,
}

/// What a part consists of.
enum Part<'a> {
    /// Answers to prompts with a request.
    Asked(&'a [usize]),
    /// The reference's answers to prompts without one.
    Free(&'a [Exchange<'a>]),
}

impl Learner {
    /// Starts from a policy, a reference, and what estimates values.
    pub(crate) fn new(
        config: TrainingConfig,
        policy: CausalLm,
        reference: CausalLm,
        critic: Option<(Critic, OptimizerConfig)>,
        total_steps: usize,
    ) -> Self {
        let updates = total_steps * config.num_iterations * config.num_mini_batches;
        let optimizer = Optimizer::new(config.optimizer.clone(), updates);
        let (critic, critic_optimizer) = critic.unzip();
        let critic_optimizer = critic_optimizer.map(|config| Optimizer::new(config, updates));
        let reference = reference.in_precision(config.precision);
        let policy = policy.with_gradient_checkpointing(config.gradient_checkpointing);
        let critic = critic.map(|critic| critic.with_gradient_checkpointing(config.gradient_checkpointing));
        Self { config, model: ActorCritic { policy, critic }, reference, optimizer, critic_optimizer }
    }

    /// All updates of a step; `loss` is that of a part of a mini-batch.
    pub(crate) fn descend(
        &mut self,
        experience: &Experience<'_>,
        units: &Units,
        loss: impl Fn(&Batch<'_>) -> Loss + Sync,
    ) -> Update {
        let TrainingConfig { num_iterations, num_mini_batches, .. } = self.config;
        let mut updates = Vec::new();
        for iteration in 0..num_iterations {
            let batches = units.mini_batches(num_mini_batches, iteration, experience);
            let (n, n_free) = (batches.len(), experience.free.len());
            for (index, rows) in batches.iter().enumerate() {
                let free = &experience.free[index * n_free / n..(index + 1) * n_free / n];
                updates.push(self.update(experience, rows, free, units.nat, &loss));
            }
        }
        Update::first_of(updates)
    }

    /// One optimizer step, its gradient summed over micro-batches.
    fn update(
        &mut self,
        experience: &Experience<'_>,
        rows: &[usize],
        free: &[Exchange<'_>],
        nat: Nat,
        loss: &(impl Fn(&Batch<'_>) -> Loss + Sync),
    ) -> Update {
        let (config, reference) = (&self.config, &self.reference);
        let temperature = config.sampling.temperature;
        let exchanges = experience.exchanges();
        let answers = &experience.rollout.answers;
        let n_tokens: usize = rows.iter().map(|&row| answers[row].tokens.len()).sum();
        let free_weight = match nat {
            Nat::PerAnswer(weight) => weight,
            Nat::PerToken => {
                let n_tokens: usize = free.iter().map(|exchange| exchange.response.len()).sum();
                free.len() as f64 / n_tokens.max(1) as f64
            }
        };
        let size = config.micro_batch_size;
        let parts = rows.chunks(size).map(Part::Asked).chain(free.chunks(size).map(Part::Free)).collect();
        let of_part = |model: &ActorCritic, part: Part<'_>| {
            let policy = &model.policy.in_precision(config.precision);
            match part {
                Part::Asked(part) => {
                    let exchanges: Vec<Exchange<'_>> = part.iter().map(|&row| exchanges[row]).collect();
                    let states = predicting_states(policy.decoder(), &exchanges);
                    let values = model
                        .critic
                        .as_ref()
                        .map(|critic| critic.values(&states, &exchanges, config.precision));
                    let found = logprobs_of_states(policy, states, &exchanges, temperature);
                    let lengths: Vec<usize> =
                        exchanges.iter().map(|exchange| exchange.response.len()).collect();
                    let batch = Batch {
                        experience,
                        rows: part,
                        entropy_coef: config.entropy_coef,
                        n_answers: rows.len() as f64,
                        n_tokens: n_tokens as f64,
                        logprobs: found.logprobs,
                        entropies: found.entropies,
                        values,
                        mask: ResponseMask::from_lengths(&lengths, &policy.device()),
                    };
                    let loss = loss(&batch);
                    let ratios = Ratios::of(batch.logprobs.inner(), part.iter().map(|&row| &answers[row]));
                    let per_token = 1.0 / n_tokens as f64;
                    let mut metrics = loss.metrics;
                    metrics.extend([
                        ("policy/approxkl_avg", ratios.approxkl * per_token),
                        ("val/ratio", ratios.sum * per_token),
                        ("val/ratio_squared", ratios.squares * per_token),
                    ]);
                    let found = Found {
                        loss: scalar(loss.total.clone()),
                        entropy: Some(scalar(batch.entropies.inner().sum()) * per_token),
                        ratio_error: ratios.largest_error,
                        free_prompt_kl: None,
                        metrics,
                    };
                    (Some(loss.total), found)
                }
                Part::Free(batch) => {
                    let before = response_distributions(reference, batch, temperature);
                    let now = response_distributions(policy, batch, temperature);
                    let before = Tensor::from_inner(before).to_device(&now.device());
                    let divergence = forward_divergence(now, before).sum() / free.len() as f64;
                    let found =
                        Found { free_prompt_kl: Some(scalar(divergence.clone())), ..Found::default() };
                    (Some(divergence * (config.free_prompt_coef * free_weight)), found)
                }
            }
        };
        let device = self.model.policy.device();
        let mut critic_norm = None;
        let (mut gradients, found) = sum_gradients(&self.model, &device, parts, of_part);
        if let (Some(critic), Some(optimizer)) = (&self.model.critic, &mut self.critic_optimizer) {
            let of_critic = take_gradients(critic, &mut gradients);
            let (critic, norm) = optimizer.step(critic.clone(), of_critic);
            self.model.critic = Some(critic);
            critic_norm = Some(norm);
        }
        let (policy, grad_norm) = self.optimizer.step(self.model.policy.clone(), gradients);
        self.model.policy = policy;
        let mut update = Update { grad_norm, ..Update::of(found) };
        if let Some(norm) = critic_norm {
            update.metrics.insert("critic/grad_norm".into(), norm);
            if !norm.is_finite() {
                update.grad_norm = norm;
            }
        }
        update
    }
}

/// The larger number; what is none is larger than all.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

impl Update {
    /// The first update with the mean metrics of all; updates that learned from no answer count for neither.
    fn first_of(updates: Vec<Self>) -> Self {
        let n = updates.iter().filter(|update| update.entropy.is_some()).count().max(1) as f64;
        let mut metrics = BTreeMap::<String, f64>::new();
        for (name, value) in updates.iter().flat_map(|update| &update.metrics) {
            *metrics.entry(name.clone()).or_default() += value / n;
        }
        let free_prompt_kl = updates.iter().find_map(|update| update.free_prompt_kl);
        let broken = updates.iter().map(|update| update.grad_norm).find(|norm| !norm.is_finite());
        let first = updates.iter().position(|update| update.entropy.is_some()).unwrap_or(0);
        let first = updates.into_iter().nth(first).unwrap_or_default();
        Self { metrics, free_prompt_kl, grad_norm: broken.unwrap_or(first.grad_norm), ..first }
    }

    fn of(parts: Vec<Found>) -> Self {
        let mut update = Self::default();
        for part in parts {
            update.loss += part.loss;
            if let Some(entropy) = part.entropy {
                *update.entropy.get_or_insert(0.0) += entropy;
            }
            update.ratio_error = larger(update.ratio_error, part.ratio_error);
            if let Some(kl) = part.free_prompt_kl {
                *update.free_prompt_kl.get_or_insert(0.0) += kl;
            }
            for (name, value) in part.metrics {
                *update.metrics.entry(name.into()).or_default() += value;
            }
        }
        update
    }
}

/// How far the probabilities of tokens moved since they were sampled.
#[derive(Default)]
struct Ratios {
    sum: f64,
    squares: f64,
    /// Half the squared log-ratios, summed, as TRL estimates the divergence from the policy that sampled.
    approxkl: f64,
    largest_error: f64,
}

impl Ratios {
    /// `logprobs`: `[n_rows, longest]`
    fn of<'a>(logprobs: Tensor<2>, answers: impl Iterator<Item = &'a Generated>) -> Self {
        let longest = logprobs.dims()[1];
        let logprobs: Vec<f32> =
            logprobs.into_data().convert::<f32>().try_to_vec().expect("log-probabilities are floats");
        let mut found = Self::default();
        let tokens = answers.zip(logprobs.chunks(longest));
        for (now, sampled) in tokens.flat_map(|(answer, now)| now.iter().zip(&answer.logprobs)) {
            let log_ratio = f64::from(now - sampled);
            found.sum += log_ratio.exp();
            found.squares += (2.0 * log_ratio).exp();
            found.approxkl += KlEstimator::K2.estimate(log_ratio);
            found.largest_error = larger(found.largest_error, log_ratio.exp_m1().abs());
        }
        found
    }
}

pub(crate) fn scalar(value: Tensor<1>) -> f64 {
    f64::from(value.into_scalar::<f32>())
}
