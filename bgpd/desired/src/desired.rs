//! What a daemon should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bgp_core::{
    config::{
        Confederation, DecisionConfig, GlobalConfig, Origination, PeerConfig, Redistribution,
    },
    policy::{RoutePolicy, Sets},
};
use bgp_packet::Asn;

use crate::{
    bgp,
    datastore::Datastore,
    registration::Registration,
    sync::{Sync, Tls},
};

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// `[node]`.
    pub node: Node,
    /// `[api]`.
    pub api: Api,
    /// `[http]`.
    pub http: Http,
    /// `[datastore]`.
    pub datastore: Datastore,
    /// `[sync]`.
    pub sync: Sync,
    /// `[bgp]`; without it no BGP is spoken.
    pub bgp: Option<Bgp>,
    /// `[fib]`.
    pub fib: Fib,
    /// What peers need of the kernel; only resources say so.
    pub reach: Reach,
    /// `[policy.route]`, by name.
    pub policies: BTreeMap<String, Arc<RoutePolicy>>,
    /// The sets that policies name.
    pub sets: Sets,
}

/// `[node]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The host's name unless configured.
    pub name: Option<String>,
    /// What survives a restart is kept here.
    pub state_dir: PathBuf,
    /// What it says about itself in the datastore.
    pub registration: Registration,
    /// Where the secrets lie that resources name, unless in `secrets` of the state directory.
    pub secrets_dir: Option<PathBuf>,
    /// How much it logs, unless the command line says.
    pub log_level: Option<LogLevel>,
}

/// Which log lines are written: those of this level, and all above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// A human must act.
    Error,
    /// Something was repaired or dropped.
    Warn,
    /// States an operator knows; the default.
    Info,
    /// Each message.
    Debug,
    /// Octets.
    Trace,
}

impl LogLevel {
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// As configuration and command line have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Node {
    /// Where the secrets lie that resources name: a folder for each, in it a file for each key.
    pub fn secrets_dir(&self) -> PathBuf {
        self.secrets_dir.clone().unwrap_or_else(|| self.state_dir.join("secrets"))
    }
}

/// `[api]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Unix socket of the gRPC services.
    pub socket: PathBuf,
    /// Where other nodes' daemons may ask; `None` = nowhere.
    pub listen: Option<SocketAddr>,
    /// Who we are there, and whom we answer; there whenever they may ask.
    pub tls: Option<Tls>,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Metrics and health; `None` = off.
    pub listen: Option<SocketAddr>,
}

/// `[bgp]` with its peers.
#[derive(Debug, Clone, PartialEq)]
pub struct Bgp {
    /// Our AS (of the member, inside a confederation).
    pub asn: Asn,
    /// The highest IPv4 address of the host unless configured.
    pub router_id: Option<Ipv4Addr>,
    /// The router id unless configured.
    pub cluster_id: Option<Ipv4Addr>,
    /// Addresses to accept connections on; an empty list = never accept. Every address of the host
    /// unless configured.
    pub listen: Option<Vec<SocketAddr>>,
    /// RFC 5065.
    pub confederation: Option<Confederation>,
    /// Of peers that have none of their own.
    pub hold_time: Duration,
    /// Paths installed side by side from eBGP; at least 1.
    pub multipath_ebgp: u16,
    /// Paths installed side by side from iBGP; at least 1.
    pub multipath_ibgp: u16,
    /// Multipath needs the same AS-path length only.
    pub multipath_relax: bool,
    /// RFC 8212.
    pub require_policy: bool,
    /// Switches of the decision process.
    pub decision: DecisionConfig,
    /// Routes of our own, in the order of the file.
    pub originate: Vec<Origination>,
    /// Kernel routes to announce.
    pub redistribute: Vec<Redistribution>,
    /// Peers in the order of the file, group settings applied.
    pub peers: Vec<PeerConfig>,
}

/// `[fib]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fib {
    /// Write routes at all.
    pub enabled: bool,
    /// Kernel table; 254 = main.
    pub table: u32,
    /// Route metric (priority).
    pub metric: u32,
    /// Route protocol number; 186 = bgp.
    pub protocol: u8,
    /// Next-hop objects.
    pub nexthop_objects: NexthopObjects,
    /// Set net.ipv4.nexthop_compat_mode = 0.
    pub nexthop_compat_off: bool,
    /// Default preferred source of every route.
    pub preferred_source: Option<IpAddr>,
    /// What of the best routes goes to the kernel; everything when absent.
    pub export: Option<Arc<RoutePolicy>>,
}

/// What peers need of the kernel beside what BGP tells: a way to them, and an address to call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Gateways by the peer behind them: a route to this one address each (`reachableBy`).
    pub gateways: BTreeMap<IpAddr, IpAddr>,
    /// Addresses of this node that only its workloads call (`localWorkloadPeeringIPV4`,
    /// `localWorkloadPeeringIPV6`); they are the same on all nodes.
    pub addresses: BTreeSet<IpAddr>,
}

/// `nexthop-objects`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NexthopObjects {
    /// Where the kernel has them.
    Auto,
    /// Fail to start without them.
    On,
    /// Inline next hops.
    Off,
}

impl Desired {
    /// The speaker's configuration, once the host's `router_id` is known (used where none is
    /// configured). Without `[bgp]`: AS 0, no listener, nothing of our own.
    pub fn global(&self, router_id: Ipv4Addr) -> GlobalConfig {
        let Some(bgp) = &self.bgp else {
            return GlobalConfig {
                asn: Asn(0),
                router_id,
                listen: Vec::new(),
                cluster_id: router_id,
                confederation: None,
                multipath_ebgp: 1,
                multipath_ibgp: 1,
                multipath_relax: false,
                require_policy: true,
                decision: Bgp::DECISION,
                originate: Vec::new(),
                redistribute: Vec::new(),
            };
        };
        let router_id = bgp.router_id.unwrap_or(router_id);
        GlobalConfig {
            asn: bgp.asn,
            router_id,
            listen: bgp.listen(),
            cluster_id: bgp.cluster_id.unwrap_or(router_id),
            confederation: bgp.confederation.clone(),
            multipath_ebgp: bgp.multipath_ebgp,
            multipath_ibgp: bgp.multipath_ibgp,
            multipath_relax: bgp.multipath_relax,
            require_policy: bgp.require_policy,
            decision: bgp.decision,
            originate: bgp.originate.clone(),
            redistribute: bgp.redistribute.clone(),
        }
    }

    /// How an upstream is asked: as `[sync.tls]` says, else as `[api.tls]`.
    pub fn sync_tls(&self) -> Option<&Tls> {
        self.sync.tls.as_ref().or(self.api.tls.as_ref())
    }

    /// The peers; none without `[bgp]`.
    pub fn peers(&self) -> &[PeerConfig] {
        self.bgp.as_ref().map_or(&[], |bgp| &bgp.peers)
    }
}

impl Bgp {
    /// Addresses to accept connections on.
    pub fn listen(&self) -> Vec<SocketAddr> {
        self.listen.clone().unwrap_or_else(bgp::default_listen)
    }

    /// `decision` where nothing is configured.
    pub(crate) const DECISION: DecisionConfig = DecisionConfig {
        always_compare_med: false,
        missing_med_worst: false,
        deterministic_med: true,
        prefer_older: false,
    };
}

/// What an empty file says.
impl Default for Desired {
    fn default() -> Self {
        Self {
            node: Node::default(),
            api: Api::default(),
            http: Http::default(),
            datastore: Datastore::default(),
            sync: Sync::default(),
            bgp: None,
            fib: Fib::default(),
            reach: Reach::default(),
            policies: BTreeMap::new(),
            sets: Sets::default(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: None,
            state_dir: "/var/lib/margay".into(),
            secrets_dir: None,
            log_level: None,
            registration: Registration::default(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self { socket: "/run/margay/bgpd.sock".into(), listen: None, tls: None }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Some((Ipv4Addr::LOCALHOST, 9179).into()) }
    }
}

impl Default for Fib {
    fn default() -> Self {
        Self {
            enabled: true,
            table: 254,
            metric: 32,
            protocol: 186,
            nexthop_objects: NexthopObjects::Auto,
            nexthop_compat_off: false,
            preferred_source: None,
            export: None,
        }
    }
}
