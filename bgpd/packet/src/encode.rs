//! UPDATEs written: prefixes that share attributes packed into as few messages as they fit.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use crate::{
    Family, NextHop, PathAttributes,
    as_path::AsnWidth,
    attribute_code, block, from_canonical,
    message::{LENGTH_AT, message_type, seal, start},
    wire::{WireAttributes, flag, len16},
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
        Self::with_block(family, attributes.next_hop, context, |next_hop, out| {
            block::write(attributes, width, next_hop, out);
            Some(())
        })
    }

    /// The same from [canonical octets](crate::canonical_octets), which are not decoded where the
    /// peer takes 4-octet AS numbers. `None` also on octets that are not canonical.
    pub fn from_canonical(
        family: Family,
        octets: &[u8],
        next_hop: NextHop,
        context: EncodeContext,
    ) -> Option<Self> {
        if !context.four_octet_asn {
            return Self::new(family, &from_canonical(octets, next_hop)?, context);
        }
        Self::with_block(family, next_hop, context, |next_hop, out| {
            let Some(next_hop) = next_hop else {
                out.extend_from_slice(octets);
                return Some(());
            };
            let mut before = 0;
            for attribute in WireAttributes::new(octets) {
                let attribute = attribute.ok()?;
                if attribute.code > attribute_code::NEXT_HOP {
                    break;
                }
                before += attribute.whole.len();
            }
            let (before, after) = octets.split_at_checked(before)?;
            out.extend_from_slice(before);
            block::write_next_hop(next_hop, out);
            out.extend_from_slice(after);
            Some(())
        })
    }

    /// `write` appends the block, with NEXT_HOP where it gets an address.
    fn with_block(
        family: Family,
        next_hop: NextHop,
        context: EncodeContext,
        write: impl FnOnce(Option<Ipv4Addr>, &mut Vec<u8>) -> Option<()>,
    ) -> Option<Self> {
        let mut head = start(message_type::UPDATE);
        head.extend_from_slice(&[0, 0, 0, 0]);
        let block_at = head.len();
        let packer = match next_hop.address {
            IpAddr::V4(address) if family == Family::IPV4_UNICAST => {
                write(Some(address), &mut head)?;
                set_len(&mut head, block_at - 2, block_at)?;
                Packer::new(family, context, head, Vec::new(), &[])
            }
            _ => {
                let mut tail = Vec::with_capacity(128);
                write(None, &mut tail)?;
                let value_at = mp_reach_head(family, next_hop, &mut head);
                let lengths = [
                    Length { at: block_at - 2, base: head.len() - block_at + tail.len() },
                    Length { at: value_at - 2, base: head.len() - value_at },
                ];
                Packer::new(family, context, head, tail, &lengths)
            }
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
    prefixes: impl Iterator<Item = (u32, IpNet)>,
    out: &mut BytesMut,
    message: impl FnMut(Range<usize>, usize),
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

/// Appends MP_REACH_NLRI up to its prefixes; returns where its value begins.
fn mp_reach_head(family: Family, next_hop: NextHop, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[flag::OPTIONAL | flag::EXTENDED, attribute_code::MP_REACH, 0, 0]);
    let value_at = out.len();
    out.extend_from_slice(&family.afi.to_be_bytes());
    let address = match next_hop.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    match next_hop.link_local {
        None => {
            out.extend_from_slice(&[family.safi, 16]);
            out.extend_from_slice(&address.octets());
        }
        Some(link_local) => {
            out.extend_from_slice(&[family.safi, 32]);
            out.extend_from_slice(&address.octets());
            out.extend_from_slice(&link_local.octets());
        }
    }
    out.push(0);
    value_at
}

/// Fills in a length field for what follows `from`; `None` if that is too long for one.
fn set_len(out: &mut [u8], at: usize, from: usize) -> Option<()> {
    let len = u16::try_from(out.len().checked_sub(from)?).ok()?;
    out.get_mut(at..at + 2)?.copy_from_slice(&len.to_be_bytes());
    Some(())
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

    /// Each form of entry has its own loop, so that an entry is a copy of fixed length.
    #[inline]
    fn pack(
        &self,
        prefixes: impl Iterator<Item = (u32, IpNet)>,
        out: &mut BytesMut,
        message: impl FnMut(Range<usize>, usize),
    ) {
        match (self.v4, self.add_path) {
            (true, false) => self.pack_entries(prefixes, |_, net| ipv4_entry(net), out, message),
            (true, true) => {
                let entry = |id, net| Some(with_path_id::<8, 12>(id, ipv4_entry(net)?));
                self.pack_entries(prefixes, entry, out, message);
            }
            (false, false) => self.pack_entries(prefixes, |_, net| ipv6_entry(net), out, message),
            (false, true) => {
                let entry = |id, net| Some(with_path_id::<17, 21>(id, ipv6_entry(net)?));
                self.pack_entries(prefixes, entry, out, message);
            }
        }
    }

    #[inline]
    fn pack_entries<const N: usize>(
        &self,
        mut prefixes: impl Iterator<Item = (u32, IpNet)>,
        entry: impl Fn(u32, IpNet) -> Option<Entry<N>>,
        out: &mut BytesMut,
        mut message: impl FnMut(Range<usize>, usize),
    ) {
        let mut next_entry = || {
            loop {
                let (path_id, prefix) = prefixes.next()?;
                if let Some(entry) = entry(path_id, prefix) {
                    return Some(entry);
                }
            }
        };
        let mut scratch = [0_u8; SCRATCH];
        // What did not fit the message before.
        let mut next = next_entry();
        while next.is_some() {
            let start = out.len();
            out.extend_from_slice(&self.head);
            let (mut used, mut filled, mut count) = (0, 0, 0);
            while let Some(Entry { octets, len }) = &next {
                if used + len > self.room {
                    break;
                }
                if filled + N > SCRATCH {
                    out.extend_from_slice(scratch.get(..filled).unwrap_or_default());
                    filled = 0;
                }
                // What is beyond the entry is overwritten by the next.
                if let Some(to) = scratch.get_mut(filled..filled + N) {
                    to.copy_from_slice(octets);
                }
                filled += len;
                used += len;
                count += 1;
                next = next_entry();
            }
            out.extend_from_slice(scratch.get(..filled).unwrap_or_default());
            out.extend_from_slice(&self.tail);
            for Length { at, base } in self.lengths.iter().flatten() {
                if let Some(field) = out.get_mut(start + at..start + at + 2) {
                    field.copy_from_slice(&len16(base + used));
                }
            }
            message(start..out.len(), count);
        }
    }
}

/// A prefix on the wire: the first `len` octets.
struct Entry<const N: usize> {
    octets: [u8; N],
    len: usize,
}

/// `None` for a prefix of the other family.
#[inline]
fn ipv4_entry(prefix: IpNet) -> Option<Entry<8>> {
    let IpNet::V4(net) = prefix else { return None };
    let [a, b, c, d] = net.network().octets();
    let len = net.prefix_len();
    Some(Entry { octets: [len, a, b, c, d, 0, 0, 0], len: 1 + usize::from(len.div_ceil(8)) })
}

/// Likewise.
#[inline]
fn ipv6_entry(prefix: IpNet) -> Option<Entry<17>> {
    let IpNet::V6(net) = prefix else { return None };
    let len = net.prefix_len();
    let mut octets = [len; 17];
    if let Some(address) = octets.last_chunk_mut::<16>() {
        *address = net.network().octets();
    }
    Some(Entry { octets, len: 1 + usize::from(len.div_ceil(8)) })
}

/// M is N + 4.
#[inline]
fn with_path_id<const N: usize, const M: usize>(path_id: u32, entry: Entry<N>) -> Entry<M> {
    let mut octets = [0; M];
    let (id, rest) = octets.split_at_mut(4);
    id.copy_from_slice(&path_id.to_be_bytes());
    rest.copy_from_slice(&entry.octets);
    Entry { octets, len: 4 + entry.len }
}

/// Octets of NLRI gathered before they are appended.
const SCRATCH: usize = 1024;

#[cfg(test)]
mod tests;
