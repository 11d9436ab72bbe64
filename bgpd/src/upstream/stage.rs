//! What an upstream has told, until it is whole.
//!
//! A stream tells keys in their order, not commits in theirs: half of it is a picture that never was.
//! So everything waits here, by key, until `in_sync` says as of which commit it is, and is handed on
//! whole. Promises: what is handed on never goes back to an earlier commit, whoever tells it; what a
//! stream told before it broke off is forgotten, and the next one goes on after the last commit that
//! was whole; a reader that is slow is owed keys. A pure state machine; leaves to others who is asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use margay_datastore::{Batch, Entry};
use margay_model::{Change, Key, Revision, Versioned};

use crate::follow::Told;

/// A value, or `None` for one that is gone, and as of which commit.
type Values = BTreeMap<Key, (Option<Bytes>, Revision)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// The last commit that was whole.
    at: Option<Revision>,
    /// What the present stream tells.
    coming: Part,
    /// What is whole, and not handed on yet.
    ready: Option<Part>,
}

/// Some values as of one commit.
#[derive(Debug, Default)]
struct Part {
    /// What is not among them does not exist.
    whole: bool,
    values: Values,
}

/// What became of an `in_sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is whole, and to be handed on, be it only how far it has come.
    News,
    /// It is what was known.
    Nothing,
    /// Who tells it has heard less than we have: it is kept until more comes.
    Behind,
}

impl Stage {
    /// A stream begins: the commit that it should go on after. Without one it tells everything.
    pub(super) fn begin(&mut self) -> Option<Revision> {
        self.coming = Part::default();
        self.at
    }

    /// The last commit that was whole.
    pub(super) fn at(&self) -> Option<Revision> {
        self.at
    }

    /// Everything comes anew.
    pub(super) fn reset(&mut self) {
        self.coming = Part { whole: true, values: Values::new() };
    }

    /// A value is so now, or gone.
    pub(super) fn set(&mut self, key: Key, value: Option<Bytes>, revision: Revision) {
        self.coming.values.insert(key, (value, revision));
    }

    /// All that was told is as of this commit.
    pub(super) fn in_sync(&mut self, revision: Revision) -> Heard {
        if self.at.is_some_and(|at| revision < at) {
            return Heard::Behind;
        }
        // Only who knows of everything can be gone on from.
        if self.at.is_none() && !self.coming.whole {
            return Heard::Behind;
        }
        let known = self.at.replace(revision) == Some(revision);
        let coming = std::mem::take(&mut self.coming);
        if known && !coming.whole && coming.values.is_empty() {
            return Heard::Nothing;
        }
        match &mut self.ready {
            Some(ready) if !coming.whole => ready.values.extend(coming.values),
            _ => self.ready = Some(coming),
        }
        Heard::News
    }

    /// The datastore itself has told everything, as of this commit.
    pub(super) fn listed(&mut self, entries: Vec<Entry>, revision: Revision) {
        if self.at.is_some_and(|at| revision < at) {
            return;
        }
        let values = entries.into_iter().map(|entry| {
            let Versioned { value, revision } = entry.value;
            (entry.key, (Some(value), revision))
        });
        self.ready = Some(Part { whole: true, values: values.collect() });
        self.at = Some(revision);
    }

    /// The datastore is another than it was: what comes is later than all that was known.
    pub(super) fn begin_anew(&mut self) {
        self.at = None;
    }

    /// What is whole, if there is any.
    pub(super) fn take(&mut self) -> Option<Told> {
        let Part { whole, values } = self.ready.take()?;
        let revision = self.at.unwrap_or_default();
        if whole {
            let there = |(key, (value, revision))| {
                Some(Entry { key, value: Versioned { value: value?, revision }, index: Vec::new() })
            };
            return Some(Told::Listed(values.into_iter().filter_map(there).collect(), revision));
        }
        let change = |(key, (value, revision)): (Key, (Option<Bytes>, Revision))| Change {
            key,
            value: value.map(|value| Versioned { value, revision }),
            revision,
        };
        let mut changes: Vec<Change> = values.into_iter().map(change).collect();
        // As they would come by a watch.
        changes.sort_by_key(|change| change.revision);
        Some(Told::Changed(Batch { changes, revision }))
    }

    /// Whether what would be taken is everything there is.
    pub(super) fn is_whole(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.whole)
    }
}

#[cfg(test)]
mod tests;
