//! UPDATEs written: prefixes that share attributes packed into as few messages as they fit.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use crate::{
    Family, HEADER_LEN, NextHop, PathAttributes,
    as_path::AsnWidth,
    attribute_code, block,
    message::{LENGTH_AT, MARKER, message_type, seal, start},
    wire::{flag, len8, len16},
};

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
/// IPv4 prefixes with an IPv4 next hop go into the classic fields, all others into MP_REACH_NLRI,
/// which then comes first in the block (RFC 7606 §5.1); the rest ascends by type code.
#[derive(Debug, Clone)]
pub struct Announce {
    packer: Packer,
}

impl Announce {
    /// Prepares the attribute block. `None` when the attributes alone leave no room for a prefix.
    ///
    /// An IPv4 next hop of an IPv6 route is written as an IPv4-mapped address.
    pub fn new(
        family: Family,
        attributes: &PathAttributes,
        context: EncodeContext,
    ) -> Option<Self> {
        let width = AsnWidth::negotiated(context.four_octet_asn);
        let classic = match attributes.next_hop.address {
            IpAddr::V4(address) if family == Family::IPV4_UNICAST => Some(address),
            _ => None,
        };
        let mut others = Vec::with_capacity(128);
        block::write(attributes, width, classic, &mut others);
        Self::with_block(family, attributes.next_hop, classic, others, context)
    }

    fn with_block(
        family: Family,
        next_hop: NextHop,
        classic: Option<Ipv4Addr>,
        others: Vec<u8>,
        context: EncodeContext,
    ) -> Option<Self> {
        let mut head = start(message_type::UPDATE);
        head.extend([0, 0]);
        let packer = if classic.is_some() {
            head.extend(len16(others.len()));
            head.extend(others);
            Packer::new(family, context, head, Vec::new(), &[])
        } else {
            let total_at = head.len();
            head.extend([0, 0]);
            head.extend([flag::OPTIONAL | flag::EXTENDED, attribute_code::MP_REACH, 0, 0]);
            let value_at = head.len();
            head.extend(family.afi.to_be_bytes());
            let address = v6_octets(next_hop.address);
            match next_hop.link_local {
                None => {
                    head.extend([family.safi, len8(address.len())]);
                    head.extend(address);
                }
                Some(link_local) => {
                    head.extend([family.safi, len8(2 * address.len())]);
                    head.extend(address);
                    head.extend(link_local.octets());
                }
            }
            head.push(0);
            let mp_len = head.len() - value_at;
            let total = head.len() - total_at - 2 + others.len();
            let lengths =
                [Length { at: total_at, base: total }, Length { at: value_at - 2, base: mp_len }];
            Packer::new(family, context, head, others, &lengths)
        };
        packer.map(|packer| Self { packer })
    }

    /// Appends whole UPDATE messages (with headers) for the prefixes to `out`, and calls
    /// `message(octets, prefixes)` for each with its range of octets in `out` and prefix count.
    ///
    /// Prefixes of another address family are left out.
    pub fn encode(
        &self,
        prefixes: &mut dyn Iterator<Item = (u32, IpNet)>,
        out: &mut BytesMut,
        message: &mut dyn FnMut(Range<usize>, usize),
    ) {
        self.packer.pack(prefixes, out, message);
    }

    /// [`Announce::encode`] for callers that know their iterator: without a call per prefix.
    pub fn encode_all(
        &self,
        prefixes: impl IntoIterator<Item = (u32, IpNet)>,
        out: &mut BytesMut,
        message: impl FnMut(Range<usize>, usize),
    ) {
        self.packer.pack(prefixes.into_iter(), out, message);
    }
}

/// Appends whole UPDATE messages that withdraw the prefixes, likewise.
///
/// IPv4 goes into the classic field, IPv6 into MP_UNREACH_NLRI.
pub fn encode_withdraw(
    family: Family,
    context: EncodeContext,
    prefixes: &mut dyn Iterator<Item = (u32, IpNet)>,
    out: &mut BytesMut,
    message: &mut dyn FnMut(Range<usize>, usize),
) {
    let mut head = start(message_type::UPDATE);
    let packer = if family == Family::IPV4_UNICAST {
        let length = Length { at: head.len(), base: 0 };
        head.extend([0, 0]);
        Packer::new(family, context, head, vec![0, 0], &[length])
    } else {
        head.extend([0, 0]);
        let total = Length { at: head.len(), base: 7 };
        head.extend([0, 0]);
        head.extend([flag::OPTIONAL | flag::EXTENDED, attribute_code::MP_UNREACH]);
        let value = Length { at: head.len(), base: 3 };
        head.extend([0, 0]);
        head.extend(family.afi.to_be_bytes());
        head.push(family.safi);
        Packer::new(family, context, head, Vec::new(), &[total, value])
    };
    if let Some(packer) = packer {
        packer.pack(prefixes, out, message);
    }
}

/// The End-of-RIB marker of a family as a whole message (RFC 4724 §2).
pub fn end_of_rib(family: Family) -> Bytes {
    let mut out = start(message_type::UPDATE);
    if family == Family::IPV4_UNICAST {
        out.extend([0, 0, 0, 0]);
    } else {
        out.extend([0, 0, 0, 6, flag::OPTIONAL, attribute_code::MP_UNREACH, 3]);
        out.extend(family.afi.to_be_bytes());
        out.push(family.safi);
    }
    seal(out)
}

fn v6_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A 16-bit length field in the head of a message: `base` plus the octets of NLRI.
#[derive(Debug, Clone, Copy)]
struct Length {
    at: usize,
    base: usize,
}

/// Everything of a message but the prefixes.
#[derive(Debug, Clone)]
struct Packer {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Those in the head, the message length among them.
    lengths: [Option<Length>; 3],
    /// Octets of NLRI a message takes.
    room: usize,
    v4: bool,
    add_path: bool,
}

impl Packer {
    /// `None` where the largest prefix would not fit.
    fn new(
        family: Family,
        context: EncodeContext,
        head: Vec<u8>,
        tail: Vec<u8>,
        lengths: &[Length],
    ) -> Option<Self> {
        let v4 = family.afi == 1;
        let largest = 1 + if v4 { 4 } else { 16 } + if context.add_path { 4 } else { 0 };
        let base = head.len() + tail.len();
        let room = context.max_len.min(crate::MAX_EXTENDED_LEN).checked_sub(base)?;
        let mut fields = [Some(Length { at: LENGTH_AT, base }), None, None];
        let (_, others) = fields.split_at_mut(1);
        others.iter_mut().zip(lengths).for_each(|(to, from)| *to = Some(*from));
        (room >= largest).then_some(Self {
            head,
            tail,
            lengths: fields,
            room,
            v4,
            add_path: context.add_path,
        })
    }

    #[inline]
    fn pack(
        &self,
        mut prefixes: impl Iterator<Item = (u32, IpNet)>,
        out: &mut BytesMut,
        mut message: impl FnMut(Range<usize>, usize),
    ) {
        let mut scratch = [0_u8; SCRATCH];
        // What did not fit the message before.
        let mut next = self.next_entry(&mut prefixes);
        while next.is_some() {
            let start = out.len();
            out.extend_from_slice(&self.head);
            let nlri_start = out.len();
            let mut used = 0;
            let mut filled = 0;
            let mut count = 0;
            while let Some(entry) = &next {
                if used + entry.len > self.room {
                    break;
                }
                if filled + MAX_ENTRY > SCRATCH {
                    out.extend_from_slice(scratch.get(..filled).unwrap_or_default());
                    filled = 0;
                }
                // A copy of fixed length is a few instructions; what is beyond the entry is
                // overwritten by the next.
                if let Some(to) = scratch.get_mut(filled..filled + MAX_ENTRY) {
                    to.copy_from_slice(&entry.octets);
                }
                filled += entry.len;
                used += entry.len;
                count += 1;
                next = self.next_entry(&mut prefixes);
            }
            out.extend_from_slice(scratch.get(..filled).unwrap_or_default());
            debug_assert_eq!(out.len() - nlri_start, used);
            out.extend_from_slice(&self.tail);
            for Length { at, base } in self.lengths.iter().flatten() {
                if let Some(field) = out.get_mut(start + at..start + at + 2) {
                    field.copy_from_slice(&len16(base + used));
                }
            }
            message(start..out.len(), count);
        }
    }

    /// The next prefix of the family, as it stands on the wire.
    #[inline]
    fn next_entry(&self, prefixes: &mut impl Iterator<Item = (u32, IpNet)>) -> Option<Entry> {
        loop {
            let (path_id, prefix) = prefixes.next()?;
            let (len, bits) = match prefix {
                IpNet::V4(net) if self.v4 => {
                    (net.prefix_len(), u128::from(net.network().to_bits()) << 96)
                }
                IpNet::V6(net) if !self.v4 => (net.prefix_len(), net.network().to_bits()),
                _ => continue,
            };
            return Some(Entry::new(self.add_path.then_some(path_id), len, bits));
        }
    }
}

/// A prefix on the wire.
struct Entry {
    octets: [u8; MAX_ENTRY],
    len: usize,
}

impl Entry {
    /// `bits` from the top.
    #[inline]
    fn new(path_id: Option<u32>, prefix_len: u8, bits: u128) -> Self {
        let mut octets = [0; MAX_ENTRY];
        let (id, address) = match path_id {
            None => (0, &mut octets[..]),
            Some(path_id) => {
                let (id, rest) = octets.split_at_mut(4);
                id.copy_from_slice(&path_id.to_be_bytes());
                (4, rest)
            }
        };
        if let Some((len, address)) = address.split_first_mut() {
            *len = prefix_len;
            address.iter_mut().zip(bits.to_be_bytes()).for_each(|(to, from)| *to = from);
        }
        Self { octets, len: id + 1 + usize::from(prefix_len.div_ceil(8)) }
    }
}

/// Octets of an entry at most, rounded up.
const MAX_ENTRY: usize = 24;
/// Octets of NLRI gathered before they are appended.
const SCRATCH: usize = 1024;
const _: () = assert!(HEADER_LEN == MARKER.len() + 3 && MAX_ENTRY >= 21);
