use bytes::Bytes;

use super::*;

fn key(name: &str) -> Key {
    Key::NodeLease(name.into())
}

fn put(name: &str, revision: u64, created: bool) -> Event {
    let value =
        Versioned { value: Bytes::from(revision.to_string()), revision: Revision(revision) };
    Event {
        change: Change { key: key(name), value: Some(value), revision: Revision(revision) },
        created,
    }
}

fn delete(name: &str, revision: u64) -> Event {
    let change = Change { key: key(name), value: None, revision: Revision(revision) };
    Event { change, created: false }
}

fn feed() -> (Arc<Feed>, Watch) {
    let feed = Feed::new(Area::NodeLeases, Revision(0));
    (feed.clone(), Watch::new(feed, None))
}

fn revisions(batch: &Batch) -> Vec<u64> {
    batch.changes.iter().map(|change| change.revision.0).collect()
}

#[test]
fn a_key_that_changed_often_costs_one_change_the_last() {
    let (feed, mut watch) = feed();
    for revision in 1..=100 {
        feed.push(&[put("a", revision, revision == 1)], Revision(revision));
    }
    feed.push(&[put("b", 101, true)], Revision(101));
    let batch = watch.try_next().unwrap().unwrap();
    assert_eq!(revisions(&batch), [100, 101]);
    assert_eq!(batch.revision, Revision(101));
    assert_eq!(watch.try_next(), None);
}

#[test]
fn a_key_that_came_and_went_unseen_costs_nothing() {
    let (feed, mut watch) = feed();
    for round in 0..100_000 {
        feed.push(&[put(&round.to_string(), 2 * round + 1, true)], Revision(2 * round + 1));
        feed.push(&[delete(&round.to_string(), 2 * round + 2)], Revision(2 * round + 2));
    }
    assert_eq!(watch.try_next(), None);
    assert_eq!(watch.revision(), Revision(200_000));
    assert_eq!(feed.lock().pending.at.len(), 0);
}

#[test]
fn a_key_that_was_told_of_is_told_to_be_gone() {
    let (feed, mut watch) = feed();
    feed.push(&[put("a", 1, true)], Revision(1));
    watch.try_next().unwrap().unwrap();
    feed.push(&[delete("a", 2)], Revision(2));
    feed.push(&[put("a", 3, true)], Revision(3));
    feed.push(&[delete("a", 4)], Revision(4));
    let batch = watch.try_next().unwrap().unwrap();
    assert_eq!(batch.changes, [delete("a", 4).change]);
}

#[test]
fn one_that_never_reads_is_told_to_list_again() {
    let (feed, mut watch) = feed();
    for revision in 1..=(PENDING_MAX as u64 + 1) {
        feed.push(&[put(&revision.to_string(), revision, true)], Revision(revision));
    }
    let again =
        StoreError::Compacted { asked: Revision(0), oldest: Revision(PENDING_MAX as u64 + 1) };
    assert_eq!(watch.try_next(), Some(Err(again.clone())));
    assert_eq!(watch.try_next(), Some(Err(again)));
}

#[test]
fn what_one_commit_did_is_not_torn_apart() {
    let (feed, mut watch) = feed();
    for revision in 1..=999 {
        feed.push(&[put(&format!("a{revision}"), revision, true)], Revision(revision));
    }
    feed.push(&[put("x", 1000, true), put("y", 1000, true)], Revision(1000));
    feed.push(&[put("z", 1001, true)], Revision(1001));
    let first = watch.try_next().unwrap().unwrap();
    assert_eq!((first.changes.len(), first.revision), (1001, Revision(1000)));
    let second = watch.try_next().unwrap().unwrap();
    assert_eq!(revisions(&second), [1001]);
}

#[test]
fn changes_elsewhere_move_the_revision_only() {
    let (feed, mut watch) = feed();
    let elsewhere = Key::Block("10.0.0.0/26".parse().unwrap());
    let change = Change { key: elsewhere, value: None, revision: Revision(7) };
    feed.push(&[Event { change, created: false }], Revision(7));
    assert_eq!(watch.try_next(), None);
    assert_eq!(watch.revision(), Revision(7));
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_as_current_as_what_was_heard_and_taken_from_it() {
    let second = std::time::Duration::from_secs(1);
    let feed = Feed::remote(Area::NodeLeases, Revision(0));
    let mut watch = Watch::new(feed.clone(), None);
    let pulse = watch.pulse();
    feed.push(&[put("a", 1, true)], Revision(1));
    assert!(watch.try_next().is_some());
    assert_eq!(pulse.as_of(), None, "more may be on its way");
    let heard = Instant::now();
    feed.heard(heard);
    tokio::time::advance(second).await;
    assert_eq!(pulse.as_of(), Some(heard));
    // It is here, but not taken.
    let came = Instant::now();
    feed.push(&[put("b", 2, true)], Revision(2));
    tokio::time::advance(second).await;
    feed.heard(Instant::now());
    assert_eq!(pulse.as_of(), Some(came));
    assert!(watch.try_next().is_some());
    assert_eq!(pulse.as_of(), Some(Instant::now()));
    // What was heard once is not unheard.
    feed.heard(came);
    assert_eq!(pulse.as_of(), Some(Instant::now()));
}
