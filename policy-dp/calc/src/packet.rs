//! A packet, as far as policy looks at it.

use std::net::IpAddr;

/// A packet at the place where policy sees it: the addresses are those after the translation of
/// destinations, but for the classes that come before it. Both are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// The number of its protocol.
    pub protocol: u8,
    /// What the header of the protocol says.
    pub header: Header,
}

/// The part of a protocol's header that rules can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Header {
    /// TCP, UDP, SCTP.
    Ports {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// Nothing rules could look at.
    Other,
}

impl Packet {
    /// The source and the destination port, if the protocol has ports.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.header {
            Header::Ports { source, destination } => Some((source, destination)),
            Header::Icmp { .. } | Header::Other => None,
        }
    }

    /// The type and the code of ICMP, if it is that.
    pub fn icmp(&self) -> Option<(u8, u8)> {
        match self.header {
            Header::Icmp { kind, code } => Some((kind, code)),
            Header::Ports { .. } | Header::Other => None,
        }
    }
}
