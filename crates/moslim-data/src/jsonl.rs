//! Preference files in MOSLIM's own format: one record per line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Lines, Write};
use std::iter::Enumerate;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::record_json::{RecordError, record_from_json, record_to_json};
use crate::{LabeledResponse, ObjectiveSchema, RowError};

/// Reads every record of a file.
///
/// # Errors
/// A file that cannot be opened or holds no records, and the first bad line.
pub fn read_records(
    path: impl AsRef<Path>,
    schema: &ObjectiveSchema,
) -> Result<Vec<LabeledResponse>, DataError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|cause| DataError::Open { path: path.into(), cause })?;
    let records: Vec<_> = RecordReader::new(BufReader::new(file), path, schema).collect::<Result<_, _>>()?;
    if records.is_empty() {
        return Err(DataError::Empty { path: path.into() });
    }
    Ok(records)
}

/// Writes records to a file, one per line; whoever looks at `path` sees the old file or the whole new one.
///
/// The records go to a temporary file in the same folder, which is synced to the disk and then renamed.
///
/// # Errors
/// [`DataError::Write`] with the cause; the old file is then left as it was.
///
/// # Panics
/// If a record's levels do not fit the schema.
pub fn write_records(
    path: impl AsRef<Path>,
    schema: &ObjectiveSchema,
    records: &[LabeledResponse],
) -> Result<(), DataError> {
    let path = path.as_ref();
    replace_file(path, |file| {
        let mut file = BufWriter::new(file);
        for record in records {
            serde_json::to_writer(&mut file, &record_to_json(record, schema))?;
            file.write_all(b"\n")?;
        }
        file.flush()
    })
    .map_err(|cause| DataError::Write { path: path.into(), cause })
}

fn replace_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; a data file is as readable as any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Reads records one at a time, in constant memory; blank lines are skipped.
///
/// ```
/// use moslim_data::{Objective, ObjectiveSchema, RecordReader};
///
/// let schema = ObjectiveSchema::new(vec![Objective::with_scale("helpfulness", 0, 4)]).unwrap();
/// let lines = r#"{"prompt": "Why?", "response": "Because.", "labels": {"helpfulness": 1}}
/// {"prompt": "Why?", "response": "It rained.", "labels": {"helpfulness": 7}}"#;
/// let mut reader = RecordReader::new(lines.as_bytes(), "prefs.jsonl", &schema);
/// assert_eq!(reader.next().unwrap().unwrap().levels, [Some(1)]);
/// let error = reader.next().unwrap().unwrap_err();
/// assert_eq!(error.to_string(), "prefs.jsonl:2: helpfulness: level 7, expected 0..=4");
/// ```
#[derive(Debug)]
pub struct RecordReader<'a, R> {
    lines: Enumerate<Lines<R>>,
    path: PathBuf,
    schema: &'a ObjectiveSchema,
}

impl<'a, R: BufRead> RecordReader<'a, R> {
    /// Reads from `reader`; `path` only names it in errors.
    pub fn new(reader: R, path: impl Into<PathBuf>, schema: &'a ObjectiveSchema) -> Self {
        Self { lines: reader.lines().enumerate(), path: path.into(), schema }
    }
}

impl<R: BufRead> Iterator for RecordReader<'_, R> {
    type Item = Result<LabeledResponse, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_blank = |line: &io::Result<String>| line.as_ref().is_ok_and(|line| line.trim().is_empty());
        let (index, line) = self.lines.find(|(_, line)| !is_blank(line))?;
        let record = line
            .map_err(|error| RowError::from(error).into())
            .and_then(|line| record_from_json(&line, self.schema.objectives()));
        Some(record.map_err(|problem| DataError::Record {
            path: self.path.clone(),
            line: index + 1,
            problem,
        }))
    }
}

/// Why a preference file cannot be read or written.
///
/// The message holds its cause, so that [`source`](std::error::Error::source) has nothing to add and nothing is printed twice.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file cannot be opened.
    #[error("{}: cannot open: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file holds no records.
    #[error("{}: no records, expected at least one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One record is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: RecordError,
    },
    /// The file cannot be written.
    #[error("{}: cannot write: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Objective;

    fn schema() -> ObjectiveSchema {
        ObjectiveSchema::new(vec![
            Objective::with_scale("helpfulness", 0, 4),
            Objective { name: "tone".into(), levels: vec!["cold".into(), "warm".into()] },
        ])
        .unwrap()
    }

    fn record(prompt: &str) -> LabeledResponse {
        LabeledResponse::new(prompt, "r", vec![Some(4), None])
    }

    #[test]
    fn the_written_form_is_the_documented_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prefs.jsonl");
        let labelled =
            |prompt, levels: [Option<usize>; 2]| LabeledResponse::new(prompt, "r", levels.to_vec());
        let both = labelled("three", [Some(0), Some(0)]);
        let records = [
            record("one"),
            labelled("two", [None, Some(1)]).from_source("human"),
            LabeledResponse { sources: vec![None, Some("rule".into())], weight: 0.25, ..both },
        ];
        write_records(&path, &schema(), &records).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"prompt\":\"one\",\"response\":\"r\",\"labels\":{\"helpfulness\":4}}\n\
             {\"prompt\":\"two\",\"response\":\"r\",\"labels\":{\"tone\":\"warm\"},\"source\":\"human\"}\n\
             {\"prompt\":\"three\",\"response\":\"r\",\"labels\":{\"helpfulness\":0,\"tone\":\"cold\"},\
             \"source\":{\"tone\":\"rule\"},\"weight\":0.25}\n"
        );
    }

    #[test]
    fn writing_replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prefs.jsonl");
        for prompt in ["old", "new"] {
            write_records(&path, &schema(), &[record(prompt)]).unwrap();
        }
        assert_eq!(read_records(&path, &schema()).unwrap(), [record("new")]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_written_file_is_as_readable_as_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, usual] = ["ours", "usual"].map(|name| folder.path().join(name));
        write_records(&ours, &schema(), &[record("p")]).unwrap();
        std::fs::write(&usual, "").unwrap();
        let [ours, usual] = [ours, usual].map(|path| std::fs::metadata(path).unwrap().permissions());
        assert_eq!(ours, usual);
    }

    #[test]
    fn an_error_names_the_line_counting_blank_ones() {
        let lines = "\n  \n{\"prompt\": \"p\", \"response\": \"r\"}\r\n\nnonsense\n";
        let schema = schema();
        let results: Vec<_> = RecordReader::new(lines.as_bytes(), "prefs.jsonl", &schema).collect();
        assert_eq!(results.len(), 2);
        assert!(results[0].is_ok());
        let message = results[1].as_ref().unwrap_err().to_string();
        assert_eq!(message, "prefs.jsonl:5: bad JSON at column 2: expected ident");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_error() {
        let schema = schema();
        let mut reader = RecordReader::new(&b"\xff\n"[..], "prefs.jsonl", &schema);
        let message = reader.next().unwrap().unwrap_err().to_string();
        assert_eq!(message, "prefs.jsonl:1: cannot read: stream did not contain valid UTF-8");
    }

    #[test]
    fn missing_and_empty_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prefs.jsonl");
        assert!(matches!(read_records(&path, &schema()), Err(DataError::Open { .. })));
        std::fs::write(&path, "\n\n").unwrap();
        let message = read_records(&path, &schema()).unwrap_err().to_string();
        assert_eq!(message, format!("{}: no records, expected at least one", path.display()));
        let no_folder = folder.path().join("no").join("prefs.jsonl");
        assert!(matches!(write_records(no_folder, &schema(), &[]), Err(DataError::Write { .. })));
    }

    fn level(n_levels: usize) -> impl Strategy<Value = Option<usize>> {
        prop::option::of(0..n_levels)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_written_is_read_back(
            records in prop::collection::vec(
                (".+", ".+", [level(5), level(2)], [prop::option::of(".*"), prop::option::of(".*")], 1e-9..1e9),
                1..10,
            )
        ) {
            let records: Vec<_> = records
                .into_iter()
                .map(|(prompt, response, levels, sources, weight)| {
                    // What has no label has no source.
                    let of_label = |(source, level): (Option<String>, &Option<usize>)| {
                        level.and_then(|_| source.map(Into::into))
                    };
                    let sources = sources.into_iter().zip(&levels).map(of_label).collect();
                    LabeledResponse { prompt, response, levels: levels.to_vec(), sources, weight }
                })
                .collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("prefs.jsonl");
            write_records(&path, &schema(), &records).unwrap();
            prop_assert_eq!(read_records(&path, &schema()).unwrap(), records);
        }
    }
}
