#![doc = include_str!("../README.md")]

pub mod ops;
mod reward;
mod rloo;
mod rollout;

pub use reward::{Reward, RewardError};
pub use rloo::{ReferencePrompt, Rloo, RlooConfig, StepStats};
pub use rollout::{PhaseSeconds, PolicyPrompt, Rollout};
