//! How soon a node does what a resource says, and what that costs its other sessions.

use anyhow::{Context, Result};
use interop_tests::{
    marks::Row,
    probe::{find, run},
};
use testkit::{Lab, Margay, etcd::Cluster, until};

use crate::part::{SOON, milliseconds};

/// Milliseconds a change may take.
const BOUND: f64 = 100.0;
/// Changes at full size.
const ROUNDS: f64 = 100.0;
/// Changes at most: each peer has its own address of 192.0.2.0/24.
const MOST: f64 = 254.0;

const CLUSTER: &str = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata:\n  name: \
                       default\nspec:\n  asNumber: 64513\n";

/// Three nodes of a mesh on real etcd; BGPPeers come and go on one of them.
pub fn measure(scale: f64) -> Result<Vec<Row>> {
    let mut lab = Lab::new("bench-effect")?;
    let etcd = Cluster::start(&mut lab)?;
    let mut nodes = Vec::new();
    let mut documents = CLUSTER.to_owned();
    for (name, last) in [("a", 111), ("b", 112), ("c", 113)] {
        let host = lab.host(name)?;
        let address = format!("10.99.0.{last}/24");
        lab.plug(etcd.switch(), &host, "eth0", &[&address])?;
        let mut margay = Margay::new(&host, &etcd.config());
        margay.set_node_keys("register = false\n");
        margay.set_log_level("info");
        margay.start()?;
        nodes.push(margay);
        documents += &format!(
            "---\napiVersion: projectcalico.org/v3\nkind: Node\nmetadata:\n  name: {name}\nspec:\n  \
             bgp: {{ipv4Address: {address}}}\n"
        );
    }
    let first = nodes.first().context("three nodes")?;
    first.apply(&documents)?;
    until("the mesh is up", SOON, || {
        let rows = first.json(&["peers"])?;
        let rows = rows.as_array().context("an array")?;
        Ok(rows.len() == 2 && rows.iter().all(|row| row["state"] == "Established"))
    })?;
    let rounds = rounds(scale);
    let arguments = [first.socket().display().to_string(), rounds.to_string()];
    let lines = run("effect", &arguments, Some(first.host()))?;
    let mut rows = Vec::new();
    for what in ["a BGPPeer written", "a BGPPeer deleted"] {
        let told = find(&lines, what)?;
        rows.push(Row {
            what: format!("{what}, until the node has the peer or has it no more"),
            mark: format!("< {BOUND} ms"),
            amount: format!("{} times, at most {:.1} ms", rounds, told.figure("max_ms")?),
            met: Some(told.figure("p99_ms")? < BOUND),
            ..milliseconds(told)?
        });
    }
    let others = find(&lines, "other sessions")?;
    let (count, ended) = (others.figure("count")?, others.figure("ended")?);
    rows.push(Row {
        what: format!("{count} other sessions meanwhile"),
        mark: "none ends".into(),
        amount: format!("{ended} ended"),
        met: Some(ended == 0.0 && count > 0.0),
        ..Row::default()
    });
    Ok(rows)
}

/// Changes at this size.
fn rounds(scale: f64) -> f64 {
    (ROUNDS * scale).ceil().clamp(3.0, MOST)
}

#[cfg(test)]
mod tests;
