//! Labelled answers and pairs as files: JSON lines, also packed, or Parquet.

mod parquet;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use serde::Serialize;
use thiserror::Error;

use crate::record_json::{pair_to_json, record_to_json};
use crate::{Comparison, LabeledResponse, ObjectiveSchema};

/// Why a file cannot be written.
///
/// The message holds its cause, so that [`source`](std::error::Error::source) has nothing to add and nothing is printed twice.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Its name does not say what to write.
    #[error("{}: expected a name that ends in .jsonl, .jsonl.gz or .parquet", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// The system does not let it be written.
    #[error("{}: cannot write: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// What a file is written as.
#[derive(Clone, Copy)]
enum Kind {
    Lines,
    PackedLines,
    Parquet,
}

/// Writes labelled answers to a file, in MOSLIM's own format; whoever looks at `path` sees the old file or the whole new one.
///
/// The name says whether it has JSON lines (`.jsonl`, `.jsonl.gz`) or Parquet (`.parquet`).
/// They go to a temporary file in the same folder, which is synced to the disk and then renamed.
///
/// # Errors
/// If the name says nothing of the kind, or the system does not let it be written; the old file is then left as it was.
///
/// # Panics
/// If a record's levels do not fit the schema.
pub fn write_records(
    path: impl AsRef<Path>,
    schema: &ObjectiveSchema,
    records: &[LabeledResponse],
) -> Result<(), WriteError> {
    write_file(path.as_ref(), |kind, file| match kind {
        Kind::Parquet => parquet::write_records(file, schema, records),
        kind => write_lines(kind, file, records.iter().map(|record| record_to_json(record, schema))),
    })
}

/// Writes pairs to a file as [`write_records`] does answers: in TRL's preference format, with their `objective`.
///
/// # Errors
/// As [`write_records`].
pub fn write_comparisons(path: impl AsRef<Path>, pairs: &[Comparison]) -> Result<(), WriteError> {
    write_file(path.as_ref(), |kind, file| match kind {
        Kind::Parquet => parquet::write_comparisons(file, pairs),
        kind => write_lines(kind, file, pairs.iter().map(pair_to_json)),
    })
}

fn write_lines(kind: Kind, file: &mut File, rows: impl Iterator<Item = impl Serialize>) -> io::Result<()> {
    if let Kind::PackedLines = kind {
        let mut packed = GzEncoder::new(file, flate2::Compression::default());
        write_rows(&mut packed, rows)?;
        // What is still to be written is written here, where it can fail, and not when it is dropped.
        return packed.finish().map(drop);
    }
    write_rows(file, rows)
}

fn write_rows(out: &mut impl Write, rows: impl Iterator<Item = impl Serialize>) -> io::Result<()> {
    let mut lines = BufWriter::new(out);
    for row in rows {
        serde_json::to_writer(&mut lines, &row)?;
        lines.write_all(b"\n")?;
    }
    lines.flush()
}

/// Refuses a name that says nothing of what to write, before there is anything to.
///
/// # Errors
/// [`WriteError::Name`].
pub fn check_output_name(path: &Path) -> Result<(), WriteError> {
    kind_of(path).map(drop)
}

fn kind_of(path: &Path) -> Result<Kind, WriteError> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match () {
        () if name.ends_with(".jsonl") => Ok(Kind::Lines),
        () if name.ends_with(".jsonl.gz") => Ok(Kind::PackedLines),
        () if name.ends_with(".parquet") => Ok(Kind::Parquet),
        () => Err(WriteError::Name { path: path.into() }),
    }
}

fn write_file(path: &Path, write: impl FnOnce(Kind, &mut File) -> io::Result<()>) -> Result<(), WriteError> {
    let kind = kind_of(path)?;
    replace_file(path, |file| write(kind, file))
        .map_err(|cause| WriteError::Write { path: path.into(), cause })
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
