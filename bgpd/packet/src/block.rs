//! Writing the attribute block, ascending by type code, for peers and for the canonical form.

use std::net::Ipv4Addr;

use crate::{
    Aggregator, AsPath, AsSegment, Asn, PartialBits, PathAttributes, RawAttribute,
    as_path::AsnWidth,
    attribute::defined_flags,
    attribute_code as code,
    wire::{flag, len8, len16},
};

/// Appends all attributes but MP_REACH_NLRI; NEXT_HOP where one is given.
///
/// Nothing malformed is ever written: a value beyond 65535 octets is cut at a whole entry. (Such a
/// block fits no message, so nobody sees the cut.)
pub(crate) fn write(
    attributes: &PathAttributes,
    width: AsnWidth,
    next_hop: Option<Ipv4Addr>,
    out: &mut Vec<u8>,
) {
    let PathAttributes { unknown, partial, .. } = attributes;
    let mut block = Block { out, unknown, partial: *partial };
    block.fixed(code::ORIGIN, [attributes.origin.to_wire()]);
    block.path(code::AS_PATH, &attributes.as_path, width);
    if let Some(next_hop) = next_hop {
        block.fixed(code::NEXT_HOP, next_hop.octets());
    }
    if let Some(med) = attributes.med {
        block.fixed(code::MED, med.to_be_bytes());
    }
    if let Some(local_pref) = attributes.local_pref {
        block.fixed(code::LOCAL_PREF, local_pref.to_be_bytes());
    }
    if attributes.atomic_aggregate {
        block.fixed(code::ATOMIC_AGGREGATE, []);
    }
    match (attributes.aggregator, width) {
        (Some(aggregator), AsnWidth::Four) => block.fixed(code::AGGREGATOR, aggregator.to_wire()),
        (Some(Aggregator { asn, address }), AsnWidth::Two) => {
            let [a, b] = asn.two_octet().to_be_bytes();
            let [c, d, e, f] = address.octets();
            block.fixed(code::AGGREGATOR, [a, b, c, d, e, f]);
        }
        (None, _) => {}
    }
    block.list(code::COMMUNITIES, &attributes.communities, |c| c.0.to_be_bytes());
    if let Some(originator) = attributes.originator_id {
        block.fixed(code::ORIGINATOR_ID, originator.octets());
    }
    block.list(code::CLUSTER_LIST, &attributes.cluster_list, |c| c.octets());
    block.list(code::EXT_COMMUNITIES, &attributes.ext_communities, |c| *c);
    if width == AsnWidth::Two {
        if needs_as4(&attributes.as_path) {
            let mut path = attributes.as_path.clone();
            path.strip_confed();
            block.path(code::AS4_PATH, &path, AsnWidth::Four);
        }
        if let Some(aggregator) = attributes.aggregator.filter(|a| a.asn.0 > 0xFFFF) {
            block.fixed(code::AS4_AGGREGATOR, aggregator.to_wire());
        }
    }
    block.list(code::IPV6_EXT_COMMUNITIES, &attributes.ipv6_ext_communities, |c| *c);
    block.list(code::LARGE_COMMUNITIES, &attributes.large_communities, |c| c.to_wire());
    if let Some(Asn(asn)) = attributes.only_to_customer {
        block.fixed(code::ONLY_TO_CUSTOMER, asn.to_be_bytes());
    }
    block.unknown_below(None);
}

/// The flags octet of a known attribute, Partial aside.
pub(crate) fn flags(code: u8, len: usize) -> u8 {
    let extended = if len > SHORT_VALUE { flag::EXTENDED } else { 0 };
    defined_flags(code).unwrap_or_default() | extended
}

/// Appends NEXT_HOP alone.
pub(crate) fn write_next_hop(next_hop: Ipv4Addr, out: &mut Vec<u8>) {
    let mut block = Block { out, unknown: &[], partial: PartialBits::default() };
    block.fixed(code::NEXT_HOP, next_hop.octets());
}

/// Whether a 2-octet AS_PATH loses a number that AS4_PATH can carry.
fn needs_as4(path: &AsPath) -> bool {
    path.0
        .iter()
        .filter(|segment| !segment.is_confed())
        .flat_map(AsSegment::asns)
        .any(|asn| asn.0 > 0xFFFF)
}

impl Aggregator {
    fn to_wire(self) -> [u8; 8] {
        let [a, b, c, d] = self.asn.0.to_be_bytes();
        let [e, f, g, h] = self.address.octets();
        [a, b, c, d, e, f, g, h]
    }
}

/// Appends a known attribute whose value stands as it is to be written.
pub(crate) fn write_known(code: u8, partial: PartialBits, value: &[u8], out: &mut Vec<u8>) {
    let mut block = Block { out, unknown: &[], partial };
    block.known(code, value.len());
    block.out.extend_from_slice(value);
}

struct Block<'a> {
    out: &'a mut Vec<u8>,
    /// Not written yet, ascending.
    unknown: &'a [RawAttribute],
    partial: PartialBits,
}

impl Block<'_> {
    /// Writes the unknown attributes that come before `code`, or all that are left.
    fn unknown_below(&mut self, code: Option<u8>) {
        while let Some((raw, rest)) = self.unknown.split_first() {
            if code.is_some_and(|code| raw.code >= code) {
                break;
            }
            self.unknown = rest;
            let value = raw.value.get(..MAX_VALUE).unwrap_or(&raw.value);
            let extended = if value.len() > SHORT_VALUE { flag::EXTENDED } else { 0 };
            self.header(raw.flags & flag::LASTING | extended, raw.code, value.len());
            self.out.extend_from_slice(value);
        }
    }

    /// A known attribute, whose value of at most [`MAX_VALUE`] octets is to follow.
    fn known(&mut self, code: u8, len: usize) {
        self.unknown_below(Some(code));
        self.header(flags(code, len) | self.partial.flag(code), code, len);
    }

    fn header(&mut self, flags: u8, code: u8, len: usize) {
        if flags & flag::EXTENDED == 0 {
            self.out.extend_from_slice(&[flags, code, len8(len)]);
        } else {
            let [high, low] = len16(len);
            self.out.extend_from_slice(&[flags, code, high, low]);
        }
    }

    fn fixed<const N: usize>(&mut self, code: u8, value: [u8; N]) {
        self.known(code, N);
        self.out.extend_from_slice(&value);
    }

    /// Nothing for an empty list.
    fn list<const N: usize, T>(&mut self, code: u8, list: &[T], octets: impl Fn(&T) -> [u8; N]) {
        let list = list.get(..MAX_VALUE / N).unwrap_or(list);
        if list.is_empty() {
            return;
        }
        self.known(code, list.len() * N);
        for entry in list {
            self.out.extend_from_slice(&octets(entry));
        }
    }

    fn path(&mut self, code: u8, path: &AsPath, width: AsnWidth) {
        self.known(code, path.wire_len(width));
        path.to_wire(width, self.out);
    }
}

/// Octets of an attribute value at most.
const MAX_VALUE: usize = 65535;
/// Octets of a value whose length fits one octet, at most.
const SHORT_VALUE: usize = 255;
