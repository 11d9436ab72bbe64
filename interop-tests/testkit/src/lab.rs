//! Hosts made of network namespaces, joined by veth pairs and bridges.
//!
//! Every namespace is called `mgy-PID-N-NAME` after the process that made it, so two runs never
//! meet and a run that was killed is swept by whoever makes the next lab.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{containerd, process::tail, sys};

const PREFIX: &str = "mgy-";
const NETNS: &str = "/run/netns";
/// Where policy dataplanes pin what outlives them, by the inode of the namespace.
const GUARDS: &str = "/sys/fs/bpf/margay";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// One set of hosts with a scratch folder. Dropping it takes everything away, but keeps the
/// folder when the thread is panicking, for a look at the logs.
#[derive(Debug)]
pub struct Lab {
    id: String,
    dir: PathBuf,
    hosts: Vec<String>,
    keep: bool,
}

/// A network namespace with a folder of its own for configurations and logs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    netns: String,
    dir: PathBuf,
}

impl Lab {
    /// An empty lab. `name` is for the reader of process lists; it need not be unique.
    ///
    /// # Errors
    /// When the scratch folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let dir = scratch().join(format!("{id}-{name}"));
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        // Peers give up their rights and must still reach their own folders below.
        for folder in [scratch(), dir.clone()] {
            world_readable(&folder)?;
        }
        Ok(Self { id, dir, hosts: Vec::new(), keep: false })
    }

    /// The folder of this lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Hands on what a test came to; of a failure it shows what the daemons logged, and keeps the
    /// scratch folder.
    ///
    /// # Errors
    /// Those of the test.
    pub fn told<T>(&mut self, result: Result<T>, logs: impl FnOnce() -> Vec<String>) -> Result<T> {
        result.inspect_err(|_| {
            self.keep();
            logs().iter().for_each(|log| eprintln!("{log}\n"));
        })
    }

    /// Keeps the scratch folder after the lab is gone.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// A new host: loopback up, forwarding on, duplicate address detection off.
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub fn host(&mut self, name: &str) -> Result<Host> {
        let netns = format!("{PREFIX}{}-{name}", self.id);
        ip(&["netns", "add", &netns])?;
        self.hosts.push(netns.clone());
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        world_readable(&dir)?;
        let host = Host { name: name.to_owned(), netns, dir };
        host.ip(&["link", "set", "lo", "up"])?;
        host.enter(|| {
            for (key, value) in [
                ("ipv4/ip_forward", "1"),
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/all/accept_dad", "0"),
            ] {
                fs::write(format!("/proc/sys/net/{key}"), value)
                    .with_context(|| format!("setting {key}"))?;
            }
            Ok(())
        })?;
        Ok(host)
    }

    /// A veth pair between two hosts, named `if_a` and `if_b`, with the addresses given, up.
    ///
    /// # Errors
    /// When a name is taken or an address is malformed.
    pub fn link(
        &self,
        (a, if_a, addresses_a): (&Host, &str, &[&str]),
        (b, if_b, addresses_b): (&Host, &str, &[&str]),
    ) -> Result<()> {
        a.ip(&["link", "add", if_a, "type", "veth", "peer", "name", if_b, "netns", &b.netns])?;
        a.configure(if_a, addresses_a)?;
        b.configure(if_b, addresses_b)
    }

    /// A bridge on a host of its own, the switch everybody else is plugged into with `plug`.
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub fn switch(&mut self, name: &str) -> Result<Host> {
        let switch = self.host(name)?;
        switch.ip(&["link", "add", "br0", "type", "bridge"])?;
        switch.ip(&["link", "set", "br0", "up"])?;
        // Frames between hosts are none of the packet filter's business.
        switch.enter(|| {
            for family in ["iptables", "ip6tables"] {
                // Absent where the kernel has no bridge netfilter.
                let _ = fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), "0");
            }
            Ok(())
        })?;
        Ok(switch)
    }

    /// Plugs `host` into `switch` with an interface `ifname` that has `addresses`.
    ///
    /// # Errors
    /// When a name is taken or an address is malformed.
    pub fn plug(&self, switch: &Host, host: &Host, ifname: &str, addresses: &[&str]) -> Result<()> {
        let port = format!("p{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.link((switch, &port, &[]), (host, ifname, addresses))?;
        switch.ip(&["link", "set", &port, "master", "br0"])?;
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for netns in &self.hosts {
            end_processes_in(netns);
            remove_guard(netns);
            // The next run's sweep has another try.
            let _ = ip(&["netns", "del", netns]);
        }
        if self.keep || thread::panicking() {
            let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
            let kept = scratch().join(format!("failed-{name}"));
            let place = if fs::rename(&self.dir, &kept).is_ok() { &kept } else { &self.dir };
            eprintln!("logs kept in {}", place.display());
        } else {
            // A folder left in the temporary directory harms nobody.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Host {
    /// One whose namespace somebody else makes and takes away, under a name of this process.
    pub(crate) fn bare(name: &str, netns: &str, dir: &Path) -> Self {
        let netns = format!("{PREFIX}{}-{netns}", std::process::id());
        Self { name: name.to_owned(), netns, dir: dir.to_owned() }
    }

    /// The name given to [`Lab::host`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder for this host's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of the namespace, for `ip -n`.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// The path of the namespace.
    pub fn netns_path(&self) -> String {
        format!("{NETNS}/{}", self.netns)
    }

    /// Runs `ip` with `args` in this namespace and returns what it printed.
    ///
    /// # Errors
    /// What `ip` said, when it failed.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", &self.netns];
        all.extend(args);
        ip(&all)
    }

    /// Runs many `ip` commands at once, one a line.
    ///
    /// # Errors
    /// What `ip` said about the first line that failed.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let file = self.dir.join("ip.batch");
        fs::write(&file, lines)?;
        self.ip(&["-batch", &file.to_string_lossy()]).map(drop)
    }

    /// Gives `ifname` these addresses and sets it up.
    ///
    /// # Errors
    /// When there is no such interface or an address is malformed.
    pub fn configure(&self, ifname: &str, addresses: &[&str]) -> Result<()> {
        let mut lines = String::new();
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            lines += &format!("addr add {address} dev {ifname}{nodad}\n");
        }
        lines += &format!("link set {ifname} up\n");
        self.ip_batch(&lines)
    }

    /// Arranges that `command` runs in this namespace, and dies with the thread that starts it.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn bind(&self, command: &mut Command) -> Result<()> {
        sys::run_in_netns(command, self.open()?);
        Ok(())
    }

    /// Runs a program here to its end and returns what it printed, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        self.bind(command)?;
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).output().with_context(|| format!("running {name}"))
    }

    /// Runs a program here to its end and returns its standard output.
    ///
    /// # Errors
    /// Its standard error, when it failed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self.output(Command::new(program).args(args))?;
        succeeded(&format!("{program} {}", args.join(" ")), &output)
    }

    /// Runs `work` on a thread that lives in this namespace. Sockets made there stay there.
    ///
    /// # Errors
    /// Those of `work`, and when the namespace is gone.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let netns = self.open()?;
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                sys::enter_netns(&netns)?;
                work()
            });
            inside.join().map_err(|_| anyhow!("the work in {} panicked", self.netns))?
        })
    }

    /// One ping to `address`, with at most a second of patience.
    pub fn pings(&self, address: &str) -> bool {
        self.run("ping", &["-n", "-c", "1", "-W", "1", address]).is_ok()
    }

    fn open(&self) -> Result<File> {
        let path = self.netns_path();
        File::open(&path).with_context(|| format!("opening {path}"))
    }
}

/// Runs `ip` on the machine itself.
///
/// # Errors
/// What `ip` said, when it failed.
pub fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("running ip (package iproute2)")?;
    succeeded(&format!("ip {}", args.join(" ")), &output)
}

/// The standard output of a program that succeeded.
///
/// # Errors
/// The end of its standard error (or output) when it did not.
pub fn succeeded(what: &str, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = if stderr.trim().is_empty() { stdout.as_str() } else { stderr.as_ref() };
    bail!("{what}: {}: {}", output.status, tail(said, 6))
}

/// Where labs put their folders.
fn scratch() -> PathBuf {
    std::env::temp_dir().join("margay-lab")
}

fn world_readable(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening up {}", folder.display()))
}

/// Takes away what runs that no longer live have left: processes, namespaces, folders.
fn sweep() {
    let dead = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
    for name in names_in(Path::new(NETNS)) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(dead) {
            end_processes_in(&name);
            remove_guard(&name);
            // Somebody else may sweep at the same moment.
            let _ = ip(&["netns", "del", &name]);
        }
    }
    for name in names_in(&scratch()) {
        if name.split('-').next().is_some_and(dead) {
            let lab = scratch().join(name);
            for host in names_in(&lab) {
                containerd::clear(&lab.join(host));
            }
            let _ = fs::remove_dir_all(lab);
        }
    }
}

/// Kills what still runs in a namespace of ours; a lab's namespace holds nothing else.
fn end_processes_in(netns: &str) {
    let Ok(pids) = ip(&["netns", "pids", netns]) else { return };
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()) {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
}

/// Where the guard of a host's policy dataplane is, if there is one.
///
/// # Errors
/// The host is gone.
pub fn guard_folder(host: &Host) -> Result<PathBuf> {
    guard_of(&host.netns).with_context(|| format!("looking at {}", host.netns))
}

fn guard_of(netns: &str) -> io::Result<PathBuf> {
    let inode = fs::metadata(Path::new(NETNS).join(netns))?.ino();
    Ok(Path::new(GUARDS).join(inode.to_string()))
}

/// Takes away the guard that a policy dataplane left in a namespace, which would keep that alive.
fn remove_guard(netns: &str) {
    // Most have none.
    let _ = guard_of(netns).and_then(fs::remove_dir_all);
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
