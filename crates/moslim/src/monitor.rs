//! Signs of trouble in policy optimisation.
//!
//! ```
//! use moslim::monitor::{Monitor, MonitorConfig, Sign, Vitals};
//!
//! let mut monitor = Monitor::new(MonitorConfig::default())?;
//! let healthy = Vitals { entropy: 2.0, mean_length: 100.0, grad_norm: 1.0, ..Vitals::default() };
//! for step in 1..=20 {
//!     assert!(monitor.observe(&Vitals { step, ..healthy }).is_empty());
//! }
//! let warnings = monitor.observe(&Vitals { step: 21, grad_norm: f64::NAN, ..healthy });
//! assert_eq!(warnings[0].sign, Sign::GradientSpike);
//! # Ok::<(), moslim::monitor::MonitorConfigError>(())
//! ```

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

mod config;
mod signs;
mod state;
#[cfg(test)]
mod tests;

pub use config::{MonitorConfig, MonitorConfigError};
pub use state::MonitorState;

use signs::{Examination, Reading};

/// What a step of policy optimisation shows; means over its answers where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// The step.
    pub step: usize,
    /// The score.
    pub score: f64,
    /// The divergence from the reference, summed over the answer, in nats.
    pub kl: f64,
    /// The entropy per token, in nats.
    pub entropy: f64,
    /// The length, in tokens.
    pub mean_length: f64,
    /// The norm of the gradient before it was clipped.
    pub grad_norm: f64,
    /// The largest |ρ − 1| of a token before the first update.
    pub ratio_error: f64,
    /// The share of 4-grams that occurred before in the answer, see [`repeated_ngrams`].
    pub repeated: f64,
    /// The share of answers without an end token.
    pub clipped_ratio: f64,
    /// What answers to held-out prompts score by the reward that is trained on (the proxy) and by one that is not (gold).
    ///
    /// Only at steps that looked.
    pub held_out: Option<(f64, f64)>,
}

/// A sign of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// The policy says nearly the same every time.
    EntropyCollapse,
    /// Answers have become short.
    LengthCollapse,
    /// Answers have become long, or do not end.
    LengthExplosion,
    /// Answers repeat themselves.
    RepeatedText,
    /// The policy is far from the reference.
    KlDivergence,
    /// Sampling and training do not compute the same probabilities.
    RatioDivergence,
    /// The gradient is far larger than usual.
    GradientSpike,
    /// The proxy score rises while the gold score falls.
    RewardHacking,
}

impl Sign {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::EntropyCollapse,
        Self::LengthCollapse,
        Self::LengthExplosion,
        Self::RepeatedText,
        Self::KlDivergence,
        Self::RatioDivergence,
        Self::GradientSpike,
        Self::RewardHacking,
    ];

    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::EntropyCollapse => "entropy-collapse",
            Self::LengthCollapse => "length-collapse",
            Self::LengthExplosion => "length-explosion",
            Self::RepeatedText => "repeated-text",
            Self::KlDivergence => "kl-divergence",
            Self::RatioDivergence => "ratio-divergence",
            Self::GradientSpike => "gradient-spike",
            Self::RewardHacking => "reward-hacking",
        }
    }
}

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A sign of trouble that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The step at which it was sure.
    pub step: usize,
    /// Which one.
    pub sign: Sign,
    /// The number, what it was before, and what that usually means.
    pub message: String,
}

/// Watches the steps of a run.
///
/// A sign is told of once, when it begins, and again only after it was gone for [`MonitorConfig::end_after`] steps.
#[derive(Clone, Debug)]
pub struct Monitor {
    config: MonitorConfig,
    state: MonitorState,
}

impl Monitor {
    /// Begins with the first step.
    ///
    /// # Errors
    /// If a threshold makes no sense.
    pub fn new(config: MonitorConfig) -> Result<Self, MonitorConfigError> {
        Self::resume(config, MonitorState::default())
    }

    /// Goes on after the steps that a state remembers; the thresholds may be others.
    ///
    /// # Errors
    /// If a threshold makes no sense.
    pub fn resume(config: MonitorConfig, state: MonitorState) -> Result<Self, MonitorConfigError> {
        config.check()?;
        Ok(Self { config, state })
    }

    /// What is remembered, for a checkpoint.
    pub fn state(&self) -> &MonitorState {
        &self.state
    }

    /// The signs that are there now.
    pub fn active(&self) -> impl Iterator<Item = Sign> {
        self.state.episodes.iter().filter(|(_, episode)| episode.active).map(|(&sign, _)| sign)
    }

    /// Looks at a step and returns the signs that begin with it.
    pub fn observe(&mut self, vitals: &Vitals) -> Vec<Warning> {
        if let Some(look) = vitals.held_out {
            self.state.note_look(look, &self.config);
        }
        let warnings = Sign::ALL.into_iter().filter_map(|sign| self.examine(sign, vitals)).collect();
        self.state.note(vitals, &self.config);
        warnings
    }

    fn examine(&mut self, sign: Sign, vitals: &Vitals) -> Option<Warning> {
        let Self { config, state } = self;
        let (begin_after, end_after) = match sign {
            // Looks are counted, not steps.
            Sign::RewardHacking => (1, config.held_out_looks),
            _ => (config.begin_after, config.end_after),
        };
        let (begin_after, message) = match (Examination { vitals, state, config }).read(sign) {
            Reading::Unknown => return None,
            Reading::Healthy => (begin_after, None),
            Reading::Sick { message, at_once } => (if at_once { 1 } else { begin_after }, Some(message)),
        };
        let episode = state.episodes.entry(sign).or_default();
        let begins = episode.follow(message.is_some(), begin_after, end_after);
        message.filter(|_| begins).map(|message| Warning { step: vitals.step, sign, message })
    }
}

/// The share of an answer's n-grams that occurred before in it: 0 if it has none, or no two are alike.
///
/// ```
/// use moslim::monitor::repeated_ngrams;
/// // 1 2, 2 1, 1 2, 2 1: the last two occurred before.
/// assert_eq!(repeated_ngrams(&[1, 2, 1, 2, 1], 2), 0.5);
/// ```
pub fn repeated_ngrams(tokens: &[u32], n: usize) -> f64 {
    if n == 0 || tokens.len() < n {
        return 0.0;
    }
    let mut seen = HashSet::new();
    let repeated = tokens.windows(n).filter(|ngram| !seen.insert(*ngram)).count();
    repeated as f64 / (tokens.len() + 1 - n) as f64
}
