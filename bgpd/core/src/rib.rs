//! Routing information bases of one shard: Adj-RIB-In, decision, Loc-RIB, Adj-RIB-Out by update
//! group. A shard owns every prefix that hashes to it, on one thread.

use std::{net::IpAddr, sync::Arc};

use bgp_packet::{Family, NextHop, PathAttributes, RefreshKind, RouteRefresh};
use bytes::Bytes;
use ipnet::IpNet;

use crate::{
    config::{GlobalConfig, PeerConfig},
    fsm::Negotiated,
    policy::{LocalAttributes, RouteSource},
};

/// A peer as the RIB knows it: a small number, given by the shell, reused after the peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u16);

/// One session of a peer: what arrives with an older one is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Interned attributes as received: shared by every route that carries them, on any shard.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Attrs {
    /// Placeholder for the canonical octets and decoded parts.
    pub attributes: PathAttributes,
}

/// Routes of one peer and family for one shard, in wire order.
#[derive(Debug, Default)]
pub struct Batch {
    /// `None` = the prefixes of the run are withdrawn.
    pub runs: Vec<(Option<Arc<Attrs>>, u32)>,
    /// The prefixes of all runs, with their path identifiers.
    pub prefixes: Vec<(u32, IpNet)>,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Event {
    /// A session is up.
    PeerUp {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// Its configuration.
        config: Arc<PeerConfig>,
        /// What was agreed.
        negotiated: Arc<Negotiated>,
    },
    /// A session is down: its paths go, it is told nothing more.
    PeerDown {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
    },
    /// Routes from a peer.
    Routes {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// Which family.
        family: Family,
        /// The routes.
        batch: Batch,
    },
    /// The peer's End-of-RIB.
    EndOfRib {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// Which family.
        family: Family,
    },
    /// A ROUTE-REFRESH, request or bracket, in its place in the stream of routes.
    Refresh {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// The message.
        refresh: RouteRefresh,
    },
    /// A route of our own; `None` withdraws it.
    Local {
        /// Where it comes from; each source has its own slot for a prefix.
        source: RouteSource,
        /// What.
        prefix: IpNet,
        /// Its attributes.
        route: Option<(Arc<Attrs>, LocalAttributes)>,
    },
    /// A tracked next hop changed.
    NextHop {
        /// Which.
        next_hop: NextHop,
        /// Reachable at this cost, or not.
        cost: Option<u32>,
    },
    /// New configuration (policies, decision switches); peers are matched by id. Everything that
    /// follows from it is worked off in slices by [`Shard::work`].
    Reconfigure {
        /// The speaker.
        global: Arc<GlobalConfig>,
        /// Every peer that is up.
        peers: Vec<(PeerId, Arc<PeerConfig>)>,
    },
    /// A member's queue is full: give it nothing until [`Event::Drained`].
    Blocked(PeerId),
    /// A member can take more.
    Drained(PeerId),
    /// Soft reset: evaluate the import policy again, or send everything again.
    SoftReset {
        /// Who.
        peer: PeerId,
        /// `true` = inbound.
        inbound: bool,
        /// `true` = outbound.
        outbound: bool,
    },
}

/// Who gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every member of the group that is in step, but this one.
    GroupExcept(GroupId, Option<PeerId>),
    /// One member.
    Only(PeerId),
}

/// An update group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// What a shard asks its shell to do.
#[derive(Debug)]
pub enum Effect {
    /// Queue octets (one whole message) for some members.
    Send {
        /// Who.
        audience: Audience,
        /// One or more whole messages.
        octets: Bytes,
    },
    /// Wish for the kernel: `None` removes.
    Install {
        /// What.
        prefix: IpNet,
        /// How.
        route: Option<Installed>,
    },
    /// Follow a next hop from now on ([`Event::NextHop`] answers).
    Track(NextHop),
    /// No longer.
    Untrack(NextHop),
    /// The peer exceeded `max-prefixes`.
    MaxPrefixes {
        /// Who.
        peer: PeerId,
        /// In which family.
        family: Family,
        /// How many it has now.
        count: u32,
        /// Only the warning level was reached.
        warning: bool,
    },
    /// Ask the peer for its routes again (no Adj-RIB-In kept).
    RequestRefresh(PeerId, Family, RefreshKind),
}

/// A best route on its way to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The best path's next hop and those of its equals, in canonical order.
    pub next_hops: Vec<(NextHop, u32)>,
    /// Blackhole instead of next hops.
    pub blackhole: bool,
    /// What policies set.
    pub local: LocalAttributes,
}

/// The state of one shard.
#[derive(Debug)]
pub struct Shard {
    _private: (),
}

/// Anything our own addresses are: to tell a next hop that is ourselves.
pub type OwnAddresses = Arc<Vec<IpAddr>>;
