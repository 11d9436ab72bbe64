//! Which next hops are followed, and whom a change of a route concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{BgpNextHop, FibEvent, Resolution};
use crate::plan::fact::{Hops, Via};
use crate::plan::key::addresses;
use crate::plan::resolve::Resolved;

/// Next hops that are followed.
#[derive(Debug, Default)]
pub struct Tracker {
    tracked: BTreeMap<BgpNextHop, Tracked>,
    /// Addresses that were looked up for a next hop: a route to one concerns it.
    asked: BTreeMap<IpAddr, BTreeSet<BgpNextHop>>,
    /// To be resolved anew.
    stale: BTreeSet<BgpNextHop>,
    /// Reachable again, told at this moment unless that changes.
    held: BTreeMap<BgpNextHop, Instant>,
}

#[derive(Debug, Default)]
struct Tracked {
    watchers: u32,
    sets: BTreeSet<u32>,
    now: Option<Resolved>,
    asked: Vec<IpAddr>,
    told: Told,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Said(Option<Resolution>),
}

/// A next hop that comes back is told after this: a link that comes up brings several changes.
pub const DAMPING: Duration = Duration::from_millis(100);

impl Tracker {
    /// Somebody wants to be told about it.
    pub fn watch(&mut self, next_hop: BgpNextHop) {
        let t = self.tracked.entry(next_hop).or_default();
        t.watchers += 1;
        t.told = Told::Nothing;
        self.held.remove(&next_hop);
        self.stale.insert(next_hop);
    }

    /// No more.
    pub fn unwatch(&mut self, next_hop: BgpNextHop) {
        if let Some(t) = self.tracked.get_mut(&next_hop) {
            t.watchers = t.watchers.saturating_sub(1);
        }
        self.forget_idle(next_hop);
    }

    /// A set of next hops needs it.
    pub fn join(&mut self, next_hop: BgpNextHop, set: u32) {
        self.tracked.entry(next_hop).or_default().sets.insert(set);
        self.stale.insert(next_hop);
    }

    /// No more.
    pub fn leave(&mut self, next_hop: BgpNextHop, set: u32) {
        if let Some(t) = self.tracked.get_mut(&next_hop) {
            t.sets.remove(&set);
        }
        self.forget_idle(next_hop);
    }

    /// Routes to this prefix changed.
    pub fn touch(&mut self, prefix: IpNet) {
        if self.asked.is_empty() {
            return;
        }
        let (first, last) = addresses(prefix);
        for who in self.asked.range(first..=last).map(|(_, who)| who) {
            self.stale.extend(who.iter().copied());
        }
    }

    /// Something changed that concerns all.
    pub fn touch_all(&mut self) {
        self.stale.extend(self.tracked.keys().copied());
    }

    /// The next one to resolve anew.
    pub fn next_stale(&mut self) -> Option<BgpNextHop> {
        self.stale.pop_first()
    }

    /// A new resolution; the sets it changes the hops of.
    pub fn resolved(
        &mut self,
        next_hop: BgpNextHop,
        now: Option<Resolved>,
        asked: Vec<IpAddr>,
        at: Instant,
        events: &mut Vec<FibEvent>,
    ) -> Vec<u32> {
        let Some(t) = self.tracked.get_mut(&next_hop) else { return Vec::new() };
        let old_asked = std::mem::replace(&mut t.asked, asked);
        if old_asked != t.asked {
            for address in old_asked {
                if let Some(who) = self.asked.get_mut(&address) {
                    who.remove(&next_hop);
                    if who.is_empty() {
                        self.asked.remove(&address);
                    }
                }
            }
            for address in &t.asked {
                self.asked.entry(*address).or_default().insert(next_hop);
            }
        }
        let hops = |r: &Option<Resolved>| r.as_ref().map(|r| r.hops.clone()).unwrap_or_default();
        let discard = |r: &Option<Resolved>| r.as_ref().and_then(|r| r.discard.clone());
        let moved = hops(&t.now) != hops(&now) || discard(&t.now) != discard(&now);
        let says = now.as_ref().map(|r| r.told.clone());
        t.now = now;
        if t.watchers > 0 {
            let back = t.told == Told::Said(None) && says.is_some();
            if t.told == Told::Said(says.clone()) {
                self.held.remove(&next_hop);
            } else if back {
                self.held.entry(next_hop).or_insert(at + DAMPING);
            } else {
                self.held.remove(&next_hop);
                t.told = Told::Said(says.clone());
                events.push(FibEvent::NextHop(next_hop, says));
            }
        }
        if moved { t.sets.iter().copied().collect() } else { Vec::new() }
    }

    /// Tells what was held back long enough.
    pub fn tell_held(&mut self, at: Instant, events: &mut Vec<FibEvent>) {
        let due: Vec<_> =
            self.held.iter().filter(|(_, when)| **when <= at).map(|(n, _)| *n).collect();
        for next_hop in due {
            self.held.remove(&next_hop);
            let Some(t) = self.tracked.get_mut(&next_hop) else { continue };
            let says = t.now.as_ref().map(|r| r.told.clone());
            t.told = Told::Said(says.clone());
            events.push(FibEvent::NextHop(next_hop, says));
        }
    }

    /// When [`tell_held`](Self::tell_held) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }

    /// How what is sent to a next hop is dropped, if it is.
    pub fn discard(&self, next_hop: &BgpNextHop) -> Option<Via> {
        self.tracked.get(next_hop)?.now.as_ref()?.discard.clone()
    }

    /// Where a next hop leads now; empty = nowhere, or it is our own address.
    pub fn hops(&self, next_hop: &BgpNextHop) -> Hops {
        let now = self.tracked.get(next_hop).and_then(|t| t.now.as_ref());
        now.map(|r| r.hops.clone()).unwrap_or_default()
    }

    /// All that somebody watches: how often.
    pub fn watched(&self) -> Vec<(BgpNextHop, u32)> {
        let watched = self.tracked.iter().filter(|(_, t)| t.watchers > 0);
        watched.map(|(n, t)| (*n, t.watchers)).collect()
    }

    fn forget_idle(&mut self, next_hop: BgpNextHop) {
        let idle =
            self.tracked.get(&next_hop).is_some_and(|t| t.watchers == 0 && t.sets.is_empty());
        if !idle {
            return;
        }
        let Some(t) = self.tracked.remove(&next_hop) else { return };
        self.stale.remove(&next_hop);
        self.held.remove(&next_hop);
        for address in t.asked {
            if let Some(who) = self.asked.get_mut(&address) {
                who.remove(&next_hop);
                if who.is_empty() {
                    self.asked.remove(&address);
                }
            }
        }
    }
}
