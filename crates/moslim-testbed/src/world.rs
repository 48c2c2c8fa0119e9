//! The world: streams of questions, answers and labels from a seed.

use std::collections::HashSet;

use moslim_data::{LabeledResponse, Level, Objective, ObjectiveSchema};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::plan::N_LEVELS;
use crate::question::Question;
use crate::{Gold, LabelOptions, LabelOptionsError, answer, local, lookup};

/// Which of the two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorldKind {
    /// Every level can be counted in the answer itself; a small reward model learns it at once.
    Local,
    /// Claims have to be checked against notes in the prompt; much harder to learn.
    Lookup,
}

/// The two halves that no question crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Nine questions of ten.
    Train,
    /// One question of ten, kept for evaluation.
    HeldOut,
}

impl Split {
    /// The half that a prompt belongs to, by a hash of its text alone: seed, stream and kind of world do not matter.
    ///
    /// ```
    /// use moslim_testbed::{Split, World, WorldKind};
    ///
    /// let prompts = World::new(WorldKind::Local, 1).prompts(Split::HeldOut, 3, 0);
    /// assert!(prompts.iter().all(|prompt| Split::of(prompt) == Split::HeldOut));
    /// ```
    pub fn of(prompt: &str) -> Self {
        // FNV-1a (Fowler, Noll and Vo), because the standard hasher may change between releases.
        let hash = prompt.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if hash.is_multiple_of(10) { Self::HeldOut } else { Self::Train }
    }
}

/// Questions, answers of mixed quality and labels, all drawn from one seed.
///
/// A stream of a split is an endless, independent sequence of distinct questions, each with one answer.
/// [`prompts`](Self::prompts), [`answered`](Self::answered) and [`labeled`](Self::labeled) of the same split and stream
/// show the same sequence, and a longer draw begins with the shorter one.
/// Use different streams where different questions are needed.
#[derive(Clone, Debug)]
pub struct World {
    kind: WorldKind,
    seed: u64,
    gold: Gold,
}

/// What random numbers are drawn for; each has its own generator.
#[derive(Clone, Copy)]
enum Purpose {
    Questions,
    Answers,
    Labels,
}

impl World {
    /// The world of this kind and seed; equal arguments give equal texts.
    pub fn new(kind: WorldKind, seed: u64) -> Self {
        Self { kind, seed, gold: Gold::new(kind) }
    }

    /// Helpfulness and honesty with levels `1` to `5`, harmlessness with levels `0` and `1`.
    ///
    /// ```
    /// use moslim_testbed::{World, WorldKind};
    ///
    /// assert_eq!(World::new(WorldKind::Local, 1).schema().n_levels(), [5, 5, 2]);
    /// ```
    pub fn schema(&self) -> ObjectiveSchema {
        let objectives = vec![
            Objective::with_scale("helpfulness", 1, 5),
            Objective::with_scale("honesty", 1, 5),
            Objective::with_scale("harmlessness", 0, 1),
        ];
        ObjectiveSchema::new(objectives).expect("names and levels are distinct")
    }

    /// The judge of this world.
    pub fn gold(&self) -> &Gold {
        &self.gold
    }

    /// The first `n` prompts of a stream.
    ///
    /// ```
    /// use moslim_testbed::{Split, World, WorldKind};
    ///
    /// let world = World::new(WorldKind::Local, 1);
    /// assert_eq!(world.prompts(Split::Train, 5, 0)[..3], world.prompts(Split::Train, 3, 0));
    /// ```
    pub fn prompts(&self, split: Split, n: usize, stream: u64) -> Vec<String> {
        self.questions(split, n, stream).into_iter().map(|(_, prompt)| prompt).collect()
    }

    /// The first `n` prompts of a stream, each with an answer whose levels are drawn uniformly and independently.
    ///
    /// ```
    /// use moslim_testbed::{Split, World, WorldKind};
    ///
    /// let world = World::new(WorldKind::Local, 1);
    /// let (prompt, answer) = &world.answered(Split::Train, 1, 0)[0];
    /// assert!(world.gold().levels(prompt, answer).is_some());
    /// ```
    pub fn answered(&self, split: Split, n: usize, stream: u64) -> Vec<(String, String)> {
        self.drawn(split, n, stream).into_iter().map(|(prompt, answer, _)| (prompt, answer)).collect()
    }

    /// The first `n` prompts and answers of a stream with gold levels as labels, made incomplete and noisy as asked.
    ///
    /// # Errors
    /// As [`LabelOptions::check`].
    ///
    /// ```
    /// use moslim_testbed::{LabelOptions, MissingPattern, Split, World, WorldKind};
    ///
    /// let world = World::new(WorldKind::Local, 1);
    /// let complete = LabelOptions { noise: 0.0, missing: MissingPattern::NOTHING };
    /// let labeled = &world.labeled(Split::Train, 1, 0, &complete)?[0];
    /// let gold = world.gold().levels(&labeled.prompt.question, &labeled.response).unwrap();
    /// assert_eq!(labeled.levels, gold.map(Some));
    /// # Ok::<(), moslim_testbed::LabelOptionsError>(())
    /// ```
    pub fn labeled(
        &self,
        split: Split,
        n: usize,
        stream: u64,
        options: &LabelOptions,
    ) -> Result<Vec<LabeledResponse>, LabelOptionsError> {
        options.check()?;
        let mut rng = self.generator(split, stream, Purpose::Labels);
        let label = |(prompt, response, levels)| {
            LabeledResponse::new(prompt, response, options.label(levels, &mut rng)).from_source("testbed")
        };
        Ok(self.drawn(split, n, stream).into_iter().map(label).collect())
    }

    /// A random answer with exactly these gold levels (helpfulness, honesty, harmlessness); every triple is reachable.
    ///
    /// `None` if the prompt is not a question of this world.
    ///
    /// # Panics
    /// If a level is not below 5, 5 and 2.
    ///
    /// ```
    /// use moslim_testbed::{Split, World, WorldKind};
    /// use rand::SeedableRng;
    ///
    /// let world = World::new(WorldKind::Local, 1);
    /// let prompt = &world.prompts(Split::HeldOut, 1, 0)[0];
    /// let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(7);
    /// let answer = world.answer_with_levels(prompt, [4, 0, 1], &mut rng).unwrap();
    /// assert_eq!(world.gold().levels(prompt, &answer), Some([4, 0, 1]));
    /// ```
    pub fn answer_with_levels(&self, prompt: &str, levels: [Level; 3], rng: &mut impl Rng) -> Option<String> {
        assert!(
            levels.iter().zip(N_LEVELS).all(|(&level, n_levels)| level < n_levels),
            "levels {levels:?}, expected each below {N_LEVELS:?}"
        );
        self.gold.question(prompt).map(|question| self.answer(&question, levels, rng))
    }

    fn answer(&self, question: &Question, levels: [Level; 3], rng: &mut impl Rng) -> String {
        let plan = match self.kind {
            WorldKind::Local => local::plan(question, levels, rng),
            WorldKind::Lookup => lookup::plan(question, levels, rng),
        };
        answer::write(question, plan, rng)
    }

    /// The first `n` questions of a stream, with their texts.
    ///
    /// A world has more than 10^9 questions, so that skipping what was already drawn costs next to nothing.
    fn questions(&self, split: Split, n: usize, stream: u64) -> Vec<(Question, String)> {
        let mut rng = self.generator(split, stream, Purpose::Questions);
        let mut seen = HashSet::new();
        let mut questions = Vec::with_capacity(n);
        while questions.len() < n {
            let question = Question::draw(self.kind, &mut rng);
            let prompt = question.text(&mut rng);
            if Split::of(&prompt) == split && seen.insert(prompt.clone()) {
                questions.push((question, prompt));
            }
        }
        questions
    }

    /// The first `n` prompts of a stream, their answers and the levels the answers were made for.
    fn drawn(&self, split: Split, n: usize, stream: u64) -> Vec<(String, String, [Level; 3])> {
        let mut rng = self.generator(split, stream, Purpose::Answers);
        let draw = |(question, prompt)| {
            let levels = N_LEVELS.map(|n_levels| rng.random_range(0..n_levels));
            let answer = self.answer(&question, levels, &mut rng);
            (prompt, answer, levels)
        };
        self.questions(split, n, stream).into_iter().map(draw).collect()
    }

    fn generator(&self, split: Split, stream: u64, purpose: Purpose) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&stream.to_le_bytes());
        key[16] = purpose as u8;
        key[17] = split as u8;
        ChaCha8Rng::from_seed(key)
    }
}
