//! The one resource model: kinds, keys and transactions that every room shares.
//!
//! Owns the shapes: what a resource is called ([`Kind`], [`Key`]) and how a change of several of
//! them is written down before it is made ([`Txn`]). Promises that a value that exists is a valid
//! one. Leaves to others where resources are kept (`datastore`) and what they mean (`ipam`,
//! `policy-calc`, `bgp-desired`).
#![forbid(unsafe_code)]

pub mod key;
pub mod kind;
pub mod txn;

pub use key::{Area, Key, KeyError, ResourceKey};
pub use kind::{Kind, Scope};
pub use txn::{Actor, Change, Compare, Expect, IndexEntry, Revision, Txn, Versioned, Write};
