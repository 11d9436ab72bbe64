//! What every datastore does: the trait and the values that go through it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use margay_model::{Actor, Area, Compare, IndexEntry, Key, Revision, Txn, Versioned};
use serde::{Deserialize, Serialize};

use crate::{error::StoreError, feed::Watch, limits::Limits};

/// A place where values are kept under keys, with one history for all of them.
///
/// Every method may be called from many tasks at once. A future that is dropped before it is done
/// leaves a read without effect and a commit in the state of [`StoreError::Unanswered`].
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The value of a key as of the last commit.
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError>;

    /// One page of the values in `area`, in the order of [`Key::path`].
    async fn list(&self, area: &Area, page: &Page) -> Result<Listing, StoreError>;

    /// One page of the values that were written with this index entry.
    async fn find(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError>;

    /// Every change of `area` after the commit `after`, for as long as the [`Watch`] is kept.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when history does not reach back that far: list, then watch from
    /// the revision of the listing.
    async fn watch(&self, area: &Area, after: Revision) -> Result<Watch, StoreError>;

    /// Makes all writes of `txn` if every compare holds, else none.
    async fn commit(&self, txn: Txn, actor: &Actor) -> Result<Outcome, StoreError>;

    /// Takes the lease of a node, or keeps the one this holder has. Without being kept it ends
    /// `ttl` after the last call, and its key is deleted by the datastore.
    async fn keep_lease(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError>;

    /// Gives a lease back; one that somebody else holds, or nobody, is left alone.
    async fn drop_lease(&self, lease: &Lease) -> Result<(), StoreError>;

    /// How much one transaction may be.
    fn limits(&self) -> Limits;

    /// How it is, without asking anybody.
    fn status(&self) -> Status;
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// As of which commit; `None` is the last. Later pages name the revision of the first.
    pub at: Option<Revision>,
    /// Where the page before ended ([`Listing::more`]).
    pub after: Option<Cursor>,
    /// At most so many rows; 0 asks for as many as the datastore gives at once.
    pub limit: usize,
}

/// A place in a list. Opaque, and good with the revision of its listing only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor that was written down with [`Cursor::as_str`].
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its rows.
    pub entries: Vec<Entry>,
    /// The commit as of which they are. Watching from here misses nothing.
    pub revision: Revision,
    /// Where the next page begins; `None` after the last.
    pub more: Option<Cursor>,
}

/// One row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called.
    pub key: Key,
    /// What it holds.
    pub value: Versioned,
    /// By what it can be found, sorted.
    pub index: Vec<IndexEntry>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every write was made.
    Committed(Committed),
    /// A compare did not hold; nothing was written.
    Conflict(Conflict),
}

/// A transaction that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision of what it wrote. Without any effect: the last revision there was.
    pub revision: Revision,
    /// For each write, in order, the revision of what it replaced; `None` where there was nothing.
    pub replaced: Vec<Option<Revision>>,
}

/// A transaction that was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The first compare that did not hold.
    pub compare: Compare,
    /// What its key holds instead; `None` when it does not exist.
    pub current: Option<Versioned>,
}

impl Outcome {
    /// The commit, if it was made.
    pub fn committed(self) -> Option<Committed> {
        match self {
            Self::Committed(committed) => Some(committed),
            Self::Conflict(_) => None,
        }
    }

    /// The conflict, if there was one.
    pub fn conflict(self) -> Option<Conflict> {
        match self {
            Self::Committed(_) => None,
            Self::Conflict(conflict) => Some(conflict),
        }
    }
}

/// The claim of one running daemon to be a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The name of the node.
    pub node: String,
    /// Who holds it: the instance id of the daemon. Two daemons with one node name differ in it.
    pub holder: String,
    /// How long it lasts without being kept. Whole seconds, at least one.
    pub ttl: Duration,
}

/// What is stored under the key of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseValue {
    /// [`Lease::holder`].
    pub holder: String,
    /// [`Lease::ttl`].
    pub ttl_seconds: u64,
}

impl Lease {
    /// The key it is kept under.
    pub fn key(&self) -> Key {
        Key::NodeLease(self.node.clone())
    }

    /// What is stored under it.
    pub fn value(&self) -> Bytes {
        let value = LeaseValue { holder: self.holder.clone(), ttl_seconds: self.ttl_seconds() };
        Bytes::from(serde_json::to_vec(&value).expect("a string and a number make JSON"))
    }

    /// The whole seconds it lasts, at least one.
    pub fn ttl_seconds(&self) -> u64 {
        self.ttl.as_secs().max(1)
    }

    /// Whether these octets were written by the same holder.
    pub fn is_held_by(&self, value: &[u8]) -> bool {
        serde_json::from_slice::<LeaseValue>(value).is_ok_and(|value| value.holder == self.holder)
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let node = &self.node;
        if node.is_empty() || node.contains('/') || node.len() > 253 || self.holder.is_empty() {
            return Err(StoreError::invalid(format!("{node:?} is no name of a node")));
        }
        Ok(())
    }
}

/// What became of the wish to hold a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It is held, for another `ttl` from now.
    Held {
        /// The revision of the lease's key: the same for as long as it is kept, so a transaction
        /// that compares it is refused once the lease was lost.
        revision: Revision,
    },
    /// Another holder has it.
    Taken {
        /// Their lease.
        current: Versioned,
    },
}

/// How a datastore is, as `margay status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `memory`, `embedded` or `etcd`.
    pub kind: &'static str,
    /// Whether the last thing asked of it was answered.
    pub connected: bool,
    /// The file, or the address last asked.
    pub endpoint: String,
    /// Why it is not connected.
    pub last_error: Option<String>,
    /// The last revision seen.
    pub revision: Revision,
}

/// Every entry of an area as of one commit, page by page.
///
/// # Errors
/// As [`Store::list`]; when history moves on between the pages it begins again, a few times.
pub async fn list_all(
    store: &dyn Store,
    area: &Area,
) -> Result<(Vec<Entry>, Revision), StoreError> {
    let mut tries = 0;
    loop {
        match list_once(store, area).await {
            Err(StoreError::Compacted { .. }) if tries < 3 => tries += 1,
            other => return other,
        }
    }
}

async fn list_once(store: &dyn Store, area: &Area) -> Result<(Vec<Entry>, Revision), StoreError> {
    let mut page = Page::default();
    let mut all = Vec::new();
    loop {
        let listing = store.list(area, &page).await?;
        all.extend(listing.entries);
        match listing.more {
            Some(cursor) => {
                page = Page { at: Some(listing.revision), after: Some(cursor), limit: 0 };
            }
            None => return Ok((all, listing.revision)),
        }
    }
}
