//! The kernel's routes, next hops, links and addresses. Alone speaks rtnetlink.
//!
//! `plan` decides (pure: desired and actual in, operations out); `netlink` carries out. The handle
//! is what the daemon sees: wishes go in and coalesce by prefix, facts come out.

pub mod api;
pub mod attach;
pub mod plan;

mod netlink;
mod sys;

pub use api::*;
pub use attach::{AttachError, LinkSpec, Observed};
pub use netlink::{
    Attached, Detached, Fib, FibHandle, Interfaces, Origin, Rows, Tuning, attach, compare, detach,
    detach_marked, detach_own, forget_connections, fulfil, inspect, list,
};
