//! Who wrote what: one JSON line for each commit, in files that are rotated by size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use margay_model::{Actor, Revision, Txn, Write};
use serde::Serialize;

/// Octets after which a file is put aside.
const MAX_SIZE: u64 = 64 * 1024 * 1024;
/// Files kept beside the one written to: `NAME.1` is the youngest.
const KEPT: u32 = 4;

/// The log. Lines are in the hands of the kernel when a write returns; they are not flushed to
/// the disk one by one.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// Seconds since 1970.
    pub(crate) time: u64,
    component: String,
    node: String,
    user: Option<String>,
    /// `committed`, or `unknown` when no answer came.
    outcome: &'static str,
    writes: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Written {
    key: String,
    what: &'static str,
    old_revision: Option<u64>,
    new_revision: Option<u64>,
}

impl AuditLog {
    /// Opens the log, or makes it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, MAX_SIZE)
    }

    /// The same with another size after which a file is put aside.
    ///
    /// # Errors
    /// As [`AuditLog::open`].
    pub fn open_with(path: &Path, max_size: u64) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, max_size })
    }

    pub(crate) fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut octets = serde_json::to_vec(line).map_err(io::Error::other)?;
        octets.push(b'\n');
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(length) > self.max_size {
            self.rotate()?;
        }
        // One call: a line is whole or, after a crash, the last one.
        self.file.write_all(&octets)?;
        self.size += length;
        Ok(())
    }

    /// The new file is there before the others move on: where none can be made they stay, and none of
    /// them is lost by trying again.
    fn rotate(&mut self) -> io::Result<()> {
        let next = numbered(&self.path, 0);
        // What a rotation that was broken off left is empty.
        let file = append(&next)?;
        for number in (1..KEPT).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename(&self.path, &numbered(&self.path, 1))?;
        fs::rename(&next, &self.path)?;
        (self.file, self.size) = (file, 0);
        Ok(())
    }
}

impl Line {
    /// What to write down of a transaction before it is made: the keys, not the values.
    pub(crate) fn of(txn: &Txn, actor: &Actor) -> Self {
        let written = |write: &Write| Written {
            key: write.key().path(),
            what: match write {
                Write::Put { .. } => "put",
                Write::Delete { .. } => "delete",
            },
            old_revision: None,
            new_revision: None,
        };
        Self {
            time: 0,
            component: actor.component.clone(),
            node: actor.node.clone(),
            user: actor.user.clone(),
            outcome: "unknown",
            writes: txn.writes.iter().map(written).collect(),
        }
    }

    /// Adds what the answer told.
    pub(crate) fn committed(&mut self, revision: Revision, replaced: &[Option<Revision>]) {
        self.outcome = "committed";
        for (write, old) in self.writes.iter_mut().zip(replaced) {
            write.old_revision = old.map(|old| old.0);
            write.new_revision = (write.what == "put").then_some(revision.0);
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Renames what is there; what is not needs no new name.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
