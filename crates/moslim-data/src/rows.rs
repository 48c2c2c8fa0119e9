//! Files as rows, whatever they are written in: JSON lines, JSON, CSV, TSV or Parquet, each also compressed.
//!
//! Rows are read one at a time, and no row may be larger than 64 MiB, so that memory does not grow with a file.

mod json;
mod tables;

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A row, or a value in it; texts are borrowed from the file where they stand there as they are.
pub type RowValue<'a> = serde_json_borrow::Value<'a>;

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub row: RowNumber,
}

/// A row of a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowNumber {
    /// The line that a row begins in.
    Line(usize),
    /// The number of a row in a file that has no lines.
    Row(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            RowNumber::Line(line) => write!(f, "{}:{line}", self.path.display()),
            RowNumber::Row(row) => write!(f, "{}: row {row}", self.path.display()),
        }
    }
}

/// Why a row, or what comes after it, cannot be read.
#[derive(Debug, Error)]
pub enum RowError {
    /// The system, or the compression.
    #[error("cannot read: {0}")]
    Read(#[from] std::io::Error),
    /// Not JSON.
    #[error("bad JSON at column {column}: {problem}")]
    Json {
        /// The column, counted in bytes from 1.
        column: usize,
        /// What the JSON parser says.
        problem: String,
    },
    /// A line is longer than any row may be.
    #[error("a line of more than {limit} bytes")]
    TooLong {
        /// What a line may have.
        limit: usize,
    },
    /// Not CSV, or not as many fields as the header.
    #[error("bad CSV: {0}")]
    Csv(String),
    /// Not Parquet.
    #[error("bad Parquet: {0}")]
    Parquet(String),
}

impl RowError {
    /// What is wrong, without where in the row.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Json { problem, .. } => format!("bad JSON: {problem}"),
            other => other.to_string(),
        }
    }
}

impl From<serde_json::Error> for RowError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() {
            return Self::Read(error.into());
        }
        let message = error.to_string();
        // The parser counts lines from 1 in every row, which would contradict the file's line.
        let problem = message.split_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
        Self::Json { column: error.column(), problem: problem.into() }
    }
}

/// Why a file cannot be read as rows at all.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error("{}: cannot open: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Its name does not say what it is written in.
    #[error(
        "{}: expected a name that ends in .jsonl, .json, .csv or .tsv, each perhaps with .gz or .zst, or in .parquet",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
    },
}

/// What the text of a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    JsonLines,
    Json,
    Separated(u8),
}

/// The largest row, in bytes.
const MAX_ROW: usize = 64 << 20;

/// Reads the rows of a file one after the other; `take` ends the reading by breaking.
///
/// A row is a JSON value: an object for the rows of a table, with texts for CSV and TSV.
/// After a row that cannot be read the reading goes on where the file allows it, which JSON lines do.
///
/// ```
/// use std::ops::ControlFlow;
/// use moslim_data::read_rows;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("answers.csv");
/// std::fs::write(&path, "question,score\n\"Why, oh why?\",3\n")?;
/// read_rows(&path, |place, row| {
///     assert_eq!(place.to_string(), format!("{}:2", path.display()));
///     assert_eq!(row.unwrap().to_string(), r#"{"question":"Why, oh why?","score":"3"}"#);
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the file cannot be opened, or its name says nothing about what it is written in.
pub fn read_rows(
    path: &Path,
    mut take: impl FnMut(&Place, Result<RowValue<'_>, RowError>) -> ControlFlow<()>,
) -> Result<(), FileError> {
    if !can_read(path) {
        return Err(FileError::Name { path: path.into() });
    }
    let file = File::open(path).map_err(|cause| FileError::Open { path: path.into(), cause })?;
    let mut place = Place { path: path.into(), row: RowNumber::Row(1) };
    let mut take_at = |row, value: Result<RowValue<'_>, RowError>| {
        place.row = row;
        take(&place, value)
    };
    let Some((layout, compression)) = layout_of(path) else {
        tables::read_parquet(file, &mut take_at);
        return Ok(());
    };
    let bytes: Box<dyn Read> = match compression {
        None => Box::new(file),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        Some(_) => match ruzstd::decoding::StreamingDecoder::new(BufReader::new(file)) {
            Ok(bytes) => Box::new(bytes),
            Err(error) => {
                let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
                let _ = take_at(RowNumber::Row(1), Err(error.into()));
                return Ok(());
            }
        },
    };
    let mut bytes = BufReader::with_capacity(1 << 16, bytes);
    let left = Cell::new(MAX_ROW);
    match layout {
        Layout::JsonLines => json::read_lines(&mut bytes, &mut take_at),
        Layout::Json => json::read_document(Limited { bytes, left: &left }, &mut take_at),
        Layout::Separated(delimiter) => {
            tables::read_separated(Limited { bytes, left: &left }, delimiter, &mut take_at);
        }
    }
    Ok(())
}

/// Whether the name of a file says that it is one that [`read_rows`] reads.
pub fn can_read(path: &Path) -> bool {
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    is_parquet || layout_of(path).is_some()
}

/// A reader that lets no row be longer than [`MAX_ROW`], such as one whose quotation mark is never closed.
struct Limited<'a, R> {
    bytes: R,
    /// What the row at hand may still have; whoever takes a row sets it back.
    left: &'a Cell<usize>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        match self.left.get().checked_sub(n) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other(format!("a row of more than {MAX_ROW} bytes"))),
        }
        Ok(n)
    }
}

/// Takes rows as they come.
type Take<'a> = &'a mut dyn FnMut(RowNumber, Result<RowValue<'_>, RowError>) -> ControlFlow<()>;

/// What the name of a text file says.
fn layout_of(path: &Path) -> Option<(Layout, Option<&'static str>)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (name, compression) = match name.rsplit_once('.')? {
        (name, "gz") => (name.to_owned(), Some("gz")),
        (name, "zst") => (name.to_owned(), Some("zst")),
        _ => (name.clone(), None),
    };
    let layout = match name.rsplit_once('.')?.1 {
        "jsonl" | "ndjson" => Layout::JsonLines,
        "json" => Layout::Json,
        "csv" => Layout::Separated(b','),
        "tsv" => Layout::Separated(b'\t'),
        _ => return None,
    };
    Some((layout, compression))
}
