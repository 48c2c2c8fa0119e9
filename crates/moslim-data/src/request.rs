//! What a person asks for.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ObjectiveSchema;

/// The levels asked for: one entry per objective of the schema, `None` where the objective is left free.
///
/// A level counts from 0 as [`Level`](crate::Level) does and may be fractional: 2.5 lies half-way between the third and the fourth level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Request {
    /// One entry per objective.
    pub levels: Vec<Option<f64>>,
}

impl Request {
    /// The request that asks for nothing.
    pub fn free(schema: &ObjectiveSchema) -> Self {
        Self { levels: vec![None; schema.len()] }
    }

    /// Reads `objective=level` pairs separated by commas, with white space around them allowed; an empty text asks for nothing.
    ///
    /// A level is written by its name or, where the names are ascending integers, as a number between two of them.
    ///
    /// # Errors
    /// A part that is no pair, an unknown objective, an objective asked for twice, or a level that the objective does not have.
    ///
    /// ```
    /// use moslim_data::{Objective, ObjectiveSchema, Request};
    ///
    /// let schema = ObjectiveSchema::new(vec![
    ///     Objective::with_scale("helpfulness", 1, 5),
    ///     Objective::with_scale("harmlessness", 0, 1),
    /// ]).unwrap();
    /// let request = Request::parse("helpfulness=3.5", &schema).unwrap();
    /// assert_eq!(request.levels, [Some(2.5), None]);
    ///
    /// let error = Request::parse("helpfulness=7", &schema).unwrap_err();
    /// assert_eq!(error.to_string(), "helpfulness: level 7, expected 1..=5");
    /// ```
    pub fn parse(text: &str, schema: &ObjectiveSchema) -> Result<Self, RequestError> {
        let mut request = Self::free(schema);
        if text.trim().is_empty() {
            return Ok(request);
        }
        for part in text.split(',') {
            let (name, level) =
                part.split_once('=').ok_or_else(|| RequestError::NotAPair { found: part.trim().into() })?;
            let (name, level) = (name.trim(), level.trim());
            let index = schema.index_of(name).ok_or_else(|| RequestError::UnknownObjective {
                found: name.into(),
                expected: schema.expected_names(),
            })?;
            let objective = &schema.objectives()[index];
            let position = objective.position(level).ok_or_else(|| RequestError::Level {
                objective: name.into(),
                found: level.into(),
                expected: objective.expected_levels(),
            })?;
            if request.levels[index].replace(position).is_some() {
                return Err(RequestError::Duplicate { objective: name.into() });
            }
        }
        Ok(request)
    }

    /// Whether nothing is asked for.
    pub fn is_free(&self) -> bool {
        self.n_asked() == 0
    }

    /// The number of objectives that are asked for.
    pub fn n_asked(&self) -> usize {
        self.levels.iter().flatten().count()
    }

    /// The request as people write it, such as `helpfulness=5,honesty=3.5`; empty when nothing is asked for.
    ///
    /// [`parse`](Self::parse) reads it back, fractional levels to a millionth.
    /// A position that has no name (out of range, or fractional among levels that are not integers) is shown as `@` and the position, which cannot be parsed.
    ///
    /// # Panics
    /// If the request has not as many entries as the schema has objectives.
    pub fn describe(&self, schema: &ObjectiveSchema) -> String {
        assert_eq!(self.levels.len(), schema.len(), "a request has one entry per objective");
        let asked: Vec<String> = schema
            .objectives()
            .iter()
            .zip(&self.levels)
            .filter_map(|(objective, level)| {
                let position = (*level)?;
                let name = objective.position_name(position).unwrap_or_else(|| format!("@{position}"));
                Some(format!("{}={name}", objective.name))
            })
            .collect();
        asked.join(",")
    }
}

/// Why a text is not a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A part without `=`.
    #[error("`{found}`, expected `objective=level`")]
    NotAPair {
        /// The part.
        found: String,
    },
    /// The schema has no such objective.
    #[error("unknown objective `{found}`, expected one of {expected}")]
    UnknownObjective {
        /// The name.
        found: String,
        /// The names that the schema has.
        expected: String,
    },
    /// The objective has no such level.
    #[error("{objective}: level {found}, expected {expected}")]
    Level {
        /// The objective.
        objective: String,
        /// The level as written.
        found: String,
        /// The levels that the objective has.
        expected: String,
    },
    /// The objective stands twice in the text.
    #[error("{objective}: asked for twice")]
    Duplicate {
        /// The objective.
        objective: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Objective;

    fn schema() -> ObjectiveSchema {
        ObjectiveSchema::new(vec![
            Objective::with_scale("helpfulness", 1, 5),
            Objective { name: "tone".into(), levels: vec!["cold".into(), "warm".into()] },
        ])
        .unwrap()
    }

    #[test]
    fn reads_names_and_numbers_between_them() {
        for (text, levels) in [
            ("", [None, None]),
            ("helpfulness=5,tone=warm", [Some(4.0), Some(1.0)]),
            (" tone = cold , helpfulness = 2.25 ", [Some(1.25), Some(0.0)]),
        ] {
            let request = Request::parse(text, &schema()).unwrap();
            assert_eq!(request.levels, levels, "{text}");
            assert_eq!(request.n_asked(), levels.iter().flatten().count());
        }
    }

    #[test]
    fn says_what_was_found_and_what_was_expected() {
        for (text, message) in [
            ("helpfulness", "`helpfulness`, expected `objective=level`"),
            ("helpfulness=5,", "``, expected `objective=level`"),
            ("honesty=1", "unknown objective `honesty`, expected one of helpfulness, tone"),
            ("helpfulness=7", "helpfulness: level 7, expected 1..=5"),
            ("tone=0.5", "tone: level 0.5, expected cold, warm"),
            ("tone=warm,tone=cold", "tone: asked for twice"),
        ] {
            assert_eq!(Request::parse(text, &schema()).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_position_without_a_name_is_shown_but_cannot_be_read() {
        let text = Request { levels: vec![Some(9.0), Some(0.5)] }.describe(&schema());
        assert_eq!(text, "helpfulness=@9,tone=@0.5");
        assert!(Request::parse(&text, &schema()).is_err());
    }
}
