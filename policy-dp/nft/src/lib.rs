//! Network policy in nf_tables: the one table of ours, spoken to the kernel directly.
//!
//! Owns what is to be enforced as a table ([`layout`]), the table as a value ([`table`], [`expr`]), the transaction that leads from one to
//! another ([`plan()`]), and the sockets that carry it out and hear what others do ([`netlink`]).
//! Promises that a transaction is whole or not at all, that what is right is not touched, and that
//! nothing the kernel says makes it panic. Leaves to others what shall be enforced, and when.
//!
//! The line between core and shell runs through the crate: only [`netlink`] knows sockets,
//! and nothing else depends on them.

pub mod decode;
pub mod encode;
pub mod expr;
pub mod layout;
pub mod name;
pub mod netlink;
pub mod plan;
pub mod seen;
pub mod table;
pub mod wire;

pub use name::Name;
pub use netlink::{Keeper, Synced};
pub use plan::{plan, plan_touched};
