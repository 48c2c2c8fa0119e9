//! What was measured of a method, as it is kept beside its policies.

use std::collections::BTreeMap;

use moslim_data::Level;
use moslim_eval::controllability::Judged;
use moslim_eval::stats::mean;
use serde::{Deserialize, Serialize};

use crate::BudgetName;
use crate::checkpoints::Settings;

/// What came of a method, trained with one seed on one number of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    /// The method's name, or its variant's.
    pub method: String,
    /// The seed of everything.
    pub seed: u64,
    /// Answers that it was to sample.
    pub samples_allowed: usize,
    /// What its training took.
    pub cost: Cost,
    /// What it took to find out what to ask it for.
    #[serde(default)]
    pub look_up: LookUp,
    /// One per weighting, the same weightings for every method.
    pub points: Vec<Point>,
    /// Answers to questions that ask for levels.
    pub control: Control,
    /// Of a method that takes weights, how the levels asked for become weights: one per objective.
    pub curves: Vec<LevelCurve>,
}

/// Answers to questions of training that show which levels serve weights, or which weights give levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookUp {
    pub answers: usize,
    pub seconds: f64,
}

/// What a training takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cost {
    /// Answers sampled in training, by whatever policy.
    pub samples: usize,
    /// Answers of the data that were judged and learned from.
    #[serde(default)]
    pub data_answers: usize,
    /// Trainings of a policy or of a model like one.
    pub trainings: usize,
    /// Seconds by phase: `generate`, `reward`, `reference`, `update`.
    pub seconds: BTreeMap<String, f64>,
    /// The most memory of the process; absent where the operating system does not say.
    pub peak_bytes: Option<f64>,
    /// Bytes of the weights of every model that is there while a policy is trained, and of `gradients and moments`.
    pub resident_bytes: BTreeMap<String, f64>,
}

/// How a method does when the objectives are weighed in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    /// The weights. `[n_objectives]`
    pub weights: Vec<f64>,
    /// What the policy was asked for, in words: the weights themselves, or what became of them.
    pub asked: String,
    /// By the judge, levels divided by the highest. `[n_prompts][n_objectives]`
    pub gold: Vec<Vec<f64>>,
    /// By the reward model that the method was trained with, expected levels divided by the highest. `[n_prompts][n_objectives]`
    pub proxy: Vec<Vec<f64>>,
    /// Divergence from the start policy, in nats per answer.
    pub kl: f64,
    /// Mean length of the answers, in tokens.
    pub mean_length: f64,
    /// The answers to the first questions, the same for every method.
    pub answers: Vec<ShownAnswer>,
}

/// An answer for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShownAnswer {
    pub question: String,
    pub response: String,
    /// By the judge. `[n_objectives]`
    pub levels: Vec<Level>,
}

/// Answers to questions that ask for levels, which are the same for every method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    /// One objective asked for at a time.
    pub one: Vec<AskedAnswer>,
    /// All asked for together.
    pub all: Vec<AskedAnswer>,
}

/// [`Judged`] as a file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedAnswer {
    pub prompt: usize,
    pub asked: Vec<Option<Level>>,
    pub achieved: Vec<Level>,
}

impl From<&AskedAnswer> for Judged {
    fn from(AskedAnswer { prompt, asked, achieved }: &AskedAnswer) -> Self {
        Self { prompt: *prompt, asked: asked.clone(), achieved: achieved.clone() }
    }
}

/// How the level of an objective follows its weight: observed on questions of training by the reward model, and fitted monotonously.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelCurve {
    pub objective: String,
    /// Weights in ascending order.
    pub weights: Vec<f64>,
    /// The mean expected level at each, as a position from 0.
    pub observed: Vec<f64>,
    /// The nearest values that never fall.
    pub fitted: Vec<f64>,
}

/// What all methods with one seed have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedGround {
    pub seed: u64,
    /// The settings of decoding and measuring.
    #[serde(default)]
    pub decided_by: Settings,
    /// Seconds by what was trained: `sft`, `reward_model`, and `separate_reward_models` where there are some.
    pub seconds: BTreeMap<String, f64>,
    /// Share of held-out answers whose level the reward model names, by objective.
    pub accuracy: BTreeMap<String, f64>,
    /// The same of reward models of their own, if there are some.
    pub separate_accuracy: BTreeMap<String, f64>,
    /// The start policy; it is asked for nothing and has no weights.
    pub start: Point,
}

/// A method under a budget, once per seed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub budget: BudgetName,
    /// The method's name, or its variant's.
    pub method: String,
    /// In the order of the recipe's seeds. Under [`BudgetName::Quality`] with the least samples tried that were enough, or the most tried.
    pub measured: Vec<Measured>,
    /// Under [`BudgetName::Quality`], whether the hypervolume was reached with every seed.
    pub reached: bool,
}

/// The mean of every column, such as the means over prompts of a point's levels.
pub(crate) fn column_means(rows: &[Vec<f64>]) -> Vec<f64> {
    let n = rows.first().map_or(0, Vec::len);
    (0..n).map(|column| mean(&rows.iter().map(|row| row[column]).collect::<Vec<_>>())).collect()
}
