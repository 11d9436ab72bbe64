//! Where in bpffs the guard of a network namespace is: a folder named by the namespace's inode, in it
//! the rule and, in a folder named by the program's hash, the links.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::GuardError;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A link of the guard.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) path: PathBuf,
    pub(crate) family: u32,
    pub(crate) hook: u32,
}

impl Folder {
    /// That of the network namespace of the calling thread, there or not.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn own() -> Result<Self, GuardError> {
        let path = Path::new("/proc/thread-self/ns/net");
        let inode = done("open", path, fs::metadata(path))?.ino();
        Ok(Self(all().join(inode.to_string())))
    }

    /// Another one.
    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the guard away, if there is any.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> Result<(), GuardError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => done("remove", &self.0, result),
        }
    }

    /// Makes it, unless it is there, in a bpffs that is mounted unless one is.
    pub(crate) fn make(&self) -> Result<(), GuardError> {
        let bpffs = Path::new(BPFFS);
        let is_there = || statfs(bpffs).map(|found| found.filesystem_type() == BPF_FS_MAGIC);
        if !done("look at", bpffs, is_there().map_err(io::Error::from))? {
            // Of two that mount at once one would hide what the other makes.
            let below = done("open", bpffs, File::open(bpffs))?;
            done("lock", bpffs, below.lock())?;
            if !done("look at", bpffs, is_there().map_err(io::Error::from))? {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                let mounted = mount(Some("bpf"), bpffs, Some("bpf"), flags, Some("mode=0700"));
                done("mount", bpffs, mounted.map_err(io::Error::from))?;
            }
        }
        done("make", &self.0, fs::create_dir_all(&self.0))
    }

    pub(crate) fn rule(&self) -> PathBuf {
        self.0.join(RULE)
    }

    /// The links of a program.
    pub(crate) fn links(&self, hash: &str) -> [Link; 4] {
        PLACES.map(|(name, family, hook)| Link { path: self.0.join(hash).join(name), family, hook })
    }

    pub(crate) fn make_links(&self, hash: &str) -> Result<(), GuardError> {
        let path = self.0.join(hash);
        done("make", &path, fs::create_dir_all(&path))
    }

    /// Takes away all that is in it.
    pub(crate) fn clear(&self) -> Result<(), GuardError> {
        self.remove()?;
        done("make", &self.0, fs::create_dir_all(&self.0))
    }

    /// Takes away the links of all other programs.
    pub(crate) fn clear_others(&self, hash: &str) -> Result<(), GuardError> {
        for entry in done("read", &self.0, fs::read_dir(&self.0))? {
            let entry = done("read", &self.0, entry)?;
            let is_other = entry.file_name() != hash && entry.file_name() != RULE;
            if is_other && entry.path().is_dir() {
                done("remove", &entry.path(), fs::remove_dir_all(entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Where the folders of all network namespaces are.
pub(crate) fn all() -> PathBuf {
    Path::new(BPFFS).join(ALL)
}

pub(crate) fn done<T>(
    what: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, GuardError> {
    result.map_err(|error| GuardError::Folder { what, path: path.to_owned(), error })
}

const BPFFS: &str = "/sys/fs/bpf";
/// In it.
const ALL: &str = "margay";
const RULE: &str = "rule";
/// Names of the links, `NFPROTO_*`, `NF_INET_*`.
const PLACES: [(&str, u32, u32); 4] =
    [("input4", 2, 1), ("forward4", 2, 2), ("input6", 10, 1), ("forward6", 10, 2)];
