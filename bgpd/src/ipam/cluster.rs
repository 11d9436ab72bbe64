//! What the allocator must know of resources: pools, reservations, settings, nodes.
//!
//! Owns the copy as types, and what of it changed. Leaves to `margay_ipam::resources` what a
//! resource means, to the mirror how it comes here.

use std::collections::{BTreeMap, BTreeSet};

use margay_ipam::{
    Elsewhere, NodeName, Pools, Reservations, Settings,
    allocator::Unreadable,
    resources::{self, Labels},
};
use margay_model::{
    Key, Kind, Resource,
    kinds::{IpPool, IpReservation, IpamConfiguration},
};

use crate::picture::Picture;

/// The kinds it is made from.
pub(super) const KINDS: [Kind; 6] = [
    Kind::IpPool,
    Kind::IpReservation,
    Kind::IpamConfiguration,
    Kind::Node,
    Kind::Profile,
    Kind::ClusterInformation,
];

/// The profile that carries the labels of a namespace is named so, and its labels begin so.
const NAMESPACE_PROFILE: &str = "kns.";
const NAMESPACE_LABEL: &str = "pcns.";
/// The one object that counts, of the kinds that have one.
const CONFIGURATION: &str = "default";

/// The resources that matter for addresses.
#[derive(Debug)]
pub(super) struct Cluster {
    node: NodeName,
    pools: BTreeMap<String, IpPool>,
    reservations: BTreeMap<String, IpReservation>,
    configuration: Option<IpamConfiguration>,
    /// `datastoreReady` is false; `None` without a ClusterInformation that could be read.
    locked: Option<bool>,
    /// What cannot be read and never could.
    unreadable: BTreeSet<(Kind, String)>,
    nodes: BTreeMap<NodeName, Labels>,
    /// Of these, those the mirror does not have any more: the datastore is asked.
    doubtful: BTreeSet<NodeName>,
    namespaces: BTreeMap<String, Labels>,
    in_sync: bool,
}

/// What some news came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The pools, or the labels that their selectors look at.
    pub(super) pools: bool,
    /// Labels of another node.
    pub(super) labels: bool,
    /// The reservations.
    pub(super) reservations: bool,
    /// The settings.
    pub(super) settings: bool,
    /// Whether nobody may write for now.
    pub(super) locked: bool,
    /// What cannot be read.
    pub(super) unreadable: bool,
    /// Which nodes there are.
    pub(super) nodes: bool,
    /// Everything that there was has been told, just now.
    pub(super) in_sync: bool,
    /// Nodes whose resource is gone, or can no longer be read: which of the two must be asked.
    pub(super) doubtful: Vec<NodeName>,
}

impl Cluster {
    /// Nothing yet, as seen from this node.
    pub(super) fn new(node: NodeName) -> Self {
        Self {
            node,
            pools: BTreeMap::new(),
            reservations: BTreeMap::new(),
            configuration: None,
            locked: None,
            unreadable: BTreeSet::new(),
            nodes: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            namespaces: BTreeMap::new(),
            in_sync: false,
        }
    }

    /// Whether everything that there was has been told.
    pub(super) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// The datastore was asked which nodes there are, those included that cannot be read: a node
    /// whose resource is of a newer version is no node that is gone.
    pub(super) fn nodes_listed(&mut self, listed: BTreeSet<NodeName>) {
        for name in listed {
            self.nodes.entry(name).or_default();
        }
    }

    /// The datastore was asked and had no such node; whether that is news for the pools too. One
    /// that the mirror has again by now was created after that.
    pub(super) fn node_gone(&mut self, name: &NodeName) -> Changed {
        if !self.doubtful.remove(name) {
            return Changed::default();
        }
        let was = self.nodes.remove(name).is_some();
        Changed { nodes: was, pools: was && *name == self.node, ..Changed::default() }
    }

    /// The pools as they are for this node; without a resource of its own it has no labels.
    pub(super) fn pools(&self) -> Pools {
        let none = Labels::new();
        let labels = self.nodes.get(&self.node).unwrap_or(&none);
        resources::pools(self.pools.values(), labels)
    }

    /// Another node that exists, with the pools as they are for it; `None` for any that does not.
    pub(super) fn elsewhere(&self, node: &NodeName) -> Option<Elsewhere> {
        let pools = resources::pools(self.pools.values(), self.nodes.get(node)?);
        Some(Elsewhere::new(node.clone(), pools))
    }

    /// The pools that a namespace may not use; one that is not known has no labels.
    pub(super) fn not_for_namespace(&self, namespace: &str) -> BTreeSet<String> {
        let none = Labels::new();
        let labels = self.namespaces.get(namespace).unwrap_or(&none);
        resources::not_for_namespace(self.pools.values(), labels)
    }

    /// The reservations.
    pub(super) fn reservations(&self) -> Reservations {
        resources::reservations(self.reservations.values())
    }

    /// The settings.
    pub(super) fn settings(&self) -> Settings {
        resources::settings(self.configuration.as_ref())
    }

    /// Whether nobody may write for now.
    pub(super) fn is_locked(&self) -> bool {
        self.locked == Some(true)
    }

    /// What there is and cannot be read, and of which nothing was known before.
    pub(super) fn unreadable(&self) -> Unreadable {
        let mut all = Unreadable::default();
        for (kind, name) in &self.unreadable {
            match kind {
                Kind::IpPool => all.pools.insert(name.clone()),
                _ => all.rules.insert(format!("{kind} {name}")),
            };
        }
        all
    }

    /// The nodes that exist.
    pub(super) fn nodes(&self) -> BTreeSet<NodeName> {
        self.nodes.keys().cloned().collect()
    }
}

impl Cluster {
    /// A resource can be read, or is gone.
    fn readable(&mut self, key: &Key, changed: &mut Changed) {
        if let Key::Resource(key) = key {
            changed.unreadable |= self.unreadable.remove(&(key.kind, key.name.clone()));
        }
    }
}

impl Picture for Cluster {
    type Changed = Changed;

    fn put(&mut self, resource: Resource, changed: &mut Changed) {
        self.readable(&resource.key(), changed);
        match resource {
            Resource::IpPool(pool) => {
                self.pools.insert(pool.name().to_owned(), *pool);
                changed.pools = true;
            }
            Resource::IpReservation(reservation) => {
                self.reservations.insert(reservation.name().to_owned(), *reservation);
                changed.reservations = true;
            }
            Resource::IpamConfiguration(configuration) if configuration.name() == CONFIGURATION => {
                self.configuration = Some(*configuration);
                changed.settings = true;
            }
            Resource::ClusterInformation(information) if information.name() == CONFIGURATION => {
                let locked = information.spec.datastore_ready == Some(false);
                let was = self.locked.replace(locked);
                changed.locked |= was.unwrap_or_default() != locked;
            }
            Resource::Node(node) => {
                let Ok(name) = NodeName::try_from(node.name()) else { return };
                self.doubtful.remove(&name);
                let labels = node.metadata.labels.clone();
                let others = self.nodes.get(&name) != Some(&labels);
                changed.pools |= name == self.node && others;
                changed.labels |= name != self.node && others;
                changed.nodes |= self.nodes.insert(name, labels).is_none();
            }
            Resource::Profile(profile) => {
                let Some(namespace) = profile.name().strip_prefix(NAMESPACE_PROFILE) else {
                    return;
                };
                let plain = |(key, value): (&String, &String)| {
                    Some((key.strip_prefix(NAMESPACE_LABEL)?.to_owned(), value.clone()))
                };
                let labels = profile.spec.labels_to_apply.iter().filter_map(plain).collect();
                self.namespaces.insert(namespace.to_owned(), labels);
            }
            _ => {}
        }
    }

    fn remove(&mut self, key: &Key, changed: &mut Changed) {
        self.readable(key, changed);
        let Key::Resource(key) = key else { return };
        match key.kind {
            Kind::IpPool => changed.pools |= self.pools.remove(&key.name).is_some(),
            Kind::IpReservation => {
                changed.reservations |= self.reservations.remove(&key.name).is_some();
            }
            Kind::IpamConfiguration if key.name == CONFIGURATION => {
                changed.settings |= self.configuration.take().is_some();
            }
            Kind::ClusterInformation if key.name == CONFIGURATION => {
                changed.locked |= self.locked.take().unwrap_or_default();
            }
            Kind::Node => {
                if let Ok(name) = NodeName::try_from(key.name.as_str()) {
                    self.doubtful.insert(name.clone());
                    changed.doubtful.push(name);
                }
            }
            Kind::Profile => {
                if let Some(namespace) = key.name.strip_prefix(NAMESPACE_PROFILE) {
                    self.namespaces.remove(namespace);
                }
            }
            _ => {}
        }
    }

    fn unreadable(&mut self, key: &Key, changed: &mut Changed) {
        let Key::Resource(key) = key else { return };
        let name = key.name.as_str();
        let unknown = match key.kind {
            Kind::IpPool => !self.pools.contains_key(name),
            Kind::IpReservation => !self.reservations.contains_key(name),
            Kind::IpamConfiguration => name == CONFIGURATION && self.configuration.is_none(),
            Kind::ClusterInformation => name == CONFIGURATION && self.locked.is_none(),
            Kind::Node => {
                if let Ok(name) = NodeName::try_from(name) {
                    self.doubtful.remove(&name);
                    changed.nodes |= !self.nodes.contains_key(&name);
                    self.nodes.entry(name).or_default();
                }
                false
            }
            _ => false,
        };
        if unknown {
            changed.unreadable |= self.unreadable.insert((key.kind, name.to_owned()));
        }
    }

    fn told(&mut self, changed: &mut Changed) {
        changed.in_sync |= !std::mem::replace(&mut self.in_sync, true);
    }
}

#[cfg(test)]
mod tests;
