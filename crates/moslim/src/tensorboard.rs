//! Event files that TensorBoard reads.
//!
//! A file is a row of records: the content's length, that length's checksum, the content, its checksum.
//! The content is a `tensorflow.Event`, written by hand; the first one names the version of the format.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

mod encoding;
#[cfg(test)]
mod tests;

/// The name of the file: fixed, so that a run that is taken up again finds what it wrote before.
pub const EVENT_FILE: &str = "events.out.tfevents.0000000000.moslim";

/// The file's name while it is written anew; TensorBoard reads every file with `tfevents` in its name, so this has none.
const UNFINISHED: &str = "events.unfinished.moslim";

/// What is known of a step: its number, its time in seconds since 1970, and its scalars.
pub type EventLine = (i64, f64, Vec<(String, f32)>);

/// A growing file of events, each on disk when the call that wrote it returns.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    length: u64,
}

impl EventFile {
    /// Begins a file in a folder, which is made if need be, with the lines that a run had when its checkpoint was written.
    ///
    /// Texts are to be pushed again.
    /// Where the file that is there begins with just these lines, what follows them is cut off, and a TensorBoard that
    /// has it open goes on with the new steps.
    /// Otherwise a new file takes its place at once, and a TensorBoard that has the old one open must be started again.
    ///
    /// # Errors
    /// If folder or file cannot be read or written; a file that was there before then stays as it was.
    pub fn rewrite(folder: &Path, lines: impl IntoIterator<Item = EventLine>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(EVENT_FILE);
        let before = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            before => before?,
        };
        let mut lines = lines.into_iter().peekable();
        let begun = begun(&before).or_else(|| lines.peek().map(|line| line.1)).unwrap_or_else(now);
        let mut content = encoding::record(&encoding::version_event(begun));
        for (step, wall_time, scalars) in lines.filter(|line| !line.2.is_empty()) {
            let scalars = scalars.iter().map(|(tag, value)| (tag.as_str(), *value));
            content.extend(encoding::record(&encoding::scalar_event(step, wall_time, scalars)));
        }
        if !before.starts_with(&content) {
            return Self::begin(folder, &content);
        }
        let file = File::options().append(true).open(path)?;
        let length = content.len() as u64;
        file.set_len(length)?;
        Ok(Self { file, length })
    }

    fn begin(folder: &Path, content: &[u8]) -> io::Result<Self> {
        let (path, unfinished) = (folder.join(EVENT_FILE), folder.join(UNFINISHED));
        replace(&path, &unfinished, content).inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
        Ok(Self { file: File::options().append(true).open(path)?, length: content.len() as u64 })
    }

    /// Appends the numbers of a step; `wall_time` is in seconds since 1970.
    ///
    /// # Errors
    /// If they cannot be written; the file then ends where it did before.
    pub fn push(&mut self, step: i64, wall_time: f64, scalars: &[(&str, f32)]) -> io::Result<()> {
        match scalars {
            [] => Ok(()),
            scalars => self.append(&encoding::scalar_event(step, wall_time, scalars.iter().copied())),
        }
    }

    /// Appends texts of a step, such as answers, for the text dashboard, which reads them as Markdown.
    ///
    /// # Errors
    /// As [`EventFile::push`].
    pub fn push_texts(&mut self, step: i64, wall_time: f64, texts: &[(&str, &str)]) -> io::Result<()> {
        match texts {
            [] => Ok(()),
            texts => self.append(&encoding::text_event(step, wall_time, texts.iter().copied())),
        }
    }

    /// Half a record would make everything after it unreadable, so one that does not fit is taken back.
    fn append(&mut self, event: &[u8]) -> io::Result<()> {
        let record = encoding::record(event);
        if let Err(error) = self.file.write_all(&record).and_then(|()| self.file.flush()) {
            // The first error says why; there is nothing to be done about a second one.
            self.file.set_len(self.length).ok();
            return Err(error);
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

fn replace(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(unfinished, path)
}

/// When the file with these bytes was begun, if it is one of ours.
fn begun(content: &[u8]) -> Option<f64> {
    // Behind length, checksum and the time's key.
    let time = f64::from_le_bytes(content.get(13..21)?.try_into().ok()?);
    content.starts_with(&encoding::record(&encoding::version_event(time))).then_some(time)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
