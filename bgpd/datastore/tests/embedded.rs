//! The embedded store does what every store does, and keeps it through crashes and damage.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use margay_datastore::{EmbeddedStore, Page, Store, StoreError, list_all};
use margay_model::{Actor, Area, IndexEntry, Key, Revision, Txn, Write};

mod conformance;

struct Embedded(Arc<EmbeddedStore>);

/// Small, so that the cases which need a store to forget can make it.
const HISTORY: usize = 2000;

#[async_trait]
impl conformance::Rig for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn compact(&self, _revision: Revision) {
        // It forgets by itself: until then, other changes.
        for round in 0..=HISTORY / 16 {
            let write = |n: usize| Write::Put {
                key: block(u16::try_from(60_000 + n).unwrap()),
                value: Bytes::from(round.to_string()),
                index: Vec::new(),
            };
            let writes = (0..16).map(write).collect();
            self.0.commit(Txn { compares: Vec::new(), writes }, &actor()).await.unwrap();
        }
        let gone = |n: usize| Write::Delete { key: block(u16::try_from(60_000 + n).unwrap()) };
        let writes = (0..16).map(gone).collect();
        self.0.commit(Txn { compares: Vec::new(), writes }, &actor()).await.unwrap();
    }
}

fn actor() -> Actor {
    Actor { component: "test".into(), node: "node1".into(), user: None }
}

fn block(number: u16) -> Key {
    let [high, low] = number.to_be_bytes();
    Key::Block(format!("10.{high}.{low}.0/26").parse().unwrap())
}

fn put(number: u16, text: &str) -> Txn {
    let index = vec![IndexEntry { index: "owner".into(), value: text.into() }];
    let write = Write::Put { key: block(number), value: Bytes::from(text.to_owned()), index };
    Txn { compares: Vec::new(), writes: vec![write] }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open_with_history(&folder.path().join("store"), HISTORY).unwrap();
    conformance::run(&Embedded(Arc::new(store))).await;
}

#[tokio::test]
async fn everything_is_there_again_after_closing_history_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = EmbeddedStore::open(&path).unwrap();
    for number in 0..50 {
        store.commit(put(number, &format!("v{number}")), &actor()).await.unwrap();
    }
    store.commit(Txn::delete(block(7), Revision(8)), &actor()).await.unwrap();
    let before = list_all(&store, &Area::All).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(list_all(&store, &Area::All).await.unwrap(), before);
    let entry = IndexEntry { index: "owner".into(), value: "v9".into() };
    assert_eq!(store.find(&entry, &Page::default()).await.unwrap().entries.len(), 1);
    let mut watch = store.watch(&Area::Blocks, Revision(49)).await.unwrap();
    let batch = watch.next().await.unwrap();
    let told: Vec<_> = batch.changes.iter().map(|c| (c.revision.0, c.value.is_some())).collect();
    assert_eq!(told, [(50, true), (51, false)]);
}

#[tokio::test]
async fn a_store_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let _held = EmbeddedStore::open(&path).unwrap();
    let refused = EmbeddedStore::open(&path).unwrap_err();
    assert!(refused.to_string().contains("another process has it open"), "{refused}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = EmbeddedStore::open(&path).unwrap();
    for number in 0..200 {
        store.commit(put(number, &"v".repeat(1000)), &actor()).await.unwrap();
    }
    drop(store);
    let good = fs::read(&path).unwrap();
    let middle = good.len() / 2;
    let mut damages: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("no database", b"nobody expects this in here\n".repeat(1000)),
        ("cut in half", good[..middle].to_vec()),
        ("the head zeroed", [&vec![0; 512][..], &good[512..]].concat()),
    ];
    let used = good.windows(1000).position(|part| part == [b'v'; 1000]).unwrap();
    let mut flipped = good.clone();
    flipped[used + 500] = b'w';
    damages.push(("one octet of a value changed", flipped));
    let mut zeroed = good.clone();
    zeroed[used..used + 4096].fill(0);
    damages.push(("a page zeroed", zeroed));
    for (what, octets) in damages {
        fs::write(&path, &octets).unwrap();
        match EmbeddedStore::open(&path) {
            Err(StoreError::Corrupt { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
        let left = fs::read(&path).unwrap();
        assert!(left.len() >= octets.len().min(1), "{what}: begun anew");
        assert!(what != "empty" || left.is_empty(), "{what}: begun anew");
    }
    fs::write(&path, &good).unwrap();
    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(list_all(&store, &Area::All).await.unwrap().0.len(), 200);
}

#[tokio::test]
async fn a_beginning_that_was_interrupted_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::write(folder.path().join("store.new"), b"half").unwrap();
    let store = EmbeddedStore::open(&path).unwrap();
    store.commit(put(1, "a"), &actor()).await.unwrap();
}

/// Writes for ever and says what was answered: the process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn writer_for_the_kill_test() {
    let Ok(path) = std::env::var("DATASTORE_KILL_TEST") else { return };
    let store = Arc::new(EmbeddedStore::open(Path::new(&path)).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4u16 {
        let store = store.clone();
        tasks.spawn(async move {
            let key = |part: u16| block(task * 10 + part);
            loop {
                let before = store.get(&key(0)).await.unwrap();
                let count: u64 = before.as_ref().map_or(0, |b| {
                    std::str::from_utf8(&b.value)
                        .unwrap()
                        .split(' ')
                        .next()
                        .unwrap()
                        .parse()
                        .unwrap()
                });
                // Three keys in one transaction: never one without the others.
                let text = format!("{} {}", count + 1, "x".repeat(usize::from(task) * 700));
                let mut txn = match before {
                    Some(before) => Txn::update(key(0), before.revision, Bytes::new(), vec![]),
                    None => Txn::create(key(0), Bytes::new(), vec![]),
                };
                txn.writes = (0..3)
                    .map(|part| Write::Put {
                        key: key(part),
                        value: Bytes::from(text.clone()),
                        index: vec![],
                    })
                    .collect();
                let outcome = store.commit(txn, &actor()).await.unwrap();
                let committed = outcome.committed().expect("nobody else writes here");
                let mut out = std::io::stdout().lock();
                writeln!(out, "did {task} {} {}", count + 1, committed.revision.0).unwrap();
                out.flush().unwrap();
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// How often the process is killed; `DATASTORE_KILLS` asks for more.
const KILLS: u64 = 40;

#[test]
fn what_was_answered_survives_kill_9_and_nothing_is_half_there() {
    let kills = std::env::var("DATASTORE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut answered = [0u64; 4];
    let mut revision = 0;
    let mut acknowledged = 0;
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_for_the_kill_test", "--nocapture", "--test-threads=1"])
            .env("DATASTORE_KILL_TEST", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A different number of answers each time, from the very first on.
        let wanted = 1 + (round * 7) % 40;
        let mut note = |line: String| {
            let mut words = line.split("did ").nth(1)?.split(' ').map(|word| word.parse::<u64>());
            let (task, count, at) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
            answered[usize::try_from(task).ok()?] = count;
            revision = at.max(revision);
            acknowledged += 1;
            Some(())
        };
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().expect("the writer writes").unwrap();
            seen += u64::from(note(line).is_some());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts as well; a torn last line does not.
        for line in lines.map_while(Result::ok) {
            note(line);
        }
        let store = EmbeddedStore::open(&path).unwrap();
        assert!(store.status().revision.0 >= revision, "round {round}");
        for (task, answered) in (0u16..).zip(&mut answered) {
            let values: Vec<Option<Bytes>> = (0..3)
                .map(|part| {
                    let found = runtime.block_on(store.get(&block(task * 10 + part))).unwrap();
                    found.map(|found| found.value)
                })
                .collect();
            assert!(values.iter().all(|value| *value == values[0]), "round {round}: {values:?}");
            let Some(value) = &values[0] else {
                assert_eq!(*answered, 0, "round {round}: all is gone");
                continue;
            };
            let count: u64 =
                std::str::from_utf8(value).unwrap().split(' ').next().unwrap().parse().unwrap();
            // One more than was answered may be there: done, and killed before the answer.
            assert!(
                (*answered..=*answered + 1).contains(&count),
                "round {round}, task {task}: {count} is there, {answered} was answered"
            );
            *answered = count;
        }
    }
    println!("{kills} kills, {acknowledged} answered commits");
}
