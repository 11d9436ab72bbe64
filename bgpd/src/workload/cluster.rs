//! What of the cluster's resources concerns the workloads of this node.
//!
//! Owns: endpoints of this node that were applied by hand, and those written for attachments; what
//! encapsulates packets; whether floating addresses are used, and who has them; the addresses of our own
//! Node; what namespaces ask for their pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use margay_fib::attach::Overlay;
use margay_model::{
    Key, Kind, Resource,
    kinds::{EncapMode, IpPool, Switch, WorkloadEndpoint},
    kubernetes::{namespace_annotations, namespace_profile},
};
use margay_workload::endpoint;

use crate::picture::Picture;

/// The kinds it is made from.
pub(super) const KINDS: [Kind; 5] =
    [Kind::WorkloadEndpoint, Kind::IpPool, Kind::FelixConfiguration, Kind::Node, Kind::Profile];

/// The configuration that counts for all nodes.
const DEFAULT: &str = "default";

/// An endpoint of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The handle of the attachment it was written for; `None`: it was applied by hand.
    pub(crate) handle: Option<String>,
    /// The host's end of its link.
    pub(crate) interface: String,
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Addresses outside that stand for its own.
    pub(crate) floating: Vec<IpAddr>,
    /// Its pod, where it has one.
    pub(crate) pod: Option<String>,
    /// The hardware address of its own end; empty: not known.
    pub(crate) mac: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cluster {
    node: Arc<str>,
    endpoints: BTreeMap<Key, Endpoint>,
    pools: BTreeMap<String, BTreeSet<Overlay>>,
    wireguard: BTreeMap<String, BTreeSet<Overlay>>,
    /// `floatingIPs` of each FelixConfiguration that says something of it.
    floating: BTreeMap<String, Switch>,
    addresses: Vec<IpAddr>,
    /// Annotations about pools and families, by the profile that has some.
    asked: BTreeMap<String, BTreeMap<String, String>>,
    in_sync: bool,
}

/// What some news came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Endpoints of this node.
    pub(super) endpoints: bool,
    /// What the MTU depends on.
    pub(super) mtu: bool,
}

impl Cluster {
    /// Nothing yet, as seen from this node.
    pub(super) fn new(node: Arc<str>) -> Self {
        Self {
            node,
            endpoints: BTreeMap::new(),
            pools: BTreeMap::new(),
            wireguard: BTreeMap::new(),
            floating: BTreeMap::new(),
            addresses: Vec::new(),
            asked: BTreeMap::new(),
            in_sync: false,
        }
    }

    /// Whether everything that there was has been told.
    pub(super) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// The endpoints of this node.
    pub(super) fn endpoints(&self) -> &BTreeMap<Key, Endpoint> {
        &self.endpoints
    }

    /// Those applied by hand.
    pub(super) fn by_hand(&self) -> impl Iterator<Item = (&Key, &Endpoint)> {
        self.endpoints.iter().filter(|(_, endpoint)| endpoint.handle.is_none())
    }

    /// Floating addresses, if they are used, with the link each leads to: of several the first by name,
    /// as policy-dp has it.
    pub(super) fn floating(&self) -> BTreeMap<IpAddr, String> {
        let own = self.floating.get(&format!("node.{}", self.node));
        if own.or_else(|| self.floating.get(DEFAULT)) != Some(&Switch::Enabled) {
            return BTreeMap::new();
        }
        let mut links: BTreeMap<IpAddr, String> = BTreeMap::new();
        for endpoint in self.endpoints.values() {
            for address in &endpoint.floating {
                let link = links.entry(*address).or_insert_with(|| endpoint.interface.clone());
                if endpoint.interface < *link {
                    link.clone_from(&endpoint.interface);
                }
            }
        }
        links
    }

    /// What encapsulates packets between nodes.
    pub(super) fn overlays(&self) -> BTreeSet<Overlay> {
        // What is said of this node comes before what is said of all.
        let own = self.wireguard.get(&format!("node.{}", self.node));
        let wireguard = own.or_else(|| self.wireguard.get(DEFAULT));
        self.pools.values().chain(wireguard).flatten().copied().collect()
    }

    /// The addresses of our own Node.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The annotations about pools and families of a namespace, if it has some.
    pub(super) fn asked_by(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.asked.get(&namespace_profile(namespace))
    }
}

impl Picture for Cluster {
    type Changed = Changed;

    fn put(&mut self, resource: Resource, changed: &mut Changed) {
        match resource {
            Resource::WorkloadEndpoint(endpoint) => {
                let key = endpoint.key();
                let ours = endpoint.spec.node.as_deref() == Some(&self.node);
                let known = self.endpoints.get(&key);
                match ours.then(|| Endpoint::of(&endpoint)) {
                    Some(new) if known != Some(&new) => {
                        changed.endpoints = true;
                        self.endpoints.insert(key, new);
                    }
                    Some(_) => {}
                    None => changed.endpoints |= self.endpoints.remove(&key).is_some(),
                }
            }
            Resource::IpPool(pool) => {
                let (name, overlays) = (pool.name().to_owned(), overlays(&pool));
                changed.mtu |= self.pools.insert(name, overlays.clone()) != Some(overlays);
            }
            Resource::FelixConfiguration(felix) => {
                let on = [
                    (felix.spec.wireguard_enabled, Overlay::Wireguard),
                    (felix.spec.wireguard_enabled_v6, Overlay::WireguardV6),
                ];
                let on = on.into_iter().filter(|(on, _)| *on == Some(true));
                let on: BTreeSet<_> = on.map(|(_, overlay)| overlay).collect();
                let before = self.wireguard.insert(felix.name().to_owned(), on.clone());
                changed.mtu |= before != Some(on);
                let (name, switch) = (felix.name().to_owned(), felix.spec.floating_ips);
                let before = match switch {
                    Some(switch) => self.floating.insert(name, switch),
                    None => self.floating.remove(&name),
                };
                changed.endpoints |= before != switch;
            }
            Resource::Node(node) if node.name() == &*self.node => {
                let bgp = node.spec.bgp.as_ref();
                let v4 = bgp.and_then(|bgp| bgp.ipv4_address.as_ref());
                let v6 = bgp.and_then(|bgp| bgp.ipv6_address.as_ref());
                let all = [v4, v6].into_iter().flatten().map(|cidr| cidr.net().addr()).collect();
                changed.mtu |= self.addresses != all;
                self.addresses = all;
            }
            Resource::Profile(profile) => {
                let asked = namespace_annotations(&profile.metadata.annotations);
                if asked.is_empty() {
                    self.asked.remove(profile.name());
                } else {
                    self.asked.insert(profile.name().to_owned(), asked);
                }
            }
            _ => {}
        }
    }

    fn remove(&mut self, key: &Key, changed: &mut Changed) {
        let Key::Resource(resource) = key else { return };
        match resource.kind {
            Kind::WorkloadEndpoint => changed.endpoints |= self.endpoints.remove(key).is_some(),
            Kind::IpPool => changed.mtu |= self.pools.remove(&resource.name).is_some(),
            Kind::FelixConfiguration => {
                changed.mtu |= self.wireguard.remove(&resource.name).is_some();
                changed.endpoints |= self.floating.remove(&resource.name).is_some();
            }
            Kind::Profile => {
                self.asked.remove(&resource.name);
            }
            _ => {}
        }
    }

    fn told(&mut self, changed: &mut Changed) {
        let first = !std::mem::replace(&mut self.in_sync, true);
        changed.endpoints |= first;
        changed.mtu |= first;
    }
}

impl Endpoint {
    fn of(endpoint: &WorkloadEndpoint) -> Self {
        Self {
            handle: endpoint.metadata.annotations.get(endpoint::HANDLE).cloned(),
            interface: endpoint.spec.interface_name.clone().unwrap_or_default(),
            addresses: endpoint.spec.ip_networks.iter().map(|cidr| cidr.net().addr()).collect(),
            floating: endpoint.spec.ip_nats.iter().map(|nat| nat.external_ip).collect(),
            pod: endpoint.spec.pod.clone(),
            mac: endpoint.spec.mac.clone().unwrap_or_default(),
        }
    }
}

/// What a pool's packets are put into.
fn overlays(pool: &IpPool) -> BTreeSet<Overlay> {
    let on = |mode: Option<EncapMode>| mode.is_some_and(|mode| mode != EncapMode::Never);
    let vxlan = match pool.spec.cidr.net().addr().is_ipv4() {
        true => Overlay::Vxlan,
        false => Overlay::VxlanV6,
    };
    let both = [(on(pool.spec.ipip_mode), Overlay::Ipip), (on(pool.spec.vxlan_mode), vxlan)];
    both.into_iter()
        .filter(|(on, _)| *on && !pool.spec.disabled.unwrap_or(false))
        .map(|(_, o)| o)
        .collect()
}

#[cfg(test)]
mod tests;
