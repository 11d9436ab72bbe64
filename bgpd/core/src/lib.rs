//! BGP as values: session state machine, RIBs, decision process, route policy.
//!
//! Sans-IO: takes events and time, returns effects. Owns the rules of RFC 4271 §8 and §9 and their
//! successors. Leaves to others: sockets, tasks, clocks (`bgp-speaker`), the kernel (`margay-fib`),
//! the text of a configuration (`bgp-desired`).

#![forbid(unsafe_code)]

pub mod config;
pub mod fsm;
pub mod policy;
pub mod rib;
