//! Attributes of faultless UPDATEs of the usual form, straight to their canonical octets: without
//! the allocations of [`PathAttributes`](crate::PathAttributes), a third of what decoding costs.
//!
//! Anything out of the ordinary, every fault above all, is left to `attributes`, which alone knows
//! the rules of RFC 7606. Property tests hold the two equal.

use std::net::Ipv4Addr;

use crate::{
    NextHop, Origin, PartialBits, SessionKind, Update, UpdateContext,
    attribute::{defined_flags, is_host},
    attribute_code as code, block,
    wire::{WireAttribute, WireAttributes, flag},
};

impl Update<'_> {
    /// Appends the [canonical octets](crate::canonical_octets) of what
    /// [`Update::decode_attributes`] would return, and returns the next hop. `None`, and anything
    /// in `out`, where the block is not plain: it has a fault, comes from a peer with 2-octet AS
    /// numbers or from a confederation, is out of order or has attributes not known here.
    pub fn plain_attributes(&self, context: &UpdateContext, out: &mut Vec<u8>) -> Option<NextHop> {
        let layout = &self.layout;
        if !context.four_octet_asn
            || context.kind == SessionKind::ConfedExternal
            || !layout.has_reach()
        {
            return None;
        }
        let internal = context.kind == SessionKind::Internal;
        let mut seen = 0_u64;
        let mut next_hop = None;
        for attribute in WireAttributes::new(self.attributes) {
            let attribute = attribute.ok()?;
            let WireAttribute { flags, code, value, .. } = attribute;
            if matches!(code, code::MP_REACH | code::MP_UNREACH) {
                continue;
            }
            let defined = defined_flags(code)?;
            // Ascending: no other of this code, and none above it, came before.
            if flags & (flag::OPTIONAL | flag::TRANSITIVE) != defined
                || code > 63
                || seen >> code != 0
            {
                return None;
            }
            seen |= 1 << code;
            let sound = match code {
                code::ORIGIN => matches!(value, [origin] if Origin::from_wire(*origin).is_some()),
                code::AS_PATH => is_plain_path(value, context),
                code::NEXT_HOP => {
                    let address = Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?);
                    if !is_host(address) {
                        return None;
                    }
                    next_hop = Some(NextHop::new(address));
                    continue;
                }
                code::MED | code::ONLY_TO_CUSTOMER => value.len() == 4,
                code::LOCAL_PREF | code::ORIGINATOR_ID => internal && value.len() == 4,
                code::CLUSTER_LIST => internal && has_entries::<4>(value),
                code::ATOMIC_AGGREGATE => value.is_empty(),
                code::AGGREGATOR => matches!(value, [a, b, c, d, _, _, _, _] if a | b | c | d != 0),
                code::COMMUNITIES => is_list::<4>(value),
                code::EXT_COMMUNITIES => is_list::<8>(value),
                code::IPV6_EXT_COMMUNITIES => is_list::<20>(value),
                code::LARGE_COMMUNITIES => is_list::<12>(value),
                _ => false,
            };
            if !sound {
                return None;
            }
            let mut partial = PartialBits::default();
            if flags & flag::PARTIAL != 0 {
                partial.insert(code);
            }
            block::write_known(code, partial, value, out);
        }
        let mut required = 1 << code::ORIGIN | 1 << code::AS_PATH;
        if internal {
            required |= 1 << code::LOCAL_PREF;
        }
        if seen & required != required {
            return None;
        }
        if layout.classic_reach { next_hop } else { self.mp_next_hop }
    }
}

/// Whether the path is one that any session of this kind may send.
fn is_plain_path(mut value: &[u8], context: &UpdateContext) -> bool {
    let internal = context.kind == SessionKind::Internal;
    if let Some(expected) = context.first_as()
        && !matches!(value, [SEQUENCE, _, a, b, c, d, ..]
            if u32::from_be_bytes([*a, *b, *c, *d]) == expected.0)
    {
        return false;
    }
    while let Some((&[kind, count], rest)) = value.split_first_chunk::<2>() {
        let allowed = match kind {
            SEQUENCE => true,
            SET => !context.reject_as_set,
            CONFED_SEQUENCE => internal,
            CONFED_SET => internal && !context.reject_as_set,
            _ => false,
        };
        let Some((numbers, rest)) = rest.split_at_checked(usize::from(count) * 4) else {
            return false;
        };
        if !allowed || count == 0 || numbers.as_chunks::<4>().0.contains(&[0; 4]) {
            return false;
        }
        value = rest;
    }
    value.is_empty()
}

/// At least one entry of N octets, and nothing else.
fn has_entries<const N: usize>(value: &[u8]) -> bool {
    !value.is_empty() && value.len().is_multiple_of(N)
}

/// Likewise, no entry twice, and not very many.
fn is_list<const N: usize>(value: &[u8]) -> bool {
    let entries = value.as_chunks::<N>().0;
    if !has_entries::<N>(value) {
        return false;
    }
    // Most routers send them in order.
    entries.is_sorted_by(|a, b| a < b)
        || (entries.len() <= FEW
            && (entries.iter().enumerate())
                .all(|(at, entry)| !entries.iter().take(at).any(|other| other == entry)))
}

/// Up to so many entries out of order are compared with each other.
const FEW: usize = 32;
const SET: u8 = 1;
const SEQUENCE: u8 = 2;
const CONFED_SEQUENCE: u8 = 3;
const CONFED_SET: u8 = 4;

#[cfg(test)]
mod tests;
