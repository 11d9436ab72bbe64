//! A BGP next hop -> immediate next hops, through the kernel's routes and our own wishes.
//!
//! Deterministic in what is wished and what is foreign; what happens to be installed does not
//! matter, so installing a route cannot change the answer that caused it.

use std::net::IpAddr;

use crate::api::{BgpNextHop, FibConfig, Resolution, Target};
use crate::plan::fact::{Hop, Hops, ObjectKind, Via};
use crate::plan::foreign::Foreign;
use crate::plan::gateways;
use crate::plan::key::{Key, Key4, Key6};
use crate::plan::links::Links;
use crate::plan::locals::{LOCAL_METRIC, Locals, Way};
use crate::plan::objects::Objects;
use crate::plan::routes::{Half, Routes, Want};
use crate::plan::weights::{self, Share};
use crate::plan::wishes::Wishes;

/// Everything a resolution looks at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Settings.
    pub config: &'a FibConfig,
    /// Links and addresses.
    pub links: &'a Links,
    /// Routes of others.
    pub foreign: &'a Foreign,
    /// Next-hop objects of the kernel.
    pub objects: &'a Objects,
    /// Our routes.
    pub routes: &'a Routes,
    /// What they should do.
    pub wishes: &'a Wishes,
    /// Our routes to workloads, and to peers behind gateways.
    pub locals: &'a Locals,
}

/// A reachable next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Where packets go; empty when the address is our own, or they are dropped.
    pub hops: Hops,
    /// How they are dropped: a host route of that type was put there for it (RFC 5635 §4).
    pub discard: Option<Via>,
    /// What BGP is told.
    pub told: Resolution,
}

/// How many recursive steps are followed.
const DEPTH: usize = 16;

/// Resolves a next hop. Every address looked up on the way is added to `asked`: when a route to one
/// of them changes, the answer may.
pub fn resolve(view: View<'_>, next_hop: &BgpNextHop, asked: &mut Vec<IpAddr>) -> Option<Resolved> {
    let mut path = Vec::new();
    member(view, next_hop, &mut path, asked)
}

fn member(
    view: View<'_>,
    next_hop: &BgpNextHop,
    path: &mut Vec<IpAddr>,
    asked: &mut Vec<IpAddr>,
) -> Option<Resolved> {
    let address = next_hop.address;
    if view.links.is_own(address) || address.is_loopback() {
        let told = Resolution { cost: 0, direct: true, local: true, interface: None };
        return Some(Resolved { hops: Hops::new(), discard: None, told });
    }
    if let Some(oif) = next_hop.interface {
        return on_link(view, next_hop, oif);
    }
    if address.is_unspecified() || address.is_multicast() || is_link_local(address) {
        return None; // a link-local address says nothing without its link
    }
    let mut found = look_up(view, address, path, asked)?;
    if let (true, Some(gateway)) = (found.told.direct, next_hop.link_local) {
        for (hop, _) in &mut found.hops {
            hop.gateway = Some(gateway.into());
            hop.onlink = false;
        }
    }
    Some(found)
}

/// A next hop whose link is known: nothing to look up.
fn on_link(view: View<'_>, next_hop: &BgpNextHop, oif: u32) -> Option<Resolved> {
    if !view.links.running(oif) {
        return None;
    }
    let gateway = next_hop.link_local.map_or(next_hop.address, IpAddr::V6);
    let hop = Hop { gateway: Some(gateway), oif, onlink: !is_link_local(gateway) };
    let told = Resolution { cost: 0, direct: true, local: false, interface: Some(oif) };
    Some(Resolved { hops: vec![(hop, 1)], discard: None, told })
}

fn look_up(
    view: View<'_>,
    address: IpAddr,
    path: &mut Vec<IpAddr>,
    asked: &mut Vec<IpAddr>,
) -> Option<Resolved> {
    if path.len() >= DEPTH || path.contains(&address) {
        return None;
    }
    asked.push(address);
    if let Some(found) = single(view, address, asked) {
        return Some(found);
    }
    path.push(address);
    let found = match address {
        IpAddr::V4(_) => longest::<Key4>(view, &view.routes.v4, address, path, asked),
        IpAddr::V6(_) => longest::<Key6>(view, &view.routes.v6, address, path, asked),
    };
    path.pop();
    found
}

/// A workload of this node, on a link of its own, or a peer behind a gateway of its own.
fn single(view: View<'_>, address: IpAddr, asked: &mut Vec<IpAddr>) -> Option<Resolved> {
    asked.extend(view.locals.gateway_of(address));
    let Way { oif, gateway } = gateways::way(view, address)?;
    let direct = gateway.is_none();
    let hop = Hop { gateway: gateway.or(Some(address)), oif, onlink: direct };
    let cost = if direct { 0 } else { LOCAL_METRIC };
    let told = Resolution { cost, direct, local: false, interface: Some(oif) };
    view.links.running(oif).then(|| Resolved { hops: vec![(hop, 1)], discard: None, told })
}

/// What one route says about an address.
enum Answer {
    /// Go there.
    Yes(Resolved),
    /// This route is not to be used; the next one may.
    Pass,
    /// The kernel would use this route, and it leads nowhere.
    No,
}

fn longest<K: Key>(
    view: View<'_>,
    own: &Half<K>,
    address: IpAddr,
    path: &mut Vec<IpAddr>,
    asked: &mut Vec<IpAddr>,
) -> Option<Resolved> {
    let mut lengths: Vec<u8> = own.lengths().collect();
    for table in tables(view.config) {
        lengths.extend(view.foreign.lengths(table, address));
    }
    lengths.sort_unstable();
    lengths.dedup();
    for &len in lengths.iter().rev() {
        if len == 0 && !view.config.resolve_default {
            return None;
        }
        let key = K::around(address, len)?;
        let host = len == K::BITS;
        let mut dead_end = false;
        for candidate in candidates(view, own, key) {
            let answer = match candidate.from {
                From::Foreign(via) => foreign(view, via, candidate.metric, address, host),
                From::Own(spec) => ours(view, spec, candidate.metric, host, path, asked),
            };
            match answer {
                Answer::Yes(resolved) => return Some(resolved),
                Answer::Pass => {}
                Answer::No => dead_end = true,
            }
        }
        if dead_end {
            return None;
        }
    }
    None
}

struct Candidate<'a> {
    metric: u32,
    from: From<'a>,
}

enum From<'a> {
    Foreign(&'a Via),
    Own(u32),
}

/// Routes at one prefix, best metric first.
fn candidates<'a, K: Key>(view: View<'a>, own: &Half<K>, key: K) -> Vec<Candidate<'a>> {
    let mut all = Vec::new();
    for table in tables(view.config) {
        for (_, kind) in view.foreign.at(table, key.net()) {
            if kind.tos == 0 {
                let from = From::Foreign(&kind.form.via);
                all.push(Candidate { metric: kind.form.metric, from });
            }
        }
    }
    if let Want::Spec(id) = own.get(key).want() {
        let metric = view.wishes.spec(id).and_then(|s| s.wish.metric);
        let metric = metric.unwrap_or(view.config.metric);
        all.push(Candidate { metric, from: From::Own(id) });
    }
    all.sort_by_key(|c| c.metric);
    all
}

fn foreign(view: View<'_>, via: &Via, metric: u32, address: IpAddr, host: bool) -> Answer {
    let hops = match via {
        Via::Hops(hops) => hops.clone(),
        Via::Object(id) => view.objects.expand(*id),
        Via::Blackhole | Via::Unreachable | Via::Prohibit => {
            return discarded(via.clone(), metric, host);
        }
        Via::Local => return Answer::No,
        Via::Other => return Answer::Pass,
    };
    let direct = hops.iter().all(|(hop, _)| hop.gateway.is_none());
    let mut usable: Hops = hops
        .into_iter()
        .filter(|(hop, _)| view.links.running(hop.oif))
        .map(|(hop, w)| (Hop { gateway: hop.gateway.or(Some(address)), ..hop }, w))
        .collect();
    if usable.is_empty() {
        return Answer::No;
    }
    usable.sort_unstable();
    let (cost, interface) = (if direct { 0 } else { metric }, only_link(&usable));
    let told = Resolution { cost, direct, local: false, interface };
    Answer::Yes(Resolved { hops: usable, discard: None, told })
}

fn ours(
    view: View<'_>,
    spec: u32,
    metric: u32,
    host: bool,
    path: &mut Vec<IpAddr>,
    asked: &mut Vec<IpAddr>,
) -> Answer {
    let Some(spec) = view.wishes.spec(spec) else { return Answer::Pass };
    let members = match &spec.wish.target {
        Target::Via(members) => members,
        Target::Blackhole => return discarded(Via::Blackhole, metric, host),
        Target::Unreachable => return discarded(Via::Unreachable, metric, host),
        Target::Prohibit => return discarded(Via::Prohibit, metric, host),
    };
    let mut discard = None;
    let mut shares = Vec::new();
    for (next_hop, weight) in members {
        if path.contains(&next_hop.address) {
            continue; // it would resolve through itself
        }
        if let Some(found) = member(view, next_hop, path, asked)
            && !found.told.local
        {
            discard = discard.or(found.discard);
            shares.push(Share { weight: *weight, hops: found.hops });
        }
    }
    let hops = weights::merge(&shares);
    if hops.is_empty() {
        return match discard {
            Some(via) => discarded(via, metric, host),
            None => Answer::Pass, // not in the kernel: what is behind it decides
        };
    }
    let interface = only_link(&hops);
    let told = Resolution { cost: metric, direct: false, local: false, interface };
    Answer::Yes(Resolved { hops, discard: None, told })
}

/// A route that drops. One for a single host is there for next hops to be led to it; one for a
/// network is an aggregate, and says that the next hop is not there.
fn discarded(via: Via, metric: u32, host: bool) -> Answer {
    if !host {
        return Answer::No;
    }
    let told = Resolution { cost: metric, direct: false, local: false, interface: None };
    Answer::Yes(Resolved { hops: Hops::new(), discard: Some(via), told })
}

/// Tables next hops are looked up in: main, and ours when it is another.
pub(super) fn tables(config: &FibConfig) -> impl Iterator<Item = u32> {
    let own = (config.table != MAIN).then_some(config.table);
    [MAIN].into_iter().chain(own)
}

/// The link that all of these use.
pub fn only_link(hops: &[(Hop, u16)]) -> Option<u32> {
    let (first, _) = hops.first()?;
    hops.iter().all(|(hop, _)| hop.oif == first.oif).then_some(first.oif)
}

/// Whether an address means nothing without its link.
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.is_unicast_link_local())
}

/// `RT_TABLE_MAIN`.
pub const MAIN: u32 = 254;

impl Objects {
    /// Immediate next hops of an object of the kernel, ours or not; empty for a blackhole.
    pub fn expand(&self, id: u32) -> Hops {
        let mut hops = Hops::new();
        match self.kind(id) {
            Some(ObjectKind::Hop(hop)) => hops.push((*hop, 1)),
            Some(ObjectKind::Group(members)) => {
                for (member, weight) in members {
                    if let Some(ObjectKind::Hop(hop)) = self.kind(*member) {
                        hops.push((*hop, *weight));
                    }
                }
            }
            Some(ObjectKind::Blackhole) | None => {}
        }
        hops.sort_unstable();
        hops
    }
}
