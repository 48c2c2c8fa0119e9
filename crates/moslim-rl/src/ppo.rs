//! Proximal policy optimisation ([Schulman et al. 2017](https://arxiv.org/abs/1707.06347)) of language models,
//! as in [learning from human preferences](https://arxiv.org/abs/1909.08593) and TRL's `PPOTrainer`.

use burn::module::Module;
use moslim_lm::{Exchange, OptimizerConfig};
use serde::{Deserialize, Serialize};

use crate::KlConfig;
use crate::experience::Experience;
use crate::learner::{Learner, Loss, Units, Update, scalar};
use crate::ops::{
    clipped_surrogate_loss, clipped_value_loss, gae, is_clipped, is_value_clipped, scale_to_unit_variance,
    whiten,
};

/// The settings of PPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// The KL term; in the reward of every token, as in the sources, or in the loss.
    pub kl: KlConfig,
    /// What estimates the value of states.
    pub value_model: ValueModel,
    /// γ, the discount of later rewards.
    pub gamma: f64,
    /// λ of the advantage estimates.
    pub lam: f64,
    /// ε, beyond which the ratio of a token is clipped.
    pub cliprange: f64,
    /// How far an update may move a value.
    pub cliprange_value: f64,
    /// The weight of the value loss.
    pub vf_coef: f64,
    /// Whether rewards of tokens are divided by their standard deviation, keeping the mean.
    pub whiten_rewards: bool,
    /// Whether advantages of tokens get mean 0 and deviation 1 over the batch.
    pub whiten_advantages: bool,
    /// What comes after an answer that reached the longest length.
    pub truncated_value: TruncatedValue,
    /// The optimizer of the value model, if it is not as that of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic_optimizer: Option<OptimizerConfig>,
}

/// What estimates the value of states; its head is zero at first in all cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueModel {
    /// A model of its own that starts as the policy.
    Policy,
    /// A model of its own that starts as the reward model.
    RewardModel,
    /// A head on the policy's own states, whose layers then learn from both losses.
    SharedTrunk,
    /// None: the value of every state is 0, so that an answer's advantage is what is still to come.
    None,
}

/// What comes after an answer that reached the longest length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedValue {
    /// Nothing, as after an end token.
    Zero,
    /// What the value model says of the state that it stopped in.
    Bootstrap,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            kl: KlConfig::in_reward(0.05),
            value_model: ValueModel::Policy,
            gamma: 1.0,
            lam: 0.95,
            cliprange: 0.2,
            cliprange_value: 0.2,
            vf_coef: 0.1,
            whiten_rewards: false,
            whiten_advantages: true,
            truncated_value: TruncatedValue::Zero,
            critic_optimizer: None,
        }
    }
}

impl PpoConfig {
    pub(crate) fn learn(&self, learner: &mut Learner, experience: &Experience<'_>) -> Update {
        let (values, after) = self.values(learner, experience);

        // r_t = −β log π/π_ref, and the score at the last token.
        let mut rewards = self.rewards(experience);
        if self.whiten_rewards {
            rewards = over_tokens(&rewards, &experience.kept, scale_to_unit_variance);
        }
        let rows = rewards.iter().zip(&values).zip(&after);
        let estimates =
            rows.map(|((rewards, values), after)| gae(rewards, values, *after, self.gamma, self.lam));
        let (mut advantages, returns): (Vec<_>, Vec<_>) = estimates.unzip();
        if self.whiten_advantages {
            advantages = over_tokens(&advantages, &experience.kept, whiten);
        }
        let advantages = experience.weighted_tokens(advantages);
        let old_logprobs = experience.old_logprobs();

        learner.descend(experience, &Units::tokens(experience.kept.clone()), |batch| {
            let (old, advantages) = (batch.per_token(&old_logprobs), batch.per_token(&advantages));
            let logprobs = batch.logprobs.clone();
            let clipped =
                is_clipped(logprobs.clone().detach(), old.clone(), advantages.clone(), self.cliprange);
            let mut total = batch.mask.sum(clipped_surrogate_loss(logprobs, old, advantages, self.cliprange));
            let mean = |sum: f64| sum / batch.n_tokens;
            let mut metrics = vec![
                ("loss/policy_avg", mean(scalar(total.clone()))),
                ("policy/clipfrac_avg", mean(scalar(batch.mask.clone().inner().sum(clipped.inner())))),
            ];
            if let Some(now) = batch.values.clone() {
                let (old, returns) = (batch.per_token(&values), batch.per_token(&returns));
                let clipped = is_value_clipped(
                    now.clone().inner(),
                    old.clone().inner(),
                    returns.clone().inner(),
                    self.cliprange_value,
                );
                let loss = batch.mask.sum(clipped_value_loss(now, old, returns, self.cliprange_value));
                metrics.extend([
                    ("loss/value_avg", mean(scalar(loss.clone()))),
                    ("val/clipfrac_avg", mean(scalar(batch.mask.clone().inner().sum(clipped)))),
                ]);
                total = total + loss * self.vf_coef;
            }
            Loss { total: batch.regularized(total, batch.n_tokens), metrics }
        })
    }

    /// The reward of every token, one list per answer.
    fn rewards(&self, experience: &Experience<'_>) -> Vec<Vec<f64>> {
        let beta = experience.beta_in_reward();
        let rows = experience.log_ratios().zip(&experience.scores);
        let of_row = |(ratios, score): (_, &f64)| {
            let mut rewards: Vec<f64> = Iterator::map(ratios, |ratio: f64| -beta * ratio).collect();
            if let Some(last) = rewards.last_mut() {
                *last += score;
            }
            rewards
        };
        rows.map(of_row).collect()
    }

    /// The value before every token and after the last, one entry per answer.
    fn values(&self, learner: &Learner, experience: &Experience<'_>) -> (Vec<Vec<f64>>, Vec<f64>) {
        let answers = &experience.rollout.answers;
        let Some(critic) = &learner.model.critic else {
            let zeros = answers.iter().map(|answer| vec![0.0; answer.tokens.len()]).collect();
            return (zeros, vec![0.0; answers.len()]);
        };
        let (size, precision) = (learner.config.micro_batch_size, learner.config.precision);
        let policy = learner.model.policy.valid();
        let exchanges = experience.exchanges();
        let before = critic.valid().values_before(&policy, &exchanges, size, precision);
        let mut after = vec![0.0; answers.len()];
        if self.truncated_value == TruncatedValue::Bootstrap {
            let rows: Vec<usize> = (0..answers.len()).filter(|&row| !answers[row].finished).collect();
            let truncated: Vec<Exchange<'_>> = rows.iter().map(|&row| exchanges[row]).collect();
            let values = critic.valid().values_after(&policy, &truncated, size, precision);
            rows.iter().zip(values).for_each(|(&row, value)| after[row] = value);
        }
        (before, after)
    }
}

/// Applies a function to the tokens of the rows that are learned from, all together.
fn over_tokens(of_all: &[Vec<f64>], kept: &[usize], change: fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let tokens: Vec<f64> = kept.iter().flat_map(|&row| of_all[row].iter().copied()).collect();
    let mut changed = change(&tokens).into_iter();
    let mut all = of_all.to_vec();
    for &row in kept {
        all[row].iter_mut().for_each(|cell| *cell = changed.next().expect("a number for every token"));
    }
    all
}
