//! `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy, and what its kind shares with the
//! older pair.

use std::collections::BTreeMap;

use crate::{
    fault::{Path, Step},
    kinds::{self, Action, EntityRule, PolicyType, Rule, RuleMetadata},
    meta::ObjectMeta,
    object,
    scalar::{Cidr, Order, Port, Protocol, with_length},
    selector::Selector,
    wire::{At, Raw, rules},
};

use super::{
    LabelSelector, Skipped,
    convert::{metadata, namespaces, pods, rule},
    objects::check_name,
    ports::{merged, range},
};

choice! {
    /// The tier of a cluster-wide policy.
    pub enum ClusterTier {
        /// Before the policies of namespaces.
        Admin = "Admin",
        /// After them.
        Baseline = "Baseline",
    }
}

choice! {
    /// What a rule does.
    pub enum ClusterAction {
        /// Lets through; final.
        Accept = "Accept",
        /// Drops; final.
        Deny = "Deny",
        /// Goes on with the next tier.
        Pass = "Pass",
    }
}

record! {
    /// Pods of some namespaces.
    #[derive(Default)]
    pub struct NamespacedPod {
        /// The namespaces; all if empty.
        namespace_selector: Option<LabelSelector> = "namespaceSelector",
        /// The pods; all if empty.
        pod_selector: Option<LabelSelector> = "podSelector",
    }
}

record! {
    /// Whom a policy applies to; exactly one field is there.
    #[derive(Default)]
    pub struct ClusterSubject {
        /// All pods of these namespaces.
        namespaces: Option<LabelSelector> = "namespaces",
        /// These pods.
        pods: Option<NamespacedPod> = "pods",
    }
    check |subject, at: &mut At<'_, '_>| {
        if subject.namespaces.is_some() == subject.pods.is_some() {
            at.refuse_all("both or neither", "exactly one of namespaces, pods");
        }
    }
}

record! {
    /// Who a rule is about; exactly one field is there.
    #[derive(Default)]
    pub struct ClusterPeer {
        /// All pods of these namespaces.
        namespaces: Option<LabelSelector> = "namespaces",
        /// These pods.
        pods: Option<NamespacedPod> = "pods",
        /// Addresses of these nodes: not supported.
        nodes: Option<LabelSelector> = "nodes",
        /// These ranges of addresses; egress only.
        networks: Vec<Cidr> = "networks" => with_length,
        /// These names: not supported.
        domain_names: Vec<String> = "domainNames",
    }
    check |peer, at: &mut At<'_, '_>| {
        let fields = [
            peer.namespaces.is_some(),
            peer.pods.is_some(),
            peer.nodes.is_some(),
            !peer.networks.is_empty(),
            !peer.domain_names.is_empty(),
        ];
        if fields.iter().filter(|set| **set).count() != 1 {
            at.refuse_all("another number of fields", "exactly one of namespaces, pods, networks");
        }
    }
}

record! {
    /// Ports in a row.
    pub struct ClusterPortRange {
        /// The first.
        start: u16 = "start" => rules::within(1u16..=65535),
        /// The last.
        end: u16 = "end" => rules::within(1u16..=65535),
    }
    check |range, at: &mut At<'_, '_>| {
        if range.start > range.end {
            at.refuse("end", "at least start");
        }
    }
}

record! {
    /// A port or a range; exactly one field is there.
    #[derive(Default)]
    pub struct ClusterPort {
        /// The port.
        number: Option<u16> = "number" => rules::within(1u16..=65535),
        /// The range.
        range: Option<ClusterPortRange> = "range",
    }
    check |port, at: &mut At<'_, '_>| {
        if port.number.is_some() == port.range.is_some() {
            at.refuse_all("both or neither", "exactly one of number, range");
        }
    }
}

record! {
    /// A protocol's ports.
    #[derive(Default)]
    pub struct ClusterProtocolPorts {
        /// The port; every one if absent.
        destination_port: Option<ClusterPort> = "destinationPort",
    }
}

record! {
    /// A protocol; exactly one field is there.
    #[derive(Default)]
    pub struct ClusterProtocol {
        /// TCP.
        tcp: Option<ClusterProtocolPorts> = "tcp",
        /// UDP.
        udp: Option<ClusterProtocolPorts> = "udp",
        /// SCTP.
        sctp: Option<ClusterProtocolPorts> = "sctp",
        /// A port by name, whatever its protocol.
        destination_named_port: Option<String> = "destinationNamedPort"
            => |name: &String| crate::scalar::names::port_name(name),
    }
    check |protocol, at: &mut At<'_, '_>| {
        let fields = [
            protocol.tcp.is_some(),
            protocol.udp.is_some(),
            protocol.sctp.is_some(),
            protocol.destination_named_port.is_some(),
        ];
        if fields.iter().filter(|set| **set).count() != 1 {
            at.refuse_all(
                "another number of fields",
                "exactly one of tcp, udp, sctp, destinationNamedPort",
            );
        }
    }
}

record! {
    /// A rule for what comes in.
    pub struct ClusterIngressRule {
        /// A name for humans.
        name: Option<String> = "name" => rules::at_most(100),
        /// What it does.
        action: ClusterAction = "action",
        /// Who it is about.
        from: Vec<ClusterPeer> = "from",
        /// Which protocols; all if empty.
        protocols: Vec<ClusterProtocol> = "protocols",
    }
    check |rule, at: &mut At<'_, '_>| {
        if rule.from.is_empty() {
            at.refuse("from", "at least one peer");
        }
    }
}

record! {
    /// A rule for what goes out.
    pub struct ClusterEgressRule {
        /// A name for humans.
        name: Option<String> = "name" => rules::at_most(100),
        /// What it does.
        action: ClusterAction = "action",
        /// Who it is about.
        to: Vec<ClusterPeer> = "to",
        /// Which protocols; all if empty.
        protocols: Vec<ClusterProtocol> = "protocols",
    }
    check |rule, at: &mut At<'_, '_>| {
        if rule.to.is_empty() {
            at.refuse("to", "at least one peer");
        }
    }
}

record! {
    /// The spec of a ClusterNetworkPolicy.
    pub struct ClusterNetworkPolicySpec {
        /// Its tier.
        tier: ClusterTier = "tier",
        /// Its place in the tier, lower first.
        priority: u16 = "priority" => rules::within(0u16..=1000),
        /// Whom it applies to.
        subject: ClusterSubject = "subject",
        /// Rules for what comes in, in order.
        ingress: Vec<ClusterIngressRule> = "ingress",
        /// Rules for what goes out, in order.
        egress: Vec<ClusterEgressRule> = "egress",
    }
}

record! {
    /// A ClusterNetworkPolicy.
    pub struct ClusterNetworkPolicy {
        /// `policy.networking.k8s.io/v1alpha2`.
        api_version: Option<String> = "apiVersion",
        /// `ClusterNetworkPolicy`.
        kind: Option<String> = "kind",
        /// Its name.
        metadata: ObjectMeta = "metadata",
        /// What it wants.
        spec: ClusterNetworkPolicySpec = "spec",
        /// Kept as it is.
        status: Option<Raw> = "status",
    }
    check |policy, at: &mut At<'_, '_>| check_name(&policy.metadata, false, at)
}

impl ClusterNetworkPolicy {
    /// The policy it stands for; `None` if it has no subject.
    pub(super) fn convert(&self, skipped: &mut Vec<Skipped>) -> Option<kinds::GlobalNetworkPolicy> {
        let spec = &self.spec;
        let (tier, prefix) = match spec.tier {
            ClusterTier::Admin => ("kube-admin", "kcnp.kube-admin"),
            ClusterTier::Baseline => ("kube-baseline", "kcnp.kube-baseline"),
        };
        let ingress = spec.ingress.iter().map(|rule| ClusterRule {
            name: rule.name.as_deref(),
            action: action(rule.action),
            peers: &rule.from,
            ports: protocols(&rule.protocols),
        });
        let egress = spec.egress.iter().map(|rule| ClusterRule {
            name: rule.name.as_deref(),
            action: action(rule.action),
            peers: &rule.to,
            ports: protocols(&rule.protocols),
        });
        ClusterPolicy {
            tier,
            prefix,
            order: i32::from(spec.priority),
            subject: &spec.subject,
            ingress: ingress.collect(),
            egress: egress.collect(),
        }
        .convert(&self.metadata, skipped)
    }
}

fn action(action: ClusterAction) -> Action {
    match action {
        ClusterAction::Accept => Action::Allow,
        ClusterAction::Deny => Action::Deny,
        ClusterAction::Pass => Action::Pass,
    }
}

fn protocols(entries: &[ClusterProtocol]) -> Vec<(Option<Protocol>, Option<Port>)> {
    let mut ports = Vec::new();
    for entry in entries {
        for (protocol, matched) in [
            (Protocol::Tcp, &entry.tcp),
            (Protocol::Udp, &entry.udp),
            (Protocol::Sctp, &entry.sctp),
        ] {
            let Some(matched) = matched else { continue };
            let port = matched.destination_port.as_ref().and_then(|port| {
                let row = port.range.as_ref().map(|row| range(row.start, row.end));
                row.or_else(|| port.number.map(Port::Number))
            });
            ports.push((Some(protocol), port));
        }
        ports.extend(
            entry.destination_named_port.clone().map(|name| (None, Some(Port::Named(name)))),
        );
    }
    ports
}

/// A cluster-wide policy of any version.
pub(super) struct ClusterPolicy<'a> {
    /// The tier it goes to.
    pub tier: &'static str,
    /// What its stored name begins with.
    pub prefix: &'static str,
    /// Its order there.
    pub order: i32,
    /// Whom it applies to.
    pub subject: &'a ClusterSubject,
    /// Rules for what comes in.
    pub ingress: Vec<ClusterRule<'a>>,
    /// Rules for what goes out.
    pub egress: Vec<ClusterRule<'a>>,
}

/// A rule of a cluster-wide policy.
pub(super) struct ClusterRule<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// What it does.
    pub action: Action,
    /// Who it is about.
    pub peers: &'a [ClusterPeer],
    /// Protocols and ports; a protocol without a port is every port. Empty is everything.
    pub ports: Vec<(Option<Protocol>, Option<Port>)>,
}

impl ClusterPolicy<'_> {
    pub fn convert(
        &self,
        source: &ObjectMeta,
        skipped: &mut Vec<Skipped>,
    ) -> Option<kinds::GlobalNetworkPolicy> {
        let (selector, namespace_selector) = match (&self.subject.namespaces, &self.subject.pods) {
            (Some(selector), None) => (pods(&LabelSelector::default()), namespaces(selector)),
            (None, Some(matched)) => namespaced(matched),
            _ => return None,
        };
        let mut types = Vec::new();
        let mut lists = [Vec::new(), Vec::new()];
        for (direction, field, source, list) in [
            (PolicyType::Ingress, "ingress", &self.ingress, 0),
            (PolicyType::Egress, "egress", &self.egress, 1),
        ] {
            if source.is_empty() {
                continue;
            }
            types.push(direction);
            for (index, rule) in source.iter().enumerate() {
                let path = [Step::Key("spec".into()), Step::Key(field.into()), Step::Index(index)];
                let rules = rule.convert(direction, &path, skipped);
                lists.get_mut(list).into_iter().for_each(|list| list.extend(rules.clone()));
            }
        }
        let [ingress, egress] = lists;
        let name = source.name.as_deref().unwrap_or_default();
        let spec = kinds::GlobalNetworkPolicySpec {
            tier: Some(self.tier.into()),
            order: Some(Order::from(self.order)),
            selector: Some(selector),
            namespace_selector: Some(namespace_selector),
            types,
            ingress,
            egress,
            ..kinds::GlobalNetworkPolicySpec::default()
        };
        let metadata = metadata(format!("{}.{name}", self.prefix), source);
        Some(object::Object { metadata, spec, status: None })
    }
}

impl ClusterRule<'_> {
    /// Fails closed: what cannot be converted is left out if it allows, and denies all otherwise.
    fn convert(
        &self,
        direction: PolicyType,
        path: &[Step],
        skipped: &mut Vec<Skipped>,
    ) -> Vec<Rule> {
        let mut result = Vec::new();
        for (index, peer) in self.peers.iter().enumerate() {
            let entities = match entities(peer, direction, &self.ports) {
                Ok(entities) => entities,
                Err((field, allowed)) => {
                    let side = match direction {
                        PolicyType::Ingress => "from",
                        PolicyType::Egress => "to",
                    };
                    let end = [Step::Key(side.into()), Step::Index(index), Step::Key(field.into())];
                    let steps = path.iter().cloned().chain(end).collect();
                    skipped.push(Skipped { path: Path(steps), allowed: allowed.into() });
                    if self.action == Action::Allow {
                        continue;
                    }
                    return vec![self.named(Rule::new(Action::Deny))];
                }
            };
            for (protocol, ports) in by_protocol(&self.ports) {
                for entity in &entities {
                    let rule =
                        rule(self.action, direction, protocol, ports.clone(), entity.clone());
                    result.push(self.named(rule));
                }
            }
        }
        result
    }

    fn named(&self, rule: Rule) -> Rule {
        let metadata = self.name.map(|name| RuleMetadata {
            annotations: BTreeMap::from([("name".to_owned(), name.to_owned())]),
        });
        Rule { metadata, ..rule }
    }
}

/// What a peer stands for: one side of a rule for each family, as a rule holds one only.
fn entities(
    peer: &ClusterPeer,
    direction: PolicyType,
    ports: &[(Option<Protocol>, Option<Port>)],
) -> Result<Vec<EntityRule>, (&'static str, &'static str)> {
    if peer.nodes.is_some() {
        return Err(("nodes", "namespaces, pods or networks: nodes are not supported"));
    }
    if !peer.domain_names.is_empty() {
        return Err(("domainNames", "namespaces, pods or networks: names are not supported"));
    }
    if !peer.networks.is_empty() {
        let named = ports.iter().any(|(_, port)| matches!(port, Some(Port::Named(_))));
        if direction == PolicyType::Ingress || named {
            return Err(("networks", "networks in egress rules only, and without named ports"));
        }
        let nets = peer.networks.iter().map(|cidr| cidr.net().trunc());
        let (v4, v6): (Vec<_>, Vec<_>) = nets.partition(|net| net.addr().is_ipv4());
        let entity = |nets: Vec<ipnet::IpNet>| EntityRule {
            nets: nets.into_iter().map(Cidr::from).collect(),
            ..EntityRule::default()
        };
        return Ok([v4, v6].into_iter().filter(|nets| !nets.is_empty()).map(entity).collect());
    }
    let (selector, namespace_selector) = match (&peer.namespaces, &peer.pods) {
        (Some(selector), None) => (pods(&LabelSelector::default()), namespaces(selector)),
        (None, Some(matched)) => namespaced(matched),
        _ => return Err(("namespaces", "exactly one of namespaces, pods, networks")),
    };
    Ok(vec![EntityRule {
        selector: Some(selector),
        namespace_selector: Some(namespace_selector),
        ..EntityRule::default()
    }])
}

fn namespaced(matched: &NamespacedPod) -> (Selector, Selector) {
    let empty = LabelSelector::default();
    let pod_selector = matched.pod_selector.as_ref().unwrap_or(&empty);
    let namespace_selector = matched.namespace_selector.as_ref().unwrap_or(&empty);
    (pods(pod_selector), namespaces(namespace_selector))
}

/// Ports gathered by protocol, named ones without a protocol last.
fn by_protocol(ports: &[(Option<Protocol>, Option<Port>)]) -> Vec<(Option<Protocol>, Vec<Port>)> {
    if ports.is_empty() {
        return vec![(None, Vec::new())];
    }
    /// `None` as the list is every port.
    type Group = (Option<Protocol>, Option<Vec<Port>>);
    let mut groups: BTreeMap<(bool, String), Group> = BTreeMap::new();
    for (protocol, port) in ports {
        let name = protocol.map(|protocol| protocol.to_string()).unwrap_or_default();
        let (_, list) = groups
            .entry((protocol.is_none(), name))
            .or_insert_with(|| (*protocol, Some(Vec::new())));
        match port {
            // Every port, whatever else is listed.
            None => *list = None,
            Some(port) => list.iter_mut().for_each(|list| list.push(port.clone())),
        }
    }
    let groups = groups.into_values();
    groups.map(|(protocol, list)| (protocol, list.map(merged).unwrap_or_default())).collect()
}
