//! What a checkpoint of a reward model's training holds beside the trainer.

use moslim_lm::{load_module, save_module};
use moslim_reward_model::{FitConfig, MultiHeadRewardModel, Selection, Trainer};
use serde::{Deserialize, Serialize};

use crate::checkpoints::{Checkpoints, Settings};
use crate::{DataFile, Error, Run};

/// What a checkpoint holds beside the trainer.
#[derive(Default)]
pub(super) struct Progressed {
    pub selection: Selection,
    /// The best of the models looked at.
    pub best: Option<MultiHeadRewardModel>,
    /// Lines of the log when it was written.
    pub n_log_lines: usize,
}

/// What of it goes into `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    steps_done: usize,
    n_log_lines: usize,
    selection: Selection,
}

const BEST: &str = "best.bpk";

impl Progressed {
    /// Writes a checkpoint, whole or not at all, and then drops those before.
    pub(super) fn write(&self, checkpoints: &Checkpoints, trainer: &Trainer<'_>) -> Result<(), Error> {
        let Self { selection, best, n_log_lines } = self;
        let steps_done = trainer.steps_done();
        let state = State { steps_done, n_log_lines: *n_log_lines, selection: *selection };
        checkpoints.write(steps_done, &state, |unfinished| {
            trainer.save(unfinished)?;
            best.as_ref().map_or(Ok(()), |best| save_module(best, &unfinished.join(BEST)))
        })
    }

    /// The trainer and what goes with it at the last checkpoint; at the start if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or was made with other settings or data.
    pub(super) fn resumed<'a>(
        checkpoints: &Checkpoints,
        trainer: Trainer<'a>,
    ) -> Result<(Trainer<'a>, Self), Error> {
        let Some((folder, State { steps_done, n_log_lines, selection })) = checkpoints.last()? else {
            return Ok((trainer, Self::default()));
        };
        let best = match selection.best {
            Some(_) => Some(load_module(trainer.model().clone(), &folder.join(BEST))?),
            None => None,
        };
        Ok((trainer.resume(&folder, steps_done)?, Self { selection, best, n_log_lines }))
    }
}

/// What decides the training of a reward model: everything of the recipe but what comes after it, and the data.
pub(super) fn settings_of(run: &Run, config: &FitConfig, files: &[DataFile]) -> Settings {
    let mut recipe = toml::Table::try_from(&run.recipe).expect("a recipe is a table");
    for later in ["mapping", "policy", "evaluation", "ablations", "comparison"] {
        recipe.remove(later);
    }
    // How often it is written decides nothing.
    let mut config = config.clone();
    config.save_steps = None;
    recipe.insert("reward_model".into(), toml::Value::try_from(config).expect("a configuration is a table"));
    Settings::of(&recipe, files)
}
