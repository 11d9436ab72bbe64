//! The one resource model: kinds, keys, transactions, selectors and texts that every room shares.
//!
//! Owns the shapes: what a resource is called ([`Kind`], [`Key`]), what it holds ([`Resource`],
//! [`kinds`]), how users write it ([`decode`]), what selects it ([`selector`]), what objects of
//! Kubernetes stand for ([`kubernetes`]) and how a change of several resources is written down
//! before it is made ([`Txn`]). Promises that a value that was decoded is a valid one. Leaves to
//! others where resources are kept (`datastore`) and what they mean (`ipam`, `policy-calc`,
//! `bgp-desired`).
//!
//! # Use
//! - [`decode()`] takes what users write: YAML or JSON, several documents, lists, `v3` and
//!   `crd.projectcalico.org/v1`, and some kinds of Kubernetes. It tells all faults at once.
//! - [`Resource::decode`] and [`Resource::encode`] take and give what a store keeps under
//!   [`Resource::key`]; [`Resource::to_json`] gives what users see.
//! - [`Resource::apply_defaults`] comes before a write, [`Resource::check`] after putting one
//!   together in code.
//! - [`Object`] is one kind's object: `IpPool` is `Object<IpPoolSpec>`; its fields are public, and
//!   a field that was not given is `None`.
#![forbid(unsafe_code)]
#![expect(clippy::ptr_arg, reason = "a rule is a function of the very type its field holds")]

#[macro_use]
mod wire;
#[macro_use]
mod object;

mod decode;
pub mod endpoint_name;
pub mod fault;
pub mod key;
pub mod kind;
pub mod kinds;
pub mod kubernetes;
pub mod meta;
mod resource;
pub mod scalar;
pub mod selector;
mod text;
pub mod txn;

pub use decode::{Document, Item, Manifest, Place, decode, decode_json};
pub use fault::{Fault, Faults};
pub use key::{Area, Guard, Key, KeyError, Piece, ResourceKey, Undo};
pub use kind::{Kind, Scope};
pub use meta::ObjectMeta;
pub use object::{API_VERSION, NoStatus, Object, Spec};
pub use resource::{Resource, reversed_uid};
pub use scalar::{AsNumber, Cidr, Dscp, Duration, Order, Port, Protocol};
pub use selector::Selector;
pub use txn::{Actor, Change, Compare, Expect, IndexEntry, Revision, Txn, Versioned, Write};
pub use wire::{Mode, Raw};
