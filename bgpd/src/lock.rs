//! One daemon for each state directory.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};

const FILE: &str = "bgpd.pid";

/// Held for as long as the daemon runs; the kernel lets go of it with the process.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the directory, which is made if it is not there.
    ///
    /// # Errors
    /// Another process has it (says which), or it cannot be written.
    pub(crate) fn take(state_dir: &Path) -> Result<Self> {
        let name = state_dir.display();
        fs::create_dir_all(state_dir)
            .with_context(|| format!("cannot make the state directory {name}"))?;
        let path = state_dir.join(FILE);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Who it is only makes the message better.
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim();
                bail!("the state directory {name} is held by another margay-bgpd, pid {pid}");
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        file.sync_all()?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests;
