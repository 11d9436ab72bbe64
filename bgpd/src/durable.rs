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
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests;
