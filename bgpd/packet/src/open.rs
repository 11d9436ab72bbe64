//! OPEN and its optional parameters (RFC 4271 §4.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;

use bytes::Bytes;

use crate::{
    Asn, Capability, Family, HEADER_LEN, MAX_LEN, Notification,
    message::{message_type, seal, start},
    notification::{code, open_error},
    wire::{len8, len16, take_counted8, take_counted16},
};

/// OPEN (RFC 4271 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Protocol version; 4. For any other the decoder leaves the rest of the message alone: the
    /// session answers 2/1 anyway.
    pub version: u8,
    /// The 2-octet field: the number, or AS_TRANS.
    pub my_as: u16,
    /// Proposed hold time in seconds; checked by the session, not by the decoder.
    pub hold_time: u16,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// In the order received, over all optional parameters.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// An OPEN of version 4; the 2-octet field follows from `asn`. Capability 65 is the caller's
    /// to add.
    pub fn new(
        asn: Asn,
        hold_time: u16,
        router_id: Ipv4Addr,
        capabilities: Vec<Capability>,
    ) -> Self {
        Self { version: VERSION, my_as: asn.two_octet(), hold_time, router_id, capabilities }
    }

    /// The peer's AS: capability 65 if there (last instance), else the 2-octet field.
    pub fn asn(&self) -> Asn {
        self.four_octet_asn().unwrap_or(Asn(u32::from(self.my_as)))
    }

    /// The number of capability 65, if there (last instance).
    pub fn four_octet_asn(&self) -> Option<Asn> {
        self.capabilities.iter().rev().find_map(|c| match c {
            Capability::FourOctetAsn(asn) => Some(*asn),
            _ => None,
        })
    }

    /// The families of all capabilities 1, unknown ones too. Empty: none was sent, which means
    /// IPv4 unicast (RFC 4760 §8).
    pub fn families(&self) -> impl Iterator<Item = Family> {
        self.capabilities.iter().filter_map(|c| match c {
            Capability::Multiprotocol(family) => Some(*family),
            _ => None,
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Notification> {
        let malformed = || Notification::new(code::OPEN, open_error::UNSPECIFIC);
        let (&[version, as_high, as_low, hold_high, hold_low, a, b, c, d], parameters) =
            body.split_first_chunk::<9>().ok_or_else(malformed)?;
        let mut open = Self {
            version,
            my_as: u16::from_be_bytes([as_high, as_low]),
            hold_time: u16::from_be_bytes([hold_high, hold_low]),
            router_id: Ipv4Addr::new(a, b, c, d),
            capabilities: Vec::new(),
        };
        if version == VERSION {
            open.decode_parameters(parameters)?;
        }
        Ok(open)
    }

    /// `octets` begins with the length octet of the optional parameters.
    fn decode_parameters(&mut self, octets: &[u8]) -> Result<(), Notification> {
        let malformed = || Notification::new(code::OPEN, open_error::UNSPECIFIC);
        // RFC 9072 §2: the extended form is known by the type of the first parameter; its length
        // octet should be 255, but any other than 0 must be taken.
        let (mut parameters, extended) = match *octets {
            [len, EXTENDED, ref rest @ ..] if len != 0 => {
                let (parameters, beyond) = take_counted16(rest).ok_or_else(malformed)?;
                (Some(parameters).filter(|_| beyond.is_empty()).ok_or_else(malformed)?, true)
            }
            _ => {
                let (parameters, beyond) = take_counted8(octets).ok_or_else(malformed)?;
                (Some(parameters).filter(|_| beyond.is_empty()).ok_or_else(malformed)?, false)
            }
        };
        while let Some((&kind, rest)) = parameters.split_first() {
            let taken = if extended { take_counted16(rest) } else { take_counted8(rest) };
            let (value, rest) = taken.ok_or_else(malformed)?;
            if kind != CAPABILITIES {
                return Err(Notification::new(code::OPEN, open_error::UNSUPPORTED_PARAMETER));
            }
            self.decode_capabilities(value).ok_or_else(malformed)?;
            parameters = rest;
        }
        Ok(())
    }

    fn decode_capabilities(&mut self, mut octets: &[u8]) -> Option<()> {
        while let Some((&code, rest)) = octets.split_first() {
            let (value, rest) = take_counted8(rest)?;
            self.capabilities.push(Capability::decode(code, value).ok()?);
            octets = rest;
        }
        Some(())
    }
}

/// Encodes an OPEN; extended parameters (RFC 9072) only where needed.
///
/// Capabilities beyond what fits [`MAX_LEN`] are left out, from the first that does not.
pub fn encode_open(open: &Open) -> Bytes {
    let mut capabilities = Vec::new();
    for capability in &open.capabilities {
        let before = capabilities.len();
        capability.encode(&mut capabilities);
        if capabilities.len() > MAX_CAPABILITIES {
            capabilities.truncate(before);
            break;
        }
    }
    let mut out = start(message_type::OPEN);
    out.push(open.version);
    out.extend(open.my_as.to_be_bytes());
    out.extend(open.hold_time.to_be_bytes());
    out.extend(open.router_id.octets());
    if capabilities.is_empty() {
        out.push(0);
    } else if capabilities.len() + 2 <= usize::from(u8::MAX) {
        out.extend([len8(capabilities.len() + 2), CAPABILITIES, len8(capabilities.len())]);
    } else {
        out.extend([u8::MAX, EXTENDED]);
        out.extend(len16(capabilities.len() + 3));
        out.push(CAPABILITIES);
        out.extend(len16(capabilities.len()));
    }
    out.extend(capabilities);
    seal(out)
}

const VERSION: u8 = 4;
/// Type of the parameter that carries capabilities.
const CAPABILITIES: u8 = 2;
/// In place of the first parameter's type: the extended form.
const EXTENDED: u8 = 255;
/// Room for capabilities: the fixed fields take 10 octets, the extended form 6 more.
const MAX_CAPABILITIES: usize = MAX_LEN - HEADER_LEN - 10 - 6;

#[cfg(test)]
mod tests;
