//! UPDATE: framing, the error rules of RFC 7606, and packing.

use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use crate::{Asn, Family, FamilySet, NextHop, Notification, PathAttributes};

/// What the peer is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// Same AS (iBGP).
    Internal,
    /// Another AS (eBGP).
    External,
    /// Another member AS of our confederation (RFC 5065).
    ConfedExternal,
}

/// All that the meaning of an UPDATE depends on besides its octets; fixed once Established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateContext {
    /// What the peer is to us.
    pub kind: SessionKind,
    /// The peer's AS (capability 65 merged in).
    pub peer_asn: Asn,
    /// Both sides sent capability 65: AS numbers in AS_PATH are 4 octets.
    pub four_octet_asn: bool,
    /// Families negotiated.
    pub families: FamilySet,
    /// Families whose received NLRI carries a path identifier (RFC 7911).
    pub add_path: FamilySet,
    /// Families whose next hop may be IPv6 although the NLRI is IPv4 (RFC 8950).
    pub extended_next_hop: FamilySet,
    /// The left-most AS must be the peer's (eBGP).
    pub enforce_first_as: bool,
    /// AS_SET and AS_CONFED_SET mean treat-as-withdraw (RFC 9774).
    pub reject_as_set: bool,
}

/// Prefixes of one family as they stand in a message; checked, so that iterating cannot fail.
#[derive(Debug, Clone, Copy)]
pub struct Nlri<'a> {
    /// The family of the prefixes.
    pub family: Family,
    /// Whether each prefix follows a 4-octet path identifier.
    pub add_path: bool,
    octets: &'a [u8],
}

impl<'a> Nlri<'a> {
    /// Path identifier (0 without add-path) and prefix with its host bits cleared, in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, IpNet)> + 'a {
        let _ = self.octets;
        std::iter::empty()
    }

    /// No prefix at all.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

/// An attribute that was wrong, for logs and counters (RFC 7606 §6, §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Attribute type code; 0 when the block itself is cut short.
    pub code: u8,
    /// What the rules ask for.
    pub handling: Handling,
    /// What was wrong, with the numbers.
    pub text: String,
}

/// Consequence of a fault, weakest first (RFC 7606 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handling {
    /// The attribute is dropped, the route stays.
    Discard,
    /// Every prefix announced in the message counts as withdrawn.
    TreatAsWithdraw,
}

/// An UPDATE taken apart without copying: framing, NLRI and MP attributes checked, the other
/// attributes not yet looked at.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    /// Classic withdrawn routes and those of MP_UNREACH_NLRI; negotiated families only.
    pub withdrawn: [Option<Nlri<'a>>; 2],
    /// Classic NLRI and that of MP_REACH_NLRI; negotiated families only.
    pub announced: [Option<Nlri<'a>>; 2],
    /// The next hop of MP_REACH_NLRI, for its NLRI.
    pub mp_next_hop: Option<NextHop>,
    /// The message is an End-of-RIB for this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// The path attribute block as received, MP attributes included.
    pub attributes: &'a [u8],
}

/// The attributes of an UPDATE after RFC 7606.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// `None`: treat as withdraw. The next hop in it is that of the classic NLRI, or of MP_REACH
    /// where there is no classic NLRI.
    pub attributes: Option<PathAttributes>,
    /// What was wrong, in wire order.
    pub faults: Vec<Fault>,
}

impl<'a> Update<'a> {
    /// Takes the body of an UPDATE (after the 19 header octets) apart.
    ///
    /// # Errors
    /// The NOTIFICATION that RFC 4271 §6.3 and RFC 7606 ask for where the session must be reset.
    pub fn parse(_body: &'a [u8], _context: &UpdateContext) -> Result<Self, Notification> {
        unimplemented!()
    }

    /// Decodes the attributes by RFC 7606. Not needed for a message that only withdraws.
    ///
    /// # Errors
    /// The NOTIFICATION where an attribute error must reset the session (rule (e) of the module).
    pub fn decode_attributes(&self, _context: &UpdateContext) -> Result<Decoded, Notification> {
        unimplemented!()
    }
}

/// How a peer wants UPDATEs encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncodeContext {
    /// The peer takes 4-octet AS numbers in AS_PATH; otherwise AS4_PATH is written as needed.
    pub four_octet_asn: bool,
    /// NLRI carries path identifiers.
    pub add_path: bool,
    /// The largest message the peer takes.
    pub max_len: usize,
}

/// Packs prefixes that share one attribute set into as few UPDATEs as they fit.
///
/// IPv4 prefixes with an IPv4 next hop go into the classic fields, all others into MP_REACH_NLRI.
#[derive(Debug)]
pub struct Announce {
    _attributes: Bytes,
}

impl Announce {
    /// Prepares the attribute block. `None` when the attributes alone leave no room for a prefix.
    pub fn new(
        _family: Family,
        _attributes: &PathAttributes,
        _context: EncodeContext,
    ) -> Option<Self> {
        unimplemented!()
    }

    /// Appends whole UPDATE messages (with headers) for the prefixes to `out`, and calls
    /// `message(octets, prefixes)` for each with its range of octets in `out` and prefix count.
    pub fn encode(
        &self,
        _prefixes: &mut dyn Iterator<Item = (u32, IpNet)>,
        _out: &mut BytesMut,
        _message: &mut dyn FnMut(std::ops::Range<usize>, usize),
    ) {
        unimplemented!()
    }
}

/// Appends whole UPDATE messages that withdraw the prefixes, likewise.
pub fn encode_withdraw(
    _family: Family,
    _context: EncodeContext,
    _prefixes: &mut dyn Iterator<Item = (u32, IpNet)>,
    _out: &mut BytesMut,
    _message: &mut dyn FnMut(std::ops::Range<usize>, usize),
) {
    unimplemented!()
}

/// The End-of-RIB marker of a family as a whole message (RFC 4724 §2).
pub fn end_of_rib(_family: Family) -> Bytes {
    unimplemented!()
}

/// The canonical octets of everything but the next hop: equal exactly when the attributes are.
pub fn canonical_octets(_attributes: &PathAttributes, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// The inverse of [`canonical_octets`]; `None` on octets it did not write.
pub fn from_canonical(_octets: &[u8], _next_hop: NextHop) -> Option<PathAttributes> {
    let _ = Ipv4Addr::UNSPECIFIED;
    unimplemented!()
}
