//! What is in somebody's files, before anything is trained on it.

mod labels;
mod lengths;
mod seen;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::items::{Dropped, Reading};
use crate::mapping::with_quantiles;
use crate::{Bounds, Comparison, Item, LabeledResponse, Mapping, Objective, OnError, Prompt, ReadError};
use labels::Labels;
use lengths::Lengths;
use seen::{Seen, hash};

pub use labels::{LabelCounts, Together};
pub use lengths::LengthPercentiles;

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
    /// The labels of every two objectives.
    pub together: Vec<Together>,
    /// Where quantiles were asked for, the numbers from which on the next level begins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: Bounds,
    /// Different prompts.
    pub prompts: usize,
    /// Answers that stand there already, with the same prompt.
    pub duplicates: usize,
    /// Duplicates whose labels contradict an earlier one's.
    pub contradictions: usize,
    /// How long the prompts of all records are.
    pub prompt_lengths: LengthPercentiles,
    /// How long their answers are, both of a pair.
    pub response_lengths: LengthPercentiles,
    /// Some records, drawn by the hash of their texts.
    pub examples: Vec<Example>,
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

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The prompt.
    pub prompt: Prompt,
    /// The answer, or the preferred one of a pair; none of a prompt alone.
    pub response: Option<String>,
    /// The other answer of a pair.
    pub rejected: Option<String>,
    /// The levels of an answer by objective; of a pair, what it is preferred in.
    pub labels: BTreeMap<String, String>,
}

/// How files are inspected.
#[derive(Clone, Copy, Default)]
pub struct InspectOptions<'a> {
    /// What rows mean, for files of no known format.
    pub mapping: Option<&'a Mapping>,
    /// What happens to rows that cannot be used.
    pub on_error: OnError,
    /// The length of a text, such as its tokens; its characters where this is absent.
    pub length: Option<&'a dyn Fn(&str) -> usize>,
}

/// Records that are shown.
const EXAMPLES: usize = 10;

impl Inspection {
    /// Reads files from beginning to end; each is of a known format, or all follow the mapping.
    ///
    /// Memory grows by some bytes for every different answer, whatever its length.
    ///
    /// # Errors
    /// A file that cannot be read or is of no known format; the first bad row, if such rows are not to be skipped.
    pub fn of(paths: &[PathBuf], options: InspectOptions<'_>) -> Result<Self, ReadError> {
        let mut inspector = Inspector::new(options);
        let mut dropped = Dropped::default();
        let mut mapping = None;
        if let Some(with_names) = options.mapping {
            let (with_numbers, bounds) = with_quantiles(with_names, paths)?;
            inspector.found.bounds = bounds;
            mapping = Some(with_numbers);
        }
        for path in paths {
            let reading = Reading::of(path, mapping.as_deref(), None)?;
            let before = inspector.found.records;
            inspector.labels.begin(reading.objectives());
            reading.read(path, options.on_error, &mut dropped, |item| {
                inspector.count(item, reading.objectives());
            })?;
            let records = inspector.found.records - before;
            let format = reading.name().to_owned();
            inspector.found.files.push(InspectedFile { path: path.clone(), format, records });
        }
        Ok(Self { dropped, ..inspector.finish() })
    }
}

/// What is known while files are read.
struct Inspector<'a> {
    found: Inspection,
    length: &'a dyn Fn(&str) -> usize,
    seen: Seen,
    labels: Labels,
    prompts: Lengths,
    responses: Lengths,
    /// Those with the lowest hashes so far, in their order.
    examples: BTreeMap<u64, Example>,
}

impl<'a> Inspector<'a> {
    fn new(options: InspectOptions<'a>) -> Self {
        Self {
            found: Inspection::default(),
            length: options.length.unwrap_or(&|text| text.chars().count()),
            seen: Seen::default(),
            labels: Labels::default(),
            prompts: Lengths::default(),
            responses: Lengths::default(),
            examples: BTreeMap::new(),
        }
    }

    fn count(&mut self, item: Item, objectives: &[Objective]) {
        self.found.records += 1;
        match &item {
            Item::Answer(answer) => {
                self.found.labeled += usize::from(answer.levels.iter().any(Option::is_some));
                let labels = self.labels.of(answer);
                self.labels.count(answer, &labels);
                let (duplicate, contradicts) = self.seen.again(answer, labels);
                self.found.duplicates += usize::from(duplicate);
                self.found.contradictions += usize::from(contradicts);
                self.measure(&answer.prompt, &[&answer.response]);
            }
            Item::Comparison(pair) => {
                self.found.comparisons += 1;
                self.seen.prompt(&pair.prompt);
                self.measure(&pair.prompt, &[&pair.chosen, &pair.rejected]);
            }
            Item::Prompt(prompt) => {
                self.seen.prompt(prompt);
                self.measure(prompt, &[]);
            }
        }
        self.show(item, objectives);
    }

    fn measure(&mut self, prompt: &Prompt, responses: &[&String]) {
        self.prompts.add((self.length)(&prompt.text()));
        responses.iter().for_each(|response| self.responses.add((self.length)(response)));
    }

    /// Keeps a record as an example if its hash is low enough.
    fn show(&mut self, item: Item, objectives: &[Objective]) {
        let key = match &item {
            Item::Answer(LabeledResponse { prompt, response, .. }) => hash(&(prompt, response)),
            Item::Comparison(Comparison { prompt, chosen, rejected, .. }) => {
                hash(&(prompt, chosen, rejected))
            }
            Item::Prompt(prompt) => hash(prompt),
        };
        if self.examples.len() == EXAMPLES
            && self.examples.last_key_value().is_some_and(|(last, _)| key >= *last)
        {
            return;
        }
        let example = match item {
            Item::Answer(LabeledResponse { prompt, response, levels, .. }) => {
                let labels = objectives.iter().zip(levels);
                let named = labels.filter_map(|(objective, level)| {
                    Some((objective.name.clone(), objective.levels[level?].clone()))
                });
                Example { prompt, response: Some(response), rejected: None, labels: named.collect() }
            }
            Item::Comparison(Comparison { prompt, objective, chosen, rejected }) => Example {
                prompt,
                response: Some(chosen),
                rejected: Some(rejected),
                labels: BTreeMap::from([(objective, "preferred".into())]),
            },
            Item::Prompt(prompt) => {
                Example { prompt, response: None, rejected: None, labels: BTreeMap::new() }
            }
        };
        self.examples.insert(key, example);
        if self.examples.len() > EXAMPLES {
            self.examples.pop_last();
        }
    }

    fn finish(self) -> Inspection {
        let (objectives, together) = self.labels.finish();
        Inspection {
            prompts: self.seen.n_prompts(),
            together,
            objectives,
            prompt_lengths: self.prompts.percentiles(),
            response_lengths: self.responses.percentiles(),
            examples: self.examples.into_values().collect(),
            ..self.found
        }
    }
}
