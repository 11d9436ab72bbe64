//! The canonical octets of path attributes: what they are interned by.
//!
//! They are the attribute block as a 4-octet peer would get it, ascending by type code, without the
//! next hop, so what the decision process compares can be read off them ([`CanonicalParts`]), and
//! they can be sent without decoding ([`crate::Announce::from_canonical`]).

use std::net::Ipv4Addr;

use crate::{
    Aggregator, AsPath, Asn, Community, LargeCommunity, NextHop, Origin, PartialBits,
    PathAttributes, RawAttribute,
    as_path::AsnWidth,
    attribute_code as code, block,
    wire::{WireAttribute, WireAttributes, flag},
};

/// Appends the canonical octets of everything but the next hop: equal exactly when the attributes
/// are.
///
/// That holds for attributes as the decoder makes them, and changed ones that keep what the types
/// promise: no empty or overlong path segment, unknown attributes ascending by code, Partial bits
/// only of attributes that are there, no attribute beyond 65535 octets.
pub fn canonical_octets(attributes: &PathAttributes, out: &mut Vec<u8>) {
    block::write(attributes, AsnWidth::Four, None, out);
}

/// The inverse of [`canonical_octets`]; `None` on octets it did not write.
pub fn from_canonical(octets: &[u8], next_hop: NextHop) -> Option<PathAttributes> {
    let mut attributes = PathAttributes::local(next_hop);
    let mut last = 0;
    let mut mandatory = 0;
    for attribute in WireAttributes::new(octets) {
        let attribute = attribute.ok()?;
        let known = read(&mut attributes, attribute)?;
        let ascending = if known { attribute.code > last } else { attribute.code >= last };
        if !ascending || !has_canonical_header(attribute, known) {
            return None;
        }
        last = attribute.code;
        mandatory += u8::from(matches!(last, code::ORIGIN | code::AS_PATH));
    }
    (mandatory == 2).then_some(attributes)
}

/// The flags that [`block::write`] gives.
fn has_canonical_header(attribute: WireAttribute<'_>, known: bool) -> bool {
    let WireAttribute { flags, code, value, .. } = attribute;
    let mut bits = PartialBits::default();
    bits.insert(code);
    let free = if known { bits.flag(code) } else { flag::LASTING };
    flags & !free == block::flags(code, value.len()) & !free
}

/// Whether the code is a known one; `None` where the value is not as we write it.
fn read(route: &mut PathAttributes, attribute: WireAttribute<'_>) -> Option<bool> {
    let WireAttribute { flags, code, value, .. } = attribute;
    match code {
        code::ORIGIN => route.origin = origin(value)?,
        code::AS_PATH => route.as_path = AsPath::from_wire(value, AsnWidth::Four).ok()?,
        code::MED => route.med = Some(number(value)?),
        code::LOCAL_PREF => route.local_pref = Some(number(value)?),
        code::ATOMIC_AGGREGATE if value.is_empty() => route.atomic_aggregate = true,
        code::AGGREGATOR => {
            let (asn, address) = value.split_first_chunk::<4>()?;
            let asn = Asn(u32::from_be_bytes(*asn));
            route.aggregator = Some(Aggregator { asn, address: address_of(address)? });
        }
        code::COMMUNITIES => {
            let octets = entries(value)?.iter();
            route.communities = octets.map(|c| Community(u32::from_be_bytes(*c))).collect();
        }
        code::ORIGINATOR_ID => route.originator_id = Some(address_of(value)?),
        code::CLUSTER_LIST => {
            route.cluster_list = entries::<4>(value)?.iter().copied().map(Ipv4Addr::from).collect();
        }
        code::EXT_COMMUNITIES => route.ext_communities = entries(value)?.to_vec(),
        code::IPV6_EXT_COMMUNITIES => route.ipv6_ext_communities = entries(value)?.to_vec(),
        code::LARGE_COMMUNITIES => {
            let octets = entries(value)?.iter();
            route.large_communities = octets.copied().map(LargeCommunity::from_wire).collect();
        }
        code::ONLY_TO_CUSTOMER => route.only_to_customer = Some(Asn(number(value)?)),
        code::ATOMIC_AGGREGATE
        | code::NEXT_HOP
        | code::MP_REACH
        | code::MP_UNREACH
        | code::AS4_PATH
        | code::AS4_AGGREGATOR => return None,
        _ => {
            let flags = flags & flag::LASTING;
            route.unknown.push(RawAttribute { flags, code, value: value.to_vec() });
            return Some(false);
        }
    }
    if flags & flag::PARTIAL != 0 {
        route.partial.insert(code);
    }
    Some(true)
}

/// At least one entry of N octets, nothing else.
fn entries<const N: usize>(value: &[u8]) -> Option<&[[u8; N]]> {
    match value.as_chunks::<N>() {
        (entries @ [_, ..], []) => Some(entries),
        _ => None,
    }
}

/// What can be read off [canonical octets](canonical_octets) in one pass, without allocating.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalParts<'a> {
    /// ORIGIN.
    pub origin: Origin,
    /// [`AsPath::hops`].
    pub hops: usize,
    /// [`AsPath::neighbour`].
    pub neighbour: Option<Asn>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// The value of AS_PATH, with AS numbers of 4 octets.
    pub as_path: &'a [u8],
    /// COMMUNITIES, in order.
    pub communities: &'a [[u8; 4]],
    /// CLUSTER_LIST, nearest first.
    pub cluster_list: &'a [[u8; 4]],
}

impl<'a> CanonicalParts<'a> {
    /// `None` on octets that are not canonical.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let mut parts = Self {
            origin: Origin::Igp,
            hops: 0,
            neighbour: None,
            med: None,
            local_pref: None,
            originator_id: None,
            as_path: &[],
            communities: &[],
            cluster_list: &[],
        };
        for attribute in WireAttributes::new(octets) {
            let WireAttribute { code, value, .. } = attribute.ok()?;
            match code {
                code::ORIGIN => parts.origin = origin(value)?,
                code::AS_PATH => parts.path(value)?,
                code::MED => parts.med = Some(number(value)?),
                code::LOCAL_PREF => parts.local_pref = Some(number(value)?),
                code::COMMUNITIES => parts.communities = entries(value)?,
                code::ORIGINATOR_ID => parts.originator_id = Some(address_of(value)?),
                code::CLUSTER_LIST => parts.cluster_list = entries(value)?,
                code if code > code::CLUSTER_LIST => break,
                _ => {}
            }
        }
        Some(parts)
    }

    fn path(&mut self, value: &'a [u8]) -> Option<()> {
        self.as_path = value;
        let (mut rest, mut outside) = (value, false);
        while let Some((&[kind, count], after)) = rest.split_first_chunk::<2>() {
            let (asns, after) = after.split_at_checked(usize::from(count) * 4)?;
            match kind {
                AS_SEQUENCE => {
                    self.hops += usize::from(count);
                    if !outside {
                        let first = asns.first_chunk::<4>();
                        self.neighbour = first.map(|asn| Asn(u32::from_be_bytes(*asn)));
                    }
                    outside = true;
                }
                AS_SET => {
                    self.hops += 1;
                    outside = true;
                }
                _ => {}
            }
            rest = after;
        }
        Some(())
    }

    /// Every number of the path in wire order, of segments of any type.
    pub fn asns(&self) -> impl Iterator<Item = Asn> + use<'a> {
        let mut rest = self.as_path;
        let mut numbers = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(octets) = numbers.next() {
                    return Some(Asn(u32::from_be_bytes(*octets)));
                }
                let (&[_, count], after) = rest.split_first_chunk::<2>()?;
                let (segment, after) = after.split_at_checked(usize::from(count) * 4)?;
                (numbers, rest) = (segment.as_chunks::<4>().0.iter(), after);
            }
        })
    }
}

fn origin(value: &[u8]) -> Option<Origin> {
    match value {
        &[code] => Origin::from_wire(code),
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn address_of(value: &[u8]) -> Option<Ipv4Addr> {
    number(value).map(Ipv4Addr::from_bits)
}

const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;

#[cfg(test)]
mod tests;
