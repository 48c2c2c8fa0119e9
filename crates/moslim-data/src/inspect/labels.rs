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
}

/// How often two objectives have each pair of levels in rows that label both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Together {
    /// Their names.
    pub objectives: [String; 2],
    /// Answers, by the level of the first and then by that of the second objective.
    pub counts: Vec<Vec<usize>>,
}

/// How often each pair of levels stands.
type Cells = BTreeMap<(Level, Level), usize>;

/// The labels of all answers.
#[derive(Default)]
pub(super) struct Labels {
    pub objectives: BTreeMap<String, LabelCounts>,
    /// By the names, in the order of the alphabet.
    together: BTreeMap<String, BTreeMap<String, Cells>>,
}

impl Labels {
    /// Counts the labels of an answer.
    pub fn count(&mut self, answer: &LabeledResponse, objectives: &[Objective]) {
        let mut here: Vec<(&str, Level)> = Vec::with_capacity(objectives.len());
        for (objective, level) in objectives.iter().zip(&answer.levels) {
            // Asked for by reference first: a name is only copied when it is new.
            if !self.objectives.contains_key(&objective.name) {
                let counts = LabelCounts {
                    levels: objective.levels.clone(),
                    counts: vec![0; objective.n_levels()],
                    missing: 0,
                };
                self.objectives.insert(objective.name.clone(), counts);
            }
            let counts = self.objectives.get_mut(&objective.name).expect("it was just put there");
            match level {
                Some(level) => here.push((&objective.name, counts.add(&objective.levels[*level]))),
                None => counts.missing += 1,
            }
        }
        here.sort_unstable();
        for (index, &(name, level)) in here.iter().enumerate() {
            for &(other, other_level) in &here[index + 1..] {
                // As above, a name is only copied when it is new.
                if !self.together.get(name).is_some_and(|others| others.contains_key(other)) {
                    let others = self.together.entry(name.to_owned()).or_default();
                    others.insert(other.to_owned(), Cells::new());
                }
                let table = self.together.get_mut(name).and_then(|others| others.get_mut(other));
                let table = table.expect("it was just put there");
                *table.entry((level, other_level)).or_default() += 1;
            }
        }
    }

    /// The tables of all pairs of objectives that stand together.
    pub fn together(&self) -> Vec<Together> {
        let pairs = self
            .together
            .iter()
            .flat_map(|(one, others)| others.iter().map(move |(other, cells)| (one, other, cells)));
        let tables = pairs.map(|(one, other, cells)| {
            let n = |name: &String| self.objectives[name].levels.len();
            let mut counts = vec![vec![0; n(other)]; n(one)];
            cells.iter().for_each(|(&(level, other_level), &n)| counts[level][other_level] = n);
            Together { objectives: [one.clone(), other.clone()], counts }
        });
        tables.collect()
    }
}

impl LabelCounts {
    /// Counts a level by its name, which may be new: two formats may give one objective different levels.
    fn add(&mut self, name: &String) -> Level {
        let level = self.levels.iter().position(|level| level == name).unwrap_or_else(|| {
            self.levels.push(name.clone());
            self.counts.push(0);
            self.levels.len() - 1
        });
        self.counts[level] += 1;
        level
    }
}
