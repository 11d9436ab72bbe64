//! The one thread that changes the embedded store.
//!
//! What is asked while a batch is being made durable is taken together into the next: one flush of
//! the disk serves all of them. Memory changes only after the disk did, so nobody reads what could
//! still be lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, mpsc},
    time::{Duration, Instant},
};

use margay_model::{Key, Txn};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Health, file::File};
use crate::{
    engine::Engine,
    error::StoreError,
    image::{Stage, Staged},
    store::{Lease, LeaseOutcome, LeaseValue, Outcome},
};

/// Requests served by one flush.
const BATCH: usize = 256;
/// How long after a failure the file is left alone before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A request to the writer, and its place in the queue, which is free once it is answered.
pub(super) struct Request {
    pub(super) what: What,
    pub(super) place: OwnedSemaphorePermit,
}

pub(super) enum What {
    Commit(Txn, Reply<Outcome>),
    KeepLease(Lease, Reply<LeaseOutcome>),
    DropLease(Lease, Reply<()>),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// An answer that is given once the batch is durable.
enum Answer {
    Commit(Outcome, Reply<Outcome>),
    KeepLease(Lease, LeaseOutcome, Reply<LeaseOutcome>),
    DropLease(Reply<()>),
}

pub(super) struct Writer {
    file: File,
    engine: Arc<RwLock<Engine>>,
    health: Arc<Health>,
    /// When the lease of a node ends.
    leases: BTreeMap<String, Instant>,
    /// Transactions whose writing failed half way, with the file out of reach since.
    limbo: Option<Vec<Staged>>,
    failed_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(file: File, engine: Arc<RwLock<Engine>>, health: Arc<Health>) -> Self {
        let now = Instant::now();
        let leases = live_leases(&engine, now);
        Self { file, engine, health, leases, limbo: None, failed_at: None }
    }

    /// Serves requests until nobody is left to ask.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            let first = match self.next_end() {
                None => match requests.recv() {
                    Ok(request) => Some(request),
                    Err(mpsc::RecvError) => return,
                },
                Some(end) => {
                    match requests.recv_timeout(end.saturating_duration_since(Instant::now())) {
                        Ok(request) => Some(request),
                        Err(mpsc::RecvTimeoutError::Timeout) => None,
                        Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    }
                }
            };
            let more = first.is_some().then(|| requests.try_iter().take(BATCH - 1));
            let batch: Vec<Request> = first.into_iter().chain(more.into_iter().flatten()).collect();
            self.serve(batch);
        }
    }

    fn serve(&mut self, batch: Vec<Request>) {
        if let Err(error) = self.recover() {
            for request in batch {
                refuse(request.what, &error);
            }
            return;
        }
        let now = Instant::now();
        let ended = self.ended(now);
        let mut places = Vec::with_capacity(batch.len());
        let (staged, answers) = {
            let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
            let mut stage = Stage::new(&engine.image);
            let mut staged = Vec::new();
            let mut answers = Vec::new();
            for node in &ended {
                staged.push(stage.write(vec![(Key::NodeLease(node.clone()), None)]));
            }
            for Request { what, place } in batch {
                let (done, answer) = prepare(&mut stage, what);
                staged.extend(done);
                answers.push(answer);
                places.push(place);
            }
            staged.retain(|staged| !staged.writes.is_empty());
            (staged, answers)
        };
        match self.persist(staged) {
            Ok(()) => {
                self.note_leases(&answers, ended, now);
                answers.into_iter().for_each(Answer::give);
            }
            Err(error) => answers.into_iter().for_each(|answer| answer.refuse(&error)),
        }
    }

    /// Writes to the file, then to memory. On an error neither has changed, or it says that it is
    /// not known.
    fn persist(&mut self, staged: Vec<Staged>) -> Result<(), StoreError> {
        let Some(last) = staged.last().map(|staged| staged.committed.revision) else {
            return Ok(());
        };
        let (before, oldest) = {
            let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
            (engine.image.revision(), engine.image.oldest())
        };
        let Err(error) = self.file.write(&staged, oldest) else {
            self.apply(staged);
            return Ok(());
        };
        tracing::warn!(err = %error, "writing the datastore failed");
        match self.file.reopen().and_then(|()| self.file.revision()) {
            Ok(found) if found == last => {
                self.apply(staged);
                Ok(())
            }
            Ok(found) if found == before => {
                self.health.fail(error.to_string());
                Err(error)
            }
            Ok(found) => {
                let cause = format!("revision {} where {} was expected", found.0, before.0);
                Err(self.lost(StoreError::Corrupt { place: self.file.place(), cause }))
            }
            Err(second) => {
                self.limbo = Some(staged);
                self.lost(second);
                let cause = error.to_string();
                Err(StoreError::Unanswered { endpoint: self.file.place(), cause })
            }
        }
    }

    /// After a failure: opens the file again and learns what became of the last batch.
    fn recover(&mut self) -> Result<(), StoreError> {
        let Some(failed_at) = self.failed_at else { return Ok(()) };
        if failed_at.elapsed() < RETRY {
            let cause = self.health.last_error().unwrap_or_default();
            return Err(StoreError::Unavailable { endpoint: self.file.place(), cause });
        }
        let found = match self.file.reopen().and_then(|()| self.file.revision()) {
            Ok(found) => found,
            Err(error) => return Err(self.lost(error)),
        };
        let before = {
            let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
            engine.image.revision()
        };
        let staged = self.limbo.take().unwrap_or_default();
        let last = staged.last().map(|staged| staged.committed.revision);
        if Some(found) == last {
            self.apply(staged);
        } else if found != before {
            let cause = format!("revision {} where {} was expected", found.0, before.0);
            self.limbo = Some(staged);
            return Err(self.lost(StoreError::Corrupt { place: self.file.place(), cause }));
        }
        self.failed_at = None;
        tracing::info!("the datastore can be written again");
        Ok(())
    }

    fn lost(&mut self, error: StoreError) -> StoreError {
        self.failed_at = Some(Instant::now());
        self.health.fail(error.to_string());
        error
    }

    fn apply(&mut self, staged: Vec<Staged>) {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        for staged in staged {
            for write in &staged.writes {
                if let (Key::NodeLease(node), None) = (&write.key, &write.record) {
                    self.leases.remove(node);
                }
            }
            engine.apply(staged);
        }
        drop(engine);
        self.health.succeed();
    }

    fn ended(&self, now: Instant) -> Vec<String> {
        let ended = self.leases.iter().filter(|(_, end)| **end <= now);
        ended.map(|(node, _)| node.clone()).collect()
    }

    fn next_end(&self) -> Option<Instant> {
        let end = self.leases.values().min().copied();
        match (end, self.failed_at) {
            // An end that could not be written is not tried in a tight loop.
            (Some(end), Some(failed_at)) => Some(end.max(failed_at + RETRY)),
            (end, _) => end,
        }
    }

    /// A lease that was kept lasts from when the batch was begun.
    fn note_leases(&mut self, answers: &[Answer], ended: Vec<String>, now: Instant) {
        for node in ended {
            self.leases.remove(&node);
        }
        for answer in answers {
            if let Answer::KeepLease(lease, LeaseOutcome::Held { .. }, _) = answer {
                let end = now + Duration::from_secs(lease.ttl_seconds());
                self.leases.insert(lease.node.clone(), end);
            }
        }
    }
}

/// Leases in memory, each lasting its whole time from now: while the store was closed nobody
/// could keep one.
fn live_leases(engine: &RwLock<Engine>, now: Instant) -> BTreeMap<String, Instant> {
    let engine = engine.read().unwrap_or_else(PoisonError::into_inner);
    engine
        .image
        .leases()
        .map(|(node, value)| {
            let ttl = serde_json::from_slice::<LeaseValue>(value).map_or(1, |v| v.ttl_seconds);
            (node.to_owned(), now + Duration::from_secs(ttl))
        })
        .collect()
}

fn prepare(stage: &mut Stage<'_>, what: What) -> (Option<Staged>, Answer) {
    match what {
        What::Commit(txn, reply) => match stage.txn(txn) {
            Ok(staged) => {
                let outcome = Outcome::Committed(staged.committed.clone());
                (Some(staged), Answer::Commit(outcome, reply))
            }
            Err(conflict) => (None, Answer::Commit(Outcome::Conflict(*conflict), reply)),
        },
        What::KeepLease(lease, reply) => {
            let (staged, outcome) = stage.keep_lease(&lease);
            (staged, Answer::KeepLease(lease, outcome, reply))
        }
        What::DropLease(lease, reply) => (stage.drop_lease(&lease), Answer::DropLease(reply)),
    }
}

fn refuse(what: What, error: &StoreError) {
    // Whoever no longer waits for an answer needs none.
    match what {
        What::Commit(_, reply) => drop(reply.send(Err(error.clone()))),
        What::KeepLease(_, reply) => drop(reply.send(Err(error.clone()))),
        What::DropLease(_, reply) => drop(reply.send(Err(error.clone()))),
    }
}

impl Answer {
    fn give(self) {
        match self {
            Self::Commit(outcome, reply) => drop(reply.send(Ok(outcome))),
            Self::KeepLease(_, outcome, reply) => drop(reply.send(Ok(outcome))),
            Self::DropLease(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn refuse(self, error: &StoreError) {
        match self {
            Self::Commit(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::KeepLease(.., reply) => drop(reply.send(Err(error.clone()))),
            Self::DropLease(reply) => drop(reply.send(Err(error.clone()))),
        }
    }
}
