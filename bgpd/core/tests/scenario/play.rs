//! Plays steps to shards and keeps what comes out, as the shell, the peers and the kernel would.
//!
//! Routes go in and out as octets: what a peer holds in the end is what the messages to it said,
//! and must be what the shard says it told that peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use bgp_core::{
    fsm::{Impact, Negotiated, change_impact},
    policy::LocalAttributes,
    rib::{
        Accepted, AttrTable, Attrs, Batch, Effect, Epoch, Event, Install, Installed, LocalRoute,
        PeerId, RouteCursor, RouteQuery, RouteRow, Select, Shard, ShardConfig, SoftReset,
        TrackedNextHop, View, shard_of,
    },
};
use bgp_packet::{
    Announce, EncodeContext, Family, FamilySet, MAX_EXTENDED_LEN, Message, PathAttributes,
    RefreshKind, RouteRefresh, Update, UpdateContext, encode_withdraw, message,
};
use bytes::BytesMut;
use ipnet::IpNet;

use super::{input::Step, topology::Topology};

/// How steps follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Everything is worked off after each.
    Settled,
    /// Flushed after each, worked off a little at a time.
    Hurried,
    /// All at once, then worked off.
    Batched,
    /// No peer takes anything before the end.
    Blocked,
    /// Nobody knows about next hops before the end.
    NextHopsLate,
}

/// A session as the world around the shards sees it.
struct Receiver {
    epoch: Epoch,
    negotiated: Arc<Negotiated>,
    /// What it was told, by prefix and path identifier.
    table: BTreeMap<(IpNet, u32), PathAttributes>,
    /// End-of-RIBs, by shard: joining them is the shell's matter.
    ended: BTreeSet<(usize, Family)>,
    /// Not told again since a refresh began (RFC 7313).
    stale: BTreeSet<(IpNet, u32)>,
}

pub struct Player {
    pub topology: Topology,
    pub shards: Vec<Shard>,
    attrs: AttrTable,
    sessions: BTreeMap<usize, Receiver>,
    epochs: Vec<u32>,
    tracked: Vec<BTreeSet<TrackedNextHop>>,
    fib: BTreeMap<IpNet, Arc<Installed>>,
    pace: Pace,
    now: u32,
    /// Members that take nothing at the moment.
    blocked: bool,
    /// Next hops asked for and not answered.
    unanswered: Vec<(usize, TrackedNextHop)>,
}

impl Player {
    pub fn play(topology: &Topology, steps: &[Step], pace: Pace, shards: usize) -> Self {
        let config =
            ShardConfig { global: Arc::new(topology.global.clone()), install: Install::All };
        let mut player = Self {
            topology: topology.clone(),
            shards: (0..shards).map(|_| Shard::new(config.clone())).collect(),
            attrs: AttrTable::default(),
            sessions: BTreeMap::new(),
            epochs: vec![0; topology.peers.len()],
            tracked: vec![BTreeSet::new(); shards],
            fib: BTreeMap::new(),
            pace,
            now: 0,
            blocked: pace == Pace::Blocked,
            unanswered: Vec::new(),
        };
        for step in steps {
            player.now += 1;
            player.step(step);
            match pace {
                Pace::Settled | Pace::Blocked | Pace::NextHopsLate => player.settle(),
                Pace::Hurried => {
                    player.flush();
                    player.work(1);
                }
                Pace::Batched => {}
            }
        }
        player.finish();
        player
    }

    fn finish(&mut self) {
        self.settle();
        self.pace = Pace::Settled;
        for (shard, next_hop) in std::mem::take(&mut self.unanswered) {
            self.answer(shard, next_hop);
        }
        if std::mem::take(&mut self.blocked) {
            let members: Vec<_> = self.sessions.iter().map(|(i, r)| (*i, r.epoch)).collect();
            for (index, epoch) in members {
                self.tell_all(|| Event::Drained(peer_id(index), epoch));
            }
        }
        self.settle();
        for (index, receiver) in &self.sessions {
            let name = &self.topology.peers[*index].config.name;
            for family in receiver.negotiated.families.iter() {
                for shard in 0..self.shards.len() {
                    let ended = receiver.ended.contains(&(shard, family));
                    assert!(ended, "{name} had no End-of-RIB of {family} from shard {shard}");
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::PeerUp(index) => self.peer_up(*index),
            Step::PeerDown(index) => {
                let receiver = self.sessions.remove(index).expect("the peer is up");
                let (peer, epoch) = (peer_id(*index), receiver.epoch);
                self.tell_all(|| Event::PeerDown { peer, epoch, keep: FamilySet::EMPTY });
            }
            Step::Announce { peer, prefix, path_id, attributes } => {
                self.announce(*peer, *prefix, *path_id, attributes);
            }
            Step::Withdraw { peer, prefix, path_id } => {
                let family = family_of(*prefix);
                let context = self.context_towards_us(*peer, family);
                let mut octets = BytesMut::new();
                let mut prefixes = [(*path_id, *prefix)].into_iter();
                encode_withdraw(family, context, &mut prefixes, &mut octets, &mut |_, _| {});
                self.receive(*peer, &octets);
            }
            Step::Local { source, prefix, route } => {
                let route = route.as_ref().map(|own| LocalRoute {
                    attrs: self.attrs.intern(Attrs::new(&own.attributes)),
                    local: LocalAttributes::default(),
                    blackhole: own.blackhole,
                    interface: None,
                });
                let shard = shard_of(*prefix, self.shards.len());
                self.tell(shard, Event::Local { source: *source, prefix: *prefix, route });
            }
            Step::NextHop { address, cost } => self.next_hop(*address, *cost),
            Step::Refresh(index) => self.refresh(*index, RefreshKind::Request),
            Step::BeginRefresh(index) => self.refresh(*index, RefreshKind::Begin),
            Step::EndRefresh(index) => self.refresh(*index, RefreshKind::End),
            Step::SoftReset(index) => {
                let peer = peer_id(*index);
                self.tell_all(|| Event::SoftReset { peer, direction: SoftReset::Both });
            }
            Step::ConfigurePeer(index, settings) => {
                let old = self.topology.peers[*index].config.clone();
                self.topology.change_peer(*index, settings);
                let impact = change_impact(&old, &self.topology.peers[*index].config);
                assert!(impact < Impact::Reset, "{settings:?} would reset the session");
                self.reconfigure();
            }
            Step::ConfigureSpeaker(settings) => {
                self.topology.change_speaker(settings);
                self.reconfigure();
            }
        }
    }

    fn peer_up(&mut self, index: usize) {
        let negotiated = self.topology.negotiated(index);
        self.epochs[index] += 1;
        let (peer, epoch) = (peer_id(index), Epoch(self.epochs[index]));
        let config = Arc::new(self.topology.peers[index].config.clone());
        let addresses = self.topology.addresses(index);
        let accepted = Arc::new(Accepted::default());
        let receiver = Receiver {
            epoch,
            negotiated: Arc::clone(&negotiated),
            table: BTreeMap::new(),
            ended: BTreeSet::new(),
            stale: BTreeSet::new(),
        };
        assert!(self.sessions.insert(index, receiver).is_none(), "the peer was up already");
        self.tell_all(|| Event::PeerUp {
            peer,
            epoch,
            config: Arc::clone(&config),
            negotiated: Arc::clone(&negotiated),
            addresses,
            accepted: Arc::clone(&accepted),
        });
        for family in negotiated.families.iter() {
            self.tell_all(|| Event::EndOfRib { peer, epoch, family });
        }
        if self.blocked {
            self.tell_all(|| Event::Blocked(peer, epoch));
        }
    }

    fn refresh(&mut self, index: usize, kind: RefreshKind) {
        let receiver = &self.sessions[&index];
        let (peer, epoch) = (peer_id(index), receiver.epoch);
        let negotiated = Arc::clone(&receiver.negotiated);
        for family in negotiated.families.iter() {
            let refresh = RouteRefresh { family, kind };
            self.tell_all(|| Event::Refresh { peer, epoch, refresh });
        }
    }

    fn reconfigure(&mut self) {
        let global = Arc::new(self.topology.global.clone());
        let peers: Vec<_> = self
            .sessions
            .keys()
            .map(|i| (peer_id(*i), Arc::new(self.topology.peers[*i].config.clone())))
            .collect();
        let config = ShardConfig { global, install: Install::All };
        self.tell_all(|| Event::Reconfigure { config: config.clone(), peers: peers.clone() });
    }

    /// How a peer writes to us.
    fn context_towards_us(&self, index: usize, family: Family) -> EncodeContext {
        let negotiated = &self.sessions[&index].negotiated;
        EncodeContext {
            four_octet_asn: negotiated.four_octet_asn,
            add_path: negotiated.add_path_receive.contains(family),
            max_len: MAX_EXTENDED_LEN,
        }
    }

    fn announce(&mut self, index: usize, prefix: IpNet, id: u32, attributes: &PathAttributes) {
        let family = family_of(prefix);
        let context = self.context_towards_us(index, family);
        let encoder = Announce::new(family, attributes, context).expect("attributes fit");
        let mut octets = BytesMut::new();
        encoder.encode(&mut [(id, prefix)].into_iter(), &mut octets, &mut |_, _| {});
        self.receive(index, &octets);
    }

    /// Octets from a peer, decoded and given to the shards as the speaker would.
    fn receive(&mut self, index: usize, octets: &[u8]) {
        let receiver = &self.sessions[&index];
        let context = receiver.negotiated.update_context(&self.topology.peers[index].config);
        let (peer, epoch) = (peer_id(index), receiver.epoch);
        let mut batches: BTreeMap<(usize, Family), Batch> = BTreeMap::new();
        let shards = self.shards.len();
        for_each(octets, &context, MAX_EXTENDED_LEN, |heard| {
            let Heard::Update(update) = heard else { panic!("refreshes are events here") };
            let decoded = update.decode_attributes(&context).expect("attributes decode");
            let attrs = decoded.attributes.map(|a| self.attrs.intern(Attrs::new(&a)));
            for (list, attrs) in [(&update.withdrawn, None), (&update.announced, attrs.as_ref())] {
                for nlri in list.iter().flatten() {
                    for (id, prefix) in nlri.iter() {
                        let key = (shard_of(prefix, shards), nlri.family);
                        batches.entry(key).or_default().push(attrs, id, prefix);
                    }
                }
            }
        });
        for ((shard, family), batch) in batches {
            self.tell(shard, Event::Routes { peer, epoch, family, batch });
        }
    }

    fn next_hop(&mut self, address: IpAddr, cost: Option<u32>) {
        self.topology.next_hops.insert(address, cost);
        if self.pace == Pace::NextHopsLate {
            return;
        }
        for shard in 0..self.shards.len() {
            let of = self.tracked[shard].iter().filter(|next_hop| next_hop.address == address);
            for next_hop in of.copied().collect::<Vec<_>>() {
                self.answer(shard, next_hop);
            }
        }
    }

    fn answer(&mut self, shard: usize, next_hop: TrackedNextHop) {
        if self.tracked[shard].contains(&next_hop) {
            let state = self.topology.resolve(next_hop.address);
            self.tell(shard, Event::NextHop { next_hop, state });
        }
    }

    fn tell_all(&mut self, event: impl Fn() -> Event) {
        for shard in 0..self.shards.len() {
            self.tell(shard, event());
        }
    }

    fn tell(&mut self, shard: usize, event: Event) {
        let mut out = Vec::new();
        self.shards[shard].handle(self.now, event, &mut out);
        self.carry_out(shard, out);
    }

    fn flush(&mut self) {
        for shard in 0..self.shards.len() {
            let mut out = Vec::new();
            self.shards[shard].flush(&mut out);
            self.carry_out(shard, out);
        }
    }

    /// One slice of work in each shard; whether there is more.
    fn work(&mut self, budget: usize) -> bool {
        let mut more = false;
        for shard in 0..self.shards.len() {
            let mut out = Vec::new();
            more |= self.shards[shard].work(self.now, budget, &mut out);
            self.carry_out(shard, out);
        }
        more
    }

    fn settle(&mut self) {
        self.flush();
        for _ in 0..100_000 {
            if !self.work(3) {
                return;
            }
        }
        panic!("a shard that always has more to do");
    }

    fn carry_out(&mut self, shard: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, except, octets, messages } => {
                    for member in to.iter().filter(|member| Some(member.peer) != except) {
                        let index = usize::from(member.peer.0);
                        let current = self.sessions.get_mut(&index);
                        if let Some(receiver) = current.filter(|r| r.epoch == member.epoch) {
                            assert!(!self.blocked, "a blocked member is sent something");
                            let count = receiver.take((shard, self.shards.len()), &octets);
                            assert_eq!(count, messages, "messages are counted");
                        }
                    }
                }
                Effect::Install { prefix, route } => {
                    match route {
                        Some(route) => self.fib.insert(prefix, route),
                        None => self.fib.remove(&prefix),
                    };
                }
                Effect::Track(next_hop) => {
                    assert!(self.tracked[shard].insert(next_hop), "{next_hop:?} twice");
                    if self.pace == Pace::NextHopsLate {
                        self.unanswered.push((shard, next_hop));
                    } else {
                        self.answer(shard, next_hop);
                    }
                }
                Effect::Untrack(next_hop) => {
                    assert!(self.tracked[shard].remove(&next_hop), "{next_hop:?} never tracked");
                }
                Effect::MaxPrefixes { .. }
                | Effect::TooManyPaths { .. }
                | Effect::TooLong { .. }
                | Effect::Flushed { .. } => {}
                Effect::Changed { .. } => panic!("nobody watches"),
            }
        }
    }

    pub fn fib(&self) -> &BTreeMap<IpNet, Arc<Installed>> {
        &self.fib
    }

    /// Rows of a question over all shards.
    pub fn rows(&self, view: View) -> Vec<RouteRow> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let query = RouteQuery { select: Select::All, family: None, view };
            let mut cursor = RouteCursor::default();
            while !shard.routes(&query, &mut cursor, 2, &mut rows) {}
        }
        rows
    }

    /// What each peer that is up was told, by its place; compared with what the shards say.
    pub fn told(&self) -> BTreeMap<usize, &BTreeMap<(IpNet, u32), PathAttributes>> {
        for (index, receiver) in &self.sessions {
            let name = &self.topology.peers[*index].config.name;
            let mut claimed = BTreeMap::new();
            for row in self.rows(View::Advertised(peer_id(*index))) {
                let mut attributes = row.attributes.decode();
                attributes.as_path = flat(&attributes.as_path);
                claimed.insert((row.prefix, row.path_id.unwrap_or(0)), attributes);
            }
            let wire: BTreeMap<_, _> = receiver
                .table
                .iter()
                .map(|(key, attributes)| {
                    let as_path = flat(&attributes.as_path);
                    (*key, PathAttributes { as_path, ..attributes.clone() })
                })
                .collect();
            assert_eq!(claimed, wire, "what {name} was told, by the shard and by the wire");
            let counted: u64 = self
                .shards
                .iter()
                .filter_map(|shard| shard.peer_counts(peer_id(*index)))
                .flat_map(|counts| counts.map(|count| count.advertised))
                .sum();
            assert_eq!(usize::try_from(counted).ok(), Some(wire.len()), "count of {name}");
        }
        self.sessions.iter().map(|(index, receiver)| (*index, &receiver.table)).collect()
    }
}

/// Adjacent sequences as one: where they are split is nobody's business.
fn flat(path: &bgp_packet::AsPath) -> bgp_packet::AsPath {
    use bgp_packet::AsSegment::{ConfedSequence, Sequence};
    let mut flat = bgp_packet::AsPath::default();
    for segment in &path.0 {
        match (flat.0.last_mut(), segment) {
            (Some(Sequence(left)), Sequence(right))
            | (Some(ConfedSequence(left)), ConfedSequence(right)) => left.extend(right),
            _ => flat.0.push(segment.clone()),
        }
    }
    flat
}

impl Receiver {
    /// Reads messages as the peer would; how many there were.
    fn take(&mut self, (shard, shards): (usize, usize), octets: &[u8]) -> u32 {
        let negotiated = &self.negotiated;
        let context = UpdateContext {
            kind: negotiated.kind,
            peer_asn: negotiated.local_asn,
            four_octet_asn: negotiated.four_octet_asn,
            families: negotiated.families,
            add_path: negotiated.add_path_send,
            extended_next_hop: negotiated.extended_next_hop,
            // A route server does not put itself first.
            enforce_first_as: false,
            reject_as_set: false,
        };
        let limit = negotiated.max_send_len;
        let (table, ended, stale) = (&mut self.table, &mut self.ended, &mut self.stale);
        for_each(octets, &context, limit, |heard| match heard {
            // Among several shards the shell leaves them out.
            Heard::Bracket(_) if shards > 1 => {}
            Heard::Bracket(RouteRefresh { family, kind: RefreshKind::Begin }) => {
                stale.extend(table.keys().filter(|(prefix, _)| family_of(*prefix) == family));
            }
            Heard::Bracket(RouteRefresh { family, kind: RefreshKind::End }) => {
                stale.retain(|key| {
                    let swept = family_of(key.0) == family;
                    if swept {
                        table.remove(key);
                    }
                    !swept
                });
            }
            Heard::Bracket(other) => panic!("a shard sends {other:?}"),
            Heard::Update(update) => {
                if let Some(family) = update.end_of_rib {
                    assert!(ended.insert((shard, family)), "a second End-of-RIB of {family}");
                    return;
                }
                for nlri in update.withdrawn.iter().flatten() {
                    for (id, prefix) in nlri.iter() {
                        let known = table.remove(&(prefix, id));
                        assert!(known.is_some(), "{prefix} {id} was never told");
                        stale.remove(&(prefix, id));
                    }
                }
                if update.announced.iter().all(Option::is_none) {
                    return;
                }
                let decoded = update.decode_attributes(&context).expect("attributes decode");
                assert!(decoded.faults.is_empty(), "we sent {:?}", decoded.faults);
                let attributes = decoded.attributes.expect("nothing was wrong");
                for nlri in update.announced.iter().flatten() {
                    for (id, prefix) in nlri.iter() {
                        table.insert((prefix, id), attributes.clone());
                        stale.remove(&(prefix, id));
                    }
                }
            }
        })
    }
}

/// What a message says.
enum Heard<'a> {
    Update(Box<Update<'a>>),
    Bracket(RouteRefresh),
}

/// Takes whole messages apart; how many there were.
fn for_each(
    mut octets: &[u8],
    context: &UpdateContext,
    limit: usize,
    mut take: impl FnMut(Heard<'_>),
) -> u32 {
    let mut count = 0;
    while !octets.is_empty() {
        let len = message::frame_len(octets, limit).expect("a good header").expect("whole");
        let (frame, rest) = octets.split_at(len);
        octets = rest;
        count += 1;
        match message::decode(frame).expect("decodes") {
            Message::Update(body) => {
                let update = Update::parse(body, context).expect("parses");
                assert!(update.notes.is_empty(), "{:?}", update.notes);
                take(Heard::Update(Box::new(update)));
            }
            Message::RouteRefresh(refresh) => take(Heard::Bracket(refresh)),
            other => panic!("a shard sends {other:?}"),
        }
    }
    count
}

pub fn peer_id(index: usize) -> PeerId {
    PeerId(u16::try_from(index).expect("few peers"))
}

fn family_of(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::IPV4_UNICAST,
        IpNet::V6(_) => Family::IPV6_UNICAST,
    }
}
