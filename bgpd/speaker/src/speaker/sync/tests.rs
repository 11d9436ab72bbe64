use super::*;

const V4: Family = Family::IPV4_UNICAST;
const V6: Family = Family::IPV6_UNICAST;

fn ids<const N: usize>(ids: [u16; N]) -> BTreeSet<PeerId> {
    ids.into_iter().map(PeerId).collect()
}

/// A sync at the moment of its start, in which no time passes.
struct Bench {
    sync: Sync,
    arrivals: Arrivals,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { sync: Sync::default(), arrivals: Arrivals::default(), now: Instant::now() }
    }

    fn of<const N: usize>(peers: [u16; N]) -> Self {
        let mut bench = Self::new();
        bench.begin(ids(peers), Others::None);
        bench
    }

    fn begin(&mut self, peers: BTreeSet<PeerId>, others: Others) {
        self.sync.begin(self.now, peers, BTreeSet::new(), others);
    }

    /// A shard, of two, has worked off an End-of-RIB.
    fn end(&mut self, peer: u16, epoch: u32, family: Family, families: &[Family]) {
        let families = families.iter().copied().collect();
        let notice = Notice { peer: PeerId(peer), epoch: Epoch(epoch), family, families };
        self.sync.end_of_rib(self.now, &self.arrivals, &notice, 2);
    }

    fn ends(&mut self, peer: u16) {
        self.end(peer, 1, V4, &[V4]);
        self.end(peer, 1, V4, &[V4]);
    }

    fn gone(&mut self, peer: u16) {
        self.sync.gone(self.now, &self.arrivals, PeerId(peer));
    }

    /// Its session has come up: its task has said so, and the speaker has not listened yet.
    fn comes(&mut self, peer: u16, epoch: u32) {
        self.arrivals.put(PeerId(peer), Arrival::Awaited(Epoch(epoch)));
    }

    fn soon(&self) -> bool {
        self.sync.deadline().is_some_and(|at| at <= self.now + SETTLE)
    }
}

#[test]
fn every_family_must_have_passed_every_shard() {
    let mut bench = Bench::of([1]);
    for family in [V4, V4, V6] {
        assert!(!bench.soon());
        bench.end(1, 1, family, &[V4, V6]);
    }
    assert!(!bench.soon());
    bench.end(1, 1, V6, &[V4, V6]);
    assert!(bench.soon());
}

#[test]
fn a_session_that_came_back_begins_anew() {
    let mut bench = Bench::of([1]);
    bench.end(1, 1, V4, &[V4]);
    bench.end(1, 2, V4, &[V4]);
    assert!(!bench.soon());
    bench.end(1, 2, V4, &[V4]);
    assert!(bench.soon());
}

#[test]
fn nobody_is_waited_for_who_is_gone() {
    let mut bench = Bench::of([1, 2]);
    bench.gone(1);
    assert!(!bench.soon());
    bench.gone(2);
    assert!(bench.soon());
    assert_eq!(bench.sync.due(bench.now + SETTLE), Due::Sweep { missing: 0 });
    assert_eq!(bench.sync.deadline(), None);
    bench.gone(3);
    assert_eq!(bench.sync.deadline(), None);
}

#[test]
fn without_peers_the_sweep_comes_at_once() {
    assert!(Bench::of([]).soon());
}

#[test]
fn those_who_were_not_heard_in_time_are_counted() {
    let mut bench = Bench::of([1, 2, 3]);
    bench.ends(2);
    assert_eq!(bench.sync.due(bench.now + SETTLE), Due::Nothing);
    assert_eq!(bench.sync.due(bench.now + PATIENCE), Due::Sweep { missing: 2 });
    assert_eq!(bench.sync.due(bench.now + PATIENCE), Due::Nothing);
}

#[test]
fn peers_that_nobody_can_name_are_given_all_the_time() {
    for known in [ids([]), ids([1])] {
        let mut bench = Bench::new();
        bench.begin(known.clone(), Others::Plain);
        bench.gone(1);
        assert!(!bench.soon(), "known: {known:?}");
    }
}

#[test]
fn nothing_is_swept_before_all_peers_are_known() {
    let mut bench = Bench::new();
    bench.sync.hold();
    bench.ends(1);
    bench.ends(2);
    // What it sent went with its session.
    bench.gone(2);
    assert_eq!(bench.sync.deadline(), None);
    let heard = bench.sync.heard.clone();
    let mut early = Bench::new();
    early.sync.heard = heard;
    early.begin(ids([1]), Others::None);
    assert!(early.soon());
    bench.begin(ids([1, 3]), Others::None);
    assert!(!bench.sync.is_held() && !bench.soon());
    bench.ends(3);
    assert!(bench.soon());
}

#[test]
fn who_is_remembered_ends_the_waiting_and_not_the_patience_of_the_sweep() {
    let mut bench = Bench::new();
    bench.sync.defer(bench.now);
    bench.sync.hold();
    assert_eq!(bench.sync.deadline(), Some(bench.now + PATIENCE), "anybody may come");
    bench.sync.named(bench.now, ids([]), Others::None);
    assert_eq!(bench.sync.due(bench.now + SETTLE), Due::Tell);
    assert!(bench.sync.is_held());
    assert_eq!(bench.sync.due(bench.now + 2 * PATIENCE), Due::Nothing, "nothing is swept");
    bench.begin(ids([]), Others::None);
    assert!(bench.soon());
}

#[test]
fn the_sweep_waits_until_all_that_was_withheld_is_on_its_way() {
    let mut bench = Bench::new();
    bench.sync.defer(bench.now);
    bench.sync.begin(bench.now, ids([1, 2]), ids([1, 2]), Others::None);
    for peer in [1, 2] {
        bench.comes(peer, 1);
        bench.ends(peer);
    }
    // It is back, and sends again: the table is not whole, though each was heard once.
    bench.comes(2, 2);
    bench.sync.arrived(bench.now, bench.arrivals.take());
    assert_eq!(bench.sync.due(bench.now + SETTLE), Due::Nothing);
    assert_eq!(bench.sync.due(bench.now + PATIENCE), Due::Tell);
    assert_eq!(bench.sync.due(bench.now + PATIENCE), Due::Sweep { missing: 0 });
}

#[test]
fn a_peer_without_graceful_restart_does_not_keep_others_waiting() {
    let mut bench = Bench::new();
    bench.sync.defer(bench.now);
    bench.sync.begin(bench.now, ids([1, 2]), ids([1]), Others::Plain);
    bench.comes(1, 1);
    bench.ends(1);
    assert_eq!(bench.sync.due(bench.now + SETTLE), Due::Tell);
    assert_eq!(bench.sync.due(bench.now + SETTLE), Due::Nothing, "the sweep gives it its time");
}

#[test]
fn what_came_of_a_session_may_be_faster_than_the_news_of_it() {
    for goes in [false, true] {
        let mut bench = Bench::new();
        bench.sync.defer(bench.now);
        bench.sync.begin(bench.now, ids([1]), ids([1]), Others::None);
        bench.comes(1, 1);
        if goes {
            bench.gone(1);
        } else {
            bench.ends(1);
        }
        // By and by the news come, if they have not been taken.
        bench.sync.arrived(bench.now, bench.arrivals.take());
        assert!(bench.soon(), "goes: {goes}");
    }
}

#[test]
fn peers_that_may_come_from_a_range_are_waited_for_if_they_restart_gracefully() {
    for (others, soon) in [(Others::None, true), (Others::Plain, true), (Others::Graceful, false)] {
        let mut bench = Bench::new();
        bench.sync.defer(bench.now);
        bench.sync.begin(bench.now, ids([]), ids([]), others);
        assert_eq!(bench.soon(), soon, "{others:?}");
    }
}

#[test]
fn peers_learn_of_the_former_process_until_its_routes_are_swept() {
    let mut bench = Bench::new();
    assert_eq!(bench.sync.former(), Former::Gone);
    bench.sync.defer(bench.now);
    assert_eq!(bench.sync.former(), Former::Missed);
    bench.sync.hold();
    assert_eq!(bench.sync.due(bench.now + PATIENCE), Due::Tell);
    assert_eq!(bench.sync.former(), Former::Replaced, "of a datastore that was away, say");
    bench.begin(ids([1]), Others::None);
    assert_eq!(bench.sync.due(bench.now + PATIENCE), Due::Sweep { missing: 1 });
    assert_eq!(bench.sync.former(), Former::Gone);
}
