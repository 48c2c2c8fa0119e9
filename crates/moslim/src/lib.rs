#![doc = include_str!("../README.md")]

mod allocator;
mod checkpoints;
mod classifier;
mod comparison;
mod data;
mod device;
mod error;
mod evaluation;
mod explanation;
mod file_name;
mod hub;
mod manifest;
mod mapped_reward;
mod model_card;
pub mod monitor;
mod number;
mod plan;
mod policy_folder;
mod progress;
mod recipe;
mod rollout_server;
mod run;
mod stages;
mod start_model;
mod tensorboard;
mod watch;

pub use allocator::keep_freed_memory;
pub use comparison::Comparison;
pub use data::{Datasets, Labeled};
pub use device::{default_device, device};
pub use error::Error;
pub use evaluation::{Opinion, agreement, measure_heads, measure_pairs};
pub use explanation::{Explanation, HeadExplanation, OpinionScores};
pub use hub::{HubError, data_files, model_folder};
pub use manifest::DataFile;
pub use mapped_reward::{MappedReward, classify, classify_with_opinions};
pub use plan::{Available, Plan, StagePlan};
pub use policy_folder::PolicyFolder;
pub use progress::Progress;
pub use recipe::{
    AblationRecipe, AlgorithmName, BudgetName, CheckName, ComparisonRecipe, ConditionalSftRecipe, CpoRecipe,
    DataFiles, DataRecipe, EvaluationRecipe, LevelsOfWeights, LoraRecipe, MethodName, ModelRecipe,
    ModpoRecipe, MorlhfRecipe, MoslimRecipe, NormalizationName, PersonalizedRecipe, PolicyRecipe,
    PreferencesName, PretrainingRecipe, Recipe, RecipeError, RejectionSamplingRecipe, RewardModels,
    RewardedSoupsRecipe, RicRecipe, SftRecipe, SteerLm2Recipe, TuningRecipe, VariantRecipe, WeightsAs,
};
pub use rollout_server::{Completion, RolloutServer, ServerConfig, ServerError, ServerKind};
pub use run::{Run, Surroundings, make_room, write_whole};
pub use stages::{
    add_objectives, evaluate, fitting_labeled, optimize_policy, pretrain_and_sft, train, train_reward_model,
};
pub use watch::view;
