//! What was read before.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use foldhash::quality::FixedState;
use indexmap::IndexSet;

use crate::{LabeledResponse, Level, Objective};

/// Prompts and answers by their hashes, and labels by the few combinations there are.
#[derive(Default)]
pub(super) struct Seen {
    pub prompts: HashSet<u64, BuildHasherDefault<AsItIs>>,
    /// The number of every answer's labels among the combinations.
    answers: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    combinations: IndexSet<Vec<(u64, Level)>>,
}

impl Seen {
    /// Whether an answer was there before, and whether its labels contradict those it had.
    pub fn again(&mut self, answer: &LabeledResponse, objectives: &[Objective]) -> (bool, bool) {
        self.prompts.insert(hash(&answer.prompt));
        let labels = objectives.iter().zip(&answer.levels);
        let labels: Vec<(u64, Level)> =
            labels.filter_map(|(objective, level)| Some((hash(&objective.name), (*level)?))).collect();
        let key = hash(&(&answer.prompt, &answer.response));
        let Some(&before) = self.answers.get(&key) else {
            let number = self.number(labels);
            self.answers.insert(key, number);
            return (false, false);
        };
        let before = &self.combinations[before as usize];
        let level_before =
            |name: u64| before.iter().find(|(other, _)| *other == name).map(|(_, level)| *level);
        let contradicts =
            labels.iter().any(|(name, level)| level_before(*name).is_some_and(|before| before != *level));
        let new: Vec<(u64, Level)> =
            labels.into_iter().filter(|(name, _)| level_before(*name).is_none()).collect();
        // The same answer judged for another objective is not a repetition.
        let duplicate = new.is_empty();
        if !duplicate {
            let number = self.number([before.clone(), new].concat());
            self.answers.insert(key, number);
        }
        (duplicate, contradicts)
    }

    fn number(&mut self, mut labels: Vec<(u64, Level)>) -> u32 {
        labels.sort_unstable();
        self.combinations.insert_full(labels).0 as u32
    }
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}

/// The hash of a hash.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
