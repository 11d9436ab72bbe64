//! Two connections at a time (RFC 4271 §6.8).

use super::*;

const COLLISION: Notification = Notification { code: 6, subcode: 7, data: bytes::Bytes::new() };

/// Both connections up, both OPENs out: outbound, inbound.
fn two(global: GlobalConfig) -> (Bench, ConnectionId, ConnectionId) {
    let mut bench = Bench::new(global, peer());
    bench.give(Input::Start);
    let outbound = bench.connected();
    let inbound = bench.accepted();
    (bench, outbound, inbound)
}

/// We are 10.0.0.1, the peer 10.0.0.2.
fn lower() -> GlobalConfig {
    global()
}

fn higher() -> GlobalConfig {
    GlobalConfig { router_id: Ipv4Addr::new(10, 0, 0, 3), ..global() }
}

fn check_verdict(global: GlobalConfig, open: &Open, outbound_stays: bool) {
    for outbound_first in [true, false] {
        let (mut bench, outbound, inbound) = two(global.clone());
        let order = if outbound_first { [outbound, inbound] } else { [inbound, outbound] };
        bench.give(Input::Open(order[0], open.clone()));
        assert!(bench.notified(order[1]).is_empty(), "the other OPEN may never come");
        bench.give(Input::Open(order[1], open.clone()));
        let (stays, goes) = if outbound_stays { (outbound, inbound) } else { (inbound, outbound) };
        assert_eq!(bench.notified(goes), [COLLISION]);
        assert!(bench.closed(goes) && !bench.closed(stays));
        assert_eq!(bench.state(), State::OpenConfirm);
        bench.give(Input::KeepAlive(stays));
        assert_eq!(bench.session.established_connection(), Some(stays));
    }
}

#[test]
fn connection_of_the_higher_identifier_stays() {
    check_verdict(lower(), &their_open(), false);
    check_verdict(higher(), &their_open(), true);
}

#[test]
fn identifiers_compare_as_unsigned_numbers() {
    let open = Open { router_id: Ipv4Addr::new(200, 0, 0, 1), ..their_open() };
    check_verdict(lower(), &open, false);
    let high = GlobalConfig { router_id: Ipv4Addr::new(200, 0, 0, 1), ..global() };
    check_verdict(high, &their_open(), true);
}

#[test]
fn equal_identifiers_fall_back_to_the_larger_as() {
    let same = Open { router_id: global().router_id, ..their_open() };
    check_verdict(lower(), &same, false); // 65001 against 65002
    let larger = GlobalConfig { asn: Asn(65003), ..global() };
    check_verdict(larger, &same, true);
}

#[test]
fn valid_open_ends_an_attempt_that_is_under_way() {
    let mut bench = Bench::started();
    let attempt = bench.attempt().expect("an attempt");
    let inbound = bench.accepted();
    assert!(!bench.closed(attempt), "the peer may yet be silent on its connection");
    bench.give(Input::Open(inbound, their_open()));
    assert!(bench.closed(attempt));
    bench.give(Input::KeepAlive(inbound));
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn silent_inbound_connection_does_not_stop_our_attempts() {
    let mut bench = Bench::started();
    let connection = bench.attempt().expect("an attempt");
    bench.accepted();
    bench.give(Input::ConnectFailed { connection, why: "refused".to_owned() });
    assert_eq!(bench.state(), State::OpenSent);
    bench.advance(secs(10));
    let outbound = bench.connected();
    bench.give(Input::Open(outbound, their_open()));
    bench.give(Input::KeepAlive(outbound));
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn bad_open_is_refused_before_any_comparison() {
    let (mut bench, outbound, inbound) = two(lower());
    bench.give(Input::Open(outbound, their_open()));
    let bad = Open { hold_time: 1, ..their_open() };
    bench.give(Input::Open(inbound, bad));
    assert_eq!(bench.notified(inbound)[0].subcode, 6);
    assert_eq!(bench.state(), State::OpenConfirm);
    bench.give(Input::KeepAlive(outbound));
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn loss_of_one_connection_leaves_the_other_alone() {
    for lost_outbound in [true, false] {
        let (mut bench, outbound, inbound) = two(lower());
        let (lost, kept) = if lost_outbound { (outbound, inbound) } else { (inbound, outbound) };
        bench.give(Input::Closed { connection: lost, why: "reset".to_owned() });
        assert_eq!(bench.state(), State::OpenSent);
        bench.give(Input::Open(kept, their_open()));
        bench.give(Input::KeepAlive(kept));
        assert_eq!(bench.session.established_connection(), Some(kept));
    }
}

#[test]
fn new_connection_beside_an_established_session_is_rejected_after_its_open() {
    for global in [lower(), higher()] {
        let (mut bench, id) = Bench::established_with(global, peer(), their_open());
        bench.advance(secs(11));
        let new = bench.accepted();
        bench.give(Input::Open(new, their_open()));
        assert_eq!(bench.notified(new), [COLLISION]);
        assert_eq!(bench.session.established_connection(), Some(id));
        assert_eq!(bench.session.flaps(), 0);
    }
}

#[test]
fn there_is_no_room_for_a_third_connection() {
    let (mut bench, outbound, _) = two(lower());
    let newer = bench.accepted();
    // The peer has given up its first one.
    assert_eq!(bench.notified(ConnectionId(newer.0 - 1)), [COLLISION]);
    bench.give(Input::Open(outbound, their_open()));
    bench.give(Input::KeepAlive(outbound));
    assert_eq!(bench.session.established_connection(), Some(outbound));

    let mut bench = Bench::started();
    let inbound = bench.accepted();
    let attempt = ConnectionId(0);
    let end = SocketAddr::new(REMOTE, 179);
    bench.give(Input::Connected { connection: attempt, local: end, remote: end });
    bench.give(Input::Open(inbound, their_open()));
    bench.give(Input::KeepAlive(inbound));
    assert_eq!(bench.session.accept(bench.now), None, "established and one more are up");
}

/// Established on the connection that would lose, before the other OPEN has come.
fn contended() -> (Bench, ConnectionId, ConnectionId) {
    let (mut bench, outbound, inbound) = two(lower());
    bench.give(Input::Open(outbound, their_open()));
    bench.give(Input::KeepAlive(outbound));
    assert_eq!(bench.session.established_connection(), Some(outbound));
    bench.give(Input::Open(inbound, their_open()));
    assert!(bench.out.is_empty(), "the peer knows what it chose: {:?}", bench.out);
    (bench, outbound, inbound)
}

#[test]
fn peer_that_closes_the_established_one_finds_the_other_alive() {
    let (mut bench, outbound, inbound) = contended();
    bench.give(Input::Notification(outbound, COLLISION));
    assert!(bench.out.contains(&Output::Down(outbound, FamilySet::EMPTY)));
    assert!(bench.sent_keepalive(inbound));
    bench.give(Input::KeepAlive(inbound));
    assert_eq!(bench.session.established_connection(), Some(inbound));
}

#[test]
fn keepalive_on_the_waiting_connection_is_the_peers_choice() {
    let (mut bench, outbound, inbound) = contended();
    bench.give(Input::KeepAlive(inbound));
    assert_eq!(bench.notified(outbound), [COLLISION]);
    let down = bench.out.iter().position(|o| *o == Output::Down(outbound, FamilySet::EMPTY));
    let up = bench.out.iter().position(|o| matches!(o, Output::Established(..)));
    assert!(down < up && down.is_some(), "{:?}", bench.out);
    assert_eq!(bench.session.established_connection(), Some(inbound));
}

#[test]
fn peer_that_stays_with_the_established_one_closes_the_other() {
    let (mut bench, outbound, inbound) = contended();
    bench.give(Input::Notification(inbound, COLLISION));
    assert_eq!(bench.session.established_connection(), Some(outbound));
    assert_eq!(bench.session.flaps(), 0);
}

#[test]
fn waiting_for_the_verdict_ends() {
    let (mut bench, outbound, inbound) = contended();
    bench.advance(secs(10));
    assert_eq!(bench.notified(inbound), [COLLISION]);
    assert_eq!(bench.session.established_connection(), Some(outbound));
}

#[test]
fn loser_of_a_collision_may_connect_again_without_a_pause_in_idle() {
    let mut bench = Bench::started();
    let id = bench.connected();
    bench.give(Input::Notification(id, COLLISION));
    assert_eq!(bench.state(), State::Active);
    assert!(bench.session.accept(bench.now).is_some());
}
