//! Routing information bases of one shard: Adj-RIB-In, decision, Loc-RIB, Adj-RIB-Out by update
//! group. A shard owns every prefix that hashes to it, on one thread.

pub mod attrs;
pub mod event;
mod net;
pub mod query;

pub use attrs::{AttrTable, Attrs};
pub use event::{
    Accepted, Batch, Effect, Epoch, Event, Install, Installed, LocalRoute, Member, PeerId,
    Resolved, SessionAddresses, ShardConfig, SoftReset, TrackedNextHop,
};
use ipnet::IpNet;
pub use net::shard_of;
pub use query::{
    ConsideredPath, ExplainedExport, ExplainedPath, ExplainedStep, Explanation, NotSent,
    PeerCounts, Reason, RouteCursor, RouteQuery, RouteRow, RowAttributes, Select, TableCounts,
    View,
};

/// The state of one shard.
///
/// The shell's loop: [`Shard::handle`] for what has arrived, [`Shard::flush`] once behind it, then
/// [`Shard::work`] in turns with further events until it has nothing left to do. Effects are
/// carried out in order.
#[derive(Debug)]
pub struct Shard {
    _private: (),
}

impl Shard {
    /// An empty shard.
    pub fn new(_config: ShardConfig) -> Self {
        unimplemented!()
    }

    /// Takes an event in. `now` is in seconds since any fixed moment, the same for all calls.
    ///
    /// Never long: what concerns a whole table is left to [`Shard::work`].
    pub fn handle(&mut self, _now: u32, _event: Event, _out: &mut Vec<Effect>) {
        unimplemented!()
    }

    /// Sends and installs what the events so far have changed.
    pub fn flush(&mut self, _out: &mut Vec<Effect>) {
        unimplemented!()
    }

    /// Does at most `budget` prefixes' worth of work (about a microsecond each) and flushes;
    /// whether there is more to do at once.
    pub fn work(&mut self, _now: u32, _budget: usize, _out: &mut Vec<Effect>) -> bool {
        unimplemented!()
    }

    /// The next rows of an answer, in the order of the table; looks at no more than `budget`
    /// prefixes. `true`: complete.
    pub fn routes(
        &self,
        _query: &RouteQuery,
        _cursor: &mut RouteCursor,
        _budget: usize,
        _out: &mut Vec<RouteRow>,
    ) -> bool {
        unimplemented!()
    }

    /// Everything about one prefix; `None` when there is no path for it.
    pub fn explain(&self, _prefix: IpNet, _to: Option<PeerId>) -> Option<Explanation> {
        unimplemented!()
    }

    /// Counts of a peer that is up, per family in the order of `Family::SUPPORTED`.
    pub fn peer_counts(&self, _peer: PeerId) -> Option<[PeerCounts; 2]> {
        unimplemented!()
    }

    /// Totals, per family in the order of `Family::SUPPORTED`.
    pub fn counts(&self) -> [TableCounts; 2] {
        unimplemented!()
    }

    /// Whether [`Effect::Changed`] is wanted.
    pub fn watch(&mut self, _on: bool) {
        unimplemented!()
    }
}
