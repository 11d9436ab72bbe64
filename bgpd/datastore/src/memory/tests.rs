use bytes::Bytes;
use margay_model::Change;

use super::*;

fn block() -> Key {
    Key::Block("10.0.0.0/26".parse().unwrap())
}

fn create() -> Txn {
    Txn::create(block(), Bytes::from_static(b"a"), Vec::new())
}

fn actor() -> Actor {
    Actor { component: "test".into(), node: "node1".into(), user: None }
}

fn fault(store: &MemStore, fault: Fault) -> StoreError {
    store.inject(|call| call.is_commit(), fault);
    store.commit_now(create(), &actor()).unwrap_err()
}

#[test]
fn a_lost_answer_is_a_change_that_was_made() {
    let store = MemStore::new();
    assert!(!fault(&store, Fault::FailBefore).is_outcome_unknown());
    assert_eq!(store.get_now(&block()), Ok(None));
    assert!(fault(&store, Fault::LoseRequest).is_outcome_unknown());
    assert_eq!(store.get_now(&block()), Ok(None));
    assert!(fault(&store, Fault::LoseAnswer).is_outcome_unknown());
    assert!(store.get_now(&block()).unwrap().is_some());
    let again = store.commit_now(create(), &actor()).unwrap();
    assert!(again.conflict().is_some());
}

#[test]
fn a_script_is_asked_about_every_request() {
    let store = MemStore::new();
    let mut commits = 0;
    store.set_script(move |call| {
        commits += usize::from(call.is_commit());
        (commits == 2).then_some(Fault::FailBefore)
    });
    assert!(store.commit_now(create(), &actor()).is_ok());
    assert!(store.commit_now(create(), &actor()).is_err());
    assert!(store.get_now(&block()).is_err());
    store.clear_script();
    assert!(store.get_now(&block()).is_ok());
}

#[test]
fn a_store_that_is_away_answers_nothing_and_says_so() {
    let store = MemStore::new();
    store.set_away(Some("unplugged"));
    assert!(store.get_now(&block()).is_err());
    let status = store.status();
    assert_eq!((status.connected, status.last_error.as_deref()), (false, Some("unplugged")));
    store.set_away(None);
    assert!(store.get_now(&block()).is_ok());
}

#[test]
fn changes_can_come_late_or_never() {
    let store = MemStore::new();
    store.hold_watches(true);
    let mut watch = store.watch_now(&Area::All, Revision(0)).unwrap();
    store.commit_now(create(), &actor()).unwrap();
    assert_eq!(watch.try_next(), None);
    store.hold_watches(false);
    assert_eq!(watch.try_next().unwrap().unwrap().changes.len(), 1);
    store.lose_changes(1);
    store.commit_now(Txn::delete(block(), Revision(1)), &actor()).unwrap();
    assert_eq!(watch.try_next(), None);
    store.commit_now(create(), &actor()).unwrap();
    let batch = watch.try_next().unwrap().unwrap();
    assert!(matches!(&batch.changes[..], [Change { value: Some(_), .. }]));
    let broken = StoreError::Compacted { asked: Revision(0), oldest: Revision(0) };
    store.break_watches(&broken);
    assert_eq!(watch.try_next(), Some(Err(broken)));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_is_overtaken_by_others() {
    let store = MemStore::new();
    store.inject(|call| call.is_commit(), Fault::Delay(Duration::from_secs(5)));
    let slow = tokio::spawn({
        let store = store.clone();
        async move { store.commit(create(), &actor()).await }
    });
    tokio::task::yield_now().await;
    let quick = store.commit(create(), &actor()).await.unwrap();
    assert!(quick.committed().is_some());
    assert!(slow.await.unwrap().unwrap().conflict().is_some());
}
