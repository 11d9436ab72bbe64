//! What a packet between two pods of a node costs, by how many policies there are: policies that
//! apply to others on the node, and policies that all apply to who gets the packet, of which the last
//! lets it through. Hosts take turns; a figure is the median of all turns.

use std::time::Duration;

use anyhow::Result;
use margay_model::{
    ObjectMeta, Order, Port, Protocol, Resource,
    kinds::{
        Action, EntityRule, GlobalNetworkPolicy, GlobalNetworkPolicySpec, PolicyType, Profile,
        ProfileSpec, Rule, WorkloadEndpoint, WorkloadEndpointSpec,
    },
};

use crate::{
    hosts::{ADDRESSES, Host, LINKS, PORT, Packets, stay},
    linear,
    rig::{self, Rig},
};

/// How often each host has its turn.
const TURNS: usize = 31;
/// Packets a turn, and how long it may last.
const MOST: (u32, Duration) = (1000, Duration::from_millis(60));
/// Policies of the pod that gets the packets, where the others are for others.
const OWN: u32 = 10;

/// Whom policies are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selected {
    /// All but [`OWN`] for others.
    Others,
    /// All for who gets the packets.
    Hearer,
}

/// What keeps policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// Nothing: connections are tracked, and no more.
    None,
    Margay,
    Linear,
}

struct Place {
    host: Host,
    what: String,
    /// It hears of first packets as long as it runs.
    _daemon: Option<Rig>,
    /// Of known connections, and of first packets.
    took: [Vec<Duration>; 2],
}

/// Measures for each of these numbers of policies, and prints what packets took.
pub fn measure(sizes: &[u32]) -> Result<()> {
    let mut places = vec![place("no policies, tracking alone".into(), Keeper::None, Vec::new())?];
    for (selected, words) in
        [(Selected::Others, "policies of others"), (Selected::Hearer, "policies of one pod")]
    {
        for size in sizes {
            for (keeper, name) in [(Keeper::Margay, "margay"), (Keeper::Linear, "linear chains")] {
                let what = format!("{name}, {size} {words}");
                places.push(place(what, keeper, world(*size, selected))?);
            }
        }
    }
    stay()?;
    for _ in 0..TURNS {
        for place in &mut places {
            // Tracking may have forgotten them meanwhile.
            place.host.meet()?;
            for (packets, took) in [Packets::Known, Packets::First].into_iter().zip(&mut place.took)
            {
                took.push(place.host.send(packets, MOST.0, MOST.1)?);
            }
        }
    }
    for Place { what, took, .. } in &mut places {
        let [known, first] = took.each_mut().map(|took| {
            took.sort();
            took.get(took.len() / 2).map_or(0.0, |took| took.as_secs_f64() * 1e9)
        });
        println!("{what}: known_ns={known:.0} first_ns={first:.0}");
    }
    Ok(())
}

/// A host with these resources in force.
fn place(what: String, keeper: Keeper, resources: Vec<Resource>) -> Result<Place> {
    let host = Host::new()?;
    let daemon = match keeper {
        Keeper::None => {
            let none = "table inet none {\nchain forward {\n\
                        type filter hook forward priority 0\nct state invalid drop\n}\n}";
            host.enter(|| linear::load(none))?;
            None
        }
        Keeper::Linear => {
            host.enter(|| linear::load(&linear::script(&linear::state(resources))?))?;
            None
        }
        Keeper::Margay => Some(host.enter(|| {
            let mut rig = rig::start()?;
            let known = |one: &&Resource| matches!(one, Resource::WorkloadEndpoint(_));
            let endpoints = resources.iter().filter(known).count();
            rig.all(resources, endpoints)?;
            Ok(rig)
        })?),
    };
    Ok(Place { host, what, _daemon: daemon, took: [Vec::new(), Vec::new()] })
}

/// Two pods that speak to each other, others that nobody speaks to, and policies.
fn world(policies: u32, selected: Selected) -> Vec<Resource> {
    let mut spec = ProfileSpec {
        ingress: vec![Rule::new(Action::Allow)],
        egress: vec![Rule::new(Action::Allow)],
        ..ProfileSpec::default()
    };
    spec.labels_to_apply.insert("profile".into(), "all".into());
    let mut all: Vec<Resource> = vec![Profile::new("all".to_owned(), spec).into()];
    for ((address, link), role) in ADDRESSES.iter().zip(LINKS).zip(["sender", "hearer"]) {
        all.push(endpoint(role, &address.to_string(), link, role));
    }
    for index in 0..OTHERS {
        let [name, role] = [format!("other{index}"), format!("app{}", index % APPS)];
        all.push(endpoint(&name, &format!("10.65.0.{index}"), &format!("cali{name}"), &role));
    }
    for index in 0..policies {
        let last = index + 1 == policies;
        let own = selected == Selected::Hearer || policies - index <= OWN;
        let whom = if own { "hearer".to_owned() } else { format!("app{}", index % APPS) };
        all.push(policy(index, &whom, last));
    }
    all
}

fn endpoint(name: &str, address: &str, link: &str, role: &str) -> Resource {
    let name = format!("here-k8s-{name}-eth0");
    let mut metadata = ObjectMeta::namespaced("bench".to_owned(), name.clone());
    metadata.labels.insert("role".into(), role.into());
    let spec = WorkloadEndpointSpec {
        node: Some("here".into()),
        orchestrator: Some("k8s".into()),
        pod: name.split('-').nth(2).map(str::to_owned),
        endpoint: Some("eth0".into()),
        interface_name: Some(link.into()),
        ip_networks: format!("{address}/32").parse().into_iter().collect(),
        profiles: vec!["all".into()],
        ..WorkloadEndpointSpec::default()
    };
    WorkloadEndpoint { metadata, spec, status: None }.into()
}

/// A policy of 5 rules; the `last` one has one that lets in who sends.
fn policy(index: u32, whom: &str, last: bool) -> Resource {
    let rule = |at: u32| {
        let (source, port) = match last && at == 4 {
            true => ("role == 'sender'".to_owned(), PORT),
            false => (
                format!("role == 'app{}'", (index + at) % APPS),
                u16::try_from(8000 + at + index % 100).unwrap_or(1),
            ),
        };
        Rule {
            protocol: Some(Protocol::Udp),
            source: Some(EntityRule { selector: source.parse().ok(), ..EntityRule::default() }),
            destination: Some(EntityRule {
                ports: vec![Port::Number(port)],
                ..EntityRule::default()
            }),
            ..Rule::new(Action::Allow)
        }
    };
    let spec = GlobalNetworkPolicySpec {
        selector: format!("role == '{whom}'").parse().ok(),
        order: i32::try_from(index).ok().map(Order::from),
        types: vec![PolicyType::Ingress],
        ingress: (0..5).map(rule).collect(),
        ..GlobalNetworkPolicySpec::default()
    };
    GlobalNetworkPolicy::new(format!("p{index}"), spec).into()
}

/// Pods that nobody speaks to, and of how many kinds they are.
const OTHERS: u32 = 50;
const APPS: u32 = 10;
