//! The shard: events in, effects out, work in slices, questions answered.

use std::{collections::BTreeMap, sync::Arc};

use bgp_packet::{Capability, Family, FamilySet, RefreshKind, RouteRefresh};
use ipnet::IpNet;

use super::{
    core::Core,
    event::{Batch, Effect, Event, LocalRoute, PeerId, Resolved, ShardConfig, SoftReset},
    family::{Rib, report},
    import::Importer,
    interned::Extra,
    net::{Net, Net4, Net6},
    query::{Explanation, PeerCounts, RouteCursor, RouteQuery, RouteRow, TableCounts},
    scan::{IMPORT, STALE, SWEEP, TELL},
    session::{Session, local_session},
    table::{BLACKHOLE, NONE, NewPath, PathFlags},
};
use crate::{
    config::{GlobalConfig, PeerConfig},
    policy::{LocalAttributes, RouteSource},
};

/// After so many seconds without EoRR a route refresh counts as ended (RFC 7313 §4.2).
const REFRESH_LIMIT: u32 = 360;

/// Prefixes looked up ahead of their turn.
const AHEAD: usize = 64;

/// The state of one shard.
///
/// The shell's loop: [`Shard::handle`] for what has arrived, [`Shard::flush`] once behind it, then
/// [`Shard::work`] in turns with further events until it has nothing left to do. Effects are
/// carried out in order.
#[derive(Debug)]
pub struct Shard {
    core: Core,
    v4: Rib<Net4>,
    v6: Rib<Net6>,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: ShardConfig) -> Self {
        Self { core: Core::new(config), v4: Rib::new(), v6: Rib::new() }
    }

    /// Takes an event in. `now` is in seconds since any fixed moment, the same for all calls.
    ///
    /// Never long: what concerns a whole table is left to [`Shard::work`].
    pub fn handle(&mut self, now: u32, event: Event, out: &mut Vec<Effect>) {
        self.core.now = now;
        self.take(event, out);
        self.drain(out);
    }

    /// Sends and installs what the events so far have changed.
    pub fn flush(&mut self, out: &mut Vec<Effect>) {
        self.v4.flush(&mut self.core, out);
        self.v6.flush(&mut self.core, out);
        self.core.sessions.flushed();
        self.drain(out);
    }

    /// Does at most `budget` prefixes' worth of work (about a microsecond each) and flushes;
    /// whether there is more to do at once.
    pub fn work(&mut self, now: u32, budget: usize, out: &mut Vec<Effect>) -> bool {
        let core = &mut self.core;
        core.now = now;
        for session in core.sessions.alive().collect::<Vec<_>>() {
            for family in 0..2 {
                let begun = core.sessions.get(session).inbound[family].refreshing;
                if begun.is_some_and(|begun| now.saturating_sub(begun) > REFRESH_LIMIT) {
                    core.sessions.get_mut(session).inbound[family].end_refresh();
                    match family {
                        0 => self.v4.scan.session(session, STALE),
                        _ => self.v6.scan.session(session, STALE),
                    }
                }
            }
        }
        let mut left = budget.max(1);
        let mut more = self.v4.scan(core, &mut left);
        more |= self.v6.scan(core, &mut left);
        self.flush(out);
        // Scans do not starve members that catch up, nor these the scans.
        let mut left = left.max(budget / 2).max(1);
        more |= self.v4.walk(&mut self.core, &mut left, out);
        more |= self.v6.walk(&mut self.core, &mut left, out);
        more |= self.v4.free_slots(budget);
        more |= self.v6.free_slots(budget);
        self.drain(out);
        more
    }

    /// The next rows of an answer, in the order of the table; looks at no more than `budget`
    /// prefixes. `true`: complete.
    pub fn routes(
        &self,
        query: &RouteQuery,
        cursor: &mut RouteCursor,
        budget: usize,
        out: &mut Vec<RouteRow>,
    ) -> bool {
        let mut left = budget;
        let wanted = |family| query.family.is_none_or(|wanted| wanted == family);
        while cursor.family < 2 {
            let (core, slot) = (&self.core, &mut cursor.slot);
            let done = match cursor.family {
                0 if wanted(Net4::FAMILY) => self.v4.rows(core, query, slot, &mut left, out),
                1 if wanted(Net6::FAMILY) => self.v6.rows(core, query, slot, &mut left, out),
                _ => true,
            };
            if !done {
                return false;
            }
            *cursor = RouteCursor { family: cursor.family + 1, slot: 0 };
        }
        true
    }

    /// Everything about one prefix; `None` when there is no path for it.
    pub fn explain(&self, prefix: IpNet, to: Option<PeerId>) -> Option<Explanation> {
        match prefix {
            IpNet::V4(net) => self.v4.explain(&self.core, net.into(), to),
            IpNet::V6(net) => self.v6.explain(&self.core, net.into(), to),
        }
    }

    /// Counts of a peer that is up, per family in the order of `Family::SUPPORTED`.
    pub fn peer_counts(&self, peer: PeerId) -> Option<[PeerCounts; 2]> {
        let session = self.core.sessions.of_peer(peer)?;
        let slot = self.core.sessions.get(session);
        let counts = |family: usize, advertised| PeerCounts {
            received: slot.inbound[family].received.into(),
            accepted: slot.inbound[family].accepted.into(),
            advertised,
        };
        Some([counts(0, self.v4.advertised(session)), counts(1, self.v6.advertised(session))])
    }

    /// Totals, per family in the order of `Family::SUPPORTED`.
    pub fn counts(&self) -> [TableCounts; 2] {
        [self.v4.counts(&self.core), self.v6.counts(&self.core)]
    }

    /// Whether [`Effect::Changed`] is wanted.
    pub fn watch(&mut self, on: bool) {
        self.core.watched = on;
    }

    fn drain(&mut self, out: &mut Vec<Effect>) {
        self.core.sets.drain(out);
        out.append(&mut self.core.effects);
    }

    fn take(&mut self, event: Event, out: &mut Vec<Effect>) {
        let core = &mut self.core;
        match event {
            Event::PeerUp { peer, epoch, config, negotiated, addresses, accepted } => {
                if let Some(former) = core.sessions.of_peer(peer) {
                    self.down(former, FamilySet::EMPTY);
                }
                let name = config.name.as_str().into();
                let session = self.up(Session {
                    peer,
                    epoch,
                    source: epoch,
                    name,
                    config,
                    negotiated,
                    addresses,
                    accepted,
                });
                self.v4.join(&self.core, session);
                self.v6.join(&self.core, session);
                if self.core.withholds(session) {
                    self.v4.block(&self.core, session, true);
                    self.v6.block(&self.core, session, true);
                }
            }
            Event::PeerDown { peer, epoch, keep } => {
                if let Some(session) = core.sessions.of_epoch(peer, epoch) {
                    self.down(session, keep);
                }
            }
            Event::Forget { peer } => {
                if let Some(session) = core.sessions.kept_of(peer) {
                    self.end(session);
                } else if let Some(session) = core.sessions.of_peer(peer) {
                    (0..2).for_each(|family| self.recovered(session, family));
                }
            }
            Event::Defer(deferring) => self.defer(deferring),
            Event::Routes { peer, epoch, family, batch } => {
                let Some(session) = core.sessions.of_epoch(peer, epoch) else { return };
                match family {
                    Net4::FAMILY => apply(core, &mut self.v4, session, &batch),
                    Net6::FAMILY => apply(core, &mut self.v6, session, &batch),
                    _ => {}
                }
            }
            Event::EndOfRib { peer, epoch, family } => {
                if let Some(session) = core.sessions.of_epoch(peer, epoch)
                    && let Some(family) = index(family)
                {
                    core.sessions.get_mut(session).inbound[family].ended = true;
                    self.recovered(session, family);
                }
            }
            Event::Refresh { peer, epoch, refresh } => {
                if let Some(session) = core.sessions.of_epoch(peer, epoch) {
                    self.refresh(session, refresh, out);
                }
            }
            Event::Local { source, prefix, route } => self.local(source, prefix, route),
            Event::NextHop { next_hop, state } => {
                if let Some((hop, was)) = core.sets.resolve(&next_hop, state) {
                    self.next_hop(hop, was, state);
                }
            }
            Event::Reconfigure { config, peers } => self.reconfigure(config, peers),
            Event::PeerConfig { peer, epoch, config } => {
                if let Some(session) = core.sessions.of_epoch(peer, epoch) {
                    self.reconfigure_peer(session, Some(&config), false);
                }
            }
            Event::Blocked(peer, epoch) => self.block((peer, epoch), true),
            Event::Drained(peer, epoch) => self.block((peer, epoch), false),
            Event::SoftReset { peer, direction } => {
                let Some(session) = core.sessions.of_peer(peer) else { return };
                if direction != SoftReset::Out {
                    self.v4.scan.session(session, IMPORT);
                    self.v6.scan.session(session, IMPORT);
                }
                if direction != SoftReset::In {
                    self.v4.refresh(&self.core, session, out);
                    self.v6.refresh(&self.core, session, out);
                }
            }
        }
    }

    /// A session is up: one of its own, or one that takes over what was kept of the peer.
    fn up(&mut self, session: Session) -> u16 {
        let core = &mut self.core;
        let Some(kept) = core.sessions.kept_of(session.peer) else {
            return core.sessions.add(session);
        };
        let same = core.sessions.peer(kept).is_some_and(|former| follows(&session, former));
        if !same {
            self.end(kept);
            return self.core.sessions.add(session);
        }
        let preserved =
            session.negotiated.graceful_restart.map_or(FamilySet::EMPTY, |peer| peer.preserved);
        let import = core
            .sessions
            .peer(kept)
            .is_some_and(|former| !same_import(&former.config, &session.config));
        core.sessions.revive(kept, session);
        if import {
            self.v4.scan.session(kept, IMPORT | TELL);
            self.v6.scan.session(kept, IMPORT | TELL);
        }
        for (at, family) in Family::SUPPORTED.into_iter().enumerate() {
            if !preserved.contains(family) {
                self.recovered(kept, at);
            }
        }
        kept
    }

    /// What a session has not told again since it was lost goes, if it was.
    fn recovered(&mut self, session: u16, family: usize) {
        let inbound = &mut self.core.sessions.get_mut(session).inbound[family];
        if inbound.recovering {
            inbound.end_refresh();
            self.sweep_rounds(session, family);
        }
    }

    fn sweep_rounds(&mut self, session: u16, family: usize) {
        match family {
            0 => self.v4.scan.session(session, STALE),
            _ => self.v6.scan.session(session, STALE),
        }
    }

    fn down(&mut self, session: u16, keep: FamilySet) {
        self.v4.leave(&self.core, session);
        self.v6.leave(&self.core, session);
        if keep.is_empty() {
            return self.end(session);
        }
        self.core.sessions.keep(session);
        for (at, family) in Family::SUPPORTED.into_iter().enumerate() {
            // What was kept already had its time.
            self.recovered(session, at);
            self.core.sessions.get_mut(session).inbound[at].begin_recovery();
            if !keep.contains(family) {
                self.recovered(session, at);
            }
        }
    }

    fn defer(&mut self, deferring: bool) {
        self.core.deferring = deferring;
        let waiting = self.core.sessions.alive().filter(|session| self.core.is_graceful(*session));
        for session in waiting.collect::<Vec<_>>() {
            self.v4.block(&self.core, session, deferring);
            self.v6.block(&self.core, session, deferring);
        }
    }

    /// The paths of a session that is down go.
    fn end(&mut self, session: u16) {
        let core = &mut self.core;
        core.sessions.kill(session);
        // One more than the families, so that the last word is said here at the earliest.
        let slot = core.sessions.get_mut(session);
        let [v4, v6] = slot.inbound.map(|inbound| inbound.received > 0);
        slot.sweeping = 1 + u8::from(v4) + u8::from(v6);
        if v4 {
            self.v4.scan.session(session, SWEEP);
        }
        if v6 {
            self.v6.scan.session(session, SWEEP);
        }
        core.swept(session);
    }

    fn block(&mut self, (peer, epoch): (PeerId, super::event::Epoch), blocked: bool) {
        if let Some(session) = self.core.sessions.of_epoch(peer, epoch) {
            let blocked = blocked || self.core.withholds(session);
            self.v4.block(&self.core, session, blocked);
            self.v6.block(&self.core, session, blocked);
        }
    }

    fn refresh(&mut self, session: u16, refresh: RouteRefresh, out: &mut Vec<Effect>) {
        let Some(family) = index(refresh.family) else { return };
        let Some(peer) = self.core.sessions.peer(session) else { return };
        if !peer.negotiated.families.contains(refresh.family) {
            return;
        }
        // Without RFC 7313 the octet has no meaning: any message is a request.
        let kind =
            if peer.negotiated.enhanced_refresh { refresh.kind } else { RefreshKind::Request };
        let restarts = |c: &Capability| matches!(c, Capability::GracefulRestart { .. });
        let sends_end = peer.negotiated.received.capabilities.iter().any(restarts);
        let now = self.core.now;
        let inbound = &mut self.core.sessions.get_mut(session).inbound[family];
        match kind {
            RefreshKind::Request => match family {
                0 => self.v4.refresh(&self.core, session, out),
                _ => self.v6.refresh(&self.core, session, out),
            },
            RefreshKind::Begin if sends_end && !inbound.ended => {}
            RefreshKind::Begin => {
                inbound.round = (inbound.round + 1) & 15;
                inbound.refreshing = Some(now);
            }
            RefreshKind::End => {
                if inbound.refreshing.is_some() {
                    inbound.end_refresh();
                    self.sweep_rounds(session, family);
                }
            }
            RefreshKind::Other(_) => {}
        }
    }

    fn next_hop(&mut self, hop: u32, was: Option<Resolved>, is: Option<Resolved>) {
        let interface = |state: Option<Resolved>| state.and_then(|state| state.interface);
        let moved = was.is_some() && is.is_some() && interface(was) != interface(is);
        if moved && self.core.looks_at_interfaces() {
            self.v4.scan.moved(hop);
            self.v6.scan.moved(hop);
        }
        // The decision does not look at interfaces.
        let decisive =
            |state: Option<Resolved>| state.map(|state| Resolved { interface: None, ..state });
        if decisive(was) != decisive(is) {
            self.v4.scan.hop(hop);
            self.v6.scan.hop(hop);
        }
    }

    fn local(&mut self, source: RouteSource, prefix: IpNet, route: Option<LocalRoute>) {
        let Some(session) = local_session(source) else { return };
        match prefix {
            IpNet::V4(net) => local(&mut self.core, &mut self.v4, session, net.into(), route),
            IpNet::V6(net) => local(&mut self.core, &mut self.v6, session, net.into(), route),
        }
    }

    fn reconfigure(&mut self, config: ShardConfig, peers: Vec<(PeerId, Arc<PeerConfig>)>) {
        let old = std::mem::replace(&mut self.core.config, config);
        let (was, is) = (&old.global, &self.core.config.global);
        let decides = was.decision != is.decision
            || was.multipath_ebgp != is.multipath_ebgp
            || was.multipath_ibgp != is.multipath_ibgp
            || was.multipath_relax != is.multipath_relax;
        if decides {
            self.v4.scan.decide();
            self.v6.scan.decide();
        }
        if decides || old.install != self.core.config.install {
            self.v4.scan.install();
            self.v6.scan.install();
        }
        let all = !same_import_global(was, is);
        let peers: BTreeMap<PeerId, Arc<PeerConfig>> = peers.into_iter().collect();
        for session in self.core.sessions.kept().filter(|_| all).collect::<Vec<_>>() {
            self.v4.scan.session(session, IMPORT);
            self.v6.scan.session(session, IMPORT);
        }
        for session in self.core.sessions.alive().collect::<Vec<_>>() {
            let Some(peer) = self.core.sessions.peer(session) else { continue };
            let new = peers.get(&peer.peer);
            self.reconfigure_peer(session, new, all);
        }
    }

    /// Another configuration of a session's peer, where there is one. `import`: again in any case.
    fn reconfigure_peer(&mut self, session: u16, new: Option<&Arc<PeerConfig>>, import: bool) {
        let Some(peer) = self.core.sessions.peer(session) else { return };
        let mut actions = if import { IMPORT } else { 0 };
        if let Some(new) = new {
            if !same_import(&peer.config, new) {
                actions |= IMPORT;
            }
            // What others are told of its routes depends on these.
            if peer.config.name != new.name
                || peer.config.route_reflector_client != new.route_reflector_client
            {
                actions |= TELL;
            }
            let limits = peer.config.max_prefixes != new.max_prefixes;
            self.core.sessions.reconfigure(session, Arc::clone(new));
            for family in (0..2).filter(|_| limits) {
                let limit = self.core.sessions.get_mut(session).limit_again(family);
                report(&mut self.core, session, family, limit);
            }
        }
        if actions != 0 {
            self.v4.scan.session(session, actions);
            self.v6.scan.session(session, actions);
        }
        self.v4.regroup(&self.core, session);
        self.v6.regroup(&self.core, session);
    }
}

/// Whether import comes to the same result under two configurations of the speaker.
fn same_import_global(a: &GlobalConfig, b: &GlobalConfig) -> bool {
    a.asn == b.asn
        && a.router_id == b.router_id
        && a.cluster_id == b.cluster_id
        && a.confederation == b.confederation
        && a.require_policy == b.require_policy
}

/// Whether import comes to the same result under two configurations of a peer.
fn same_import(a: &PeerConfig, b: &PeerConfig) -> bool {
    a.import == b.import
        && a.name == b.name
        && a.local_asn == b.local_asn
        && a.local_asn_mode == b.local_asn_mode
        && a.allow_own_asn == b.allow_own_asn
        && a.route_reflector_client == b.route_reflector_client
        && a.multihop == b.multihop
}

/// Whether a session may take over the paths of the one before: import would come to the same.
fn follows(new: &Session, former: &Session) -> bool {
    let (is, was) = (&new.negotiated, &former.negotiated);
    is.kind == was.kind
        && is.peer_asn == was.peer_asn
        && is.local_asn == was.local_asn
        && is.peer_router_id == was.peer_router_id
        && is.remote.ip() == was.remote.ip()
        && is.add_path_receive == was.add_path_receive
        && new.addresses.interface == former.addresses.interface
}

fn index(family: Family) -> Option<usize> {
    Family::SUPPORTED.iter().position(|known| *known == family)
}

fn apply<N: Net>(core: &mut Core, rib: &mut Rib<N>, session: u16, batch: &Batch) {
    let Some(peer) = core.sessions.peer(session) else { return };
    let extra = Extra { local: LocalAttributes::default(), interface: peer.addresses.interface };
    let round = core.sessions.get(session).inbound[N::INDEX].round;
    let (mut nets, mut ahead) = (N::of_batch(batch), N::of_batch(batch));
    let (mut slots, mut used) = (Vec::with_capacity(AHEAD), 0);
    let mut ids = batch.path_ids.iter();
    let mut next_id = || ids.next().copied().unwrap_or(0);
    for run in &batch.runs {
        let (mut mine, rest) = nets.split_at(run.count as usize);
        nets = rest;
        let mut import = run.attrs.as_ref().map(|attrs| {
            let attrs_in = core.sets.acquire(attrs, extra);
            (attrs_in, Importer::new(core, session, attrs_in))
        });
        while !mine.is_empty() {
            if used == slots.len() {
                let (next, later) = ahead.split_at(AHEAD.min(ahead.len()));
                rib.table.locate(next, &mut slots);
                (ahead, used) = (later, 0);
            }
            let count = mine.len().min(slots.len() - used);
            let (these, later) = mine.split_at(count);
            let places = these.iter().zip(&slots[used..used + count]);
            (mine, used) = (later, used + count);
            let Some((attrs_in, importer)) = &mut import else {
                places.for_each(|(net, slot)| rib.withdraw(core, *net, *slot, session, next_id()));
                continue;
            };
            for (net, slot) in places {
                let (attrs, bits) = importer.import(core, || net.to_ip());
                core.sets.retain(*attrs_in);
                let new = NewPath {
                    attrs_in: *attrs_in,
                    attrs,
                    path_id: next_id(),
                    since: core.now,
                    session,
                    flags: PathFlags::new(bits, round),
                };
                rib.announce(core, *net, *slot, new);
            }
        }
        if let Some((attrs_in, importer)) = import {
            importer.finish(core);
            core.sets.release(attrs_in);
        }
    }
}

fn local<N: Net>(
    core: &mut Core,
    rib: &mut Rib<N>,
    session: u16,
    net: N,
    route: Option<LocalRoute>,
) {
    let at = (session, net.to_ip());
    let interface = route.as_ref().and_then(|route| route.interface);
    let was = match interface {
        Some(interface) => core.local_interfaces.insert(at, interface),
        None => core.local_interfaces.remove(&at),
    };
    let Some(route) = route else { return rib.withdraw(core, net, NONE, session, 0) };
    if was != interface && core.looks_at_interfaces() {
        // Its attributes may be the same as before, and policies see another route all the same.
        rib.withdraw(core, net, NONE, session, 0);
    }
    let extra = Extra { local: route.local, interface: None };
    let attrs = core.sets.acquire(&route.attrs, extra);
    core.sets.retain(attrs);
    let flags = PathFlags::new(if route.blackhole { BLACKHOLE } else { 0 }, 0);
    let since = core.now;
    let new = NewPath { attrs_in: attrs, attrs, path_id: 0, since, session, flags };
    rib.announce(core, net, NONE, new);
}

impl<N: Net> Rib<N> {
    fn advertised(&self, session: u16) -> u64 {
        let Some(group) = self.group_of(session) else { return 0 };
        let instead = group
            .alternates
            .iter()
            .filter(|slot| super::flush::source_now(&self.table, group, *slot) == session)
            .count();
        group.advertised_to(session) + instead as u64
    }

    fn counts(&self, core: &Core) -> TableCounts {
        let vacant = self.vacant.iter().filter(|slot| !self.table.occupied(*slot)).count();
        TableCounts {
            prefixes: (self.table.prefix_count() - vacant) as u64,
            paths: (self.table.path_count() - self.removed.len()) as u64,
            best: self.best_count,
            installed: self.installed.len() as u64,
            attributes: core.sets.len() as u64,
            groups: self.groups.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
