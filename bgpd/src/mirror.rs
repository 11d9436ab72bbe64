//! A copy of the datastore's resources in memory, and everybody who wants to know what changes.
//!
//! Owns: one watch on the datastore for the whole daemon, however many read; the snapshot that
//! readers start from. Promises: a subscriber hears the latest state of every key it asked for,
//! then that it is in sync, then what changes; one that is slow is owed keys, not messages, so it
//! holds nobody and costs no more than the keys there are. While the datastore is away the copy
//! stays as it was and is read on. Leaves to others what resources mean.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use margay_datastore::{Store, StoreError, list_all};
use margay_model::{Area, Change, Key, Kind, Resource, Revision, Versioned};
use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

/// Changes remembered for readers that come back.
const HISTORY: usize = 16_384;
/// Pause after the datastore failed, doubled up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

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
    resources: BTreeMap<Key, Mirrored>,
    revision: Revision,
    synced: bool,
    /// Recent changes, oldest first.
    history: VecDeque<(Revision, Key)>,
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
    keys: BTreeSet<Key>,
    /// The copy begins anew for this reader.
    reset: bool,
    /// Whether it was told that it is in sync.
    told: bool,
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
    /// All that there was has been told.
    InSync(Revision),
}

/// A reader of the copy.
#[derive(Debug)]
pub(crate) struct Subscription {
    mirror: Mirror,
    subscriber: Arc<Subscriber>,
}

/// News handed out at once.
const BATCH: usize = 512;

impl Mirror {
    /// An empty copy.
    pub(crate) fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// Follows the datastore for as long as the daemon runs.
    pub(crate) async fn follow(self, store: Arc<dyn Store>) {
        let mut pause = PAUSE;
        loop {
            match self.follow_once(store.as_ref()).await {
                // History was lost; the next list repairs it.
                Err(StoreError::Compacted { .. }) => pause = PAUSE,
                Err(error) => {
                    warn!(err = %error, "the datastore does not answer; going on with what is known");
                    sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
                Ok(never) => match never {},
            }
        }
    }

    async fn follow_once(&self, store: &dyn Store) -> Result<std::convert::Infallible, StoreError> {
        let (entries, revision) = list_all(store, &Area::Resources).await?;
        let listed = entries.into_iter().map(|entry| (entry.key, entry.value));
        self.replace(listed, revision);
        info!(revision = revision.0, "in sync with the datastore");
        let mut watch = store.watch(&Area::Resources, revision).await?;
        loop {
            let batch = watch.next().await?;
            self.apply(batch.changes, batch.revision);
        }
    }

    /// Takes over a whole list.
    pub(crate) fn replace(
        &self,
        listed: impl IntoIterator<Item = (Key, Versioned)>,
        revision: Revision,
    ) {
        let mut state = self.lock();
        let mut gone: BTreeSet<_> = state.resources.keys().cloned().collect();
        let mut changes = Vec::new();
        for (key, value) in listed {
            gone.remove(&key);
            let known = state.resources.get(&key);
            if known.is_none_or(|known| known.revision != value.revision) {
                let at = value.revision;
                changes.push(Change { key, value: Some(value), revision: at });
            }
        }
        changes.extend(gone.into_iter().map(|key| Change { key, value: None, revision }));
        if !state.synced {
            // What happened before the first list nobody knows.
            state.since = revision;
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
            Some(after) if state.synced && after >= state.since => {
                let later = state.history.iter().filter(|(revision, _)| *revision > after);
                owed.keys.extend(later.map(|(_, key)| key.clone()));
            }
            _ => {
                owed.reset = true;
                owed.keys.extend(state.resources.keys().cloned());
            }
        }
        owed.keys.retain(|key| subscriber.wants(key));
        *subscriber.lock() = owed;
        state.subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        state.subscribers.push(Arc::downgrade(&subscriber));
        drop(state);
        Subscription { mirror: self.clone(), subscriber }
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
                Some(mirrored) => self.resources.insert(change.key.clone(), mirrored).is_some(),
                // One that cannot be read any more is as good as gone: nothing may go on by what
                // it said before.
                None => self.resources.remove(&change.key).is_some(),
            };
            if known || self.resources.contains_key(&change.key) {
                self.history.push_back((change.revision, change.key.clone()));
                changed.push(change.key);
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
            let wanted = changed.iter().filter(|key| subscriber.wants(key)).cloned();
            subscriber.lock().keys.extend(wanted);
            subscriber.ready.notify_one();
            true
        });
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
        while news.len() < BATCH {
            let Some(key) = owed.keys.pop_first() else { break };
            news.push(match state.resources.get(&key) {
                Some(mirrored) => News::Resource(mirrored.clone()),
                None => News::Gone(key, state.revision),
            });
        }
        if owed.keys.is_empty() && state.synced && !owed.told {
            owed.told = true;
            news.push(News::InSync(state.revision));
        }
        if !owed.keys.is_empty() {
            self.subscriber.ready.notify_one();
        }
        news
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
