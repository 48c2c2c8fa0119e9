//! Group-relative policy optimisation ([Shao et al. 2024](https://arxiv.org/abs/2402.03300)), with the options of TRL's `GRPOTrainer`.
//!
//! Deviation: the KL term is none by default, as in TRL, and K2 where the paper has K3, whose gradient in the loss belongs to another divergence.

use serde::{Deserialize, Serialize};

use crate::experience::Experience;
use crate::learner::{Learner, Loss, Units, Update, scalar};
use crate::ops::{clipped_surrogate_loss, group_advantages, is_clipped, scale_to_unit_variance};
use crate::{KlConfig, KlPlacement};

/// The settings of GRPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpoConfig {
    /// The KL term; in the loss, as in the paper, or in the reward.
    pub kl: KlConfig,
    /// ε, beyond which the ratio of a token is clipped.
    pub epsilon: f64,
    /// Whether advantages are divided by the standard deviation of the prompt's rewards, which makes prompts with hardly any difference loud.
    pub scale_rewards: bool,
    /// How the rewards of several objectives become one advantage.
    pub multi_objective_aggregation: Aggregation,
    /// How the losses of tokens are averaged.
    pub loss_type: LossType,
}

/// How the rewards of several objectives become one advantage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The score as it is.
    SumThenNormalize,
    /// Every objective's part of the score is centred and scaled in its group, then the sum is scaled over the batch
    /// ([GDPO](https://arxiv.org/abs/2601.05242)); what is subtracted beside the objectives is centred only.
    NormalizeThenSum,
}

/// How the losses of tokens are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Over the tokens of an answer, then over answers, as in the paper: long bad answers cost little.
    Grpo,
    /// Over all tokens of the mini-batch ([DAPO](https://arxiv.org/abs/2503.14476)).
    Dapo,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            kl: KlConfig { placement: KlPlacement::Loss, ..KlConfig::in_reward(0.0) },
            epsilon: 0.2,
            scale_rewards: true,
            multi_objective_aggregation: Aggregation::SumThenNormalize,
            loss_type: LossType::Dapo,
        }
    }
}

impl GrpoConfig {
    pub(crate) fn learn(&self, learner: &mut Learner, experience: &Experience<'_>) -> Update {
        let advantages = self.advantages(experience);
        let per_token =
            |(answer, advantage): (&moslim_lm::Generated, f64)| vec![advantage; answer.tokens.len()];
        let advantages = experience.rollout.answers.iter().zip(advantages).map(per_token).collect();
        let advantages = experience.weighted_tokens(advantages);
        let old_logprobs = experience.old_logprobs();
        let lengths: Vec<f64> =
            experience.rollout.answers.iter().map(|answer| answer.tokens.len() as f64).collect();

        // Every token is an action with the advantage of its answer.
        learner.descend(experience, &Units::tokens(experience.kept.clone()), |batch| {
            let (old, advantages) = (batch.per_token(&old_logprobs), batch.per_token(&advantages));
            let logprobs = batch.logprobs.clone();
            let clipped =
                is_clipped(logprobs.clone().detach(), old.clone(), advantages.clone(), self.epsilon);
            let losses = clipped_surrogate_loss(logprobs, old, advantages, self.epsilon);
            let total = match self.loss_type {
                LossType::Dapo => batch.regularized(batch.mask.sum(losses), batch.n_tokens),
                LossType::Grpo => {
                    let means = batch.mask.sum_per_response(losses) / batch.per_answer(&lengths);
                    // The terms beside it keep the scale that they have over tokens.
                    let to_tokens = batch.n_tokens / batch.n_answers;
                    batch.regularized(means.sum() * to_tokens, batch.n_tokens)
                }
            };
            let clipfrac = scalar(batch.mask.clone().inner().sum(clipped.inner())) / batch.n_tokens;
            Loss { total, metrics: vec![("policy/clipfrac_avg", clipfrac)] }
        })
    }

    /// The advantage of every answer.
    fn advantages(&self, experience: &Experience<'_>) -> Vec<f64> {
        let k = experience.rollout.n_samples;
        let rewards = experience.rewards();
        match self.multi_objective_aggregation {
            Aggregation::NormalizeThenSum if !experience.objectives.is_empty() => {
                let parts = experience.objectives.iter().map(|objective| {
                    objective.scores.iter().map(|score| score.unwrap_or(0.0)).collect::<Vec<_>>()
                });
                let parts: Vec<Vec<f64>> = parts.collect();
                // What the score has beside its objectives, penalties and the KL term, keeps its weight against them.
                let rest: Vec<f64> = rewards
                    .iter()
                    .enumerate()
                    .map(|(row, reward)| reward - parts.iter().map(|part| part[row]).sum::<f64>())
                    .collect();
                let mut sum = vec![0.0; rewards.len()];
                let scaled = parts.iter().map(|part| (part, self.scale_rewards)).chain([(&rest, false)]);
                for (part, scale) in scaled {
                    let normalised = group_advantages(part, k, scale);
                    sum.iter_mut().zip(normalised).for_each(|(sum, advantage)| *sum += advantage);
                }
                scale_to_unit_variance(&sum)
            }
            _ => group_advantages(&rewards, k, self.scale_rewards),
        }
    }
}
