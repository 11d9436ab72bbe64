//! The parts: what is set up, what is run, what is required.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result};
use interop_tests::{
    marks::Row,
    probe::{Line, find, run},
};
use testkit::{Host, Lab, Margay, etcd::Cluster, until};

use crate::effect;

/// One of the parts.
pub struct Part {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    measure: fn(f64) -> Result<Vec<Row>>,
}

/// All of them, in the order of the table.
pub const PARTS: &[Part] = &[
    Part {
        name: "embedded",
        title: "addresses through a daemon with the embedded store",
        measure: embedded,
    },
    Part { name: "etcd", title: "addresses through a daemon on three real etcd", measure: etcd },
    Part { name: "claims", title: "200 simulated nodes claim blocks of one pool", measure: claims },
    Part { name: "mesh", title: "one node more in a full mesh of 5000", measure: mesh },
    Part {
        name: "effect",
        title: "a BGPPeer takes effect on a node of a mesh, on three real etcd",
        measure: effect::measure,
    },
    Part { name: "selectors", title: "10k label sets, 1k selectors", measure: selectors },
    Part { name: "sync", title: "500 subscribers of 50k resources, one slow", measure: sync },
];

impl Part {
    /// Runs it at a part of its size.
    ///
    /// # Errors
    /// When something fails, or comes out otherwise than it must.
    pub fn measure(&self, scale: f64) -> Result<Vec<Row>> {
        (self.measure)(scale)
    }
}

/// Addresses a second that a node must be able to assign.
const RATE: f64 = 500.0;
/// Seconds each measurement of assignments lasts.
const SECONDS: f64 = 10.0;
/// How long a daemon may take until it knows what was just written.
pub const SOON: Duration = Duration::from_secs(20);
const POOL: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: bench\n\
                    spec:\n  cidr: 10.0.0.0/12\n";

fn embedded(scale: f64) -> Result<Vec<Row>> {
    let mut lab = Lab::new("bench-embedded")?;
    let host = lab.host("node1")?;
    let file = host.dir().join("floor.redb").display().to_string();
    let datastore = "type = \"embedded\"";
    assignments("embedded", &host, datastore, &[file], 15.0, scale)
}

fn etcd(scale: f64) -> Result<Vec<Row>> {
    let mut lab = Lab::new("bench-etcd")?;
    let cluster = Cluster::start(&mut lab)?;
    let endpoints = cluster.endpoints();
    let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect();
    let datastore = format!("type = \"etcd\"\nendpoints = [{}]", quoted.join(", "));
    assignments("etcd", cluster.client(), &datastore, &endpoints, 25.0, scale)
}

/// Through a daemon with this datastore, and what the datastore does at most.
fn assignments(
    name: &str,
    host: &Host,
    datastore: &str,
    floor: &[String],
    bound: f64,
    scale: f64,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut arguments = vec![format!("--seconds={}", 4.0 * scale)];
    arguments.extend_from_slice(floor);
    for line in run("commits", &arguments, Some(host))? {
        let what = format!("floor: {}", line.what);
        let amount = format!("{:.0}/s", line.figure("a_second")?);
        rows.push(Row { what, amount, ..milliseconds(&line)? });
    }

    let mut margay = daemon(host, datastore)?;
    let file = host.dir().join("pool.yaml");
    fs::write(&file, POOL)?;
    let file = file.to_str().context("UTF-8")?;
    until("the datastore takes a pool", SOON, || Ok(margay.text(&["apply", "-f", file]).is_ok()))?;
    until("an address", SOON, || Ok(margay.text(&["ipam", "assign"]).is_ok()))?;
    let rate = (RATE * scale.sqrt()).ceil();
    let seconds = (SECONDS * scale.sqrt()).ceil();
    let socket = margay.socket().display().to_string();
    let lines = run("assign", &[socket, rate.to_string(), seconds.to_string()], Some(host));
    margay.daemon()?.check_running()?;
    let lines = lines?;
    let told = find(&lines, "a second asked for")?;
    let (got, p99) = (told.figure("a_second")?, told.figure("p99_ms")?);
    rows.push(Row {
        what: format!("{name}: {}", told.what),
        mark: format!("answered as asked, p99 < {bound} ms"),
        amount: format!("{got:.0}/s"),
        met: Some(p99 < bound && got >= rate * 0.98),
        ..milliseconds(told)?
    });
    let told = find(&lines, "callers")?;
    let got = told.figure("a_second")?;
    rows.push(Row {
        what: format!("{name}: {}", told.what),
        mark: format!("at least {RATE}/s"),
        amount: format!("{got:.0}/s"),
        met: Some(got >= RATE),
        ..milliseconds(told)?
    });
    Ok(rows)
}

fn claims(scale: f64) -> Result<Vec<Row>> {
    // Small clusters fill the same part of a smaller pool.
    let (nodes, each, pool) =
        if scale < 1.0 { (20, 5, "10.0.0.0/24") } else { (200, 25, "10.0.0.0/19") };
    let lines = run("claims", &[nodes.to_string(), each.to_string(), pool.to_owned()], None)?;
    let told = find(&lines, "nodes claim")?;
    let per_block = told.figure("claims_a_block")?;
    Ok(vec![Row {
        what: format!("{} {} blocks of one pool", told.what, told.figure("blocks")?),
        mark: "all claimed, claims a block < 1.2".into(),
        amount: format!("{per_block:.3} claims a block"),
        met: Some(per_block < 1.2),
        ..Row::default()
    }])
}

fn mesh(scale: f64) -> Result<Vec<Row>> {
    let nodes = (5000.0 * scale).ceil();
    let lines = run("mesh", &[nodes.to_string()], None)?;
    let told = find(&lines, "one more")?;
    let both = told.figure("both_p99_ms")?;
    Ok(vec![Row {
        what: format!("{}: merge and diff", told.what),
        mark: "< 50 ms".into(),
        median: format!("{:.1} ms", told.figure("both_p50_ms")?),
        p99: format!("{both:.1} ms"),
        met: Some(both < 50.0),
        ..Row::default()
    }])
}

fn selectors(scale: f64) -> Result<Vec<Row>> {
    let sets = (10_000.0 * scale).ceil();
    let selectors = (1000.0 * scale).ceil();
    let lines = run("selector_index", &[sets.to_string(), selectors.to_string()], None)?;
    let row = |about: &str, mark: &str| -> Result<Row> {
        let told = find(&lines, about)?;
        let p99 = told.figure("p99_us")?;
        Ok(Row {
            what: format!("{sets} label sets, {selectors} selectors: {about}"),
            mark: mark.into(),
            amount: format!("{} events", told.figure("events")?),
            median: format!("{:.1} µs", told.figure("p50_us")?),
            p99: format!("{p99:.1} µs"),
            met: (!mark.is_empty()).then_some(p99 < 100.0),
        })
    };
    // A selector that matches everything tells of everything: no mark for that.
    Ok(vec![row("a label set changed", "< 100 µs")?, row("a selector added", "")?])
}

fn sync(scale: f64) -> Result<Vec<Row>> {
    let mut lab = Lab::new("bench-sync")?;
    let host = lab.host("node1")?;
    let mut margay = daemon(&host, "type = \"embedded\"")?;
    let size = |full: f64| (full * scale).ceil().max(3.0).to_string();
    let socket = margay.socket().display().to_string();
    let arguments = [socket, size(50_000.0), size(500.0), size(100.0)];
    let lines = run("subscribe", &arguments, Some(&host));
    margay.daemon()?.check_running()?;
    sync_rows(&lines?)
}

fn sync_rows(lines: &[Line]) -> Result<Vec<Row>> {
    let (written, snapshots) = (find(lines, "written")?, find(lines, "snapshots")?);
    let (before, with_all) = (written.figure("daemon_mb")?, snapshots.figure("daemon_mb")?);
    let mut rows = vec![Row {
        what: format!("{} of {}", snapshots.what, written.what.replace(" written", "")),
        amount: format!(
            "{:.1} s, {:.0} resources/s; daemon {before:.0} MB before, {with_all:.0} MB after",
            snapshots.figure("seconds")?,
            snapshots.figure("a_second")?,
        ),
        ..Row::default()
    }];
    let (alone, beside) = (find(lines, "a change, all")?, find(lines, "a change, one")?);
    rows.push(Row { what: format!("{} to every reader", alone.what), ..milliseconds(alone)? });
    let no_worse = |figure: &str, factor: f64, noise: f64| -> Result<bool> {
        Ok(beside.figure(figure)? <= alone.figure(figure)? * factor + noise)
    };
    rows.push(Row {
        what: format!("{} to every other reader", beside.what),
        mark: "as without: median + 20%, p99 + 50%, 1 ms of noise".into(),
        met: Some(no_worse("p50_ms", 1.2, 1.0)? && no_worse("p99_ms", 1.5, 1.0)?),
        ..milliseconds(beside)?
    });
    let burst = |round: &str| find(lines, round);
    let all = burst("all read, round 2")?;
    let first = burst("one does not read, round 1")?;
    let second = burst("one does not read, round 2")?;
    let (alone, beside) = (all.figure("seconds")?, second.figure("seconds")?);
    rows.push(Row {
        what: second.what.replace(", round 2", ""),
        mark: "as without: + 20%, 50 ms of noise".into(),
        amount: format!("{beside:.2} s, {alone:.2} s when all read"),
        met: Some(beside <= alone * 1.2 + 0.05),
        ..Row::default()
    });
    let (first, second) = (first.figure("daemon_mb")?, second.figure("daemon_mb")?);
    let slow = find(lines, "reads again")?;
    rows.push(Row {
        what: format!("{}: told {:.0} once each", slow.what, slow.figure("told")?),
        mark: "being owed them twice costs no memory (5%)".into(),
        amount: format!(
            "{first:.0} MB, then {second:.0} MB; peak of the run {:.0} MB",
            slow.figure("peak_mb")?
        ),
        met: Some(second <= first * 1.05 + 1.0),
        ..Row::default()
    });
    Ok(rows)
}

/// A daemon that logs as an operator would have it.
fn daemon(host: &Host, datastore: &str) -> Result<Margay> {
    let config = format!("[datastore]\n{datastore}\n\n[fib]\nenabled = false\n");
    let mut margay = Margay::new(host, &config);
    margay.set_log_level("info");
    margay.start()?;
    // What a start writes and sets up is none of what is measured.
    thread::sleep(Duration::from_millis(500));
    Ok(margay)
}

/// A row of the percentiles of a line.
pub fn milliseconds(line: &Line) -> Result<Row> {
    Ok(Row {
        median: format!("{:.2} ms", line.figure("p50_ms")?),
        p99: format!("{:.2} ms", line.figure("p99_ms")?),
        ..Row::default()
    })
}
