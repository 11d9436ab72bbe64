//! OPEN: what we send, what we accept, what both agree on.

use bgp_packet::{AddPathMode, Family, FamilySet, MAX_EXTENDED_LEN, MAX_LEN, SessionKind};

use super::*;
use crate::config::Confederation;

/// The NOTIFICATION (code, subcode, data) that answers this OPEN.
fn refused(
    global: GlobalConfig,
    peer: PeerConfig,
    change: impl FnOnce(&mut Open),
) -> (u8, u8, Vec<u8>) {
    let mut bench = Bench::new(global, peer);
    bench.give(Input::Start);
    let id = bench.connected();
    let mut open = their_open();
    change(&mut open);
    bench.give(Input::Open(id, open));
    let sent = bench.notified(id);
    assert_eq!(sent.len(), 1, "expected one NOTIFICATION, got {:?}", bench.out);
    assert!(bench.closed(id));
    assert_eq!(bench.state(), State::Idle);
    (sent[0].code, sent[0].subcode, sent[0].data.to_vec())
}

fn negotiated(global: GlobalConfig, peer: PeerConfig, open: Open) -> Arc<Negotiated> {
    let (bench, _) = Bench::established_with(global, peer, open);
    Arc::clone(bench.session.negotiated().expect("established"))
}

fn families(list: &[Family]) -> FamilySet {
    list.iter().copied().collect()
}

fn four_octets(open: &mut Open, asn: u32) {
    open.capabilities.retain(|c| !matches!(c, Capability::FourOctetAsn(_)));
    open.capabilities.push(Capability::FourOctetAsn(Asn(asn)));
}

fn their_open_from(asn: u16) -> Open {
    let mut open = Open { my_as: asn, ..their_open() };
    four_octets(&mut open, u32::from(asn));
    open
}

fn from_any() -> PeerConfig {
    PeerConfig { asn: PeerAsn::Any, ..peer() }
}

fn sent_open(global: GlobalConfig, peer: PeerConfig) -> Open {
    let mut bench = Bench::new(global, peer);
    bench.give(Input::Start);
    bench.connected();
    bench
        .out
        .iter()
        .find_map(|output| match output {
            Output::Send(_, Control::Open(open)) => Some(open.clone()),
            _ => None,
        })
        .expect("an OPEN goes out first")
}

#[test]
fn open_shows_our_number_identifier_and_hold_time() {
    let open = sent_open(global(), peer());
    assert_eq!((open.version, open.my_as, open.hold_time), (4, 65001, 90));
    assert_eq!(open.router_id, global().router_id);
    assert!(open.capabilities.contains(&Capability::FourOctetAsn(Asn(65001))));
}

#[test]
fn open_of_a_large_number_holds_as_trans_in_the_old_field() {
    let open = sent_open(GlobalConfig { asn: Asn(4_200_000_001), ..global() }, peer());
    assert_eq!(open.my_as, 23456);
    assert!(open.capabilities.contains(&Capability::FourOctetAsn(Asn(4_200_000_001))));
}

#[test]
fn open_offers_what_is_configured_and_nothing_else() {
    let plain = PeerConfig { extended_messages: false, ..peer() };
    let open = sent_open(global(), plain);
    assert_eq!(
        open.capabilities,
        [
            Capability::Multiprotocol(Family::IPV4_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAsn(Asn(65001)),
            Capability::EnhancedRouteRefresh,
        ]
    );
    let both = families(&Family::SUPPORTED);
    let rich = PeerConfig {
        families: Some(both),
        extended_next_hop: true,
        add_path: AddPathConfig { receive: true, send: 0 },
        ..peer()
    };
    let open = sent_open(global(), rich);
    for capability in [
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::ExtendedMessage,
        Capability::ExtendedNextHop(vec![(Family::IPV4_UNICAST, 2)]),
        Capability::AddPath(vec![
            (Family::IPV4_UNICAST, AddPathMode::Receive),
            (Family::IPV6_UNICAST, AddPathMode::Receive),
        ]),
    ] {
        assert!(open.capabilities.contains(&capability), "{capability:?} in {open:?}");
    }
}

#[test]
fn unnumbered_peers_are_offered_ipv4_over_ipv6_next_hops() {
    let peer = PeerConfig { address: PeerAddress::Interface("eth0".to_owned()), ..peer() };
    let open = sent_open(global(), peer);
    assert!(
        open.capabilities.contains(&Capability::ExtendedNextHop(vec![(Family::IPV4_UNICAST, 2)]))
    );
}

#[test]
fn session_over_ipv6_offers_both_families_by_default() {
    let remote = "2001:db8::2".parse().expect("an address");
    let mut session = Session::new(global(), peer(), remote, 1);
    let mut out = Vec::new();
    session.handle(start(), Input::Start, &mut out);
    let end = SocketAddr::new(remote, 179);
    let connection = ConnectionId(0);
    session.handle(start(), Input::Connected { connection, local: end, remote: end }, &mut out);
    let open = out.iter().find_map(|output| match output {
        Output::Send(_, Control::Open(open)) => Some(open),
        _ => None,
    });
    let capabilities = &open.expect("an OPEN").capabilities;
    for family in Family::SUPPORTED {
        assert!(capabilities.contains(&Capability::Multiprotocol(family)));
    }
}

#[test]
fn wrong_version_is_answered_with_ours() {
    assert_eq!(refused(global(), peer(), |o| o.version = 3), (2, 1, vec![0, 4]));
    assert_eq!(refused(global(), peer(), |o| o.version = 5), (2, 1, vec![0, 4]));
}

#[test]
fn wrong_as_is_refused() {
    type Change = fn(&mut Open);
    let cases: [(&str, Change); 6] = [
        ("unexpected", |o| *o = their_open_from(65009)),
        ("zero in the old field", |o| o.my_as = 0),
        ("zero in both", |o| {
            o.my_as = 0;
            four_octets(o, 0);
        }),
        ("zero in the capability", |o| four_octets(o, 0)),
        ("AS_TRANS in the capability", |o| {
            o.my_as = 23456;
            four_octets(o, 23456);
        }),
        ("two different ones", |o| o.my_as = 65003),
    ];
    for (name, change) in cases {
        assert_eq!(refused(global(), peer(), change), (2, 2, vec![]), "{name}");
        // Nor does a peer of any AS get away with the impossible ones.
        if name != "unexpected" {
            assert_eq!(refused(global(), from_any(), change), (2, 2, vec![]), "{name}, any");
        }
    }
}

#[test]
fn as_trans_without_the_capability_is_nobodys_number() {
    let change = |o: &mut Open| {
        o.my_as = 23456;
        o.capabilities.clear();
    };
    assert_eq!(refused(global(), from_any(), change).1, 2);
}

#[test]
fn number_of_the_capability_counts_and_as_trans_beside_it_is_fine() {
    let peer = PeerConfig { asn: PeerAsn::OneOf(vec![Asn(70000)]), ..peer() };
    let mut open = Open { my_as: 23456, ..their_open() };
    four_octets(&mut open, 70000);
    assert_eq!(negotiated(global(), peer, open).peer_asn, Asn(70000));
    let open = Open { my_as: 23456, ..their_open() };
    assert_eq!(negotiated(global(), super::peer(), open).peer_asn, Asn(65002));
}

#[test]
fn peer_as_rules_decide_what_the_peer_is() {
    let with = |asn: PeerAsn| PeerConfig { asn, ..peer() };
    let ours = || their_open_from(65001);
    let list = PeerAsn::OneOf(vec![Asn(65002), Asn(65001)]);
    let kind = |asn: PeerAsn, open: Open| negotiated(global(), with(asn), open).kind;
    assert_eq!(kind(list.clone(), their_open()), SessionKind::External);
    assert_eq!(kind(list, ours()), SessionKind::Internal);
    assert_eq!(kind(PeerAsn::Any, their_open()), SessionKind::External);
    assert_eq!(kind(PeerAsn::Any, ours()), SessionKind::Internal);
    assert_eq!(kind(PeerAsn::External, their_open()), SessionKind::External);
    assert_eq!(kind(PeerAsn::Internal, ours()), SessionKind::Internal);
    assert_eq!(refused(global(), with(PeerAsn::External), |o| *o = ours()).1, 2);
    assert_eq!(refused(global(), with(PeerAsn::Internal), |_| {}).1, 2);
}

#[test]
fn local_as_is_the_number_the_peer_sees() {
    let peer = PeerConfig { local_asn: Some(Asn(64999)), ..peer() };
    let open = sent_open(global(), peer.clone());
    assert_eq!((open.my_as, open.asn()), (64999, Asn(64999)));
    let agreed = negotiated(global(), peer, their_open());
    assert_eq!((agreed.local_asn, agreed.kind), (Asn(64999), SessionKind::External));
}

#[test]
fn peer_of_the_local_as_is_internal() {
    let peer = PeerConfig { local_asn: Some(Asn(65002)), ..peer() };
    assert_eq!(negotiated(global(), peer, their_open()).kind, SessionKind::Internal);
}

fn confederated() -> GlobalConfig {
    let confederation = Confederation { id: Asn(100), members: vec![Asn(65001), Asn(65002)] };
    GlobalConfig { confederation: Some(confederation), ..global() }
}

#[test]
fn members_of_a_confederation_meet_as_members() {
    let agreed = negotiated(confederated(), peer(), their_open());
    assert_eq!((agreed.kind, agreed.local_asn), (SessionKind::ConfedExternal, Asn(65001)));
    let own = PeerConfig { asn: PeerAsn::Internal, ..peer() };
    let agreed = negotiated(confederated(), own, their_open_from(65001));
    assert_eq!((agreed.kind, agreed.local_asn), (SessionKind::Internal, Asn(65001)));
}

#[test]
fn outsiders_see_the_confederation_only() {
    let outsider = PeerConfig { asn: PeerAsn::OneOf(vec![Asn(200)]), ..peer() };
    let agreed = negotiated(confederated(), outsider, their_open_from(200));
    assert_eq!((agreed.kind, agreed.local_asn), (SessionKind::External, Asn(100)));
    // A member on such a session would get paths meant for outsiders.
    assert_eq!(refused(confederated(), from_any(), |_| {}).1, 2);
    assert_eq!(refused(confederated(), from_any(), |o| *o = their_open_from(100)).1, 2);
}

#[test]
fn identifier_zero_or_our_own_inside_the_as_is_refused() {
    let zero = |o: &mut Open| o.router_id = Ipv4Addr::UNSPECIFIED;
    assert_eq!(refused(global(), peer(), zero), (2, 3, vec![]));
    let internal = PeerConfig { asn: PeerAsn::Internal, ..peer() };
    let same = |o: &mut Open| {
        *o = their_open_from(65001);
        o.router_id = global().router_id;
    };
    assert_eq!(refused(global(), internal, same), (2, 3, vec![]));
}

#[test]
fn any_other_identifier_is_fine() {
    for id in [global().router_id, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST] {
        let open = Open { router_id: id, ..their_open() };
        assert_eq!(negotiated(global(), peer(), open).peer_router_id, id);
    }
}

#[test]
fn hold_time_of_one_or_two_or_below_the_minimum_is_refused() {
    for hold in [1_u16, 2] {
        let data = hold.to_be_bytes().to_vec();
        assert_eq!(refused(global(), peer(), |o| o.hold_time = hold), (2, 6, data));
    }
    let strict = PeerConfig { min_hold_time: secs(20), ..peer() };
    assert_eq!(refused(global(), strict.clone(), |o| o.hold_time = 19), (2, 6, vec![0, 19]));
    let open = Open { hold_time: 20, ..their_open() };
    assert_eq!(negotiated(global(), strict, open).hold_time, secs(20));
}

#[test]
fn smaller_hold_time_counts_and_keepalives_come_three_times_as_often() {
    let agree = |ours: u64, theirs: u16| {
        let peer = PeerConfig { hold_time: secs(ours), ..peer() };
        let agreed = negotiated(global(), peer, Open { hold_time: theirs, ..their_open() });
        (agreed.hold_time.as_secs(), agreed.keepalive_interval.as_secs())
    };
    assert_eq!(agree(90, 30), (30, 10));
    assert_eq!(agree(30, 90), (30, 10));
    assert_eq!(agree(90, 3), (3, 1));
    assert_eq!(agree(0, 90), (0, 0));
    assert_eq!(agree(90, 0), (0, 0));
}

#[test]
fn hold_time_zero_passes_a_minimum() {
    let strict = PeerConfig { min_hold_time: secs(20), ..peer() };
    let open = Open { hold_time: 0, ..their_open() };
    assert_eq!(negotiated(global(), strict, open).hold_time, Duration::ZERO);
}

#[test]
fn no_family_in_common_is_answered_with_those_we_want() {
    let both = PeerConfig { families: Some(families(&Family::SUPPORTED)), ..peer() };
    let other = |o: &mut Open| {
        o.capabilities = vec![Capability::Multiprotocol(Family { afi: 25, safi: 70 })];
    };
    let data = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1];
    assert_eq!(refused(global(), both, other), (2, 7, data));
    let v6 = PeerConfig { families: Some(families(&[Family::IPV6_UNICAST])), ..peer() };
    let none = |o: &mut Open| o.capabilities.clear();
    assert_eq!(refused(global(), v6, none), (2, 7, vec![1, 4, 0, 2, 0, 1]));
}

#[test]
fn peer_without_multiprotocol_speaks_ipv4_unicast() {
    let both = PeerConfig { families: Some(families(&Family::SUPPORTED)), ..peer() };
    let open = Open { capabilities: Vec::new(), ..their_open() };
    let agreed = negotiated(global(), both, open);
    assert_eq!(agreed.families, families(&[Family::IPV4_UNICAST]));
    assert!(!agreed.four_octet_asn && !agreed.route_refresh && !agreed.enhanced_refresh);
    assert_eq!(agreed.max_send_len, MAX_LEN);
}

#[test]
fn unknown_capabilities_and_families_are_ignored() {
    let mut open = their_open();
    open.capabilities.extend([
        Capability::Unknown { code: 200, value: vec![1, 2, 3] },
        Capability::Multiprotocol(Family { afi: 16388, safi: 71 }),
        Capability::Role(77),
        Capability::Fqdn { host: "tor1".to_owned(), domain: String::new() },
    ]);
    let agreed = negotiated(global(), peer(), open);
    assert_eq!(agreed.families, families(&[Family::IPV4_UNICAST]));
}

#[test]
fn extended_messages_go_each_way_as_offered() {
    let lens = |ours: bool, theirs: bool| {
        let peer = PeerConfig { extended_messages: ours, ..peer() };
        let mut open = their_open();
        if theirs {
            open.capabilities.push(Capability::ExtendedMessage);
        }
        let agreed = negotiated(global(), peer, open);
        (agreed.max_send_len, agreed.max_receive_len)
    };
    assert_eq!(lens(true, true), (MAX_EXTENDED_LEN, MAX_EXTENDED_LEN));
    assert_eq!(lens(true, false), (MAX_LEN, MAX_EXTENDED_LEN));
    assert_eq!(lens(false, true), (MAX_LEN, MAX_LEN));
    assert_eq!(lens(false, false), (MAX_LEN, MAX_LEN));
}

#[test]
fn add_path_needs_a_sender_and_a_receiver() {
    let v4 = families(&[Family::IPV4_UNICAST]);
    let agree = |receive: bool, send: u16, theirs: AddPathMode| {
        let peer = PeerConfig { add_path: AddPathConfig { receive, send }, ..peer() };
        let mut open = their_open();
        // A family we did not negotiate is no reason to use it.
        let list = vec![(Family::IPV4_UNICAST, theirs), (Family::IPV6_UNICAST, theirs)];
        open.capabilities.push(Capability::AddPath(list));
        let agreed = negotiated(global(), peer, open);
        (agreed.add_path_receive, agreed.add_path_send)
    };
    let none = FamilySet::EMPTY;
    assert_eq!(agree(true, 4, AddPathMode::Both), (v4, v4));
    assert_eq!(agree(true, 4, AddPathMode::Receive), (none, v4));
    assert_eq!(agree(true, 4, AddPathMode::Send), (v4, none));
    assert_eq!(agree(true, 0, AddPathMode::Both), (v4, none));
    assert_eq!(agree(false, 4, AddPathMode::Both), (none, v4));
    assert_eq!(agree(true, 0, AddPathMode::Receive), (none, none));
    assert_eq!(agree(false, 0, AddPathMode::Both), (none, none));
}

#[test]
fn last_add_path_capability_counts() {
    let peer = PeerConfig { add_path: AddPathConfig { receive: true, send: 4 }, ..peer() };
    let mut open = their_open();
    for mode in [AddPathMode::Both, AddPathMode::Receive] {
        open.capabilities.push(Capability::AddPath(vec![(Family::IPV4_UNICAST, mode)]));
    }
    let agreed = negotiated(global(), peer, open);
    assert!(agreed.add_path_receive.is_empty() && !agreed.add_path_send.is_empty());
}

#[test]
fn extended_next_hop_needs_both_and_the_right_next_hop_family() {
    let agree = |ours: bool, theirs: Vec<(Family, u16)>| {
        let peer = PeerConfig { extended_next_hop: ours, ..peer() };
        let mut open = their_open();
        open.capabilities.push(Capability::ExtendedNextHop(theirs));
        negotiated(global(), peer, open).extended_next_hop
    };
    let v4 = families(&[Family::IPV4_UNICAST]);
    assert_eq!(agree(true, vec![(Family::IPV4_UNICAST, 2)]), v4);
    assert_eq!(agree(true, vec![(Family::IPV4_UNICAST, 1)]), FamilySet::EMPTY);
    assert_eq!(agree(false, vec![(Family::IPV4_UNICAST, 2)]), FamilySet::EMPTY);
    assert_eq!(agree(true, vec![]), FamilySet::EMPTY);
}

#[test]
fn enhanced_refresh_needs_the_plain_one_too() {
    let agree = |plain: bool, enhanced: bool| {
        let mut open = their_open();
        open.capabilities.retain(|c| *c != Capability::RouteRefresh);
        open.capabilities.extend(plain.then_some(Capability::RouteRefresh));
        open.capabilities.extend(enhanced.then_some(Capability::EnhancedRouteRefresh));
        let agreed = negotiated(global(), peer(), open);
        (agreed.route_refresh, agreed.enhanced_refresh)
    };
    assert_eq!(agree(true, true), (true, true));
    assert_eq!(agree(true, false), (true, false));
    assert_eq!(agree(false, true), (false, false));
}

#[test]
fn four_octet_numbers_need_the_capability() {
    assert!(negotiated(global(), peer(), their_open()).four_octet_asn);
    let mut open = their_open();
    open.capabilities.retain(|c| !matches!(c, Capability::FourOctetAsn(_)));
    let agreed = negotiated(global(), peer(), open);
    assert!(!agreed.four_octet_asn);
    assert_eq!(agreed.peer_asn, Asn(65002));
}

#[test]
fn agreement_holds_the_ends_and_both_opens() {
    let agreed = negotiated(global(), peer(), their_open());
    assert_eq!(agreed.local, SocketAddr::new(LOCAL, 40000));
    assert_eq!(agreed.remote, SocketAddr::new(REMOTE, 179));
    assert_eq!(agreed.received, their_open());
    assert_eq!(agreed.sent, sent_open(global(), peer()));
    let context = agreed.update_context(&peer());
    assert!(context.enforce_first_as && context.four_octet_asn);
    assert_eq!(context.peer_asn, Asn(65002));
}

#[test]
fn refused_open_leaves_a_reason_with_numbers() {
    let mut bench = Bench::started();
    let id = bench.connected();
    bench.give(Input::Open(id, their_open_from(65009)));
    let error = bench.session.last_error().expect("an error");
    assert_eq!((error.direction, error.code, error.subcode), (ErrorDirection::Sent, 2, 2));
    assert_eq!(error.text, "OPEN Message Error/Bad Peer AS (2/2): AS 65009, expected 65002");
    assert_eq!(error.at, bench.now);
}
