#![doc = include_str!("../README.md")]

mod algorithm;
mod best_of_n;
mod config;
mod critic;
mod experience;
mod grpo;
mod learner;
mod online_dpo;
pub mod ops;
mod ppo;
mod reward;
mod rloo;
mod rollout;
mod stats;
mod trainer;

pub use algorithm::{Algorithm, KlConfig, KlPlacement, SettingError};
pub use best_of_n::{BestOfNConfig, Selection};
pub use config::{MissingEos, ReferencePrompt, TrainingConfig};
pub use grpo::{Aggregation, GrpoConfig, LossType};
pub use online_dpo::{OnlineDpoConfig, Pairing, Ties};
pub use ppo::{PpoConfig, TruncatedValue, ValueModel};
pub use reward::{ObjectiveScores, Reward, RewardError, Scores};
pub use rloo::RlooConfig;
pub use rollout::{BuiltInEngine, PolicyPrompt, Rollout, RolloutEngine, RolloutError, RolloutJobs};
pub use stats::{Phase, PhaseSeconds, StepStats};
pub use trainer::{PolicyTrainer, Step, StepError};
