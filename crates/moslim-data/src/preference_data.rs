//! Files of any format as the data of a run: answers that stand in several rows become one.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use indexmap::map::Entry;
use serde::{Deserialize, Serialize};

use crate::items::{Dropped, Reading};
use crate::mapping::with_quantiles;
use crate::{
    Bounds, Comparison, Item, LabeledResponse, Level, Mapping, Objective, ObjectiveSchema, OnError, Prompt,
    ReadError, SchemaError, Source,
};

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The objectives of the run; labels for others do not count. Those of the files where this is absent.
    pub objectives: Option<ObjectiveSchema>,
    /// What rows mean, for files of no known format.
    pub mapping: Option<Mapping>,
    /// What happens to rows that cannot be used.
    pub on_error: OnError,
    /// What becomes of pairs.
    pub pairs: Pairs,
}

/// What becomes of pairs of which one answer is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairs {
    /// They stay pairs.
    #[default]
    Compare,
    /// Two labelled answers: the preferred one has the highest level of their objective, the other one the lowest.
    ///
    /// Where the files name its levels nowhere, they are 0 and 1.
    Label,
}

/// What files hold, ready for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct PreferenceData {
    /// The objectives; `None` where nothing has labels.
    pub schema: Option<ObjectiveSchema>,
    /// Different answers, in the order in which they first appear.
    pub answers: Vec<LabeledResponse>,
    /// Pairs that stay pairs.
    pub comparisons: Vec<Comparison>,
    /// Prompts without an answer.
    pub prompts: Vec<Prompt>,
    /// Rows that repeat an answer; their labels count as votes.
    pub repeated: usize,
    /// Labels that were taken away because as many rows say one level as another.
    pub undecided: usize,
    /// Labels that the vote of several rows decided against at least one of them.
    pub outvoted: usize,
    /// Where quantiles were asked for, the numbers from which on the next level begins.
    pub bounds: Bounds,
    /// What was dropped.
    pub dropped: Dropped,
}

impl PreferenceData {
    /// Reads files, each of a known format or all as the mapping says.
    ///
    /// An answer that several rows label for one objective has the level that most of them say, counted by their weight;
    /// if there is none such, it has no label for that objective.
    /// The label's source is that of the first row that says so, and the answer's weight the mean of its rows'.
    ///
    /// ```
    /// use moslim_data::{PreferenceData, ReadOptions};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("judgements.jsonl");
    /// let row = |label: u8| format!("{{\"prompt\": \"a\", \"response\": \"b\", \"labels\": {{\"kind\": {label}}}}}\n");
    /// std::fs::write(&path, [row(0), row(1), row(1)].concat())?;
    /// let data = PreferenceData::read(&[path], &ReadOptions::default())?;
    /// assert_eq!(data.answers[0].levels, [Some(1)]);
    /// assert_eq!((data.repeated, data.outvoted), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A file that cannot be read, is of no known format or names the levels of an objective otherwise; the first bad
    /// row, if such rows are not to be skipped.
    pub fn read(files: &[PathBuf], options: &ReadOptions) -> Result<Self, ReadError> {
        let mut collected = Collected {
            fixed: options.objectives.is_some(),
            objectives: options.objectives.iter().flat_map(ObjectiveSchema::objectives).cloned().collect(),
            ..Collected::default()
        };
        let mut dropped = Dropped::default();
        let (mapping, bounds) = match &options.mapping {
            Some(mapping) => {
                with_quantiles(mapping, files).map(|(mapping, bounds)| (Some(mapping), bounds))?
            }
            None => (None, Bounds::new()),
        };
        for file in files {
            let reading = Reading::of(file, mapping.as_deref(), options.objectives.as_ref())?;
            let columns = collected.columns(file, reading.objectives())?;
            reading.read(file, options.on_error, &mut dropped, |item| match item {
                Item::Answer(answer) => collected.answer(answer, &columns),
                Item::Comparison(pair) if options.pairs == Pairs::Label => collected.label(pair),
                Item::Comparison(pair) => collected.comparisons.push(pair),
                Item::Prompt(prompt) => collected.prompts.push(prompt),
            })?;
        }
        let first = files.first().cloned().unwrap_or_default();
        let problem = |problem| ReadError::Objectives { path: first, problem };
        Ok(Self { bounds, ..collected.decide(dropped).map_err(problem)? })
    }

    /// What was read, in a sentence.
    pub fn summary(&self) -> String {
        let mut prompts: Vec<&Prompt> = self.answers.iter().map(|answer| &answer.prompt).collect();
        prompts.sort_unstable();
        prompts.dedup();
        let dropped: usize = self.dropped.dropped.values().sum();
        let bounds: String =
            self.bounds.iter().map(|(name, bounds)| format!("; quantiles of {name}: {bounds:?}")).collect();
        format!(
            "{} answers to {} prompts, {} pairs, {} prompts alone; {} rows repeat an answer, {} labels were outvoted, \
             {} undecided; {dropped} dropped{bounds}",
            self.answers.len(),
            prompts.len(),
            self.comparisons.len(),
            self.prompts.len(),
            self.repeated,
            self.outvoted,
            self.undecided,
        )
    }
}

/// Where the levels of a file's objective go: an objective of the run, and the level there that each of its levels is.
type Column = Option<(usize, Vec<Level>)>;

/// What was read so far.
#[derive(Default)]
struct Collected {
    /// Whether the objectives were known from the start.
    fixed: bool,
    objectives: Vec<Objective>,
    answers: IndexMap<(Prompt, String), Votes>,
    comparisons: Vec<Comparison>,
    prompts: Vec<Prompt>,
    repeated: usize,
}

/// What the rows of one answer say.
#[derive(Default)]
struct Votes {
    rows: usize,
    /// The sum over the rows.
    weight: f64,
    votes: Vec<Vote>,
}

/// What rows say about an answer's level.
struct Vote {
    objective: usize,
    level: Level,
    /// The sum over the rows that say so.
    weight: f64,
    source: Option<Source>,
}

impl Votes {
    fn add_row(&mut self, weight: f64) {
        self.rows += 1;
        self.weight += weight;
    }

    fn add(&mut self, objective: usize, level: Level, weight: f64, source: Option<Source>) {
        match self.votes.iter_mut().find(|vote| (vote.objective, vote.level) == (objective, level)) {
            Some(vote) => vote.weight += weight,
            None => self.votes.push(Vote { objective, level, weight, source }),
        }
    }

    /// The vote of most rows for an objective, and how many levels they say; `None` in place of a vote if there is no such one.
    fn decided(&self, objective: usize) -> (Option<&Vote>, usize) {
        let said = || self.votes.iter().filter(|vote| vote.objective == objective);
        let most = said().map(|vote| vote.weight).fold(0.0, f64::max);
        // Sums of the same weights in another order are no more or less.
        let mut first = said().filter(|vote| vote.weight >= most * (1.0 - 1e-9));
        let vote = first.next().filter(|_| first.next().is_none());
        (vote, said().count())
    }
}

impl Collected {
    /// Where the levels of a file's objectives go; objectives that are new are added, unless they were given.
    fn columns(&mut self, path: &Path, of_file: &[Objective]) -> Result<Vec<Column>, ReadError> {
        of_file.iter().map(|objective| self.column(path, objective)).collect()
    }

    /// The number of an objective; a new one is made, unless the objectives were given, of which it then is none.
    fn index_of(&mut self, name: &str, make: impl FnOnce() -> Objective) -> Option<usize> {
        let known = self.objectives.iter().position(|known| known.name == name);
        if known.is_none() && !self.fixed {
            self.objectives.push(make());
            return Some(self.objectives.len() - 1);
        }
        known
    }

    fn column(&mut self, path: &Path, objective: &Objective) -> Result<Column, ReadError> {
        let Some(index) = self.index_of(&objective.name, || objective.clone()) else { return Ok(None) };
        let level = |name: &String| {
            self.objectives[index].level(name).ok_or_else(|| ReadError::Levels {
                path: path.into(),
                objective: objective.name.clone(),
                found: objective.levels.join(", "),
                expected: self.objectives[index].levels.join(", "),
            })
        };
        Ok(Some((index, objective.levels.iter().map(level).collect::<Result<_, _>>()?)))
    }

    fn votes(&mut self, prompt: Prompt, response: String) -> &mut Votes {
        match self.answers.entry((prompt, response)) {
            Entry::Occupied(votes) => {
                self.repeated += 1;
                votes.into_mut()
            }
            Entry::Vacant(place) => place.insert(Votes::default()),
        }
    }

    fn answer(&mut self, answer: LabeledResponse, columns: &[Column]) {
        let votes = self.votes(answer.prompt, answer.response);
        votes.add_row(answer.weight);
        for ((column, level), source) in columns.iter().zip(answer.levels).zip(answer.sources) {
            if let (Some((objective, levels)), Some(level)) = (column, level) {
                votes.add(*objective, levels[level], answer.weight, source);
            }
        }
    }

    /// Makes two labelled answers of a pair.
    fn label(&mut self, pair: Comparison) {
        let Comparison { prompt, objective, chosen, rejected } = pair;
        let index = self.index_of(&objective, || Objective::with_scale(&objective, 0, 1));
        let highest = index.map(|index| (index, self.objectives[index].n_levels() - 1));
        for (response, vote) in [(chosen, highest), (rejected, index.map(|index| (index, 0)))] {
            let votes = self.votes(prompt.clone(), response);
            votes.add_row(1.0);
            if let Some((objective, level)) = vote {
                votes.add(objective, level, 1.0, None);
            }
        }
    }

    /// Counts the votes.
    fn decide(self, dropped: Dropped) -> Result<PreferenceData, SchemaError> {
        let Self { objectives, answers, comparisons, prompts, repeated, .. } = self;
        let (mut undecided, mut outvoted) = (0, 0);
        let answers = answers.into_iter().map(|((prompt, response), votes)| {
            let decided = (0..objectives.len()).map(|objective| {
                let (vote, n_said) = votes.decided(objective);
                match vote {
                    Some(_) => outvoted += usize::from(n_said > 1),
                    None => undecided += usize::from(n_said > 1),
                }
                vote.map(|vote| (vote.level, vote.source.clone()))
            });
            let decided: Vec<Option<(Level, Option<Source>)>> = decided.collect();
            LabeledResponse {
                prompt,
                response,
                levels: decided.iter().map(|label| label.as_ref().map(|(level, _)| *level)).collect(),
                sources: decided.into_iter().map(|label| label?.1).collect(),
                weight: votes.weight / votes.rows as f64,
            }
        });
        let answers = answers.collect();
        let schema = (!objectives.is_empty()).then(|| ObjectiveSchema::new(objectives)).transpose()?;
        Ok(PreferenceData {
            schema,
            answers,
            comparisons,
            prompts,
            repeated,
            undecided,
            outvoted,
            bounds: Bounds::new(),
            dropped,
        })
    }
}
