//! Speakers on loopback addresses, with a kernel side that says yes to everything.

pub mod raw;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bgp_core::{
    config::{
        AddPathConfig, DecisionConfig, GlobalConfig, LocalAsnMode, NextHopMode, Origination,
        PeerAddress, PeerAsn, PeerConfig, RemovePrivate,
    },
    fsm::State,
    rib::{Install, RouteQuery, RouteRow, Select, View},
};
use bgp_packet::Asn;
use bgp_speaker::{Kernel, KernelEvents, Knowledge, Peer, Speaker, SpeakerConfig, SpeakerHandle};
use ipnet::IpNet;
use margay_fib::{BgpNextHop, FibEvent, Link, Resolution, Source, Wish};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Reaches every next hop and remembers what it was asked for.
#[derive(Debug, Default)]
pub struct YesKernel {
    events: Arc<KernelEvents>,
    pub wishes: Mutex<BTreeMap<IpNet, Wish>>,
    pub in_sync: AtomicBool,
}

impl Kernel for YesKernel {
    fn set(&self, wishes: Vec<(IpNet, Option<Arc<Wish>>)>) {
        let mut known = self.wishes.lock().expect("no test panics with it");
        for (prefix, wish) in wishes {
            match wish {
                Some(wish) => known.insert(prefix, (*wish).clone()),
                None => known.remove(&prefix),
            };
        }
    }

    fn source_down(&self, _: Source) {}

    fn track(&self, next_hop: BgpNextHop) {
        let resolution = Resolution { cost: 0, direct: true, local: false, interface: None };
        self.events.put(vec![FibEvent::NextHop(next_hop, Some(resolution))]);
    }

    fn untrack(&self, _: BgpNextHop) {}

    fn in_sync(&self) {
        self.in_sync.store(true, Relaxed);
    }

    fn links(&self) -> Arc<Vec<Link>> {
        Arc::default()
    }
}

/// One end: 127.0.0.`host` in AS 65000 + `host`.
#[derive(Debug, Clone)]
pub struct End {
    pub host: u8,
    pub port: u16,
    pub originate: Vec<&'static str>,
}

impl End {
    pub fn new(host: u8, originate: &[&'static str]) -> Self {
        let probe = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 0)).expect("loopback");
        let port = probe.local_addr().expect("bound").port();
        Self { host, port, originate: originate.to_vec() }
    }

    pub fn address(&self) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, self.host).into()
    }

    /// Of the routes it originates.
    pub fn next_hop(&self) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, self.host).into()
    }

    pub fn asn(&self) -> Asn {
        Asn(65000 + u32::from(self.host))
    }

    pub fn global(&self) -> GlobalConfig {
        let router_id = Ipv4Addr::new(10, 0, 0, self.host);
        GlobalConfig {
            asn: self.asn(),
            router_id,
            listen: vec![SocketAddr::new(self.address(), self.port)],
            cluster_id: router_id,
            confederation: None,
            multipath_ebgp: 1,
            multipath_ibgp: 1,
            multipath_relax: false,
            require_policy: false,
            decision: DecisionConfig {
                always_compare_med: false,
                missing_med_worst: false,
                deterministic_med: true,
                prefer_older: false,
            },
            originate: self
                .originate
                .iter()
                .map(|prefix| Origination {
                    prefix: net(prefix),
                    next_hop: Some(self.next_hop()),
                    communities: Vec::new(),
                    blackhole: false,
                })
                .collect(),
            redistribute: Vec::new(),
        }
    }

    /// This end's view of another.
    pub fn peer(&self, other: &Self) -> PeerConfig {
        PeerConfig {
            name: format!("p{}", other.host),
            group: None,
            address: PeerAddress::Address { address: other.address(), interface: None },
            port: other.port,
            asn: PeerAsn::OneOf(vec![other.asn()]),
            local_asn: None,
            local_asn_mode: LocalAsnMode::Prepend,
            local_address: Some(self.address()),
            passive: false,
            families: None,
            import: None,
            export: None,
            hold_time: Duration::from_secs(9),
            connect_retry: Duration::from_secs(1),
            multihop: None,
            ttl_security: None,
            min_hold_time: Duration::from_secs(3),
            enforce_first_as: true,
            reject_as_set: false,
            password: None,
            password_error: None,
            route_reflector_client: false,
            route_server_client: false,
            // A loopback address is no next hop.
            next_hop: NextHopMode::Unchanged,
            max_prefixes: None,
            add_path: AddPathConfig::default(),
            graceful_restart: None,
            extended_messages: true,
            extended_next_hop: false,
            allow_own_asn: 0,
            remove_private_asn: RemovePrivate::No,
            as_override: false,
            enabled: true,
            description: String::new(),
        }
    }

    pub fn config(&self, peers: Vec<PeerConfig>) -> SpeakerConfig {
        SpeakerConfig {
            global: Arc::new(self.global()),
            peers: peers.into_iter().map(Arc::new).collect(),
            install: Install::All,
            restarted: false,
            known: Knowledge::All,
        }
    }

    pub async fn start(&self, peers: Vec<PeerConfig>) -> (SpeakerHandle, Arc<YesKernel>) {
        self.start_sharded(peers, 1).await
    }

    pub async fn start_sharded(
        &self,
        peers: Vec<PeerConfig>,
        shards: usize,
    ) -> (SpeakerHandle, Arc<YesKernel>) {
        self.start_with(self.config(peers), shards).await
    }

    /// As after a crash: the kernel went on forwarding, and peers may have waited.
    pub async fn restart(&self, peers: Vec<PeerConfig>) -> (SpeakerHandle, Arc<YesKernel>) {
        self.start_with(SpeakerConfig { restarted: true, ..self.config(peers) }, 2).await
    }

    pub async fn start_with(
        &self,
        config: SpeakerConfig,
        shards: usize,
    ) -> (SpeakerHandle, Arc<YesKernel>) {
        // Shown where a test fails; whichever test is first sets it up for all.
        let _ = tracing_subscriber::fmt()
            .with_env_filter("bgp_speaker=debug")
            .with_test_writer()
            .try_init();
        let kernel = Arc::<YesKernel>::default();
        let events = Arc::clone(&kernel.events);
        let speaker =
            Speaker::start(config, shards, Arc::clone(&kernel) as Arc<dyn Kernel>, events)
                .await
                .expect("threads can be started");
        (speaker, kernel)
    }
}

pub fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

/// Waits until `done` says yes.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn peer(speaker: &SpeakerHandle, name: &str) -> Peer {
    speaker.peer(name).await.expect("the peer is configured")
}

pub async fn established(speaker: &SpeakerHandle, name: &str) -> bool {
    speaker.peer(name).await.is_ok_and(|peer| peer.status.state == State::Established)
}

/// Best routes learned from anybody, by prefix.
pub async fn learned(speaker: &SpeakerHandle) -> BTreeMap<IpNet, RouteRow> {
    let query = RouteQuery { select: Select::All, family: None, view: View::Best };
    let mut rows = speaker.routes(query);
    let mut all = BTreeMap::new();
    while let Some(batch) = rows.next().await {
        all.extend(batch.into_iter().filter(|row| row.peer.is_some()).map(|row| (row.prefix, row)));
    }
    all
}

pub async fn knows(speaker: &SpeakerHandle, prefixes: &[&str]) -> bool {
    learned(speaker).await.into_keys().eq(prefixes.iter().map(|prefix| net(prefix)))
}
