//! A shard with eBGP sessions, driven by hand.

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
        Accepted, AttrTable, Batch, Effect, Epoch, Event, Install, PeerId, Resolved,
        SessionAddresses, Shard, ShardConfig,
    },
};
use bgp_packet::{Asn, Family, FamilySet, Open, SessionKind};

use super::feed::{Clock, address};

/// A shard and what it sends.
pub struct Rig {
    pub shard: Shard,
    pub attrs: AttrTable,
    out: Vec<Effect>,
    pub octets: usize,
}

impl Rig {
    pub fn new(peers: u16) -> Self {
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

    pub fn up(&mut self, id: u16) {
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
            graceful_restart: None,
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
    pub fn routes(&mut self, feed: u16, batch: Batch) {
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

    pub fn event(&mut self, event: Event) {
        self.shard.handle(0, event, &mut self.out);
        self.carry_out();
    }

    pub fn work(&mut self) {
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
        let state = Some(Resolved { cost: 0, direct: true, local: false, interface: None });
        for next_hop in tracked {
            self.event(Event::NextHop { next_hop, state });
        }
    }
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
        graceful_restart: None,
        extended_messages: true,
        extended_next_hop: false,
        allow_own_asn: 0,
        remove_private_asn: RemovePrivate::No,
        as_override: false,
        enabled: true,
        description: String::new(),
    }
}
