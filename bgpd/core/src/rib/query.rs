//! Questions to a shard and their answers, a slice at a time.

use std::{net::IpAddr, sync::Arc};

use bgp_packet::{Family, PathAttributes};
use ipnet::IpNet;

use super::{attrs::Attrs, event::PeerId};
use crate::policy::{LocalAttributes, RouteSource};

/// Which prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// All.
    All,
    /// This one.
    Exact(IpNet),
    /// The longest match of an address in this shard; the shell compares shards.
    Longest(IpAddr),
    /// This one and all inside it.
    Within(IpNet),
}

/// Which routes of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Every path kept after import policy.
    Table,
    /// Only the best of them.
    Best,
    /// What a peer sent, after import policy.
    Received(PeerId),
    /// What a peer sent, as it came, filtered routes too.
    ReceivedPrePolicy(PeerId),
    /// What a peer is sent, after export policy and rewriting.
    Advertised(PeerId),
}

/// A question; asked with a [`RouteCursor`] until [`super::Shard::routes`] says it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteQuery {
    /// Which prefixes.
    pub select: Select,
    /// Only this family.
    pub family: Option<Family>,
    /// Which routes.
    pub view: View,
}

/// How far a question has been answered. Routes that come and go meanwhile may be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteCursor {
    pub(super) family: usize,
    pub(super) slot: u32,
}

/// Attributes of a row.
#[derive(Debug, Clone)]
pub enum RowAttributes {
    /// As interned; decoding is left to whoever prints.
    Shared(Arc<Attrs>),
    /// Made for the row (as advertised).
    Owned(Box<PathAttributes>),
}

impl RowAttributes {
    /// Decoded.
    pub fn decode(&self) -> PathAttributes {
        match self {
            Self::Shared(attrs) => attrs.decode(),
            Self::Owned(attributes) => (**attributes).clone(),
        }
    }
}

/// Why a path is or is not the best: the deciding step (`reason` of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// There is no other.
    OnlyPath,
    /// Weight set by policy.
    Weight,
    /// LOCAL_PREF.
    LocalPref,
    /// A route of our own against a learned one.
    LocalRoute,
    /// AS_PATH length.
    AsPathLength,
    /// ORIGIN.
    Origin,
    /// MULTI_EXIT_DISC.
    Med,
    /// eBGP over iBGP.
    PeerType,
    /// Cost of the way to the next hop.
    IgpMetric,
    /// RFC 5004.
    Older,
    /// BGP identifier or ORIGINATOR_ID.
    RouterId,
    /// CLUSTER_LIST length.
    ClusterList,
    /// Address of the peer.
    PeerAddress,
    /// Path identifier.
    PathId,
    /// Of a session that is gone.
    Stale,
    /// The next hop cannot be used.
    NextHopUnreachable,
    /// Refused by import policy, or by RFC 8212.
    Policy,
    /// Our AS is in the path.
    AsLoop,
    /// We, or our cluster, have reflected it before.
    OriginatorLoop,
}

impl Reason {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnlyPath => "only-path",
            Self::Weight => "weight",
            Self::LocalPref => "local-pref",
            Self::LocalRoute => "local-route",
            Self::AsPathLength => "as-path-length",
            Self::Origin => "origin",
            Self::Med => "med",
            Self::PeerType => "peer-type",
            Self::IgpMetric => "igp-metric",
            Self::Older => "older",
            Self::RouterId => "router-id",
            Self::ClusterList => "cluster-list",
            Self::PeerAddress => "peer-address",
            Self::PathId => "path-id",
            Self::Stale => "stale",
            Self::NextHopUnreachable => "next-hop-unreachable",
            Self::Policy => "policy",
            Self::AsLoop => "as-loop",
            Self::OriginatorLoop => "originator-loop",
        }
    }
}

/// A route as users see it.
#[derive(Debug, Clone)]
pub struct RouteRow {
    /// Prefix.
    pub prefix: IpNet,
    /// Its family.
    pub family: Family,
    /// Whether it is the best.
    pub best: bool,
    /// Used beside the best.
    pub multipath: bool,
    /// Peer it came from; `None` for our own. For an advertised route, where it was learned.
    pub peer: Option<PeerId>,
    /// That peer's name.
    pub peer_name: Option<Arc<str>>,
    /// Where it came from.
    pub source: RouteSource,
    /// Path identifier received (or sent, for an advertised route); `None` without add-path.
    pub path_id: Option<u32>,
    /// Attributes.
    pub attributes: RowAttributes,
    /// Values that never go on the wire.
    pub local: LocalAttributes,
    /// Of a session that is gone.
    pub stale: bool,
    /// Wished into the kernel by this path.
    pub installed: bool,
    /// When it came, in the seconds of [`super::Shard::handle`].
    pub since: u32,
    /// The deciding step.
    pub reason: Reason,
}

/// Routes of one peer and family in this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCounts {
    /// Held as received.
    pub received: u64,
    /// Of these kept after import policy and loop checks.
    pub accepted: u64,
    /// Sent and not withdrawn. Counted for the group: routes that only this peer is not told,
    /// because they name it as next hop, are among them.
    pub advertised: u64,
}

/// Totals of one family in this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableCounts {
    /// Prefixes with any path.
    pub prefixes: u64,
    /// Paths, filtered ones included.
    pub paths: u64,
    /// Prefixes with a best path.
    pub best: u64,
    /// Prefixes wished into the kernel.
    pub installed: u64,
    /// Distinct attribute sets with at least one path.
    pub attributes: u64,
    /// Update groups.
    pub groups: u64,
}

/// All there is to say about a prefix ([`super::Shard::explain`]).
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Which prefix.
    pub prefix: IpNet,
    /// Every path, best first, then in order of preference, then those not eligible.
    pub paths: Vec<ExplainedPath>,
    /// Towards one peer, if asked.
    pub export: Option<ExplainedExport>,
}

/// One path of an explanation.
#[derive(Debug, Clone)]
pub struct ExplainedPath {
    /// The route after import.
    pub row: RouteRow,
    /// The import policy (`None`: none configured) and the rules that matched.
    pub import: Option<(String, Vec<crate::policy::RuleHit>)>,
    /// Whether import policy changed attributes.
    pub changed_by_import: bool,
    /// Metric to the next hop; `None` for a path out of the decision.
    pub igp_metric: Option<u32>,
    /// Each step compared with the best path (for the best, with the runner-up), in order, up to
    /// the one that decided.
    pub steps: Vec<ExplainedStep>,
}

/// One step of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedStep {
    /// Which.
    pub step: Reason,
    /// This path's value.
    pub ours: String,
    /// The value of the path it is compared with.
    pub theirs: String,
    /// Whether it decided.
    pub decided: bool,
}

/// What a peer is told about a prefix.
#[derive(Debug, Clone)]
pub struct ExplainedExport {
    /// The peer.
    pub peer: PeerId,
    /// Name of the peer.
    pub peer_name: Arc<str>,
    /// For each path considered, in order.
    pub considered: Vec<ConsideredPath>,
}

/// One path on its way to a peer.
#[derive(Debug, Clone)]
pub struct ConsideredPath {
    /// Where it came from; `None` for our own.
    pub from: Option<Arc<str>>,
    /// The export policy and the rules that matched, if it was asked.
    pub policy: Option<(String, Vec<crate::policy::RuleHit>)>,
    /// What was sent, or why not.
    pub outcome: Result<Box<PathAttributes>, NotSent>,
    /// Path identifier on the wire, with add-path.
    pub path_id: Option<u32>,
}

/// Why a path is not sent to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The peer has not negotiated the family.
    Family,
    /// Not the best, and only the best (or so many) are sent.
    NotBest,
    /// It came from this peer.
    SplitHorizon,
    /// From one internal peer to another without reflection (RFC 4456).
    Reflection,
    /// NO_ADVERTISE, NO_EXPORT or NO_EXPORT_SUBCONFED.
    Community,
    /// The export policy.
    Policy,
    /// No export policy (RFC 8212).
    NoPolicy,
    /// We have no address of the family to name as next hop.
    NoNextHop,
    /// The next hop would be the peer's own address (RFC 4271 §5.1.3).
    OwnNextHop,
    /// The attributes do not fit into a message.
    TooLong,
}

impl NotSent {
    /// As shown to users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Family => "family not negotiated",
            Self::NotBest => "not among the best paths",
            Self::SplitHorizon => "learned from this peer",
            Self::Reflection => "internal route to an internal peer, no reflection",
            Self::Community => "well-known community",
            Self::Policy => "export policy",
            Self::NoPolicy => "no export policy on an external session (RFC 8212)",
            Self::NoNextHop => "no local address to use as next hop",
            Self::OwnNextHop => "next hop is the peer's own address",
            Self::TooLong => "attributes exceed the message size",
        }
    }
}
