//! Communities as text, and sets of them.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use bgp_packet::{Community, LargeCommunity, PathAttributes};

use super::{
    as_path::Digits,
    automaton::{self, Automaton, PatternError},
};

/// A community of any of the three kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommunityValue {
    /// `A:B` (RFC 1997).
    Plain(Community),
    /// `large:A:B:C` (RFC 8092).
    Large(LargeCommunity),
    /// `ext:rt:A:N`, `ext:ro:A:N` (A an AS number or an IPv4 address, RFC 4360, 5668) or `ext:`
    /// and 16 hex digits.
    Ext([u8; 8]),
}

/// A community, or `re:` and a regular expression over the text `A:B` of plain ones, found
/// anywhere in it unless it says `^` or `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommunityPattern {
    /// This one.
    Value(CommunityValue),
    /// All whose text contains a match.
    Regex(String),
}

/// The text is none of the forms of a community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a community (\"A:B\" of 16-bit numbers, \"large:A:B:C\", \"ext:rt:A:N\", \
     \"ext:ro:A:N\" or \"ext:\" and 16 hex digits)"
)]
pub struct CommunityParseError(pub String);

impl FromStr for CommunityValue {
    type Err = CommunityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once(':') {
            Some(("large", rest)) => large(rest).map(Self::Large),
            Some(("ext", rest)) => ext(rest).map(Self::Ext),
            Some((high, low)) => number(high).zip(number(low)).map(|(high, low): (u16, u16)| {
                Self::Plain(Community(u32::from(high) << 16 | u32::from(low)))
            }),
            None => None,
        };
        parsed.ok_or_else(|| CommunityParseError(text.to_owned()))
    }
}

impl CommunityValue {
    /// Adds it to a route that has not got it yet.
    pub fn add_to(self, attributes: &mut PathAttributes) {
        fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
            if !list.contains(&value) {
                list.push(value);
            }
        }
        match self {
            Self::Plain(value) => add(&mut attributes.communities, value),
            Self::Large(value) => add(&mut attributes.large_communities, value),
            Self::Ext(value) => add(&mut attributes.ext_communities, value),
        }
    }
}

impl FromStr for CommunityPattern {
    type Err = CommunityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("re:") {
            Some(regex) => Ok(Self::Regex(regex.to_owned())),
            None => text.parse().map(Self::Value),
        }
    }
}

impl fmt::Display for CommunityValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Plain(Community(value)) => write!(f, "{}:{}", value >> 16, value & 0xFFFF),
            Self::Large(LargeCommunity(a, b, c)) => write!(f, "large:{a}:{b}:{c}"),
            Self::Ext([0, kind @ (2 | 3), a, b, n @ ..]) => {
                let asn = u16::from_be_bytes([a, b]);
                write!(f, "ext:{}:{asn}:{}", kind_text(kind), u32::from_be_bytes(n))
            }
            Self::Ext([1, kind @ (2 | 3), a, b, c, d, n @ ..]) => {
                let address = Ipv4Addr::new(a, b, c, d);
                write!(f, "ext:{}:{address}:{}", kind_text(kind), u16::from_be_bytes(n))
            }
            Self::Ext([2, kind @ (2 | 3), a, b, c, d, n @ ..]) => {
                let asn = u32::from_be_bytes([a, b, c, d]);
                write!(f, "ext:{}:{asn}:{}", kind_text(kind), u16::from_be_bytes(n))
            }
            Self::Ext(octets) => {
                f.write_str("ext:")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Regex(regex) => write!(f, "re:{regex}"),
        }
    }
}

/// Only digits: the standard parser also takes a plus sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

fn large(text: &str) -> Option<LargeCommunity> {
    let mut parts = text.splitn(3, ':').map(number);
    Some(LargeCommunity(parts.next()??, parts.next()??, parts.next()??))
}

fn ext(text: &str) -> Option<[u8; 8]> {
    let Some((kind, rest)) = text.split_once(':') else {
        if text.len() != 16 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return None;
        }
        return u64::from_str_radix(text, 16).ok().map(u64::to_be_bytes);
    };
    let kind = match kind {
        "rt" => 2,
        "ro" => 3,
        _ => return None,
    };
    let (administrator, assigned) = rest.split_once(':')?;
    if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        let [a, b, c, d] = address.octets();
        let [n0, n1] = number::<u16>(assigned)?.to_be_bytes();
        return Some([1, kind, a, b, c, d, n0, n1]);
    }
    let asn: u32 = number(administrator)?;
    match u16::try_from(asn) {
        Ok(asn) => {
            let [a, b] = asn.to_be_bytes();
            let [n0, n1, n2, n3] = number::<u32>(assigned)?.to_be_bytes();
            Some([0, kind, a, b, n0, n1, n2, n3])
        }
        Err(_) => {
            let [a, b, c, d] = asn.to_be_bytes();
            let [n0, n1] = number::<u16>(assigned)?.to_be_bytes();
            Some([2, kind, a, b, c, d, n0, n1])
        }
    }
}

fn kind_text(kind: u8) -> &'static str {
    if kind == 2 { "rt" } else { "ro" }
}

/// The encoding that stands for all with the same text: a small AS number goes from the 4-octet
/// form (RFC 5668) to the 2-octet one.
fn canonical(ext: [u8; 8]) -> [u8; 8] {
    match ext {
        [2, kind @ (2 | 3), 0, 0, a, b, n0, n1] => [0, kind, a, b, 0, 0, n0, n1],
        other => other,
    }
}

/// Community patterns, to be asked with many routes.
#[derive(Clone)]
pub struct CommunitySet {
    patterns: Vec<CommunityPattern>,
    /// Sorted, like the two after it.
    plain: Vec<Community>,
    large: Vec<LargeCommunity>,
    /// Canonical.
    ext: Vec<[u8; 8]>,
    automaton: Option<Automaton>,
}

impl CommunitySet {
    /// A set of all these. An extended community matches in any encoding that has its text.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or an automaton that would be too large.
    pub fn new(patterns: Vec<CommunityPattern>) -> Result<Self, PatternError> {
        let (mut plain, mut large, mut ext, mut regexes) = (vec![], vec![], vec![], vec![]);
        for pattern in &patterns {
            match pattern {
                CommunityPattern::Value(CommunityValue::Plain(value)) => plain.push(*value),
                CommunityPattern::Value(CommunityValue::Large(value)) => large.push(*value),
                CommunityPattern::Value(CommunityValue::Ext(value)) => ext.push(canonical(*value)),
                CommunityPattern::Regex(regex) => regexes.push(regex.as_str()),
            }
        }
        plain.sort_unstable();
        large.sort_unstable();
        ext.sort_unstable();
        let automaton =
            if regexes.is_empty() { None } else { Some(Automaton::new(&regexes, str::to_owned)?) };
        Ok(Self { patterns, plain, large, ext, automaton })
    }

    /// Whether a pattern can be part of a set; [`new`](Self::new) names the first only that cannot.
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn check(pattern: &CommunityPattern) -> Result<(), PatternError> {
        match pattern {
            CommunityPattern::Value(_) => Ok(()),
            CommunityPattern::Regex(regex) => automaton::check(regex, regex),
        }
    }

    /// Whether the route carries one of them.
    pub fn matches(&self, attributes: &PathAttributes) -> bool {
        attributes.communities.iter().any(|value| self.contains_plain(*value))
            || attributes.large_communities.iter().any(|value| self.contains_large(*value))
            || attributes.ext_communities.iter().any(|value| self.contains_ext(*value))
    }

    /// Whether it is in the set, by value or by pattern.
    pub fn contains_plain(&self, value: Community) -> bool {
        self.plain.binary_search(&value).is_ok()
            || self.automaton.as_ref().is_some_and(|automaton| {
                let mut text = Digits::new();
                text.prepend_number(value.0 & 0xFFFF);
                text.prepend(b':');
                text.prepend_number(value.0 >> 16);
                let mut run = automaton.run();
                run.push(text.as_slice());
                run.finish()
            })
    }

    /// Whether it is in the set.
    pub fn contains_large(&self, value: LargeCommunity) -> bool {
        self.large.binary_search(&value).is_ok()
    }

    /// Whether it is in the set, in any encoding.
    pub fn contains_ext(&self, value: [u8; 8]) -> bool {
        self.ext.binary_search(&canonical(value)).is_ok()
    }

    /// As written.
    pub fn patterns(&self) -> &[CommunityPattern] {
        &self.patterns
    }
}

impl fmt::Debug for CommunitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}

impl PartialEq for CommunitySet {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for CommunitySet {}

#[cfg(test)]
mod tests;
