//! JSON lines, and JSON documents that are a list of rows or one row.

use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, Read};

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

use super::{Limited, MAX_ROW, RowError, RowNumber, RowValue, Take};

/// Reads a row from every line that is not blank.
pub(super) fn read_lines(bytes: &mut impl BufRead, take: Take<'_>) {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let row = match Read::take(&mut *bytes, MAX_ROW as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(n) if n > MAX_ROW => {
                // The rest of the line would be taken for a row of its own.
                let _ = take(RowNumber::Line(number), Err(RowError::TooLong { limit: MAX_ROW }));
                return;
            }
            Ok(_) => {
                let text = without_mark(&line, number);
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                parsed(text)
            }
            Err(error) => {
                let _ = take(RowNumber::Line(number), Err(error.into()));
                return;
            }
        };
        if take(RowNumber::Line(number), row).is_break() {
            return;
        }
    }
}

fn parsed(line: &[u8]) -> Result<RowValue<'_>, RowError> {
    let text = std::str::from_utf8(line).map_err(|error| RowError::Json {
        column: error.valid_up_to() + 1,
        problem: "expected UTF-8".into(),
    })?;
    Ok(serde_json::from_str(text)?)
}

/// The line without the mark that some programs put at the beginning of a file.
fn without_mark(line: &[u8], number: usize) -> &[u8] {
    match number {
        1 => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
        _ => line,
    }
}

/// Reads the elements of a list, or one row if the document is anything else.
pub(super) fn read_document(mut bytes: Limited<'_, impl BufRead>, take: Take<'_>) {
    match bytes.bytes.fill_buf() {
        Ok(start) if start.starts_with("\u{feff}".as_bytes()) => bytes.bytes.consume(3),
        _ => {}
    }
    let mut rows = Rows { take, left: bytes.left, number: 0, stopped: false };
    let mut deserializer = Deserializer::from_reader(bytes);
    let read = deserializer.deserialize_any(&mut rows).and_then(|()| deserializer.end());
    if let (Err(error), false) = (read, rows.stopped) {
        let _ = (rows.take)(RowNumber::Row(rows.number + 1), Err(error.into()));
    }
}

struct Rows<'a> {
    take: Take<'a>,
    left: &'a Cell<usize>,
    number: usize,
    /// Whether no more rows are wanted; the parser then complains about the rest.
    stopped: bool,
}

impl Rows<'_> {
    fn take(&mut self, row: RowValue<'_>) {
        self.number += 1;
        self.left.set(MAX_ROW);
        self.stopped = (self.take)(RowNumber::Row(self.number), Ok(row)).is_break();
    }
}

impl<'de> Visitor<'de> for &mut Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows, or one object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while !self.stopped {
            match rows.next_element()? {
                Some(row) => self.take(row),
                None => break,
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut fields: Vec<(String, RowValue<'_>)> = vec![];
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        let fields = fields.iter().map(|(key, value)| (key.as_str(), value.clone()));
        self.take(RowValue::Object(fields.collect()));
        Ok(())
    }
}
