//! What a transaction may be, the same for every backend: what one takes, all take.

use std::collections::BTreeSet;

use bytes::Bytes;
use margay_model::{IndexEntry, Key, Txn, Write};

use crate::{error::StoreError, octets};

/// Octets of one value. etcd takes requests of 1.5 MiB.
pub const MAX_VALUE: usize = 1024 * 1024;
/// Octets of all values of a transaction.
pub const MAX_TXN: usize = 1280 * 1024;
/// Writes, and likewise compares, of a transaction. With [`MAX_INDEX`] this keeps to the 128
/// operations that etcd takes: the value, its list of index entries, new and old entries.
pub const MAX_WRITES: usize = 16;
/// Index entries of a value.
pub const MAX_INDEX: usize = 3;
/// Octets of a key's path, or of an index entry.
pub const MAX_KEY: usize = 1024;
/// Rows of one page, whatever was asked for.
pub const MAX_PAGE: usize = 10_000;

/// How full a transaction is, for those who cut many writes into several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    writes: usize,
    octets: usize,
}

impl Room {
    /// Takes a write in, or says that another transaction has to begin with it. The first fits.
    #[must_use]
    pub fn take(&mut self, write: &Write) -> bool {
        let more = match write {
            Write::Put { value, .. } => value.len(),
            Write::Delete { .. } => 0,
        };
        let next = Self { writes: self.writes + 1, octets: self.octets + more };
        let fits = next.writes <= MAX_WRITES && next.octets <= MAX_TXN;
        let taken = fits || self.writes == 0;
        if taken {
            *self = next;
        }
        taken
    }
}

/// Checks one write by itself, as a commit would.
///
/// # Errors
/// [`StoreError::TooLarge`] and [`StoreError::Invalid`].
pub fn check_write(write: &Write) -> Result<(), StoreError> {
    check(Txn { compares: Vec::new(), writes: vec![write.clone()] }).map(drop)
}

/// Checks a transaction and brings its values into the form that is stored.
///
/// # Errors
/// [`StoreError::TooLarge`] and [`StoreError::Invalid`].
pub(crate) fn check(mut txn: Txn) -> Result<Txn, StoreError> {
    bound("compares of a transaction", txn.compares.len(), MAX_WRITES)?;
    bound("writes of a transaction", txn.writes.len(), MAX_WRITES)?;
    for compare in &txn.compares {
        bound("octets of a key", compare.key.path().len(), MAX_KEY)?;
    }
    let mut keys = BTreeSet::new();
    let mut total = 0;
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
            total += value.len();
            check_index(index)?;
            index.sort();
            index.dedup();
        }
    }
    bound("octets of a transaction", total, MAX_TXN)?;
    Ok(txn)
}

/// Rows that a page may have when `wanted` are asked for; 0 asks for as many as there may be.
pub(crate) fn page(wanted: usize) -> usize {
    if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) }
}

fn check_index(index: &[IndexEntry]) -> Result<(), StoreError> {
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
