//! Checkpoints of a reward model's training, so that one that was killed goes on and ends in the same bytes.

use std::path::PathBuf;

use moslim_lm::{load_module, read_json, save_module, write_folder, write_json};
use moslim_reward_model::{FitConfig, MultiHeadRewardModel, Selection, Trainer};
use serde::{Deserialize, Serialize};

use crate::{DataFile, Error, Run};

/// Where the checkpoints of a model lie; there is one at most, the last.
pub(super) struct Checkpoints {
    folder: PathBuf,
    resume: bool,
    settings: String,
}

/// What a checkpoint holds beside the trainer.
#[derive(Default)]
pub(super) struct Progressed {
    pub selection: Selection,
    /// The best of the models looked at.
    pub best: Option<MultiHeadRewardModel>,
    /// Lines of the log when it was written.
    pub n_log_lines: usize,
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    steps_done: usize,
    n_log_lines: usize,
    selection: Selection,
    /// What decides the training; another one cannot go on from here.
    settings: String,
}

const STATE: &str = "state.json";
const BEST: &str = "best.bpk";
const PREFIX: &str = "step-";

impl Checkpoints {
    /// The checkpoints of a model of a stage; those of an earlier try are dropped unless the run is to resume.
    pub(super) fn of(run: &Run, model: &str, config: &FitConfig, files: &[DataFile]) -> Result<Self, Error> {
        let folder = run.folder.join("checkpoints").join(model);
        let checkpoints = Self { folder, resume: run.resume, settings: settings(run, config, files) };
        if !run.resume {
            checkpoints.remove()?;
        }
        Ok(checkpoints)
    }

    /// Writes a checkpoint, whole or not at all, and then drops those before.
    pub(super) fn write(&self, trainer: &Trainer<'_>, progressed: &Progressed) -> Result<(), Error> {
        let Progressed { selection, best, n_log_lines } = progressed;
        let steps_done = trainer.steps_done();
        let before = self.all()?;
        write_folder(&self.folder.join(format!("{PREFIX}{steps_done:08}")), |unfinished| {
            trainer.save(unfinished)?;
            if let Some(best) = best {
                save_module(best, &unfinished.join(BEST))?;
            }
            let settings = self.settings.clone();
            let (n_log_lines, selection) = (*n_log_lines, *selection);
            write_json(&unfinished.join(STATE), &State { steps_done, n_log_lines, selection, settings })
        })?;
        before.iter().try_for_each(|old| std::fs::remove_dir_all(old).map_err(Error::io(old)))
    }

    /// The trainer and what goes with it at the last checkpoint; at the start if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or was made with other settings or data.
    pub(super) fn resumed<'a>(&self, trainer: Trainer<'a>) -> Result<(Trainer<'a>, Progressed), Error> {
        let Some(folder) = self.all()?.pop().filter(|_| self.resume) else {
            return Ok((trainer, Progressed::default()));
        };
        let path = folder.join(STATE);
        let State { steps_done, n_log_lines, selection, settings } = read_json(&path)?;
        if settings != self.settings {
            let different = settings.lines().zip(self.settings.lines()).find(|(before, now)| before != now);
            let (before, now) =
                different.unwrap_or(("fewer settings or files", "more, or the other way round"));
            return Err(Error::Unusable {
                place: path.display().to_string(),
                found: format!("a checkpoint made with `{before}`"),
                expected: format!("`{now}`; put it back, or train anew without --resume"),
            });
        }
        let best = match selection.best {
            Some(_) => Some(load_module(trainer.model().clone(), &folder.join(BEST))?),
            None => None,
        };
        Ok((trainer.resume(&folder, steps_done)?, Progressed { selection, best, n_log_lines }))
    }

    /// Drops all checkpoints of the model.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&self.folder)(error)),
            _ => {
                // The folder of all checkpoints goes with the last of them.
                let _ = self.folder.parent().map(std::fs::remove_dir);
                Ok(())
            }
        }
    }

    /// The folders of whole checkpoints, the oldest first.
    fn all(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(Error::io(&self.folder))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.folder))?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                found.push(entry.path());
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// What decides the training of a reward model, a line each: everything of the recipe but what comes after it, and the data.
fn settings(run: &Run, config: &FitConfig, files: &[DataFile]) -> String {
    let mut recipe = toml::Table::try_from(&run.recipe).expect("a recipe is a table");
    for later in ["mapping", "policy", "evaluation", "ablations"] {
        recipe.remove(later);
    }
    // How often it is written decides nothing.
    let mut config = config.clone();
    config.save_steps = None;
    recipe.insert("reward_model".into(), toml::Value::try_from(config).expect("a configuration is a table"));
    let recipe = toml::to_string(&recipe).expect("a table serializes");
    let files =
        files.iter().map(|file| format!("{} {} {} {}\n", file.what, file.name, file.bytes, file.sha256));
    files.fold(recipe, |text, file| text + &file)
}
