//! How often levels stand, alone and together.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{LabeledResponse, Level, Objective};

/// How often an objective has each level.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelCounts {
    /// The names of the levels, from the lowest to the highest.
    pub levels: Vec<String>,
    /// Answers with each level.
    pub counts: Vec<usize>,
    /// Answers of the same files without a label for it.
    pub missing: usize,
    /// Labels by who or what gave them, as far as that is known.
    pub sources: BTreeMap<String, usize>,
}

/// How often two objectives have each pair of levels in rows that label both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Together {
    /// Their names.
    pub objectives: [String; 2],
    /// Answers, by the level of the first and then by that of the second objective.
    pub counts: Vec<Vec<usize>>,
}

/// The labels of all answers.
#[derive(Default)]
pub(super) struct Labels {
    /// The objectives in the order in which they came.
    counted: Vec<(String, LabelCounts)>,
    /// By the numbers of two objectives, the lower one first, and by their levels.
    together: BTreeMap<(usize, usize), Vec<Vec<usize>>>,
    /// The objectives of the file at hand.
    columns: Vec<Column>,
}

/// Where the labels for an objective of a file are counted.
struct Column {
    /// The objective's number.
    objective: usize,
    /// The level there that each level of the file is.
    levels: Vec<Level>,
}

impl Labels {
    /// Answers with labels for these objectives follow; two formats may give one objective different levels.
    pub fn begin(&mut self, objectives: &[Objective]) {
        self.columns = objectives.iter().map(|objective| self.column(objective)).collect();
    }

    fn column(&mut self, objective: &Objective) -> Column {
        let known = self.counted.iter().position(|(name, _)| *name == objective.name);
        let number = known.unwrap_or_else(|| {
            self.counted.push((objective.name.clone(), LabelCounts::default()));
            self.counted.len() - 1
        });
        let counts = &mut self.counted[number].1;
        let levels = objective.levels.iter().map(|level| counts.level(level)).collect();
        Column { objective: number, levels }
    }

    /// The labels of an answer, by the numbers of their objectives and ascending.
    pub fn of(&self, answer: &LabeledResponse) -> Vec<(usize, Level)> {
        let labels = self.columns.iter().zip(&answer.levels);
        let labels = labels.filter_map(|(column, level)| Some((column.objective, column.levels[(*level)?])));
        let mut labels: Vec<(usize, Level)> = labels.collect();
        labels.sort_unstable();
        labels
    }

    /// Counts an answer and its labels.
    pub fn count(&mut self, answer: &LabeledResponse, labels: &[(usize, Level)]) {
        for (column, (level, source)) in self.columns.iter().zip(answer.levels.iter().zip(&answer.sources)) {
            let counts = &mut self.counted[column.objective].1;
            counts.missing += usize::from(level.is_none());
            if let Some(source) = source {
                match counts.sources.get_mut(&**source) {
                    Some(n) => *n += 1,
                    None => drop(counts.sources.insert(source.to_string(), 1)),
                }
            }
        }
        for (index, &(one, level)) in labels.iter().enumerate() {
            self.counted[one].1.counts[level] += 1;
            for &(other, other_level) in &labels[index + 1..] {
                let table = self.together.entry((one, other)).or_default();
                if table.len() <= level {
                    table.resize(level + 1, vec![]);
                }
                if table[level].len() <= other_level {
                    table[level].resize(other_level + 1, 0);
                }
                table[level][other_level] += 1;
            }
        }
    }

    /// The counts by objective, and the tables of all pairs of objectives that stand together, both in the order of the alphabet.
    pub fn finish(self) -> (BTreeMap<String, LabelCounts>, Vec<Together>) {
        let tables = self.together.into_iter().map(|((one, other), counted)| {
            let [one, other] = [one, other].map(|number| &self.counted[number]);
            let cell =
                |level: usize, other: usize| counted.get(level).and_then(|row| row.get(other)).copied();
            let (n, n_other) = (one.1.levels.len(), other.1.levels.len());
            let counts = |n, n_other, cell: &dyn Fn(usize, usize) -> Option<usize>| {
                let row = |level| (0..n_other).map(|other| cell(level, other).unwrap_or(0)).collect();
                (0..n).map(row).collect()
            };
            match one.0 <= other.0 {
                true => Together {
                    objectives: [one.0.clone(), other.0.clone()],
                    counts: counts(n, n_other, &cell),
                },
                false => Together {
                    objectives: [other.0.clone(), one.0.clone()],
                    counts: counts(n_other, n, &|level, other| cell(other, level)),
                },
            }
        });
        let mut tables: Vec<Together> = tables.collect();
        tables.sort_by(|one, other| one.objectives.cmp(&other.objectives));
        (self.counted.into_iter().collect(), tables)
    }
}

impl LabelCounts {
    /// The number of a level, which may be new.
    fn level(&mut self, name: &String) -> Level {
        self.levels.iter().position(|level| level == name).unwrap_or_else(|| {
            self.levels.push(name.clone());
            self.counts.push(0);
            self.levels.len() - 1
        })
    }
}
