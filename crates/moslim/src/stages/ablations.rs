//! Policies trained otherwise, from the same start and with the same reward model.

use std::path::PathBuf;

use crate::evaluation::Subject;
use crate::run::POLICY_FOLDER;
use crate::stages::{optimize_policy, policy_is_done};
use crate::{AblationRecipe, Datasets, Error, Run};

/// Trains every ablation of the recipe in a folder of its own.
pub(crate) fn train(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    for ablation in &run.recipe.ablations {
        run.progress.say(&format!("ablation: {}", ablation.name));
        let mut recipe = run.recipe.with(&ablation.set)?;
        recipe.ablations.clear();
        let fork = run.fork(recipe, &folder(run, ablation))?;
        if !policy_is_done(&fork, datasets)? {
            optimize_policy(&fork, datasets)?;
        }
    }
    Ok(())
}

/// The ablations of the recipe that have been trained in this run's folder.
pub(crate) fn trained(run: &Run) -> Vec<Subject> {
    let subject =
        |ablation: &AblationRecipe| Subject { name: ablation.name.clone(), folder: folder(run, ablation) };
    run.recipe
        .ablations
        .iter()
        .map(subject)
        .filter(|subject| subject.folder.join(POLICY_FOLDER).exists())
        .collect()
}

fn folder(run: &Run, ablation: &AblationRecipe) -> PathBuf {
    run.folder.join("ablations").join(ablation.name.replace(' ', "-"))
}
