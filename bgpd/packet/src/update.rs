//! UPDATE taken apart: framing, NLRI and the two attributes that carry NLRI.
//!
//! The letters in comments are the rules every UPDATE error follows (RFC 7606 §2 to §5):
//! (a) framing first: lengths that do not fit the message reset the session; (b) what leaves the
//! NLRI locatable does not; (c) of several errors the strongest consequence counts;
//! (d) treat-as-withdraw withdraws all NLRI of the message and still processes its withdrawals;
//! (e) an attribute error stronger than discard in a message with attributes besides
//! MP_UNREACH_NLRI but no reachable NLRI resets the session; (f) each fault is reported, with the
//! octets, bounded; (g) a prefix both withdrawn and announced counts as announced: process
//! withdrawals first; (h) a NOTIFICATION carries no more than the attribute itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use crate::{
    Asn, Family, FamilySet, NextHop, Notification, attribute_code, attribute_name, attributes,
    nlri::{Ignored, MalformedPrefix},
    notification::{code, update_error},
    wire::{WireAttribute, WireAttributes, flag, take_counted8, take_counted16},
};

pub use crate::{
    attributes::Decoded,
    canonical::{canonical_octets, from_canonical},
    encode::{Announce, EncodeContext, encode_withdraw, end_of_rib},
    nlri::Nlri,
};

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

impl UpdateContext {
    /// The number a path must begin with.
    pub(crate) fn first_as(&self) -> Option<Asn> {
        (self.enforce_first_as && self.kind == SessionKind::External).then_some(self.peer_asn)
    }
}

/// Something that was wrong, for logs and counters (RFC 7606 §6, §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Attribute type code; 0 when the block itself is cut short, or it was in the classic fields.
    pub code: u8,
    /// What the rules ask for.
    pub handling: Handling,
    /// What was wrong, with the numbers.
    pub text: String,
    /// The attribute as it came, header and all, cut to 64 octets; empty where none is to blame.
    pub octets: Bytes,
}

impl Fault {
    pub(crate) fn new(code: u8, handling: Handling, text: String, whole: &[u8]) -> Self {
        let octets = whole.get(..MAX_FAULT_OCTETS).unwrap_or(whole);
        Self { code, handling, text, octets: Bytes::copy_from_slice(octets) }
    }
}

/// Consequence of a fault, weakest first (RFC 7606 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handling {
    /// A prefix that no route can have, or a family not negotiated: left out, nothing else.
    Ignore,
    /// The attribute is dropped, the route stays.
    Discard,
    /// Every prefix announced in the message counts as withdrawn.
    TreatAsWithdraw,
}

/// An UPDATE taken apart without copying: framing, NLRI and MP attributes checked, the other
/// attributes not yet looked at.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    /// Classic withdrawn routes and those of MP_UNREACH_NLRI; negotiated families only, `None`
    /// where there is no prefix.
    pub withdrawn: [Option<Nlri<'a>>; 2],
    /// Classic NLRI and that of MP_REACH_NLRI, likewise.
    pub announced: [Option<Nlri<'a>>; 2],
    /// The next hop of MP_REACH_NLRI, for its NLRI.
    pub mp_next_hop: Option<NextHop>,
    /// The message is an End-of-RIB for this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// The path attribute block as received, MP attributes included.
    pub attributes: &'a [u8],
    /// What was left out, to be logged; mostly empty.
    pub notes: Vec<Fault>,
    pub(crate) layout: Layout,
}

/// What taking an UPDATE apart found about its attribute block.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout {
    /// Classic NLRI is there, of whatever family is negotiated.
    pub(crate) classic_reach: bool,
    /// MP_REACH_NLRI is there; whether it carries NLRI, of whatever family.
    pub(crate) mp_reach: Option<bool>,
    /// There are attributes besides MP_UNREACH_NLRI, or the block is cut short.
    others: bool,
}

impl Layout {
    /// The message announces something, be it of a family that is ignored.
    pub(crate) fn has_reach(&self) -> bool {
        self.classic_reach || self.mp_reach == Some(true)
    }
}

impl<'a> Update<'a> {
    /// Takes the body of an UPDATE (after the 19 header octets) apart.
    ///
    /// # Errors
    /// The NOTIFICATION that RFC 4271 §6.3 and RFC 7606 ask for where the session must be reset.
    pub fn parse(body: &'a [u8], context: &UpdateContext) -> Result<Self, Notification> {
        // (a)
        let (withdrawn, rest) = take_counted16(body).ok_or_else(malformed_attributes)?;
        let (attributes, nlri) = take_counted16(rest).ok_or_else(malformed_attributes)?;
        let mut update = Self {
            withdrawn: [None; 2],
            announced: [None; 2],
            mp_next_hop: None,
            end_of_rib: None,
            attributes,
            notes: Vec::new(),
            layout: Layout { classic_reach: !nlri.is_empty(), ..Layout::default() },
        };
        update.withdrawn[0] = update.classic(withdrawn, context)?;
        update.announced[0] = update.classic(nlri, context)?;
        update.multiprotocol(context)?;

        if withdrawn.is_empty() && nlri.is_empty() && attributes.is_empty() {
            update.end_of_rib =
                Some(Family::IPV4_UNICAST).filter(|family| context.families.contains(*family));
        }
        if !withdrawn.is_empty() || !nlri.is_empty() {
            update.end_of_rib = None;
        }
        if update.layout.others && !update.layout.has_reach() {
            // (e): such a message is rare, so that it may be decoded twice.
            update.decode_attributes(context)?;
        }
        Ok(update)
    }

    /// A classic field: IPv4 unicast, where negotiated.
    fn classic(
        &mut self,
        octets: &'a [u8],
        context: &UpdateContext,
    ) -> Result<Option<Nlri<'a>>, Notification> {
        let family = Family::IPV4_UNICAST;
        if octets.is_empty() {
            return Ok(None);
        }
        if !context.families.contains(family) {
            self.note(0, format!("{family} is not negotiated: its prefixes are ignored"), &[]);
            return Ok(None);
        }
        let (nlri, ignored) = Nlri::check(family, context.add_path.contains(family), octets)
            .map_err(|MalformedPrefix| {
                Notification::new(code::UPDATE, update_error::INVALID_NETWORK)
            })?;
        self.note_ignored(0, ignored);
        Ok(Some(nlri))
    }

    /// Looks for MP_REACH_NLRI and MP_UNREACH_NLRI.
    fn multiprotocol(&mut self, context: &UpdateContext) -> Result<(), Notification> {
        let mut seen_unreach = false;
        let mut others = 0_usize;
        let mut empty_unreach = None;
        for attribute in WireAttributes::new(self.attributes) {
            match attribute {
                Ok(attribute) if attribute.code == attribute_code::MP_REACH => {
                    if self.layout.mp_reach.is_some() {
                        return Err(malformed_attributes());
                    }
                    others += 1;
                    self.mp_reach(attribute, context)?;
                }
                Ok(attribute) if attribute.code == attribute_code::MP_UNREACH => {
                    if std::mem::replace(&mut seen_unreach, true) {
                        return Err(malformed_attributes());
                    }
                    empty_unreach = self.mp_unreach(attribute, context)?;
                }
                Ok(_) => others += 1,
                // What carried NLRI is lost, so that treat-as-withdraw is not possible (RFC 7606
                // §3 (j)).
                Err(cut)
                    if matches!(
                        cut.code,
                        Some(attribute_code::MP_REACH | attribute_code::MP_UNREACH)
                    ) =>
                {
                    return Err(malformed_attributes());
                }
                Err(_) => others += 1,
            }
        }
        self.layout.others = others > 0;
        if others == 0 {
            self.end_of_rib = empty_unreach;
        }
        Ok(())
    }

    fn mp_reach(
        &mut self,
        attribute: WireAttribute<'a>,
        context: &UpdateContext,
    ) -> Result<(), Notification> {
        let error = || attribute_error(attribute.whole);
        check_mp_flags(attribute)?;
        let (&[high, low, safi], rest) =
            attribute.value.split_first_chunk::<3>().ok_or_else(error)?;
        let (next_hop, rest) = take_counted8(rest).ok_or_else(error)?;
        // The reserved octet was a count of SNPAs once.
        let (_, octets) = rest.split_first().ok_or_else(error)?;
        let family = Family { afi: u16::from_be_bytes([high, low]), safi };

        self.layout.mp_reach = Some(!octets.is_empty());
        if !context.families.contains(family) {
            self.note(
                attribute.code,
                format!("{family} is not negotiated: its prefixes are ignored"),
                attribute.whole,
            );
            return Ok(());
        }
        let over_ipv6 = family.afi == 2 || context.extended_next_hop.contains(family);
        self.mp_next_hop = Some(parse_next_hop(family, over_ipv6, next_hop).ok_or_else(error)?);
        let (nlri, ignored) = Nlri::check(family, context.add_path.contains(family), octets)
            .map_err(|MalformedPrefix| error())?;
        self.note_ignored(attribute.code, ignored);
        self.announced[1] = Some(nlri).filter(|nlri| !nlri.is_empty());
        Ok(())
    }

    /// The family, if there is no prefix in it.
    fn mp_unreach(
        &mut self,
        attribute: WireAttribute<'a>,
        context: &UpdateContext,
    ) -> Result<Option<Family>, Notification> {
        let error = || attribute_error(attribute.whole);
        check_mp_flags(attribute)?;
        let (&[high, low, safi], octets) =
            attribute.value.split_first_chunk::<3>().ok_or_else(error)?;
        let family = Family { afi: u16::from_be_bytes([high, low]), safi };
        if !context.families.contains(family) {
            self.note(
                attribute.code,
                format!("{family} is not negotiated: its prefixes are ignored"),
                attribute.whole,
            );
            return Ok(None);
        }
        let (nlri, ignored) = Nlri::check(family, context.add_path.contains(family), octets)
            .map_err(|MalformedPrefix| error())?;
        self.note_ignored(attribute.code, ignored);
        self.withdrawn[1] = Some(nlri).filter(|nlri| !nlri.is_empty());
        Ok(octets.is_empty().then_some(family))
    }

    #[cold]
    fn note(&mut self, code: u8, text: String, whole: &[u8]) {
        self.notes.push(Fault::new(code, Handling::Ignore, text, whole));
    }

    fn note_ignored(&mut self, code: u8, ignored: Ignored) {
        if let Ignored { count, first: Some(first) } = ignored {
            let text = format!("{count} prefixes that no route can have are ignored, as {first}");
            self.note(code, text, &[]);
        }
    }

    /// Decodes the attributes by RFC 7606. Not needed for a message that only withdraws: what
    /// could be wrong there was looked for by [`Update::parse`].
    ///
    /// # Errors
    /// The NOTIFICATION where an attribute error must reset the session (rule (e) of the module).
    pub fn decode_attributes(&self, context: &UpdateContext) -> Result<Decoded, Notification> {
        let decoded = attributes::decode(self, context);
        let strongest = decoded.faults.iter().map(|fault| fault.handling).max();
        if !self.layout.has_reach()
            && self.layout.others
            && strongest == Some(Handling::TreatAsWithdraw)
        {
            return Err(malformed_attributes());
        }
        Ok(decoded)
    }
}

/// The address or addresses of MP_REACH_NLRI; `None` for a length the family cannot have.
fn parse_next_hop(family: Family, over_ipv6: bool, octets: &[u8]) -> Option<NextHop> {
    if let Ok(address) = <[u8; 4]>::try_from(octets) {
        return (family.afi == 1).then(|| NextHop::new(Ipv4Addr::from(address)));
    }
    if !over_ipv6 {
        return None;
    }
    let (first, rest) = octets.split_first_chunk::<16>()?;
    let first = Ipv6Addr::from(*first);
    if rest.is_empty() {
        return Some(NextHop::new(first));
    }
    let second = Ipv6Addr::from(*<&[u8; 16]>::try_from(rest).ok()?);
    Some(if !second.is_unicast_link_local() {
        NextHop::new(first)
    } else if first.is_unspecified() || first == second {
        NextHop::new(second)
    } else {
        NextHop { address: IpAddr::V6(first), link_local: Some(second) }
    })
}

/// Both are optional non-transitive.
fn check_mp_flags(attribute: WireAttribute<'_>) -> Result<(), Notification> {
    if attribute.flags & (flag::OPTIONAL | flag::TRANSITIVE) == flag::OPTIONAL {
        Ok(())
    } else {
        Err(attribute_error(attribute.whole))
    }
}

/// 3/1, which has no data.
pub(crate) fn malformed_attributes() -> Notification {
    Notification::new(code::UPDATE, update_error::MALFORMED_ATTRIBUTES)
}

/// 3/9 with the attribute, and no octet more (h).
fn attribute_error(whole: &[u8]) -> Notification {
    let data = Bytes::copy_from_slice(whole);
    Notification::with_data(code::UPDATE, update_error::OPTIONAL_ATTRIBUTE, data)
}

/// Octets of an attribute that a fault keeps.
const MAX_FAULT_OCTETS: usize = 64;

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = attribute_name(self.code) {
            write!(f, "{name}: ")?;
        } else if self.code != 0 {
            write!(f, "attribute {}: ", self.code)?;
        }
        f.write_str(&self.text)?;
        if self.octets.is_empty() {
            return Ok(());
        }
        write!(f, " [{}]", crate::wire::Hex(&self.octets))
    }
}

#[cfg(test)]
mod tests;
