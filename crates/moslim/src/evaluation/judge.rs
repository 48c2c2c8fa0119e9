//! Who says which levels an answer has.

use std::collections::BTreeMap;

use moslim_data::{Comparison, LabeledResponse, Level, Objective, Prompt, Request};
use moslim_eval::classification::{Classified, ComparedReport, HeadReport, expected_level, most_probable};
use moslim_reward_mapping::ClassProbabilities;
use moslim_reward_model::{Judgement, RewardModelFolder};
use moslim_testbed::{Gold, World};
use rand::Rng;

use crate::mapped_reward::{classify, classify_with_opinions};
use crate::run::Purpose;
use crate::{DataRecipe, Datasets, Error, MappedReward, Run};

/// A judge that the policy was not trained on.
pub(crate) enum Judge {
    /// Computes the levels from the text; those of the run's objectives, by their numbers, are looked at.
    Gold(Gold, Vec<usize>),
    /// A second reward model that learned from held-out questions.
    Model(Box<RewardModelFolder>),
}

impl Judge {
    /// The judge that the data of the run has.
    pub(crate) fn of(run: &Run) -> Result<Self, Error> {
        match &run.recipe.data {
            DataRecipe::Testbed { world, objectives, .. } => {
                let world = World::new(*world, run.recipe.seed);
                let is_chosen = |name: &String| objectives.as_ref().is_none_or(|names| names.contains(name));
                let schema = world.schema();
                let all = schema.objectives().iter().enumerate();
                let chosen =
                    all.filter(|(_, objective)| is_chosen(&objective.name)).map(|(number, _)| number);
                Ok(Self::Gold(world.gold().clone(), chosen.collect()))
            }
            DataRecipe::Files { .. } => match run.judge_folder() {
                path if path.exists() => {
                    Ok(Self::Model(Box::new(RewardModelFolder::read(&path, &run.device)?)))
                }
                path => Err(Error::StageMissing { path, stage: "reward fit" }),
            },
        }
    }

    /// How well the judge's own heads classify; nothing of an exact one.
    pub(super) fn heads(&self, run: &Run, datasets: &Datasets) -> Result<Option<Vec<HeadReport>>, Error> {
        match self {
            Self::Gold(..) => Ok(None),
            Self::Model(model) => head_reports(run, datasets, model).map(Some),
        }
    }

    /// How reports call the judge that data has.
    pub(crate) fn name_for(data: &DataRecipe) -> &'static str {
        match data {
            DataRecipe::Testbed { .. } => "gold",
            DataRecipe::Files { .. } => "held-out reward model",
        }
    }

    /// How the report calls the judge.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Gold(..) => "gold",
            Self::Model(_) => "held-out reward model",
        }
    }

    /// The levels of answers, given as prompt and answer text. `[n_answers][n_objectives]`
    pub(crate) fn levels(&self, answers: &[(&Prompt, &str)]) -> Result<Vec<Vec<Level>>, Error> {
        match self {
            Self::Gold(gold, objectives) => answers
                .iter()
                .map(|(question, answer)| match gold.levels(&question.question, answer) {
                    Some(levels) => Ok(objectives.iter().map(|&objective| levels[objective]).collect()),
                    None => Err(Error::Unusable {
                        place: format!("question `{question}`"),
                        found: "no question of the testbed".into(),
                        expected: "a question that the testbed asked".into(),
                    }),
                })
                .collect(),
            Self::Model(model) => Ok(classify(model, answers)?
                .iter()
                .map(|probabilities| probabilities.0.iter().map(|head| most_probable(head)).collect())
                .collect()),
        }
    }
}

impl Judge {
    /// The scores of answers, given as prompt and answer text, whose levels are those of the judge with certainty.
    pub(crate) fn scores(
        &self,
        reward: &MappedReward,
        answers: &[(&Prompt, &str)],
        requests: &[&Request],
    ) -> Result<Vec<f64>, Error> {
        let n_levels = reward.n_levels();
        let levels = self.levels(answers)?;
        let of_answer = |(levels, request): (Vec<Level>, &&Request)| {
            let certain = levels
                .iter()
                .zip(&n_levels)
                .map(|(&level, &n)| (0..n).map(|class| f64::from(u8::from(class == level))).collect());
            let certain = ClassProbabilities(certain.collect());
            // A judge that is certain has one opinion.
            let opinions = vec![certain.clone()];
            reward.map(&Judgement { probabilities: certain, opinions }, request)
        };
        levels.into_iter().zip(requests).map(of_answer).collect()
    }
}

/// How well every head of a reward model classifies the run's held-out answers, which neither the reward model nor the
/// judge has learned from.
pub(crate) fn head_reports(
    run: &Run,
    datasets: &Datasets,
    reward_model: &RewardModelFolder,
) -> Result<Vec<HeadReport>, Error> {
    let resamples = run.recipe.evaluation.resamples;
    let answers = &datasets.held_out.answers;
    measure_heads(reward_model, answers, Opinion::Own, resamples, &mut run.rng(Purpose::Bootstrap))
}

/// Whose probabilities are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// The model's own.
    Own,
    /// The mean of all opinions, where there are several.
    Mean,
}

/// How well every head of a reward model classifies labelled answers; intervals come from `resamples` draws of the prompts.
///
/// # Errors
/// If the tokenizer fails.
///
/// # Panics
/// If the answers' levels are not those of the model's objectives.
pub fn measure_heads(
    reward_model: &RewardModelFolder,
    records: &[LabeledResponse],
    opinion: Opinion,
    resamples: usize,
    rng: &mut impl Rng,
) -> Result<Vec<HeadReport>, Error> {
    let answers: Vec<(&Prompt, &str)> =
        records.iter().map(|record| (&record.prompt, record.response.as_str())).collect();
    let judgements = classify_with_opinions(reward_model, &answers)?;
    let probabilities: Vec<ClassProbabilities> = judgements
        .iter()
        .map(|judgement| match opinion {
            Opinion::Own => judgement.probabilities.clone(),
            Opinion::Mean => judgement.mean_probabilities(),
        })
        .collect();
    let deviations: Vec<Vec<f64>> = judgements.iter().map(Judgement::level_deviations).collect();
    let prompts = numbered(records.iter().map(|record| &record.prompt));
    let heads = (0..reward_model.schema.len()).map(|objective| {
        let labelled: Vec<usize> =
            (0..records.len()).filter(|&row| records[row].levels[objective].is_some()).collect();
        let of = |row: &usize| probabilities[*row].0[objective].clone();
        let label = |row: &usize| records[*row].levels[objective].expect("only labelled rows are here");
        let classified = Classified {
            probabilities: labelled.iter().map(of).collect(),
            labels: labelled.iter().map(label).collect(),
            prompts: labelled.iter().map(|&row| prompts[row]).collect(),
            sources: labelled.iter().map(|&row| records[row].sources[objective].as_deref()).collect(),
            deviations: reward_model
                .uncertainty
                .as_ref()
                .map(|_| labelled.iter().map(|&row| deviations[row][objective]).collect()),
        };
        HeadReport::new(&classified, resamples, rng)
    });
    Ok(heads.collect())
}

/// How often two reward models name the same level, for every objective of the first; the second has these objectives too,
/// and first.
///
/// # Errors
/// If a tokenizer fails.
pub fn agreement(
    one: &RewardModelFolder,
    other: &RewardModelFolder,
    answers: &[(&Prompt, &str)],
) -> Result<Vec<f64>, Error> {
    let [one_says, other_says] = [classify(one, answers)?, classify(other, answers)?];
    let of_head = |head: usize| {
        let pairs = one_says.iter().zip(&other_says);
        let same = pairs.filter(|(a, b)| most_probable(&a.0[head]) == most_probable(&b.0[head]));
        same.count() as f64 / answers.len() as f64
    };
    Ok((0..one.schema.len()).map(of_head).collect())
}

/// The same number for equal prompts.
fn numbered<'a>(prompts: impl Iterator<Item = &'a Prompt>) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    prompts
        .map(|prompt| {
            let next = numbers.len();
            *numbers.entry(prompt).or_insert(next)
        })
        .collect()
}

/// How often every head prefers the answer that was preferred; `None` for objectives without pairs.
///
/// # Errors
/// If the tokenizer fails.
pub fn measure_pairs(
    reward_model: &RewardModelFolder,
    pairs: &[Comparison],
    resamples: usize,
    rng: &mut impl Rng,
) -> Result<Vec<Option<ComparedReport>>, Error> {
    let answers: Vec<(&Prompt, &str)> = pairs
        .iter()
        .flat_map(|pair| [&pair.chosen, &pair.rejected].map(|answer| (&pair.prompt, answer.as_str())))
        .collect();
    let probabilities = classify(reward_model, &answers)?;
    let numbers = numbered(pairs.iter().map(|pair| &pair.prompt));
    let of_objective = |(index, objective): (usize, &Objective)| {
        let compared: Vec<usize> =
            (0..pairs.len()).filter(|&row| pairs[row].objective == objective.name).collect();
        let level = |answer: usize| expected_level(&probabilities[answer].0[index]);
        let levels: Vec<(f64, f64)> =
            compared.iter().map(|row| (level(2 * row), level(2 * row + 1))).collect();
        let prompts: Vec<usize> = compared.iter().map(|&row| numbers[row]).collect();
        (!compared.is_empty()).then(|| ComparedReport::new(&levels, &prompts, resamples, rng))
    };
    Ok(reward_model.schema.objectives().iter().enumerate().map(of_objective).collect())
}
