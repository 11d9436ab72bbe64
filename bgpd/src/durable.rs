//! Small files of the state directory.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes a file whole or not at all, and so that it is still there after a power cut. Waits for the
/// disk. The new text stands in `path` with the ending `.new` until it takes its place.
///
/// # Errors
/// The directory is not there, cannot be written or is full; the file is then as it was, or, if only
/// the last step failed, the new one that a power cut may still undo.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    put(path, text, File::sync_all)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Likewise, but a power cut may leave the file as it was, empty or half: for what is worth nothing
/// after a boot. Does not wait for the disk.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_for_this_boot(path: &Path, text: &str) -> io::Result<()> {
    put(path, text, |_| Ok(()))
}

fn put(path: &Path, text: &str, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    sync(&file)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests;
