use margay_datastore::{MemStore, Store, StoreError};
use margay_model::{Actor, Area, Key, Kind, Txn};
use tokio::{task::JoinSet, time::sleep};

use super::*;
use crate::follow::{Doubt, Follow, Source};

const HOUR: Duration = Duration::from_secs(3600);

/// A daemon that follows both parts of its datastore.
struct Bench {
    store: MemStore,
    origin: Origin,
    _tasks: JoinSet<()>,
}

impl Bench {
    fn new() -> Self {
        let store = MemStore::new();
        let (mut tasks, mut parts) = (JoinSet::new(), Vec::new());
        for area in [Area::Resources, Area::Ipam] {
            let shared: Arc<dyn Store> = Arc::new(store.clone());
            let mut follow = Follow::new(shared, area);
            parts.push(follow.as_of());
            tasks.spawn(async move {
                loop {
                    follow.next(&Doubt::default()).await;
                }
            });
        }
        Self { store, origin: Origin::store("n1".into(), parts), _tasks: tasks }
    }

    fn age(&self) -> Option<Duration> {
        self.origin.now().1
    }

    async fn write(&self, name: &str) {
        let actor = Actor { component: "test".into(), node: "n".into(), user: None };
        let txn = Txn::create(Key::cluster(Kind::IpPool, name), b"{}".to_vec().into(), Vec::new());
        self.store.commit(txn, &actor).await.expect("it is written");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_as_old_as_the_watch_whoever_else_was_answered() {
    let bench = Bench::new();
    assert_eq!(bench.age(), None, "nothing has been heard");
    sleep(HOUR).await;
    assert_eq!(bench.age(), Some(Duration::ZERO), "nothing changed");
    // A request is answered, but what it changed does not come.
    bench.store.hold_watches(true);
    bench.write("a").await;
    sleep(HOUR).await;
    assert!(bench.store.status().connected);
    assert_eq!(bench.age(), Some(HOUR));
    bench.store.hold_watches(false);
    sleep(HOUR).await;
    assert_eq!(bench.age(), Some(Duration::ZERO), "it has come");
}

#[tokio::test(start_paused = true)]
async fn what_was_known_grows_old_while_the_datastore_is_away() {
    let bench = Bench::new();
    sleep(HOUR).await;
    let away = StoreError::Unavailable { endpoint: "m".into(), cause: "test".into() };
    bench.store.set_away(Some("test"));
    bench.store.break_watches(&away);
    sleep(HOUR).await;
    assert_eq!(bench.age(), Some(HOUR));
    bench.store.set_away(None);
    sleep(HOUR).await;
    assert_eq!(bench.age(), Some(Duration::ZERO));
}
