//! The beginning of an IP packet, as far as policies look at it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_calc::{Header, Packet};

/// Reads it; `None` for what is no IP, or ends within its addresses. A packet cut short behind them, and
/// a fragment that is not the first, has no ports.
pub fn packet(octets: &[u8]) -> Option<Packet> {
    match octets.first()? >> 4 {
        4 => v4(octets),
        6 => v6(octets),
        _ => None,
    }
}

fn v4(octets: &[u8]) -> Option<Packet> {
    let header: &[u8; 20] = octets.first_chunk()?;
    let words = usize::from(header[0] & 0xf);
    if words < 5 {
        return None;
    }
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let rest = octets.get(words * 4..).filter(|_| is_first).unwrap_or_default();
    let protocol = header[9];
    let (source, destination) = (address(12)?, address(16)?);
    Some(Packet { source, destination, protocol, header: transport(protocol, rest) })
}

fn v6(octets: &[u8]) -> Option<Packet> {
    let header: &[u8; 40] = octets.first_chunk()?;
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    let (mut protocol, mut rest) = (header[6], octets.get(40..).unwrap_or_default());
    for _ in 0..MOST_EXTENSIONS {
        let units = match (protocol, rest) {
            (HOP_BY_HOP | ROUTING | DESTINATION, [_, units, ..]) => usize::from(*units) * 8 + 8,
            (AUTHENTICATION, [_, units, ..]) => usize::from(*units) * 4 + 8,
            (FRAGMENT, [_, _, high, low, ..]) => {
                if u16::from_be_bytes([*high, *low]) >> 3 != 0 {
                    // Ports stand in the first one only.
                    protocol = *rest.first()?;
                    rest = &[];
                    break;
                }
                8
            }
            _ => break,
        };
        protocol = *rest.first()?;
        rest = rest.get(units..).unwrap_or_default();
    }
    let (source, destination) = (address(8)?, address(24)?);
    Some(Packet { source, destination, protocol, header: transport(protocol, rest) })
}

fn transport(protocol: u8, octets: &[u8]) -> Header {
    match (protocol, octets) {
        (TCP | UDP | SCTP | UDP_LITE | DCCP, [a, b, c, d, ..]) => Header::Ports {
            source: u16::from_be_bytes([*a, *b]),
            destination: u16::from_be_bytes([*c, *d]),
        },
        (ICMP | ICMPV6, [kind, code, ..]) => Header::Icmp { kind: *kind, code: *code },
        _ => Header::Other,
    }
}

/// Of what goes through a router there are two or three.
const MOST_EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
