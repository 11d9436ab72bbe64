//! IPAM as values: blocks, assignment, release, garbage collection, views. A library without a
//! store.
//!
//! Owns who holds which block and which address, and every rule about it. Promises that the block
//! is the only truth: each plan changes blocks one by one, each right alone, each under a compare
//! on its revision. Leaves to others the commits and watches (`bgpd/datastore`), clocks and timers,
//! gRPC and netlink (`margay-bgpd`).
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod allocator;
pub mod block;
pub mod check;
pub mod error;
pub mod gc;
pub mod lease;
pub mod net;
pub mod plan;
pub mod pool;
pub mod resources;
pub mod show;
pub mod split;
pub mod time;
pub mod view;

pub use allocator::Allocator;
pub use block::{Block, BlockError, Handle, Held, Instance, NodeName, Ordinal, Owner};
pub use error::{Consequence, IpamError};
pub use net::Family;
pub use plan::{Answer, Ask, Elsewhere, Grant, Plan, Release, Request, Step, Want, World, plan};
pub use pool::{Pool, Pools, Reservations, Settings, Use};
pub use time::{Now, UnixMillis};
pub use view::View;
