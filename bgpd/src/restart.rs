//! Whether a former process of this daemon ended without a farewell while the host ran on.
//!
//! Owns the file `running` in the state directory: it is there from the start of a process to its
//! farewell, and holds the kernel's boot id. So a crash is told from a stop, and a restart of the
//! daemon from one of the host, after which nobody has been forwarding.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::warn;

/// In the state directory.
const MARK: &str = "running";
/// Another one after each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const UPTIME: &str = "/proc/uptime";

/// Which boot of the host this is; `None` where the kernel does not tell.
pub(crate) fn boot() -> Option<String> {
    fs::read_to_string(BOOT_ID).ok()
}

/// How long that boot has lasted, suspended or not: a clock that nobody sets. `None` where the
/// kernel does not tell.
pub(crate) fn uptime() -> Option<Duration> {
    let text = fs::read_to_string(UPTIME).ok()?;
    let seconds = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// This process, as the next one will know it.
#[derive(Debug)]
pub(crate) struct Running {
    mark: PathBuf,
}

impl Running {
    /// Leaves the mark; whether there was one of this boot.
    pub(crate) fn begin(state_dir: &Path) -> (Self, bool) {
        Self::begin_in(state_dir, boot())
    }

    fn begin_in(state_dir: &Path, boot: Option<String>) -> (Self, bool) {
        let mark = state_dir.join(MARK);
        let former = fs::read_to_string(&mark).ok();
        let restarted = boot.is_some() && former == boot;
        if let Some(boot) = boot.filter(|_| !restarted)
            && let Err(error) = fs::write(&mark, boot)
        {
            warn!(path = %mark.display(), err = %error, "the next start will not know of this one: no graceful restart");
        }
        (Self { mark }, restarted)
    }

    /// Peers were told and the kernel's routes are out: the next start is a fresh one.
    pub(crate) fn farewell(self) {
        if let Err(error) = fs::remove_file(&self.mark) {
            warn!(path = %self.mark.display(), err = %error, "the next start will take this stop for a crash");
        }
    }
}

#[cfg(test)]
mod tests;
