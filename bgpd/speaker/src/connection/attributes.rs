//! The attribute cache of one connection.
//!
//! Most UPDATEs repeat attributes that came before. They are recognised by the octets that
//! determine them ([`Update::attribute_key`]), so that nothing is decoded twice. Only what had no
//! fault is kept. Bounded in number and octets: two generations, the older one forgotten when the
//! younger is full.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use bgp_core::rib::Attrs;
use bgp_packet::Update;

/// Blocks in one generation.
const GENERATION: usize = 8192;
/// Octets of blocks in one generation; a block can have 64 KiB of them.
const GENERATION_OCTETS: usize = 2 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    hasher: foldhash::quality::RandomState,
    young: HashMap<u64, Entry>,
    /// Octets of the blocks in it.
    young_octets: usize,
    old: HashMap<u64, Entry>,
    /// The octets last looked at.
    scratch: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Entry {
    octets: Box<[u8]>,
    attrs: Arc<Attrs>,
}

/// The hash of the octets last looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(u64);

impl Cache {
    /// Looks at an UPDATE, for the calls below.
    pub(crate) fn look(&mut self, update: &Update<'_>) -> Key {
        self.scratch.clear();
        update.attribute_key(&mut self.scratch);
        Key(self.hasher.hash_one(self.scratch.as_slice()))
    }

    /// The attributes of the UPDATE last looked at, if they came before.
    pub(crate) fn find(&mut self, Key(hash): Key) -> Option<Arc<Attrs>> {
        let same = |entry: &&Entry| *entry.octets == *self.scratch;
        if let Some(entry) = self.young.get(&hash).filter(same) {
            return Some(Arc::clone(&entry.attrs));
        }
        let entry = self.old.get(&hash).filter(same)?.clone();
        let attrs = Arc::clone(&entry.attrs);
        self.keep(hash, entry);
        Some(attrs)
    }

    /// Keeps the attributes of the UPDATE last looked at.
    pub(crate) fn insert(&mut self, Key(hash): Key, attrs: Arc<Attrs>) {
        let octets = self.scratch.as_slice().into();
        self.keep(hash, Entry { octets, attrs });
    }

    fn keep(&mut self, hash: u64, entry: Entry) {
        if self.young.len() >= GENERATION || self.young_octets >= GENERATION_OCTETS {
            self.old = std::mem::take(&mut self.young);
            self.young_octets = 0;
        }
        self.young_octets += entry.octets.len();
        if let Some(replaced) = self.young.insert(hash, entry) {
            self.young_octets -= replaced.octets.len();
        }
    }
}

#[cfg(test)]
mod tests;
