//! The objectives of a project, checked once.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Objective;

/// Characters that separate names where people write requests, next to white space.
const RESERVED: [char; 2] = ['=', ','];

/// The objectives of a project, in the order in which every vector of levels, heads and requests lists them.
///
/// There is at least one objective, each with at least two levels; names are unique, not empty and free of white space, `=` and `,`.
/// A file holds the list of objectives and is checked in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Objective>", into = "Vec<Objective>")]
pub struct ObjectiveSchema {
    objectives: Vec<Objective>,
}

impl ObjectiveSchema {
    /// Checks the objectives.
    ///
    /// # Errors
    /// The first thing that is wrong, see [`SchemaError`].
    ///
    /// ```
    /// use moslim_data::{Objective, ObjectiveSchema};
    ///
    /// let schema = ObjectiveSchema::new(vec![
    ///     Objective::with_scale("helpfulness", 1, 5),
    ///     Objective::with_scale("harmlessness", 0, 1),
    /// ])?;
    /// assert_eq!(schema.n_levels(), [5, 2]);
    /// assert_eq!(schema.index_of("harmlessness"), Some(1));
    /// # Ok::<(), moslim_data::SchemaError>(())
    /// ```
    pub fn new(objectives: Vec<Objective>) -> Result<Self, SchemaError> {
        if objectives.is_empty() {
            return Err(SchemaError::NoObjectives);
        }
        for (i, objective) in objectives.iter().enumerate() {
            check_name(&objective.name).map_err(|problem| SchemaError::ObjectiveName { problem })?;
            if objectives[..i].iter().any(|earlier| earlier.name == objective.name) {
                return Err(SchemaError::DuplicateObjective { objective: objective.name.clone() });
            }
            check_levels(objective)?;
        }
        Ok(Self { objectives })
    }

    /// The objectives in their order.
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// The number of objectives, at least 1.
    pub fn len(&self) -> usize {
        self.objectives.len()
    }

    /// Always false: a schema without objectives cannot be made.
    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// The position of the objective with this name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.objectives.iter().position(|objective| objective.name == name)
    }

    /// K for every objective.
    pub fn n_levels(&self) -> Vec<usize> {
        self.objectives.iter().map(Objective::n_levels).collect()
    }

    /// The objectives' names as a message lists them.
    pub(crate) fn expected_names(&self) -> String {
        let names: Vec<&str> = self.objectives.iter().map(|objective| objective.name.as_str()).collect();
        names.join(", ")
    }
}

impl TryFrom<Vec<Objective>> for ObjectiveSchema {
    type Error = SchemaError;

    fn try_from(objectives: Vec<Objective>) -> Result<Self, SchemaError> {
        Self::new(objectives)
    }
}

impl From<ObjectiveSchema> for Vec<Objective> {
    fn from(schema: ObjectiveSchema) -> Self {
        schema.objectives
    }
}

/// Why objectives do not make a schema.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The list is empty.
    #[error("no objectives, expected at least one")]
    NoObjectives,
    /// An objective's name cannot be written in a request.
    #[error("objective name {problem}")]
    ObjectiveName {
        /// What is wrong with the name.
        problem: NameError,
    },
    /// Two objectives share a name.
    #[error("{objective}: objective listed twice")]
    DuplicateObjective {
        /// The name.
        objective: String,
    },
    /// Nothing to choose from.
    #[error("{objective}: {found} level(s), expected at least 2")]
    TooFewLevels {
        /// The objective.
        objective: String,
        /// The number of levels.
        found: usize,
    },
    /// A level's name cannot be written in a request.
    #[error("{objective}: level name {problem}")]
    LevelName {
        /// The objective.
        objective: String,
        /// What is wrong with the name.
        problem: NameError,
    },
    /// Two levels of one objective share a name.
    #[error("{objective}: level `{level}` listed twice")]
    DuplicateLevel {
        /// The objective.
        objective: String,
        /// The level's name.
        level: String,
    },
    /// A file gave an objective both `levels` and `scale`, or neither.
    #[error("{objective}: expected either `levels` or `scale`")]
    LevelsOrScale {
        /// The objective.
        objective: String,
    },
    /// A file gave a scale that is empty, has one level or is absurdly long.
    #[error(
        "{objective}: scale [{lowest}, {highest}], expected [lowest, highest] with 2 to {max_levels} levels"
    )]
    Scale {
        /// The objective.
        objective: String,
        /// The first number of the scale.
        lowest: i64,
        /// The second number of the scale.
        highest: i64,
        /// The most levels that a scale may have.
        max_levels: i128,
    },
}

/// Why a name cannot stand in a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("is empty")]
    Empty,
    /// The name holds a character that separates names.
    #[error("`{name}` contains {found:?}, expected no white space, `=` or `,`")]
    Reserved {
        /// The name.
        name: String,
        /// The first such character.
        found: char,
    },
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    match name.chars().find(|c| c.is_whitespace() || RESERVED.contains(c)) {
        Some(found) => Err(NameError::Reserved { name: name.into(), found }),
        None => Ok(()),
    }
}

fn check_levels(objective: &Objective) -> Result<(), SchemaError> {
    let Objective { name, levels } = objective;
    if levels.len() < 2 {
        return Err(SchemaError::TooFewLevels { objective: name.clone(), found: levels.len() });
    }
    for (i, level) in levels.iter().enumerate() {
        check_name(level).map_err(|problem| SchemaError::LevelName { objective: name.clone(), problem })?;
        if levels[..i].contains(level) {
            return Err(SchemaError::DuplicateLevel { objective: name.clone(), level: level.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(name: &str, levels: &[&str]) -> Objective {
        Objective { name: name.into(), levels: levels.iter().map(|&level| level.into()).collect() }
    }

    #[test]
    fn refuses_what_cannot_be_asked_for_and_says_why() {
        for (objectives, message) in [
            (vec![], "no objectives, expected at least one"),
            (vec![objective("", &["1", "2"])], "objective name is empty"),
            (
                vec![objective("be nice", &["1", "2"])],
                "objective name `be nice` contains ' ', expected no white space, `=` or `,`",
            ),
            (vec![objective("h", &["1", "2"]), objective("h", &["1", "2"])], "h: objective listed twice"),
            (vec![objective("h", &["1"])], "h: 1 level(s), expected at least 2"),
            (vec![objective("h", &["1", ""])], "h: level name is empty"),
            (
                vec![objective("h", &["1", "a=b"])],
                "h: level name `a=b` contains '=', expected no white space, `=` or `,`",
            ),
            (vec![objective("h", &["1", "2", "1"])], "h: level `1` listed twice"),
        ] {
            assert_eq!(ObjectiveSchema::new(objectives).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_file_may_write_a_scale_or_level_names() {
        let schema: ObjectiveSchema = serde_json::from_str(
            r#"[{"name": "helpfulness", "scale": [1, 3]}, {"name": "tone", "levels": ["cold", "warm"]}]"#,
        )
        .unwrap();
        assert_eq!(schema.objectives()[0], Objective::with_scale("helpfulness", 1, 3));
        assert_eq!(schema.objectives()[1], objective("tone", &["cold", "warm"]));
        let written = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<ObjectiveSchema>(&written).unwrap(), schema);
    }

    #[test]
    fn a_file_is_checked_as_well() {
        for (file, message) in [
            (r#"[]"#, "no objectives"),
            (r#"[{"name": "h"}]"#, "h: expected either `levels` or `scale`"),
            (
                r#"[{"name": "h", "scale": [1, 2], "levels": ["a", "b"]}]"#,
                "h: expected either `levels` or `scale`",
            ),
            (
                r#"[{"name": "h", "scale": [5, 1]}]"#,
                "h: scale [5, 1], expected [lowest, highest] with 2 to 1000 levels",
            ),
            (
                r#"[{"name": "h", "scale": [-9223372036854775808, 9223372036854775807]}]"#,
                "with 2 to 1000 levels",
            ),
            (r#"[{"name": "h", "levels": ["a", "a"]}]"#, "h: level `a` listed twice"),
            (r#"[{"name": "h", "scale": [1, 2], "weight": 1}]"#, "unknown field `weight`"),
        ] {
            let error = serde_json::from_str::<ObjectiveSchema>(file).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
