use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use margay_datastore::{
    MemStore,
    faults::{Call, Fault},
};
use margay_ipam::{Handle, Release, Request as Wish};
use margay_model::{Actor, Area, Key, Kind, Txn};
use tokio::task::JoinSet;

use super::*;
use crate::follow::Follow;

/// A daemon's allocator on a store in memory.
struct Bench {
    store: MemStore,
    ipam: Ipam,
    folder: std::path::PathBuf,
    _tasks: JoinSet<()>,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let store = MemStore::new();
        let pool = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\"metadata\":\
                    {\"name\":\"a\"},\"spec\":{\"cidr\":\"10.0.0.0/24\",\"blockSize\":26}}";
        let cooldown = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPAMConfiguration\",\
                        \"metadata\":{\"name\":\"default\"},\"spec\":{\"ipCooldownSeconds\":0}}";
        for (key, text) in [
            (Key::cluster(Kind::IpPool, "a"), pool),
            (Key::cluster(Kind::IpamConfiguration, "default"), cooldown),
        ] {
            let txn = Txn::create(key, text.as_bytes().to_vec().into(), vec![]);
            store.commit(txn, &actor()).await.expect("it is written");
        }
        let folder =
            std::env::temp_dir().join(format!("margay-ipam-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mirror = Mirror::new();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let follow = |area| Box::new(Follow::new(Arc::clone(&shared), area));
        let heard = Heard { source: follow(Area::Ipam), copy: None };
        let (ipam, task) =
            Ipam::new(Arc::clone(&shared), &mirror, heard, "n1", &folder).expect("it starts");
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        tasks.spawn(mirror.follow(follow(Area::Resources)));
        Self { store, ipam, folder, _tasks: tasks }
    }

    async fn assign(&self, handle: &str) -> Result<IpAddr, IpamError> {
        let wish = Wish::any(Handle::try_from(handle).expect("a handle"), 1, 0);
        match self.ipam.ask(Ask::Assign(wish)).await? {
            Answer::Assigned(grants) => Ok(grants[0].address),
            other => panic!("{other:?}"),
        }
    }

    /// Whether anything is held by a handle; waits until nothing is under way.
    async fn holds(&self, handle: &'static str) -> bool {
        loop {
            let held = self.ipam.look(move |sight| {
                let all = sight.allocator();
                let handle = Handle::try_from(handle).expect("a handle");
                (all.pending() == 0).then(|| all.view().is_held_by(&handle))
            });
            match held.await.expect("it runs") {
                Some(held) => return held,
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// The next commit takes so long.
    fn slow(&self) {
        let delay = Fault::Delay(Duration::from_millis(200));
        self.store.inject(|call| call.is_commit(), delay);
    }

    /// How often a handle stands in the blocks as they are stored.
    async fn stored(&self, handle: &str) -> usize {
        let (entries, _) =
            margay_datastore::list_all(&self.store, &Area::Blocks).await.expect("it is there");
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let quoted = format!("\"{handle}\"");
        entries.iter().map(|entry| text(&entry.value.value).matches(&quoted).count()).sum()
    }

    async fn blocks(&self) -> usize {
        let (entries, _) =
            margay_datastore::list_all(&self.store, &Area::Blocks).await.expect("it is there");
        entries.len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Only litter is left behind if it fails.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a request without looking at what comes.
async fn begin<T>(mut ask: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|cx| {
        assert!(ask.as_mut().poll(cx).is_pending(), "it takes its time");
        Poll::Ready(())
    })
    .await;
}

fn actor() -> Actor {
    Actor { component: "test".into(), node: "n1".into(), user: None }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let in_time = async { timeout(Duration::from_secs(60), test).await };
    runtime.expect("a runtime").block_on(in_time).expect("in time");
}

#[test]
fn an_address_is_assigned_its_block_is_told_and_goes_with_its_pool() {
    run(async {
        let bench = Bench::new("life").await;
        let mut own = bench.ipam.own();
        let address = bench.assign("h").await.expect("an address");
        let told = own.wait_for(|own| own.in_sync && own.blocks.len() == 1).await.expect("told");
        assert!(told.blocks.iter().all(|block| block.contains(&address)));
        drop(told);
        let ask = Ask::Release(vec![Release::Handle("h".try_into().expect("a handle"))]);
        let released = bench.ipam.ask(ask).await.expect("released");
        assert_eq!(released, Answer::Released { addresses: vec![address], absent: vec![] });
        assert_eq!(bench.blocks().await, 1, "it is kept for the next one");
        let key = Key::cluster(Kind::IpPool, "a");
        let pool = bench.store.get(&key).await.expect("it answers").expect("it is there");
        bench.store.commit(Txn::delete(key, pool.revision), &actor()).await.expect("deleted");
        own.wait_for(|own| own.blocks.is_empty()).await.expect("told");
        assert_eq!(bench.blocks().await, 0);
        assert!(matches!(bench.assign("h").await, Err(IpamError::NoPool { .. })));
    });
}

#[test]
fn what_a_caller_that_went_away_was_given_is_taken_back() {
    run(async {
        let bench = Bench::new("gone").await;
        bench.assign("first").await.expect("an address");
        for round in 0..20 {
            let wish = Wish::any(Handle::try_from("gone").expect("a handle"), 1, 0);
            let (reply, answer) = oneshot::channel();
            bench.ipam.requests.send(Request::Ask(Ask::Assign(wish), reply)).await.expect("room");
            drop(answer);
            bench.assign(&format!("h{round}")).await.expect("an address");
        }
        loop {
            let held = bench.ipam.look(|sight| {
                let (all, gone) = (sight.allocator(), Handle::try_from("gone").expect("a handle"));
                all.pending() > 0 || all.view().is_held_by(&gone)
            });
            if !held.await.expect("it runs") {
                break;
            }
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_lease_is_held_and_given_back_at_the_end() {
    run(async {
        let bench = Bench::new("lease").await;
        bench.assign("h").await.expect("an address");
        let key = Key::NodeLease("n1".into());
        assert!(bench.store.get(&key).await.expect("it answers").is_some());
        bench.ipam.stop().await;
        assert!(bench.store.get(&key).await.expect("it answers").is_none());
        let stopping = Err(IpamError::Store("the daemon is stopping".into()));
        assert_eq!(bench.assign("i").await, stopping);
    });
}

#[test]
fn what_is_under_way_at_the_end_is_finished_and_answered() {
    run(async {
        let bench = Bench::new("orderly").await;
        bench.assign("first").await.expect("an address");
        bench.slow();
        let mut ask = Box::pin(bench.assign("late"));
        begin(ask.as_mut()).await;
        bench.ipam.stop().await;
        let answer = ask.await;
        assert_eq!(bench.stored("late").await, 1);
        answer.expect("what is committed is answered");
        let key = Key::NodeLease("n1".into());
        assert!(bench.store.get(&key).await.expect("it answers").is_none());
    });
}

#[test]
fn what_is_committed_at_the_end_for_a_caller_that_went_away_is_released_before_it() {
    run(async {
        let bench = Bench::new("left").await;
        bench.assign("first").await.expect("an address");
        bench.slow();
        let mut ask = Box::pin(bench.assign("late"));
        begin(ask.as_mut()).await;
        drop(ask);
        let before = bench.store.revision();
        bench.ipam.stop().await;
        assert_eq!(bench.stored("late").await, 0);
        assert!(bench.store.revision().0 >= before.0 + 3, "assigned, released, lease given back");
    });
}

#[test]
fn an_answer_that_came_and_was_not_taken_is_taken_back() {
    run(async {
        let bench = Bench::new("untaken").await;
        bench.assign("first").await.expect("an address");
        let mut ask = Box::pin(bench.assign("reset"));
        begin(ask.as_mut()).await;
        assert!(bench.holds("reset").await, "the answer lies there");
        drop(ask);
        while bench.holds("reset").await {
            tokio::task::yield_now().await;
        }
        // One that was taken stays.
        bench.assign("kept").await.expect("an address");
        assert!(bench.holds("kept").await);
    });
}

#[test]
fn addresses_for_another_node_come_from_the_pools_as_they_are_when_it_is_planned() {
    run(async {
        let bench = Bench::new("elsewhere").await;
        let node = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"Node\",\"metadata\":\
                    {\"name\":\"n2\"},\"spec\":{}}";
        let txn = Txn::create(Key::cluster(Kind::Node, "n2"), node.into(), vec![]);
        bench.store.commit(txn, &actor()).await.expect("it is written");
        let n2 = NodeName::try_from("n2").expect("a name");
        let there = loop {
            let (n2, ipam) = (n2.clone(), &bench.ipam);
            match ipam.look(move |sight| sight.elsewhere(&n2)).await.expect("it runs") {
                Ok(Some(there)) => break Arc::new(there),
                _ => tokio::task::yield_now().await,
            }
        };
        let wish = |handle: &str| {
            let wish = Wish::any(Handle::try_from(handle).expect("a handle"), 1, 0);
            Ask::Assign(Wish { elsewhere: Some(Arc::clone(&there)), ..wish })
        };
        // As long as blocks cannot be written it is tried again.
        let (tried, mut tries) = mpsc::unbounded_channel();
        bench.store.set_script(move |call| match call {
            Call::Commit(txn, _) if matches!(txn.writes[0].key(), Key::Block(_)) => {
                let _ = tried.send(());
                Some(Fault::FailBefore)
            }
            _ => None,
        });
        let mut waiting = pin!(bench.ipam.ask(wish("waiting")));
        begin(waiting.as_mut()).await;
        tries.recv().await.expect("a try");
        let key = Key::cluster(Kind::IpPool, "a");
        let pool = bench.store.get(&key).await.expect("it answers").expect("it is there");
        let text = String::from_utf8_lossy(&pool.value).replace("26}", "26,\"disabled\":true}");
        let txn = Txn::update(key, pool.revision, text.into_bytes().into(), vec![]);
        bench.store.commit(txn, &actor()).await.expect("it is written");
        let answer = waiting.await;
        assert!(matches!(answer, Err(IpamError::NoPool { .. })), "{answer:?}");
        // Likewise for who has looked at the pools before.
        let answer = bench.ipam.ask(wish("later")).await;
        assert!(matches!(answer, Err(IpamError::NoPool { .. })), "{answer:?}");
    });
}
