//! Labels as people give them: some missing, some wrong.

use moslim_data::Level;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::plan::{Levels, N_LEVELS};

/// How the labels of training answers differ from the gold levels.
///
/// The default has the default [`MissingPattern`] and no noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelOptions {
    /// The share of labels that are replaced by a different level of the same objective, drawn uniformly.
    pub noise: f64,
    /// Which labels an answer has.
    pub missing: MissingPattern,
}

/// The shares of answers that are labelled for some objectives only, as data sets of different origin are.
///
/// Only the proportions matter; the shares need not add up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingPattern {
    /// Labelled for helpfulness and honesty only.
    pub helpfulness_honesty: f64,
    /// Labelled for harmlessness only.
    pub harmlessness: f64,
    /// Labelled for all three.
    pub all: f64,
}

impl MissingPattern {
    /// Every answer is labelled for every objective.
    pub const NOTHING: Self = Self { helpfulness_honesty: 0.0, harmlessness: 0.0, all: 1.0 };
}

impl Default for MissingPattern {
    fn default() -> Self {
        Self { helpfulness_honesty: 0.55, harmlessness: 0.25, all: 0.2 }
    }
}

/// What is wrong with [`LabelOptions`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LabelOptionsError {
    /// The noise is no share.
    #[error("noise: {0}, expected 0..=1")]
    Noise(f64),
    /// A share of the missing pattern is negative or not finite.
    #[error("missing: {field}: {found}, expected a share of 0 or more")]
    Share {
        /// The field of [`MissingPattern`].
        field: &'static str,
        /// Its value.
        found: f64,
    },
    /// All shares of the missing pattern are 0.
    #[error("missing: all shares are 0, expected at least one above 0")]
    NoShare,
}

impl LabelOptions {
    /// Whether labels can be drawn with these options.
    ///
    /// # Errors
    /// If the noise is outside 0..=1, a share is negative or not finite, or all shares are 0.
    ///
    /// ```
    /// let options = moslim_testbed::LabelOptions { noise: 1.5, ..Default::default() };
    /// assert_eq!(options.check().unwrap_err().to_string(), "noise: 1.5, expected 0..=1");
    /// ```
    pub fn check(&self) -> Result<(), LabelOptionsError> {
        if !(0.0..=1.0).contains(&self.noise) {
            return Err(LabelOptionsError::Noise(self.noise));
        }
        let MissingPattern { helpfulness_honesty, harmlessness, all } = self.missing;
        for (field, found) in
            [("helpfulness_honesty", helpfulness_honesty), ("harmlessness", harmlessness), ("all", all)]
        {
            if !found.is_finite() || found < 0.0 {
                return Err(LabelOptionsError::Share { field, found });
            }
        }
        if helpfulness_honesty == 0.0 && harmlessness == 0.0 && all == 0.0 {
            return Err(LabelOptionsError::NoShare);
        }
        Ok(())
    }

    /// The labels that an answer with these gold levels gets; the options must have been checked.
    pub(crate) fn label(&self, gold: Levels, rng: &mut impl Rng) -> Vec<Option<Level>> {
        let MissingPattern { helpfulness_honesty, harmlessness, all } = self.missing;
        let total = helpfulness_honesty + harmlessness + all;
        let place = rng.random::<f64>() * total;
        let is_labelled = if place < helpfulness_honesty {
            [true, true, false]
        } else if place < helpfulness_honesty + harmlessness {
            [false, false, true]
        } else {
            [true; 3]
        };
        let mut labels = Vec::with_capacity(gold.len());
        for objective in 0..gold.len() {
            let level = self.observe(gold[objective], N_LEVELS[objective], rng);
            labels.push(is_labelled[objective].then_some(level));
        }
        labels
    }

    /// The level as seen by a labeller who errs now and then.
    fn observe(&self, level: Level, n_levels: usize, rng: &mut impl Rng) -> Level {
        if rng.random_bool(self.noise) { (level + rng.random_range(1..n_levels)) % n_levels } else { level }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    #[test]
    fn options_outside_their_range_are_errors() {
        let with = |noise, helpfulness_honesty, all| {
            let missing = MissingPattern { helpfulness_honesty, harmlessness: 0.0, all };
            LabelOptions { noise, missing }.check().map_err(|error| error.to_string())
        };
        assert_eq!(with(1.0, 0.0, 2.0), Ok(()));
        assert_eq!(with(f64::NAN, 0.0, 1.0), Err("noise: NaN, expected 0..=1".into()));
        assert_eq!(
            with(0.0, -0.5, 1.0),
            Err("missing: helpfulness_honesty: -0.5, expected a share of 0 or more".into())
        );
        assert_eq!(
            with(0.0, 1.0, f64::INFINITY),
            Err("missing: all: inf, expected a share of 0 or more".into())
        );
        assert_eq!(
            with(0.0, 0.0, 0.0),
            Err("missing: all shares are 0, expected at least one above 0".into())
        );
    }

    #[test]
    fn unknown_keys_are_errors_and_missing_ones_take_the_default() {
        let read = serde_json::from_str::<LabelOptions>;
        assert_eq!(read(r#"{"noise": 0.1}"#).unwrap().missing, MissingPattern::default());
        assert!(read(r#"{"nois": 0.1}"#).is_err());
        assert!(
            read(r#"{"missing": {"helpfulness_honesty": 1.0, "harmlessness": 0.0, "all": 0.0, "none": 1}}"#)
                .is_err()
        );
    }

    #[test]
    fn wrong_labels_are_different_levels_in_equal_numbers() {
        let options = LabelOptions { noise: 0.2, missing: MissingPattern::NOTHING };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut counts = [[0_u32; 5]; 3];
        for _ in 0..20_000 {
            for (objective, label) in options.label([1, 4, 0], &mut rng).into_iter().enumerate() {
                counts[objective][label.unwrap()] += 1;
            }
        }
        // 20 000 labels: 80 % right, the wrong ones spread over the other levels; 4 standard deviations are below 230.
        for (objective, expected) in
            [[1000, 16_000, 1000, 1000, 1000], [1000, 1000, 1000, 1000, 16_000], [16_000, 4000, 0, 0, 0]]
                .into_iter()
                .enumerate()
        {
            for (count, expected) in counts[objective].into_iter().zip(expected) {
                assert!(u32::abs_diff(count, expected) < 230, "{counts:?}");
            }
        }
    }
}
