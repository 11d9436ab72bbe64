//! What waits to be written to one connection.
//!
//! Control messages (OPEN, KEEPALIVE, NOTIFICATION) go before UPDATEs, between two messages. Pushing
//! never waits: a queue above its high-water mark says so, and the shards then leave this member
//! out until it has drained below the low one. So its size is bounded by the high-water mark and
//! what one slice of shard work yields.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bgp_packet::Family;
use bytes::Bytes;
use tokio::sync::Notify;

/// Octets beyond which a queue asks for no more UPDATEs.
pub(crate) const HIGH_WATER: usize = 1 << 20;
/// Octets below which it asks for more.
const LOW_WATER: usize = 1 << 18;
/// Most octets taken for one write; bounds how long a KEEPALIVE waits behind UPDATEs.
const WRITE_OCTETS: usize = 1 << 16;
/// Most buffers taken for one write.
const WRITE_BUFFERS: usize = 64;

/// Whether a queue can take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Below the high-water mark.
    Room,
    /// Above it: the shard is told when it has drained.
    Full,
}

/// What the writer should do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write these; `drained` are the shards that may send again.
    Write {
        /// One bit each.
        drained: u64,
        /// UPDATE (or ROUTE-REFRESH) messages among them.
        updates: u64,
    },
    /// Nothing there.
    Wait,
    /// All is written and no more will come.
    Finished,
}

#[derive(Debug, Default)]
struct Inner {
    control: VecDeque<Bytes>,
    /// Octets, and how many messages they are.
    updates: VecDeque<(Bytes, u32)>,
    update_octets: usize,
    /// Shards that were told "full", one bit each.
    waiting: u64,
    /// Shards that have come to their End-of-RIB.
    ends: BTreeMap<Family, usize>,
    closing: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    inner: Mutex<Inner>,
    octets: AtomicUsize,
    ready: Notify,
}

impl SendQueue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside can panic halfway through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message of the session itself.
    pub(crate) fn push_control(&self, message: Bytes) {
        let mut inner = self.lock();
        if !inner.closing {
            inner.control.push_back(message);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// Queues whole UPDATE (or ROUTE-REFRESH) messages from a shard.
    pub(crate) fn push_updates(&self, shard: usize, octets: Bytes, messages: u32) -> Pushed {
        let mut inner = self.lock();
        if inner.closing {
            return Pushed::Room;
        }
        inner.update_octets += octets.len();
        self.octets.store(inner.update_octets, Ordering::Relaxed);
        inner.updates.push_back((octets, messages));
        let full = inner.update_octets >= HIGH_WATER;
        if full {
            inner.waiting |= 1 << shard;
        }
        drop(inner);
        self.ready.notify_one();
        if full { Pushed::Full } else { Pushed::Room }
    }

    /// Notes that one of `shards` has sent all it had at first; whether it was the last of them,
    /// so that an End-of-RIB is true of the whole table.
    pub(crate) fn is_last_end(&self, family: Family, shards: usize) -> bool {
        let mut inner = self.lock();
        let ends = inner.ends.entry(family).or_default();
        *ends += 1;
        *ends == shards
    }

    /// No more comes: UPDATEs not yet begun are dropped, control messages still go out.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closing = true;
        inner.updates.clear();
        inner.update_octets = 0;
        inner.waiting = 0;
        drop(inner);
        self.octets.store(0, Ordering::Relaxed);
        self.ready.notify_one();
    }

    /// Octets of UPDATEs waiting.
    pub(crate) fn octets(&self) -> usize {
        self.octets.load(Ordering::Relaxed)
    }

    /// Moves what should be written next to the end of `batch`.
    pub(crate) fn next(&self, batch: &mut VecDeque<Bytes>) -> Next {
        let mut inner = self.lock();
        let (mut room, mut updates) = (WRITE_OCTETS, 0);
        while batch.len() < WRITE_BUFFERS
            && let Some(message) = inner.control.pop_front()
        {
            room = room.saturating_sub(message.len());
            batch.push_back(message);
        }
        while batch.len() < WRITE_BUFFERS
            && room > 0
            && let Some((octets, messages)) = inner.updates.pop_front()
        {
            inner.update_octets -= octets.len();
            room = room.saturating_sub(octets.len());
            updates += u64::from(messages);
            batch.push_back(octets);
        }
        self.octets.store(inner.update_octets, Ordering::Relaxed);
        let drained =
            if inner.update_octets < LOW_WATER { std::mem::take(&mut inner.waiting) } else { 0 };
        match (batch.is_empty(), inner.closing) {
            (false, _) => Next::Write { drained, updates },
            (true, false) => Next::Wait,
            (true, true) => Next::Finished,
        }
    }

    /// Waits until something was pushed or the queue closed since the last call.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }
}

#[cfg(test)]
mod tests;
