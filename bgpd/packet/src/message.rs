//! Framing, and the small message types.

use bytes::Bytes;

use crate::{
    Family, Notification,
    notification::{code, header_error},
    wire::len16,
};

/// Marker (16), length (2), type (1).
pub const HEADER_LEN: usize = 19;
/// Largest message without RFC 8654.
pub const MAX_LEN: usize = 4096;
/// Largest message with RFC 8654.
pub const MAX_EXTENDED_LEN: usize = 65535;

/// Message type codes.
pub mod message_type {
    /// OPEN.
    pub const OPEN: u8 = 1;
    /// UPDATE.
    pub const UPDATE: u8 = 2;
    /// NOTIFICATION.
    pub const NOTIFICATION: u8 = 3;
    /// KEEPALIVE.
    pub const KEEPALIVE: u8 = 4;
    /// ROUTE-REFRESH (RFC 2918).
    pub const ROUTE_REFRESH: u8 = 5;
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
    Notification(Notification),
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
#[inline]
pub fn frame_len(buffer: &[u8], max_len: usize) -> Result<Option<usize>, Notification> {
    let Some((header, _)) = buffer.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let [marker @ .., high, low, kind] = header;
    if *marker != MARKER {
        return Err(Notification::new(code::HEADER, header_error::NOT_SYNCHRONISED));
    }
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let bad_length = || {
        let data = Bytes::copy_from_slice(&[*high, *low]);
        Notification { code: code::HEADER, subcode: header_error::BAD_LENGTH, data }
    };
    if len < HEADER_LEN || len > max_len {
        return Err(bad_length());
    }
    let legal = match *kind {
        message_type::OPEN => 29..=MAX_LEN,
        message_type::UPDATE => 23..=MAX_EXTENDED_LEN,
        message_type::NOTIFICATION => 21..=MAX_EXTENDED_LEN,
        message_type::KEEPALIVE => HEADER_LEN..=HEADER_LEN,
        message_type::ROUTE_REFRESH => 23..=MAX_EXTENDED_LEN,
        unknown => {
            let data = Bytes::copy_from_slice(&[unknown]);
            return Err(Notification { code: code::HEADER, subcode: header_error::BAD_TYPE, data });
        }
    };
    if legal.contains(&len) { Ok(Some(len)) } else { Err(bad_length()) }
}

/// Decodes one whole frame as measured by [`frame_len`].
///
/// # Errors
/// The NOTIFICATION to answer with (for a malformed NOTIFICATION the caller only logs).
pub fn decode(frame: &[u8]) -> Result<Message<'_>, Notification> {
    let bad_length = || {
        let data = Bytes::copy_from_slice(&len16(frame.len()));
        Notification { code: code::HEADER, subcode: header_error::BAD_LENGTH, data }
    };
    let len = frame_len(frame, MAX_EXTENDED_LEN)?;
    let (header, body) = frame.split_first_chunk::<HEADER_LEN>().ok_or_else(bad_length)?;
    if len != Some(frame.len()) {
        return Err(bad_length());
    }
    let [.., kind] = header;
    Ok(match *kind {
        message_type::OPEN => Message::Open(Open::decode(body)?),
        message_type::UPDATE => Message::Update(body),
        message_type::NOTIFICATION => match *body {
            [code, subcode, ref data @ ..] => Message::Notification(Notification {
                code,
                subcode,
                data: Bytes::copy_from_slice(data),
            }),
            _ => return Err(bad_length()),
        },
        message_type::KEEPALIVE => Message::KeepAlive,
        _ => Message::RouteRefresh(decode_route_refresh(frame, body).ok_or_else(bad_length)??),
    })
}

/// `None` for a body below 4 octets, which [`frame_len`] has ruled out.
fn decode_route_refresh(frame: &[u8], body: &[u8]) -> Option<Result<RouteRefresh, Notification>> {
    let (&[high, low, subtype, safi], orf) = body.split_first_chunk::<4>()?;
    let kind = match subtype {
        0 => RefreshKind::Request,
        1 => RefreshKind::Begin,
        2 => RefreshKind::End,
        other => RefreshKind::Other(other),
    };
    if !orf.is_empty() && matches!(kind, RefreshKind::Begin | RefreshKind::End) {
        // RFC 7313 §5: the whole message goes back.
        return Some(Err(Notification {
            code: code::ROUTE_REFRESH,
            subcode: INVALID_REFRESH_LENGTH,
            data: Bytes::copy_from_slice(frame),
        }));
    }
    let family = Family { afi: u16::from_be_bytes([high, low]), safi };
    Some(Ok(RouteRefresh { family, kind }))
}

pub use crate::open::{Open, encode_open};

/// Encodes a NOTIFICATION, its data cut to fit [`MAX_LEN`].
pub fn encode_notification(notification: &Notification) -> Bytes {
    let mut out = start(message_type::NOTIFICATION);
    out.extend([notification.code, notification.subcode]);
    out.extend(notification.data.iter().take(MAX_LEN - HEADER_LEN - 2));
    seal(out)
}

/// Encodes a ROUTE-REFRESH.
pub fn encode_route_refresh(refresh: RouteRefresh) -> Bytes {
    let subtype = match refresh.kind {
        RefreshKind::Request => 0,
        RefreshKind::Begin => 1,
        RefreshKind::End => 2,
        RefreshKind::Other(subtype) => subtype,
    };
    let mut out = start(message_type::ROUTE_REFRESH);
    out.extend(refresh.family.afi.to_be_bytes());
    out.extend([subtype, refresh.family.safi]);
    seal(out)
}

/// The 19 octets of a KEEPALIVE.
pub fn keep_alive() -> Bytes {
    Bytes::from_static(&KEEPALIVE)
}

/// A header whose length [`seal`] fills in.
pub(crate) fn start(kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, kind]);
    out
}

/// Ends a message begun with [`start`], at most 65535 octets long.
pub(crate) fn seal(mut out: Vec<u8>) -> Bytes {
    let len = len16(out.len());
    if let Some(field) = out.get_mut(LENGTH_AT..LENGTH_AT + 2) {
        field.copy_from_slice(&len);
    }
    out.into()
}

/// Where the length stands in a message.
pub(crate) const LENGTH_AT: usize = 16;
const MARKER: [u8; 16] = [0xFF; 16];
const KEEPALIVE: [u8; HEADER_LEN] = {
    let mut octets = [0xFF; HEADER_LEN];
    octets[16] = 0;
    octets[17] = 19;
    octets[18] = message_type::KEEPALIVE;
    octets
};
/// ROUTE-REFRESH error: Invalid Message Length (RFC 7313 §5).
const INVALID_REFRESH_LENGTH: u8 = 1;

#[cfg(test)]
mod tests;
