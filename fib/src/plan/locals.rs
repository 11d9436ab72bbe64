//! Routes to single addresses that are no business of BGP: to workloads, over a link that is named,
//! not numbered, for links are made again under the same name; and to peers behind a gateway, which
//! [`gateways`](super::gateways) looks for.
//!
//! They have a metric of their own, below any that BGP is given, so they stand beside BGP's routes
//! and win; by it and by the length of the prefix a fresh process knows them, and by the gateway,
//! which is always marked as being on the link (`onlink`), it tells the two apart. They stay when the process ends: workloads go on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{HostRoute, HostRouteConflict, HostRouteState};
use crate::plan::fact::{Form, Hop, KernelRoute, Origin, Via};
use crate::plan::gateways;
use crate::plan::readings::Occasion;
use crate::plan::state::State;
use crate::plan::work::{RETRY_MAX, RETRY_MIN, Verb};

/// Metric of these routes, IPv4 and IPv6.
pub const LOCAL_METRIC: u32 = 1;
/// What somebody else deletes is put back after this.
const REPAIR_DELAY: Duration = Duration::from_millis(100);

/// Where one of these routes leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Link.
    pub oif: u32,
    /// The gateway to a peer; none to a workload.
    pub gateway: Option<IpAddr>,
}

/// A write to one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOp {
    /// The workload's address, or the peer's.
    pub address: IpAddr,
    /// How.
    pub verb: Verb,
    /// As it should be; for a deletion as it is.
    pub way: Way,
    /// What stood there.
    old: Option<Way>,
}

/// What is wished and what is there.
#[derive(Debug, Default)]
pub struct Locals {
    wishes: BTreeMap<IpAddr, String>,
    /// Addresses by the link they are wished over.
    by_link: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Gateways by the peer behind them. Where a workload has the address, it has the route.
    pub(super) gateways: BTreeMap<IpAddr, IpAddr>,
    /// As the kernel has it, or will once what is under way is done.
    have: BTreeMap<IpAddr, Way>,
    pub(super) dirty: BTreeSet<IpAddr>,
    in_flight: BTreeSet<IpAddr>,
    pub(super) refused: BTreeMap<IpAddr, Refused>,
    conflicts: BTreeMap<IpAddr, HostRouteConflict>,
    /// To be looked at from these moments on.
    pub(super) later: BTreeMap<IpAddr, Instant>,
    /// Left by a former process; they stay until all wishes of this start were told.
    pub(super) stale: BTreeSet<IpAddr>,
    /// All workloads of this start were told.
    in_sync: bool,
    /// All gateways of this start were told.
    gateways_in_sync: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    errno: i32,
    tries: u32,
}

impl Locals {
    /// Whether a route of ours has this very key.
    pub fn holds(&self, prefix: IpNet, metric: u32) -> bool {
        metric == LOCAL_METRIC
            && !self.have.is_empty()
            && prefix.prefix_len() == prefix.max_prefix_len()
            && self.have.contains_key(&prefix.addr())
    }

    /// The link an address is wished over.
    pub fn link_of(&self, address: IpAddr) -> Option<&str> {
        self.wishes.get(&address).map(String::as_str)
    }

    /// The gateway an address is wished behind.
    pub fn gateway_of(&self, address: IpAddr) -> Option<IpAddr> {
        let gateway = self.gateways.get(&address).copied();
        gateway.filter(|_| !self.wishes.contains_key(&address))
    }

    fn is_wished(&self, address: &IpAddr) -> bool {
        self.wishes.contains_key(address) || self.gateways.contains_key(address)
    }

    /// When something waits to be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    /// How many wait to be looked at, or for the kernel.
    pub fn pending(&self) -> usize {
        self.dirty.union(&self.in_flight).count()
    }

    /// How many are in the kernel as wished.
    pub fn installed(&self) -> usize {
        self.have.keys().filter(|a| self.is_wished(a) && !self.in_flight.contains(a)).count()
    }

    /// Addresses from one to another that are wished for or there, in order.
    pub fn known_between(&self, from: IpAddr, to: IpAddr) -> impl Iterator<Item = IpAddr> {
        let range = (from <= to).then_some(from..=to); // `range` would panic
        let (wished, behind) = (range.clone().into_iter(), range.clone().into_iter());
        let wished = wished.flat_map(|range| self.wishes.range(range)).map(|(address, _)| *address);
        let behind =
            behind.flat_map(|range| self.gateways.range(range)).map(|(address, _)| *address);
        let there = range.into_iter().flat_map(|range| self.have.range(range));
        let there = there.map(|(address, _)| *address);
        let mut wished = wished.peekable();
        let mut behind = behind.peekable();
        let mut there = there.peekable();
        std::iter::from_fn(move || {
            let heads = [wished.peek(), behind.peek(), there.peek()];
            let first = heads.into_iter().flatten().min().copied()?;
            wished.next_if_eq(&first);
            behind.next_if_eq(&first);
            there.next_if_eq(&first);
            Some(first)
        })
    }

    /// Addresses with a write under way.
    pub fn in_flight(&self) -> impl Iterator<Item = IpAddr> {
        self.in_flight.iter().copied()
    }

    /// The same wishes, and nothing known of the kernel.
    pub fn carried_over(&self) -> Self {
        Self {
            wishes: self.wishes.clone(),
            by_link: self.by_link.clone(),
            gateways: self.gateways.clone(),
            dirty: self.wishes.keys().chain(self.gateways.keys()).copied().collect(),
            in_sync: self.in_sync,
            gateways_in_sync: self.gateways_in_sync,
            ..Self::default()
        }
    }

    fn lost(&mut self, address: IpAddr) {
        self.have.remove(&address);
        self.dirty.insert(address);
    }

    /// Whether all wishes of its kind were told.
    fn all_told(&self, way: Way) -> bool {
        if way.gateway.is_some() { self.gateways_in_sync } else { self.in_sync }
    }

    /// What nobody wished for is looked at, once its kind is complete.
    fn end_stale(&mut self) {
        let (have, told) = (&self.have, |way: &Way| self.all_told(*way));
        let over: Vec<IpAddr> =
            self.stale.iter().filter(|a| have.get(a).is_none_or(told)).copied().collect();
        for address in over {
            self.stale.remove(&address);
            self.dirty.insert(address);
        }
    }
}

impl State {
    /// Says over which link a workload's address is, or that it is over none.
    pub fn want_local(&mut self, address: IpAddr, link: Option<String>) {
        let locals = &mut self.locals;
        locals.stale.remove(&address);
        if locals.wishes.get(&address) == link.as_ref() {
            // Asked for again: what was refused is tried again.
            locals.refused.remove(&address);
            locals.dirty.insert(address);
            return;
        }
        let old = match &link {
            Some(link) => {
                locals.by_link.entry(link.clone()).or_default().insert(address);
                locals.wishes.insert(address, link.clone())
            }
            None => locals.wishes.remove(&address),
        };
        if let Some(old) = old
            && let Some(set) = locals.by_link.get_mut(&old)
        {
            set.remove(&address);
            if set.is_empty() {
                locals.by_link.remove(&old);
            }
        }
        locals.refused.remove(&address);
        locals.later.remove(&address);
        locals.dirty.insert(address);
        self.tracker.touch(address.into());
    }

    /// All workloads of this start have been told: routes nobody wished for go.
    pub fn locals_in_sync(&mut self) {
        self.locals.in_sync = true;
        self.locals.end_stale();
    }

    /// All peers behind gateways have been told: routes to others go.
    pub fn gateways_in_sync(&mut self) {
        self.locals.gateways_in_sync = true;
        self.locals.end_stale();
    }

    /// Writes for up to `max` addresses that wait.
    pub fn plan_locals(&mut self, max: usize, now: Instant) -> Vec<LocalOp> {
        let due: Vec<IpAddr> =
            self.locals.later.iter().filter(|(_, at)| **at <= now).map(|(a, _)| *a).collect();
        for address in due {
            self.locals.later.remove(&address);
            self.locals.dirty.insert(address);
        }
        if !self.may_write() || self.locals.dirty.is_empty() {
            return Vec::new();
        }
        let waiting: Vec<IpAddr> =
            self.locals.dirty.difference(&self.locals.in_flight).copied().collect();
        let mut ops = Vec::new();
        for address in waiting {
            if ops.len() >= max {
                break;
            }
            self.locals.dirty.remove(&address);
            ops.extend(self.decide_local(address));
        }
        for op in &ops {
            self.locals.in_flight.insert(op.address);
            if let Some(touched) = &mut self.touched {
                touched.insert(op.address.into());
            }
        }
        ops
    }

    /// What one address needs; what is handed out counts as done.
    fn decide_local(&mut self, address: IpAddr) -> Option<LocalOp> {
        let have = self.locals.have.get(&address).copied();
        let way = gateways::way(self.view(), address);
        let conflict = way.and_then(|way| self.local_conflict(address, way));
        match conflict {
            Some(by) => drop(self.locals.conflicts.insert(address, by)),
            None => drop(self.locals.conflicts.remove(&address)),
        }
        let op = |verb, way| Some(LocalOp { address, verb, way, old: have });
        let behind = self.locals.gateway_of(address);
        let done = match (way, have) {
            (Some(way), Some(old)) if way == old => None,
            // What stands in the way of a new one is no reason to take down what works.
            (Some(_), _) if self.locals.conflicts.contains_key(&address) => None,
            (Some(way), None) => op(Verb::Add, way),
            (Some(way), Some(_)) => op(Verb::Replace, way),
            // The gateway is out of sight: the route goes with its link, or leads there still.
            (None, Some(old)) if behind.is_some() && old.gateway == behind => None,
            (None, Some(old)) if !self.locals.stale.contains(&address) => op(Verb::Delete, old),
            (None, _) => None,
        }?;
        match done.verb {
            Verb::Delete => {
                self.locals.have.remove(&address);
                if self.conflicts.contains(&address.into()) {
                    self.routes.enqueue(address.into()); // one of BGP's had given way to it
                }
            }
            Verb::Add | Verb::Replace => drop(self.locals.have.insert(address, done.way)),
        }
        Some(done)
    }

    /// Who else says where an address is.
    fn local_conflict(&self, address: IpAddr, way: Way) -> Option<HostRouteConflict> {
        if self.links.is_own(address) {
            return Some(HostRouteConflict::OwnAddress);
        }
        let mut others = self.foreign.at(self.config.table, address.into()).map(|(_, kind)| kind);
        let found = others.find(|kind| {
            let elsewhere = match &kind.form.via {
                Via::Hops(hops) if way.gateway.is_none() => {
                    hops.iter().any(|(h, _)| h.gateway.is_none() && h.oif != way.oif)
                }
                _ => false,
            };
            kind.tos == 0 && (kind.form.metric <= LOCAL_METRIC || elsewhere)
        })?;
        let link = match &found.form.via {
            Via::Hops(hops) => hops.first().map(|(hop, _)| self.links.name(hop.oif)),
            _ => None,
        };
        let (protocol, metric) = (found.protocol, found.form.metric);
        Some(HostRouteConflict::Route { protocol, metric, link })
    }

    /// What became of writes: all done but those with an errno, by position, ascending.
    pub fn locals_done(&mut self, ops: &[LocalOp], refused: &[(usize, i32)], now: Instant) {
        let mut refused = refused.iter().peekable();
        for (at, op) in ops.iter().enumerate() {
            self.locals.in_flight.remove(&op.address);
            let errno = refused.next_if(|(i, _)| *i == at).map(|(_, errno)| *errno);
            match (op.verb, errno) {
                (_, None) | (Verb::Delete, Some(libc::ESRCH)) => {
                    self.counters.applied += 1;
                    self.locals.refused.remove(&op.address);
                }
                (_, Some(errno)) => self.local_refused(op, errno, now),
            }
        }
    }

    fn local_refused(&mut self, op: &LocalOp, errno: i32, now: Instant) {
        self.counters.errors += 1;
        match op.old {
            Some(old) => drop(self.locals.have.insert(op.address, old)),
            None => drop(self.locals.have.remove(&op.address)),
        }
        match errno {
            libc::EPERM => self.abilities.write = false,
            // Somebody's route came unheard, or ours stands.
            libc::EEXIST => self.asks.everything = true,
            _ => {}
        }
        let tries = self.locals.refused.get(&op.address).map_or(0, |r| r.tries);
        let delay = RETRY_MIN.saturating_mul(1 << tries.min(10)).min(RETRY_MAX);
        self.locals.refused.insert(op.address, Refused { errno, tries: tries + 1 });
        self.locals.later.insert(op.address, now + delay);
    }

    /// Where a route of ours leads that is one of these.
    pub(super) fn local_way(&self, route: &KernelRoute) -> Option<Way> {
        let host = route.prefix.prefix_len() == route.prefix.max_prefix_len();
        let ours = self.is_ours(route) && host && route.form.metric == LOCAL_METRIC;
        match &route.form.via {
            Via::Hops(hops) if ours => match hops.as_slice() {
                [(Hop { gateway, oif, onlink }, _)] if gateway.is_none() || *onlink => {
                    Some(Way { oif: *oif, gateway: *gateway })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Somebody wrote a route that looks like one of these.
    pub(super) fn local_here(&mut self, address: IpAddr, way: Way, now: Instant) {
        if self.locals.have.insert(address, way) != Some(way) {
            self.locals.later.insert(address, now + REPAIR_DELAY);
        }
    }

    /// Somebody, or the kernel, deleted one of these.
    pub(super) fn local_gone(&mut self, address: IpAddr, way: Way, origin: Origin, now: Instant) {
        if self.locals.have.get(&address) != Some(&way) {
            return;
        }
        self.locals.have.remove(&address);
        if origin == Origin::Other && self.locals.is_wished(&address) {
            self.counters.drift_repaired += 1;
        }
        // The kernel does so with the link, of which we hear in a moment.
        self.locals.later.insert(address, now + REPAIR_DELAY);
    }

    /// Somebody's route took the place of one of ours, with the same key.
    pub(super) fn local_displaced(&mut self, by: &KernelRoute) {
        if self.locals.holds(by.prefix, by.form.metric) {
            self.locals.lost(by.prefix.addr());
        }
    }

    /// A link came, changed its name or state, or went.
    pub(super) fn locals_over(&mut self, name: &str) {
        // They are few, and each may be over any link.
        self.locals.dirty.extend(self.locals.gateways.keys());
        if let Some(addresses) = self.locals.by_link.get(name) {
            self.locals.dirty.extend(addresses);
            for address in addresses {
                self.tracker.touch((*address).into());
            }
        }
    }

    /// The kernel dropped such of these as went over a link.
    pub(super) fn locals_lost_with(&mut self, index: u32, such: impl Fn(&IpAddr) -> bool) {
        let over = |(address, way): &(&IpAddr, &Way)| way.oif == index && such(address);
        let lost: Vec<IpAddr> = self.locals.have.iter().filter(over).map(|(a, _)| *a).collect();
        for address in lost {
            self.locals.lost(address);
        }
    }

    /// Something changed about who else claims an address.
    pub(super) fn local_claim_changed(&mut self, prefix: IpNet) {
        let address = prefix.addr();
        let host = prefix.prefix_len() == prefix.max_prefix_len();
        let locals = &mut self.locals;
        if host && locals.is_wished(&address) {
            locals.dirty.insert(address);
        }
        let behind = locals.gateways.iter().filter(|(_, gateway)| prefix.contains(*gateway));
        locals.dirty.extend(behind.map(|(address, _)| *address));
    }

    /// Makes our picture that of a reading; `excused` was under way meanwhile.
    pub(super) fn read_locals(
        &mut self,
        read: &BTreeMap<IpAddr, Way>,
        occasion: Occasion,
        excused: impl Fn(&IpNet) -> bool,
    ) {
        let mut addresses: BTreeSet<IpAddr> = self.locals.have.keys().copied().collect();
        addresses.extend(read.keys());
        for address in addresses {
            let is = read.get(&address).copied();
            if self.locals.have.get(&address).copied() == is || excused(&address.into()) {
                continue;
            }
            match is {
                Some(way) => drop(self.locals.have.insert(address, way)),
                None => drop(self.locals.have.remove(&address)),
            }
            if occasion == Occasion::Start
                && is.is_some_and(|way| !self.locals.all_told(way))
                && !self.locals.is_wished(&address)
            {
                self.locals.stale.insert(address);
            }
            self.locals.dirty.insert(address);
        }
    }

    /// Deletes all of them, for another table or protocol to have them.
    pub fn flush_locals(&mut self) -> Vec<LocalOp> {
        let have = std::mem::take(&mut self.locals.have);
        let op = |(address, way)| LocalOp { address, verb: Verb::Delete, way, old: None };
        have.into_iter().map(op).collect()
    }

    /// Deletes those to peers, which nobody wants any more.
    pub fn flush_gateways(&mut self) -> Vec<LocalOp> {
        let op = |(address, way)| LocalOp { address, verb: Verb::Delete, way, old: None };
        self.locals.gateways.clear();
        let behind = |_: &IpAddr, way: &mut Way| way.gateway.is_some();
        self.locals.have.extract_if(.., behind).map(op).collect()
    }

    /// Every address that is wished for or there, and how it stands.
    pub fn local_rows(&self) -> Vec<HostRoute> {
        let (first, last) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::from([0xff; 16]).into());
        self.locals.known_between(first, last).map(|address| self.host_route(address)).collect()
    }

    /// One of them.
    pub(super) fn host_route(&self, address: IpAddr) -> HostRoute {
        let have = self.locals.have.get(&address).copied();
        let way = gateways::way(self.view(), address).or(have);
        let wished = self.locals.wishes.get(&address).cloned();
        let link = wished.or_else(|| way.map(|way| self.links.name(way.oif)));
        let there = have.filter(|_| !self.locals.is_wished(&address)).and_then(|way| way.gateway);
        let gateway = self.locals.gateway_of(address).or(there);
        let state = self.local_state(address);
        HostRoute { address, gateway, link: link.unwrap_or_default(), state }
    }

    /// The link an address is wished over.
    pub fn local_wish(&self, address: IpAddr) -> Option<&str> {
        self.locals.link_of(address)
    }

    /// How an address stands.
    pub fn local_state(&self, address: IpAddr) -> HostRouteState {
        if !self.locals.is_wished(&address) {
            return HostRouteState::Unwanted;
        }
        if !self.may_write() {
            return HostRouteState::Off;
        }
        let busy = self.locals.in_flight.contains(&address) || self.locals.dirty.contains(&address);
        let behind = self.locals.gateway_of(address);
        match (gateways::way(self.view(), address), self.locals.have.get(&address)) {
            (Some(way), Some(have)) if way == *have && !busy => HostRouteState::Installed,
            (None, Some(have)) if behind.is_some() && have.gateway == behind && !busy => {
                HostRouteState::Installed
            }
            _ if busy => HostRouteState::Pending,
            (None, _) => HostRouteState::NoLink,
            (Some(_), _) => {
                match (self.locals.conflicts.get(&address), self.locals.refused.get(&address)) {
                    (Some(by), _) => HostRouteState::Conflict(by.clone()),
                    (None, Some(refused)) => HostRouteState::Refused(refused.errno),
                    (None, None) => HostRouteState::Pending,
                }
            }
        }
    }

    /// The kernel's form of one.
    pub fn local_form(op: &LocalOp) -> Form {
        let Way { oif, gateway } = op.way;
        let hop = Hop { gateway, oif, onlink: gateway.is_some() };
        Form { via: Via::Hops(vec![(hop, 1)]), metric: LOCAL_METRIC, prefsrc: None }
    }
}

#[cfg(test)]
mod tests;
