//! NOTIFICATIONs as text, and the text inside them (RFC 9003).

use bgp_packet::{
    Notification,
    notification::{cease, code},
};
use bytes::Bytes;

/// Longest shutdown communication in octets.
const LONGEST_TEXT: usize = 255;

/// The data of a Cease/2 or Cease/4: the text behind its length octet, cut to what fits at a
/// character boundary; nothing at all for an empty text.
pub(super) fn shutdown_data(text: &str) -> Bytes {
    let cut = text.floor_char_boundary(LONGEST_TEXT);
    let (text, _) = text.split_at(cut);
    match u8::try_from(text.len()) {
        Ok(0) | Err(_) => Bytes::new(),
        Ok(len) => std::iter::once(len).chain(text.bytes()).collect(),
    }
}

/// The text of a received Cease/2 or Cease/4, with control characters made harmless.
fn shutdown_text(data: &[u8]) -> Option<String> {
    let (len, rest) = data.split_first()?;
    let (text, _) = rest.split_at_checked(usize::from(*len))?;
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// A NOTIFICATION in words, safe to log: names of code and subcode, then what its data says.
pub fn describe(notification: &Notification) -> String {
    let (name, subcode) = (code_name(notification.code), subcode_name(notification));
    let mut text = match (name, subcode) {
        (Some(name), Some(subcode)) => format!("{name}/{subcode}"),
        (Some(name), None) if notification.subcode == 0 => name.to_owned(),
        (Some(name), None) => format!("{name}/{}", notification.subcode),
        (None, _) => format!("error {}/{}", notification.code, notification.subcode),
    };
    let detail = match (notification.code, notification.subcode) {
        (code::CEASE, cease::ADMIN_SHUTDOWN | cease::ADMIN_RESET) => {
            shutdown_text(&notification.data)
        }
        (code::CEASE, cease::MAX_PREFIXES) => max_prefixes_text(&notification.data),
        (code::CEASE, cease::HARD_RESET) => match *notification.data {
            [code, subcode, ref data @ ..]
                if code != code::CEASE || subcode != cease::HARD_RESET =>
            {
                Some(describe(&Notification { code, subcode, data: Bytes::copy_from_slice(data) }))
            }
            _ => None,
        },
        (code::FSM, 1..=3) => match *notification.data {
            [kind] => Some(format!("message type {kind}")),
            _ => None,
        },
        _ => None,
    };
    if let Some(detail) = detail {
        text.push_str(": ");
        text.push_str(&detail);
    }
    text
}

fn max_prefixes_text(data: &[u8]) -> Option<String> {
    match *data {
        [a, b, safi, l0, l1, l2, l3] => {
            let family = bgp_packet::Family { afi: u16::from_be_bytes([a, b]), safi };
            let limit = u32::from_be_bytes([l0, l1, l2, l3]);
            Some(format!("{family}, limit {limit}"))
        }
        _ => None,
    }
}

fn code_name(code: u8) -> Option<&'static str> {
    Some(match code {
        code::HEADER => "message header error",
        code::OPEN => "OPEN message error",
        code::UPDATE => "UPDATE message error",
        code::HOLD_TIMER => "hold timer expired",
        code::FSM => "FSM error",
        code::CEASE => "cease",
        code::ROUTE_REFRESH => "ROUTE-REFRESH message error",
        code::SEND_HOLD_TIMER => "send hold timer expired",
        _ => return None,
    })
}

fn subcode_name(notification: &Notification) -> Option<&'static str> {
    Some(match (notification.code, notification.subcode) {
        (code::HEADER, 1) => "connection not synchronised",
        (code::HEADER, 2) => "bad message length",
        (code::HEADER, 3) => "bad message type",
        (code::OPEN, 1) => "unsupported version number",
        (code::OPEN, 2) => "bad peer AS",
        (code::OPEN, 3) => "bad BGP identifier",
        (code::OPEN, 4) => "unsupported optional parameter",
        (code::OPEN, 6) => "unacceptable hold time",
        (code::OPEN, 7) => "unsupported capability",
        (code::OPEN, 11) => "role mismatch",
        (code::UPDATE, 1) => "malformed attribute list",
        (code::UPDATE, 2) => "unrecognised well-known attribute",
        (code::UPDATE, 3) => "missing well-known attribute",
        (code::UPDATE, 4) => "attribute flags error",
        (code::UPDATE, 5) => "attribute length error",
        (code::UPDATE, 6) => "invalid ORIGIN attribute",
        (code::UPDATE, 8) => "invalid NEXT_HOP attribute",
        (code::UPDATE, 9) => "optional attribute error",
        (code::UPDATE, 10) => "invalid network field",
        (code::UPDATE, 11) => "malformed AS_PATH",
        (code::FSM, 1) => "unexpected message in OpenSent",
        (code::FSM, 2) => "unexpected message in OpenConfirm",
        (code::FSM, 3) => "unexpected message in Established",
        (code::CEASE, cease::MAX_PREFIXES) => "maximum number of prefixes reached",
        (code::CEASE, cease::ADMIN_SHUTDOWN) => "administrative shutdown",
        (code::CEASE, cease::DECONFIGURED) => "peer de-configured",
        (code::CEASE, cease::ADMIN_RESET) => "administrative reset",
        (code::CEASE, cease::REJECTED) => "connection rejected",
        (code::CEASE, cease::CONFIG_CHANGE) => "other configuration change",
        (code::CEASE, cease::COLLISION) => "connection collision resolution",
        (code::CEASE, cease::OUT_OF_RESOURCES) => "out of resources",
        (code::CEASE, cease::HARD_RESET) => "hard reset",
        (code::CEASE, cease::BFD_DOWN) => "BFD down",
        (code::ROUTE_REFRESH, 1) => "invalid message length",
        _ => return None,
    })
}
