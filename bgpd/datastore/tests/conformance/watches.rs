//! Watches.

use super::*;

pub async fn a_watch_tells_every_kind_of_change_of_its_area(rig: &dyn Rig) {
    let store = &*rig.store();
    let before = commit(store, put(block(1), "a")).await.revision;
    let mut blocks = store.watch(&Area::Blocks, before).await.unwrap();
    let mut pools = store.watch(&Area::Kind(Kind::IpPool, None), before).await.unwrap();
    let mut all = store.watch(&Area::All, before).await.unwrap();
    let second = commit(store, put(block(1), "b")).await.revision;
    let seen = changes(&mut blocks, 1).await;
    assert_eq!((&seen[0].key, seen[0].revision), (&block(1), second));
    let told = seen[0].value.clone().unwrap();
    assert_eq!((told.value, told.revision), (octets("b"), second));
    let third = commit(store, put(pool("a"), "{}")).await.revision;
    assert_eq!(changes(&mut pools, 1).await[0].key, pool("a"));
    let fourth = commit(store, delete(block(1))).await.revision;
    let seen = changes(&mut blocks, 1).await;
    assert_eq!((seen[0].value.clone(), seen[0].revision), (None, fourth));
    let mut mirror = Mirror::default();
    mirror.follow(&mut all, fourth).await;
    assert_eq!(mirror.0.keys().collect::<Vec<_>>(), [&pool("a").path()]);
    assert!(third < fourth);
    assert_eq!(pools.try_next(), None);
}

pub async fn a_watch_begins_where_it_is_told_to(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    commit(store, put(block(2), "b")).await;
    let last = commit(store, put(block(3), "c")).await.revision;
    let mut watch = store.watch(&Area::Blocks, first).await.unwrap();
    let seen = changes(&mut watch, 2).await;
    assert_eq!(seen.iter().map(|change| &change.key).collect::<Vec<_>>(), [&block(2), &block(3)]);
    assert_eq!(watch.revision(), last);
    // Later, from where the first one ended.
    let resumed = watch.revision();
    drop(watch);
    commit(store, delete(block(2))).await;
    let mut watch = store.watch(&Area::Blocks, resumed).await.unwrap();
    assert_eq!(changes(&mut watch, 1).await[0].key, block(2));
}

pub async fn a_watch_of_the_forgotten_or_of_the_future_is_told_to_list(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    for number in 2..10 {
        commit(store, put(block(number), "b")).await;
    }
    let last = commit(store, put(block(10), "c")).await.revision;
    rig.compact(last).await;
    for asked in [first, Revision(last.0 + 1000)] {
        let refused = match store.watch(&Area::Blocks, asked).await {
            Ok(mut watch) => next(&mut watch).await.map(|_| ()).unwrap_err(),
            Err(refused) => refused,
        };
        assert!(matches!(refused, StoreError::Compacted { .. }), "{refused}");
    }
    let (_, revision) = list_all(store, &Area::Blocks).await.unwrap();
    let mut watch = store.watch(&Area::Blocks, revision).await.unwrap();
    commit(store, put(block(11), "d")).await;
    assert_eq!(changes(&mut watch, 1).await[0].key, block(11));
}

pub async fn one_slow_watcher_costs_the_others_nothing(rig: &dyn Rig) {
    let store = &*rig.store();
    let before = commit(store, put(block(0), "0")).await.revision;
    let mut slow = store.watch(&Area::Blocks, before).await.unwrap();
    let mut quick = store.watch(&Area::Blocks, before).await.unwrap();
    let mut last = before;
    for round in 0..300u16 {
        last = commit(store, put(block(round % 10), &round.to_string())).await.revision;
        // One that keeps up is told of each.
        assert_eq!(changes(&mut quick, 1).await[0].revision, last);
    }
    let mut mirror = Mirror::default();
    mirror.follow(&mut slow, last).await;
    let (entries, _) = list_all(store, &Area::Blocks).await.unwrap();
    assert_eq!(mirror.0, Mirror::of(entries).0);
}
