//! Training without reinforcement learning: the best of several answers becomes the example of supervised fine-tuning, round by round,
//! as rejection sampling of [Llama 2](https://arxiv.org/abs/2307.09288) and [RAFT](https://arxiv.org/abs/2304.06767).

use serde::{Deserialize, Serialize};

use crate::KlConfig;
use crate::experience::Experience;
use crate::learner::{Learner, Loss, Units, Update};

/// The settings of best-of-n.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BestOfNConfig {
    /// Which answers are learned from.
    pub select: Selection,
    /// The KL term; in the reward it takes part in the choice, in the loss it holds the policy back. None with weight 0.
    pub kl: KlConfig,
}

/// Which answers are learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The best answer to every prompt.
    Local,
    /// As many, the best of the whole batch: RAFT's `top`, which favours easy prompts.
    Top,
}

impl Default for BestOfNConfig {
    fn default() -> Self {
        Self { select: Selection::Local, kl: KlConfig::in_reward(0.0) }
    }
}

impl BestOfNConfig {
    pub(crate) fn learn(&self, learner: &mut Learner, experience: &Experience<'_>) -> Update {
        let best = self.best(experience);
        // L = −mean of log π over the tokens of the best answers.
        learner.descend(experience, &Units::tokens(best), |batch| {
            let logprobs = batch.mask.sum(batch.logprobs.clone());
            Loss { total: batch.regularized(logprobs.neg(), batch.n_tokens), metrics: vec![] }
        })
    }

    /// The rows of the best answers, in order.
    fn best(&self, experience: &Experience<'_>) -> Vec<usize> {
        let rewards = experience.rewards();
        // Of equals the first sampled.
        let ranked = |mut rows: Vec<usize>| {
            rows.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]));
            rows
        };
        let kept = |row: &usize| experience.kept.contains(row);
        match self.select {
            Selection::Local => {
                let groups = experience.groups().map(|group| ranked(group.filter(kept).collect()));
                groups.filter_map(|group| group.first().copied()).collect()
            }
            Selection::Top => {
                let mut best = ranked(experience.kept.clone());
                best.truncate(experience.groups().count());
                best.sort_unstable();
                best
            }
        }
    }
}
