//! Communities of all three kinds: well-known values and text.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use crate::wire::Hex;

/// A community as its 32-bit value (RFC 1997). Displayed as `A:B`, both decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// RFC 8326.
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// RFC 9494.
    pub const LLGR_STALE: Self = Self(0xFFFF_0006);
    /// RFC 9494.
    pub const NO_LLGR: Self = Self(0xFFFF_0007);
    /// RFC 7999.
    pub const BLACKHOLE: Self = Self(0xFFFF_029A);
    /// RFC 1997.
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// RFC 1997.
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// RFC 1997.
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xFFFF_FF03);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF)
    }
}

/// RFC 8092: global administrator and two local data parts. Displayed as `A:B:C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

impl LargeCommunity {
    pub(crate) fn from_wire(octets: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = octets;
        Self(
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
            u32::from_be_bytes([i, j, k, l]),
        )
    }

    pub(crate) fn to_wire(self) -> [u8; 12] {
        let mut octets = [0; 12];
        let words = [self.0, self.1, self.2].map(u32::to_be_bytes);
        octets.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
        octets
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.0, self.1, self.2)
    }
}

/// An extended community (RFC 4360) as on the wire.
///
/// Displayed as `rt:A:N` (route target) or `ro:A:N` (route origin) where that text has one meaning
/// only: A up to 65535 is the 2-octet-AS form, a larger A the 4-octet-AS form, a dotted quad the
/// IPv4 form. Everything else is 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtCommunity(pub [u8; 8]);

impl ExtCommunity {
    /// Whether it may leave the AS (bit 0x40 of the type clear).
    pub fn is_transitive(self) -> bool {
        let [kind, ..] = self.0;
        kind & 0x40 == 0
    }
}

impl From<[u8; 8]> for ExtCommunity {
    fn from(octets: [u8; 8]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for ExtCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, subtype, a, b, c, d, e, g] = self.0;
        let name = match subtype {
            2 => "rt",
            3 => "ro",
            _ => return Hex(&self.0).fmt(f),
        };
        match kind {
            0 => {
                let administrator = u16::from_be_bytes([a, b]);
                write!(f, "{name}:{administrator}:{}", u32::from_be_bytes([c, d, e, g]))
            }
            1 => {
                let administrator = Ipv4Addr::new(a, b, c, d);
                write!(f, "{name}:{administrator}:{}", u16::from_be_bytes([e, g]))
            }
            2 if a != 0 || b != 0 => {
                let administrator = u32::from_be_bytes([a, b, c, d]);
                write!(f, "{name}:{administrator}:{}", u16::from_be_bytes([e, g]))
            }
            _ => Hex(&self.0).fmt(f),
        }
    }
}

/// The text is not a community of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct CommunityParseError {
    /// What was given.
    pub text: String,
    /// What is allowed.
    pub expected: &'static str,
}

/// A decimal number without sign or leading zeros.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let plain = text == "0" || !text.starts_with(['0', '+', '-']);
    plain.then(|| text.parse().ok()).flatten()
}

impl FromStr for Community {
    type Err = CommunityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once(':')
            .and_then(|(high, low)| {
                let high: u16 = number(high)?;
                let low: u16 = number(low)?;
                Some(Self(u32::from(high) << 16 | u32::from(low)))
            })
            .ok_or_else(|| CommunityParseError {
                text: text.to_owned(),
                expected: "a community A:B, both 0 to 65535",
            })
    }
}

impl FromStr for LargeCommunity {
    type Err = CommunityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':').map(number);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(a)), Some(Some(b)), Some(Some(c)), None) => Ok(Self(a, b, c)),
            _ => Err(CommunityParseError {
                text: text.to_owned(),
                expected: "a large community A:B:C, each 0 to 4294967295",
            }),
        }
    }
}

impl FromStr for ExtCommunity {
    type Err = CommunityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_ext(text).map(Self).ok_or_else(|| CommunityParseError {
            text: text.to_owned(),
            expected: "an extended community rt:A:N, ro:A:N or 16 hexadecimal digits",
        })
    }
}

fn parse_ext(text: &str) -> Option<[u8; 8]> {
    let (subtype, rest) = match text.split_once(':') {
        Some(("rt", rest)) => (2, rest),
        Some(("ro", rest)) => (3, rest),
        Some(_) => return None,
        None => {
            let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
            return hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(u64::to_be_bytes);
        }
    };
    let (administrator, local) = rest.rsplit_once(':')?;
    if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        let [a, b, c, d] = address.octets();
        let [e, f] = number::<u16>(local)?.to_be_bytes();
        return Some([1, subtype, a, b, c, d, e, f]);
    }
    let administrator: u32 = number(administrator)?;
    Some(match u16::try_from(administrator) {
        Ok(short) => {
            let [a, b] = short.to_be_bytes();
            let [c, d, e, f] = number::<u32>(local)?.to_be_bytes();
            [0, subtype, a, b, c, d, e, f]
        }
        Err(_) => {
            let [a, b, c, d] = administrator.to_be_bytes();
            let [e, f] = number::<u16>(local)?.to_be_bytes();
            [2, subtype, a, b, c, d, e, f]
        }
    })
}

#[cfg(test)]
mod tests;
