//! A run as a file: what is trained on what, with every number.

mod comparison;
mod read;
mod start;

use std::fmt;
use std::path::PathBuf;

use moslim_data::{Mapping, ObjectiveSchema, OnError, Pairs, PromptCodecConfig, RequestMix};
use moslim_reward_mapping::RewardMapping;
use moslim_reward_model::FitConfig;
use moslim_rl::{
    Algorithm, BestOfNConfig, GrpoConfig, OnlineDpoConfig, PpoConfig, RlooConfig, TrainingConfig,
};
use moslim_testbed::{LabelOptions, WorldKind};
use serde::{Deserialize, Serialize};

use crate::monitor::{MonitorConfig, Sign};
use crate::rollout_server::ServerConfig;

pub use comparison::{
    BudgetName, ComparisonRecipe, CpoRecipe, LevelsOfWeights, MethodName, ModpoRecipe, MorlhfRecipe,
    MoslimRecipe, NormalizationName, PersonalizedRecipe, PreferencesName, RejectionSamplingRecipe,
    RewardModels, RewardedSoupsRecipe, RicRecipe, SteerLm2Recipe, TuningRecipe, VariantRecipe, WeightsAs,
};
pub use read::RecipeError;
pub use start::{ConditionalSftRecipe, LoraRecipe, ModelRecipe, PretrainingRecipe, SftRecipe};

/// Everything that decides a run; two runs of one recipe on one machine give the same numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Decides every random draw.
    pub seed: u64,
    /// Where questions, answers and labels come from.
    pub data: DataRecipe,
    /// How a request is worded in the prompt.
    pub codec: PromptCodecConfig,
    /// The language model to start from.
    pub model: ModelRecipe,
    /// Plain text to read first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<PretrainingRecipe>,
    /// Supervised fine-tuning on answers, without any request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sft: Option<SftRecipe>,
    /// Supervised fine-tuning on labelled answers, with their levels as the request; the method does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditional_sft: Option<ConditionalSftRecipe>,
    /// Low-rank adapters that are trained instead of the weights, in fine-tuning, reward model and policy optimisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraRecipe>,
    /// Training of the reward model.
    pub reward_model: FitConfig,
    /// From class probabilities and a request to a score.
    pub mapping: RewardMapping,
    /// Policy optimisation.
    pub policy: PolicyRecipe,
    /// What is measured at the end.
    pub evaluation: EvaluationRecipe,
    /// Policies trained otherwise, for comparison.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ablations: Vec<AblationRecipe>,
    /// What `moslim compare` does; other commands have no use for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonRecipe>,
}

/// Where questions, answers and labels come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataRecipe {
    /// The made-up world whose levels can be computed from the text.
    Testbed {
        /// Which world.
        world: WorldKind,
        /// The objectives that the run is about, of those that the world has; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        objectives: Option<Vec<String>>,
        /// Answers of mixed quality for supervised fine-tuning.
        sft_answers: usize,
        /// Labelled answers for the reward model.
        labeled_answers: usize,
        /// Labelled answers to held-out questions, for measuring the reward model; their labels are clean and complete.
        held_out_answers: usize,
        /// What the labels of the training answers lack.
        labels: LabelOptions,
    },
    /// Files.
    Files {
        /// The objectives of the run; those of the files where this is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        objectives: Option<ObjectiveSchema>,
        /// Labelled answers: a file or several, each of a known format.
        labeled: DataFiles,
        /// What the rows mean, for files of no known format.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mapping: Option<Box<Mapping>>,
        /// What happens to rows that cannot be used.
        #[serde(default)]
        on_error: OnError,
        /// What becomes of pairs.
        #[serde(default)]
        pairs: Pairs,
        /// Training leaves out prompts with answers of more tokens, and says how many; nothing is cut.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_length: Option<usize>,
        /// Their licence, for the models' cards.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        license: Option<String>,
        /// Share of the questions that is held out.
        held_out_share: f64,
        /// Training of the second reward model that judges the policy; it learns from held-out questions only.
        judge: Box<FitConfig>,
    },
}

impl DataRecipe {
    /// What training leaves out, in tokens.
    pub(crate) fn max_length(&self) -> Option<usize> {
        match self {
            Self::Testbed { .. } => None,
            Self::Files { max_length, .. } => *max_length,
        }
    }
}

/// A file or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DataFiles {
    /// One.
    One(PathBuf),
    /// Several, read one after the other.
    Several(Vec<PathBuf>),
}

impl DataFiles {
    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

impl fmt::Display for DataFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.paths().iter().map(|path| path.display().to_string()).collect();
        f.write_str(&names.join(", "))
    }
}

/// Policy optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecipe {
    /// What the policy is trained with.
    #[serde(default)]
    pub algorithm: AlgorithmName,
    /// Rollouts.
    pub max_steps: usize,
    /// Prompts per rollout.
    pub prompts_per_step: usize,
    /// Which objectives the prompts ask for.
    pub requests: RequestMix,
    /// Whether the reward sees the request of another prompt: the ablation that must not learn control.
    pub shuffle_requests: bool,
    /// Weight of leaving the objectives that are not asked for where the start policy has them; 0 to let them go.
    ///
    /// See [`UnaskedAnchor`](moslim_reward_mapping::UnaskedAnchor).
    pub unasked_coef: f64,
    /// Answers to held-out prompts are kept every so many steps, for the curves of the report.
    pub eval_steps: usize,
    /// How many answers are kept each time.
    pub eval_answers: usize,
    /// A checkpoint is written every so many steps, from which a run that was killed goes on; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<usize>,
    /// The number of checkpoints that are kept while the policy is trained, the last ones.
    #[serde(default = "one")]
    pub save_total_limit: usize,
    /// Whether the policy of the look with the highest score is kept too, in `policy-best/`.
    #[serde(default)]
    pub keep_best: bool,
    /// Checks at the start whose failure does not stop the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_checks: Vec<CheckName>,
    /// From when on numbers are signs of trouble.
    #[serde(default)]
    pub monitor: MonitorConfig,
    /// The signs that end the run, with a checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_on: Vec<Sign>,
    /// A server that samples the policy's answers; the policy itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_server: Option<ServerConfig>,
    /// What all algorithms share.
    pub training: TrainingConfig,
    /// Settings of RLOO.
    #[serde(default)]
    pub rloo: RlooConfig,
    /// Settings of PPO.
    #[serde(default)]
    pub ppo: PpoConfig,
    /// Settings of Online DPO.
    #[serde(default)]
    pub online_dpo: OnlineDpoConfig,
    /// Settings of best-of-n.
    #[serde(default)]
    pub best_of_n: BestOfNConfig,
    /// Settings of GRPO.
    #[serde(default)]
    pub grpo: GrpoConfig,
}

fn one() -> usize {
    1
}

impl PolicyRecipe {
    /// The algorithm with its settings.
    pub fn algorithm(&self) -> Algorithm {
        match self.algorithm {
            AlgorithmName::Rloo => Algorithm::Rloo(self.rloo.clone()),
            AlgorithmName::Ppo => Algorithm::Ppo(self.ppo.clone()),
            AlgorithmName::OnlineDpo => Algorithm::OnlineDpo(self.online_dpo.clone()),
            AlgorithmName::BestOfN => Algorithm::BestOfN(self.best_of_n.clone()),
            AlgorithmName::Grpo => Algorithm::Grpo(self.grpo.clone()),
        }
    }
}

/// The algorithms of policy optimisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlgorithmName {
    /// REINFORCE leave-one-out.
    #[default]
    Rloo,
    /// Proximal policy optimisation.
    Ppo,
    /// DPO on pairs of the policy's own answers.
    OnlineDpo,
    /// Supervised fine-tuning on the best of several answers.
    BestOfN,
    /// Group-relative policy optimisation.
    Grpo,
}

/// What is checked at the start of policy optimisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The probabilities of the first answers are the same in sampling and in training.
    FirstMinibatchRatio,
    /// Another program that samples has nearly the same log-probabilities.
    RolloutLogprobs,
    /// What is trained changes what the model says.
    AdapterUsed,
    /// Some of the first answers end by themselves.
    EosReachable,
    /// The scores of the first answers differ.
    RewardSpread,
}

impl CheckName {
    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstMinibatchRatio => "first-minibatch-ratio",
            Self::RolloutLogprobs => "rollout-logprobs",
            Self::AdapterUsed => "adapter-used",
            Self::EosReachable => "eos-reachable",
            Self::RewardSpread => "reward-spread",
        }
    }
}

/// What is measured at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Held-out questions.
    pub prompts: usize,
    /// Draws of the bootstrap.
    pub resamples: usize,
}

/// A policy trained otherwise, from the same start and with the same reward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationRecipe {
    /// Its name in the report.
    pub name: String,
    /// Changes to the recipe, as after `--set`.
    pub set: Vec<String>,
}
