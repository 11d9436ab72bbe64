//! A change of the datastore as a value: what must still hold, and what to write then.

use bytes::Bytes;

use crate::key::Key;

/// A point in the history of the datastore. Grows with each commit; 0 is before the first.
///
/// What etcd calls `mod_revision` on a key and the header revision on a list. Shown to users as
/// the decimal `resourceVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A stored value and the revision of the commit that wrote it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The octets as written: JSON for every kind of today.
    pub value: Bytes,
    /// The commit that wrote them.
    pub revision: Revision,
}

/// What a compare asks of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists, whatever its revision.
    Present,
    /// The key exists and was last written by this commit.
    At(Revision),
}

/// One condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which key is looked at.
    pub key: Key,
    /// What must hold.
    pub expect: Expect,
}

/// By what a value can be found besides its key: `owner = node1` finds the blocks of a node.
///
/// The store keeps the index in step with the value in the same commit; writing a value replaces
/// all its entries, deleting it removes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexEntry {
    /// The name of the index, for example `owner`.
    pub index: String,
    /// What the value is found under in it.
    pub value: String,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces.
    Put {
        /// Where.
        key: Key,
        /// The new octets.
        value: Bytes,
        /// By what it can be found besides its key.
        index: Vec<IndexEntry>,
    },
    /// Removes; removing what is not there is no error (compare for [`Expect::Present`]).
    Delete {
        /// What.
        key: Key,
    },
}

impl Write {
    /// The key that is written.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// All writes happen in one commit if every compare holds at that moment; otherwise none does.
///
/// A key is written at most once. The Kubernetes API can compare and write one object only, so a
/// design that must be right there keeps to transactions of one write and one compare, on the
/// same key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is then written.
    pub writes: Vec<Write>,
}

impl Txn {
    /// Writes a key that must not exist yet.
    pub fn create(key: Key, value: Bytes, index: Vec<IndexEntry>) -> Self {
        Self::one(Expect::Absent, Write::Put { key, value, index })
    }

    /// Replaces what was last written at `revision`.
    pub fn update(key: Key, revision: Revision, value: Bytes, index: Vec<IndexEntry>) -> Self {
        Self::one(Expect::At(revision), Write::Put { key, value, index })
    }

    /// Removes what was last written at `revision`.
    pub fn delete(key: Key, revision: Revision) -> Self {
        Self::one(Expect::At(revision), Write::Delete { key })
    }

    /// Both in one.
    pub fn join(&mut self, more: Self) {
        self.compares.extend(more.compares);
        self.writes.extend(more.writes);
    }

    fn one(expect: Expect, write: Write) -> Self {
        let compare = Compare { key: write.key().clone(), expect };
        Self { compares: vec![compare], writes: vec![write] }
    }
}

/// What a watch tells: the key's value since then, `None` once it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which key.
    pub key: Key,
    /// What it holds now; `None` after a delete.
    pub value: Option<Versioned>,
    /// The commit that changed it.
    pub revision: Revision,
}

/// Who asks for a commit; goes into the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The program and what it was doing: `margay-bgpd/ipam`, `margay/apply`.
    pub component: String,
    /// On which node.
    pub node: String,
    /// The user behind it where one is known: the peer credentials of the socket.
    pub user: Option<String>,
}
