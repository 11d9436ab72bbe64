//! How each daemon is set up for a measurement: accept all, announce all, sessions passive, nothing
//! else turned on.

use std::{fmt::Write as _, fs, net::Ipv4Addr, path::Path, process::Command};

use anyhow::{Context, Result};
use testkit::{Daemon, Host};

use crate::scenario::{DUT, DUT_AS, Neighbor};

/// A daemon that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bgpload floor`: copies, decides nothing.
    Floor,
    /// Ours.
    Margay,
    /// BIRD 2.
    Bird,
    /// GoBGP.
    Gobgp,
    /// FRR's bgpd, without zebra.
    Frr,
}

impl Kind {
    /// In the order of the tables.
    pub const ALL: [Self; 5] = [Self::Floor, Self::Margay, Self::Bird, Self::Gobgp, Self::Frr];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Margay => "margay",
            Self::Bird => "bird",
            Self::Gobgp => "gobgp",
            Self::Frr => "frr",
        }
    }

    /// What it says of its own version.
    pub fn version(self) -> String {
        let (program, flag) = match self {
            Self::Floor | Self::Margay => return env!("CARGO_PKG_VERSION").to_owned(),
            Self::Bird => ("bird", "--version"),
            Self::Gobgp => ("gobgpd", "--version"),
            Self::Frr => ("/usr/lib/frr/bgpd", "--version"),
        };
        let Ok(output) = Command::new(program).arg(flag).output() else {
            return "not installed".to_owned();
        };
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown").to_owned()
    }

    /// Writes its configuration and starts it on `host`.
    pub fn start(self, host: &Host, binaries: &Path, neighbors: &[Neighbor]) -> Result<Daemon> {
        let dir = host.dir();
        let (name, text) = match self {
            Self::Floor => ("unused", String::new()),
            Self::Margay => ("margay.toml", margay(dir, neighbors)),
            Self::Bird => ("bird.conf", bird(neighbors)),
            Self::Gobgp => ("gobgpd.toml", gobgp(neighbors)),
            Self::Frr => ("bgpd.conf", frr(neighbors)),
        };
        let config = dir.join(name);
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        let mut command = match self {
            Self::Floor => {
                let mut c = Command::new(binaries.join("bgpload"));
                c.args(["floor", "--dut", &DUT.to_string(), "--dut-as", &DUT_AS.to_string()]);
                c
            }
            Self::Margay => {
                let mut c = Command::new(binaries.join("margay-bgpd"));
                c.arg("--config").arg(&config);
                c
            }
            Self::Bird => {
                let mut c = Command::new("bird");
                c.arg("-f").arg("-c").arg(&config).arg("-s").arg(dir.join("bird.ctl"));
                c
            }
            Self::Gobgp => {
                let mut c = Command::new("gobgpd");
                c.arg("-f").arg(&config).args(["-l", "warn", "--pprof-disable"]);
                c.args(["--api-hosts", "127.0.0.1:50051"]);
                c
            }
            Self::Frr => {
                let mut c = Command::new("/usr/lib/frr/bgpd");
                c.arg("-f").arg(&config).arg("-i").arg(dir.join("bgpd.pid"));
                c.args(["-n", "-S", "-Z", "-P", "0", "-l", &DUT.to_string()]);
                c.arg("--vty_socket").arg(dir);
                c
            }
        };
        Daemon::spawn(host, &mut command, &dir.join("daemon.log"))
    }
}

fn margay(dir: &Path, neighbors: &[Neighbor]) -> String {
    let dir = dir.display();
    let mut text = format!(
        "[node]\nname = \"dut\"\nstate-dir = \"{dir}/state\"\n\n[api]\nsocket = \"{dir}/bgpd.sock\"\n\n\
         [http]\nlisten = \"\"\n\n[datastore]\ntype = \"none\"\n\n[bgp]\nasn = {DUT_AS}\n\
         router-id = \"{DUT}\"\nlisten = [\"{DUT}:179\"]\n\n[fib]\nenabled = false\n"
    );
    for n in neighbors {
        let _ = write!(
            text,
            "\n[[bgp.peer]]\naddress = \"{}\"\nasn = {}\npassive = true\nimport = \"accept\"\n\
             export = \"accept\"\n",
            n.address, n.asn
        );
        if n.client {
            text += "route-reflector-client = true\n";
        }
    }
    text
}

fn bird(neighbors: &[Neighbor]) -> String {
    let mut text = format!("router id {DUT};\nprotocol device {{ }}\n");
    for (i, n) in neighbors.iter().enumerate() {
        let client = if n.client { "rr client; " } else { "" };
        let _ = writeln!(
            text,
            "protocol bgp p{i} {{ local {DUT} as {DUT_AS}; neighbor {} as {}; direct; passive; \
             {client}ipv4 {{ import all; export all; }}; }}",
            n.address, n.asn
        );
    }
    text
}

fn gobgp(neighbors: &[Neighbor]) -> String {
    let mut text = format!(
        "[global.config]\nas = {DUT_AS}\nrouter-id = \"{DUT}\"\nlocal-address-list = [\"{DUT}\"]\n"
    );
    for n in neighbors {
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n\
             [neighbors.transport.config]\npassive-mode = true\nlocal-address = \"{DUT}\"\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv4-unicast\"\n",
            n.address, n.asn
        );
        if n.client {
            let _ = write!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{DUT}\"\n"
            );
        }
    }
    text
}

fn frr(neighbors: &[Neighbor]) -> String {
    let mut text = format!(
        "router bgp {DUT_AS}\n bgp router-id {DUT}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n"
    );
    for n in neighbors {
        let _ = writeln!(text, " neighbor {} remote-as {}", n.address, n.asn);
        let _ = writeln!(text, " neighbor {} passive", n.address);
    }
    let clients: Vec<Ipv4Addr> = neighbors.iter().filter(|n| n.client).map(|n| n.address).collect();
    if !clients.is_empty() {
        text += " address-family ipv4 unicast\n";
        for client in clients {
            let _ = writeln!(text, "  neighbor {client} route-reflector-client");
        }
        text += " exit-address-family\n";
    }
    text
}
