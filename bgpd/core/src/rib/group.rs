//! Update groups: peers whose output is the same but for what came from themselves, and the members
//! of a group that are not in step with it.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use bgp_packet::{Asn, EncodeContext, Family, SessionKind};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    bits::BitSet,
    core::Core,
    event::{Member, SessionAddresses},
    export,
    family::NOBODY,
    session::{Session, Sessions},
    table::{NONE, Path},
};
use crate::{
    config::{GlobalConfig, LocalAsnMode, NextHopMode, RemovePrivate},
    policy::RoutePolicy,
};

/// Everything that shapes what a peer is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupKey {
    pub kind: SessionKind,
    /// Reflection client.
    pub client: bool,
    /// Route server client.
    pub route_server: bool,
    /// The AS we show.
    pub local_asn: Asn,
    /// `local-asn`, where configured.
    pub shown: Option<(Asn, LocalAsnMode)>,
    /// The peer's AS, where paths are changed by it.
    pub peer_asn: Option<Asn>,
    pub next_hop: NextHopMode,
    pub addresses: SessionAddresses,
    /// The session runs over IPv6.
    pub over_v6: bool,
    /// RFC 8950.
    pub extended_next_hop: bool,
    pub remove_private: RemovePrivate,
    pub as_override: bool,
    pub encode: EncodeContext,
    /// Paths sent at most, with add-path.
    pub paths: usize,
    /// RFC 8212: nothing at all.
    pub refuses: bool,
    /// Prepended to CLUSTER_LIST on reflection.
    pub cluster_id: Ipv4Addr,
    /// Last: the most expensive to compare.
    pub export: Option<Arc<RoutePolicy>>,
}

impl GroupKey {
    /// Of a session that has the family.
    pub fn new(session: &Session, family: Family, global: &GlobalConfig) -> Self {
        let Session { config, negotiated, addresses, .. } = session;
        let add_path = negotiated.add_path_send.contains(family) && config.add_path.send > 0;
        let by_peer = config.as_override || config.remove_private_asn != RemovePrivate::No;
        let third_party = negotiated.kind == SessionKind::External
            && config.next_hop == NextHopMode::Auto
            && !config.route_server_client;
        Self {
            kind: negotiated.kind,
            client: negotiated.kind == SessionKind::Internal && config.route_reflector_client,
            route_server: config.route_server_client,
            local_asn: negotiated.local_asn,
            shown: config.local_asn.map(|asn| (asn, config.local_asn_mode)),
            peer_asn: by_peer.then_some(negotiated.peer_asn),
            next_hop: config.next_hop,
            addresses: SessionAddresses {
                // Own next hops go without their scope.
                interface: None,
                interface_name: None,
                subnet: addresses.subnet.filter(|_| third_party),
                ..*addresses
            },
            over_v6: negotiated.remote.is_ipv6(),
            extended_next_hop: negotiated.extended_next_hop.contains(family),
            remove_private: config.remove_private_asn,
            as_override: config.as_override,
            encode: EncodeContext {
                four_octet_asn: negotiated.four_octet_asn,
                add_path: negotiated.add_path_send.contains(family),
                max_len: negotiated.max_send_len,
            },
            paths: if add_path { usize::from(config.add_path.send) } else { 1 },
            refuses: negotiated.kind == SessionKind::External
                && config.export.is_none()
                && global.require_policy,
            cluster_id: global.cluster_id,
            export: config.export.clone(),
        }
    }

    /// Whether output is by path, with identifiers, not by prefix.
    pub fn by_path(&self) -> bool {
        self.encode.add_path
    }

    /// Whether a peer's own best route is replaced by another one for it (RFC 7947 §2.3.2.1).
    pub fn by_client(&self) -> bool {
        self.route_server && !self.by_path()
    }
}

/// Some members, as the shell is told.
#[derive(Debug, Clone)]
pub(crate) struct Audience {
    pub sessions: SmallVec<[u16; 4]>,
    pub members: Arc<[Member]>,
}

impl Default for Audience {
    fn default() -> Self {
        Self { sessions: SmallVec::new(), members: Arc::new([]) }
    }
}

impl Audience {
    /// A single member.
    pub fn one(sessions: &Sessions, session: u16) -> Self {
        let mut audience = Self::default();
        audience.add(sessions, session);
        audience
    }

    pub fn has(&self, session: u16) -> bool {
        self.sessions.binary_search(&session).is_ok()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub fn add(&mut self, sessions: &Sessions, session: u16) {
        if let Err(at) = self.sessions.binary_search(&session) {
            self.sessions.insert(at, session);
            self.renew(sessions);
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, sessions: &Sessions, session: u16) -> bool {
        match self.sessions.binary_search(&session) {
            Ok(at) => {
                self.sessions.remove(at);
                self.renew(sessions);
                true
            }
            Err(_) => false,
        }
    }

    fn renew(&mut self, sessions: &Sessions) {
        self.members = self.sessions.iter().filter_map(|s| sessions.member(*s)).collect();
    }

    /// The only one, if there is only one.
    pub fn single(&self) -> Option<u16> {
        match self.sessions[..] {
            [session] => Some(session),
            _ => None,
        }
    }
}

/// What the members of a cohort have been told of the slots a walk has not yet reached.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing: the first table.
    Nothing,
    /// What the group has sent: a refresh.
    Same,
    /// What another group had sent: these slots (or paths).
    Old {
        /// Which.
        held: BitSet,
        /// No member was sent what came from itself, nor anything instead.
        split_horizon: bool,
    },
}

impl Known {
    /// Whether no member was sent what came from itself, nor anything instead.
    pub fn split_horizon(&self) -> bool {
        !matches!(self, Self::Old { split_horizon: false, .. })
    }
}

/// A walk over the table.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The next slot.
    pub cursor: u32,
    pub known: Known,
    /// BoRR and EoRR around it (RFC 7313), where the peer knows them.
    pub bracketed: bool,
}

/// Members that lag behind their group in the same way.
///
/// Bounded by the table: what they miss is a bit for each slot (for each path, with add-path) that
/// changed since, and a bit whether they hold an earlier version.
#[derive(Debug)]
pub(crate) struct Cohort {
    pub audience: Audience,
    pub walk: Option<Walk>,
    /// Changed since the members were told.
    pub changed: BitSet,
    /// Of these, the ones they hold an earlier version of.
    pub had: BitSet,
    /// Where the sweep over `changed` goes on.
    pub cursor: u32,
    /// Nothing may be sent.
    pub blocked: bool,
    /// Another refresh was asked for during the walk.
    pub again: bool,
    /// An End-of-RIB is due at the end of the walk, whatever its kind.
    pub owes_end: bool,
    /// The group that all members have just left, in step with it.
    pub from: Option<u32>,
}

impl Cohort {
    pub fn new(audience: Audience, walk: Option<Walk>) -> Self {
        Self {
            audience,
            walk,
            changed: BitSet::default(),
            had: BitSet::default(),
            cursor: 0,
            blocked: false,
            again: false,
            owes_end: false,
            from: None,
        }
    }

    /// Nothing is missing any more.
    pub fn caught_up(&self) -> bool {
        self.walk.is_none() && self.changed.is_empty() && !self.again
    }

    /// On its first walk, to be ended by an End-of-RIB.
    pub fn is_first(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| matches!(walk.known, Known::Nothing))
    }

    /// Asked to send everything again and not through with it.
    pub fn owes_refresh(&self) -> bool {
        self.again || self.walk.as_ref().is_some_and(|walk| matches!(walk.known, Known::Same))
    }

    /// Whether the members came with this slot (or path) from another group.
    pub fn holds(&self, index: u32) -> bool {
        let known = self.walk.as_ref().map(|walk| &walk.known);
        matches!(known, Some(Known::Old { held, .. }) if held.test(index))
    }

    /// Whether a slot without paths may have to be withdrawn yet.
    pub fn awaits(&self, slot: u32) -> bool {
        let ahead = |walk: &Walk| slot >= walk.cursor;
        // What came and went unheard keeps no place: else a peer that announces and withdraws ever
        // new prefixes would grow the table for as long as another one lags.
        (self.changed.test(slot) && self.had.test(slot))
            || (self.walk.as_ref().is_some_and(ahead) && self.holds(slot))
    }

    /// The group's output for a slot has changed. `had`: whether the members held it before.
    pub fn mark_slot(&mut self, slot: u32, told: &Before) {
        if let Some(walk) = self.walk.as_ref().filter(|walk| slot >= walk.cursor) {
            match walk.known {
                Known::Nothing => return,
                Known::Old { .. } => {
                    self.changed.set(slot);
                    return;
                }
                Known::Same => {}
            }
        }
        let had = match self.audience.single() {
            Some(member) => told.held_by(member),
            None => told.was,
        };
        if self.changed.set(slot) {
            self.had.put(slot, had);
        }
    }

    /// The group's output for a path of the prefix in `slot` has changed, or the path is gone.
    pub fn mark_path(&mut self, slot: u32, path: u32, source: u16, was: bool, gone: bool) {
        let mut had = was;
        if let Some(walk) = self.walk.as_ref().filter(|walk| slot >= walk.cursor) {
            match &walk.known {
                Known::Nothing => return,
                Known::Old { held, .. } => had = held.test(path),
                Known::Same => {}
            }
        }
        if gone && !had && !was {
            return;
        }
        if self.changed.set(path) {
            self.had.put(path, had && self.audience.single() != Some(source));
        }
    }

    /// A copy for one of several members.
    pub fn split(&self, audience: Audience) -> Self {
        let walk = self.walk.as_ref().map(|walk| Walk {
            cursor: walk.cursor,
            known: match &walk.known {
                Known::Nothing => Known::Nothing,
                Known::Same => Known::Same,
                Known::Old { held, split_horizon } => {
                    Known::Old { held: held.clone(), split_horizon: *split_horizon }
                }
            },
            bracketed: walk.bracketed,
        });
        Self {
            audience,
            walk,
            changed: self.changed.clone(),
            had: self.had.clone(),
            cursor: self.cursor,
            blocked: self.blocked,
            again: self.again,
            owes_end: self.owes_end,
            from: None,
        }
    }
}

/// What a group had told about a slot before a change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// A route was advertised.
    pub was: bool,
    /// It came from this session.
    pub source: u16,
    /// That session was told another route.
    pub alternate: bool,
}

impl Before {
    /// Whether a member held a route.
    pub fn held_by(&self, member: u16) -> bool {
        self.was && (self.source != member || self.alternate)
    }
}

/// The paths behind what a group has told of a slot (route server).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Told to all but its source; `NONE`: nothing is told.
    pub main: u32,
    /// Told to the source of that; `NONE`: nothing is.
    pub alternate: u32,
}

impl Chosen {
    /// Nothing is told.
    pub const NOTHING: Self = Self { main: NONE, alternate: NONE };
    /// Not known: what comes next is told in any case.
    const UNKNOWN: Self = Self { main: NONE, alternate: 0 };
}

/// An update group of one family.
#[derive(Debug)]
pub(crate) struct Group {
    /// Unique in the family.
    pub id: u32,
    pub key: GroupKey,
    /// Slots (paths, with add-path) that are advertised, as of the last flush.
    pub advertised: BitSet,
    /// Slots whose source has been told another route (route server).
    pub alternates: BitSet,
    /// Source of what is advertised where it is not the best route's (route server).
    pub odd: BTreeMap<u32, u16>,
    /// By slot, what is told (route server); see [`Group::chosen`].
    chosen: Vec<Chosen>,
    /// Slots where that may be something else at the next flush.
    pub stirred: BitSet,
    /// Attributes and session of a path that was last put to the policy, and what it said.
    verdict: Option<((u32, u16), bool)>,
    /// Advertised routes by the session they came from.
    pub by_source: Vec<u32>,
    /// Every member, ascending.
    members: Vec<u16>,
    /// Members that are sent each flush.
    pub in_step: Audience,
    /// Members that are not.
    pub cohorts: Vec<Cohort>,
}

impl Group {
    pub fn new(id: u32, key: GroupKey) -> Self {
        Self {
            id,
            key,
            advertised: BitSet::default(),
            alternates: BitSet::default(),
            odd: BTreeMap::new(),
            chosen: Vec::new(),
            stirred: BitSet::default(),
            verdict: None,
            by_source: Vec::new(),
            members: Vec::new(),
            in_step: Audience::default(),
            cohorts: Vec::new(),
        }
    }

    /// Any member, in step or not.
    pub fn has(&self, session: u16) -> bool {
        self.members.binary_search(&session).is_ok()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn enlist(&mut self, session: u16) {
        if let Err(at) = self.members.binary_search(&session) {
            self.members.insert(at, session);
        }
    }

    /// A new member that has been told nothing.
    pub fn join(&mut self, sessions: &Sessions, session: u16) {
        self.enlist(session);
        let fresh = self.cohorts.iter_mut().find(|cohort| {
            let unstarted = |walk: &Walk| walk.cursor == 0 && matches!(walk.known, Known::Nothing);
            !cohort.blocked && cohort.walk.as_ref().is_some_and(unstarted)
        });
        match fresh {
            Some(cohort) => cohort.audience.add(sessions, session),
            None => {
                let walk = Walk { cursor: 0, known: Known::Nothing, bracketed: false };
                let audience = Audience::one(sessions, session);
                self.cohorts.push(Cohort::new(audience, Some(walk)));
            }
        }
    }

    /// Takes a member out; its cohort, if it had one.
    pub fn leave(&mut self, sessions: &Sessions, session: u16) -> Option<Cohort> {
        self.members.retain(|member| *member != session);
        if self.in_step.remove(sessions, session) {
            return None;
        }
        let at = self.cohorts.iter().position(|cohort| cohort.audience.has(session))?;
        let cohort = &mut self.cohorts[at];
        if cohort.audience.single().is_some() {
            return Some(self.cohorts.remove(at));
        }
        let copy = cohort.split(Audience::one(sessions, session));
        cohort.audience.remove(sessions, session);
        Some(copy)
    }

    /// Sets a member apart from all others, so that it can be treated alone.
    pub fn single_out(&mut self, sessions: &Sessions, session: u16) -> &mut Cohort {
        let cohort = self
            .leave(sessions, session)
            .unwrap_or_else(|| Cohort::new(Audience::one(sessions, session), None));
        self.admit(session, cohort)
    }

    /// A new member with a cohort of its own.
    pub fn admit(&mut self, session: u16, cohort: Cohort) -> &mut Cohort {
        self.enlist(session);
        self.cohorts.push(cohort);
        self.cohorts.last_mut().expect("just pushed")
    }

    /// A new member of a cohort.
    pub fn admit_to(&mut self, sessions: &Sessions, session: u16, cohort: usize) {
        self.enlist(session);
        self.cohorts[cohort].audience.add(sessions, session);
    }

    /// What a member holds, as slots (paths, with add-path), after it has left with its cohort.
    pub fn holdings(&self, cohort: Option<&Cohort>) -> BitSet {
        let mut held = self.advertised.clone();
        let Some(cohort) = cohort else { return held };
        for index in cohort.changed.iter() {
            held.put(index, cohort.had.test(index));
        }
        let Some(walk) = &cohort.walk else { return held };
        // Paths are not in the order of the walk: take too many rather than too few.
        let from = if self.key.by_path() { u32::MAX } else { walk.cursor };
        let beyond: Vec<u32> = held.iter().filter(|slot| *slot >= from).collect();
        match &walk.known {
            Known::Same => {}
            Known::Nothing => beyond.into_iter().for_each(|slot| {
                held.clear(slot);
            }),
            Known::Old { held: old, .. } => {
                for slot in beyond {
                    held.clear(slot);
                }
                let from = if self.key.by_path() { 0 } else { walk.cursor };
                for index in old.iter().filter(|index| *index >= from) {
                    held.set(index);
                }
            }
        }
        held
    }

    /// The paths behind what all members in step have been told of a slot (route server); `None`:
    /// not known.
    pub fn chosen(&self, slot: u32) -> Option<Chosen> {
        let chosen = self.chosen.get(slot as usize).copied();
        chosen.filter(|chosen| *chosen != Chosen::UNKNOWN)
    }

    /// Notes what members are told of a slot; whether it is something else than before.
    pub fn choose(&mut self, slot: u32, chosen: Chosen) -> bool {
        let at = slot as usize;
        if at >= self.chosen.len() {
            self.chosen.resize(at + 1, Chosen::UNKNOWN);
        }
        std::mem::replace(&mut self.chosen[at], chosen) != chosen
    }

    /// What was told of a slot does not hold any more, if it is what `holds` no longer agrees with.
    pub fn doubt(&mut self, slot: u32, holds: impl FnOnce(&Chosen) -> bool) {
        if let Some(chosen) = self.chosen.get_mut(slot as usize)
            && !holds(chosen)
        {
            *chosen = Chosen::UNKNOWN;
        }
    }

    /// Whether the policy lets a path through; what is done to it afterwards may still keep it back.
    pub fn lets_through(&mut self, core: &Core, path: &Path, prefix: IpNet) -> bool {
        let key = &self.key;
        let asked = (path.attrs, path.session);
        // A prefix is another each time, and the way to a next hop changes without the path.
        let by_more = key
            .export
            .as_ref()
            .is_some_and(|policy| policy.looks_at_prefix() || policy.looks_at_interface());
        if let Some((known, verdict)) = self.verdict.filter(|_| !by_more)
            && known == asked
        {
            return verdict;
        }
        let through = export::allowed(core, key, path).is_ok()
            && export::policy(core, key, path, &export::stored(core, key, path), prefix).is_ok();
        self.verdict = Some((asked, through));
        through
    }

    /// Sets of attributes may have been let go: their numbers will mean others.
    pub fn forget_verdict(&mut self) {
        self.verdict = None;
    }

    /// Counts one advertised route more or less for its source.
    pub fn count(&mut self, source: u16, more: bool) {
        if source == NOBODY {
            return;
        }
        let at = usize::from(source);
        if at >= self.by_source.len() {
            self.by_source.resize(at + 1, 0);
        }
        let count = &mut self.by_source[at];
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Routes a member has been sent, when it is in step.
    pub fn advertised_to(&self, session: u16) -> u64 {
        let own = self.by_source.get(usize::from(session)).copied().unwrap_or(0);
        (self.advertised.len() as u64).saturating_sub(own.into())
    }
}
