//! A store with somebody looking: counts, times, and the audit log.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use margay_model::{Actor, Area, IndexEntry, Key, Revision, Txn, Versioned};

use crate::{
    audit::{AuditLog, Line},
    error::StoreError,
    feed::Watch,
    store::{Lease, LeaseOutcome, Listing, Outcome, Page, Status, Store},
};

/// A store whose requests are counted and, if there is a log, written down.
#[derive(Clone, Debug)]
pub struct ObservedStore {
    inner: Arc<dyn Store>,
    counters: Arc<Counters>,
    audit: Option<Arc<Mutex<AuditLog>>>,
}

/// What was asked of a store since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Gets.
    pub get: Counter,
    /// Pages of lists.
    pub list: Counter,
    /// Pages of what was found by an index.
    pub find: Counter,
    /// Watches begun.
    pub watch: Counter,
    /// Commits, those included that lost a compare.
    pub commit: Counter,
    /// Leases kept and given back.
    pub lease: Counter,
    /// Commits that lost a compare.
    pub conflicts: AtomicU64,
    /// Lines that the audit log could not take.
    pub audit_failures: AtomicU64,
}

/// One kind of request.
#[derive(Debug, Default)]
pub struct Counter {
    requests: AtomicU64,
    failures: AtomicU64,
    micros: AtomicU64,
}

impl Counter {
    /// How many were answered, with success or not.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// How long all of them took together, in microseconds.
    pub fn micros(&self) -> u64 {
        self.micros.load(Relaxed)
    }

    async fn time<T>(
        &self,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let result = request.await;
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.failures.fetch_add(u64::from(result.is_err()), Relaxed);
        result
    }
}

impl Counters {
    /// Every kind of request with its name, for an exposition.
    pub fn each(&self) -> [(&'static str, &Counter); 6] {
        [
            ("get", &self.get),
            ("list", &self.list),
            ("find", &self.find),
            ("watch", &self.watch),
            ("commit", &self.commit),
            ("lease", &self.lease),
        ]
    }
}

impl ObservedStore {
    /// Looks at everything that goes to `inner`.
    pub fn new(inner: Arc<dyn Store>, audit: Option<AuditLog>) -> Self {
        let audit = audit.map(|log| Arc::new(Mutex::new(log)));
        Self { inner, counters: Arc::default(), audit }
    }

    /// What was counted.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Writes a line before the answer is given on. If that fails the commit stands, and it is said.
    async fn note(&self, mut line: Line) {
        let Some(log) = self.audit.clone() else { return };
        line.time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let written = tokio::task::spawn_blocking(move || {
            log.lock().unwrap_or_else(PoisonError::into_inner).write(&line)
        });
        let failure = match written.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.counters.audit_failures.fetch_add(1, Relaxed);
        tracing::error!(err = %failure, "a change is missing in the audit log");
    }

    /// Commits, and writes it down.
    async fn commit_noted(&self, txn: Txn, actor: &Actor) -> Result<Outcome, StoreError> {
        let writes = !txn.writes.is_empty();
        let line = (writes && self.audit.is_some()).then(|| Line::of(&txn, actor));
        let result = self.counters.commit.time(self.inner.commit(txn, actor)).await;
        match (&result, line) {
            (Ok(Outcome::Committed(committed)), Some(mut line)) => {
                line.committed(committed.revision, &committed.replaced);
                self.note(line).await;
            }
            (Ok(Outcome::Conflict(_)), _) => {
                self.counters.conflicts.fetch_add(1, Relaxed);
            }
            (Err(error), Some(line)) if error.is_outcome_unknown() => self.note(line).await,
            _ => {}
        }
        result
    }
}

#[async_trait]
impl Store for ObservedStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.counters.get.time(self.inner.get(key)).await
    }

    async fn list(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        self.counters.list.time(self.inner.list(area, page)).await
    }

    async fn find(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError> {
        self.counters.find.time(self.inner.find(entry, page)).await
    }

    async fn watch(&self, area: &Area, after: Revision) -> Result<Watch, StoreError> {
        self.counters.watch.time(self.inner.watch(area, after)).await
    }

    /// Once begun it is ended and written down, though the caller goes away.
    async fn commit(&self, txn: Txn, actor: &Actor) -> Result<Outcome, StoreError> {
        let (own, actor) = (self.clone(), actor.clone());
        let task = tokio::spawn(async move { own.commit_noted(txn, &actor).await });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => {
                    let endpoint = self.status().endpoint;
                    Err(StoreError::Unanswered { endpoint, cause: error.to_string() })
                }
            },
        }
    }

    async fn keep_lease(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError> {
        self.counters.lease.time(self.inner.keep_lease(lease)).await
    }

    async fn drop_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.counters.lease.time(self.inner.drop_lease(lease)).await
    }

    fn limits(&self) -> crate::limits::Limits {
        self.inner.limits()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }
}

#[cfg(test)]
mod tests;
