//! Routes to workloads: single addresses over a link that is named, not numbered, for links are made
//! again under the same name.
//!
//! They have a metric of their own, below any that BGP is given, so they stand beside BGP's routes
//! and win; by it, by the lack of a gateway and by the length of the prefix a fresh process knows
//! them. They stay when the process ends: workloads go on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{HostRoute, HostRouteConflict, HostRouteState};
use crate::plan::fact::{Form, Hop, KernelRoute, Origin, Via};
use crate::plan::readings::Occasion;
use crate::plan::state::State;
use crate::plan::work::{RETRY_MAX, RETRY_MIN, Verb};

/// Metric of these routes, IPv4 and IPv6.
pub const LOCAL_METRIC: u32 = 1;
/// What somebody else deletes is put back after this.
const REPAIR_DELAY: Duration = Duration::from_millis(100);

/// A write to one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOp {
    /// The workload's address.
    pub address: IpAddr,
    /// How.
    pub verb: Verb,
    /// Link, as it should be; for a deletion as it is.
    pub oif: u32,
    /// What stood there.
    old: Option<u32>,
}

/// What is wished and what is there.
#[derive(Debug, Default)]
pub struct Locals {
    wishes: BTreeMap<IpAddr, String>,
    /// Addresses by the link they are wished over.
    by_link: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Link by address, as the kernel has it, or will once what is under way is done.
    have: BTreeMap<IpAddr, u32>,
    dirty: BTreeSet<IpAddr>,
    in_flight: BTreeSet<IpAddr>,
    refused: BTreeMap<IpAddr, Refused>,
    conflicts: BTreeMap<IpAddr, HostRouteConflict>,
    /// To be looked at from these moments on.
    later: BTreeMap<IpAddr, Instant>,
    /// Left by a former process; they stay until all wishes of this start were told.
    stale: BTreeSet<IpAddr>,
    in_sync: bool,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
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
        self.have
            .keys()
            .filter(|a| self.wishes.contains_key(a) && !self.in_flight.contains(a))
            .count()
    }

    /// Addresses from one to another that are wished for or there, in order.
    pub fn known_between(&self, from: IpAddr, to: IpAddr) -> impl Iterator<Item = IpAddr> {
        let range = (from <= to).then_some(from..=to); // `range` would panic
        let keys = |range| self.wishes.range(range).map(|(address, _)| *address);
        let mut wished = range.clone().into_iter().flat_map(keys).peekable();
        let there = range.into_iter().flat_map(|range| self.have.range(range));
        let stale = there.map(|(address, _)| *address);
        let mut stale = stale.filter(|address| !self.wishes.contains_key(address)).peekable();
        std::iter::from_fn(move || match (wished.peek(), stale.peek()) {
            (Some(a), Some(b)) if a > b => stale.next(),
            (Some(_), _) => wished.next(),
            (None, _) => stale.next(),
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
            dirty: self.wishes.keys().copied().collect(),
            in_sync: self.in_sync,
            ..Self::default()
        }
    }

    fn lost(&mut self, address: IpAddr) {
        self.have.remove(&address);
        self.dirty.insert(address);
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
        if self.locals.in_sync {
            return;
        }
        self.locals.in_sync = true;
        self.locals.dirty.append(&mut self.locals.stale);
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
        let wished = self.locals.wishes.get(&address);
        let link = wished.and_then(|name| self.links.usable(name));
        let conflict = link.and_then(|oif| self.local_conflict(address, oif));
        match conflict {
            Some(by) => drop(self.locals.conflicts.insert(address, by)),
            None => drop(self.locals.conflicts.remove(&address)),
        }
        let op = |verb, oif| Some(LocalOp { address, verb, oif, old: have });
        let done = match (link, have) {
            (Some(oif), Some(old)) if oif == old => None,
            // What stands in the way of a new one is no reason to take down what works.
            (Some(_), _) if self.locals.conflicts.contains_key(&address) => None,
            (Some(oif), None) => op(Verb::Add, oif),
            (Some(oif), Some(_)) => op(Verb::Replace, oif),
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
            Verb::Add | Verb::Replace => drop(self.locals.have.insert(address, done.oif)),
        }
        Some(done)
    }

    /// Who else says where an address is.
    fn local_conflict(&self, address: IpAddr, oif: u32) -> Option<HostRouteConflict> {
        if self.links.is_own(address) {
            return Some(HostRouteConflict::OwnAddress);
        }
        let mut others = self.foreign.at(self.config.table, address.into()).map(|(_, kind)| kind);
        let found = others.find(|kind| {
            let elsewhere = match &kind.form.via {
                Via::Hops(hops) => hops.iter().any(|(h, _)| h.gateway.is_none() && h.oif != oif),
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

    /// The link of a route that is a workload's and ours.
    pub(super) fn local_link(&self, route: &KernelRoute) -> Option<u32> {
        let host = route.prefix.prefix_len() == route.prefix.max_prefix_len();
        let ours = self.is_ours(route) && host && route.form.metric == LOCAL_METRIC;
        match &route.form.via {
            Via::Hops(hops) if ours => match hops.as_slice() {
                [(Hop { gateway: None, oif, .. }, _)] => Some(*oif),
                _ => None,
            },
            _ => None,
        }
    }

    /// Somebody wrote a route that looks like one of these.
    pub(super) fn local_here(&mut self, address: IpAddr, oif: u32, now: Instant) {
        if self.locals.have.insert(address, oif) != Some(oif) {
            self.locals.later.insert(address, now + REPAIR_DELAY);
        }
    }

    /// Somebody, or the kernel, deleted one of these.
    pub(super) fn local_gone(&mut self, address: IpAddr, oif: u32, origin: Origin, now: Instant) {
        if self.locals.have.get(&address) != Some(&oif) {
            return;
        }
        self.locals.have.remove(&address);
        if origin == Origin::Other && self.locals.wishes.contains_key(&address) {
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
        if let Some(addresses) = self.locals.by_link.get(name) {
            self.locals.dirty.extend(addresses);
            for address in addresses {
                self.tracker.touch((*address).into());
            }
        }
    }

    /// The kernel dropped such of these as went over a link.
    pub(super) fn locals_lost_with(&mut self, index: u32, such: impl Fn(&IpAddr) -> bool) {
        let over = |(address, oif): &(&IpAddr, &u32)| **oif == index && such(address);
        let lost: Vec<IpAddr> = self.locals.have.iter().filter(over).map(|(a, _)| *a).collect();
        for address in lost {
            self.locals.lost(address);
        }
    }

    /// Something changed about who else claims an address.
    pub(super) fn local_claim_changed(&mut self, prefix: IpNet) {
        let address = prefix.addr();
        let host = prefix.prefix_len() == prefix.max_prefix_len();
        if host && self.locals.wishes.contains_key(&address) {
            self.locals.dirty.insert(address);
        }
    }

    /// Makes our picture that of a reading; `excused` was under way meanwhile.
    pub(super) fn read_locals(
        &mut self,
        read: &BTreeMap<IpAddr, u32>,
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
                Some(oif) => drop(self.locals.have.insert(address, oif)),
                None => drop(self.locals.have.remove(&address)),
            }
            if occasion == Occasion::Start
                && !self.locals.in_sync
                && !self.locals.wishes.contains_key(&address)
            {
                self.locals.stale.insert(address);
            }
            self.locals.dirty.insert(address);
        }
    }

    /// Deletes all of them, for another table or protocol to have them.
    pub fn flush_locals(&mut self) -> Vec<LocalOp> {
        let have = std::mem::take(&mut self.locals.have);
        let op = |(address, oif)| LocalOp { address, verb: Verb::Delete, oif, old: None };
        have.into_iter().map(op).collect()
    }

    /// Every address that is wished for or there, and how it stands.
    pub fn local_rows(&self) -> Vec<HostRoute> {
        let (first, last) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::from([0xff; 16]).into());
        self.locals.known_between(first, last).map(|address| self.host_route(address)).collect()
    }

    /// One of them.
    pub(super) fn host_route(&self, address: IpAddr) -> HostRoute {
        let have = || self.locals.have.get(&address).map(|oif| self.links.name(*oif));
        let link = self.locals.wishes.get(&address).cloned().or_else(have);
        HostRoute { address, link: link.unwrap_or_default(), state: self.local_state(address) }
    }

    /// The link an address is wished over.
    pub fn local_wish(&self, address: IpAddr) -> Option<&str> {
        self.locals.link_of(address)
    }

    /// How an address stands.
    pub fn local_state(&self, address: IpAddr) -> HostRouteState {
        let Some(name) = self.locals.wishes.get(&address) else { return HostRouteState::Unwanted };
        if !self.may_write() {
            return HostRouteState::Off;
        }
        let busy = self.locals.in_flight.contains(&address) || self.locals.dirty.contains(&address);
        let there = self.links.usable(name);
        match (there, self.locals.have.get(&address)) {
            (Some(oif), Some(have)) if oif == *have && !busy => HostRouteState::Installed,
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
        let hop = Hop { gateway: None, oif: op.oif, onlink: false };
        Form { via: Via::Hops(vec![(hop, 1)]), metric: LOCAL_METRIC, prefsrc: None }
    }
}

#[cfg(test)]
mod tests;
