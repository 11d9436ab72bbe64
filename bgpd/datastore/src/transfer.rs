//! Everything out of a datastore, and into one: backups, and moves between backends.
//!
//! The form is JSON lines: a head, one line for each value in the order of keys, an end with their
//! number. Values that are JSON stand as such, others as base64. Leases are not taken along: they
//! say who lives now. Revisions are the datastore's own and begin anew.
//!
//! A backup is read whole before the first write. It may be larger than a transaction, so it is
//! written in several: who is broken off in the middle leaves a part of it, writes before deletes,
//! and ends the work by doing the same again. What others wrote meanwhile is not overwritten.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use margay_model::{
    Actor, Area, Compare, Expect, Guard, IndexEntry, Key, Resource, Revision, Txn, Versioned, Write,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreError,
    etcd,
    limits::{self, Room},
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
    /// The file is not what [`Backup::lines`] writes. Nothing was changed.
    #[error("line {line}: {cause}")]
    Form {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// The datastore holds something else than the backup already, and was to be empty. Nothing was
    /// changed.
    #[error("the datastore is not empty: it holds {0}")]
    NotEmpty(Key),
    /// Somebody else wrote to the datastore meanwhile; part of the backup may have been written.
    #[error("{0} was written by somebody else meanwhile")]
    Interfered(Key),
}

/// What becomes of values that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// There must not be any, but for those the backup holds just so.
    Refuse,
    /// They are replaced, and what the backup does not hold is deleted.
    Replace,
}

/// What became of the values of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many it holds.
    pub values: usize,
    /// How many of them had to be written; the others were there just so.
    pub written: usize,
    /// How many others were deleted.
    pub deleted: usize,
}

/// Everything a datastore holds, but for leases.
#[derive(Clone, Debug)]
pub struct Backup {
    /// In the order of the paths.
    rows: Vec<Row>,
    /// Where it comes from, for people only.
    revision: Revision,
}

/// Reads a [`Backup`] piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    /// Lines read.
    lines: usize,
    octets: usize,
    revision: Revision,
    rows: BTreeMap<String, Row>,
    ended: bool,
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
/// Octets of a line: the largest value, escaped as badly as can be, and its key.
const MAX_LINE: usize = 6 * limits::MAX_VALUE + 16 * limits::MAX_KEY;
/// Octets of a backup. It stands in memory before the first write.
const MAX_BACKUP: usize = 1 << 30;

impl Row {
    /// Whether a datastore takes it, and a resource can be read and is the one its key names. What a
    /// newer release has added to it is no fault.
    fn check(&self) -> Result<(), String> {
        let Self { key, value, index } = self.clone();
        limits::check_write(&Write::Put { key, value, index }).map_err(|e| e.to_string())?;
        if !matches!(self.key, Key::Resource(_)) {
            return Ok(());
        }
        let found = Resource::decode_lenient(&self.value);
        let found = found.map_err(|faults| format!("the {}: {faults}", self.key))?.key();
        match found == self.key {
            true => Ok(()),
            false => Err(format!("the {found} under the name of {}", self.key)),
        }
    }

    /// Whether it says the same: octets, or JSON whatever the order of its fields.
    fn same(&self, other: &Self) -> bool {
        let json = |row: &Self| serde_json::from_slice::<serde_json::Value>(&row.value).ok();
        self.key == other.key
            && self.index == other.index
            && (self.value == other.value || json(self).is_some_and(|own| Some(own) == json(other)))
    }
}

impl Backup {
    /// All of a datastore as of one revision.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let (entries, revision) = list_all(store, &Area::All).await?;
        Ok(Self { rows: rows(entries), revision })
    }

    /// Reads all of a backup.
    ///
    /// # Errors
    /// It cannot be read, is not whole or not right.
    pub fn read(from: &mut dyn BufRead) -> Result<Self, TransferError> {
        let mut reader = Reader::default();
        loop {
            let octets = from.fill_buf()?;
            if octets.is_empty() {
                return reader.finish();
            }
            reader.feed(octets)?;
            let size = octets.len();
            from.consume(size);
        }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its text, line by line, each with its end.
    pub fn lines(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..).map_while(|number| self.line(number))
    }

    /// A line of its text, counted from 0: the head, the values, the end.
    pub fn line(&self, number: usize) -> Option<Vec<u8>> {
        let Some(number) = number.checked_sub(1) else {
            let head = Head { format: FORMAT.into(), version: VERSION, revision: self.revision.0 };
            return Some(line(&head));
        };
        match self.rows.get(number) {
            Some(row) => Some(line(&form(row))),
            None => (number == self.rows.len()).then(|| line(&End { entries: self.rows.len() })),
        }
    }

    /// Makes a datastore hold this and nothing else. Broken off in the middle it can be done again.
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`] changes nothing; the others may come after a part was written.
    pub async fn restore(
        &self,
        store: &dyn Store,
        existing: Existing,
        actor: &Actor,
    ) -> Result<Restored, TransferError> {
        let (writes, restored) = self.plan(store, existing).await?;
        let mut batch = Txn::default();
        let mut room = Room::beside(store.limits(), &marks());
        for (compare, write) in writes {
            let more = Txn { compares: vec![compare], writes: vec![write] };
            if !room.take(&more) {
                flush(store, std::mem::take(&mut batch), actor).await?;
                room = Room::beside(store.limits(), &marks());
                // The first write always fits.
                let _ = room.take(&more);
            }
            batch.join(more);
        }
        if !batch.writes.is_empty() {
            flush(store, batch, actor).await?;
        }
        Ok(restored)
    }

    /// What [`Backup::restore`] would do, without doing it.
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`], or the datastore cannot be read.
    pub async fn compare(
        &self,
        store: &dyn Store,
        existing: Existing,
    ) -> Result<Restored, TransferError> {
        Ok(self.plan(store, existing).await?.1)
    }

    /// Writes, then deletes, each only if the value is still as it was seen.
    async fn plan(
        &self,
        store: &dyn Store,
        existing: Existing,
    ) -> Result<(Vec<(Compare, Write)>, Restored), TransferError> {
        let (entries, _) = list_all(store, &Area::All).await?;
        let mut present: BTreeMap<String, (Row, Revision)> = BTreeMap::new();
        for (row, revision) in entries.into_iter().filter_map(row) {
            present.insert(row.key.path(), (row, revision));
        }
        let mut writes = Vec::new();
        for row in &self.rows {
            let expect = match present.remove(&row.key.path()) {
                // What is there as it should be is not touched.
                Some((there, _)) if there.same(row) => continue,
                Some(_) if existing == Existing::Refuse => {
                    return Err(TransferError::NotEmpty(row.key.clone()));
                }
                Some((_, revision)) => Expect::At(revision),
                None => Expect::Absent,
            };
            let Row { key, value, index } = row.clone();
            writes.push((Compare { key: key.clone(), expect }, Write::Put { key, value, index }));
        }
        let written = writes.len();
        for (there, revision) in present.into_values() {
            let key = there.key;
            if existing == Existing::Refuse {
                return Err(TransferError::NotEmpty(key));
            }
            let compare = Compare { key: key.clone(), expect: Expect::At(revision) };
            writes.push((compare, Write::Delete { key }));
        }
        let deleted = writes.len() - written;
        Ok((writes, Restored { values: self.rows.len(), written, deleted }))
    }
}

impl Reader {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    /// What is wrong with it; the reader is of no use then.
    pub fn feed(&mut self, octets: &[u8]) -> Result<(), TransferError> {
        self.octets = self.octets.saturating_add(octets.len());
        if self.octets > MAX_BACKUP {
            return Err(self.wrong(format!("larger than {} MiB", MAX_BACKUP >> 20)));
        }
        let mut octets = octets;
        while let Some(at) = octets.iter().position(|octet| *octet == b'\n') {
            let (line, rest) = octets.split_at(at);
            octets = rest.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                self.line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole)?;
            }
        }
        self.rest.extend_from_slice(octets);
        if self.rest.len() > MAX_LINE {
            return Err(self.wrong("longer than any value may be"));
        }
        Ok(())
    }

    /// The backup.
    ///
    /// # Errors
    /// The text is not whole.
    pub fn finish(mut self) -> Result<Backup, TransferError> {
        let last = std::mem::take(&mut self.rest);
        if !last.is_empty() {
            self.line(&last)?;
        }
        match (self.lines, self.ended) {
            (0, _) => Err(self.wrong("the file is empty")),
            (_, false) => Err(self.wrong("the file ends without its last line: it was cut")),
            (_, true) => {
                Ok(Backup { rows: self.rows.into_values().collect(), revision: self.revision })
            }
        }
    }

    /// A fault of the line that comes next.
    fn wrong(&self, cause: impl Into<String>) -> TransferError {
        TransferError::Form { line: self.lines + 1, cause: cause.into() }
    }

    fn line(&mut self, text: &[u8]) -> Result<(), TransferError> {
        if self.lines == 0 {
            self.head(text)?;
        } else if self.ended {
            return Err(self.wrong("something follows the last line"));
        } else if let Ok(End { entries }) = serde_json::from_slice(text) {
            if entries != self.rows.len() {
                let found = self.rows.len();
                return Err(self.wrong(format!("{found} values before an end that says {entries}")));
            }
            self.ended = true;
        } else {
            let row = parse(text).map_err(|cause| self.wrong(cause))?;
            let path = row.key.path();
            if self.rows.insert(path.clone(), row).is_some() {
                return Err(self.wrong(format!("{path} comes twice")));
            }
        }
        self.lines += 1;
        Ok(())
    }

    fn head(&mut self, text: &[u8]) -> Result<(), TransferError> {
        let head: Head = serde_json::from_slice(text)
            .map_err(|e| self.wrong(format!("this is no export of a datastore: {e}")))?;
        if head.format != FORMAT || head.version != VERSION {
            let cause = format!("{} {} is not known to this version", head.format, head.version);
            return Err(self.wrong(cause));
        }
        self.revision = Revision(head.revision);
        Ok(())
    }
}

/// Copies everything from one datastore to another, which must hold nothing else, and compares.
///
/// # Errors
/// [`TransferError::Interfered`] when the copy is not the same in the end.
pub async fn migrate(
    from: &dyn Store,
    to: &dyn Store,
    actor: &Actor,
) -> Result<Restored, TransferError> {
    let restored = Backup::of(from).await?.restore(to, Existing::Refuse, actor).await?;
    let (wanted, found) = (Backup::of(from).await?.rows, Backup::of(to).await?.rows);
    match wanted.iter().zip(&found).find(|(wanted, found)| !wanted.same(found)) {
        Some((wanted, _)) => Err(TransferError::Interfered(wanted.key.clone())),
        None => match wanted.get(found.len()).or(found.get(wanted.len())) {
            Some(odd) => Err(TransferError::Interfered(odd.key.clone())),
            None => Ok(restored),
        },
    }
}

/// What tells others that any resource may have been written: rules that they asked before hold no
/// more.
fn marks() -> Txn {
    let mark = |guard| Write::Put {
        key: Key::Guard(guard),
        value: Bytes::from_static(b"import"),
        index: Vec::new(),
    };
    Txn { compares: Vec::new(), writes: vec![mark(Guard::Pools), mark(Guard::Tiers)] }
}

async fn flush(store: &dyn Store, mut batch: Txn, actor: &Actor) -> Result<(), TransferError> {
    batch.join(marks());
    match store.commit(batch, actor).await? {
        Outcome::Committed(_) => Ok(()),
        Outcome::Conflict(conflict) => Err(TransferError::Interfered(conflict.compare.key)),
    }
}

fn row(entry: Entry) -> Option<(Row, Revision)> {
    let Entry { key, value: Versioned { value, revision }, index } = entry;
    // The same from every backend: policies with the annotation that etcd takes off on reading. A
    // value that is no object stays what it is.
    let value = etcd::octets::to_etcd(&key, &value).unwrap_or(value);
    // A lease says who lives now.
    let lasts = !matches!(key, Key::NodeLease(_) | Key::Guard(_) | Key::Undo(_));
    lasts.then_some((Row { key, value, index }, revision))
}

fn rows(entries: Vec<Entry>) -> Vec<Row> {
    entries.into_iter().filter_map(|entry| row(entry).map(|(row, _)| row)).collect()
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("strings and numbers are JSON");
    line.push(b'\n');
    line
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

fn parse(text: &[u8]) -> Result<Row, String> {
    let form: RowForm = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let key = Key::from_path(&form.key).map_err(|e| e.to_string())?;
    if matches!(key, Key::NodeLease(_) | Key::Guard(_) | Key::Undo(_)) {
        return Err(format!("the {key} is not part of a backup"));
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
    let row = Row { key, value, index };
    row.check()?;
    Ok(row)
}

#[cfg(test)]
mod tests;
