//! Takes apart what a daemon tells: prefixes, whose path it is, and a digest of its attributes.

use crate::table::V4;

/// What to look for in a session's UPDATEs.
#[derive(Debug, Clone, Copy)]
pub struct Lens {
    /// Marker ASes are `low..high`.
    pub low: u32,
    pub high: u32,
    /// The daemon's AS: taken off the head of a path, and the upper half of policy stamps.
    pub own_as: u32,
    /// The session is internal: next hop, MED and LOCAL_PREF must come through unchanged too.
    pub internal: bool,
    /// Compute digests; without, only what counting needs.
    pub deep: bool,
    /// A policy stamps what it lets pass.
    pub stamps: bool,
    /// Multiprotocol attributes may come.
    pub multiprotocol: bool,
}

/// What one UPDATE says of all prefixes it announces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// The marker in the AS path; 0 = none.
    pub marker: u32,
    /// Lower half of the one community `own_as:1..=99`; 0 = none, `u16::MAX` = several.
    pub stamp: u16,
    /// Digest of the attributes that must survive; 0 without [`Lens::deep`].
    pub digest: u32,
}

/// One prefix of an UPDATE, as a key of [`crate::table::Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Announce(u64, Told),
    Withdraw(u64),
}

/// The octets are no UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What the daemon's OPEN says: its AS and its hold time in seconds.
pub fn open(body: &[u8]) -> Result<(u32, u16), Malformed> {
    let [_, as_high, as_low, hold_high, hold_low, _, _, _, _, _, options @ ..] = body else {
        return Err(Malformed);
    };
    let mut asn = u32::from(u16::from_be_bytes([*as_high, *as_low]));
    let hold = u16::from_be_bytes([*hold_high, *hold_low]);
    let mut options = options;
    while let Some((kind, value, rest)) = short_tlv(options) {
        let mut capabilities = if kind == 2 { value } else { &[] };
        while let Some((code, value, rest)) = short_tlv(capabilities) {
            if let (65, [a, b, c, d]) = (code, value) {
                asn = u32::from_be_bytes([*a, *b, *c, *d]);
            }
            capabilities = rest;
        }
        options = rest;
    }
    Ok((asn, hold))
}

fn short_tlv(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, length, rest @ ..] = octets else { return None };
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((*kind, value, rest))
}

/// Walks the body of an UPDATE: first what it withdraws, then what it announces.
pub fn update(body: &[u8], lens: &Lens, mut each: impl FnMut(Event)) -> Result<(), Malformed> {
    let (withdrawn, rest) = long_field(body)?;
    let (mut attributes, nlri) = long_field(rest)?;
    prefixes(withdrawn, true, |key| each(Event::Withdraw(key)))?;
    let mut told = Told::default();
    let mut sum = 0u64;
    let mut reach: Option<&[u8]> = None;
    // A session that only counts prefixes needs the marker and no more: with a thousand of them,
    // everything else would slow down what is measured.
    let shallow = !lens.deep && !lens.stamps && !lens.multiprotocol;
    while let Some((kind, value, rest)) = attribute(attributes)? {
        attributes = rest;
        match kind {
            1 if lens.deep => sum = sum.wrapping_add(fold(1, value)),
            2 => {
                sum = sum.wrapping_add(as_path(value, lens, &mut told));
                if shallow {
                    break;
                }
            }
            // No MED and a MED of 0 are the same, and some daemons make one of the other.
            4 if value == [0; 4] => {}
            3..=5 if lens.deep && lens.internal => {
                sum = sum.wrapping_add(fold(u64::from(kind), value));
            }
            8 if lens.deep || lens.stamps => {
                sum = sum.wrapping_add(communities(value, lens, &mut told))
            }
            14 => reach = Some(value),
            15 => {
                if let [0, afi @ (1 | 2), 1, lost @ ..] = value {
                    prefixes(lost, *afi == 1, |key| each(Event::Withdraw(key)))?;
                }
            }
            32 if lens.deep => {
                for large in value.chunks(12) {
                    sum = sum.wrapping_add(fold(32, large));
                }
            }
            _ => {}
        }
    }
    if lens.deep {
        told.digest = (sum ^ sum >> 32) as u32;
    }
    if let Some([0, afi @ (1 | 2), 1, length, rest @ ..]) = reach {
        // The next hop and a reserved octet.
        let fresh = rest.get(usize::from(*length) + 1..).ok_or(Malformed)?;
        prefixes(fresh, *afi == 1, |key| each(Event::Announce(key, told)))?;
    }
    prefixes(nlri, true, |key| each(Event::Announce(key, told)))
}

fn long_field(octets: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let [high, low, rest @ ..] = octets else { return Err(Malformed) };
    rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))).ok_or(Malformed)
}

type Attribute<'a> = (u8, &'a [u8], &'a [u8]);

/// The first attribute (type and value) and what follows it.
fn attribute(octets: &[u8]) -> Result<Option<Attribute<'_>>, Malformed> {
    let (kind, length, rest) = match octets {
        [] => return Ok(None),
        [flags, kind, high, low, rest @ ..] if flags & 0x10 != 0 => {
            (*kind, usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        [_, kind, length, rest @ ..] => (*kind, usize::from(*length), rest),
        _ => return Err(Malformed),
    };
    let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    Ok(Some((kind, value, rest)))
}

/// Finds the marker; the digest is of the path without the daemon's own AS in front.
fn as_path(value: &[u8], lens: &Lens, told: &mut Told) -> u64 {
    let mut hash = 2u64;
    let mut segments = value;
    let mut first = true;
    while let [_, count, rest @ ..] = segments {
        let (asns, rest) = rest.split_at(rest.len().min(usize::from(*count) * 4));
        segments = rest;
        for asn in asns.chunks_exact(4) {
            let asn = u32::from_be_bytes([asn[0], asn[1], asn[2], asn[3]]);
            if told.marker == 0 && asn >= lens.low && asn < lens.high {
                told.marker = asn;
                if !lens.deep {
                    return 0;
                }
            }
            if !(first && asn == lens.own_as) {
                hash = step(hash, u64::from(asn));
            }
            first = false;
        }
    }
    hash
}

/// Finds the policy's stamp; the digest is of all other communities, in any order.
fn communities(value: &[u8], lens: &Lens, told: &mut Told) -> u64 {
    let mut sum = 0u64;
    for community in value.chunks_exact(4) {
        let high = u32::from(u16::from_be_bytes([community[0], community[1]]));
        let low = u16::from_be_bytes([community[2], community[3]]);
        if high == lens.own_as && (1..100).contains(&low) {
            told.stamp = if told.stamp == 0 { low } else { u16::MAX };
        } else if lens.deep {
            sum = sum.wrapping_add(step(8, u64::from(high << 16 | u32::from(low))));
        }
    }
    sum
}

fn fold(kind: u64, octets: &[u8]) -> u64 {
    let mut hash = kind;
    for chunk in octets.chunks(4) {
        let mut word = [0u8; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = step(hash, u64::from(u32::from_be_bytes(word)));
    }
    hash
}

fn step(hash: u64, word: u64) -> u64 {
    let mixed =
        (hash ^ word.wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ mixed >> 29
}

#[inline]
fn prefixes(octets: &[u8], v4: bool, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
    let mut rest = octets;
    while let [length, tail @ ..] = rest {
        let size = usize::from(*length).div_ceil(8);
        let (bits, tail) = tail.split_at_checked(size).ok_or(Malformed)?;
        let address = match bits {
            [a, b, c] => u64::from_be_bytes([*a, *b, *c, 0, 0, 0, 0, 0]),
            _ => {
                let mut address = [0u8; 8];
                let kept = size.min(8);
                address[..kept].copy_from_slice(&bits[..kept]);
                u64::from_be_bytes(address)
            }
        };
        rest = tail;
        each(if v4 {
            V4 | address >> 32 << 8 | u64::from(*length)
        } else {
            address & !0xff | u64::from(*length)
        });
    }
    Ok(())
}
