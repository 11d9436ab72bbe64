use std::time::Duration;

use margay_model::Kind;

use super::*;
use crate::{Lease, MemStore};

fn actor() -> Actor {
    Actor { component: "test".into(), node: "n".into(), user: None }
}

fn block(number: usize) -> Key {
    Key::Block(format!("10.0.{number}.0/26").parse().unwrap())
}

/// JSON with and without spaces, octets that are no text, nothing at all, an index, a lease.
async fn full() -> MemStore {
    let store = MemStore::new();
    let values: [&[u8]; 6] =
        [b"{\"a\":1}", b"{ \"a\": 1 }", b"\xff\0", b"", b"null", b"{\"b\":1.0e5}"];
    for (number, value) in values.into_iter().enumerate() {
        let index = vec![IndexEntry { index: "owner".into(), value: format!("n/{number}") }];
        let txn = Txn::create(block(number), Bytes::from_static(value), index);
        store.commit_now(txn, &actor()).unwrap();
    }
    for number in 0..50 {
        let key = Key::cluster(Kind::IpPool, format!("p{number}"));
        store.commit_now(Txn::create(key, Bytes::from_static(b"{}"), vec![]), &actor()).unwrap();
    }
    let lease = Lease { node: "n".into(), holder: "h".into(), ttl: Duration::from_secs(9) };
    store.keep_lease_now(&lease).unwrap();
    store
}

async fn exported(store: &MemStore) -> String {
    let mut out = Vec::new();
    export(store, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// Without the head, whose revision is the store's own.
fn body(text: &str) -> &str {
    text.split_once('\n').unwrap().1
}

#[tokio::test]
async fn a_backup_restores_to_the_same_state() {
    let text = exported(&full().await).await;
    assert_eq!(text.lines().count(), 58);
    let empty = MemStore::new();
    let count = import(&empty, &mut text.as_bytes(), Existing::Refuse, &actor()).await.unwrap();
    assert_eq!(count, 56);
    assert_eq!(body(&exported(&empty).await), body(&text));
    let refused = import(&empty, &mut text.as_bytes(), Existing::Refuse, &actor()).await;
    assert!(matches!(refused, Err(TransferError::NotEmpty(_))));
    // What came since goes, what changed is put back, what is the same is not written.
    empty.commit_now(Txn::create(block(200), Bytes::new(), vec![]), &actor()).unwrap();
    let put = Write::Put { key: block(0), value: Bytes::new(), index: vec![] };
    empty.commit_now(Txn { compares: vec![], writes: vec![put] }, &actor()).unwrap();
    let before = empty.revision();
    import(&empty, &mut text.as_bytes(), Existing::Replace, &actor()).await.unwrap();
    assert_eq!(body(&exported(&empty).await), body(&text));
    assert_eq!(empty.revision().0, before.0 + 1);
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let text = exported(&full().await).await;
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let twice = [&lines[..2], &lines[1..]].concat().join("\n");
    let short = [&lines[..3], &lines[4..]].concat().join("\n");
    let odd = text.replace("{\"entries\":56}", "{\"key\":\"x\",\"value\":1}");
    for (what, text) in
        [("cut", cut), ("twice", twice), ("short", short), ("odd", odd), ("none", String::new())]
    {
        let store = MemStore::new();
        let refused = import(&store, &mut text.as_bytes(), Existing::Refuse, &actor()).await;
        assert!(matches!(refused, Err(TransferError::Form { .. })), "{what}: {refused:?}");
        assert_eq!(store.revision().0, 0, "{what}");
    }
}

#[tokio::test]
async fn a_datastore_moves_to_another_with_its_index() {
    let (from, to) = (full().await, MemStore::new());
    assert_eq!(migrate(&from, &to, &actor()).await.unwrap(), 56);
    assert_eq!(body(&exported(&to).await), body(&exported(&from).await));
    let refused = migrate(&from, &to, &actor()).await;
    assert!(matches!(refused, Err(TransferError::NotEmpty(_))));
}
