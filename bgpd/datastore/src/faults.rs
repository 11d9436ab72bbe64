//! What can go wrong with a datastore, on demand: for tests of those who use one.

use std::{collections::VecDeque, fmt, time::Duration};

use margay_model::{Actor, Area, IndexEntry, Key, Txn};

use crate::{error::StoreError, memory::ENDPOINT, store::Lease};

/// A request on its way.
#[derive(Debug)]
pub enum Call<'a> {
    /// [`Store::get`](crate::Store::get).
    Get(&'a Key),
    /// [`Store::list`](crate::Store::list).
    List(&'a Area),
    /// [`Store::find`](crate::Store::find).
    Find(&'a IndexEntry),
    /// [`Store::watch`](crate::Store::watch).
    Watch(&'a Area),
    /// [`Store::commit`](crate::Store::commit).
    Commit(&'a Txn, &'a Actor),
    /// [`Store::keep_lease`](crate::Store::keep_lease).
    KeepLease(&'a Lease),
    /// [`Store::drop_lease`](crate::Store::drop_lease).
    DropLease(&'a Lease),
}

impl Call<'_> {
    /// Whether it is a commit: what most tests want to hit.
    pub fn is_commit(&self) -> bool {
        matches!(self, Self::Commit(..))
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails before anything is done, and says so.
    FailBefore,
    /// It is never done, but that cannot be known: no answer comes.
    LoseRequest,
    /// It is done, but no answer comes.
    LoseAnswer,
    /// It is looked at only after this time (asynchronous requests; others do not wait).
    Delay(Duration),
}

type Applies = Box<dyn Fn(&Call<'_>) -> bool + Send>;
type Script = Box<dyn FnMut(&Call<'_>) -> Option<Fault> + Send>;

/// The faults of one store.
#[derive(Default)]
pub(crate) struct Faults {
    injected: VecDeque<(Applies, Fault)>,
    script: Option<Script>,
    away: Option<String>,
    held: bool,
    lost_changes: usize,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("injected", &self.injected.len())
            .field("script", &self.script.is_some())
            .field("away", &self.away)
            .field("held", &self.held)
            .field("lost_changes", &self.lost_changes)
            .finish()
    }
}

impl Faults {
    pub(crate) fn inject(&mut self, applies: Applies, fault: Fault) {
        self.injected.push_back((applies, fault));
    }

    pub(crate) fn set_script(&mut self, script: Option<Script>) {
        self.script = script;
    }

    pub(crate) fn set_away(&mut self, cause: Option<String>) {
        self.away = cause;
    }

    pub(crate) fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    pub(crate) fn hold_watches(&mut self, held: bool) {
        self.held = held;
    }

    pub(crate) fn holds_watches(&self) -> bool {
        self.held
    }

    pub(crate) fn lose_changes(&mut self, commits: usize) {
        self.lost_changes = commits;
    }

    pub(crate) fn take_lost_change(&mut self) -> bool {
        let lost = self.lost_changes > 0;
        self.lost_changes = self.lost_changes.saturating_sub(1);
        lost
    }

    /// The fault this request meets, if any.
    pub(crate) fn next(&mut self, call: &Call<'_>) -> Option<Fault> {
        if self.away.is_some() {
            return Some(Fault::FailBefore);
        }
        match self.injected.iter().position(|(applies, _)| applies(call)) {
            Some(at) => self.injected.remove(at).map(|(_, fault)| fault),
            None => self.script.as_mut().and_then(|script| script(call)),
        }
    }

    /// For a request that changes nothing: no answer is as good as a refusal.
    pub(crate) fn on_read(fault: Option<&Fault>) -> Result<(), StoreError> {
        match fault {
            None | Some(Fault::Delay(_)) => Ok(()),
            Some(_) => Err(unavailable()),
        }
    }

    /// What keeps a change from being made.
    pub(crate) fn before(fault: Option<&Fault>) -> Result<(), StoreError> {
        match fault {
            Some(Fault::FailBefore) => Err(unavailable()),
            Some(Fault::LoseRequest) => Err(unanswered()),
            Some(Fault::LoseAnswer | Fault::Delay(_)) | None => Ok(()),
        }
    }

    /// What keeps the answer back once it is made.
    pub(crate) fn after(fault: Option<&Fault>) -> Result<(), StoreError> {
        match fault {
            Some(Fault::LoseAnswer) => Err(unanswered()),
            _ => Ok(()),
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { endpoint: ENDPOINT.to_owned(), cause: "injected".to_owned() }
}

fn unanswered() -> StoreError {
    StoreError::Unanswered { endpoint: ENDPOINT.to_owned(), cause: "injected".to_owned() }
}
