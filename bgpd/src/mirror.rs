//! A copy of a part of the datastore in memory, and everybody who wants to know what changes.
//!
//! One is of all resources; a daemon that other nodes may ask has one of blocks and leases as well.
//! Owns: what the one [`Source`] of a part tells, however many read; the snapshot that
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

use margay_model::{Area, Change, Faults, Key, Kind, Resource, ResourceKey, Revision, Versioned};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::follow::{Doubt, Source, Told};

/// Changes remembered for readers that come back.
const HISTORY: usize = 16_384;

/// The copy.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    state: Arc<Mutex<State>>,
    /// Somebody came from a later commit than the copy has heard of.
    doubt: Arc<Doubt>,
}

/// A value of the copy.
#[derive(Debug, Clone)]
pub(crate) struct Mirrored {
    /// A resource as users see it, JSON with its revision; anything else as it is stored.
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
    /// A resource is so now.
    Resource(Mirrored),
    /// So is something else.
    Stored(Arc<Key>, Mirrored),
    /// It is gone.
    Gone(Key, Revision),
    /// All that there was has been told; comes again after each change.
    InSync(Revision),
}

impl News {
    fn of(key: &Arc<Key>, value: &Mirrored) -> Self {
        match key.as_ref() {
            Key::Resource(_) => Self::Resource(value.clone()),
            Key::Block(_) | Key::NodeLease(_) | Key::Guard(_) | Key::Undo(_) => {
                Self::Stored(Arc::clone(key), value.clone())
            }
        }
    }
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

/// News handed out at once: so many, and no more behind so many octets. Each reader holds as much twice
/// over, as events and as the message made of them, when all of them are told at the same time.
const BATCH: usize = 128;
const OCTETS: usize = 128 << 10;
/// Keys a walk looks at in one go, whether the reader wants them or not.
const STRIDE: usize = 4096;

impl Mirror {
    /// An empty copy.
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), doubt: Arc::default() }
    }

    /// Follows a source for as long as the daemon runs.
    pub(crate) async fn follow(self, mut source: Box<dyn Source>) {
        loop {
            let told = self.hear(source.as_mut()).await;
            if let Told::Listed(_, revision) = &told {
                info!(revision = revision.0, "in sync with the datastore");
            }
            self.take_in(told);
        }
    }

    /// The next news of its source. Who comes from a later commit than the copy has heard of may know
    /// more, or come from a copy that was only listed later: a list tells.
    pub(crate) async fn hear(&self, source: &mut dyn Source) -> Told {
        source.next(&self.doubt).await
    }

    /// Takes over what a source has told.
    pub(crate) fn take_in(&self, told: Told) {
        match told {
            Told::Listed(entries, revision) => {
                self.replace(entries.into_iter().map(|entry| (entry.key, entry.value)), revision);
            }
            Told::Changed(batch) => self.apply(batch.changes, batch.revision),
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
        state.synced = true;
        state.apply(changes, revision, true);
    }

    /// Takes over changes.
    pub(crate) fn apply(&self, changes: Vec<Change>, revision: Revision) {
        // How far it has come may be all that is new.
        let nothing = changes.is_empty();
        self.lock().apply(changes, revision, nothing);
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
                if after.is_some_and(|after| state.synced && after > state.revision) {
                    self.doubt.raise();
                }
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

    /// How far the copy has come; `None` before it is whole.
    pub(crate) fn revision(&self) -> Option<Revision> {
        let state = self.lock();
        state.synced.then_some(state.revision)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes over changes. `listed`: they are what a list came to, so that how far the copy has come
    /// is news to everybody, though nothing changed.
    fn apply(&mut self, changes: Vec<Change>, revision: Revision, listed: bool) {
        let mut changed = Vec::with_capacity(changes.len());
        for change in changes {
            let mirrored = change.value.map(|value| mirrored(&change.key, &value));
            let known = match mirrored {
                Some(mirrored) => Some(self.put(change.key, mirrored)),
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
            let mut news = listed;
            owed.told &= !listed;
            for key in changed.iter().filter(|key| subscriber.wants(key)) {
                // What lies ahead of its walk it will find there as it is by then.
                if owed.walk.as_ref().is_none_or(|walk| walk.has_passed(key)) {
                    owed.keys.insert(Arc::clone(key));
                    news = true;
                }
            }
            drop(owed);
            if news {
                subscriber.ready.notify_one();
            }
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
        let is_wanted = |key: &ResourceKey| self.kinds.contains(&key.kind);
        self.kinds.is_empty() || key.resource().is_some_and(is_wanted)
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

    /// Whether it was told of everything the copy has.
    pub(crate) fn is_told(&self) -> bool {
        self.subscriber.lock().told
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
        let mut octets = 0;
        self.walk(&state, &mut owed, &mut news, &mut octets);
        while news.len() < BATCH && octets < OCTETS {
            let Some(key) = owed.keys.pop_first() else { break };
            news.push(match state.resources.get(&key) {
                Some(mirrored) => {
                    octets += mirrored.text.len();
                    News::of(&key, mirrored)
                }
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
    fn walk(&self, state: &State, owed: &mut Owed, news: &mut Vec<News>, octets: &mut usize) {
        let Some(walk) = &mut owed.walk else { return };
        let from = walk.passed.clone();
        let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut ahead = state.resources.range::<Key, _>((from, Bound::Unbounded));
        for _ in 0..STRIDE {
            if news.len() >= BATCH || *octets >= OCTETS {
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
                *octets += mirrored.text.len();
                news.push(News::of(key, mirrored));
            }
        }
    }
}

fn mirrored(key: &Key, value: &Versioned) -> Mirrored {
    let revision = value.revision;
    let Key::Resource(name) = key else {
        // Text, unless somebody else wrote it: then it is no block either way.
        return Mirrored { text: String::from_utf8_lossy(&value.value).into(), revision };
    };
    let text = match read(name, value) {
        Ok(mut resource) => {
            resource.metadata_mut().resource_version = Some(revision.0.to_string());
            resource.to_json()
        }
        Err(faults) => {
            warn!(%key, err = %faults, "a resource in the datastore cannot be read; told as it is");
            as_written(name, value)
        }
    };
    Mirrored { text: text.to_string().into(), revision }
}

/// A stored resource. What a newer release has written counts without what this one does not know,
/// but for rules: less of a rule is another rule.
fn read(key: &ResourceKey, value: &Versioned) -> Result<Resource, Faults> {
    let strict = Resource::decode(&value.value);
    let Err(faults) = &strict else { return strict };
    if has_rules(key.kind) {
        return strict;
    }
    let Ok(resource) = Resource::decode_lenient(&value.value) else { return strict };
    warn!(kind = %key.kind, name = key.name, err = %faults, "of a resource in the datastore not all is known; the rest counts");
    Ok(resource)
}

fn has_rules(kind: Kind) -> bool {
    use Kind::{BgpFilter, Profile, StagedKubernetesNetworkPolicy};
    kind.is_tiered() || matches!(kind, StagedKubernetesNetworkPolicy | Profile | BgpFilter)
}

/// A resource that cannot be read, as it stands there, with its name. Left out it would count as gone:
/// a policy would open what it denies, a reserved address would be assigned.
fn as_written(key: &ResourceKey, value: &Versioned) -> Value {
    let stored = serde_json::from_slice(&value.value).ok();
    let mut object: Map<String, Value> = stored.unwrap_or_else(|| {
        // A text where fields belong: it stays unreadable, whoever reads it.
        [("spec".to_owned(), "unreadable".into())].into_iter().collect()
    });
    let mut metadata = match object.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    metadata.insert("name".into(), key.name.as_str().into());
    metadata.remove("namespace");
    if !key.namespace.is_empty() {
        metadata.insert("namespace".into(), key.namespace.as_str().into());
    }
    metadata.insert("resourceVersion".into(), value.revision.0.to_string().into());
    object.insert("apiVersion".into(), margay_model::API_VERSION.into());
    object.insert("kind".into(), key.kind.name().into());
    object.insert("metadata".into(), metadata.into());
    object.into()
}

/// Of which resource a text is that cannot be read.
pub(crate) fn unreadable(text: &str) -> Option<Key> {
    let object: Value = serde_json::from_str(text).ok()?;
    let field = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let kind = Kind::from_name(&field("/kind")?)?;
    let namespace = field("/metadata/namespace").unwrap_or_default();
    Some(Key::namespaced(kind, namespace, field("/metadata/name")?))
}

#[cfg(test)]
mod tests;
