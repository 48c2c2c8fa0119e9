//! The ablation that must not learn control.

use moslim_data::Request;
use moslim_rl::{PolicyPrompt, Reward, RewardError, Rollout, Scores};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::MappedReward;

/// A reward that is shown the request of another prompt.
pub(super) struct ShuffledRequests<'a> {
    pub inner: &'a mut MappedReward,
    pub rng: &'a mut ChaCha8Rng,
}

impl Reward for ShuffledRequests<'_> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let mut requests: Vec<Request> = prompts.iter().map(|prompt| prompt.request.clone()).collect();
        requests.shuffle(self.rng);
        let prompts: Vec<PolicyPrompt> = prompts
            .iter()
            .zip(requests)
            .map(|(prompt, request)| PolicyPrompt { request, ..prompt.clone() })
            .collect();
        self.inner.score(&prompts, rollout)
    }
}
