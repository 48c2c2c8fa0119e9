//! The algorithms by name, and what they have in common to be set.

use serde::{Deserialize, Serialize};

use crate::experience::Experience;
use crate::learner::{Learner, Update};
use crate::ops::AdaptiveKl;
use crate::{BestOfNConfig, GrpoConfig, OnlineDpoConfig, PpoConfig, RlooConfig};

/// What a policy is trained with.
#[derive(Clone, Debug, PartialEq)]
pub enum Algorithm {
    /// REINFORCE leave-one-out.
    Rloo(RlooConfig),
    /// Proximal policy optimisation.
    Ppo(PpoConfig),
    /// DPO on pairs of the policy's own answers.
    OnlineDpo(OnlineDpoConfig),
    /// Supervised fine-tuning on the best of several answers.
    BestOfN(BestOfNConfig),
    /// Group-relative policy optimisation.
    Grpo(GrpoConfig),
}

/// Where the divergence from the reference is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPlacement {
    /// In the reward, by K1 and without gradient.
    Reward,
    /// In the loss, by K2 and with gradient.
    Loss,
}

/// The KL term.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlConfig {
    /// β, its weight; the first one if it adapts.
    pub beta: f64,
    /// Where it is.
    pub placement: KlPlacement,
    /// How the weight follows the divergence; it stays if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveKl>,
}

impl KlConfig {
    /// A term of fixed weight in the reward.
    pub fn in_reward(beta: f64) -> Self {
        Self { beta, placement: KlPlacement::Reward, adaptive: None }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key}: found {found}, expected {expected}")]
pub struct SettingError {
    /// The setting, below its table.
    pub key: String,
    /// What it says.
    pub found: String,
    /// What it may say.
    pub expected: &'static str,
}

/// Checks a number against a range.
pub(crate) fn check(
    key: &str,
    found: f64,
    is_in_range: bool,
    expected: &'static str,
) -> Result<(), SettingError> {
    match is_in_range {
        true => Ok(()),
        false => Err(SettingError { key: key.into(), found: found.to_string(), expected }),
    }
}

impl Algorithm {
    /// Its name in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rloo(_) => "rloo",
            Self::Ppo(_) => "ppo",
            Self::OnlineDpo(_) => "online-dpo",
            Self::BestOfN(_) => "best-of-n",
            Self::Grpo(_) => "grpo",
        }
    }

    /// The KL term, for algorithms that have one; that of Online DPO is its loss.
    pub fn kl(&self) -> Option<&KlConfig> {
        match self {
            Self::Rloo(config) => Some(&config.kl),
            Self::Ppo(config) => Some(&config.kl),
            Self::Grpo(config) => Some(&config.kl),
            Self::BestOfN(config) => Some(&config.kl),
            Self::OnlineDpo(_) => None,
        }
    }

    /// The fewest answers to a prompt that it can learn from.
    pub fn least_generations(&self) -> usize {
        match self {
            Self::Ppo(_) | Self::BestOfN(_) => 1,
            Self::Rloo(_) | Self::OnlineDpo(_) | Self::Grpo(_) => 2,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn check(&self) -> Result<(), SettingError> {
        const WEIGHT: &str = "a number from 0 on";
        const CLIP: &str = "above 0";
        let weight = |key: &str, found: f64| check(key, found, found >= 0.0 && found.is_finite(), WEIGHT);
        let clip = |key: &str, found: f64| check(key, found, found > 0.0, CLIP);
        let share = |key: &str, found: f64| check(key, found, (0.0..=1.0).contains(&found), "from 0 to 1");
        if let Some(kl) = self.kl() {
            weight("kl.beta", kl.beta)?;
            if let Some(AdaptiveKl { target, horizon }) = kl.adaptive {
                clip("kl.adaptive.target", target)?;
                clip("kl.adaptive.horizon", horizon)?;
            }
        }
        match self {
            Self::Rloo(RlooConfig { epsilon, .. }) | Self::Grpo(GrpoConfig { epsilon, .. }) => {
                clip("epsilon", *epsilon)
            }
            Self::Ppo(config) => {
                share("gamma", config.gamma)?;
                share("lam", config.lam)?;
                clip("cliprange", config.cliprange)?;
                clip("cliprange_value", config.cliprange_value)?;
                weight("vf_coef", config.vf_coef)
            }
            Self::OnlineDpo(config) => clip("beta", config.beta),
            Self::BestOfN(_) => Ok(()),
        }
    }

    /// Learns from a step's answers.
    pub(crate) fn learn(&self, learner: &mut Learner, experience: &Experience<'_>) -> Update {
        match self {
            Self::Rloo(config) => config.learn(learner, experience),
            Self::Ppo(config) => config.learn(learner, experience),
            Self::OnlineDpo(config) => config.learn(learner, experience),
            Self::BestOfN(config) => config.learn(learner, experience),
            Self::Grpo(config) => config.learn(learner, experience),
        }
    }
}
