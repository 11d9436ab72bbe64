use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use margay_datastore::{MemStore, Store};
use margay_fib::{
    AttachError, HostRouteError, LinkSpec,
    attach::{Difference, Overlay},
};
use margay_model::{Actor, Area, Kind, Resource, Txn};
use margay_proto::v1::{Attachment, DeleteWorkloadRequest};
use margay_workload::{Mode, Pod, Qos, Source, State, Uptime, Wish, annotation::Unsaid};
use prost::Message;
use tokio::task::JoinSet;

use super::*;
use crate::{follow::Follow, ipam::Heard, resources::Author};

/// A kernel in memory.
#[derive(Debug, Default)]
struct Double(Mutex<DoubleState>);

#[derive(Debug, Default)]
struct DoubleState {
    links: BTreeMap<String, String>,
    routes: BTreeMap<IpAddr, String>,
    /// The next attach fails.
    broken: bool,
    /// Whose connections were ended, in order; the link of the address, where it has one.
    ended: Vec<(IpAddr, Option<String>)>,
    /// How many walks for that were begun; those after so many take long.
    walks: usize,
    swift: Option<usize>,
}

impl Double {
    fn with<T>(&self, look: impl FnOnce(&mut DoubleState) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Network for Double {
    fn attach(&self, netns: &Path, spec: &LinkSpec) -> Result<(), AttachError> {
        self.with(|state| {
            if std::mem::take(&mut state.broken) {
                let path = netns.to_owned();
                return Err(AttachError::NamespaceGone { path });
            }
            state.links.insert(spec.host_name.clone(), spec.alias.clone());
            Ok(())
        })
    }

    fn fulfil(&self, _: &Path, spec: &LinkSpec) -> Result<(), AttachError> {
        let name = || spec.host_name.clone();
        self.with(|state| match state.links.get(&spec.host_name) {
            Some(alias) if *alias == spec.alias => Ok(()),
            _ => Err(AttachError::NameTaken { name: name() }),
        })
    }

    fn detach(&self, link: &str, alias: &str, half_made: bool) -> Result<(), AttachError> {
        self.with(|state| {
            let is_ours = |found: &String| found == alias || (half_made && found.is_empty());
            if state.links.get(link).is_some_and(is_ours) {
                state.links.remove(link);
            }
        });
        Ok(())
    }

    fn disconnect(&self, addresses: &[IpAddr]) -> std::io::Result<()> {
        let walk = self.with(|state| {
            state.walks += 1;
            state.walks
        });
        // Not for ever: a test that fails has to end.
        for _ in 0..40_000 {
            if self.with(|state| state.swift.is_none_or(|swift| walk <= swift)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.with(|state| {
            for address in addresses {
                let link = state.routes.get(address).cloned();
                state.ended.push((*address, link));
            }
        });
        Ok(())
    }

    fn links(&self) -> Result<BTreeMap<String, String>, AttachError> {
        Ok(self.with(|state| state.links.clone()))
    }

    fn differences(&self, _: &Path, _: &LinkSpec) -> Result<Vec<Difference>, AttachError> {
        Ok(Vec::new())
    }

    fn route(&self, address: IpAddr, link: Option<&str>) {
        self.with(|state| match link {
            Some(link) => state.routes.insert(address, link.to_owned()),
            None => state.routes.remove(&address),
        });
    }

    fn reach(&self, address: IpAddr, link: &str, _: Duration) -> Result<(), HostRouteError> {
        let there = self.with(|state| state.routes.get(&address).is_some_and(|of| of == link));
        assert!(there, "wished before it is waited for");
        Ok(())
    }

    fn unreached(&self) -> BTreeMap<IpAddr, String> {
        BTreeMap::new()
    }

    fn routes_in_sync(&self) {}

    fn mtu(&self, _: &[IpAddr], overlays: &BTreeSet<Overlay>) -> u32 {
        margay_fib::attach::pod_mtu(1500, &overlays.iter().copied().collect::<Vec<_>>())
    }
}

/// What outlives a daemon.
struct World {
    store: MemStore,
    kernel: Arc<Double>,
    folder: tempfile::TempDir,
}

/// A daemon on it.
struct Daemon {
    workloads: Workloads,
    ipam: Ipam,
    _tasks: JoinSet<()>,
}

impl World {
    async fn new() -> Self {
        let store = MemStore::new();
        let pool = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\"metadata\":\
                    {\"name\":\"a\"},\"spec\":{\"cidr\":\"10.0.0.0/24\",\"blockSize\":26}}";
        let world =
            Self { store, kernel: Arc::default(), folder: tempfile::tempdir().expect("a folder") };
        world.put(Key::cluster(Kind::IpPool, "a"), pool).await;
        world
    }

    async fn put(&self, key: Key, text: &str) {
        let txn = Txn::create(key, text.as_bytes().to_vec().into(), vec![]);
        let actor = Actor { component: "test".into(), node: "n1".into(), user: None };
        self.store.commit(txn, &actor).await.expect("it is written");
    }

    fn start(&self) -> Daemon {
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let mirror = Mirror::new();
        let state_dir = self.folder.path();
        let mut tasks = JoinSet::new();
        let follow = |area| Box::new(Follow::new(Arc::clone(&store), area));
        let heard = Heard { source: follow(Area::Ipam), copy: None };
        let (ipam, task) =
            Ipam::new(Arc::clone(&store), &mirror, heard, "n1", state_dir).expect("it starts");
        tasks.spawn(task);
        let network: Arc<dyn Network> = self.kernel.clone();
        let around = Surroundings {
            node: "n1".into(),
            state_dir,
            resources: Resources::new(Arc::clone(&store), Author::new("n1", "i1")),
            mirror: &mirror,
            ipam: ipam.clone(),
            ready: Ready::new(state_dir),
        };
        let (workloads, task) = Workloads::on(network, around).expect("it starts");
        tasks.spawn(task);
        tasks.spawn(mirror.follow(follow(Area::Resources)));
        Daemon { workloads, ipam, _tasks: tasks }
    }

    fn links(&self) -> usize {
        self.kernel.with(|state| state.links.len())
    }

    fn routes(&self) -> BTreeMap<IpAddr, String> {
        self.kernel.with(|state| state.routes.clone())
    }

    async fn endpoints(&self) -> usize {
        let area = Area::Kind(Kind::WorkloadEndpoint, None);
        margay_datastore::list_all(&self.store, &area).await.expect("it is there").0.len()
    }

    fn journal(&self) -> Vec<Entry> {
        // Only to look: the daemon on it is gone.
        Journal::open(self.folder.path()).expect("it opens").1.entries
    }
}

impl Daemon {
    async fn add(&self, container: &str) -> Result<Entry, Failure> {
        match self
            .workloads
            .call(Call::Add(id(container), Box::new(spec()), Unsaid::default()))
            .await?
        {
            Reply::Added(entry) => Ok(*entry),
            other => panic!("{other:?}"),
        }
    }

    async fn delete(&self, container: &str) -> bool {
        let call = Call::Delete { id: id(container), asked: None };
        match self.workloads.call(call).await.expect("it is deleted") {
            Reply::Deleted(found) => found,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until nothing is under way.
    async fn settled(&self) {
        while self.workloads.look(|sight| sight.desk.pending()).await != Some(0) {
            tokio::task::yield_now().await;
        }
    }

    /// How many addresses are held.
    async fn held(&self) -> usize {
        let held = self.ipam.look(|sight| {
            let node = margay_ipam::NodeName::try_from("n1").expect("a name");
            sight.allocator().view().used_on(&node).len()
        });
        held.await.expect("it runs")
    }
}

fn id(container: &str) -> AttachmentId {
    AttachmentId::new("net", container, "eth0").expect("it is one")
}

fn spec() -> Spec {
    Spec {
        mode: Mode::Link,
        netns: "/run/netns/none-such".into(),
        pod: Some(Pod { namespace: "shop".into(), name: "web".into(), uid: String::new() }),
        source: Source::Assign(Wish { v4: true, ..Wish::default() }),
        labels: BTreeMap::new(),
        routes: None,
        mtu: 0,
        mac: None,
        forwarding: None,
        floating: Vec::new(),
        spoofed: Vec::new(),
        qos: Qos::default(),
        policy_wait: 1,
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let in_time = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    runtime.block_on(in_time).expect("in time");
}

#[test]
fn a_pod_gets_an_address_a_link_a_route_and_an_endpoint_and_loses_them_again() {
    run(async {
        let world = World::new().await;
        let daemon = world.start();
        let entry = daemon.add("c1").await.expect("attached");
        assert_eq!(entry.state, State::Live);
        assert_eq!(entry.spec.mtu, 1500);
        let [address] = entry.addresses[..] else { panic!("{entry:?}") };
        assert_eq!(world.routes()[&address], entry.host_interface);
        assert_eq!((world.links(), world.endpoints().await, daemon.held().await), (1, 1, 1));
        assert!(daemon.delete("c1").await);
        assert_eq!((world.links(), world.routes().len()), (0, 0));
        daemon.settled().await;
        assert_eq!((world.endpoints().await, daemon.held().await), (0, 0));
        // Nothing went there when what was known of the address was forgotten.
        let ended = world.kernel.with(|state| state.ended.clone());
        assert_eq!(ended, [(address, None), (address, None)]);
        assert!(!daemon.delete("c1").await);
    });
}

#[test]
fn a_failed_add_leaves_nothing() {
    run(async {
        let world = World::new().await;
        let daemon = world.start();
        world.kernel.with(|state| state.broken = true);
        let error = daemon.add("c1").await.expect_err("no namespace");
        assert_eq!(error.cause, Cause::Namespace);
        daemon.settled().await;
        assert_eq!((world.links(), world.endpoints().await, daemon.held().await), (0, 0, 0));
    });
}

#[test]
fn while_the_datastore_is_away_an_add_fails_in_time_and_a_delete_succeeds() {
    run(async {
        let world = World::new().await;
        let daemon = world.start();
        daemon.add("c1").await.expect("attached");
        world.store.set_away(Some("unplugged"));
        let since = std::time::Instant::now();
        let mut other = spec();
        other.pod = None;
        let error =
            daemon.workloads.call(Call::Add(id("c2"), Box::new(other), Unsaid::default())).await;
        assert_eq!(error.expect_err("away").cause, Cause::Later);
        // How much later a busy machine comes to it is not the desk's.
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
        assert!(daemon.delete("c1").await);
        assert_eq!(world.links(), 0);
    });
}

#[test]
fn while_the_kernel_is_long_about_connections_an_add_fails_and_nothing_is_left() {
    run(async {
        let world = World::new().await;
        let daemon = world.start();
        world.kernel.with(|state| state.swift = Some(0));
        // A busy machine may not come as far.
        let mut error = daemon.add("c1").await.expect_err("it takes too long");
        while !error.text.contains("connections") {
            assert_eq!(error.cause, Cause::Later, "{error}");
            error = daemon.add("c1").await.expect_err("it takes too long");
        }
        assert_eq!((error.cause, world.links()), (Cause::Later, 0));
        assert_eq!(daemon.held().await, 1, "not before its connections are ended");
        world.kernel.with(|state| state.swift = None);
        daemon.settled().await;
        assert_eq!((world.endpoints().await, daemon.held().await), (0, 0));
    });
}

#[test]
fn who_waits_no_longer_takes_no_turn_from_others() {
    run(async {
        let kernel = Arc::<Double>::default();
        kernel.with(|state| state.swift = Some(0));
        let endings = Arc::new(steps::Endings::new(kernel.clone()));
        let end = |last| {
            let address = IpAddr::from([10, 0, 0, last]);
            tokio::spawn(Arc::clone(&endings).end(vec![address]))
        };
        let begun = async |walks| {
            while kernel.with(|state| state.walks) < walks {
                tokio::task::yield_now().await;
            }
        };
        let first = end(1);
        begun(1).await;
        let (second, third) = (end(2), end(3));
        while endings.waiting.lock().unwrap_or_else(PoisonError::into_inner).len() < 2 {
            tokio::task::yield_now().await;
        }
        kernel.with(|state| state.swift = Some(1));
        assert_eq!(first.await.expect("it ends"), Ok(()));
        // The walk that both wait for.
        begun(2).await;
        second.abort();
        assert!(second.await.is_err_and(|error| error.is_cancelled()));
        kernel.with(|state| state.swift = None);
        assert_eq!(third.await.expect("it ends"), Ok(()));
        let mut ended = kernel.with(|state| state.ended.clone());
        ended.sort();
        assert_eq!(ended, [1, 2, 3].map(|last| (IpAddr::from([10, 0, 0, last]), None)));
        assert_eq!(kernel.with(|state| state.walks), 2);
    });
}

#[test]
fn a_pod_gets_its_address_of_the_pool_that_its_namespace_asks_for_though_it_comes_before_the_news()
{
    run(async {
        let world = World::new().await;
        let blue = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\"metadata\":\
                    {\"name\":\"blue\"},\"spec\":{\"cidr\":\"10.9.0.0/24\",\"blockSize\":28}}";
        world.put(Key::cluster(Kind::IpPool, "blue"), blue).await;
        let namespace = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"Profile\",\"metadata\":\
                         {\"name\":\"kns.shop\",\"annotations\":{\"cni.projectcalico.org/ipv4pools\":\
                         \"[\\\"blue\\\"]\",\"cni.projectcalico.org/ipFamilies\":\"[\\\"IPv4\\\"]\"}},\
                         \"spec\":{}}";
        world.put(Key::cluster(Kind::Profile, "kns.shop"), namespace).await;
        world.store.set_away(Some("unplugged"));
        let daemon = world.start();
        let unsaid = Unsaid::of(&BTreeMap::new());
        // The configuration asks for no address.
        let source = Source::Assign(Wish::default());
        let large = Spec { mtu: 9000, source, ..spec() };
        let add = |container| {
            daemon.workloads.call(Call::Add(id(container), Box::new(large.clone()), unsaid.clone()))
        };
        let (early, ()) = tokio::join!(add("c1"), async {
            tokio::task::yield_now().await;
            world.store.set_away(None);
        });
        // A busy machine may take too long to hear of the cluster.
        let mut answer = early;
        while answer.as_ref().is_err_and(|failure| failure.cause == Cause::Later) {
            answer = add("c1").await;
        }
        let Ok(Reply::Added(entry)) = answer else { panic!("{answer:?}") };
        assert_eq!(entry.spec.mtu, 9000);
        let blue: ipnet::IpNet = "10.9.0.0/24".parse().expect("a network");
        assert!(entry.addresses.iter().all(|address| blue.contains(address)), "{entry:?}");
        // What is there is said again without asking anybody.
        world.store.set_away(Some("unplugged"));
        let Ok(Reply::Added(again)) = add("c1").await else { panic!("it is there") };
        assert_eq!(again.addresses, entry.addresses);
        world.store.set_away(None);
        let other = Pod { namespace: "bare".into(), name: "web".into(), uid: String::new() };
        let other = Box::new(Spec { pod: Some(other), ..large.clone() });
        let refused = daemon.workloads.call(Call::Add(id("c2"), other, unsaid.clone())).await;
        assert_eq!(refused.expect_err("of no family").cause, Cause::Invalid("assign"));
    });
}

#[test]
fn a_pod_that_comes_before_the_news_of_the_cluster_gets_the_mtu_that_fits() {
    run(async {
        let world = World::new().await;
        let pool = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\"metadata\":\
                    {\"name\":\"b\"},\"spec\":{\"cidr\":\"10.1.0.0/24\",\"ipipMode\":\"Always\"}}";
        world.put(Key::cluster(Kind::IpPool, "b"), pool).await;
        world.store.set_away(Some("unplugged"));
        let daemon = world.start();
        // One that says itself how large its packets are waits for nobody.
        let mut large = spec();
        (large.mtu, large.pod) = (9000, None);
        large.source = Source::Given(vec!["10.2.0.1".parse().expect("an address")]);
        large.mode = Mode::Addresses;
        let told =
            daemon.workloads.call(Call::Add(id("c2"), Box::new(large), Unsaid::default())).await;
        assert!(told.is_ok(), "{told:?}");
        // One that is deleted meanwhile does not come later.
        let (add, deleted) = tokio::join!(daemon.add("c3"), async {
            tokio::task::yield_now().await;
            daemon.delete("c3").await
        });
        assert_eq!(add.expect_err("deleted, or nobody knew").cause, Cause::Later);
        assert!(!deleted, "there was nothing yet");
        let (early, ()) = tokio::join!(daemon.add("c1"), async {
            tokio::task::yield_now().await;
            world.store.set_away(None);
        });
        // As a runtime does: it tries again.
        let mut early = early;
        while early.as_ref().is_err_and(|error| error.cause == Cause::Later) {
            early = daemon.add("c1").await;
        }
        assert_eq!(early.expect("attached").spec.mtu, 1480);
    });
}

#[test]
fn a_daemon_that_comes_again_keeps_what_was_live_and_works_off_the_spool() {
    run(async {
        let world = World::new().await;
        let daemon = world.start();
        let first = daemon.add("c1").await.expect("attached");
        drop(daemon);
        assert_eq!(world.journal(), std::slice::from_ref(&first));
        world.kernel.with(|state| state.routes.clear());
        let daemon = world.start();
        // The same again, as if nothing had happened; but it is asked for since now.
        let again = daemon.add("c1").await.expect("attached");
        assert_ne!(again.begun, first.begun);
        assert_eq!(world.routes().len(), 1);
        drop(daemon);
        assert_eq!(world.journal(), std::slice::from_ref(&again));
        assert_eq!(Entry { begun: first.begun, ..again }, first);
        // Also while nobody can be asked.
        world.store.set_away(Some("unplugged"));
        let daemon = world.start();
        let again = daemon.add("c1").await.expect("attached");
        assert_eq!(Entry { begun: first.begun, ..again }, first);
        world.store.set_away(None);
        drop(daemon);
        let attachment =
            Attachment { network: "net".into(), container_id: "c1".into(), ifname: "eth0".into() };
        let request = DeleteWorkloadRequest {
            attachment: Some(attachment),
            spooled_at: crate::ipam::wall().0,
            ..DeleteWorkloadRequest::default()
        };
        let file: PathBuf = spool::folder(world.folder.path()).join("one.del");
        std::fs::write(&file, request.encode_to_vec()).expect("written");
        let daemon = world.start();
        while file.exists() {
            tokio::task::yield_now().await;
        }
        daemon.settled().await;
        assert_eq!((world.links(), world.endpoints().await, daemon.held().await), (0, 0, 0));
    });
}

#[test]
fn a_delete_is_worked_off_whatever_the_clock_was_set_to_and_never_takes_what_came_later() {
    run(async {
        let world = World::new().await;
        let boot = crate::restart::boot().expect("the kernel tells");
        let left = |spooled_at, spooled_up_nanos| {
            let attachment = Attachment {
                network: "net".into(),
                container_id: "c1".into(),
                ifname: "eth0".into(),
            };
            let request = DeleteWorkloadRequest {
                attachment: Some(attachment),
                spooled_at,
                spooled_boot_id: boot.trim().to_owned(),
                spooled_up_nanos,
                ..DeleteWorkloadRequest::default()
            };
            let file: PathBuf = spool::folder(world.folder.path()).join("one.del");
            std::fs::write(&file, request.encode_to_vec()).expect("written");
            file
        };
        let daemon = world.start();
        let before = task::up_nanos();
        daemon.add("c1").await.expect("attached");
        drop(daemon);
        // The clock went forward, a DEL was left, the clock went back, then came the ADD.
        for (wall, up, links) in [(u64::MAX, before, 1), (1, task::up_nanos(), 0)] {
            let file = left(wall, up);
            let daemon = world.start();
            while file.exists() {
                tokio::task::yield_now().await;
            }
            daemon.settled().await;
            assert_eq!((world.links(), daemon.held().await), (links, links));
        }
    });
}

#[test]
fn an_entry_that_does_not_know_its_mtu_makes_nobody_wait_who_does() {
    run(async {
        let world = World::new().await;
        let mut plain = spec();
        (plain.pod, plain.mode) = (None, Mode::Addresses);
        plain.source = Source::Given(vec!["10.2.0.1".parse().expect("an address")]);
        let left = Entry {
            id: id("c1"),
            state: State::Live,
            created: 1,
            begun: Uptime::default(),
            spec: plain.clone(),
            host_interface: String::new(),
            addresses: vec!["10.2.0.1".parse().expect("an address")],
        };
        let (journal, _) = Journal::open(world.folder.path()).expect("it opens");
        journal.record(left.clone()).await.expect("written");
        drop(journal);
        let daemon = world.start();
        while daemon.workloads.look(|sight| sight.mtu).await == Some(0) {
            tokio::task::yield_now().await;
        }
        let again =
            daemon.workloads.call(Call::Add(id("c1"), Box::new(plain), Unsaid::default())).await;
        let Ok(Reply::Added(again)) = again else { panic!("{again:?}") };
        assert_eq!(Entry { begun: left.begun, ..*again }, left);
    });
}

#[test]
fn an_endpoint_applied_by_hand_is_routed_and_announced_and_one_that_is_left_over_goes() {
    run(async {
        let world = World::new().await;
        let endpoint = |pod: &str, annotations: &str, address: &str| {
            format!(
                "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"WorkloadEndpoint\",\
                 \"metadata\":{{\"name\":\"n1-k8s-{pod}-eth0\",\"namespace\":\"shop\",\
                 \"annotations\":{{{annotations}}}}},\"spec\":{{\"orchestrator\":\"k8s\",\"node\":\
                 \"n1\",\"pod\":\"{pod}\",\"endpoint\":\"eth0\",\"interfaceName\":\"cali{pod}\",\
                 \"ipNetworks\":[\"{address}/32\"]}}}}"
            )
        };
        let key = |pod: &str| {
            Key::namespaced(Kind::WorkloadEndpoint, "shop", format!("n1-k8s-{pod}-eth0"))
        };
        let hand = endpoint("hand", "", "192.0.2.1");
        Resource::decode(hand.as_bytes()).expect("it is one");
        world.put(key("hand"), &hand).await;
        let gone = endpoint("gone", "\"margay/attachment\":\"net.gone\"", "192.0.2.2");
        world.put(key("gone"), &gone).await;
        let daemon = world.start();
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let mut announced = daemon.workloads.announced();
        announced.wait_for(|all| *all == BTreeSet::from([address])).await.expect("it runs");
        assert_eq!(world.routes(), BTreeMap::from([(address, "calihand".to_owned())]));
        while world.endpoints().await > 1 {
            tokio::task::yield_now().await;
        }
        assert!(world.store.get(&key("hand")).await.expect("it answers").is_some());
    });
}

#[test]
fn what_no_endpoint_can_be_named_after_is_refused_and_leaves_nothing_behind() {
    run(async {
        let world = World::new().await;
        let mut odd = spec();
        odd.pod = Some(Pod { namespace: "shop".into(), name: "web-".into(), uid: String::new() });
        // One that an earlier version took and could not get rid of.
        let left = Entry {
            id: id("c1"),
            state: State::Configured,
            created: 1,
            begun: Uptime::default(),
            spec: odd.clone(),
            host_interface: "cali1".into(),
            addresses: Vec::new(),
        };
        let (journal, _) = Journal::open(world.folder.path()).expect("it opens");
        journal.record(left).await.expect("written");
        drop(journal);
        let daemon = world.start();
        let error =
            daemon.workloads.call(Call::Add(id("c2"), Box::new(odd), Unsaid::default())).await;
        assert_eq!(error.expect_err("it cannot be named").cause.cni_code(), 7);
        daemon.settled().await;
        assert_eq!((world.links(), daemon.held().await), (0, 0));
        drop(daemon);
        assert_eq!(world.journal(), []);
    });
}

#[test]
fn a_lost_journal_costs_no_pod_its_link_at_this_start_nor_at_the_next() {
    run(async {
        let world = World::new().await;
        let daemon = world.start();
        daemon.add("c1").await.expect("attached");
        drop(daemon);
        std::fs::remove_file(world.folder.path().join("attachments.journal")).expect("removed");
        for container in ["c2", "c3"] {
            let daemon = world.start();
            let mut other = spec();
            other.pod = None;
            daemon
                .workloads
                .call(Call::Add(id(container), Box::new(other), Unsaid::default()))
                .await
                .expect("attached");
            let call = Call::Collect { network: "other".into(), valid: BTreeSet::new() };
            daemon.workloads.call(call).await.expect("nothing to collect");
            daemon.settled().await;
        }
        assert_eq!((world.links(), world.endpoints().await), (3, 3));
    });
}
