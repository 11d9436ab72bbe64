//! The Debian packages the tests need, installed without starting what they bring.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::step;

/// Peers and tools of the interop tests, the demo and the benchmark.
pub const LAB: &[&str] = &[
    "bird2",
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "etcd-server",
    "exabgp",
    "frr",
    "gobgpd",
    "iproute2",
    "iputils-ping",
    "openbgpd",
    "openssl",
    "procps",
    "runc",
    "strace",
    "util-linux",
];

/// What the benchmark of addresses needs.
pub const IPAM: &[&str] = &["etcd-server", "iproute2", "procps", "util-linux"];

/// What the benchmark of pods needs, and what it compares with.
pub const CNI: &[&str] =
    &["busybox-static", "containernetworking-plugins", "iproute2", "procps", "util-linux"];

/// What the benchmark of policy needs, and what it compares with.
pub const ENFORCEMENT: &[&str] = &["iproute2", "nftables", "procps"];

/// What counts instructions.
pub const MICRO: &[&str] = &["valgrind"];

/// What building needs beside the Rust toolchain: a C compiler (allocator), one for programs that run in
/// the kernel, C++ (fuzzer).
pub const BUILD: &[&str] = &["clang", "g++", "gcc"];

/// Services the peers' packages would start.
const SERVICES: &[&str] =
    &["bird", "bird6", "containerd", "etcd", "frr", "gobgpd", "openbgpd", "exabgp"];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing. As an ordinary user it only says what is missing.
///
/// # Errors
/// When packages are missing and cannot be installed.
pub fn install(wanted: &[&str]) -> Result<()> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        println!("not installed (needs root): {}", missing.join(" "));
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("please install: {} (this is no Debian, so not done here)", missing.join(" "));
    }
    let mut update = apt(&["update", "-q"]);
    step::run("apt-get update", &mut update)?;
    let guard = NoServices::new()?;
    let mut install = apt(&["install", "-q", "-y", "--no-install-recommends"]);
    install.args(&missing);
    let title = format!("apt-get install {}", missing.join(" "));
    let result = step::run(&title, &mut install);
    drop(guard);
    result?;
    disable_services();
    Ok(())
}

/// True for root.
pub fn is_root() -> bool {
    // /proc/self belongs to the effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

fn installed(package: &str) -> bool {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// While it lives, packages being installed start no services.
struct NoServices {
    made: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { made: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { made: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made && fs::remove_file(POLICY).is_err() {
            eprintln!("warning: {POLICY} could not be removed; it keeps services from starting");
        }
    }
}

/// Keeps the routers just installed from starting at the next boot, also of an image that is made in
/// a tree where systemd does not run.
fn disable_services() {
    let running = Path::new("/run/systemd/system").exists();
    for service in SERVICES {
        let mut command = Command::new("systemctl");
        command.args(["disable", "--quiet"]);
        if running {
            command.arg("--now");
        }
        let _ = command.arg(service).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
