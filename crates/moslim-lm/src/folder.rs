//! Files of folders that are written whole or not at all.

use std::path::Path;

use crate::LmError;

/// Reads a JSON file.
///
/// # Errors
/// If the file cannot be read or does not have the form of `T`.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LmError> {
    let text = std::fs::read_to_string(path).map_err(LmError::io(path))?;
    serde_json::from_str(&text).map_err(|source| LmError::Json { path: path.into(), source })
}

/// Writes a value as an indented JSON file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), LmError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|source| LmError::Json { path: path.into(), source })?;
    write_text(path, &text)
}

/// Writes a text file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_text(path: &Path, text: &str) -> Result<(), LmError> {
    std::fs::write(path, text).map_err(LmError::io(path))
}

/// How the names of folders begin that are not complete yet.
pub const UNFINISHED: &str = ".unfinished-";

/// Fills a temporary folder beside `folder` and puts it in its place when it is complete.
///
/// # Errors
/// Those of `fill`, and if the folder cannot be made or moved; the folder that was there before then stays as it was.
pub fn write_folder(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), LmError>) -> Result<(), LmError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(LmError::io(parent))?;
    let unfinished =
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent).map_err(LmError::io(parent))?;
    fill(unfinished.path())?;
    sync_all(unfinished.path()).map_err(LmError::io(unfinished.path()))?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(LmError::io(folder))?;
    }
    std::fs::rename(unfinished.keep(), folder).map_err(LmError::io(folder))
}

/// Puts the files of a folder on the disk, so that they are there when its name is.
fn sync_all(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => sync_all(&path)?,
            false => std::fs::File::open(&path)?.sync_all()?,
        }
    }
    Ok(())
}
