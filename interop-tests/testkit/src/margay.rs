//! Margay itself: its daemon in a namespace, its command line as the only way in.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Daemon,
    bgp::{Announcement, Speaker},
    lab::{Host, succeeded},
    wait::until,
};

/// How long the daemon has until it answers its command line.
const READY: Duration = Duration::from_secs(20);

/// The configuration of a daemon with a datastore of its own that leaves the kernel alone.
pub const EMBEDDED: &str = "[datastore]\ntype = \"embedded\"\n\n[fib]\nenabled = false\n";

/// What has the programs that tests run.
const PACKAGES: [&str; 8] = [
    "margay-bgpd",
    "margay-policy-dp",
    "margay",
    "margay-cni",
    "bgpload",
    "margay-ipam",
    "margay-model",
    "bgp-desired",
];
/// The programs of `cargo xtask bench ipam` that measure.
const EXAMPLES: [&str; 7] =
    ["assign", "claims", "commits", "effect", "mesh", "selector_index", "subscribe"];

/// A Margay on one host.
#[derive(Debug)]
pub struct Margay {
    host: Host,
    dir: PathBuf,
    config: String,
    node_keys: String,
    api_keys: String,
    log_level: Option<&'static str>,
    threads: Option<usize>,
    daemon: Option<Daemon>,
}

impl Margay {
    /// A driver, nothing started yet. `config` is the text of the configuration file without
    /// its `[node]`, `[api]` and `[http]` tables, which are the rig's.
    pub fn new(host: &Host, config: &str) -> Self {
        Self {
            host: host.clone(),
            dir: host.dir().to_path_buf(),
            config: config.into(),
            node_keys: String::new(),
            api_keys: String::new(),
            log_level: Some("debug"),
            threads: None,
            daemon: None,
        }
    }

    /// More keys for its `[node]` table, at the next start or [`Margay::reconfigure`].
    pub fn set_node_keys(&mut self, keys: &str) {
        keys.clone_into(&mut self.node_keys);
    }

    /// Likewise for its `[api]` table.
    pub fn set_api_keys(&mut self, keys: &str) {
        keys.clone_into(&mut self.api_keys);
    }

    /// What the daemon logs from its next start on, `debug` unless it is said here; nothing leaves it
    /// to the daemon.
    pub fn set_log_level(&mut self, level: impl Into<Option<&'static str>>) {
        self.log_level = level.into();
    }

    /// How many threads the daemon's tasks have from its next start on; as many as there are cores
    /// unless it is said here.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = Some(threads);
    }

    /// Where the daemon listens for its clients.
    pub fn socket(&self) -> PathBuf {
        socket(&self.dir)
    }

    /// Starts the daemon (again); returns when it answers.
    ///
    /// # Errors
    /// When it cannot be started or does not answer in time.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        let daemon = self.daemon.as_mut().context("just launched")?;
        let (host, socket) = (self.host.clone(), socket(&self.dir));
        until("margay-bgpd answers", READY, || {
            daemon.check_running()?;
            let mut command = Command::new(bin("margay")?);
            command.arg("--socket").arg(&socket).args(["-o", "json", "status"]);
            succeeded("margay status", &host.output(&mut command)?).map(|_| true)
        })
    }

    /// Starts the daemon without waiting for an answer.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        self.daemon = None;
        fs::write(self.config_file(), self.file_text())?;
        let mut command = Command::new(bin("margay-bgpd")?);
        command.arg("--config").arg(self.config_file());
        if let Some(level) = self.log_level {
            command.args(["--log-level", level]);
        }
        if let Some(threads) = self.threads {
            command.env("TOKIO_WORKER_THREADS", threads.to_string());
        }
        self.daemon = Some(Daemon::spawn(&self.host, &mut command, &self.log_file())?);
        Ok(())
    }

    /// The running daemon.
    ///
    /// # Errors
    /// Before `start` and after `kill`.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("margay-bgpd was not started")
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon()?.kill()
    }

    /// SIGTERM; returns its exit status.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.daemon()?.terminate()
    }

    /// The text of the configuration, as given to [`Margay::new`].
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Writes another configuration; the daemon takes it on `reload` or at its next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reconfigure(&mut self, config: &str) -> Result<()> {
        config.clone_into(&mut self.config);
        fs::write(self.config_file(), self.file_text()).context("writing the configuration")
    }

    /// `margay -o json ARGUMENTS…`, parsed.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["-o", "json"];
        all.extend(arguments);
        let text = succeeded(&format!("margay {}", arguments.join(" ")), &self.output(&all)?)?;
        serde_json::from_str(&text).with_context(|| format!("margay {}: {text}", all.join(" ")))
    }

    /// `margay ARGUMENTS…`, its standard output.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub fn text(&self, arguments: &[&str]) -> Result<String> {
        succeeded(&format!("margay {}", arguments.join(" ")), &self.output(arguments)?)
    }

    /// `margay ARGUMENTS…` with whatever it came to.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(bin("margay")?);
        command.arg("--socket").arg(socket(&self.dir)).args(arguments);
        self.host.output(&mut command)
    }

    /// `margay apply` of a text.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub fn apply(&self, documents: &str) -> Result<()> {
        let file = self.dir.join("resources.yaml");
        fs::write(&file, documents)?;
        self.text(&["apply", "-f", utf8(&file)?]).map(drop)
    }

    /// What a command that must fail says, and its exit code.
    ///
    /// # Errors
    /// When it does not fail.
    pub fn refusal(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let output = self.output(arguments)?;
        ensure!(!output.status.success(), "margay {} should fail", arguments.join(" "));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code().unwrap_or_default(), said))
    }

    /// One row of `margay peers`.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn peer(&self, name: &str) -> Result<Value> {
        let rows = self.json(&["peers"])?;
        let rows = rows.as_array().context("margay peers prints an array")?;
        let row = rows.iter().find(|row| row["name"] == name || row["address"] == name);
        row.cloned().with_context(|| format!("no peer {name}"))
    }

    /// True when the session with `name` is Established.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn established(&self, name: &str) -> Result<bool> {
        Ok(self.peer(name)?["state"] == "Established")
    }

    /// Rows of `margay routes ARGUMENTS…`.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub fn routes(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut all = vec!["routes"];
        all.extend(arguments);
        let rows = self.json(&all)?;
        rows.as_array().cloned().context("margay routes prints an array")
    }

    /// The best path of a prefix, if there is one.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn best(&self, prefix: &str) -> Result<Option<Value>> {
        Ok(self.routes(&[prefix])?.into_iter().find(|route| route["best"] == true))
    }

    /// The end of the daemon's log.
    pub fn log(&self) -> String {
        crate::process::tail(&fs::read_to_string(self.log_file()).unwrap_or_default(), 60)
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The file the daemon reads.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("bgpd.toml")
    }

    /// Where the daemon logs.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("margay.log")
    }

    fn file_text(&self) -> String {
        let dir = self.dir.display();
        format!(
            "[node]\nname = \"{}\"\nstate-dir = \"{dir}/state\"\n{}\n[api]\nsocket = \
             \"{dir}/bgpd.sock\"\n{}\n[http]\nlisten = \"127.0.0.1:9179\"\n\n{}{}",
            self.host.name(),
            self.node_keys,
            self.api_keys,
            // A router without a cluster, unless the test says otherwise.
            if self.config.contains("[datastore]") {
                ""
            } else {
                "[datastore]\ntype = \"none\"\n\n"
            },
            self.config
        )
    }
}

/// Margay configured like any other speaker of the lab: accepts everything, announces everything.
/// `originate` tags with standard communities only; a policy adds all three kinds.
pub fn config(speaker: &Speaker) -> String {
    let prefixes: Vec<String> =
        speaker.announcements.iter().map(|route| format!("\"{}\"", route.prefix)).collect();
    let mut text = format!(
        "[bgp]\nasn = {}\nrouter-id = \"{}\"\nrequire-policy = false\noriginate = [{}]\n",
        speaker.asn,
        speaker.router_id,
        prefixes.join(", ")
    );
    for n in &speaker.neighbors {
        let family = n.family().unicast();
        text += &format!(
            "\n[[bgp.peer]]\naddress = \"{}\"\nasn = {}\nlocal-address = \"{}\"\npassive = {}\n\
             families = [\"{family}\"]\nhold-time = {}\nconnect-retry = 1\n\
             route-reflector-client = {}\nexport = \"tagged\"\n",
            n.address, n.asn, n.local_address, n.passive, n.hold_time, n.reflector_client
        );
        if let Some(password) = &n.password {
            text += &format!("password = \"{password}\"\n");
        }
    }
    text += "\n[policy.route.tagged]\ndefault = \"accept\"\nrules = [\n";
    for route in &speaker.announcements {
        text += &tagging_rule(route);
    }
    text + "]\n"
}

/// A rule that gives an originated route its communities.
fn tagging_rule(route: &Announcement) -> String {
    let c = &route.communities;
    let large = c.large.iter().map(|text| format!("large:{text}"));
    let extended = c.extended.iter().map(|text| format!("ext:{text}"));
    let all = c.standard.iter().cloned().chain(large).chain(extended);
    let all: Vec<String> = all.map(|text| format!("\"{text}\"")).collect();
    if all.is_empty() {
        return String::new();
    }
    format!(
        "  {{ match = {{ prefix = \"{}\", source = \"originate\" }}, then = {{ set = {{ \
         add-communities = [{}] }}, action = \"accept\" }} }},\n",
        route.prefix,
        all.join(", ")
    )
}

/// The path of one of Margay's programs: from `MARGAY_BIN_DIR`, or built with the lab profile.
///
/// # Errors
/// When it does not build.
pub fn bin(name: &str) -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| folder().map_err(|e| format!("{e:#}")));
    match folder {
        Ok(folder) => Ok(folder.join(name)),
        Err(e) => bail!("{e}"),
    }
}

fn folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("MARGAY_BIN_DIR") {
        return Ok(folder.into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = Command::new(&cargo);
    // What `cargo test` tells us of our own package: build scripts that watch it would run again.
    for (name, _) in env::vars_os() {
        let ours =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(ours) {
            build.env_remove(name);
        }
    }
    let output = build
        .args(["build", "--quiet", "--profile", "lab", "--bins"])
        .args(PACKAGES.map(|name| format!("--package={name}")))
        .args(EXAMPLES.map(|name| format!("--example={name}")))
        .current_dir(&workspace)
        .output()
        .context("running cargo")?;
    succeeded("cargo build --profile lab", &output)?;
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(&workspace)
        .output()
        .context("running cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let target = metadata["target_directory"].as_str().context("a target directory")?;
    Ok(Path::new(target).join("lab"))
}

/// A path as an argument.
///
/// # Errors
/// When it is no text.
pub fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("bgpd.sock")
}
