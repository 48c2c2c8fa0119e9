//! Rewards-in-Context, RiC ([Yang et al. 2024](https://arxiv.org/abs/2402.10207)): one model, fine-tuned on answers whose rewards stand
//! as numbers in the prompt; a person's preference becomes the numbers to ask for.
//!
//! 1. **Offline**: every reward is normalised over the data set, `z = (r − mean)/std`, and written into its prompt
//!    ([`MeanStd::of_columns`](crate::MeanStd::of_columns), [`RewardTokens::append`]); fine-tuning on the answers.
//! 2. **Online**, round by round: prompts and targets are drawn ([`draw_prompts`], [`draw_target`]), answered and scored;
//!    the scores obtained replace the target in the prompt ([`RewardTokens::relabel`]);
//!    answers that are good in something stay ([`quantile_filter`]) and are mixed with such of the original data ([`draw_originals`]).
//! 3. **Inference**: weights of objectives become rewards to ask for ([`PreferenceMap`]).

mod online;

pub use online::{clean_answer, draw_originals, draw_prompts, draw_target, quantile_filter};

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_length, check_table};
use crate::statistics::{column, quantile};
use crate::{BaselineError, Mode, Weights};

/// The weights of three rewards at which RiC's released code evaluates; it writes a third as 0.33.
pub const EVALUATION_WEIGHTS_OF_THREE: [[f64; 3]; 13] = [
    [0.0, 0.0, 1.0],
    [0.0, 1.0, 0.0],
    [0.1, 0.1, 0.8],
    [0.1, 0.8, 0.1],
    [0.2, 0.2, 0.6],
    [0.2, 0.4, 0.4],
    [0.2, 0.6, 0.2],
    [1.0 / 3.0; 3],
    [0.4, 0.4, 0.2],
    [0.4, 0.2, 0.4],
    [0.6, 0.2, 0.2],
    [0.8, 0.1, 0.1],
    [1.0, 0.0, 0.0],
];

/// Rewards are written with one decimal; there is no negative zero.
pub(crate) fn to_tenths(reward: f64) -> f64 {
    (reward * 10.0).round_ties_even() / 10.0 + 0.0
}

/// How rewards stand in a prompt: `<rm1_score> 0.5 <rm2_score> -1.2`.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardTokens {
    names: Vec<String>,
}

impl RewardTokens {
    /// Tokens with the numbers of the rewards, as in the released code.
    ///
    /// # Errors
    /// If there is no reward.
    pub fn numbered(n_objectives: usize) -> Result<Self, BaselineError> {
        Self::named((1..=n_objectives).map(|number| format!("rm{number}_score")).collect())
    }

    /// Tokens with names of their own, written `<name>`.
    ///
    /// # Errors
    /// If there is no name, one stands twice, is empty, or has white space, `<` or `>` in it.
    pub fn named(names: Vec<String>) -> Result<Self, BaselineError> {
        if names.is_empty() {
            return Err(BaselineError::Empty { what: "objectives" });
        }
        let is_wrong = |(index, name): &(usize, &String)| {
            let separates = |c: char| c.is_whitespace() || "<>".contains(c);
            name.is_empty() || name.contains(separates) || names[..*index].contains(name)
        };
        match names.iter().enumerate().find(is_wrong) {
            Some((_, found)) => Err(BaselineError::Text {
                what: "name of a reward",
                found: found.clone(),
                expected: "another name for every reward, without white space, `<` and `>`",
            }),
            None => Ok(Self { names }),
        }
    }

    /// The rewards as text, with one decimal.
    ///
    /// # Errors
    /// If there is not one finite reward per token.
    pub fn text(&self, rewards: &[f64]) -> Result<String, BaselineError> {
        check_length("rewards", rewards.len(), self.names.len())?;
        check_finite("reward", rewards)?;
        let token = |(name, &reward): (&String, &f64)| format!("<{name}> {:.1}", to_tenths(reward));
        Ok(self.names.iter().zip(rewards).map(token).collect::<Vec<_>>().join(" "))
    }

    /// The prompt with rewards behind it.
    ///
    /// # Errors
    /// If there is not one finite reward per token.
    ///
    /// ```
    /// let tokens = moslim_baselines::RewardTokens::numbered(2)?;
    /// assert_eq!(tokens.append("Why?", &[0.52, -1.16])?, "Why? <rm1_score> 0.5 <rm2_score> -1.2");
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn append(&self, prompt: &str, rewards: &[f64]) -> Result<String, BaselineError> {
        Ok(format!("{prompt} {}", self.text(rewards)?))
    }

    /// The prompt and the rewards behind it; the inverse of [`append`](Self::append) up to the rounding.
    ///
    /// # Errors
    /// If the text does not end in such rewards.
    pub fn split<'t>(&self, text: &'t str) -> Result<(&'t str, Vec<f64>), BaselineError> {
        let no_rewards =
            || BaselineError::Text { what: "prompt", found: text.into(), expected: "rewards at its end" };
        self.read(text).ok_or_else(no_rewards)
    }

    fn read<'t>(&self, text: &'t str) -> Option<(&'t str, Vec<f64>)> {
        // From the end, so that rewards that the prompt itself quotes stay in it.
        let (mut rest, mut rewards) = (text, Vec::new());
        for name in self.names.iter().rev() {
            let (before, reward) = rest.rsplit_once(' ')?;
            rest = before.strip_suffix(&format!(" <{name}>"))?;
            let reward: f64 = reward.parse().ok()?;
            rewards.push(Some(reward).filter(|reward| reward.is_finite())?);
        }
        rewards.reverse();
        Some((rest, rewards))
    }

    /// The same prompt with the rewards that its answer obtained in the place of those that were asked for.
    ///
    /// # Errors
    /// If the text does not end in rewards, or there is not one finite reward per token.
    pub fn relabel(&self, text: &str, obtained: &[f64]) -> Result<String, BaselineError> {
        self.append(self.split(text)?.0, obtained)
    }
}

/// The rewards that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardRange {
    /// The lowest reward.
    pub low: f64,
    /// The highest reward.
    pub high: f64,
}

impl RewardRange {
    fn of(values: &[f64]) -> Self {
        let range = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };
        values
            .iter()
            .fold(range, |range, &value| Self { low: range.low.min(value), high: range.high.max(value) })
    }

    /// The reward at a share of the way from the lowest to the highest.
    pub(crate) fn at(self, share: f64) -> f64 {
        share * (self.high - self.low) + self.low
    }
}

/// Where the ranges of normalised rewards come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RangeSource {
    /// The lowest and the highest reward of the data.
    Data,
    /// The lowest and the highest of so many draws of N(0, 1), anew for every objective; the data may not reach them.
    Gaussian {
        /// Draws.
        n_draws: usize,
    },
}

impl RangeSource {
    /// The source for targets of online rounds: the data, or 100 000 draws.
    pub fn online(mode: Mode) -> Self {
        match mode {
            Mode::Paper => Self::Data,
            Mode::ReleasedCode => Self::Gaussian { n_draws: 100_000 },
        }
    }

    /// The source for preferences at inference: the data, or 50 000 draws.
    pub fn inference(mode: Mode) -> Self {
        match mode {
            Mode::Paper => Self::Data,
            Mode::ReleasedCode => Self::Gaussian { n_draws: 50_000 },
        }
    }

    /// The range of every objective.
    ///
    /// # Shapes
    /// - `rewards`: normalised, `[n_answers][n_objectives]`
    /// - returns: `[n_objectives]`
    ///
    /// # Errors
    /// If there are no rewards, rows differ in length, a reward is infinite or no number, or there are no draws.
    pub fn ranges(self, rewards: &[Vec<f64>], rng: &mut impl Rng) -> Result<Vec<RewardRange>, BaselineError> {
        let objectives = 0..check_table(rewards)?;
        match self {
            Self::Data => {
                Ok(objectives.map(|objective| RewardRange::of(&column(rewards, objective))).collect())
            }
            Self::Gaussian { n_draws: 0 } => Err(BaselineError::Empty { what: "draws" }),
            Self::Gaussian { n_draws } => {
                let draws =
                    |rng: &mut _| (0..n_draws).map(|_| StandardNormal.sample(rng)).collect::<Vec<f64>>();
                Ok(objectives.map(|_| RewardRange::of(&draws(rng))).collect())
            }
        }
    }
}

/// How weights of objectives become rewards to ask for, all rounded to tenths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreferenceMap {
    /// `w_i (high_i − low_i) + low_i`
    Linear,
    /// `w_i/‖w‖₂ (high_i − low_i) + low_i`, which the released code evaluates with.
    L2,
    /// `min(N w_i, 1) (high_i − low_i) + low_i`: the highest reward for the largest weight, which is at least `1/N`.
    Linf,
}

impl PreferenceMap {
    /// The rewards to ask for.
    ///
    /// # Shapes
    /// - `weights`, `ranges`, returns: `[n_objectives]`
    ///
    /// # Errors
    /// If there is not one range per weight, or a range is empty or infinite.
    ///
    /// ```
    /// use moslim_baselines::{PreferenceMap, RewardRange, Weights};
    /// let range = RewardRange { low: -4.3, high: 4.2 };
    /// let weights = Weights::new(vec![0.3, 0.7])?;
    /// assert_eq!(PreferenceMap::L2.targets(&weights, &[range; 2])?, [-1.0, 3.5]);
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn targets(self, weights: &Weights, ranges: &[RewardRange]) -> Result<Vec<f64>, BaselineError> {
        let weights = weights.as_slice();
        check_ranges(ranges)?;
        check_length("ranges", ranges.len(), weights.len())?;
        let norm = weights.iter().map(|weight| weight.powi(2)).sum::<f64>().sqrt();
        let share = |weight: &f64| match self {
            Self::Linear => *weight,
            Self::L2 => weight / norm,
            Self::Linf => (weights.len() as f64 * weight).min(1.0),
        };
        let shares = weights.iter().map(share);
        Ok(shares.zip(ranges).map(|(share, range)| to_tenths(range.at(share))).collect())
    }
}

/// Refuses ranges that are infinite or turned round.
pub(crate) fn check_ranges(ranges: &[RewardRange]) -> Result<(), BaselineError> {
    for &RewardRange { low, high } in ranges {
        check_finite("end of a range", &[low, high])?;
        if low > high {
            return Err(BaselineError::Number {
                what: "low end of a range",
                found: low,
                expected: "at most the high end",
            });
        }
    }
    Ok(())
}

/// The option `balancing_rewards` of the released code, for one objective's rewards: both tails reach as far.
///
/// Clipped to ±10, positive rewards times `4/q(0.9999)`, negative ones times `−4/q(0.0001)`, clipped to ±4.
/// A side without rewards beyond 0 at its quantile stays as it is.
///
/// # Errors
/// If there are none, or one is infinite or no number.
pub fn balance_rewards(rewards: &[f64]) -> Result<Vec<f64>, BaselineError> {
    if rewards.is_empty() {
        return Err(BaselineError::Empty { what: "rewards" });
    }
    check_finite("reward", rewards)?;
    let clipped: Vec<f64> = rewards.iter().map(|reward| reward.clamp(-10.0, 10.0)).collect();
    let [lowest, highest] = [0.0001, 0.9999].map(|share| quantile(&clipped, share));
    let balanced = clipped.into_iter().map(|reward| match reward {
        _ if reward > 0.0 && highest > 0.0 => reward * 4.0 / highest,
        _ if reward < 0.0 && lowest < 0.0 => reward * -4.0 / lowest,
        _ => reward,
    });
    Ok(balanced.map(|reward| reward.clamp(-4.0, 4.0)).collect())
}

#[cfg(test)]
mod tests;
