//! BGP-4 on the wire: octets to messages and back.
//!
//! Owns: framing, the five message types, capabilities, path attributes and their error rules
//! (RFC 4271, 4760, 5492, 6793, 7606, 7911, 8654, 8950, 9072). Promises: no input panics or
//! allocates beyond its own size; what is decoded and encoded again means the same. Leaves to
//! others: state, policy, time, sockets.

#![forbid(unsafe_code)]

pub mod attribute;
pub mod capability;
pub mod family;
pub mod message;
pub mod notification;
pub mod update;

pub use attribute::{
    Aggregator, AsPath, AsSegment, Community, LargeCommunity, NextHop, Origin, PathAttributes,
    RawAttribute,
};
pub use capability::{AddPathMode, Capability};
pub use family::{Asn, Family, FamilySet};
pub use message::{
    HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Message, Open, RefreshKind, RouteRefresh,
};
pub use notification::Notification;
pub use update::{
    Announce, Decoded, EncodeContext, Fault, Handling, Nlri, SessionKind, Update, UpdateContext,
};
