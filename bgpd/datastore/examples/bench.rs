//! Commits a second and how long one takes: `bench FILE` for the embedded store in that file,
//! `bench ENDPOINT…` for etcd.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use margay_datastore::{EmbeddedStore, EtcdConfig, EtcdStore, Store};
use margay_model::{Actor, IndexEntry, Key, Txn};

/// Whatever goes wrong ends the run.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long each round lasts.
const ROUND: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let places: Vec<String> = std::env::args().skip(1).collect();
    let store: Arc<dyn Store> = match places.first() {
        Some(place) if place.starts_with("http") => {
            Arc::new(EtcdStore::new(EtcdConfig::new(places))?)
        }
        Some(place) => Arc::new(EmbeddedStore::open(Path::new(place))?),
        None => return Err("usage: bench FILE | ENDPOINT…".into()),
    };
    println!("{}", store.status().kind);
    for tasks in [1u8, 8, 64] {
        let start = Instant::now();
        let workers: Vec<_> =
            (0..tasks).map(|task| tokio::spawn(work(store.clone(), task, start + ROUND))).collect();
        let mut took = Vec::new();
        for worker in workers {
            took.extend(worker.await??);
        }
        took.sort();
        let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
        println!(
            "{tasks:>3} at once: {:>7.0} commits/s, p50 {:>6.2} ms, p99 {:>6.2} ms",
            took.len() as f64 / start.elapsed().as_secs_f64(),
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

/// Updates a block of its own, as an allocator does: a compare on its revision, one index entry.
async fn work(store: Arc<dyn Store>, task: u8, end: Instant) -> Result<Vec<Duration>, Failure> {
    let key = Key::Block(format!("10.0.{task}.0/26").parse()?);
    let actor = Actor { component: "bench".into(), node: "bench".into(), user: None };
    let index = vec![IndexEntry { index: "owner".into(), value: "node1".into() }];
    let value = Bytes::from(vec![b'x'; 4000]);
    let mut before = store.get(&key).await?.map(|found| found.revision);
    let mut took = Vec::new();
    while Instant::now() < end {
        let txn = match before {
            Some(revision) => Txn::update(key.clone(), revision, value.clone(), index.clone()),
            None => Txn::create(key.clone(), value.clone(), index.clone()),
        };
        let start = Instant::now();
        let outcome = store.commit(txn, &actor).await?;
        took.push(start.elapsed());
        before = Some(outcome.committed().ok_or("somebody else writes there")?.revision);
    }
    Ok(took)
}
