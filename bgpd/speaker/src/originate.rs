//! Routes of our own: `originate`, `margay routes add`, and the kernel's routes that are
//! redistributed. Values in, changes for the RIB out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use bgp_core::{
    config::{GlobalConfig, KernelSource, Origination},
    policy::{CommunityValue, InterfaceName, LocalAttributes, RouteSource, RouteView, Verdict},
};
use bgp_packet::{NextHop, Origin, PathAttributes};
use ipnet::IpNet;
use margay_fib::{Learned, Link};

use crate::speaker::ByHand;

/// RTPROT_BOOT and RTPROT_STATIC.
const STATIC_PROTOCOLS: [u8; 2] = [3, 4];

/// What `margay routes add` gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedRoute {
    /// What is announced.
    pub prefix: IpNet,
    /// Third-party next hop; ourselves when absent.
    pub next_hop: Option<IpAddr>,
    /// Communities it starts with.
    pub communities: Vec<CommunityValue>,
}

/// A route of our own as the RIB takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnRoute {
    pub(crate) attributes: PathAttributes,
    pub(crate) local: LocalAttributes,
    pub(crate) blackhole: bool,
    pub(crate) interface: Option<InterfaceName>,
}

/// What tells the kernel's routes for one prefix apart: table, metric, protocol, gateway.
type LearnedKey = (u32, u32, u8, Option<IpAddr>);

/// One slot of the RIB: each source has its own for a prefix.
pub(crate) type Slot = (IpNet, RouteSource);

/// See the module.
#[derive(Debug)]
pub(crate) struct Originator {
    global: Arc<GlobalConfig>,
    /// `originate`.
    configured: BTreeMap<IpNet, Origination>,
    added: BTreeMap<IpNet, AddedRoute>,
    /// Taken back by hand, until the next reload.
    withdrawn: BTreeSet<IpNet>,
    learned: BTreeMap<IpNet, BTreeMap<LearnedKey, Learned>>,
    /// Names of links by index.
    links: BTreeMap<u32, InterfaceName>,
    /// What the RIB has.
    told: BTreeMap<Slot, OwnRoute>,
}

impl Originator {
    pub(crate) fn new(global: Arc<GlobalConfig>) -> Self {
        Self {
            configured: configured(&global),
            global,
            added: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            learned: BTreeMap::new(),
            links: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// A new configuration; all changes that follow from it.
    pub(crate) fn reconfigure(
        &mut self,
        global: Arc<GlobalConfig>,
        by_hand: ByHand,
    ) -> Vec<(Slot, Option<OwnRoute>)> {
        self.configured = configured(&global);
        self.global = global;
        match by_hand {
            ByHand::Undo => self.withdrawn.clear(),
            ByHand::Keep => {}
        }
        self.changes()
    }

    /// `margay routes add`.
    pub(crate) fn add(&mut self, route: AddedRoute) -> Vec<(Slot, Option<OwnRoute>)> {
        let prefix = route.prefix;
        self.withdrawn.remove(&prefix);
        self.added.insert(prefix, route);
        self.update(prefix)
    }

    /// `margay routes withdraw`; `None`: there is no such route.
    pub(crate) fn withdraw(&mut self, prefix: IpNet) -> Option<Vec<(Slot, Option<OwnRoute>)>> {
        let added = self.added.remove(&prefix).is_some();
        let configured = self.configured.contains_key(&prefix) && self.withdrawn.insert(prefix);
        (added || configured).then(|| self.update(prefix))
    }

    /// A route of the kernel that is not ours came or changed, or went.
    pub(crate) fn learned(
        &mut self,
        learned: Learned,
        there: bool,
    ) -> Vec<(Slot, Option<OwnRoute>)> {
        let prefix = learned.prefix;
        let key = (learned.table, learned.metric, learned.protocol, learned.gateway);
        let routes = self.learned.entry(prefix).or_default();
        if there {
            routes.insert(key, learned);
        } else {
            routes.remove(&key);
        }
        if routes.is_empty() {
            self.learned.remove(&prefix);
        }
        self.update(prefix)
    }

    /// Links as they are now; all changes that follow from their names.
    pub(crate) fn set_links(&mut self, links: &[Link]) -> Vec<(Slot, Option<OwnRoute>)> {
        let name = |link: &Link| Some((link.index, InterfaceName::new(&link.name)?));
        let links = links.iter().filter_map(name).collect();
        if self.links == links {
            return Vec::new();
        }
        self.links = links;
        self.changes()
    }

    /// Everything that differs from what was told before.
    pub(crate) fn changes(&mut self) -> Vec<(Slot, Option<OwnRoute>)> {
        let mut prefixes: BTreeSet<IpNet> = self.told.keys().map(|(prefix, _)| *prefix).collect();
        prefixes.extend(self.configured.keys());
        prefixes.extend(self.added.keys());
        prefixes.extend(self.learned.keys());
        prefixes.into_iter().flat_map(|prefix| self.update(prefix)).collect()
    }

    fn update(&mut self, prefix: IpNet) -> Vec<(Slot, Option<OwnRoute>)> {
        const SOURCES: [RouteSource; 4] = [
            RouteSource::Originate,
            RouteSource::Connected,
            RouteSource::Static,
            RouteSource::Kernel,
        ];
        let mut changes = Vec::new();
        for source in SOURCES {
            let slot = (prefix, source);
            let wanted = match source {
                RouteSource::Originate => self.originated(prefix),
                _ => self.redistributed(prefix, source),
            };
            if wanted.as_ref() == self.told.get(&slot) {
                continue;
            }
            match &wanted {
                Some(route) => self.told.insert(slot, route.clone()),
                None => self.told.remove(&slot),
            };
            changes.push((slot, wanted));
        }
        changes
    }

    fn originated(&self, prefix: IpNet) -> Option<OwnRoute> {
        let (next_hop, communities, blackhole) = if let Some(route) = self.added.get(&prefix) {
            (route.next_hop, &route.communities, false)
        } else if self.withdrawn.contains(&prefix) {
            return None;
        } else {
            let route = self.configured.get(&prefix)?;
            (route.next_hop, &route.communities, route.blackhole)
        };
        let mut attributes = own(prefix, next_hop);
        for community in communities {
            community.add_to(&mut attributes);
        }
        let local = LocalAttributes::default();
        Some(OwnRoute { attributes, local, blackhole, interface: None })
    }

    /// The best of the kernel's routes for a prefix that an entry of `redistribute` takes.
    fn redistributed(&self, prefix: IpNet, source: RouteSource) -> Option<OwnRoute> {
        let mut routes: Vec<&Learned> = self
            .learned
            .get(&prefix)?
            .values()
            .filter(|learned| source_of(learned).1 == source)
            .collect();
        routes.sort_by_key(|learned| (learned.metric, learned.table));
        routes.into_iter().find_map(|learned| self.redistribute(learned, source))
    }

    fn redistribute(&self, learned: &Learned, source: RouteSource) -> Option<OwnRoute> {
        let (kind, _) = source_of(learned);
        let mut entries = self.global.redistribute.iter();
        let entry = entries.find(|entry| entry.source == kind && entry.table == learned.table)?;
        let mut attributes = own(learned.prefix, None);
        attributes.origin = Origin::Incomplete;
        let local = LocalAttributes::default();
        let interface = learned.interface.and_then(|index| self.links.get(&index).copied());
        let Some(policy) = &entry.policy else {
            return Some(OwnRoute { attributes, local, blackhole: false, interface });
        };
        let view = RouteView {
            prefix: learned.prefix,
            attributes: &attributes,
            local,
            source,
            peer: None,
            peer_asn: None,
            interface,
            local_address: None,
            local_asn: self.global.asn,
            router_id: self.global.router_id,
        };
        match policy.evaluate(&view) {
            Verdict::Accept { attributes: changed, local, .. } => {
                let attributes = changed.map_or(attributes, |changed| *changed);
                Some(OwnRoute { attributes, local, blackhole: false, interface })
            }
            Verdict::Reject => None,
        }
    }
}

fn configured(global: &GlobalConfig) -> BTreeMap<IpNet, Origination> {
    global.originate.iter().map(|route| (route.prefix, route.clone())).collect()
}

fn source_of(learned: &Learned) -> (KernelSource, RouteSource) {
    if learned.connected {
        (KernelSource::Connected, RouteSource::Connected)
    } else if STATIC_PROTOCOLS.contains(&learned.protocol) {
        (KernelSource::Static, RouteSource::Static)
    } else {
        (KernelSource::Kernel, RouteSource::Kernel)
    }
}

fn own(prefix: IpNet, next_hop: Option<IpAddr>) -> PathAttributes {
    let ourselves = match prefix {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let address = next_hop.unwrap_or(ourselves);
    PathAttributes::local(NextHop { address, link_local: None })
}

#[cfg(test)]
mod tests;
