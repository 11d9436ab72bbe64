use margay_datastore::{
    MemStore,
    faults::{Call, Fault},
};
use margay_ipam::check::Kind;
use margay_model::{Key, Txn};

use super::*;

const BLOCKS: [&str; 3] = ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26"];

fn block(text: &str) -> IpNet {
    text.parse().expect("a block")
}

fn actor() -> Actor {
    Actor { component: "test".into(), node: "n1".into(), user: None }
}

fn problem(of: &str, by_hand: Option<&str>) -> Problem {
    Problem {
        kind: Kind::BlockOfGoneNode,
        address: None,
        block: Some(block(of)),
        detail: "owned by a node that is gone".into(),
        by_hand: by_hand.map(str::to_owned),
    }
}

/// A store with three blocks, and for each the step that takes it away.
async fn bench() -> (MemStore, Vec<Step>) {
    let store = MemStore::new();
    let mut steps = Vec::new();
    for name in BLOCKS {
        let cidr = block(name);
        let txn = Txn::create(Key::Block(cidr), b"{}".to_vec().into(), vec![]);
        let Ok(Outcome::Committed(done)) = store.commit(txn, &actor()).await else {
            panic!("it is written")
        };
        steps.push(Step { cidr, base: Some(done.revision), after: None });
    }
    (store, steps)
}

/// Which of the blocks are left in the store.
async fn left(store: &MemStore) -> Vec<&'static str> {
    let mut left = Vec::new();
    for name in BLOCKS {
        if store.get(&Key::Block(block(name))).await.expect("it answers").is_some() {
            left.push(name);
        }
    }
    left
}

fn covered(mended: &Mended) -> [bool; 3] {
    BLOCKS.map(|name| mended.covers(&problem(name, None)))
}

#[tokio::test]
async fn everything_is_mended_but_what_a_person_must_decide() {
    let (store, steps) = bench().await;
    let mended = mend(&store, &steps, &actor()).await;
    assert_eq!((covered(&mended), mended.failures.len()), ([true; 3], 0));
    assert!(!mended.covers(&problem(BLOCKS[0], Some("say which is right"))));
    assert!(left(&store).await.is_empty());
}

#[tokio::test]
async fn a_store_that_fails_half_way_does_not_hide_what_was_mended() {
    for (fault, name, doubt) in [
        (Fault::FailBefore, "is not available", false),
        (Fault::LoseRequest, "may have been made", true),
    ] {
        let (store, steps) = bench().await;
        let second = steps[1].txn();
        store.inject(move |call| matches!(call, Call::Commit(txn, _) if **txn == second), fault);
        let mended = mend(&store, &steps, &actor()).await;
        assert_eq!(covered(&mended), [true, false, false]);
        assert_eq!(left(&store).await, BLOCKS[1..]);
        let [failure, rest] = &*mended.failures else { panic!("{:?}", mended.failures) };
        assert!(failure.starts_with("block 10.0.0.64/26: ") && failure.contains(name), "{failure}");
        assert_eq!(failure.contains("may have been made"), doubt, "{failure}");
        assert_eq!(rest, "1 more block was not tried");
    }
}

#[tokio::test]
async fn a_block_that_somebody_else_changed_costs_the_others_nothing() {
    let (store, steps) = bench().await;
    let base = steps[1].base.expect("it exists");
    let other = Txn::update(Key::Block(steps[1].cidr), base, b"{ }".to_vec().into(), vec![]);
    store.commit(other, &actor()).await.expect("it is written");
    let mended = mend(&store, &steps, &actor()).await;
    assert_eq!(covered(&mended), [true, false, true]);
    assert_eq!(mended.failures, ["block 10.0.0.64/26 was changed meanwhile: check again"]);
    assert_eq!(left(&store).await, ["10.0.0.64/26"]);
}
