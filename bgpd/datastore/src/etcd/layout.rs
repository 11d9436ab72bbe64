//! Where things lie in etcd.
//!
//! Values: the paths of [`Key`], resources behind the prefix. Beside a value with index entries lie
//! a record of them, `/margay/index/v1/keys/PATH`, and a key for each,
//! `/margay/index/v1/entries/INDEX/VALUE/PATH`, with `/` and `%` in VALUE escaped.

use bytes::Bytes;
use margay_model::{Area, IndexEntry, Key, Revision, Versioned};

use super::{octets, pb::KeyValue};
use crate::error::StoreError;

const RECORDS: &str = "/margay/index/v1/keys/";
const ENTRIES: &str = "/margay/index/v1/entries/";

#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Ends in a slash.
    prefix: String,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Result<Self, StoreError> {
        let trimmed = prefix.trim_end_matches('/');
        if !trimmed.starts_with('/') || trimmed == "/margay" || trimmed.starts_with("/margay/") {
            return Err(StoreError::invalid(format!(
                "{prefix:?} cannot be the prefix of resources: it begins with / and is not /margay"
            )));
        }
        Ok(Self { prefix: format!("{trimmed}/") })
    }

    /// The key in etcd of a path.
    pub(super) fn place(&self, path: &str) -> Vec<u8> {
        if path.starts_with('/') { path.into() } else { format!("{}{path}", self.prefix).into() }
    }

    pub(super) fn key(&self, key: &Key) -> Vec<u8> {
        self.place(&key.path())
    }

    /// The path of a key in etcd. What is not UTF-8 is no path.
    pub(super) fn path<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let text = std::str::from_utf8(key).ok()?;
        Some(text.strip_prefix(self.prefix.as_str()).unwrap_or(text))
    }

    /// The ranges of an area: first key, and first key behind it.
    pub(super) fn ranges(&self, area: &Area) -> Vec<(Vec<u8>, Vec<u8>)> {
        let prefixes = area.path_prefixes();
        prefixes.iter().map(|prefix| range(self.place(prefix))).collect()
    }
}

/// All keys that begin with `prefix`.
pub(super) fn range(prefix: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    (prefix, end)
}

/// Where the index entries of a path are recorded.
pub(super) fn record_key(path: &str) -> Vec<u8> {
    format!("{RECORDS}{path}").into()
}

/// The path that a record belongs to.
pub(super) fn recorded_path(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.strip_prefix(RECORDS)
}

/// What is recorded.
pub(super) fn record_value(index: &[IndexEntry]) -> Vec<u8> {
    let pairs: Vec<[&str; 2]> =
        index.iter().map(|entry| [entry.index.as_str(), entry.value.as_str()]).collect();
    serde_json::to_vec(&pairs).expect("texts make JSON")
}

/// Reads back what [`record_value`] wrote.
pub(super) fn recorded_index(value: &[u8]) -> Result<Vec<IndexEntry>, String> {
    let pairs: Vec<(String, String)> =
        serde_json::from_slice(value).map_err(|e| format!("no list of index entries: {e}"))?;
    Ok(pairs.into_iter().map(|(index, value)| IndexEntry { index, value }).collect())
}

/// What the keys of an index entry begin with.
pub(super) fn entry_prefix(entry: &IndexEntry) -> String {
    let value = entry.value.replace('%', "%25").replace('/', "%2F");
    format!("{ENTRIES}{}/{value}/", entry.index)
}

/// The key by which `path` is found under an entry.
pub(super) fn entry_key(entry: &IndexEntry, path: &str) -> Vec<u8> {
    format!("{}{path}", entry_prefix(entry)).into()
}

/// A value as readers want it.
pub(super) fn versioned(key: &Key, kv: KeyValue) -> Versioned {
    let revision = revision(kv.mod_revision);
    Versioned { value: octets::from_etcd(key, Bytes::from(kv.value)), revision }
}

/// A revision from the wire, where it is never negative.
pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

/// A revision for the wire. One beyond its range is as far in the future as there is.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
