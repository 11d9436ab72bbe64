//! Prefixes and their paths by index: who announced what, best path first.

use hashbrown::HashTable;

use super::{
    arena::{Arena, Link},
    net::Net,
};

/// No path, no session, no next hop.
pub(crate) const NONE: u32 = u32::MAX;
/// In `next`: the end of a list; the other bits are the prefix's slot.
const END: u32 = 1 << 31;

/// A path: 24 octets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// The next path of the prefix, or `END` and the prefix's slot.
    next: u32,
    /// Attributes as received.
    pub attrs_in: u32,
    /// Attributes after import policy; the same where it changed nothing.
    pub attrs: u32,
    /// Path identifier received; 0 without add-path.
    pub path_id: u32,
    /// When it came, in seconds.
    pub since: u32,
    /// Session it came by.
    pub session: u16,
    /// What import found.
    pub flags: PathFlags,
}

const _: () = assert!(size_of::<Path>() == 24);

/// Refused by import policy.
pub(crate) const REJECTED: u16 = 1;
/// Our AS is in the path.
pub(crate) const AS_LOOP: u16 = 2;
/// Our router or cluster id is in it.
pub(crate) const ORIGINATOR_LOOP: u16 = 4;
/// A blackhole of our own.
pub(crate) const BLACKHOLE: u16 = 8;
/// Import policy set MED: it may be told to other ASes.
pub(crate) const MED_SET: u16 = 16;
/// The next hop is no router's address (RFC 4271 §6.3, semantic).
pub(crate) const BAD_NEXT_HOP: u16 = 32;
/// Any that keep it out of the decision.
pub(crate) const INELIGIBLE: u16 = REJECTED | AS_LOOP | ORIGINATOR_LOOP | BAD_NEXT_HOP;
/// Lowest bit of the route refresh round.
const ROUND_SHIFT: u32 = 12;

/// Flags of a path, and in which round of route refresh (modulo 16) it was last announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PathFlags(u16);

impl PathFlags {
    /// Flags without their round.
    pub fn new(bits: u16, round: u8) -> Self {
        Self(bits & ((1 << ROUND_SHIFT) - 1) | u16::from(round & 15) << ROUND_SHIFT)
    }

    /// Whether any of `bits` is set.
    pub fn any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// All but the round.
    pub fn bits(self) -> u16 {
        self.0 & ((1 << ROUND_SHIFT) - 1)
    }

    /// The round.
    pub fn round(self) -> u8 {
        (self.0 >> ROUND_SHIFT) as u8
    }
}

impl Link for Path {
    fn link(&self) -> u32 {
        self.next
    }

    fn set_link(&mut self, to: u32) {
        self.next = to;
    }
}

/// A prefix: 12 octets for IPv4, 24 for IPv6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix<N> {
    /// Which.
    pub net: N,
    /// The first path, with `BEST` if it is the best one; or `NONE`; or `END` without `BEST` and
    /// the next free place.
    head: u32,
}

/// In `head`: the path is the best.
const BEST: u32 = 1 << 30;

const _: () = assert!(size_of::<Prefix<super::net::Net4>>() == 12);
const _: () = assert!(size_of::<Prefix<super::net::Net6>>() == 24);

impl<N> Prefix<N> {
    /// The first path, or something with `END`.
    fn head(&self) -> u32 {
        if self.head & END == 0 { self.head & !BEST } else { self.head }
    }

    fn is_free(&self) -> bool {
        self.head & (END | BEST) == END
    }
}

impl<N> Link for Prefix<N> {
    fn link(&self) -> u32 {
        let to = self.head & (BEST - 1);
        if to == BEST - 1 { NONE } else { to }
    }

    fn set_link(&mut self, to: u32) {
        self.head = END | (to & (BEST - 1));
    }
}

/// All prefixes of a family and their paths.
#[derive(Debug)]
pub(crate) struct Table<N> {
    prefixes: Arena<Prefix<N>>,
    paths: Arena<Path>,
    index: HashTable<u32>,
    /// Slots taken since somebody asked.
    taken: usize,
}

impl<N> Default for Table<N> {
    fn default() -> Self {
        let index = HashTable::new();
        Self { prefixes: Arena::default(), paths: Arena::default(), index, taken: 0 }
    }
}

/// What a new path consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewPath {
    pub attrs_in: u32,
    pub attrs: u32,
    pub path_id: u32,
    pub since: u32,
    pub session: u16,
    pub flags: PathFlags,
}

impl<N: Net> Table<N> {
    /// The slot of a prefix.
    pub fn find(&self, net: N) -> Option<u32> {
        self.index.find(net.hash(), |slot| self.prefixes.get(*slot).net == net).copied()
    }

    /// Looks some prefixes up side by side, so that what is needed next is on its way to the cache:
    /// one by one each would wait for memory three times. `slots` gets their slots, or `NONE`; they
    /// stay theirs until some are freed.
    pub fn locate(&self, nets: &[N], slots: &mut Vec<u32>) {
        slots.clear();
        slots.extend(nets.iter().map(|net| self.find(*net).unwrap_or(NONE)));
        let seen = slots.iter().fold(0u32, |seen, slot| {
            let path = if *slot == NONE { END } else { self.prefixes.get(*slot).head() };
            seen ^ if path & END == 0 { u32::from(self.paths.get(path).session) } else { path }
        });
        std::hint::black_box(seen);
    }

    /// The slot of a prefix, made if need be.
    pub fn slot(&mut self, net: N) -> u32 {
        use hashbrown::hash_table::Entry;
        if self.index.len() == self.index.capacity() {
            self.grow();
        }
        let prefixes = &self.prefixes;
        let entry = self.index.entry(
            net.hash(),
            |slot| prefixes.get(*slot).net == net,
            |slot| prefixes.get(*slot).net.hash(),
        );
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let slot = self.prefixes.insert(Prefix { net, head: NONE });
                entry.insert(slot);
                self.taken += 1;
                slot
            }
        }
    }

    /// Slots taken since the last call.
    pub fn taken(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }

    /// Doubles the index. Fills the new one in the order of the prefixes: the old one's order would
    /// wait for memory with each of them.
    fn grow(&mut self) {
        let mut index = HashTable::with_capacity(self.index.len() * 2);
        let hash = |slot: &u32| self.prefixes.get(*slot).net.hash();
        for slot in 0..self.prefixes.end() {
            if !self.prefixes.get(slot).is_free() {
                index.insert_unique(hash(&slot), slot, hash);
            }
        }
        self.index = index;
    }

    /// Forgets a prefix without paths.
    pub fn release_slot(&mut self, slot: u32) {
        let prefix = self.prefixes.get(slot);
        debug_assert!(prefix.head == NONE);
        let hash = prefix.net.hash();
        if let Ok(entry) = self.index.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        self.prefixes.remove(slot);
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
    }

    /// A prefix.
    pub fn prefix(&self, slot: u32) -> &Prefix<N> {
        self.prefixes.get(slot)
    }

    /// Whether the slot holds a prefix with any path.
    pub fn occupied(&self, slot: u32) -> bool {
        slot < self.prefixes.end() && self.prefixes.get(slot).head & END == 0
    }

    /// One more than the highest slot.
    pub fn end(&self) -> u32 {
        self.prefixes.end()
    }

    /// Slots in use, of prefixes whose last withdrawal is still on its way too.
    pub fn prefix_count(&self) -> usize {
        self.prefixes.used()
    }

    /// A path.
    pub fn path(&self, path: u32) -> &Path {
        self.paths.get(path)
    }

    /// A path, for changes that keep its place.
    pub fn path_mut(&mut self, path: u32) -> &mut Path {
        self.paths.get_mut(path)
    }

    /// The best path.
    pub fn best(&self, slot: u32) -> Option<u32> {
        let head = self.prefixes.get(slot).head;
        (head & (END | BEST) == BEST).then_some(head & !BEST)
    }

    /// The paths of a prefix, the best first, else in no order.
    pub fn paths(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.prefixes.get(slot).head();
        std::iter::from_fn(move || {
            let found = at;
            if found & END != 0 {
                return None;
            }
            at = self.paths.get(found).next;
            Some(found)
        })
    }

    /// The slot of a path's prefix.
    pub fn slot_of(&self, path: u32) -> u32 {
        let mut next = self.paths.get(path).next;
        while next & END == 0 {
            next = self.paths.get(next).next;
        }
        next & !END
    }

    /// Adds a path, behind the best one if there is one.
    pub fn add(&mut self, slot: u32, new: NewPath) -> u32 {
        let NewPath { attrs_in, attrs, path_id, since, session, flags } = new;
        let path =
            self.paths.insert(Path { next: 0, attrs_in, attrs, path_id, since, session, flags });
        let prefix = self.prefixes.get_mut(slot);
        let head = prefix.head();
        if head == NONE {
            prefix.head = path;
            self.paths.get_mut(path).next = slot | END;
        } else {
            let next = std::mem::replace(&mut self.paths.get_mut(head).next, path);
            self.paths.get_mut(path).next = next;
        }
        path
    }

    /// Takes a path out of its list; it keeps its place until [`free_path`](Self::free_path) and
    /// still knows its prefix.
    pub fn unlink(&mut self, slot: u32, path: u32) {
        let next = self.paths.get(path).next;
        let prefix = self.prefixes.get_mut(slot);
        if prefix.head() == path {
            prefix.head = if next & END == 0 { next } else { NONE };
        } else {
            let mut at = prefix.head();
            while self.paths.get(at).next != path {
                at = self.paths.get(at).next;
            }
            self.paths.get_mut(at).next = next;
        }
        self.paths.get_mut(path).next = slot | END;
    }

    /// Gives the place of an unlinked path back.
    pub fn free_path(&mut self, path: u32) {
        self.paths.remove(path);
    }

    /// Makes a path the head and says whether it is the best.
    pub fn promote(&mut self, slot: u32, best: Option<u32>) {
        let head = self.prefixes.get(slot).head();
        if let Some(path) = best
            && head != path
        {
            self.unlink(slot, path);
            self.paths.get_mut(path).next = head;
        }
        if head != NONE {
            self.prefixes.get_mut(slot).head = best.map_or(head, |path| path | BEST);
        }
    }

    /// Paths in their places, unlinked ones included.
    pub fn path_count(&self) -> usize {
        self.paths.used()
    }
}

#[cfg(test)]
mod tests;
