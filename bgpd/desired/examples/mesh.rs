//! How long a change takes in a full mesh: from one changed Node to the steps of the difference.
//!
//! `cargo run --profile lab -p bgp-desired --example mesh -- 5000`

#![expect(clippy::disallowed_methods, reason = "this is a stopwatch, and no part of the core")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use bgp_desired::{
    Desired,
    cluster::{Host, Resources, SecretRef, merge},
    diff,
};
use margay_model::{
    Resource,
    kinds::{Node, NodeBgp, NodeSpec},
};

const ROUNDS: usize = 101;

fn node(number: usize) -> Resource {
    let (high, low) = (number / 250, number % 250 + 1);
    let address = format!("10.{}.{}.{low}/16", high / 250, high % 250);
    let ipv4_address = Some(address.parse().expect("an address"));
    let bgp = NodeBgp { ipv4_address, ..NodeBgp::default() };
    let spec = NodeSpec { bgp: Some(bgp), ..NodeSpec::default() };
    let mut node = Node::new(format!("node-{number:05}"), spec);
    node.metadata.labels.insert("rack".into(), format!("r{}", number % 40));
    node.into()
}

/// Median and 99th percentile, as figures of that name.
fn figures(name: &str, mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |part: usize| {
        let at = times.get(times.len() * part / 100).or(times.last());
        at.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    format!("{name}_p50_ms={:.2} {name}_p99_ms={:.2}", ms(50), ms(99))
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5000usize);
    let mut resources = Resources::default();
    for number in 0..count {
        resources.set(node(number));
    }
    let file = Desired::default();
    let blocks: BTreeSet<_> = ["10.200.0.0/26".parse().expect("a CIDR")].into_iter().collect();
    let read = |_: &SecretRef| Err(io::ErrorKind::NotFound.into());
    let merged = |resources: &Resources, in_force: &Desired| {
        let host = Host {
            node: "node-00000",
            blocks: &blocks,
            borrowed: &BTreeSet::new(),
            address: None,
            read_secret: &read,
            policies: &in_force.policies,
        };
        merge(&file, resources, &host).desired
    };
    let none = Desired { policies: BTreeMap::new(), ..Desired::default() };
    let mut in_force = merged(&resources, &none);
    assert_eq!(in_force.peers().len(), count - 1);
    let (mut merges, mut diffs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        resources.set(node(count + round));
        let start = Instant::now();
        let next = merged(&resources, &in_force);
        merges.push(start.elapsed());
        let start = Instant::now();
        let steps = diff(&in_force, &next);
        diffs.push(start.elapsed());
        assert_eq!(steps.len(), 1);
        in_force = next;
    }
    let both = merges.iter().zip(&diffs).map(|(merge, diff)| *merge + *diff).collect();
    println!(
        "{count} nodes, one more: {} {} {}",
        figures("merge", merges),
        figures("diff", diffs),
        figures("both", both),
    );
}
