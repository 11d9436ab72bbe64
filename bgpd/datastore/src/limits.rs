//! What a transaction may be. Values, keys and indexes are the same for every backend: what one takes,
//! all take. How much goes into one transaction a backend says itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use margay_model::{Compare, Expect, IndexEntry, Key, Txn, Write};

use crate::{error::StoreError, octets};

/// Octets of one value. etcd takes requests of 1.5 MiB.
pub const MAX_VALUE: usize = 1024 * 1024;
/// How much one transaction may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations, and likewise conditions, as etcd counts them.
    pub operations: usize,
    /// Octets of all values and paths.
    pub octets: usize,
}

impl Limits {
    /// What etcd takes where nobody raised it.
    pub const ETCD: Self = Self { operations: 128, octets: 1280 * 1024 };
    /// What is written to a file of our own: more than anybody asks for at once.
    pub const FILE: Self = Self { operations: 1 << 20, octets: 256 << 20 };
}

/// Index entries of a value.
pub const MAX_INDEX: usize = 3;
/// Octets of a key's path, or of an index entry.
pub const MAX_KEY: usize = 1024;
/// Rows of one page, whatever was asked for.
pub const MAX_PAGE: usize = 10_000;

/// How full a transaction is, for those who cut many writes into several.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    bounds: Limits,
    conditions: usize,
    operations: usize,
    octets: usize,
    /// Whether anything was taken in.
    begun: bool,
}

impl Room {
    /// What is left beside this of what a datastore takes.
    pub fn beside(bounds: Limits, other: &Txn) -> Self {
        Self::needed(bounds, other)
    }

    /// Takes in what goes together, or says that another transaction has to begin with it. The first
    /// fits.
    #[must_use]
    pub fn take(&mut self, more: &Txn) -> bool {
        let more = Self::needed(self.bounds, more);
        let next = Self {
            bounds: self.bounds,
            conditions: self.conditions + more.conditions,
            operations: self.operations + more.operations,
            octets: self.octets + more.octets,
            begun: true,
        };
        let taken = next.check().is_ok() || !self.begun;
        if taken {
            *self = next;
        }
        taken
    }

    /// What etcd would do for it: at most.
    fn needed(bounds: Limits, txn: &Txn) -> Self {
        let mut needed = Self { bounds, conditions: 0, operations: 0, octets: 0, begun: false };
        for compare in &txn.compares {
            needed.conditions += match compare.expect {
                Expect::Absent | Expect::Present => 1,
                // What was never written has a revision, too.
                Expect::At(_) => 2,
            };
            needed.octets += compare.key.path().len();
        }
        for write in &txn.writes {
            let (index, value) = match write {
                Write::Put { value, index, .. } => (index.len(), value.len()),
                Write::Delete { .. } => (0, 0),
            };
            needed.operations += 1;
            if has_index(write.key()) {
                // The list of the value's entries, the new ones and those it had.
                needed.operations += 1 + index + MAX_INDEX;
                // That the list is still the same, where no compare tells.
                let compared = |compare: &Compare| {
                    compare.key == *write.key() && compare.expect != Expect::Present
                };
                needed.conditions += usize::from(!txn.compares.iter().any(compared));
            }
            needed.octets += write.key().path().len() + value;
        }
        needed
    }

    fn check(&self) -> Result<(), StoreError> {
        let Limits { operations, octets } = self.bounds;
        bound("conditions of a transaction", self.conditions, operations)?;
        bound("operations of a transaction", self.operations, operations)?;
        bound("octets of a transaction", self.octets, octets)
    }
}

/// Checks one write by itself, as a commit would.
///
/// # Errors
/// [`StoreError::TooLarge`] and [`StoreError::Invalid`].
pub fn check_write(write: &Write) -> Result<(), StoreError> {
    check(Limits::ETCD, Txn { compares: Vec::new(), writes: vec![write.clone()] }).map(drop)
}

/// Checks a transaction and brings its values into the form that is stored.
///
/// # Errors
/// [`StoreError::TooLarge`] and [`StoreError::Invalid`].
pub(crate) fn check(bounds: Limits, mut txn: Txn) -> Result<Txn, StoreError> {
    for compare in &txn.compares {
        bound("octets of a key", compare.key.path().len(), MAX_KEY)?;
    }
    let mut keys = BTreeSet::new();
    for write in &mut txn.writes {
        if matches!(write.key(), Key::NodeLease(_)) {
            return Err(StoreError::invalid("a lease is kept and given back, not written"));
        }
        let path = write.key().path();
        bound("octets of a key", path.len(), MAX_KEY)?;
        if Key::from_path(&path).as_ref() != Ok(write.key()) {
            return Err(StoreError::invalid(format!("{path:?} names nothing that can be stored")));
        }
        if !keys.insert(path) {
            return Err(StoreError::invalid(format!("{} is written twice", write.key())));
        }
        if let Write::Put { key, value, index } = write {
            bound("octets of a value", value.len(), MAX_VALUE)?;
            *value = octets::for_store(key, value)?;
            check_index(key, index)?;
            index.sort();
            index.dedup();
        }
    }
    Room::needed(bounds, &txn).check()?;
    Ok(txn)
}

/// Rows that a page may have when `wanted` are asked for; 0 asks for as many as there may be.
pub(crate) fn page(wanted: usize) -> usize {
    if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) }
}

/// Whether values of this key may be found by something else: resources need not be.
pub(crate) fn has_index(key: &Key) -> bool {
    matches!(key, Key::Block(_))
}

fn check_index(key: &Key, index: &[IndexEntry]) -> Result<(), StoreError> {
    if !index.is_empty() && !has_index(key) {
        return Err(StoreError::invalid(format!("{key} has an index; only blocks have")));
    }
    bound("index entries of a value", index.len(), MAX_INDEX)?;
    for entry in index {
        bound("octets of an index entry", entry.value.len(), MAX_KEY)?;
        let name = &entry.index;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(StoreError::invalid(format!("{name:?} is no name of an index")));
        }
    }
    Ok(())
}

fn bound(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
}

/// Roughly what a value costs in memory beside others.
pub(crate) fn weight(path: &str, value: Option<&Bytes>) -> usize {
    path.len() + value.map_or(0, Bytes::len) + 128
}

#[cfg(test)]
mod tests;
