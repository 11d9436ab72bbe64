//! All values of a datastore in memory, with their index and the latest part of their history.
//!
//! What the in-memory and the embedded backend have in common: a transaction is staged here first
//! (its compares are checked, nothing changes), then made durable by whoever can, then applied.
//! No input or output, no clock, no locks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
use margay_model::{Area, Change, Expect, IndexEntry, Key, Revision, Txn, Versioned, Write};

use crate::{
    error::StoreError,
    feed::{Event, Feed},
    limits,
    store::{Committed, Conflict, Cursor, Entry, Lease, LeaseOutcome, Listing, Page},
};

/// How much history is kept: whichever bound is reached first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Changes.
    pub(crate) changes: usize,
    /// Octets, roughly.
    pub(crate) octets: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { changes: 16_384, octets: 32 * 1024 * 1024 }
    }
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) value: Versioned,
    pub(crate) index: Vec<IndexEntry>,
}

/// One change of the past, with what was there before.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) change: Change,
    pub(crate) path: String,
    pub(crate) before: Before,
}

/// What a change replaced.
#[derive(Clone, Debug)]
pub(crate) enum Before {
    /// There was nothing.
    Nothing,
    /// This.
    Record(Record),
    /// Something, but it was not kept: the change is from before this process began.
    Forgotten,
}

/// A transaction whose compares hold, and what it will do.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) committed: Committed,
    /// Writes that have an effect, each with the path it goes to; `None` deletes.
    pub(crate) writes: Vec<StagedWrite>,
}

/// One write of it.
#[derive(Clone, Debug)]
pub(crate) struct StagedWrite {
    pub(crate) path: String,
    pub(crate) key: Key,
    pub(crate) record: Option<Record>,
}

#[derive(Debug)]
pub(crate) struct Image {
    values: BTreeMap<String, Record>,
    index: BTreeSet<(IndexEntry, String)>,
    history: VecDeque<Past>,
    history_octets: usize,
    revision: Revision,
    /// A watch may begin after this revision or a later one.
    oldest: Revision,
    /// A list may be as of this revision or a later one.
    undo_from: Revision,
    bounds: Bounds,
}

impl Image {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self::restore(BTreeMap::new(), VecDeque::new(), Revision(0), Revision(0), bounds)
    }

    /// What was loaded from elsewhere: values, the history after `oldest`, the last revision.
    pub(crate) fn restore(
        values: BTreeMap<String, Record>,
        history: VecDeque<Past>,
        oldest: Revision,
        revision: Revision,
        bounds: Bounds,
    ) -> Self {
        let index = values
            .iter()
            .flat_map(|(path, record)| {
                record.index.iter().map(move |entry| (entry.clone(), path.clone()))
            })
            .collect();
        let history_octets = history.iter().map(past_weight).sum();
        Self {
            values,
            index,
            history,
            history_octets,
            revision,
            oldest,
            undo_from: revision,
            bounds,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Record> {
        self.values.get(&key.path())
    }

    /// The leases there are: node and octets.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let prefix = Area::NodeLeases.path_prefixes().concat();
        self.values
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .map_while(|(_, record)| match &record.key {
                Key::NodeLease(node) => Some((node.as_str(), &record.value.value)),
                _ => None,
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The oldest revision that a watch may begin after.
    pub(crate) fn oldest(&self) -> Revision {
        self.oldest
    }

    pub(crate) fn list(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        let at = self.revision_of(page)?;
        let limit = limits::page(page.limit);
        let undone = self.undone(at);
        let mut rows = Rows::new(limit, at);
        'areas: for prefix in area.path_prefixes() {
            let mut now = self.range(&prefix, page).peekable();
            let mut then = range_of(&undone, &prefix, page).peekable();
            loop {
                let is_now = match (now.peek(), then.peek()) {
                    (None, None) => break,
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                    (Some((here, _)), Some((there, _))) => here < there,
                };
                let record = if is_now {
                    now.next().map(|(path, record)| (path, Some(record)))
                } else {
                    // What it is now does not matter.
                    if now.peek().map(|(path, _)| path) == then.peek().map(|(path, _)| path) {
                        now.next();
                    }
                    then.next().map(|(path, record)| (path, *record))
                };
                if let Some((path, Some(record))) = record
                    && !rows.push(path, record)
                {
                    break 'areas;
                }
            }
        }
        Ok(rows.finish())
    }

    pub(crate) fn find(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError> {
        let at = self.revision_of(page)?;
        let undone = self.undone(at);
        let mut found: BTreeMap<&str, &Record> = BTreeMap::new();
        let after = page.after.as_ref().map_or("", Cursor::as_str);
        let begin = Bound::Excluded((entry.clone(), after.to_owned()));
        for (found_entry, path) in self.index.range((begin, Bound::Unbounded)) {
            if found_entry != entry {
                break;
            }
            if let Some(record) = self.values.get(path)
                && !undone.contains_key(path.as_str())
            {
                found.insert(path, record);
            }
        }
        for (path, record) in &undone {
            if let Some(record) = record
                && record.index.contains(entry)
                && *path > after
            {
                found.insert(path, record);
            }
        }
        let mut rows = Rows::new(limits::page(page.limit), at);
        for (path, record) in found {
            if !rows.push(path, record) {
                break;
            }
        }
        Ok(rows.finish())
    }

    /// Tells `feed` what happened after `after`.
    pub(crate) fn replay(&self, feed: &Feed, after: Revision) -> Result<(), StoreError> {
        if after < self.oldest || after > self.revision {
            return Err(StoreError::Compacted { asked: after, oldest: self.oldest });
        }
        let first = self.history.partition_point(|past| past.change.revision <= after);
        let events: Vec<Event> = self.history.iter().skip(first).map(Past::event).collect();
        feed.push(&events, self.revision);
        Ok(())
    }

    /// Makes the writes of a staged transaction true and returns what to tell watchers.
    pub(crate) fn apply(&mut self, staged: Staged) -> Vec<Event> {
        self.revision = self.revision.max(staged.committed.revision);
        let mut events = Vec::with_capacity(staged.writes.len());
        for StagedWrite { path, key, record } in staged.writes {
            let change = Change {
                key,
                value: record.as_ref().map(|record| record.value.clone()),
                revision: staged.committed.revision,
            };
            let before = match self.replace(&path, record) {
                Some(record) => Before::Record(record),
                None => Before::Nothing,
            };
            let past = Past { change, path, before };
            events.push(past.event());
            self.history_octets += past_weight(&past);
            self.history.push_back(past);
        }
        self.trim();
        events
    }

    /// Forgets the history up to and including `revision`.
    pub(crate) fn compact(&mut self, revision: Revision) {
        let revision = revision.min(self.revision);
        while self.history.front().is_some_and(|past| past.change.revision <= revision) {
            self.forget_first();
        }
        self.oldest = self.oldest.max(revision);
        self.undo_from = self.undo_from.max(revision);
    }

    fn trim(&mut self) {
        while self.history.len() > self.bounds.changes || self.history_octets > self.bounds.octets {
            // Never a part of what one commit did.
            match self.history.front().map(|past| past.change.revision) {
                Some(revision) => self.compact(revision),
                None => break,
            }
        }
    }

    fn forget_first(&mut self) {
        if let Some(past) = self.history.pop_front() {
            self.history_octets -= past_weight(&past);
        }
    }

    fn replace(&mut self, path: &str, record: Option<Record>) -> Option<Record> {
        let entries = record.as_ref().map(|record| record.index.clone()).unwrap_or_default();
        let before = match record {
            Some(record) => self.values.insert(path.to_owned(), record),
            None => self.values.remove(path),
        };
        for entry in before.iter().flat_map(|record| &record.index) {
            self.index.remove(&(entry.clone(), path.to_owned()));
        }
        for entry in entries {
            self.index.insert((entry, path.to_owned()));
        }
        before
    }

    fn revision_of(&self, page: &Page) -> Result<Revision, StoreError> {
        let at = page.at.unwrap_or(self.revision);
        if at < self.undo_from || at > self.revision {
            return Err(StoreError::Compacted { asked: at, oldest: self.undo_from });
        }
        Ok(at)
    }

    /// What was different at an earlier revision.
    fn undone(&self, at: Revision) -> BTreeMap<&str, Option<&Record>> {
        let mut undone = BTreeMap::new();
        for past in self.history.iter().rev().take_while(|past| past.change.revision > at) {
            let before = match &past.before {
                Before::Record(record) => Some(record),
                Before::Nothing | Before::Forgotten => None,
            };
            undone.insert(past.path.as_str(), before);
        }
        undone
    }

    fn range<'a>(
        &'a self,
        prefix: &'a str,
        page: &'a Page,
    ) -> impl Iterator<Item = (&'a str, &'a Record)> {
        self.values
            .range::<str, _>((begin(prefix, page), Bound::Unbounded))
            .map(|(path, record)| (path.as_str(), record))
            .take_while(move |(path, _)| path.starts_with(prefix))
    }
}

impl Past {
    fn event(&self) -> Event {
        let created = matches!(self.before, Before::Nothing);
        Event { change: self.change.clone(), created }
    }
}

/// Octets to store and by what they can be found.
pub(crate) type NewValue = (Bytes, Vec<IndexEntry>);

/// Transactions staged one after the other, each seeing what those before it will have written.
pub(crate) struct Stage<'a> {
    image: &'a Image,
    overlay: BTreeMap<String, Option<Versioned>>,
    revision: Revision,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(image: &'a Image) -> Self {
        Self { image, overlay: BTreeMap::new(), revision: image.revision }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Versioned> {
        let path = key.path();
        match self.overlay.get(&path) {
            Some(staged) => staged.clone(),
            None => self.image.values.get(&path).map(|record| record.value.clone()),
        }
    }

    /// Stages a transaction that passed [`limits::check`].
    pub(crate) fn txn(&mut self, txn: Txn) -> Result<Staged, Box<Conflict>> {
        for compare in &txn.compares {
            let current = self.get(&compare.key);
            if !holds(compare.expect, current.as_ref().map(|value| value.revision)) {
                return Err(Box::new(Conflict { compare: compare.clone(), current }));
            }
        }
        let writes = txn.writes.into_iter().map(|write| match write {
            Write::Put { key, value, index } => (key, Some((value, index))),
            Write::Delete { key } => (key, None),
        });
        Ok(self.write(writes.collect()))
    }

    /// Stages what keeping a lease takes: nothing when it is held already.
    pub(crate) fn keep_lease(&mut self, lease: &Lease) -> (Option<Staged>, LeaseOutcome) {
        match self.get(&lease.key()) {
            Some(current) if !lease.is_held_by(&current.value) => {
                (None, LeaseOutcome::Taken { current })
            }
            Some(current) => (None, LeaseOutcome::Held { revision: current.revision }),
            None => {
                let staged = self.write(vec![(lease.key(), Some((lease.value(), Vec::new())))]);
                let revision = staged.committed.revision;
                (Some(staged), LeaseOutcome::Held { revision })
            }
        }
    }

    /// Stages what giving a lease back takes: nothing when another holds it, or nobody.
    pub(crate) fn drop_lease(&mut self, lease: &Lease) -> Option<Staged> {
        let held = self.get(&lease.key()).is_some_and(|value| lease.is_held_by(&value.value));
        held.then(|| self.write(vec![(lease.key(), None)]))
    }

    /// Stages writes without conditions.
    pub(crate) fn write(&mut self, writes: Vec<(Key, Option<NewValue>)>) -> Staged {
        let next = Revision(self.revision.0 + 1);
        let mut staged = Vec::with_capacity(writes.len());
        let mut replaced = Vec::with_capacity(writes.len());
        for (key, put) in writes {
            let before = self.get(&key).map(|value| value.revision);
            replaced.push(before);
            if put.is_none() && before.is_none() {
                continue;
            }
            let path = key.path();
            let record = put.map(|(value, index)| Record {
                key: key.clone(),
                value: Versioned { value, revision: next },
                index,
            });
            self.overlay.insert(path.clone(), record.as_ref().map(|record| record.value.clone()));
            staged.push(StagedWrite { path, key, record });
        }
        if !staged.is_empty() {
            self.revision = next;
        }
        Staged { committed: Committed { revision: self.revision, replaced }, writes: staged }
    }
}

/// Whether a compare holds for a key last written at `current`.
pub(crate) fn holds(expect: Expect, current: Option<Revision>) -> bool {
    match expect {
        Expect::Absent => current.is_none(),
        Expect::Present => current.is_some(),
        Expect::At(revision) => current == Some(revision),
    }
}

/// Collects rows until a page is full.
struct Rows {
    entries: Vec<Entry>,
    last: String,
    more: bool,
    limit: usize,
    revision: Revision,
}

impl Rows {
    fn new(limit: usize, revision: Revision) -> Self {
        Self { entries: Vec::new(), last: String::new(), more: false, limit, revision }
    }

    /// False when the page was full already.
    fn push(&mut self, path: &str, record: &Record) -> bool {
        if self.entries.len() >= self.limit {
            self.more = true;
            return false;
        }
        path.clone_into(&mut self.last);
        self.entries.push(Entry {
            key: record.key.clone(),
            value: record.value.clone(),
            index: record.index.clone(),
        });
        true
    }

    fn finish(self) -> Listing {
        let more = self.more.then(|| Cursor::new(self.last));
        Listing { entries: self.entries, revision: self.revision, more }
    }
}

/// Where the part of a page that has `prefix` begins.
fn begin<'a>(prefix: &'a str, page: &'a Page) -> Bound<&'a str> {
    match &page.after {
        Some(cursor) if cursor.as_str() >= prefix => Bound::Excluded(cursor.as_str()),
        _ => Bound::Included(prefix),
    }
}

fn range_of<'a, V>(
    map: &'a BTreeMap<&'a str, V>,
    prefix: &'a str,
    page: &'a Page,
) -> impl Iterator<Item = (&'a str, &'a V)> {
    map.range::<str, _>((begin(prefix, page), Bound::Unbounded))
        .map(|(path, value)| (*path, value))
        .take_while(move |(path, _)| path.starts_with(prefix))
}

fn past_weight(past: &Past) -> usize {
    let before = match &past.before {
        Before::Record(record) => record.value.value.len(),
        Before::Nothing | Before::Forgotten => 0,
    };
    limits::weight(&past.path, past.change.value.as_ref().map(|value| &value.value)) + before
}

#[cfg(test)]
mod tests;
