//! Next-hop objects: one per immediate next hop, one group per set of BGP next hops. Routes point
//! at groups, so a change of resolution rewrites a group and touches no route.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::plan::fact::{Hop, Hops, KernelObject, ObjectKind};

/// Numbers from here on are ours.
pub const FIRST_ID: u32 = 0x0B00_0000;
/// Up to here.
pub const LAST_ID: u32 = 0x0BFF_FFFF;

/// A write to next-hop objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectOp {
    /// Make (or make over) this object.
    Put(u32, ObjectKind),
    /// Delete it; the kernel deletes routes that still use it.
    Delete(u32),
}

/// The kernel's objects, and which of them are ours.
#[derive(Debug, Default)]
pub struct Objects {
    kernel: BTreeMap<u32, KernelObject>,
    protocol: u8,
    /// Our objects by next hop; the lowest number where there are two.
    hops: BTreeMap<Hop, BTreeSet<u32>>,
    /// Next hops the kernel refused, and when to ask again.
    refused: BTreeMap<Hop, Instant>,
    /// Groups of a former process that no set has claimed.
    adopted: BTreeMap<u32, Hops>,
    /// Ours that nothing needs, and since when.
    unused: BTreeMap<u32, Instant>,
    next: u32,
}

impl Objects {
    /// Objects of this protocol and our numbers are ours.
    pub fn new(protocol: u8) -> Self {
        Self { protocol, next: FIRST_ID, ..Self::default() }
    }

    /// Whether an object is ours.
    pub fn is_ours(&self, object: &KernelObject) -> bool {
        object.protocol == self.protocol && (FIRST_ID..=LAST_ID).contains(&object.id)
    }

    /// What the kernel has under a number.
    pub fn kind(&self, id: u32) -> Option<&ObjectKind> {
        self.kernel.get(&id).map(|o| &o.kind)
    }

    /// Whether the kernel has this object and it is ours.
    pub fn has_ours(&self, id: u32) -> bool {
        self.kernel.get(&id).is_some_and(|o| self.is_ours(o))
    }

    /// Notes what the kernel has; whether that is new.
    pub fn set(&mut self, object: KernelObject) -> bool {
        if self.kernel.get(&object.id) == Some(&object) {
            return false;
        }
        self.remove(object.id);
        if self.is_ours(&object)
            && let ObjectKind::Hop(hop) = &object.kind
        {
            self.hops.entry(*hop).or_default().insert(object.id);
            self.refused.remove(hop);
        }
        self.kernel.insert(object.id, object);
        true
    }

    /// Notes that the kernel has it no more; what it was.
    pub fn remove(&mut self, id: u32) -> Option<KernelObject> {
        let old = self.kernel.remove(&id)?;
        if let ObjectKind::Hop(hop) = &old.kind
            && let Some(ids) = self.hops.get_mut(hop)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.hops.remove(hop);
            }
        }
        Some(old)
    }

    /// All numbers in the kernel.
    pub fn ids(&self) -> Vec<u32> {
        self.kernel.keys().copied().collect()
    }

    /// Our groups, when they are found at the start.
    pub fn adopt(&mut self, id: u32) {
        if self.has_ours(id) && matches!(self.kind(id), Some(ObjectKind::Group(_))) {
            let hops = self.expand(id);
            self.adopted.insert(id, hops);
        }
    }

    /// Whether a group of a former process waits to be claimed and leads exactly there.
    pub fn claimable(&self, id: u32, target: &Hops) -> bool {
        !target.is_empty() && self.adopted.get(&id) == Some(target)
    }

    /// Any such group.
    pub fn find_claimable(&self, target: &Hops) -> Option<u32> {
        self.adopted.iter().find(|(_, hops)| *hops == target).map(|(id, _)| *id)
    }

    /// It belongs to a set now, or is gone.
    pub fn disown(&mut self, id: u32) {
        self.adopted.remove(&id);
    }

    /// The object for a next hop.
    pub fn for_hop(&self, hop: &Hop) -> Option<u32> {
        self.hops.get(hop)?.first().copied()
    }

    /// Whether the kernel refused a next hop a moment ago.
    pub fn is_refused(&self, hop: &Hop, now: Instant) -> bool {
        self.refused.get(hop).is_some_and(|until| *until > now)
    }

    /// The kernel refused it; not before `until` again.
    pub fn refuse(&mut self, hop: Hop, until: Instant) {
        self.refused.insert(hop, until);
    }

    /// Something changed: what was refused may be taken now.
    pub fn forgive(&mut self) {
        self.refused.clear();
    }

    /// A number nobody uses.
    pub fn fresh_id(&mut self, taken: &BTreeSet<u32>) -> Option<u32> {
        for _ in FIRST_ID..=LAST_ID {
            let id = self.next;
            self.next = if id >= LAST_ID { FIRST_ID } else { id + 1 };
            if !self.kernel.contains_key(&id) && !taken.contains(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Ours that are not in `needed` and were not for a while: to be deleted, groups first.
    /// The moment the next one is due comes with them.
    pub fn garbage(
        &mut self,
        needed: &BTreeSet<u32>,
        now: Instant,
        keep: std::time::Duration,
    ) -> (Vec<u32>, Option<Instant>) {
        let ours: Vec<u32> =
            self.kernel.values().filter(|o| self.is_ours(o)).map(|o| o.id).collect();
        self.unused.retain(|id, _| !needed.contains(id));
        for id in ours {
            if !needed.contains(&id) {
                self.unused.entry(id).or_insert(now);
            }
        }
        self.unused.retain(|id, _| self.kernel.contains_key(id));
        let due = |since: &Instant| now.saturating_duration_since(*since) >= keep;
        let mut ids: Vec<u32> =
            self.unused.iter().filter(|(_, since)| due(since)).map(|(id, _)| *id).collect();
        let is_group = |id: &u32| matches!(self.kind(*id), Some(ObjectKind::Group(_)));
        ids.sort_by_key(|id| (!is_group(id), *id));
        let next = self.unused.values().filter(|since| !due(since)).min().map(|s| *s + keep);
        (ids, next)
    }

    /// Groups nobody claimed.
    pub fn unclaimed(&self) -> impl Iterator<Item = u32> {
        self.adopted.keys().copied()
    }
}

#[cfg(test)]
mod tests;
