//! Policies trained otherwise, from the same start and with the same reward model.

use crate::evaluation::Subject;
use crate::stages::optimize_policy;
use crate::{Datasets, Error, Run};

/// Trains every ablation of the recipe in a folder of its own.
pub(crate) fn train(run: &Run, datasets: &Datasets) -> Result<Vec<Subject>, Error> {
    run.recipe
        .ablations
        .iter()
        .map(|ablation| {
            run.progress.say(&format!("ablation: {}", ablation.name));
            let mut recipe = run.recipe.with(&ablation.set)?;
            recipe.ablations.clear();
            let folder = run.folder.join("ablations").join(ablation.name.replace(' ', "-"));
            let fork = run.fork(recipe, &folder)?;
            optimize_policy(&fork, datasets)?;
            Ok(Subject { name: ablation.name.clone(), folder: fork.policy_folder() })
        })
        .collect()
}
