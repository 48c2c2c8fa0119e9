//! Tables: CSV, TSV and Parquet.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Limited, MAX_ROW, RowError, RowNumber, RowValue, Take};
use csv::{ByteRecord, ErrorKind, ReaderBuilder, Terminator};
use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;

/// Reads rows of texts, named by the first row.
pub(super) fn read_separated(bytes: Limited<'_, impl Read>, delimiter: u8, take: Take<'_>) {
    let left = bytes.left;
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        // Windows' line ends would be counted one row too late; their first half is cut off below.
        .terminator(Terminator::Any(b'\n'))
        .from_reader(bytes);
    let header: Vec<String> = match reader.byte_headers() {
        Ok(header) => header.iter().map(|name| text(name).into_owned()).collect(),
        Err(error) => {
            let _ = take(RowNumber::Line(1), Err(problem(error)));
            return;
        }
    };
    let header: Vec<&str> =
        header.iter().map(|name| name.trim_start_matches('\u{feff}').trim_end_matches('\r')).collect();
    let mut record = ByteRecord::new();
    loop {
        left.set(MAX_ROW);
        let start = usize::try_from(reader.position().line()).unwrap_or(usize::MAX);
        let row = match reader.read_byte_record(&mut record) {
            Ok(false) => return,
            Ok(true)
                if header.len() > 1
                    && record.as_slice().iter().all(|&byte| byte == b'\r')
                    && record.len() == 1 =>
            {
                continue;
            }
            Ok(true) if record.len() != header.len() => {
                Err(RowError::Csv(format!("{} fields, expected {}", record.len(), header.len())))
            }
            Ok(true) => {
                let last = header.len() - 1;
                let fields =
                    header.iter().zip(record.iter().enumerate().map(|(index, field)| match index == last {
                        true => field.strip_suffix(b"\r").unwrap_or(field),
                        false => field,
                    }));
                Ok(RowValue::Object(
                    fields.map(|(name, value)| (*name, RowValue::Str(text(value)))).collect(),
                ))
            }
            Err(error) => Err(problem(error)),
        };
        let line = record.position().map_or(start, |position| position.line() as usize);
        let failed = matches!(row, Err(RowError::Read(_)));
        if take(RowNumber::Line(line), row).is_break() || failed {
            return;
        }
    }
}

/// A field as text: UTF-8, or Latin-1 where it is not.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn problem(error: csv::Error) -> RowError {
    match error.into_kind() {
        ErrorKind::Io(error) => RowError::Read(error),
        other => RowError::Csv(format!("{other:?}")),
    }
}

/// Reads the rows of a Parquet file.
pub(super) fn read_parquet(file: File, take: Take<'_>) {
    let rows = guarded(|| Ok(RowIter::from_file_into(Box::new(SerializedFileReader::new(file)?))));
    let mut rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            let _ = take(RowNumber::Row(1), Err(error));
            return;
        }
    };
    for number in 1.. {
        let number = RowNumber::Row(number);
        let taken = match guarded(|| rows.next().map(|row| Ok(row?.to_json_value())).transpose()) {
            Ok(None) => return,
            Ok(Some(row)) => take(number, Ok(RowValue::from(&row))),
            Err(error) => {
                let _ = take(number, Err(error));
                return;
            }
        };
        if taken.is_break() {
            return;
        }
    }
}

/// Calls the library, which panics on some files that contradict themselves.
fn guarded<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, RowError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| RowError::Parquet(error.to_string())),
        Err(_) => Err(RowError::Parquet("the file contradicts itself".into())),
    }
}
