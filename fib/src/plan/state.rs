//! All that is known and wished, and the moves between: no sockets, no clock.
//!
//! Facts, wishes and orders go in; [`State::settle`] draws the conclusions; then the shell pulls
//! object operations and route operations ([`work`](super::work)) and says what became of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{BgpNextHop, FibConfig, FibEvent, Source, Target, Wish};
use crate::plan::addresses::Addresses;
use crate::plan::fact::{Form, KernelRoute, Via};
use crate::plan::foreign::Foreign;
use crate::plan::intern::Interner;
use crate::plan::links::Links;
use crate::plan::locals::Locals;
use crate::plan::objects::Objects;
use crate::plan::resolve::{View, resolve};
use crate::plan::routes::{Entry, Have, Routes, Want};
use crate::plan::track::Tracker;
use crate::plan::weights::{self, Share};
use crate::plan::wishes::{Outcome, Set, Wishes};

/// Prefixes with a write on its way.
pub type InFlight = HashSet<IpNet, foldhash::fast::RandomState>;

/// What the kernel can do and we may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Routes point at next-hop objects.
    pub objects: bool,
    /// We may write.
    pub write: bool,
}

/// Everything.
#[derive(Debug)]
pub struct State {
    pub(super) config: FibConfig,
    pub(super) abilities: Abilities,
    pub(super) links: Links,
    pub(super) foreign: Foreign,
    pub(super) objects: Objects,
    pub(super) routes: Routes,
    pub(super) wishes: Wishes,
    pub(super) tracker: Tracker,
    pub(super) forms: Interner<Form>,
    /// Live forms per object: as long as there are any, routes may use it.
    pub(super) form_users: BTreeMap<u32, u32>,
    /// Routes of ours beside the one at their prefix: other metrics.
    pub(super) extras: BTreeMap<(IpNet, u32), u32>,
    /// Wishes whose outcome changed: their prefixes must be looked at.
    pub(super) stale_specs: BTreeSet<u32>,
    /// Wishes somebody could not be given.
    pub(super) missed: BTreeSet<u32>,
    pub(super) dirty_sets: BTreeSet<u32>,
    /// Sources that have ended, the latest [`ENDED_KEPT`] of them: wishes that still name one may be
    /// on their way.
    pub(super) ended: BTreeSet<Source>,
    /// The set each group of ours was made for.
    pub(super) group_owner: BTreeMap<u32, u32>,
    /// Objects that went: so did their routes.
    pub(super) gone_objects: BTreeSet<u32>,
    /// Sets that wait for a moment: to be given up, or tried again.
    pub(super) clocked: BTreeSet<u32>,
    pub(super) failed: BTreeMap<IpNet, Failure>,
    pub(super) retry_at: Option<Instant>,
    pub(super) conflicts: BTreeSet<IpNet>,
    /// Those found since they were last asked for, and the protocol that stands there.
    pub(super) new_conflicts: Vec<(IpNet, u8)>,
    pub(super) drift: Drift,
    /// Routes to workloads, and to peers behind gateways.
    pub(super) locals: Locals,
    /// Addresses of ours that peers call.
    pub(super) addresses: Addresses,
    /// Own host addresses that redistribution was told of.
    pub(super) hosts: BTreeSet<IpNet>,
    pub(super) in_sync: bool,
    /// Everything goes: no wish counts any more.
    pub(super) flushing: bool,
    pub(super) in_flight: InFlight,
    pub(super) gc_at: Option<Instant>,
    pub(super) touched: Option<BTreeSet<IpNet>>,
    pub(super) events: Vec<FibEvent>,
    pub(super) asks: Asks,
    pub(super) counters: Counters,
}

/// A wish the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// How often.
    pub tries: u32,
    /// When to try again.
    pub at: Instant,
}

/// Routes others took away, put back after a while: the more often, the longer.
#[derive(Debug, Default)]
pub struct Drift {
    /// Prefix, and whether somebody did it (the kernel itself does not count).
    pub prefixes: BTreeMap<IpNet, bool>,
    /// When they are put back.
    pub due: Option<Instant>,
    /// When they were last.
    pub last: Option<Instant>,
    /// The present delay.
    pub delay: Duration,
}

/// What the shell should read for us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    /// All next-hop objects: some may be gone unheard.
    pub objects: bool,
    /// Everything: the kernel surprised us.
    pub everything: bool,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Routes written.
    pub applied: u64,
    /// Refusals.
    pub errors: u64,
    /// Routes and objects put back.
    pub drift_repaired: u64,
    /// Next-hop objects and groups written.
    pub objects_written: u64,
}

/// Ended sources that are remembered: wishes that name one stop a moment after it has ended.
pub const ENDED_KEPT: usize = 4096;
/// First delay before drift is repaired; doubles while it goes on.
pub const DRIFT_MIN: Duration = Duration::from_millis(100);
/// Longest.
pub const DRIFT_MAX: Duration = Duration::from_secs(5);
/// Without drift for so long, the delay is short again.
pub const DRIFT_QUIET: Duration = Duration::from_secs(10);

impl State {
    /// Nothing known, nothing wished.
    pub fn new(config: FibConfig, abilities: Abilities) -> Self {
        let objects = Objects::new(config.protocol);
        Self {
            config,
            abilities,
            links: Links::default(),
            foreign: Foreign::default(),
            objects,
            routes: Routes::default(),
            wishes: Wishes::default(),
            tracker: Tracker::default(),
            forms: Interner::default(),
            form_users: BTreeMap::new(),
            extras: BTreeMap::new(),
            stale_specs: BTreeSet::new(),
            missed: BTreeSet::new(),
            dirty_sets: BTreeSet::new(),
            ended: BTreeSet::new(),
            gone_objects: BTreeSet::new(),
            clocked: BTreeSet::new(),
            group_owner: BTreeMap::new(),
            failed: BTreeMap::new(),
            retry_at: None,
            conflicts: BTreeSet::new(),
            new_conflicts: Vec::new(),
            drift: Drift::default(),
            locals: Locals::default(),
            addresses: Addresses::default(),
            hosts: BTreeSet::new(),
            in_sync: false,
            flushing: false,
            in_flight: InFlight::default(),
            gc_at: None,
            touched: None,
            events: Vec::new(),
            asks: Asks::default(),
            counters: Counters::default(),
        }
    }

    /// A wish by number, held until [`release_wish`](Self::release_wish).
    pub fn hold_wish(&mut self, wish: &Wish, now: Instant) -> u32 {
        let (spec, new_set) = self.wishes.hold(wish);
        if let Some(set) = new_set {
            for next_hop in self.wishes.set(set).into_iter().flat_map(|s| s.ways.next_hops()) {
                self.tracker.join(next_hop, set);
            }
            self.resolve_stale(now);
            self.retarget(set, now);
        }
        // A set that was idle may have been passed over.
        let set = self.wishes.spec(spec).and_then(|s| s.set);
        self.dirty_sets.extend(set);
        self.reconsider(spec);
        spec
    }

    /// Lets a wish go.
    pub fn release_wish(&mut self, spec: u32, now: Instant) {
        if let Some(outcome) = self.wishes.release(spec, now) {
            for outcome in outcome {
                if let Outcome::Form(id) = outcome {
                    self.release_form(id);
                }
            }
            self.missed.remove(&spec);
            self.stale_specs.remove(&spec);
            self.gc_soon(now);
        }
    }

    /// Says what a prefix should do: a wish held by number, or nothing.
    pub fn want(&mut self, prefix: IpNet, spec: Option<u32>, now: Instant) {
        let want = spec.map_or(Want::Nothing, Want::Spec);
        let old = self.routes.update(prefix, |e| {
            if e.want() != want {
                e.set_want(want);
                e.queue();
            }
        });
        if old.want() != want {
            self.rewished(prefix, spec, old, now);
        }
    }

    /// What follows from another wish for a prefix.
    pub(super) fn rewished(&mut self, prefix: IpNet, spec: Option<u32>, old: Entry, now: Instant) {
        if let Some(id) = spec {
            self.wishes.again(id);
            self.claim(id, old.have());
        }
        if let Want::Spec(id) = old.want() {
            self.release_wish(id, now);
        }
        if !self.failed.is_empty() {
            self.failed.remove(&prefix);
        }
        if !self.conflicts.is_empty() {
            self.conflicts.remove(&prefix);
        }
        self.tracker.touch(prefix);
    }

    /// A source has ended: what hangs on it alone moves to its backup.
    pub fn source_down(&mut self, source: Source, now: Instant) {
        self.ended.insert(source);
        if self.ended.len() > ENDED_KEPT {
            self.ended.pop_first();
        }
        let sets = self.wishes.sets().filter(|(_, set)| set.ways.names(source));
        for id in sets.map(|(id, _)| id).collect::<Vec<_>>() {
            self.retarget(id, now);
        }
    }

    /// Follows a next hop for somebody.
    pub fn track(&mut self, next_hop: BgpNextHop) {
        self.tracker.watch(next_hop);
    }

    /// No more.
    pub fn untrack(&mut self, next_hop: BgpNextHop) {
        self.tracker.unwatch(next_hop);
    }

    /// The sources have said all: what is stale now goes.
    pub fn sources_in_sync(&mut self, now: Instant) {
        if self.in_sync {
            return;
        }
        self.in_sync = true;
        self.routes.sweep(|e| e.want() == Want::Stale, |_, e| e.set_want(Want::Nothing));
        for (prefix, _) in self.extras.keys() {
            self.routes.enqueue(*prefix);
        }
        self.stale_specs.extend(self.missed.iter().copied());
        self.gc_soon(now);
    }

    /// Draws the conclusions of everything that came in.
    pub fn settle(&mut self, now: Instant) {
        let gone = std::mem::take(&mut self.gone_objects);
        if !gone.is_empty() {
            self.forget_forms(|form| matches!(form.via, Via::Object(id) if gone.contains(&id)));
        }
        self.resolve_stale(now);
        self.tracker.tell_held(now, &mut self.events);
        self.flush_drift(now);
        self.retry_failed(now);
        if !self.stale_specs.is_empty() {
            let stale = std::mem::take(&mut self.stale_specs);
            self.missed.retain(|id| !stale.contains(id));
            self.routes
                .sweep(|e| matches!(e.want(), Want::Spec(id) if stale.contains(&id)), |_, _| {});
        }
    }

    /// When [`settle`](Self::settle) or planning has something to do although nothing came in.
    pub fn deadline(&self) -> Option<Instant> {
        let clocked = self.clocked.iter().filter_map(|id| self.wishes.set(*id));
        let sets = clocked.filter_map(|set| set.due(self.in_sync)).min();
        let gc = self.gc_at.filter(|_| self.in_sync);
        let locals = self.locals.deadline();
        let addresses = self.addresses.deadline();
        [self.tracker.deadline(), self.drift.due, self.retry_at, gc, sets, locals, addresses]
            .into_iter()
            .flatten()
            .min()
    }

    /// Events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<FibEvent> {
        std::mem::take(&mut self.events)
    }

    /// What the shell should read, since the last call.
    pub fn take_asks(&mut self) -> Asks {
        std::mem::take(&mut self.asks)
    }

    /// What a resolution looks at.
    pub(super) fn view(&self) -> View<'_> {
        View {
            config: &self.config,
            links: &self.links,
            foreign: &self.foreign,
            objects: &self.objects,
            routes: &self.routes,
            wishes: &self.wishes,
            locals: &self.locals,
        }
    }

    /// Resolves what a change concerned, and retargets the sets that moved.
    pub(super) fn resolve_stale(&mut self, now: Instant) {
        let mut moved = BTreeSet::new();
        while let Some(next_hop) = self.tracker.next_stale() {
            let mut asked = Vec::new();
            let found = resolve(self.view(), &next_hop, &mut asked);
            moved.extend(self.tracker.resolved(next_hop, found, asked, now, &mut self.events));
        }
        for set in moved {
            self.retarget(set, now);
        }
    }

    /// Where a set should lead now.
    pub(super) fn retarget(&mut self, id: u32, now: Instant) {
        let Some(set) = self.wishes.set_mut(id) else { return };
        let tracker = &self.tracker;
        let share = |(next_hop, weight): &(BgpNextHop, u16)| Share {
            weight: *weight,
            hops: tracker.hops(next_hop),
        };
        let merged = |members: &mut dyn Iterator<Item = &(BgpNextHop, u16)>| {
            weights::merge(&members.map(share).collect::<Vec<_>>())
        };
        let backup = set.ways.backup.filter(|(_, source)| !self.ended.contains(source));
        let backup = backup.map(|(next_hop, _)| merged(&mut [(next_hop, 1)].iter()));
        let mut standby = backup.unwrap_or_default();
        let discarded = |members: &mut dyn Iterator<Item = &(BgpNextHop, u16)>| {
            members.filter_map(|(next_hop, _)| tracker.discard(next_hop)).next()
        };
        let mut target = merged(&mut set.ways.living(&self.ended));
        let mut discard = None;
        if target.is_empty() {
            // Dropping is what was wished for: that is no reason to go another way.
            discard = discarded(&mut set.ways.living(&self.ended));
        }
        if target.is_empty() && discard.is_none() {
            target = std::mem::take(&mut standby);
        }
        if target.is_empty() && discard.is_none() {
            // Nothing is better than what there was: who wished for it will say what comes now.
            target = merged(&mut set.ways.members.iter());
            if target.is_empty() {
                discard = discarded(&mut set.ways.members.iter());
            }
        }
        if standby != set.standby {
            set.standby = standby;
            self.dirty_sets.insert(id);
        }
        if target == set.target && discard == set.discard {
            return;
        }
        set.lost = (target.is_empty() && discard.is_none()).then_some(now);
        set.discard = discard;
        set.target = target;
        set.retry = None;
        self.dirty_sets.insert(id);
        self.clocked.insert(id);
        self.reconsider_set(id);
    }

    /// Outcomes of all wishes over a set, anew.
    pub(super) fn reconsider_set(&mut self, set: u32) {
        for spec in self.wishes.specs_of(set) {
            self.reconsider(spec);
        }
    }

    /// What a wish comes to, anew; prefixes that have it are looked at if that changed.
    pub(super) fn reconsider(&mut self, id: u32) {
        let old = match self.wishes.spec(id) {
            Some(spec) => spec.outcome,
            None => return,
        };
        let new = [self.outcome(id, 0), self.outcome(id, 1)];
        if let Some(spec) = self.wishes.spec_mut(id) {
            spec.outcome = new;
        }
        for (old, new) in old.into_iter().zip(new) {
            if let Outcome::Form(form) = old {
                self.release_form(form);
            }
            // A wish nobody was refused yet has no prefix to look at again.
            let waited = old != Outcome::Impossible || self.missed.contains(&id);
            if old != new && waited {
                self.stale_specs.insert(id);
            }
        }
    }

    /// The form a wish comes to for a family (0 = IPv4), held.
    fn outcome(&mut self, id: u32, family: usize) -> Outcome {
        let Some(spec) = self.wishes.spec(id) else { return Outcome::Impossible };
        let source = spec.wish.preferred_source.or(self.config.preferred_source);
        let mut prefsrc = source.filter(|a| usize::from(a.is_ipv6()) == family);
        if prefsrc.is_some_and(|a| !self.links.is_own(a)) {
            return Outcome::Impossible;
        }
        let mut metric = spec.wish.metric.unwrap_or(self.config.metric);
        if family == 1 && metric == 0 {
            metric = 1024; // what the kernel makes of it
        }
        let via = match (&spec.wish.target, spec.set.and_then(|s| self.wishes.set(s))) {
            (Target::Blackhole, _) => Via::Blackhole,
            (Target::Unreachable, _) => Via::Unreachable,
            (Target::Prohibit, _) => Via::Prohibit,
            (Target::Via(_), None) => return Outcome::Impossible,
            (Target::Via(_), Some(Set { discard: Some(via), .. })) => via.clone(),
            (Target::Via(_), Some(set)) => {
                let hops = match (&set.group, self.abilities.objects) {
                    (Some((_, hops)), true) => hops,
                    (None, true) => return Outcome::Impossible,
                    (_, false) => &set.target,
                };
                // An IPv4 next hop is of no use to an IPv6 route.
                let fits = |gateway: &std::net::IpAddr| gateway.is_ipv6() || family == 0;
                let fits = hops.iter().all(|(h, _)| h.gateway.as_ref().is_none_or(fits));
                if hops.is_empty() || !fits {
                    return Outcome::Impossible;
                }
                match &set.group {
                    Some((group, _)) if self.abilities.objects => Via::Object(*group),
                    _ => Via::Hops(hops.clone()),
                }
            }
        };
        if !matches!(via, Via::Object(_) | Via::Hops(_)) {
            prefsrc = None;
        }
        Outcome::Form(self.hold_form(Form { via, metric, prefsrc }))
    }

    /// A route that stands in the kernel shows which group of a former process a set had.
    fn claim(&mut self, spec: u32, have: Have) {
        let Some(set_id) = self.wishes.spec(spec).and_then(|s| s.set) else { return };
        let form = have.form().and_then(|id| self.forms.at(id));
        let Some(Form { via: Via::Object(group), .. }) = form else { return };
        let group = *group;
        if let Some(set) = self.wishes.set(set_id)
            && set.group.is_none()
            && self.objects.claimable(group, &set.target)
        {
            self.give_group(set_id, group);
        }
    }

    /// A set has this group of the kernel now.
    pub(super) fn give_group(&mut self, set: u32, group: u32) {
        self.objects.disown(group);
        self.group_owner.insert(group, set);
        let hops = self.objects.expand(group);
        if let Some(set) = self.wishes.set_mut(set) {
            set.group = Some((group, hops));
        }
        self.reconsider_set(set);
    }

    /// The number of a form, held.
    pub(super) fn hold_form(&mut self, form: Form) -> u32 {
        if let Via::Object(object) = form.via
            && self.forms.find(&form).is_none()
        {
            *self.form_users.entry(object).or_default() += 1;
        }
        self.forms.hold(form)
    }

    /// Lets a form go.
    pub(super) fn release_form(&mut self, id: u32) {
        if let Some(Form { via: Via::Object(object), .. }) = self.forms.release(id)
            && let Some(users) = self.form_users.get_mut(&object)
        {
            *users -= 1;
            if *users == 0 {
                self.form_users.remove(&object);
            }
        }
    }

    /// Notes what the kernel has at a prefix. The caller's hold on the form passes to the entry.
    pub(super) fn set_have(&mut self, prefix: IpNet, have: Have) {
        let old = self.routes.update(prefix, |e| e.set_have(have));
        if let Some(id) = old.have().form() {
            self.release_form(id);
        }
    }

    /// Whether a route of the kernel is ours.
    pub fn is_ours(&self, route: &KernelRoute) -> bool {
        self.config.enabled
            && route.protocol == self.config.protocol
            && route.table == self.config.table
            && route.tos == 0
    }

    pub(super) fn gc_soon(&mut self, now: Instant) {
        let at = now + super::groups::GC_DELAY;
        self.gc_at = Some(self.gc_at.map_or(at, |was| was.min(at)));
    }

    fn flush_drift(&mut self, now: Instant) {
        if self.drift.due.is_none_or(|due| due > now) {
            return;
        }
        self.drift.due = None;
        self.drift.last = Some(now);
        self.drift.delay = (self.drift.delay * 2).min(DRIFT_MAX);
        for (prefix, counts) in std::mem::take(&mut self.drift.prefixes) {
            self.counters.drift_repaired += u64::from(counts);
            self.routes.enqueue(prefix);
        }
    }

    /// A route went or changed behind our back; it will be looked at.
    pub(super) fn drifted(&mut self, prefix: IpNet, counts: bool, now: Instant) {
        let quiet =
            self.drift.last.is_none_or(|at| now.saturating_duration_since(at) > DRIFT_QUIET);
        if self.drift.due.is_none() {
            if quiet {
                self.drift.delay = DRIFT_MIN;
            }
            self.drift.due = Some(now + self.drift.delay.max(DRIFT_MIN));
        }
        *self.drift.prefixes.entry(prefix).or_default() |= counts;
    }

    fn retry_failed(&mut self, now: Instant) {
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        self.retry_at = None;
        for (prefix, failure) in &self.failed {
            if failure.at <= now {
                self.routes.enqueue(*prefix);
            } else {
                let at = self.retry_at.map_or(failure.at, |was| was.min(failure.at));
                self.retry_at = Some(at);
            }
        }
    }

    /// Something changed for the better: refused wishes are tried now.
    pub(super) fn forgive(&mut self) {
        for prefix in self.failed.keys() {
            self.routes.enqueue(*prefix);
        }
        self.objects.forgive();
        let waiting: Vec<u32> =
            self.wishes.sets().filter(|(_, s)| s.retry.is_some()).map(|(id, _)| id).collect();
        for id in waiting {
            if let Some(set) = self.wishes.set_mut(id) {
                set.retry = None;
            }
            self.dirty_sets.insert(id);
        }
    }
}

#[cfg(test)]
mod tests;
