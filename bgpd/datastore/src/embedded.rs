//! The datastore of a daemon on its own: one file in the state directory.
//!
//! Owns the file and a thread that alone changes it; reads are served from memory. Promises: an
//! answered commit is on the disk, after kill -9 too, one without an answer is there whole or not
//! at all; a damaged file is refused and never begun anew; while the disk is full reads go on and
//! writes say why they fail, and go on by themselves when there is room. One process has the file
//! open; others speak to that one.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use margay_model::{Actor, Area, IndexEntry, Key, Revision, Txn, Versioned};
use tokio::sync::{Semaphore, oneshot};

use self::{
    file::{Check, File},
    writer::{Reply, Request, What, Writer},
};
use crate::{
    engine::Engine,
    error::StoreError,
    feed::Watch,
    image::Bounds,
    limits,
    store::{Lease, LeaseOutcome, Listing, Outcome, Page, Status, Store},
};

mod file;
mod record;
mod writer;

/// Requests that may wait for the writer; more wait with whoever asks.
const QUEUE: usize = 1024;

/// A datastore in a file.
#[derive(Debug)]
pub struct EmbeddedStore {
    place: String,
    engine: Arc<RwLock<Engine>>,
    health: Arc<Health>,
    places: Arc<Semaphore>,
    requests: Option<mpsc::SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the store in this file, or makes it where there is none. Reads all of it: do it where
    /// waiting is no harm.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the file is not what was written; [`StoreError::Unavailable`]
    /// when it cannot be opened, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Bounds::default())
    }

    /// The same, remembering at most so many changes for watches that begin in the past.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_with_history(path: &Path, changes: usize) -> Result<Self, StoreError> {
        Self::open_with(path, Bounds { changes, ..Bounds::default() })
    }

    fn open_with(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let file = File::open(path, Check::Everything)?;
        let image = file.load(bounds)?;
        let place = file.place();
        let engine = Arc::new(RwLock::new(Engine::new(image)));
        let health = Arc::new(Health::default());
        let writer = Writer::new(file, engine.clone(), health.clone());
        let (requests, queue) = mpsc::sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("datastore".into())
            .spawn(move || writer.run(&queue))
            .map_err(|e| StoreError::Unavailable {
                endpoint: place.clone(),
                cause: e.to_string(),
            })?;
        Ok(Self {
            place,
            engine,
            health,
            places: Arc::new(Semaphore::new(QUEUE)),
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    async fn ask<T>(&self, what: impl FnOnce(Reply<T>) -> What) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        // One place a request: the queue has room for as many as there are places.
        let place = self.places.clone().acquire_owned().await.map_err(|_| self.closed())?;
        let request = Request { what: what(reply), place };
        let requests = self.requests.as_ref().ok_or_else(|| self.closed())?;
        requests.try_send(request).map_err(|_| self.closed())?;
        answer.await.map_err(|_| StoreError::Unanswered {
            endpoint: self.place.clone(),
            cause: "the writer ended".into(),
        })?
    }

    fn closed(&self) -> StoreError {
        StoreError::Unavailable { endpoint: self.place.clone(), cause: "it is closed".into() }
    }

    fn read<T>(&self, read: impl FnOnce(&Engine) -> T) -> T {
        read(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(path = %self.place, "the datastore's writer had given up");
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        Ok(self.read(|engine| engine.image.get(key).map(|record| record.value.clone())))
    }

    async fn list(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        self.read(|engine| engine.image.list(area, page))
    }

    async fn find(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError> {
        self.read(|engine| engine.image.find(entry, page))
    }

    async fn watch(&self, area: &Area, after: Revision) -> Result<Watch, StoreError> {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        engine.watch(area, after)
    }

    async fn commit(&self, txn: Txn, _actor: &Actor) -> Result<Outcome, StoreError> {
        let txn = limits::check(self.limits(), txn)?;
        self.ask(|reply| What::Commit(txn, reply)).await
    }

    async fn keep_lease(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError> {
        lease.check()?;
        self.ask(|reply| What::KeepLease(lease.clone(), reply)).await
    }

    async fn drop_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        lease.check()?;
        self.ask(|reply| What::DropLease(lease.clone(), reply)).await
    }

    fn limits(&self) -> limits::Limits {
        limits::Limits::FILE
    }

    fn status(&self) -> Status {
        let last_error = self.health.last_error();
        Status {
            kind: "embedded",
            connected: last_error.is_none(),
            endpoint: self.place.clone(),
            last_error,
            revision: self.read(|engine| engine.image.revision()),
        }
    }
}

/// Whether the last write went well.
#[derive(Debug, Default)]
struct Health {
    failing: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Health {
    fn fail(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.failing.store(true, Ordering::Release);
    }

    fn succeed(&self) {
        if self.failing.swap(false, Ordering::AcqRel) {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
