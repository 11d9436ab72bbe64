//! What the next-hop objects need: one step at a time, for each depends on the one before. Objects
//! for next hops first, then the groups over them, then routes; deletions last.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::plan::fact::{KernelObject, ObjectKind};
use crate::plan::objects::ObjectOp;
use crate::plan::state::State;
use crate::plan::wishes::GRACE;
use crate::plan::work::RETRY_MIN;

/// Nothing is deleted from the next-hop objects before it was unused for so long.
pub const GC_KEEP: Duration = Duration::from_secs(30);
/// Unused objects are looked for this long after something was let go.
pub const GC_DELAY: Duration = Duration::from_secs(5);

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
                }
            }
            let Some(set) = self.wishes.set(id) else { continue };
            // Those of the backup, too: when it is needed, one write must do.
            for (hop, _) in set.target.iter().chain(&set.standby) {
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
                for next_hop in set.ways.next_hops() {
                    self.tracker.leave(next_hop, id);
                }
                if let Some((group, _)) = set.group {
                    self.group_owner.remove(&group);
                }
            }
        }
        // What only an idle set has is unused from the moment the set is.
        let in_use = || self.wishes.sets().filter(|(_, s)| s.idle.is_none());
        let groups: BTreeSet<u32> = in_use()
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
        for (_, set) in in_use() {
            let hops = set.target.iter().chain(&set.standby);
            needed.extend(hops.filter_map(|(hop, _)| self.objects.for_hop(hop)));
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
}
