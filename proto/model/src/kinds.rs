//! The kinds, one module each: fields, defaults, rules.

mod bgp_configuration;
mod bgp_filter;
mod bgp_peer;
mod block_affinity;
mod calico_node_status;
mod cluster_information;
mod condition;
mod endpoint;
mod endpoint_slice;
mod felix_configuration;
mod host_endpoint;
mod ip_pool;
mod ip_reservation;
mod ipam_configuration;
mod kube_controllers;
mod live_migration;
mod network_policy;
mod network_set;
mod node;
mod profile;
mod rule;
mod staged_policy;
mod tier;
mod workload_endpoint;

pub use bgp_configuration::{
    BgpConfiguration, BgpConfigurationSpec, BgpLogLevel, BgpPassword, BindMode, NamedCommunity,
    PrefixAdvertisement, ProgramClusterRoutes, SecretKeySelector, ServiceBlock,
};
pub use bgp_filter::*;
pub use bgp_peer::*;
pub use block_affinity::*;
pub use calico_node_status::*;
pub use cluster_information::*;
pub use condition::*;
pub use endpoint_slice::*;
pub use felix_configuration::*;
pub use host_endpoint::*;
pub use ip_pool::*;
pub use ip_reservation::*;
pub use ipam_configuration::*;
pub use kube_controllers::*;
pub use live_migration::*;
pub use network_policy::*;
pub use network_set::*;
pub use node::*;
pub use profile::*;
pub use rule::*;
pub use staged_policy::*;
pub use tier::*;
pub use workload_endpoint::*;

use crate::{kind::Kind, resource::Resource};

/// What always exists of a kind, stored or not. A stored one of the name counts in its place.
pub fn built_in(kind: Kind) -> Vec<Resource> {
    match kind {
        Kind::Tier => tier::built_in().map(|tier| Resource::Tier(Box::new(tier))).collect(),
        Kind::Profile => vec![Resource::Profile(Box::new(profile::built_in()))],
        _ => Vec::new(),
    }
}
