//! Where scores come from.

use crate::{PolicyPrompt, Rollout};

/// Why a reward could not score an answer.
#[derive(Debug, thiserror::Error)]
#[error("reward: {0}")]
pub struct RewardError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// The scores of a rollout's answers, in its order, and what they consist of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// One per answer; larger is better.
    pub values: Vec<f64>,
    /// What every objective has to say, in the order of the requests' levels; empty for a reward without objectives.
    pub objectives: Vec<ObjectiveScores>,
    /// What was subtracted for objectives that the request leaves open; empty if nothing is.
    pub penalties: Vec<f64>,
}

/// What an objective has to say of a rollout's answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveScores {
    /// The objective.
    pub objective: String,
    /// Its part of every answer's score; `None` where it takes no part.
    pub scores: Vec<Option<f64>>,
    /// The level that every answer seems to have.
    pub levels: Vec<f64>,
}

impl From<Vec<f64>> for Scores {
    fn from(values: Vec<f64>) -> Self {
        Self { values, ..Self::default() }
    }
}

/// Judges answers; the algorithms know nothing else of it.
pub trait Reward {
    /// The scores of the rollout's answers.
    ///
    /// # Errors
    /// If an answer cannot be judged.
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError>;
}

/// A function of a prompt and an answer's tokens is a reward.
impl<F: FnMut(&PolicyPrompt, &[u32]) -> f64> Reward for F {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let scores = rollout.answers.iter().enumerate().map(|(row, answer)| {
            let prompt = &prompts[row / rollout.n_samples];
            self(prompt, &answer.tokens)
        });
        Ok(scores.collect::<Vec<_>>().into())
    }
}
