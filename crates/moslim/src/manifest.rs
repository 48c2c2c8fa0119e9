//! The files that a run learns from, with their content's fingerprints, so that a changed one is noticed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoints::Settings;
use crate::{Error, Run};

/// A file that a run learns from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// What it holds, such as `plain text`.
    pub what: String,
    /// The file, or its name on the hub, as the recipe has it.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// What the run folder keeps of the data: what each stage of it had.
#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    /// The recipe as the run follows it, with all changes that were meant.
    #[serde(default)]
    recipe: Option<toml::Table>,
    /// Settings that were changed on purpose since the run began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    intended_changes: Vec<String>,
    stages: BTreeMap<String, StageData>,
}

/// The data of a stage.
#[derive(Serialize, Deserialize)]
struct StageData {
    /// The version of the program.
    moslim: String,
    /// What else decides which answers are trained and measured on.
    settings: String,
    files: Vec<DataFile>,
    /// Everything that decides what the stage makes.
    #[serde(default)]
    decided_by: Settings,
}

/// What files for pretraining hold.
pub(crate) const PLAIN_TEXT: &str = "plain text";

/// How the files of a reward model are called that learns further objectives.
pub(crate) const GROWN: &str = "reward model";

/// The manifest's file in the run folder.
pub(crate) const MANIFEST: &str = "manifest.json";

impl DataFile {
    /// Reads a file for its fingerprint; `name` is what the recipe calls it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of(what: &str, name: &Path, path: &Path) -> Result<Self, Error> {
        let mut hasher = Sha256::new();
        let bytes = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
        Ok(Self {
            what: what.into(),
            name: name.display().to_string(),
            bytes: bytes.map_err(Error::io(path))?,
            sha256: hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl Run {
    /// Notes that a stage is done, with the data that it had and what else decided it.
    ///
    /// # Errors
    /// If the manifest cannot be read or written.
    pub(crate) fn note_done(
        &self,
        stage: &str,
        files: &[DataFile],
        decided_by: Settings,
    ) -> Result<(), Error> {
        let moslim = env!("CARGO_PKG_VERSION").into();
        let data = StageData { moslim, settings: self.data_settings(), files: files.to_vec(), decided_by };
        self.change_manifest(|manifest| drop(manifest.stages.insert(stage.into(), data)))
    }

    /// Notes that a stage is not done, or no longer.
    ///
    /// # Errors
    /// If the manifest cannot be read or written.
    pub(crate) fn note_begun(&self, stage: &str) -> Result<(), Error> {
        match self.manifest()?.stages.contains_key(stage) {
            true => self.change_manifest(|manifest| drop(manifest.stages.remove(stage))),
            false => Ok(()),
        }
    }

    /// Notes the recipe that the run follows from now on, and the changes to it that were meant so far.
    ///
    /// # Errors
    /// If the manifest cannot be read or written.
    pub(crate) fn note_recipe(&self) -> Result<(), Error> {
        let recipe = toml::Table::try_from(&self.recipe).expect("a recipe is a table");
        self.change_manifest(|manifest| {
            manifest.recipe = Some(recipe);
            manifest.intended_changes.clone_from(&self.intended_changes);
        })
    }

    /// The recipe that the run followed, if it is known, and the changes to it that were meant.
    ///
    /// # Errors
    /// If the manifest cannot be read.
    pub(crate) fn followed_recipe(&self) -> Result<(Option<toml::Table>, Vec<String>), Error> {
        let Manifest { recipe, intended_changes, .. } = self.manifest()?;
        Ok((recipe, intended_changes))
    }

    /// Whether a stage is done.
    ///
    /// # Errors
    /// If the manifest cannot be read, or the stage was done with other settings or data.
    pub(crate) fn is_done(&self, stage: &str, decided_by: &Settings) -> Result<bool, Error> {
        let manifest = self.manifest()?;
        let Some(done) = manifest.stages.get(stage) else { return Ok(false) };
        match done.decided_by.difference(decided_by, &[]) {
            None => Ok(true),
            Some([before, now]) => Err(Error::Unusable {
                place: self.folder.join(MANIFEST).display().to_string(),
                found: format!("`moslim {stage}` done with {before}"),
                expected: format!(
                    "{now}, as the recipe says now; put it back, or begin a run with another --out"
                ),
            }),
        }
    }

    fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), Error> {
        let mut manifest = self.manifest()?;
        change(&mut manifest);
        self.write(MANIFEST, &serde_json::to_vec_pretty(&manifest).expect("a manifest serializes"))
    }

    /// Refuses data that is not what these stages had; where files lie does not matter.
    ///
    /// # Errors
    /// If the manifest cannot be read, or the data is another.
    pub(crate) fn check_data(&self, stages: &[&'static str], files: &[DataFile]) -> Result<(), Error> {
        let manifest = self.manifest()?;
        let described = |file: Option<&DataFile>| match file {
            Some(file) => format!("{}, {} bytes, SHA-256 {}", file.name, file.bytes, file.sha256),
            None => "no further file".into(),
        };
        for &stage in stages {
            let Some(before) = manifest.stages.get(stage) else { continue };
            let changed = |found, expected| {
                let manifest = self.folder.join(MANIFEST);
                Err(Error::DataChanged { manifest, stage, found, expected })
            };
            for index in 0..files.len().max(before.files.len()) {
                let [found, expected] = [files.get(index), before.files.get(index)];
                if found.map(|file| &file.sha256) != expected.map(|file| &file.sha256) {
                    return changed(described(found), described(expected));
                }
            }
            let settings = self.data_settings();
            if settings != before.settings {
                return changed(settings, before.settings.clone());
            }
        }
        Ok(())
    }

    fn manifest(&self) -> Result<Manifest, Error> {
        match self.folder.join(MANIFEST) {
            path if path.exists() => Ok(moslim_lm::read_json(&path)?),
            _ => Ok(Manifest::default()),
        }
    }

    /// Seed and settings of the data, without the files' names.
    fn data_settings(&self) -> String {
        let mut table = toml::Table::try_from(&self.recipe.data).expect("a recipe is a table");
        for no_setting in ["labeled", "judge", "license"] {
            table.remove(no_setting);
        }
        table.insert("seed".into(), toml::Value::Integer(self.recipe.seed.cast_signed()));
        toml::Value::Table(table).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_published_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-4's example.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = DataFile::of("text", Path::new("hf://x"), &path).unwrap();
        assert_eq!((file.bytes, file.sha256.as_str(), file.name.as_str()), (3, hash, "hf://x"));
    }
}
