//! Files that appear whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process,
};

use crate::error::Failure;

/// Whether something had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made or replaced.
    Made,
    /// It was just so.
    None,
}

/// A folder that files are put into.
pub struct Folder<'a> {
    path: &'a Path,
}

impl<'a> Folder<'a> {
    /// One that may not be there.
    pub fn at(path: &'a Path) -> Self {
        Self { path }
    }

    /// One that is there afterwards.
    pub fn make(path: &'a Path) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::writing(path, &error))?;
        Ok(Self { path })
    }

    /// Of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file with these octets.
    pub fn place(&self, name: &str, octets: &[u8], mode: u32) -> Result<Change, Failure> {
        let path = self.path(name);
        let is_file = fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o777 == mode);
        if is_file && fs::read(&path).is_ok_and(|there| there == octets) {
            return Ok(Change::None);
        }
        self.appear(&path, |hidden| {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(hidden)?;
            // Whatever the umask says.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(octets)?;
            file.sync_all()
        })
    }

    /// A link to a file beside it.
    pub fn link(&self, name: &str, target: &str) -> Result<Change, Failure> {
        let path = self.path(name);
        if fs::read_link(&path).is_ok_and(|there| there == Path::new(target)) {
            return Ok(Change::None);
        }
        self.appear(&path, |hidden| symlink(target, hidden))
    }

    /// Made under a name that runtimes do not look at, then renamed.
    fn appear(
        &self,
        path: &Path,
        make: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Change, Failure> {
        let hidden = self.path(&format!(".margay-{}", process::id()));
        let made = make(&hidden)
            .and_then(|()| fs::rename(&hidden, path))
            .and_then(|()| File::open(self.path)?.sync_all());
        made.map(|()| Change::Made).map_err(|error| {
            // Whatever there is of it; without it nothing is to be done.
            let _ = fs::remove_file(&hidden);
            Failure::writing(path, &error)
        })
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| {
            let cause = crate::error::plain(&error);
            Failure::failed(format!("cannot remove {}: {cause}", path.display()))
        })
    }
}
