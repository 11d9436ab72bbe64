use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{MemStore, faults::Fault};

fn create() -> Txn {
    Txn::create(Key::Block("10.0.0.0/26".parse().unwrap()), Bytes::from_static(b"a"), vec![])
}

#[tokio::test]
async fn what_was_done_is_counted_and_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let memory = MemStore::new();
    let log = AuditLog::open(&path).unwrap();
    let store = ObservedStore::new(Arc::new(memory.clone()), Some(log));
    let actor = Actor { component: "c".into(), node: "n".into(), user: None };
    memory.inject(|call| call.is_commit(), Fault::FailBefore);
    store.commit(create(), &actor).await.unwrap_err();
    memory.inject(|call| call.is_commit(), Fault::LoseAnswer);
    store.commit(create(), &actor).await.unwrap_err();
    store.commit(create(), &actor).await.unwrap().conflict().unwrap();
    let key = Key::Block("10.0.0.0/26".parse().unwrap());
    store.commit(Txn::delete(key.clone(), Revision(1)), &actor).await.unwrap();
    store.get(&key).await.unwrap();
    let counters = store.counters();
    assert_eq!((counters.commit.requests(), counters.commit.failures()), (4, 2));
    assert_eq!((counters.conflicts.load(Relaxed), counters.get.requests()), (1, 1));
    let text = std::fs::read_to_string(&path).unwrap();
    let outcomes: Vec<bool> = text.lines().map(|line| line.contains("\"committed\"")).collect();
    assert_eq!(outcomes, [false, true], "what is not known to be undone, and what was done");
}

#[tokio::test]
async fn what_was_begun_is_written_down_though_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let memory = MemStore::new();
    let log = AuditLog::open(&path).unwrap();
    let store = ObservedStore::new(Arc::new(memory.clone()), Some(log));
    let actor = Actor { component: "c".into(), node: "n".into(), user: None };
    memory.inject(|call| call.is_commit(), Fault::Delay(Duration::from_millis(50)));
    let gone = tokio::time::timeout(Duration::from_millis(1), store.commit(create(), &actor));
    gone.await.expect_err("the caller goes away");
    let noted = async {
        while !std::fs::read_to_string(&path).unwrap().contains("\"committed\"") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noted).await.expect("a line in the log");
    assert_eq!(memory.revision(), Revision(1));
}
