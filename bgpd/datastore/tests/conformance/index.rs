//! Finding values by something else than their key.

use super::*;

async fn found(store: &dyn Store, entry: &IndexEntry) -> Vec<String> {
    names(&store.find(entry, &Page::default()).await.unwrap().entries)
}

pub async fn a_value_is_found_by_its_entries_and_only_by_the_last_ones(rig: &dyn Rig) {
    let store = &*rig.store();
    let state = IndexEntry { index: "state".into(), value: "node1".into() };
    let create = Txn::create(block(1), octets("a"), vec![owner("node1"), state.clone()]);
    let first = commit(store, create).await.revision;
    commit(store, put_with(block(2), "b", &[owner("node1")])).await;
    assert_eq!(found(store, &owner("node1")).await, [block(1).path(), block(2).path()]);
    assert_eq!(found(store, &state).await, [block(1).path()]);
    assert_eq!(found(store, &owner("node")).await, [""; 0]);
    // To another node, with the compare and without.
    let moved = Txn::update(block(1), first, octets("c"), vec![owner("node2")]);
    let second = commit(store, moved).await.revision;
    assert_eq!(found(store, &owner("node1")).await, [block(2).path()]);
    assert_eq!(found(store, &owner("node2")).await, [block(1).path()]);
    assert_eq!(found(store, &state).await, [""; 0]);
    commit(store, put_with(block(2), "d", &[owner("node2")])).await;
    assert_eq!(found(store, &owner("node2")).await, [block(1).path(), block(2).path()]);
    let listing = store.find(&owner("node2"), &Page::default()).await.unwrap();
    assert_eq!(listing.entries[0].value.revision, second);
    assert_eq!(listing.entries[0].index, [owner("node2")]);
    // A lost compare moves nothing.
    conflict(store, Txn::update(block(1), first, octets("e"), vec![owner("node9")])).await;
    assert_eq!(found(store, &owner("node9")).await, [""; 0]);
    commit(store, Txn::delete(block(1), second)).await;
    commit(store, delete(block(2))).await;
    assert_eq!(found(store, &owner("node2")).await, [""; 0]);
    // What comes again is not found by what it once was.
    commit(store, Txn::create(block(1), octets("f"), vec![])).await;
    assert_eq!(found(store, &owner("node2")).await, [""; 0]);
}

pub async fn entries_may_hold_any_text(rig: &dyn Rig) {
    let store = &*rig.store();
    let odd = ["a/b", "a", "a%2Fb", "", "ü ", "a/", "/a", "%"];
    for (number, text) in (0u16..).zip(odd) {
        commit(store, put_with(block(number), text, &[owner(text)])).await;
    }
    for (number, text) in (0u16..).zip(odd) {
        assert_eq!(found(store, &owner(text)).await, [block(number).path()], "{text:?}");
    }
    let (all, _) = list_all(store, &Area::Blocks).await.unwrap();
    assert_eq!(all.len(), odd.len());
    assert_eq!(all[0].index, [owner("a/b")]);
}

pub async fn what_is_found_comes_in_pages_of_one_moment(rig: &dyn Rig) {
    let store = &*rig.store();
    for number in 0..10 {
        commit(store, put_with(block(number), "old", &[owner("n")])).await;
    }
    let first = store.find(&owner("n"), &Page { limit: 4, ..Page::default() }).await.unwrap();
    assert_eq!(first.entries.len(), 4);
    commit(store, delete(block(5))).await;
    commit(store, put_with(block(6), "new", &[owner("other")])).await;
    commit(store, put_with(block(20), "new", &[owner("n")])).await;
    let rest = Page { at: Some(first.revision), after: first.more, limit: 100 };
    let rest = store.find(&owner("n"), &rest).await.unwrap();
    let wanted: Vec<String> = (4..10).map(|number| block(number).path()).collect();
    assert_eq!(names(&rest.entries), wanted);
    assert!(rest.entries.iter().all(|entry| entry.value.value == octets("old")));
    assert_eq!((rest.revision, rest.more), (first.revision, None));
}
