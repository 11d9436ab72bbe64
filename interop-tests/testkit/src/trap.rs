//! Death at a chosen system call: strace kills a daemon before its n-th call is carried out.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{Daemon, Host, wait::until};

/// How long strace may take to begin or to end.
const SOON: Duration = Duration::from_secs(30);

/// When a daemon dies.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The system call, as strace names it.
    pub call: &'a str,
    /// Only where it is about this file.
    pub file: Option<&'a Path>,
    /// The how-manieth of any one thread since the trap was set, from 1 on.
    pub nth: usize,
}

/// A trap that is set. Dropping it leaves the daemon alone.
#[derive(Debug)]
pub struct Trap {
    strace: Daemon,
}

impl Trap {
    /// Sets it for a process and all its threads; `dir` is for the log.
    ///
    /// # Errors
    /// When strace cannot be started or does not attach.
    pub fn set(host: &Host, pid: u32, dir: &Path, moment: Moment<'_>) -> Result<Self> {
        let log = dir.join("strace.log");
        // A log of an earlier one would say that this one is ready.
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", log.display()));
            }
            _ => {}
        }
        let Moment { call, file, nth } = moment;
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        command.arg("-e").arg(format!("trace={call}"));
        command.arg("-e").arg(format!("inject={call}:signal=KILL:when={nth}"));
        if let Some(file) = file {
            command.arg("-P").arg(file);
        }
        let mut strace = Daemon::spawn(host, &mut command, &log).context("package strace")?;
        until("strace attaches", SOON, || {
            strace.check_running()?;
            Ok(strace.log().contains("attached"))
        })?;
        Ok(Self { strace })
    }

    /// Takes it away; the daemon goes on, if it still lives.
    ///
    /// # Errors
    /// When strace does not end.
    pub fn release(mut self) -> Result<()> {
        // It ends by itself where the daemon has died.
        if self.strace.wait(Duration::ZERO)?.is_none() {
            self.strace.interrupt()?;
        }
        match self.strace.wait(SOON)? {
            Some(_) => Ok(()),
            None => bail!("strace does not end: {}", self.strace.log()),
        }
    }
}
