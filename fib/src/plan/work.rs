//! From what is known to what is to be done. Operations are assumed to succeed when they are
//! handed out; the shell says afterwards which were refused.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::FibEvent;
use crate::plan::fact::{Form, KernelObject, ObjectKind};
use crate::plan::objects::ObjectOp;
use crate::plan::routes::{Entry, Have, Want};
use crate::plan::state::{Failure, State};
use crate::plan::wishes::{GRACE, Outcome};

/// Nothing is deleted from the next-hop objects before it was unused for so long.
pub const GC_KEEP: Duration = Duration::from_secs(30);
/// Unused objects are looked for this long after something was let go.
pub const GC_DELAY: Duration = Duration::from_secs(5);
/// First delay after a refusal; doubles with each.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// How a route is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It must not be there: somebody else's is never overwritten.
    Add,
    /// In place of ours.
    Replace,
    /// Ours only: the kernel compares protocol and metric.
    Delete,
}

/// A write to one route. Its form is held until [`State::routes_done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteOp {
    /// Prefix.
    pub prefix: IpNet,
    /// How.
    pub verb: Verb,
    /// Its form, by number.
    pub form: u32,
}

impl State {
    /// Object writes that are due, a step at a time: call again after [`object_done`](Self::object_done)
    /// until there are none. `idle` = no route writes are on the way.
    pub fn plan_objects(&mut self, now: Instant, idle: bool) -> Vec<ObjectOp> {
        if !self.abilities.write || !self.config.enabled {
            self.dirty_sets.clear();
            self.clocked.clear();
            self.gc_at = None;
            return Vec::new();
        }
        if !self.abilities.objects {
            // What a former process with objects left is all there is to do.
            self.dirty_sets.clear();
            self.clocked.clear();
            let quiet = idle && self.routes.waiting() == 0;
            return if quiet { self.garbage(now) } else { Vec::new() };
        }
        for id in self.clocked.clone() {
            let Some(set) = self.wishes.set_mut(id) else {
                self.clocked.remove(&id);
                continue;
            };
            if set.retry.is_some_and(|at| at <= now) {
                set.retry = None;
                self.dirty_sets.insert(id);
            }
            if set.lost.is_none() && set.retry.is_none() {
                self.clocked.remove(&id);
            }
        }
        let hops = self.missing_hops(now);
        if !hops.is_empty() {
            return hops;
        }
        let groups = self.due_groups(now);
        if !groups.is_empty() {
            return groups;
        }
        if !idle || self.routes.waiting() > 0 {
            return Vec::new();
        }
        let lost = self.lost_groups(now);
        if !lost.is_empty() {
            return lost;
        }
        self.garbage(now)
    }

    /// Objects for the next hops of sets that need a group.
    fn missing_hops(&mut self, now: Instant) -> Vec<ObjectOp> {
        let mut wanted = BTreeSet::new();
        for id in self.dirty_sets.clone() {
            let Some(set) = self.wishes.set(id) else { continue };
            if set.group.is_none() {
                if set.idle.is_some() {
                    continue;
                }
                if let Some(group) = self.objects.find_claimable(&set.target) {
                    self.give_group(id, group);
                    continue;
                }
            }
            for (hop, _) in &set.target {
                if self.objects.for_hop(hop).is_none() && !self.objects.is_refused(hop, now) {
                    wanted.insert(*hop);
                }
            }
        }
        let mut taken = BTreeSet::new();
        let mut ops = Vec::new();
        for hop in wanted {
            let Some(id) = self.objects.fresh_id(&taken) else { break };
            taken.insert(id);
            ops.push(ObjectOp::Put(id, ObjectKind::Hop(hop)));
        }
        ops
    }

    /// Groups to make or make over.
    fn due_groups(&mut self, now: Instant) -> Vec<ObjectOp> {
        let mut taken = BTreeSet::new();
        let mut ops = Vec::new();
        for id in std::mem::take(&mut self.dirty_sets) {
            let Some(set) = self.wishes.set(id) else { continue };
            if set.target.is_empty() || (set.group.is_none() && set.idle.is_some()) {
                continue;
            }
            let able: Vec<_> = set
                .target
                .iter()
                .filter_map(|(hop, w)| Some((*hop, self.objects.for_hop(hop)?, *w)))
                .collect();
            let complete = able.len() == set.target.len();
            let hops: Vec<_> = able.iter().map(|(hop, _, w)| (*hop, *w)).collect();
            let same = set.group.as_ref().is_some_and(|(_, has)| *has == hops);
            if !complete && let Some(set) = self.wishes.set_mut(id) {
                set.retry = Some(now + RETRY_MIN);
                self.clocked.insert(id);
            }
            if same || able.is_empty() {
                continue;
            }
            let group = self.wishes.set(id).and_then(|s| s.group.as_ref().map(|(g, _)| *g));
            let Some(group) = group.or_else(|| self.objects.fresh_id(&taken)) else { continue };
            taken.insert(group);
            let mut members: Vec<_> = able.iter().map(|(_, object, w)| (*object, *w)).collect();
            members.sort_unstable();
            self.group_owner.insert(group, id);
            ops.push(ObjectOp::Put(group, ObjectKind::Group(members)));
        }
        ops
    }

    /// Groups whose next hops stayed away: the kernel drops all their routes with them.
    fn lost_groups(&mut self, now: Instant) -> Vec<ObjectOp> {
        if !self.in_sync {
            return Vec::new(); // routes of a former process may use them
        }
        let gone = |at: Instant| now.saturating_duration_since(at) >= GRACE;
        let clocked = self.clocked.iter().filter_map(|id| self.wishes.set(*id));
        clocked
            .filter(|s| s.target.is_empty() && s.lost.is_some_and(gone))
            .filter_map(|s| s.group.as_ref().map(|(group, _)| ObjectOp::Delete(*group)))
            .collect()
    }

    /// Objects nothing needs any more.
    fn garbage(&mut self, now: Instant) -> Vec<ObjectOp> {
        if !self.in_sync || self.gc_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.gc_at = None;
        let idle: Vec<u32> = self
            .wishes
            .sets()
            .filter(|(_, s)| s.idle.is_some_and(|at| now.saturating_duration_since(at) >= GC_KEEP))
            .filter(|(_, s)| s.group.as_ref().is_none_or(|(g, _)| !self.form_users.contains_key(g)))
            .map(|(id, _)| id)
            .collect();
        for id in idle {
            if let Some(set) = self.wishes.forget_set(id) {
                for (next_hop, _) in set.members {
                    self.tracker.leave(next_hop, id);
                }
                if let Some((group, _)) = set.group {
                    self.group_owner.remove(&group);
                }
            }
        }
        let groups: BTreeSet<u32> = self
            .wishes
            .sets()
            .filter_map(|(_, s)| s.group.as_ref().map(|(g, _)| *g))
            .chain(self.form_users.keys().copied())
            .collect();
        let mut needed = groups.clone();
        for id in &groups {
            if let Some(ObjectKind::Group(members)) = self.objects.kind(*id) {
                needed.extend(members.iter().map(|(member, _)| *member));
            }
        }
        // What a set is about to need is needed, too.
        for (_, set) in self.wishes.sets() {
            needed.extend(set.target.iter().filter_map(|(hop, _)| self.objects.for_hop(hop)));
        }
        let (ids, next) = self.objects.garbage(&needed, now, GC_KEEP);
        let idle = self.wishes.sets().filter_map(|(_, s)| s.idle).min().map(|at| at + GC_KEEP);
        self.gc_at = match (next, idle) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
        .map(|at| at.max(now + GC_DELAY));
        ids.into_iter().map(ObjectOp::Delete).collect()
    }

    /// What became of an object write: `Ok`, or the errno.
    pub fn object_done(&mut self, op: &ObjectOp, result: Result<(), i32>, now: Instant) {
        match (op, result) {
            (ObjectOp::Put(id, kind), Ok(())) => {
                self.counters.objects_written += 1;
                let object =
                    KernelObject { id: *id, protocol: self.config.protocol, kind: kind.clone() };
                self.objects.set(object);
                if let Some(set) = self.group_owner.get(id).copied() {
                    self.give_group(set, *id);
                }
            }
            (ObjectOp::Put(id, kind), Err(errno)) => {
                self.counters.errors += 1;
                if matches!(errno, libc::EPERM) {
                    self.abilities.write = false;
                }
                match kind {
                    ObjectKind::Hop(hop) => self.objects.refuse(*hop, now + RETRY_MIN),
                    _ => {
                        if let Some(set) = self.group_owner.get(id).copied() {
                            if let Some(s) = self.wishes.set_mut(set) {
                                s.retry = Some(now + RETRY_MIN);
                                if s.group.as_ref().is_none_or(|(group, _)| group != id) {
                                    self.group_owner.remove(id);
                                }
                            }
                            self.clocked.insert(set);
                        }
                        // A member may be gone unheard.
                        self.asks.objects = true;
                    }
                }
            }
            (ObjectOp::Delete(id), Ok(()) | Err(libc::ENOENT)) => {
                self.object_gone(*id, now);
            }
            (ObjectOp::Delete(_), Err(_)) => {
                self.counters.errors += 1;
                self.asks.objects = true;
            }
        }
    }

    /// Route writes for up to `max` prefixes that wait.
    pub fn plan_routes(&mut self, max: usize) -> Vec<RouteOp> {
        let mut ops = Vec::new();
        if !self.abilities.write || !self.config.enabled {
            return ops;
        }
        let mut busy = Vec::new();
        // Most may need nothing; the writer has others to serve.
        for _ in 0..max.saturating_mul(16) {
            if ops.len() >= max {
                break;
            }
            let Some((prefix, entry)) = self.routes.dequeue() else { break };
            if !self.in_flight.is_empty() && self.in_flight.contains(&prefix) {
                busy.push(prefix); // what becomes of it is not known yet
                continue;
            }
            self.decide(prefix, entry, &mut ops);
        }
        for prefix in busy {
            self.routes.enqueue(prefix);
        }
        self.in_flight.extend(ops.iter().map(|op| op.prefix));
        ops
    }

    /// Hands out a write; it holds its form.
    fn issue(&mut self, ops: &mut Vec<RouteOp>, prefix: IpNet, verb: Verb, form: u32) {
        self.forms.again(form);
        if let Some(touched) = &mut self.touched {
            touched.insert(prefix);
        }
        ops.push(RouteOp { prefix, verb, form });
    }

    /// What one prefix needs.
    fn decide(&mut self, prefix: IpNet, entry: Entry, ops: &mut Vec<RouteOp>) {
        let wanted = match entry.want() {
            _ if self.flushing => None,
            Want::Stale => return,
            Want::Nothing => None,
            Want::Spec(id) => match self.outcome_of(id, prefix) {
                Outcome::Form(form) => Some(form),
                Outcome::Impossible => {
                    self.missed.insert(id);
                    if !self.in_sync && entry.have() != Have::Nothing && self.leads_nowhere(id) {
                        return; // of a former process; what it resolves through may come yet
                    }
                    None
                }
            },
        };
        self.extras_due(prefix, ops);
        match (wanted, entry.have()) {
            (None, Have::Nothing) => {}
            (None, Have::Form(old) | Have::Doubt(old)) => {
                self.issue(ops, prefix, Verb::Delete, old);
                self.set_have(prefix, Have::Nothing);
            }
            (Some(new), Have::Form(old)) if new == old => {
                self.events.push(FibEvent::Installed(prefix, true));
            }
            (Some(new), have) => {
                let metric = self.metric(new);
                if self.foreign.holds(self.config.table, prefix, metric) {
                    self.conflicts.insert(prefix);
                    if let Some(old) = have.form().filter(|old| self.metric(*old) != metric) {
                        self.issue(ops, prefix, Verb::Delete, old);
                        self.set_have(prefix, Have::Nothing);
                    }
                    return;
                }
                if !self.conflicts.is_empty() {
                    self.conflicts.remove(&prefix);
                }
                let other = have.form().filter(|old| self.metric(*old) != metric);
                // One of a former process may stand at this very key.
                let standing = if self.extras.is_empty() {
                    None
                } else {
                    self.extras.remove(&(prefix, metric))
                };
                if let Some(form) = standing {
                    self.release_form(form);
                }
                let add = other == have.form() && standing.is_none();
                let verb = if add { Verb::Add } else { Verb::Replace };
                self.issue(ops, prefix, verb, new);
                if let Some(old) = other {
                    // Another metric is another route: the old one goes after the new one stands.
                    self.issue(ops, prefix, Verb::Delete, old);
                    self.forms.again(old);
                    if let Some(was) = self.extras.insert((prefix, self.metric(old)), old) {
                        self.release_form(was);
                    }
                }
                self.forms.again(new);
                self.set_have(prefix, Have::Form(new));
            }
        }
    }

    /// Routes of ours with another metric at this prefix, which nobody wants once we may clean up.
    fn extras_due(&mut self, prefix: IpNet, ops: &mut Vec<RouteOp>) {
        if self.extras.is_empty() || !self.in_sync {
            return;
        }
        let range = self.extras.range((prefix, 0)..=(prefix, u32::MAX));
        let due: Vec<_> = range.map(|((_, metric), form)| (*metric, *form)).collect();
        let wanted = match self.routes.get(prefix).want() {
            Want::Spec(id) if !self.flushing => match self.outcome_of(id, prefix) {
                Outcome::Form(form) => Some(self.metric(form)),
                Outcome::Impossible => None,
            },
            _ => None,
        };
        for (metric, form) in due {
            if wanted != Some(metric) {
                self.issue(ops, prefix, Verb::Delete, form);
            }
        }
    }

    /// What became of route writes: all done but those with an errno, by position, ascending.
    pub fn routes_done(&mut self, ops: &[RouteOp], refused: &[(usize, i32)], now: Instant) {
        let mut refused = refused.iter().peekable();
        for (at, op) in ops.iter().enumerate() {
            self.in_flight.remove(&op.prefix);
            let errno = refused.next_if(|(i, _)| *i == at).map(|(_, errno)| *errno);
            match (op.verb, errno) {
                (Verb::Add | Verb::Replace, None) => {
                    self.counters.applied += 1;
                    if !self.failed.is_empty() {
                        self.failed.remove(&op.prefix);
                    }
                    self.events.push(FibEvent::Installed(op.prefix, true));
                }
                (Verb::Delete, None | Some(libc::ESRCH)) => {
                    self.counters.applied += 1;
                    self.deleted(op);
                }
                (verb, Some(errno)) => self.refused(op, verb, errno, now),
            }
            self.release_form(op.form);
        }
    }

    fn deleted(&mut self, op: &RouteOp) {
        if !self.failed.is_empty() {
            self.failed.remove(&op.prefix);
        }
        if !self.extras.is_empty() {
            let key = (op.prefix, self.metric(op.form));
            if self.extras.get(&key) == Some(&op.form) {
                self.extras.remove(&key);
                self.release_form(op.form);
                return;
            }
        }
        if self.routes.get(op.prefix).have() == Have::Nothing {
            self.events.push(FibEvent::Installed(op.prefix, false));
        }
    }

    fn refused(&mut self, op: &RouteOp, verb: Verb, errno: i32, now: Instant) {
        self.counters.errors += 1;
        match verb {
            Verb::Add => self.set_have(op.prefix, Have::Nothing),
            Verb::Replace => {
                self.forms.again(op.form);
                self.set_have(op.prefix, Have::Doubt(op.form));
            }
            Verb::Delete => {
                let key = (op.prefix, self.metric(op.form));
                let known = self.extras.contains_key(&key);
                self.forms.again(op.form);
                if !known && self.routes.get(op.prefix).have() == Have::Nothing {
                    self.set_have(op.prefix, Have::Doubt(op.form));
                } else if let Some(was) = self.extras.insert(key, op.form) {
                    self.release_form(was);
                }
            }
        }
        match errno {
            libc::EPERM => self.abilities.write = false,
            // The mirror is wrong about this key: somebody's route came unheard, or ours stands.
            libc::EEXIST => self.asks.everything = true,
            libc::EINVAL | libc::ENOENT => self.asks.objects |= self.abilities.objects,
            _ => {}
        }
        let tries = self.failed.get(&op.prefix).map_or(0, |f| f.tries);
        let delay = RETRY_MIN.saturating_mul(1 << tries.min(10)).min(RETRY_MAX);
        let at = now + delay;
        self.failed.insert(op.prefix, Failure { tries: tries + 1, at });
        self.retry_at = Some(self.retry_at.map_or(at, |was| was.min(at)));
    }

    /// An object went: routes over it are gone with it, unheard.
    pub(super) fn object_gone(&mut self, id: u32, now: Instant) {
        let was = self.objects.remove(id);
        self.objects.disown(id);
        if let Some(set) = self.group_owner.remove(&id) {
            if let Some(s) = self.wishes.set_mut(set)
                && s.group.as_ref().is_some_and(|(group, _)| *group == id)
            {
                s.group = None;
            }
            self.dirty_sets.insert(set);
            self.reconsider_set(set);
        }
        if self.form_users.contains_key(&id) {
            self.gone_objects.insert(id);
        }
        if let Some(KernelObject { kind: ObjectKind::Hop(_), .. }) = was {
            self.shrink_groups(id, now);
        }
        self.tracker.touch_all();
        self.gc_soon(now);
    }

    /// The kernel takes an object out of its groups when it goes.
    fn shrink_groups(&mut self, member: u32, now: Instant) {
        let mut emptied = Vec::new();
        for id in self.objects.ids() {
            let Some(ObjectKind::Group(members)) = self.objects.kind(id) else { continue };
            if !members.iter().any(|(m, _)| *m == member) || !self.objects.has_ours(id) {
                continue;
            }
            let rest: Vec<_> = members.iter().filter(|(m, _)| *m != member).copied().collect();
            if rest.is_empty() {
                emptied.push(id);
            } else {
                let protocol = self.config.protocol;
                let kind = ObjectKind::Group(rest);
                self.objects.set(KernelObject { id, protocol, kind });
                self.group_changed(id);
            }
        }
        for id in emptied {
            self.object_gone(id, now);
        }
    }

    /// A group of ours has other members than we put there.
    pub(super) fn group_changed(&mut self, id: u32) {
        if let Some(set) = self.group_owner.get(&id).copied() {
            let hops = self.objects.expand(id);
            if let Some(s) = self.wishes.set_mut(set) {
                s.group = Some((id, hops));
            }
            self.dirty_sets.insert(set);
        }
    }

    /// Routes of these forms are gone: their prefixes are looked at again.
    pub(super) fn forget_forms(&mut self, gone: impl Fn(&Form) -> bool) {
        let ids: BTreeSet<u32> =
            self.forms.iter().filter(|(_, f)| gone(f)).map(|(id, _)| id).collect();
        let mut lost = Vec::new();
        self.routes.sweep(
            |e| e.have().form().is_some_and(|id| ids.contains(&id)),
            |prefix, e| {
                if let Some(id) = e.have().form() {
                    lost.push((prefix, id, e.want()));
                }
                e.set_have(Have::Nothing);
                if e.want() == Want::Stale {
                    e.set_want(Want::Nothing);
                }
            },
        );
        for (prefix, form, want) in lost {
            if matches!(want, Want::Spec(_)) {
                self.events.push(FibEvent::Installed(prefix, false));
            }
            self.release_form(form);
        }
        let extras: Vec<_> =
            self.extras.iter().filter(|(_, f)| ids.contains(f)).map(|(k, _)| *k).collect();
        for key in extras {
            if let Some(form) = self.extras.remove(&key) {
                self.release_form(form);
            }
        }
    }

    /// Routes of these forms may be gone: they are written again.
    pub(super) fn doubt_forms(&mut self, doubtful: impl Fn(&Form, usize) -> bool) {
        let mut ids = [BTreeSet::new(), BTreeSet::new()];
        for (id, form) in self.forms.iter() {
            for (family, set) in ids.iter_mut().enumerate() {
                if doubtful(form, family) {
                    set.insert(id);
                }
            }
        }
        let [v4, v6] = ids;
        let in_doubt = |e: Entry, ids: &BTreeSet<u32>| match e.have() {
            Have::Form(id) => ids.contains(&id) && e.want() != Want::Stale,
            _ => false,
        };
        let mark = |e: &mut Entry| {
            if let Have::Form(id) = e.have() {
                e.set_have(Have::Doubt(id));
            }
        };
        self.routes.v4.sweep(|e| in_doubt(e, &v4), |_, e| mark(e));
        self.routes.v6.sweep(|e| in_doubt(e, &v6), |_, e| mark(e));
    }

    /// Whether a wish fails for want of a reachable next hop.
    fn leads_nowhere(&self, spec: u32) -> bool {
        let set = self.wishes.spec(spec).and_then(|s| s.set).and_then(|id| self.wishes.set(id));
        set.is_some_and(|set| set.target.is_empty())
    }

    pub(super) fn outcome_of(&self, spec: u32, prefix: IpNet) -> Outcome {
        let family = usize::from(matches!(prefix, IpNet::V6(_)));
        let spec = self.wishes.spec(spec);
        spec.and_then(|s| s.outcome.get(family).copied()).unwrap_or(Outcome::Impossible)
    }

    pub(super) fn metric(&self, form: u32) -> u32 {
        self.forms.at(form).map_or(0, |f| f.metric)
    }

    /// A form by number, for the encoder.
    pub fn form(&self, id: u32) -> Option<&Form> {
        self.forms.at(id)
    }

    /// Whether a form uses this source address.
    pub(super) fn uses_source(form: &Form, sources: &BTreeSet<IpAddr>) -> bool {
        form.prefsrc.is_some_and(|a| sources.contains(&a))
    }
}
