//! The records of files, whatever their format.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mapping::MappingError;
use crate::objective::integer;
use crate::record_json::{FIELDS, record_from_value};
use crate::rows::{FileError, Place, RowError, RowValue, read_rows};
use crate::value_path::scalar;
use crate::{Format, Item, LabeledResponse, Mapping, Objective, ObjectiveSchema, RecordError, SchemaError};

/// What happens to rows that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The first one ends the reading.
    #[default]
    Fail,
    /// They are dropped and counted.
    Skip,
}

/// Why files cannot be read as preference data.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A row cannot be read.
    #[error("{place}: {problem}")]
    Row {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: RowError,
    },
    /// A row gives no record.
    #[error("{place}: {problem}")]
    Record {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: MappingError,
    },
    /// A row in MOSLIM's own format gives no record.
    #[error("{place}: {problem}")]
    Own {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: RecordError,
    },
    /// There are no rows.
    #[error("{}: no rows, expected at least one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The rows are those of no known format.
    #[error("{}: rows with {found}, expected a mapping for them or one of the formats {expected}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The fields of its first row.
        found: String,
        /// The formats.
        expected: String,
    },
    /// A file has levels that an objective has not.
    #[error("{}: {objective}: levels {found}, expected {expected}", path.display())]
    Levels {
        /// The file.
        path: PathBuf,
        /// The objective.
        objective: String,
        /// The levels of the file.
        found: String,
        /// The levels of the objective.
        expected: String,
    },
    /// A mapping that cannot mean anything.
    #[error("mapping: {0}")]
    Mapping(String),
    /// There is nothing to take quantiles of.
    #[error(
        "{objective}: bins = \"quantiles\": {found} different values, expected at least {n_levels}, one for each level"
    )]
    TooFewForQuantiles {
        /// The objective.
        objective: String,
        /// The different values of all files.
        found: usize,
        /// Its levels.
        n_levels: usize,
    },
    /// The objectives of a file cannot be used.
    #[error("{}: {problem}", path.display())]
    Objectives {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        problem: SchemaError,
    },
}

/// What was dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dropped {
    /// How much, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// The first of what was dropped because it was wrong, with its place.
    pub first_errors: Vec<String>,
}

/// Errors that are shown of those that were skipped.
const SHOWN_ERRORS: usize = 10;

impl Dropped {
    fn count(&mut self, problem: &ReadError) {
        let reason = match problem {
            ReadError::Row { problem, .. } => problem.reason(),
            ReadError::Record { problem, .. } => problem.reason(),
            ReadError::Own { problem, .. } => problem.reason(),
            other => other.to_string(),
        };
        *self.dropped.entry(reason).or_default() += 1;
        if self.first_errors.len() < SHOWN_ERRORS {
            self.first_errors.push(problem.to_string());
        }
    }
}

/// What the rows of a file are read as.
pub(crate) enum Reading {
    /// A known format, or a mapping.
    Mapped(Format),
    /// MOSLIM's own format, strictly, with these objectives.
    Own(Vec<Objective>),
}

impl Reading {
    /// What the file's first row says, unless there is a mapping; objectives that are known are expected of MOSLIM's own format.
    pub(crate) fn of(
        path: &Path,
        mapping: Option<&Mapping>,
        objectives: Option<&ObjectiveSchema>,
    ) -> Result<Self, ReadError> {
        let reading = match mapping {
            Some(mapping) => Self::Mapped(Format { name: "mapping".into(), mapping: mapping.clone() }),
            None => match (format_of(path)?, objectives) {
                (Some(format), _) => Self::Mapped(format),
                (None, Some(objectives)) => Self::Own(objectives.objectives().to_vec()),
                (None, None) => Self::Own(labelled_objectives(path)?),
            },
        };
        if !reading.objectives().is_empty() {
            ObjectiveSchema::new(reading.objectives().to_vec())
                .map_err(|problem| ReadError::Objectives { path: path.into(), problem })?;
        }
        Ok(reading)
    }

    /// The name of the format.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Mapped(format) => &format.name,
            Self::Own(_) => Format::OWN,
        }
    }

    /// The objectives of its answers' levels.
    pub(crate) fn objectives(&self) -> &[Objective] {
        match self {
            Self::Mapped(format) => &format.mapping.objectives,
            Self::Own(objectives) => objectives,
        }
    }

    fn items(&self, place: &Place, row: RowValue<'_>) -> Vec<Result<Item, ReadError>> {
        let place = || place.clone();
        match self {
            Self::Mapped(format) => {
                let items = format.mapping.items(&row).into_iter();
                items
                    .map(|item| item.map_err(|problem| ReadError::Record { place: place(), problem }))
                    .collect()
            }
            Self::Own(objectives) => {
                let record = record_from_value(row, objectives).map(Item::Answer);
                vec![record.map_err(|problem| ReadError::Own { place: place(), problem })]
            }
        }
    }

    /// Reads a file from beginning to end, one record at a time.
    ///
    /// # Errors
    /// If the file cannot be read or has no rows; the first bad row, if such rows are not to be skipped.
    pub(crate) fn read(
        &self,
        path: &Path,
        on_error: OnError,
        dropped: &mut Dropped,
        mut take: impl FnMut(Item),
    ) -> Result<(), ReadError> {
        let mut failed = None;
        let mut n_rows = 0;
        read_rows(path, |place, row| {
            n_rows += 1;
            let items = match row {
                Err(problem) => vec![Err(ReadError::Row { place: place.clone(), problem })],
                Ok(row) => self.items(place, row),
            };
            for item in items {
                match item {
                    Ok(item) => take(item),
                    // Not wrong, but nothing to learn from.
                    Err(ReadError::Record { problem, .. }) if problem.is_no_mistake() => {
                        *dropped.dropped.entry(problem.to_string()).or_default() += 1;
                    }
                    Err(problem) if on_error == OnError::Skip => dropped.count(&problem),
                    Err(problem) => {
                        failed = Some(problem);
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        match (failed, n_rows) {
            (Some(problem), _) => Err(problem),
            (None, 0) => Err(ReadError::Empty { path: path.into() }),
            (None, _) => Ok(()),
        }
    }
}

/// Whether a row is in MOSLIM's own format: an answer with labels, or with nothing that the format does not have.
fn is_own(row: &RowValue<'_>) -> bool {
    row.as_object().is_some_and(|fields| {
        let is_answer = fields.contains_key("prompt") && fields.contains_key("response");
        is_answer && (fields.contains_key("labels") || fields.keys().all(|key| FIELDS.contains(&key)))
    })
}

/// Reads every row of a file as an answer in MOSLIM's own format, with labels for these objectives and no others.
///
/// Answers that are there twice stay so, unlike in [`PreferenceData`](crate::PreferenceData).
///
/// ```
/// use moslim_data::{Objective, ObjectiveSchema, read_records};
///
/// let schema = ObjectiveSchema::new(vec![Objective::with_scale("helpfulness", 0, 4)])?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("prefs.jsonl");
/// let row = |level: u8| {
///     format!("{{\"prompt\": \"Why?\", \"response\": \"So.\", \"labels\": {{\"helpfulness\": {level}}}}}\n")
/// };
/// std::fs::write(&path, row(1))?;
/// assert_eq!(read_records(&path, &schema)?[0].levels, [Some(1)]);
/// std::fs::write(&path, row(1) + &row(7))?;
/// let error = read_records(&path, &schema).unwrap_err().to_string();
/// assert!(error.ends_with("prefs.jsonl:2: helpfulness: level 7, expected 0..=4"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A file that cannot be read or holds no records, and the first bad row.
pub fn read_records(
    path: impl AsRef<Path>,
    schema: &ObjectiveSchema,
) -> Result<Vec<LabeledResponse>, ReadError> {
    let mut records = Vec::new();
    let reading = Reading::Own(schema.objectives().to_vec());
    reading.read(path.as_ref(), OnError::Fail, &mut Dropped::default(), |item| match item {
        Item::Answer(answer) => records.push(answer),
        other => unreachable!("the own format has answers only, found {other:?}"),
    })?;
    Ok(records)
}

/// The format of a file, from its first row; `None` for MOSLIM's own.
fn format_of(path: &Path) -> Result<Option<Format>, ReadError> {
    let mut format = Err(ReadError::Empty { path: path.into() });
    read_rows(path, |place, row| {
        format = match row {
            Err(problem) => Err(ReadError::Row { place: place.clone(), problem }),
            Ok(row) if is_own(&row) => Ok(None),
            Ok(row) => Format::of(&row).map(Some).ok_or_else(|| ReadError::UnknownFormat {
                path: path.into(),
                found: match row.as_object() {
                    Some(fields) => fields.keys().collect::<Vec<_>>().join(", "),
                    None => "no fields".into(),
                },
                expected: Format::names().collect::<Vec<_>>().join(", "),
            }),
        };
        ControlFlow::Break(())
    })?;
    format
}

/// Integers that lie further apart than this are names.
const MAX_SCALE: i64 = 1000;

/// The objectives of a file in MOSLIM's own format: integers become a scale, names are levels in the order of the alphabet.
fn labelled_objectives(path: &Path) -> Result<Vec<Objective>, ReadError> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    read_rows(path, |_, row| {
        let Ok(RowValue::Object(fields)) = row else { return ControlFlow::Continue(()) };
        let labels = fields.get("labels").and_then(RowValue::iter_object);
        for (objective, level) in labels.into_iter().flatten() {
            // Looked for by reference first: a name is only copied when it is new.
            if !names.contains_key(objective) {
                names.insert(objective.to_owned(), vec![]);
            }
            let levels = names.get_mut(objective).expect("it was just put there");
            // What is neither is nothing, or an error when the row is read.
            if let (RowValue::Str(_) | RowValue::Number(_), Some(level)) = (level, scalar(level))
                && !levels.contains(&level)
            {
                levels.push(level);
            }
        }
        ControlFlow::Continue(())
    })?;
    let objective = |(name, mut levels): (String, Vec<String>)| {
        levels.sort();
        let numbers: Option<Vec<i64>> = levels.iter().map(|level| integer(level)).collect();
        let range = numbers.as_deref().and_then(|numbers| {
            let (low, high) = (*numbers.iter().min()?, *numbers.iter().max()?);
            // One level alone is that of a scale that begins or ends at 0.
            Some(if low == high { (low.min(0), high.max(1)) } else { (low, high) })
        });
        match range.filter(|(low, high)| high.checked_sub(*low).is_some_and(|steps| steps < MAX_SCALE)) {
            Some((low, high)) => Objective::with_scale(name, low, high),
            None => Objective { name, levels },
        }
    };
    // What is never labelled is no objective.
    Ok(names.into_iter().filter(|(_, levels)| !levels.is_empty()).map(objective).collect())
}
