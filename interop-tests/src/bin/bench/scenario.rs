//! What is played, and how one daemon is put through it.

use std::{fmt, fmt::Write as _, net::Ipv4Addr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::Lab;

use crate::daemon::Kind;

/// Address of the daemon under test.
pub const DUT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// Its AS.
pub const DUT_AS: u32 = 65000;

const PEERS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const MONITORS: Ipv4Addr = Ipv4Addr::new(10, 99, 200, 1);
const PEER_AS: u32 = 64700;
const MONITOR_AS: u32 = 64600;

/// A session of the daemon under test.
#[derive(Debug, Clone, Copy)]
pub struct Neighbor {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its AS.
    pub asn: u32,
    /// A route-reflector client.
    pub client: bool,
}

/// One table of the report.
#[derive(Debug)]
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    peers: u32,
    routes: u32,
    monitors: u32,
    layout: &'static str,
    reflect: bool,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "same",
        title: "2 peers x 100k, the same prefixes, 1 monitor",
        peers: 2,
        routes: 100_000,
        monitors: 1,
        layout: "same",
        reflect: false,
    },
    Scenario {
        name: "full",
        title: "1 peer x 1M, 1 monitor",
        peers: 1,
        routes: 1_000_000,
        monitors: 1,
        layout: "same",
        reflect: false,
    },
    Scenario {
        name: "reflect",
        title: "route reflector, 50 iBGP clients x 1k",
        peers: 50,
        routes: 1_000,
        monitors: 0,
        layout: "distinct",
        reflect: true,
    },
];

/// What one run measured.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// From the first UPDATE handed to the socket until every counting session has every prefix.
    pub seconds: f64,
    /// User and system time of the daemon's processes until it was idle again.
    pub cpu_seconds: f64,
    /// Largest sum of resident sets, in MB.
    pub peak_mb: f64,
    /// UPDATE messages the counting sessions got: how well the daemon packs.
    pub updates: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.3} s  {:6.2} CPU s  {:6.0} MB", self.seconds, self.cpu_seconds, self.peak_mb)
    }
}

impl Scenario {
    fn neighbors(&self) -> Vec<Neighbor> {
        let asn = |base: u32, i: u32| if self.reflect { DUT_AS } else { base + i };
        let at = |base: Ipv4Addr, i: u32| Ipv4Addr::from(u32::from(base) + i);
        let peers = (0..self.peers).map(|i| (at(PEERS, i), asn(PEER_AS, i)));
        let monitors = (0..self.monitors).map(|i| (at(MONITORS, i), asn(MONITOR_AS, i)));
        peers
            .chain(monitors)
            .map(|(address, asn)| Neighbor { address, asn, client: self.reflect })
            .collect()
    }

    /// Starts the daemon, plays the peers, and takes everything away again.
    pub fn run(&self, kind: Kind, binaries: &Path, timeout: u32) -> Result<Sample> {
        let neighbors = self.neighbors();
        let mut lab = Lab::new("bench")?;
        let dut = lab.host("dut")?;
        let peers = lab.host("peers")?;
        lab.link((&dut, "vd", &[&format!("{DUT}/16")]), (&peers, "vp", &[]))?;
        let mut addresses = String::new();
        for n in &neighbors {
            let _ = writeln!(addresses, "addr add {}/16 dev vp", n.address);
        }
        peers.ip_batch(&addresses)?;
        let mut daemon = kind.start(&dut, binaries, &neighbors)?;
        std::thread::sleep(Duration::from_millis(500));
        daemon.check_running()?;

        let mut load = Command::new(binaries.join("bgpload"));
        load.args(["run", "--dut", &DUT.to_string(), "--dut-as", &DUT_AS.to_string()])
            .args(["--peers", &self.peers.to_string(), "--routes", &self.routes.to_string()])
            .args(["--monitors", &self.monitors.to_string(), "--layout", self.layout])
            .args(["--pid", &daemon.pid().to_string(), "--timeout", &timeout.to_string()])
            .args(["--connect-timeout", "30"]);
        if self.reflect {
            load.args(["--ibgp", "--all-receive"]);
        }
        let output = peers.output(&mut load)?;
        daemon.check_running()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().last().unwrap_or_default();
        let result: Value = serde_json::from_str(line).with_context(|| {
            format!("bgpload: {}", String::from_utf8_lossy(&output.stderr).trim())
        })?;
        let phase = &result["phases"]["load"];
        if phase["ok"] != true {
            bail!(
                "not done after {timeout} s: {} of {} prefixes told, {} sessions lost",
                phase["present"],
                phase["expected"],
                phase["lost_sessions"]
            );
        }
        let number =
            |key: &str| phase[key].as_f64().with_context(|| format!("bgpload does not say {key}"));
        Ok(Sample {
            seconds: number("seconds")?,
            cpu_seconds: number("cpu_settled_s")?,
            peak_mb: number("rss_peak_mb")?,
            updates: number("updates_rx")?,
        })
    }
}
