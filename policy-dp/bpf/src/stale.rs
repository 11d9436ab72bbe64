//! Guards of network namespaces that are gone but for them: a guard keeps its namespace alive, so nobody
//! else would ever take it away.
//!
//! Promises never to touch one that anybody may still use: where a thread is in it, where it is mounted,
//! where somebody has it open; and nothing at all where not everybody can be looked at. Does not see who
//! has no more of it than a socket.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    GuardError,
    folder::{self, done},
};

/// Takes away the guards of namespaces that nobody has any more; how many there were.
///
/// # Errors
/// Somebody cannot be looked at, or a guard cannot be removed.
pub fn sweep() -> Result<usize, GuardError> {
    let proc = Path::new("/proc");
    let own = proc.join("self/ns/pid");
    if done("read", &own, fs::read_link(&own))?.as_os_str() != ALL_PROCESSES {
        // Others who may have one are not in sight.
        return Ok(0);
    }
    sweep_in(&folder::all(), proc)
}

/// The same for guards in this folder and processes in that.
pub(crate) fn sweep_in(guards: &Path, proc: &Path) -> Result<usize, GuardError> {
    let mut left = there(guards)?;
    // Who came into view behind our back was there before or is a child of who was: seen the second time.
    for _ in 0..2 {
        keep_unused(&mut left, proc)?;
    }
    for inode in &left {
        let path = guards.join(inode.to_string());
        done("remove", &path, fs::remove_dir_all(&path))?;
    }
    Ok(left.len())
}

/// The namespaces that have a guard.
fn there(guards: &Path) -> Result<BTreeSet<u64>, GuardError> {
    let entries = match fs::read_dir(guards) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => done("read", guards, entries)?,
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        let entry = done("read", guards, entry)?;
        found.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(found)
}

/// Leaves of these namespaces those that nobody has.
fn keep_unused(left: &mut BTreeSet<u64>, proc: &Path) -> Result<(), GuardError> {
    let mut mounts = BTreeSet::new();
    for process in numbered(proc)? {
        for task in numbered(&process.join("task"))? {
            if left.is_empty() {
                return Ok(());
            }
            if let Some(inode) = link(&task.join("ns/net"))?.as_deref().and_then(namespace) {
                left.remove(&inode);
            }
            for file in listed(&task.join("fd"))? {
                if let Some(inode) = link(&file)?.as_deref().and_then(namespace) {
                    left.remove(&inode);
                }
            }
            if let Some(own) = link(&task.join("ns/mnt"))?
                && mounts.insert(own)
            {
                let path = task.join("mountinfo");
                let text = present("read", &path, fs::read(&path))?.unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                for inode in text.split_ascii_whitespace().filter_map(namespace) {
                    left.remove(&inode);
                }
            }
        }
    }
    Ok(())
}

/// What is called by a number in a folder; nothing where that is gone.
fn numbered(folder: &Path) -> Result<Vec<PathBuf>, GuardError> {
    let is_number = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|octet| octet.is_ascii_digit()))
    };
    Ok(listed(folder)?.into_iter().filter(is_number).collect())
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, GuardError> {
    let Some(entries) = present("read", folder, fs::read_dir(folder))? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for entry in entries {
        all.extend(present("read", folder, entry)?.map(|entry| entry.path()));
    }
    Ok(all)
}

/// Where a link leads, as text; `None` where it is gone.
fn link(path: &Path) -> Result<Option<String>, GuardError> {
    let to = present("read", path, fs::read_link(path))?;
    Ok(to.map(|to| to.to_string_lossy().into_owned()))
}

/// A process may end at any time.
fn present<T>(
    what: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<Option<T>, GuardError> {
    match result {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Ok(None)
        }
        result => done(what, path, result).map(Some),
    }
}

/// The inode of a network namespace, as the kernel names one.
fn namespace(text: &str) -> Option<u64> {
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// The kernel's name for the namespace of processes in which all are seen: `PROC_PID_INIT_INO`.
const ALL_PROCESSES: &str = "pid:[4026531836]";

#[cfg(test)]
mod tests;
