//! The routes of our own that the cluster asks for: blocks and ranges of services.

use std::collections::BTreeSet;

use bgp_core::config::Origination;
use ipnet::IpNet;
use margay_model::kinds::{ServiceBlock, Switch};

use super::{Remark, peers::Own, resources::Resources};

/// A node with this label set to "true" advertises no services.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Adds the blocks of this node. What lies in a block and belongs to nobody is dropped here, and
/// does not travel on by a default route.
pub(super) fn blocks(blocks: &BTreeSet<IpNet>, out: &mut Vec<Origination>) {
    for block in blocks {
        add(out, *block, !is_host(block));
    }
}

/// Adds the ranges of services that every node advertises whole.
pub(super) fn services(
    own: Own<'_>,
    resources: &Resources,
    out: &mut Vec<Origination>,
    remarks: &mut Vec<Remark>,
) {
    let Some(config) = resources.configuration() else { return };
    let remark = |text: &str| Remark {
        subject: "BGPConfiguration default".to_owned(),
        text: text.to_owned(),
    };
    let lists = [
        &config.service_cluster_ips,
        &config.service_external_ips,
        &config.service_load_balancer_ips,
    ];
    if lists.iter().any(|list| ranges(list).next().is_some()) {
        remarks.push(remark(
            "the ranges of services are advertised, but not yet the addresses of single services",
        ));
    }
    if own.node.labels.get(EXCLUDED).is_some_and(|value| value == "true") {
        return;
    }
    let aggregated = config.service_load_balancer_aggregation != Some(Switch::Disabled);
    let cluster = ranges(&config.service_cluster_ips);
    let external = ranges(&config.service_external_ips).filter(|range| !is_host(range));
    let balanced = ranges(&config.service_load_balancer_ips);
    let balanced = balanced.filter(|range| aggregated && !is_host(range));
    for range in cluster.chain(external).chain(balanced) {
        add(out, range, false);
    }
}

fn ranges(list: &[ServiceBlock]) -> impl Iterator<Item = IpNet> {
    list.iter().filter_map(|block| Some(block.cidr.as_ref()?.net().trunc()))
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
