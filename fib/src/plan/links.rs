//! The kernel's links and addresses, as last told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::Link;
use crate::plan::fact::KernelLink;

/// Mirror of links and addresses.
#[derive(Debug, Default)]
pub struct Links {
    links: BTreeMap<u32, KernelLink>,
    by_name: BTreeMap<String, u32>,
    addresses: BTreeMap<u32, BTreeSet<IpNet>>,
    /// On how many links each address is.
    own: BTreeMap<IpAddr, u32>,
}

/// What a change of a link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkChange {
    /// Nothing we look at.
    Nothing,
    /// Name, hardware address or carrier.
    Changed,
    /// It had carrier and has not: the kernel dropped next-hop objects over it, but no route.
    LostCarrier,
    /// It was up and is not: the kernel dropped what went over it.
    WentDown,
}

impl Links {
    /// A link came or changed.
    pub fn set(&mut self, link: KernelLink) -> LinkChange {
        let up = link.admin_up;
        let old = self.links.insert(link.index, link.clone());
        if old.as_ref().is_none_or(|old| old.name != link.name) {
            if let Some(old) = &old {
                self.forget_name(&old.name, link.index);
            }
            self.by_name.insert(link.name.clone(), link.index);
        }
        match old {
            Some(old) if old == link => LinkChange::Nothing,
            Some(old) if old.admin_up && !up => LinkChange::WentDown,
            Some(old) if old.running && !link.running => LinkChange::LostCarrier,
            _ => LinkChange::Changed,
        }
    }

    /// A link went, and its addresses with it; they are returned.
    pub fn remove(&mut self, index: u32) -> Option<Vec<IpAddr>> {
        let link = self.links.remove(&index)?;
        self.forget_name(&link.name, index);
        let nets: Vec<_> = self.addresses.get(&index).into_iter().flatten().copied().collect();
        for net in &nets {
            self.remove_address(index, *net);
        }
        Some(nets.iter().map(IpNet::addr).collect())
    }

    /// An address came; whether it is new.
    pub fn add_address(&mut self, index: u32, net: IpNet) -> bool {
        let new = self.addresses.entry(index).or_default().insert(net);
        if new {
            *self.own.entry(net.addr()).or_default() += 1;
        }
        new
    }

    /// An address went; whether it was there.
    pub fn remove_address(&mut self, index: u32, net: IpNet) -> bool {
        let Some(nets) = self.addresses.get_mut(&index) else { return false };
        let was = nets.remove(&net);
        if nets.is_empty() {
            self.addresses.remove(&index);
        }
        if was && let Some(n) = self.own.get_mut(&net.addr()) {
            *n -= 1;
            if *n == 0 {
                self.own.remove(&net.addr());
            }
        }
        was
    }

    /// Whether a link can carry packets.
    pub fn running(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|l| l.running)
    }

    /// The link of this name, if routes may lead over it.
    pub fn usable(&self, name: &str) -> Option<u32> {
        let index = *self.by_name.get(name)?;
        self.links.get(&index).filter(|l| l.admin_up).map(|l| l.index)
    }

    /// Another link may have the name already.
    fn forget_name(&mut self, name: &str, index: u32) {
        if self.by_name.get(name) == Some(&index) {
            self.by_name.remove(name);
        }
    }

    /// Whether the address is on one of our links.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains_key(&address)
    }

    /// The name of a link, or its number when it is not there.
    pub fn name(&self, index: u32) -> String {
        self.links.get(&index).map_or_else(|| format!("if{index}"), |l| l.name.clone())
    }

    /// A link as others see it.
    pub fn link(&self, index: u32) -> Option<Link> {
        let l = self.links.get(&index)?;
        Some(Link {
            index,
            name: l.name.clone(),
            up: l.running,
            mac: l.mac,
            mtu: l.mtu,
            addresses: self.addresses.get(&index).into_iter().flatten().copied().collect(),
        })
    }

    /// Addresses of all links that can carry packets, and their links.
    pub fn addresses_running(&self) -> impl Iterator<Item = (u32, IpNet)> {
        let running = self.links.values().filter(|link| link.running);
        running.flat_map(|link| self.addresses(link.index).map(|net| (link.index, net)))
    }

    /// Indexes of all links.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        self.links.keys().copied()
    }

    /// Addresses of a link.
    pub fn addresses(&self, index: u32) -> impl Iterator<Item = IpNet> {
        self.addresses.get(&index).into_iter().flatten().copied()
    }
}
