//! Routing information bases of one shard: Adj-RIB-In, decision, Loc-RIB, Adj-RIB-Out by update
//! group. A shard owns every prefix that hashes to it, on one thread.
//!
//! Promises: output depends on the routes held, not on the order they came in; between two flushes
//! a prefix costs one entry however often it changes; a member that lags costs two bits a prefix.
//! Leaves to others: queues and their limits, resolving next hops, the kernel.
//!
//! The way of a route: [`Event::Routes`] -> `import` -> `family` (path list, `decision`) ->
//! journals -> `flush` (groups, `export`, `outbox`) -> [`Effect::Send`]. Beside it `scan` (work over
//! the whole table), `walk` (members out of step), `install` (kernel), `rows` and `explain`.

mod arena;
pub mod attrs;
mod bits;
mod core;
mod decision;
pub mod event;
mod explain;
mod export;
mod family;
mod flush;
mod group;
mod import;
mod install;
mod interned;
mod net;
mod outbox;
pub mod query;
mod rows;
mod scan;
mod session;
mod shard;
mod splice;
mod table;
mod walk;

pub use attrs::{AttrKey, AttrTable, Attrs};
pub use event::{
    Accepted, Batch, Effect, Epoch, Event, Install, Installed, LocalRoute, Member, PeerId,
    Resolved, SessionAddresses, ShardConfig, SoftReset, TrackedNextHop,
};
pub use net::shard_of;
pub use query::{
    ConsideredPath, ExplainedExport, ExplainedPath, ExplainedStep, Explanation, NotSent,
    PeerCounts, Reason, RouteCursor, RouteQuery, RouteRow, RowAttributes, Select, TableCounts,
    View,
};
pub use shard::Shard;
