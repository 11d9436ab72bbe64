//! What every backend must do, whatever it is made of. One list, run against all of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use margay_datastore::{
    Batch, Committed, Conflict, Entry, Lease, LeaseOutcome, Outcome, Page, Store, StoreError,
    Watch, limits, list_all,
};
use margay_model::{
    Actor, Area, Change, Compare, Expect, Guard, IndexEntry, Key, Kind, Piece, Revision, Txn, Undo,
    Versioned, Write,
};

mod index;
mod leases;
mod lists;
mod random;
mod transactions;
mod watches;

/// A backend under test.
#[async_trait]
pub trait Rig: Send + Sync {
    /// The store. Cases wipe it before they begin.
    fn store(&self) -> Arc<dyn Store>;

    /// Lets time pass as the store sees it.
    async fn pass(&self, time: Duration);

    /// Makes the store forget its history up to this revision.
    async fn compact(&self, revision: Revision);
}

/// Runs every case, one after the other, each on an empty store.
pub async fn run(rig: &dyn Rig) {
    macro_rules! cases {
        ($($case:path),* $(,)?) => {
            $(
                let start = std::time::Instant::now();
                wipe(&*rig.store()).await;
                $case(rig).await;
                println!("{:>5} ms  {}", start.elapsed().as_millis(), stringify!($case));
            )*
        };
    }
    cases![
        transactions::a_key_is_created_once,
        transactions::an_update_needs_the_last_revision,
        transactions::a_delete_needs_the_last_revision_if_it_names_one,
        transactions::all_writes_are_made_or_none,
        transactions::what_has_no_effect_makes_no_revision,
        transactions::compares_without_writes_only_ask,
        transactions::of_many_who_count_up_none_is_lost,
        transactions::what_is_too_large_is_refused_and_the_largest_is_kept,
        transactions::a_resource_version_is_not_stored,
        transactions::a_guard_is_compared_and_lies_in_no_area,
        transactions::what_is_kept_of_a_request_lies_in_an_area_of_its_own,
        lists::an_area_lists_its_keys_in_order,
        lists::a_namespace_is_not_the_beginning_of_another,
        lists::pages_are_of_one_moment,
        lists::the_past_can_be_listed_until_it_is_forgotten,
        index::a_value_is_found_by_its_entries_and_only_by_the_last_ones,
        index::entries_may_hold_any_text,
        index::what_is_found_comes_in_pages_of_one_moment,
        watches::a_watch_tells_every_kind_of_change_of_its_area,
        watches::a_watch_begins_where_it_is_told_to,
        watches::a_watch_of_the_forgotten_or_of_the_future_is_told_to_list,
        watches::one_slow_watcher_costs_the_others_nothing,
        leases::a_lease_is_held_by_one,
        leases::a_lease_that_is_not_kept_ends_and_watchers_are_told,
        leases::a_transaction_can_depend_on_a_lease,
        random::what_is_watched_adds_up_to_what_is_listed,
    ];
    wipe(&*rig.store()).await;
}

async fn wipe(store: &dyn Store) {
    let (entries, _) = list_all(store, &Area::All).await.unwrap();
    for chunk in entries.chunks(16) {
        let writes = chunk
            .iter()
            .filter(|entry| !matches!(entry.key, Key::NodeLease(_)))
            .map(|entry| Write::Delete { key: entry.key.clone() })
            .collect();
        commit(store, Txn { compares: Vec::new(), writes }).await;
    }
}

fn actor() -> Actor {
    Actor { component: "conformance".into(), node: "node1".into(), user: None }
}

async fn try_commit(store: &dyn Store, txn: Txn) -> Outcome {
    store.commit(txn, &actor()).await.unwrap()
}

async fn commit(store: &dyn Store, txn: Txn) -> Committed {
    match try_commit(store, txn).await {
        Outcome::Committed(committed) => committed,
        Outcome::Conflict(conflict) => panic!("{conflict:?}"),
    }
}

async fn conflict(store: &dyn Store, txn: Txn) -> Conflict {
    match try_commit(store, txn).await {
        Outcome::Committed(committed) => panic!("{committed:?}"),
        Outcome::Conflict(conflict) => conflict,
    }
}

async fn value(store: &dyn Store, key: &Key) -> Option<(String, Revision)> {
    let found = store.get(key).await.unwrap()?;
    Some((String::from_utf8(found.value.to_vec()).unwrap(), found.revision))
}

fn octets(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn block(number: u16) -> Key {
    let [high, low] = number.to_be_bytes();
    Key::Block(format!("10.{high}.{low}.0/26").parse().unwrap())
}

fn pool(name: &str) -> Key {
    Key::cluster(Kind::IpPool, name)
}

fn put(key: Key, text: &str) -> Txn {
    put_with(key, text, &[])
}

fn put_with(key: Key, text: &str, index: &[IndexEntry]) -> Txn {
    let write = Write::Put { key, value: octets(text), index: index.to_vec() };
    Txn { compares: Vec::new(), writes: vec![write] }
}

fn delete(key: Key) -> Txn {
    Txn { compares: Vec::new(), writes: vec![Write::Delete { key }] }
}

fn owner(node: &str) -> IndexEntry {
    IndexEntry { index: "owner".into(), value: node.into() }
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.path()).collect()
}

/// The next changes, or a panic after ten seconds.
async fn next(watch: &mut Watch) -> Result<Batch, StoreError> {
    tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("a change in time")
}

/// Reads changes until `wanted` of them came.
async fn changes(watch: &mut Watch, wanted: usize) -> Vec<Change> {
    let mut all = Vec::new();
    while all.len() < wanted {
        all.extend(next(watch).await.unwrap().changes);
    }
    assert_eq!(all.len(), wanted, "{all:?}");
    all
}

/// What someone knows who listed once and has watched since.
#[derive(Default)]
struct Mirror(BTreeMap<String, (Bytes, Revision)>);

impl Mirror {
    fn of(entries: Vec<Entry>) -> Self {
        let row = |entry: Entry| (entry.key.path(), (entry.value.value, entry.value.revision));
        Self(entries.into_iter().map(row).collect())
    }

    fn apply(&mut self, batch: Batch) {
        for Change { key, value, .. } in batch.changes {
            match value {
                Some(value) => self.0.insert(key.path(), (value.value, value.revision)),
                None => self.0.remove(&key.path()),
            };
        }
    }

    /// Watches until everything up to `revision` was told.
    async fn follow(&mut self, watch: &mut Watch, revision: Revision) {
        while watch.revision() < revision {
            self.apply(next(watch).await.unwrap());
        }
        while let Some(batch) = watch.try_next() {
            self.apply(batch.unwrap());
        }
    }
}
