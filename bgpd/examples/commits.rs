//! Commits a second and how long one takes: `commits [--seconds=N] FILE` for the embedded store in
//! that file, `commits [--seconds=N] ENDPOINT…` for etcd.

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

/// How long each round lasts, in seconds.
const ROUND: f64 = 4.0;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut places: Vec<String> = std::env::args().skip(1).collect();
    let seconds = places.first().and_then(|first| first.strip_prefix("--seconds="));
    let round = match seconds.map(str::parse) {
        Some(seconds) => {
            places.remove(0);
            seconds?
        }
        None => ROUND,
    };
    let round = Duration::try_from_secs_f64(round)?;
    let store: Arc<dyn Store> = match places.first() {
        Some(place) if place.starts_with("http") => {
            Arc::new(EtcdStore::new(EtcdConfig::new(places))?)
        }
        Some(place) => Arc::new(EmbeddedStore::open(Path::new(place))?),
        None => return Err("usage: commits [--seconds=N] FILE | ENDPOINT…".into()),
    };
    for tasks in [1u8, 8, 64] {
        let start = Instant::now();
        let workers: Vec<_> =
            (0..tasks).map(|task| tokio::spawn(work(store.clone(), task, start + round))).collect();
        let mut took = Vec::new();
        for worker in workers {
            took.extend(worker.await??);
        }
        took.sort();
        let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
        println!(
            "{}, {tasks} commits at once: a_second={:.0} p50_ms={:.2} p99_ms={:.2} max_ms={:.2}",
            store.status().kind,
            took.len() as f64 / start.elapsed().as_secs_f64(),
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3,
            took.last().copied().unwrap_or_default().as_secs_f64() * 1e3,
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
