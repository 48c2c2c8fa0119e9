//! What a baseline cannot work with.

/// Why a baseline's input is not what it needs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// There is nothing to work on.
    #[error("no {what}, expected at least one")]
    Empty {
        /// What there is none of.
        what: &'static str,
    },
    /// There are more or fewer than needed.
    #[error("{found} {what}, expected {expected}")]
    Length {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there have to be.
        expected: usize,
    },
    /// A number is out of its range, infinite or none.
    #[error("{what}: {found}, expected {expected}")]
    Number {
        /// What the number is.
        what: &'static str,
        /// The number.
        found: f64,
        /// Its range.
        expected: &'static str,
    },
    /// Weights are not on the simplex.
    #[error("weights {0:?}, expected non-negative numbers that sum to 1")]
    Weights(Vec<f64>),
    /// A grid would have more points than anybody could train for.
    #[error(
        "a grid of {n_objectives} objectives in {n_steps} steps, expected at most {limit} weights in all"
    )]
    Grid {
        /// Objectives.
        n_objectives: usize,
        /// Steps from 0 to 1.
        n_steps: usize,
        /// The most weights of all points together.
        limit: usize,
    },
    /// A direction has another length than 1, or points away from an objective.
    #[error("direction {0:?}, expected non-negative numbers whose squares sum to 1")]
    Direction(Vec<f64>),
    /// An objective has no reward for an answer.
    #[error("{objective}: no reward for answer {answer}, expected one for every answer")]
    NoReward {
        /// The objective.
        objective: String,
        /// The number of the answer.
        answer: usize,
    },
    /// A prompt names no preference.
    #[error("answer {answer}: its prompt names no preference, expected at least one")]
    NoPreference {
        /// The number of the answer.
        answer: usize,
    },
    /// A request has a level for which there is no sentence, class or policy.
    #[error("objective {objective}: level {found}, expected {}", expected_level(*.n_levels))]
    Level {
        /// The number of the objective.
        objective: usize,
        /// The level asked for.
        found: f64,
        /// The levels that there are.
        n_levels: usize,
    },
    /// A text is not what it has to be.
    #[error("{what} `{found}`, expected {expected}")]
    Text {
        /// What the text is.
        what: &'static str,
        /// The text.
        found: String,
        /// Its form.
        expected: &'static str,
    },
}

fn expected_level(n_levels: usize) -> String {
    match n_levels.checked_sub(1) {
        Some(highest) => format!("a whole level from 0 to {highest}"),
        None => "none".into(),
    }
}

pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), BaselineError> {
    match found == expected {
        true => Ok(()),
        false => Err(BaselineError::Length { what, found, expected }),
    }
}

pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), BaselineError> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&found) => Err(BaselineError::Number { what, found, expected: "a finite number" }),
        None => Ok(()),
    }
}

pub(crate) fn check_positive(what: &'static str, found: f64) -> Result<(), BaselineError> {
    match found > 0.0 && found.is_finite() {
        true => Ok(()),
        false => Err(BaselineError::Number { what, found, expected: "a positive number" }),
    }
}

/// Refuses rewards that are no table of finite numbers; the number of objectives. One row per answer
pub(crate) fn check_table(rewards: &[Vec<f64>]) -> Result<usize, BaselineError> {
    let n_objectives = rewards.first().ok_or(BaselineError::Empty { what: "rewards" })?.len();
    if n_objectives == 0 {
        return Err(BaselineError::Empty { what: "objectives" });
    }
    for row in rewards {
        check_length("rewards of an answer", row.len(), n_objectives)?;
        check_finite("reward", row)?;
    }
    Ok(n_objectives)
}

/// The whole level that a request asks for.
pub(crate) fn whole_level(objective: usize, found: f64, n_levels: usize) -> Result<usize, BaselineError> {
    let level = (0..n_levels).find(|&level| level as f64 == found);
    level.ok_or(BaselineError::Level { objective, found, n_levels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_found_and_what_was_expected() {
        let table = |rows: &[&[f64]]| {
            let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.to_vec()).collect();
            check_table(&rows).map_err(|error| error.to_string())
        };
        assert_eq!(table(&[&[1.0, 2.0], &[3.0, 4.0]]), Ok(2));
        for (rows, message) in [
            (&[] as &[&[f64]], "no rewards, expected at least one"),
            (&[&[]], "no objectives, expected at least one"),
            (&[&[1.0, 2.0], &[3.0]], "1 rewards of an answer, expected 2"),
            (&[&[1.0], &[f64::INFINITY]], "reward: inf, expected a finite number"),
        ] {
            assert_eq!(table(rows).unwrap_err(), message);
        }
        assert_eq!(whole_level(1, 2.0, 3), Ok(2));
        for found in [2.5, 3.0, -1.0, f64::NAN] {
            let message = whole_level(1, found, 3).unwrap_err().to_string();
            assert_eq!(message, format!("objective 1: level {found}, expected a whole level from 0 to 2"));
        }
        assert!(check_positive("β", 0.1).is_ok());
        assert!([0.0, -1.0, f64::NAN, f64::INFINITY].iter().all(|&beta| check_positive("β", beta).is_err()));
    }
}
