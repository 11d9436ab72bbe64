//! Many random transactions, compared with a model and with what watchers saw.

use margay_datastore::MemStore;

use super::*;

/// A small generator; the seed makes a run repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn key(&mut self) -> Key {
        let number = u16::try_from(self.roll(12)).unwrap();
        if self.roll(3) == 0 { pool(&format!("p{number}")) } else { block(number) }
    }

    fn node(&mut self) -> IndexEntry {
        owner(&format!("node{}", self.roll(4)))
    }
}

/// A transaction on both stores: revisions differ, so compares are made from what each holds.
async fn transact(dice: &mut Dice, round: u64, store: &dyn Store, model: &MemStore) {
    let mut keys = vec![dice.key(), dice.key()];
    keys.sort();
    keys.dedup();
    let mut ours = Txn::default();
    let mut theirs = Txn::default();
    for key in &keys {
        let (kind, stale) = (dice.roll(5), dice.roll(4) == 0);
        for (txn, found) in
            [(&mut ours, store.get(key).await.unwrap()), (&mut theirs, model.get_now(key).unwrap())]
        {
            let at = found.as_ref().map_or(Revision(1), |found| found.revision);
            let expect = match kind {
                0 => Some(Expect::Absent),
                1 => Some(Expect::Present),
                // A revision of the past or of nothing never holds.
                2 | 3 if stale => Some(Expect::At(Revision(at.0 - 1))),
                2 | 3 => Some(Expect::At(at)),
                _ => None,
            };
            txn.compares.extend(expect.map(|expect| Compare { key: key.clone(), expect }));
        }
    }
    for key in keys {
        let write = match dice.roll(4) {
            0 => Write::Delete { key },
            1 => {
                Write::Put { key, value: octets(&format!("{{\"round\":{round}}}")), index: vec![] }
            }
            _ => {
                let mut index = vec![dice.node(), dice.node()];
                if !matches!(key, Key::Block(_)) {
                    index.clear();
                }
                Write::Put { key, value: octets(&format!("{{\"round\":{round}}}")), index }
            }
        };
        ours.writes.push(write.clone());
        theirs.writes.push(write);
    }
    let made = try_commit(store, ours.clone()).await;
    let wanted = model.commit_now(theirs, &actor()).unwrap();
    match (&made, &wanted) {
        (Outcome::Committed(made), Outcome::Committed(wanted)) => {
            let there = |list: &[Option<Revision>]| -> Vec<bool> {
                list.iter().map(Option::is_some).collect()
            };
            assert_eq!(there(&made.replaced), there(&wanted.replaced), "{ours:?}");
        }
        (Outcome::Conflict(made), Outcome::Conflict(wanted)) => {
            assert_eq!(made.compare.key, wanted.compare.key, "{ours:?}");
            assert_eq!(
                made.current.as_ref().map(|current| &current.value),
                wanted.current.as_ref().map(|current| &current.value)
            );
        }
        other => panic!("round {round}: {other:?} of {ours:?}"),
    }
}

pub async fn what_is_watched_adds_up_to_what_is_listed(rig: &dyn Rig) {
    let store = &*rig.store();
    let model = MemStore::new();
    let mut dice = Dice(0x5eed);
    let (entries, revision) = list_all(store, &Area::All).await.unwrap();
    let mut mirror = Mirror::of(entries);
    let mut watch = store.watch(&Area::All, revision).await.unwrap();
    for round in 0..400 {
        transact(&mut dice, round, store, &model).await;
        if dice.roll(20) == 0 {
            let (entries, revision) = list_all(store, &Area::All).await.unwrap();
            mirror.follow(&mut watch, revision).await;
            assert_eq!(mirror.0, Mirror::of(entries).0, "round {round}");
        }
        if dice.roll(50) == 0 {
            watch = store.watch(&Area::All, watch.revision()).await.unwrap();
        }
    }
    let plain = |entries: Vec<Entry>| -> Vec<(Key, Bytes, Vec<IndexEntry>)> {
        entries.into_iter().map(|entry| (entry.key, entry.value.value, entry.index)).collect()
    };
    let (ours, _) = list_all(store, &Area::All).await.unwrap();
    let (wanted, _) = list_all(&model, &Area::All).await.unwrap();
    assert_eq!(plain(ours), plain(wanted));
    for node in 0..4 {
        let entry = owner(&format!("node{node}"));
        let ours = store.find(&entry, &Page::default()).await.unwrap();
        let wanted = model.find_now(&entry, &Page::default()).unwrap();
        assert_eq!(plain(ours.entries), plain(wanted.entries));
    }
}
