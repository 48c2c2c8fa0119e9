//! From class probabilities and a request to one score.

use moslim_data::Request;
use serde::{Deserialize, Serialize};

use crate::stats::check_momentum;
use crate::{MappingError, Pessimism, TargetStats, formula};

/// How a reward model classifies one answer: the probability of every class of every head, `[n_heads][n_classes]`, ragged.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassProbabilities(pub Vec<Vec<f64>>);

impl ClassProbabilities {
    /// K for every head.
    pub(crate) fn n_classes(&self) -> Vec<usize> {
        self.0.iter().map(Vec::len).collect()
    }

    fn check(&self) -> Result<(), MappingError> {
        for (head, probabilities) in self.0.iter().enumerate() {
            if probabilities.len() < 2 {
                return Err(MappingError::TooFewClasses { head, found: probabilities.len() });
            }
            // A softmax in single precision may pass 1 by a rounding error.
            let is_probability = |p: &f64| (0.0..=1.0 + 1e-6).contains(p);
            if let Some(class) = probabilities.iter().position(|p| !is_probability(p)) {
                return Err(MappingError::Probability { head, class, found: probabilities[class] });
            }
        }
        Ok(())
    }
}

/// The term of one head, from its probabilities `p` over levels `c = 0..K` and the target level `t`.
///
/// `E = Σ_c c · p[c]` is the expected level.
/// Where `t` lies between two levels, `p[t]` is linear between their probabilities, that is, the target is two-hot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MappingKind {
    /// Reading A of the paper's formula, reconstructed: `(p[t] − avg) / (std + ε)` over the classes of this head and answer.
    ///
    /// It lies within `±sqrt(K − 1)`, is blind to confidence and to the order of levels, and is a sign for K = 2.
    ZWithinHead {
        /// ε, above 0: makes the uniform prediction 0 instead of 0/0.
        eps: f64,
        /// Which deviation is meant.
        ddof: Ddof,
        /// Whether to divide by `sqrt(K − 1)`, which makes heads with more classes no louder.
        scale_by_sqrt_k: bool,
    },
    /// Reading B, reconstructed: `(p[t] − mean) / std` with the statistics of this head and class over a calibration set.
    ///
    /// Between two levels the value is linear between theirs; a class that did not vary gives 0.
    ZDataset,
    /// Reading B online: as `ZDataset`, with the statistics of a [`RunningStats`](crate::RunningStats) that the caller keeps.
    ZRunning {
        /// The weight of a new batch in the statistics, above 0 and at most 1.
        momentum: f64,
    },
    /// `p[t]`
    Prob,
    /// `ln max(p[t], floor)`
    LogProb {
        /// The smallest probability that is told apart, above 0 and at most 1.
        floor: f64,
    },
    /// `−|E − t|`
    ExpectedLevelDistance {
        /// Whether to divide by `K − 1`.
        normalize: bool,
    },
    /// `−Σ_c p[c] · |c − t|`
    ExpectedAbsError {
        /// Whether to divide by `K − 1`.
        normalize: bool,
    },
    /// `p[t] − |E − t| / (K − 1)`: what `Prob` says, with the order of levels.
    ProbPlusDistance,
    /// `w · E / (K − 1)`, whatever the target: a plain weighted sum of rewards.
    WeightedSum {
        /// w, one per head.
        weights: Vec<f64>,
    },
}

impl MappingKind {
    /// The formula, with p the probabilities, t the target, E the expected level and K the number of levels.
    pub fn formula(&self) -> String {
        match self {
            Self::ZWithinHead { ddof, scale_by_sqrt_k, .. } => {
                let scale = if *scale_by_sqrt_k { " / sqrt(K - 1)" } else { "" };
                format!("(p[t] - 1/K) / (std + eps){scale}, std over the classes, ddof {}", u8::from(*ddof))
            }
            Self::ZDataset => "(p[t] - mean) / std, over the answers that the statistics come from".into(),
            Self::ZRunning { .. } => {
                "(p[t] - mean) / std, over the answers of policy optimisation so far".into()
            }
            Self::Prob => "p[t]".into(),
            Self::LogProb { floor } => format!("ln max(p[t], {floor})"),
            Self::ExpectedLevelDistance { normalize: false } => "-|E - t|".into(),
            Self::ExpectedLevelDistance { normalize: true } => "-|E - t| / (K - 1)".into(),
            Self::ExpectedAbsError { normalize: false } => "-sum p[c] |c - t|".into(),
            Self::ExpectedAbsError { normalize: true } => "-sum p[c] |c - t| / (K - 1)".into(),
            Self::ProbPlusDistance => "p[t] - |E - t| / (K - 1)".into(),
            Self::WeightedSum { weights } => format!("w E / (K - 1), w {weights:?}"),
        }
    }
}

/// The delta degrees of freedom of a standard deviation, written as 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Ddof {
    /// 0: the sum of squares divided by K.
    Population,
    /// 1: the sum of squares divided by K − 1.
    Sample,
}

impl TryFrom<u8> for Ddof {
    type Error = MappingError;

    fn try_from(ddof: u8) -> Result<Self, MappingError> {
        match ddof {
            0 => Ok(Self::Population),
            1 => Ok(Self::Sample),
            _ => Err(MappingError::Setting { setting: "ddof", found: ddof.into(), expected: "0 or 1" }),
        }
    }
}

impl From<Ddof> for u8 {
    fn from(ddof: Ddof) -> Self {
        match ddof {
            Ddof::Population => 0,
            Ddof::Sample => 1,
        }
    }
}

/// What the sum of the terms is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Divisor {
    /// k, the number of heads, as in the paper's formula: an answer to a request for one objective of two counts half.
    K,
    /// The number of heads that take part.
    MaskSum,
    /// 1.
    None,
}

impl Divisor {
    /// The number itself, for the terms of all heads.
    pub fn of(self, terms: &[Option<f64>]) -> f64 {
        match self {
            Self::K => terms.len() as f64,
            Self::MaskSum => terms.iter().flatten().count() as f64,
            Self::None => 1.0,
        }
    }
}

/// Which heads take part.
///
/// A mask by missing labels is a matter of reward-model training and is therefore not among these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskRule {
    /// The heads whose objective is asked for.
    AskedInPrompt,
    /// Every head; an objective that is left free counts as asked for its highest level.
    All,
}

/// How the classes that a reward model sees in an answer become one score for the levels asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardMapping {
    /// The term of one head.
    pub kind: MappingKind,
    /// What the sum of the terms is divided by.
    pub divisor: Divisor,
    /// Which heads take part.
    pub mask: MaskRule,
    /// What becomes of several opinions on an answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pessimism: Pessimism,
}

fn is_default(pessimism: &Pessimism) -> bool {
    *pessimism == Pessimism::default()
}

impl RewardMapping {
    /// A mapping that asks for no opinion but the model's own.
    pub fn new(kind: MappingKind, divisor: Divisor, mask: MaskRule) -> Self {
        Self { kind, divisor, mask, pessimism: Pessimism::None }
    }

    /// Checks the settings for a reward model with `n_heads` heads; [`terms`](Self::terms) and [`score`](Self::score) do so too.
    ///
    /// # Errors
    /// A setting out of its range, or a number of weights other than `n_heads`.
    pub fn check(&self, n_heads: usize) -> Result<(), MappingError> {
        let in_range = |is_in_range, setting, found, expected| {
            if is_in_range { Ok(()) } else { Err(MappingError::Setting { setting, found, expected }) }
        };
        if let Some((setting, found)) = self.pessimism.mistake() {
            return in_range(false, setting, found, "a finite number from 0 on");
        }
        match self.kind {
            MappingKind::ZWithinHead { eps, .. } => {
                in_range(eps > 0.0 && eps.is_finite(), "eps", eps, "a finite number above 0")
            }
            MappingKind::LogProb { floor } => {
                in_range(floor > 0.0 && floor <= 1.0, "floor", floor, "above 0 and at most 1")
            }
            MappingKind::ZRunning { momentum } => check_momentum(momentum),
            MappingKind::WeightedSum { ref weights } if weights.len() != n_heads => {
                Err(MappingError::NumberOfWeights { found: weights.len(), expected: n_heads })
            }
            MappingKind::WeightedSum { ref weights } => weights
                .iter()
                .try_for_each(|&weight| in_range(weight.is_finite(), "weights", weight, "finite numbers")),
            _ => Ok(()),
        }
    }

    /// Every head's own term, before the division; `None` for a head that does not take part.
    ///
    /// # Errors
    /// Settings, probabilities, a request or statistics that are out of range or do not fit each other;
    /// `ZDataset` and `ZRunning` need statistics, the other kinds ignore them.
    pub fn terms(
        &self,
        probabilities: &ClassProbabilities,
        request: &Request,
        stats: Option<&TargetStats>,
    ) -> Result<Vec<Option<f64>>, MappingError> {
        let [found, expected] = [probabilities.0.len(), request.levels.len()];
        if found != expected {
            return Err(MappingError::NumberOfHeads { found, expected });
        }
        self.check(found)?;
        probabilities.check()?;
        let targets = probabilities.0.iter().zip(&request.levels).enumerate();
        targets
            .map(|(head, (head_probabilities, &level))| {
                let highest = head_probabilities.len() - 1;
                let target = match (level, self.mask) {
                    (Some(found), _) if !(0.0..=highest as f64).contains(&found) => {
                        return Err(MappingError::Level { head, found, highest });
                    }
                    (None, MaskRule::AskedInPrompt) => return Ok(None),
                    (None, MaskRule::All) => highest as f64,
                    (Some(level), _) => level,
                };
                self.term(head, probabilities, target, stats).map(Some)
            })
            .collect()
    }

    /// The sum of the [`terms`](Self::terms), divided; 0 when no head takes part.
    ///
    /// # Errors
    /// As for [`terms`](Self::terms).
    ///
    /// ```
    /// use moslim_data::Request;
    /// use moslim_reward_mapping::{ClassProbabilities, Divisor, MappingKind, MaskRule, RewardMapping};
    ///
    /// let mapping = RewardMapping::new(MappingKind::Prob, Divisor::K, MaskRule::AskedInPrompt);
    /// let probabilities = ClassProbabilities(vec![vec![0.125, 0.125, 0.75], vec![0.5, 0.5]]);
    /// let request = Request { levels: vec![Some(2.0), None] };
    /// assert_eq!(mapping.terms(&probabilities, &request, None)?, [Some(0.75), None]);
    /// assert_eq!(mapping.score(&probabilities, &request, None)?, 0.375);
    /// # Ok::<(), moslim_reward_mapping::MappingError>(())
    /// ```
    pub fn score(
        &self,
        probabilities: &ClassProbabilities,
        request: &Request,
        stats: Option<&TargetStats>,
    ) -> Result<f64, MappingError> {
        let terms = self.terms(probabilities, request, stats)?;
        let sum: f64 = terms.iter().flatten().sum();
        Ok(if terms.iter().any(Option::is_some) { sum / self.divisor.of(&terms) } else { 0.0 })
    }

    fn term(
        &self,
        head: usize,
        probabilities: &ClassProbabilities,
        target: f64,
        stats: Option<&TargetStats>,
    ) -> Result<f64, MappingError> {
        let p = &probabilities.0[head];
        let highest = (p.len() - 1) as f64;
        let unit = |normalize: bool| if normalize { highest } else { 1.0 };
        let distance = (formula::expected_level(p) - target).abs();
        Ok(match self.kind {
            MappingKind::ZWithinHead { eps, ddof, scale_by_sqrt_k } => {
                formula::z_within_head(p, target, eps, ddof) / unit(scale_by_sqrt_k).sqrt()
            }
            MappingKind::ZDataset | MappingKind::ZRunning { .. } => {
                let stats = stats.ok_or(MappingError::MissingStats)?;
                stats.check_shape(probabilities.n_classes())?;
                stats.z(head, p, target)
            }
            MappingKind::Prob => formula::target_probability(p, target),
            MappingKind::LogProb { floor } => formula::target_probability(p, target).max(floor).ln(),
            MappingKind::ExpectedLevelDistance { normalize } => -distance / unit(normalize),
            MappingKind::ExpectedAbsError { normalize } => {
                -formula::expected_abs_error(p, target) / unit(normalize)
            }
            MappingKind::ProbPlusDistance => formula::target_probability(p, target) - distance / highest,
            MappingKind::WeightedSum { ref weights } => weights[head] * formula::expected_level(p) / highest,
        })
    }
}
