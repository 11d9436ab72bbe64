//! What is written down of a request that takes several transactions, so that in the end all of it
//! stands or nothing.
//!
//! Before its first part a head says whose the request is. With each part but the last goes a mark that
//! names what the part wrote, and ahead of it what stood there before. The last part takes the head
//! away: from then on the request is made. Until then whoever takes the head over takes the request
//! back, the last write first and new tiers last of all: its daemon after a failure, the next life of
//! that daemon, or any other once its lease has ended. What somebody has written since stays theirs: a mark is of the same commit
//! as its part, so their revision tells. Once taken over, no further part of the request can be made,
//! for each compares the head.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use margay_datastore::{
    Entry, LeaseValue, Outcome, Store, StoreError,
    limits::{self, Room},
    list_all,
};
use margay_model::{
    Actor, Area, Compare, Expect, Guard, Key, Kind, Piece, Resource, Revision, Txn, Undo,
    Versioned, Write,
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Planned, ResourceError, TRIES, changed, guards, rules};

/// From one look for requests that nobody ends to the next.
const ROUND: Duration = Duration::from_secs(60);
/// The same while the first look has not succeeded.
const FIRST: Duration = Duration::from_secs(1);
/// Octets of a mark at most: as many keys as a transaction of etcd writes, each as long as can be.
const MARK: usize = 128 * 1100;

/// Whose requests these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Author {
    /// The name of the node.
    node: String,
    /// The life of its state directory: who holds the lease of the node.
    instance: String,
    /// The run of its daemon.
    run: String,
}

impl Author {
    /// This run of the daemon with this instance id.
    pub(crate) fn new(node: &str, instance: &str) -> Self {
        let run = uuid::Uuid::new_v4().to_string();
        Self { node: node.to_owned(), instance: instance.to_owned(), run }
    }
}

/// What a part wrote under a key.
#[derive(Debug, Serialize, Deserialize)]
struct Wrote {
    /// The path of the key.
    key: String,
    /// The number of the piece that holds what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u32>,
}

/// Requests of several transactions.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    store: Arc<dyn Store>,
    author: Arc<Author>,
    /// Those that are being worked on here.
    open: Arc<Mutex<BTreeSet<String>>>,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Record {
    /// Its id.
    pub(super) request: String,
    /// The revision of its head.
    head: Revision,
    /// Parts and values before them so far.
    parts: u32,
    befores: u32,
    open: Arc<Mutex<BTreeSet<String>>>,
}

/// What came of taking back.
#[derive(Debug)]
pub(super) enum TakenBack {
    /// Nothing of it is left.
    Whole,
    /// Nothing but these, which cannot go for what came meanwhile.
    But(Vec<Key>),
    /// It was made whole, or is somebody else's to take back.
    NotOurs,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.request);
    }
}

impl Record {
    fn key(&self, piece: Piece) -> Key {
        Key::Undo(Undo { request: self.request.clone(), piece })
    }

    /// The name of its head.
    pub(super) fn head(&self) -> Key {
        self.key(Piece::Head)
    }

    fn still(&self) -> Compare {
        Compare { key: self.head(), expect: Expect::At(self.head) }
    }

    /// What goes with its last part.
    pub(super) fn end(&self) -> Txn {
        Txn { compares: vec![self.still()], writes: vec![Write::Delete { key: self.head() }] }
    }
}

/// At most what goes with a part of a request beside its writes.
pub(super) fn most() -> Txn {
    let request = uuid::Uuid::nil().to_string();
    let key = |piece| Key::Undo(Undo { request: request.clone(), piece });
    Txn {
        compares: vec![Compare { key: key(Piece::Head), expect: Expect::At(Revision::default()) }],
        writes: vec![put(key(Piece::Part(0)), vec![0; MARK])],
    }
}

fn put(key: Key, value: impl Into<Bytes>) -> Write {
    Write::Put { key, value: value.into(), index: Vec::new() }
}

impl Ledger {
    /// Of this datastore, kept by this daemon.
    pub(super) fn new(store: Arc<dyn Store>, author: Author) -> Self {
        Self { store, author: Arc::new(author), open: Arc::default() }
    }

    fn head(&self, key: Key, expect: Expect) -> Txn {
        let value = serde_json::to_vec(self.author.as_ref()).expect("three strings make JSON");
        Txn { compares: vec![Compare { key: key.clone(), expect }], writes: vec![put(key, value)] }
    }

    /// Writes down that a request begins.
    pub(super) async fn begin(&self, actor: &Actor) -> Result<Record, ResourceError> {
        let request = uuid::Uuid::new_v4().to_string();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(request.clone());
        let open = Arc::clone(&self.open);
        let mut record = Record { request, head: Revision::default(), parts: 0, befores: 0, open };
        let txn = self.head(record.head(), Expect::Absent);
        match self.store.commit(txn, actor).await? {
            Outcome::Committed(committed) => record.head = committed.revision,
            // An id that was drawn twice.
            Outcome::Conflict(_) => return Err(ResourceError::Contended),
        }
        Ok(record)
    }

    /// Writes down what stands where a part is to be written; what goes with that part.
    pub(super) async fn keep(
        &self,
        record: &mut Record,
        part: &[Planned],
        actor: &Actor,
    ) -> Result<Txn, ResourceError> {
        let still = Txn { compares: vec![record.still()], writes: Vec::new() };
        let mut batches = Batches::new(self.store.as_ref(), still.clone());
        let mut wrote = Vec::new();
        for planned in changed(part) {
            let mut entry = Wrote { key: planned.resource.key().path(), before: None };
            if let Some(before) = &planned.before {
                record.befores += 1;
                entry.before = Some(record.befores);
                let write = put(record.key(Piece::Before(record.befores)), before.clone());
                batches.add(Txn { compares: Vec::new(), writes: vec![write] });
            }
            wrote.push(entry);
        }
        for batch in batches.done {
            if let Outcome::Conflict(_) = self.store.commit(batch, actor).await? {
                return Err(ResourceError::TakenOver);
            }
        }
        record.parts += 1;
        let mark = serde_json::to_vec(&wrote).expect("strings and numbers make JSON");
        let mut txn = still;
        txn.writes.push(put(record.key(Piece::Part(record.parts)), mark));
        Ok(txn)
    }

    /// Forgets a request that was made, or taken back. What cannot be forgotten now is later.
    pub(super) async fn forget(&self, request: &str, actor: &Actor) {
        let forgotten = async {
            let pieces = self.pieces().await?;
            let of = pieces.get(request).into_iter().flat_map(BTreeMap::keys);
            self.delete(request, of.filter(|piece| **piece != Piece::Head), actor).await
        };
        if let Err(err) = forgotten.await {
            info!(request, %err, "what was kept of a request is left for later");
        }
    }

    async fn delete(
        &self,
        request: &str,
        pieces: impl Iterator<Item = &Piece>,
        actor: &Actor,
    ) -> Result<(), StoreError> {
        let mut batches = Batches::new(self.store.as_ref(), Txn::default());
        for piece in pieces {
            let key = Key::Undo(Undo { request: request.to_owned(), piece: *piece });
            batches.add(Txn { compares: Vec::new(), writes: vec![Write::Delete { key }] });
        }
        for batch in batches.done {
            self.store.commit(batch, actor).await?;
        }
        Ok(())
    }

    /// All that is kept, by request.
    async fn pieces(&self) -> Result<BTreeMap<String, BTreeMap<Piece, Versioned>>, StoreError> {
        let (entries, _) = list_all(self.store.as_ref(), &Area::Undo).await?;
        let mut requests: BTreeMap<String, BTreeMap<Piece, Versioned>> = BTreeMap::new();
        for Entry { key, value, .. } in entries {
            if let Key::Undo(Undo { request, piece }) = key {
                requests.entry(request).or_default().insert(piece, value);
            }
        }
        Ok(requests)
    }

    /// Whether a request but this one may still be taken back.
    pub(super) async fn pending(&self, but: Option<&Record>) -> Result<bool, StoreError> {
        let pieces = self.pieces().await?;
        let mut others = pieces.iter().filter(|(id, _)| but.is_none_or(|own| own.request != **id));
        Ok(others.any(|(_, pieces)| pieces.contains_key(&Piece::Head)))
    }

    /// Takes a request over, and takes back what it wrote.
    ///
    /// # Errors
    /// The datastore. It goes on where it ended when it is asked again.
    pub(super) async fn take_back(
        &self,
        request: &str,
        actor: &Actor,
    ) -> Result<TakenBack, ResourceError> {
        let key = Key::Undo(Undo { request: request.to_owned(), piece: Piece::Head });
        let Some(head) = self.store.get(&key).await? else { return Ok(TakenBack::NotOurs) };
        let over = self.head(key.clone(), Expect::At(head.revision));
        let Outcome::Committed(over) = self.store.commit(over, actor).await? else {
            return Ok(TakenBack::NotOurs);
        };
        let pieces = self.pieces().await?.remove(request).unwrap_or_default();
        let wrote = wrote(&pieces);
        let mut stay = Vec::new();
        // Tiers last: policies of theirs may stand before them in the request, and behind.
        for tiers in [false, true] {
            let some: Vec<_> = wrote.iter().filter(|one| one.is_new_tier() == tiers).collect();
            stay.extend(self.take_back_some(&some, actor).await?);
        }
        if let Outcome::Conflict(_) =
            self.store.commit(Txn::delete(key, over.revision), actor).await?
        {
            return Ok(TakenBack::NotOurs);
        }
        self.forget(request, actor).await;
        Ok(if stay.is_empty() { TakenBack::Whole } else { TakenBack::But(stay) })
    }

    /// Takes back some of what a request wrote, in this order; what cannot go.
    async fn take_back_some(
        &self,
        some: &[&Written],
        actor: &Actor,
    ) -> Result<Vec<Key>, ResourceError> {
        for _ in 0..TRIES {
            // Otherwise somebody wrote one of them in between: it is theirs now.
            if let Some(stay) = self.try_some(some, actor).await? {
                return Ok(stay);
            }
        }
        Err(ResourceError::Contended)
    }

    /// One try: `None` where somebody else came in between.
    async fn try_some(
        &self,
        some: &[&Written],
        actor: &Actor,
    ) -> Result<Option<Vec<Key>>, ResourceError> {
        // Policies that come back are seen by whoever asks whether a tier may go.
        let shared = Txn { compares: Vec::new(), writes: vec![guards::mark(Guard::Tiers)] };
        let mut batches = Batches::new(self.store.as_ref(), shared);
        let mut stay = Vec::new();
        for one in some {
            let Written { key, revision, .. } = *one;
            let current = self.store.get(key).await?;
            if current.is_none_or(|current| current.revision != *revision) {
                continue;
            }
            let txn = match one.back(self.store.as_ref()).await {
                Ok(txn) => txn,
                Err(error @ (ResourceError::Forbidden { .. } | ResourceError::Missing(_))) => {
                    warn!(%key, %error, "what was written of a request cannot be taken back");
                    stay.push(key.clone());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if one.is_new_tier() {
                // What it compares is the mark that others would write.
                if let Outcome::Conflict(_) = self.store.commit(txn, actor).await? {
                    return Ok(None);
                }
            } else {
                batches.add(txn);
            }
        }
        Ok(self.made(batches.done, actor).await?.then_some(stay))
    }

    /// Whether all of these were made; it ends at the first that is not.
    async fn made(&self, batches: Vec<Txn>, actor: &Actor) -> Result<bool, StoreError> {
        for batch in batches {
            if let Outcome::Conflict(_) = self.store.commit(batch, actor).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes back what nobody will end: of former lives of this daemon, and of those whose lease has
    /// ended. Never ends.
    pub(super) async fn run(self) {
        let actor = Actor {
            component: "margay-bgpd/undo".to_owned(),
            node: self.author.node.clone(),
            user: None,
        };
        let (mut pause, mut told) = (FIRST, false);
        loop {
            match self.round(&actor).await {
                Ok(()) => (pause, told) = (ROUND, false),
                Err(err) if !told => {
                    told = true;
                    warn!(%err, "requests that were broken off are not taken back yet");
                }
                Err(_) => {}
            }
            sleep(pause).await;
        }
    }

    /// Looks once.
    pub(super) async fn round(&self, actor: &Actor) -> Result<(), ResourceError> {
        let mut result = Ok(());
        for (request, pieces) in self.pieces().await? {
            // One that stands in its own way does not stand in that of others.
            let done = self.settle(&request, &pieces, actor).await;
            result = result.and(done);
        }
        result
    }

    async fn settle(
        &self,
        request: &str,
        pieces: &BTreeMap<Piece, Versioned>,
        actor: &Actor,
    ) -> Result<(), ResourceError> {
        match pieces.get(&Piece::Head) {
            Some(head) if self.is_dead(request, head).await? => {
                let outcome = self.take_back(request, actor).await?;
                info!(request, ?outcome, "a request that was broken off is taken back");
            }
            Some(_) => {}
            None => self.delete(request, pieces.keys(), actor).await?,
        }
        Ok(())
    }

    /// Whether nobody works on a request any more.
    async fn is_dead(&self, request: &str, head: &Versioned) -> Result<bool, StoreError> {
        let Ok(author) = serde_json::from_slice::<Author>(&head.value) else {
            warn!(request, "whose request this is cannot be read; it stays as it is");
            return Ok(false);
        };
        if author.instance == self.author.instance {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(author.run != self.author.run || !open.contains(request));
        }
        let lease = self.store.get(&Key::NodeLease(author.node)).await?;
        let holder = lease.and_then(|lease| {
            serde_json::from_slice::<LeaseValue>(&lease.value).ok().map(|value| value.holder)
        });
        Ok(holder.is_none_or(|holder| holder != author.instance))
    }
}

/// What a request wrote under a key.
struct Written {
    key: Key,
    /// With which commit.
    revision: Revision,
    /// What was there.
    before: Option<Bytes>,
}

impl Written {
    fn is_new_tier(&self) -> bool {
        let is_tier = self.key.resource().is_some_and(|name| name.kind == Kind::Tier);
        self.before.is_none() && is_tier
    }

    /// What makes it as it was, and what has to hold for that.
    ///
    /// # Errors
    /// It cannot be, or the datastore.
    async fn back(&self, store: &dyn Store) -> Result<Txn, ResourceError> {
        let (key, revision) = (self.key.clone(), self.revision);
        let Some(before) = &self.before else {
            let mut txn = Txn::delete(key.clone(), revision);
            if super::built_in(&key).is_none() {
                txn.compares.extend(rules::may_go(store, &key).await?);
            }
            return Ok(txn);
        };
        let mut txn = Txn::update(key, revision, before.clone(), Vec::new());
        if let Some(write) = txn.writes.first()
            && let Err(error) = limits::check_write(write)
        {
            // Somebody else had put it there, past every rule.
            return Err(ResourceError::Missing(error.to_string()));
        }
        let resource = Resource::decode_lenient(before).ok();
        let tier = resource.as_ref().and_then(rules::tier);
        let tier = tier.map(|name| Key::cluster(Kind::Tier, name));
        if let Some(tier) = tier.filter(|tier| super::built_in(tier).is_none()) {
            if store.get(&tier).await?.is_none() {
                return Err(ResourceError::Missing(format!("{tier} is gone")));
            }
            txn.compares.push(Compare { key: tier, expect: Expect::Present });
        }
        Ok(txn)
    }
}

/// What a request wrote, the last first.
fn wrote(pieces: &BTreeMap<Piece, Versioned>) -> Vec<Written> {
    let mut all = Vec::new();
    for (piece, mark) in pieces.iter().rev() {
        if !matches!(piece, Piece::Part(_)) {
            continue;
        }
        let wrote: Vec<Wrote> = serde_json::from_slice(&mark.value).unwrap_or_else(|err| {
            warn!(%err, "what a part of a request wrote cannot be read; it stays as it is");
            Vec::new()
        });
        for Wrote { key, before } in wrote.into_iter().rev() {
            let before = before.and_then(|number| pieces.get(&Piece::Before(number)));
            let before = before.map(|before| before.value.clone());
            match Key::from_path(&key) {
                Ok(key) => all.push(Written { key, revision: mark.revision, before }),
                Err(err) => {
                    warn!(%err, "a request names what this release does not know; it stays as it is");
                }
            }
        }
    }
    all
}

/// Small transactions, joined into as few as the datastore takes.
struct Batches {
    /// What each of them has.
    shared: Txn,
    empty: Room,
    room: Room,
    done: Vec<Txn>,
}

impl Batches {
    fn new(store: &dyn Store, shared: Txn) -> Self {
        let empty = Room::beside(store.limits(), &shared);
        Self { shared, empty, room: empty, done: Vec::new() }
    }

    fn add(&mut self, txn: Txn) {
        let fits = self.room.take(&txn);
        match self.done.last_mut() {
            Some(last) if fits => last.join(txn),
            _ => {
                if !fits {
                    self.room = self.empty;
                    // The first always fits.
                    let _ = self.room.take(&txn);
                }
                let mut next = self.shared.clone();
                next.join(txn);
                self.done.push(next);
            }
        }
    }
}

#[cfg(test)]
mod tests;
