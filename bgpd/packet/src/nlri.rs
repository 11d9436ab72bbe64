//! Prefixes in the fields of an UPDATE: checking, reading.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Family;

/// Prefixes of one family as they stand in a message; checked, so that iterating cannot fail.
#[derive(Debug, Clone, Copy)]
pub struct Nlri<'a> {
    /// The family of the prefixes.
    pub family: Family,
    /// Whether each prefix follows a 4-octet path identifier.
    pub add_path: bool,
    octets: &'a [u8],
}

/// A prefix longer than its family allows, or one that runs past the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedPrefix;

/// Prefixes that no route can have, left out by [`Nlri::iter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ignored {
    pub(crate) count: usize,
    pub(crate) first: Option<IpNet>,
}

impl Ignored {
    #[cold]
    fn note(&mut self, prefix: IpNet) {
        self.first.get_or_insert(prefix);
        self.count += 1;
    }
}

impl<'a> Nlri<'a> {
    /// Checks that the field holds whole prefixes of a supported family.
    pub(crate) fn check(
        family: Family,
        add_path: bool,
        octets: &'a [u8],
    ) -> Result<(Self, Ignored), MalformedPrefix> {
        let mut ignored = Ignored::default();
        let mut rest = octets;
        while !rest.is_empty() {
            if family == Family::IPV4_UNICAST {
                let entry = take_v4(rest, add_path).ok_or(MalformedPrefix)?;
                if entry.is_silly() {
                    ignored.note(entry.prefix().into());
                }
                rest = entry.rest;
            } else {
                let entry = take_v6(rest, add_path).ok_or(MalformedPrefix)?;
                if entry.is_silly() {
                    ignored.note(entry.prefix().into());
                }
                rest = entry.rest;
            }
        }
        Ok((Self { family, add_path, octets }, ignored))
    }

    /// Path identifier (0 without add-path) and prefix with its host bits cleared, in wire order.
    ///
    /// Left out are prefixes that no route can have: multicast, loopback, 0.0.0.0/8 (not the
    /// default route), IPv6 link-local. [`crate::Update::notes`] tells that there were some.
    #[inline]
    pub fn iter(&self) -> Prefixes<'a> {
        Prefixes { nlri: *self }
    }

    /// The same as [`Nlri::iter`] for an IPv4 field, in the type of the family; nothing for an
    /// IPv6 field.
    #[inline]
    pub fn iter_v4(&self) -> Ipv4Prefixes<'a> {
        let octets = if self.family == Family::IPV4_UNICAST { self.octets } else { &[] };
        Ipv4Prefixes { octets, add_path: self.add_path }
    }

    /// The same as [`Nlri::iter`] for an IPv6 field, in the type of the family; nothing for an
    /// IPv4 field.
    #[inline]
    pub fn iter_v6(&self) -> Ipv6Prefixes<'a> {
        let octets = if self.family == Family::IPV4_UNICAST { &[] } else { self.octets };
        Ipv6Prefixes { octets, add_path: self.add_path }
    }

    /// No prefix at all.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The field as it stands in the message.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }
}

impl<'a> IntoIterator for &Nlri<'a> {
    type Item = (u32, IpNet);
    type IntoIter = Prefixes<'a>;

    fn into_iter(self) -> Prefixes<'a> {
        self.iter()
    }
}

/// See [`Nlri::iter`].
#[derive(Debug, Clone)]
pub struct Prefixes<'a> {
    nlri: Nlri<'a>,
}

impl Iterator for Prefixes<'_> {
    type Item = (u32, IpNet);

    #[inline]
    fn next(&mut self) -> Option<(u32, IpNet)> {
        let Nlri { family, add_path, octets } = self.nlri;
        if family == Family::IPV4_UNICAST {
            let mut prefixes = Ipv4Prefixes { octets, add_path };
            let (path_id, prefix) = prefixes.next()?;
            self.nlri.octets = prefixes.octets;
            Some((path_id, prefix.into()))
        } else {
            let mut prefixes = Ipv6Prefixes { octets, add_path };
            let (path_id, prefix) = prefixes.next()?;
            self.nlri.octets = prefixes.octets;
            Some((path_id, prefix.into()))
        }
    }
}

/// See [`Nlri::iter_v4`].
#[derive(Debug, Clone)]
pub struct Ipv4Prefixes<'a> {
    octets: &'a [u8],
    add_path: bool,
}

impl Iterator for Ipv4Prefixes<'_> {
    type Item = (u32, Ipv4Net);

    #[inline]
    fn next(&mut self) -> Option<(u32, Ipv4Net)> {
        loop {
            let entry = take_v4(self.octets, self.add_path)?;
            self.octets = entry.rest;
            if !entry.is_silly() {
                return Some((entry.path_id, entry.prefix()));
            }
        }
    }
}

/// See [`Nlri::iter_v6`].
#[derive(Debug, Clone)]
pub struct Ipv6Prefixes<'a> {
    octets: &'a [u8],
    add_path: bool,
}

impl Iterator for Ipv6Prefixes<'_> {
    type Item = (u32, Ipv6Net);

    #[inline]
    fn next(&mut self) -> Option<(u32, Ipv6Net)> {
        loop {
            let entry = take_v6(self.octets, self.add_path)?;
            self.octets = entry.rest;
            if !entry.is_silly() {
                return Some((entry.path_id, entry.prefix()));
            }
        }
    }
}

/// One prefix taken off a field; `bits` without host bits.
struct Entry<'a, T> {
    path_id: u32,
    bits: T,
    len: u8,
    rest: &'a [u8],
}

impl Entry<'_, u32> {
    /// Within 0/8, 127/8 or 224/4.
    #[inline]
    fn is_silly(&self) -> bool {
        match self.bits >> 24 {
            1..=126 | 128..=223 => false,
            0 | 127 => self.len >= 8,
            first => first >> 4 == 0xE && self.len >= 4,
        }
    }

    #[inline]
    fn prefix(&self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::from_bits(self.bits), self.len)
    }
}

impl Entry<'_, u128> {
    /// Within ff00::/8 or fe80::/10, or one of :: and ::1 as a host.
    #[inline]
    fn is_silly(&self) -> bool {
        match self.bits >> 118 {
            0 => self.len == 128 && self.bits <= 1,
            0x3FA => self.len >= 10,
            top => top >= 0x3FC && self.len >= 8,
        }
    }

    #[inline]
    fn prefix(&self) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::from_bits(self.bits), self.len)
    }
}

/// Splits the path identifier off, if there is to be one.
#[inline]
fn take_path_id(octets: &[u8], add_path: bool) -> Option<(u32, &[u8])> {
    if !add_path {
        return Some((0, octets));
    }
    let (path_id, rest) = octets.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*path_id), rest))
}

/// `None` at the end of the field and where the prefix is malformed.
#[inline]
fn take_v4(octets: &[u8], add_path: bool) -> Option<Entry<'_, u32>> {
    let (path_id, octets) = take_path_id(octets, add_path)?;
    let (len, bits) = match octets {
        // Mostly something follows: read the octets of the longest prefix, mask what is not ours.
        &[len, a, b, c, d, ..] => (len, [a, b, c, d]),
        &[len, ref rest @ ..] => (len, padded(rest)),
        [] => return None,
    };
    let used = 1 + usize::from(len.div_ceil(8));
    let rest = octets.get(used..)?;
    let host_bits = 32_u32.checked_sub(u32::from(len))?;
    let bits = u32::from_be_bytes(bits) & u32::MAX.checked_shl(host_bits).unwrap_or(0);
    Some(Entry { path_id, bits, len, rest })
}

/// Likewise.
#[inline]
fn take_v6(octets: &[u8], add_path: bool) -> Option<Entry<'_, u128>> {
    let (path_id, octets) = take_path_id(octets, add_path)?;
    let (&len, octets) = octets.split_first()?;
    let bits = match octets.first_chunk::<16>() {
        Some(bits) => *bits,
        None => padded(octets),
    };
    let rest = octets.get(usize::from(len.div_ceil(8))..)?;
    let host_bits = 128_u32.checked_sub(u32::from(len))?;
    let bits = u128::from_be_bytes(bits) & u128::MAX.checked_shl(host_bits).unwrap_or(0);
    Some(Entry { path_id, bits, len, rest })
}

/// The first octets, zeros behind them.
fn padded<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests;
