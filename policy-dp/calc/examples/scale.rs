//! What the graph and the compiler cost in a large cluster:
//! `cargo run --profile lab -p policy-calc --example scale [-- POLICIES ENDPOINTS LOCAL]`.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

mod world;

use std::time::Instant;

use margay_model::{Key, Resource};
use policy_calc::{Compiler, Graph};

use world::{World, endpoint, policy};

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<52} {:>10.3} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<u32>().ok());
    let policies = numbers.next().unwrap_or(10_000);
    let endpoints = numbers.next().unwrap_or(10_000);
    let local = numbers.next().unwrap_or(250);
    let world = World { policies, endpoints, local };
    let namespaces = world.namespaces();
    println!("{policies} policies of 5 rules, {endpoints} endpoints, {local} of them here");
    let all: Vec<(Key, Resource)> =
        world.resources().map(|resource| (resource.key(), resource)).collect();

    let before = resident();
    let mut graph = Graph::new("here");
    let deltas = timed("graph: everything at once", || {
        for (key, resource) in all {
            graph.update(&key, Some(resource));
        }
        graph.in_sync();
        graph.flush()
    });
    println!(
        "  {} endpoints, {} policies, {} sets",
        deltas.endpoints.len(),
        deltas.policies.len(),
        deltas.sets_added.len()
    );
    let mut compiler = Compiler::new();
    timed("compiler: everything at once", || compiler.apply(&deltas));
    drop(deltas);
    println!("  {} programs, {} ranges", compiler.programs().len(), compiler.ranges().count());
    println!("  resident {} MB, before {} MB", resident() / 1024, before / 1024);

    let steps: [(&str, Resource); 5] = [
        ("a remote endpoint comes", endpoint(endpoints + 101, "there")),
        ("the same one goes and comes with an address more", {
            let mut resource = endpoint(endpoints + 101, "there");
            if let Resource::WorkloadEndpoint(object) = &mut resource {
                object.spec.ip_networks.extend("10.200.0.1".parse().ok());
            }
            resource
        }),
        ("a local endpoint comes", endpoint(endpoints + 1, "here")),
        ("a policy of a namespace is edited", {
            let mut resource = policy(101, namespaces);
            if let Resource::NetworkPolicy(object) = &mut resource {
                object.spec.ingress.truncate(3);
            }
            resource
        }),
        ("a global policy is edited", {
            let mut resource = policy(0, namespaces);
            if let Resource::GlobalNetworkPolicy(object) = &mut resource {
                object.spec.ingress.truncate(3);
            }
            resource
        }),
    ];
    for (what, resource) in steps {
        let deltas = timed(&format!("graph: {what}"), || {
            graph.update(&resource.key(), Some(resource));
            graph.flush()
        });
        timed(&format!("compiler: {what}"), || compiler.apply(&deltas));
    }
}
