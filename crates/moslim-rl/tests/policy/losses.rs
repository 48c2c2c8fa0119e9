//! The loss of every algorithm against plain loops over the same answers.

use burn::module::Module;
use moslim_lm::{CausalLm, Exchange, Generated, Stops, response_logprobs};
use moslim_rl::{
    Aggregation, Algorithm, BestOfNConfig, GrpoConfig, KlConfig, KlPlacement, LossType, OnlineDpoConfig,
    Pairing, PolicyPrompt, PolicyTrainer, PpoConfig, RlooConfig, Selection, Ties, TrainingConfig,
    TruncatedValue, ValueModel, ops::PreferenceLoss,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{Recorded, asking, model, rng, training};

pub(super) const VOCABULARY: usize = 6;
pub(super) const K: usize = 4;
const EPSILON: f64 = 0.2;
const BETA: f64 = 0.3;
const ENTROPY: f64 = 0.05;

/// Answers of random tokens and lengths, as if another policy had sampled them.
pub(super) struct Case {
    pub policy: CausalLm,
    pub prompts: Vec<PolicyPrompt>,
    pub answers: Vec<Generated>,
    pub scores: Vec<f64>,
}

impl Case {
    pub(super) fn random(seed: u64, policy: CausalLm) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let prompts: Vec<PolicyPrompt> = (0..3).map(|i| asking(vec![0, i, i + 1])).collect();
        let answers = (0..prompts.len() * K).map(|_| {
            let tokens: Vec<u32> =
                (0..random.random_range(1..5)).map(|_| random.random_range(0..VOCABULARY as u32)).collect();
            let logprobs = tokens.iter().map(|_| random.random_range(-2.3f32..-1.3)).collect();
            Generated { tokens, logprobs, finished: random.random_range(0..3) > 0 }
        });
        let answers: Vec<Generated> = answers.collect();
        let scores = answers.iter().map(|_| f64::from(random.random_range(-4i32..5)) / 2.0).collect();
        Self { policy, prompts, answers, scores }
    }

    /// The loss of a policy before the first update, and the norm of its gradient; the reference is the policy of the case.
    pub(super) fn of_trainer(&self, algorithm: &Algorithm, policy: Option<CausalLm>) -> (f64, f64) {
        let config = TrainingConfig { entropy_coef: ENTROPY, micro_batch_size: 6, ..training(K, 5) };
        let trainer = |policy: CausalLm| {
            PolicyTrainer::new(config.clone(), algorithm.clone(), policy, None, Stops::default(), 1).unwrap()
        };
        let mut trainer = match policy {
            None => trainer(self.policy.clone()),
            Some(policy) => {
                let folder = tempfile::tempdir().unwrap();
                trainer(policy).save(folder.path()).unwrap();
                trainer(self.policy.clone()).resume(folder.path()).unwrap()
            }
        }
        .with_engine(Box::new(Recorded(self.answers.clone())));
        let mut row = 0;
        let mut reward = |_: &PolicyPrompt, _: &[u32]| {
            row += 1;
            self.scores[row - 1]
        };
        let stats = trainer.step(&self.prompts, &mut reward, &rng(0)).unwrap().stats;
        (stats.loss, stats.grad_norm)
    }

    fn logprobs(&self) -> (Vec<Vec<f64>>, f64) {
        let exchanges: Vec<Exchange<'_>> = self
            .answers
            .iter()
            .enumerate()
            .map(|(row, answer)| Exchange { prompt: &self.prompts[row / K].tokens, response: &answer.tokens })
            .collect();
        let found = response_logprobs(&self.policy.valid(), &exchanges, 1.0);
        let longest = found.logprobs.dims()[1];
        let entropy = f64::from(found.entropies.sum().into_scalar::<f32>());
        let flat: Vec<f32> = found.logprobs.into_data().try_to_vec().unwrap();
        let rows = flat.chunks(longest).zip(&self.answers);
        let rows =
            rows.map(|(line, answer)| line[..answer.tokens.len()].iter().map(|&v| f64::from(v)).collect());
        (rows.collect(), entropy)
    }
}

fn old(answer: &Generated) -> Vec<f64> {
    answer.logprobs.iter().map(|&logprob| f64::from(logprob)).collect()
}

fn surrogate(now: f64, old: f64, advantage: f64) -> f64 {
    let ratio = (now - old).exp();
    -(ratio * advantage).min(ratio.clamp(1.0 - EPSILON, 1.0 + EPSILON) * advantage)
}

/// The policy is its own reference here, so that the term in the loss is 0, and in the reward it is that of the recorded probabilities.
fn expected(case: &Case, algorithm: &Algorithm) -> f64 {
    let (now, entropy) = case.logprobs();
    let n = case.answers.len();
    let n_tokens: usize = case.answers.iter().map(|answer| answer.tokens.len()).sum();
    let beta = match algorithm.kl() {
        Some(kl) if kl.placement == KlPlacement::Reward => kl.beta,
        _ => 0.0,
    };
    let ratio = |row: usize, t: usize| f64::from(case.answers[row].logprobs[t]) - now[row][t];
    let length = |row: usize| case.answers[row].tokens.len();
    let rewards: Vec<f64> = (0..n)
        .map(|row| case.scores[row] - beta * (0..length(row)).map(|t| ratio(row, t)).sum::<f64>())
        .collect();
    let group = |row: usize| (row / K * K..row / K * K + K).map(|other| rewards[other]).collect::<Vec<f64>>();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let deviation = |values: &[f64], ddof: usize| {
        let of_all = mean(values);
        (values.iter().map(|v| (v - of_all).powi(2)).sum::<f64>() / (values.len() - ddof) as f64).sqrt()
    };
    match algorithm {
        Algorithm::Rloo(config) => {
            let mut advantages: Vec<f64> = (0..n)
                .map(|row| rewards[row] - (group(row).iter().sum::<f64>() - rewards[row]) / (K - 1) as f64)
                .collect();
            if config.normalize_advantages {
                let scale = deviation(&advantages, 0);
                advantages.iter_mut().for_each(|advantage| *advantage /= scale);
            }
            let of_row = |row: usize| {
                let [now, old] = [now[row].iter().sum(), old(&case.answers[row]).iter().sum()];
                surrogate(now, old, advantages[row])
            };
            ((0..n).map(of_row).sum::<f64>() - ENTROPY * entropy) / n as f64
        }
        Algorithm::Grpo(config) => {
            let advantage = |row: usize| {
                let group = group(row);
                let scale = if config.scale_rewards { deviation(&group, 1) + 1e-4 } else { 1.0 };
                (rewards[row] - mean(&group)) / scale
            };
            let of_row = |row: usize| -> f64 {
                let tokens = old(&case.answers[row]);
                (0..length(row)).map(|t| surrogate(now[row][t], tokens[t], advantage(row))).sum()
            };
            let bonus = ENTROPY * entropy / n_tokens as f64;
            match config.loss_type {
                LossType::Dapo => (0..n).map(of_row).sum::<f64>() / n_tokens as f64 - bonus,
                LossType::Grpo => {
                    (0..n).map(|row| of_row(row) / length(row) as f64).sum::<f64>() / n as f64 - bonus
                }
            }
        }
        Algorithm::Ppo(config) => {
            // Values are 0 at first, so that V_old is 0 as well, and a return is the sum of what is to come, discounted.
            let mut tokens = Vec::new();
            for (row, now) in now.iter().enumerate() {
                let reward = |t: usize| {
                    let score = if t + 1 == length(row) { case.scores[row] } else { 0.0 };
                    score - beta * ratio(row, t)
                };
                for (t, &now) in now.iter().enumerate() {
                    let discount = |u: usize| (config.gamma * config.lam).powi((u - t) as i32);
                    let advantage: f64 = (t..length(row)).map(|u| discount(u) * reward(u)).sum();
                    tokens.push((now, old(&case.answers[row])[t], advantage));
                }
            }
            let raw: Vec<f64> = tokens.iter().map(|token| token.2).collect();
            let (centre, scale) = match config.whiten_advantages {
                true => (mean(&raw), deviation(&raw, 0)),
                false => (0.0, 1.0),
            };
            let policy: f64 =
                tokens.iter().map(|(now, old, raw)| surrogate(*now, *old, (raw - centre) / scale)).sum();
            let value: f64 = match config.value_model {
                ValueModel::None => 0.0,
                _ => raw.iter().map(|target| 0.5 * target.powi(2)).sum(),
            };
            (policy + config.vf_coef * value - ENTROPY * entropy) / n_tokens as f64
        }
        Algorithm::OnlineDpo(config) => {
            let mut losses = Vec::new();
            let mut bonus = 0.0;
            for first in (0..n).step_by(K) {
                let mut ranked: Vec<usize> = (first..first + K).collect();
                ranked.sort_by(|&a, &b| case.scores[b].partial_cmp(&case.scores[a]).unwrap());
                let pairs = if config.pairs == Pairing::BestWorst { 1 } else { K / 2 };
                for rank in 0..pairs {
                    let [chosen, rejected] = [ranked[rank], ranked[K - 1 - rank]];
                    if config.ties == Ties::Drop && case.scores[chosen] == case.scores[rejected] {
                        continue;
                    }
                    // The policy is where the reference is: h = 0.
                    losses.push(match config.loss_type {
                        PreferenceLoss::Sigmoid => 2f64.ln(),
                        PreferenceLoss::Ipo => (0.5 / config.beta).powi(2),
                    });
                    bonus += entropy_of(case, &[chosen, rejected]);
                }
            }
            mean(&losses) - ENTROPY * bonus / losses.len() as f64
        }
        Algorithm::BestOfN(config) => {
            let best: Vec<usize> = match config.select {
                Selection::Local => (0..n)
                    .step_by(K)
                    .map(|first| {
                        (first..first + K)
                            .fold(first, |best, row| if rewards[row] > rewards[best] { row } else { best })
                    })
                    .collect(),
                Selection::Top => {
                    let mut ranked: Vec<usize> = (0..n).collect();
                    ranked.sort_by(|&a, &b| rewards[b].partial_cmp(&rewards[a]).unwrap());
                    ranked[..n / K].to_vec()
                }
            };
            let tokens: usize = best.iter().map(|&row| length(row)).sum();
            let nll: f64 = best.iter().map(|&row| -now[row].iter().sum::<f64>()).sum();
            (nll - ENTROPY * entropy_of(case, &best)) / tokens as f64
        }
    }
}

fn entropy_of(case: &Case, rows: &[usize]) -> f64 {
    let exchanges: Vec<Exchange<'_>> = rows
        .iter()
        .map(|&row| Exchange { prompt: &case.prompts[row / K].tokens, response: &case.answers[row].tokens })
        .collect();
    f64::from(response_logprobs(&case.policy.valid(), &exchanges, 1.0).entropies.sum().into_scalar::<f32>())
}

/// Every algorithm with every option that its loss has.
pub(super) fn variants() -> Vec<Algorithm> {
    let kl = KlConfig::in_reward(BETA);
    let in_loss = KlConfig { placement: KlPlacement::Loss, ..kl };
    let mut all = Vec::new();
    for kl in [kl, in_loss] {
        for yes in [true, false] {
            all.push(Algorithm::Rloo(RlooConfig { kl, epsilon: EPSILON, normalize_advantages: yes }));
            for loss_type in [LossType::Dapo, LossType::Grpo] {
                all.push(Algorithm::Grpo(GrpoConfig {
                    kl,
                    epsilon: EPSILON,
                    scale_rewards: yes,
                    multi_objective_aggregation: Aggregation::SumThenNormalize,
                    loss_type,
                }));
            }
            for value_model in [ValueModel::Policy, ValueModel::SharedTrunk, ValueModel::None] {
                all.push(Algorithm::Ppo(PpoConfig {
                    kl,
                    value_model,
                    gamma: 0.9,
                    whiten_advantages: yes,
                    truncated_value: TruncatedValue::Bootstrap,
                    ..PpoConfig::default()
                }));
            }
        }
    }
    for pairs in [Pairing::BestWorst, Pairing::Ranked] {
        for (loss_type, ties) in [(PreferenceLoss::Sigmoid, Ties::First), (PreferenceLoss::Ipo, Ties::Drop)] {
            all.push(Algorithm::OnlineDpo(OnlineDpoConfig { beta: 0.4, loss_type, pairs, ties }));
        }
    }
    for select in [Selection::Local, Selection::Top] {
        all.push(Algorithm::BestOfN(BestOfNConfig { select, kl }));
    }
    all
}

#[test]
fn losses_are_those_of_plain_loops() {
    let mut n = 0;
    for algorithm in variants() {
        for seed in 0..4 {
            let case = Case::random(seed, model(VOCABULARY, seed));
            let (found, _) = case.of_trainer(&algorithm, None);
            let expected = expected(&case, &algorithm);
            let close = (found - expected).abs() < 1e-4 * (1.0 + expected.abs());
            assert!(close, "{algorithm:?}, seed {seed}: {found} instead of {expected}");
            n += 1;
        }
    }
    assert!(n > 100, "{n}");
}
