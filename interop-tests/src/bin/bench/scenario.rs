//! What is played, and how one daemon is put through it.

use std::{fmt::Write as _, net::Ipv4Addr, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::{Host, Lab};

use crate::daemon::{DUT, DUT_AS, DUT_V6, Kind, Neighbor, Role, Running, Setup};

const PEERS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const MONITORS: Ipv4Addr = Ipv4Addr::new(10, 99, 200, 1);
const KEEPER: Ipv4Addr = Ipv4Addr::new(10, 99, 250, 1);
/// As `bgpload` numbers its sessions.
const PEER_AS: u32 = 4_200_000_000;
const MONITOR_AS: u32 = 4_210_000_000;
const KEEPER_AS: u32 = 4_220_000_000;

/// How the peers share the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All tell the same.
    Same,
    /// Each tells its own.
    Distinct,
    /// Each tells a random part of so many prefixes.
    Random(u32),
}

/// Which kind of daemon is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// An ordinary speaker.
    Speaker,
    /// All peers are its reflector clients.
    Reflector,
    /// All peers are its route-server clients under so many export policies.
    Server(u32),
}

/// One table of the report.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its number in the list, or its name.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// The phase that is its point.
    pub phase: &'static str,
    /// Who takes part besides the peers.
    pub company: &'static [Kind],
    phases: &'static str,
    peers: u32,
    routes: u32,
    monitors: u32,
    layout: Layout,
    duty: Duty,
    v6: bool,
    fib: bool,
    prefer_first: bool,
    prober: bool,
    /// Seconds a phase may last unless the user says otherwise.
    limit: u32,
}

const BASE: Scenario = Scenario {
    name: "",
    title: "",
    phase: "load",
    company: &[Kind::Floor, Kind::Margay],
    phases: "load",
    peers: 1,
    routes: 1_000_000,
    monitors: 1,
    layout: Layout::Same,
    duty: Duty::Speaker,
    v6: false,
    fib: false,
    prefer_first: false,
    prober: false,
    limit: 120,
};

/// All of them, in the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1",
        title: "2 peers x 100k, the same prefixes",
        peers: 2,
        routes: 100_000,
        ..BASE
    },
    Scenario { name: "2", title: "full table: 1 peer x 1M", ..BASE },
    Scenario {
        name: "3",
        title: "10 peers x 100k, distinct",
        peers: 10,
        routes: 100_000,
        layout: Layout::Distinct,
        ..BASE
    },
    Scenario {
        name: "4",
        title: "50 peers x 20k at random out of 100k prefixes",
        peers: 50,
        routes: 20_000,
        layout: Layout::Random(100_000),
        ..BASE
    },
    Scenario {
        name: "5",
        title: "route reflector, 100 clients x 1k",
        peers: 100,
        routes: 1_000,
        monitors: 0,
        layout: Layout::Distinct,
        duty: Duty::Reflector,
        ..BASE
    },
    Scenario {
        name: "6",
        title: "route server, 200 clients x 20k out of 100k prefixes, 4 export policies",
        company: &[Kind::Margay],
        peers: 200,
        routes: 20_000,
        monitors: 0,
        layout: Layout::Random(100_000),
        duty: Duty::Server(4),
        ..BASE
    },
    Scenario {
        name: "7",
        title: "withdrawal of a full table of 1M",
        phase: "withdraw",
        phases: "load,withdraw",
        ..BASE
    },
    Scenario {
        name: "8",
        title: "1% of a full table of 1M goes and comes each second for 30 s: delay of a probe",
        phase: "churn",
        company: &[Kind::Margay],
        phases: "load,churn:1:30",
        prober: true,
        ..BASE
    },
    Scenario {
        name: "9",
        title: "full table of 1M into the kernel",
        company: &[Kind::Raw, Kind::Margay],
        fib: true,
        ..BASE
    },
    Scenario {
        name: "10",
        title: "failover: 2 peers x 500k, the preferred one is killed; kernel and monitor",
        phase: "drop",
        company: &[Kind::Margay, Kind::MargayKeep],
        phases: "load,drop",
        peers: 2,
        routes: 500_000,
        fib: true,
        prefer_first: true,
        ..BASE
    },
    Scenario {
        name: "11",
        title: "another export policy over a full table of 1M",
        phase: "reload",
        company: &[Kind::Margay],
        phases: "load,reload",
        ..BASE
    },
    Scenario { name: "12", title: "IPv6: 1 peer x 200k", routes: 200_000, v6: true, ..BASE },
    Scenario {
        name: "13",
        title: "1000 peers x 100, each is told the others' 99.9k",
        peers: 1000,
        routes: 100,
        monitors: 0,
        layout: Layout::Distinct,
        limit: 180,
        ..BASE
    },
    Scenario {
        name: "idle",
        title: "2 peers, 100 routes, nothing happens",
        phase: "idle",
        company: &[Kind::Margay],
        phases: "load,idle:20",
        peers: 2,
        routes: 100,
        ..BASE
    },
];

/// How one run is made.
#[derive(Debug, Clone)]
pub struct Conditions<'a> {
    /// Where `margay-bgpd` and `bgpload` lie.
    pub binaries: &'a Path,
    /// Overrides the limit of the scenario, in seconds.
    pub timeout: Option<u32>,
    /// Sizes are multiplied by this; 1 = as the titles say.
    pub scale: f64,
}

impl Scenario {
    /// Smaller by `scale`: routes by it, many peers by its root, times to seconds.
    fn scaled(&self, scale: f64) -> Self {
        if scale >= 1.0 {
            return *self;
        }
        let routes = |n: u32| ((f64::from(n) * scale) as u32).max(10);
        let peers = |n: u32| if n > 10 { (f64::from(n) * scale.sqrt()) as u32 } else { n };
        Self {
            routes: routes(self.routes),
            peers: peers(self.peers),
            layout: match self.layout {
                Layout::Random(universe) => Layout::Random(routes(universe)),
                other => other,
            },
            phases: match self.phases {
                "load,churn:1:30" => "load,churn:10:2",
                "load,idle:20" => "load,idle:1",
                other => other,
            },
            ..*self
        }
    }

    fn setup(&self) -> Setup {
        let at = |base: Ipv4Addr, i: u32| Ipv4Addr::from(u32::from(base) + i);
        let internal = self.duty == Duty::Reflector;
        let asn = |asn: u32| if internal { DUT_AS } else { asn };
        let role = |session: u32| match self.duty {
            Duty::Speaker => Role::Plain,
            Duty::Reflector => Role::ReflectorClient,
            Duty::Server(classes) => Role::ServerClient(session % classes + 1),
        };
        let mut neighbors = Vec::new();
        for i in 0..self.peers + u32::from(self.prober) {
            let asn = asn(PEER_AS + i);
            neighbors.push(Neighbor { address: at(PEERS, i), asn, role: role(i) });
        }
        for i in 0..self.monitors {
            let role = role(self.peers + i);
            neighbors.push(Neighbor { address: at(MONITORS, i), asn: asn(MONITOR_AS + i), role });
        }
        let reload = self.phase == "reload";
        if reload {
            neighbors.push(Neighbor { address: KEEPER, asn: KEEPER_AS, role: Role::Keeper });
        }
        Setup { neighbors, v6: self.v6, fib: self.fib, reload }
    }

    /// Seconds a phase may last.
    pub fn limit(&self, kind: Kind, conditions: &Conditions<'_>) -> u32 {
        // Known to be more than ten times slower than the others: nobody wants to wait for it.
        let usual = if kind == Kind::Gobgp { self.limit / 2 } else { self.limit };
        conditions.timeout.unwrap_or(usual)
    }

    /// Starts the daemon, plays the peers, and takes everything away again. The result is what
    /// `bgpload` measured; an error in it is the daemon's, an `Err` is ours.
    pub fn run(&self, kind: Kind, conditions: &Conditions<'_>) -> Result<Value> {
        let scenario = self.scaled(conditions.scale);
        let setup = scenario.setup();
        if let Some(why) = kind.cannot(&setup) {
            return Ok(json!({ "error": why }));
        }
        let mut lab = Lab::new("bench")?;
        let dut = lab.host("dut")?;
        let peers = lab.host("peers")?;
        connect(&lab, &dut, &peers, &setup)?;
        if kind == Kind::Raw {
            return scenario.push_raw(&dut, conditions);
        }
        let mut running = kind.start(&dut, conditions.binaries, &setup)?;
        thread::sleep(Duration::from_millis(300));
        running.check()?;
        let mut load = scenario.command(kind, &setup, &running, conditions);
        let output = peers.output(&mut load)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().last().unwrap_or_default();
        let mut result: Value = serde_json::from_str(line).with_context(|| {
            format!("bgpload: {}", String::from_utf8_lossy(&output.stderr).trim())
        })?;
        if let Err(e) = running.check() {
            result["error"] = format!("{e:#}").into();
        }
        Ok(result)
    }

    fn push_raw(&self, host: &Host, conditions: &Conditions<'_>) -> Result<Value> {
        let mut push = Command::new(conditions.binaries.join("bgpload"));
        push.args(["kpush", "--routes", &self.routes.to_string(), "--dev", "vd", "--nhid", "7"]);
        push.args(["--via", &PEERS.to_string(), "--batch", "256"]);
        let output = host.output(&mut push)?;
        let raw: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("bgpload kpush: {}", String::from_utf8_lossy(&output.stderr).trim())
        })?;
        if raw["add"]["errors"] != 0 {
            bail!("the kernel refused routes: {raw}");
        }
        let add = &raw["add"];
        Ok(json!({ "raw": raw, "phases": { "load": {
            "ok": true, "seconds": add["seconds"], "fib_s": add["seconds"], "cpu_s": add["cpu_s"],
        } } }))
    }

    fn command(
        &self,
        kind: Kind,
        setup: &Setup,
        running: &Running,
        conditions: &Conditions<'_>,
    ) -> Command {
        let mut load = Command::new(conditions.binaries.join("bgpload"));
        load.args(["run", "--dut", &DUT.to_string(), "--dut-as", &DUT_AS.to_string()])
            .args(["--peers", &self.peers.to_string(), "--routes", &self.routes.to_string()])
            .args(["--monitors", &self.monitors.to_string(), "--phases", self.phases])
            .args(["--pid", &running.pids(), "--family", setup.family()])
            .args(["--timeout", &self.limit(kind, conditions).to_string()])
            .args(["--connect-timeout", "90"]);
        match self.layout {
            Layout::Same => load.args(["--layout", "same"]),
            Layout::Distinct => load.args(["--layout", "distinct"]),
            Layout::Random(of) => load.args(["--layout", "random", "--universe", &of.to_string()]),
        };
        match self.duty {
            Duty::Speaker => {}
            Duty::Reflector => {
                load.arg("--internal");
            }
            Duty::Server(classes) => {
                load.args(["--classes", &classes.to_string()]);
            }
        }
        if let Some(reload) = &running.reload {
            load.args(["--keeper", "--reload", reload]);
        }
        for (wanted, option) in [
            (self.monitors == 0, "--all-receive"),
            (self.prefer_first, "--prefer-first"),
            (self.prober, "--prober"),
            (self.fib, "--fib"),
            (kind == Kind::Floor, "--copies"),
        ] {
            if wanted {
                load.arg(option);
            }
        }
        load
    }
}

/// One cable; all peers' addresses on the far end, known to the near one for good, so that a
/// thousand of them do not fight for the kernel's neighbour table.
fn connect(lab: &Lab, dut: &Host, peers: &Host, setup: &Setup) -> Result<()> {
    const FAR: &str = "02:00:00:00:00:02";
    lab.link((dut, "vd", &[&format!("{DUT}/16"), &format!("{DUT_V6}/64")]), (peers, "vp", &[]))?;
    let mut addresses = format!("link set vp address {FAR}\n");
    let mut neighbors = String::new();
    for n in &setup.neighbors {
        let _ = writeln!(addresses, "addr add {}/16 dev vp", n.address);
        let _ =
            writeln!(neighbors, "neigh replace {} lladdr {FAR} dev vd nud permanent", n.address);
    }
    peers.ip_batch(&addresses)?;
    dut.ip_batch(&neighbors)
}
