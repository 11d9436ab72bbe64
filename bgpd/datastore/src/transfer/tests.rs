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
        let key = Key::cluster(Kind::GlobalNetworkSet, format!("p{number}"));
        store.commit_now(Txn::create(key, set(number).into(), vec![]), &actor()).unwrap();
    }
    let lease = Lease { node: "n".into(), holder: "h".into(), ttl: Duration::from_secs(9) };
    store.keep_lease_now(&lease).unwrap();
    store
}

fn set(number: usize) -> String {
    format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkSet","metadata":{{"name":"p{number}"}},"spec":{{"nets":["10.0.0.0/8"]}}}}"#
    )
}

async fn exported(store: &MemStore) -> String {
    let backup = Backup::of(store).await.unwrap();
    String::from_utf8(backup.lines().flatten().collect()).unwrap()
}

async fn import(
    store: &MemStore,
    text: &str,
    existing: Existing,
) -> Result<Restored, TransferError> {
    Backup::read(&mut text.as_bytes())?.restore(store, existing, &actor()).await
}

fn put(key: Key, value: &'static [u8]) -> Txn {
    let put = Write::Put { key, value: Bytes::from_static(value), index: vec![] };
    Txn { compares: vec![], writes: vec![put] }
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
    let done = import(&empty, &text, Existing::Refuse).await.unwrap();
    assert_eq!(done, Restored { values: 56, written: 56, deleted: 0 });
    assert_eq!(body(&exported(&empty).await), body(&text));
    // What came since goes, what changed is put back, what is the same is not written.
    empty.commit_now(Txn::create(block(200), Bytes::new(), vec![]), &actor()).unwrap();
    empty.commit_now(put(block(0), b""), &actor()).unwrap();
    let refused = import(&empty, &text, Existing::Refuse).await;
    assert!(matches!(refused, Err(TransferError::NotEmpty(_))));
    let before = empty.revision();
    let backup = Backup::read(&mut text.as_bytes()).unwrap();
    let compared = backup.compare(&empty, Existing::Replace).await.unwrap();
    assert_eq!(empty.revision(), before, "a comparison writes nothing");
    let done = import(&empty, &text, Existing::Replace).await.unwrap();
    assert_eq!(done, Restored { values: 56, written: 1, deleted: 1 });
    assert_eq!(done, compared);
    assert_eq!(body(&exported(&empty).await), body(&text));
    assert_eq!(empty.revision().0, before.0 + 1);
}

#[tokio::test]
async fn what_broke_off_in_the_middle_is_ended_by_doing_it_again() {
    let text = exported(&full().await).await;
    for done in [1, 16, 17, 55] {
        // As a process leaves it that was killed after so many writes.
        let store = MemStore::new();
        let part = Backup::read(&mut text.as_bytes()).unwrap();
        for Row { key, value, index } in part.rows.into_iter().take(done) {
            store.commit_now(Txn::create(key, value, index), &actor()).unwrap();
        }
        let rest = import(&store, &text, Existing::Refuse).await.unwrap();
        assert_eq!(rest, Restored { values: 56, written: 56 - done, deleted: 0 });
        assert_eq!(body(&exported(&store).await), body(&text));
    }
}

#[tokio::test]
async fn a_backup_in_pieces_is_the_same_backup() {
    let text = exported(&full().await).await;
    for size in [1, 7, 64, 4096] {
        let mut reader = Reader::default();
        text.as_bytes().chunks(size).try_for_each(|piece| reader.feed(piece)).unwrap();
        let backup = reader.finish().unwrap();
        assert_eq!(String::from_utf8(backup.lines().flatten().collect()).unwrap(), text);
    }
    // The end of the last line is no part of it.
    let backup = Backup::read(&mut text.trim_end().as_bytes()).unwrap();
    assert_eq!((backup.len(), backup.is_empty()), (56, false));
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let text = exported(&full().await).await;
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let twice = [&lines[..2], &lines[1..]].concat().join("\n");
    let short = [&lines[..3], &lines[4..]].concat().join("\n");
    let more = format!("{text}{}\n", lines[1]);
    let odd = text.replace("{\"entries\":56}", "{\"key\":\"x\",\"value\":1}");
    for (what, text) in [
        ("cut", cut),
        ("twice", twice),
        ("short", short),
        ("odd", odd),
        ("none", String::new()),
        ("more", more),
    ] {
        let store = MemStore::new();
        let refused = import(&store, &text, Existing::Refuse).await;
        assert!(matches!(refused, Err(TransferError::Form { .. })), "{what}: {refused:?}");
        assert_eq!(store.revision().0, 0, "{what}");
    }
}

#[tokio::test]
async fn a_datastore_moves_to_another_with_its_index() {
    let (from, to) = (full().await, MemStore::new());
    assert_eq!(migrate(&from, &to, &actor()).await.unwrap().written, 56);
    assert_eq!(body(&exported(&to).await), body(&exported(&from).await));
    // Again is no fault, but something else there is.
    assert_eq!(migrate(&from, &to, &actor()).await.unwrap().written, 0);
    to.commit_now(Txn::create(block(200), Bytes::new(), vec![]), &actor()).unwrap();
    let refused = migrate(&from, &to, &actor()).await;
    assert!(matches!(refused, Err(TransferError::NotEmpty(_))));
}
