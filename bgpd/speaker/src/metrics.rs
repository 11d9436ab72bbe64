//! Counters of a peer, kept as atomics where the octets flow and published when asked for.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bgp_packet::{Family, Handling};

/// Message types as counters have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Type 1.
    Open,
    /// Type 2.
    Update,
    /// Type 3.
    Notification,
    /// Type 4.
    KeepAlive,
    /// Type 5.
    RouteRefresh,
}

impl MessageKind {
    /// All, in the order of their types.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Update, Self::Notification, Self::KeepAlive, Self::RouteRefresh];

    /// By the type octet; nothing else gets past the decoder.
    pub(crate) fn from_type(kind: u8) -> Self {
        match kind {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::KeepAlive,
            _ => Self::RouteRefresh,
        }
    }

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Notification => "notification",
            Self::KeepAlive => "keepalive",
            Self::RouteRefresh => "route-refresh",
        }
    }
}

/// What a peer has done since the daemon started, over all its sessions.
#[derive(Debug, Default)]
pub struct PeerCounters {
    received: [AtomicU64; 5],
    sent: [AtomicU64; 5],
    /// UPDATEs with prefixes of a family, in the order of `Family::SUPPORTED`.
    updates: [AtomicU64; 2],
    /// Attribute faults by type code (RFC 7606 §8); most peers never have one.
    faults: OnceLock<Box<[AtomicU64; 256]>>,
    /// Faults by consequence.
    ignored: AtomicU64,
    discarded: AtomicU64,
    withdrawn: AtomicU64,
    /// Attribute sets not sent because no message could hold them.
    too_long: AtomicU64,
    /// Octets read.
    pub(crate) octets_received: AtomicU64,
    /// Octets written.
    pub(crate) octets_sent: AtomicU64,
    /// Batches handed to shards and the prefixes in them.
    pub(crate) batches: AtomicU64,
    pub(crate) batch_prefixes: AtomicU64,
    /// Attribute sets received that some route had already, and others.
    intern_hits: AtomicU64,
    intern_misses: AtomicU64,
    /// Times the reader waited for a shard.
    pub(crate) stalls: AtomicU64,
    /// Worst lateness of a timer since the last publication, in microseconds.
    pub(crate) timer_late_us: AtomicU64,
}

fn slot<const N: usize>(counters: &[AtomicU64; N], index: usize) -> Option<&AtomicU64> {
    counters.get(index)
}

impl PeerCounters {
    pub(crate) fn sent(&self, kind: MessageKind, count: u64) {
        if let Some(counter) = slot(&self.sent, kind as usize) {
            counter.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn received(&self, kind: MessageKind) {
        if let Some(counter) = slot(&self.received, kind as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts an attribute fault; the answer is how many of this code there were before.
    pub(crate) fn fault(&self, code: u8, handling: Handling) -> u64 {
        let consequence = match handling {
            Handling::Ignore => &self.ignored,
            Handling::Discard => &self.discarded,
            Handling::TreatAsWithdraw => &self.withdrawn,
        };
        consequence.fetch_add(1, Relaxed);
        let faults = self.faults.get_or_init(|| Box::new([const { AtomicU64::new(0) }; 256]));
        slot(faults, usize::from(code)).map_or(0, |c| c.fetch_add(1, Relaxed))
    }

    /// Counts routes that were dropped without a fault of one attribute.
    pub(crate) fn treated_as_withdraw(&self, count: u64) {
        self.withdrawn.fetch_add(count, Relaxed);
    }

    /// Counts routes withheld because no message could hold their attributes.
    pub(crate) fn withheld(&self) {
        self.too_long.fetch_add(1, Relaxed);
    }

    /// Attribute sets not sent because no message could hold them.
    pub fn too_long(&self) -> u64 {
        self.too_long.load(Relaxed)
    }

    /// Faulty attributes by consequence: discarded, treated as withdraw.
    pub fn faults_by_handling(&self) -> (u64, u64) {
        (self.discarded.load(Relaxed), self.withdrawn.load(Relaxed))
    }

    pub(crate) fn update(&self, family: Family) {
        let index = Family::SUPPORTED.iter().position(|known| *known == family);
        if let Some(counter) = index.and_then(|index| slot(&self.updates, index)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Prefix fields of a family in UPDATEs received.
    pub fn updates(&self, family: Family) -> u64 {
        let index = Family::SUPPORTED.iter().position(|known| *known == family);
        index.and_then(|index| slot(&self.updates, index)).map_or(0, |c| c.load(Relaxed))
    }

    /// Octets read.
    pub fn octets_received(&self) -> u64 {
        self.octets_received.load(Relaxed)
    }

    /// Octets written.
    pub fn octets_sent(&self) -> u64 {
        self.octets_sent.load(Relaxed)
    }

    /// Batches handed to shards, and the routes and withdrawals in them.
    pub fn batches(&self) -> (u64, u64) {
        (self.batches.load(Relaxed), self.batch_prefixes.load(Relaxed))
    }

    /// Attribute sets received that some route had already, whoever sent it, and new ones.
    pub fn interned_sets(&self) -> (u64, u64) {
        (self.intern_hits.load(Relaxed), self.intern_misses.load(Relaxed))
    }

    /// How often the reader waited for a shard.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Relaxed)
    }

    /// The worst lateness of a timer (of keep-alives too) since the last call.
    pub fn take_timer_lateness(&self) -> Duration {
        Duration::from_micros(self.timer_late_us.swap(0, Relaxed))
    }

    pub(crate) fn batch(&self, prefixes: usize) {
        self.batches.fetch_add(1, Relaxed);
        self.batch_prefixes.fetch_add(u64::try_from(prefixes).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn interned(&self, known: bool) {
        let counter = if known { &self.intern_hits } else { &self.intern_misses };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn stall(&self) {
        self.stalls.fetch_add(1, Relaxed);
    }

    /// Messages of one type: received, sent.
    pub fn messages(&self, kind: MessageKind) -> (u64, u64) {
        let read = |all| slot(all, kind as usize).map_or(0, |c: &AtomicU64| c.load(Relaxed));
        (read(&self.received), read(&self.sent))
    }

    /// Attribute type codes with faults, and how many.
    pub fn faults(&self) -> Vec<(u8, u64)> {
        let Some(faults) = self.faults.get() else { return Vec::new() };
        (0..=u8::MAX)
            .zip(&**faults)
            .map(|(code, count)| (code, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
