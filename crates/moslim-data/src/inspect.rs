//! What is in somebody's files, before anything is trained on it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use serde::Serialize;

use crate::items::{Dropped, Reading};
use crate::{Comparison, Item, LabeledResponse, Level, Mapping, Objective, OnError, ReadError};

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
    /// What was dropped.
    #[serde(flatten)]
    pub dropped: Dropped,
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

impl Inspection {
    /// Reads files from beginning to end; each is of a known format, or all follow the mapping.
    ///
    /// Memory grows by some bytes for every different answer, whatever its length.
    ///
    /// # Errors
    /// A file that cannot be read or is of no known format; the first bad row, if such rows are not to be skipped.
    pub fn of(paths: &[PathBuf], mapping: Option<&Mapping>, on_error: OnError) -> Result<Self, ReadError> {
        let mut inspection = Self::default();
        let mut seen = Seen::default();
        for path in paths {
            let reading = Reading::of(path, mapping, None)?;
            let before = inspection.records;
            let mut dropped = std::mem::take(&mut inspection.dropped);
            let read = reading.read(path, on_error, &mut dropped, |item| {
                inspection.count(item, reading.objectives(), &mut seen);
            });
            inspection.dropped = dropped;
            read?;
            let records = inspection.records - before;
            let format = reading.name().to_owned();
            inspection.files.push(InspectedFile { path: path.clone(), format, records });
        }
        inspection.prompts = seen.prompts.len();
        Ok(inspection)
    }

    fn count(&mut self, item: Item, objectives: &[Objective], seen: &mut Seen) {
        self.records += 1;
        match item {
            Item::Answer(answer) => {
                self.count_labels(&answer, objectives);
                let (duplicate, contradicts) = seen.again(&answer, objectives);
                self.duplicates += usize::from(duplicate);
                self.contradictions += usize::from(contradicts);
            }
            Item::Comparison(Comparison { prompt, .. }) => {
                self.comparisons += 1;
                seen.prompts.insert(hash(&prompt));
            }
            Item::Prompt(prompt) => {
                seen.prompts.insert(hash(&prompt));
            }
        }
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
