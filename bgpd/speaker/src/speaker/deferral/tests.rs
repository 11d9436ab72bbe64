use super::*;

const ONE: PeerId = PeerId(1);
const TWO: PeerId = PeerId(2);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A deferral and the time since its start.
struct Bench {
    deferral: Deferral,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { deferral: Deferral::new(now), start: now, now }
    }

    /// All peers are known at once.
    fn of(graceful: &[PeerId]) -> Self {
        let mut bench = Self::new();
        bench.named(graceful);
        bench
    }

    /// Those are, and there are templates of others.
    fn of_templates(graceful: &[PeerId]) -> Self {
        let mut bench = Self::new();
        bench.deferral.named(bench.now, graceful.iter().copied().collect(), true);
        bench
    }

    fn named(&mut self, graceful: &[PeerId]) {
        self.deferral.named(self.now, graceful.iter().copied().collect(), false);
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.start + secs(seconds);
        self
    }

    fn comes(&mut self, peer: PeerId, epoch: u32) {
        self.deferral.arrived(self.now, peer, Arrival::Awaited(Epoch(epoch)));
    }

    fn comes_unawaited(&mut self, peer: PeerId) {
        self.deferral.arrived(self.now, peer, Arrival::Up);
    }

    fn leaves(&mut self, peer: PeerId) {
        self.deferral.arrived(self.now, peer, Arrival::Down);
    }

    fn goes(&mut self, peer: PeerId) {
        self.deferral.gone(self.now, peer);
    }

    fn ends(&mut self, peer: PeerId, epoch: u32) {
        self.deferral.heard(self.now, peer, Epoch(epoch));
    }

    /// When it is over, in seconds after the start.
    fn over(&self) -> u64 {
        self.deferral.deadline().duration_since(self.start).as_secs()
    }
}

#[test]
fn it_is_over_when_all_have_sent_what_they_have() {
    let mut bench = Bench::of(&[ONE, TWO]);
    bench.after(1).comes(ONE, 1);
    bench.after(2).comes(TWO, 2);
    assert_eq!(bench.over(), 60);
    bench.after(3).ends(ONE, 1);
    assert_eq!(bench.over(), 60);
    bench.after(20).ends(TWO, 2);
    assert_eq!(bench.over(), 21);
}

#[test]
fn where_nobody_restarts_gracefully_it_is_over_at_once() {
    let mut bench = Bench::of(&[]);
    assert_eq!(bench.over(), 1);
    bench.comes_unawaited(ONE);
    assert_eq!(bench.over(), 1);
}

#[test]
fn a_peer_that_does_not_come_is_awaited_for_ten_seconds() {
    let mut bench = Bench::of(&[ONE, TWO]);
    assert_eq!(bench.over(), 10);
    bench.after(1).comes(ONE, 1);
    assert_eq!(bench.over(), 60, "one who has come may take its time");
    bench.after(2).ends(ONE, 1);
    assert_eq!(bench.over(), 10);
    // It comes after all, in time.
    bench.after(9).comes(TWO, 2);
    bench.after(30).ends(TWO, 2);
    assert_eq!(bench.over(), 31);
}

#[test]
fn it_is_over_a_moment_after_the_last_one_who_came_where_another_never_did() {
    let mut bench = Bench::of(&[ONE, TWO]);
    bench.after(1).comes(ONE, 1);
    bench.after(25).ends(ONE, 1);
    assert_eq!(bench.over(), 26);
}

#[test]
fn a_peer_that_is_lost_again_is_awaited_as_one_that_has_not_come() {
    let mut bench = Bench::of(&[ONE]);
    bench.after(1).comes(ONE, 1);
    bench.after(2).leaves(ONE);
    assert_eq!(bench.over(), 10);
    bench.after(4).comes(ONE, 2);
    bench.ends(ONE, 1);
    assert_eq!(bench.over(), 60, "that was of the session before");
    bench.after(5).ends(ONE, 2);
    assert_eq!(bench.over(), 6);
    bench.after(6).leaves(ONE);
    assert_eq!(bench.over(), 6, "it has been heard");
}

#[test]
fn who_waits_for_us_or_marks_no_end_is_not_awaited() {
    let mut bench = Bench::of(&[ONE]);
    bench.after(3).comes_unawaited(ONE);
    assert_eq!(bench.over(), 4);
    bench.after(5).comes_unawaited(TWO);
    assert_eq!(bench.over(), 4, "nor does another one put it off");
}

#[test]
fn peers_of_a_template_are_given_ten_seconds_to_come_and_then_their_time() {
    let mut bench = Bench::of_templates(&[]);
    assert_eq!(bench.over(), 10);
    bench.after(5).comes(ONE, 1);
    assert_eq!(bench.over(), 60);
    bench.after(6).ends(ONE, 1);
    assert_eq!(bench.over(), 10, "another one may be on its way");
    bench.after(7).comes(TWO, 2);
    assert_eq!(bench.over(), 60);
    bench.after(8).ends(TWO, 2);
    assert_eq!(bench.over(), 10);
    bench.after(9).comes(PeerId(3), 3);
    bench.after(20).ends(PeerId(3), 3);
    assert_eq!(bench.over(), 21);
}

#[test]
fn a_peer_of_a_template_that_goes_for_good_is_not_awaited() {
    let mut bench = Bench::of_templates(&[ONE]);
    bench.after(1).comes(TWO, 1);
    bench.after(2).comes_unawaited(ONE);
    bench.after(12).goes(TWO);
    assert_eq!(bench.over(), 13);
}

#[test]
fn until_all_is_known_it_goes_on_for_a_minute_at_most() {
    let mut bench = Bench::new();
    assert_eq!(bench.over(), 60);
    bench.after(3).comes(ONE, 1);
    assert_eq!(bench.over(), 60);
    bench.after(4).ends(ONE, 1);
    assert_eq!(bench.over(), 60, "routes of our own may be missing");
    bench.after(5).comes_unawaited(TWO);
    assert_eq!(bench.over(), 60);
    bench.after(30).named(&[ONE]);
    assert_eq!(bench.over(), 31);
}

#[test]
fn peers_that_are_named_late_are_given_their_time_to_come() {
    let mut bench = Bench::new();
    bench.comes(ONE, 1);
    bench.ends(ONE, 1);
    bench.after(8).named(&[ONE, TWO]);
    assert_eq!(bench.over(), 18);
    let mut bench = Bench::new();
    bench.after(55).named(&[ONE]);
    assert_eq!(bench.over(), 60, "a minute at most in any case");
}
