//! What a transaction holds on to, so that the rules which were asked before it still hold with it.
//!
//! A pool is written only if no other was since the rules were asked, for any other could overlap
//! with it. A policy is written only if its tier is there, and marks that policies have been written;
//! a tier goes only without such a mark since they were looked for. So writers of policies do not
//! hinder each other. A peer is written only if its filters are there; they may go later, and are not
//! missed by who deletes them.

use std::collections::BTreeSet;

use bytes::Bytes;
use margay_datastore::{Store, StoreError};
use margay_model::{Compare, Expect, Guard, Key, Kind, Resource, Revision, Txn, Write};

use super::rules;

/// How far the guards of a request are.
#[derive(Debug)]
pub(super) struct Guards {
    pools: Expect,
    /// What is stored of that which others name: tiers and filters.
    named: BTreeSet<Key>,
}

impl Guards {
    /// As they are before the rules for `written` are asked.
    ///
    /// # Errors
    /// The datastore.
    pub(super) async fn read(store: &dyn Store, written: &[&Resource]) -> Result<Self, StoreError> {
        let pools = if written.iter().any(|resource| resource.kind() == Kind::IpPool) {
            seen(store, Guard::Pools).await?
        } else {
            Expect::Absent
        };
        Ok(Self { pools, named: BTreeSet::new() })
    }

    /// These are stored, and can be deleted.
    pub(super) fn know(&mut self, named: impl IntoIterator<Item = Key>) {
        self.named.extend(named);
    }

    /// What the transaction that writes `written` needs beside them.
    pub(super) fn of<'a>(&self, written: impl Iterator<Item = &'a Resource> + Clone) -> Txn {
        let mut txn = Txn::default();
        if written.clone().any(|resource| resource.kind() == Kind::IpPool) {
            txn.compares.push(compare(Guard::Pools, self.pools));
            txn.writes.push(mark(Guard::Pools));
        }
        if written.clone().any(|resource| rules::tier(resource).is_some()) {
            txn.writes.push(mark(Guard::Tiers));
        }
        let own: BTreeSet<_> = written.clone().map(Resource::key).collect();
        let named: BTreeSet<_> = written.flat_map(rules::named).collect();
        // Others are built in, come in the same transaction, or in a later one of the request.
        let held = named.into_iter().filter(|key| self.named.contains(key) && !own.contains(key));
        txn.compares.extend(held.map(|key| Compare { key, expect: Expect::Present }));
        txn
    }

    /// At most what [`Guards::of`] gives beside a compare for each that is named.
    pub(super) fn most() -> Txn {
        Txn {
            compares: vec![compare(Guard::Pools, Expect::At(Revision::default()))],
            writes: vec![mark(Guard::Pools), mark(Guard::Tiers)],
        }
    }

    /// A transaction with these was made.
    pub(super) fn written<'a>(
        &mut self,
        written: impl Iterator<Item = &'a Resource>,
        revision: Revision,
    ) {
        for resource in written {
            match resource {
                Resource::IpPool(_) => self.pools = Expect::At(revision),
                Resource::Tier(_) | Resource::BgpFilter(_) => self.know([resource.key()]),
                _ => {}
            }
        }
    }
}

/// A guard as it is now.
///
/// # Errors
/// The datastore.
pub(super) async fn seen(store: &dyn Store, guard: Guard) -> Result<Expect, StoreError> {
    let found = store.get(&Key::Guard(guard)).await?;
    Ok(found.map_or(Expect::Absent, |found| Expect::At(found.revision)))
}

/// Nobody has written since what this guard is for.
pub(super) fn compare(guard: Guard, expect: Expect) -> Compare {
    Compare { key: Key::Guard(guard), expect }
}

/// Lets others see that what this guard is for was written.
pub(super) fn mark(guard: Guard) -> Write {
    let value = Bytes::from(uuid::Uuid::new_v4().to_string());
    Write::Put { key: Key::Guard(guard), value, index: Vec::new() }
}
