//! IP protocols of rules.

use std::{fmt, str::FromStr};

use serde_json::Value as Json;

use super::ScalarError;
use crate::{
    text::Node,
    wire::{Reader, Wire},
};

/// An IP protocol, by one of the names of the API or by number, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `TCP`, 6.
    Tcp,
    /// `UDP`, 17.
    Udp,
    /// `ICMP`, 1.
    Icmp,
    /// `ICMPv6`, 58.
    Icmpv6,
    /// `SCTP`, 132.
    Sctp,
    /// `UDPLite`, 136.
    UdpLite,
    /// Any protocol but 0, by its number.
    Number(u8),
}

impl Protocol {
    const NAMES: &[(&str, Self)] = &[
        ("TCP", Self::Tcp),
        ("UDP", Self::Udp),
        ("ICMP", Self::Icmp),
        ("ICMPv6", Self::Icmpv6),
        ("SCTP", Self::Sctp),
        ("UDPLite", Self::UdpLite),
    ];

    /// Its number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp => 1,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
            Self::UdpLite => 136,
            Self::Number(number) => number,
        }
    }

    /// Whether rules can look at its ports: TCP, UDP and SCTP, however written.
    pub fn has_ports(self) -> bool {
        matches!(self.number(), 6 | 17 | 132)
    }
}

impl FromStr for Protocol {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, known)| *known);
        let number = || text.parse::<u8>().ok().filter(|number| *number > 0).map(Self::Number);
        named
            .or_else(number)
            .ok_or_else(|| ScalarError { found: text.to_owned(), allowed: Self::expected() })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, known)| known == self) {
            Some((name, _)) => f.write_str(name),
            None => self.number().fmt(f),
        }
    }
}

impl Wire for Protocol {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let number = node.as_integer().map(|number| number.to_string());
        let text = number.as_deref().or_else(|| node.as_text());
        let protocol = text.and_then(|text| text.parse().ok());
        protocol.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        match self {
            Self::Number(number) => (*number).into(),
            _ => self.to_string().into(),
        }
    }

    fn is_blank(node: &Node<'_>) -> bool {
        node.as_text() == Some("")
    }

    fn expected() -> String {
        "one of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or a number 1 to 255".into()
    }
}
