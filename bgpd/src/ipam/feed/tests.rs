use std::sync::Arc;

use margay_datastore::{MemStore, Store, StoreError};
use margay_model::{Actor, Area, Kind, Txn};

use super::*;
use crate::follow::Follow;

async fn write(store: &MemStore, name: &str) {
    let actor = Actor { component: "test".into(), node: "n".into(), user: None };
    let key = Key::cluster(Kind::IpPool, name);
    let txn = Txn::create(key, b"{}".to_vec().into(), Vec::new());
    store.commit(txn, &actor).await.expect("it is written");
}

#[tokio::test]
async fn half_of_what_waited_is_not_told_when_the_watch_ends() {
    let store = MemStore::new();
    // Any area will do.
    let mut follow = Follow::new(Arc::new(store.clone()), Area::Resources);
    follow.next(&Doubt::default()).await;
    write(&store, "a").await;
    let Told::Changed(first) = follow.next(&Doubt::default()).await else {
        panic!("it is watched")
    };
    write(&store, "b").await;
    let all = with_what_waits(&mut follow, first.clone()).map(|all| all.changes.len());
    assert_eq!(all, Ok(2));
    let endpoint = "m".to_owned();
    store.break_watches(&StoreError::Unavailable { endpoint, cause: "test".into() });
    assert_eq!(with_what_waits(&mut follow, first), Err(Ended));
    assert!(
        matches!(follow.next(&Doubt::default()).await, Told::Listed(entries, _) if entries.len() == 2)
    );
}
