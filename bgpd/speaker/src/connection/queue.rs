//! What waits to be written to one connection.
//!
//! Control messages (OPEN, KEEPALIVE, NOTIFICATION) go before UPDATEs, between two messages. Pushing
//! never waits: a queue above its high-water mark says so, and the shards then leave this member
//! out until it has drained below the low one. So its size is bounded by the high-water mark and
//! what one slice of shard work yields. Octets that several members are told are kept once, so they
//! count for a part only: a member left out is told its own way later, at many times the cost.

mod brackets;

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

use self::brackets::Brackets;

/// Octets, as they count, beyond which a queue asks for no more UPDATEs.
pub(crate) const HIGH_WATER: usize = 1 << 20;
/// Octets below which it asks for more.
const LOW_WATER: usize = 1 << 18;
/// Octets told to so many members or more count for this part of them: no more, because the last
/// member to be slow keeps them alone.
const SHARED: usize = 4;
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

/// A bracket of a route refresh (RFC 7313), as one shard sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bracket {
    /// Its part begins, after so many requests.
    Begin {
        /// From 1; a walk answers all requests before it.
        request: u32,
    },
    /// Its part is complete.
    End,
}

/// What the writer should do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write these; `drained` are the shards that may send again.
    Write {
        /// One bit each.
        drained: u64,
        /// UPDATE messages among them.
        updates: u64,
    },
    /// Nothing there.
    Wait,
    /// All is written and no more will come.
    Finished,
}

/// Whole UPDATE messages.
#[derive(Debug)]
struct Updates {
    octets: Bytes,
    messages: u32,
    /// How many members have them in their queues, up to [`SHARED`].
    shared: u32,
}

impl Updates {
    fn load(&self) -> usize {
        self.octets.len() / usize::try_from(self.shared).unwrap_or(1).max(1)
    }
}

#[derive(Debug, Default)]
struct Inner {
    control: VecDeque<Bytes>,
    updates: VecDeque<Updates>,
    update_octets: usize,
    /// What they count for.
    load: usize,
    /// Shards that were told "full", one bit each.
    waiting: u64,
    /// Shards that have come to their End-of-RIB.
    ends: BTreeMap<Family, usize>,
    /// Refreshes under way.
    brackets: BTreeMap<Family, Brackets>,
    closing: bool,
}

impl Inner {
    fn push(&mut self, shard: usize, updates: Updates) -> Pushed {
        self.update_octets += updates.octets.len();
        self.load += updates.load();
        self.updates.push_back(updates);
        if self.load < HIGH_WATER {
            return Pushed::Room;
        }
        self.waiting |= 1 << shard;
        Pushed::Full
    }
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

    /// Queues whole UPDATE messages from a shard, which `members` are told.
    pub(crate) fn push_updates(
        &self,
        shard: usize,
        octets: Bytes,
        messages: u32,
        members: usize,
    ) -> Pushed {
        let mut inner = self.lock();
        if inner.closing {
            return Pushed::Room;
        }
        let shared = u32::try_from(members.min(SHARED)).unwrap_or(1);
        let pushed = inner.push(shard, Updates { octets, messages, shared });
        self.pushed(inner);
        pushed
    }

    /// One of `shards` has sent all it had at first. Queues the End-of-RIB with the last of them, so
    /// that it is true of the whole table; `None`: others are not there yet.
    pub(crate) fn push_end_of_rib(
        &self,
        (shard, shards): (usize, usize),
        family: Family,
        octets: Bytes,
    ) -> Option<Pushed> {
        let mut inner = self.lock();
        let ends = inner.ends.entry(family).or_default();
        *ends += 1;
        if *ends != shards || inner.closing {
            return None;
        }
        let pushed = inner.push(shard, Updates { octets, messages: 1, shared: 1 });
        self.pushed(inner);
        Some(pushed)
    }

    /// One of `shards` begins or ends its part of a refresh. Queues the BoRR with the first that
    /// begins and the EoRR with the last that ends; `None`: it is not for this shard to say.
    pub(crate) fn push_bracket(
        &self,
        (shard, shards): (usize, usize),
        family: Family,
        bracket: Bracket,
        octets: Bytes,
    ) -> Option<Pushed> {
        let mut inner = self.lock();
        // RFC 7313 §4: no BoRR before the End-of-RIB. Then it is a refresh without brackets.
        let early = inner.ends.get(&family).is_none_or(|ends| *ends < shards);
        let brackets = inner.brackets.entry(family).or_default();
        let due = match bracket {
            Bracket::Begin { request } => brackets.begin((shard, shards), request, early),
            Bracket::End => brackets.end(shard),
        };
        if !due || inner.closing {
            return None;
        }
        let pushed = inner.push(shard, Updates { octets, messages: 0, shared: 1 });
        self.pushed(inner);
        Some(pushed)
    }

    fn pushed(&self, inner: MutexGuard<'_, Inner>) {
        self.octets.store(inner.update_octets, Ordering::Relaxed);
        drop(inner);
        self.ready.notify_one();
    }

    /// No more comes: UPDATEs not yet begun are dropped, control messages still go out.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closing = true;
        inner.updates.clear();
        (inner.update_octets, inner.load) = (0, 0);
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
            && let Some(front) = inner.updates.pop_front()
        {
            inner.update_octets -= front.octets.len();
            inner.load -= front.load();
            room = room.saturating_sub(front.octets.len());
            updates += u64::from(front.messages);
            batch.push_back(front.octets);
        }
        self.octets.store(inner.update_octets, Ordering::Relaxed);
        let drained = if inner.load < LOW_WATER { std::mem::take(&mut inner.waiting) } else { 0 };
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
