//! The message types besides UPDATE, and the framing common to all.

use std::net::Ipv4Addr;

use crate::{Asn, Capability, Family};

/// Marker (16), length (2), type (1).
pub const HEADER_LEN: usize = 19;
/// Largest message without RFC 8654.
pub const MAX_LEN: usize = 4096;
/// Largest message with RFC 8654.
pub const MAX_EXTENDED_LEN: usize = 65535;

/// OPEN (RFC 4271 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Protocol version; 4.
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
    /// The peer's AS: capability 65 if there (last instance), else the 2-octet field.
    pub fn asn(&self) -> Asn {
        self.capabilities
            .iter()
            .rev()
            .find_map(|c| match c {
                Capability::FourOctetAsn(asn) => Some(*asn),
                _ => None,
            })
            .unwrap_or(Asn(u32::from(self.my_as)))
    }
}

/// Subtype of a ROUTE-REFRESH (RFC 7313 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshKind {
    /// 0: a request.
    Request,
    /// 1: Beginning of Route Refresh.
    Begin,
    /// 2: End of Route Refresh.
    End,
    /// Any other subtype: to be ignored.
    Other(u8),
}

/// ROUTE-REFRESH (RFC 2918, 7313). ORF entries are accepted and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family asked for or bracketed; may be one we do not know.
    pub family: Family,
    /// What the message says.
    pub kind: RefreshKind,
}

/// A whole message, decoded as far as the session needs it.
#[derive(Debug)]
pub enum Message<'a> {
    /// Type 1.
    Open(Open),
    /// Type 2; the body, to be given to [`crate::Update::parse`].
    Update(&'a [u8]),
    /// Type 3.
    Notification(crate::Notification),
    /// Type 4.
    KeepAlive,
    /// Type 5.
    RouteRefresh(RouteRefresh),
}

/// The length of the message at the start of `buffer`, once its header is there.
///
/// `max_len` is what we agreed to accept. OPEN and KEEPALIVE never exceed [`MAX_LEN`].
///
/// # Errors
/// The NOTIFICATION for a wrong marker, length or type (RFC 4271 §6.1); found as soon as the
/// header is there, before the body is awaited.
pub fn frame_len(_buffer: &[u8], _max_len: usize) -> Result<Option<usize>, crate::Notification> {
    unimplemented!()
}

/// Decodes one whole frame as measured by [`frame_len`].
///
/// # Errors
/// The NOTIFICATION to answer with (for a malformed NOTIFICATION the caller only logs).
pub fn decode(_frame: &[u8]) -> Result<Message<'_>, crate::Notification> {
    unimplemented!()
}

/// Encodes an OPEN; extended parameters (RFC 9072) only where needed.
pub fn encode_open(_open: &Open) -> bytes::Bytes {
    unimplemented!()
}

/// Encodes a NOTIFICATION, its data cut to fit [`MAX_LEN`].
pub fn encode_notification(_notification: &crate::Notification) -> bytes::Bytes {
    unimplemented!()
}

/// Encodes a ROUTE-REFRESH.
pub fn encode_route_refresh(_refresh: RouteRefresh) -> bytes::Bytes {
    unimplemented!()
}

/// The 19 octets of a KEEPALIVE.
pub fn keep_alive() -> bytes::Bytes {
    unimplemented!()
}
