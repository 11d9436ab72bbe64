//! What the speaker needs to know of the cluster's resources, as they were last heard of.
//!
//! Owns the reduction of a resource to that; promises to say whether a change can matter to the
//! speaker at all, so that a node that only reports its status costs nobody a merge. Leaves to
//! others where resources come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use bgp_packet::Asn;
use ipnet::IpNet;
use margay_model::{
    Key, Kind, Object, Resource, Spec,
    kinds::{
        BgpConfiguration, BgpFilter, BgpLogLevel, BgpPeerSpec, IpPool, Node, WorkloadEndpoint,
    },
    scalar::AsNumber,
};

use crate::LogLevel;

/// The AS of a cluster that has not been given one.
const DEFAULT_ASN: Asn = Asn(64512);
/// The object that counts for the whole cluster.
const DEFAULT: &str = "default";

/// The resources the speaker is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    nodes: BTreeMap<String, ClusterNode>,
    /// Nodes by their addresses: more than one only while somebody has made a mistake.
    by_address: BTreeMap<IpAddr, BTreeSet<String>>,
    configurations: BTreeMap<String, BgpConfiguration>,
    peers: BTreeMap<String, BgpPeerSpec>,
    filters: BTreeMap<String, BgpFilter>,
    pools: BTreeMap<String, IpPool>,
    workloads: BTreeMap<Key, Workload>,
    /// What endpoints inherit, by profile.
    profiles: BTreeMap<String, Labels>,
}

/// What selectors ask.
type Labels = BTreeMap<String, String>;

/// An endpoint of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name for people: `NAMESPACE/POD`, or that of the resource.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its addresses, in order.
    pub addresses: Vec<IpAddr>,
    labels: Labels,
    /// Whose labels it inherits, the strongest first.
    profiles: Vec<String>,
}

/// A node that speaks BGP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Its AS, where it is not the cluster's.
    pub asn: Option<Asn>,
    /// Its IPv4 address, with the length of its subnet.
    pub v4: Option<IpNet>,
    /// Its IPv6 address, with the length of its subnet.
    pub v6: Option<IpNet>,
    /// Set on a route reflector.
    pub cluster_id: Option<Ipv4Addr>,
    /// What selectors ask.
    pub labels: Labels,
}

impl ClusterNode {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.into_iter().chain(self.v6).map(|net| net.addr())
    }

    /// Its address of the family of `other`.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        let net = if other.is_ipv4() { self.v4 } else { self.v6 };
        net.map(|net| net.addr())
    }

    /// `None`: it does not speak BGP.
    fn of(node: &Node) -> Option<Self> {
        let bgp = node.spec.bgp.as_ref()?;
        Some(Self {
            asn: asn(bgp.as_number),
            v4: bgp.ipv4_address.as_ref().map(|cidr| cidr.net()),
            v6: bgp.ipv6_address.as_ref().map(|cidr| cidr.net()),
            cluster_id: bgp.route_reflector_cluster_id,
            labels: node.metadata.labels.clone(),
        })
    }
}

impl Workload {
    fn of(endpoint: &WorkloadEndpoint) -> Self {
        let spec = &endpoint.spec;
        let name = spec.pod.as_deref().unwrap_or_else(|| endpoint.name());
        Self {
            name: format!("{}/{name}", endpoint.namespace()),
            node: spec.node.clone().unwrap_or_default(),
            addresses: spec.ip_networks.iter().map(|cidr| cidr.net().addr()).collect(),
            labels: endpoint.metadata.labels.clone(),
            profiles: spec.profiles.clone(),
        }
    }
}

impl Resources {
    /// The kinds that matter.
    pub const KINDS: [Kind; 7] = [
        Kind::Node,
        Kind::BgpConfiguration,
        Kind::BgpPeer,
        Kind::BgpFilter,
        Kind::IpPool,
        Kind::WorkloadEndpoint,
        Kind::Profile,
    ];

    /// Takes over a resource; says whether anything that matters has changed. Endpoints of other
    /// nodes are better kept away: there may be many.
    pub fn set(&mut self, resource: Resource) -> bool {
        let name = resource.name().to_owned();
        match resource {
            Resource::Node(node) => self.set_node(name, ClusterNode::of(&node)),
            Resource::BgpConfiguration(config) => {
                put(&mut self.configurations, name, bare(*config))
            }
            Resource::BgpPeer(peer) => put(&mut self.peers, name, peer.spec),
            Resource::BgpFilter(filter) => put(&mut self.filters, name, bare(*filter)),
            Resource::IpPool(pool) => put(&mut self.pools, name, bare(*pool)),
            Resource::WorkloadEndpoint(endpoint) => {
                let changed = put(&mut self.workloads, endpoint.key(), Workload::of(&endpoint));
                changed && self.peers_with_workloads()
            }
            Resource::Profile(profile) => {
                let labels = profile.spec.labels_to_apply;
                put(&mut self.profiles, name, labels) && self.peers_with_workloads()
            }
            _ => false,
        }
    }

    /// Forgets a resource; says whether anything that matters has changed.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Key::Resource(resource) = key else { return false };
        let name = &resource.name;
        match resource.kind {
            Kind::Node => self.set_node(name.clone(), None),
            Kind::BgpConfiguration => self.configurations.remove(name).is_some(),
            Kind::BgpPeer => self.peers.remove(name).is_some(),
            Kind::BgpFilter => self.filters.remove(name).is_some(),
            Kind::IpPool => self.pools.remove(name).is_some(),
            Kind::WorkloadEndpoint => {
                self.workloads.remove(key).is_some() && self.peers_with_workloads()
            }
            Kind::Profile => self.profiles.remove(name).is_some() && self.peers_with_workloads(),
            _ => false,
        }
    }

    fn set_node(&mut self, name: String, node: Option<ClusterNode>) -> bool {
        if self.nodes.get(&name) == node.as_ref() {
            return false;
        }
        let old = match node {
            Some(node) => {
                for address in node.addresses() {
                    self.by_address.entry(address).or_default().insert(name.clone());
                }
                let kept: Vec<_> = node.addresses().collect();
                let old = self.nodes.insert(name.clone(), node);
                old.map(|old| old.addresses().filter(|a| !kept.contains(a)).collect::<Vec<_>>())
            }
            None => self.nodes.remove(&name).map(|old| old.addresses().collect()),
        };
        for address in old.into_iter().flatten() {
            if let Some(names) = self.by_address.get_mut(&address) {
                names.remove(&name);
                if names.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
        true
    }

    /// A node that speaks BGP.
    pub fn node(&self, name: &str) -> Option<&ClusterNode> {
        self.nodes.get(name)
    }

    /// The nodes that speak BGP, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &ClusterNode)> {
        self.nodes.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// The nodes with this address, by name.
    pub fn nodes_at(&self, address: IpAddr) -> impl Iterator<Item = (&str, &ClusterNode)> {
        let names = self.by_address.get(&address).into_iter().flatten();
        names.filter_map(|name| Some((name.as_str(), self.nodes.get(name)?)))
    }

    /// The BGPPeers by name.
    pub fn peers(&self) -> impl Iterator<Item = (&str, &BgpPeerSpec)> {
        self.peers.iter().map(|(name, peer)| (name.as_str(), peer))
    }

    /// The BGPFilters by name.
    pub fn filters(&self) -> impl Iterator<Item = &BgpFilter> {
        self.filters.values()
    }

    /// The pools by name.
    pub fn pools(&self) -> impl Iterator<Item = &IpPool> {
        self.pools.values()
    }

    /// The endpoints of workloads of a node, in the order of their keys.
    pub fn workloads(&self, node: &str) -> impl Iterator<Item = &Workload> {
        self.workloads.values().filter(move |workload| workload.node == node)
    }

    /// The labels of an endpoint, with those it inherits: its own win, then those of the profile
    /// that stands first.
    pub fn labels(&self, workload: &Workload) -> Labels {
        let mut labels = workload.labels.clone();
        let profiles = workload.profiles.iter().filter_map(|name| self.profiles.get(name));
        for (label, value) in profiles.flatten() {
            labels.entry(label.clone()).or_insert_with(|| value.clone());
        }
        labels
    }

    /// Whether workloads matter at all.
    fn peers_with_workloads(&self) -> bool {
        self.peers.values().any(|peer| peer.local_workload_selector.is_some())
    }

    /// The BGPConfiguration of the whole cluster.
    pub fn configuration(&self) -> Option<&BgpConfiguration> {
        self.configurations.get(DEFAULT)
    }

    /// The BGPConfiguration of one node.
    pub fn node_configuration(&self, node: &str) -> Option<&BgpConfiguration> {
        // Most clusters have none, and a large one asks for every node.
        if self.configurations.len() <= usize::from(self.configuration().is_some()) {
            return None;
        }
        self.configurations.get(&format!("node.{node}"))
    }

    /// How much a node is to log, if anything says so.
    pub fn log_level(&self, node: &str) -> Option<LogLevel> {
        let own = self.node_configuration(node).and_then(|c| c.spec.log_severity_screen);
        let level =
            own.or_else(|| self.configuration().and_then(|c| c.spec.log_severity_screen))?;
        Some(match level {
            BgpLogLevel::Trace => LogLevel::Trace,
            BgpLogLevel::Debug => LogLevel::Debug,
            BgpLogLevel::Info => LogLevel::Info,
            BgpLogLevel::Warning => LogLevel::Warn,
            // What ends the daemon is told by it as an error.
            BgpLogLevel::Error | BgpLogLevel::Fatal => LogLevel::Error,
        })
    }

    /// The AS of nodes that have none of their own.
    pub fn cluster_asn(&self) -> Asn {
        self.configuration().and_then(|config| asn(config.spec.as_number)).unwrap_or(DEFAULT_ASN)
    }

    /// The AS of a node.
    pub fn asn_of(&self, node: &ClusterNode) -> Asn {
        node.asn.unwrap_or_else(|| self.cluster_asn())
    }

    /// The port that nodes listen on, unless they have their own.
    pub fn cluster_port(&self) -> u16 {
        self.configuration().and_then(|config| config.spec.listen_port).unwrap_or(crate::bgp::PORT)
    }

    /// The port that a node listens on.
    pub fn port_of(&self, node: &str) -> u16 {
        let own = self.node_configuration(node).and_then(|config| config.spec.listen_port);
        own.unwrap_or_else(|| self.cluster_port())
    }
}

/// 0 stands for none.
pub(super) fn asn(number: Option<AsNumber>) -> Option<Asn> {
    number.filter(|number| number.0 != 0).map(|number| Asn(number.0))
}

/// An object of which only name and spec matter.
fn bare<S: Spec>(object: Object<S>) -> Object<S> {
    Object::new(object.metadata.name.unwrap_or_default(), object.spec)
}

fn put<K: Ord, T: PartialEq>(map: &mut BTreeMap<K, T>, name: K, value: T) -> bool {
    if map.get(&name) == Some(&value) {
        return false;
    }
    map.insert(name, value);
    true
}

#[cfg(test)]
mod tests;
