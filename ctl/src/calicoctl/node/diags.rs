//! `calicoctl node diags`: everything worth knowing about this node, in one archive.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::{
    calicoctl::{print, refused::Refused},
    commands::node::{
        diags::{collect, stamp},
        epoch_seconds,
    },
    error::plain,
};

/// Log files that are taken along.
const LOGS: usize = 256;

/// Packs what is known of the node, and the files of a folder, into a folder of its own.
///
/// # Errors
/// The archive cannot be written.
pub async fn run(log_dir: &Path, socket: &Path) -> Result<(), Refused> {
    print("Collecting diagnostics\n")?;
    let folder = new_folder(&std::env::temp_dir())?;
    print(&format!("Using temp dir: {}\n", folder.display()))?;
    let logs = logs(log_dir);
    print(&match &logs {
        Ok(logs) if logs.is_empty() => {
            format!("No logs found in {}; skipping log copying\n", log_dir.display())
        }
        Ok(_) => "Copying Calico logs\n".to_owned(),
        Err(error) => {
            format!("Error copying log files: {}: {}\n", log_dir.display(), plain(error))
        }
    })?;
    let path = folder.join(archive_name(epoch_seconds()));
    let logs = logs.unwrap_or_default();
    collect(&path, "diagnostics".to_owned(), socket, &logs).await?;
    print(&format!("\nDiags saved to {}\n", path.display()))
}

/// `diags-20260301_093000.tar.gz`.
fn archive_name(at: u64) -> String {
    format!("diags-{}.tar.gz", stamp(at).replace('-', "_"))
}

/// A folder that nobody else can look into, and nobody has put there before.
fn new_folder(parent: &Path) -> Result<PathBuf, Refused> {
    for attempt in 0..100_u32 {
        let path = parent.join(format!("calico{}-{attempt}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(no_folder(&plain(&error))),
        }
    }
    Err(no_folder("all names are taken"))
}

fn no_folder(why: &str) -> Refused {
    Refused::new(format!("Error creating temp directory to dump logs: {why}"))
}

/// The files of a folder, by name; folders in it and links are left out.
fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files.truncate(LOGS);
    Ok(files)
}

#[cfg(test)]
mod tests;
