//! Attribute sets of one shard by number, counted, and the next hops they lead over.

use std::{
    collections::BTreeMap,
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{
    arena::{Arena, Link},
    attrs::Attrs,
    event::{Effect, Resolved, TrackedNextHop},
    table::NONE,
};
use crate::policy::LocalAttributes;

/// What a path has besides its attributes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Extra {
    /// Set by policy.
    pub local: LocalAttributes,
    /// Interface that a link-local next hop belongs to.
    pub interface: Option<u32>,
}

#[derive(Debug)]
struct Entry {
    /// `None`: a free place.
    attrs: Option<Arc<Attrs>>,
    refs: u32,
    extra: u32,
    /// Of a free place: the next one.
    hop: u32,
}

impl Link for Entry {
    fn link(&self) -> u32 {
        self.hop
    }

    fn set_link(&mut self, to: u32) {
        self.hop = to;
    }
}

#[derive(Debug)]
struct Hop {
    key: TrackedNextHop,
    state: Option<Resolved>,
    refs: u32,
}

/// The numbered sets.
#[derive(Debug, Default)]
pub(crate) struct Interned {
    entries: Arena<Entry>,
    index: HashTable<u32>,
    /// Few: what the policies set. The first is the default.
    extras: Vec<Extra>,
    hops: Vec<Hop>,
    free_hops: Vec<u32>,
    hop_index: BTreeMap<TrackedNextHop, u32>,
    effects: Vec<Effect>,
}

const HASHER: FixedState = FixedState::with_seed(0x696e_7465_726e);

fn hash(attrs: &Attrs, extra: u32) -> u64 {
    if extra == 0 { attrs.content_hash() } else { HASHER.hash_one((attrs.content_hash(), extra)) }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

impl Interned {
    /// The number of a set, counted once more.
    pub fn acquire(&mut self, attrs: &Arc<Attrs>, mut extra: Extra) -> u32 {
        let next_hop = attrs.next_hop();
        let scoped = next_hop.link_local.is_some()
            || matches!(next_hop.address, IpAddr::V6(address) if is_link_local(address));
        if !scoped {
            extra.interface = None;
        }
        let extra = self.extra_number(extra);
        let hash = hash(attrs, extra);
        let entries = &self.entries;
        let found = self.index.find(hash, |id| {
            let entry = entries.get(*id);
            entry.extra == extra
                && entry
                    .attrs
                    .as_ref()
                    .is_some_and(|known| Arc::ptr_eq(known, attrs) || known == attrs)
        });
        if let Some(id) = found.copied() {
            self.entries.get_mut(id).refs += 1;
            return id;
        }
        let hop = if next_hop.address.is_unspecified() {
            NONE
        } else {
            self.acquire_hop(TrackedNextHop {
                address: next_hop.address,
                link_local: next_hop.link_local,
                interface: self.extras[extra as usize].interface,
            })
        };
        let entry = Entry { attrs: Some(Arc::clone(attrs)), refs: 1, extra, hop };
        let id = self.entries.insert(entry);
        let entries = &self.entries;
        self.index.insert_unique(hash, id, |id| {
            let entry = entries.get(*id);
            entry.attrs.as_ref().map_or(0, |attrs| self::hash(attrs, entry.extra))
        });
        id
    }

    /// Counts a set once more.
    pub fn retain(&mut self, id: u32) {
        self.entries.get_mut(id).refs += 1;
    }

    /// Counts a set once less; forgets it at zero.
    pub fn release(&mut self, id: u32) {
        self.release_of(id, 1);
    }

    /// Counts a set so many times less.
    pub fn release_of(&mut self, id: u32, times: u32) {
        let entry = self.entries.get_mut(id);
        entry.refs -= times;
        if entry.refs > 0 {
            return;
        }
        let (extra, hop) = (entry.extra, entry.hop);
        let attrs = entry.attrs.take().expect("a counted set is there");
        if let Ok(found) = self.index.find_entry(hash(&attrs, extra), |known| *known == id) {
            found.remove();
        }
        self.entries.remove(id);
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
        if hop != NONE {
            self.release_hop(hop);
        }
    }

    /// A set.
    pub fn attrs(&self, id: u32) -> &Arc<Attrs> {
        self.entries.get(id).attrs.as_ref().expect("a counted set is there")
    }

    /// What a set has besides.
    pub fn extra(&self, id: u32) -> &Extra {
        &self.extras[self.entries.get(id).extra as usize]
    }

    /// Number of the next hop of a set; `NONE` for ourselves.
    pub fn hop(&self, id: u32) -> u32 {
        self.entries.get(id).hop
    }

    /// What distinguishes two sets for the kernel: next hop and local values.
    pub fn forwarding(&self, id: u32) -> (u32, u32) {
        let entry = self.entries.get(id);
        (entry.hop, entry.extra)
    }

    /// Sets in use.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// A next hop and how it is reached.
    pub fn resolved(&self, hop: u32) -> (&TrackedNextHop, Option<Resolved>) {
        let hop = &self.hops[hop as usize];
        (&hop.key, hop.state)
    }

    /// Notes a change of a next hop. Its number, if decisions may depend on it, and how it was
    /// reached.
    pub fn resolve(
        &mut self,
        key: &TrackedNextHop,
        state: Option<Resolved>,
    ) -> Option<(u32, Option<Resolved>)> {
        let number = *self.hop_index.get(key)?;
        let hop = &mut self.hops[number as usize];
        let was = std::mem::replace(&mut hop.state, state);
        (was != state).then_some((number, was))
    }

    /// Next hops to follow, or no longer.
    pub fn drain(&mut self, out: &mut Vec<Effect>) {
        out.append(&mut self.effects);
    }

    fn extra_number(&mut self, extra: Extra) -> u32 {
        if self.extras.is_empty() {
            self.extras.push(Extra::default());
        }
        match self.extras.iter().position(|known| *known == extra) {
            Some(position) => position as u32,
            None => {
                self.extras.push(extra);
                self.extras.len() as u32 - 1
            }
        }
    }

    fn acquire_hop(&mut self, key: TrackedNextHop) -> u32 {
        if let Some(&number) = self.hop_index.get(&key) {
            self.hops[number as usize].refs += 1;
            return number;
        }
        let hop = Hop { key, state: None, refs: 1 };
        let number = match self.free_hops.pop() {
            Some(number) => {
                self.hops[number as usize] = hop;
                number
            }
            None => {
                self.hops.push(hop);
                self.hops.len() as u32 - 1
            }
        };
        self.hop_index.insert(key, number);
        self.effects.push(Effect::Track(key));
        number
    }

    fn release_hop(&mut self, number: u32) {
        let hop = &mut self.hops[number as usize];
        hop.refs -= 1;
        if hop.refs == 0 {
            self.hop_index.remove(&hop.key);
            self.effects.push(Effect::Untrack(hop.key));
            self.free_hops.push(number);
        }
    }
}

#[cfg(test)]
mod tests;
