//! How each daemon is set up for a measurement: accept all, announce all, sessions passive, and
//! otherwise as it comes, but for what a scenario asks of it.

mod bird;
mod frr;
mod gobgp;
mod margay;
mod openbgpd;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use testkit::{Daemon, Host};

/// Address of the daemon under test, and its second one for IPv6 next hops.
pub const DUT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// See [`DUT`].
pub const DUT_V6: &str = "fd00:0:0:99::1";
/// Its AS.
pub const DUT_AS: u32 = 65000;
/// First of the tags that a policy class rejects, as `bgpload` numbers them.
const TAG: u32 = 500;
/// What a reloaded policy adds, as `bgpload` expects it.
const RELOADED: u32 = 77;

/// A daemon that can be measured, or what stands in for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `bgpload floor`: copies, decides nothing.
    Floor,
    /// `bgpload kpush`: routes into the kernel without a daemon.
    Raw,
    /// Ours.
    Margay,
    /// Ours, with the kernel's `nexthop_compat_mode` as it is.
    MargayKeep,
    /// BIRD 2.
    Bird,
    /// FRR's bgpd with zebra.
    Frr,
    /// GoBGP.
    Gobgp,
    /// OpenBGPD, portable.
    Openbgpd,
}

impl Kind {
    /// In the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Floor,
        Self::Raw,
        Self::Margay,
        Self::MargayKeep,
        Self::Bird,
        Self::Frr,
        Self::Gobgp,
        Self::Openbgpd,
    ];

    /// As on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Raw => "raw",
            Self::Margay => "margay",
            Self::MargayKeep => "margay-keep",
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::Gobgp => "gobgp",
            Self::Openbgpd => "openbgpd",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Somebody else's daemon.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Bird | Self::Frr | Self::Gobgp | Self::Openbgpd)
    }

    /// The program, where it is somebody else's.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Bird => Some("/usr/sbin/bird"),
            Self::Frr => Some("/usr/lib/frr/bgpd"),
            Self::Gobgp => Some("/usr/bin/gobgpd"),
            Self::Openbgpd => Some("/usr/sbin/bgpd"),
            Self::Floor | Self::Raw | Self::Margay | Self::MargayKeep => None,
        }
    }

    /// Can it be run here?
    pub fn installed(self) -> bool {
        self.program().is_none_or(|program| Path::new(program).exists())
    }

    /// What it says of its own version; `None` for what is built here.
    pub fn version(self) -> Option<String> {
        let program = self.program()?;
        let flag = if self == Self::Openbgpd { "-V" } else { "--version" };
        let Ok(output) = Command::new(program).arg(flag).output() else {
            return Some("not installed".to_owned());
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Some(said.lines().next().unwrap_or("unknown").trim().to_owned())
    }

    /// Why it cannot take part, if so.
    pub fn cannot(self, setup: &Setup) -> Option<&'static str> {
        match self {
            Self::Openbgpd if setup.fib => Some("its Linux port has no kernel routes"),
            Self::Gobgp if setup.fib => Some("reaches the kernel by zebra only, and panics on 8.4"),
            Self::Gobgp if setup.reload => Some("soft reset of a table this size takes it minutes"),
            Self::Floor if setup.fib => Some("has no routes"),
            _ => None,
        }
    }

    /// Writes its configuration and starts it on `host`.
    pub fn start(self, host: &Host, binaries: &Path, setup: &Setup) -> Result<Running> {
        match self {
            Self::Floor => {
                let mut command = Command::new(binaries.join("bgpload"));
                command.args(["floor", "--dut", &DUT.to_string(), "--dut-as", &DUT_AS.to_string()]);
                command.args(["--family", setup.family()]);
                Running::one(host, &mut command)
            }
            Self::Margay => margay::start(host, binaries, setup, true),
            Self::MargayKeep => margay::start(host, binaries, setup, false),
            Self::Bird => bird::start(host, setup),
            Self::Frr => frr::start(host, setup),
            Self::Gobgp => gobgp::start(host, setup),
            Self::Openbgpd => openbgpd::start(host, setup),
            Self::Raw => bail!("raw is no daemon"),
        }
    }
}

/// What a neighbour is to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An external peer.
    Plain,
    /// A route reflector's client.
    ReflectorClient,
    /// A route server's client under an export policy of this class, from 1.
    ServerClient(u32),
    /// Is told nothing: it watches the keep-alives.
    Keeper,
}

/// A session of the daemon under test.
#[derive(Debug, Clone, Copy)]
pub struct Neighbor {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its AS.
    pub asn: u32,
    /// What is asked of the daemon for it.
    pub role: Role,
}

/// What a scenario asks of a daemon.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Everybody it talks to.
    pub neighbors: Vec<Neighbor>,
    /// IPv6 unicast (over the same IPv4 sessions) instead of IPv4 unicast.
    pub v6: bool,
    /// Routes go to the kernel.
    pub fib: bool,
    /// The export policy will be changed while it runs.
    pub reload: bool,
}

impl Setup {
    /// `4` or `6`.
    pub fn family(&self) -> &'static str {
        if self.v6 { "6" } else { "4" }
    }

    /// The policy classes in use.
    fn classes(&self) -> Vec<u32> {
        let classes = self.neighbors.iter().filter_map(|n| match n.role {
            Role::ServerClient(class) => Some(class),
            _ => None,
        });
        let mut classes: Vec<u32> = classes.collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

/// A started daemon.
#[derive(Debug)]
pub struct Running {
    daemons: Vec<Daemon>,
    /// The shell command that makes it take the new policy.
    pub reload: Option<String>,
}

impl Running {
    fn one(host: &Host, command: &mut Command) -> Result<Self> {
        let daemon = Daemon::spawn(host, command, &host.dir().join("daemon.log"))?;
        Ok(Self { daemons: vec![daemon], reload: None })
    }

    /// The processes at the roots of its trees, with commas between.
    pub fn pids(&self) -> String {
        let pids: Vec<String> = self.daemons.iter().map(|d| d.pid().to_string()).collect();
        pids.join(",")
    }

    /// Fails, with the end of the log, when one of them has ended.
    pub fn check(&mut self) -> Result<()> {
        self.daemons.iter_mut().try_for_each(Daemon::check_running)
    }
}

/// Writes `text` as `name` into the folder of `host`.
fn write(host: &Host, name: &str, text: &str) -> Result<PathBuf> {
    let path = host.dir().join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
