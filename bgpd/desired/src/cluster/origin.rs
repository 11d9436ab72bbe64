//! The routes of our own that the cluster asks for: blocks, ranges of services, and the host's own.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use bgp_core::{
    config::{KernelSource, Origination, Redistribution},
    policy::{
        Definition, RoutePolicy, RuleAction, Sets,
        definition::{Default as DefaultAction, MatchDefinition, RuleDefinition, SetDefinition},
    },
};
use ipnet::IpNet;
use margay_model::kinds::{BgpConfiguration, BgpFilter, BgpFilterSpec, FilterAction, RouteSource};

use super::{ClusterNode, Remark, policy::Context};

/// Interfaces whose networks are never taken as connected: those of workloads and of services.
const WORKLOADS: [&str; 2] = ["cali*", "kube-ipvs*"];
/// Set to "true" on nodes that advertise no services.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Adds the blocks of this node, and what it borrowed. What lies in a block and belongs to nobody is dropped here, and
/// does not travel on by a default route.
/// Borrowed addresses have a route each, or traffic for them goes to the block's owner.
pub(super) fn addresses(
    blocks: &BTreeSet<IpNet>,
    borrowed: &BTreeSet<IpAddr>,
    out: &mut Vec<Origination>,
) {
    for block in blocks {
        add(out, *block, !is_host(block));
    }
    for address in borrowed {
        add(out, IpNet::from(*address), false);
    }
}

/// Adds what is advertised for services.
pub(super) fn services(
    context: &Context<'_>,
    out: &mut Vec<Origination>,
    remarks: &mut Vec<Remark>,
) {
    for prefix in context.service_routes() {
        add(out, prefix, false);
    }
    let Some(config) = context.configuration.map(|config| &config.spec) else { return };
    let lists = [
        &config.service_cluster_ips,
        &config.service_external_ips,
        &config.service_load_balancer_ips,
    ];
    if lists.into_iter().flatten().any(|block| block.cidr.is_some()) {
        let text = "of services only whole ranges are advertised yet, no single addresses";
        remarks.push(Remark::new("BGPConfiguration default", text));
    }
}

/// Whether a node advertises no services.
pub(super) fn is_excluded(node: &ClusterNode) -> bool {
    node.labels.get(EXCLUDED).is_some_and(|value| value == "true")
}

/// The kernel's routes, where one of these filters may let some of them out: without one none
/// leaves, and they need not be in the table.
pub(super) fn host_routes<'a>(
    mut filters: impl Iterator<Item = &'a BgpFilter>,
    config: Option<&BgpConfiguration>,
) -> Vec<Redistribution> {
    fn lets_out(action: FilterAction, source: Option<RouteSource>) -> bool {
        action == FilterAction::Accept && source != Some(RouteSource::RemotePeers)
    }
    let wanted = filters.any(|filter| {
        let BgpFilterSpec { export_v4, export_v6, .. } = &filter.spec;
        export_v4.iter().any(|rule| lets_out(rule.action, rule.source))
            || export_v6.iter().any(|rule| lets_out(rule.action, rule.source))
    });
    if !wanted {
        return Vec::new();
    }
    let ignored = config.iter().flat_map(|config| &config.spec.ignored_interfaces);
    let patterns = ignored.map(String::as_str).chain(WORKLOADS);
    let matches = MatchDefinition {
        interface: Some(patterns.filter_map(|pattern| pattern.parse().ok()).collect()),
        ..MatchDefinition::default()
    };
    let rule = RuleDefinition {
        name: Some("ignored interfaces".to_owned()),
        matches,
        set: SetDefinition::default(),
        action: RuleAction::Reject,
    };
    let name = "cluster connected".to_owned();
    let definition = Definition { name, default: DefaultAction::Accept, rules: vec![rule] };
    let connected = RoutePolicy::compile(definition, &Sets::default());
    let connected = Arc::new(connected.expect("it names no sets"));
    [
        (KernelSource::Connected, Some(connected)),
        (KernelSource::Static, None),
        (KernelSource::Kernel, None),
    ]
    .into_iter()
    .map(|(source, policy)| Redistribution { source, table: crate::origin::MAIN, policy })
    .collect()
}

/// What is there already, by the file or from another list, stays as it is.
fn add(out: &mut Vec<Origination>, prefix: IpNet, blackhole: bool) {
    if out.iter().all(|known| known.prefix != prefix) {
        out.push(Origination { prefix, next_hop: None, communities: Vec::new(), blackhole });
    }
}

fn is_host(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}
