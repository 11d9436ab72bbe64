//! The parts: what is called, what is required, and what must not be left.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use interop_tests::marks::Row;
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, margay::bin, until};

use crate::pods::{Pods, Runtime, Times};

const SOON: Duration = Duration::from_secs(20);
/// Where Debian has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";
const POOL: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: bench\n\
                    spec:\n  cidr: 10.10.0.0/16\n";

/// A node and a runtime for it.
struct Node {
    lab: Lab,
    margay: Margay,
    runtime: Runtime,
}

impl Node {
    fn new(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let (host, above) = (lab.host("node1")?, lab.host("above")?);
        lab.link((&host, "uplink", &["192.0.2.1/24"]), (&above, "down", &["192.0.2.2/24"]))?;
        let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
        margay.set_log_level("info");
        margay.start()?;
        let file = host.dir().join("pool.yaml");
        fs::write(&file, POOL)?;
        let file = file.to_str().context("UTF-8")?;
        until("a pool", SOON, || Ok(margay.text(&["apply", "-f", file]).is_ok()))?;
        until("an address", SOON, || {
            Ok(margay.text(&["ipam", "assign", "--handle", "first"]).is_ok())
        })?;
        margay.text(&["ipam", "release", "--handle", "first"])?;
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "type": "margay",
            "socket": margay.socket(),
            "spool_dir": host.dir().join("state/cni-spool"),
        });
        let runtime = Runtime { host, program: bin("margay-cni")?, config };
        Ok(Self { lab, margay, runtime })
    }

    fn host(&self) -> &Host {
        self.margay.host()
    }

    /// Kilobytes of memory of the daemon.
    fn memory(&mut self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.margay.daemon()?.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    fn open_files(&mut self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.margay.daemon()?.pid()))?.count())
    }

    /// Links of pods, their routes, their addresses, attachments, files in the spool.
    fn left(&self) -> Result<[usize; 5]> {
        let of_pods = |text: String| text.lines().filter(|line| line.contains("cali")).count();
        let count = |value: Value| value.as_array().map_or(0, Vec::len);
        let pools = self.margay.json(&["ipam", "show"])?;
        let used = pools.as_array().into_iter().flatten();
        let used: u64 = used.filter_map(|pool| pool["in_use"].as_u64()).sum();
        let spool = self.host().dir().join("state/cni-spool");
        Ok([
            of_pods(self.host().ip(&["-o", "link", "show"])?),
            of_pods(self.host().ip(&["route", "show", "table", "all"])?),
            usize::try_from(used)?,
            count(self.margay.json(&["workload", "list"])?),
            fs::read_dir(spool).map_or(0, Iterator::count),
        ])
    }

    /// Waits until nothing of any pod is left.
    fn nothing_left(&self) -> Result<()> {
        let gone = until("nothing is left of the pods", SOON, || Ok(self.left()? == [0; 5]));
        gone.with_context(|| {
            format!("links, routes, addresses, attachments, spool: {:?}", self.left())
        })
    }
}

fn named(prefix: &str, paths: Vec<String>) -> Vec<(String, String)> {
    let name = |(index, path)| (format!("{prefix}-{index}"), path);
    paths.into_iter().enumerate().map(name).collect()
}

fn scaled(full: f64, scale: f64) -> usize {
    // At least two, so that there is something to compare.
    let count = (full * scale).ceil().max(2.0);
    // Thousands at most.
    count as usize
}

fn milliseconds(times: Times) -> Row {
    Row {
        median: format!("{:.1} ms", times.p50),
        p99: format!("{:.1} ms", times.p99),
        ..Row::default()
    }
}

/// 50 pods at once, again and again.
pub fn burst(scale: f64) -> Result<Vec<Row>> {
    let node = Node::new("bench-cni-burst")?;
    let count = scaled(50.0, scale.sqrt());
    let rounds = scaled(10.0, scale);
    let pods = Pods::new(count, node.lab.dir())?;
    let (mut adds, mut dels) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let pods = named(&format!("burst{round}"), pods.paths());
        adds.extend(node.runtime.at_once("ADD", &pods)?);
        dels.extend(node.runtime.at_once("DEL", &pods)?);
    }
    node.nothing_left()?;
    let (adds, dels) = (Times::of(adds)?, Times::of(dels)?);
    Ok(vec![
        Row {
            what: format!("ADD, {count} at once, {rounds} rounds"),
            mark: "median < 30 ms, p99 < 100 ms".into(),
            met: Some(adds.p50 < 30.0 && adds.p99 < 100.0),
            ..milliseconds(adds)
        },
        Row { what: format!("DEL, {count} at once, {rounds} rounds"), ..milliseconds(dels) },
    ])
}

/// One after the other, by turns with the reference plugins.
pub fn sequence(scale: f64) -> Result<Vec<Row>> {
    let node = Node::new("bench-cni-sequence")?;
    let count = scaled(100.0, scale);
    let reference = reference(&node);
    let runtimes: Vec<(&str, &Runtime)> =
        [("margay", Some(&node.runtime)), ("bridge, host-local", reference.as_ref())]
            .into_iter()
            .filter_map(|(name, runtime)| Some((name, runtime?)))
            .collect();
    let mut adds = vec![Vec::new(); runtimes.len()];
    let mut dels = vec![Vec::new(); runtimes.len()];
    let pods = Pods::new(count * runtimes.len(), node.lab.dir())?;
    for (index, (container, netns)) in named("sequence", pods.paths()).into_iter().enumerate() {
        let which = index % runtimes.len();
        let Some((_, runtime)) = runtimes.get(which) else { continue };
        let (Some(adds), Some(dels)) = (adds.get_mut(which), dels.get_mut(which)) else { continue };
        adds.push(runtime.call("ADD", &container, &netns)?);
        dels.push(runtime.call("DEL", &container, &netns)?);
    }
    node.nothing_left()?;
    let mut rows = Vec::new();
    for (verb, all) in [("ADD", adds), ("DEL", dels)] {
        let times: Vec<Times> = all.into_iter().map(Times::of).collect::<Result<_>>()?;
        let others = times.get(1).map(|times| times.p50);
        for ((name, _), times) in runtimes.iter().zip(&times) {
            let ours = *name == "margay";
            rows.push(Row {
                what: format!("{verb}, {count} one after the other: {name}"),
                mark: if ours {
                    "median no slower than the reference".into()
                } else {
                    String::new()
                },
                met: others.filter(|_| ours).map(|others| times.p50 <= others),
                ..milliseconds(*times)
            });
        }
    }
    Ok(rows)
}

/// The reference plugins on the same node, if they are installed.
fn reference(node: &Node) -> Option<Runtime> {
    let folder = PathBuf::from(REFERENCE);
    if !folder.join("host-local").is_file() {
        println!("  not installed: containernetworking-plugins (nothing to compare with)");
        return None;
    }
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "reference",
        "type": "bridge",
        "bridge": "reference0",
        "isGateway": true,
        "ipam": {
            "type": "host-local",
            "dataDir": node.lab.dir().join("host-local"),
            "ranges": [[{ "subnet": "10.20.0.0/16" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    });
    Some(Runtime { host: node.host().clone(), program: folder.join("bridge"), config })
}

/// A thousand pods that stay, and go again.
pub fn many(scale: f64) -> Result<Vec<Row>> {
    let mut node = Node::new("bench-cni-many")?;
    let count = scaled(1000.0, scale);
    let pods = Pods::new(count, node.lab.dir())?;
    let pods = named("many", pods.paths());
    // What the first ones set up once is no memory of a pod.
    let first = pods.get(..scaled(50.0, scale).min(count)).context("as many")?;
    for chunk in first.chunks(10) {
        node.runtime.at_once("ADD", chunk)?;
        node.runtime.at_once("DEL", chunk)?;
    }
    node.nothing_left()?;
    let (before, files) = (node.memory()?, node.open_files()?);
    let mut adds = Vec::new();
    for chunk in pods.chunks(10) {
        adds.extend(node.runtime.at_once("ADD", chunk)?);
    }
    let with_all = node.memory()?;
    let [links, routes, addresses, attachments, _] = node.left()?;
    let there = [links, routes, addresses, attachments];
    ensure!(there.iter().all(|found| *found >= count), "of {count} pods there are {there:?}");
    let mut dels = Vec::new();
    for chunk in pods.chunks(10) {
        dels.extend(node.runtime.at_once("DEL", chunk)?);
    }
    node.nothing_left()?;
    let files_after = node.open_files()?;
    let kilobytes = (with_all - before) / count as f64;
    Ok(vec![
        Row { what: format!("ADD, {count} pods, 10 at once"), ..milliseconds(Times::of(adds)?) },
        Row { what: format!("DEL, {count} pods, 10 at once"), ..milliseconds(Times::of(dels)?) },
        Row {
            what: format!(
                "{count} pods added and deleted: links, routes, addresses, attachments, files left"
            ),
            mark: "none".into(),
            amount: format!("0; open files {files} before, {files_after} after"),
            met: Some(files_after <= files + 2),
            ..Row::default()
        },
        Row {
            what: format!("memory of the daemon for a pod, {count} pods"),
            mark: "< 4 kB".into(),
            amount: format!("{kilobytes:.1} kB"),
            met: Some(kilobytes < 4.0),
            ..Row::default()
        },
    ])
}
