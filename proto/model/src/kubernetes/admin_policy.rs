//! `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy and BaselineAdminNetworkPolicy.

use crate::{
    kinds::{self, Action},
    meta::ObjectMeta,
    scalar::{Port, Protocol, names},
    wire::{At, Raw, rules},
};

use super::{
    ClusterPeer, ClusterSubject, Skipped,
    cluster_policy::{ClusterPolicy, ClusterRule},
    network_policy::port_protocol,
    objects::check_name,
    ports::range,
};

choice! {
    /// What a rule does.
    pub enum AdminAction {
        /// Lets through; final.
        Allow = "Allow",
        /// Drops; final.
        Deny = "Deny",
        /// Goes on with the policies of namespaces; not in a baseline policy.
        Pass = "Pass",
    }
}

record! {
    /// A port of a protocol.
    pub struct AdminPortNumber {
        /// TCP if absent.
        protocol: Option<Protocol> = "protocol" => port_protocol,
        /// The port.
        port: u16 = "port" => rules::within(1u16..=65535),
    }
}

record! {
    /// Ports of a protocol in a row.
    pub struct AdminPortRange {
        /// TCP if absent.
        protocol: Option<Protocol> = "protocol" => port_protocol,
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
    /// A port; exactly one field is there.
    #[derive(Default)]
    pub struct AdminPort {
        /// By number.
        port_number: Option<AdminPortNumber> = "portNumber",
        /// By name.
        named_port: Option<String> = "namedPort" => |name: &String| names::port_name(name),
        /// Several in a row.
        port_range: Option<AdminPortRange> = "portRange",
    }
    check |port, at: &mut At<'_, '_>| {
        let fields =
            [port.port_number.is_some(), port.named_port.is_some(), port.port_range.is_some()];
        if fields.iter().filter(|set| **set).count() != 1 {
            at.refuse_all(
                "another number of fields",
                "exactly one of portNumber, namedPort, portRange",
            );
        }
    }
}

record! {
    /// A rule for what comes in.
    pub struct AdminIngressRule {
        /// A name for humans.
        name: Option<String> = "name" => rules::at_most(100),
        /// What it does.
        action: AdminAction = "action",
        /// Who it is about.
        from: Vec<ClusterPeer> = "from",
        /// Which ports; all if empty.
        ports: Vec<AdminPort> = "ports",
    }
    check |rule, at: &mut At<'_, '_>| {
        if rule.from.is_empty() {
            at.refuse("from", "at least one peer");
        }
    }
}

record! {
    /// A rule for what goes out.
    pub struct AdminEgressRule {
        /// A name for humans.
        name: Option<String> = "name" => rules::at_most(100),
        /// What it does.
        action: AdminAction = "action",
        /// Who it is about.
        to: Vec<ClusterPeer> = "to",
        /// Which ports; all if empty.
        ports: Vec<AdminPort> = "ports",
    }
    check |rule, at: &mut At<'_, '_>| {
        if rule.to.is_empty() {
            at.refuse("to", "at least one peer");
        }
    }
}

record! {
    /// The spec of an AdminNetworkPolicy.
    pub struct AdminNetworkPolicySpec {
        /// Its place among its like, lower first.
        priority: u16 = "priority" => rules::within(0u16..=1000),
        /// Whom it applies to.
        subject: ClusterSubject = "subject",
        /// Rules for what comes in, in order.
        ingress: Vec<AdminIngressRule> = "ingress",
        /// Rules for what goes out, in order.
        egress: Vec<AdminEgressRule> = "egress",
    }
}

record! {
    /// An AdminNetworkPolicy.
    pub struct AdminNetworkPolicy {
        /// `policy.networking.k8s.io/v1alpha1`.
        api_version: Option<String> = "apiVersion",
        /// `AdminNetworkPolicy`.
        kind: Option<String> = "kind",
        /// Its name.
        metadata: ObjectMeta = "metadata",
        /// What it wants.
        spec: AdminNetworkPolicySpec = "spec",
        /// Kept as it is.
        status: Option<Raw> = "status",
    }
    check |policy, at: &mut At<'_, '_>| check_name(&policy.metadata, false, at)
}

record! {
    /// The spec of a BaselineAdminNetworkPolicy.
    pub struct BaselineAdminNetworkPolicySpec {
        /// Whom it applies to.
        subject: ClusterSubject = "subject",
        /// Rules for what comes in, in order.
        ingress: Vec<AdminIngressRule> = "ingress",
        /// Rules for what goes out, in order.
        egress: Vec<AdminEgressRule> = "egress",
    }
    check |spec, at: &mut At<'_, '_>| {
        let passes = spec.ingress.iter().map(|rule| rule.action).chain(
            spec.egress.iter().map(|rule| rule.action),
        );
        if passes.into_iter().any(|action| action == AdminAction::Pass) {
            at.refuse_all("the action Pass", "Allow or Deny: nothing comes after the baseline");
        }
    }
}

record! {
    /// The BaselineAdminNetworkPolicy, named `default`.
    pub struct BaselineAdminNetworkPolicy {
        /// `policy.networking.k8s.io/v1alpha1`.
        api_version: Option<String> = "apiVersion",
        /// `BaselineAdminNetworkPolicy`.
        kind: Option<String> = "kind",
        /// Its name.
        metadata: ObjectMeta = "metadata",
        /// What it wants.
        spec: BaselineAdminNetworkPolicySpec = "spec",
        /// Kept as it is.
        status: Option<Raw> = "status",
    }
    check |policy, at: &mut At<'_, '_>| check_name(&policy.metadata, false, at)
}

impl AdminNetworkPolicy {
    /// The policy it stands for; `None` if it has no subject.
    pub(super) fn convert(&self, skipped: &mut Vec<Skipped>) -> Option<kinds::GlobalNetworkPolicy> {
        let spec = &self.spec;
        ClusterPolicy {
            tier: "kube-admin",
            prefix: "kanp.adminnetworkpolicy",
            order: i32::from(spec.priority),
            subject: &spec.subject,
            ingress: spec.ingress.iter().map(AdminIngressRule::rule).collect(),
            egress: spec.egress.iter().map(AdminEgressRule::rule).collect(),
        }
        .convert(&self.metadata, skipped)
    }
}

impl BaselineAdminNetworkPolicy {
    /// The policy it stands for; `None` if it has no subject.
    pub(super) fn convert(&self, skipped: &mut Vec<Skipped>) -> Option<kinds::GlobalNetworkPolicy> {
        let spec = &self.spec;
        ClusterPolicy {
            tier: "kube-baseline",
            prefix: "kbanp.baselineadminnetworkpolicy",
            order: 1000,
            subject: &spec.subject,
            ingress: spec.ingress.iter().map(AdminIngressRule::rule).collect(),
            egress: spec.egress.iter().map(AdminEgressRule::rule).collect(),
        }
        .convert(&self.metadata, skipped)
    }
}

impl AdminIngressRule {
    fn rule(&self) -> ClusterRule<'_> {
        ClusterRule {
            name: self.name.as_deref(),
            action: action(self.action),
            peers: &self.from,
            ports: ports(&self.ports),
        }
    }
}

impl AdminEgressRule {
    fn rule(&self) -> ClusterRule<'_> {
        ClusterRule {
            name: self.name.as_deref(),
            action: action(self.action),
            peers: &self.to,
            ports: ports(&self.ports),
        }
    }
}

fn action(action: AdminAction) -> Action {
    match action {
        AdminAction::Allow => Action::Allow,
        AdminAction::Deny => Action::Deny,
        AdminAction::Pass => Action::Pass,
    }
}

fn ports(entries: &[AdminPort]) -> Vec<(Option<Protocol>, Option<Port>)> {
    let tcp = Protocol::Tcp;
    let mut ports = Vec::new();
    for entry in entries {
        ports.extend(
            entry
                .port_number
                .as_ref()
                .map(|entry| (Some(entry.protocol.unwrap_or(tcp)), Some(Port::Number(entry.port)))),
        );
        ports.extend(entry.port_range.as_ref().map(|entry| {
            (Some(entry.protocol.unwrap_or(tcp)), Some(range(entry.start, entry.end)))
        }));
        ports.extend(entry.named_port.clone().map(|name| (None, Some(Port::Named(name)))));
    }
    ports
}
