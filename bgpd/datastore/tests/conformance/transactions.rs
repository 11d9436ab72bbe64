//! Commits and their compares.

use super::*;

pub async fn a_key_is_created_once(rig: &dyn Rig) {
    let store = &*rig.store();
    assert_eq!(value(store, &block(1)).await, None);
    let first = commit(store, Txn::create(block(1), octets("a"), vec![])).await;
    assert_eq!(first.replaced, [None]);
    assert_eq!(value(store, &block(1)).await, Some(("a".into(), first.revision)));
    let lost = conflict(store, Txn::create(block(1), octets("b"), vec![])).await;
    assert_eq!(lost.compare, Compare { key: block(1), expect: Expect::Absent });
    assert_eq!(lost.current.unwrap().revision, first.revision);
    assert_eq!(value(store, &block(1)).await, Some(("a".into(), first.revision)));
}

pub async fn an_update_needs_the_last_revision(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    let second = commit(store, Txn::update(block(1), first, octets("b"), vec![])).await;
    assert!(second.revision > first);
    assert_eq!(second.replaced, [Some(first)]);
    let lost = conflict(store, Txn::update(block(1), first, octets("c"), vec![])).await;
    let current = lost.current.unwrap();
    assert_eq!((current.value, current.revision), (octets("b"), second.revision));
    let missing = conflict(store, Txn::update(block(2), first, octets("c"), vec![])).await;
    assert_eq!(missing.current, None);
    let third = commit(store, put(block(1), "d")).await;
    assert_eq!(third.replaced, [Some(second.revision)]);
}

pub async fn a_delete_needs_the_last_revision_if_it_names_one(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    let second = commit(store, put(block(1), "b")).await.revision;
    conflict(store, Txn::delete(block(1), first)).await;
    let deleted = commit(store, Txn::delete(block(1), second)).await;
    assert!(deleted.revision > second);
    assert_eq!(deleted.replaced, [Some(second)]);
    assert_eq!(value(store, &block(1)).await, None);
    let gone = conflict(store, Txn::delete(block(1), second)).await;
    assert_eq!(gone.current, None);
    let again = commit(store, Txn::create(block(1), octets("c"), vec![])).await;
    assert!(again.revision > deleted.revision, "a revision never comes twice");
}

pub async fn all_writes_are_made_or_none(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    let write =
        |number, text| Write::Put { key: block(number), value: octets(text), index: vec![] };
    let both = |expect| Txn {
        compares: vec![
            Compare { key: block(1), expect: Expect::Present },
            Compare { key: block(2), expect },
        ],
        writes: vec![write(1, "b"), write(2, "b"), Write::Delete { key: block(3) }],
    };
    let lost = conflict(store, both(Expect::At(first))).await;
    assert_eq!(lost.compare.key, block(2), "the first that does not hold");
    assert_eq!(value(store, &block(1)).await, Some(("a".into(), first)));
    let made = commit(store, both(Expect::Absent)).await;
    assert_eq!(made.replaced, [Some(first), None, None]);
    for number in [1, 2] {
        assert_eq!(value(store, &block(number)).await, Some(("b".into(), made.revision)));
    }
}

pub async fn what_has_no_effect_makes_no_revision(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    let nothing = commit(store, delete(block(2))).await;
    assert_eq!((nothing.revision, nothing.replaced), (first, vec![None]));
    let same = commit(store, put(block(1), "a")).await.revision;
    assert!(same > first, "writing the same octets is a change");
}

pub async fn compares_without_writes_only_ask(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    let ask = |expect| Txn { compares: vec![Compare { key: block(1), expect }], writes: vec![] };
    assert_eq!(commit(store, ask(Expect::At(first))).await.revision, first);
    commit(store, ask(Expect::Present)).await;
    conflict(store, ask(Expect::Absent)).await;
}

pub async fn of_many_who_count_up_none_is_lost(rig: &dyn Rig) {
    const TASKS: usize = 8;
    const EACH: usize = 25;
    let store = rig.store();
    commit(&*store, put(block(1), "0")).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let store = rig.store();
        tasks.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let (text, revision) = value(&*store, &block(1)).await.unwrap();
                let next = (text.parse::<usize>().unwrap() + 1).to_string();
                let update = Txn::update(block(1), revision, octets(&next), vec![]);
                if try_commit(&*store, update).await.committed().is_some() {
                    done += 1;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let (text, _) = value(&*store, &block(1)).await.unwrap();
    assert_eq!(text, (TASKS * EACH).to_string());
}

pub async fn what_is_too_large_is_refused_and_the_largest_is_kept(rig: &dyn Rig) {
    let store = &*rig.store();
    let large = "x".repeat(limits::MAX_VALUE);
    let first = commit(store, put(block(1), &large)).await.revision;
    let refused = store.commit(put(block(1), &format!("{large}y")), &actor()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    assert_eq!(value(store, &block(1)).await, Some((large, first)));
    // As many operations as there may be, all at once.
    let writes = |text: &str| Txn {
        compares: (0..16)
            .map(|n| Compare { key: block(100 + n), expect: Expect::Absent })
            .collect(),
        writes: (0..16)
            .map(|n| Write::Put {
                key: block(100 + n),
                value: octets(text),
                index: ["a", "b", "c"].map(|part| owner(&format!("{part}{text}{n}"))).to_vec(),
            })
            .collect(),
    };
    commit(store, writes("one")).await;
    commit(store, Txn { compares: vec![], ..writes("two") }).await;
    let found = store.find(&owner("atwo7"), &Page::default()).await.unwrap();
    assert_eq!(names(&found.entries), [block(107).path()]);
    // Resources have no index: there may be more of them, made and replaced.
    let named = |n: usize| Key::cluster(Kind::IpPool, format!("p{n}"));
    let pools = |count: usize, expect: Expect| Txn {
        compares: (0..count).map(|n| Compare { key: named(n), expect }).collect(),
        writes: (0..count)
            .map(|n| Write::Put { key: named(n), value: octets("{}"), index: vec![] })
            .collect(),
    };
    let most = limits::Limits::ETCD.operations;
    let made = commit(store, pools(most, Expect::Absent)).await.revision;
    commit(store, pools(most / 2, Expect::At(made))).await;
    if store.limits() != limits::Limits::ETCD {
        let many = Txn { compares: vec![], ..pools(10_000, Expect::Absent) };
        commit(store, many).await;
        assert!(value(store, &named(9_999)).await.is_some());
        return;
    }
    for beyond in [pools(most + 1, Expect::Absent), pools(most / 2 + 1, Expect::At(made))] {
        let refused = store.commit(beyond, &actor()).await.unwrap_err();
        assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    }
    assert!(value(store, &named(most)).await.is_none());
}

pub async fn a_resource_version_is_not_stored(rig: &dyn Rig) {
    let store = &*rig.store();
    let given = r#"{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{"name":"a","resourceVersion":"17"}}"#;
    commit(store, put(pool("a"), given)).await;
    let (kept, _) = value(store, &pool("a")).await.unwrap();
    assert_eq!(
        kept,
        r#"{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{"name":"a"}}"#
    );
    let policy = Key::cluster(Kind::GlobalNetworkPolicy, "allow");
    let given = r#"{"metadata":{"name":"allow"},"spec":{"tier":"default"}}"#;
    commit(store, put(policy.clone(), given)).await;
    assert_eq!(value(store, &policy).await.unwrap().0, given);
    let refused = store.commit(put(pool("b"), "no JSON"), &actor()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid { .. }), "{refused}");
}

pub async fn a_guard_is_compared_and_lies_in_no_area(rig: &dyn Rig) {
    let store = &*rig.store();
    let guard = Key::Guard(Guard::Pools);
    let first = commit(store, Txn::create(guard.clone(), octets("a"), Vec::new())).await.revision;
    let areas = [
        Area::All,
        Area::Resources,
        Area::Blocks,
        Area::NodeLeases,
        Area::Ipam,
        Area::Kind(Kind::IpPool, None),
    ];
    let mut watch = store.watch(&Area::All, first).await.unwrap();
    let again = || Txn::update(guard.clone(), first, octets("b"), Vec::new());
    let mut with_a_pool = put(pool("a"), "{}");
    with_a_pool.join(again());
    let second = commit(store, with_a_pool).await.revision;
    assert_eq!(value(store, &guard).await, Some(("b".into(), second)));
    assert_eq!(conflict(store, again()).await.compare.key, guard);
    for area in &areas {
        let (entries, _) = list_all(store, area).await.unwrap();
        assert!(entries.iter().all(|entry| entry.key == pool("a")), "{area:?}: {entries:?}");
    }
    let told = changes(&mut watch, 1).await;
    assert_eq!((&told[0].key, told[0].revision), (&pool("a"), second));
    commit(store, delete(guard)).await;
    // What comes later is told, and the guard was not before it.
    let last = commit(store, put(pool("b"), "{}")).await.revision;
    let told = changes(&mut watch, 1).await;
    assert_eq!((&told[0].key, told[0].revision), (&pool("b"), last));
}

pub async fn what_is_kept_of_a_request_lies_in_an_area_of_its_own(rig: &dyn Rig) {
    let store = &*rig.store();
    let key = |piece| Key::Undo(Undo { request: "0f-1".into(), piece });
    let pieces = [key(Piece::Before(1)), key(Piece::Head), key(Piece::Part(1))];
    let mut txn = put(pool("a"), "{}");
    for piece in &pieces {
        txn.join(put(piece.clone(), "no JSON"));
    }
    let revision = commit(store, txn).await.revision;
    let (entries, _) = list_all(store, &Area::Undo).await.unwrap();
    let found: Vec<_> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let kept = Versioned { value: octets("no JSON"), revision };
    assert_eq!(found, pieces.map(|piece| (piece, kept.clone())));
    let (entries, _) = list_all(store, &Area::All).await.unwrap();
    let found: Vec<_> = entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, [pool("a")]);
}
