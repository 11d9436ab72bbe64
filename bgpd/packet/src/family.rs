//! Autonomous system numbers and address families.

use std::{fmt, str::FromStr};

const TRANS: u16 = 23456;

/// A 4-octet autonomous system number (RFC 6793). Displayed as a plain decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Asn(pub u32);

impl Asn {
    /// AS_TRANS, what a 2-octet field holds when the number does not fit (RFC 6793 §9).
    pub const TRANS: Self = Self(TRANS as u32);

    /// What a 2-octet field holds: the number itself, or AS_TRANS.
    pub fn two_octet(self) -> u16 {
        u16::try_from(self.0).unwrap_or(TRANS)
    }

    /// Private use: 64512-65534 and 4200000000-4294967294 (RFC 6996).
    pub fn is_private(self) -> bool {
        matches!(self.0, 64512..=65534 | 4_200_000_000..=4_294_967_294)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is neither a decimal 32-bit number nor the dotted form `high.low` (RFC 5396).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an AS number (0-4294967295, or dotted as 1.10)")]
pub struct AsnParseError(pub String);

impl FromStr for Asn {
    type Err = AsnParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once('.') {
            Some((high, low)) => high
                .parse::<u16>()
                .ok()
                .zip(low.parse::<u16>().ok())
                .map(|(high, low)| u32::from(high) << 16 | u32::from(low)),
            None => text.parse().ok(),
        };
        parsed.map(Self).ok_or_else(|| AsnParseError(text.to_owned()))
    }
}

/// An address family as on the wire: AFI and SAFI (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// Address family identifier: 1 IPv4, 2 IPv6.
    pub afi: u16,
    /// Subsequent address family identifier: 1 unicast.
    pub safi: u8,
}

impl Family {
    /// AFI 1, SAFI 1.
    pub const IPV4_UNICAST: Self = Self { afi: 1, safi: 1 };
    /// AFI 2, SAFI 1.
    pub const IPV6_UNICAST: Self = Self { afi: 2, safi: 1 };
    /// The families whose NLRI this crate decodes, in the order of `FamilySet`.
    pub const SUPPORTED: [Self; 2] = [Self::IPV4_UNICAST, Self::IPV6_UNICAST];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4_UNICAST => f.write_str("ipv4-unicast"),
            Self::IPV6_UNICAST => f.write_str("ipv6-unicast"),
            Self { afi, safi } => write!(f, "afi-{afi}-safi-{safi}"),
        }
    }
}

/// The text is not a supported family.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a family (ipv4-unicast, ipv6-unicast)")]
pub struct FamilyParseError(pub String);

/// The supported families, by the names of the configuration.
impl FromStr for Family {
    type Err = FamilyParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ipv4-unicast" => Ok(Self::IPV4_UNICAST),
            "ipv6-unicast" => Ok(Self::IPV6_UNICAST),
            _ => Err(FamilyParseError(text.to_owned())),
        }
    }
}

/// A set over the supported families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const EMPTY: Self = Self(0);

    fn bit(family: Family) -> u8 {
        Family::SUPPORTED.iter().position(|f| *f == family).map_or(0, |i| 1 << i)
    }

    /// Whether `family` is in the set; always false for an unsupported one.
    pub fn contains(self, family: Family) -> bool {
        self.0 & Self::bit(family) != 0
    }

    /// Adds `family`; an unsupported one is ignored.
    pub fn insert(&mut self, family: Family) {
        self.0 |= Self::bit(family);
    }

    /// The families in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no family is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Family::SUPPORTED`].
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::SUPPORTED.into_iter().filter(move |f| self.contains(*f))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(iter: I) -> Self {
        let mut set = Self::EMPTY;
        iter.into_iter().for_each(|f| set.insert(f));
        set
    }
}
