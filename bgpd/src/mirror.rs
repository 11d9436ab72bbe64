//! A copy of the datastore's resources in memory, and everybody who wants to know what changes.
//!
//! Owns: what the one watch of resources tells, however many read; the snapshot that
//! readers start from. Promises: a subscriber hears the latest state of every key it asked for,
//! then that it is in sync, then what changes, and that it is in sync again; one that is slow is
//! owed keys, not messages, so it holds nobody and costs no more than the keys there are. A snapshot
//! is a place in the copy, not a list: hundreds that come at once cost nothing until they read.
//! While the datastore is away the copy stays as it was and is read on. Leaves to others what
//! resources mean.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use margay_datastore::Store;
use margay_model::{Area, Change, Key, Kind, Resource, Revision, Versioned};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::follow::{Follow, Told};

/// Changes remembered for readers that come back.
const HISTORY: usize = 16_384;

/// The copy.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    state: Arc<Mutex<State>>,
}

/// A resource of the copy.
#[derive(Debug, Clone)]
pub(crate) struct Mirrored {
    /// As users see it: JSON with its revision.
    pub(crate) text: Arc<str>,
    /// The commit that wrote it last.
    pub(crate) revision: Revision,
}

#[derive(Debug, Default)]
struct State {
    /// Keys are shared with everybody who is owed them.
    resources: BTreeMap<Arc<Key>, Mirrored>,
    revision: Revision,
    synced: bool,
    /// Recent changes, oldest first.
    history: VecDeque<(Revision, Arc<Key>)>,
    /// The copy knows every change after this one.
    since: Revision,
    subscribers: Vec<Weak<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    kinds: BTreeSet<Kind>,
    owed: Mutex<Owed>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Owed {
    /// Changed since this reader was told of them.
    keys: BTreeSet<Arc<Key>>,
    /// The snapshot this reader is in the middle of.
    walk: Option<Walk>,
    /// The copy begins anew for this reader.
    reset: bool,
    /// Whether it was told that it is in sync, and nothing since.
    told: bool,
}

/// How far a reader has come through the copy.
#[derive(Debug, Default)]
struct Walk {
    /// The last key it has passed; `None` at the start.
    passed: Option<Arc<Key>>,
}

/// What a subscriber is told.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Forget what does not come again before `InSync`.
    Reset,
    /// It is so now.
    Resource(Mirrored),
    /// It is gone.
    Gone(Key, Revision),
    /// All that there was has been told; comes again after each change.
    InSync(Revision),
}

/// Resources of the copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KnownPage {
    /// As users see them.
    pub(crate) texts: Vec<Arc<str>>,
    /// The last of them, if there are more.
    pub(crate) more: Option<Key>,
    /// As of which commit.
    pub(crate) revision: Revision,
}

/// A reader of the copy.
#[derive(Debug)]
pub(crate) struct Subscription {
    mirror: Mirror,
    subscriber: Arc<Subscriber>,
}

/// News handed out at once.
const BATCH: usize = 512;
/// Keys a walk looks at in one go, whether the reader wants them or not.
const STRIDE: usize = 4096;

impl Mirror {
    /// An empty copy.
    pub(crate) fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// Follows the datastore for as long as the daemon runs.
    pub(crate) async fn follow(self, store: Arc<dyn Store>) {
        let mut follow = Follow::new(store, Area::Resources);
        loop {
            match follow.next().await {
                Told::Listed(entries, revision) => {
                    let listed = entries.into_iter().map(|entry| (entry.key, entry.value));
                    self.replace(listed, revision);
                    info!(revision = revision.0, "in sync with the datastore");
                }
                Told::Changed(batch) => self.apply(batch.changes, batch.revision),
            }
        }
    }

    /// Takes over a whole list.
    pub(crate) fn replace(
        &self,
        listed: impl IntoIterator<Item = (Key, Versioned)>,
        revision: Revision,
    ) {
        let mut state = self.lock();
        let mut gone: BTreeSet<Arc<Key>> = state.resources.keys().cloned().collect();
        let mut changes = Vec::new();
        for (key, value) in listed {
            gone.remove(&key);
            let known = state.resources.get(&key);
            if known.is_none_or(|known| known.revision != value.revision) {
                let at = value.revision;
                changes.push(Change { key, value: Some(value), revision: at });
            }
        }
        let gone = gone.iter().map(|key| Key::clone(key));
        changes.extend(gone.map(|key| Change { key, value: None, revision }));
        if !state.synced || revision < state.revision {
            // What happened before the first list nobody knows, nor what before that of a datastore
            // that began anew.
            state.history.clear();
            (state.since, state.revision) = (revision, revision);
        }
        state.apply(changes, revision);
        state.synced = true;
    }

    /// Takes over changes.
    pub(crate) fn apply(&self, changes: Vec<Change>, revision: Revision) {
        self.lock().apply(changes, revision);
    }

    /// A reader of these kinds, or of all if none is named. It begins with a snapshot, or after
    /// `after` if the copy remembers so far back.
    pub(crate) fn subscribe(&self, kinds: BTreeSet<Kind>, after: Option<Revision>) -> Subscription {
        let mut state = self.lock();
        let subscriber =
            Arc::new(Subscriber { kinds, owed: Mutex::default(), ready: Notify::new() });
        let mut owed = Owed::default();
        match after {
            // One from beyond the copy is of another datastore, or of this one's earlier life.
            Some(after) if state.synced && (state.since..=state.revision).contains(&after) => {
                let later = state.history.iter().filter(|(revision, _)| *revision > after);
                let wanted = later.filter(|(_, key)| subscriber.wants(key));
                owed.keys.extend(wanted.map(|(_, key)| Arc::clone(key)));
            }
            _ => {
                owed.reset = true;
                owed.walk = Some(Walk::default());
            }
        }
        *subscriber.lock() = owed;
        state.subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        state.subscribers.push(Arc::downgrade(&subscriber));
        drop(state);
        Subscription { mirror: self.clone(), subscriber }
    }

    /// A resource as it was when the datastore last told; nothing of a copy that is not whole.
    pub(crate) fn known(&self, key: &Key) -> Option<(Arc<str>, Revision)> {
        let state = self.lock();
        let known = state.resources.get(key).filter(|_| state.synced)?;
        Some((Arc::clone(&known.text), state.revision))
    }

    /// Likewise the resources of an area behind a key, in the order of keys, at most so many.
    pub(crate) fn known_in(
        &self,
        area: &Area,
        after: Option<&Key>,
        most: usize,
    ) -> Option<KnownPage> {
        let state = self.lock();
        if !state.synced {
            return None;
        }
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = state.resources.range::<Key, _>((after, Bound::Unbounded));
        let mut wanted = behind.filter(|(key, _)| area.contains(key));
        let page: Vec<_> = wanted.by_ref().take(most).collect();
        let more = match wanted.next() {
            Some(_) => page.last().map(|(key, _)| Key::clone(key)),
            None => None,
        };
        let texts = page.into_iter().map(|(_, known)| Arc::clone(&known.text)).collect();
        Some(KnownPage { texts, more, revision: state.revision })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, changes: Vec<Change>, revision: Revision) {
        let mut changed = Vec::with_capacity(changes.len());
        for change in changes {
            let mirrored = change.value.and_then(|value| mirrored(&change.key, &value));
            let known = match mirrored {
                Some(mirrored) => Some(self.put(change.key, mirrored)),
                // One that cannot be read any more is as good as gone: nothing may go on by what
                // it said before.
                None => self.resources.remove_entry(&change.key).map(|(key, _)| key),
            };
            if let Some(key) = known {
                self.history.push_back((change.revision, Arc::clone(&key)));
                changed.push(key);
            }
        }
        while self.history.len() > HISTORY {
            if let Some((revision, _)) = self.history.pop_front() {
                self.since = self.since.max(revision);
            }
        }
        self.revision = self.revision.max(revision);
        self.subscribers.retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            let mut owed = subscriber.lock();
            for key in changed.iter().filter(|key| subscriber.wants(key)) {
                // What lies ahead of its walk it will find there as it is by then.
                if owed.walk.as_ref().is_none_or(|walk| walk.has_passed(key)) {
                    owed.keys.insert(Arc::clone(key));
                }
            }
            drop(owed);
            subscriber.ready.notify_one();
            true
        });
    }

    /// Puts a resource into the copy; its shared key.
    fn put(&mut self, key: Key, mirrored: Mirrored) -> Arc<Key> {
        let key = match self.resources.get_key_value(&key) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(key),
        };
        self.resources.insert(Arc::clone(&key), mirrored);
        key
    }
}

impl Walk {
    fn has_passed(&self, key: &Key) -> bool {
        self.passed.as_ref().is_some_and(|passed| key <= passed.as_ref())
    }
}

impl Subscriber {
    fn wants(&self, key: &Key) -> bool {
        match key {
            Key::Resource(key) => self.kinds.is_empty() || self.kinds.contains(&key.kind),
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next news, in the order of keys; waits until there are some.
    pub(crate) async fn next(&self) -> Vec<News> {
        loop {
            let ready = self.subscriber.ready.notified();
            let news = self.take();
            if !news.is_empty() {
                return news;
            }
            ready.await;
        }
    }

    /// The news there are.
    pub(crate) fn take(&self) -> Vec<News> {
        // In this order everywhere: the copy, then what a subscriber is owed.
        let state = self.mirror.lock();
        let mut owed = self.subscriber.lock();
        let mut news = Vec::new();
        if std::mem::take(&mut owed.reset) {
            news.push(News::Reset);
        }
        self.walk(&state, &mut owed, &mut news);
        while news.len() < BATCH {
            let Some(key) = owed.keys.pop_first() else { break };
            news.push(match state.resources.get(&key) {
                Some(mirrored) => News::Resource(mirrored.clone()),
                None => News::Gone(Key::clone(&key), state.revision),
            });
        }
        // In the order of keys: only once nothing is owed there is a revision to come back with.
        owed.told &= news.is_empty();
        let all = owed.keys.is_empty() && owed.walk.is_none();
        if all && state.synced && !owed.told {
            owed.told = true;
            news.push(News::InSync(state.revision));
        }
        if !all && state.synced {
            self.subscriber.ready.notify_one();
        }
        news
    }

    /// Goes on through the copy. The walk ends where the copy does, but not before the copy is
    /// whole: what comes until then lies ahead.
    fn walk(&self, state: &State, owed: &mut Owed, news: &mut Vec<News>) {
        let Some(walk) = &mut owed.walk else { return };
        let from = walk.passed.clone();
        let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut ahead = state.resources.range::<Key, _>((from, Bound::Unbounded));
        for _ in 0..STRIDE {
            if news.len() >= BATCH {
                return;
            }
            let Some((key, mirrored)) = ahead.next() else {
                if state.synced {
                    owed.walk = None;
                }
                return;
            };
            walk.passed = Some(Arc::clone(key));
            if self.subscriber.wants(key) {
                news.push(News::Resource(mirrored.clone()));
            }
        }
    }
}

fn mirrored(key: &Key, value: &Versioned) -> Option<Mirrored> {
    let mut resource = match Resource::decode(&value.value) {
        Ok(resource) => resource,
        Err(faults) => {
            warn!(%key, err = %faults, "a resource in the datastore cannot be read; left out");
            return None;
        }
    };
    resource.metadata_mut().resource_version = Some(value.revision.0.to_string());
    let text = resource.to_json().to_string().into();
    Some(Mirrored { text, revision: value.revision })
}

#[cfg(test)]
mod tests;
