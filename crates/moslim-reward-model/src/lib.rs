#![doc = include_str!("../README.md")]

mod fit;
mod folder;
mod loss;
mod model;

pub use fit::{ClassWeights, FitConfig, FitStep, LabeledExchange, Sampling, fit, messages};
pub use folder::RewardModelFolder;
pub use loss::{HeadLosses, WeightedLabel, label_weights, masked_cross_entropy};
pub use model::MultiHeadRewardModel;
