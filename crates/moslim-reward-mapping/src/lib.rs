#![doc = include_str!("../README.md")]

mod error;
mod formula;
mod mapping;
mod stats;

pub use error::MappingError;
pub use mapping::{ClassProbabilities, Ddof, Divisor, MappingKind, MaskRule, RewardMapping};
pub use stats::{ClassStats, RunningStats, TargetStats};
