//! Tests of the session by the tables of RFC 4271 §8 and its successors.

mod any_input;
mod clocks;
mod collisions;
mod opens;
mod restarts;
mod states;
mod stops;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bgp_packet::{Asn, Capability, Notification, Open};

use super::*;
use crate::config::{
    AddPathConfig, DecisionConfig, LocalAsnMode, NextHopMode, PeerAsn, RemovePrivate,
};

pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(super) const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// The start of virtual time.
pub(super) fn start() -> Instant {
    #[allow(clippy::disallowed_methods)] // any instant does; only differences matter
    Instant::now()
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn global() -> GlobalConfig {
    GlobalConfig {
        asn: Asn(65001),
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        listen: Vec::new(),
        cluster_id: Ipv4Addr::new(10, 0, 0, 1),
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
    }
}

pub(super) fn peer() -> PeerConfig {
    PeerConfig {
        name: "tor1".to_owned(),
        group: None,
        address: PeerAddress::Address { address: REMOTE, interface: None },
        port: 179,
        asn: PeerAsn::OneOf(vec![Asn(65002)]),
        local_asn: None,
        local_asn_mode: LocalAsnMode::Prepend,
        local_address: None,
        passive: false,
        families: None,
        import: None,
        export: None,
        hold_time: secs(90),
        connect_retry: secs(10),
        multihop: None,
        ttl_security: None,
        min_hold_time: secs(3),
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

/// What an ordinary peer says: AS 65002, 10.0.0.2, IPv4 unicast.
pub(super) fn their_open() -> Open {
    Open {
        version: 4,
        my_as: 65002,
        hold_time: 90,
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: vec![
            Capability::Multiprotocol(bgp_packet::Family::IPV4_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAsn(Asn(65002)),
        ],
    }
}

/// A session and the clock around it.
pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) now: Instant,
    /// What the last call gave.
    pub(super) out: Vec<Output>,
}

impl Bench {
    pub(super) fn new(global: GlobalConfig, peer: PeerConfig) -> Self {
        let session = Session::new(global, peer, REMOTE, 1);
        Self { session, now: start(), out: Vec::new() }
    }

    /// Started, nothing connected yet.
    pub(super) fn started() -> Self {
        let mut bench = Self::new(global(), peer());
        bench.give(Input::Start);
        bench
    }

    pub(super) fn passive() -> Self {
        let mut bench = Self::new(global(), PeerConfig { passive: true, ..peer() });
        bench.give(Input::Start);
        bench
    }

    pub(super) fn give(&mut self, input: Input) -> &[Output] {
        self.out.clear();
        self.session.handle(self.now, input, &mut self.out);
        &self.out
    }

    /// Lets time pass, with a tick at every deadline on the way.
    pub(super) fn advance(&mut self, by: Duration) -> &[Output] {
        let end = self.now + by;
        let mut all = Vec::new();
        for _ in 0..100_000 {
            let Some(next) = self.session.next_deadline().filter(|next| *next <= end) else {
                self.now = end;
                self.out = all;
                return &self.out;
            };
            self.now = self.now.max(next);
            self.session.handle(self.now, Input::Tick, &mut all);
        }
        panic!("a deadline that does not move");
    }

    /// The id of the attempt asked for last.
    pub(super) fn attempt(&self) -> Option<ConnectionId> {
        self.out.iter().rev().find_map(|output| match output {
            Output::Connect(id) => Some(*id),
            _ => None,
        })
    }

    pub(super) fn connected(&mut self) -> ConnectionId {
        let connection = self.attempt().expect("an attempt was asked for");
        self.give(Input::Connected {
            connection,
            local: SocketAddr::new(LOCAL, 40000),
            remote: SocketAddr::new(REMOTE, 179),
        });
        connection
    }

    pub(super) fn accepted(&mut self) -> ConnectionId {
        let connection = self.session.accept(self.now).expect("connections are taken");
        self.give(Input::Accepted {
            connection,
            local: SocketAddr::new(LOCAL, 179),
            remote: SocketAddr::new(REMOTE, 40000),
        });
        connection
    }

    /// An Established session over an outbound connection.
    pub(super) fn established() -> (Self, ConnectionId) {
        Self::established_with(global(), peer(), their_open())
    }

    pub(super) fn established_with(
        global: GlobalConfig,
        peer: PeerConfig,
        open: Open,
    ) -> (Self, ConnectionId) {
        let mut bench = Self::new(global, peer);
        bench.give(Input::Start);
        let id = bench.connected();
        bench.give(Input::Open(id, open));
        bench.give(Input::KeepAlive(id));
        assert_eq!(bench.session.state(), State::Established, "{:?}", bench.session.last_error());
        (bench, id)
    }

    pub(super) fn state(&self) -> State {
        self.session.state()
    }

    /// The NOTIFICATIONs sent on a connection by the last call.
    pub(super) fn notified(&self, id: ConnectionId) -> Vec<Notification> {
        self.out
            .iter()
            .filter_map(|output| match output {
                Output::Send(to, Control::Notification(n)) if *to == id => Some(n.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn sent_keepalive(&self, id: ConnectionId) -> bool {
        self.out.contains(&Output::Send(id, Control::KeepAlive))
    }

    pub(super) fn closed(&self, id: ConnectionId) -> bool {
        self.out.contains(&Output::Close(id))
    }
}

#[test]
fn started_session_connects_and_comes_up() {
    let mut bench = Bench::started();
    assert_eq!(bench.state(), State::Connect);
    let id = bench.connected();
    assert!(matches!(&bench.out[0], Output::Send(to, Control::Open(_)) if *to == id));
    assert_eq!(bench.state(), State::OpenSent);
    bench.give(Input::Open(id, their_open()));
    assert!(bench.sent_keepalive(id));
    assert_eq!(bench.state(), State::OpenConfirm);
    bench.give(Input::KeepAlive(id));
    assert!(matches!(&bench.out[0], Output::Established(to, _) if *to == id));
    assert_eq!(bench.state(), State::Established);
    assert_eq!(bench.session.established_connection(), Some(id));
    assert_eq!(bench.session.established_at(), Some(bench.now));
}
