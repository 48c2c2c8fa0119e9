//! A reward model for every objective, in the place of one for all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use moslim_data::ObjectiveSchema;
use moslim_reward_model::RewardModelFolder;

use crate::classifier::Classifier;
use crate::evaluation::head_reports;
use crate::file_name::file_name;
use crate::run::{Base, REWARD_MODEL_FOLDER};
use crate::stages::train_separate_reward_model;
use crate::{Datasets, Error, PolicyFolder, Recipe, Run, fitting_labeled};

/// Where the reward model of an objective is made.
fn folder(base: &Path, objective: &str) -> PathBuf {
    base.join("separate-reward-models").join(file_name(objective))
}

/// What training them took and gave.
#[derive(Default)]
pub(super) struct Separate {
    /// All together.
    pub seconds: f64,
    /// Share of held-out answers whose level each names.
    pub accuracy: BTreeMap<String, f64>,
}

/// The schema of one objective of a schema.
fn alone(schema: &ObjectiveSchema, index: usize) -> ObjectiveSchema {
    ObjectiveSchema::new(vec![schema.objectives()[index].clone()]).expect("one objective is a schema")
}

/// Trains a reward model for every objective, unless that was done.
pub(super) fn train(
    base: &Base,
    base_folder: &Path,
    recipe: &Recipe,
    datasets: &Datasets,
    start: &PolicyFolder,
) -> Result<Separate, Error> {
    let mut all = Separate::default();
    for (index, objective) in datasets.schema.objectives().iter().enumerate() {
        let datasets = datasets.clone().under(alone(&datasets.schema, index));
        let folder = folder(base_folder, &objective.name);
        let run = base.fork(recipe.clone(), &folder)?.with_own_reward_model();
        run.progress.say(&format!("reward model of {} alone", objective.name));
        train_separate_reward_model(&run, &datasets)?;
        let lm = &start.lm;
        let held_out = fitting_labeled(&run, &lm.config, &lm.tokenizer, &datasets.held_out)?;
        let model = RewardModelFolder::read(&run.reward_model_folder(), &run.device)?;
        let heads = head_reports(&run, &Datasets { held_out, ..datasets }, &model)?;
        all.accuracy.insert(objective.name.clone(), heads[0].measures.intensity_accuracy);
        let seconds = run.seconds()?;
        all.seconds += seconds.get("reward_model").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    }
    Ok(all)
}

/// All of them as one classifier.
pub(super) fn read(run: &Run, schema: &ObjectiveSchema) -> Result<Classifier, Error> {
    let model = |objective: &moslim_data::Objective| {
        let folder = folder(run.inputs(), &objective.name).join(REWARD_MODEL_FOLDER);
        let mut model = RewardModelFolder::read(&folder, &run.device)?;
        model.model = model.model.in_precision(run.recipe.reward_model.precision);
        Ok(model)
    };
    let models = schema.objectives().iter().map(model).collect::<Result<_, Error>>()?;
    Ok(Classifier::several(models, schema.clone()))
}
