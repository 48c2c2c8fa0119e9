//! What was read before.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use foldhash::quality::FixedState;
use indexmap::IndexSet;

use crate::{LabeledResponse, Level, Prompt};

/// Prompts and answers by their hashes, and labels by the few combinations there are.
#[derive(Default)]
pub(super) struct Seen {
    prompts: Sharded<()>,
    /// The number of every answer's labels among the combinations.
    answers: Sharded<u32>,
    combinations: IndexSet<Vec<(usize, Level)>>,
}

impl Seen {
    /// Notes a prompt.
    pub fn prompt(&mut self, prompt: &Prompt) {
        let key = hash(prompt);
        self.prompts.shard(key).insert(key, ());
    }

    /// The number of different prompts.
    pub fn n_prompts(&self) -> usize {
        self.prompts.0.iter().map(HashMap::len).sum()
    }

    /// Whether an answer was there before, and whether its labels, by the numbers of their objectives, contradict those it had.
    pub fn again(&mut self, answer: &LabeledResponse, labels: Vec<(usize, Level)>) -> (bool, bool) {
        self.prompt(&answer.prompt);
        let key = hash(&(&answer.prompt, &answer.response));
        let Some(&before) = self.answers.shard(key).get(&key) else {
            let number = self.number(labels);
            self.answers.shard(key).insert(key, number);
            return (false, false);
        };
        let before = &self.combinations[before as usize];
        let level_before =
            |objective: usize| before.iter().find(|(other, _)| *other == objective).map(|(_, level)| *level);
        let contradicts = labels
            .iter()
            .any(|(objective, level)| level_before(*objective).is_some_and(|before| before != *level));
        let new: Vec<(usize, Level)> =
            labels.into_iter().filter(|(objective, _)| level_before(*objective).is_none()).collect();
        // The same answer judged for another objective is not a repetition.
        let duplicate = new.is_empty();
        if !duplicate {
            let number = self.number([before.clone(), new].concat());
            self.answers.shard(key).insert(key, number);
        }
        (duplicate, contradicts)
    }

    fn number(&mut self, mut labels: Vec<(usize, Level)>) -> u32 {
        labels.sort_unstable();
        self.combinations.insert_full(labels).0 as u32
    }
}

/// Tables that together are one: each grows by itself, so that there are never two of the whole at once.
struct Sharded<V>(Vec<HashMap<u64, V, BuildHasherDefault<AsItIs>>>);

impl<V> Default for Sharded<V> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| HashMap::default()).collect())
    }
}

const SHARDS: u64 = 64;

impl<V> Sharded<V> {
    fn shard(&mut self, key: u64) -> &mut HashMap<u64, V, BuildHasherDefault<AsItIs>> {
        // The tables themselves look at the lowest and at the highest bits.
        &mut self.0[(key >> 40 & (SHARDS - 1)) as usize]
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
