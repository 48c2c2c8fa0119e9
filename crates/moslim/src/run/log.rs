//! Logs of a run: one JSON object per line.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Error;

/// A growing file of JSON objects, each written at once.
pub(crate) struct JsonLines {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) n_lines: usize,
    pub(super) length: u64,
}

impl JsonLines {
    /// Appends a line, whole or not at all.
    pub(crate) fn push(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).expect("a line of the log serializes");
        text.push('\n');
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // The first error says why; there is nothing to be done about a second one.
            self.file.set_len(self.length).ok();
            return Err(Error::io(&self.path)(error));
        }
        self.n_lines += 1;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Puts what was written on the disk, for a checkpoint that counts on it.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }

    /// The number of lines so far.
    pub(crate) fn n_lines(&self) -> usize {
        self.n_lines
    }
}

/// Reads the log of a stage back; nothing if the stage left none.
pub(crate) fn read_log<T: serde::de::DeserializeOwned>(folder: &Path, stage: &str) -> Result<Vec<T>, Error> {
    let path = folder.join("metrics").join(format!("{stage}.jsonl"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let line = |line| serde_json::from_str(line).map_err(|error| Error::io(&path)(error.into()));
    text.lines().map(line).collect()
}
