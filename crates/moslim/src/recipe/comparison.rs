//! Several methods on one ground: which, and on what budget.

mod tables;

use moslim_baselines::PreferenceMap;
use moslim_lm::{OptimizerConfig, Precision};
use serde::{Deserialize, Serialize};

use super::RecipeError;

pub use self::tables::{
    CpoRecipe, ModpoRecipe, MorlhfRecipe, MoslimRecipe, NormalizationName, PersonalizedRecipe,
    PreferencesName, RejectionSamplingRecipe, RewardedSoupsRecipe, RicRecipe, SteerLm2Recipe, WeightsAs,
};

/// What `moslim compare` trains and measures.
///
/// All methods have the recipe's start policy, reward model, prompts, decoding and judge, and policy optimisation is set up as in
/// its table `policy` for all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRecipe {
    /// The methods, in the order of the report.
    pub methods: Vec<MethodName>,
    /// Methods with other settings, beside those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantRecipe>,
    /// Everything is trained and measured once per seed, from the data on.
    pub seeds: Vec<u64>,
    /// What is the same for all methods; each has a part of the report.
    pub budgets: Vec<BudgetName>,
    /// Every method is measured at all weights of the objectives that are multiples of one over this.
    pub weight_steps: usize,
    /// How weights become levels where a method takes levels.
    #[serde(default)]
    pub levels_of_weights: LevelsOfWeights,
    /// Whose judgement all methods are trained with.
    #[serde(default)]
    pub reward_models: RewardModels,
    /// Supervised fine-tuning, where a method has it.
    pub fine_tuning: TuningRecipe,
    /// Training on pairs, where a method has it; a batch counts pairs.
    pub preference_tuning: TuningRecipe,
    /// Settings of MOSLIM.
    #[serde(default)]
    pub moslim: MoslimRecipe,
    /// Settings of MORLHF.
    #[serde(default)]
    pub morlhf: MorlhfRecipe,
    /// Settings of Rewarded Soups.
    #[serde(default)]
    pub rewarded_soups: RewardedSoupsRecipe,
    /// Settings of Personalized Soups and P-MORL.
    #[serde(default)]
    pub personalized: PersonalizedRecipe,
    /// Settings of Rewards-in-Context.
    #[serde(default)]
    pub ric: RicRecipe,
    /// Settings of CPO.
    #[serde(default)]
    pub cpo: CpoRecipe,
    /// Settings of MODPO.
    #[serde(default)]
    pub modpo: ModpoRecipe,
    /// Settings of rejection sampling.
    #[serde(default)]
    pub rejection_sampling: RejectionSamplingRecipe,
    /// Settings of DPA, which is rejection sampling along directions.
    #[serde(default = "RejectionSamplingRecipe::of_dpa")]
    pub dpa: RejectionSamplingRecipe,
    /// Settings of SteerLM 2.0.
    #[serde(default)]
    pub steerlm2: SteerLm2Recipe,
}

/// Hundreds of thousands of weightings would be found out late to be too many.
const MOST_WEIGHT_STEPS: usize = 100;

/// In bytes, as names are those of folders, where a byte may be written as three.
const LONGEST_NAME: usize = 60;

/// Settings that a variant may change, and those among them that are the same for all methods.
const OF_A_VARIANT: [&str; 3] = ["policy.", "mapping.", "comparison."];
const SHARED_KEYS: [&str; 6] = [
    "policy.max_steps",
    "comparison.methods",
    "comparison.variants",
    "comparison.seeds",
    "comparison.budgets",
    "comparison.weight_steps",
];

impl ComparisonRecipe {
    /// Checks the numbers; `recipe` stands in errors.
    pub(super) fn check(&self, recipe: &str) -> Result<(), RecipeError> {
        let range = |key: &str, is_right: bool, found: String, expected| match is_right {
            true => Ok(()),
            false => {
                let (recipe, key) = (recipe.into(), format!("comparison.{key}"));
                Err(RecipeError::Range { recipe, key, found, expected })
            }
        };
        let at_least_one = |key: &str, n: usize| range(key, n >= 1, n.to_string(), "at least 1");
        let share = |key: &str, found: f64| {
            range(key, (0.0..1.0).contains(&found), found.to_string(), "at least 0 and below 1")
        };
        let positive = |key: &str, found: f64| {
            range(key, found > 0.0 && found.is_finite(), found.to_string(), "above 0")
        };
        at_least_one("methods", self.methods.len())?;
        at_least_one("seeds", self.seeds.len())?;
        at_least_one("budgets", self.budgets.len())?;
        let steps = self.weight_steps;
        range("weight_steps", (1..=MOST_WEIGHT_STEPS).contains(&steps), steps.to_string(), "1 to 100")?;
        let mut names: Vec<&str> = self.methods.iter().map(|method| method.name()).collect();
        names.extend(self.variants.iter().map(|variant| variant.name.as_str()));
        for (place, name) in names.iter().enumerate() {
            range("variants.name", !name.is_empty(), "none".into(), "a name for every variant")?;
            let is_short = name.len() <= LONGEST_NAME;
            range("variants.name", is_short, format!("{} bytes", name.len()), "at most 60 bytes")?;
            let is_new = !names[..place].contains(name);
            range("methods", is_new, format!("`{name}` twice"), "another name for every method and variant")?;
        }
        for variant in &self.variants {
            for change in &variant.set {
                let key = change.split('=').next().unwrap_or_default().trim();
                let is_own = key == "mapping" || OF_A_VARIANT.iter().any(|table| key.starts_with(table));
                let is_shared = SHARED_KEYS.contains(&key);
                range(
                    &format!("variants.set of {}", variant.name),
                    is_own && !is_shared,
                    format!("`{key}`"),
                    "settings of policy (but max_steps), mapping, or a method in comparison; the rest is the same for all",
                )?;
            }
        }
        let has_twice = |n: usize, is_known: &dyn Fn(usize) -> bool| (0..n).any(is_known);
        let seeds = has_twice(self.seeds.len(), &|place| self.seeds[..place].contains(&self.seeds[place]));
        range("seeds", !seeds, "a seed twice".into(), "different ones")?;
        let budgets =
            has_twice(self.budgets.len(), &|place| self.budgets[..place].contains(&self.budgets[place]));
        range("budgets", !budgets, "a budget twice".into(), "different ones")?;
        for (table, tuning) in
            [("fine_tuning", &self.fine_tuning), ("preference_tuning", &self.preference_tuning)]
        {
            at_least_one(&format!("{table}.batch_size"), tuning.batch_size)?;
            at_least_one(&format!("{table}.micro_batch_size"), tuning.micro_batch_size)?;
            positive(&format!("{table}.num_train_epochs"), tuning.num_train_epochs)?;
        }
        let conditional = self.moslim.conditional_share;
        range(
            "moslim.conditional_share",
            conditional >= 0.0 && conditional.is_finite(),
            conditional.to_string(),
            "0 or above",
        )?;
        at_least_one("ric.rounds", self.ric.rounds)?;
        share("ric.quantile", self.ric.quantile)?;
        positive("cpo.beta", self.cpo.beta)?;
        share("cpo.free", self.cpo.free)?;
        positive("modpo.beta", self.modpo.beta)?;
        for (table, sampling) in [("rejection_sampling", &self.rejection_sampling), ("dpa", &self.dpa)] {
            at_least_one(&format!("{table}.rounds"), sampling.rounds)?;
            positive(&format!("{table}.num_train_epochs"), sampling.num_train_epochs)?;
            share(&format!("{table}.older_share"), sampling.older_share)?;
        }
        share("steerlm2.first_share", self.steerlm2.first_share)
    }
}

/// How weights become levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LevelsOfWeights {
    /// The levels, of those that the maps give for any weights and of the highest together, whose answers are worth most to
    /// whoever weighs so: on questions of training, by the reward model.
    #[default]
    Best,
    /// [`PreferenceMap::Linear`], the lowest and the highest level being the ends of the range.
    Linear,
    /// [`PreferenceMap::L2`], in the same way.
    L2,
    /// [`PreferenceMap::Linf`], in the same way.
    Linf,
}

impl LevelsOfWeights {
    /// The map of this name, if there is one.
    pub(crate) fn map(self) -> Option<PreferenceMap> {
        match self {
            Self::Best => None,
            Self::Linear => Some(PreferenceMap::Linear),
            Self::L2 => Some(PreferenceMap::L2),
            Self::Linf => Some(PreferenceMap::Linf),
        }
    }
}

/// The methods that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// One policy that is asked for levels, trained on the mapped reward.
    Moslim,
    /// One policy per weighting, trained on the weighted sum of the rewards.
    Morlhf,
    /// One policy per reward, mixed in weight space.
    RewardedSoups,
    /// One policy per preference, merged as a person wants.
    PersonalizedSoups,
    /// One policy for all combinations of preferences.
    PMorl,
    /// Rewards-in-Context: one policy, fine-tuned on answers with their rewards in the prompt.
    Ric,
    /// Conditional fine-tuning, then preference optimisation under a condition.
    Cpo,
    /// DPO with the other objectives as a margin, once per weighting.
    Modpo,
    /// Fine-tuning on the best of several answers, for the levels asked for.
    RejectionSampling,
    /// Rejection sampling along a direction in the space of rewards.
    Dpa,
    /// A conditional model that learns what the classifier takes for the levels asked for.
    #[serde(rename = "steerlm2")]
    SteerLm2,
}

impl MethodName {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Moslim,
        Self::Morlhf,
        Self::RewardedSoups,
        Self::PersonalizedSoups,
        Self::PMorl,
        Self::Ric,
        Self::Cpo,
        Self::Modpo,
        Self::RejectionSampling,
        Self::Dpa,
        Self::SteerLm2,
    ];

    /// Its name in recipes, folders and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Moslim => "moslim",
            Self::Morlhf => "morlhf",
            Self::RewardedSoups => "rewarded-soups",
            Self::PersonalizedSoups => "personalized-soups",
            Self::PMorl => "p-morl",
            Self::Ric => "ric",
            Self::Cpo => "cpo",
            Self::Modpo => "modpo",
            Self::RejectionSampling => "rejection-sampling",
            Self::Dpa => "dpa",
            Self::SteerLm2 => "steerlm2",
        }
    }
}

/// A method with other settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantRecipe {
    /// Its name in folders, results and report.
    pub name: String,
    /// The method.
    pub method: MethodName,
    /// Changes to the recipe, as after `--set`, of `policy`, `mapping` and `comparison`; start policy and data are those of all.
    pub set: Vec<String>,
}

/// What is the same for all methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetName {
    /// The answers sampled in training: as many as policy optimisation by the table `policy` samples.
    Samples,
    /// The seconds of training that the first method took for its samples; the others' samples are as many as fit at their speed,
    /// as seen with the first seed.
    Seconds,
    /// The hypervolume of the first method; the others get twice the samples until they reach it, or half as long as they do.
    Quality,
}

impl BudgetName {
    /// Its name in recipes and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Seconds => "seconds",
            Self::Quality => "quality",
        }
    }
}

/// Whose judgement methods are trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardModels {
    /// One model with a head for every objective.
    #[default]
    Shared,
    /// A model of its own for every objective.
    Separate,
}

/// Training on examples that are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningRecipe {
    /// Times the examples are seen.
    pub num_train_epochs: f64,
    /// Examples per step.
    pub batch_size: usize,
    /// Examples whose gradient is computed at once; changes speed and memory, not the result.
    pub micro_batch_size: usize,
    /// The numbers in which the model is computed.
    #[serde(default)]
    pub precision: Precision,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
}
