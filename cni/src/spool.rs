//! A DEL that found no daemon, left for it in a directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use margay_proto::v1::DeleteWorkloadRequest;
use nix::time::{ClockId, clock_gettime};
use prost::Message;

/// Another one after each start of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Leaves it; once this returns, it survives a power cut.
///
/// Every DEL is a file of its own, of which the daemon sees none before it is whole: a second one
/// never takes the place of one that is just being worked off.
pub fn leave(folder: &Path, mut request: DeleteWorkloadRequest) -> io::Result<()> {
    // A clock before 1970 is as good as none.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // 0 would mean that it was not spooled.
    request.spooled_at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
    // The clock may be set before the daemon comes to it.
    if let (Ok(boot), Ok(up)) =
        (fs::read_to_string(BOOT_ID), clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from))
    {
        request.spooled_boot_id = boot.trim().to_owned();
        request.spooled_up_nanos = u64::try_from(up.as_nanos()).unwrap_or(u64::MAX);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let name = format!("{}-{}.del", now.as_nanos(), process::id());
    let (hidden, final_path) = (folder.join(format!(".{name}")), folder.join(&name));
    let written = write(&hidden, &request.encode_to_vec())
        .and_then(|()| fs::rename(&hidden, &final_path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // It is told as failed, so nothing may stay that would be worked off.
        let _ = fs::remove_file(&hidden);
    }
    written
}

fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
