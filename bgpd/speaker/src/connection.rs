//! One TCP connection: a reader and a writer task around it, and what they share with the peer's
//! task and the shards.

pub(crate) mod batch;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod writer;

use std::{
    os::fd::AsFd,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bgp_core::{
    fsm::ConnectionId,
    rib::{Epoch, PeerId},
};
use bgp_packet::{Family, FamilySet, UpdateContext};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::queue::SendQueue;
use crate::{metrics::PeerCounters, newcomers::Newcomer, shard::Shards, sys};

/// What the peer's task, both tasks of the connection and the shards share.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose.
    pub(crate) peer: PeerId,
    /// The peer's name, for logs.
    pub(crate) name: Arc<str>,
    /// Which.
    pub(crate) connection: ConnectionId,
    /// Where routes go.
    pub(crate) shards: Shards,
    /// What waits to be written.
    pub(crate) queue: SendQueue,
    /// Signs of life.
    pub(crate) pulse: Pulse,
    /// The peer's.
    pub(crate) counters: Arc<PeerCounters>,
    /// While an incoming connection counts as not established: until then, or until both tasks
    /// have ended.
    pub(crate) newcomer: Mutex<Option<Newcomer>>,
    /// It was logged that routes are too long for this peer.
    pub(crate) told_too_long: AtomicBool,
    /// Cancelled once the session is done with this connection.
    pub(crate) closing: CancellationToken,
}

/// What reading UPDATEs depends on, from Established on.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// Which session.
    pub(crate) epoch: Epoch,
    /// How UPDATEs are decoded.
    pub(crate) context: UpdateContext,
    /// Largest message taken.
    pub(crate) max_len: usize,
}

/// Signs of life of a connection, written where octets move and read when a timer is due: so the
/// hold timer sees what arrived, whatever the queues in between are doing.
#[derive(Debug)]
pub(crate) struct Pulse {
    base: Instant,
    /// Microseconds after `base`, plus one; 0 = never.
    received: AtomicU64,
    updated: AtomicU64,
    progressed: AtomicU64,
    /// Families whose End-of-RIB came, one bit each in the order of `Family::SUPPORTED`.
    end_of_rib: AtomicU8,
    stalled: AtomicBool,
    /// For a look at what the kernel holds; the tasks own it.
    socket: Weak<TcpStream>,
}

impl Pulse {
    /// For a connection that begins now.
    pub(crate) fn new(socket: &Arc<TcpStream>) -> Self {
        Self {
            base: Instant::now(),
            received: AtomicU64::new(0),
            updated: AtomicU64::new(0),
            progressed: AtomicU64::new(0),
            end_of_rib: AtomicU8::new(0),
            stalled: AtomicBool::new(false),
            socket: Arc::downgrade(socket),
        }
    }

    fn stamp(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    fn instant(&self, stamp: u64) -> Option<Instant> {
        stamp.checked_sub(1).map(|micros| self.base + Duration::from_micros(micros))
    }

    /// An UPDATE or KEEPALIVE was read.
    pub(crate) fn received(&self) {
        self.received.store(self.stamp(), Relaxed);
    }

    /// An UPDATE was read.
    pub(crate) fn updated(&self) {
        let stamp = self.stamp();
        self.received.store(stamp, Relaxed);
        self.updated.store(stamp, Relaxed);
    }

    /// An End-of-RIB was read; whether it was the first of its family.
    pub(crate) fn ended(&self, family: Family) -> bool {
        let bit = Family::SUPPORTED.iter().position(|known| *known == family);
        bit.is_some_and(|bit| self.end_of_rib.fetch_or(1 << bit, Relaxed) >> bit & 1 == 0)
    }

    /// Families whose End-of-RIB was read.
    pub(crate) fn end_of_rib(&self) -> FamilySet {
        let bits = self.end_of_rib.load(Relaxed);
        let known = Family::SUPPORTED.into_iter().enumerate();
        known.filter(|(bit, _)| bits >> bit & 1 != 0).map(|(_, family)| family).collect()
    }

    /// When the last UPDATE was read.
    pub(crate) fn last_update(&self) -> Option<Instant> {
        self.instant(self.updated.load(Relaxed))
    }

    /// The socket took octets.
    pub(crate) fn progressed(&self) {
        self.progressed.store(self.stamp(), Relaxed);
    }

    /// The reader waits for a shard (so it does not read), or goes on.
    pub(crate) fn stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Relaxed);
    }

    /// When the peer last gave a sign of life: now, if what it sent waits for us.
    pub(crate) fn last_received(&self, now: Instant) -> Option<Instant> {
        let unread = || self.socket.upgrade().map_or(0, |socket| sys::unread(socket.as_fd()));
        if self.stalled.load(Relaxed) || unread() > 0 {
            return Some(now);
        }
        self.instant(self.received.load(Relaxed))
    }

    /// When the socket last took octets.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        self.instant(self.progressed.load(Relaxed))
    }
}
