//! What network policy means: from resources to what each local endpoint must enforce.
//!
//! Owns which policy applies to which endpoint, in which order, over which addresses. Promises that
//! what comes out depends on the resources as they are, never on the order or the history in which
//! they came, and that a fault closes and never opens: a rule that cannot be understood matches
//! nothing and is reported, a profile that does not exist denies. Leaves to others how packets are
//! caught (`policy-nft`), where resources come from (`Sync`), and what holds besides policy: failsafe
//! ports, anti-spoofing, what a workload may send to its own host.
//!
//! # Use
//! - [`Graph`] takes resources one by one and tells what changes by them, as [`Deltas`].
//! - [`State`] is what is wanted of a dataplane on one node, kept by applying [`Deltas`]. Its parts:
//!   [`Endpoint`]s with their policies in order, [`Policy`] and [`Profile`] with [`Rule`]s, and
//!   sets of addresses and ports, which rules name by [`SetId`].
//! - [`State::decide`] plays a [`Packet`] against it and says what decided.
//! - [`Compiler`] keeps the same in the form that kernels are given: classes of addresses, one
//!   [`Program`] for all endpoints with the same policies, rows of bits.
//! - [`Naive`] answers the same from the resources themselves, written straight from the reference
//!   and for nothing but being right: tests compare everything else with it.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

mod compile;
mod endpoint;
mod evaluate;
mod graph;
mod hosts;
mod id;
mod naive;
mod outcome;
mod packet;
mod resolve;
mod rule;
mod set;
mod state;

pub use compile::{
    Changes, ClassId, Classes, Compiler, Criterion, Effect, Entry, Intervals, Piece, Program,
    ProgramKey, Row, SideRows, pieces,
};
pub use endpoint::{
    Class, Direction, Directions, Endpoint, Interface, Limit, Limits, PacketRate, TierPolicies,
};
pub use evaluate::Staged;
pub use graph::Graph;
pub use hosts::{HostLinks, Interfaces};
pub use id::{EndpointId, Owner, PolicyId, SetId, SetKind};
pub use naive::Naive;
pub use outcome::{Decision, Outcome, Step};
pub use packet::{Header, Packet};
pub use rule::{Families, IcmpMatch, Policy, PortMatch, Problem, Profile, Rule, RuleFault, Side};
pub use set::{Member, PortMember, SetDelta};
pub use state::{Deltas, State};
