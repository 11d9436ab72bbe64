//! Garbage collection: what nobody uses any more, proven before it is released.
//!
//! Owns the proofs. Addresses of a node are judged by that node alone, against what lives on it: a
//! journal entry or a live link vetoes, and a handle loses all its addresses or none; a live one loses
//! only what the journal knows it was never told of. What a gone
//! node left is judged by a node that saw its resource being deleted, and only after its lease has
//! ended; right before, both are looked for in the store itself, for the news may be old. Promises that every release names the assignment it means (address, handle, serial), so
//! that a slow collector never frees what was assigned again. Leaves to others how liveness is
//! found out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use margay_model::Revision;

use crate::{
    block::{BlockState, Handle, Holder, NodeName, Owner},
    lease::Leases,
    plan::{Ask, Release},
    pool::{Pools, Settings},
    time::Now,
    view::{Place, View},
};

/// What lives on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The attachment journal: what each handle was answered; `None` while it is being set up.
    pub attachments: BTreeMap<Handle, Option<BTreeSet<IpAddr>>>,
    /// Addresses of live links.
    pub addresses: BTreeSet<IpAddr>,
    /// When it was gathered, on the steady clock: what was assigned later says nothing.
    pub taken: Duration,
}

/// Everything a collector looks at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// This node.
    pub host: &'a Owner,
    /// The blocks.
    pub view: &'a View,
    /// The pools.
    pub pools: &'a Pools,
    /// How the cluster behaves.
    pub settings: &'a Settings,
    /// The leases.
    pub leases: &'a Leases,
    /// Both clocks.
    pub now: Now,
    /// How long something must be seen unused before it is released.
    pub grace: Duration,
}

/// Remembers since when something looks unused. Forgetting it costs time only.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    suspects: BTreeMap<Handle, Duration>,
    strays: BTreeMap<IpAddr, Duration>,
    idle: BTreeMap<IpNet, (Revision, Duration)>,
}

impl Collector {
    /// How many handles and addresses look unused and wait for their grace to pass.
    pub fn suspects(&self) -> usize {
        self.suspects.len() + self.strays.len()
    }

    /// Addresses used on this node that nothing on it uses. `spared` are handles this daemon is
    /// working for.
    pub fn leaks(
        &mut self,
        scene: Scene<'_>,
        evidence: &Evidence,
        spared: &BTreeSet<Handle>,
    ) -> Vec<Ask> {
        let handles: BTreeSet<Handle> = scene
            .view
            .used_on(&scene.host.node)
            .into_iter()
            .map(|place| place.held.handle.clone())
            .collect();
        let (mut suspects, mut strays) = (BTreeMap::new(), BTreeMap::new());
        let mut asks = Vec::new();
        for handle in handles.into_iter().filter(|handle| !spared.contains(handle)) {
            let places = scene.view.of_handle(&handle);
            if let Some(answered) = evidence.attachments.get(&handle) {
                let Some(answered) = answered else { continue };
                let stray = |place: &Place| is_stray(scene, evidence, answered, place);
                for place in places.into_iter().filter(stray) {
                    let Some(address) = address(scene.view, &place) else { continue };
                    let since = self.strays.get(&address).copied().unwrap_or(evidence.taken);
                    if evidence.taken.saturating_sub(since) >= scene.grace {
                        asks.push(release(scene.view, &[place]));
                    }
                    strays.insert(address, since);
                }
                continue;
            }
            let dead = places.iter().all(|place| {
                place.held.node == scene.host.node
                    && place.held.holder() == Holder::Pod
                    && address(scene.view, place)
                        .is_some_and(|address| !evidence.addresses.contains(&address))
            });
            if !dead {
                continue;
            }
            let since = self.suspects.get(&handle).copied().unwrap_or(evidence.taken);
            if evidence.taken.saturating_sub(since) >= scene.grace {
                asks.push(release(scene.view, &places));
            }
            suspects.insert(handle, since);
        }
        (self.suspects, self.strays) = (suspects, strays);
        asks
    }

    /// Blocks of this node that stand empty and are not its last in a pool it may use; leftovers of
    /// nobody that stand empty.
    pub fn idle_blocks(&mut self, scene: Scene<'_>) -> Vec<Ask> {
        let Scene { host, view, now, settings, .. } = scene;
        let mut idle = BTreeMap::new();
        let mut asks = Vec::new();
        // Per pool: how many blocks this node would keep.
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for block in view.owned(host) {
            if let Some(pool) = scene.pools.of_block(block.cidr()) {
                *left.entry(pool.name.as_str()).or_default() += 1;
            }
        }
        for (cidr, entry) in view.entries() {
            let Some(block) = entry.stored.sound() else { continue };
            let ours = block.is_owned_by(host);
            if !(ours || block.owner().is_none()) || !block.is_empty(now.wall, settings.cooldown) {
                continue;
            }
            let known = self.idle.get(&cidr).filter(|(revision, _)| *revision == entry.revision);
            let since = known.map_or(now.steady, |(_, since)| *since);
            idle.insert(cidr, (entry.revision, since));
            let pool = scene.pools.of_block(cidr);
            // Of no use where it is: it cannot be assigned from.
            let useless = !ours
                || block.state() == BlockState::Draining
                || view.is_contested(cidr)
                || pool.is_none_or(|pool| pool.disabled || !pool.selects_node);
            let kept = pool.and_then(|pool| left.get_mut(pool.name.as_str()));
            let spare = kept.as_ref().is_some_and(|left| **left > 1);
            let waited = now.steady.saturating_sub(since) >= scene.grace;
            if useless || (spare && waited) {
                if let Some(left) = kept.filter(|_| ours) {
                    *left = left.saturating_sub(1);
                }
                asks.push(Ask::GiveUp { block: cidr, revision: entry.revision });
            }
        }
        self.idle = idle;
        asks
    }

    /// What nodes left that are `gone`, with the time since when this is known, and whose leases
    /// have ended. The first of the living by name looks at once. It may be too young to know: the
    /// others look once the grace has passed; two that do the same do no harm.
    pub fn departed(&self, scene: Scene<'_>, gone: &BTreeMap<NodeName, Duration>) -> Vec<Ask> {
        let view = scene.view;
        let is_gone = |node: &NodeName| is_gone(scene, gone, node);
        let mut asks = Vec::new();
        for node in self.leavers(scene, gone) {
            let handles: BTreeSet<Handle> =
                view.used_on(&node).into_iter().map(|place| place.held.handle.clone()).collect();
            for handle in handles {
                let places = view.of_handle(&handle);
                let all = places
                    .iter()
                    .all(|place| is_gone(&place.held.node) && place.held.holder() != Holder::Other);
                if all {
                    asks.push(release(view, &places));
                }
            }
            if view.of_node(&node).next().is_some() {
                asks.push(Ask::ReleaseNode(node));
            }
        }
        asks
    }

    /// The nodes that [`departed`](Self::departed) would clean up behind.
    pub fn leavers(&self, scene: Scene<'_>, gone: &BTreeMap<NodeName, Duration>) -> Vec<NodeName> {
        scene.view.nodes().into_iter().filter(|node| is_gone(scene, gone, node)).collect()
    }

    /// Whether blocks wait to become ours: of an earlier life of this node, or of nobody while
    /// addresses in them are used here.
    pub fn has_orphans(scene: Scene<'_>) -> bool {
        orphans(scene.view, scene.host).next().is_some()
    }
}

/// Whether a node is gone for good, and it is for this one to clean up behind it.
fn is_gone(scene: Scene<'_>, gone: &BTreeMap<NodeName, Duration>, node: &NodeName) -> bool {
    let Scene { host, leases, now, grace, .. } = scene;
    let is_first = || leases.first_alive(now.steady) == Some(&host.node);
    let is_due = |since: &Duration| now.steady.saturating_sub(*since) >= grace || is_first();
    *node != host.node && gone.get(node).is_some_and(is_due) && !leases.is_alive(node, now.steady)
}

/// Blocks that belong to this node and do not say so.
pub(crate) fn orphans<'a>(view: &'a View, host: &'a Owner) -> impl Iterator<Item = IpNet> + 'a {
    let earlier = view.of_node(&host.node).filter(|block| !block.is_owned_by(host));
    let used = view.borrowed_by(&host.node).into_iter().map(|place| place.cidr);
    let used: BTreeSet<IpNet> = used
        .filter(|cidr| view.block(*cidr).is_some_and(|(_, block)| block.owner().is_none()))
        .collect();
    earlier.map(|block| block.cidr()).chain(used)
}

/// Whether a live attachment was never told of an address it holds here: a commit whose answer was
/// lost came late, after another one had been planned in its stead.
fn is_stray(
    scene: Scene<'_>,
    evidence: &Evidence,
    answered: &BTreeSet<IpAddr>,
    place: &Place,
) -> bool {
    place.held.node == scene.host.node
        && place.held.holder() == Holder::Pod
        && !answered.is_empty()
        && address(scene.view, place).is_some_and(|address| {
            !answered.contains(&address) && !evidence.addresses.contains(&address)
        })
}

/// The address of a place.
fn address(view: &View, place: &Place) -> Option<IpAddr> {
    Some(view.block(place.cidr)?.1.address(place.ordinal))
}

/// Releases exactly these assignments, all or none.
fn release(view: &View, places: &[Place]) -> Ask {
    let one = |place: &Place| {
        Some(Release::Address {
            address: address(view, place)?,
            handle: Some(place.held.handle.clone()),
            serial: Some(place.held.serial),
        })
    };
    Ask::Release(places.iter().filter_map(one).collect())
}

#[cfg(test)]
mod tests;
