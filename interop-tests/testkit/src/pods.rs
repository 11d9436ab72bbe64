//! Network namespaces as a runtime makes them for its containers: many, and nothing in them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;

use crate::lab::{self, Host};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Namespaces of containers; gone when this is dropped, swept by the next lab if this process is
/// killed.
#[derive(Debug)]
pub struct Pods {
    hosts: Vec<Host>,
    scratch: PathBuf,
}

impl Pods {
    /// So many, called `p0`, `p1` and so on. In `folder` they keep what they need.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn new(count: usize, folder: &Path) -> Result<Self> {
        let set = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |index| format!("p{index}");
        let host = |index| Host::bare(&name(index), &format!("pods{set}-{index}"), folder);
        let pods = Self {
            hosts: (0..count).map(host).collect(),
            scratch: folder.join(format!("pods{set}.ip")),
        };
        pods.batch("add")?;
        Ok(pods)
    }

    /// They.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One `ip` for all: a process each takes longer than the work.
    fn batch(&self, verb: &str) -> Result<()> {
        let line = |host: &Host| format!("netns {verb} {}\n", host.netns());
        let lines: String = self.hosts.iter().map(line).collect();
        fs::write(&self.scratch, lines)?;
        lab::ip(&["-force", "-batch", &self.scratch.to_string_lossy()]).map(drop)
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        if let Err(e) = self.batch("del") {
            eprintln!("warning: {e:#}");
        }
    }
}
