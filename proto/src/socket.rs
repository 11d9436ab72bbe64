//! The Unix socket on which a daemon serves.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{Group, chown},
};

/// Group that may use the socket, where it exists.
const GROUP: &str = "margay";
const MODE: u32 = 0o660;

/// A listening socket; its file goes with it.
#[derive(Debug)]
pub struct ApiSocket {
    path: PathBuf,
}

impl ApiSocket {
    /// Listens, without blocking whoever accepts. A file left by a process that is gone is replaced.
    ///
    /// # Errors
    /// Another process answers there (says which), or it cannot be made.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener)> {
        let name = path.display();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        remove_stale(path)?;
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {name}"))?;
        listener
            .set_nonblocking(true)
            .with_context(|| format!("cannot listen on {name} without blocking"))?;
        if let Ok(Some(group)) = Group::from_name(GROUP) {
            chown(path, None, Some(group.gid))
                .with_context(|| format!("cannot give {name} to group {GROUP}"))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))
            .with_context(|| format!("cannot set the mode of {name}"))?;
        Ok((Self { path: path.to_owned() }, listener))
    }
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<()> {
    let name = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {name}")),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            bail!("{name} is there and is no socket");
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let holder = getsockopt(&stream, PeerCredentials)
                .map(|credentials| format!("pid {}", credentials.pid()))
                .unwrap_or_else(|_| "another process".to_owned());
            bail!("the socket {name} is in use by {holder}");
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot replace {name}"))
        }
        Err(error) => Err(error).with_context(|| format!("cannot tell who has {name}")),
    }
}

#[cfg(test)]
mod tests;
