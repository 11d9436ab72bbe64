//! What each message does in each state, and what TCP events do (RFC 4271 §8.2.2).

use bgp_packet::{Family, FamilySet, RefreshKind, RouteRefresh, notification::code};

use super::*;

const REQUEST: RouteRefresh =
    RouteRefresh { family: Family::IPV4_UNICAST, kind: RefreshKind::Request };

fn open_sent() -> (Bench, ConnectionId) {
    let mut bench = Bench::started();
    let id = bench.connected();
    assert_eq!(bench.state(), State::OpenSent);
    (bench, id)
}

fn open_confirm() -> (Bench, ConnectionId) {
    let (mut bench, id) = open_sent();
    bench.give(Input::Open(id, their_open()));
    assert_eq!(bench.state(), State::OpenConfirm);
    (bench, id)
}

fn in_each_state() -> [(State, Bench, ConnectionId); 3] {
    let (a, ai) = open_sent();
    let (b, bi) = open_confirm();
    let (c, ci) = Bench::established();
    [(State::OpenSent, a, ai), (State::OpenConfirm, b, bi), (State::Established, c, ci)]
}

/// The one NOTIFICATION the input is answered with; the session must be down by then.
fn answer(bench: &mut Bench, id: ConnectionId, input: Input) -> (u8, u8, Vec<u8>) {
    bench.give(input);
    let sent = bench.notified(id);
    assert_eq!(sent.len(), 1, "expected one NOTIFICATION, got {:?}", bench.out);
    assert!(bench.closed(id));
    assert_eq!(bench.state(), State::Idle);
    (sent[0].code, sent[0].subcode, sent[0].data.to_vec())
}

#[test]
fn unexpected_messages_are_fsm_errors_with_their_type() {
    let (mut bench, id) = open_sent();
    assert_eq!(answer(&mut bench, id, Input::KeepAlive(id)), (5, 1, vec![4]));
    let (mut bench, id) = open_sent();
    assert_eq!(answer(&mut bench, id, Input::Update(id)), (5, 1, vec![2]));
    let (mut bench, id) = open_sent();
    assert_eq!(answer(&mut bench, id, Input::RouteRefresh(id, REQUEST)), (5, 1, vec![5]));
    let (mut bench, id) = open_confirm();
    assert_eq!(answer(&mut bench, id, Input::Open(id, their_open())), (5, 2, vec![1]));
    let (mut bench, id) = open_confirm();
    assert_eq!(answer(&mut bench, id, Input::Update(id)), (5, 2, vec![2]));
    let (mut bench, id) = open_confirm();
    assert_eq!(answer(&mut bench, id, Input::RouteRefresh(id, REQUEST)), (5, 2, vec![5]));
    let (mut bench, id) = Bench::established();
    assert_eq!(answer(&mut bench, id, Input::Open(id, their_open())), (5, 3, vec![1]));
    assert!(bench.out.contains(&Output::Down(id, FamilySet::EMPTY)));
}

#[test]
fn update_and_keepalive_keep_an_established_session_up() {
    let (mut bench, id) = Bench::established();
    assert!(bench.give(Input::Update(id)).is_empty());
    assert!(bench.give(Input::KeepAlive(id)).is_empty());
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn received_notification_is_never_answered() {
    for (state, mut bench, id) in in_each_state() {
        bench.give(Input::Notification(id, Notification::new(6, 4)));
        assert!(bench.notified(id).is_empty(), "{state:?}");
        assert!(bench.closed(id), "{state:?}");
        assert_eq!(bench.state(), State::Idle, "{state:?}");
        let error = bench.session.last_error().expect("an error");
        assert_eq!(error.direction, ErrorDirection::Received);
        assert_eq!((error.code, error.subcode), (6, 4));
        let down = bench.out.contains(&Output::Down(id, FamilySet::EMPTY));
        assert_eq!(down, state == State::Established);
    }
}

#[test]
fn lost_tcp_before_the_open_leaves_us_listening() {
    let (mut bench, id) = open_sent();
    bench.give(Input::Closed { connection: id, why: "reset by peer".to_owned() });
    assert_eq!(bench.state(), State::Active);
    assert!(bench.session.timers().connect_retry.is_some());
    assert!(bench.session.accept(bench.now).is_some());
}

#[test]
fn lost_tcp_after_the_open_leads_to_idle() {
    for (mut bench, id) in [open_confirm(), Bench::established()] {
        bench.give(Input::Closed { connection: id, why: "reset by peer".to_owned() });
        assert_eq!(bench.state(), State::Idle);
        assert!(bench.notified(id).is_empty());
        assert!(bench.session.timers().idle_hold.is_some());
        let error = bench.session.last_error().expect("an error");
        assert_eq!((error.direction, error.code), (ErrorDirection::Local, 0));
        assert_eq!(error.text, "reset by peer");
    }
}

#[test]
fn malformed_message_is_answered_as_its_decoder_says() {
    for (state, mut bench, id) in in_each_state() {
        let told = Notification { code: 1, subcode: 3, data: vec![9].into() };
        assert_eq!(
            answer(&mut bench, id, Input::Malformed(id, told)),
            (1, 3, vec![9]),
            "{state:?}"
        );
    }
}

#[test]
fn failed_attempt_does_not_hide_what_the_peer_told_us() {
    let (mut bench, established) = Bench::established();
    let told = Notification::new(code::OPEN, 2);
    bench.give(Input::Notification(established, told));
    for _ in 0..3 {
        bench.advance(secs(20));
        if let Some(connection) = bench.attempt() {
            bench.give(Input::ConnectFailed { connection, why: "refused".to_owned() });
        }
    }
    let error = bench.session.last_error().expect("an error");
    assert_eq!((error.code, error.subcode), (code::OPEN, 2), "{}", error.text);
}

#[test]
fn failed_attempt_leaves_us_active_until_connect_retry() {
    let mut bench = Bench::started();
    let connection = bench.attempt().expect("an attempt");
    bench.give(Input::ConnectFailed { connection, why: "refused".to_owned() });
    assert_eq!(bench.state(), State::Active);
    assert_eq!(bench.session.last_error().map(|e| e.text.as_str()), Some("refused"));
    bench.advance(secs(10));
    assert_eq!(bench.state(), State::Connect);
    let again = bench.attempt().expect("another attempt");
    assert!(again > connection);
}

#[test]
fn attempt_without_an_answer_gives_way_to_the_next() {
    let mut bench = Bench::started();
    let first = bench.attempt().expect("an attempt");
    bench.advance(secs(10));
    assert!(bench.closed(first));
    assert!(bench.attempt().is_some());
    assert_eq!(bench.state(), State::Connect);
    // What the first one still says concerns nobody, but its socket must go.
    let end = SocketAddr::new(REMOTE, 179);
    bench.give(Input::Connected { connection: first, local: end, remote: end });
    assert_eq!(bench.out, [Output::Close(first)]);
    assert_eq!(bench.state(), State::Connect);
}

#[test]
fn passive_session_waits_and_accepts() {
    let mut bench = Bench::passive();
    assert_eq!(bench.state(), State::Active);
    assert_eq!(bench.session.next_deadline(), None);
    let id = bench.accepted();
    bench.give(Input::Open(id, their_open()));
    bench.give(Input::KeepAlive(id));
    assert_eq!(bench.state(), State::Established);
    bench.give(Input::Closed { connection: id, why: "gone".to_owned() });
    bench.advance(secs(3600));
    assert_eq!(bench.state(), State::Active);
    assert_eq!(bench.attempt(), None);
}

#[test]
fn dynamic_peers_are_never_connected_to() {
    let prefix = "192.0.2.0/24".parse().expect("a prefix");
    let address = PeerAddress::Dynamic { prefix, max_peers: 10 };
    let mut bench = Bench::new(global(), PeerConfig { address, ..peer() });
    bench.give(Input::Start);
    bench.advance(secs(1000));
    assert_eq!((bench.state(), bench.attempt()), (State::Active, None));
}

#[test]
fn nothing_is_accepted_while_down_or_pausing() {
    let mut bench = Bench::new(global(), peer());
    assert_eq!(bench.session.accept(bench.now), None);
    bench.give(Input::Start);
    let id = bench.connected();
    bench.give(Input::KeepAlive(id));
    assert_eq!(bench.state(), State::Idle);
    assert_eq!(bench.session.accept(bench.now), None);
    bench.advance(secs(2));
    assert!(bench.session.accept(bench.now).is_some());
}

#[test]
fn connection_accepted_too_late_is_closed() {
    let mut bench = Bench::passive();
    let connection = bench.session.accept(bench.now).expect("room");
    bench.give(Input::Stop(StopReason::AdminShutdown(String::new())));
    let end = SocketAddr::new(REMOTE, 40000);
    bench.give(Input::Accepted { connection, local: end, remote: end });
    assert_eq!(bench.out, [Output::Close(connection)]);
    assert_eq!(bench.state(), State::Idle);
}

#[test]
fn refresh_is_passed_on_for_negotiated_families_only() {
    let (mut bench, id) = Bench::established();
    assert_eq!(bench.give(Input::RouteRefresh(id, REQUEST)), [Output::Refresh(REQUEST)]);
    for family in [Family::IPV6_UNICAST, Family { afi: 9, safi: 9 }] {
        let refresh = RouteRefresh { family, ..REQUEST };
        assert!(bench.give(Input::RouteRefresh(id, refresh)).is_empty());
    }
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn without_enhanced_refresh_the_subtype_is_a_reserved_octet() {
    let (mut bench, id) = Bench::established();
    for kind in [RefreshKind::Begin, RefreshKind::End, RefreshKind::Other(7)] {
        let refresh = RouteRefresh { kind, ..REQUEST };
        assert_eq!(bench.give(Input::RouteRefresh(id, refresh)), [Output::Refresh(REQUEST)]);
    }
}

#[test]
fn with_enhanced_refresh_brackets_pass_and_unknown_subtypes_do_not() {
    let mut open = their_open();
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    let (mut bench, id) = Bench::established_with(global(), peer(), open);
    for kind in [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End] {
        let refresh = RouteRefresh { kind, ..REQUEST };
        assert_eq!(bench.give(Input::RouteRefresh(id, refresh)), [Output::Refresh(refresh)]);
    }
    let other = RouteRefresh { kind: RefreshKind::Other(3), ..REQUEST };
    assert!(bench.give(Input::RouteRefresh(id, other)).is_empty());
}

#[test]
fn peer_that_rejects_capabilities_gets_an_open_without_at_once() {
    let (mut bench, id) = open_sent();
    bench.give(Input::Notification(id, Notification::new(2, 4)));
    let plain = bench.connected();
    let Some(Output::Send(_, Control::Open(open))) = bench.out.first() else {
        panic!("no OPEN in {:?}", bench.out)
    };
    assert_eq!(open.capabilities, []);
    let theirs = Open { capabilities: Vec::new(), ..their_open() };
    bench.give(Input::Open(plain, theirs));
    bench.give(Input::KeepAlive(plain));
    let agreed = bench.session.negotiated().expect("up");
    assert!(!agreed.four_octet_asn);
    assert_eq!(agreed.families, [Family::IPV4_UNICAST].into_iter().collect());

    // Nobody offered route refresh on this connection, so it is a message type we do not know.
    bench.give(Input::RouteRefresh(plain, REQUEST));
    let sent = bench.notified(plain);
    assert_eq!((sent[0].code, sent[0].subcode, &*sent[0].data), (1, 3, &[5][..]));

    // The peer may be a newer one by now.
    bench.advance(secs(2));
    bench.connected();
    assert!(matches!(&bench.out[0],
        Output::Send(_, Control::Open(open)) if !open.capabilities.is_empty()));
}

#[test]
fn fall_back_is_tried_once_and_then_pauses() {
    let (mut bench, id) = open_sent();
    bench.give(Input::Notification(id, Notification::new(2, 4)));
    let plain = bench.connected();
    bench.give(Input::Notification(plain, Notification::new(2, 4)));
    assert_eq!(bench.state(), State::Idle);
    bench.advance(secs(2));
    bench.connected();
    assert!(matches!(&bench.out[0],
        Output::Send(_, Control::Open(open)) if !open.capabilities.is_empty()));
}

#[test]
fn session_that_needs_capabilities_has_nothing_to_fall_back_to() {
    let families = Some([Family::IPV6_UNICAST].into_iter().collect());
    let mut bench = Bench::new(global(), PeerConfig { families, ..peer() });
    bench.give(Input::Start);
    let id = bench.connected();
    bench.give(Input::Notification(id, Notification::new(2, 4)));
    assert_eq!((bench.state(), bench.attempt()), (State::Idle, None));
}

#[test]
fn peer_that_does_not_know_us_yet_may_still_connect() {
    let (mut bench, id) = open_sent();
    bench.give(Input::Notification(id, Notification::new(6, 5)));
    assert_eq!(bench.state(), State::Active);
    assert!(bench.session.accept(bench.now).is_some());
}

#[test]
fn unsupported_capability_is_not_retried_fast() {
    let (mut bench, id) = open_sent();
    bench.give(Input::Notification(id, Notification::new(2, 7)));
    bench.advance(secs(29));
    assert_eq!((bench.state(), bench.attempt()), (State::Idle, None));
    bench.advance(secs(60));
    assert!(bench.attempt().is_some());
}

#[test]
fn changes_of_state_are_reported_with_their_reason() {
    let (mut bench, id) = Bench::established();
    let since = bench.now;
    bench.advance(secs(20));
    assert_eq!(bench.session.state_since(), Some(since));
    let text = Notification { code: 6, subcode: 2, data: b"\x05nap\x1b!".to_vec().into() };
    bench.give(Input::Notification(id, text));
    let Some(Output::StateChanged { from, to, why }) = bench.out.last() else {
        panic!("no report in {:?}", bench.out)
    };
    assert_eq!((*from, *to), (State::Established, State::Idle));
    assert_eq!(&**why, "Cease/Administrative Shutdown (6/2): nap\u{fffd}!");
    assert_eq!(bench.session.state_since(), Some(bench.now));
    assert_eq!((bench.session.flaps(), bench.session.established_at()), (1, None));
}

#[test]
fn session_without_a_readable_password_stays_down_and_says_so() {
    let broken = PeerConfig { password_error: Some("key: no such file".to_owned()), ..peer() };
    let mut bench = Bench::new(global(), broken.clone());
    assert!(bench.give(Input::Start).is_empty());
    assert_eq!(bench.session.accept(bench.now), None);
    assert_eq!(bench.session.last_error().map(|e| e.text.as_str()), Some("key: no such file"));
    bench.give(Input::Stop(StopReason::AdminReset(String::new())));
    assert_eq!(bench.state(), State::Idle);
    bench.give(Input::Reconfigure(Box::new((global(), peer()))));
    assert_eq!(bench.state(), State::Connect);
    // And a session that ran stops running when its key goes.
    bench.give(Input::Reconfigure(Box::new((global(), broken))));
    bench.give(Input::Stop(StopReason::ConfigChange));
    assert_eq!((bench.state(), bench.session.is_down()), (State::Idle, true));
}
