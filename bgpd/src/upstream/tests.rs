use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use futures::Stream;
use margay_datastore::{
    MemStore,
    faults::{Call, Fault},
};
use margay_model::{Actor, Key, Kind, Txn};
use margay_proto::v1::sync_server::{Sync, SyncServer};
use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::{
    StreamExt,
    wrappers::{UnboundedReceiverStream, UnixListenerStream},
};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server},
};

use super::*;

/// An upstream whose streams a test tells what to say.
#[derive(Debug, Clone)]
struct Script {
    calls: mpsc::UnboundedSender<Asked>,
    /// It answers nobody.
    away: Arc<AtomicBool>,
}

/// A stream that was asked for.
#[derive(Debug)]
struct Asked {
    area: v1::SyncArea,
    after: Option<u64>,
    /// What it is told; dropped, the stream ends.
    tell: mpsc::UnboundedSender<v1::SubscribeResponse>,
}

#[tonic::async_trait]
impl Sync for Script {
    type SubscribeStream =
        Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        call: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        if self.away.load(Relaxed) {
            return Err(Status::unavailable("away"));
        }
        let request = call.into_inner();
        let (tell, told) = mpsc::unbounded_channel();
        let (area, after) = (request.area(), request.after_revision);
        // A test that has ended asks for nothing.
        let _ = self.calls.send(Asked { area, after, tell });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(told).map(Ok))))
    }

    async fn report_ready(
        &self,
        _: Request<Streaming<v1::ReportReadyRequest>>,
    ) -> Result<Response<v1::ReportReadyResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn await_ready(
        &self,
        _: Request<v1::AwaitReadyRequest>,
    ) -> Result<Response<v1::AwaitReadyResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// A node with scripted upstreams.
struct Bench {
    store: MemStore,
    heard: Heards,
    upstreams: Vec<(mpsc::UnboundedReceiver<Asked>, Arc<AtomicBool>)>,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(count: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut tasks, mut links, mut upstreams) = (JoinSet::new(), Vec::new(), Vec::new());
        for at in 0..count {
            let path = dir.path().join(format!("u{at}"));
            let listener = UnixListener::bind(&path).expect("a socket");
            let (calls, called) = mpsc::unbounded_channel();
            let away = Arc::new(AtomicBool::new(false));
            let script = Script { calls, away: Arc::clone(&away) };
            tasks.spawn(async move {
                let incoming = UnixListenerStream::new(listener);
                let server = Server::builder().add_service(SyncServer::new(script));
                server.serve_with_incoming(incoming).await.expect("serves");
            });
            let endpoint = Endpoint::try_from(format!("unix:{}", path.display()));
            links.push(Link::on(endpoint.expect("a path")));
            upstreams.push((called, away));
        }
        let store = MemStore::new();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let names: Arc<[String]> = (0..count).map(|at| format!("u{at}")).collect();
        let (task, heard) = Upstream::on(links, names, &"me".into(), &shared, 7);
        tasks.spawn(task.run());
        Self { store, heard, upstreams, _tasks: tasks, _dir: dir }
    }

    /// The streams of both areas as they are asked for: resources, then blocks.
    async fn asked(&mut self, upstream: usize) -> [Asked; 2] {
        let calls = &mut self.upstreams[upstream].0;
        let both = [calls.recv().await.expect("a call"), calls.recv().await.expect("a call")];
        assert_eq!(both[0].area, v1::SyncArea::Resources);
        assert_eq!(both[1].area, v1::SyncArea::Ipam);
        both
    }

    /// Waits until it stands so.
    async fn stands(&mut self, is: impl Fn(&Standing) -> bool) {
        self.heard.standing.wait_for(|standing| is(standing)).await.expect("it runs");
    }
}

fn event(event: Event, revision: u64) -> v1::SyncEvent {
    v1::SyncEvent { event: Some(event), revision }
}

fn object(name: &str, revision: u64) -> v1::SyncEvent {
    let text = format!("{{\"kind\":\"IPPool\",\"metadata\":{{\"name\":\"{name}\"}}}}");
    event(Event::Object(text), revision)
}

fn in_sync(revision: u64) -> v1::SyncEvent {
    event(Event::InSync(v1::InSync { revision }), revision)
}

fn reset() -> v1::SyncEvent {
    event(Event::Reset(v1::SyncReset {}), 0)
}

fn alive(path: &[&str], age: u64) -> v1::SyncEvent {
    let path = path.iter().map(|name| (*name).to_owned()).collect();
    event(Event::Alive(v1::SyncAlive { path, age_milliseconds: Some(age) }), 0)
}

impl Asked {
    fn say(&self, events: impl Into<Vec<v1::SyncEvent>>) {
        // Who left hears nothing.
        let _ = self.tell.send(v1::SubscribeResponse { events: events.into() });
    }

    /// Everything, as of a commit.
    fn whole(&self, names: &[&str], revision: u64) {
        let objects = names.iter().map(|name| object(name, revision));
        let mut events = vec![alive(&["root"], 0), reset()];
        events.extend(objects.filter(|_| self.area == v1::SyncArea::Resources));
        events.push(in_sync(revision));
        self.say(events);
    }
}

/// `list@7 a b`, `change@9 a -b`.
async fn next(heard: &mut Heard) -> String {
    let name = |key: &Key| match key {
        Key::Resource(key) => key.name.clone(),
        other => other.to_string(),
    };
    match heard.next(&Doubt::default()).await {
        Told::Listed(entries, revision) => {
            let each = entries.iter().map(|entry| format!(" {}", name(&entry.key)));
            format!("list@{}{}", revision.0, each.collect::<String>())
        }
        Told::Changed(batch) => {
            let each = batch.changes.iter().map(|change| {
                let mark = if change.value.is_some() { "" } else { "-" };
                format!(" {mark}{}", name(&change.key))
            });
            format!("change@{}{}", batch.revision.0, each.collect::<String>())
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_gone_on_with_at_the_next_upstream() {
    let mut bench = Bench::new(2);
    let [resources, ipam] = bench.asked(0).await;
    assert_eq!((resources.after, ipam.after), (None, None));
    resources.whole(&["a", "b"], 5);
    assert_eq!(next(&mut bench.heard.resources).await, "list@5 a b");
    assert!(!bench.heard.standing.borrow().connected, "half of it is missing");
    ipam.whole(&[], 6);
    assert_eq!(next(&mut bench.heard.ipam).await, "list@6");
    bench.stands(|standing| standing.connected && standing.asked == 0).await;
    // Told, but not whole.
    resources.say([object("c", 7)]);
    drop((resources, ipam));
    let [resources, ipam] = bench.asked(1).await;
    assert_eq!((resources.after, ipam.after), (Some(5), Some(6)));
    bench.stands(|standing| !standing.connected && standing.asked == 1).await;
    assert_eq!(bench.heard.standing.borrow().losses, 1);
    resources.say([alive(&["root"], 0), object("c", 7), in_sync(7)]);
    ipam.say([alive(&["root"], 0), in_sync(6)]);
    assert_eq!(next(&mut bench.heard.resources).await, "change@7 c");
    bench.stands(|standing| standing.connected).await;
    assert_eq!(bench.heard.standing.borrow().path, ["root"]);
}

#[tokio::test]
async fn who_hears_what_he_tells_from_this_node_is_left_for_the_next() {
    let mut bench = Bench::new(2);
    let [resources, _ipam] = bench.asked(0).await;
    resources.say([alive(&["root", "me", "u0"], 0), reset(), object("a", 1), in_sync(1)]);
    let [resources, _] = bench.asked(1).await;
    assert_eq!(resources.after, None, "nothing of it was believed");
    let cause = bench.heard.standing.borrow().cause.clone();
    assert!(cause.contains("root -> me -> u0"), "{cause}");
}

#[tokio::test]
async fn an_upstream_that_hears_nothing_itself_is_left_for_the_next() {
    let mut bench = Bench::new(2);
    let [resources, ipam] = bench.asked(0).await;
    resources.whole(&["a"], 5);
    ipam.whole(&[], 5);
    bench.stands(|standing| standing.connected).await;
    for stream in [&resources, &ipam] {
        stream.say([alive(&["root"], STALE.as_millis() as u64 + 1000)]);
    }
    bench.asked(1).await;
    assert!(bench.heard.standing.borrow().cause.contains("old"));
}

#[tokio::test]
async fn who_has_heard_less_moves_nothing_back_and_counts_once_he_has_caught_up() {
    let mut bench = Bench::new(2);
    let actor = Actor { component: "test".into(), node: "n".into(), user: None };
    for at in 0..6 {
        let key = Key::cluster(Kind::IpPool, format!("p{at}"));
        let txn = Txn::create(key, b"{}".to_vec().into(), Vec::new());
        bench.store.commit(txn, &actor).await.expect("it is written");
    }
    let [resources, ipam] = bench.asked(0).await;
    resources.whole(&["a"], 5);
    ipam.whole(&[], 5);
    assert_eq!(next(&mut bench.heard.resources).await, "list@5 a");
    drop((resources, ipam));
    let [resources, ipam] = bench.asked(1).await;
    resources.whole(&["old"], 4);
    ipam.whole(&[], 5);
    // Both streams are one connection: what follows comes after what was not believed.
    resources.say([object("new", 6), in_sync(6)]);
    assert_eq!(next(&mut bench.heard.resources).await, "list@6 new old");
}

#[tokio::test]
async fn of_a_datastore_that_began_anew_an_earlier_commit_is_believed() {
    // The datastore of this node is empty: it has not come to 5.
    let mut bench = Bench::new(1);
    let [resources, ipam] = bench.asked(0).await;
    resources.whole(&["a"], 5);
    ipam.whole(&[], 5);
    assert_eq!(next(&mut bench.heard.resources).await, "list@5 a");
    resources.say([reset(), object("b", 1), in_sync(1)]);
    assert_eq!(next(&mut bench.heard.resources).await, "list@1 b");
}

#[tokio::test]
async fn a_list_of_the_datastore_answers_who_knows_of_a_later_commit() {
    let mut bench = Bench::new(1);
    let actor = Actor { component: "test".into(), node: "n".into(), user: None };
    let txn = Txn::create(Key::cluster(Kind::IpPool, "p"), b"{}".to_vec().into(), Vec::new());
    bench.store.commit(txn, &actor).await.expect("it is written");
    let doubt = Doubt::default();
    doubt.raise();
    let told = bench.heard.resources.next(&doubt).await;
    assert!(matches!(told, Told::Listed(entries, Revision(1)) if entries.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_list_under_way_is_ended_however_many_doubts_come() {
    let store = MemStore::new();
    let (doubt, begun) = (Doubt::default(), Arc::new(AtomicUsize::new(0)));
    let lists = Arc::clone(&begun);
    store.set_script(move |call| {
        lists.fetch_add(usize::from(matches!(call, Call::List(_))), Relaxed);
        Some(Fault::Delay(6 * PATIENCE))
    });
    let shared: Arc<dyn Store> = Arc::new(store);
    let mut heard = Heard { area: Area::Resources, part: Arc::default(), store: shared };
    let doubts = async {
        loop {
            doubt.raise();
            sleep(PATIENCE / 10).await;
        }
    };
    let told = async {
        for list in 1..=2 {
            assert!(matches!(heard.next(&doubt).await, Told::Listed(..)));
            assert_eq!(begun.load(Relaxed), list);
        }
    };
    tokio::select! {
        () = doubts => {}
        told = timeout(1000 * PATIENCE, told) => told.expect("a list that ends"),
    }
}

#[tokio::test]
async fn kinds_that_are_not_known_here_are_passed_over() {
    let mut bench = Bench::new(1);
    let [resources, _ipam] = bench.asked(0).await;
    let strange = "{\"kind\":\"Strange\",\"metadata\":{\"name\":\"s\"}}".to_owned();
    resources.say([reset(), event(Event::Object(strange), 2), object("a", 3), in_sync(3)]);
    assert_eq!(next(&mut bench.heard.resources).await, "list@3 a");
}

#[tokio::test]
async fn while_nobody_answers_it_is_said_and_asked_again() {
    let mut bench = Bench::new(1);
    // Nothing of the bench has run yet.
    bench.upstreams[0].1.store(true, Relaxed);
    bench.stands(|standing| standing.losses > 1 && standing.cause.contains("away")).await;
    bench.upstreams[0].1.store(false, Relaxed);
    let asked = bench.asked(0).await;
    asked[0].whole(&["a"], 1);
    assert_eq!(next(&mut bench.heard.resources).await, "list@1 a");
}
