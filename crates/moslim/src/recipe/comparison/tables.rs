//! The settings that methods have beside those of all, a table each.

use std::collections::BTreeMap;

use moslim_baselines::{MarginLoss, Mode, PreferenceMap};
use moslim_rl::Selection;
use serde::{Deserialize, Serialize};

/// Settings of MOSLIM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MoslimRecipe {
    /// So many answers of the data per sample are fine-tuned on first, asked for by the levels that the reward model sees in them;
    /// the method itself does without.
    pub conditional_share: f64,
}

/// Settings of MORLHF.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MorlhfRecipe {
    /// What makes rewards comparable before they are added; Rewarded Soups, P-Soups and P-MORL use it too, the last two with
    /// `fixed` for `running`, as the statistics of single preferences would be those of other answers.
    pub reward_normalization: NormalizationName,
}

/// What makes rewards comparable before they are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormalizationName {
    /// The expected level divided by the highest: from 0 to 1 for every objective.
    None,
    /// The same, minus its mean, divided by its standard deviation, both over answers of the start policy.
    Fixed,
    /// With the mean and deviation of all answers of the training so far.
    Running,
}

impl Default for MorlhfRecipe {
    fn default() -> Self {
        Self { reward_normalization: NormalizationName::Fixed }
    }
}

/// Settings of Rewarded Soups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardedSoupsRecipe {
    /// How adapters are mixed; complete weights are mixed the same way in either mode.
    pub mode: Mode,
}

impl Default for RewardedSoupsRecipe {
    fn default() -> Self {
        Self { mode: Mode::Paper }
    }
}

/// Settings of Personalized Soups and P-MORL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalizedRecipe {
    /// What people prefer of an objective.
    pub preferences: PreferencesName,
    /// A sentence for every preference of every objective, from the lowest; the request of that level in the codec's words if absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sentences: BTreeMap<String, Vec<String>>,
}

impl Default for PersonalizedRecipe {
    fn default() -> Self {
        Self { preferences: PreferencesName::Poles, sentences: BTreeMap::new() }
    }
}

/// What people prefer of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreferencesName {
    /// The lowest or the highest level, as in the paper.
    Poles,
    /// Any level.
    Levels,
}

/// Settings of Rewards-in-Context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RicRecipe {
    /// Where ranges of rewards come from.
    pub mode: Mode,
    /// Whether weights are asked for as rewards, or as the levels that serve them, as methods are asked that know only levels.
    pub weights_as: WeightsAs,
    /// How weights become rewards to ask for.
    pub preference_map: PreferenceMap,
    /// Online rounds, among which the samples are divided.
    pub rounds: usize,
    /// An answer of an online round is kept from this quantile of its round on, in any objective.
    pub quantile: f64,
    /// Answers of the offline data that are mixed with those of the online rounds, at most.
    pub originals: usize,
}

impl Default for RicRecipe {
    fn default() -> Self {
        Self {
            mode: Mode::Paper,
            weights_as: WeightsAs::Rewards,
            preference_map: PreferenceMap::L2,
            rounds: 2,
            quantile: 0.7,
            originals: 10_000,
        }
    }
}

/// What weights are asked for as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightsAs {
    /// Rewards, by the preference map, as in the paper.
    Rewards,
    /// Levels, by `comparison.levels_of_weights`.
    Levels,
}

/// Settings of CPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpoRecipe {
    /// How the value of an answer under a condition is computed.
    pub mode: Mode,
    /// β of DPO.
    pub beta: f64,
    /// Share of the prompts whose condition leaves an objective free, for every objective.
    pub free: f64,
}

impl Default for CpoRecipe {
    fn default() -> Self {
        Self { mode: Mode::Paper, beta: 0.1, free: 0.3 }
    }
}

/// Settings of MODPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModpoRecipe {
    /// β of DPO.
    pub beta: f64,
    /// The loss.
    pub loss: MarginLoss,
    /// Whether every weighting learns from all pairs, as in the paper, or from a share of its own, as who samples answers of its own.
    pub reuse_pairs: bool,
}

impl Default for ModpoRecipe {
    fn default() -> Self {
        Self { beta: 0.1, loss: MarginLoss::Sigmoid, reuse_pairs: false }
    }
}

/// Settings of rejection sampling, and of DPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectionSamplingRecipe {
    /// Rounds, among which the samples are divided.
    pub rounds: usize,
    /// Which answers are the best.
    pub selection: Selection,
    /// Times that a round's examples are seen, in the place of those of other fine-tuning.
    pub num_train_epochs: f64,
    /// Share of best answers of earlier rounds in a round's examples.
    pub older_share: f64,
}

impl Default for RejectionSamplingRecipe {
    fn default() -> Self {
        Self { rounds: 20, selection: Selection::Local, num_train_epochs: 4.0, older_share: 0.0 }
    }
}

impl RejectionSamplingRecipe {
    /// DPA's four rounds; in as many as rejection sampling it would leave the judge behind.
    pub(super) fn of_dpa() -> Self {
        Self { rounds: 4, num_train_epochs: 1.0, ..Self::default() }
    }
}

/// Settings of SteerLM 2.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SteerLm2Recipe {
    /// Share of the samples that the first conditional model learns from; the others are its own.
    pub first_share: f64,
}

impl Default for SteerLm2Recipe {
    fn default() -> Self {
        Self { first_share: 0.5 }
    }
}
