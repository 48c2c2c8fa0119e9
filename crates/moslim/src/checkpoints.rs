//! Checkpoints of a stage, so that one that was killed goes on and ends in the same bytes.

use std::path::{Path, PathBuf};

use moslim_lm::{LmError, read_json, write_folder, write_json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::run::{CHECKPOINTS, remove_folder};
use crate::{DataFile, Error, Run};

/// Where the checkpoints of a training lie.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    resume: bool,
    /// How many are kept, the last ones.
    keep: usize,
    settings: Settings,
    intended: Vec<String>,
}

/// What decides a training, a line each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Settings(Vec<String>);

/// `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State<T> {
    /// What decided the training; another one cannot go on from here.
    settings: Settings,
    progressed: T,
}

/// As [`State`], without what is progressed.
#[derive(Deserialize)]
struct OnlySettings {
    settings: Settings,
}

const STATE: &str = "state.json";
const PREFIX: &str = "step-";

impl Settings {
    /// The settings of a table, `path.of.key = value` each, and the data.
    pub(crate) fn of(table: &toml::Table, files: &[DataFile]) -> Self {
        let mut lines = Vec::new();
        flatten("", table, &mut lines);
        lines.extend(files.iter().map(|file| {
            format!("{} {}: {} bytes, SHA-256 {}", file.what, file.name, file.bytes, file.sha256)
        }));
        Self(lines)
    }

    /// The first line that the two do not share, of each and quoted, but for keys that are meant to change.
    pub(crate) fn difference(&self, now: &Self, intended: &[String]) -> Option<[String; 2]> {
        // A setting ends its key with an equals sign, a file its name with a colon.
        let key = |line: &str| {
            let end = line.find(" = ").or_else(|| line.find(": ")).unwrap_or(line.len());
            line[..end].to_owned()
        };
        let is_meant = |line: &String| {
            let key = key(line);
            intended.iter().any(|meant| key == *meant || key.starts_with(&format!("{meant}.")))
        };
        let only = |one: &Self, other: &Self| {
            let mut lines = one.0.iter().filter(|line| !is_meant(line) && !other.0.contains(line));
            lines.next().cloned()
        };
        let quoted = |line: String| format!("`{line}`");
        let nothing = || "no such setting or file".into();
        let (before, after) = (only(self, now), only(now, self));
        let same_key =
            |line: &String, lines: &Self| lines.0.iter().find(|other| key(other) == key(line)).cloned();
        match (before, after) {
            (None, None) => None,
            (Some(before), _) => {
                let after = same_key(&before, now).map_or_else(nothing, quoted);
                Some([quoted(before), after])
            }
            (None, Some(after)) => Some([nothing(), quoted(after)]),
        }
    }
}

fn flatten(path: &str, table: &toml::Table, lines: &mut Vec<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&path, table, lines),
            value => lines.push(format!("{path} = {value}")),
        }
    }
}

impl Checkpoints {
    /// The checkpoints of a training of a run; those of an earlier try are dropped unless the run is to resume.
    pub(crate) fn of(run: &Run, name: &str, keep: usize, settings: Settings) -> Result<Self, Error> {
        let folder = run.folder.join(CHECKPOINTS).join(name);
        let intended = run.intended_changes.clone();
        let checkpoints = Self { folder, resume: run.resume, keep, settings, intended };
        if !run.resume && checkpoints.folder.exists() {
            run.progress
                .say(&format!("{name}: from the start; the checkpoints of an earlier try are dropped"));
            std::fs::remove_dir_all(&checkpoints.folder).map_err(Error::io(&checkpoints.folder))?;
        }
        Ok(checkpoints)
    }

    /// Writes a checkpoint, whole or not at all, and then drops the oldest.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write<T: Serialize>(
        &self,
        steps_done: usize,
        progressed: &T,
        files: impl FnOnce(&Path) -> Result<(), LmError>,
    ) -> Result<(), Error> {
        let folder = self.folder.join(format!("{PREFIX}{steps_done:08}"));
        if folder.exists() {
            // The same step of the same training.
            return Ok(());
        }
        write_folder(&folder, |unfinished| {
            files(unfinished)?;
            write_json(&unfinished.join(STATE), &State { settings: self.settings.clone(), progressed })
        })?;
        let all = self.all()?;
        let old = &all[..all.len().saturating_sub(self.keep)];
        old.iter().try_for_each(|old| std::fs::remove_dir_all(old).map_err(Error::io(old)))
    }

    /// The last checkpoint and what it says, if the run is to resume and there is one.
    ///
    /// # Errors
    /// If it cannot be read, or was made with other settings or data.
    pub(crate) fn last<T: DeserializeOwned>(&self) -> Result<Option<(PathBuf, T)>, Error> {
        let Some(folder) = self.all()?.pop().filter(|_| self.resume) else { return Ok(None) };
        let path = folder.join(STATE);
        let OnlySettings { settings } = read_json(&path)?;
        if let Some([before, now]) = settings.difference(&self.settings, &self.intended) {
            return Err(Error::Unusable {
                place: path.display().to_string(),
                found: format!("a checkpoint made with {before}"),
                expected: format!("{now}; put it back, or train anew without --resume"),
            });
        }
        let State { progressed, .. } = read_json(&path)?;
        Ok(Some((folder, progressed)))
    }

    /// Removes them, as what they led to is written.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        remove_folder(&self.folder)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::of(&toml::from_str(text).unwrap(), &[])
    }

    #[test]
    fn a_difference_is_shown_with_its_key_unless_it_is_meant() {
        let before = settings("seed = 1\n[policy]\nmax_steps = 3\ntraining = { lr = 0.1, k = 2 }");
        let now = settings("seed = 1\n[policy]\nmax_steps = 3\ntraining = { lr = 0.2, k = 2 }");
        assert_eq!(before.difference(&before, &[]), None);
        let shown = before.difference(&now, &[]).unwrap();
        assert_eq!(shown, ["`policy.training.lr = 0.1`", "`policy.training.lr = 0.2`"]);
        assert_eq!(before.difference(&now, &["policy.training.lr".into()]), None);
        assert_eq!(before.difference(&now, &["policy.training".into()]), None);
        assert!(before.difference(&now, &["policy.train".into()]).is_some());
        let less = settings("[policy]\nmax_steps = 3\ntraining = { lr = 0.1, k = 2 }");
        assert_eq!(before.difference(&less, &[]).unwrap()[0], "`seed = 1`");
        assert_eq!(less.difference(&before, &[]).unwrap()[1], "`seed = 1`");
    }
}
