//! A datastore in a few lines: compares, writes, leases, a log to watch.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use margay_ipam::{
    NodeName, Owner,
    allocator::{LeaseEnd, Snapshot},
};
use margay_model::{Change, Expect, Key, Revision, Txn, Versioned, Write};

/// All values and every change ever made.
#[derive(Default)]
pub struct Store {
    pub values: BTreeMap<Key, Versioned>,
    pub log: Vec<Change>,
    /// Who holds the lease of a node, and until when.
    leases: BTreeMap<NodeName, (Owner, Duration)>,
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
            self.write(key, value);
        }
        Ok(revision)
    }

    fn write(&mut self, key: Key, value: Option<Versioned>) {
        let revision = Revision(self.revision().0 + 1);
        match &value {
            Some(value) => self.values.insert(key.clone(), value.clone()),
            None => self.values.remove(&key),
        };
        self.log.push(Change { key, value, revision });
    }

    /// Takes the lease of a node for its first asker, or keeps it; keeping it is no change.
    pub fn keep_lease(&mut self, host: &Owner, until: Duration) -> LeaseEnd {
        let key = Key::NodeLease(host.node.to_string());
        if let Some((holder, _)) = self.leases.get(&host.node)
            && holder != host
        {
            return LeaseEnd::Taken;
        }
        if self.leases.insert(host.node.clone(), (host.clone(), until)).is_none() {
            let value = Bytes::copy_from_slice(host.instance.as_str().as_bytes());
            let revision = Revision(self.revision().0 + 1);
            self.write(key.clone(), Some(Versioned { value, revision }));
        }
        LeaseEnd::Held(self.values[&key].revision)
    }

    /// Ends what was not kept; whether there was something.
    pub fn end_leases(&mut self, now: Duration) -> bool {
        let over = |(node, (_, until)): (&NodeName, &(Owner, Duration))| {
            (*until <= now).then(|| node.clone())
        };
        let over: Vec<NodeName> = self.leases.iter().filter_map(over).collect();
        for node in &over {
            self.leases.remove(node);
            self.write(Key::NodeLease(node.to_string()), None);
        }
        !over.is_empty()
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
                    snapshot.leases.push((node, there.revision));
                }
                Key::Resource(_) | Key::Guard(_) | Key::Undo(_) => {}
            }
        }
        snapshot
    }
}
