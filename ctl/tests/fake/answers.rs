//! What the fake daemon knows.

use margay_proto::v1::*;

pub fn status() -> GetStatusResponse {
    let totals = |family: Family, paths, best, installed| FamilyTotals {
        family: family.into(),
        paths,
        best,
        installed,
    };
    GetStatusResponse {
        node: "node1".to_owned(),
        version: "0.1.0".to_owned(),
        router_id: "10.0.0.1".to_owned(),
        asn: 65001,
        uptime_seconds: 11_111,
        peers: Some(PeerTotals { total: 3, established: 1 }),
        routes: vec![
            totals(Family::Ipv4Unicast, 1_000_003, 900_001, 900_000),
            totals(Family::Ipv6Unicast, 2, 1, 1),
        ],
        datastore: Some(DatastoreStatus { r#type: "none".to_owned(), connected: None }),
        registration: Some(RegistrationStatus {
            registered: true,
            ipv4: Some("10.0.0.1/24".to_owned()),
            ipv6: None,
            problems: vec!["the host has no IPv6 address that auto finds".to_owned()],
        }),
        listen_missing: vec!["192.0.2.1:179".to_owned()],
        upstream: Some(UpstreamStatus {
            address: "10.0.0.2:9180".to_owned(),
            connected: false,
            path: vec!["node2".to_owned()],
            lag_milliseconds: Some(61_500),
            cause: "cannot connect: connection refused".to_owned(),
        }),
    }
}

pub fn peers() -> Vec<Peer> {
    let counts = |family: Family, received, accepted, advertised| PeerFamily {
        family: family.into(),
        received,
        accepted,
        advertised,
    };
    vec![
        Peer {
            name: "10.0.9.7".to_owned(),
            address: Some("10.0.9.7".to_owned()),
            asn: Some(4_200_000_001),
            local_asn: 65001,
            state: SessionState::OpenConfirm.into(),
            admin_state: AdminState::Up.into(),
            families: vec![counts(Family::Ipv4Unicast, 0, 0, 0)],
            template: Some("racks".to_owned()),
            ..Default::default()
        },
        Peer {
            name: "spine2".to_owned(),
            asn: None,
            local_asn: 65001,
            state: SessionState::Idle.into(),
            admin_state: AdminState::Down.into(),
            flaps: 2,
            last_error: Some(SessionError {
                direction: ErrorDirection::Received.into(),
                code: Some(6),
                subcode: Some(2),
                // A peer that tries to colour our screen.
                text: "Cease/Administrative Shutdown (6/2): back\u{1b}[31m at nine".to_owned(),
                at: 1_772_355_600,
            }),
            families: vec![counts(Family::Ipv4Unicast, 0, 0, 0)],
            interface: Some("eth1".to_owned()),
            ..Default::default()
        },
        Peer {
            name: "tor1".to_owned(),
            address: Some("10.0.0.254".to_owned()),
            asn: Some(65000),
            local_asn: 65001,
            state: SessionState::Established.into(),
            admin_state: AdminState::Up.into(),
            uptime_seconds: Some(442),
            flaps: 1,
            last_error: Some(SessionError {
                direction: ErrorDirection::Local.into(),
                text: "connect: connection refused".to_owned(),
                at: 1_772_355_000,
                ..Default::default()
            }),
            families: vec![
                counts(Family::Ipv4Unicast, 1_000_000, 900_000, 3),
                counts(Family::Ipv6Unicast, 1, 1, 1),
            ],
            capabilities: [
                "four-octet-asn",
                "multiprotocol:ipv4-unicast",
                "multiprotocol:ipv6-unicast",
                "route-refresh",
            ]
            .map(str::to_owned)
            .to_vec(),
            group: Some("tor".to_owned()),
            description: "rack 1".to_owned(),
            router_id: Some("10.0.0.254".to_owned()),
            ..Default::default()
        },
    ]
}

pub fn peer_detail(peer: Peer) -> GetPeerResponse {
    let up = peer.state() == SessionState::Established;
    let families = vec![i32::from(Family::Ipv4Unicast), i32::from(Family::Ipv6Unicast)];
    GetPeerResponse {
        timers: Some(PeerTimers {
            configured_hold_time_seconds: 180,
            hold_time_seconds: up.then_some(90),
            keepalive_interval_seconds: up.then_some(30),
            hold_remaining_seconds: up.then_some(71),
            keepalive_remaining_seconds: up.then_some(11),
            connect_retry_seconds: 10,
            connect_remaining_seconds: (!up).then_some(4),
            last_received_seconds: up.then_some(19),
            last_update_seconds: up.then_some(130),
        }),
        transport: Some(PeerTransport {
            local_address: up.then(|| "10.0.0.1".to_owned()),
            local_port: up.then_some(179),
            remote_address: up.then(|| "10.0.0.254".to_owned()),
            remote_port: up.then_some(40123),
            incoming: up.then_some(true),
            passive: false,
            authentication: "md5".to_owned(),
            multihop: None,
            ttl_security: Some(1),
        }),
        negotiated: up.then(|| PeerNegotiated {
            kind: "external".to_owned(),
            families: families.clone(),
            four_octet_asn: true,
            max_send_length: 4096,
            max_receive_length: 65535,
            add_path_receive: vec![Family::Ipv4Unicast.into()],
            add_path_send: Vec::new(),
            extended_next_hop: Vec::new(),
            route_refresh: true,
            enhanced_route_refresh: false,
            capabilities_sent: vec!["extended-messages".to_owned(), "route-refresh".to_owned()],
            capabilities_received: vec!["route-refresh".to_owned()],
            end_of_rib_received: families,
        }),
        messages: Some(PeerMessages {
            sent: Some(MessageCounts {
                open: 1,
                update: 3,
                keepalive: 15,
                octets: 512,
                ..Default::default()
            }),
            received: Some(MessageCounts {
                open: 1,
                update: 200_123,
                notification: 1,
                keepalive: 14,
                route_refresh: 2,
                octets: 91_234_567,
            }),
            attributes_discarded: 1,
            treated_as_withdraw: 2,
        }),
        settings: Some(PeerSettings {
            import_policy: Some("tor-in".to_owned()),
            export_policy: None,
            route_reflector_client: false,
            route_server_client: true,
            next_hop: "auto".to_owned(),
            max_prefixes: Some(1_000_000),
        }),
        peer: Some(peer),
    }
}

fn sequence(asns: &[u32]) -> AsSegment {
    AsSegment { kind: AsSegmentKind::Sequence.into(), asns: asns.to_vec() }
}

fn best_route() -> Route {
    Route {
        prefix: "10.20.0.0/16".to_owned(),
        family: Family::Ipv4Unicast.into(),
        best: true,
        peer: Some("tor1".to_owned()),
        path_id: Some(7),
        next_hop: Some("10.0.0.254".to_owned()),
        as_path: vec![
            AsSegment { kind: AsSegmentKind::ConfedSequence.into(), asns: vec![64512, 64513] },
            sequence(&[65000, 65010]),
            AsSegment { kind: AsSegmentKind::Set.into(), asns: vec![65020, 65021] },
        ],
        origin: Origin::Igp.into(),
        med: Some(0),
        local_pref: Some(200),
        communities: vec![65000 << 16 | 7, 0xFFFF_FF01],
        large_communities: vec![LargeCommunity { global: 4_200_000_000, local1: 1, local2: 2 }],
        ext_communities: vec![0x0002_FDE9_0000_0001, 0x4004_0000_0000_0001],
        aggregator: Some(Aggregator { asn: 65010, address: "10.9.9.9".to_owned() }),
        atomic_aggregate: true,
        originator_id: Some("10.0.0.9".to_owned()),
        cluster_list: vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()],
        rpki: Some(Rpki::NotFound.into()),
        installed: true,
        age_seconds: 192,
        reason: Some(Reason::LocalPref.into()),
        source: RouteSource::Bgp.into(),
        unknown_attributes: vec![UnknownAttribute { code: 99, flags: 0xe0, value: vec![1, 0xff] }],
        ..Default::default()
    }
}

fn second_route() -> Route {
    Route {
        prefix: "10.20.0.0/16".to_owned(),
        family: Family::Ipv4Unicast.into(),
        multipath: true,
        peer: Some("tor2".to_owned()),
        next_hop: Some("10.0.1.254".to_owned()),
        as_path: vec![sequence(&[65000, 65010])],
        origin: Origin::Incomplete.into(),
        local_pref: Some(100),
        weight: 5,
        installed: true,
        age_seconds: 90_061,
        reason: Some(Reason::LocalPref.into()),
        source: RouteSource::Bgp.into(),
        ..Default::default()
    }
}

fn rejected_route() -> Route {
    Route {
        prefix: "10.20.0.0/16".to_owned(),
        family: Family::Ipv4Unicast.into(),
        peer: Some("transit".to_owned()),
        next_hop: Some("192.0.2.1".to_owned()),
        as_path: vec![sequence(&[65100])],
        origin: Origin::Egp.into(),
        age_seconds: 5,
        reason: Some(Reason::NextHopUnreachable.into()),
        source: RouteSource::Bgp.into(),
        ..Default::default()
    }
}

fn own_route() -> Route {
    Route {
        prefix: "2001:db8:1::/48".to_owned(),
        family: Family::Ipv6Unicast.into(),
        best: true,
        next_hop: Some("2001:db8::1".to_owned()),
        next_hop_link_local: Some("fe80::1".to_owned()),
        origin: Origin::Igp.into(),
        age_seconds: 6_000_000,
        reason: Some(Reason::OnlyPath.into()),
        source: RouteSource::Originate.into(),
        ..Default::default()
    }
}

pub fn routes() -> Vec<Route> {
    vec![best_route(), second_route(), rejected_route(), own_route()]
}

/// One of many.
pub fn numbered_route(number: u64) -> Route {
    let [.., a, b, c] = number.to_be_bytes();
    Route { prefix: format!("{a}.{b}.{c}.0/24"), ..best_route() }
}

pub fn explanation() -> ExplainRouteResponse {
    let hit = |index, name: &str, action: RuleAction, changes: &[&str]| RuleHit {
        index,
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        action: action.into(),
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let step =
        |step: Reason, outcome: StepOutcome, winner: &str, loser: &str, note: &str| DecisionStep {
            step: step.into(),
            outcome: outcome.into(),
            winner_value: winner.to_owned(),
            loser_value: loser.to_owned(),
            note: note.to_owned(),
        };
    ExplainRouteResponse {
        prefix: "10.20.0.0/16".to_owned(),
        family: Family::Ipv4Unicast.into(),
        paths: vec![
            ExplainedPath {
                route: Some(best_route()),
                import: Some(PolicyTrace {
                    policy: Some("tor-in".to_owned()),
                    accepted: true,
                    hits: vec![
                        hit(Some(1), "prefer", RuleAction::Next, &["local-pref = 200", "med = 0"]),
                        hit(None, "", RuleAction::Accept, &[]),
                    ],
                    note: String::new(),
                }),
                eligible: true,
                next_hop: Some(NextHopStatus { reachable: true, igp_metric: Some(0) }),
            },
            ExplainedPath {
                route: Some(second_route()),
                import: Some(PolicyTrace {
                    policy: None,
                    accepted: true,
                    hits: Vec::new(),
                    note: "an iBGP peer without one is trusted".to_owned(),
                }),
                eligible: true,
                next_hop: Some(NextHopStatus { reachable: true, igp_metric: Some(20) }),
            },
            ExplainedPath {
                route: Some(rejected_route()),
                import: None,
                eligible: false,
                next_hop: Some(NextHopStatus { reachable: false, igp_metric: None }),
            },
        ],
        comparisons: vec![Comparison {
            winner: 0,
            loser: 1,
            neighbor_asn: Some(65000),
            steps: vec![
                step(Reason::Stale, StepOutcome::Equal, "fresh", "fresh", ""),
                step(Reason::Med, StepOutcome::Skipped, "", "", "different neighbour AS"),
                step(Reason::LocalPref, StepOutcome::Decided, "200", "100", "higher wins"),
            ],
        }],
        advertisements: vec![
            Advertisement {
                peer: "rr".to_owned(),
                sent: true,
                routes: vec![Route {
                    next_hop: Some("10.0.0.1".to_owned()),
                    as_path: vec![sequence(&[65001, 65000, 65010])],
                    origin: Origin::Igp.into(),
                    ..Default::default()
                }],
                paths: vec![0],
                export: Some(PolicyTrace {
                    policy: Some("out".to_owned()),
                    accepted: true,
                    hits: vec![hit(Some(0), "", RuleAction::Accept, &["med = 5"])],
                    note: String::new(),
                }),
                reason: String::new(),
                text: String::new(),
            },
            Advertisement {
                peer: "tor1".to_owned(),
                reason: "learned-from-peer".to_owned(),
                text: "the best path came from this peer".to_owned(),
                ..Default::default()
            },
            Advertisement {
                peer: "transit".to_owned(),
                export: Some(PolicyTrace {
                    policy: Some("only-ours".to_owned()),
                    accepted: false,
                    hits: vec![hit(None, "", RuleAction::Reject, &[])],
                    note: String::new(),
                }),
                reason: "policy".to_owned(),
                text: "export policy only-ours rejects it".to_owned(),
                ..Default::default()
            },
        ],
        fib: fib().into_iter().next(),
        fib_note: String::new(),
    }
}

pub fn fib() -> Vec<FibRoute> {
    let hop = |address: Option<&str>, interface: &str, weight| FibNextHop {
        address: address.map(str::to_owned),
        interface: Some(interface.to_owned()),
        weight,
    };
    vec![
        FibRoute {
            prefix: "10.20.0.0/16".to_owned(),
            r#type: FibRouteType::Unicast.into(),
            next_hops: vec![hop(Some("10.0.0.254"), "eth0", 1), hop(Some("fe80::2"), "eth1", 3)],
            metric: 32,
            table: 254,
            protocol: 186,
            in_kernel: true,
            error: None,
        },
        FibRoute {
            prefix: "10.30.0.0/16".to_owned(),
            r#type: FibRouteType::Blackhole.into(),
            metric: 32,
            table: 254,
            protocol: 186,
            in_kernel: false,
            error: Some("file exists".to_owned()),
            ..Default::default()
        },
        FibRoute {
            prefix: "2001:db8::/64".to_owned(),
            r#type: FibRouteType::Unicast.into(),
            next_hops: vec![hop(None, "eth2", 1)],
            metric: 32,
            table: 254,
            protocol: 186,
            in_kernel: true,
            error: None,
        },
    ]
}

pub fn changes() -> Vec<ConfigChange> {
    let change = |kind: &str, subject: &str, impact: ChangeImpact, text: &str| ConfigChange {
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        impact: impact.into(),
        text: text.to_owned(),
    };
    vec![
        change("daemon", "api.socket", ChangeImpact::Restart, "/run/a.sock -> /run/b.sock"),
        change("policy", "out", ChangeImpact::Live, "added"),
        change("peer-changed", "tor1", ChangeImpact::Reset, "hold-time 90 -> 30"),
    ]
}

pub fn events() -> Vec<MonitorEvent> {
    use monitor_event::Event;
    let at = |at, event| MonitorEvent { at, event: Some(event) };
    vec![
        at(
            1_772_355_600,
            Event::Peer(PeerEvent {
                name: "tor1".to_owned(),
                address: Some("10.0.0.254".to_owned()),
                from: SessionState::OpenConfirm.into(),
                to: SessionState::Established.into(),
                admin_state: AdminState::Up.into(),
                why: "keep-alive received".to_owned(),
            }),
        ),
        at(
            1_772_355_601,
            Event::Route(RouteEvent {
                prefix: "2001:db8:1::/48".to_owned(),
                family: Family::Ipv6Unicast.into(),
                best: Some(own_route()),
            }),
        ),
        at(
            1_772_355_602,
            Event::Route(RouteEvent {
                prefix: "10.20.0.0/16".to_owned(),
                family: Family::Ipv4Unicast.into(),
                best: None,
            }),
        ),
        at(1_772_355_603, Event::Lost(12)),
    ]
}
