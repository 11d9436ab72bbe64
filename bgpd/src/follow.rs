//! A part of the datastore, followed for as long as the daemon runs.
//!
//! Owns: what every [`Source`] of changes does; one of them, [`Follow`]: the list of the datastore
//! itself, the watch from there, and what to do when either ends. The other is
//! [`Heard`](crate::upstream::Heard). Promises that whoever
//! reads misses nothing: after a watch that cannot be continued (history lost, a store that fails)
//! everything is listed again; that a list under way is not given up for a [`Doubt`], however many
//! come; that a store which is away is asked again after pauses that grow, and soon once it has
//! answered; that its failure is logged once. Leaves to the store how a watch
//! lives through the loss of a member, to its readers what they do with the news.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use margay_datastore::{Batch, Entry, Pulse, Store, StoreError, Watch, list_all};
use margay_model::{Area, Revision};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tonic::async_trait;
use tracing::warn;

/// Pause after the datastore failed, doubled up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Between the end of a list and another that is made for a doubt.
const DOUBT: Duration = Duration::from_secs(5);

/// What became of the area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// All that there is as of a commit: what is not among it is gone.
    Listed(Vec<Entry>, Revision),
    /// What changed since.
    Changed(Batch),
}

/// The watch has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended;

/// Where news of an area come from.
#[async_trait]
pub(crate) trait Source: fmt::Debug + Send {
    /// The next news, the first of all a list; waits for them however long it takes, and has the
    /// datastore list everything if there is a doubt by then. Given up, the next call may tell of
    /// everything again, but nothing is missed.
    async fn next(&mut self, doubt: &Doubt) -> Told;

    /// Changes that wait already.
    ///
    /// # Errors
    /// When a list comes next: of what came since the last one some may be missing that is older than
    /// the rest.
    fn waiting(&mut self) -> Result<Option<Batch>, Ended>;
}

/// Somebody knows of a later commit than a source has told of, and only a list tells whether it
/// changed anything here. Who lists has done so to the end before the next one is looked into, and has
/// had time to tell what changes.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    raised: Notify,
    /// When one was looked into, or a list ended after that.
    looked: Mutex<Option<Instant>>,
}

impl Doubt {
    /// There is one.
    pub(crate) fn raise(&self) {
        self.raised.notify_one();
    }

    /// Waits until there is one, and it is time. Then it is none any more.
    pub(crate) async fn is_due(&self) {
        let looked = *self.lock();
        if let Some(looked) = looked {
            sleep_until(looked + DOUBT).await;
        }
        self.raised.notified().await;
        *self.lock() = Some(Instant::now());
    }

    /// A list has ended.
    pub(crate) fn listed(&self) {
        if let Some(looked) = self.lock().as_mut() {
            *looked = Instant::now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When all that a [`Follow`] has told was certainly so.
#[derive(Debug, Clone, Default)]
pub(crate) struct AsOf(Arc<Mutex<Current>>);

#[derive(Debug, Default)]
struct Current {
    /// By lists, and by watches that have ended.
    at: Option<Instant>,
    watch: Option<Pulse>,
}

impl AsOf {
    /// The last such moment; `None` before the first list.
    pub(crate) fn get(&self) -> Option<Instant> {
        self.lock().get()
    }

    fn listed(&self, at: Instant) {
        let mut current = self.lock();
        current.at = current.at.max(Some(at));
    }

    fn watched(&self, watch: &Watch) {
        self.lock().watch = Some(watch.pulse());
    }

    fn ended(&self) {
        let mut current = self.lock();
        *current = Current { at: current.get(), watch: None };
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn get(&self) -> Option<Instant> {
        self.at.max(self.watch.as_ref().and_then(Pulse::as_of))
    }
}

/// The datastore itself, by a watch.
#[derive(Debug)]
pub(crate) struct Follow {
    store: Arc<dyn Store>,
    area: Area,
    at: At,
    pause: Duration,
    /// It was logged that the store is away.
    warned: bool,
    as_of: AsOf,
}

/// How far it has come.
#[derive(Debug)]
enum At {
    /// Nothing is known, or not any more: to be listed.
    Start,
    /// Listed as of a commit: to be watched from there.
    Listed(Revision),
    /// Watched.
    Watching(Watch),
    /// It went wrong.
    Broken(StoreError),
}

impl Follow {
    /// Follows `area`, beginning with a list.
    pub(crate) fn new(store: Arc<dyn Store>, area: Area) -> Self {
        Self { store, area, at: At::Start, pause: PAUSE, warned: false, as_of: AsOf::default() }
    }

    /// How current it is, also while it is waited for.
    pub(crate) fn as_of(&self) -> AsOf {
        self.as_of.clone()
    }

    async fn step(&mut self, doubt: &Doubt) -> Result<Option<Told>, StoreError> {
        match std::mem::replace(&mut self.at, At::Start) {
            At::Start => {
                self.as_of.ended();
                let asked = Instant::now();
                let (entries, revision) = list_all(self.store.as_ref(), &self.area).await?;
                doubt.listed();
                self.at = At::Listed(revision);
                self.as_of.listed(asked);
                Ok(Some(Told::Listed(entries, revision)))
            }
            At::Listed(revision) => {
                let watch = self.store.watch(&self.area, revision).await?;
                self.as_of.watched(&watch);
                self.at = At::Watching(watch);
                (self.pause, self.warned) = (PAUSE, false);
                Ok(None)
            }
            At::Watching(mut watch) => {
                let batch = tokio::select! {
                    batch = watch.next() => batch?,
                    () = doubt.is_due() => return Ok(None),
                };
                self.at = At::Watching(watch);
                Ok(Some(Told::Changed(batch)))
            }
            At::Broken(error) => Err(error),
        }
    }

    /// Before it is tried again from the start.
    async fn rest(&mut self, error: &StoreError) {
        // History that was lost is repaired by the next list.
        if matches!(error, StoreError::Compacted { .. }) {
            return;
        }
        if !self.warned {
            let area = &self.area;
            warn!(?area, err = %error, "the datastore does not answer; going on with what is known");
            self.warned = true;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}

#[async_trait]
impl Source for Follow {
    async fn next(&mut self, doubt: &Doubt) -> Told {
        loop {
            match self.step(doubt).await {
                Ok(Some(told)) => return told,
                Ok(None) => {}
                Err(error) => self.rest(&error).await,
            }
        }
    }

    fn waiting(&mut self) -> Result<Option<Batch>, Ended> {
        let At::Watching(watch) = &mut self.at else { return Ok(None) };
        match watch.try_next() {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => {
                self.at = At::Broken(error);
                Err(Ended)
            }
        }
    }
}

#[cfg(test)]
mod tests;
