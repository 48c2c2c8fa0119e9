//! A record as JSON: `{"prompt": …, "response": …, "labels": {objective: level name, …}, "source": …}`.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::objective::integer;
use crate::{LabeledResponse, Level, Objective, ObjectiveSchema, RowError};

const FIELDS: [&str; 4] = ["prompt", "response", "labels", "source"];

/// Reads one record.
pub(crate) fn record_from_json(text: &str, schema: &ObjectiveSchema) -> Result<LabeledResponse, RecordError> {
    record_from_value(serde_json::from_str(text).map_err(RowError::from)?, schema)
}

/// Reads one record of which the JSON has been read.
pub(crate) fn record_from_value(
    row: Value,
    schema: &ObjectiveSchema,
) -> Result<LabeledResponse, RecordError> {
    let mut fields: Map<String, Value> = serde_json::from_value(row).map_err(RowError::from)?;
    if let Some(found) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(RecordError::UnknownField { found: found.clone(), expected: FIELDS.join(", ") });
    }
    let mut take = |field: &'static str| (field, fields.remove(field).unwrap_or(Value::Null));
    Ok(LabeledResponse {
        prompt: non_empty(take("prompt"))?,
        // An answer may say nothing: data sets have such answers, with labels.
        response: required_text(take("response"))?,
        levels: levels_from_json(take("labels"), schema)?,
        source: optional_text(take("source"))?,
    })
}

/// Writes one record; missing labels and a missing source are left out.
pub(crate) fn record_to_json(record: &LabeledResponse, schema: &ObjectiveSchema) -> Value {
    assert_eq!(record.levels.len(), schema.len(), "a response has one entry per objective");
    let labels = schema
        .objectives()
        .iter()
        .zip(&record.levels)
        .filter_map(|(objective, level)| {
            let name = objective.levels[(*level)?].as_str();
            Some((objective.name.clone(), integer(name).map_or_else(|| name.into(), Value::from)))
        })
        .collect();
    let mut fields = Map::new();
    fields.insert("prompt".into(), record.prompt.as_str().into());
    fields.insert("response".into(), record.response.as_str().into());
    fields.insert("labels".into(), Value::Object(labels));
    if let Some(source) = &record.source {
        fields.insert("source".into(), source.as_str().into());
    }
    Value::Object(fields)
}

/// What is wrong with a record.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The line cannot be read, or is no JSON object.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A field that must be there is not, or is null.
    #[error("missing field `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A text that must say something is empty.
    #[error("{field}: empty, expected a text")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A value has the wrong JSON type.
    #[error("{field}: {found}, expected {expected}")]
    WrongType {
        /// The field, or the objective within `labels`.
        field: String,
        /// The type found.
        found: &'static str,
        /// The type expected.
        expected: &'static str,
    },
    /// A key that no record has.
    #[error("unknown field `{found}`, expected one of {expected}")]
    UnknownField {
        /// The key.
        found: String,
        /// The keys that a record may have.
        expected: String,
    },
    /// A label for an objective that the schema does not have.
    #[error("unknown objective `{found}`, expected one of {expected}")]
    UnknownObjective {
        /// The name.
        found: String,
        /// The names that the schema has.
        expected: String,
    },
    /// A label that is no level of its objective.
    #[error("{objective}: level {found}, expected {expected}")]
    Level {
        /// The objective.
        objective: String,
        /// The label as written.
        found: String,
        /// The levels that the objective has.
        expected: String,
    },
}

fn optional_text((field, value): (&'static str, Value)) -> Result<Option<String>, RecordError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => {
            Err(RecordError::WrongType { field: field.into(), found: type_of(&other), expected: "a string" })
        }
    }
}

fn non_empty((field, value): (&'static str, Value)) -> Result<String, RecordError> {
    match required_text((field, value))? {
        text if text.is_empty() => Err(RecordError::Empty { field }),
        text => Ok(text),
    }
}

fn required_text((field, value): (&'static str, Value)) -> Result<String, RecordError> {
    match optional_text((field, value))? {
        None => Err(RecordError::Missing { field }),
        Some(text) => Ok(text),
    }
}

fn levels_from_json(
    (field, value): (&'static str, Value),
    schema: &ObjectiveSchema,
) -> Result<Vec<Option<Level>>, RecordError> {
    let mut levels = vec![None; schema.len()];
    let labels = match value {
        Value::Null => return Ok(levels),
        Value::Object(labels) => labels,
        other => {
            return Err(RecordError::WrongType {
                field: field.into(),
                found: type_of(&other),
                expected: "an object",
            });
        }
    };
    for (name, label) in labels {
        let Some(index) = schema.index_of(&name) else {
            return Err(RecordError::UnknownObjective { found: name, expected: schema.expected_names() });
        };
        levels[index] = level_from_json(&schema.objectives()[index], label)?;
    }
    Ok(levels)
}

fn level_from_json(objective: &Objective, label: Value) -> Result<Option<Level>, RecordError> {
    let found = match label {
        Value::Null => return Ok(None),
        Value::String(name) => name,
        Value::Number(number) => number.to_string(),
        other => {
            return Err(RecordError::WrongType {
                field: objective.name.clone(),
                found: type_of(&other),
                expected: "a level's name",
            });
        }
    };
    match objective.level(&found) {
        Some(level) => Ok(Some(level)),
        None => {
            let expected = objective.expected_levels();
            Err(RecordError::Level { objective: objective.name.clone(), found, expected })
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> ObjectiveSchema {
        ObjectiveSchema::new(vec![
            Objective::with_scale("helpfulness", 0, 4),
            Objective { name: "tone".into(), levels: vec!["cold".into(), "warm".into()] },
        ])
        .unwrap()
    }

    #[test]
    fn a_label_is_a_name_and_null_or_absent_is_missing() {
        for (labels, levels) in [
            (r#"{"helpfulness": 3, "tone": "warm"}"#, [Some(3), Some(1)]),
            (r#"{"helpfulness": "3", "tone": null}"#, [Some(3), None]),
            ("{}", [None, None]),
            ("null", [None, None]),
        ] {
            let text = format!(r#"{{"prompt": "p", "response": "r", "labels": {labels}, "source": null}}"#);
            let record = record_from_json(&text, &schema()).unwrap();
            assert_eq!((record.levels, record.source), (levels.to_vec(), None), "{labels}");
        }
    }

    #[test]
    fn an_answer_may_say_nothing() {
        let record = record_from_json(r#"{"prompt": "p", "response": ""}"#, &schema()).unwrap();
        assert_eq!(record.response, "");
    }

    #[test]
    fn says_what_was_found_and_what_was_expected() {
        for (text, message) in [
            ("{", "bad JSON at column 1: EOF while parsing an object"),
            ("[1]", "bad JSON at column 0: invalid type: sequence, expected a map"),
            (r#"{"response": "r"}"#, "missing field `prompt`"),
            (r#"{"prompt": "p", "response": null}"#, "missing field `response`"),
            (r#"{"prompt": "", "response": "r"}"#, "prompt: empty, expected a text"),
            (r#"{"prompt": "p", "response": 3}"#, "response: a number, expected a string"),
            (r#"{"prompt": "p", "response": "r", "source": []}"#, "source: an array, expected a string"),
            (r#"{"prompt": "p", "response": "r", "labels": [1]}"#, "labels: an array, expected an object"),
            (
                r#"{"prompt": "p", "response": "r", "label": {}}"#,
                "unknown field `label`, expected one of prompt, response, labels, source",
            ),
            (
                r#"{"prompt": "p", "response": "r", "labels": {"honesty": 1}}"#,
                "unknown objective `honesty`, expected one of helpfulness, tone",
            ),
            (
                r#"{"prompt": "p", "response": "r", "labels": {"helpfulness": 7}}"#,
                "helpfulness: level 7, expected 0..=4",
            ),
            (
                r#"{"prompt": "p", "response": "r", "labels": {"helpfulness": 2.5}}"#,
                "helpfulness: level 2.5, expected 0..=4",
            ),
            (
                r#"{"prompt": "p", "response": "r", "labels": {"tone": "hot"}}"#,
                "tone: level hot, expected cold, warm",
            ),
            (
                r#"{"prompt": "p", "response": "r", "labels": {"tone": true}}"#,
                "tone: a boolean, expected a level's name",
            ),
        ] {
            assert_eq!(record_from_json(text, &schema()).unwrap_err().to_string(), message);
        }
    }
}
