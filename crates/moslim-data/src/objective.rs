//! One preference and its ordered levels.

use serde::{Deserialize, Serialize};

use crate::SchemaError;

/// The position of a level in its objective's order, counted from 0 (the lowest).
pub type Level = usize;

/// The longest scale a file may ask for; more levels than this are a slip of the pen.
const MAX_SCALE_LEVELS: i128 = 1000;

/// Fractional positions are kept to millionths, so that what is written is read back as the same number.
const POSITION_DECIMALS: usize = 6;
const POSITION_UNITS: f64 = 1e6;

/// One preference, such as helpfulness, with its own ordered levels.
///
/// A file writes it as `{ name = "helpfulness", levels = ["low", "high"] }` or, for the integers from 1 to 5,
/// as `{ name = "helpfulness", scale = [1, 5] }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ObjectiveForm")]
pub struct Objective {
    /// The name used in files, prompts and reports.
    pub name: String,
    /// The names of the levels, from the lowest to the highest; people write these names, not positions.
    pub levels: Vec<String>,
}

impl Objective {
    /// An objective whose level names are the integers `lowest..=highest`.
    ///
    /// ```
    /// let helpfulness = moslim_data::Objective::with_scale("helpfulness", 1, 5);
    /// assert_eq!(helpfulness.levels, ["1", "2", "3", "4", "5"]);
    /// ```
    pub fn with_scale(name: impl Into<String>, lowest: i64, highest: i64) -> Self {
        Self { name: name.into(), levels: (lowest..=highest).map(|level| level.to_string()).collect() }
    }

    /// K, the number of levels.
    pub fn n_levels(&self) -> usize {
        self.levels.len()
    }

    /// The level with this name.
    pub fn level(&self, name: &str) -> Option<Level> {
        self.levels.iter().position(|level| level == name)
    }

    /// The position that a text names: a level's name or, where the names are ascending integers, a number between two of them.
    ///
    /// ```
    /// let helpfulness = moslim_data::Objective::with_scale("helpfulness", 1, 5);
    /// assert_eq!(helpfulness.position("5"), Some(4.0));
    /// assert_eq!(helpfulness.position("3.5"), Some(2.5));
    /// assert_eq!(helpfulness.position("7"), None);
    /// ```
    pub fn position(&self, text: &str) -> Option<f64> {
        if let Some(level) = self.level(text) {
            return Some(level as f64);
        }
        let value: f64 = text.parse().ok()?;
        let names = self.integer_names()?;
        let upper = names.iter().position(|&name| value <= name as f64)?;
        if value == names[upper] as f64 {
            return Some(upper as f64);
        }
        let lower = upper.checked_sub(1)?;
        let [low, high] = [names[lower] as f64, names[upper] as f64];
        let position = lower as f64 + (value - low) / (high - low);
        Some((position * POSITION_UNITS).round() / POSITION_UNITS)
    }

    /// What a person writes for a position, the inverse of [`position`](Self::position) up to a millionth.
    ///
    /// `None` where there is nothing to write: out of range, or fractional while the names are not ascending integers.
    ///
    /// ```
    /// let helpfulness = moslim_data::Objective::with_scale("helpfulness", 1, 5);
    /// assert_eq!(helpfulness.position_name(2.5).as_deref(), Some("3.5"));
    /// ```
    pub fn position_name(&self, position: f64) -> Option<String> {
        let highest = self.n_levels().checked_sub(1)?;
        if !(0.0..=highest as f64).contains(&position) {
            return None;
        }
        let (lower, fraction) = (position.floor() as usize, position.fract());
        if fraction == 0.0 {
            return Some(self.levels[lower].clone());
        }
        let names = self.integer_names()?;
        let [low, high] = [names[lower] as f64, names[lower + 1] as f64];
        let text = format!("{:.*}", POSITION_DECIMALS, low + fraction * (high - low));
        Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
    }

    /// The names a message offers: `1..=5` for consecutive integers, `low, medium, high` otherwise.
    pub(crate) fn expected_levels(&self) -> String {
        match self.integer_names().as_deref() {
            Some([lowest, .., highest])
                if i128::from(*highest) - i128::from(*lowest) == self.n_levels() as i128 - 1 =>
            {
                format!("{lowest}..={highest}")
            }
            _ => self.levels.join(", "),
        }
    }

    /// The level names as numbers, if they are integers in ascending order.
    fn integer_names(&self) -> Option<Vec<i64>> {
        let numbers: Vec<i64> = self.levels.iter().map(|name| integer(name)).collect::<Option<_>>()?;
        numbers.is_sorted_by(|a, b| a < b).then_some(numbers)
    }
}

/// The integer that `name` spells in the usual way (`5`, not `05` or `+5`).
pub(crate) fn integer(name: &str) -> Option<i64> {
    name.parse().ok().filter(|value: &i64| value.to_string() == name)
}

/// An objective as a file writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveForm {
    name: String,
    levels: Option<Vec<String>>,
    scale: Option<[i64; 2]>,
}

impl TryFrom<ObjectiveForm> for Objective {
    type Error = SchemaError;

    fn try_from(form: ObjectiveForm) -> Result<Self, SchemaError> {
        let ObjectiveForm { name, levels, scale } = form;
        match (levels, scale) {
            (Some(levels), None) => Ok(Self { name, levels }),
            (None, Some([lowest, highest])) => {
                let n_levels = i128::from(highest) - i128::from(lowest) + 1;
                if (2..=MAX_SCALE_LEVELS).contains(&n_levels) {
                    Ok(Self::with_scale(name, lowest, highest))
                } else {
                    Err(SchemaError::Scale { objective: name, lowest, highest, max_levels: MAX_SCALE_LEVELS })
                }
            }
            _ => Err(SchemaError::LevelsOrScale { objective: name }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(levels: &[&str]) -> Objective {
        Objective { name: "tone".into(), levels: levels.iter().map(|&level| level.into()).collect() }
    }

    #[test]
    fn a_number_between_two_integer_names_is_a_fractional_position() {
        let uneven = named(&["-1", "1", "5"]);
        assert_eq!(uneven.position("0"), Some(0.5));
        assert_eq!(uneven.position("4"), Some(1.75));
        assert_eq!(uneven.position_name(1.75).as_deref(), Some("4"));
        assert_eq!(uneven.position_name(0.25).as_deref(), Some("-0.5"));
    }

    #[test]
    fn a_position_outside_the_names_has_no_text_and_no_number() {
        let scale = Objective::with_scale("helpfulness", 1, 5);
        for text in ["0.9", "5.1", "nan", "inf", "-inf", "", "five"] {
            assert_eq!(scale.position(text), None, "{text}");
        }
        for position in [-0.1, 4.1, f64::NAN, f64::INFINITY] {
            assert_eq!(scale.position_name(position), None, "{position}");
        }
    }

    #[test]
    fn only_ascending_integers_have_fractional_levels() {
        for levels in [&["low", "high"][..], &["2", "1"], &["1", "02"], &["0.5", "1.5"]] {
            let objective = named(levels);
            assert_eq!(objective.position_name(0.5), None, "{levels:?}");
            assert_eq!(objective.position("1.25"), None, "{levels:?}");
        }
    }

    #[test]
    fn a_message_offers_a_range_only_for_consecutive_integers() {
        assert_eq!(Objective::with_scale("h", 0, 4).expected_levels(), "0..=4");
        assert_eq!(named(&["1", "3", "5"]).expected_levels(), "1, 3, 5");
        assert_eq!(named(&["low", "high"]).expected_levels(), "low, high");
    }
}
