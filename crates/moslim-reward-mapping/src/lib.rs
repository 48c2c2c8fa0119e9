#![doc = include_str!("../README.md")]

mod anchor;
mod error;
mod formula;
mod mapping;
mod pessimism;
mod stats;

pub use anchor::UnaskedAnchor;
pub use error::MappingError;
pub use mapping::{ClassProbabilities, Ddof, Divisor, MappingKind, MaskRule, RewardMapping};
pub use pessimism::{Pessimism, mean_and_deviation};
pub use stats::{ClassStats, RunningStats, TargetStats};
