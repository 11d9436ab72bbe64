//! The scenarios that Margay plays against real BGP speakers and a real kernel.
//!
//! Owns the topologies and what must be seen in them; the drivers of the daemons live in
//! `testkit`. Everything runs in network namespaces and needs root.

pub mod bench;
pub mod cri;
pub mod dataplane;
pub mod docs;
pub mod examples;
pub mod harness;
pub mod inventory;
pub mod marks;
pub mod matrix;
pub mod pair;
pub mod probe;
pub mod reflection;
pub mod runtime;
pub mod shop;
pub mod wire;
