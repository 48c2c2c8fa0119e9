//! The questions, answers and labels of a run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use moslim_data::{
    Comparison, LabeledResponse, ObjectiveSchema, PreferenceData, Prompt, ReadOptions, is_held_out,
    split_by_prompt,
};
use moslim_testbed::{LabelOptions, MissingPattern, Split, World};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use moslim_reward_model::FitConfig;

use crate::manifest::PLAIN_TEXT;
use crate::{DataFile, DataRecipe, Error, Recipe};

/// Everything a run learns from and is measured on.
#[derive(Clone)]
pub struct Datasets {
    /// What was read from files.
    pub summary: Option<String>,
    /// The files that the run learns from.
    pub files: Vec<DataFile>,
    /// The objectives.
    pub schema: ObjectiveSchema,
    /// Questions and answers for supervised fine-tuning, without labels.
    pub sft: Vec<(Prompt, String)>,
    /// What the reward model learns from.
    pub labeled: Labeled,
    /// What it is measured on: answers to held-out questions.
    pub held_out: Labeled,
    /// What a judge learns from, answers to other held-out questions; empty where there is an exact one.
    pub judge: Labeled,
    /// Questions for policy optimisation.
    pub train_prompts: Vec<Prompt>,
    /// Held-out questions for evaluation, all different.
    pub held_out_prompts: Vec<Prompt>,
}

/// Answers with labels, and pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labeled {
    /// Answers with labels.
    pub answers: Vec<LabeledResponse>,
    /// Pairs of which one answer is preferred.
    pub pairs: Vec<Comparison>,
}

impl Labeled {
    /// Whether there is neither.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.pairs.is_empty()
    }

    /// Divides both by prompt, into what stays and about this share of the prompts; see [`split_by_prompt`].
    ///
    /// # Panics
    /// If the share is not within 0 and 1.
    pub fn split(self, share: f64, seed: u64) -> (Self, Self) {
        let (answers, other_answers) = split_by_prompt(self.answers, share, seed);
        let (other_pairs, pairs) =
            self.pairs.into_iter().partition(|pair| is_held_out(&pair.prompt, share, seed));
        (Self { answers, pairs }, Self { answers: other_answers, pairs: other_pairs })
    }

    /// Questions with their answers, and with the better answers of pairs.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&Prompt, &str)> {
        let answers = self.answers.iter().map(|answer| (&answer.prompt, answer.response.as_str()));
        answers.chain(self.pairs.iter().map(|pair| (&pair.prompt, pair.chosen.as_str())))
    }

    /// The questions in the order of their first answers, those of pairs last.
    fn distinct_prompts(&self) -> Vec<Prompt> {
        let mut seen = BTreeSet::new();
        self.texts().map(|(prompt, _)| prompt).filter(|prompt| seen.insert(*prompt)).cloned().collect()
    }
}

/// Streams of the testbed, so that no stage sees the draws of another.
mod stream {
    pub const SFT: u64 = 0;
    pub const LABELED: u64 = 1;
    pub const HELD_OUT: u64 = 2;
    pub const TRAIN_PROMPTS: u64 = 3;
    pub const EVALUATION: u64 = 4;
}

impl Datasets {
    /// Draws or reads the data of a recipe.
    ///
    /// # Errors
    /// If a file cannot be read, a line is malformed, or there is nothing to learn from or to measure on.
    pub fn of(recipe: &Recipe) -> Result<Self, Error> {
        match &recipe.data {
            DataRecipe::Testbed {
                world,
                objectives,
                sft_answers,
                labeled_answers,
                held_out_answers,
                labels,
            } => {
                for (key, n) in [
                    ("sft_answers", sft_answers),
                    ("labeled_answers", labeled_answers),
                    ("held_out_answers", held_out_answers),
                ] {
                    if *n == 0 {
                        return Err(Error::Unusable {
                            place: format!("data.{key}"),
                            found: "0".into(),
                            expected: "at least 1".into(),
                        });
                    }
                }
                let world = World::new(*world, recipe.seed);
                let schema = chosen(&world.schema(), objectives.as_deref())?;
                recipe.reward_model.heads(&schema).map_err(Error::fit("reward_model"))?;
                let clean = LabelOptions { noise: 0.0, missing: MissingPattern::NOTHING };
                let n_prompts = recipe.policy.max_steps * recipe.policy.prompts_per_step;
                let all = Self {
                    summary: None,
                    files: plain_text_files(recipe)?,
                    schema: world.schema(),
                    sft: world
                        .answered(Split::Train, *sft_answers, stream::SFT)
                        .into_iter()
                        .map(|(question, answer)| (question.into(), answer))
                        .collect(),
                    labeled: Labeled {
                        answers: world.labeled(Split::Train, *labeled_answers, stream::LABELED, labels)?,
                        pairs: vec![],
                    },
                    held_out: Labeled {
                        answers: world.labeled(
                            Split::HeldOut,
                            *held_out_answers,
                            stream::HELD_OUT,
                            &clean,
                        )?,
                        pairs: vec![],
                    },
                    judge: Labeled::default(),
                    train_prompts: prompts(world.prompts(Split::Train, n_prompts, stream::TRAIN_PROMPTS)),
                    held_out_prompts: prompts(world.prompts(
                        Split::HeldOut,
                        recipe.evaluation.prompts,
                        stream::EVALUATION,
                    )),
                };
                Ok(all.under(schema))
            }
            DataRecipe::Files {
                objectives,
                labeled,
                mapping,
                on_error,
                pairs,
                held_out_share,
                judge: judge_config,
                ..
            } => {
                if labeled.paths().is_empty() {
                    return Err(Error::Unusable {
                        place: "data.labeled".into(),
                        found: "no file".into(),
                        expected: "a file or several".into(),
                    });
                }
                let options = ReadOptions {
                    objectives: objectives.clone(),
                    mapping: mapping.as_deref().cloned(),
                    on_error: *on_error,
                    pairs: *pairs,
                };
                let mut named = Vec::new();
                for name in labeled.paths() {
                    let files = crate::data_files(std::slice::from_ref(name))?;
                    named.extend(files.into_iter().map(|path| (name, path)));
                }
                let paths: Vec<PathBuf> = named.iter().map(|(_, path)| path.clone()).collect();
                let data = PreferenceData::read(&paths, &options).map_err(Box::new)?;
                let summary = data.summary();
                let PreferenceData { schema: Some(schema), answers, comparisons: pairs, .. } = data else {
                    return Err(Error::Unusable {
                        place: labeled.to_string(),
                        found: summary,
                        expected: "labels, or data.objectives; data.pairs = \"label\" makes two labelled answers of a pair"
                            .into(),
                    });
                };
                let fits = [("reward_model", &recipe.reward_model), ("data.judge", judge_config.as_ref())];
                check_pairs(fits, &schema, answers.is_empty(), &summary)?;
                let (train, held_out) =
                    Labeled { answers, pairs }.split(*held_out_share, split_seed(recipe.seed, 0));
                // Half of the held-out questions teach the judge, the other half measures everything.
                let (measured, judge) = held_out.split(0.5, split_seed(recipe.seed, 1));
                for (part, records) in [("training", &train), ("judge", &judge), ("evaluation", &measured)] {
                    if records.is_empty() {
                        return Err(Error::Unusable {
                            place: labeled.to_string(),
                            found: format!("no question in the {part} part"),
                            expected: "questions in every part; add data or change data.held_out_share"
                                .into(),
                        });
                    }
                }
                // Last of all, since everything else that may be wrong is told sooner.
                let files = named.iter().map(|(name, path)| DataFile::of("labelled answers", name, path));
                let mut files: Vec<DataFile> = files.collect::<Result<_, _>>()?;
                files.extend(plain_text_files(recipe)?);
                let mut held_out_prompts = measured.distinct_prompts();
                held_out_prompts.truncate(recipe.evaluation.prompts);
                Ok(Self {
                    summary: Some(format!("{labeled}: {summary}")),
                    files,
                    schema,
                    sft: train.texts().map(|(prompt, answer)| (prompt.clone(), answer.into())).collect(),
                    train_prompts: train.distinct_prompts(),
                    labeled: train,
                    held_out: measured,
                    judge,
                    held_out_prompts,
                })
            }
        }
    }
}

impl Datasets {
    /// The same under other objectives: those that the data has not are without labels, and labels of others are left out.
    pub(crate) fn under(self, schema: ObjectiveSchema) -> Self {
        let own = &self.schema;
        let places: Vec<Option<usize>> =
            schema.objectives().iter().map(|objective| own.index_of(&objective.name)).collect();
        let moved = |mut labeled: Labeled| {
            for answer in &mut labeled.answers {
                answer.levels = places.iter().map(|place| answer.levels[(*place)?]).collect();
                answer.sources = places.iter().map(|place| answer.sources[(*place)?].clone()).collect();
            }
            labeled.pairs.retain(|pair| schema.index_of(&pair.objective).is_some());
            labeled
        };
        let [labeled, held_out, judge] = [self.labeled, self.held_out, self.judge].map(moved);
        Self { labeled, held_out, judge, schema, ..self }
    }
}

/// The objectives of these names, in the order of the schema that has them; all if there are no names.
fn chosen(schema: &ObjectiveSchema, names: Option<&[String]>) -> Result<ObjectiveSchema, Error> {
    let Some(names) = names else { return Ok(schema.clone()) };
    let known: Vec<&str> = schema.objectives().iter().map(|objective| objective.name.as_str()).collect();
    let unknown = names.iter().find(|name| !known.contains(&name.as_str()));
    let chosen = schema.objectives().iter().filter(|objective| names.contains(&objective.name)).cloned();
    match (unknown, ObjectiveSchema::new(chosen.collect())) {
        (None, Ok(schema)) => Ok(schema),
        (unknown, _) => Err(Error::Unusable {
            place: "data.objectives".into(),
            found: unknown.map_or("none".into(), |unknown| format!("`{unknown}`")),
            expected: format!("some of {}", known.join(", ")),
        }),
    }
}

/// The seed of a division, which has nothing to do with that of `moslim data split` with the seed of the recipe: what is left of
/// one division would be no sample for another by the same numbers.
fn split_seed(seed: u64, division: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX - division);
    rng.next_u64()
}

fn prompts(questions: Vec<String>) -> Vec<Prompt> {
    questions.into_iter().map(Prompt::from).collect()
}

fn plain_text_files(recipe: &Recipe) -> Result<Vec<DataFile>, Error> {
    let files = recipe.pretraining.iter().flat_map(|pretraining| &pretraining.files);
    files.map(|path| DataFile::of(PLAIN_TEXT, path, path)).collect()
}

/// Refuses pairs alone where no head of a reward model learns from them.
fn check_pairs(
    fits: [(&'static str, &FitConfig); 2],
    schema: &ObjectiveSchema,
    without_answers: bool,
    summary: &str,
) -> Result<(), Error> {
    for (table, fit) in fits {
        let heads = fit.heads(schema).map_err(Error::fit(table))?;
        if without_answers && heads.iter().all(|head| !head.kind.compares()) {
            return Err(Error::Unusable {
                place: "data.pairs".into(),
                found: summary.into(),
                expected: format!(
                    "labels; \"label\" makes two labelled answers of a pair, and a {table}.head of the kind bradley_terry \
                     learns from pairs"
                ),
            });
        }
    }
    Ok(())
}
