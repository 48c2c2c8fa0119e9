//! REINFORCE leave-one-out ([Ahmadian et al. 2024](https://arxiv.org/abs/2402.14740)), as box 1 there and TRL's `RLOOTrainer`.

use serde::{Deserialize, Serialize};

use crate::KlConfig;
use crate::experience::Experience;
use crate::learner::{Learner, Loss, Units, Update, scalar};
use crate::ops::{clipped_surrogate_loss, is_clipped, rloo_advantages, scale_to_unit_variance};

/// The settings of RLOO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RlooConfig {
    /// The KL term; in the reward, as in the paper, or in the loss.
    pub kl: KlConfig,
    /// ε, beyond which the ratio of a whole answer is clipped.
    pub epsilon: f64,
    /// Whether advantages are divided by their standard deviation over the batch.
    pub normalize_advantages: bool,
}

impl Default for RlooConfig {
    fn default() -> Self {
        Self { kl: KlConfig::in_reward(0.05), epsilon: 0.2, normalize_advantages: true }
    }
}

impl RlooConfig {
    pub(crate) fn learn(&self, learner: &mut Learner, experience: &Experience<'_>) -> Update {
        // r = R − β Σ log π/π_ref, A = r − mean of the siblings' r.
        let rewards = experience.rewards();
        let mut advantages = rloo_advantages(&rewards, experience.rollout.n_samples);
        if self.normalize_advantages {
            advantages = scale_to_unit_variance(&advantages);
        }
        let advantages = experience.weighted(advantages);
        let old_logprobs = experience.rollout.logprobs();

        // The whole answer is one action: ρ = exp(Σ log π − Σ log π_old).
        learner.descend(experience, &Units::answers(experience.kept.clone()), |batch| {
            let logprobs = batch.mask.sum_per_response(batch.logprobs.clone());
            let (old, advantages) = (batch.per_answer(&old_logprobs), batch.per_answer(&advantages));
            let clipped =
                is_clipped(logprobs.clone().detach(), old.clone(), advantages.clone(), self.epsilon);
            let losses = clipped_surrogate_loss(logprobs, old, advantages, self.epsilon);
            Loss {
                total: batch.regularized(losses.sum(), batch.n_answers),
                metrics: vec![("policy/clipfrac_avg", scalar(clipped.inner().sum()) / batch.n_answers)],
            }
        })
    }
}
