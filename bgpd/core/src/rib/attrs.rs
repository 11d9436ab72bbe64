//! Attribute sets, interned: one allocation for equal sets, whoever sent them.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use bgp_packet::{
    Asn, CanonicalParts, Community, NextHop, Origin, PathAttributes, Update, UpdateContext,
    canonical_octets, from_canonical,
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Attributes of a route as canonical octets, beside the few parts that decision and export need
/// for every route. Immutable; shared by every route that carries them, on any shard.
///
/// A full table has some hundred thousand of these: 64 octets beside the canonical ones.
#[derive(Debug)]
pub struct Attrs {
    /// The canonical octets, then the next hop: its address and the link-local one, if there.
    octets: Box<[u8]>,
    hash: u64,
    /// Bits of every AS number and cluster id in it: whether ours may be among them.
    bloom: u64,
    header: Header,
}

const _: () = assert!(size_of::<Attrs>() == 64);

/// What decision looks at. Numbers that are not there are 0 and not in `present`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    med: u32,
    local_pref: u32,
    originator: u32,
    neighbour: u32,
    /// Of the AS path, to compare contents.
    pub path_hash: u32,
    /// AS numbers in sequences, plus one for each set; confederation segments do not count.
    pub path_len: u16,
    /// Entries of CLUSTER_LIST.
    pub cluster_len: u8,
    /// ORIGIN.
    pub origin: Origin,
    /// Well-known communities in it.
    pub well_known: WellKnown,
    present: u8,
    next_hop_len: u8,
    /// The next hop, where it is an IPv4 address alone: looked at for every set, while the octets
    /// are seldom.
    next_hop_v4: u32,
}

const MED: u8 = 1;
const LOCAL_PREF: u8 = 2;
const ORIGINATOR: u8 = 4;
const NEIGHBOUR: u8 = 8;

impl Header {
    fn of(parts: &CanonicalParts<'_>, key: &AttrKey) -> Self {
        let mut present = 0;
        let mut number = |bit: u8, value: Option<u32>| {
            present |= if value.is_some() { bit } else { 0 };
            value.unwrap_or(0)
        };
        Self {
            med: number(MED, parts.med),
            local_pref: number(LOCAL_PREF, parts.local_pref),
            originator: number(ORIGINATOR, parts.originator_id.map(u32::from)),
            neighbour: number(NEIGHBOUR, parts.neighbour.map(|asn| asn.0)),
            path_hash: HASHER.hash_one(parts.as_path) as u32,
            path_len: u16::try_from(parts.hops).unwrap_or(u16::MAX),
            cluster_len: u8::try_from(parts.cluster_list.len()).unwrap_or(u8::MAX),
            origin: parts.origin,
            well_known: WellKnown::of(parts.communities),
            present,
            next_hop_len: key.next_hop_len,
            next_hop_v4: key.next_hop_v4,
        }
    }

    fn number(&self, bit: u8, value: u32) -> Option<u32> {
        (self.present & bit != 0).then_some(value)
    }

    /// MULTI_EXIT_DISC.
    pub fn med(&self) -> Option<u32> {
        self.number(MED, self.med)
    }

    /// LOCAL_PREF.
    pub fn local_pref(&self) -> Option<u32> {
        self.number(LOCAL_PREF, self.local_pref)
    }

    /// ORIGINATOR_ID.
    pub fn originator(&self) -> Option<Ipv4Addr> {
        self.number(ORIGINATOR, self.originator).map(Ipv4Addr::from)
    }

    /// First AS of the first sequence behind confederation segments; `None` for an empty path or
    /// one that begins with a set.
    pub fn neighbour(&self) -> Option<Asn> {
        self.number(NEIGHBOUR, self.neighbour).map(Asn)
    }
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

    fn of(communities: &[[u8; 4]]) -> Self {
        // All of them are in the block of well-known ones.
        let well_known = communities.iter().filter(|octets| octets[..2] == [0xFF, 0xFF]);
        well_known.fold(Self::default(), |set, octets| {
            match Community(u32::from_be_bytes(*octets)) {
                Community::GRACEFUL_SHUTDOWN => Self(set.0 | Self::GRACEFUL_SHUTDOWN.0),
                Community::NO_EXPORT => Self(set.0 | Self::NO_EXPORT.0),
                Community::NO_ADVERTISE => Self(set.0 | Self::NO_ADVERTISE.0),
                Community::NO_EXPORT_SUBCONFED => Self(set.0 | Self::NO_EXPORT_SUBCONFED.0),
                _ => set,
            }
        })
    }
}

const HASHER: FixedState = FixedState::with_seed(0x6174_7472_7300);

fn bloom_bit(value: u32) -> u64 {
    1 << (value.wrapping_mul(0x9E37_79B1) >> 26)
}

/// What an attribute set is known by, in a buffer that is used again and again.
#[derive(Debug, Default)]
pub struct AttrKey {
    /// As in [`Attrs`].
    octets: Vec<u8>,
    next_hop_len: u8,
    next_hop_v4: u32,
    hash: u64,
}

impl AttrKey {
    /// Of the attributes of an UPDATE; `false` where they must be decoded first, by
    /// [`Update::decode_attributes`].
    pub fn read(&mut self, update: &Update<'_>, context: &UpdateContext) -> bool {
        self.octets.clear();
        match update.plain_attributes(context, &mut self.octets) {
            Some(next_hop) => {
                self.seal(next_hop);
                true
            }
            None => false,
        }
    }

    /// Of decoded attributes.
    pub fn new(attributes: &PathAttributes) -> Self {
        let mut key = Self::default();
        key.set(attributes);
        key
    }

    /// Likewise.
    pub fn set(&mut self, attributes: &PathAttributes) {
        self.octets.clear();
        canonical_octets(attributes, &mut self.octets);
        self.seal(attributes.next_hop);
    }

    fn seal(&mut self, NextHop { address, link_local }: NextHop) {
        let before = self.octets.len();
        match address {
            IpAddr::V4(address) => self.octets.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => self.octets.extend_from_slice(&address.octets()),
        }
        self.octets.extend(link_local.iter().flat_map(|address| address.octets()));
        // 4, 16, 20 or 32.
        self.next_hop_len = (self.octets.len() - before) as u8;
        self.next_hop_v4 = match (address, link_local) {
            (IpAddr::V4(address), None) => address.to_bits(),
            _ => 0,
        };
        self.hash = HASHER.hash_one(self.octets.as_slice());
    }

    /// That of the set; see [`Attrs::content_hash`].
    pub fn content_hash(&self) -> u64 {
        self.hash
    }
}

impl Attrs {
    /// Not yet shared: give it to an [`AttrTable`].
    pub fn new(attributes: &PathAttributes) -> Self {
        Self::of(&AttrKey::new(attributes))
    }

    /// Likewise.
    pub fn of(key: &AttrKey) -> Self {
        let octets = key.octets.as_slice();
        let canonical = &octets[..octets.len() - usize::from(key.next_hop_len)];
        let parts = CanonicalParts::read(canonical).expect("octets are our own canonical form");
        let clusters = parts.cluster_list.iter().map(|id| u32::from_be_bytes(*id));
        let numbers = parts.asns().map(|asn| asn.0).chain(clusters);
        let bloom = numbers.fold(0, |bits, number| bits | bloom_bit(number));
        let header = Header::of(&parts, key);
        Self { octets: octets.into(), hash: key.hash, bloom, header }
    }

    /// Everything, decoded.
    pub fn decode(&self) -> PathAttributes {
        from_canonical(self.octets(), self.next_hop()).expect("octets are our own canonical form")
    }

    /// Canonical octets of everything but the next hop.
    pub(crate) fn octets(&self) -> &[u8] {
        self.parts().0
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.octets.split_at(self.octets.len() - usize::from(self.header.next_hop_len))
    }

    /// The next hop.
    pub fn next_hop(&self) -> NextHop {
        if self.header.next_hop_len == 4 {
            return NextHop::new(Ipv4Addr::from(self.header.next_hop_v4));
        }
        let octets = self.parts().1;
        let (address, rest) = octets.split_at(if octets.len().is_multiple_of(16) { 16 } else { 4 });
        let address = match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
            (Ok(address), _) => IpAddr::from(address),
            (_, Ok(address)) => IpAddr::from(address),
            _ => unreachable!("one of both lengths"),
        };
        NextHop { address, link_local: rest.first_chunk::<16>().map(|o| Ipv6Addr::from(*o)) }
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
        self.hash == other.hash
            && self.header.next_hop_len == other.header.next_hop_len
            && self.octets == other.octets
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
    /// The shared copy of a set that is known.
    pub fn find(&self, key: &AttrKey) -> Option<Arc<Attrs>> {
        let same = |known: &Arc<Attrs>| {
            known.hash == key.hash
                && known.header.next_hop_len == key.next_hop_len
                && *known.octets == *key.octets
        };
        self.table.find(key.hash, same).cloned()
    }

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
