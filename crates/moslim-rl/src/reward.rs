//! Where scores come from.

use crate::{PolicyPrompt, Rollout};

/// Why a reward could not score an answer.
#[derive(Debug, thiserror::Error)]
#[error("reward: {0}")]
pub struct RewardError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Judges answers; the algorithms know nothing else of it.
pub trait Reward {
    /// One score per answer of the rollout, in its order; larger is better.
    ///
    /// # Errors
    /// If an answer cannot be judged.
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Vec<f64>, RewardError>;
}

/// A function of a prompt and an answer's tokens is a reward.
impl<F: FnMut(&PolicyPrompt, &[u32]) -> f64> Reward for F {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Vec<f64>, RewardError> {
        let scores = rollout.answers.iter().enumerate().map(|(row, answer)| {
            let prompt = &prompts[row / rollout.n_samples];
            self(prompt, &answer.tokens)
        });
        Ok(scores.collect())
    }
}
