#![doc = include_str!("../README.md")]

mod cpo;
mod dpa;
mod error;
mod mode;
mod modpo;
mod morlhf;
mod offline_pairs;
mod personalized_soups;
mod rejection_sampling;
mod rewarded_soups;
mod ric;
mod statistics;
mod steerlm2;
mod weights;

pub use cpo::{Cdpo, CdpoObjective, ReleasedTerm, Wanted, cdpo_loss, cdpo_token_name, draw_condition};
pub use dpa::Direction;
pub use error::BaselineError;
pub use mode::Mode;
pub use modpo::{MarginLoss, ModpoLoss, implicit_reward};
pub use morlhf::{Morlhf, RewardNormalization, RewardPerObjective, weighted_sum};
pub use offline_pairs::{AnswerPair, pair_gradients, pair_logprobs};
pub use personalized_soups::{Pmorl, PreferenceSentences};
pub use rejection_sampling::{mix_older_best, select_best};
pub use rewarded_soups::{LoraSoup, RewardedSoup, SoupError};
pub use ric::{
    EVALUATION_WEIGHTS_OF_THREE, PreferenceMap, RangeSource, RewardRange, RewardTokens, balance_rewards,
    clean_answer, draw_originals, draw_prompts, draw_target, quantile_filter,
};
pub use statistics::{MeanStd, RunningMeanStd};
pub use steerlm2::{SteerWeights, attribute_logprob, steerlm2_loss};
pub use weights::Weights;
