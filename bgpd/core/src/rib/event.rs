//! What a shard is told, and what it asks for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, atomic::AtomicU32},
};

use bgp_packet::{Family, FamilySet, RouteRefresh};
use bytes::Bytes;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    attrs::Attrs,
    net::{Net4, Net6},
    query::RouteRow,
};
use crate::{
    config::{GlobalConfig, PeerConfig},
    fsm::Negotiated,
    policy::{InterfaceName, LocalAttributes, RoutePolicy, RouteSource},
};

/// A peer as the RIB knows it: a small number, given by the shell, reused after the peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u16);

/// One session of a peer: what arrives with an older one is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Routes of one peer and family for one shard, in wire order. Withdrawals and announcements may
/// alternate.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) runs: Vec<Run>,
    pub(super) v4: Vec<Net4>,
    pub(super) v6: Vec<Net6>,
    /// Empty while every path identifier is 0.
    pub(super) path_ids: Vec<u32>,
}

/// Prefixes in a row that share their attributes.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// `None`: withdrawn.
    pub attrs: Option<Arc<Attrs>>,
    pub count: u32,
}

impl Batch {
    /// Appends a route, or a withdrawal where `attrs` is `None`. All prefixes of a batch are of
    /// one family. `path_id` is 0 without add-path.
    pub fn push(&mut self, attrs: Option<&Arc<Attrs>>, path_id: u32, prefix: IpNet) {
        let before = self.len();
        match prefix {
            IpNet::V4(net) => self.v4.push(net.into()),
            IpNet::V6(net) => self.v6.push(net.into()),
        }
        if path_id != 0 || !self.path_ids.is_empty() {
            self.path_ids.resize(before, 0);
            self.path_ids.push(path_id);
        }
        match self.runs.last_mut() {
            Some(run) if same(run.attrs.as_ref(), attrs) => run.count += 1,
            _ => self.runs.push(Run { attrs: attrs.cloned(), count: 1 }),
        }
    }

    /// Routes and withdrawals in it.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

fn same(a: Option<&Arc<Attrs>>, b: Option<&Arc<Attrs>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Our side of a session, for next hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SessionAddresses {
    /// Our IPv4 address towards the peer: the session's, or one of its interface.
    pub v4: Option<Ipv4Addr>,
    /// Our global IPv6 address towards the peer, likewise.
    pub v6: Option<Ipv6Addr>,
    /// Our link-local address, only where the peer shares the link.
    pub link_local: Option<Ipv6Addr>,
    /// The interface of the session where the peer shares the link: scope of its link-local next
    /// hops.
    pub interface: Option<u32>,
    /// The name of that interface, for import policies.
    pub interface_name: Option<InterfaceName>,
    /// The network of the session's local address on that interface, where the peer's address lies
    /// in it and both are global: third-party next hops are from here (RFC 4271 §5.1.3).
    pub subnet: Option<IpNet>,
}

/// Paths accepted from a peer, per family in the order of `Family::SUPPORTED`, counted over all
/// shards: what `max-prefixes` limits. Kept up only while there is a limit; to show counts, ask
/// [`super::Shard::peer_counts`].
#[derive(Debug, Default)]
pub struct Accepted(pub [AtomicU32; 2]);

/// A next hop to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackedNextHop {
    /// The global address, or a link-local one.
    pub address: IpAddr,
    /// The second address of a 32-octet IPv6 next hop.
    pub link_local: Option<Ipv6Addr>,
    /// Interface index, for link-local addresses.
    pub interface: Option<u32>,
}

/// A reachable next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// Metric of the route it resolves through; 0 = directly connected.
    pub cost: u32,
    /// On a link of ours.
    pub direct: bool,
    /// One of our own addresses: routes over it are not eligible.
    pub local: bool,
    /// The interface it is reached by, where it is one, for policies.
    pub interface: Option<InterfaceName>,
}

/// A route of our own.
#[derive(Debug, Clone)]
pub struct LocalRoute {
    /// Its attributes; an unspecified next hop (`0.0.0.0`, `::`) means ourselves.
    pub attrs: Arc<Attrs>,
    /// Local values it starts with.
    pub local: LocalAttributes,
    /// Installed in the kernel as a blackhole.
    pub blackhole: bool,
    /// The interface it leads out by, where it is one, for policies.
    pub interface: Option<InterfaceName>,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Event {
    /// A session is up. Replaces the peer's former session, if that was not told to be down.
    PeerUp {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// Its configuration.
        config: Arc<PeerConfig>,
        /// What was agreed.
        negotiated: Arc<Negotiated>,
        /// Our own addresses on it.
        addresses: SessionAddresses,
        /// Shared between the shards.
        accepted: Arc<Accepted>,
    },
    /// A session is down: it is told nothing more. Its paths go, but for those kept until the peer
    /// has sent them again, or [`Event::Forget`].
    PeerDown {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// Families whose paths are kept (RFC 4724).
        keep: FamilySet,
    },
    /// The time of a peer that restarts is over: what it has not sent again goes.
    Forget {
        /// Who.
        peer: PeerId,
    },
    /// After a restart: until `false` nothing is installed, nor sent to peers that restart gracefully,
    /// so that these and the kernel, who keep what they had, do not see half of a table (RFC 4724
    /// §4.1). Other peers are sent what is known.
    Defer(bool),
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
        /// Where it comes from; each source has its own slot for a prefix. Not `Bgp`.
        source: RouteSource,
        /// What.
        prefix: IpNet,
        /// The route.
        route: Option<LocalRoute>,
    },
    /// A tracked next hop changed; `None` = unreachable.
    NextHop {
        /// Which.
        next_hop: TrackedNextHop,
        /// How it is reached.
        state: Option<Resolved>,
    },
    /// New configuration (policies, decision switches); peers are matched by id. Everything that
    /// follows from it is worked off in slices by [`super::Shard::work`].
    Reconfigure {
        /// The speaker.
        config: ShardConfig,
        /// Every peer that is up.
        peers: Vec<(PeerId, Arc<PeerConfig>)>,
    },
    /// A member's queue is full: give it nothing until [`Event::Drained`].
    Blocked(PeerId, Epoch),
    /// A member can take more.
    Drained(PeerId, Epoch),
    /// New configuration of one peer, the speaker's being the same: for a session that came up
    /// with a former one, past [`Event::Reconfigure`].
    PeerConfig {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// Its configuration.
        config: Arc<PeerConfig>,
    },
    /// Soft reset.
    SoftReset {
        /// Who.
        peer: PeerId,
        /// Evaluate the import policy again, send everything again, or both.
        direction: SoftReset,
    },
}

/// Direction of a soft reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftReset {
    /// Import again from the Adj-RIB-In, which is always kept.
    In,
    /// Send the Adj-RIB-Out again.
    Out,
    /// Both.
    Both,
}

/// What a shard needs to know from the start.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// The speaker.
    pub global: Arc<GlobalConfig>,
    /// Whether best routes are wished into the kernel.
    pub install: Install,
}

/// `[fib] enabled` and `export`.
#[derive(Debug, Clone, PartialEq)]
pub enum Install {
    /// Nothing.
    Nothing,
    /// Every best route but those that came from the kernel.
    All,
    /// What the policy accepts of them; `metric` and `preferred-source` set by it count.
    Policy(Arc<RoutePolicy>),
}

/// One session as a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// Which session: octets for one that is gone are dropped.
    pub epoch: Epoch,
}

/// What a shard asks its shell to do, in order.
#[derive(Debug)]
pub enum Effect {
    /// Queue octets for some members.
    Send {
        /// Who; shared between consecutive sends.
        to: Arc<[Member]>,
        /// Of these not this one (it is where the routes came from).
        except: Option<PeerId>,
        /// One or more whole messages.
        octets: Bytes,
        /// How many.
        messages: u32,
    },
    /// Wish for the kernel: `None` removes.
    Install {
        /// What.
        prefix: IpNet,
        /// How.
        route: Option<Arc<Installed>>,
    },
    /// Follow a next hop from now on ([`Event::NextHop`] answers).
    Track(TrackedNextHop),
    /// No longer.
    Untrack(TrackedNextHop),
    /// The peer reached a level of `max-prefixes`; told once for each crossing.
    MaxPrefixes {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// In which family.
        family: Family,
        /// How many it has now, over all shards.
        count: u32,
        /// Only the warning level was reached.
        warning: bool,
    },
    /// The peer announced more paths of one prefix, with add-path, than are kept: these were
    /// dropped. They are not asked for again when others go.
    TooManyPaths {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
        /// In which family.
        family: Family,
        /// The prefix of the first of them.
        prefix: IpNet,
        /// How many.
        dropped: u32,
        /// How many of a prefix are kept.
        limit: usize,
        /// For the first time in the session, in this family and shard.
        first: bool,
    },
    /// Routes are not sent: with their attributes no message would fit what these members take.
    /// Once for each such attribute set of a batch.
    TooLong {
        /// Who would have been told.
        to: Arc<[Member]>,
        /// Of these not this one.
        except: Option<PeerId>,
        /// One of the prefixes.
        prefix: IpNet,
    },
    /// Every path of a session that is down has been removed here.
    Flushed {
        /// Who.
        peer: PeerId,
        /// Which session.
        epoch: Epoch,
    },
    /// While watched ([`super::Shard::watch`]): the best route of a prefix changed.
    Changed {
        /// What.
        prefix: IpNet,
        /// The new best route.
        best: Option<Box<RouteRow>>,
    },
}

/// A best route on its way to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The best path's next hop and those of its equals, ascending and with their weights; empty
    /// for a blackhole.
    pub next_hops: SmallVec<[(TrackedNextHop, u16); 1]>,
    /// Which session told each of them, ascending; a next hop that several told is there as often.
    pub sources: SmallVec<[(TrackedNextHop, Epoch); 1]>,
    /// What would be the best path without these sessions: its next hop and session.
    pub backup: Option<(TrackedNextHop, Epoch)>,
    /// What policies set.
    pub local: LocalAttributes,
}
