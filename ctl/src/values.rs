//! How single values look: in JSON as the contract says, in tables for a human.

use std::{fmt::Write as _, net::Ipv4Addr};

use margay_proto::v1::{AsSegment, AsSegmentKind, LargeCommunity};
use serde::Serialize;

/// An element of `as_path`: a number of a sequence, or any other segment whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PathElement {
    /// Of a sequence.
    Asn(u32),
    /// Anything but a sequence.
    Segment {
        /// `set`, `confed-sequence` or `confed-set`.
        r#type: &'static str,
        /// Its numbers.
        asns: Vec<u32>,
    },
}

/// `as_path` of JSON.
pub fn as_path(segments: Vec<AsSegment>) -> Vec<PathElement> {
    let mut path = Vec::with_capacity(segments.iter().map(|segment| segment.asns.len()).sum());
    for segment in segments {
        match segment.kind() {
            AsSegmentKind::Sequence | AsSegmentKind::Unspecified => {
                path.extend(segment.asns.into_iter().map(PathElement::Asn));
            }
            kind => path.push(PathElement::Segment { r#type: kind.name(), asns: segment.asns }),
        }
    }
    path
}

/// `65000 65010 {65020,65021}`; confederation segments in `(…)` and `[…]`.
pub fn as_path_text(path: &[PathElement]) -> String {
    let mut text = String::new();
    for element in path {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a string does not fail.
        let _ = match element {
            PathElement::Asn(asn) => write!(text, "{asn}"),
            PathElement::Segment { r#type: "confed-sequence", asns } => {
                write!(text, "({})", list(asns, " "))
            }
            PathElement::Segment { r#type: "confed-set", asns } => {
                write!(text, "[{}]", list(asns, ","))
            }
            PathElement::Segment { asns, .. } => write!(text, "{{{}}}", list(asns, ",")),
        };
    }
    text
}

/// Elements in a row.
pub fn list<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

/// `A:B`, decimal, well-known ones too.
pub fn community(value: u32) -> String {
    format!("{}:{}", value >> 16, value & 0xffff)
}

/// `A:B:C`.
pub fn large_community(value: &LargeCommunity) -> String {
    format!("{}:{}:{}", value.global, value.local1, value.local2)
}

/// `rt:A:N`, `ro:A:N`, else 16 hexadecimal digits (RFC 4360, 5668).
pub fn ext_community(value: u64) -> String {
    let octets = value.to_be_bytes();
    let [kind, subtype, a, b, c, d, e, f] = octets;
    let name = match subtype {
        2 => "rt",
        3 => "ro",
        _ => return format!("{value:016x}"),
    };
    match kind {
        // Two-octet AS, four octets of number.
        0 => format!("{name}:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])),
        // IPv4 address, two octets of number.
        1 => format!("{name}:{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, f])),
        // Four-octet AS, two octets of number.
        2 => format!("{name}:{}:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])),
        _ => format!("{value:016x}"),
    }
}

/// Octets as hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 2);
    for octet in octets {
        let _ = write!(text, "{octet:02x}");
    }
    text
}

/// Seconds in the two largest units that matter: `42s`, `3m07s`, `2h05m`, `6d04h`, `9w2d`.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        86400..4_838_400 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{}w{}d", days / 7, days % 7),
    }
}

/// Seconds since the Unix epoch as `2026-03-01T09:30:00Z`.
pub fn timestamp(at: u64) -> String {
    let (mut days, seconds) = (at / 86400, at % 86400);
    let mut year = 1970;
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

/// The name of an enumeration's value, absent where it is not specified.
pub fn named(name: &'static str) -> Option<&'static str> {
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
