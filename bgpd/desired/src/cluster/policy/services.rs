//! Ranges of service addresses.

use std::collections::BTreeSet;

use ipnet::IpNet;
use margay_model::kinds::{ServiceBlock, Switch};

use super::Context;

/// The three lists of `default`.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    pub cluster: BTreeSet<IpNet>,
    pub external: BTreeSet<IpNet>,
    pub load_balancer: BTreeSet<IpNet>,
}

impl Ranges {
    pub(super) fn of(context: &Context<'_>) -> Self {
        let Some(configuration) = context.configuration else { return Self::default() };
        let spec = &configuration.spec;
        Self {
            cluster: nets(&spec.service_cluster_ips),
            external: nets(&spec.service_external_ips),
            load_balancer: nets(&spec.service_load_balancer_ips),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeSet<IpNet> {
        self.cluster.iter().chain(&self.external).chain(&self.load_balancer).copied().collect()
    }
}

/// What this node originates: whole ranges that are no single addresses, those of load balancers
/// only where they are aggregated, and single addresses of services.
pub(super) fn originated(context: &Context<'_>) -> BTreeSet<IpNet> {
    if context.excluded_from_services {
        return BTreeSet::new();
    }
    let Ranges { cluster, external, load_balancer } = Ranges::of(context);
    let aggregation = context
        .configuration
        .and_then(|configuration| configuration.spec.service_load_balancer_aggregation);
    let aggregated = aggregation != Some(Switch::Disabled);
    let load_balancer = load_balancer.into_iter().filter(|_| aggregated);
    let range = |net: &IpNet| net.prefix_len() < net.max_prefix_len();
    let ranges = cluster.into_iter().chain(external.into_iter().chain(load_balancer).filter(range));
    ranges.chain(context.services.iter().copied()).collect()
}

fn nets(blocks: &[ServiceBlock]) -> BTreeSet<IpNet> {
    blocks.iter().filter_map(|block| block.cidr.as_ref()).map(|cidr| cidr.net().trunc()).collect()
}
