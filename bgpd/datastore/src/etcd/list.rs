//! Lists and finds: pages of one revision.

use std::collections::HashMap;

use margay_model::{Area, IndexEntry, Key, Revision};

use super::{
    EtcdStore, commit,
    layout::{self, range},
    members::Again,
    pb::{KeyValue, RangeRequest, RangeResponse, TxnRequest},
};
use crate::{
    error::StoreError,
    limits,
    store::{Cursor, Entry, Listing, Page},
};

/// Values read in one transaction, each with its record.
const FETCH: usize = 60;

impl EtcdStore {
    pub(super) async fn list_area(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        let limit = limits::page(page.limit);
        let mut at = page.at;
        let mut entries: Vec<Entry> = Vec::new();
        let mut more = None;
        for prefix in area.path_prefixes() {
            let (mut start, end) = range(self.layout.place(&prefix));
            match page.after.as_ref().map(Cursor::as_str) {
                Some(after) if after.starts_with(&prefix) => {
                    start = behind(self.layout.place(after));
                }
                // The pages before have had it.
                Some(after) if after > prefix.as_str() => continue,
                _ => {}
            }
            let rows = limit - entries.len();
            if rows == 0 {
                more = entries.last().map(|entry| Cursor::new(entry.key.path()));
                break;
            }
            let (found, revision) = self.rows(start, end, Some(rows), at).await?;
            at = Some(revision);
            let last = found.kvs.last().and_then(|kv| self.layout.path(&kv.key));
            if found.more {
                more = last.map(Cursor::new);
            }
            entries.extend(self.entries(found.kvs, revision).await?);
            if more.is_some() {
                break;
            }
        }
        let revision = match at {
            Some(revision) => revision,
            None => self.members.revision_now().await?,
        };
        Ok(Listing { entries, revision, more })
    }

    pub(super) async fn find_entry(
        &self,
        entry: &IndexEntry,
        page: &Page,
    ) -> Result<Listing, StoreError> {
        let prefix = layout::entry_prefix(entry);
        let (mut start, end) = range(prefix.clone().into());
        if let Some(after) = &page.after {
            start = behind(format!("{prefix}{}", after.as_str()).into());
        }
        let rows = Some(limits::page(page.limit));
        let (found, revision) = self.rows(start, end, rows, page.at).await?;
        let paths: Vec<&str> = found
            .kvs
            .iter()
            .filter_map(|kv| std::str::from_utf8(&kv.key).ok()?.strip_prefix(prefix.as_str()))
            .collect();
        let mut entries = Vec::with_capacity(paths.len());
        for chunk in paths.chunks(FETCH) {
            let mut request = TxnRequest::default();
            for path in chunk {
                request.success.push(commit::range_at(self.layout.place(path), revision));
                request.success.push(commit::range_at(layout::record_key(path), revision));
            }
            let answer = self.members.txn(Again::Harmless, request).await;
            let answer = answer.map_err(|failure| failure.of_read(revision))?.value;
            let mut responses = answer.responses.into_iter();
            for path in chunk {
                let value = responses.next().and_then(commit::first_of);
                let record = responses.next().and_then(commit::first_of);
                let (Some(value), Ok(key)) = (value, Key::from_path(path)) else { continue };
                let index = self.index_of(record.as_ref())?;
                // Somebody without our care may have deleted or replaced the value.
                if index.contains(entry) {
                    entries.push(Entry { value: layout::versioned(&key, value), key, index });
                }
            }
        }
        let more = paths.last().filter(|_| found.more).map(|path| Cursor::new(*path));
        Ok(Listing { entries, revision, more })
    }

    /// Rows of a range as of a revision, the last one if none is named: so many at most, and not
    /// more than arrive in time; or all of them.
    async fn rows(
        &self,
        start: Vec<u8>,
        end: Vec<u8>,
        rows: Option<usize>,
        at: Option<Revision>,
    ) -> Result<(RangeResponse, Revision), StoreError> {
        if at == Some(Revision(0)) {
            // On the wire 0 asks for the last one.
            return Err(StoreError::Compacted { asked: Revision(0), oldest: Revision(1) });
        }
        let request = RangeRequest {
            key: start,
            range_end: end,
            limit: rows.map_or(0, |rows| i64::try_from(rows).unwrap_or(i64::MAX)),
            revision: at.map_or(0, layout::number),
            keys_only: false,
        };
        let response = match rows {
            Some(_) => self.members.page(request).await?,
            None => self.members.range(request).await?,
        };
        let now = layout::revision(response.header.map_or(0, |header| header.revision));
        Ok((response, at.unwrap_or(now)))
    }

    /// The entries of rows, with the index entries that are recorded for them.
    async fn entries(
        &self,
        rows: Vec<KeyValue>,
        revision: Revision,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut records = HashMap::new();
        let first = rows.first().and_then(|kv| self.layout.path(&kv.key));
        let last = rows.last().and_then(|kv| self.layout.path(&kv.key));
        if let (Some(first), Some(last)) = (first, last) {
            let end = behind(layout::record_key(last));
            let found = self.rows(layout::record_key(first), end, None, Some(revision)).await?;
            for kv in found.0.kvs {
                if let Some(path) = layout::recorded_path(&kv.key) {
                    records.insert(path.to_owned(), self.index_of(Some(&kv))?);
                }
            }
        }
        let mut entries = Vec::with_capacity(rows.len());
        for kv in rows {
            let path = self.layout.path(&kv.key);
            let Some(Ok(key)) = path.map(Key::from_path) else {
                // Other tools may keep kinds there that this version does not know.
                tracing::debug!(key = %String::from_utf8_lossy(&kv.key), "an unknown key is left out");
                continue;
            };
            let index = path.and_then(|path| records.remove(path)).unwrap_or_default();
            entries.push(Entry { value: layout::versioned(&key, kv), key, index });
        }
        Ok(entries)
    }

    fn index_of(&self, record: Option<&KeyValue>) -> Result<Vec<IndexEntry>, StoreError> {
        let Some(kv) = record else { return Ok(Vec::new()) };
        layout::recorded_index(&kv.value).map_err(|cause| self.corrupt(&kv.key, cause))
    }
}

/// The first key behind another.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
