#![doc = include_str!("../README.md")]

mod fit;
mod folder;
mod loss;
mod model;

pub use fit::{FitConfig, FitStep, LabeledExchange, fit};
pub use folder::RewardModelFolder;
pub use loss::{HeadLosses, label_counts, masked_cross_entropy};
pub use model::MultiHeadRewardModel;
