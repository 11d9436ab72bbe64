//! What the graph and the compiler cost in a large cluster:
//! `cargo run --profile lab -p policy-calc --example scale [-- POLICIES ENDPOINTS LOCAL]`.
//!
//! Every namespace has 100 endpoints and its share of the policies, of 5 rules each; one policy in a
//! hundred is global and selects by label over the whole cluster.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::{net::Ipv4Addr, time::Instant};

use ipnet::IpNet;
use margay_model::{
    Key, ObjectMeta, Order, Port, Protocol, Resource,
    kinds::{
        Action, EntityRule, GlobalNetworkPolicy, GlobalNetworkPolicySpec, NetworkPolicy,
        NetworkPolicySpec, PolicyType, Profile, ProfileSpec, Rule, WorkloadEndpoint,
        WorkloadEndpointSpec,
    },
};
use policy_calc::{Compiler, Graph};

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<52} {:>10.3} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

fn endpoint(index: u32, node: &str) -> Resource {
    let namespace = format!("ns{}", index / 100);
    let mut metadata = ObjectMeta::namespaced(namespace.clone(), format!("pod{index}"));
    for (key, value) in [
        ("app", format!("app{}", index % 10)),
        ("tier", format!("tier{}", index % 3)),
        ("version", format!("v{}", index % 7)),
    ] {
        metadata.labels.insert(key.into(), value);
    }
    let address = Ipv4Addr::from(0x0a00_0000 + index);
    let spec = WorkloadEndpointSpec {
        node: Some(node.into()),
        orchestrator: Some("k8s".into()),
        interface_name: Some(format!("cali{index}")),
        ip_networks: vec![IpNet::from(std::net::IpAddr::from(address)).into()],
        profiles: vec![format!("kns.{namespace}")],
        ..WorkloadEndpointSpec::default()
    };
    WorkloadEndpoint { metadata, spec, status: None }.into()
}

fn rules(index: u32) -> Vec<Rule> {
    let rule = |at: u32| Rule {
        protocol: Some(Protocol::Tcp),
        source: Some(EntityRule {
            selector: format!("app == 'app{}' && tier == 'tier{}'", (index + at) % 10, at % 3)
                .parse()
                .ok(),
            ..EntityRule::default()
        }),
        destination: Some(EntityRule {
            ports: vec![Port::Number(u16::try_from(8000 + at + index % 100).unwrap_or(1))],
            ..EntityRule::default()
        }),
        ..Rule::new(Action::Allow)
    };
    (0..5).map(rule).collect()
}

fn policy(index: u32, namespaces: u32) -> Resource {
    let selector = format!("app == 'app{}'", index % 10).parse().ok();
    let order = Some(Order::from(i32::try_from(index % 50).unwrap_or(0)));
    let types = vec![PolicyType::Ingress];
    if index.is_multiple_of(100) {
        let spec = GlobalNetworkPolicySpec {
            selector,
            order,
            types,
            ingress: rules(index),
            ..GlobalNetworkPolicySpec::default()
        };
        return GlobalNetworkPolicy::new(format!("p{index}"), spec).into();
    }
    let namespace = format!("ns{}", index % namespaces);
    let metadata = ObjectMeta::namespaced(namespace, format!("p{index}"));
    let spec = NetworkPolicySpec {
        selector,
        order,
        types,
        ingress: rules(index),
        ..NetworkPolicySpec::default()
    };
    NetworkPolicy { metadata, spec, status: None }.into()
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
    let namespaces = (endpoints / 100).max(1);
    println!("{policies} policies of 5 rules, {endpoints} endpoints, {local} of them here");

    let mut all: Vec<(Key, Resource)> = Vec::new();
    for index in 0..endpoints {
        // The local ones are spread over all namespaces.
        let here = u64::from(index) * 7919 % u64::from(endpoints) < u64::from(local);
        all.push({
            let resource = endpoint(index, if here { "here" } else { "there" });
            (resource.key(), resource)
        });
    }
    for index in 0..namespaces {
        let mut spec = ProfileSpec {
            ingress: vec![Rule::new(Action::Allow)],
            egress: vec![Rule::new(Action::Allow)],
            ..ProfileSpec::default()
        };
        spec.labels_to_apply.insert("pcns.projectcalico.org/name".into(), format!("ns{index}"));
        let resource: Resource = Profile::new(format!("kns.ns{index}"), spec).into();
        all.push((resource.key(), resource));
    }
    for index in 0..policies {
        let resource = policy(index, namespaces);
        all.push((resource.key(), resource));
    }

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
