//! Further objectives for a trained reward model.

use std::path::Path;

use moslim_data::ObjectiveSchema;
use moslim_reward_model::{Backbone, RewardModelFolder};

use super::origin::Origin;
use super::progressed::settings_of;
use super::{Stage, of_reward_model};
use crate::manifest::GROWN;
use crate::stages::timed;
use crate::{DataFile, Datasets, Error, Run};

/// Adds the objectives of a run's data to a trained reward model, and writes the larger model into the run's folder.
///
/// Its own objectives come first, and keep their heads; with rehearsal they learn what they put out themselves for answers
/// without a label for them, otherwise nothing holds them.
/// Returns the data under all objectives.
///
/// # Errors
/// If the model cannot be read, the data names no objective that it lacks, or one of its own with other levels; and those of
/// [`train_reward_model`](crate::train_reward_model).
pub fn add_objectives(
    run: &Run,
    datasets: Datasets,
    model: &Path,
    rehearsal: bool,
) -> Result<Datasets, Error> {
    let folder = run.reward_model_folder();
    if let (Ok(one), Ok(other)) = (model.canonicalize(), folder.canonicalize())
        && one == other
    {
        return Err(Error::Unusable {
            place: "--model".into(),
            found: format!("{}, which the run would replace", model.display()),
            expected: "another --out".into(),
        });
    }
    let from = RewardModelFolder::read(model, &run.device.clone().autodiff())?;
    let schema = joined(&from.schema, &datasets.schema, model)?;
    let mut datasets = datasets.under(schema);
    // What the new model depends on besides its data.
    for file in ["objectives.json", "model.safetensors"] {
        let path = model.join(file);
        if path.exists() {
            let what = if rehearsal { format!("{GROWN}, rehearsed") } else { GROWN.into() };
            datasets.files.push(DataFile::of(&what, &path, &path)?);
        }
    }
    if from.uncertainty.is_some() && run.recipe.reward_model.uncertainty.is_none() {
        run.progress
            .say("the model's uncertainty is not kept; reward_model.uncertainty gives the larger model one");
    }
    // Where the backbone stays, the heads do too.
    let is_frozen = run.recipe.reward_model.backbone == Backbone::Frozen;
    let origin = Origin::grown(from, rehearsal && !is_frozen);
    timed(run, "reward_model", || {
        Stage::prepare(run, &datasets, &of_reward_model(run, &datasets, &folder), origin)?.train()
    })?;
    let settings = settings_of(run, &run.recipe.reward_model, &datasets.files);
    run.note_done("reward add-objective", &datasets.files, settings)?;
    run.drop_checkpoints()?;
    Ok(datasets)
}

/// The objectives of a model, then those of the data that it lacks.
fn joined(
    of_model: &ObjectiveSchema,
    of_data: &ObjectiveSchema,
    model: &Path,
) -> Result<ObjectiveSchema, Error> {
    let mut objectives = of_model.objectives().to_vec();
    for objective in of_data.objectives() {
        match of_model.index_of(&objective.name) {
            None => objectives.push(objective.clone()),
            Some(index) if of_model.objectives()[index].levels == objective.levels => {}
            Some(index) => {
                return Err(Error::Unusable {
                    place: format!("data.objectives: {}", objective.name),
                    found: format!("levels {}", objective.levels.join(", ")),
                    expected: format!(
                        "{}, as in {}",
                        of_model.objectives()[index].levels.join(", "),
                        model.display()
                    ),
                });
            }
        }
    }
    if objectives.len() == of_model.len() {
        let names: Vec<&str> = objectives.iter().map(|objective| objective.name.as_str()).collect();
        return Err(Error::Unusable {
            place: "data.objectives".into(),
            found: "no objective that the model lacks".into(),
            expected: format!("one besides {}", names.join(", ")),
        });
    }
    Ok(ObjectiveSchema::new(objectives).expect("names that differ, with levels of schemas"))
}
