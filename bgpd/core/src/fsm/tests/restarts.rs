//! Graceful restart (RFC 4724): what of a peer outlives its session, and for how long.

use bgp_packet::{Family, FamilySet, notification::code};

use super::*;
use crate::config::GracefulRestart;

const V4: Family = Family::IPV4_UNICAST;

fn v4() -> FamilySet {
    [V4].into_iter().collect()
}

fn ours() -> PeerConfig {
    let graceful_restart = Some(GracefulRestart { restart_time: secs(90) });
    PeerConfig { graceful_restart, ..peer() }
}

fn capability(restarting: bool, restart_time: u16, families: &[(Family, bool)]) -> Capability {
    let families = families.to_vec();
    Capability::GracefulRestart { restarting, notification: false, restart_time, families }
}

fn theirs(capability: Capability) -> Open {
    let mut open = their_open();
    open.capabilities.push(capability);
    open
}

fn graceful() -> (Bench, ConnectionId) {
    let open = theirs(capability(false, 60, &[(V4, true)]));
    Bench::established_with(global(), ours(), open)
}

fn lose(bench: &mut Bench, connection: ConnectionId) {
    bench.give(Input::Closed { connection, why: "reset".to_owned() });
}

/// What the last call said of the session's routes.
fn fate(bench: &Bench) -> Vec<&Output> {
    let told = |output: &&Output| matches!(output, Output::Down(..) | Output::Forget);
    bench.out.iter().filter(told).collect()
}

/// What our OPEN on a connection said of restarts.
fn said(bench: &Bench) -> Option<Capability> {
    bench.out.iter().find_map(|output| match output {
        Output::Send(_, Control::Open(open)) => open
            .capabilities
            .iter()
            .find(|known| matches!(known, Capability::GracefulRestart { .. }))
            .cloned(),
        _ => None,
    })
}

#[test]
fn routes_of_a_peer_whose_connection_is_lost_are_kept_for_the_time_it_asked_for() {
    let (mut bench, id) = graceful();
    lose(&mut bench, id);
    assert_eq!(fate(&bench), [&Output::Down(id, v4())]);
    bench.advance(secs(59));
    assert_eq!(fate(&bench), Vec::<&Output>::new());
    bench.advance(secs(1));
    assert_eq!(fate(&bench), [&Output::Forget]);
    bench.advance(secs(1000));
    assert_eq!(fate(&bench), Vec::<&Output>::new(), "once");
}

#[test]
fn nothing_is_kept_where_one_of_both_does_not_restart_gracefully() {
    let open = || theirs(capability(false, 60, &[(V4, true)]));
    let cases = [
        (peer(), open(), "we do not"),
        (ours(), their_open(), "the peer does not"),
        (ours(), theirs(capability(false, 60, &[])), "it keeps ours only"),
        (ours(), theirs(capability(false, 0, &[(V4, true)])), "no time"),
        (ours(), theirs(capability(false, 60, &[(Family::IPV6_UNICAST, true)])), "not spoken"),
    ];
    for (config, open, why) in cases {
        let (mut bench, id) = Bench::established_with(global(), config, open);
        lose(&mut bench, id);
        assert_eq!(fate(&bench), [&Output::Down(id, FamilySet::EMPTY)], "{why}");
        bench.advance(secs(100));
        assert_eq!(fate(&bench), Vec::<&Output>::new(), "{why}");
    }
}

#[test]
fn nothing_is_kept_past_a_notification_or_a_link_that_is_gone() {
    let endings: [fn(ConnectionId) -> Input; 4] = [
        |id| Input::Notification(id, Notification::new(code::CEASE, 2)),
        |id| Input::Malformed(id, Notification::new(code::UPDATE, 1)),
        |connection| Input::Cut { connection, why: "link is down".to_owned() },
        |_| Input::Stop(StopReason::AdminReset(String::new())),
    ];
    for ending in endings {
        let (mut bench, id) = graceful();
        bench.give(ending(id));
        assert_eq!(fate(&bench), [&Output::Down(id, FamilySet::EMPTY)]);
    }
    let (mut bench, id) = graceful();
    bench.advance(secs(90));
    assert_eq!(fate(&bench), [&Output::Down(id, FamilySet::EMPTY)], "hold timer");
}

#[test]
fn a_peer_that_restarts_is_not_refused_when_it_is_back() {
    let (mut bench, id) = graceful();
    lose(&mut bench, id);
    assert_eq!(bench.state(), State::Active);
    let again = bench.accepted();
    bench.give(Input::Open(again, theirs(capability(true, 60, &[(V4, true)]))));
    bench.give(Input::KeepAlive(again));
    let negotiated = bench.session.negotiated().expect("up").graceful_restart.expect("agreed");
    assert!(negotiated.restarting);
    assert_eq!((negotiated.families, negotiated.preserved), (v4(), v4()));
    assert!(bench.session.timers().restart.is_some());
    // It may take a while to tell its routes, but not for ever.
    for _ in 0..36 {
        bench.advance(secs(9));
        assert_eq!(fate(&bench), Vec::<&Output>::new());
        bench.give(Input::KeepAlive(again));
    }
    bench.advance(secs(36));
    assert_eq!(fate(&bench), [&Output::Forget]);
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn a_stop_ends_the_wait_for_a_peer() {
    let (mut bench, id) = graceful();
    lose(&mut bench, id);
    bench.give(Input::Stop(StopReason::Deconfigured));
    assert_eq!(fate(&bench), [&Output::Forget]);
}

#[test]
fn a_peer_that_connects_again_has_restarted_though_nobody_saw_its_connection_end() {
    let (mut bench, id) = graceful();
    // Later than two that connect to each other at one time.
    bench.advance(secs(20));
    let again = bench.accepted();
    bench.give(Input::Open(again, theirs(capability(true, 60, &[(V4, true)]))));
    assert_eq!(fate(&bench), [&Output::Down(id, v4())]);
    assert_eq!(bench.notified(id), [], "the one before is told nothing");
    assert!(bench.closed(id) && bench.sent_keepalive(again));
    bench.give(Input::KeepAlive(again));
    assert_eq!(bench.session.established_connection(), Some(again));
}

#[test]
fn without_graceful_restart_another_connection_is_still_a_collision() {
    let (mut bench, id) = Bench::established();
    bench.advance(secs(20));
    let again = bench.accepted();
    bench.give(Input::Open(again, theirs(capability(true, 60, &[(V4, true)]))));
    assert_eq!(bench.notified(again).len(), 1);
    assert_eq!(bench.session.established_connection(), Some(id));
}

#[test]
fn our_open_says_that_we_restarted_until_we_have_caught_up() {
    let open = |restarting: bool| {
        let mut bench = Bench::new(global(), ours());
        bench.give(Input::Restarting(restarting));
        bench.give(Input::Start);
        let id = bench.connected();
        (said(&bench), bench, id)
    };
    let families = [(V4, false)];
    assert_eq!(open(false).0, Some(capability(false, 90, &families)), "a fresh start");
    let families = [(V4, true)];
    let (first, mut bench, id) = open(true);
    assert_eq!(first, Some(capability(true, 90, &families)));
    bench.give(Input::Restarting(false));
    bench.give(Input::Open(id, their_open()));
    bench.give(Input::KeepAlive(id));
    lose(&mut bench, id);
    bench.advance(secs(30));
    bench.connected();
    let said = said(&bench);
    assert_eq!(said, Some(capability(false, 90, &families)), "forwarding went on all the same");
}

#[test]
fn a_peer_that_comes_only_after_we_have_caught_up_hears_that_forwarding_went_on() {
    let mut bench = Bench::new(global(), ours());
    bench.give(Input::Restarting(true));
    bench.give(Input::Restarting(false));
    bench.give(Input::Start);
    bench.connected();
    assert_eq!(said(&bench), Some(capability(false, 90, &[(V4, true)])));
}

#[test]
fn a_peer_that_waits_for_us_is_told_nothing_when_we_stop_to_come_back() {
    let (mut bench, id) = graceful();
    bench.give(Input::Stop(StopReason::Restart(String::new())));
    assert_eq!(bench.notified(id), []);
    assert!(bench.closed(id));
    assert_eq!(bench.state(), State::Idle);
    assert_eq!(fate(&bench), [&Output::Down(id, v4())], "the kernel goes on by its routes");
    let (mut bench, id) = Bench::established();
    bench.give(Input::Stop(StopReason::Restart(String::new())));
    assert_eq!(bench.notified(id).len(), 1, "any other learns that we go");
}

/// A peer that was lost and is back, with these families preserved.
fn back(families: &[(Family, bool)]) -> (Bench, ConnectionId) {
    let (mut bench, id) = graceful();
    lose(&mut bench, id);
    let again = bench.accepted();
    bench.give(Input::Open(again, theirs(capability(true, 60, families))));
    bench.give(Input::KeepAlive(again));
    (bench, again)
}

#[test]
fn the_wait_for_what_is_kept_ends_with_the_end_of_the_peers_routes() {
    let (mut bench, id) = back(&[(V4, true)]);
    bench.give(Input::EndOfRib(ConnectionId(u64::MAX), V4));
    bench.give(Input::EndOfRib(id, Family::IPV6_UNICAST));
    assert!(bench.session.timers().restart.is_some(), "not of what is kept");
    bench.give(Input::EndOfRib(id, V4));
    assert_eq!(bench.session.timers().restart, None);
    assert_eq!(bench.state(), State::Established);
    for _ in 0..50 {
        bench.advance(secs(9));
        assert_eq!(fate(&bench), Vec::<&Output>::new(), "nothing is left to forget");
        bench.give(Input::KeepAlive(id));
    }
}

#[test]
fn every_family_that_is_kept_is_waited_for() {
    let v6 = Family::IPV6_UNICAST;
    let families = [(V4, true), (v6, true)];
    let open = |restarting| {
        let mut open = theirs(capability(restarting, 60, &families));
        open.capabilities.push(Capability::Multiprotocol(v6));
        open
    };
    let config = PeerConfig { families: Some([V4, v6].into_iter().collect()), ..ours() };
    let (mut bench, id) = Bench::established_with(global(), config, open(false));
    lose(&mut bench, id);
    let again = bench.accepted();
    bench.give(Input::Open(again, open(true)));
    bench.give(Input::KeepAlive(again));
    bench.give(Input::EndOfRib(again, v6));
    assert!(bench.session.timers().restart.is_some());
    bench.give(Input::EndOfRib(again, V4));
    assert_eq!(bench.session.timers().restart, None);
}

#[test]
fn nothing_is_waited_for_that_the_peer_did_not_go_on_forwarding_by() {
    for families in [&[][..], &[(V4, false)]] {
        let (bench, _) = back(families);
        assert_eq!(bench.session.timers().restart, None, "{families:?}");
    }
}

#[test]
fn a_session_that_was_never_lost_hears_the_end_of_routes_without_a_change() {
    let (mut bench, id) = graceful();
    assert!(bench.give(Input::EndOfRib(id, V4)).is_empty());
    lose(&mut bench, id);
    assert_eq!(fate(&bench), [&Output::Down(id, v4())]);
    bench.give(Input::EndOfRib(id, V4));
    assert!(bench.session.timers().restart.is_some(), "late, of the session that is gone");
}
