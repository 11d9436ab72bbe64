//! Path attributes in decoded form.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{AsPath, Asn, Community, ExtCommunity, LargeCommunity, wire::flag};

/// Attribute type codes.
pub mod attribute_code {
    /// ORIGIN (RFC 4271).
    pub const ORIGIN: u8 = 1;
    /// AS_PATH (RFC 4271).
    pub const AS_PATH: u8 = 2;
    /// NEXT_HOP (RFC 4271).
    pub const NEXT_HOP: u8 = 3;
    /// MULTI_EXIT_DISC (RFC 4271).
    pub const MED: u8 = 4;
    /// LOCAL_PREF (RFC 4271).
    pub const LOCAL_PREF: u8 = 5;
    /// ATOMIC_AGGREGATE (RFC 4271).
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// AGGREGATOR (RFC 4271).
    pub const AGGREGATOR: u8 = 7;
    /// COMMUNITIES (RFC 1997).
    pub const COMMUNITIES: u8 = 8;
    /// ORIGINATOR_ID (RFC 4456).
    pub const ORIGINATOR_ID: u8 = 9;
    /// CLUSTER_LIST (RFC 4456).
    pub const CLUSTER_LIST: u8 = 10;
    /// MP_REACH_NLRI (RFC 4760).
    pub const MP_REACH: u8 = 14;
    /// MP_UNREACH_NLRI (RFC 4760).
    pub const MP_UNREACH: u8 = 15;
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub const EXT_COMMUNITIES: u8 = 16;
    /// AS4_PATH (RFC 6793).
    pub const AS4_PATH: u8 = 17;
    /// AS4_AGGREGATOR (RFC 6793).
    pub const AS4_AGGREGATOR: u8 = 18;
    /// PMSI_TUNNEL (RFC 6514).
    pub const PMSI_TUNNEL: u8 = 22;
    /// Tunnel Encapsulation (RFC 9012).
    pub const TUNNEL_ENCAPSULATION: u8 = 23;
    /// IPv6 Address Specific Extended Community (RFC 5701).
    pub const IPV6_EXT_COMMUNITIES: u8 = 25;
    /// AIGP (RFC 7311).
    pub const AIGP: u8 = 26;
    /// BGP-LS (RFC 9552).
    pub const BGP_LS: u8 = 29;
    /// LARGE_COMMUNITY (RFC 8092).
    pub const LARGE_COMMUNITIES: u8 = 32;
    /// Only to Customer (RFC 9234).
    pub const ONLY_TO_CUSTOMER: u8 = 35;
    /// BGP Prefix-SID (RFC 8669).
    pub const PREFIX_SID: u8 = 40;
    /// ATTR_SET (RFC 6368).
    pub const ATTR_SET: u8 = 128;
}

/// The name of an attribute as the RFCs write it; `None` for a code this crate does not know.
pub fn attribute_name(code: u8) -> Option<&'static str> {
    Some(match code {
        attribute_code::ORIGIN => "ORIGIN",
        attribute_code::AS_PATH => "AS_PATH",
        attribute_code::NEXT_HOP => "NEXT_HOP",
        attribute_code::MED => "MULTI_EXIT_DISC",
        attribute_code::LOCAL_PREF => "LOCAL_PREF",
        attribute_code::ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        attribute_code::AGGREGATOR => "AGGREGATOR",
        attribute_code::COMMUNITIES => "COMMUNITIES",
        attribute_code::ORIGINATOR_ID => "ORIGINATOR_ID",
        attribute_code::CLUSTER_LIST => "CLUSTER_LIST",
        attribute_code::MP_REACH => "MP_REACH_NLRI",
        attribute_code::MP_UNREACH => "MP_UNREACH_NLRI",
        attribute_code::EXT_COMMUNITIES => "EXTENDED_COMMUNITIES",
        attribute_code::AS4_PATH => "AS4_PATH",
        attribute_code::AS4_AGGREGATOR => "AS4_AGGREGATOR",
        attribute_code::PMSI_TUNNEL => "PMSI_TUNNEL",
        attribute_code::TUNNEL_ENCAPSULATION => "TUNNEL_ENCAPSULATION",
        attribute_code::IPV6_EXT_COMMUNITIES => "IPV6_EXTENDED_COMMUNITIES",
        attribute_code::AIGP => "AIGP",
        attribute_code::BGP_LS => "BGP_LS",
        attribute_code::LARGE_COMMUNITIES => "LARGE_COMMUNITY",
        attribute_code::ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
        attribute_code::PREFIX_SID => "PREFIX_SID",
        attribute_code::ATTR_SET => "ATTR_SET",
        _ => return None,
    })
}

/// Optional and Transitive as the attribute defines them; `None` for a code this crate does not
/// know.
pub(crate) fn defined_flags(code: u8) -> Option<u8> {
    attribute_name(code)?;
    Some(match code {
        attribute_code::ORIGIN..=attribute_code::NEXT_HOP
        | attribute_code::LOCAL_PREF
        | attribute_code::ATOMIC_AGGREGATE => flag::TRANSITIVE,
        attribute_code::MED
        | attribute_code::ORIGINATOR_ID
        | attribute_code::CLUSTER_LIST
        | attribute_code::MP_REACH
        | attribute_code::MP_UNREACH
        | attribute_code::AIGP
        | attribute_code::BGP_LS => flag::OPTIONAL,
        _ => flag::OPTIONAL | flag::TRANSITIVE,
    })
}

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

impl Origin {
    /// The origin of a code of the wire.
    pub fn from_wire(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Igp),
            1 => Some(Self::Egp),
            2 => Some(Self::Incomplete),
            _ => None,
        }
    }

    /// Its code on the wire.
    pub fn to_wire(self) -> u8 {
        match self {
            Self::Igp => 0,
            Self::Egp => 1,
            Self::Incomplete => 2,
        }
    }
}

/// `igp`, `egp` or `incomplete`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "igp",
            Self::Egp => "egp",
            Self::Incomplete => "incomplete",
        })
    }
}

/// The text is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin (igp, egp, incomplete)")]
pub struct OriginParseError(pub String);

impl FromStr for Origin {
    type Err = OriginParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "igp" => Ok(Self::Igp),
            "egp" => Ok(Self::Egp),
            "incomplete" => Ok(Self::Incomplete),
            _ => Err(OriginParseError(text.to_owned())),
        }
    }
}

/// AGGREGATOR with AS4_AGGREGATOR merged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// AS that aggregated.
    pub asn: Asn,
    /// Its BGP identifier.
    pub address: Ipv4Addr,
}

/// The next hop of NEXT_HOP or MP_REACH_NLRI.
///
/// Of the three forms in which peers send a link-local address alone (`LL`, `:: LL`, `LL LL`) the
/// decoder makes the first. The encoder writes what it is given: the second address, if there,
/// makes the 32-octet form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The (global) address. A session over link-local addresses only may carry a link-local one.
    pub address: IpAddr,
    /// The second address of a 32-octet IPv6 next hop (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

impl NextHop {
    /// One address.
    pub fn new(address: impl Into<IpAddr>) -> Self {
        Self { address: address.into(), link_local: None }
    }

    /// Whether the address can be no router's: unspecified, loopback, multicast, 0/8, 240/4. A
    /// route that has such a next hop in MP_REACH_NLRI is ineligible; in NEXT_HOP the decoder
    /// treats it as withdraw already.
    pub fn is_martian(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => !is_host(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => !is_host(mapped),
                None => address.is_unspecified() || address.is_loopback() || address.is_multicast(),
            },
        }
    }
}

impl<T: Into<IpAddr>> From<T> for NextHop {
    fn from(address: T) -> Self {
        Self::new(address)
    }
}

/// Not in 0/8, 127/8, 224/4 or 240/4.
pub(crate) fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !matches!(first, 0 | 127 | 224..)
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

/// Which of the known optional transitive attributes came with the Partial bit, which nobody on
/// the way may clear (RFC 4271 §5). Says nothing of an attribute that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PartialBits(u8);

impl PartialBits {
    fn bit(code: u8) -> u8 {
        match code {
            attribute_code::AGGREGATOR => 1,
            attribute_code::COMMUNITIES => 2,
            attribute_code::EXT_COMMUNITIES => 4,
            attribute_code::IPV6_EXT_COMMUNITIES => 8,
            attribute_code::LARGE_COMMUNITIES => 16,
            attribute_code::ONLY_TO_CUSTOMER => 32,
            _ => 0,
        }
    }

    /// Whether the attribute of this type code came with it.
    pub fn contains(self, code: u8) -> bool {
        self.0 & Self::bit(code) != 0
    }

    /// [`flag::PARTIAL`] where the attribute of this type code came with it.
    pub(crate) fn flag(self, code: u8) -> u8 {
        if self.contains(code) { flag::PARTIAL } else { 0 }
    }

    /// Notes it; no effect for a code that is not optional transitive, or unknown.
    pub fn insert(&mut self, code: u8) {
        self.0 |= Self::bit(code);
    }
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
    /// 16 (RFC 4360), as on the wire; [`ExtCommunity`] has their text.
    pub ext_communities: Vec<[u8; 8]>,
    /// 25 (RFC 5701), as on the wire.
    pub ipv6_ext_communities: Vec<[u8; 20]>,
    /// 32 (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// 35 (RFC 9234), passed on unchanged.
    pub only_to_customer: Option<Asn>,
    /// The rest that is optional transitive, ascending by code.
    pub unknown: Vec<RawAttribute>,
    /// Partial bits of 7, 8, 16, 25, 32 and 35.
    pub partial: PartialBits,
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
            partial: PartialBits::default(),
        }
    }

    /// Removes extended communities that must not leave the AS (RFC 4360 §6), as towards an eBGP
    /// peer outside the confederation.
    pub fn strip_non_transitive(&mut self) {
        self.ext_communities.retain(|community| ExtCommunity(*community).is_transitive());
        self.ipv6_ext_communities.retain(|[kind, ..]| kind & 0x40 == 0);
    }
}

#[cfg(test)]
mod tests;
