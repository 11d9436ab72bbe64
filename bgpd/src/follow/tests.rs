use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use margay_datastore::{
    MemStore, Outcome,
    faults::{Call, Fault},
};
use margay_model::{Actor, Key, Kind, Txn};
use tokio::{sync::mpsc, time::timeout};

use super::*;

fn actor() -> Actor {
    Actor { component: "test".into(), node: "n".into(), user: None }
}

async fn write(store: &MemStore, name: &str) -> Revision {
    let key = Key::cluster(Kind::IpPool, name);
    let txn = Txn::create(key, b"{}".to_vec().into(), Vec::new());
    match store.commit(txn, &actor()).await {
        Ok(Outcome::Committed(committed)) => committed.revision,
        other => panic!("{other:?}"),
    }
}

fn follow(store: &MemStore) -> Follow {
    Follow::new(Arc::new(store.clone()), Area::Resources)
}

/// `list a b` or `changed a b`.
fn short(told: &Told) -> String {
    let name = |key: &Key| match key {
        Key::Resource(key) => format!(" {}", key.name),
        other => format!(" {other}"),
    };
    match told {
        Told::Listed(entries, _) => {
            format!("list{}", entries.iter().map(|e| name(&e.key)).collect::<String>())
        }
        Told::Changed(batch) => {
            format!("changed{}", batch.changes.iter().map(|c| name(&c.key)).collect::<String>())
        }
    }
}

fn away() -> StoreError {
    StoreError::Unavailable { endpoint: "m".into(), cause: "test".into() }
}

#[tokio::test]
async fn a_list_comes_first_and_then_what_changed_since() {
    let store = MemStore::new();
    let at = write(&store, "a").await;
    let mut follow = follow(&store);
    let told = follow.next(&Doubt::default()).await;
    assert_eq!(short(&told), "list a");
    assert!(matches!(told, Told::Listed(_, revision) if revision == at));
    assert_eq!(follow.waiting(), Ok(None), "it is not watched yet");
    // Between the list and the watch.
    write(&store, "b").await;
    assert_eq!(short(&follow.next(&Doubt::default()).await), "changed b");
    assert_eq!(follow.waiting(), Ok(None));
    let last = write(&store, "c").await;
    let waiting = follow.waiting().ok().flatten().expect("it has come");
    assert_eq!((waiting.changes.len(), waiting.revision), (1, last));
}

#[tokio::test]
async fn history_that_was_lost_is_listed_again_at_once() {
    let store = MemStore::new();
    let mut follow = follow(&store);
    assert_eq!(short(&follow.next(&Doubt::default()).await), "list");
    // Before the watch begins.
    write(&store, "a").await;
    let last = write(&store, "b").await;
    store.compact(last);
    // Who waits for nothing is done before any clock is looked at.
    let at_once = async |follow: &mut Follow| {
        short(&timeout(PAUSE / 2, follow.next(&Doubt::default())).await.expect("without a pause"))
    };
    assert_eq!(at_once(&mut follow).await, "list a b");
    // And while it runs.
    write(&store, "c").await;
    assert_eq!(short(&follow.next(&Doubt::default()).await), "changed c");
    store.break_watches(&StoreError::Compacted { asked: last, oldest: last });
    assert_eq!(at_once(&mut follow).await, "list a b c");
}

#[tokio::test]
async fn a_watch_that_ends_while_it_is_emptied_is_followed_by_a_list() {
    let store = MemStore::new();
    let mut follow = follow(&store);
    assert_eq!(short(&follow.next(&Doubt::default()).await), "list");
    write(&store, "a").await;
    assert_eq!(short(&follow.next(&Doubt::default()).await), "changed a");
    store.break_watches(&away());
    write(&store, "b").await;
    assert!((0..9).any(|_| follow.waiting() == Err(Ended)), "what was taken may not be all");
    assert_eq!(short(&follow.next(&Doubt::default()).await), "list a b");
}

#[tokio::test]
async fn a_datastore_that_was_away_for_long_is_asked_again_soon_once_it_has_answered() {
    let store = MemStore::new();
    let (lists, mut listed) = mpsc::unbounded_channel();
    let mut calls = 0;
    store.set_script(move |call| {
        let is_list = matches!(call, Call::List(_));
        if !is_list {
            return None;
        }
        calls += 1;
        let _ = lists.send(Instant::now());
        // Away three times (pauses of 1, 2 and 4), there, away once, there.
        [1, 2, 3, 5].contains(&calls).then_some(Fault::FailBefore)
    });
    let mut follow = follow(&store);
    assert_eq!(short(&follow.next(&Doubt::default()).await), "list");
    let mut times = Vec::new();
    for _ in 0..4 {
        times.push(listed.recv().await.expect("a list"));
    }
    for (pair, pauses) in times.windows(2).zip([1, 2, 4]) {
        assert!(pair[1] - pair[0] >= PAUSE * pauses, "{times:?}");
    }
    // The watch is there as soon as a change comes by it.
    write(&store, "a").await;
    assert_eq!(short(&follow.next(&Doubt::default()).await), "changed a");
    assert_eq!(follow.pause, PAUSE);
    store.break_watches(&away());
    assert_eq!(short(&follow.next(&Doubt::default()).await), "list a");
}

#[tokio::test(start_paused = true)]
async fn a_list_under_way_is_ended_however_many_doubts_come_and_changes_are_heard_before_the_next()
{
    let store = MemStore::new();
    let (doubt, begun) = (Doubt::default(), Arc::new(AtomicUsize::new(0)));
    let lists = Arc::clone(&begun);
    store.set_script(move |call| {
        let is_list = matches!(call, Call::List(_));
        // Longer than doubts are left alone, but for the first one.
        (is_list && lists.fetch_add(1, Relaxed) > 0).then_some(Fault::Delay(12 * DOUBT))
    });
    let mut follow = follow(&store);
    let doubts = async {
        loop {
            doubt.raise();
            sleep(DOUBT / 5).await;
        }
    };
    let told = async {
        assert_eq!(short(&follow.next(&doubt).await), "list");
        assert_eq!(short(&follow.next(&doubt).await), "list");
        assert_eq!(begun.load(Relaxed), 2);
        write(&store, "a").await;
        assert_eq!(short(&follow.next(&doubt).await), "changed a");
        assert_eq!(begun.load(Relaxed), 2, "it was not time yet");
        assert_eq!(short(&follow.next(&doubt).await), "list a");
        assert_eq!(begun.load(Relaxed), 3);
    };
    tokio::select! {
        () = doubts => {}
        told = timeout(1000 * DOUBT, told) => told.expect("a list that ends"),
    }
}
