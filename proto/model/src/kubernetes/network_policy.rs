//! `networking.k8s.io/v1` NetworkPolicy.

use crate::{
    fault::Step,
    kinds::PolicyType,
    meta::ObjectMeta,
    scalar::{Cidr, Protocol, with_length},
    wire::{At, Raw, rules},
};

use super::{LabelSelector, PortOrName, convert::policy_faults, objects::check_name};

record! {
    /// A port of a rule.
    pub struct NetworkPolicyPort {
        /// TCP if absent.
        protocol: Option<Protocol> = "protocol" => port_protocol,
        /// All ports of the protocol if absent.
        port: Option<PortOrName> = "port",
        /// The last port of a range that starts with `port`.
        end_port: Option<u16> = "endPort" => rules::within(1u16..=65535),
    }
}

record! {
    /// A range of addresses.
    pub struct IpBlock {
        /// The range.
        cidr: Cidr = "cidr" => with_length,
        /// Parts of it that do not count.
        except: Vec<Cidr> = "except" => with_length,
    }
}

record! {
    /// Who a rule is about: pods, or addresses.
    #[derive(Default)]
    pub struct NetworkPolicyPeer {
        /// Pods; of the own namespace, unless there is a namespace selector.
        pod_selector: Option<LabelSelector> = "podSelector",
        /// Namespaces.
        namespace_selector: Option<LabelSelector> = "namespaceSelector",
        /// Addresses; nothing else may stand beside them.
        ip_block: Option<IpBlock> = "ipBlock",
    }
    check |peer, at: &mut At<'_, '_>| {
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        if peer.ip_block.is_some() == selects {
            at.refuse_all(
                if selects { "both" } else { "neither" },
                "either ipBlock, or podSelector and namespaceSelector",
            );
        }
    }
}

record! {
    /// Who may come in, and to which ports.
    #[derive(Default)]
    pub struct NetworkPolicyIngressRule {
        /// All ports if empty.
        ports: Vec<NetworkPolicyPort> = "ports",
        /// Everyone if empty.
        from: Vec<NetworkPolicyPeer> = "from",
    }
}

record! {
    /// Where pods may go, and to which ports.
    #[derive(Default)]
    pub struct NetworkPolicyEgressRule {
        /// All ports if empty.
        ports: Vec<NetworkPolicyPort> = "ports",
        /// Anywhere if empty.
        to: Vec<NetworkPolicyPeer> = "to",
    }
}

record! {
    /// The spec of a NetworkPolicy.
    #[derive(Default)]
    pub struct NetworkPolicySpec {
        /// The pods it applies to; all of the namespace if empty.
        pod_selector: Option<LabelSelector> = "podSelector",
        /// Who may come in.
        ingress: Vec<NetworkPolicyIngressRule> = "ingress",
        /// Where pods may go.
        egress: Vec<NetworkPolicyEgressRule> = "egress",
        /// The directions it applies to; ingress if absent, and egress if it has such rules.
        policy_types: Vec<PolicyType> = "policyTypes",
    }
    check |spec, at: &mut At<'_, '_>| {
        for fault in policy_faults(&spec.ingress, &spec.egress) {
            at.refuse_at(&fault.steps, fault.allowed);
        }
    }
}

record! {
    /// A NetworkPolicy.
    pub struct NetworkPolicy {
        /// `networking.k8s.io/v1`.
        api_version: Option<String> = "apiVersion",
        /// `NetworkPolicy`.
        kind: Option<String> = "kind",
        /// Its name and namespace.
        metadata: ObjectMeta = "metadata",
        /// What it wants.
        spec: NetworkPolicySpec = "spec",
        /// Kept as it is.
        status: Option<Raw> = "status",
    }
    check |policy, at: &mut At<'_, '_>| check_name(&policy.metadata, true, at)
}

/// A rule: what Kubernetes takes.
pub(super) fn port_protocol(protocol: &Protocol) -> rules::Answer {
    rules::allow(protocol.has_ports(), || "one of TCP, UDP, SCTP".into())
}

/// A rule of a policy that cannot be converted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleFault {
    /// Where it is, from the spec on.
    pub steps: Vec<Step>,
    /// What would be allowed there.
    pub allowed: String,
}

/// Whether a block's parts are parts of it.
pub(super) fn block_faults(block: &IpBlock) -> Option<(Vec<Step>, String)> {
    for (index, except) in block.except.iter().enumerate() {
        let inside = block.cidr.net().contains(&except.net());
        let smaller = except.net().prefix_len() > block.cidr.net().prefix_len();
        if !inside || !smaller {
            let steps = vec![Step::Key("except".into()), Step::Index(index)];
            return Some((steps, format!("a part of {}", block.cidr)));
        }
    }
    None
}
