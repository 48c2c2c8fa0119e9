//! The files that a run learns from, with their content's fingerprints, so that a changed one is noticed.

use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

/// What the run folder keeps of the data.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// The version of the program that began the run.
    moslim: String,
    files: Vec<DataFile>,
}

/// What files for pretraining hold.
pub(crate) const PLAIN_TEXT: &str = "plain text";

/// The manifest's file in the run folder.
const MANIFEST: &str = "manifest.json";

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
    /// Notes the files that the run begins with.
    ///
    /// # Errors
    /// If the manifest cannot be written.
    pub(crate) fn note_files(&self, files: &[DataFile]) -> Result<(), Error> {
        let manifest = Manifest { moslim: env!("CARGO_PKG_VERSION").into(), files: files.to_vec() };
        self.write(MANIFEST, &serde_json::to_vec_pretty(&manifest).expect("a manifest serializes"))
    }

    /// Refuses files that are not those that the run began with; where they lie does not matter.
    ///
    /// # Errors
    /// If the manifest cannot be read, or there are others.
    pub(crate) fn check_files(&self, files: &[DataFile]) -> Result<(), Error> {
        let path = self.folder.join(MANIFEST);
        if !path.exists() {
            return Ok(());
        }
        let manifest: Manifest = moslim_lm::read_json(&path)?;
        let described = |file: Option<&DataFile>| match file {
            Some(file) => format!("{}, {} bytes, SHA-256 {}", file.name, file.bytes, file.sha256),
            None => "no further file".into(),
        };
        for index in 0..files.len().max(manifest.files.len()) {
            let [found, expected] = [files.get(index), manifest.files.get(index)];
            if found.map(|file| &file.sha256) != expected.map(|file| &file.sha256) {
                return Err(Error::DataChanged {
                    manifest: path,
                    found: described(found),
                    expected: described(expected),
                });
            }
        }
        Ok(())
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
