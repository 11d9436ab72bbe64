//! BGP-4 on the wire: octets to messages and back.
//!
//! Owns: framing, the five message types, capabilities, path attributes and their error rules
//! (RFC 4271, 4760, 5492, 6793, 7606, 7911, 8654, 8950, 9072). Promises: no input panics or
//! allocates beyond a small multiple of its own size; what is decoded and encoded again means the
//! same. Leaves to others: state, policy, time, sockets.
//!
//! The way in: [`frame_len`](message::frame_len), [`decode`](message::decode), [`Update::parse`],
//! [`Update::plain_attributes`] for attributes of the usual form, else
//! [`Update::decode_attributes`], then [`Nlri::iter`]. The way out: [`Announce`],
//! [`encode_withdraw`], [`end_of_rib`] and the `encode_` functions of [`message`].

#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod as_path;
pub mod attribute;
pub mod attributes;
mod block;
pub mod canonical;
pub mod capability;
pub mod community;
pub mod encode;
pub mod family;
pub mod message;
pub mod nlri;
pub mod notification;
pub mod open;
mod plain;
pub mod update;
mod wire;

pub use as_path::{AsPath, AsSegment};
pub use attribute::{
    Aggregator, NextHop, Origin, PartialBits, PathAttributes, RawAttribute, attribute_code,
    attribute_name,
};
pub use attributes::Decoded;
pub use canonical::{CanonicalParts, canonical_octets, from_canonical};
pub use capability::{AddPathMode, Capability};
pub use community::{Community, ExtCommunity, LargeCommunity};
pub use encode::{Announce, EncodeContext, encode_withdraw, end_of_rib};
pub use family::{Asn, Family, FamilySet};
pub use message::{HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Message, RefreshKind, RouteRefresh};
pub use nlri::Nlri;
pub use notification::Notification;
pub use open::Open;
pub use update::{Fault, Handling, SessionKind, Update, UpdateContext};
