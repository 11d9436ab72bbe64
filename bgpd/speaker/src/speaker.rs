//! The task that owns the set of peers: matches connections to them, originates routes, applies
//! new configurations, and tells the kernel side when routes of a former process may go.

mod deferral;
mod difference;
mod dynamic;
mod keys;
mod orders;
mod sync;

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use bgp_core::{
    config::{GlobalConfig, PeerAddress, PeerConfig},
    fsm::StopReason,
    policy::InterfaceName,
    rib::{AttrKey, Event, Install, LocalRoute, PeerId, Resolved, ShardConfig, TrackedNextHop},
};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle, Runtime},
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{debug, error, info, warn};

use self::{keys::Keys, orders::SpeakerOrder, sync::Sync};
use crate::{
    arrivals::Arrivals,
    events::PeerEvent,
    handle::SpeakerHandle,
    kernel::{Changes, Kernel, KernelEvents},
    listener::{self, Incoming},
    newcomers::{Known, Newcomers},
    originate::{Originator, OwnRoute, Slot},
    peer::{Order, PeerHandle, PeerSetup, PeerTask},
    ra::{self, Heard},
    shard::{Notice, Shards},
    sys,
};

pub(crate) use self::orders::SpeakerOrder as SpeakerOrders;
pub use self::orders::{ByHand, Stop};

/// Orders waiting for the speaker.
const ORDERS: usize = 64;
/// Connections waiting to be matched.
const INCOMING: usize = 256;
/// Notices of shards waiting.
const NOTICES: usize = 1024;
/// Events of peers kept for a monitor that is slow; their places are there from the start.
const EVENTS: usize = 1024;
/// Likewise of routes.
const CHANGES: usize = 4096;
/// How long all sessions are given to end.
const STOP_TIME: Duration = Duration::from_secs(4);
/// Between two sweeps of attribute sets that nobody uses.
const COLLECT: Duration = Duration::from_secs(60);
/// So many forgotten at once are worth looking for pages to give back.
const MANY_SETS: usize = 10_000;
/// Numbers of peers that are gone rest until so many others have gone, so that nothing of theirs
/// is left in any shard.
const RESTING_IDS: usize = 256;

/// How much is known of who the peers are and what we originate. What a former process left in the
/// kernel stays until it is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// All there is.
    All,
    /// What a former process knew last: good enough to tell whose routes are to be waited for after
    /// a restart.
    Remembered,
    /// A part: anybody may come.
    Part,
}

/// What a speaker is to do.
#[derive(Debug, Clone)]
pub struct SpeakerConfig {
    /// The speaker.
    pub global: Arc<GlobalConfig>,
    /// Its peers, templates of dynamic ones among them.
    pub peers: Vec<Arc<PeerConfig>>,
    /// What goes to the kernel.
    pub install: Install,
    /// Whether more is to be heard of peers and of routes of our own.
    pub known: Knowledge,
    /// A former process ended without a farewell, and the kernel went on forwarding: peers keep
    /// what we told them (RFC 4724). For the start only.
    pub restarted: bool,
}

struct Entry {
    handle: PeerHandle,
    config: Arc<PeerConfig>,
    template: Option<String>,
}

/// See the module.
pub struct Speaker {
    config: SpeakerConfig,
    kernel: Arc<dyn Kernel>,
    kernel_events: Arc<KernelEvents>,
    /// Tells the peers that interfaces have changed.
    links: watch::Sender<()>,
    shards: Shards,
    threads: Vec<JoinHandle<()>>,
    readers: Readers,
    orders: mpsc::Receiver<SpeakerOrder>,
    incoming: mpsc::Receiver<Incoming>,
    incoming_sender: mpsc::Sender<Incoming>,
    heard: mpsc::Receiver<Heard>,
    heard_sender: mpsc::Sender<Heard>,
    notices: mpsc::Receiver<Notice>,
    arrivals: Arc<Arrivals>,
    events: broadcast::Sender<PeerEvent>,
    peers: BTreeMap<String, Entry>,
    /// Configured peers with a prefix.
    templates: BTreeMap<String, Arc<PeerConfig>>,
    tasks: JoinSet<PeerId>,
    /// Listening and router advertisements, by address or interface.
    services: BTreeMap<Service, tokio::task::AbortHandle>,
    service_tasks: JoinSet<()>,
    keys: Arc<Mutex<Keys>>,
    originator: Originator,
    sync: Sync,
    newcomers: Newcomers,
    next_id: u16,
    resting_ids: VecDeque<PeerId>,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    Listen(SocketAddr),
    Advertise(String),
}

impl Speaker {
    /// Starts the shards, the listeners and a task for every peer. Runs on the caller's runtime
    /// until [`SpeakerHandle::stop`].
    ///
    /// `shards`: how many threads share the table. `events` is what the kernel side feeds.
    ///
    /// # Errors
    /// A thread could not be started. An address that cannot be listened on is logged and tried
    /// again.
    pub async fn start(
        config: SpeakerConfig,
        shards: usize,
        kernel: Arc<dyn Kernel>,
        kernel_events: Arc<KernelEvents>,
    ) -> std::io::Result<SpeakerHandle> {
        let (orders_sender, orders) = mpsc::channel(ORDERS);
        let (incoming_sender, incoming) = mpsc::channel(INCOMING);
        let (heard_sender, heard) = mpsc::channel(NOTICES);
        let (notices_sender, notices) = mpsc::channel(NOTICES);
        let events = broadcast::Sender::new(EVENTS);
        let changes = broadcast::Sender::new(CHANGES);
        let shard_config =
            ShardConfig { global: Arc::clone(&config.global), install: config.install.clone() };
        let (shards, threads) =
            Shards::start(shards, &shard_config, &kernel, &notices_sender, changes.clone())?;
        let mut speaker = Self {
            originator: Originator::new(Arc::clone(&config.global)),
            config,
            kernel,
            kernel_events,
            links: watch::Sender::new(()),
            shards: shards.clone(),
            threads,
            readers: Readers::start()?,
            orders,
            incoming,
            incoming_sender,
            heard,
            heard_sender,
            notices,
            arrivals: Arc::default(),
            events: events.clone(),
            peers: BTreeMap::new(),
            templates: BTreeMap::new(),
            tasks: JoinSet::new(),
            services: BTreeMap::new(),
            service_tasks: JoinSet::new(),
            keys: Arc::default(),
            sync: Sync::default(),
            newcomers: Newcomers::default(),
            next_id: 0,
            resting_ids: VecDeque::new(),
            seed: seed(),
        };
        if speaker.is_awaited() {
            speaker.sync.defer(Instant::now());
            speaker.shards.event(|| Event::Defer(true)).await;
        }
        let mut own = speaker.originator.set_links(&speaker.kernel.links());
        own.extend(speaker.originator.changes());
        speaker.originate(own).await;
        for peer in speaker.config.peers.clone() {
            speaker.add_configured(peer);
        }
        speaker.begin_sync();
        speaker.update_services();
        let running = tokio::spawn(speaker.run());
        let task = tokio::spawn(async move {
            if let Err(error) = running.await
                && error.is_panic()
            {
                // Nobody would take connections or a configuration any more.
                error!(err = %error, "the speaker panicked; aborting");
                std::process::abort();
            }
        });
        Ok(SpeakerHandle::new(orders_sender, shards, events, changes, task))
    }

    async fn run(mut self) {
        let kernel_events = Arc::clone(&self.kernel_events);
        let arrivals = Arc::clone(&self.arrivals);
        let mut collect = tokio::time::interval(COLLECT);
        collect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let sync_at = self.sync.deadline();
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(SpeakerOrder::Stop(text, stop, done)) => {
                        self.stop(text, stop).await;
                        // Whoever asked may be gone.
                        let _ = done.send(());
                        return;
                    }
                    Some(order) => self.order(order).await,
                    None => return self.stop(String::new(), Stop::ForGood).await,
                },
                Some((stream, remote)) = self.incoming.recv() => self.accept(stream, remote).await,
                changes = kernel_events.next() => self.kernel_changed(changes).await,
                Some(heard) = self.heard.recv() => self.heard(heard).await,
                arrived = arrivals.next() => self.arrived(arrived),
                Some(notice) = self.notices.recv() => self.notice(&notice),
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                Some(ended) = self.service_tasks.join_next() => service_ended(ended),
                () = tokio::time::sleep_until(sync_at.unwrap_or_else(Instant::now)), if sync_at.is_some() => {
                    self.sync_due().await;
                }
                _ = collect.tick() => {
                    if self.shards.collect() >= MANY_SETS {
                        // A table has gone: what it took is free, but not yet the system's.
                        tokio::task::spawn_blocking(sys::return_memory);
                    }
                }
            }
        }
    }

    async fn stop(&mut self, text: String, stop: Stop) {
        info!(text, ?stop, "stopping: ending all sessions");
        self.services.values().for_each(tokio::task::AbortHandle::abort);
        self.incoming.close();
        let orders: Vec<_> = self.peers.values().map(|e| e.handle.orders.clone()).collect();
        for peer in orders {
            // A task that ended already needs no telling.
            let reason = match stop {
                Stop::ForGood => StopReason::AdminShutdown(text.clone()),
                Stop::Restart => StopReason::Restart(text.clone()),
            };
            let _ = timeout(Duration::from_secs(1), peer.send(Order::Stop(reason))).await;
        }
        let tasks = &mut self.tasks;
        if timeout(STOP_TIME, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            warn!("some sessions did not end in time");
        }
        self.shards.stop().await;
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| {
                // A panicked shard has aborted the process.
                let _ = thread.join();
            });
        });
        let _ = timeout(STOP_TIME, joined).await;
    }

    // --- Peers ---

    fn add_configured(&mut self, config: Arc<PeerConfig>) {
        if matches!(config.address, PeerAddress::Dynamic { .. }) {
            self.set_key(&config, None);
            self.templates.insert(config.name.clone(), config);
        } else {
            self.add_peer(config, None);
        }
    }

    fn add_peer(
        &mut self,
        config: Arc<PeerConfig>,
        template: Option<String>,
    ) -> Option<PeerHandle> {
        let Some(id) = self.free_id() else {
            error!(peer = %config.name, "too many peers");
            return None;
        };
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if template.is_none() {
            self.set_key(&config, None);
        }
        let setup = PeerSetup {
            id,
            global: Arc::clone(&self.config.global),
            config: Arc::clone(&config),
            template: template.clone(),
            shards: self.shards.clone(),
            kernel: Arc::clone(&self.kernel),
            links: self.links.subscribe(),
            events: self.events.clone(),
            readers: self.readers.handle().clone(),
            seed: self.seed,
            arrivals: Arc::clone(&self.arrivals),
            former: self.sync.former(),
        };
        let (task, handle) = PeerTask::new(setup);
        self.tasks.spawn(task.run());
        let entry = Entry { handle: handle.clone(), config: Arc::clone(&config), template };
        self.peers.insert(config.name.clone(), entry);
        Some(handle)
    }

    fn free_id(&mut self) -> Option<PeerId> {
        if self.resting_ids.len() > RESTING_IDS {
            return self.resting_ids.pop_front();
        }
        match self.next_id.checked_add(1) {
            Some(next) => {
                let id = PeerId(self.next_id);
                self.next_id = next;
                Some(id)
            }
            None => self.resting_ids.pop_front(),
        }
    }

    fn ended(&mut self, ended: Result<PeerId, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.resting_ids.push_back(id);
                self.sync.gone(Instant::now(), &self.arrivals, id);
                // A dynamic peer has gone; a configured one was taken out by whoever stopped it.
                self.peers.retain(|_, entry| entry.handle.id != id);
            }
            // Its state is lost with it, and nobody would notice a session that never comes back.
            Err(error) if error.is_panic() => {
                error!(err = %error, "the task of a peer panicked; aborting");
                std::process::abort();
            }
            Err(_) => {}
        }
    }

    // --- Listeners and router advertisements ---

    fn update_services(&mut self) {
        let listen = self.config.global.listen.iter().map(|address| Service::Listen(*address));
        let interfaces = self.config.peers.iter().filter_map(|peer| match &peer.address {
            PeerAddress::Interface(name) => Some(Service::Advertise(name.clone())),
            _ => None,
        });
        let wanted: Vec<Service> = listen.chain(interfaces).collect();
        let keys = &self.keys;
        self.services.retain(|service, task| {
            let stays = wanted.contains(service);
            if !stays {
                task.abort();
                if let Service::Listen(address) = service {
                    lock(keys).closed(*address);
                    info!(%address, "no longer listening");
                }
            }
            stays
        });
        for service in wanted {
            if self.services.contains_key(&service) {
                continue;
            }
            let task = match service.clone() {
                Service::Listen(address) => {
                    let keys = Arc::clone(&self.keys);
                    let incoming = self.incoming_sender.clone();
                    self.service_tasks.spawn(listener::run(address, incoming, move |listener| {
                        lock(&keys).opened(address, listener);
                    }))
                }
                Service::Advertise(interface) => {
                    self.service_tasks.spawn(ra::run(interface, self.heard_sender.clone()))
                }
            };
            self.services.insert(service, task);
        }
    }

    /// Keeps the TCP-MD5 keys of the listening sockets as configured; `address` is that of an
    /// unnumbered peer, once heard.
    fn set_key(&self, config: &PeerConfig, address: Option<IpAddr>) {
        let (address, prefix_len) = match (&config.address, address) {
            (PeerAddress::Address { address, .. }, _) => (*address, None),
            (PeerAddress::Dynamic { prefix, .. }, _) => (prefix.addr(), Some(prefix.prefix_len())),
            (PeerAddress::Interface(_), Some(address)) => (address, None),
            (PeerAddress::Interface(_), None) => return,
        };
        let key = config.password.as_ref().map(|secret| secret.0.clone());
        lock(&self.keys).set(&config.name, address, prefix_len, key);
    }

    async fn heard(&mut self, heard: Heard) {
        let on_interface = |entry: &&Entry| matches!(&entry.config.address, PeerAddress::Interface(name) if *name == heard.interface);
        let Some(entry) = self.peers.values().find(on_interface) else { return };
        let (orders, config) = (entry.handle.orders.clone(), Arc::clone(&entry.config));
        self.set_key(&config, Some(heard.address.into()));
        // A task that ended has no use for it.
        let _ = orders.send(Order::Neighbour(heard.address, heard.index)).await;
    }

    async fn accept(&mut self, stream: TcpStream, remote: SocketAddr) {
        let configured = self.configured_for(remote).filter(|entry| entry.template.is_none());
        let known = if configured.is_some() { Known::ByAddress } else { Known::ByPrefix };
        let newcomer = match self.newcomers.enter(remote, known) {
            Ok(newcomer) => newcomer,
            Err(crowded) => {
                debug!(%remote, err = %crowded, "connection refused");
                listener::refuse(stream);
                return;
            }
        };
        let handle = match self.configured_for(remote) {
            Some(entry) => Some(entry.handle.clone()),
            None => self.dynamic_for(remote),
        };
        let Some(handle) = handle else {
            debug!(%remote, "connection refused: no such peer");
            listener::refuse(stream);
            return;
        };
        if let Err(refused) = handle.orders.try_send(Order::Accepted(stream, newcomer))
            && let Order::Accepted(stream, _) = refused.into_inner()
        {
            debug!(%remote, "connection refused: peer is busy");
            listener::refuse(stream);
        }
    }

    fn configured_for(&self, remote: SocketAddr) -> Option<&Entry> {
        let scope = match remote {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some(v6.scope_id()),
            _ => None,
        };
        let index = |name: &str| nix::net::if_::if_nametoindex(name).ok();
        let exact = self.peers.values().find(|entry| match &entry.config.address {
            PeerAddress::Address { address, interface } => {
                *address == remote.ip()
                    && (scope.is_none() || interface.as_deref().and_then(index) == scope)
            }
            PeerAddress::Interface(_) | PeerAddress::Dynamic { .. } => false,
        });
        exact.or_else(|| {
            let scope = scope?;
            self.peers.values().find(|entry| {
                matches!(&entry.config.address, PeerAddress::Interface(name) if index(name) == Some(scope))
            })
        })
    }

    // --- Routes of our own, and the kernel ---

    async fn originate(&self, changes: Vec<(Slot, Option<OwnRoute>)>) {
        for ((prefix, source), route) in changes {
            let route = route.map(|route| LocalRoute {
                attrs: self.shards.intern(&AttrKey::new(&route.attributes)).0,
                local: route.local,
                blackhole: route.blackhole,
                interface: route.interface,
            });
            self.shards.event_for(prefix, Event::Local { source, prefix, route }).await;
        }
    }

    async fn kernel_changed(&mut self, changes: Changes) {
        let links = self.kernel.links();
        if changes.links {
            self.links.send_replace(());
            let changed = self.originator.set_links(&links);
            self.originate(changed).await;
        }
        for (next_hop, resolution) in changes.next_hops {
            let next_hop = TrackedNextHop {
                address: next_hop.address,
                link_local: next_hop.link_local,
                interface: next_hop.interface,
            };
            let state = resolution.map(|resolution| Resolved {
                cost: resolution.cost,
                direct: resolution.direct,
                local: resolution.local,
                interface: resolution.interface.and_then(|index| {
                    let link = links.iter().find(|link| link.index == index)?;
                    InterfaceName::new(&link.name)
                }),
            });
            self.shards.event(|| Event::NextHop { next_hop, state }).await;
        }
        for (learned, there) in changes.learned.into_values() {
            let changed = self.originator.learned(learned, there);
            self.originate(changed).await;
        }
    }
}

/// Threads that read and decode. Apart from the caller's runtime, where sessions have their timers:
/// a keep-alive must not wait for its turn behind a table being decoded.
struct Readers(Option<Runtime>);

impl Readers {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("bgp-read").enable_time().build()?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken in drop only").handle()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // A runtime must not be waited for inside another; its tasks have been ended by now.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn service_ended(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(err = %error, "a listener panicked; aborting");
        std::process::abort();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Different on every start: what jitter begins with.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
