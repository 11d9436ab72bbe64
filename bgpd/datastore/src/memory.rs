//! The datastore of tests: everything in memory, time by hand, and faults on demand.
//!
//! Each request has a synchronous twin (`commit_now`, `watch_now`, …) for simulations without a
//! runtime. Cloning gives another handle to the same store: several daemons of a simulation share
//! one. What can go wrong is in [`faults`](crate::faults).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use margay_model::{Actor, Area, IndexEntry, Key, Revision, Txn, Versioned};

use crate::{
    engine::Engine,
    error::StoreError,
    faults::{Call, Fault, Faults},
    feed::Watch,
    image::{Bounds, Image, Stage, Staged},
    limits,
    store::{Lease, LeaseOutcome, Listing, Outcome, Page, Status, Store},
};

/// A datastore in memory. Time stands still until [`MemStore::advance`].
#[derive(Clone, Debug)]
pub struct MemStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    faults: Faults,
    now: Duration,
    /// When the lease of a node ends.
    leases: BTreeMap<String, Duration>,
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_bounds(Bounds::default())
    }

    /// An empty store that remembers so many changes.
    pub fn with_history(changes: usize) -> Self {
        Self::with_bounds(Bounds { changes, ..Bounds::default() })
    }

    fn with_bounds(bounds: Bounds) -> Self {
        let inner = Inner {
            engine: Engine::new(Image::new(bounds)),
            faults: Faults::default(),
            now: Duration::ZERO,
            leases: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// As [`Store::get`].
    ///
    /// # Errors
    /// What was injected.
    pub fn get_now(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        let fault = self.fault(&Call::Get(key));
        self.do_get(key, fault.as_ref())
    }

    /// As [`Store::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list_now(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        let fault = self.fault(&Call::List(area));
        self.do_list(area, page, fault.as_ref())
    }

    /// As [`Store::find`].
    ///
    /// # Errors
    /// As there.
    pub fn find_now(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError> {
        let fault = self.fault(&Call::Find(entry));
        self.do_find(entry, page, fault.as_ref())
    }

    /// As [`Store::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch_now(&self, area: &Area, after: Revision) -> Result<Watch, StoreError> {
        let fault = self.fault(&Call::Watch(area));
        self.do_watch(area, after, fault.as_ref())
    }

    /// As [`Store::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit_now(&self, txn: Txn, actor: &Actor) -> Result<Outcome, StoreError> {
        let fault = self.fault(&Call::Commit(&txn, actor));
        self.do_commit(txn, fault.as_ref())
    }

    /// As [`Store::keep_lease`].
    ///
    /// # Errors
    /// As there.
    pub fn keep_lease_now(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError> {
        let fault = self.fault(&Call::KeepLease(lease));
        self.do_keep_lease(lease, fault.as_ref())
    }

    /// As [`Store::drop_lease`].
    ///
    /// # Errors
    /// As there.
    pub fn drop_lease_now(&self, lease: &Lease) -> Result<(), StoreError> {
        let fault = self.fault(&Call::DropLease(lease));
        self.do_drop_lease(lease, fault.as_ref())
    }

    /// Lets time pass; leases that were not kept end.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.now += by;
        let now = inner.now;
        let ended: Vec<String> = inner
            .leases
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(node, _)| node.clone())
            .collect();
        for node in ended {
            inner.leases.remove(&node);
            inner.delete(Key::NodeLease(node));
        }
    }

    /// Forgets the history up to `revision`, as etcd does on compaction.
    pub fn compact(&self, revision: Revision) {
        self.lock().engine.image.compact(revision);
    }

    /// The last revision.
    pub fn revision(&self) -> Revision {
        self.lock().engine.image.revision()
    }

    /// The next request for which `applies` holds meets `fault`. Several wait in order.
    pub fn inject(&self, applies: impl Fn(&Call<'_>) -> bool + Send + 'static, fault: Fault) {
        self.lock().faults.inject(Box::new(applies), fault);
    }

    /// Asks `script` about every request that meets no injected fault.
    pub fn set_script(&self, script: impl FnMut(&Call<'_>) -> Option<Fault> + Send + 'static) {
        self.lock().faults.set_script(Some(Box::new(script)));
    }

    /// Takes the script away again.
    pub fn clear_script(&self) {
        self.lock().faults.set_script(None);
    }

    /// While a cause is given nothing is answered. Watches stay, silent.
    pub fn set_away(&self, cause: Option<&str>) {
        self.lock().faults.set_away(cause.map(str::to_owned));
    }

    /// Keeps changes from watchers: they come late, all at once, when this is taken back.
    pub fn hold_watches(&self, held: bool) {
        let mut inner = self.lock();
        inner.faults.hold_watches(held);
        inner.engine.feeds().for_each(|feed| feed.hold(held));
    }

    /// Ends every watch with this error.
    pub fn break_watches(&self, error: &StoreError) {
        self.lock().engine.feeds().for_each(|feed| feed.fail(error.clone()));
    }

    /// The watchers are never told of the next `commits` commits. No real store does that; a cache
    /// between may.
    pub fn lose_changes(&self, commits: usize) {
        self.lock().faults.lose_changes(commits);
    }

    fn fault(&self, call: &Call<'_>) -> Option<Fault> {
        self.lock().faults.next(call)
    }

    /// The fault a request meets that can wait, once it has waited.
    async fn meet(&self, call: Call<'_>) -> Option<Fault> {
        let fault = self.fault(&call);
        if let Some(Fault::Delay(delay)) = fault {
            tokio::time::sleep(delay).await;
        }
        fault
    }

    fn do_get(&self, key: &Key, fault: Option<&Fault>) -> Result<Option<Versioned>, StoreError> {
        Faults::on_read(fault)?;
        Ok(self.lock().engine.image.get(key).map(|record| record.value.clone()))
    }

    fn do_list(
        &self,
        area: &Area,
        page: &Page,
        fault: Option<&Fault>,
    ) -> Result<Listing, StoreError> {
        Faults::on_read(fault)?;
        self.lock().engine.image.list(area, page)
    }

    fn do_find(
        &self,
        entry: &IndexEntry,
        page: &Page,
        fault: Option<&Fault>,
    ) -> Result<Listing, StoreError> {
        Faults::on_read(fault)?;
        self.lock().engine.image.find(entry, page)
    }

    fn do_watch(
        &self,
        area: &Area,
        after: Revision,
        fault: Option<&Fault>,
    ) -> Result<Watch, StoreError> {
        Faults::on_read(fault)?;
        let mut inner = self.lock();
        let watch = inner.engine.watch(area, after)?;
        if inner.faults.holds_watches() {
            inner.engine.feeds().for_each(|feed| feed.hold(true));
        }
        Ok(watch)
    }

    fn do_commit(&self, txn: Txn, fault: Option<&Fault>) -> Result<Outcome, StoreError> {
        let txn = limits::check(self.limits(), txn)?;
        Faults::before(fault)?;
        let outcome = self.lock().commit(txn);
        Faults::after(fault)?;
        Ok(outcome)
    }

    fn do_keep_lease(
        &self,
        lease: &Lease,
        fault: Option<&Fault>,
    ) -> Result<LeaseOutcome, StoreError> {
        lease.check()?;
        Faults::before(fault)?;
        let outcome = self.lock().keep_lease(lease);
        Faults::after(fault)?;
        Ok(outcome)
    }

    fn do_drop_lease(&self, lease: &Lease, fault: Option<&Fault>) -> Result<(), StoreError> {
        lease.check()?;
        Faults::before(fault)?;
        self.lock().drop_lease(lease);
        Faults::after(fault)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked has said so already.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn commit(&mut self, txn: Txn) -> Outcome {
        match Stage::new(&self.engine.image).txn(txn) {
            Ok(staged) => {
                let committed = staged.committed.clone();
                self.apply(staged);
                Outcome::Committed(committed)
            }
            Err(conflict) => Outcome::Conflict(*conflict),
        }
    }

    fn apply(&mut self, staged: Staged) {
        if self.faults.take_lost_change() {
            self.engine.apply_untold(staged);
        } else {
            self.engine.apply(staged);
        }
    }

    fn keep_lease(&mut self, lease: &Lease) -> LeaseOutcome {
        let (staged, outcome) = Stage::new(&self.engine.image).keep_lease(lease);
        if let Some(staged) = staged {
            self.apply(staged);
        }
        if let LeaseOutcome::Held { .. } = outcome {
            let end = self.now + Duration::from_secs(lease.ttl_seconds());
            self.leases.insert(lease.node.clone(), end);
        }
        outcome
    }

    fn drop_lease(&mut self, lease: &Lease) {
        let staged = Stage::new(&self.engine.image).drop_lease(lease);
        if let Some(staged) = staged {
            self.leases.remove(&lease.node);
            self.apply(staged);
        }
    }

    fn delete(&mut self, key: Key) {
        let staged = Stage::new(&self.engine.image).write(vec![(key, None)]);
        self.apply(staged);
    }
}

#[async_trait]
impl Store for MemStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        let fault = self.meet(Call::Get(key)).await;
        self.do_get(key, fault.as_ref())
    }

    async fn list(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        let fault = self.meet(Call::List(area)).await;
        self.do_list(area, page, fault.as_ref())
    }

    async fn find(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError> {
        let fault = self.meet(Call::Find(entry)).await;
        self.do_find(entry, page, fault.as_ref())
    }

    async fn watch(&self, area: &Area, after: Revision) -> Result<Watch, StoreError> {
        let fault = self.meet(Call::Watch(area)).await;
        self.do_watch(area, after, fault.as_ref())
    }

    async fn commit(&self, txn: Txn, actor: &Actor) -> Result<Outcome, StoreError> {
        let fault = self.meet(Call::Commit(&txn, actor)).await;
        self.do_commit(txn, fault.as_ref())
    }

    async fn keep_lease(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError> {
        let fault = self.meet(Call::KeepLease(lease)).await;
        self.do_keep_lease(lease, fault.as_ref())
    }

    async fn drop_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let fault = self.meet(Call::DropLease(lease)).await;
        self.do_drop_lease(lease, fault.as_ref())
    }

    /// Those of etcd, so that tests meet what it would refuse.
    fn limits(&self) -> limits::Limits {
        limits::Limits::ETCD
    }

    fn status(&self) -> Status {
        let inner = self.lock();
        let away = inner.faults.away().map(str::to_owned);
        Status {
            kind: "memory",
            connected: away.is_none(),
            endpoint: ENDPOINT.to_owned(),
            last_error: away,
            revision: inner.engine.image.revision(),
        }
    }
}

/// What stands for the address in errors and status.
pub(crate) const ENDPOINT: &str = "memory";

#[cfg(test)]
mod tests;
