//! Writing the attribute block, ascending by type code, for peers and for the canonical form.

use std::net::Ipv4Addr;

use crate::{
    Aggregator, AsPath, AsSegment, Asn, PathAttributes, RawAttribute,
    as_path::AsnWidth,
    attribute_code as code,
    wire::{flag, len8, len16},
};

const WELL_KNOWN: u8 = flag::TRANSITIVE;
const OPTIONAL: u8 = flag::OPTIONAL;
const OPTIONAL_TRANSITIVE: u8 = flag::OPTIONAL | flag::TRANSITIVE;

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
    let mut block = Block { out, unknown: &attributes.unknown };
    let partial = |code| {
        let partial = if attributes.partial.contains(code) { flag::PARTIAL } else { 0 };
        OPTIONAL_TRANSITIVE | partial
    };

    block.fixed(WELL_KNOWN, code::ORIGIN, [attributes.origin.to_wire()]);
    block.path(WELL_KNOWN, code::AS_PATH, &attributes.as_path, width);
    if let Some(next_hop) = next_hop {
        block.fixed(WELL_KNOWN, code::NEXT_HOP, next_hop.octets());
    }
    if let Some(med) = attributes.med {
        block.fixed(OPTIONAL, code::MED, med.to_be_bytes());
    }
    if let Some(local_pref) = attributes.local_pref {
        block.fixed(WELL_KNOWN, code::LOCAL_PREF, local_pref.to_be_bytes());
    }
    if attributes.atomic_aggregate {
        block.fixed(WELL_KNOWN, code::ATOMIC_AGGREGATE, []);
    }
    if let Some(aggregator) = attributes.aggregator {
        let flags = partial(code::AGGREGATOR);
        match width {
            AsnWidth::Four => {
                block.fixed(flags, code::AGGREGATOR, aggregator_four(aggregator));
            }
            AsnWidth::Two => {
                let [a, b] = aggregator.asn.two_octet().to_be_bytes();
                let [c, d, e, f] = aggregator.address.octets();
                block.fixed(flags, code::AGGREGATOR, [a, b, c, d, e, f]);
            }
        }
    }
    let flags = partial(code::COMMUNITIES);
    block.list(flags, code::COMMUNITIES, &attributes.communities, |c| c.0.to_be_bytes());
    if let Some(originator) = attributes.originator_id {
        block.fixed(OPTIONAL, code::ORIGINATOR_ID, originator.octets());
    }
    block.list(OPTIONAL, code::CLUSTER_LIST, &attributes.cluster_list, |c| c.octets());
    let flags = partial(code::EXT_COMMUNITIES);
    block.list(flags, code::EXT_COMMUNITIES, &attributes.ext_communities, |c| *c);
    if width == AsnWidth::Two {
        if needs_as4(&attributes.as_path) {
            let mut path = attributes.as_path.clone();
            path.strip_confed();
            block.path(OPTIONAL_TRANSITIVE, code::AS4_PATH, &path, AsnWidth::Four);
        }
        if let Some(aggregator) = attributes.aggregator.filter(|a| a.asn.0 > 0xFFFF) {
            let value = aggregator_four(aggregator);
            block.fixed(OPTIONAL_TRANSITIVE, code::AS4_AGGREGATOR, value);
        }
    }
    let flags = partial(code::IPV6_EXT_COMMUNITIES);
    block.list(flags, code::IPV6_EXT_COMMUNITIES, &attributes.ipv6_ext_communities, |c| *c);
    let flags = partial(code::LARGE_COMMUNITIES);
    block.list(flags, code::LARGE_COMMUNITIES, &attributes.large_communities, |c| c.to_wire());
    if let Some(Asn(asn)) = attributes.only_to_customer {
        block.fixed(partial(code::ONLY_TO_CUSTOMER), code::ONLY_TO_CUSTOMER, asn.to_be_bytes());
    }
    block.unknown_below(None);
}

/// Whether a 2-octet AS_PATH loses a number that AS4_PATH can carry.
fn needs_as4(path: &AsPath) -> bool {
    path.0
        .iter()
        .filter(|segment| !segment.is_confed())
        .flat_map(AsSegment::asns)
        .any(|asn| asn.0 > 0xFFFF)
}

fn aggregator_four(Aggregator { asn, address }: Aggregator) -> [u8; 8] {
    let [a, b, c, d] = asn.0.to_be_bytes();
    let [e, f, g, h] = address.octets();
    [a, b, c, d, e, f, g, h]
}

struct Block<'a> {
    out: &'a mut Vec<u8>,
    /// Not written yet, ascending.
    unknown: &'a [RawAttribute],
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
            self.header(raw.flags & flag::LASTING, raw.code, value.len());
            self.out.extend_from_slice(value);
        }
    }

    /// A value of at most [`MAX_VALUE`] octets is to follow.
    fn header(&mut self, flags: u8, code: u8, len: usize) {
        if len <= usize::from(u8::MAX) {
            self.out.extend_from_slice(&[flags, code, len8(len)]);
        } else {
            let [high, low] = len16(len);
            self.out.extend_from_slice(&[flags | flag::EXTENDED, code, high, low]);
        }
    }

    fn fixed<const N: usize>(&mut self, flags: u8, code: u8, value: [u8; N]) {
        self.unknown_below(Some(code));
        self.header(flags, code, N);
        self.out.extend_from_slice(&value);
    }

    /// Nothing for an empty list.
    fn list<const N: usize, T>(
        &mut self,
        flags: u8,
        code: u8,
        list: &[T],
        octets: impl Fn(&T) -> [u8; N],
    ) {
        if list.is_empty() {
            return;
        }
        let list = list.get(..MAX_VALUE / N).unwrap_or(list);
        self.unknown_below(Some(code));
        self.header(flags, code, list.len() * N);
        for entry in list {
            self.out.extend_from_slice(&octets(entry));
        }
    }

    fn path(&mut self, flags: u8, code: u8, path: &AsPath, width: AsnWidth) {
        self.unknown_below(Some(code));
        self.header(flags, code, path.wire_len(width));
        path.to_wire(width, self.out);
    }
}

/// Octets of an attribute value at most.
const MAX_VALUE: usize = 65535;
