//! How the scores of several opinions become one.

use moslim_data::Request;
use serde::{Deserialize, Serialize};

use crate::{ClassProbabilities, MappingError, RewardMapping, TargetStats};

/// How much the score of an answer is lowered where opinions on it differ, the draws of a posterior or the members of an ensemble.
///
/// `s_m` is the score of opinion m, and mean, variance and deviation are over opinions (population, not sample).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pessimism {
    /// The model's own score; other opinions are not asked.
    #[default]
    None,
    /// `mean s_m`
    Mean,
    /// `min s_m`, worst-case optimisation ([Coste et al. 2024](https://arxiv.org/abs/2310.02743), eq. 3).
    WorstCase,
    /// `mean s_m − λ var s_m`, uncertainty-weighted optimisation (Coste et al. 2024, eq. 4).
    MeanMinusVariance {
        /// λ, from 0 on.
        lambda: f64,
    },
    /// `mean s_m − k std s_m` ([Yang et al. 2024](https://arxiv.org/abs/2402.13210)).
    MeanMinusDeviation {
        /// k, from 0 on.
        k: f64,
    },
}

impl Pessimism {
    /// Whether other opinions are asked.
    pub fn asks(&self) -> bool {
        *self != Self::None
    }

    /// The number that is not finite or below 0, with its name.
    pub(crate) fn mistake(&self) -> Option<(&'static str, f64)> {
        let found = match *self {
            Self::MeanMinusVariance { lambda } => ("lambda", lambda),
            Self::MeanMinusDeviation { k } => ("k", k),
            _ => return None,
        };
        (!(found.1 >= 0.0 && found.1.is_finite())).then_some(found)
    }

    /// The scores of opinions as one; `own` is the model's own score, which stands alone if nobody else is asked.
    ///
    /// ```
    /// use moslim_reward_mapping::Pessimism;
    ///
    /// let uncertain = Pessimism::MeanMinusVariance { lambda: 0.5 }; // 2 − ½ · ⅔
    /// assert!((uncertain.combine(0.0, &[1.0, 2.0, 3.0]) - 1.666667).abs() < 1e-6);
    /// assert_eq!(Pessimism::WorstCase.combine(0.0, &[1.0, 2.0, 3.0]), 1.0);
    /// assert_eq!(Pessimism::None.combine(0.5, &[]), 0.5);
    /// ```
    ///
    /// # Panics
    /// If others are asked and there are none.
    pub fn combine(&self, own: f64, opinions: &[f64]) -> f64 {
        if !self.asks() {
            return own;
        }
        assert!(!opinions.is_empty(), "{self:?} needs opinions");
        let (mean, deviation) = mean_and_deviation(opinions);
        match *self {
            Self::None => own,
            Self::Mean => mean,
            Self::WorstCase => opinions.iter().copied().fold(f64::INFINITY, f64::min),
            Self::MeanMinusVariance { lambda } => mean - lambda * deviation * deviation,
            Self::MeanMinusDeviation { k } => mean - k * deviation,
        }
    }
}

/// The mean and the population standard deviation of what several opinions say; NaN without any.
///
/// ```
/// assert_eq!(moslim_reward_mapping::mean_and_deviation(&[1.0, 3.0]), (2.0, 1.0));
/// ```
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

impl RewardMapping {
    /// The [`score`](Self::score) of an answer on which there are several opinions, combined as [`Pessimism`] says.
    ///
    /// # Errors
    /// As for [`score`](Self::score), and if the mapping asks for opinions and there are none.
    pub fn score_opinions(
        &self,
        own: &ClassProbabilities,
        opinions: &[ClassProbabilities],
        request: &Request,
        stats: Option<&TargetStats>,
    ) -> Result<f64, MappingError> {
        let of_own = self.score(own, request, stats)?;
        if !self.pessimism.asks() {
            return Ok(of_own);
        }
        if opinions.is_empty() {
            return Err(MappingError::MissingOpinions);
        }
        let scores = opinions.iter().map(|opinion| self.score(opinion, request, stats));
        Ok(self.pessimism.combine(of_own, &scores.collect::<Result<Vec<f64>, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Divisor, MappingKind, MaskRule};

    #[test]
    fn opinions_are_combined_by_hand() {
        // p[1] is 0.5, 0.7, 0.9: mean 0.7, population variance 0.08/3.
        let opinion = |p: f64| ClassProbabilities(vec![vec![1.0 - p, p]]);
        let opinions = [0.5, 0.7, 0.9].map(opinion);
        let request = Request { levels: vec![Some(1.0)] };
        let score = |pessimism| {
            let mapping = RewardMapping {
                pessimism,
                ..RewardMapping::new(MappingKind::Prob, Divisor::K, MaskRule::All)
            };
            mapping.score_opinions(&opinion(0.75), &opinions, &request, None)
        };
        let variance: f64 = 0.08 / 3.0;
        for (pessimism, expected) in [
            (Pessimism::None, 0.75),
            (Pessimism::Mean, 0.7),
            (Pessimism::WorstCase, 0.5),
            (Pessimism::MeanMinusVariance { lambda: 3.0 }, 0.7 - 0.08),
            (Pessimism::MeanMinusDeviation { k: 2.0 }, 0.7 - 2.0 * variance.sqrt()),
        ] {
            let found = score(pessimism).unwrap();
            assert!((found - expected).abs() < 1e-12, "{pessimism:?}: {found}");
        }
        let message = score(Pessimism::MeanMinusDeviation { k: f64::NAN }).unwrap_err().to_string();
        assert_eq!(message, "k: NaN, expected a finite number from 0 on");
    }

    #[test]
    fn asking_where_nobody_is_there_is_an_error() {
        let mapping = RewardMapping {
            pessimism: Pessimism::WorstCase,
            ..RewardMapping::new(MappingKind::Prob, Divisor::K, MaskRule::All)
        };
        let own = ClassProbabilities(vec![vec![0.5, 0.5]]);
        let request = Request { levels: vec![Some(1.0)] };
        let error = mapping.score_opinions(&own, &[], &request, None).unwrap_err();
        assert_eq!(error, MappingError::MissingOpinions);
    }
}
