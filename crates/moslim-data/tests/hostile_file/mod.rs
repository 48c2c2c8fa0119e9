//! Reading a file that somebody may have broken, in every way that there is; shared with the fuzz targets.
// Each fuzz target uses one of the two ways.
#![allow(dead_code)]

use std::path::Path;

use moslim_data::{InspectOptions, Inspection, Mapping, OnError, PreferenceData, ReadOptions};

/// What came of a file.
#[derive(Debug)]
pub enum Outcome {
    /// Records.
    Read {
        /// How many.
        records: usize,
    },
    /// An error with its place.
    Refused,
}

/// Inspects and reads a file of this name with these bytes, which must come to the same.
pub fn read(name: &str, bytes: &[u8], mapping: Option<&Mapping>, on_error: OnError) -> Outcome {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let files = std::slice::from_ref(&path);
    let inspected = Inspection::of(files, InspectOptions { mapping, on_error, ..InspectOptions::default() });
    let options = ReadOptions { mapping: mapping.cloned(), on_error, ..ReadOptions::default() };
    match (inspected, PreferenceData::read(files, &options)) {
        (Ok(inspected), Ok(read)) => {
            let answers = inspected.records - inspected.comparisons - read.prompts.len();
            assert_eq!(inspected.comparisons, read.comparisons.len());
            assert_eq!(answers, read.answers.len() + read.repeated);
            assert_eq!(inspected.dropped, read.dropped);
            Outcome::Read { records: inspected.records }
        }
        // Both know the place, and the same one; that of quantiles is all files, and that of a slip the mapping.
        (Err(one), Err(other)) => {
            let (one, place) = (one.to_string(), path.display().to_string());
            assert_eq!(one, other.to_string());
            assert!(
                one.starts_with(&place)
                    || one.contains("bins = \"quantiles\"")
                    || one.starts_with("mapping: "),
                "{one}"
            );
            Outcome::Refused
        }
        (one, other) => panic!("{one:?} but {other:?}"),
    }
}

/// Reads rows as a mapping says that somebody may have broken too: a line of zeros divides them.
pub fn read_mapped(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((mapping, rows)) = text.split_once("\n000\n") else { return };
    if let Ok(mapping) = toml::from_str(mapping) {
        read("a.jsonl", rows.as_bytes(), Some(&mapping), OnError::Skip);
    }
}
