//! A daemon under test: one process in one namespace, its output in a file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{lab::Host, sys};

/// How long a daemon has to obey SIGTERM before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(6);

/// A running (or ended) daemon. Dropping it kills it and its children.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Daemon {
    /// Starts `command` on `host`; both outputs go to `log`, which is appended to.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn spawn(host: &Host, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let name = command.get_program().to_string_lossy().into_owned();
        host.bind(command)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { child, log: log.to_path_buf(), name })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails, with the end of its log, when the daemon has ended.
    ///
    /// # Errors
    /// When it is not running any more.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}: {}", self.name, tail(&self.log(), 15));
        }
        Ok(())
    }

    /// Sends a signal, by its number.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::kill(self.child.id(), signal)
            .with_context(|| format!("signal {signal} to {}", self.name))
    }

    /// SIGSTOP: the daemon falls silent with its connections open. Children stop with it.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn pause(&self) -> Result<()> {
        self.signal_tree(libc::SIGSTOP);
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resume(&self) -> Result<()> {
        self.signal_tree(libc::SIGCONT);
        Ok(())
    }

    /// SIGHUP.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(libc::SIGHUP)
    }

    /// SIGINT.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(libc::SIGINT)
    }

    /// kill -9, children too; returns when it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.signal_tree(libc::SIGKILL);
            self.child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, then waits; kills what does not obey within six seconds and says so.
    ///
    /// # Errors
    /// When the daemon had to be killed.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            self.signal(libc::SIGTERM)?;
        }
        match self.wait(TERM_GRACE)? {
            Some(status) => Ok(status),
            None => {
                self.kill()?;
                bail!("{} did not end within {TERM_GRACE:?} of SIGTERM", self.name)
            }
        }
    }

    /// Waits until the daemon ends by itself; `None` when it does not within `limit`.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal_tree(&self, signal: i32) {
        for pid in descendants(self.child.id()) {
            // One that ended in the meantime needs no signal.
            let _ = sys::kill(pid, signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing better can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

/// A process and everything under it, parents first.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|p| p.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
        next += 1;
    }
    tree
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
