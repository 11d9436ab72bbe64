//! Containers without anything in them, and a runtime that calls plugins for them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use testkit::Host;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Network namespaces; gone when this is dropped, swept by the next lab if this process is killed.
pub struct Pods {
    names: Vec<String>,
    scratch: PathBuf,
}

impl Pods {
    /// So many.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn new(count: usize, scratch: &Path) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |index| format!("mgy-{}-cni{number}-{index}", std::process::id());
        let pods = Self { names: (0..count).map(name).collect(), scratch: scratch.join("pods.ip") };
        pods.batch("add")?;
        Ok(pods)
    }

    /// Their paths.
    pub fn paths(&self) -> Vec<String> {
        self.names.iter().map(|name| format!("/run/netns/{name}")).collect()
    }

    fn batch(&self, verb: &str) -> Result<()> {
        let lines: String =
            self.names.iter().map(|name| format!("netns {verb} {name}\n")).collect();
        fs::write(&self.scratch, lines)?;
        let output = Command::new("ip").arg("-force").arg("-batch").arg(&self.scratch).output()?;
        ensure!(output.status.success(), "ip netns: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        if let Err(e) = self.batch("del") {
            eprintln!("warning: {e:#}");
        }
    }
}

/// A plugin with its configuration.
pub struct Runtime {
    /// Where it is called.
    pub host: Host,
    /// Its program.
    pub program: PathBuf,
    /// What it reads.
    pub config: Value,
}

impl Runtime {
    /// A call, and how long it took from the start of the process to its end.
    ///
    /// # Errors
    /// When it fails.
    pub fn call(&self, verb: &str, container: &str, netns: &str) -> Result<Duration> {
        let folder = self.program.parent().context("a folder")?;
        let mut command = Command::new(&self.program);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", folder)
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME={container}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.host.bind(&mut command)?;
        let config = self.config.to_string();
        let begun = Instant::now();
        let mut child = command.spawn().context("starting the plugin")?;
        let mut stdin = child.stdin.take().context("its stdin")?;
        stdin.write_all(config.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        let took = begun.elapsed();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            bail!("{verb} {container}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(took)
    }

    /// The same call for many at the same moment: how long each took.
    ///
    /// # Errors
    /// When one fails.
    pub fn at_once(&self, verb: &str, pods: &[(String, String)]) -> Result<Vec<Duration>> {
        let start = Barrier::new(pods.len());
        thread::scope(|scope| {
            let calls: Vec<_> = pods
                .iter()
                .map(|(container, netns)| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        self.call(verb, container, netns)
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().map_err(|_| anyhow!("panicked"))?).collect()
        })
    }
}

/// Of some durations, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Times {
    /// Of these.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(mut all: Vec<Duration>) -> Result<Self> {
        all.sort();
        let at = |percent: usize| {
            let index = (all.len() * percent).div_ceil(100).saturating_sub(1);
            all.get(index).map(|took| took.as_secs_f64() * 1e3).context("nothing was measured")
        };
        Ok(Self { p50: at(50)?, p99: at(99)? })
    }
}
