//! The sessions of a shard: who the paths came from, and who is sent any.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::Ordering},
};

use bgp_packet::{NextHop, SessionKind};
use smallvec::SmallVec;

use super::event::{Accepted, Epoch, Member, PeerId, SessionAddresses};
use crate::{
    config::{MaxPrefixAction, MaxPrefixes, PeerConfig},
    fsm::Negotiated,
    policy::RouteSource,
};

/// Sessions that stand for our own routes come first, in this order.
pub(crate) const LOCAL: [RouteSource; 4] =
    [RouteSource::Originate, RouteSource::Connected, RouteSource::Static, RouteSource::Kernel];

/// The session that stands for a source; `None` for `Bgp`.
pub(crate) fn local_session(source: RouteSource) -> Option<u16> {
    LOCAL.iter().position(|known| *known == source).map(|at| at as u16)
}

/// Where the routes of a session come from.
pub(crate) fn source_of(session: u16) -> RouteSource {
    LOCAL.get(usize::from(session)).copied().unwrap_or(RouteSource::Bgp)
}

/// What a session is to routes that come by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Our own.
    Local,
    /// iBGP, not a client.
    Internal,
    /// iBGP, a reflection client.
    Client,
    /// Another member AS of the confederation.
    Confed,
    /// eBGP.
    External,
}

/// Everything about a session but its paths.
#[derive(Debug)]
pub(crate) struct Session {
    pub peer: PeerId,
    pub epoch: Epoch,
    /// Under which the kernel side knows its paths: the epoch of the session that began them.
    pub source: Epoch,
    pub name: Arc<str>,
    pub config: Arc<PeerConfig>,
    pub negotiated: Arc<Negotiated>,
    pub addresses: SessionAddresses,
    pub accepted: Arc<Accepted>,
}

/// Decision's view of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub origin: Origin,
    pub router_id: u32,
    pub address: IpAddr,
}

/// Counters and marks of a session in one family.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inbound {
    /// Paths held here.
    pub received: u32,
    /// Of these eligible as far as import is concerned.
    pub accepted: u32,
    /// Of these not told by this session, but by one before: no limit counts them.
    kept: u32,
    /// Paths told by a session before, eligible or not.
    older: u32,
    /// Of the others told to the other shards.
    published: u32,
    /// Round in which this session began: `older` paths are of rounds before.
    began: u8,
    /// Round of route refresh (modulo 16).
    pub round: u8,
    /// When the peer's BoRR came, until its EoRR.
    pub refreshing: Option<u32>,
    /// Round of the last refresh that ended: what is older goes.
    swept: u8,
    /// The peer's End-of-RIB has come.
    pub ended: bool,
    /// The session that told the paths of earlier rounds has ended, and the peer may yet tell them
    /// again (RFC 4724).
    pub recovering: bool,
    /// `max-prefixes` reached its warning level.
    pub warned: bool,
    /// `max-prefixes` exceeded.
    pub exceeded: bool,
    /// Too many paths of a prefix have come.
    pub exceeded_paths: bool,
}

impl Inbound {
    /// Older paths go from now on, also when the next refresh begins before they are gone.
    pub fn end_refresh(&mut self) {
        self.swept = self.round;
        self.refreshing = None;
        self.recovering = false;
    }

    /// The session has ended, and its paths are kept for the next one.
    pub fn begin_recovery(&mut self) {
        self.round = (self.round + 1) & 15;
        self.refreshing = None;
        self.recovering = true;
        self.began = self.round;
        (self.kept, self.older) = (self.accepted, self.received);
    }

    /// How a path counts that was last announced in `round`.
    pub fn standing(&self, eligible: bool, round: u8) -> Standing {
        let age = |round: u8| self.round.wrapping_sub(round) & 15;
        match (eligible, self.older > 0 && age(round) > age(self.began)) {
            (true, false) => Standing::Told,
            (true, true) => Standing::Kept,
            (false, true) => Standing::OldOut,
            (false, false) => Standing::Out,
        }
    }

    fn add(&mut self, standing: Standing) {
        self.accepted += u32::from(matches!(standing, Standing::Told | Standing::Kept));
        self.kept += u32::from(standing == Standing::Kept);
        self.older += u32::from(matches!(standing, Standing::Kept | Standing::OldOut));
    }

    fn subtract(&mut self, standing: Standing) {
        self.accepted -= u32::from(matches!(standing, Standing::Told | Standing::Kept));
        // Sixteen refreshes during one sweep, and new paths are taken for old ones.
        let kept = self.kept.saturating_sub(u32::from(standing == Standing::Kept));
        self.kept = kept.min(self.accepted);
        let old = matches!(standing, Standing::Kept | Standing::OldOut);
        self.older = self.older.saturating_sub(u32::from(old));
    }

    /// Whether a path last announced in `round` was told by a session before, and not again.
    pub fn is_kept(&self, round: u8) -> bool {
        self.recovering && self.round != round
    }

    /// Whether a path last announced in `round` was left out of a refresh that has ended.
    pub fn is_stale(&self, round: u8) -> bool {
        let age = |round: u8| self.round.wrapping_sub(round) & 15;
        age(round) > age(self.swept)
    }
}

/// How a path counts for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not at all: it is not there, or not eligible.
    Out,
    /// Nor does it, but a former session told it (RFC 4724).
    OldOut,
    /// It is in use, but the session has yet to tell it: a former one did.
    Kept,
    /// The session told it: `max-prefixes` counts it.
    Told,
}

/// A place in the list of sessions.
#[derive(Debug)]
pub(crate) struct Slot {
    /// `None` for our own routes and for free places.
    pub session: Option<Box<Session>>,
    pub seen: Seen,
    /// Its paths count. A session that is down keeps its place until they are gone.
    pub alive: bool,
    /// Families that may still hold its paths after it went down.
    pub sweeping: u8,
    pub inbound: [Inbound; 2],
}

/// The sessions by number, and the current one of each peer.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Free after the next flush: journals may still name them.
    leaving: Vec<u16>,
    current: BTreeMap<PeerId, u16>,
    /// Those that are down while their paths count, by peer.
    kept: BTreeMap<PeerId, u16>,
    /// Those that are up by the address of the peer; one, but for link-local addresses.
    by_address: BTreeMap<IpAddr, SmallVec<[u16; 2]>>,
}

impl Sessions {
    pub fn new() -> Self {
        let seen = Seen {
            origin: Origin::Local,
            router_id: 0,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let slots = LOCAL
            .iter()
            .map(|_| Slot {
                session: None,
                seen,
                alive: true,
                sweeping: 0,
                inbound: Default::default(),
            })
            .collect();
        Self {
            slots,
            free: Vec::new(),
            leaving: Vec::new(),
            current: BTreeMap::new(),
            kept: BTreeMap::new(),
            by_address: BTreeMap::new(),
        }
    }

    /// A new session of a peer; its number.
    pub fn add(&mut self, session: Session) -> u16 {
        let negotiated = &session.negotiated;
        let seen = Seen {
            origin: origin(negotiated.kind, &session.config),
            router_id: negotiated.peer_router_id.into(),
            address: negotiated.remote.ip(),
        };
        let peer = session.peer;
        let address = seen.address;
        let slot = Slot {
            session: Some(Box::new(session)),
            seen,
            alive: true,
            sweeping: 0,
            inbound: Default::default(),
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[usize::from(number)] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                u16::try_from(self.slots.len() - 1)
                    .expect("a peer id has 16 bits, so have sessions")
            }
        };
        self.current.insert(peer, number);
        self.by_address.entry(address).or_default().push(number);
        number
    }

    /// The session of a peer that is up.
    pub fn of_peer(&self, peer: PeerId) -> Option<u16> {
        self.current.get(&peer).copied()
    }

    /// Likewise, if it is this one.
    pub fn of_epoch(&self, peer: PeerId, epoch: Epoch) -> Option<u16> {
        let number = self.of_peer(peer)?;
        (self.peer(number)?.epoch == epoch).then_some(number)
    }

    /// The session is down, or the time of a kept one over: its paths do not count any more.
    pub fn kill(&mut self, number: u16) {
        self.part(number);
        self.get_mut(number).alive = false;
    }

    /// The session is down, but its paths count until the peer has come back or its time is over.
    pub fn keep(&mut self, number: u16) {
        self.part(number);
        if let Some(peer) = self.peer(number).map(|session| session.peer) {
            self.kept.insert(peer, number);
        }
    }

    /// The session of a peer that is down while its paths count.
    pub fn kept_of(&self, peer: PeerId) -> Option<u16> {
        self.kept.get(&peer).copied()
    }

    /// Every one of those.
    pub fn kept(&self) -> impl Iterator<Item = u16> + '_ {
        self.kept.values().copied()
    }

    /// A new session of a peer takes over the paths of a kept one.
    pub fn revive(&mut self, number: u16, mut session: Session) {
        self.kept.remove(&session.peer);
        self.current.insert(session.peer, number);
        let slot = &mut self.slots[usize::from(number)];
        if let Some(former) = &slot.session {
            session.source = former.source;
        }
        slot.seen.origin = origin(session.negotiated.kind, &session.config);
        slot.session = Some(Box::new(session));
        for family in 0..2 {
            let inbound = &mut slot.inbound[family];
            // The counter is a new one, and so are the levels.
            (inbound.published, inbound.ended) = (0, false);
            (inbound.warned, inbound.exceeded, inbound.exceeded_paths) = (false, false, false);
            slot.publish(family);
        }
        self.by_address.entry(slot.seen.address).or_default().push(number);
    }

    /// It is no receiver any more.
    fn part(&mut self, number: u16) {
        let slot = &mut self.slots[usize::from(number)];
        if let Some(there) = self.by_address.get_mut(&slot.seen.address) {
            there.retain(|other| *other != number);
            if there.is_empty() {
                self.by_address.remove(&slot.seen.address);
            }
        }
        if let Some(peer) = self.peer(number).map(|session| session.peer) {
            self.current.remove(&peer);
            self.kept.remove(&peer);
        }
    }

    /// Its paths are gone: the place is free after the next flush.
    pub fn leave(&mut self, number: u16) {
        self.leaving.push(number);
    }

    /// No journal names a session that has left any more.
    pub fn flushed(&mut self) {
        for number in self.leaving.drain(..) {
            self.slots[usize::from(number)].session = None;
            self.free.push(number);
        }
    }

    pub fn get(&self, number: u16) -> &Slot {
        &self.slots[usize::from(number)]
    }

    pub fn get_mut(&mut self, number: u16) -> &mut Slot {
        &mut self.slots[usize::from(number)]
    }

    /// `None` for our own routes.
    pub fn peer(&self, number: u16) -> Option<&Session> {
        self.get(number).session.as_deref()
    }

    /// The sessions with peers that a next hop names: not to be told of it (RFC 4271 §5.1.3).
    pub fn named_by(&self, next_hop: &NextHop) -> SmallVec<[u16; 2]> {
        let link_local = next_hop.link_local.map(IpAddr::from);
        let addresses = std::iter::once(next_hop.address).chain(link_local);
        addresses.filter_map(|address| self.by_address.get(&address)).flatten().copied().collect()
    }

    /// Replaces the configuration of a session.
    pub fn reconfigure(&mut self, number: u16, config: Arc<PeerConfig>) {
        let slot = self.get_mut(number);
        if let Some(session) = &mut slot.session {
            slot.seen.origin = origin(session.negotiated.kind, &config);
            session.name = config.name.as_str().into();
            session.config = config;
            slot.publish(0);
            slot.publish(1);
        }
    }

    /// As a receiver.
    pub fn member(&self, number: u16) -> Option<Member> {
        self.peer(number).map(|session| Member { peer: session.peer, epoch: session.epoch })
    }

    /// Every session that is up, by peer.
    pub fn alive(&self) -> impl Iterator<Item = u16> + '_ {
        self.current.values().copied()
    }
}

fn origin(kind: SessionKind, config: &PeerConfig) -> Origin {
    match kind {
        SessionKind::External => Origin::External,
        SessionKind::ConfedExternal => Origin::Confed,
        SessionKind::Internal if config.route_reflector_client => Origin::Client,
        SessionKind::Internal => Origin::Internal,
    }
}

/// What `max-prefixes` says to one more accepted path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Nothing.
    Within,
    /// The warning level is reached for the first time.
    Warn(u32),
    /// Beyond the limit for the first time.
    Exceeded(u32),
    /// Beyond the limit: do not take it.
    Discard(u32),
}

impl Slot {
    /// Counts a path anew. Where the answer is [`Limit::Discard`] it counts as before.
    pub fn count(&mut self, family: usize, was: Standing, is: Standing) -> Limit {
        if was == is {
            return Limit::Within;
        }
        let inbound = &mut self.inbound[family];
        inbound.add(is);
        inbound.subtract(was);
        match is {
            Standing::Told => self.rise(family, was),
            Standing::Out | Standing::OldOut | Standing::Kept => {
                self.fall(family);
                Limit::Within
            }
        }
    }

    /// One more path counts, which counted as `was`.
    fn rise(&mut self, family: usize, was: Standing) -> Limit {
        let Some(limits) = self.limits() else { return Limit::Within };
        let count = self.publish(family);
        let inbound = &mut self.inbound[family];
        if count > limits.limit {
            let first = !std::mem::replace(&mut inbound.exceeded, true);
            if limits.action == MaxPrefixAction::Discard {
                inbound.add(was);
                inbound.subtract(Standing::Told);
                self.publish(family);
                return Limit::Discard(if first { count } else { 0 });
            }
            return if first { Limit::Exceeded(count) } else { Limit::Within };
        }
        let level = f64::from(limits.limit) * f64::from(limits.warn_at);
        if f64::from(count) >= level && !std::mem::replace(&mut inbound.warned, true) {
            return Limit::Warn(count);
        }
        Limit::Within
    }

    /// What other limits say to the paths there are.
    pub fn limit_again(&mut self, family: usize) -> Limit {
        let inbound = &mut self.inbound[family];
        (inbound.warned, inbound.exceeded) = (false, false);
        let Some(session) = &self.session else { return Limit::Within };
        let Some(limits) = session.config.max_prefixes else { return Limit::Within };
        let count = session.accepted.0[family].load(Ordering::Relaxed);
        if count > limits.limit {
            inbound.exceeded = true;
            return Limit::Exceeded(count);
        }
        let level = f64::from(limits.limit) * f64::from(limits.warn_at);
        inbound.warned = count > 0 && f64::from(count) >= level;
        if inbound.warned { Limit::Warn(count) } else { Limit::Within }
    }

    /// One path less may count. Levels fire again once the count has fallen clearly below.
    fn fall(&mut self, family: usize) {
        let Some(limits) = self.limits() else { return };
        let count = self.publish(family);
        let inbound = &mut self.inbound[family];
        let level = f64::from(limits.limit) * f64::from(limits.warn_at);
        inbound.warned &= f64::from(count) > level * 0.9;
        inbound.exceeded &= f64::from(count) > f64::from(limits.limit) * 0.9;
    }

    fn limits(&self) -> Option<MaxPrefixes> {
        self.session.as_ref().and_then(|session| session.config.max_prefixes)
    }

    /// Adds what this shard has not yet added to the common count; the sum over all shards. Only
    /// where there is a limit: a locked addition a path is a third of the cost of taking it in.
    pub fn publish(&mut self, family: usize) -> u32 {
        let inbound = &mut self.inbound[family];
        let told = inbound.accepted - inbound.kept;
        let new = told.wrapping_sub(inbound.published);
        inbound.published = told;
        let Some(session) = &self.session else { return told };
        session.accepted.0[family].fetch_add(new, Ordering::Relaxed).wrapping_add(new)
    }
}
