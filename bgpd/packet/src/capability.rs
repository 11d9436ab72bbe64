//! Capabilities of the OPEN message (RFC 5492).

use crate::{
    Asn, Family,
    wire::{len8, take_counted8},
};

/// What an add-path entry allows its sender to do (RFC 7911 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddPathMode {
    /// 1: able to receive multiple paths.
    Receive,
    /// 2: able to send multiple paths.
    Send,
    /// 3: both.
    Both,
}

impl AddPathMode {
    fn from_wire(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Receive),
            2 => Some(Self::Send),
            3 => Some(Self::Both),
            _ => None,
        }
    }

    fn to_wire(self) -> u8 {
        match self {
            Self::Receive => 1,
            Self::Send => 2,
            Self::Both => 3,
        }
    }

    /// Whether the sender of the capability can receive multiple paths.
    pub fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Both)
    }

    /// Whether the sender of the capability can send multiple paths.
    pub fn sends(self) -> bool {
        matches!(self, Self::Send | Self::Both)
    }
}

/// One capability. Unknown codes are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// 1 (RFC 4760).
    Multiprotocol(Family),
    /// 2 (RFC 2918).
    RouteRefresh,
    /// 5 (RFC 8950): families whose next hop may be of the given AFI.
    ExtendedNextHop(Vec<(Family, u16)>),
    /// 6 (RFC 8654).
    ExtendedMessage,
    /// 9 (RFC 9234).
    Role(u8),
    /// 64 (RFC 4724, 8538).
    GracefulRestart {
        /// R: the sender has restarted.
        restarting: bool,
        /// N: NOTIFICATIONs also start the helper (RFC 8538).
        notification: bool,
        /// Seconds, 12 bits.
        restart_time: u16,
        /// Families and their F bit (forwarding state preserved).
        families: Vec<(Family, bool)>,
    },
    /// 65 (RFC 6793).
    FourOctetAsn(Asn),
    /// 69 (RFC 7911).
    AddPath(Vec<(Family, AddPathMode)>),
    /// 70 (RFC 7313).
    EnhancedRouteRefresh,
    /// 71 (RFC 9494): family, F bit, stale time in seconds (24 bits).
    LongLivedGracefulRestart(Vec<(Family, bool, u32)>),
    /// 73 (draft-walton-bgp-hostname-capability).
    Fqdn {
        /// Host name, not checked.
        host: String,
        /// Domain name, not checked.
        domain: String,
    },
    /// Anything else, octets as received.
    Unknown {
        /// Capability code.
        code: u8,
        /// Value octets.
        value: Vec<u8>,
    },
}

/// A capability of a known code whose length is impossible: the OPEN is malformed (2/0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("capability {code} is {len} octets")]
pub struct CapabilityLength {
    /// Capability code.
    pub code: u8,
    /// Its length.
    pub len: usize,
}

mod code {
    pub(super) const MULTIPROTOCOL: u8 = 1;
    pub(super) const ROUTE_REFRESH: u8 = 2;
    pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(super) const EXTENDED_MESSAGE: u8 = 6;
    pub(super) const ROLE: u8 = 9;
    pub(super) const GRACEFUL_RESTART: u8 = 64;
    pub(super) const FOUR_OCTET_ASN: u8 = 65;
    pub(super) const ADD_PATH: u8 = 69;
    pub(super) const ENHANCED_ROUTE_REFRESH: u8 = 70;
    pub(super) const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
    pub(super) const FQDN: u8 = 73;
}

impl Capability {
    /// Its code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => code::MULTIPROTOCOL,
            Self::RouteRefresh => code::ROUTE_REFRESH,
            Self::ExtendedNextHop(_) => code::EXTENDED_NEXT_HOP,
            Self::ExtendedMessage => code::EXTENDED_MESSAGE,
            Self::Role(_) => code::ROLE,
            Self::GracefulRestart { .. } => code::GRACEFUL_RESTART,
            Self::FourOctetAsn(_) => code::FOUR_OCTET_ASN,
            Self::AddPath(_) => code::ADD_PATH,
            Self::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Self::LongLivedGracefulRestart(_) => code::LONG_LIVED_GRACEFUL_RESTART,
            Self::Fqdn { .. } => code::FQDN,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// Reads the value of a capability.
    ///
    /// Entries of unknown families are kept, add-path entries of an unknown mode are not. A
    /// capability that is only a flag (2, 6, 70) but has a value, or a name (73) that does not
    /// parse, says nothing and is kept as unknown.
    ///
    /// # Errors
    /// A length that the code cannot have.
    pub fn decode(code: u8, value: &[u8]) -> Result<Self, CapabilityLength> {
        let impossible = CapabilityLength { code, len: value.len() };
        Ok(match code {
            code::MULTIPROTOCOL => match value {
                &[a, b, _, safi] => Self::Multiprotocol(family(a, b, safi)),
                _ => return Err(impossible),
            },
            code::EXTENDED_NEXT_HOP => Self::ExtendedNextHop(
                entries::<6>(value)
                    .ok_or(impossible)?
                    // A SAFI is one octet everywhere else: a larger one names no family.
                    .filter(|[_, _, high, ..]| *high == 0)
                    .map(|&[a, b, _, safi, c, d]| (family(a, b, safi), u16::from_be_bytes([c, d])))
                    .collect(),
            ),
            code::ROLE => match value {
                &[role] => Self::Role(role),
                _ => return Err(impossible),
            },
            code::GRACEFUL_RESTART => {
                let (&[flags, low], rest) = value.split_first_chunk::<2>().ok_or(impossible)?;
                Self::GracefulRestart {
                    restarting: flags & 0x80 != 0,
                    notification: flags & 0x40 != 0,
                    restart_time: u16::from_be_bytes([flags & 0x0F, low]),
                    families: entries::<4>(rest)
                        .ok_or(impossible)?
                        .map(|&[a, b, safi, flags]| (family(a, b, safi), flags & 0x80 != 0))
                        .collect(),
                }
            }
            code::FOUR_OCTET_ASN => match value.try_into() {
                Ok(asn) => Self::FourOctetAsn(Asn(u32::from_be_bytes(asn))),
                Err(_) => return Err(impossible),
            },
            code::ADD_PATH => Self::AddPath(
                entries::<4>(value)
                    .ok_or(impossible)?
                    .filter_map(|&[a, b, safi, mode]| {
                        Some((family(a, b, safi), AddPathMode::from_wire(mode)?))
                    })
                    .collect(),
            ),
            code::LONG_LIVED_GRACEFUL_RESTART => Self::LongLivedGracefulRestart(
                entries::<7>(value)
                    .ok_or(impossible)?
                    .map(|&[a, b, safi, flags, x, y, z]| {
                        let stale_time = u32::from_be_bytes([0, x, y, z]);
                        (family(a, b, safi), flags & 0x80 != 0, stale_time)
                    })
                    .collect(),
            ),
            code::ROUTE_REFRESH if value.is_empty() => Self::RouteRefresh,
            code::EXTENDED_MESSAGE if value.is_empty() => Self::ExtendedMessage,
            code::ENHANCED_ROUTE_REFRESH if value.is_empty() => Self::EnhancedRouteRefresh,
            code::FQDN => fqdn(value).unwrap_or_else(|| Self::unknown(code, value)),
            _ => Self::unknown(code, value),
        })
    }

    fn unknown(code: u8, value: &[u8]) -> Self {
        Self::Unknown { code, value: value.to_vec() }
    }

    /// Appends code, length and value. A list too long for one capability (255 octets) is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.code(), 0]);
        let start = out.len();
        match self {
            Self::Multiprotocol(Family { afi, safi }) => {
                out.extend(afi.to_be_bytes());
                out.extend([0, *safi]);
            }
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::ExtendedNextHop(entries) => {
                for (Family { afi, safi }, next_hop_afi) in entries.iter().take(MAX_VALUE / 6) {
                    out.extend(afi.to_be_bytes());
                    out.extend([0, *safi]);
                    out.extend(next_hop_afi.to_be_bytes());
                }
            }
            Self::Role(role) => out.push(*role),
            Self::GracefulRestart { restarting, notification, restart_time, families } => {
                let flags = u16::from(*restarting) << 15 | u16::from(*notification) << 14;
                out.extend((flags | restart_time.min(&0x0FFF)).to_be_bytes());
                for (Family { afi, safi }, preserved) in families.iter().take((MAX_VALUE - 2) / 4) {
                    out.extend(afi.to_be_bytes());
                    out.extend([*safi, u8::from(*preserved) << 7]);
                }
            }
            Self::FourOctetAsn(asn) => out.extend(asn.0.to_be_bytes()),
            Self::AddPath(entries) => {
                for (Family { afi, safi }, mode) in entries.iter().take(MAX_VALUE / 4) {
                    out.extend(afi.to_be_bytes());
                    out.extend([*safi, mode.to_wire()]);
                }
            }
            Self::LongLivedGracefulRestart(entries) => {
                for (Family { afi, safi }, preserved, stale_time) in
                    entries.iter().take(MAX_VALUE / 7)
                {
                    out.extend(afi.to_be_bytes());
                    out.extend([*safi, u8::from(*preserved) << 7]);
                    let [_, x, y, z] = stale_time.min(&0x00FF_FFFF).to_be_bytes();
                    out.extend([x, y, z]);
                }
            }
            Self::Fqdn { host, domain } => {
                let host = prefix_of(host, MAX_VALUE - 2);
                let domain = prefix_of(domain, MAX_VALUE - 2 - host.len());
                out.push(len8(host.len()));
                out.extend(host.as_bytes());
                out.push(len8(domain.len()));
                out.extend(domain.as_bytes());
            }
            Self::Unknown { value, .. } => out.extend(value.iter().take(MAX_VALUE)),
        }
        let len = len8(out.len() - start);
        if let Some(octet) = out.get_mut(start - 1) {
            *octet = len;
        }
    }

    /// The octets of some capabilities, such as a NOTIFICATION 2/7 carries.
    pub fn encode_all(capabilities: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        capabilities.iter().for_each(|capability| capability.encode(&mut out));
        out
    }
}

/// Octets of a capability value at most.
const MAX_VALUE: usize = 255;

fn family(afi_high: u8, afi_low: u8, safi: u8) -> Family {
    Family { afi: u16::from_be_bytes([afi_high, afi_low]), safi }
}

/// The entries of a list; `None` if one is incomplete.
fn entries<const N: usize>(value: &[u8]) -> Option<impl Iterator<Item = &[u8; N]>> {
    let (entries, rest) = value.as_chunks::<N>();
    rest.is_empty().then(|| entries.iter())
}

fn fqdn(value: &[u8]) -> Option<Capability> {
    let (host, rest) = take_counted8(value)?;
    // Some senders leave the domain out.
    let domain = if rest.is_empty() { rest } else { take_counted8(rest)?.0 };
    Some(Capability::Fqdn {
        host: String::from_utf8_lossy(host).into_owned(),
        domain: String::from_utf8_lossy(domain).into_owned(),
    })
}

/// The longest start of `text` that takes at most so many octets.
pub(crate) fn prefix_of(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
