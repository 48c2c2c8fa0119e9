#![doc = include_str!("../README.md")]

mod error;
mod mode;
mod morlhf;
mod personalized_soups;
mod rewarded_soups;
mod statistics;
mod weights;

pub use error::BaselineError;
pub use mode::Mode;
pub use morlhf::{Morlhf, RewardNormalization, RewardPerObjective, weighted_sum};
pub use personalized_soups::{Pmorl, PreferenceSentences};
pub use rewarded_soups::{LoraSoup, RewardedSoup, SoupError};
pub use statistics::{MeanStd, RunningMeanStd};
pub use weights::Weights;
