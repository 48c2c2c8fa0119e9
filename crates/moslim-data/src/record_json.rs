//! A record as JSON: `{"prompt": …, "response": …, "labels": {objective: level name, …}, "source": …, "weight": …}`.

mod error;

use serde_json::{Map, Value};

use crate::objective::integer;
use crate::prompt::turns_of;
use crate::record::Source;
use crate::rows::RowValue;
use crate::value_path::scalar;
use crate::{Comparison, LabeledResponse, Level, Objective, ObjectiveSchema, Prompt};

pub use error::RecordError;

pub(crate) const FIELDS: [&str; 5] = ["prompt", "response", "labels", "source", "weight"];

/// Reads one record.
pub(crate) fn record_from_value(
    row: RowValue<'_>,
    objectives: &[Objective],
) -> Result<LabeledResponse, RecordError> {
    let RowValue::Object(fields) = row else { return Err(RecordError::NoObject { found: type_of(&row) }) };
    let mut values = FIELDS.map(|_| RowValue::Null);
    for (key, value) in fields.into_vec() {
        match FIELDS.iter().position(|field| *field == key) {
            Some(index) => values[index] = value,
            None => {
                let expected = FIELDS.join(", ");
                return Err(RecordError::UnknownField { found: key.into_owned(), expected });
            }
        }
    }
    let [prompt, response, labels, source, weight] = values;
    let prompt = prompt_from_json(prompt)?;
    // An answer may say nothing: data sets have such answers, with labels.
    let response = required_text("response", response)?;
    let levels = levels_from_json(&labels, objectives)?;
    let sources = sources_from_json(source, &levels, objectives)?;
    Ok(LabeledResponse { prompt, response, levels, sources, weight: weight_from_json(&weight)? })
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
    fields.insert("prompt".into(), prompt_to_json(&record.prompt));
    fields.insert("response".into(), record.response.as_str().into());
    fields.insert("labels".into(), Value::Object(labels));
    if let Some(source) = sources_to_json(record, schema) {
        fields.insert("source".into(), source);
    }
    if record.weight != 1.0 {
        fields.insert("weight".into(), record.weight.into());
    }
    Value::Object(fields)
}

/// Writes a pair.
pub(crate) fn pair_to_json(pair: &Comparison) -> Value {
    let Comparison { prompt, objective, chosen, rejected } = pair;
    let texts = [("chosen", chosen), ("rejected", rejected), ("objective", objective)];
    let texts = texts.map(|(name, text)| (name.to_owned(), text.as_str().into()));
    let fields = [("prompt".to_owned(), prompt_to_json(prompt))].into_iter().chain(texts);
    Value::Object(fields.collect())
}

fn prompt_to_json(prompt: &Prompt) -> Value {
    serde_json::to_value(prompt).expect("a prompt is a text or a list")
}

/// One text where all labels have that source, otherwise one for each objective that has one.
fn sources_to_json(record: &LabeledResponse, schema: &ObjectiveSchema) -> Option<Value> {
    let labelled = record.levels.iter().zip(&record.sources).filter(|(level, _)| level.is_some());
    let sources: Vec<Option<&Source>> = labelled.map(|(_, source)| source.as_ref()).collect();
    let any = sources.iter().copied().flatten().next()?;
    if sources.iter().all(|source| *source == Some(any)) {
        return Some(Value::from(&**any));
    }
    let named = schema.objectives().iter().zip(&record.sources);
    let named =
        named.filter_map(|(objective, source)| Some((objective.name.clone(), source.as_deref()?.into())));
    Some(Value::Object(named.collect()))
}

fn optional_text(field: &str, value: RowValue<'_>) -> Result<Option<String>, RecordError> {
    match value {
        RowValue::Null => Ok(None),
        RowValue::Str(text) => Ok(Some(text.into_owned())),
        other => Err(wrong_type(field, &other, "a string")),
    }
}

fn prompt_from_json(value: RowValue<'_>) -> Result<Prompt, RecordError> {
    let prompt = match value {
        RowValue::Null => return Err(RecordError::Missing { field: "prompt" }),
        RowValue::Str(text) => Prompt::from(text.into_owned()),
        RowValue::Array(_) => match turns_of(&value) {
            Some(turns) => Prompt::of_turns(turns).map_err(|role| RecordError::LastTurn { role })?,
            None => return Err(wrong_type("prompt", &value, "a string or a list of turns")),
        },
        other => return Err(wrong_type("prompt", &other, "a string or a list of turns")),
    };
    match prompt.is_empty() {
        true => Err(RecordError::Empty { field: "prompt" }),
        false => Ok(prompt),
    }
}

fn required_text(field: &'static str, value: RowValue<'_>) -> Result<String, RecordError> {
    optional_text(field, value)?.ok_or(RecordError::Missing { field })
}

fn levels_from_json(
    labels: &RowValue<'_>,
    objectives: &[Objective],
) -> Result<Vec<Option<Level>>, RecordError> {
    let mut levels = vec![None; objectives.len()];
    match labels {
        RowValue::Null => {}
        RowValue::Object(labels) => {
            // What is not labelled need not be known.
            for (name, label) in labels.iter().filter(|(_, label)| !label.is_null()) {
                let index = index_of(name, objectives)?;
                levels[index] = level_from_json(&objectives[index], label)?;
            }
        }
        other => return Err(wrong_type("labels", other, "an object")),
    }
    Ok(levels)
}

fn index_of(name: &str, objectives: &[Objective]) -> Result<usize, RecordError> {
    let index = objectives.iter().position(|objective| objective.name == name);
    index.ok_or_else(|| {
        let names: Vec<&str> = objectives.iter().map(|objective| objective.name.as_str()).collect();
        RecordError::UnknownObjective { found: name.into(), expected: names.join(", ") }
    })
}

/// One source for all labels, or an object with one for each objective.
fn sources_from_json(
    value: RowValue<'_>,
    levels: &[Option<Level>],
    objectives: &[Objective],
) -> Result<Vec<Option<Source>>, RecordError> {
    let RowValue::Object(named) = value else {
        let source: Option<Source> = optional_text("source", value)?.map(Into::into);
        return Ok(levels.iter().map(|level| level.and_then(|_| source.clone())).collect());
    };
    let mut sources = vec![None; levels.len()];
    for (name, source) in named.into_vec().into_iter().filter(|(_, source)| !source.is_null()) {
        let index = index_of(&name, objectives)?;
        let source = optional_text("source", source)?;
        sources[index] = levels[index].and_then(|_| source.map(Into::into));
    }
    Ok(sources)
}

fn weight_from_json(value: &RowValue<'_>) -> Result<f64, RecordError> {
    match value {
        RowValue::Null => Ok(1.0),
        value => as_weight(value.as_f64()).ok_or_else(|| RecordError::Weight { found: value.to_string() }),
    }
}

/// A number that may be a weight; losses are computed with 32 bits.
pub(crate) fn as_weight(number: Option<f64>) -> Option<f64> {
    number.filter(|weight| (1e-6..=1e6).contains(weight))
}

fn level_from_json(objective: &Objective, label: &RowValue<'_>) -> Result<Option<Level>, RecordError> {
    let found = match label {
        RowValue::Null => return Ok(None),
        RowValue::Str(_) | RowValue::Number(_) => scalar(label).expect("texts and numbers are scalars"),
        other => return Err(wrong_type(&objective.name, other, "a level's name")),
    };
    match objective.level(&found) {
        Some(level) => Ok(Some(level)),
        None => {
            let expected = objective.expected_levels();
            Err(RecordError::Level { objective: objective.name.clone(), found, expected })
        }
    }
}

fn wrong_type(field: &str, value: &RowValue<'_>, expected: &'static str) -> RecordError {
    RecordError::WrongType { field: field.into(), found: type_of(value), expected }
}

fn type_of(value: &RowValue<'_>) -> &'static str {
    match value {
        RowValue::Null => "null",
        RowValue::Bool(_) => "a boolean",
        RowValue::Number(_) => "a number",
        RowValue::Str(_) => "a string",
        RowValue::Array(_) => "an array",
        RowValue::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_from_json(text: &str, objectives: &[Objective]) -> Result<LabeledResponse, RecordError> {
        record_from_value(serde_json::from_str(text).unwrap(), objectives)
    }

    fn objectives() -> [Objective; 2] {
        let tone = Objective { name: "tone".into(), levels: vec!["cold".into(), "warm".into()] };
        [Objective::with_scale("helpfulness", 0, 4), tone]
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
            let record = record_from_json(&text, &objectives()).unwrap();
            assert_eq!(record, LabeledResponse::new("p", "r", levels.to_vec()), "{labels}");
        }
    }

    #[test]
    fn an_answer_may_say_nothing() {
        let record = record_from_json(r#"{"prompt": "p", "response": ""}"#, &objectives()).unwrap();
        assert_eq!(record.response, "");
    }

    #[test]
    fn a_source_is_that_of_all_labels_or_of_each_and_a_weight_is_1_unless_it_is_said() {
        for (fields, sources, weight) in [
            (r#""source": "human""#, [Some("human"), Some("human")], 1.0),
            (r#""source": {"tone": "rule", "helpfulness": null}"#, [None, Some("rule")], 1.0),
            (
                r#""source": {"tone": "rule", "helpfulness": "x"}, "weight": 0.5"#,
                [Some("x"), Some("rule")],
                0.5,
            ),
            (r#""weight": null"#, [None, None], 1.0),
        ] {
            let labels = r#"{"helpfulness": 3, "tone": "warm"}"#;
            let text = format!(r#"{{"prompt": "p", "response": "r", "labels": {labels}, {fields}}}"#);
            let record = record_from_json(&text, &objectives()).unwrap();
            let expected = sources.map(|source| source.map(Source::from));
            assert_eq!((record.sources.as_slice(), record.weight), (expected.as_slice(), weight), "{fields}");
        }
        // What has no label has no source.
        let text = r#"{"prompt": "p", "response": "r", "labels": {"tone": "warm"}, "source": "human"}"#;
        let record = record_from_json(text, &objectives()).unwrap();
        assert_eq!(record.sources, [None, Some(Source::from("human"))]);
    }

    #[test]
    fn says_what_was_found_and_what_was_expected() {
        for (text, message) in [
            ("[1]", "an array, expected an object"),
            (r#"{"response": "r"}"#, "missing field `prompt`"),
            (r#"{"prompt": "p", "response": null}"#, "missing field `response`"),
            (r#"{"prompt": "", "response": "r"}"#, "prompt: empty, expected a text"),
            (r#"{"prompt": [3], "response": "r"}"#, "prompt: an array, expected a string or a list of turns"),
            (
                r#"{"prompt": [{"role": "assistant", "content": "a"}], "response": "r"}"#,
                "prompt: the last turn is the assistant's, expected the user's",
            ),
            (r#"{"prompt": "p", "response": 3}"#, "response: a number, expected a string"),
            (r#"{"prompt": "p", "response": "r", "source": []}"#, "source: an array, expected a string"),
            (
                r#"{"prompt": "p", "response": "r", "source": {"honesty": "human"}}"#,
                "unknown objective `honesty`, expected one of helpfulness, tone",
            ),
            (
                r#"{"prompt": "p", "response": "r", "weight": 0}"#,
                "weight: 0, expected a number from 1e-6 to 1e6",
            ),
            (
                r#"{"prompt": "p", "response": "r", "weight": "1"}"#,
                "weight: \"1\", expected a number from 1e-6 to 1e6",
            ),
            (r#"{"prompt": "p", "response": "r", "labels": [1]}"#, "labels: an array, expected an object"),
            (
                r#"{"prompt": "p", "response": "r", "label": {}}"#,
                "unknown field `label`, expected one of prompt, response, labels, source, weight",
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
            assert_eq!(record_from_json(text, &objectives()).unwrap_err().to_string(), message);
        }
    }
}
