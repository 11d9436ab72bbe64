//! A cluster that configures itself.
//!
//! ```text
//!   tor: BIRD, AS 65000       etcd
//!        |                      |
//!   ---- switch -----------------------
//!        |          |           |
//!     worker1    worker2     worker3     Margay, AS 64513
//! ```
//! The nodes know where etcd is and nothing else; the rest is what an operator applies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use testkit::{
    Lab, Margay,
    bgp::{Neighbor, Speaker},
    etcd::Cluster,
    peer::{Bird, Peer},
    until,
};

use crate::{SOON, run, step};

/// What an operator has from a published example: the AS of the cluster, its addresses, its switch.
const SETUP: &str = "\
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  asNumber: 64513
  nodeToNodeMeshEnabled: true
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 10.48.0.0/16
  blockSize: 26
  ipipMode: Never
  natOutgoing: true
  nodeSelector: all()
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: rack-tor
spec:
  peerIP: 10.99.0.254
  asNumber: 65000
";
/// The address of the switch above.
const TOR: &str = "10.99.0.254";

/// The running cluster; dropping it takes it away.
struct Nodes {
    nodes: Vec<Margay>,
    tor: Bird,
    _etcd: Cluster,
    _lab: Lab,
}

/// The second act.
///
/// # Errors
/// When something does not come as it should.
pub fn play() -> Result<()> {
    let mut cluster = build()?;
    let result = show(&mut cluster);
    if result.is_err() {
        for node in &cluster.nodes {
            eprintln!("--- {}\n{}", node.host().name(), node.log());
        }
        eprintln!("--- tor\n{}", cluster.tor.log());
    }
    step("Cleaning up");
    drop(cluster);
    result
}

fn build() -> Result<Nodes> {
    step("A cluster: three nodes, BIRD as top-of-rack, and a real etcd, on one switch");
    let mut lab = Lab::new("demo-cluster")?;
    let etcd = Cluster::start_one(&mut lab)?;
    // All that a node is told.
    let config = etcd.datastore();
    println!("    the configuration file of each node:");
    config.lines().for_each(|line| println!("        {line}"));
    let mut nodes = Vec::new();
    let mut neighbors = Vec::new();
    for number in 1..=3 {
        let host = lab.host(&format!("worker{number}"))?;
        let address = format!("10.99.0.11{number}");
        lab.plug(etcd.switch(), &host, "eth0", &[&format!("{address}/24")])?;
        neighbors.push(Neighbor::new(TOR, &address, 64513));
        let mut margay = Margay::new(&host, &config);
        margay.start()?;
        nodes.push(margay);
    }
    let above = lab.host("tor")?;
    lab.plug(etcd.switch(), &above, "eth0", &[&format!("{TOR}/24")])?;
    let speaker =
        Speaker { asn: 65000, router_id: TOR.into(), neighbors, announcements: Vec::new() };
    let mut tor =
        Bird::new(&above, speaker).with("protocol kernel { ipv4 { import none; export all; }; }\n");
    tor.start()?;
    Ok(Nodes { nodes, tor, _etcd: etcd, _lab: lab })
}

fn show(cluster: &mut Nodes) -> Result<()> {
    let [node1, node2, node3] = cluster.nodes.as_mut_slice() else { unreachable!("three nodes") };
    step("Each node has found its address and made itself a Node");
    until("three nodes", SOON, || {
        Ok(node1.json(&["get", "nodes"])?["items"].as_array().map(Vec::len) == Some(3))
    })?;
    run(node1, &["get", "nodes", "-o", "wide"], usize::MAX)?;

    step("Applying what an operator has written, on one node");
    let file = node1.host().dir().join("setup.yaml");
    fs::write(&file, SETUP)?;
    SETUP.lines().for_each(|line| println!("    {line}"));
    run(node1, &["apply", "-f", file.to_str().context("UTF-8")?], usize::MAX)?;
    let applied = Instant::now();
    until("the mesh and the switch on every node", SOON, || {
        for node in [&*node1, node2, node3] {
            let peers = node.json(&["peers"])?;
            let peers = peers.as_array().context("an array")?;
            let up = peers.iter().filter(|peer| peer["state"] == "Established").count();
            if peers.len() != 3 || up != 3 {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    println!(
        "\n    nine sessions came up by themselves, {:.1} s after",
        applied.elapsed().as_secs_f32()
    );
    run(node1, &["peers"], usize::MAX)?;

    step("An address on each node: each claims a block, and announces the block");
    for node in [&*node1, node2, node3] {
        run(node, &["ipam", "assign", "--v4", "1", "--handle", node.host().name()], usize::MAX)?;
    }
    run(node1, &["ipam", "show", "--show-blocks"], usize::MAX)?;
    let blocks = blocks(node1)?;
    ensure!(blocks.len() == 3, "a block for each node: {blocks:?}");
    let announced: BTreeSet<String> = blocks.values().cloned().collect();
    until(
        "the three blocks at the switch",
        SOON,
        || Ok(at_the_switch(&cluster.tor)? == announced),
    )?;
    println!("\ntor$ birdc show route");
    cluster.tor.ask("show route")?.lines().for_each(|line| println!("    {line}"));
    let theirs = blocks.get(node2.host().name()).context("node2 has a block")?;
    run(node1, &["routes", theirs], usize::MAX)?;
    run(node1, &["fib", theirs], usize::MAX)?;

    step("worker3 dies (kill -9) and is taken out of the cluster");
    let lost = blocks.get(node3.host().name()).context("node3 has a block")?.clone();
    node3.kill()?;
    run(node1, &["delete", "node", node3.host().name()], usize::MAX)?;
    let dead = Instant::now();
    until("its block taken back", SOON * 2, || {
        let left = self::blocks(node1)?;
        Ok(!left.values().any(|block| *block == lost))
    })?;
    println!("\n    {lost} was taken back after {:.0} s", dead.elapsed().as_secs_f32());
    until("two blocks at the switch", SOON, || Ok(!at_the_switch(&cluster.tor)?.contains(&lost)))?;
    run(node1, &["ipam", "show", "--show-blocks"], usize::MAX)?;
    run(node1, &["ipam", "check"], usize::MAX)?;
    Ok(())
}

/// The block of each node.
fn blocks(node: &Margay) -> Result<BTreeMap<String, String>> {
    let rows = node.json(&["ipam", "show", "--show-blocks"])?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let rows = rows.as_array().context("an array")?;
    Ok(rows.iter().filter_map(|row| Some((text(&row["node"])?, text(&row["cidr"])?))).collect())
}

/// The networks of the pool that the switch has.
fn at_the_switch(tor: &Bird) -> Result<BTreeSet<String>> {
    let routes = tor.routes("where net ~ 10.48.0.0/16")?;
    Ok(routes.into_iter().map(|route| route.prefix).collect())
}
