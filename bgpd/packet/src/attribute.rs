//! Path attributes in decoded form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Asn;

/// ORIGIN (RFC 4271 §5.1.1); lower is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Origin {
    /// 0.
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// One segment of an AS path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AsSegment {
    /// Type 1.
    Set(Vec<Asn>),
    /// Type 2.
    Sequence(Vec<Asn>),
    /// Type 3 (RFC 5065).
    ConfedSequence(Vec<Asn>),
    /// Type 4 (RFC 5065).
    ConfedSet(Vec<Asn>),
}

/// AS_PATH with AS4_PATH merged in (RFC 6793 §4.2.3). Adjacent sequences may stay apart as on the
/// wire; no segment is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct AsPath(pub Vec<AsSegment>);

/// A community as its 32-bit value (RFC 1997).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// RFC 8326.
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// RFC 7999.
    pub const BLACKHOLE: Self = Self(0xFFFF_029A);
    /// RFC 1997.
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// RFC 1997.
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// RFC 1997.
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xFFFF_FF03);
}

/// RFC 8092: global administrator and two local data parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

/// AGGREGATOR with AS4_AGGREGATOR merged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// AS that aggregated.
    pub asn: Asn,
    /// Its BGP identifier.
    pub address: Ipv4Addr,
}

/// The next hop of NEXT_HOP or MP_REACH_NLRI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The (global) address. A session over link-local addresses only may carry a link-local one.
    pub address: IpAddr,
    /// The second address of a 32-octet IPv6 next hop (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

/// An attribute this crate does not interpret but keeps (optional transitive, RFC 4271 §9).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawAttribute {
    /// Flags as to be sent: Partial is set, Extended Length is decided by the encoder.
    pub flags: u8,
    /// Type code.
    pub code: u8,
    /// Value octets.
    pub value: Vec<u8>,
}

/// All path attributes of a route but its NLRI, decoded. Lists keep the order of the wire, without
/// duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// 1.
    pub origin: Origin,
    /// 2 (and 17).
    pub as_path: AsPath,
    /// 3, or of 14.
    pub next_hop: NextHop,
    /// 4.
    pub med: Option<u32>,
    /// 5; absent from eBGP peers.
    pub local_pref: Option<u32>,
    /// 6.
    pub atomic_aggregate: bool,
    /// 7 (and 18).
    pub aggregator: Option<Aggregator>,
    /// 8.
    pub communities: Vec<Community>,
    /// 9 (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// 10 (RFC 4456), nearest cluster first.
    pub cluster_list: Vec<Ipv4Addr>,
    /// 16 (RFC 4360), as on the wire.
    pub ext_communities: Vec<[u8; 8]>,
    /// 25 (RFC 5701), as on the wire.
    pub ipv6_ext_communities: Vec<[u8; 20]>,
    /// 32 (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// 35 (RFC 9234), passed on unchanged.
    pub only_to_customer: Option<Asn>,
    /// The rest that is optional transitive, ascending by code.
    pub unknown: Vec<RawAttribute>,
}

impl PathAttributes {
    /// What a locally originated route starts from: origin IGP, empty path, nothing else.
    pub fn local(next_hop: NextHop) -> Self {
        Self {
            origin: Origin::Igp,
            as_path: AsPath::default(),
            next_hop,
            med: None,
            local_pref: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            ext_communities: Vec::new(),
            ipv6_ext_communities: Vec::new(),
            large_communities: Vec::new(),
            only_to_customer: None,
            unknown: Vec::new(),
        }
    }
}
