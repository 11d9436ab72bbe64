//! A datastore in a few lines: compares, writes, a log to watch.

use std::collections::BTreeMap;

use margay_ipam::{NodeName, allocator::Snapshot};
use margay_model::{Change, Expect, Key, Revision, Txn, Versioned, Write};

/// All values and every change ever made.
#[derive(Default)]
pub struct Store {
    pub values: BTreeMap<Key, Versioned>,
    pub log: Vec<Change>,
}

impl Store {
    pub fn revision(&self) -> Revision {
        Revision(u64::try_from(self.log.len()).unwrap())
    }

    /// Every transaction of the allocator has one write, so one revision is one change.
    pub fn commit(&mut self, txn: &Txn) -> Result<Revision, ()> {
        assert_eq!(txn.writes.len(), 1, "one object a commit: {txn:?}");
        assert_eq!(txn.compares.len(), 1, "one compare a commit: {txn:?}");
        assert_eq!(txn.compares[0].key, *txn.writes[0].key(), "on the same key: {txn:?}");
        for compare in &txn.compares {
            let there = self.values.get(&compare.key);
            let holds = match compare.expect {
                Expect::Absent => there.is_none(),
                Expect::Present => there.is_some(),
                Expect::At(revision) => there.is_some_and(|there| there.revision == revision),
            };
            if !holds {
                return Err(());
            }
        }
        let revision = Revision(self.revision().0 + 1);
        for write in &txn.writes {
            let (key, value) = match write {
                Write::Put { key, value, .. } => {
                    (key.clone(), Some(Versioned { value: value.clone(), revision }))
                }
                Write::Delete { key } => (key.clone(), None),
            };
            match &value {
                Some(value) => self.values.insert(key.clone(), value.clone()),
                None => self.values.remove(&key),
            };
            self.log.push(Change { key, value, revision });
        }
        Ok(revision)
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot { at: self.revision(), ..Snapshot::default() };
        for (key, there) in &self.values {
            match key {
                Key::Block(cidr) => {
                    snapshot.blocks.push((*cidr, there.revision, there.value.clone()));
                }
                Key::NodeLease(node) => {
                    let node = NodeName::try_from(node.as_str()).unwrap();
                    snapshot.leases.push((node, there.revision, there.value.clone()));
                }
                Key::Resource(_) => {}
            }
        }
        snapshot
    }
}
