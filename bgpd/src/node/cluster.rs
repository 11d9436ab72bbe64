//! What the datastore says of nodes, pools and itself, as far as a node has to know it.

use std::{collections::BTreeMap, net::IpAddr};

use bgp_desired::autodetect::AddressFamily;
use ipnet::IpNet;
use margay_model::{
    Key, Kind, Resource,
    kinds::{Node, NodeSpec},
};

use crate::{mirror::News, resources};

/// A view, kept up to date by the news of the mirror.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    synced: bool,
    /// The addresses of every Node but ours, by name.
    nodes: BTreeMap<String, BTreeMap<AddressFamily, IpNet>>,
    own: Option<Node>,
    pools: BTreeMap<String, IpNet>,
    /// `datastoreReady` of the ClusterInformation, if there is one.
    ready: Option<bool>,
}

impl Cluster {
    /// Takes in news; whether they are about this node or the datastore itself.
    pub(super) fn take(&mut self, own: &str, news: Vec<News>) -> bool {
        let mut ours = false;
        for news in news {
            match news {
                News::Reset => *self = Self::default(),
                News::InSync(_) => ours |= !std::mem::replace(&mut self.synced, true),
                News::Resource(mirrored) => match resources::read(&mirrored.text, true) {
                    Ok(resource) => ours |= self.put(own, resource),
                    // It was decoded before it was mirrored.
                    Err(error) => tracing::warn!(err = %error, "cannot read a mirrored resource"),
                },
                News::Gone(Key::Resource(key), _) => match key.kind {
                    Kind::Node if key.name == own => {
                        self.own = None;
                        ours = true;
                    }
                    Kind::Node => drop(self.nodes.remove(&key.name)),
                    Kind::IpPool => drop(self.pools.remove(&key.name)),
                    Kind::ClusterInformation => {
                        self.ready = None;
                        ours = true;
                    }
                    _ => {}
                },
                News::Gone(..) | News::Stored(..) => {}
            }
        }
        ours
    }

    fn put(&mut self, own: &str, resource: Resource) -> bool {
        match resource {
            Resource::Node(node) if node.name() == own => {
                self.own = Some(*node);
                return true;
            }
            Resource::Node(node) => {
                self.nodes.insert(node.name().to_owned(), addresses(&node.spec));
            }
            Resource::IpPool(pool) => {
                self.pools.insert(pool.name().to_owned(), pool.spec.cidr.net());
            }
            Resource::ClusterInformation(information) => {
                self.ready = Some(information.spec.datastore_ready.unwrap_or(true));
                return true;
            }
            _ => {}
        }
        false
    }

    /// Our Node as it was just written.
    pub(super) fn take_own(&mut self, text: &str) {
        if let Ok(Resource::Node(node)) = resources::read(text, true) {
            self.own = Some(*node);
        }
    }

    /// Whether everything has been told that there is.
    pub(super) fn in_sync(&self) -> bool {
        self.synced
    }

    /// Whether nobody may write for now.
    pub(super) fn locked(&self) -> bool {
        self.ready == Some(false)
    }

    /// Whether the datastore has been set up.
    pub(super) fn has_information(&self) -> bool {
        self.ready.is_some()
    }

    /// Our Node.
    pub(super) fn own(&self) -> Option<&Node> {
        self.own.as_ref()
    }

    /// The addresses that stand in it.
    pub(super) fn own_addresses(&self) -> BTreeMap<AddressFamily, IpNet> {
        self.own.as_ref().map(|node| addresses(&node.spec)).unwrap_or_default()
    }

    /// Another node than `own` that has this address.
    pub(super) fn holder_of(&self, address: IpAddr, own: &str) -> Option<&str> {
        let has = |nets: &BTreeMap<_, IpNet>| nets.values().any(|net| net.addr() == address);
        let others = self.nodes.iter().filter(|(name, _)| name.as_str() != own);
        others.filter(|(_, nets)| has(nets)).map(|(name, _)| name.as_str()).next()
    }

    /// The ranges of all pools.
    pub(super) fn pools(&self) -> impl Iterator<Item = IpNet> {
        self.pools.values().copied()
    }

    /// The networks that nodes are in.
    pub(super) fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.nodes.values().flat_map(|nets| nets.values().copied())
    }
}

/// The addresses of a Node.
fn addresses(spec: &NodeSpec) -> BTreeMap<AddressFamily, IpNet> {
    let Some(bgp) = &spec.bgp else { return BTreeMap::new() };
    let v4 = bgp.ipv4_address.as_ref().map(|cidr| (AddressFamily::V4, cidr.net()));
    let v6 = bgp.ipv6_address.as_ref().map(|cidr| (AddressFamily::V6, cidr.net()));
    v4.into_iter().chain(v6).collect()
}

#[cfg(test)]
mod tests;
