//! Attribute sets, interned: one allocation for equal sets, whoever sent them.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    net::Ipv4Addr,
    sync::Arc,
};

use bgp_packet::{
    AsSegment, Asn, Community, NextHop, Origin, PathAttributes, update::canonical_octets,
    update::from_canonical,
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Attributes of a route as canonical octets, beside the few parts that decision and export need
/// for every route. Immutable; shared by every route that carries them, on any shard.
#[derive(Debug)]
pub struct Attrs {
    octets: Box<[u8]>,
    next_hop: NextHop,
    hash: u64,
    /// Bits of every AS number and cluster id in it: whether ours may be among them.
    bloom: u64,
    header: Header,
}

/// What decision looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID.
    pub originator: Option<Ipv4Addr>,
    /// First AS of the first sequence behind confederation segments; `None` for an empty path or
    /// one that begins with a set.
    pub neighbour: Option<Asn>,
    /// AS numbers in sequences, plus one for each set; confederation segments do not count.
    pub path_len: u16,
    /// Of the AS path, to compare contents.
    pub path_hash: u32,
    /// Entries of CLUSTER_LIST.
    pub cluster_len: u8,
    /// ORIGIN.
    pub origin: Origin,
    /// Well-known communities in it.
    pub well_known: WellKnown,
}

/// Well-known communities that change what we do with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WellKnown(u8);

impl WellKnown {
    /// RFC 8326.
    pub const GRACEFUL_SHUTDOWN: Self = Self(1);
    /// RFC 1997.
    pub const NO_EXPORT: Self = Self(2);
    /// RFC 1997.
    pub const NO_ADVERTISE: Self = Self(4);
    /// RFC 1997.
    pub const NO_EXPORT_SUBCONFED: Self = Self(8);

    /// Whether all of `other` are in this set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn of(communities: &[Community]) -> Self {
        communities.iter().fold(Self::default(), |set, community| match *community {
            Community::GRACEFUL_SHUTDOWN => Self(set.0 | Self::GRACEFUL_SHUTDOWN.0),
            Community::NO_EXPORT => Self(set.0 | Self::NO_EXPORT.0),
            Community::NO_ADVERTISE => Self(set.0 | Self::NO_ADVERTISE.0),
            Community::NO_EXPORT_SUBCONFED => Self(set.0 | Self::NO_EXPORT_SUBCONFED.0),
            _ => set,
        })
    }
}

const HASHER: FixedState = FixedState::with_seed(0x6174_7472_7300);

fn bloom_bit(value: u32) -> u64 {
    1 << (value.wrapping_mul(0x9E37_79B1) >> 26)
}

impl Attrs {
    /// Not yet shared: give it to an [`AttrTable`].
    pub fn new(attributes: &PathAttributes) -> Self {
        let mut octets = Vec::with_capacity(128);
        canonical_octets(attributes, &mut octets);
        let next_hop = attributes.next_hop;
        let hash = HASHER.hash_one((octets.as_slice(), next_hop));
        let mut header = Header {
            med: attributes.med,
            local_pref: attributes.local_pref,
            originator: attributes.originator_id,
            neighbour: None,
            path_len: 0,
            path_hash: HASHER.hash_one(&attributes.as_path) as u32,
            cluster_len: u8::try_from(attributes.cluster_list.len()).unwrap_or(u8::MAX),
            origin: attributes.origin,
            well_known: WellKnown::of(&attributes.communities),
        };
        let mut bloom = 0;
        let mut leading = true;
        for segment in &attributes.as_path.0 {
            let (asns, hops) = match segment {
                AsSegment::Sequence(asns) => {
                    if leading {
                        header.neighbour = asns.first().copied();
                        leading = false;
                    }
                    (asns, u16::try_from(asns.len()).unwrap_or(u16::MAX))
                }
                AsSegment::Set(asns) => {
                    leading = false;
                    (asns, 1)
                }
                AsSegment::ConfedSequence(asns) | AsSegment::ConfedSet(asns) => (asns, 0),
            };
            header.path_len = header.path_len.saturating_add(hops);
            bloom = asns.iter().fold(bloom, |bits, asn| bits | bloom_bit(asn.0));
        }
        let clusters = &attributes.cluster_list;
        bloom = clusters.iter().fold(bloom, |bits, id| bits | bloom_bit((*id).into()));
        Self { octets: octets.into_boxed_slice(), next_hop, hash, bloom, header }
    }

    /// Everything, decoded.
    pub fn decode(&self) -> PathAttributes {
        from_canonical(&self.octets, self.next_hop).expect("octets are our own canonical form")
    }

    /// Canonical octets of everything but the next hop.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The next hop.
    pub fn next_hop(&self) -> NextHop {
        self.next_hop
    }

    /// Of contents; the same on every run and every thread. Chooses among several tables.
    pub fn content_hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the number may be in the AS path or cluster list; `false` is certain.
    pub(crate) fn may_contain(&self, value: u32) -> bool {
        self.bloom & bloom_bit(value) != 0
    }
}

impl PartialEq for Attrs {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.octets == other.octets && self.next_hop == other.next_hop
    }
}

impl Eq for Attrs {}

impl Hash for Attrs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The attribute sets in use, each once.
///
/// Plain data: the shell keeps some of these behind its locks, chosen by [`Attrs::content_hash`].
/// Sets that nobody else holds any more are dropped when the table would have to grow.
#[derive(Debug, Default)]
pub struct AttrTable {
    table: HashTable<Arc<Attrs>>,
}

impl AttrTable {
    /// The shared copy of a set.
    pub fn intern(&mut self, attrs: Attrs) -> Arc<Attrs> {
        if let Some(known) = self.table.find(attrs.hash, |known| **known == attrs) {
            return Arc::clone(known);
        }
        if self.table.len() == self.table.capacity() {
            self.collect();
        }
        let shared = Arc::new(attrs);
        self.table.insert_unique(shared.hash, Arc::clone(&shared), |attrs| attrs.hash);
        shared
    }

    /// Drops the sets that nobody else holds; how many.
    pub fn collect(&mut self) -> usize {
        let before = self.table.len();
        self.table.retain(|attrs| Arc::strong_count(attrs) > 1);
        before - self.table.len()
    }

    /// Sets in the table, unused ones included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests;
