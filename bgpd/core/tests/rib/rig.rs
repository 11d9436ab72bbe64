//! A shard with peers around it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bgp_core::{
    config::{GlobalConfig, PeerConfig},
    fsm::Negotiated,
    policy::{RoutePolicy, RouteSource},
    rib::{
        Accepted, AttrTable, Attrs, Batch, Effect, Epoch, Event, Install, Installed, LocalRoute,
        PeerId, Resolved, RouteCursor, RouteQuery, RouteRow, Select, SessionAddresses, Shard,
        ShardConfig, TrackedNextHop, View,
    },
};
use bgp_packet::{
    AsPath, Asn, Family, FamilySet, Message, NextHop, Open, PathAttributes, RefreshKind,
    SessionKind, Update, UpdateContext, message,
};
use ipnet::IpNet;

use crate::common;

pub const OUR_ASN: Asn = Asn(65000);

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// What a receiver has heard, message by message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Announce(IpNet),
    Withdraw(IpNet),
    End(Family),
    Refresh(RefreshKind),
}

/// A peer as its own side sees it.
pub struct Peer {
    pub epoch: Epoch,
    pub up: bool,
    pub asn: Asn,
    pub address: IpAddr,
    pub context: UpdateContext,
    /// What it holds from us, by prefix and path identifier.
    pub table: BTreeMap<(IpNet, u32), PathAttributes>,
    pub heard: Vec<Heard>,
    /// Withdrawals of what it did not hold.
    pub spurious: usize,
    pub config: Arc<PeerConfig>,
}

pub struct Rig {
    pub shard: Shard,
    pub now: u32,
    pub peers: BTreeMap<u16, Peer>,
    pub kernel: BTreeMap<IpNet, Arc<Installed>>,
    /// Answers to `Track`; everything else is on a link.
    pub hops: BTreeMap<IpAddr, Option<Resolved>>,
    pub tracked: Vec<TrackedNextHop>,
    pub notes: Vec<Effect>,
    pub global: Arc<GlobalConfig>,
    pub install: Install,
    attrs: AttrTable,
    epoch: u32,
    /// Prefixes a call of `work` may look at.
    pub slice: usize,
}

/// What a peer is like.
pub struct Spec {
    pub config: PeerConfig,
    pub negotiated: Negotiated,
    pub addresses: SessionAddresses,
}

impl Rig {
    /// Everything is imported and exported; nothing goes to the kernel.
    pub fn new() -> Self {
        Self::with(|global| global.require_policy = false, Install::Nothing)
    }

    pub fn with(change: impl FnOnce(&mut GlobalConfig), install: Install) -> Self {
        let mut global = common::global(OUR_ASN, Ipv4Addr::new(10, 0, 0, 100));
        change(&mut global);
        let global = Arc::new(global);
        let config = ShardConfig { global: Arc::clone(&global), install: install.clone() };
        Self {
            shard: Shard::new(config),
            now: 0,
            peers: BTreeMap::new(),
            kernel: BTreeMap::new(),
            hops: BTreeMap::new(),
            tracked: Vec::new(),
            notes: Vec::new(),
            global,
            install,
            attrs: AttrTable::default(),
            epoch: 0,
            slice: 4096,
        }
    }

    /// An eBGP peer of AS 65000 + id at 10.0.0.id.
    pub fn external(&mut self, id: u16) {
        self.up(id, |_| {});
    }

    /// An iBGP peer at 10.0.0.id.
    pub fn internal(&mut self, id: u16) {
        self.up(id, |spec| spec.internal());
    }

    /// A peer, eBGP unless changed.
    pub fn up(&mut self, id: u16, change: impl FnOnce(&mut Spec)) {
        let asn = Asn(65000 + u32::from(id));
        let address = Ipv4Addr::from(0x0A00_0000 + u32::from(id));
        let families: FamilySet = Family::SUPPORTED.into_iter().collect();
        let open = Open {
            version: 4,
            my_as: 0,
            hold_time: 90,
            router_id: address,
            capabilities: Vec::new(),
        };
        let mut spec = Spec {
            config: common::peer(&format!("p{id}"), address.into(), asn),
            negotiated: Negotiated {
                hold_time: Duration::from_secs(90),
                keepalive_interval: Duration::from_secs(30),
                kind: SessionKind::External,
                local_asn: self.global.asn,
                peer_asn: asn,
                peer_router_id: address,
                local: SocketAddr::from(([10, 0, 0, 100], 179)),
                remote: SocketAddr::from((address, 40000)),
                families,
                four_octet_asn: true,
                max_send_len: 4096,
                max_receive_len: 4096,
                add_path_receive: FamilySet::EMPTY,
                add_path_send: FamilySet::EMPTY,
                extended_next_hop: FamilySet::EMPTY,
                route_refresh: true,
                enhanced_refresh: true,
                graceful_restart: None,
                sent: open.clone(),
                received: open,
            },
            addresses: SessionAddresses {
                v4: Some(Ipv4Addr::new(10, 0, 0, 100)),
                v6: Some("2001:db8::100".parse().unwrap()),
                link_local: None,
                interface: None,
                interface_name: None,
                subnet: None,
            },
        };
        change(&mut spec);
        let Spec { config, negotiated, addresses } = spec;
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        let context = UpdateContext {
            kind: negotiated.kind,
            peer_asn: negotiated.local_asn,
            four_octet_asn: negotiated.four_octet_asn,
            families: negotiated.families,
            add_path: negotiated.add_path_send,
            extended_next_hop: negotiated.extended_next_hop,
            enforce_first_as: !config.route_server_client,
            reject_as_set: false,
        };
        let config = Arc::new(config);
        let peer = Peer {
            epoch,
            up: true,
            asn: negotiated.peer_asn,
            address: negotiated.remote.ip(),
            context,
            table: BTreeMap::new(),
            heard: Vec::new(),
            spurious: 0,
            config: Arc::clone(&config),
        };
        self.peers.insert(id, peer);
        self.event(Event::PeerUp {
            peer: PeerId(id),
            epoch,
            config,
            negotiated: Arc::new(negotiated),
            addresses,
            accepted: Arc::new(Accepted::default()),
        });
        self.settle();
    }

    pub fn down(&mut self, id: u16) {
        self.lose(id, FamilySet::EMPTY);
    }

    /// The session is down, but the peer may come back to its routes of some families.
    pub fn lose(&mut self, id: u16, keep: FamilySet) {
        let epoch = self.drop_session(id);
        self.event(Event::PeerDown { peer: PeerId(id), epoch, keep });
        self.settle();
    }

    /// The peer forgets everything; the shard has not been told yet.
    fn drop_session(&mut self, id: u16) -> Epoch {
        let peer = self.peers.get_mut(&id).unwrap();
        peer.up = false;
        peer.table.clear();
        peer.epoch
    }

    /// Attributes as the peer would send them.
    pub fn attributes(&self, id: u16, change: impl FnOnce(&mut PathAttributes)) -> PathAttributes {
        let peer = &self.peers[&id];
        let mut attributes = PathAttributes::local(NextHop::new(peer.address));
        if peer.context.kind == SessionKind::External {
            attributes.as_path = AsPath::sequence([peer.asn]);
        } else {
            attributes.local_pref = Some(100);
        }
        change(&mut attributes);
        attributes
    }

    pub fn announce(&mut self, id: u16, prefix: &str, change: impl FnOnce(&mut PathAttributes)) {
        self.announce_path(id, prefix, 0, change);
    }

    pub fn announce_path(
        &mut self,
        id: u16,
        prefix: &str,
        path_id: u32,
        change: impl FnOnce(&mut PathAttributes),
    ) {
        let attributes = self.attributes(id, change);
        self.send(id, net(prefix), path_id, Some(&attributes));
        self.settle();
    }

    pub fn withdraw(&mut self, id: u16, prefix: &str) {
        self.send(id, net(prefix), 0, None);
        self.settle();
    }

    /// One route or withdrawal, without a flush behind it.
    pub fn send(
        &mut self,
        id: u16,
        prefix: IpNet,
        path_id: u32,
        attributes: Option<&PathAttributes>,
    ) {
        let attrs = attributes.map(|attributes| self.attrs.intern(Attrs::new(attributes)));
        let mut batch = Batch::default();
        batch.push(attrs.as_ref(), path_id, prefix);
        self.batch(id, prefix, batch);
    }

    pub fn batch(&mut self, id: u16, of: IpNet, batch: Batch) {
        let family = match of {
            IpNet::V4(_) => Family::IPV4_UNICAST,
            IpNet::V6(_) => Family::IPV6_UNICAST,
        };
        let epoch = self.peers[&id].epoch;
        self.event(Event::Routes { peer: PeerId(id), epoch, family, batch });
    }

    pub fn originate(&mut self, prefix: &str, change: impl FnOnce(&mut LocalRoute)) {
        let prefix = net(prefix);
        let unspecified: IpAddr = match prefix {
            IpNet::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpNet::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut route = LocalRoute {
            attrs: Arc::new(Attrs::new(&PathAttributes::local(NextHop::new(unspecified)))),
            local: Default::default(),
            blackhole: false,
            interface: None,
        };
        change(&mut route);
        self.event(Event::Local { source: RouteSource::Originate, prefix, route: Some(route) });
        self.settle();
    }

    pub fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.shard.handle(self.now, event, &mut out);
        self.carry_out(out);
    }

    /// Flushes and works until nothing is left, next hops answered.
    pub fn settle(&mut self) {
        self.flush();
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("work without end");
    }

    pub fn flush(&mut self) {
        let mut out = Vec::new();
        self.shard.flush(&mut out);
        self.carry_out(out);
    }

    /// One slice of work; whether there is more.
    pub fn step(&mut self) -> bool {
        let mut out = Vec::new();
        let more = self.shard.work(self.now, self.slice, &mut out);
        let answered = out.iter().any(|effect| matches!(effect, Effect::Track(_)));
        self.carry_out(out);
        more || answered
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, except, octets, messages } => {
                    for member in to.iter().filter(|member| Some(member.peer) != except) {
                        let peer = self.peers.get_mut(&member.peer.0).unwrap();
                        if peer.up && peer.epoch == member.epoch {
                            peer.hear(&octets, messages);
                        }
                    }
                }
                Effect::Install { prefix, route: Some(route) } => {
                    self.kernel.insert(prefix, route);
                }
                Effect::Install { prefix, route: None } => {
                    assert!(self.kernel.remove(&prefix).is_some(), "{prefix} was not installed");
                }
                Effect::Track(next_hop) => {
                    self.tracked.push(next_hop);
                    let on_link =
                        Some(Resolved { cost: 0, direct: true, local: false, interface: None });
                    let state = *self.hops.get(&next_hop.address).unwrap_or(&on_link);
                    self.event(Event::NextHop { next_hop, state });
                }
                Effect::Untrack(next_hop) => {
                    let at = self.tracked.iter().position(|known| *known == next_hop);
                    self.tracked.remove(at.expect("only what is tracked is untracked"));
                }
                other => self.notes.push(other),
            }
        }
    }

    /// A next hop changes.
    pub fn resolve(&mut self, address: &str, state: Option<Resolved>) {
        let address: IpAddr = address.parse().unwrap();
        self.hops.insert(address, state);
        let of: Vec<TrackedNextHop> =
            self.tracked.iter().filter(|hop| hop.address == address).copied().collect();
        for next_hop in of {
            self.event(Event::NextHop { next_hop, state });
        }
        self.settle();
    }

    /// New configuration of peers, in force at once.
    pub fn reconfigure(&mut self, change: impl Fn(u16, &mut PeerConfig)) {
        let mut peers = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.up) {
            let mut config = (*peer.config).clone();
            change(*id, &mut config);
            peer.config = Arc::new(config);
            peers.push((PeerId(*id), Arc::clone(&peer.config)));
        }
        let config =
            ShardConfig { global: Arc::clone(&self.global), install: self.install.clone() };
        self.event(Event::Reconfigure { config, peers });
    }

    /// What a peer was sent for a prefix, without add-path.
    pub fn got(&self, id: u16, prefix: &str) -> Option<&PathAttributes> {
        self.peers[&id].table.get(&(net(prefix), 0))
    }

    pub fn rows(&self, select: Select, view: View) -> Vec<RouteRow> {
        let query = RouteQuery { select, family: None, view };
        let (mut cursor, mut rows) = (RouteCursor::default(), Vec::new());
        while !self.shard.routes(&query, &mut cursor, 3, &mut rows) {}
        rows
    }

    /// The best path of a prefix: the peer it came from.
    pub fn best(&self, prefix: &str) -> Option<u16> {
        let rows = self.rows(Select::Exact(net(prefix)), View::Best);
        rows.first().and_then(|row| row.peer).map(|peer| peer.0)
    }

    /// No peer was told to forget what it did not hold.
    pub fn assert_exact(&self) {
        for (id, peer) in &self.peers {
            assert_eq!(peer.spurious, 0, "spurious withdrawals to p{id}");
        }
    }
}

impl Peer {
    fn hear(&mut self, mut octets: &[u8], messages: u32) {
        let mut count = 0;
        while !octets.is_empty() {
            let len = message::frame_len(octets, 65535).unwrap().unwrap();
            let (frame, rest) = octets.split_at(len);
            octets = rest;
            count += 1;
            match message::decode(frame).unwrap() {
                Message::Update(body) => self.update(body),
                Message::RouteRefresh(refresh) => self.heard.push(Heard::Refresh(refresh.kind)),
                other => panic!("{other:?} from a RIB"),
            }
        }
        assert_eq!(count, messages);
    }

    fn update(&mut self, body: &[u8]) {
        let update = Update::parse(body, &self.context).unwrap();
        if let Some(family) = update.end_of_rib {
            self.heard.push(Heard::End(family));
            return;
        }
        for (path_id, prefix) in update.withdrawn.iter().flatten().flat_map(|nlri| nlri.iter()) {
            self.heard.push(Heard::Withdraw(prefix));
            if self.table.remove(&(prefix, path_id)).is_none() {
                self.spurious += 1;
            }
        }
        if update.announced.iter().flatten().next().is_none() {
            return;
        }
        let decoded = update.decode_attributes(&self.context).unwrap();
        assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
        let attributes = decoded.attributes.expect("nothing to treat as withdraw");
        for (path_id, prefix) in update.announced.iter().flatten().flat_map(|nlri| nlri.iter()) {
            self.heard.push(Heard::Announce(prefix));
            self.table.insert((prefix, path_id), attributes.clone());
        }
    }

    /// What it has heard since it was last asked.
    pub fn news(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }
}

impl Spec {
    /// iBGP.
    pub fn internal(&mut self) {
        self.negotiated.kind = SessionKind::Internal;
        self.negotiated.peer_asn = self.negotiated.local_asn;
    }

    /// A reflection client.
    pub fn client(&mut self) {
        self.internal();
        self.config.route_reflector_client = true;
    }

    /// A route server client.
    pub fn route_server_client(&mut self) {
        self.config.route_server_client = true;
    }

    /// Sends and takes path identifiers.
    pub fn add_path(&mut self, send: u16) {
        let families: FamilySet = Family::SUPPORTED.into_iter().collect();
        self.config.add_path.receive = true;
        self.config.add_path.send = send;
        self.negotiated.add_path_receive = families;
        self.negotiated.add_path_send = if send > 0 { families } else { FamilySet::EMPTY };
    }
}

pub fn accept() -> Option<Arc<RoutePolicy>> {
    Some(Arc::new(RoutePolicy::accept()))
}

pub fn reject() -> Option<Arc<RoutePolicy>> {
    Some(Arc::new(RoutePolicy::reject()))
}

/// A policy of one rule for some prefixes, accepting the rest.
pub fn rule(
    prefixes: &[&str],
    set: bgp_core::policy::definition::SetDefinition,
    action: bgp_core::policy::RuleAction,
) -> Option<Arc<RoutePolicy>> {
    use bgp_core::policy::definition::{
        Default as Otherwise, Definition, MatchDefinition, RuleDefinition, Sets,
    };
    let prefix =
        (!prefixes.is_empty()).then(|| prefixes.iter().map(|text| text.parse().unwrap()).collect());
    let definition = Definition {
        name: "rule".to_owned(),
        default: Otherwise::Accept,
        rules: vec![RuleDefinition {
            name: Some("only".to_owned()),
            matches: MatchDefinition { prefix, ..MatchDefinition::default() },
            set,
            action,
        }],
    };
    Some(Arc::new(RoutePolicy::compile(definition, &Sets::default()).unwrap()))
}
