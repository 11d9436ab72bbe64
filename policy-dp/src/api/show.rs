//! What is in force for an endpoint, rule by rule, and what is not.

use std::{fmt::Write, time::Duration};

use margay_proto::v1;
use policy_calc::{
    Class, Direction, EndpointId, Families, IcmpMatch, Interface, Owner, PolicyId, PortMatch, Rule,
    SetId, Side, State, TierPolicies,
};
use policy_nft::{decode::Count, layout::Place, netlink::Counts};
use tonic::Status;

use super::{action, find};
use crate::enforcer::Enforcer;

/// What was counted, and for how long.
type Counted<'a> = Option<(&'a Counts, Duration)>;

/// Answers `Show`.
pub(crate) fn show(
    enforcer: &Enforcer,
    name: &str,
    counted: Counted<'_>,
) -> Result<v1::ShowPolicyResponse, Status> {
    let state = enforcer.state();
    let id = find::endpoint(state, "endpoint", name)?;
    let Some(endpoint) = state.endpoints.get(&id) else {
        return Err(Status::not_found(format!("{id} is gone")));
    };
    let why_not = enforcer.why_not_in_force(&id);
    let tiers = |class: Class, direction: Direction| -> Vec<v1::PolicyTier> {
        let tiers = endpoint.class(class).tiers(direction).iter();
        tiers.map(|one| tier(state, one, direction, counted)).collect()
    };
    let classes = [Class::Untracked, Class::PreDnat, Class::Forward].map(|class| v1::PolicyClass {
        name: class_name(class).to_owned(),
        ingress: tiers(class, Direction::Ingress),
        egress: tiers(class, Direction::Egress),
    });
    let says_something =
        |class: &v1::PolicyClass| !class.ingress.is_empty() || !class.egress.is_empty();
    let profiles = endpoint.profiles.iter().map(|name| profile(state, name, counted)).collect();
    let unallowed = |direction| count(counted, direction, Place::NoProfile);
    let counts = counted.filter(|(counts, _)| !counts.is_empty());
    Ok(v1::ShowPolicyResponse {
        endpoint: id.to_string(),
        interface: match (&id, &endpoint.interface) {
            (EndpointId::Workload { .. }, Interface::Named(name)) => name.clone(),
            _ => enforcer.interfaces_of(&id).join(", "),
        },
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
        in_force: why_not.is_none(),
        reason: why_not.unwrap_or_default(),
        ingress: tiers(Class::Normal, Direction::Ingress),
        egress: tiers(Class::Normal, Direction::Egress),
        profiles,
        broken: enforcer.broken().collect(),
        counted_seconds: counts.map(|(_, time)| time.as_secs()),
        unallowed_ingress: unallowed(Direction::Ingress),
        unallowed_egress: unallowed(Direction::Egress),
        classes: classes.into_iter().filter(says_something).collect(),
    })
}

/// What was counted there; `None` where nothing is.
fn count(counted: Counted<'_>, direction: Direction, place: Place) -> Option<v1::PolicyCount> {
    let Count { packets, octets } = *counted?.0.get(&(direction, place))?;
    Some(v1::PolicyCount { packets, octets })
}

fn tier(
    state: &State,
    tier: &TierPolicies,
    direction: Direction,
    counted: Counted<'_>,
) -> v1::PolicyTier {
    let counts = tier.is_enforced();
    let entry = |id: &PolicyId| {
        let owner = Owner::Policy(id.clone());
        let listed = state.policies.get(id).map(|policy| policy.rules(direction));
        v1::PolicyEntry {
            kind: id.kind().to_string(),
            name: policy_name(id),
            staged: id.is_staged(),
            rules: rules(state, &owner, direction, listed.unwrap_or_default(), counted),
        }
    };
    v1::PolicyTier {
        name: tier.tier.clone(),
        exists: tier.exists,
        default_action: if counts { action(tier.default_action.as_str()) } else { String::new() },
        policies: tier.policies.iter().map(entry).collect(),
        default_count: count(counted, direction, Place::Tier(tier.tier.clone())),
    }
}

/// A class as resources name it; empty for the normal one.
pub(super) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Normal => "",
        Class::Forward => "forward",
        Class::PreDnat => "preDNAT",
        Class::Untracked => "doNotTrack",
    }
}

/// `NAMESPACE/NAME`, or the name of a cluster-wide one.
pub(super) fn policy_name(id: &PolicyId) -> String {
    match id.namespace() {
        "" => id.name().to_owned(),
        namespace => format!("{namespace}/{}", id.name()),
    }
}

fn profile(state: &State, name: &str, counted: Counted<'_>) -> v1::PolicyProfile {
    let owner = Owner::Profile(name.to_owned());
    let known = state.profiles.get(name);
    let listed = |direction| {
        let listed = known.map(|profile| profile.rules(direction));
        rules(state, &owner, direction, listed.unwrap_or_default(), counted)
    };
    v1::PolicyProfile {
        name: name.to_owned(),
        exists: known.is_some_and(|profile| profile.exists),
        ingress: listed(Direction::Ingress),
        egress: listed(Direction::Egress),
    }
}

fn rules(
    state: &State,
    owner: &Owner,
    direction: Direction,
    rules: &[Rule],
    counted: Counted<'_>,
) -> Vec<v1::PolicyRule> {
    let faults = state.faults.get(owner).map(Vec::as_slice).unwrap_or_default();
    let fault = |index: usize| {
        let mut of_it =
            faults.iter().filter(|fault| fault.direction == direction && fault.rule == index);
        of_it.next().map(ToString::to_string).unwrap_or_default()
    };
    let rule = |(index, rule): (usize, &Rule)| v1::PolicyRule {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        action: action(rule.action.as_str()),
        matches: matches(state, rule),
        fault: fault(index),
        count: count(counted, direction, Place::Rule { owner: owner.clone(), index }),
    };
    rules.iter().enumerate().map(rule).collect()
}

/// What a rule matches: `TCP, from 10.0.0.0/8, to ports 80, 443`.
pub(super) fn matches(state: &State, rule: &Rule) -> String {
    let mut parts = Vec::new();
    match rule.families {
        Families { v4: true, v6: true } => {}
        Families { v4: true, v6: false } => parts.push("IPv4".to_owned()),
        Families { v4: false, v6: true } => parts.push("IPv6".to_owned()),
        Families { v4: false, v6: false } => return "nothing".to_owned(),
    }
    parts.extend(rule.protocol.map(protocol));
    parts.extend(rule.not_protocol.map(|unwanted| format!("not {}", protocol(unwanted))));
    parts.extend(rule.icmp.map(icmp));
    parts.extend(rule.not_icmp.map(|unwanted| format!("not {}", icmp(unwanted))));
    for (word, one) in [("from", &rule.source), ("to", &rule.destination)] {
        let said = side(state, one);
        if !said.is_empty() {
            parts.push(format!("{word} {}", said.join(" and ")));
        }
    }
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        136 => "UDPLite".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn icmp(wanted: IcmpMatch) -> String {
    let mut text = format!("type {}", wanted.kind);
    if let Some(code) = wanted.code {
        // Writing to a string does not fail.
        let _ = write!(text, " code {code}");
    }
    text
}

fn side(state: &State, side: &Side) -> Vec<String> {
    let nets = |nets: &[ipnet::IpNet]| {
        let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
        nets.join(", ")
    };
    let mut parts = Vec::new();
    if !side.nets.is_empty() {
        parts.push(nets(&side.nets));
    }
    if !side.not_nets.is_empty() {
        parts.push(format!("not {}", nets(&side.not_nets)));
    }
    let service = side.service.as_deref();
    parts.extend(side.set.map(|id| match service {
        Some(service) => format!("endpoints of service {service} {}", size(state, id)),
        None => format!("selected addresses {}", size(state, id)),
    }));
    parts.extend(side.not_set.map(|id| format!("not selected addresses {}", size(state, id))));
    parts.extend(side.ports.as_ref().map(|listed| match (service, listed.sets.as_slice()) {
        (Some(service), [id]) if side.set.is_none() => {
            format!("endpoints and ports of service {service} {}", size(state, *id))
        }
        _ => format!("ports {}", ports(state, listed)),
    }));
    let not_ports = side.not_ports.as_ref();
    parts.extend(not_ports.map(|listed| format!("not ports {}", ports(state, listed))));
    parts
}

fn ports(state: &State, ports: &PortMatch) -> String {
    let range = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let mut parts: Vec<String> = ports.ranges.iter().map(range).collect();
    parts.extend(ports.sets.iter().map(|id| format!("by name {}", size(state, *id))));
    parts.join(", ")
}

/// `(3 in s:0123…)`: how many the set has now, and as what the kernel knows it.
fn size(state: &State, id: SetId) -> String {
    let members = state.sets.get(&id).map_or(0, std::collections::BTreeSet::len);
    format!("({members} in {id})")
}
