//! `margay-cni`: CNI JSON in, one call of the node daemon, JSON out.
//!
//! Owns the contract with container runtimes: verbs, versions, configurations, results, codes.
//! Promises that a DEL succeeds with the daemon away. Leaves to the daemon everything that is
//! decided: it has no datastore, no credential and no state but the spool.
//!
//! Pure: [`version`], [`error`], [`env`], [`args`], [`json`], [`config`], [`result`], [`ask`].
//! With input and output: [`run`] and what it uses.

#![forbid(unsafe_code)]

pub mod args;
pub mod ask;
pub mod config;
mod daemon;
mod delegate;
pub mod env;
pub mod error;
pub mod json;
pub mod result;
pub mod run;
mod spool;
mod unlink;
pub mod version;
mod wire;
