//! The parts: what is called, what is required, and what must not be left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use interop_tests::{
    marks::Row,
    runtime::{self, Container, Runtime},
};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, Pods, margay::bin, until};

use crate::pods::{Times, at_once, timed};

const SOON: Duration = Duration::from_secs(20);
/// Where Debian has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";
/// Where Debian has busybox.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
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
        lab.link((&host, "uplink", &["192.0.2.1/24"]), (&above, "eth0", &["192.0.2.2/24"]))?;
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
            "spool_dir": runtime::spool(&host),
        });
        let runtime = Runtime::new(&host, bin("margay-cni")?, config);
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

    /// Fills what has a bound: the history of the datastore (32 MB), caches, free lists. They are no
    /// memory of a pod, and would be taken for it by who looks at the first pods of a daemon.
    fn fill_bounds(&self, times: usize) -> Result<()> {
        let nets: String =
            (0..20_000_u32).map(|n| format!("  - 10.{}.{}.0/24\n", n / 256, n % 256)).collect();
        for time in 0..times {
            self.margay.apply(&format!(
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: \
                 large\n  labels: {{time: \"{time}\"}}\nspec:\n  nets:\n{nets}"
            ))?;
        }
        self.margay.text(&["delete", "globalnetworkset", "large"]).map(drop)
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
        let spool = runtime::spool(self.host());
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

fn named(prefix: &str, pods: &Pods) -> Vec<Container> {
    let name = |(index, host)| Container::new(&format!("{prefix}-{index}"), host);
    pods.hosts().iter().enumerate().map(name).collect()
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

/// A program that needs no library either, and answers with what it is given: what any plugin costs.
fn echo(node: &Node) -> Result<Option<Runtime>> {
    let Some(busybox) = BUSYBOX.into_iter().find(|path| Path::new(path).is_file()) else {
        println!("  not installed: busybox-static (the least that a plugin costs is not shown)");
        return Ok(None);
    };
    let program = node.lab.dir().join("cat");
    std::os::unix::fs::symlink(busybox, &program).context("a name for busybox")?;
    Ok(Some(Runtime::new(node.host(), program, json!({}))))
}

/// What 50 pods at once cost without us: starting the plugin so often, and the kernel's part of their
/// links on the host's side, one after the other as its lock on links has it.
pub fn floor(scale: f64) -> Result<Vec<Row>> {
    let node = Node::new("bench-cni-floor")?;
    let count = scaled(50.0, scale.sqrt());
    let rounds = scaled(10.0, scale);
    let pods = Pods::new(count, node.lab.dir())?;
    let (mut starts, mut made, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    let echo = echo(&node)?;
    let mut echoes = Vec::new();
    for _ in 0..rounds {
        if let Some(echo) = &echo {
            echoes.extend(at_once(echo, "VERSION", &named("floor", &pods))?);
        }
        starts.extend(at_once(&node.runtime, "VERSION", &named("floor", &pods))?);
        let (mut make, mut remove) = (String::new(), String::new());
        for (index, host) in pods.hosts().iter().enumerate() {
            make += &format!(
                "link add l{index} type veth peer name eth0 netns {}\nlink set l{index} up\nroute \
                 add 10.30.{}.{} dev l{index}\n",
                host.netns(),
                index / 256,
                index % 256
            );
            remove += &format!("link del l{index}\n");
        }
        for (lines, times) in [(make, &mut made), (remove, &mut removed)] {
            let begun = Instant::now();
            node.host().ip_batch(&lines)?;
            times.push(begun.elapsed());
        }
    }
    let mut all = vec![
        (format!("floor: the plugin's VERSION, {count} at once, {rounds} rounds"), starts),
        (format!("floor: `ip -batch` makes {count} links, takes them up, routes to them"), made),
        (format!("floor: `ip -batch` removes {count} links"), removed),
    ];
    if echo.is_some() {
        let what = format!("floor: busybox `cat`, static too, {count} at once, {rounds} rounds");
        all.insert(0, (what, echoes));
    }
    let row = |(what, times)| Ok(Row { what, ..milliseconds(Times::of(times)?) });
    all.into_iter().map(row).collect()
}

/// 50 pods at once, again and again.
pub fn burst(scale: f64) -> Result<Vec<Row>> {
    let node = Node::new("bench-cni-burst")?;
    let count = scaled(50.0, scale.sqrt());
    let rounds = scaled(10.0, scale);
    let pods = Pods::new(count, node.lab.dir())?;
    let (mut adds, mut dels) = (Vec::new(), Vec::new());
    let reference = reference(&node);
    let mut others = Vec::new();
    for round in 0..rounds {
        let pods = named(&format!("burst{round}"), &pods);
        adds.extend(at_once(&node.runtime, "ADD", &pods)?);
        dels.extend(at_once(&node.runtime, "DEL", &pods)?);
        if let Some(reference) = &reference {
            others.extend(at_once(reference, "ADD", &pods)?);
            at_once(reference, "DEL", &pods)?;
        }
    }
    node.nothing_left()?;
    let (adds, dels) = (Times::of(adds)?, Times::of(dels)?);
    let mut rows = vec![
        Row {
            what: format!("ADD, {count} at once, {rounds} rounds"),
            mark: "median < 30 ms, p99 < 100 ms".into(),
            met: Some(adds.p50 < 30.0 && adds.p99 < 100.0),
            ..milliseconds(adds)
        },
        Row { what: format!("DEL, {count} at once, {rounds} rounds"), ..milliseconds(dels) },
    ];
    if reference.is_some() {
        rows.push(Row {
            what: format!("ADD, {count} at once, {rounds} rounds: bridge, host-local"),
            ..milliseconds(Times::of(others)?)
        });
    }
    Ok(rows)
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
    let mut starts = Vec::new();
    let pods = Pods::new(count * runtimes.len(), node.lab.dir())?;
    for (index, container) in named("sequence", &pods).into_iter().enumerate() {
        let which = index % runtimes.len();
        let Some((_, runtime)) = runtimes.get(which) else { continue };
        let (Some(adds), Some(dels)) = (adds.get_mut(which), dels.get_mut(which)) else { continue };
        starts.push(timed(&node.runtime, "VERSION", &container)?);
        adds.push(timed(runtime, "ADD", &container)?);
        dels.push(timed(runtime, "DEL", &container)?);
    }
    node.nothing_left()?;
    let starts = Times::of(starts)?;
    let mut rows = vec![Row {
        what: format!("the plugin's start: VERSION, {} one after the other", pods.hosts().len()),
        mark: "median < 5 ms".into(),
        met: Some(starts.p50 < 5.0),
        ..milliseconds(starts)
    }];
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
    Some(Runtime::new(node.host(), folder.join("bridge"), config))
}

/// A thousand pods that stay, and go again.
pub fn many(scale: f64) -> Result<Vec<Row>> {
    let mut node = Node::new("bench-cni-many")?;
    let count = scaled(1000.0, scale);
    let pods = Pods::new(count, node.lab.dir())?;
    let pods = named("many", &pods);
    node.fill_bounds(scaled(100.0, scale))?;
    for chunk in pods.chunks(50) {
        at_once(&node.runtime, "ADD", chunk)?;
        at_once(&node.runtime, "DEL", chunk)?;
    }
    node.nothing_left()?;
    let (before, files) = (node.memory()?, node.open_files()?);
    let mut adds = Vec::new();
    for chunk in pods.chunks(10) {
        adds.extend(at_once(&node.runtime, "ADD", chunk)?);
    }
    let with_all = node.memory()?;
    let [links, routes, addresses, attachments, _] = node.left()?;
    let there = [links, routes, addresses, attachments];
    ensure!(there.iter().all(|found| *found >= count), "of {count} pods there are {there:?}");
    let mut dels = Vec::new();
    for chunk in pods.chunks(10) {
        dels.extend(at_once(&node.runtime, "DEL", chunk)?);
    }
    node.nothing_left()?;
    let files_after = node.open_files()?;
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
        memory(before, with_all, count),
    ])
}

/// What a pod takes, of the kilobytes of the daemon without and with so many. With them it cannot have
/// less: then something else was measured.
fn memory(without: f64, with: f64, count: usize) -> Row {
    let kilobytes = (with - without) / count as f64;
    let reading = kilobytes > 0.0;
    Row {
        what: format!("memory of the daemon for a pod, {count} pods"),
        mark: "< 4 kB".into(),
        amount: match reading {
            true => format!("{kilobytes:.1} kB"),
            false => format!("no reading: {without} kB without pods, {with} kB with them"),
        },
        met: reading.then_some(kilobytes < 4.0),
        ..Row::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_shrank_under_pods_is_no_reading_of_what_they_take() {
        assert_eq!(memory(50_000.0, 53_000.0, 1000).met, Some(true));
        assert_eq!(memory(50_000.0, 54_000.0, 1000).met, Some(false));
        for with in [50_000.0, 47_000.0] {
            let row = memory(50_000.0, with, 1000);
            assert_eq!(row.met, None);
            assert!(row.amount.starts_with("no reading"), "{}", row.amount);
        }
    }
}
