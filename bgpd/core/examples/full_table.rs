//! A full table through one shard: octets in from each feed, octets out to each receiver, on one
//! thread and without sockets. Prints CPU time and memory of each stage.
//!
//! `cargo run --profile lab -p bgp-core --example full_table -- [prefixes] [feeds] [receivers]`

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bgp_core::{
    config::{
        AddPathConfig, DecisionConfig, GlobalConfig, LocalAsnMode, NextHopMode, PeerAddress,
        PeerAsn, PeerConfig, RemovePrivate,
    },
    fsm::Negotiated,
    policy::RoutePolicy,
    rib::{
        Accepted, AttrKey, AttrTable, Attrs, Batch, Effect, Epoch, Event, Install, PeerId,
        Resolved, SessionAddresses, Shard, ShardConfig,
    },
};
use bgp_packet::{
    Announce, AsPath, Asn, Community, EncodeContext, Family, FamilySet, LargeCommunity, Message,
    NextHop, Open, PathAttributes, SessionKind, Update, UpdateContext, encode_withdraw, message,
};
use bytes::BytesMut;
use ipnet::{IpNet, Ipv4Net};

/// Prefixes handed to the shard at a time.
const BATCH: usize = 1024;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let prefixes = arguments.next().unwrap_or(1_000_000);
    let feeds = arguments.next().unwrap_or(1) as u16;
    let receivers = arguments.next().unwrap_or(1) as u16;

    let context = context();
    let streams: Vec<Vec<u8>> = (1..=feeds).map(|feed| table(prefixes, feed)).collect();
    let withdrawals = withdrawals(prefixes);
    println!("{prefixes} prefixes, {feeds} feeds, {receivers} receivers");
    let start = memory();

    let mut rig = Rig::new(feeds + receivers);
    for (feed, stream) in (1..).zip(&streams) {
        let mut decoder = Decoder::default();
        let (mut decode, mut handle) = (Duration::ZERO, Duration::ZERO);
        let sent = rig.octets;
        for batch in decoder.batches(stream, &context, &mut rig.attrs, &mut decode) {
            let begun = Clock::now();
            rig.routes(feed, batch);
            handle += begun.elapsed();
        }
        let begun = Clock::now();
        rig.work();
        handle += begun.elapsed();
        println!(
            "feed {feed}: decode {decode:.0?}, shard {handle:.0?}, {} octets out, {} MB held",
            rig.octets - sent,
            (memory() - start) >> 20,
        );
    }
    println!("{:?}", rig.shard.counts()[0]);

    let begun = Clock::now();
    rig.up(1000);
    rig.work();
    println!("first table of a late receiver: {:.0?}", begun.elapsed());

    if feeds > 1 {
        let begun = Clock::now();
        rig.event(Event::PeerDown { peer: PeerId(1), epoch: Epoch(1) });
        rig.work();
        println!("feed 1 goes down: {:.0?}", begun.elapsed());
    }
    for feed in if feeds > 1 { 2..=feeds } else { 1..=1 } {
        let mut decoder = Decoder::default();
        let (mut decode, mut handle) = (Duration::ZERO, Duration::ZERO);
        for batch in decoder.batches(&withdrawals, &context, &mut rig.attrs, &mut decode) {
            let begun = Clock::now();
            rig.routes(feed, batch);
            handle += begun.elapsed();
        }
        let begun = Clock::now();
        rig.work();
        handle += begun.elapsed();
        println!(
            "feed {feed} withdraws: decode {decode:.0?}, shard {handle:.0?}, {} MB held",
            (memory().saturating_sub(start)) >> 20
        );
    }
}

struct Rig {
    shard: Shard,
    attrs: AttrTable,
    out: Vec<Effect>,
    octets: usize,
}

impl Rig {
    fn new(peers: u16) -> Self {
        let global = Arc::new(GlobalConfig {
            asn: Asn(65000),
            router_id: Ipv4Addr::new(10, 0, 0, 100),
            listen: Vec::new(),
            cluster_id: Ipv4Addr::new(10, 0, 0, 100),
            confederation: None,
            multipath_ebgp: 1,
            multipath_ibgp: 1,
            multipath_relax: false,
            require_policy: true,
            decision: DecisionConfig {
                always_compare_med: false,
                missing_med_worst: false,
                deterministic_med: true,
                prefer_older: false,
            },
            originate: Vec::new(),
            redistribute: Vec::new(),
        });
        let mut rig = Self {
            shard: Shard::new(ShardConfig { global, install: Install::Nothing }),
            attrs: AttrTable::default(),
            out: Vec::new(),
            octets: 0,
        };
        (1..=peers).for_each(|id| rig.up(id));
        rig.work();
        rig
    }

    fn up(&mut self, id: u16) {
        let config = Arc::new(peer(id));
        let address = address(id);
        let open = Open {
            version: 4,
            my_as: 0,
            hold_time: 90,
            router_id: address,
            capabilities: Vec::new(),
        };
        let families: FamilySet = [Family::IPV4_UNICAST].into_iter().collect();
        let negotiated = Arc::new(Negotiated {
            hold_time: Duration::from_secs(90),
            keepalive_interval: Duration::from_secs(30),
            kind: SessionKind::External,
            local_asn: Asn(65000),
            peer_asn: Asn(64000 + u32::from(id)),
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
            sent: open.clone(),
            received: open,
        });
        let addresses = SessionAddresses {
            v4: Some(Ipv4Addr::new(10, 0, 0, 100)),
            ..SessionAddresses::default()
        };
        self.event(Event::PeerUp {
            peer: PeerId(id),
            epoch: Epoch(id.into()),
            config,
            negotiated,
            addresses,
            accepted: Arc::new(Accepted::default()),
        });
    }

    #[inline(never)]
    fn routes(&mut self, feed: u16, batch: Batch) {
        self.event(Event::Routes {
            peer: PeerId(feed),
            epoch: Epoch(feed.into()),
            family: Family::IPV4_UNICAST,
            batch,
        });
        self.shard.flush(&mut self.out);
        self.carry_out();
        if self.shard.work(0, 4096, &mut self.out) {
            self.carry_out();
        }
    }

    fn event(&mut self, event: Event) {
        self.shard.handle(0, event, &mut self.out);
        self.carry_out();
    }

    fn work(&mut self) {
        loop {
            let begun = Clock::now();
            let more = self.shard.work(0, 4096, &mut self.out);
            let took = begun.elapsed();
            if took > Duration::from_millis(10) {
                println!("  a slice took {took:.1?}");
            }
            self.carry_out();
            if !more {
                return;
            }
        }
    }

    fn carry_out(&mut self) {
        let mut tracked = Vec::new();
        for effect in self.out.drain(..) {
            match effect {
                Effect::Send { to, except, octets, .. } => {
                    let all = to.iter().filter(|member| Some(member.peer) != except).count();
                    self.octets += all * octets.len();
                }
                Effect::Track(next_hop) => tracked.push(next_hop),
                _ => {}
            }
        }
        let state = Some(Resolved { cost: 0, direct: true, local: false });
        for next_hop in tracked {
            self.event(Event::NextHop { next_hop, state });
        }
    }
}

/// What a connection does: framing, decoding, recognising attribute blocks.
#[derive(Default)]
struct Decoder {
    key: AttrKey,
}

impl Decoder {
    fn batches<'a>(
        &'a mut self,
        mut stream: &'a [u8],
        context: &'a UpdateContext,
        attrs: &mut AttrTable,
        time: &mut Duration,
    ) -> Vec<Batch> {
        let begun = Clock::now();
        let mut batches = Vec::new();
        let mut batch = Batch::default();
        while let Some(len) = message::frame_len(stream, 4096).expect("our own messages") {
            let (frame, rest) = stream.split_at(len);
            stream = rest;
            let Ok(Message::Update(body)) = message::decode(frame) else { unreachable!() };
            let update = Update::parse(body, context).expect("our own messages");
            for (id, prefix) in update.withdrawn.iter().flatten().flat_map(|nlri| nlri.iter()) {
                batch.push(None, id, prefix);
            }
            if update.announced.iter().flatten().next().is_some() {
                if !self.key.read(&update, context) {
                    let decoded = update.decode_attributes(context).expect("our own");
                    self.key.set(&decoded.attributes.expect("nothing wrong"));
                }
                let shared = match attrs.find(&self.key) {
                    Some(shared) => shared,
                    None => attrs.intern(Attrs::of(&self.key)),
                };
                for nlri in update.announced.iter().flatten() {
                    for (id, prefix) in nlri.iter() {
                        batch.push(Some(&shared), id, prefix);
                    }
                }
            }
            if batch.len() >= BATCH {
                batches.push(std::mem::take(&mut batch));
            }
        }
        batches.push(batch);
        *time += begun.elapsed();
        batches
    }
}

/// About what the Internet looks like: 5.5 prefixes to an attribute set, most of them /24.
fn table(prefixes: usize, feed: u16) -> Vec<u8> {
    let mut random = Random(7);
    let mut out = BytesMut::new();
    let mut left = nets(prefixes).into_iter();
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    loop {
        let size = match random.below(10) {
            0..4 => 1,
            4..9 => 2 + random.below(10) as usize,
            _ => 24,
        };
        let mine: Vec<(u32, IpNet)> = left.by_ref().take(size).map(|net| (0, net)).collect();
        if mine.is_empty() {
            return out.to_vec();
        }
        let mut path = vec![Asn(64000 + u32::from(feed))];
        path.extend((0..3 + random.below(3)).map(|_| Asn(1 + random.below(400_000))));
        if u32::from(feed) % 2 == 0 && random.below(3) == 0 {
            path.push(Asn(9));
        }
        let mut attributes = PathAttributes::local(NextHop::new(address(feed)));
        attributes.as_path = AsPath::sequence(path);
        attributes.communities = (0..random.below(5)).map(|n| Community(n << 16 | 5)).collect();
        attributes.med = (random.below(5) == 0).then(|| random.below(100));
        if random.below(10) == 0 {
            attributes.large_communities.push(LargeCommunity(1, 2, random.below(1000)));
        }
        let announce = Announce::new(Family::IPV4_UNICAST, &attributes, encode).expect("it fits");
        announce.encode_all(mine, &mut out, |_, _| {});
    }
}

fn withdrawals(prefixes: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    let mut nets = nets(prefixes).into_iter().map(|net| (0, net));
    encode_withdraw(Family::IPV4_UNICAST, encode, &mut nets, &mut out, &mut |_, _| {});
    out.to_vec()
}

/// Distinct prefixes, neighbours mostly adjacent.
fn nets(prefixes: usize) -> Vec<IpNet> {
    let mut random = Random(42);
    let mut at = 0x0100_0000u32;
    (0..prefixes)
        .map(|_| {
            let len: u8 = match random.below(100) {
                0..64 => 24,
                64..75 => 22,
                75..85 => 23,
                _ => 21,
            };
            let size = 1u32 << (32 - len);
            at = at.div_ceil(size) * size;
            let net = Ipv4Net::new(at.into(), len).expect("a length of IPv4");
            at += size;
            IpNet::V4(net)
        })
        .collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

fn address(id: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0A00_0000 + u32::from(id))
}

fn context() -> UpdateContext {
    UpdateContext {
        kind: SessionKind::External,
        peer_asn: Asn(0),
        four_octet_asn: true,
        families: [Family::IPV4_UNICAST].into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: false,
        reject_as_set: false,
    }
}

/// CPU time of this thread: other work on the machine does not count.
struct Clock(u64);

impl Clock {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self(stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(Self::now().0 - self.0)
    }
}

/// Resident octets of this process.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn peer(id: u16) -> PeerConfig {
    PeerConfig {
        name: format!("p{id}"),
        group: None,
        address: PeerAddress::Address { address: IpAddr::V4(address(id)), interface: None },
        port: 179,
        asn: PeerAsn::External,
        local_asn: None,
        local_asn_mode: LocalAsnMode::Prepend,
        local_address: None,
        passive: false,
        families: None,
        import: Some(Arc::new(RoutePolicy::accept())),
        export: Some(Arc::new(RoutePolicy::accept())),
        hold_time: Duration::from_secs(90),
        connect_retry: Duration::from_secs(10),
        multihop: None,
        ttl_security: None,
        min_hold_time: Duration::from_secs(3),
        enforce_first_as: true,
        reject_as_set: false,
        password: None,
        password_error: None,
        route_reflector_client: false,
        route_server_client: false,
        next_hop: NextHopMode::Auto,
        max_prefixes: None,
        add_path: AddPathConfig::default(),
        extended_messages: true,
        extended_next_hop: false,
        allow_own_asn: 0,
        remove_private_asn: RemovePrivate::No,
        as_override: false,
        enabled: true,
        description: String::new(),
    }
}
