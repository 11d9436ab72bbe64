//! Pods, started by a real container runtime.
//!
//! ```text
//!   tor: BIRD, AS 65000       etcd
//!        |                      |
//!   ---- switch -----------------------
//!        |                  |
//!     worker1            worker2         Margay, AS 64513, and containerd
//!     web  cache         db              pods, IPv4 and IPv6
//! ```
//! containerd calls `margay-cni` for each of them, as it does under a kubelet.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use interop_tests::cri::{Client, NAMESPACE, Pod};
use testkit::{
    Containerd, Host, Lab, Margay,
    bgp::{Neighbor, Speaker},
    containerd::IMAGE,
    etcd::Cluster,
    peer::{Bird, Peer},
    resources, until, until_some,
};
use tokio::runtime::Runtime;

use crate::{SOON, run, step};

/// The switch above.
const TOR: [&str; 2] = ["10.99.0.254", "fd99::254"];
/// Sessions of a node: with the other and with the switch, in both families.
const SESSIONS: usize = 4;

/// A node with its container runtime.
struct Node {
    runtime: Containerd,
    client: Client,
    margay: Margay,
}

/// The running cluster; dropping it takes it away, the pods first.
struct Nodes {
    nodes: Vec<Node>,
    tor: Bird,
    above: Host,
    _etcd: Cluster,
    _lab: Lab,
}

/// The third act.
///
/// # Errors
/// When something does not come as it should.
pub fn play() -> Result<()> {
    let calls = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cluster = build(&calls)?;
    let result = show(&calls, &cluster);
    if result.is_err() {
        for node in &cluster.nodes {
            let name = node.margay.host().name();
            eprintln!("--- {name}\n{}", node.margay.log());
            eprintln!("--- containerd on {name}\n{}", node.runtime.log());
        }
        eprintln!("--- tor\n{}", cluster.tor.log());
    }
    step("Cleaning up");
    drop(cluster);
    result
}

fn build(calls: &Runtime) -> Result<Nodes> {
    step("Pods: two nodes with a real containerd each, BIRD as top-of-rack, a real etcd");
    let mut lab = Lab::new("demo-pods")?;
    let etcd = Cluster::start_one(&mut lab)?;
    let mut nodes = Vec::new();
    let mut neighbors = Vec::new();
    for number in 1..=2 {
        let host = lab.host(&format!("worker{number}"))?;
        let own = [format!("10.99.0.11{number}"), format!("fd99::11{number}")];
        let (four, six) = (format!("{}/24", own[0]), format!("{}/64", own[1]));
        lab.plug(etcd.switch(), &host, "eth0", &[&four, &six])?;
        neighbors.extend((0..2).map(|at| Neighbor::new(TOR[at], &own[at], 64513)));
        let mut margay = Margay::new(&host, &etcd.datastore());
        margay.set_node_keys("ipv6 = \"autodetect\"\n");
        margay.start()?;
        let runtime = Containerd::start(&margay)?;
        let client = calls.block_on(Client::connect(&runtime))?;
        nodes.push(Node { runtime, client, margay });
    }
    let above = lab.host("tor")?;
    lab.plug(etcd.switch(), &above, "eth0", &["10.99.0.254/24", "fd99::254/64"])?;
    let speaker =
        Speaker { asn: 65000, router_id: TOR[0].into(), neighbors, announcements: Vec::new() };
    let kernel = "protocol kernel { ipv4 { import none; export all; }; }\n\
                  protocol kernel { ipv6 { import none; export all; }; }\n";
    let mut tor = Bird::new(&above, speaker).with(kernel);
    tor.start()?;
    let first = nodes.first().context("a node")?;
    println!("    what containerd reads of its network:");
    first.runtime.conflist()?.lines().for_each(|line| println!("        {line}"));
    let spec = |address: &str| format!("{{peerIP: \"{address}\", asNumber: 65000}}");
    let documents = [
        resources::asn(64513),
        resources::pool("pods-v4", "10.48.0.0/16"),
        resources::pool("pods-v6", "fd48::/48"),
        resources::peer("tor-v4", &spec(TOR[0])),
        resources::peer("tor-v6", &spec(TOR[1])),
    ];
    first.margay.apply(&resources::all(&documents))?;
    for Node { margay, .. } in &nodes {
        until(&format!("the sessions of {}", margay.host().name()), SOON, || {
            let peers = margay.json(&["peers"])?;
            let peers = peers.as_array().context("an array")?;
            let up = peers.iter().filter(|peer| peer["state"] == "Established").count();
            Ok(up == SESSIONS)
        })?;
    }
    Ok(Nodes { nodes, tor, above, _etcd: etcd, _lab: lab })
}

fn show(calls: &Runtime, cluster: &Nodes) -> Result<()> {
    let [first, second] = cluster.nodes.as_slice() else { unreachable!("two nodes") };
    step("Starting pods by the Container Runtime Interface, as a kubelet would");
    let web = start(calls, first, "web")?;
    let cache = start(calls, first, "cache")?;
    let db = start(calls, second, "db")?;
    run(&first.margay, &["workload", "list"], usize::MAX)?;
    let name = format!("{NAMESPACE}/web");
    run(&first.margay, &["workload", "trace", &name], usize::MAX)?;

    step("Pinging from pod to pod, on one node and across, by routes that BGP brought");
    for (from, node, to, what) in [
        (&web, first, &cache, "web -> cache, on worker1"),
        (&web, first, &db, "web -> db, worker1 to worker2"),
        (&db, second, &web, "db -> web, worker2 to worker1"),
    ] {
        for address in &to.addresses {
            let answer = until_some(&format!("{what}, {address}"), SOON, || {
                let ping = ["/bin/ping", "-c", "1", "-W", "2", address.as_str()];
                calls.block_on(node.client.exec(from, &ping)).map(Some)
            })?;
            let line = answer.lines().find(|line| line.contains("bytes from"));
            println!("    {what}: {}", line.context("an answer")?);
        }
    }
    for pod in [&web, &db] {
        for address in &pod.addresses {
            until(&format!("the switch reaches {address}"), SOON, || {
                Ok(cluster.above.pings(address))
            })?;
            println!("    tor -> {address}: answered");
        }
    }
    for family in ["-4", "-6"] {
        let routes = first.margay.host().ip(&[family, "route", "show", "proto", "186"])?;
        println!("\nworker1$ ip {family} route show proto 186");
        routes.lines().for_each(|line| println!("    {line}"));
    }
    let block = block_of(&second.margay)?;
    run(&first.margay, &["routes", &block], usize::MAX)?;
    println!("\ntor$ birdc show route");
    cluster.tor.ask("show route")?.lines().for_each(|line| println!("    {line}"));

    step("Removing the pods: nothing is left of them");
    for node in &cluster.nodes {
        calls.block_on(node.client.remove_all())?;
    }
    for Node { margay, .. } in &cluster.nodes {
        until("no link and no address is left", SOON, || {
            let links = margay.host().ip(&["-o", "link", "show"])?;
            let held = margay.json(&["ipam", "show"])?;
            let held = held.as_array().context("an array")?;
            Ok(!links.contains("cali") && held.iter().all(|row| row["in_use"] == 0))
        })?;
        run(margay, &["workload", "list"], usize::MAX)?;
    }
    run(&first.margay, &["ipam", "check"], usize::MAX)
}

fn start(calls: &Runtime, node: &Node, name: &str) -> Result<Pod> {
    let begun = Instant::now();
    let pod = calls.block_on(node.client.run(name, IMAGE))?;
    ensure!(pod.addresses.len() == 2, "an address of each family: {pod:?}");
    println!(
        "    {name} on {}: {}, {} ms",
        node.margay.host().name(),
        pod.addresses.join(" and "),
        begun.elapsed().as_millis()
    );
    Ok(pod)
}

/// The IPv4 block of a node.
fn block_of(margay: &Margay) -> Result<String> {
    let rows = margay.json(&["ipam", "show", "--show-blocks"])?;
    let own = |row: &&serde_json::Value| {
        row["node"] == margay.host().name()
            && row["cidr"].as_str().is_some_and(|cidr| cidr.contains('.'))
    };
    let block = rows.as_array().context("an array")?.iter().find(own).context("a block")?;
    Ok(block["cidr"].as_str().context("a CIDR")?.to_owned())
}
