//! The folder of a run: who may write there, and how it is emptied.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use super::{CHECKPOINTS, RECIPE};
use crate::Error;
use crate::manifest::MANIFEST;

/// The file that the program that writes into a run folder holds.
const LOCK: &str = ".lock";

/// Makes sure that a folder is free for a new run: an earlier one is removed if it may be.
///
/// # Errors
/// If it holds an earlier run that may not be removed, or anything else, or another program works in it.
pub fn make_room(folder: &Path, overwrite: bool) -> Result<(), Error> {
    if !is_taken(folder)? {
        return Ok(());
    }
    if !folder.join(RECIPE).exists() {
        return Err(Error::Unusable {
            place: folder.display().to_string(),
            found: format!("files, but no {RECIPE}"),
            expected: "a folder of its own for the run, or that of an earlier one".into(),
        });
    }
    if !overwrite {
        return Err(Error::RunExists(folder.into()));
    }
    empty(folder)
}

/// Whether a folder holds more than what a run leaves which was refused before it began.
fn is_taken(folder: &Path) -> Result<bool, Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(Error::io(folder))?,
    };
    let leaves =
        |entry: std::fs::DirEntry| ![RECIPE, LOCK, MANIFEST].iter().any(|name| entry.file_name() == *name);
    Ok(entries.into_iter().any(|entry| entry.map_or(true, leaves)))
}

/// Takes a run's folder, which is made if need be; it is free again when the file is dropped, however the program ends.
///
/// # Errors
/// If another program has it, or it cannot be made.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(folder.into())),
        Err(TryLockError::Error(source)) => Err(Error::io(path)(source)),
    }
}

/// Removes what programs left in a run's folder that were killed while they wrote.
pub(super) fn drop_unfinished(folder: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if !path.is_dir() {
            continue;
        }
        match path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(moslim_lm::UNFINISHED)) {
            true => std::fs::remove_dir_all(&path).map_err(Error::io(&path))?,
            false if path.ends_with(CHECKPOINTS) || folder.ends_with(CHECKPOINTS) => {
                drop_unfinished(&path)?;
            }
            false => {}
        }
    }
    Ok(())
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// If something cannot be removed.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder)(error)),
        _ => Ok(()),
    }
}

/// Empties a run's folder, unless another program works in it.
fn empty(folder: &Path) -> Result<(), Error> {
    let _lock = lock(folder)?;
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false if path.ends_with(LOCK) => Ok(()),
            false => std::fs::remove_file(&path),
        };
        removed.map_err(Error::io(&path))?;
    }
    Ok(())
}

/// Writes a file under a temporary name beside it, then renames it.
///
/// # Errors
/// If it cannot be written; a file that was there before then stays as it was.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(Error::io(path))?;
    file.persist(path).map(drop).map_err(|error| Error::io(path)(error.error))
}
