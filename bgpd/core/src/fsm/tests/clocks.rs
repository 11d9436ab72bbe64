//! Timers: hold, keep-alive, connect-retry, back-off, send-hold.

use super::*;

const EXPIRED: Notification = Notification { code: 4, subcode: 0, data: bytes::Bytes::new() };
const SEND_HOLD: Notification = Notification { code: 8, subcode: 0, data: bytes::Bytes::new() };

fn holding(hold_time: u16) -> (Bench, ConnectionId) {
    let open = Open { hold_time, ..their_open() };
    let peer = PeerConfig { hold_time: secs(u64::from(hold_time)), ..peer() };
    Bench::established_with(global(), peer, open)
}

#[test]
fn silent_peer_loses_the_session_after_the_hold_time() {
    let (mut bench, id) = holding(90);
    bench.advance(secs(90) - Duration::from_millis(1));
    assert_eq!(bench.state(), State::Established);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.notified(id), [EXPIRED]);
    assert_eq!(bench.state(), State::Idle);
}

#[test]
fn keepalives_and_updates_restart_the_hold_timer() {
    let (mut bench, id) = holding(9);
    for n in 0..20 {
        bench.advance(secs(8));
        bench.give(if n % 2 == 0 { Input::KeepAlive(id) } else { Input::Update(id) });
    }
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn message_that_comes_late_counts_before_the_clock_does() {
    let (mut bench, id) = holding(9);
    bench.now += secs(10);
    bench.give(Input::KeepAlive(id));
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn hold_timer_runs_before_and_between_the_opens() {
    let mut bench = Bench::started();
    let id = bench.connected();
    bench.advance(secs(239));
    assert_eq!(bench.state(), State::OpenSent);
    bench.advance(secs(1));
    assert_eq!(bench.notified(id), [EXPIRED]);

    let mut bench = Bench::started();
    let id = bench.connected();
    bench.give(Input::Open(id, Open { hold_time: 12, ..their_open() }));
    bench.advance(secs(12));
    assert_eq!(bench.notified(id), [EXPIRED]);
}

#[test]
fn keepalives_go_out_at_a_third_of_the_hold_time_with_jitter() {
    let (mut bench, id) = holding(9);
    let mut gaps = Vec::new();
    let mut last = bench.now;
    for _ in 0..50 {
        while !bench.sent_keepalive(id) || bench.now == last {
            bench.now = bench.session.next_deadline().expect("a timer runs");
            bench.give(Input::Tick);
            if bench.sent_keepalive(id) {
                break;
            }
        }
        gaps.push(bench.now - last);
        last = bench.now;
        bench.give(Input::KeepAlive(id));
    }
    let (least, most) = (gaps.iter().min().expect("some"), gaps.iter().max().expect("some"));
    assert!(*least >= Duration::from_millis(2250) && *most <= secs(3), "{least:?} {most:?}");
    assert!(*most - *least > Duration::from_millis(300), "no jitter: {least:?} {most:?}");
}

#[test]
fn hold_time_zero_means_no_timers_but_one_keepalive() {
    let mut bench = Bench::started();
    let id = bench.connected();
    bench.give(Input::Open(id, Open { hold_time: 0, ..their_open() }));
    assert!(bench.sent_keepalive(id));
    bench.give(Input::KeepAlive(id));
    assert_eq!(bench.session.next_deadline(), None);
    assert!(bench.advance(secs(100_000)).is_empty());
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn hold_time_zero_does_not_mean_to_wait_for_the_keepalive_forever() {
    let mut bench = Bench::started();
    let id = bench.connected();
    bench.give(Input::Open(id, Open { hold_time: 0, ..their_open() }));
    bench.advance(secs(240));
    assert_eq!(bench.notified(id), [EXPIRED]);
}

#[test]
fn peer_that_takes_nothing_loses_the_session_after_the_send_hold_time() {
    let (mut bench, id) = holding(90);
    let mut ended = None;
    for minute in 1..=8 {
        for _ in 0..2 {
            bench.give(Input::KeepAlive(id));
            bench.advance(secs(30));
        }
        ended = (!bench.notified(id).is_empty()).then_some(minute);
    }
    assert_eq!(ended, Some(8));
    assert_eq!(bench.notified(id), [SEND_HOLD]);
    assert_eq!(bench.state(), State::Idle);
}

#[test]
fn progress_restarts_the_send_hold_timer() {
    let (mut bench, id) = holding(90);
    for _ in 0..40 {
        bench.give(Input::Progress(id));
        bench.give(Input::KeepAlive(id));
        bench.advance(secs(60));
    }
    assert_eq!(bench.state(), State::Established);
    let left = bench.session.timers().send_hold.expect("runs") - bench.now;
    assert_eq!(left, secs(420));
}

#[test]
fn long_hold_times_lengthen_the_send_hold_time() {
    let (bench, _) = holding(600);
    assert_eq!(bench.session.timers().send_hold, Some(bench.now + secs(1200)));
}

#[test]
fn attempts_are_spaced_by_connect_retry() {
    let mut bench = Bench::started();
    let mut gaps = Vec::new();
    for _ in 0..40 {
        let connection = bench.attempt().expect("an attempt");
        bench.give(Input::ConnectFailed { connection, why: "refused".to_owned() });
        let failed = bench.now;
        bench.now = bench.session.next_deadline().expect("connect-retry runs");
        gaps.push(bench.now - failed);
        bench.give(Input::Tick);
    }
    assert!(gaps[0] >= Duration::from_millis(7500) && gaps[0] <= secs(10), "{gaps:?}");
    assert!(gaps[2..].iter().all(|g| *g >= secs(15) && *g <= secs(20)), "{gaps:?}");
    assert_eq!(bench.session.connect_retry_counter(), 40);
}

/// The pauses in Idle when every session ends the same way.
fn pauses(rounds: usize, mut round: impl FnMut(&mut Bench)) -> Vec<Duration> {
    let mut bench = Bench::started();
    let mut pauses = Vec::new();
    for _ in 0..rounds {
        round(&mut bench);
        assert_eq!(bench.state(), State::Idle);
        let until = bench.session.timers().idle_hold.expect("a pause");
        pauses.push(until - bench.now);
        bench.now = until;
        bench.give(Input::Tick);
        assert_eq!(bench.state(), State::Connect);
    }
    pauses
}

fn within(pause: Duration, longest: u64) -> bool {
    pause <= secs(longest) && pause >= secs(longest) * 3 / 4
}

#[test]
fn pauses_double_while_a_peer_establishes_and_then_sends_garbage() {
    let pauses = pauses(9, |bench| {
        let id = bench.connected();
        bench.give(Input::Open(id, their_open()));
        bench.give(Input::KeepAlive(id));
        bench.advance(secs(1));
        bench.give(Input::Malformed(id, Notification::new(3, 1)));
    });
    let expected = [1, 10, 20, 40, 80, 160, 320, 320, 320];
    for (pause, longest) in pauses.iter().zip(expected) {
        assert!(within(*pause, longest), "{pauses:?}");
    }
}

#[test]
fn pauses_start_afresh_after_a_stable_session() {
    let mut stay = [0, 0, 0, 61, 0].into_iter();
    let pauses = pauses(5, |bench| {
        let id = bench.connected();
        bench.give(Input::Open(id, Open { hold_time: 300, ..their_open() }));
        bench.give(Input::KeepAlive(id));
        bench.advance(secs(stay.next().expect("five rounds")));
        bench.give(Input::Closed { connection: id, why: "reset".to_owned() });
    });
    for (pause, longest) in pauses.iter().zip([1, 10, 20, 1, 10]) {
        assert!(within(*pause, longest), "{pauses:?}");
    }
}

#[test]
fn version_error_from_the_peer_does_not_lengthen_the_pause() {
    let pauses = pauses(4, |bench| {
        let id = bench.connected();
        bench.give(Input::Notification(id, Notification::new(2, 1)));
    });
    assert!(pauses.iter().all(|pause| within(*pause, 1)), "{pauses:?}");
}

#[test]
fn jitter_differs_by_seed_and_repeats_by_seed() {
    let first_keepalive = |seed| {
        let mut session = Session::new(global(), peer(), REMOTE, seed);
        let (now, mut out) = (start(), Vec::new());
        session.handle(now, Input::Start, &mut out);
        let why = String::new();
        session.handle(now, Input::ConnectFailed { connection: ConnectionId(0), why }, &mut out);
        session.next_deadline().expect("connect-retry") - now
    };
    let lengths: Vec<_> = (0..20).map(first_keepalive).collect();
    let again: Vec<_> = (0..20).map(first_keepalive).collect();
    assert_eq!(lengths, again);
    assert!(lengths.iter().collect::<std::collections::BTreeSet<_>>().len() > 10);
}

#[test]
fn timers_show_what_runs() {
    let mut bench = Bench::new(global(), peer());
    assert_eq!(bench.session.timers(), Timers::default());
    bench.give(Input::Start);
    let timers = bench.session.timers();
    assert!(timers.connect_retry.is_some() && timers.hold.is_none());
    let (bench, _) = holding(90);
    let timers = bench.session.timers();
    assert_eq!(timers.hold, Some(bench.now + secs(90)));
    assert!(timers.keepalive.is_some() && timers.send_hold.is_some());
    assert!(timers.connect_retry.is_none() && timers.idle_hold.is_none());
}
