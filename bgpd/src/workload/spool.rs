//! What was to be deleted while no daemon ran: files that `margay-cni` leaves.
//!
//! Owns the reading of the directory. What the files mean: `workloads.proto`.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use margay_proto::v1::DeleteWorkloadRequest;
use margay_workload::{Moment, Uptime};
use prost::Message;
use tracing::warn;

/// In the state directory.
const FOLDER: &str = "cni-spool";
/// How the name of a file ends.
const ENDING: &str = "del";
/// What one that cannot be read is called instead.
const BAD: &str = "bad";
/// Files looked at in one go: the rest at the next look.
const MOST: usize = 4096;

/// The directory of `state_dir`.
pub(super) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join(FOLDER)
}

/// Makes the directory, for root only.
///
/// # Errors
/// It cannot be made.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// When a request was left there; `None`: it was not.
pub(crate) fn asked(request: &DeleteWorkloadRequest) -> Option<Moment> {
    let up = Uptime::new(&request.spooled_boot_id, request.spooled_up_nanos);
    (request.spooled_at > 0).then_some(Moment { wall: request.spooled_at, up })
}

/// Everything left there, with the file that says so. What cannot be read is put aside.
pub(super) fn read(folder: &Path) -> Vec<(PathBuf, DeleteWorkloadRequest)> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            warn!(folder = %folder.display(), err = %error, "cannot look for what was to be deleted meanwhile");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).take(MOST) {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        let octets = match fs::read(&path) {
            Ok(octets) => octets,
            Err(error) => {
                warn!(file = %path.display(), err = %error, "cannot read what was to be deleted meanwhile");
                continue;
            }
        };
        match DeleteWorkloadRequest::decode(octets.as_slice()) {
            Ok(request) => found.push((path, request)),
            Err(error) => put_aside(&path, &error.to_string()),
        }
    }
    found
}

/// One that can never be done is kept under another name, for a human.
pub(super) fn put_aside(path: &Path, err: &str) {
    warn!(file = %path.display(), err, "what was to be deleted meanwhile cannot be: put aside");
    if let Err(error) = fs::rename(path, path.with_extension(BAD)) {
        warn!(file = %path.display(), err = %error, "cannot put it aside");
    }
}

#[cfg(test)]
mod tests;
