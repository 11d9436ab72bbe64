//! Where values are kept: one trait, and the backends behind it.
//!
//! Owns: reading, watching and changing values by key, in one history for all of them; leases;
//! export and import; the audit log. Promises: a commit is whole or not at all, an answered one
//! is durable; a watcher misses nothing or is told to list again, and a slow one holds nobody and
//! costs no more than its keys. Leaves to others what a value means (`margay-model`, `ipam`).

#![forbid(unsafe_code)]

mod audit;
mod embedded;
mod engine;
mod error;
mod etcd;
pub mod faults;
mod feed;
mod image;
pub mod limits;
mod memory;
mod observed;
mod octets;
mod store;
mod transfer;

pub use audit::AuditLog;
pub use embedded::EmbeddedStore;
pub use error::StoreError;
pub use etcd::{EtcdConfig, EtcdStore, EtcdTls};
pub use feed::{Batch, PENDING_MAX, Pulse, Watch};
pub use memory::MemStore;
pub use observed::{Counter, Counters, ObservedStore};
pub use store::{
    Committed, Conflict, Cursor, Entry, Lease, LeaseOutcome, LeaseValue, Listing, Outcome, Page,
    Status, Store, list_all,
};
pub use transfer::{Backup, Existing, Reader, Restored, TransferError, migrate};
