//! Between a store and one watcher: what it has not been told yet, by key.
//!
//! Whoever reads slowly gets fewer, newer changes: a key that changed ten times costs one entry,
//! a key that came and went costs none. One that does not read at all and would hold more than
//! [`PENDING_MAX`] keys is told to list again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use margay_model::{Area, Change, Key, Revision, Versioned};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use crate::error::StoreError;

/// Keys that may wait for one watcher.
pub const PENDING_MAX: usize = 65_536;
/// Changes handed out at once, unless a single commit has more.
const BATCH: usize = 1000;

/// The changes of an area as they come. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    source: Option<JoinHandle<()>>,
}

/// Changes in the order of their revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// One change a key at most; never empty.
    pub changes: Vec<Change>,
    /// Everything up to this commit has been told: where a later watch can go on.
    pub revision: Revision,
}

impl Watch {
    pub(crate) fn new(feed: Arc<Feed>, source: Option<JoinHandle<()>>) -> Self {
        Self { feed, source }
    }

    /// The next changes. May be dropped before it is done without losing any.
    ///
    /// # Errors
    /// The watch is over for good: [`StoreError::Compacted`] asks to list again and to watch from
    /// there; others tell why the store cannot go on.
    pub async fn next(&mut self) -> Result<Batch, StoreError> {
        loop {
            let ready = self.feed.ready.notified();
            if let Some(result) = self.feed.take() {
                return result;
            }
            ready.await;
        }
    }

    /// The next changes if there are any now.
    pub fn try_next(&mut self) -> Option<Result<Batch, StoreError>> {
        self.feed.take()
    }

    /// Up to which commit everything was told, changes elsewhere included.
    pub fn revision(&self) -> Revision {
        let state = self.feed.lock();
        if state.pending.is_empty() { state.seen } else { state.told }
    }

    /// How current it is, for as long as somebody asks.
    pub fn pulse(&self) -> Pulse {
        Pulse { feed: Arc::clone(&self.feed) }
    }
}

/// How current a [`Watch`] is.
#[derive(Clone, Debug)]
pub struct Pulse {
    feed: Arc<Feed>,
}

impl Pulse {
    /// The last moment of which it is certain that every change before it has been taken from the
    /// watch; `None` before the first. It goes on while nothing changes, not while the store cannot
    /// be heard.
    pub fn as_of(&self) -> Option<Instant> {
        let state = self.feed.lock();
        let heard = if state.live { Some(Instant::now()) } else { state.heard };
        heard.map(|heard| state.behind_since.map_or(heard, |since| heard.min(since)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.abort();
        }
    }
}

/// A change and whether its key existed before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) change: Change,
    pub(crate) created: bool,
}

/// The writing end of a [`Watch`].
#[derive(Debug)]
pub(crate) struct Feed {
    area: Area,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Debug)]
struct State {
    pending: Pending,
    /// Everything up to here was handed out.
    told: Revision,
    /// Everything up to here was handed out or is pending.
    seen: Revision,
    failed: Option<StoreError>,
    held: bool,
    /// A commit is not done before it is here.
    live: bool,
    /// Otherwise: when everything was last known to be here.
    heard: Option<Instant>,
    /// Since when something waits that was not handed out.
    behind_since: Option<Instant>,
}

impl Feed {
    /// Filled by those who commit.
    pub(crate) fn new(area: Area, after: Revision) -> Arc<Self> {
        Self::filled(area, after, true)
    }

    /// Filled from elsewhere, by who says now and then that everything is here ([`Feed::heard`]).
    pub(crate) fn remote(area: Area, after: Revision) -> Arc<Self> {
        Self::filled(area, after, false)
    }

    fn filled(area: Area, after: Revision, live: bool) -> Arc<Self> {
        let state = State {
            pending: Pending::default(),
            told: after,
            seen: after,
            failed: None,
            held: false,
            live,
            heard: None,
            behind_since: None,
        };
        Arc::new(Self { area, state: Mutex::new(state), ready: Notify::new() })
    }

    /// What it covers.
    pub(crate) fn area(&self) -> &Area {
        &self.area
    }

    /// Adds the events that concern it; everything up to `revision` is known then.
    pub(crate) fn push<'a>(&self, events: impl IntoIterator<Item = &'a Event>, revision: Revision) {
        let mut state = self.lock();
        if state.failed.is_some() {
            return;
        }
        for event in events {
            if self.area.contains(&event.change.key) {
                state.pending.set(event);
            }
        }
        state.seen = state.seen.max(revision);
        if state.pending.len() > PENDING_MAX {
            let asked = state.told;
            state.fail(StoreError::Compacted { asked, oldest: revision });
        }
        let wake = !state.pending.is_empty() || state.failed.is_some();
        if wake {
            state.fall_behind();
        }
        drop(state);
        if wake {
            self.ready.notify_one();
        }
    }

    /// Everything that was committed before `at` is here.
    pub(crate) fn heard(&self, at: Instant) {
        let mut state = self.lock();
        state.heard = state.heard.max(Some(at));
    }

    /// Ends the watch. What was pending is dropped: the reader has to begin anew anyway.
    pub(crate) fn fail(&self, error: StoreError) {
        self.lock().fail(error);
        self.ready.notify_one();
    }

    /// Where a source that lost its stream goes on.
    pub(crate) fn seen(&self) -> Revision {
        self.lock().seen
    }

    /// Keeps everything back for as long as `held`, for tests of late changes.
    pub(crate) fn hold(&self, held: bool) {
        let mut state = self.lock();
        state.held = held;
        if held {
            state.fall_behind();
        } else if state.pending.is_empty() {
            state.behind_since = None;
        }
        drop(state);
        self.ready.notify_one();
    }

    fn take(&self) -> Option<Result<Batch, StoreError>> {
        let mut state = self.lock();
        if state.held {
            return None;
        }
        if let Some(error) = &state.failed {
            return Some(Err(error.clone()));
        }
        let changes = state.pending.take(BATCH);
        let last = changes.last()?.revision;
        if state.pending.is_empty() {
            (state.told, state.behind_since) = (state.seen, None);
        } else {
            state.told = last;
        }
        Some(Ok(Batch { changes, revision: state.told }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fall_behind(&mut self) {
        self.behind_since.get_or_insert_with(Instant::now);
    }

    fn fail(&mut self, error: StoreError) {
        self.fall_behind();
        self.pending = Pending::default();
        self.failed = Some(error);
    }
}

/// The latest change of each key, in the order of revisions.
#[derive(Debug, Default)]
struct Pending {
    by_revision: BTreeMap<(Revision, Key), Waiting>,
    at: HashMap<Key, Revision>,
}

#[derive(Debug)]
struct Waiting {
    value: Option<Versioned>,
    /// The watcher has not been told that the key exists.
    unknown: bool,
}

impl Pending {
    fn set(&mut self, event: &Event) {
        let Change { key, value, revision } = &event.change;
        let before = self.at.remove(key).and_then(|at| self.by_revision.remove(&(at, key.clone())));
        let unknown = before.map_or(event.created, |waiting| waiting.unknown);
        if unknown && value.is_none() {
            return;
        }
        self.at.insert(key.clone(), *revision);
        let waiting = Waiting { value: value.clone(), unknown };
        self.by_revision.insert((*revision, key.clone()), waiting);
    }

    /// Takes the oldest changes: about `wanted`, but never a part of what one commit left here.
    fn take(&mut self, wanted: usize) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        while let Some(entry) = self.by_revision.first_entry() {
            let revision = entry.key().0;
            let full = changes.len() >= wanted;
            if full && changes.last().is_some_and(|last| last.revision != revision) {
                break;
            }
            let ((revision, key), waiting) = entry.remove_entry();
            self.at.remove(&key);
            changes.push(Change { key, value: waiting.value, revision });
        }
        changes
    }

    fn len(&self) -> usize {
        self.by_revision.len()
    }

    fn is_empty(&self) -> bool {
        self.by_revision.is_empty()
    }
}

#[cfg(test)]
mod tests;
