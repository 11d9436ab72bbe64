//! Lists, pages and the past.

use super::*;

pub async fn an_area_lists_its_keys_in_order(rig: &dyn Rig) {
    let store = &*rig.store();
    let policy = |ns: &str| Key::namespaced(Kind::NetworkSet, ns, "a");
    let slice = Key::namespaced(Kind::EndpointSlice, "x", "s");
    let node = Key::cluster(Kind::Node, "n");
    for key in [pool("b"), block(2), policy("x"), pool("a"), slice.clone(), block(1), node.clone()]
    {
        commit(store, put(key, "{}")).await;
    }
    let lease = Lease { node: "n".into(), holder: "h".into(), ttl: Duration::from_secs(60) };
    store.keep_lease(&lease).await.unwrap();
    let paths = |keys: &[Key]| keys.iter().map(Key::path).collect::<Vec<_>>();
    let pools = [pool("a"), pool("b")];
    let resources = [slice.clone(), pool("a"), pool("b"), policy("x"), node];
    let all = [&[block(1), block(2), lease.key()][..], &resources].concat();
    for (area, wanted) in [
        (Area::Kind(Kind::IpPool, None), paths(&pools)),
        (Area::Resources, paths(&resources)),
        (Area::Kind(Kind::EndpointSlice, None), paths(std::slice::from_ref(&slice))),
        (Area::Kind(Kind::EndpointSlice, Some("x".into())), paths(&[slice])),
        (Area::Kind(Kind::EndpointSlice, Some("y".into())), vec![]),
        (Area::Blocks, paths(&[block(1), block(2)])),
        (Area::NodeLeases, paths(&[lease.key()])),
        (Area::Kind(Kind::BgpPeer, None), vec![]),
        (Area::All, paths(&all)),
    ] {
        let listing = store.list(&area, &Page::default()).await.unwrap();
        assert_eq!(names(&listing.entries), wanted, "{area:?}");
        assert_eq!(listing.more, None);
    }
    store.drop_lease(&lease).await.unwrap();
}

pub async fn a_namespace_is_not_the_beginning_of_another(rig: &dyn Rig) {
    let store = &*rig.store();
    let set = |ns: &str| Key::namespaced(Kind::NetworkSet, ns, "a");
    for ns in ["ns", "ns2", "n"] {
        commit(store, put(set(ns), "{}")).await;
    }
    let area = Area::Kind(Kind::NetworkSet, Some("ns".into()));
    let listing = store.list(&area, &Page::default()).await.unwrap();
    assert_eq!(names(&listing.entries), [set("ns").path()]);
}

pub async fn pages_are_of_one_moment(rig: &dyn Rig) {
    let store = &*rig.store();
    for number in 0..10 {
        commit(store, put(block(number), "old")).await;
        commit(store, put(pool(&format!("p{number}")), "{}")).await;
    }
    let mut page = Page { limit: 3, ..Page::default() };
    let mut seen = Vec::new();
    let mut revision = None;
    loop {
        let listing = store.list(&Area::All, &page).await.unwrap();
        assert!(listing.entries.len() <= 3);
        assert_eq!(*revision.get_or_insert(listing.revision), listing.revision);
        seen.extend(listing.entries);
        // Much happens between the pages.
        let round = u16::try_from(seen.len()).unwrap();
        commit(store, put(block(9 - (round % 10)), "new")).await;
        commit(store, delete(block(round % 10))).await;
        commit(store, put(block(200 + round), "new")).await;
        match listing.more {
            Some(cursor) => page = Page { at: revision, after: Some(cursor), limit: 3 },
            None => break,
        }
    }
    assert_eq!(seen.len(), 20);
    for (number, entry) in (0..10).zip(&seen) {
        assert_eq!((&entry.key, &entry.value.value), (&block(number), &octets("old")));
    }
    assert_eq!(seen.last().unwrap().key, pool("p9"));
}

pub async fn the_past_can_be_listed_until_it_is_forgotten(rig: &dyn Rig) {
    let store = &*rig.store();
    let first = commit(store, put(block(1), "a")).await.revision;
    let second = commit(store, put(block(2), "b")).await.revision;
    commit(store, put(block(1), "c")).await;
    let last = commit(store, delete(block(2))).await.revision;
    let at = |revision| Page { at: Some(revision), ..Page::default() };
    let then = store.list(&Area::Blocks, &at(first)).await.unwrap();
    assert_eq!((names(&then.entries), then.revision), (vec![block(1).path()], first));
    let then = store.list(&Area::Blocks, &at(second)).await.unwrap();
    let values: Vec<_> =
        then.entries.iter().map(|e| (&e.value.value[..], e.value.revision)).collect();
    assert_eq!(values, [(&b"a"[..], first), (&b"b"[..], second)]);
    rig.compact(second).await;
    let forgotten = store.list(&Area::Blocks, &at(first)).await.unwrap_err();
    assert!(matches!(forgotten, StoreError::Compacted { .. }), "{forgotten}");
    let (entries, now) = list_all(store, &Area::Blocks).await.unwrap();
    assert!(now >= last && entries.len() == 1);
    assert_eq!(store.list(&Area::Blocks, &at(now)).await.unwrap().entries, entries);
    let future = store.list(&Area::Blocks, &at(Revision(now.0 + 100))).await.unwrap_err();
    assert!(matches!(future, StoreError::Compacted { .. }), "{future}");
}
