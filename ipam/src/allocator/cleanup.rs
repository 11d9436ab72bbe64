//! When the collector looks, and what it is shown.

use std::time::Duration;

use ipnet::IpNet;

use super::{Allocator, Asker, Scene, Unreadable};
use crate::{gc::Collector, plan::Ask, time::Now};

/// The shortest time between two looks.
const LEAST: Duration = Duration::from_secs(1);
/// Between two looks for blocks to adopt when nothing else is collected.
const UNHURRIED: Duration = Duration::from_secs(60);

impl Allocator {
    /// Something changed that may have left something behind: the collector looks soon.
    pub(super) fn look_soon(&mut self, now: Now) {
        self.next_collection = self.next_collection.min(now.steady.saturating_add(LEAST));
    }

    /// A block that came as this node's and is not yet ours, claimed for it by another one, is
    /// adopted soon.
    pub(super) fn look_at_orphans(&mut self, now: Now, changed: &[IpNet]) {
        let host = &self.config.host;
        let is_orphan = |cidr: &IpNet| {
            let owner = self.view.block(*cidr).and_then(|(_, block)| block.owner());
            owner.is_some_and(|owner| owner.node == host.node && owner != host)
        };
        if changed.iter().any(is_orphan) {
            self.look_soon(now);
        }
    }

    /// Asks for what the collector finds, twice in each grace and when a node stops counting as
    /// alive, once the last findings are worked off.
    pub(super) fn collect(&mut self, now: Now) {
        if self.next_look().is_none_or(|at| now.steady < at) {
            return;
        }
        let grace = self.config.grace;
        let pause = if grace.is_zero() { UNHURRIED } else { (grace / 2).max(LEAST) };
        self.next_collection = now.steady.saturating_add(pause);
        self.look_at_ends(now);
        let spared = self.spared();
        let scene = Scene {
            host: &self.config.host,
            view: &self.view,
            pools: &self.pools,
            settings: &self.settings,
            leases: &self.leases,
            now,
            grace,
        };
        let mut asks = Vec::new();
        if Collector::has_orphans(scene) {
            asks.push(Ask::Adopt);
        }
        if !grace.is_zero() {
            if let Some(evidence) = &self.evidence {
                asks.extend(self.collector.leaks(scene, evidence, &spared));
            }
            asks.extend(self.collector.idle_blocks(scene));
            let leavers = self.collector.leavers(scene, &self.gone);
            if self.proof.has(&leavers, now.steady) {
                asks.extend(self.collector.departed(scene, &self.gone));
            } else {
                self.look_for(leavers);
            }
        }
        for ask in asks {
            self.enqueue(Asker::Collector, ask, None);
        }
    }

    /// Looks no later than when the next node stops counting as alive.
    pub(super) fn look_at_ends(&mut self, now: Now) {
        if let Some(end) = self.leases.next_end(now.steady) {
            self.next_collection = self.next_collection.min(end);
        }
    }

    /// When the collector looks next; `None` while it cannot.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let may = self.is_ready() && self.may_collect() && !self.is_collecting();
        may.then_some(self.next_collection)
    }

    /// Whether what is not used may be taken back.
    pub(super) fn may_collect(&self) -> bool {
        !self.locked && self.unreadable == Unreadable::default()
    }

    fn is_collecting(&self) -> bool {
        let waiting = self.queue.iter().any(|waiting| waiting.asker == Asker::Collector);
        waiting || self.flight.as_ref().is_some_and(super::Flight::is_collecting)
    }
}
