//! From policies of Kubernetes to policies of ours.

use std::collections::BTreeMap;

use crate::{
    fault::{Path, Step},
    kinds::{self, Action, EntityRule, PolicyType, Rule},
    meta::{ORCHESTRATOR_LABEL, ObjectMeta},
    object,
    resource::{Resource, reversed_uid},
    scalar::{Order, Port, Protocol},
    selector::{Expression, Selector},
};

use super::{
    IpBlock, LabelSelector, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule,
    NetworkPolicyPeer, NetworkPolicyPort, Object, PortOrName,
    network_policy::{RuleFault, block_faults},
    ports::{merged, range},
};

/// The order of policies made of those of Kubernetes.
const KUBERNETES_ORDER: i32 = 1000;

/// A resource made of an object of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The resource, with its defaults; `None` if the object stands for nothing.
    pub resource: Option<Resource>,
    /// Rules that could not be converted.
    pub skipped: Vec<Skipped>,
}

/// A rule that could not be converted. One that allows is left out, one that denies or passes
/// denies everything: nothing is opened by a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: Path,
    /// What would be allowed there.
    pub allowed: String,
}

impl Object {
    /// The resource it stands for.
    pub fn into_resource(self) -> Converted {
        let mut skipped = Vec::new();
        let mut resource: Option<Resource> = match self {
            Self::Namespace(namespace) => Some(namespace.to_profile().into()),
            Self::ServiceAccount(account) => Some(account.to_profile().into()),
            Self::NetworkPolicy(policy) => Some(policy.convert(&mut skipped).into()),
            Self::ClusterNetworkPolicy(policy) => policy.convert(&mut skipped).map(Resource::from),
            Self::AdminNetworkPolicy(policy) => policy.convert(&mut skipped).map(Resource::from),
            Self::BaselineAdminNetworkPolicy(policy) => {
                policy.convert(&mut skipped).map(Resource::from)
            }
        };
        if let Some(resource) = &mut resource {
            resource.apply_defaults();
        }
        Converted { resource, skipped }
    }
}

impl NetworkPolicy {
    fn convert(&self, skipped: &mut Vec<Skipped>) -> kinds::NetworkPolicy {
        let spec = &self.spec;
        for fault in policy_faults(&spec.ingress, &spec.egress) {
            let steps = std::iter::once(Step::Key("spec".into())).chain(fault.steps);
            skipped.push(Skipped { path: Path(steps.collect()), allowed: fault.allowed });
        }
        let ingress =
            spec.ingress.iter().filter(|rule| side_fault(&rule.ports, &rule.from).is_none());
        let egress = spec.egress.iter().filter(|rule| side_fault(&rule.ports, &rule.to).is_none());
        let ingress: Vec<_> =
            ingress.flat_map(|rule| rules(&rule.ports, &rule.from, PolicyType::Ingress)).collect();
        let egress: Vec<_> =
            egress.flat_map(|rule| rules(&rule.ports, &rule.to, PolicyType::Egress)).collect();
        // What the API server of Kubernetes fills in.
        let types = match spec.policy_types.as_slice() {
            [] if spec.egress.is_empty() => vec![PolicyType::Ingress],
            [] => vec![PolicyType::Ingress, PolicyType::Egress],
            listed => listed.to_vec(),
        };
        let empty = LabelSelector::default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let spec = kinds::NetworkPolicySpec {
            tier: Some(kinds::DEFAULT_TIER.into()),
            order: Some(Order::from(KUBERNETES_ORDER)),
            selector: Some(pods(spec.pod_selector.as_ref().unwrap_or(&empty))),
            types,
            ingress,
            egress,
            ..kinds::NetworkPolicySpec::default()
        };
        let metadata = metadata(format!("knp.default.{name}"), &self.metadata);
        object::Object { metadata, spec, status: None }
    }
}

/// The metadata of what is made of an object of Kubernetes.
pub(super) fn metadata(name: String, source: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: source.namespace.clone(),
        uid: source.uid.as_deref().and_then(reversed_uid),
        resource_version: source.resource_version.clone(),
        creation_timestamp: source.creation_timestamp.clone(),
        ..ObjectMeta::named(name)
    }
}

/// Everything in these rules that cannot be converted.
pub(crate) fn policy_faults(
    ingress: &[NetworkPolicyIngressRule],
    egress: &[NetworkPolicyEgressRule],
) -> Vec<RuleFault> {
    let ingress = ingress.iter().map(|rule| ("ingress", "from", &rule.ports, &rule.from));
    let egress = egress.iter().map(|rule| ("egress", "to", &rule.ports, &rule.to));
    let mut faults = Vec::new();
    for rules in [ingress.collect::<Vec<_>>(), egress.collect()] {
        for (index, (list, side, ports, peers)) in rules.into_iter().enumerate() {
            if let Some((in_ports, steps, allowed)) = side_fault(ports, peers) {
                let field = if in_ports { "ports" } else { side };
                let start = [Step::Key(list.into()), Step::Index(index), Step::Key(field.into())];
                let steps = start.into_iter().chain(steps).collect();
                faults.push(RuleFault { steps, allowed });
            }
        }
    }
    faults
}

/// The first thing in a rule that cannot be converted, and whether it lies in its ports.
fn side_fault(
    ports: &[NetworkPolicyPort],
    peers: &[NetworkPolicyPeer],
) -> Option<(bool, Vec<Step>, String)> {
    for (index, port) in ports.iter().enumerate() {
        let allowed = match (&port.port, port.end_port) {
            (Some(PortOrName::Number(first)), Some(last)) if last >= *first => continue,
            (_, None) => continue,
            (Some(PortOrName::Number(first)), Some(_)) => format!("a port of at least {first}"),
            (_, Some(_)) => "no end beside anything but a port number".into(),
        };
        return Some((true, vec![Step::Index(index), Step::Key("endPort".into())], allowed));
    }
    for (index, peer) in peers.iter().enumerate() {
        if let Some((steps, allowed)) = peer.ip_block.as_ref().and_then(block_faults) {
            let start = [Step::Index(index), Step::Key("ipBlock".into())];
            return Some((false, start.into_iter().chain(steps).collect(), allowed));
        }
    }
    None
}

/// The rules one rule of Kubernetes becomes: each protocol with each peer.
fn rules(
    ports: &[NetworkPolicyPort],
    peers: &[NetworkPolicyPeer],
    direction: PolicyType,
) -> Vec<Rule> {
    let mut result = Vec::new();
    for (protocol, ports) in by_protocol(ports) {
        let everyone = [None];
        let peers: &mut dyn Iterator<Item = Option<&NetworkPolicyPeer>> =
            if peers.is_empty() { &mut everyone.into_iter() } else { &mut peers.iter().map(Some) };
        for peer in peers {
            let entity = peer.map(entity).unwrap_or_default();
            result.push(rule(Action::Allow, direction, protocol, ports.clone(), entity));
        }
    }
    result
}

/// A rule about a peer and ports at the destination.
pub(super) fn rule(
    action: Action,
    direction: PolicyType,
    protocol: Option<Protocol>,
    ports: Vec<Port>,
    peer: EntityRule,
) -> Rule {
    let given = |entity: EntityRule| (entity != EntityRule::default()).then_some(entity);
    let (source, destination) = match direction {
        PolicyType::Ingress => (given(peer), given(EntityRule { ports, ..EntityRule::default() })),
        PolicyType::Egress => (None, given(EntityRule { ports, ..peer })),
    };
    Rule { protocol, source, destination, ..Rule::new(action) }
}

/// Ports gathered by protocol, in a fixed order; an empty list is every port, and no entry at all
/// is every protocol.
fn by_protocol(ports: &[NetworkPolicyPort]) -> Vec<(Option<Protocol>, Vec<Port>)> {
    if ports.is_empty() {
        return vec![(None, Vec::new())];
    }
    let mut groups: BTreeMap<String, (Protocol, Option<Vec<Port>>)> = BTreeMap::new();
    for entry in ports {
        let protocol = entry.protocol.unwrap_or(Protocol::Tcp);
        let (_, list) = groups.entry(protocol.to_string()).or_insert((protocol, Some(Vec::new())));
        match &entry.port {
            // Every port, whatever else is listed.
            None => *list = None,
            Some(PortOrName::Name(name)) => {
                list.iter_mut().for_each(|list| list.push(Port::Named(name.clone())));
            }
            Some(PortOrName::Number(first)) => {
                let port = range(*first, entry.end_port.unwrap_or(*first));
                list.iter_mut().for_each(|list| list.push(port.clone()));
            }
        }
    }
    let groups = groups.into_values();
    groups.map(|(protocol, list)| (Some(protocol), list.map(merged).unwrap_or_default())).collect()
}

fn entity(peer: &NetworkPolicyPeer) -> EntityRule {
    if let Some(IpBlock { cidr, except }) = &peer.ip_block {
        return EntityRule {
            nets: vec![cidr.net().trunc().into()],
            not_nets: except.iter().map(|except| except.net().trunc().into()).collect(),
            ..EntityRule::default()
        };
    }
    let empty = LabelSelector::default();
    EntityRule {
        selector: Some(pods(peer.pod_selector.as_ref().unwrap_or(&empty))),
        namespace_selector: peer.namespace_selector.as_ref().map(namespaces),
        ..EntityRule::default()
    }
}

/// Pods: endpoints of the orchestrator with these labels.
pub(super) fn pods(selector: &LabelSelector) -> Selector {
    let orchestrator = Expression::Equal(ORCHESTRATOR_LABEL.into(), "k8s".into());
    joined(std::iter::once(orchestrator).chain(selector.parts()))
}

/// Namespaces with these labels; an empty selector is every namespace.
pub(super) fn namespaces(selector: &LabelSelector) -> Selector {
    joined(selector.parts())
}

/// The parts as Calico writes them.
fn joined(parts: impl IntoIterator<Item = Expression>) -> Selector {
    let texts: Vec<_> = parts.into_iter().map(|part| text(&part)).collect();
    let text = if texts.is_empty() { "all()".to_owned() } else { texts.join(" && ") };
    text.parse().expect("labels and values were checked, so none holds a quote")
}

fn text(part: &Expression) -> String {
    let set = |values: &std::collections::BTreeSet<String>| {
        let values: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
        values.join(", ")
    };
    match part {
        Expression::Equal(key, value) => format!("{key} == '{value}'"),
        Expression::In(key, values) => format!("{key} in {{ {} }}", set(values)),
        Expression::NotIn(key, values) => format!("{key} not in {{ {} }}", set(values)),
        Expression::Not(inner) => format!("! {inner}"),
        other => other.to_string(),
    }
}
