//! NOTIFICATION and its codes (RFC 4271 §4.5 and §6, RFC 4486, 6608, 9003, 9384, 9687).

use std::fmt;

use bytes::Bytes;

use crate::{
    capability::prefix_of,
    wire::{len8, take_counted8},
};

/// A NOTIFICATION as sent or received. Displayed as `Cease/Administrative Shutdown (6/2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is unspecific.
    pub subcode: u8,
    /// Data octets as the code and subcode define.
    pub data: Bytes,
}

impl Notification {
    /// Without data.
    pub fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Bytes::new() }
    }

    /// With data octets.
    pub fn with_data(code: u8, subcode: u8, data: impl Into<Bytes>) -> Self {
        Self { code, subcode, data: data.into() }
    }

    /// A Cease with an RFC 9003 text, cut to 255 octets; meant for [`cease::ADMIN_SHUTDOWN`] and
    /// [`cease::ADMIN_RESET`]. Without a text there is no data at all.
    pub fn cease_with_text(subcode: u8, text: &str) -> Self {
        let text = prefix_of(text, MAX_TEXT);
        let mut data = Vec::with_capacity(1 + text.len());
        if !text.is_empty() {
            data.push(len8(text.len()));
            data.extend(text.as_bytes());
        }
        Self::with_data(code::CEASE, subcode, data)
    }

    /// The RFC 9003 text of a Cease/2 or Cease/4, also inside a Hard Reset (RFC 8538): safe to
    /// print. Control and direction characters and broken UTF-8 show as U+FFFD. `None` where the
    /// NOTIFICATION has none, or it overruns the data.
    pub fn text(&self) -> Option<String> {
        let (subcode, data) = match (self.code, self.subcode, &*self.data) {
            (code::CEASE, cease::HARD_RESET, [code::CEASE, subcode, data @ ..]) => (*subcode, data),
            (code::CEASE, subcode, data) => (subcode, data),
            _ => return None,
        };
        if !matches!(subcode, cease::ADMIN_SHUTDOWN | cease::ADMIN_RESET) {
            return None;
        }
        let (text, _) = take_counted8(data)?;
        let text = String::from_utf8_lossy(text);
        let text: String =
            text.chars().map(|c| if is_printable(c) { c } else { '\u{FFFD}' }).collect();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The name of the code, as the IANA registry writes it.
    pub fn code_name(&self) -> &'static str {
        match self.code {
            code::HEADER => "Message Header Error",
            code::OPEN => "OPEN Message Error",
            code::UPDATE => "UPDATE Message Error",
            code::HOLD_TIMER => "Hold Timer Expired",
            code::FSM => "Finite State Machine Error",
            code::CEASE => "Cease",
            code::ROUTE_REFRESH => "ROUTE-REFRESH Message Error",
            code::SEND_HOLD_TIMER => "Send Hold Timer Expired",
            _ => "Unknown Error",
        }
    }

    /// The name of the subcode; `None` where it says nothing more (0) or has no name.
    pub fn subcode_name(&self) -> Option<&'static str> {
        Some(match (self.code, self.subcode) {
            (code::HEADER, 1) => "Connection Not Synchronized",
            (code::HEADER, 2) => "Bad Message Length",
            (code::HEADER, 3) => "Bad Message Type",
            (code::OPEN, 1) => "Unsupported Version Number",
            (code::OPEN, 2) => "Bad Peer AS",
            (code::OPEN, 3) => "Bad BGP Identifier",
            (code::OPEN, 4) => "Unsupported Optional Parameter",
            (code::OPEN, 5) => "Authentication Failure",
            (code::OPEN, 6) => "Unacceptable Hold Time",
            (code::OPEN, 7) => "Unsupported Capability",
            (code::OPEN, 11) => "Role Mismatch",
            (code::UPDATE, 1) => "Malformed Attribute List",
            (code::UPDATE, 2) => "Unrecognized Well-known Attribute",
            (code::UPDATE, 3) => "Missing Well-known Attribute",
            (code::UPDATE, 4) => "Attribute Flags Error",
            (code::UPDATE, 5) => "Attribute Length Error",
            (code::UPDATE, 6) => "Invalid ORIGIN Attribute",
            (code::UPDATE, 7) => "AS Routing Loop",
            (code::UPDATE, 8) => "Invalid NEXT_HOP Attribute",
            (code::UPDATE, 9) => "Optional Attribute Error",
            (code::UPDATE, 10) => "Invalid Network Field",
            (code::UPDATE, 11) => "Malformed AS_PATH",
            (code::FSM, 1) => "Unexpected Message in OpenSent State",
            (code::FSM, 2) => "Unexpected Message in OpenConfirm State",
            (code::FSM, 3) => "Unexpected Message in Established State",
            (code::CEASE, cease::MAX_PREFIXES) => "Maximum Number of Prefixes Reached",
            (code::CEASE, cease::ADMIN_SHUTDOWN) => "Administrative Shutdown",
            (code::CEASE, cease::DECONFIGURED) => "Peer De-configured",
            (code::CEASE, cease::ADMIN_RESET) => "Administrative Reset",
            (code::CEASE, cease::REJECTED) => "Connection Rejected",
            (code::CEASE, cease::CONFIG_CHANGE) => "Other Configuration Change",
            (code::CEASE, cease::COLLISION) => "Connection Collision Resolution",
            (code::CEASE, cease::OUT_OF_RESOURCES) => "Out of Resources",
            (code::CEASE, cease::HARD_RESET) => "Hard Reset",
            (code::CEASE, cease::BFD_DOWN) => "BFD Down",
            (code::ROUTE_REFRESH, 1) => "Invalid Message Length",
            _ => return None,
        })
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code_name())?;
        if let Some(name) = self.subcode_name() {
            write!(f, "/{name}")?;
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        match self.text() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// Neither a control character nor one that reorders or hides what stands beside it.
fn is_printable(c: char) -> bool {
    let hides = matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    !c.is_control() && !hides
}

/// Octets of an RFC 9003 text at most.
const MAX_TEXT: usize = 255;

/// Error codes and the subcodes that other crates name.
pub mod code {
    /// Message header error.
    pub const HEADER: u8 = 1;
    /// OPEN message error.
    pub const OPEN: u8 = 2;
    /// UPDATE message error.
    pub const UPDATE: u8 = 3;
    /// Hold timer expired.
    pub const HOLD_TIMER: u8 = 4;
    /// FSM error; subcodes RFC 6608.
    pub const FSM: u8 = 5;
    /// Cease; subcodes RFC 4486, 8538, 9384.
    pub const CEASE: u8 = 6;
    /// ROUTE-REFRESH message error (RFC 7313).
    pub const ROUTE_REFRESH: u8 = 7;
    /// Send hold timer expired (RFC 9687).
    pub const SEND_HOLD_TIMER: u8 = 8;
}

/// Subcodes of the message header error (RFC 4271 §6.1).
pub mod header_error {
    /// The marker is not all ones.
    pub const NOT_SYNCHRONISED: u8 = 1;
    /// Data: the length field.
    pub const BAD_LENGTH: u8 = 2;
    /// Data: the type octet.
    pub const BAD_TYPE: u8 = 3;
}

/// Subcodes of the OPEN message error (RFC 4271 §6.2, RFC 5492, RFC 9234).
pub mod open_error {
    /// A parameter or capability overruns what contains it.
    pub const UNSPECIFIC: u8 = 0;
    /// Data: the version we speak, 2 octets.
    pub const UNSUPPORTED_VERSION: u8 = 1;
    /// Bad Peer AS.
    pub const BAD_PEER_AS: u8 = 2;
    /// Bad BGP Identifier.
    pub const BAD_IDENTIFIER: u8 = 3;
    /// Unsupported Optional Parameter.
    pub const UNSUPPORTED_PARAMETER: u8 = 4;
    /// Unacceptable Hold Time.
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// Data: the capabilities we miss ([`crate::Capability::encode_all`]).
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// Role Mismatch.
    pub const ROLE_MISMATCH: u8 = 11;
}

/// Subcodes of the UPDATE message error that still reset a session (RFC 4271 §6.3, RFC 7606).
pub mod update_error {
    /// The block of attributes cannot be taken apart, or has a fault that nothing less can mend.
    pub const MALFORMED_ATTRIBUTES: u8 = 1;
    /// Data: the attribute.
    pub const OPTIONAL_ATTRIBUTE: u8 = 9;
    /// A prefix is too long or cut short.
    pub const INVALID_NETWORK: u8 = 10;
}

/// Subcodes of Cease.
pub mod cease {
    /// Maximum number of prefixes reached.
    pub const MAX_PREFIXES: u8 = 1;
    /// Administrative shutdown; data is an RFC 9003 text.
    pub const ADMIN_SHUTDOWN: u8 = 2;
    /// Peer de-configured.
    pub const DECONFIGURED: u8 = 3;
    /// Administrative reset; data is an RFC 9003 text.
    pub const ADMIN_RESET: u8 = 4;
    /// Connection rejected.
    pub const REJECTED: u8 = 5;
    /// Other configuration change.
    pub const CONFIG_CHANGE: u8 = 6;
    /// Connection collision resolution.
    pub const COLLISION: u8 = 7;
    /// Out of resources.
    pub const OUT_OF_RESOURCES: u8 = 8;
    /// Hard reset (RFC 8538).
    pub const HARD_RESET: u8 = 9;
    /// BFD down (RFC 9384).
    pub const BFD_DOWN: u8 = 10;
}

#[cfg(test)]
mod tests;
