//! What is in somebody's files, before anything is trained on it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::mapping::{Mapping, MappingError};
use crate::objective::integer;
use crate::rows::{FileError, Place, RowError, read_rows};
use crate::{Format, Item, LabeledResponse, Level, Objective, SchemaError};

/// What happens to rows that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The first one ends the reading.
    #[default]
    Fail,
    /// They are dropped and counted.
    Skip,
}

/// What files hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// The files.
    pub files: Vec<InspectedFile>,
    /// Answers, pairs and prompts without an answer, those that were dropped not among them.
    pub records: usize,
    /// Answers with a label at least.
    pub labeled: usize,
    /// Pairs of which one answer is preferred.
    pub comparisons: usize,
    /// What was dropped, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// The first of what was dropped because it was wrong, with its place.
    pub first_errors: Vec<String>,
    /// The labels by objective.
    pub objectives: BTreeMap<String, LabelCounts>,
    /// Different prompts.
    pub prompts: usize,
    /// Answers that stand there already, with the same prompt.
    pub duplicates: usize,
    /// Duplicates whose labels contradict an earlier one's.
    pub contradictions: usize,
}

/// A file and what it was taken for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedFile {
    /// The file.
    pub path: PathBuf,
    /// The format, or `mapping` where one was given.
    pub format: String,
    /// Its answers and pairs.
    pub records: usize,
}

/// How often an objective has each level.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelCounts {
    /// The names of the levels, from the lowest to the highest.
    pub levels: Vec<String>,
    /// Answers with each level.
    pub counts: Vec<usize>,
    /// Answers of the same files without a label for it.
    pub missing: usize,
}

/// Why files cannot be inspected.
#[derive(Debug, Error)]
pub enum InspectError {
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
    /// The objectives of a file cannot be used.
    #[error("{}: {problem}", path.display())]
    Objectives {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        problem: SchemaError,
    },
}

/// Errors that are shown of those that were skipped.
const SHOWN_ERRORS: usize = 10;

impl Inspection {
    /// Reads files from beginning to end; each is of a known format, or all follow the mapping.
    ///
    /// Memory grows by some bytes for every different answer, whatever its length.
    ///
    /// # Errors
    /// A file that cannot be read or is of no known format; the first bad row, if such rows are not to be skipped.
    pub fn of(paths: &[PathBuf], mapping: Option<&Mapping>, on_error: OnError) -> Result<Self, InspectError> {
        let mut inspection = Self::default();
        let mut seen = Seen::default();
        for path in paths {
            let Format { name, mapping } = match mapping {
                Some(mapping) => Format { name: "mapping".into(), mapping: mapping.clone() },
                None => format_of(path)?,
            };
            let schema = mapping.schema();
            schema.map_err(|problem| InspectError::Objectives { path: path.clone(), problem })?;
            let before = inspection.records;
            inspection.read(path, &mapping, on_error, &mut seen)?;
            let records = inspection.records - before;
            inspection.files.push(InspectedFile { path: path.clone(), format: name, records });
        }
        inspection.prompts = seen.prompts.len();
        Ok(inspection)
    }

    fn read(
        &mut self,
        path: &Path,
        mapping: &Mapping,
        on_error: OnError,
        seen: &mut Seen,
    ) -> Result<(), InspectError> {
        let mut failed = None;
        let mut n_rows = 0;
        read_rows(path, |place, row| {
            n_rows += 1;
            let problems = match row {
                Err(problem) => vec![InspectError::Row { place: place.clone(), problem }],
                Ok(row) => self.count(place, &row, mapping, seen),
            };
            for problem in problems {
                match on_error {
                    OnError::Fail => {
                        failed = Some(problem);
                        return ControlFlow::Break(());
                    }
                    OnError::Skip => self.drop_for(&problem),
                }
            }
            ControlFlow::Continue(())
        })?;
        match (failed, n_rows) {
            (Some(problem), _) => Err(problem),
            (None, 0) => Err(InspectError::Empty { path: path.into() }),
            (None, _) => Ok(()),
        }
    }

    /// Counts the records of a row; returns what is wrong with it.
    fn count(&mut self, place: &Place, row: &Value, mapping: &Mapping, seen: &mut Seen) -> Vec<InspectError> {
        let mut problems = Vec::new();
        for item in mapping.items(row) {
            match item {
                Ok(Item::Answer(answer)) => {
                    self.records += 1;
                    self.count_labels(&answer, &mapping.objectives);
                    let (duplicate, contradicts) = seen.again(&answer, &mapping.objectives);
                    self.duplicates += usize::from(duplicate);
                    self.contradictions += usize::from(contradicts);
                }
                Ok(Item::Comparison(pair)) => {
                    self.records += 1;
                    self.comparisons += 1;
                    seen.prompts.insert(hash(&pair.prompt));
                }
                Ok(Item::Prompt(prompt)) => {
                    self.records += 1;
                    seen.prompts.insert(hash(&prompt));
                }
                Err(problem @ MappingError::Equal) => {
                    *self.dropped.entry(problem.to_string()).or_default() += 1;
                }
                Err(problem) => problems.push(InspectError::Record { place: place.clone(), problem }),
            }
        }
        problems
    }

    fn count_labels(&mut self, answer: &LabeledResponse, objectives: &[Objective]) {
        self.labeled += usize::from(answer.levels.iter().any(Option::is_some));
        for (objective, level) in objectives.iter().zip(&answer.levels) {
            let counts = self.objectives.entry(objective.name.clone()).or_insert_with(|| LabelCounts {
                levels: objective.levels.clone(),
                counts: vec![0; objective.n_levels()],
                missing: 0,
            });
            match level {
                // Two formats may give one objective different levels; those of the first stand.
                Some(level) => {
                    match counts.levels.iter().position(|name| *name == objective.levels[*level]) {
                        Some(level) => counts.counts[level] += 1,
                        None => {
                            counts.levels.push(objective.levels[*level].clone());
                            counts.counts.push(1);
                        }
                    }
                }
                None => counts.missing += 1,
            }
        }
    }

    fn drop_for(&mut self, problem: &InspectError) {
        let reason = match problem {
            InspectError::Row { problem, .. } => problem.to_string(),
            InspectError::Record { problem, .. } => problem.to_string(),
            other => other.to_string(),
        };
        *self.dropped.entry(reason).or_default() += 1;
        if self.first_errors.len() < SHOWN_ERRORS {
            self.first_errors.push(problem.to_string());
        }
    }
}

/// What was read before, by its hash.
#[derive(Default)]
struct Seen {
    prompts: std::collections::HashSet<u64>,
    /// The labels of every answer.
    answers: std::collections::HashMap<u64, Vec<(u64, Level)>>,
}

impl Seen {
    /// Whether an answer was there before, and whether its labels contradict those it had.
    fn again(&mut self, answer: &LabeledResponse, objectives: &[Objective]) -> (bool, bool) {
        self.prompts.insert(hash(&answer.prompt));
        let labels = objectives.iter().zip(&answer.levels);
        let labels: Vec<(u64, Level)> =
            labels.filter_map(|(objective, level)| Some((hash(&objective.name), (*level)?))).collect();
        let key = hash(&(&answer.prompt, &answer.response));
        let Some(before) = self.answers.get_mut(&key) else {
            self.answers.insert(key, labels);
            return (false, false);
        };
        let level_before =
            |name: u64| before.iter().find(|(other, _)| *other == name).map(|(_, level)| *level);
        let contradicts =
            labels.iter().any(|(name, level)| level_before(*name).is_some_and(|before| before != *level));
        let new: Vec<(u64, Level)> =
            labels.into_iter().filter(|(name, _)| level_before(*name).is_none()).collect();
        // The same answer judged for another objective is not a repetition.
        let duplicate = new.is_empty();
        before.extend(new);
        (duplicate, contradicts)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The format of a file, from its first row; for MOSLIM's own the objectives are those of its labels.
fn format_of(path: &Path) -> Result<Format, InspectError> {
    let mut first = None;
    read_rows(path, |place, row| {
        first = Some((place.clone(), row));
        ControlFlow::Break(())
    })?;
    let row = match first {
        None => return Err(InspectError::Empty { path: path.into() }),
        Some((place, Err(problem))) => return Err(InspectError::Row { place, problem }),
        Some((_, Ok(row))) => row,
    };
    if ["prompt", "response", "labels"].iter().all(|field| row.get(field).is_some()) {
        return Ok(Format::own(labelled_objectives(path)?));
    }
    Format::of(&row).ok_or_else(|| InspectError::UnknownFormat {
        path: path.into(),
        found: match &row {
            Value::Object(fields) => fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            _ => "no fields".into(),
        },
        expected: Format::names().collect::<Vec<_>>().join(", "),
    })
}

/// The objectives of a file in MOSLIM's own format: integers become a scale, names are levels in the order of the alphabet.
fn labelled_objectives(path: &Path) -> Result<Vec<Objective>, InspectError> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    read_rows(path, |_, row| {
        let labels = row.ok().and_then(|row| row.get("labels")?.as_object().cloned());
        for (objective, level) in labels.into_iter().flatten() {
            let levels = names.entry(objective).or_default();
            let level = match level {
                Value::String(level) => level,
                Value::Null => continue,
                other => other.to_string(),
            };
            if !levels.contains(&level) {
                levels.push(level);
            }
        }
        ControlFlow::Continue(())
    })?;
    let objective = |(name, mut levels): (String, Vec<String>)| {
        levels.sort();
        let numbers: Option<Vec<i64>> = levels.iter().map(|level| integer(level)).collect();
        match numbers.as_deref().and_then(|numbers| Some((*numbers.iter().min()?, *numbers.iter().max()?))) {
            Some((low, high)) if high > low && high - low < 1000 => Objective::with_scale(name, low, high),
            Some((low, high)) if high == low => Objective::with_scale(name, low.min(0), high.max(1)),
            _ => Objective { name, levels },
        }
    };
    Ok(names.into_iter().map(objective).collect())
}
