//! What a speaker is asked to be: values already checked by whoever read them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bgp_packet::{Asn, Family, FamilySet};
use ipnet::IpNet;

use crate::policy::{CommunityValue, RoutePolicy};

/// The speaker as a whole (`[bgp]`).
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalConfig {
    /// Our AS (of the member, inside a confederation).
    pub asn: Asn,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Addresses to accept connections on; none = never accept.
    pub listen: Vec<SocketAddr>,
    /// For reflection (RFC 4456); the router id unless configured.
    pub cluster_id: Ipv4Addr,
    /// RFC 5065.
    pub confederation: Option<Confederation>,
    /// Paths installed side by side from eBGP; at least 1.
    pub multipath_ebgp: u16,
    /// Paths installed side by side from iBGP; at least 1.
    pub multipath_ibgp: u16,
    /// Multipath needs the same AS-path length only, not the same neighbour or content.
    pub multipath_relax: bool,
    /// RFC 8212.
    pub require_policy: bool,
    /// Switches of the decision process.
    pub decision: DecisionConfig,
    /// Routes of our own, from the configuration.
    pub originate: Vec<Origination>,
    /// Kernel routes to announce.
    pub redistribute: Vec<Redistribution>,
}

/// RFC 5065.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confederation {
    /// The AS the world outside sees.
    pub id: Asn,
    /// The member ASes.
    pub members: Vec<Asn>,
}

/// Switches of the decision process (`bgp.decision`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionConfig {
    /// Compare MED between different neighbour ASes.
    pub always_compare_med: bool,
    /// An absent MED counts as 2^32-1, not 0.
    pub missing_med_worst: bool,
    /// Best of each neighbour AS first, then between them.
    pub deterministic_med: bool,
    /// RFC 5004: between external paths keep the current best before comparing router ids.
    pub prefer_older: bool,
}

/// A route of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origination {
    /// What is announced.
    pub prefix: IpNet,
    /// Third-party next hop; ourselves when absent.
    pub next_hop: Option<IpAddr>,
    /// Communities it starts with.
    pub communities: Vec<CommunityValue>,
    /// Also installed in the kernel as a blackhole.
    pub blackhole: bool,
}

/// Where redistributed routes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KernelSource {
    /// Prefixes of the host's own interfaces (route protocol "kernel", link scope).
    /// And its IPv4 host addresses, for which the kernel makes no such route.
    Connected,
    /// Routes of protocol "static" and "boot".
    Static,
    /// Any other route that is not ours.
    Kernel,
}

/// One entry of `bgp.redistribute`.
#[derive(Debug, Clone, PartialEq)]
pub struct Redistribution {
    /// Which routes.
    pub source: KernelSource,
    /// In which kernel table; default 254.
    pub table: u32,
    /// What of them, and with which attributes; everything when absent.
    pub policy: Option<Arc<RoutePolicy>>,
}

/// How a peer is recognised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerAddress {
    /// One address; a link-local one has its interface.
    Address {
        /// Remote address.
        address: IpAddr,
        /// Interface of a link-local address.
        interface: Option<String>,
    },
    /// Unnumbered: whoever speaks BGP at the other end of this interface.
    Interface(String),
    /// Whoever connects from this prefix, at most so many.
    Dynamic {
        /// Range of remote addresses.
        prefix: IpNet,
        /// Most sessions at a time.
        max_peers: u32,
    },
}

/// Which AS a peer may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAsn {
    /// One of these.
    OneOf(Vec<Asn>),
    /// Any but ours.
    External,
    /// Ours.
    Internal,
    /// Any.
    Any,
}

/// What happens to the configured `local-asn` in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalAsnMode {
    /// `local-asn` and the real one are prepended; `local-asn` is prepended on receive.
    Prepend,
    /// Not prepended on receive.
    NoPrepend,
    /// Only `local-asn` is prepended on send, none on receive.
    Replace,
}

/// `next-hop` of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NextHopMode {
    /// The rules of RFC 4271 §5.1.3.
    Auto,
    /// Always ourselves, also for reflected routes.
    SelfAddress,
    /// Never changed.
    Unchanged,
}

/// `remove-private-asn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemovePrivate {
    /// Not at all.
    No,
    /// Only where the whole path is private.
    WhollyPrivate,
    /// Every private number.
    All,
    /// Every private number becomes ours.
    Replace,
}

/// What happens beyond `max-prefixes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxPrefixAction {
    /// A log line.
    Warn,
    /// Cease/1, then down until enabled by hand.
    Shutdown,
    /// Cease/1, then again after so long.
    Restart(Duration),
    /// What exceeds the limit is dropped.
    Discard,
}

/// `max-prefixes`, per family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxPrefixes {
    /// Prefixes accepted at most.
    pub limit: u32,
    /// Share of the limit at which a warning is logged, 0 to 1.
    pub warn_at: f32,
    /// What happens beyond.
    pub action: MaxPrefixAction,
}

/// `add-path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct AddPathConfig {
    /// Take several paths for a prefix.
    pub receive: bool,
    /// Send at most so many paths; 0 = not offered.
    pub send: u16,
}

/// `graceful-restart` (RFC 4724): each side keeps the other's routes while it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GracefulRestart {
    /// How long the peer is asked to wait for us to come back; whole seconds, at most 4095.
    pub restart_time: Duration,
}

/// One configured peer, group settings already applied.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// Unique; the address unless configured.
    pub name: String,
    /// Group it took settings from.
    pub group: Option<String>,
    /// Who it is.
    pub address: PeerAddress,
    /// TCP port to connect to.
    pub port: u16,
    /// Its AS.
    pub asn: PeerAsn,
    /// The AS we show it instead of our own.
    pub local_asn: Option<Asn>,
    /// How `local_asn` shows in paths.
    pub local_asn_mode: LocalAsnMode,
    /// Source address of the connection.
    pub local_address: Option<IpAddr>,
    /// Wait for it to connect.
    pub passive: bool,
    /// `None`: IPv4 unicast, and IPv6 unicast on an IPv6 session.
    pub families: Option<FamilySet>,
    /// `None`: the default of RFC 8212 and `require-policy`.
    pub import: Option<Arc<RoutePolicy>>,
    /// Likewise.
    pub export: Option<Arc<RoutePolicy>>,
    /// Proposed; zero = no keep-alives.
    pub hold_time: Duration,
    /// Pause between attempts, before jitter and back-off.
    pub connect_retry: Duration,
    /// TTL of an eBGP session that is not directly connected.
    pub multihop: Option<u8>,
    /// Hops, RFC 5082.
    pub ttl_security: Option<u8>,
    /// Smallest hold time accepted from the peer (zero still means none).
    pub min_hold_time: Duration,
    /// Left-most AS must be the peer's.
    pub enforce_first_as: bool,
    /// RFC 9774: treat AS_SET as withdraw.
    pub reject_as_set: bool,
    /// TCP-MD5 key.
    pub password: Option<Secret>,
    /// Why the configured `password-file` could not be read: the session stays down and says so.
    pub password_error: Option<String>,
    /// RFC 4456.
    pub route_reflector_client: bool,
    /// RFC 7947.
    pub route_server_client: bool,
    /// Next hop of what we send.
    pub next_hop: NextHopMode,
    /// Limits on what it sends, per family.
    pub max_prefixes: Option<MaxPrefixes>,
    /// RFC 7911, all families.
    pub add_path: AddPathConfig,
    /// `None`: neither asked for nor granted.
    pub graceful_restart: Option<GracefulRestart>,
    /// RFC 8654.
    pub extended_messages: bool,
    /// RFC 8950.
    pub extended_next_hop: bool,
    /// How often our AS may stand in a received path.
    pub allow_own_asn: u8,
    /// Private numbers in sent paths.
    pub remove_private_asn: RemovePrivate,
    /// The peer's own AS in a sent path becomes ours.
    pub as_override: bool,
    /// Administratively up.
    pub enabled: bool,
    /// Free text.
    pub description: String,
}

/// A password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// The families of a session over an address of this kind, where none are configured.
pub fn default_families(remote: IpAddr) -> FamilySet {
    let mut families = FamilySet::EMPTY;
    families.insert(Family::IPV4_UNICAST);
    if remote.is_ipv6() {
        families.insert(Family::IPV6_UNICAST);
    }
    families
}
