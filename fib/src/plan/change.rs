//! Another configuration, the end, and figures.

use std::time::Instant;

use ipnet::IpNet;

use crate::api::{FibConfig, FibEvent, FibStatus};
use crate::plan::fact::{ObjectKind, Via};
use crate::plan::key::Key;
use crate::plan::links::Links;
use crate::plan::objects::ObjectOp;
use crate::plan::routes::Want;
use crate::plan::state::{Abilities, State};
use crate::plan::work::{RouteOp, Verb};

impl State {
    /// The configuration in force.
    pub fn config(&self) -> &FibConfig {
        &self.config
    }

    /// Links and addresses.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Whether we may write, as far as we know.
    pub fn may_write(&self) -> bool {
        self.abilities.write && self.config.enabled
    }

    /// Whether routes point at next-hop objects.
    pub fn uses_objects(&self) -> bool {
        self.abilities.objects
    }

    /// Prefixes that wait to be looked at.
    pub fn waiting(&self) -> usize {
        if self.may_write() { self.routes.waiting() } else { 0 }
    }

    /// Prefixes found held by somebody else of the same metric since the last call, and the
    /// protocols of these routes; few, for they come with plans.
    pub fn take_conflicts(&mut self) -> Vec<(IpNet, u8)> {
        std::mem::take(&mut self.new_conflicts)
    }

    /// Of these, those whose turn has come: what changes no packet's way is not among them.
    pub fn waiting_soon(&self) -> usize {
        if self.may_write() { self.routes.waiting_soon() } else { 0 }
    }

    /// What this side of [`FibStatus`] knows.
    pub fn figures(&self) -> FibStatus {
        FibStatus {
            routes_v4: self.routes.v4.installed(),
            routes_v6: self.routes.v6.installed(),
            pending: self.waiting()
                + self.in_flight.len()
                + self.drift.prefixes.len()
                + if self.may_write() { self.locals.pending() } else { 0 },
            failed: self.failed.len(),
            conflicts: self.conflicts.len(),
            host_routes: self.locals.installed(),
            applied: self.counters.applied,
            errors: self.counters.errors,
            drift_repaired: self.counters.drift_repaired,
            ..FibStatus::default()
        }
    }

    /// Takes a configuration of the same table and protocol.
    pub fn reconfigured(&mut self, config: FibConfig, objects: bool) {
        let learned = self.learned_anew(&config);
        self.events.extend(learned);
        self.config = config;
        self.tell_hosts();
        if self.abilities.objects != objects {
            self.abilities.objects = objects;
            for id in self.set_ids() {
                if let Some(set) = self.wishes.set_mut(id) {
                    set.group = None;
                }
                self.dirty_sets.insert(id);
            }
            self.group_owner.clear();
        }
        for spec in self.wishes.spec_ids() {
            self.reconsider(spec);
        }
        self.tracker.touch_all();
    }

    /// What redistribution must hear when the configuration becomes this one: routes known all along
    /// in tables that are now learned from, and the end of those in tables that no longer are.
    fn learned_anew(&self, config: &FibConfig) -> Vec<FibEvent> {
        let same = self.config.learn_tables == config.learn_tables
            && self.config.protocol == config.protocol;
        if same {
            return Vec::new();
        }
        let mut events = Vec::new();
        for route in self.foreign.routes() {
            match (self.told_under(&self.config, &route), self.told_under(config, &route)) {
                (None, Some(learned)) => events.push(FibEvent::Learned(learned, true)),
                (Some(learned), None) => events.push(FibEvent::Learned(learned, false)),
                _ => {}
            }
        }
        events
    }

    /// The same wishes and watchers for another table or protocol; knows nothing of the kernel.
    pub fn moved(&self, config: FibConfig, abilities: Abilities, now: Instant) -> Self {
        let mut learned = self.learned_anew(&config);
        learned.extend(self.hosts_dropped_by(&config));
        let mut new = Self::new(config, abilities);
        new.events = learned;
        new.in_sync = self.in_sync;
        new.locals = self.locals.carried_over();
        new.addresses = self.addresses.carried_over();
        new.counters = self.counters;
        let v4 = self.routes.v4.iter().map(|(k, e)| (k.net(), e.want()));
        let v6 = self.routes.v6.iter().map(|(k, e)| (k.net(), e.want()));
        for (prefix, want) in v4.chain(v6) {
            if let Want::Spec(id) = want
                && let Some(spec) = self.wishes.spec(id)
            {
                let id = new.hold_wish(&spec.wish, now);
                new.want(prefix, Some(id), now);
                new.release_wish(id, now);
            }
        }
        for (next_hop, watchers) in self.tracker.watched() {
            for _ in 0..watchers {
                new.track(next_hop);
            }
        }
        new
    }

    /// Everything of ours in the next-hop objects, groups first, in lots.
    pub fn flush_objects(&mut self) -> Vec<Vec<ObjectOp>> {
        let ours: Vec<u32> =
            self.objects.ids().into_iter().filter(|id| self.objects.has_ours(*id)).collect();
        let is_group = |id: &u32| matches!(self.objects.kind(*id), Some(ObjectKind::Group(_)));
        let (groups, hops): (Vec<u32>, Vec<u32>) = ours.into_iter().partition(is_group);
        [groups, hops]
            .into_iter()
            .flat_map(|ids| {
                let lots: Vec<Vec<u32>> = ids.chunks(256).map(<[u32]>::to_vec).collect();
                lots
            })
            .map(|lot| lot.into_iter().map(ObjectOp::Delete).collect())
            .collect()
    }

    /// Deletes every route of ours that did not go with its next-hop object. Nothing is planned any
    /// more.
    ///
    /// Far from each other one after the other: taken out of the kernel's trie from one end to the
    /// other, a million routes took 6.5 s instead of 1.6 s (`fib/examples/push.rs --objects off`).
    pub fn flush_routes(&mut self) -> Vec<RouteOp> {
        self.flushing = true;
        let stands = |form: &u32| match self.forms.at(*form).map(|form| &form.via) {
            Some(Via::Object(id)) => self.objects.kind(*id).is_some(),
            _ => true,
        };
        let v4 = self.routes.v4.iter().map(|(key, entry)| (key.net(), entry.have().form()));
        let v6 = self.routes.v6.iter().map(|(key, entry)| (key.net(), entry.have().form()));
        let extras = self.extras.iter().map(|((prefix, _), form)| (*prefix, Some(*form)));
        let mut ops: Vec<RouteOp> = v4
            .chain(v6)
            .chain(extras)
            .filter_map(|(prefix, form)| {
                let form = form.filter(stands)?;
                Some(RouteOp { prefix, verb: Verb::Delete, form })
            })
            .collect();
        ops.sort_unstable_by_key(|op| (scattered(op.prefix), op.prefix.prefix_len(), op.form));
        for op in &ops {
            self.forms.again(op.form);
        }
        ops
    }

    fn set_ids(&self) -> Vec<u32> {
        self.wishes.sets().map(|(id, _)| id).collect()
    }
}

/// A place that is far from those of the neighbours.
fn scattered(prefix: IpNet) -> u128 {
    match prefix {
        IpNet::V4(net) => u128::from(u32::from(net.addr()).reverse_bits()),
        IpNet::V6(net) => u128::from(net.addr()).reverse_bits(),
    }
}
