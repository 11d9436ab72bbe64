//! Everything out of a datastore, and into one: backups, and moves between backends.
//!
//! The form is JSON lines: a head, one line for each value in the order of keys, an end with their
//! number. Values that are JSON stand as such, others as base64. Leases are not taken along: they
//! say who lives now. Revisions are the datastore's own and begin anew.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write as _},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use margay_model::{Actor, Area, IndexEntry, Key, Txn, Write};
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreError,
    limits,
    store::{Entry, Outcome, Store, list_all},
};

/// Why values could not be brought out or in.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The datastore did not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be read or written.
    #[error("the file: {0}")]
    File(#[from] io::Error),
    /// The file is not what [`export`] writes. Nothing was changed.
    #[error("line {line}: {cause}")]
    Form {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// The datastore holds values already, and was to be empty. Nothing was changed.
    #[error("the datastore is not empty: it holds {0}")]
    NotEmpty(Key),
    /// Somebody else wrote to the datastore meanwhile.
    #[error("{0} was written by somebody else meanwhile")]
    Interfered(Key),
}

/// What becomes of values that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// There must not be any.
    Refuse,
    /// They are replaced, and what the backup does not hold is deleted.
    Replace,
}

/// One value of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: Key,
    value: Bytes,
    index: Vec<IndexEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    /// As of which revision, for the reader only.
    revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct RowForm {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    octets: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    index: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    entries: usize,
}

const FORMAT: &str = "margay-datastore";
const VERSION: u32 = 1;

/// Writes everything, as of one revision, and returns how many values there were.
///
/// # Errors
/// When the datastore cannot be read or the file not written.
pub async fn export(store: &dyn Store, to: &mut dyn io::Write) -> Result<usize, TransferError> {
    let (entries, revision) = list_all(store, &Area::All).await?;
    let rows = rows(entries);
    let mut to = io::BufWriter::new(to);
    let head = Head { format: FORMAT.into(), version: VERSION, revision: revision.0 };
    line(&mut to, &head)?;
    for row in &rows {
        line(&mut to, &form(row))?;
    }
    line(&mut to, &End { entries: rows.len() })?;
    to.flush()?;
    Ok(rows.len())
}

/// Reads what [`export`] wrote, whole, and then writes it to the datastore; returns how many
/// values there are. Broken off in the middle it can be done again with [`Existing::Replace`].
///
/// # Errors
/// A file that is not whole or not right changes nothing.
pub async fn import(
    store: &dyn Store,
    from: &mut dyn BufRead,
    existing: Existing,
    actor: &Actor,
) -> Result<usize, TransferError> {
    let rows = read(from)?;
    fill(store, rows, existing, actor).await
}

/// Copies everything from one datastore to another, which must be empty, and compares.
///
/// # Errors
/// [`TransferError::Interfered`] when the copy is not the same in the end.
pub async fn migrate(
    from: &dyn Store,
    to: &dyn Store,
    actor: &Actor,
) -> Result<usize, TransferError> {
    let wanted = rows(list_all(from, &Area::All).await?.0);
    let count = fill(to, wanted.clone(), Existing::Refuse, actor).await?;
    let found = rows(list_all(to, &Area::All).await?.0);
    match wanted.iter().zip(&found).find(|(wanted, found)| wanted != found) {
        Some((wanted, _)) => Err(TransferError::Interfered(wanted.key.clone())),
        None => match wanted.get(found.len()).or(found.get(wanted.len())) {
            Some(odd) => Err(TransferError::Interfered(odd.key.clone())),
            None => Ok(count),
        },
    }
}

async fn fill(
    store: &dyn Store,
    rows: Vec<Row>,
    existing: Existing,
    actor: &Actor,
) -> Result<usize, TransferError> {
    let present = self::rows(list_all(store, &Area::All).await?.0);
    if let (Existing::Refuse, Some(first)) = (existing, present.first()) {
        return Err(TransferError::NotEmpty(first.key.clone()));
    }
    let count = rows.len();
    let mut present: BTreeMap<String, Row> =
        present.into_iter().map(|row| (row.key.path(), row)).collect();
    let mut writes = Vec::new();
    for row in rows {
        // What is there as it should be is not touched.
        if present.remove(&row.key.path()).as_ref() != Some(&row) {
            writes.push(Write::Put { key: row.key, value: row.value, index: row.index });
        }
    }
    writes.extend(present.into_values().map(|row| Write::Delete { key: row.key }));
    let mut batch = Txn::default();
    let mut octets = 0;
    for write in writes {
        let more = match &write {
            Write::Put { value, .. } => value.len(),
            Write::Delete { .. } => 0,
        };
        if batch.writes.len() >= limits::MAX_WRITES || octets + more > limits::MAX_TXN {
            flush(store, std::mem::take(&mut batch), actor).await?;
            octets = 0;
        }
        octets += more;
        batch.writes.push(write);
    }
    flush(store, batch, actor).await?;
    Ok(count)
}

async fn flush(store: &dyn Store, batch: Txn, actor: &Actor) -> Result<(), TransferError> {
    match store.commit(batch, actor).await? {
        Outcome::Committed(_) => Ok(()),
        Outcome::Conflict(conflict) => Err(TransferError::Interfered(conflict.compare.key)),
    }
}

fn rows(entries: Vec<Entry>) -> Vec<Row> {
    entries
        .into_iter()
        .filter(|entry| !matches!(entry.key, Key::NodeLease(_)))
        .map(|entry| Row { key: entry.key, value: entry.value.value, index: entry.index })
        .collect()
}

fn line(to: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.write_all(b"\n")
}

fn form(row: &Row) -> RowForm {
    // As JSON only if reading it gives these very octets.
    let value = serde_json::from_slice::<serde_json::Value>(&row.value)
        .ok()
        .filter(|value| !value.is_null() && value.to_string().as_bytes() == row.value.as_ref());
    let octets = value.is_none().then(|| BASE64_STANDARD.encode(&row.value));
    let index = row.index.iter().map(|entry| (entry.index.clone(), entry.value.clone())).collect();
    RowForm { key: row.key.path(), value, octets, index }
}

fn read(from: &mut dyn BufRead) -> Result<Vec<Row>, TransferError> {
    let mut lines = (1..).zip(from.lines());
    let wrong = |line: usize, cause: String| TransferError::Form { line, cause };
    let (_, first) = lines.next().ok_or_else(|| wrong(1, "the file is empty".into()))?;
    let head: Head = serde_json::from_str(&first?)
        .map_err(|e| wrong(1, format!("this is no export of a datastore: {e}")))?;
    if head.format != FORMAT || head.version != VERSION {
        let cause = format!("{} {} is not known to this version", head.format, head.version);
        return Err(wrong(1, cause));
    }
    let mut rows = BTreeMap::new();
    for (number, text) in lines {
        let text = text?;
        if let Ok(End { entries }) = serde_json::from_str(&text) {
            if entries == rows.len() {
                return Ok(rows.into_values().collect());
            }
            let cause = format!("{} values before an end that says {entries}", rows.len());
            return Err(wrong(number, cause));
        }
        let row = parse(&text).map_err(|cause| wrong(number, cause))?;
        let path = row.key.path();
        if rows.insert(path.clone(), row).is_some() {
            return Err(wrong(number, format!("{path} comes twice")));
        }
    }
    Err(wrong(rows.len() + 2, "the file ends without its last line: it was cut".into()))
}

fn parse(text: &str) -> Result<Row, String> {
    let form: RowForm = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let key = Key::from_path(&form.key).map_err(|e| e.to_string())?;
    if matches!(key, Key::NodeLease(_)) {
        return Err("a lease is not part of a backup".into());
    }
    let value = match (form.value, form.octets) {
        (Some(value), None) => Bytes::from(value.to_string()),
        (None, Some(octets)) => {
            let octets = BASE64_STANDARD.decode(octets);
            Bytes::from(octets.map_err(|e| format!("octets: {e}"))?)
        }
        _ => return Err("either value or octets has to be given".into()),
    };
    let index = form.index.into_iter().map(|(index, value)| IndexEntry { index, value }).collect();
    Ok(Row { key, value, index })
}

#[cfg(test)]
mod tests;
