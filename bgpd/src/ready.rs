//! What is in force: whoever enforces policy on this node reports it, whoever opens an endpoint
//! waits for it.
//!
//! Owns: the latest report of each subscriber, for as long as its stream lasts. Promises: a wait
//! that ends well means that every subscriber connected at that moment had reported the endpoint at
//! that generation or a later one; what a subscriber reported is forgotten with its stream; a node
//! that ever had one is not opened without one. Leaves to others what policy is, and when to wait.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use margay_model::{ResourceKey, Revision};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::durable;

/// In the state directory: policy has been enforced on this node.
const MARK: &str = "policy-enforced";
/// What stands in that file.
const MARK_TEXT: &str = "A policy dataplane has reported on this node: workloads wait for one. \
    Delete this file where none is to come back.\n";
/// Subscribers that report at a time; there is one policy dataplane a node.
const MAX_SUBSCRIBERS: usize = 16;
/// Endpoints of one subscriber: far more than a node can have.
const MAX_ENDPOINTS: usize = 65_536;

/// What is in force on this node.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was reported, or somebody came or went.
    changed: watch::Sender<()>,
    mark: PathBuf,
    /// The mark is on disk. Locked while it is being written, so on a thread that may wait only.
    marked: Mutex<bool>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By name: a program that comes again takes the place of the one it was.
    subscribers: BTreeMap<Arc<str>, Subscriber>,
    /// One was here, now or in an earlier life of the daemon.
    expected: bool,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    in_force: BTreeMap<ResourceKey, Revision>,
}

/// One that reports, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    name: Arc<str>,
    id: u64,
}

/// How a wait ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The endpoint's policy is in force.
    InForce,
    /// Nobody enforces policy on this node, nor ever did.
    NobodyExpected,
}

/// How it did not, by the deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    /// One was here, but is not connected.
    #[error("no policy dataplane is connected, and this node had one")]
    Away,
    /// These are, and have not reported it.
    #[error("not in force yet at {}", .0.join(", "))]
    Awaited(Vec<String>),
}

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Too many streams.
    #[error("{MAX_SUBSCRIBERS} subscribers report already")]
    Subscribers,
    /// Too many keys.
    #[error("more than {MAX_ENDPOINTS} endpoints")]
    Endpoints,
    /// Another stream of the same name has begun.
    #[error("another stream of the same subscriber has begun")]
    Replaced,
}

impl Ready {
    /// Nothing is in force yet. The state directory tells whether somebody enforced here before.
    pub(crate) fn new(state_dir: &Path) -> Self {
        let mark = state_dir.join(MARK);
        // A directory that cannot be looked into may hold one: closed rather than open.
        let expected = mark.try_exists().unwrap_or(true);
        let state = Mutex::new(State { expected, ..State::default() });
        let (changed, _) = watch::channel(());
        let marked = Mutex::new(expected);
        Self { shared: Arc::new(Shared { state, changed, mark, marked }) }
    }

    /// A subscriber that begins to report, with nothing in force yet. It takes the place of an
    /// earlier stream of the same name, and counts once the disk knows that there was one.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) async fn join(&self, name: &str) -> Result<Reporter, Refused> {
        self.shared.lock().expected = true;
        if let Err(error) = self.remember().await {
            // For this life of the daemon it is remembered all the same.
            warn!(path = %self.shared.mark.display(), err = %error, "cannot remember that policy is enforced here; the next subscriber tries again");
        }
        let mut state = self.shared.lock();
        let name: Arc<str> = name.into();
        if state.subscribers.len() >= MAX_SUBSCRIBERS && !state.subscribers.contains_key(&name) {
            return Err(Refused::Subscribers);
        }
        let id = state.next;
        state.next += 1;
        let subscriber = Subscriber { id, in_force: BTreeMap::new() };
        state.subscribers.insert(Arc::clone(&name), subscriber);
        drop(state);
        info!(subscriber = %name, "a subscriber reports what is in force");
        self.shared.changed.send_replace(());
        Ok(Reporter { shared: Arc::clone(&self.shared), name, id })
    }

    /// Leaves the mark for later lives of the daemon. Once begun it is done, though the caller goes
    /// away; the next one waits for that.
    async fn remember(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let write = move || {
            let mut marked = shared.marked.lock().unwrap_or_else(PoisonError::into_inner);
            if !*marked {
                durable::write(&shared.mark, MARK_TEXT)?;
                *marked = true;
            }
            Ok(())
        };
        spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Waits until everybody who enforces policy here has this endpoint in force as of
    /// `generation`, or later.
    ///
    /// # Errors
    /// Not so by the deadline: the endpoint must stay closed.
    pub(crate) async fn wait(
        &self,
        endpoint: &ResourceKey,
        generation: Revision,
        deadline: Instant,
    ) -> Result<Verdict, NotReady> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let missing = match self.standing(endpoint, generation) {
                Ok(verdict) => return Ok(verdict),
                Err(missing) => missing,
            };
            // The sender lives as long as we do.
            if !matches!(timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return Err(missing);
            }
        }
    }

    /// How it stands with an endpoint now.
    ///
    /// # Errors
    /// It is not in force, or nobody is here to say so.
    pub(crate) fn standing(
        &self,
        endpoint: &ResourceKey,
        generation: Revision,
    ) -> Result<Verdict, NotReady> {
        self.shared.lock().verdict(endpoint, generation)
    }

    /// Whether nobody is here of those who enforce policy on this node: no new endpoint can come into
    /// force.
    pub(crate) fn is_away(&self) -> bool {
        let state = self.shared.lock();
        state.expected && state.subscribers.is_empty()
    }

    /// Who reports, and how many endpoints each has in force.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, usize)> {
        let state = self.shared.lock();
        let each = state.subscribers.iter();
        each.map(|(name, subscriber)| (Arc::clone(name), subscriber.in_force.len())).collect()
    }
}

impl Reporter {
    /// The endpoint is in force as of this generation; `None`: no longer.
    ///
    /// # Errors
    /// There are too many, or this stream was replaced; nothing has changed then.
    pub(crate) fn report(
        &self,
        endpoint: ResourceKey,
        generation: Option<Revision>,
    ) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        let subscriber = state.subscribers.get_mut(&self.name);
        let subscriber = subscriber.filter(|now| now.id == self.id).ok_or(Refused::Replaced)?;
        let in_force = &mut subscriber.in_force;
        match generation {
            None => {
                in_force.remove(&endpoint);
            }
            Some(_) if in_force.len() >= MAX_ENDPOINTS && !in_force.contains_key(&endpoint) => {
                return Err(Refused::Endpoints);
            }
            Some(generation) => {
                in_force.insert(endpoint, generation);
            }
        }
        drop(state);
        self.shared.changed.send_replace(());
        Ok(())
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.subscribers.get(&self.name).is_some_and(|now| now.id == self.id) {
            state.subscribers.remove(&self.name);
            drop(state);
            info!(subscriber = %self.name, "a subscriber no longer reports what is in force");
            self.shared.changed.send_replace(());
        }
    }
}

impl State {
    fn verdict(&self, endpoint: &ResourceKey, generation: Revision) -> Result<Verdict, NotReady> {
        if self.subscribers.is_empty() {
            return if self.expected { Err(NotReady::Away) } else { Ok(Verdict::NobodyExpected) };
        }
        let behind = self.subscribers.iter().filter(|(_, subscriber)| {
            subscriber.in_force.get(endpoint).is_none_or(|known| *known < generation)
        });
        let behind: Vec<_> = behind.map(|(name, _)| name.to_string()).collect();
        if behind.is_empty() { Ok(Verdict::InForce) } else { Err(NotReady::Awaited(behind)) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
