//! A container runtime without containers: it calls a CNI plugin as one does, a process a call.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{Host, Margay, margay::bin};

/// How long an ADD is asked again: on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// A plugin on a node, and its configuration.
#[derive(Debug, Clone)]
pub struct Runtime {
    host: Host,
    program: PathBuf,
    config: Value,
}

/// What the plugin is called for.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// The name of its pod.
    pub pod: String,
    /// The path of its network namespace.
    pub netns: String,
    /// Its interface.
    pub ifname: String,
}

impl Container {
    /// Of a pod of the same name, in the namespace of `host`, for `eth0`.
    pub fn new(id: &str, host: &Host) -> Self {
        let (id, pod) = (id.to_owned(), id.to_owned());
        Self { id, pod, netns: host.netns_path(), ifname: "eth0".to_owned() }
    }

    /// The same for another of its interfaces.
    pub fn interface(self, ifname: &str) -> Self {
        Self { ifname: ifname.to_owned(), ..self }
    }
}

/// What the plugin answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status.
    pub code: i32,
    /// What it printed; null where that is nothing.
    pub json: Value,
    /// What it logged.
    pub log: String,
    /// From the start of the process to its end.
    pub took: Duration,
}

impl Answer {
    /// Fails with what the plugin said, unless it did what it was asked.
    ///
    /// # Errors
    /// What it said.
    pub fn done(self, what: &str) -> Result<Self> {
        ensure!(self.code == 0, "{what}: {} {}", self.json, self.log);
        Ok(self)
    }

    /// Whether it is to be asked again: the daemon, or what that needs, is away.
    pub fn is_later(&self) -> bool {
        self.code != 0 && self.json["code"] == 11
    }

    /// The addresses of a result, without prefix lengths, in its order.
    pub fn addresses(&self) -> Vec<String> {
        let plain = |ip: &Value| Some(ip["address"].as_str()?.split('/').next()?.to_owned());
        self.json["ips"].as_array().into_iter().flatten().filter_map(plain).collect()
    }
}

impl Runtime {
    /// A plugin with this configuration on `host`.
    pub fn new(host: &Host, program: PathBuf, config: Value) -> Self {
        Self { host: host.clone(), program, config }
    }

    /// Our plugin, for addresses of both families.
    ///
    /// # Errors
    /// When it does not build.
    pub fn of(margay: &Margay) -> Result<Self> {
        let config = json!({
            "cniVersion": "1.1.0",
            "name": "pods",
            "type": "margay",
            "socket": margay.socket(),
            "spool_dir": spool(margay.host()),
            "ipam": {"type": "margay-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
        });
        Ok(Self::new(margay.host(), bin("margay-cni")?, config))
    }

    /// Calls the plugin; `more` is added to its configuration.
    ///
    /// # Errors
    /// When it cannot be called, or prints what is no JSON.
    pub fn call(&self, verb: &str, container: &Container, more: &Value) -> Result<Answer> {
        self.call_after(verb, container, more, || {})
    }

    /// The same, once `ready` returns: until then all is prepared.
    ///
    /// The thread goes into the node's namespace and starts the plugin from there. So the standard
    /// library can start it without copying this process, as runtimes do too: with fifty at once the
    /// copies took as long as the plugins.
    ///
    /// # Errors
    /// As [`call`](Self::call); then `ready` may not have been called.
    pub fn call_after(
        &self,
        verb: &str,
        container: &Container,
        more: &Value,
        ready: impl FnOnce() + Send,
    ) -> Result<Answer> {
        let mut config = self.config.clone();
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let config = config.to_string();
        let folder = self.program.parent().context("a program lies in a folder")?;
        let pod = &container.pod;
        let mut command = Command::new(&self.program);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_NETNS", &container.netns)
            .env("CNI_IFNAME", &container.ifname)
            .env("CNI_PATH", folder)
            .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (output, took) = self.host.enter(|| {
            ready();
            let begun = Instant::now();
            let mut child = command.spawn().context("starting the plugin")?;
            let mut stdin = child.stdin.take().context("its stdin")?;
            stdin.write_all(config.as_bytes()).context("giving it its configuration")?;
            drop(stdin);
            let output = child.wait_with_output()?;
            Ok((output, begun.elapsed()))
        })?;
        let json = match output.stdout.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&output.stdout)
                .with_context(|| format!("{verb}: {}", String::from_utf8_lossy(&output.stdout)))?,
        };
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Answer { code: output.status.code().unwrap_or(-1), json, log, took })
    }

    /// ADD that must succeed, at once or when it is asked again.
    ///
    /// # Errors
    /// When it does not.
    pub fn add(&self, container: &Container) -> Result<Answer> {
        let answer = self.settled("ADD", container, &Value::Null)?;
        answer.done(&format!("ADD {}", container.id))
    }

    /// A call that is asked again while it is put off (code 11), as runtimes do; what it came to.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn settled(&self, verb: &str, container: &Container, more: &Value) -> Result<Answer> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.call(verb, container, more)?;
            if !answer.is_later() || Instant::now() >= end {
                return Ok(answer);
            }
            thread::sleep(PAUSE);
        }
    }

    /// DEL that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn delete(&self, container: &Container) -> Result<Answer> {
        let answer = self.call("DEL", container, &Value::Null)?;
        answer.done(&format!("DEL {}", container.id))
    }
}

/// Where our plugin leaves what it could not tell the daemon of `host`.
pub fn spool(host: &Host) -> PathBuf {
    host.dir().join("state/cni-spool")
}
