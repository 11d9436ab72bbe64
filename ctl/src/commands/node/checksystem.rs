//! `margay node checksystem`: whether the host can do what a node needs.

use std::path::Path;

use serde::Serialize;

use super::system::{Presence, System};
use crate::{
    error::Failure,
    output::{
        Out, Row,
        table::{Cell, Column, Tone},
    },
};

/// The oldest kernel with everything that is used without asking.
const OLDEST: (u32, u32) = (5, 10);

/// Looks, prints what was found, and fails where something needed is missing.
pub fn run(out: &mut Out<'_>) -> Result<(), Failure> {
    let checks = look(&System::new(Path::new("/")));
    out.all(&checks)?;
    if checks.iter().any(Check::fails) { Err(Failure::Silent { exit: 1 }) } else { Ok(()) }
}

/// One thing a node uses.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    name: &'static str,
    /// Whether a node cannot do without.
    needed: bool,
    /// `ok`, `missing` or `unknown`.
    pub result: &'static str,
    /// What was seen.
    pub detail: String,
    /// What it is for.
    purpose: &'static str,
}

impl Check {
    /// Whether the node cannot work for want of it.
    pub fn fails(&self) -> bool {
        self.needed && self.result == "missing"
    }

    fn new(name: &'static str, need: Need, presence: Presence, purpose: &'static str) -> Self {
        let (result, detail) = match presence {
            Presence::There(how) => ("ok", how.to_owned()),
            Presence::Missing(why) => ("missing", why.to_owned()),
            Presence::Unknown => {
                ("unknown", "neither a module nor the kernel's configuration says".to_owned())
            }
        };
        Self { name, needed: need == Need::Needed, result, detail, purpose }
    }

    fn seen(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without.
    Needed,
    /// What it is for does not work without, or not as well.
    Wanted,
}

/// Parts of the kernel: name, need, option of the build, module, purpose.
const PARTS: [(&str, Need, &str, &str, &str); 9] = [
    ("nftables", Need::Needed, "CONFIG_NF_TABLES", "nf_tables", "network policy, masquerading"),
    ("connection tracking", Need::Needed, "CONFIG_NF_CONNTRACK", "nf_conntrack", "network policy"),
    ("veth", Need::Needed, "CONFIG_VETH", "veth", "links of workloads"),
    ("vxlan", Need::Wanted, "CONFIG_VXLAN", "vxlan", "pools with vxlanMode"),
    ("ipip", Need::Wanted, "CONFIG_NET_IPIP", "ipip", "pools with ipipMode"),
    ("wireguard", Need::Wanted, "CONFIG_WIREGUARD", "wireguard", "encryption between nodes"),
    ("tcp md5", Need::Wanted, "CONFIG_TCP_MD5SIG", "tcp_md5", "passwords of BGP sessions"),
    ("bpf", Need::Wanted, "CONFIG_BPF_SYSCALL", "bpf", "network policy with eBPF"),
    ("traffic classes", Need::Wanted, "CONFIG_NET_CLS_ACT", "act_api", "network policy with eBPF"),
];

/// Everything there is to see.
pub(super) fn look(system: &System) -> Vec<Check> {
    let mut checks = vec![kernel(system)];
    let nexthops = match system.has("proc/sys/net/ipv4/nexthop_compat_mode") {
        true => Presence::There("net.ipv4.nexthop_compat_mode is there"),
        false => Presence::Missing("no net.ipv4.nexthop_compat_mode: Linux 5.8 or later has it"),
    };
    checks.push(Check::new(
        "next-hop objects",
        Need::Wanted,
        nexthops,
        "failover by one write, however many routes",
    ));
    checks.extend(parts(system).map(|(_, check)| check));
    checks.push(bpf_filesystem(system));
    let btf = match system.has("sys/kernel/btf/vmlinux") {
        true => Presence::There("/sys/kernel/btf/vmlinux"),
        false => Presence::Missing("no /sys/kernel/btf/vmlinux"),
    };
    checks.push(Check::new("bpf type information", Need::Wanted, btf, "network policy with eBPF"));
    for (name, need, path, good, purpose) in SYSCTLS {
        checks.push(sysctl(system, (name, need), path, good, purpose));
    }
    checks
}

/// Parts of the kernel, each with the name of its module.
pub fn parts(system: &System) -> impl Iterator<Item = (&'static str, Check)> {
    PARTS.into_iter().map(|(name, need, option, module, purpose)| {
        (module, Check::new(name, need, system.part(option, module), purpose))
    })
}

/// Its version.
pub fn kernel(system: &System) -> Check {
    let (major, minor) = OLDEST;
    let presence = match system.version() {
        Some(version) if version >= OLDEST => Presence::There(""),
        Some(_) => Presence::Missing(""),
        None => Presence::Unknown,
    };
    let detail = match presence {
        Presence::There(_) => system.release().to_owned(),
        Presence::Missing(_) => format!("{}, older than {major}.{minor}", system.release()),
        Presence::Unknown => "its version cannot be read".to_owned(),
    };
    Check::new("kernel", Need::Needed, presence, "everything").seen(detail)
}

fn bpf_filesystem(system: &System) -> Check {
    let mounts = system.read("proc/self/mounts").unwrap_or_default();
    let mounted = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let at = fields.next()?;
        (fields.next()? == "bpf").then(|| at.to_owned())
    });
    let name = "bpf file system";
    let purpose = "eBPF programs that outlive the daemon";
    match mounted {
        Some(at) => Check::new(name, Need::Wanted, Presence::There(""), purpose).seen(at),
        None => Check::new(name, Need::Wanted, Presence::Missing("not mounted"), purpose),
    }
}

/// Switches: name, need, file, good values, purpose.
const SYSCTLS: [(&str, Need, &str, &[&str], &str); 4] = [
    (
        "net.ipv4.ip_forward",
        Need::Needed,
        "proc/sys/net/ipv4/ip_forward",
        &["1"],
        "packets of workloads and other hosts",
    ),
    (
        "net.ipv6.conf.all.forwarding",
        Need::Wanted,
        "proc/sys/net/ipv6/conf/all/forwarding",
        &["1"],
        "the same for IPv6",
    ),
    (
        "net.ipv4.conf.all.rp_filter",
        Need::Wanted,
        "proc/sys/net/ipv4/conf/all/rp_filter",
        &["0", "2"],
        "packets that come back another way (0 or 2)",
    ),
    (
        "net.ipv4.fib_multipath_hash_policy",
        Need::Wanted,
        "proc/sys/net/ipv4/fib_multipath_hash_policy",
        &["1", "2", "3"],
        "sharing load between paths by connection (1 to 3)",
    ),
];

fn sysctl(
    system: &System,
    (name, need): (&'static str, Need),
    path: &str,
    good: &[&str],
    purpose: &'static str,
) -> Check {
    match system.read(path) {
        Some(value) if good.contains(&value.as_str()) => {
            Check::new(name, need, Presence::There(""), purpose).seen(format!("is {value}"))
        }
        Some(value) => {
            Check::new(name, need, Presence::Missing(""), purpose).seen(format!("is {value}"))
        }
        None => Check::new(name, need, Presence::Missing("there is none"), purpose),
    }
}

impl Row for Check {
    const COLUMNS: &'static [Column] = &[
        Column::left("CHECK"),
        Column::left("RESULT"),
        Column::left("NEEDED"),
        Column::left("FOR"),
        Column::left("DETAIL"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let tone = match self.result {
            "ok" => Tone::Good,
            "missing" if self.needed => Tone::Bad,
            _ => Tone::Warn,
        };
        vec![
            Cell::new(self.name),
            Cell::new(self.result).tone(tone),
            Cell::new(if self.needed { "yes" } else { "no" }),
            Cell::new(self.purpose),
            Cell::new(self.detail.clone()),
        ]
    }
}

#[cfg(test)]
mod tests;
