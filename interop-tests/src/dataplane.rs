//! The policy dataplane of a node under test.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::{Daemon, Host, Margay, margay::bin, until};

use crate::pair::SOON;

/// Where it tells how it stands.
const HTTP: &str = "127.0.0.1:9178";

/// A `margay-policy-dp` beside a `margay-bgpd`.
pub struct Dataplane {
    host: Host,
    daemon: Option<Daemon>,
}

impl Dataplane {
    /// Beside this one; it is not started.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub fn new(margay: &Margay) -> Result<Self> {
        let text = format!(
            "[node]\nname = \"{}\"\n[bgpd]\nsocket = \"{}\"\n[api]\nsocket = \"{}\"\n[http]\n\
             listen = \"{HTTP}\"\n",
            margay.host().name(),
            margay.socket().display(),
            Self::socket(margay.host()).display(),
        );
        fs::write(margay.host().dir().join("policy-dp.toml"), text)?;
        Ok(Self { host: margay.host().clone(), daemon: None })
    }

    /// Adds lines to its configuration, which count from its next start on.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let file = self.host.dir().join("policy-dp.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text + lines).context("the dataplane's configuration")
    }

    /// Where it answers on a host.
    pub fn socket(host: &Host) -> PathBuf {
        host.dir().join("policy-dp.sock")
    }

    /// What `margay policy` says, as JSON.
    ///
    /// # Errors
    /// It does not.
    pub fn said(&self, margay: &Margay, arguments: &[&str]) -> Result<Value> {
        let socket = Self::socket(&self.host).display().to_string();
        let mut all = vec!["--policy-socket", socket.as_str(), "policy"];
        all.extend(arguments);
        margay.json(&all)
    }

    /// How it is called.
    ///
    /// # Errors
    /// When it does not build.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(bin("margay-policy-dp")?);
        command.arg("--config").arg(self.host.dir().join("policy-dp.toml"));
        Ok(command)
    }

    /// Starts it (again); returns when its thread for the kernel has done its first work.
    ///
    /// # Errors
    /// It does not.
    pub fn spawn(&mut self) -> Result<()> {
        let log = self.host.dir().join("policy-dp.log");
        let mut command = self.command()?;
        command.args(["--log-level", "debug"]);
        self.daemon = Some(Daemon::spawn(&self.host, &mut command, &log)?);
        until("it answers", SOON, || {
            self.daemon()?.check_running()?;
            Ok(self.ask("/livez").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })
    }

    /// Starts it (again); returns when it enforces.
    ///
    /// # Errors
    /// It does not.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        until("policy is enforced", SOON, || {
            self.daemon()?.check_running()?;
            Ok(self.ask("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })
    }

    /// The process.
    ///
    /// # Errors
    /// It was not started.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("margay-policy-dp was not started")
    }

    /// What it answers over HTTP.
    ///
    /// # Errors
    /// It does not.
    pub fn ask(&self, path: &str) -> Result<String> {
        let mut stream = self.host.enter(|| Ok(TcpStream::connect(HTTP)?))?;
        stream.set_read_timeout(Some(SOON))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// One of its metrics.
    ///
    /// # Errors
    /// It does not.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let text = self.ask("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no {name}"))?.trim().parse().context("a number")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.host.dir().join("policy-dp.log")).unwrap_or_default()
    }
}
