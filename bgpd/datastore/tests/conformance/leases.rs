//! Leases of nodes.

use super::*;

fn lease(holder: &str, secs: u64) -> Lease {
    Lease { node: "node1".into(), holder: holder.into(), ttl: Duration::from_secs(secs) }
}

async fn held(store: &dyn Store, lease: &Lease) -> Revision {
    match store.keep_lease(lease).await.unwrap() {
        LeaseOutcome::Held { revision } => revision,
        LeaseOutcome::Taken { current } => panic!("{current:?}"),
    }
}

pub async fn a_lease_is_held_by_one(rig: &dyn Rig) {
    let store = &*rig.store();
    let (one, other) = (lease("one", 30), lease("other", 30));
    let revision = held(store, &one).await;
    let found = store.get(&one.key()).await.unwrap().unwrap();
    assert_eq!((found.value, found.revision), (one.value(), revision));
    assert_eq!(held(store, &one).await, revision, "keeping it is no change");
    let LeaseOutcome::Taken { current } = store.keep_lease(&other).await.unwrap() else {
        panic!("held by two")
    };
    assert!(one.is_held_by(&current.value));
    store.drop_lease(&other).await.unwrap();
    assert!(store.get(&one.key()).await.unwrap().is_some(), "only its holder gives it back");
    store.drop_lease(&one).await.unwrap();
    assert_eq!(store.get(&one.key()).await.unwrap(), None);
    assert!(held(store, &other).await > revision);
    store.drop_lease(&other).await.unwrap();
    store.drop_lease(&other).await.unwrap();
}

pub async fn a_lease_that_is_not_kept_ends_and_watchers_are_told(rig: &dyn Rig) {
    let store = &*rig.store();
    let one = lease("one", 2);
    let revision = held(store, &one).await;
    let mut watch = store.watch(&Area::NodeLeases, revision).await.unwrap();
    for _ in 0..3 {
        rig.pass(Duration::from_millis(1000)).await;
        assert_eq!(held(store, &one).await, revision);
    }
    assert_eq!(watch.try_next(), None);
    rig.pass(Duration::from_millis(2100)).await;
    let seen = changes(&mut watch, 1).await;
    assert_eq!((&seen[0].key, &seen[0].value), (&one.key(), &None));
    assert_eq!(store.get(&one.key()).await.unwrap(), None);
    let again = held(store, &one).await;
    assert!(again > revision);
    store.drop_lease(&one).await.unwrap();
}

pub async fn a_transaction_can_depend_on_a_lease(rig: &dyn Rig) {
    let store = &*rig.store();
    let one = lease("one", 30);
    let revision = held(store, &one).await;
    let fenced = |number| Txn {
        compares: vec![Compare { key: one.key(), expect: Expect::At(revision) }],
        writes: vec![Write::Put { key: block(number), value: octets("a"), index: vec![] }],
    };
    commit(store, fenced(1)).await;
    store.drop_lease(&one).await.unwrap();
    conflict(store, fenced(2)).await;
    let refused = store.commit(delete(one.key()), &actor()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid { .. }), "{refused}");
}
