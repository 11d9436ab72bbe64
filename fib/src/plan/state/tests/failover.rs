//! What happens when a source of routes, or a next hop, ends.

use super::*;
use crate::plan::groups::{GC_DELAY, GC_KEEP};
use crate::plan::wishes::PAIRS_MAX;
use crate::plan::work::Likeness;

const A: &str = "10.0.1.2";
const B: &str = "10.0.2.2";

/// A next hop and who told it.
type Told<'a> = (&'a str, u32);

fn told((next_hop, source): Told) -> (BgpNextHop, Source) {
    (nh(next_hop), Source(source))
}

fn guarded(members: &[Told], backup: Option<Told>) -> Wish {
    let target = Target::Via(members.iter().map(|(next_hop, _)| (nh(next_hop), 1)).collect());
    let sources = members.iter().copied().map(told).collect();
    Wish { sources, backup: backup.map(told), ..Wish::plain(target) }
}

impl Bench {
    fn set(&mut self, prefix: &str, wish: &Wish) {
        let id = self.state.hold_wish(wish, self.now);
        self.state.want(net(prefix), Some(id), self.now);
        self.state.release_wish(id, self.now);
    }

    /// Wishes and, where that is simple, plans at once.
    fn set_at_once(&mut self, prefix: &str, wish: Option<&Wish>) -> Vec<RouteOp> {
        let (mut ops, mut likeness) = (Vec::new(), Likeness::default());
        let id = wish.map(|wish| self.state.hold_wish(wish, self.now));
        self.objects();
        self.state.want_at_once(net(prefix), id, self.now, &mut likeness, &mut ops);
        if let Some(id) = id {
            self.state.release_wish(id, self.now);
        }
        ops
    }

    /// Routes of this wish in the kernel.
    fn with_routes(wish: &Wish) -> Self {
        let mut bench = Self::new(true);
        for i in 0..3 {
            bench.set(&format!("192.0.{i}.0/24"), wish);
        }
        bench.objects();
        assert_eq!(bench.routes().len(), 3);
        bench
    }

    fn end(&mut self, source: u32) -> Vec<ObjectOp> {
        self.state.source_down(Source(source), self.now);
        self.objects()
    }

    /// The gateways of every route, which must be the same.
    fn gateways(&mut self) -> Vec<String> {
        let rows = self.state.rows(crate::RowFilter::All, None, 100);
        let all = rows.into_iter().map(|row| {
            let hops =
                row.next_hops.iter().filter_map(|(gateway, ..)| gateway.map(|g| g.to_string()));
            hops.collect::<Vec<_>>()
        });
        all.reduce(|a, b| if a == b { a } else { panic!("{a:?} and {b:?}") }).unwrap_or_default()
    }
}

#[test]
fn a_source_that_ends_costs_one_write_however_many_routes_hang_on_it() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1)], Some((B, 2))));
    let ops = bench.end(1);
    assert!(matches!(&ops[..], [ObjectOp::Put(_, ObjectKind::Group(_))]), "{ops:?}");
    assert_eq!(bench.gateways(), [B]);
    assert_eq!(bench.routes(), [], "no route was touched");
}

#[test]
fn what_the_table_says_afterwards_changes_no_packet_and_comes_last() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1)], Some((B, 2))));
    bench.end(1);
    let after = guarded(&[(B, 2)], None);
    assert_eq!(bench.set_at_once("192.0.0.0/24", Some(&after)), [], "not at once");
    bench.set("198.51.100.0/24", &after);
    bench.objects();
    let replaced = (Verb::Replace, "192.0.0.0/24".to_owned());
    assert_eq!(bench.routes(), [added("198.51.100.0/24"), replaced]);
    assert_eq!(bench.gateways(), [B]);
}

#[test]
fn what_a_dead_source_needed_goes_after_one_keep() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1)], Some((B, 2))));
    bench.state.sources_in_sync(bench.now);
    bench.end(1);
    for i in 0..3 {
        bench.set(&format!("192.0.{i}.0/24"), &guarded(&[(B, 2)], None));
    }
    bench.objects();
    bench.routes();
    let begun = bench.now;
    let mut gone = Vec::new();
    while let Some(at) = bench.state.deadline().filter(|at| *at < begun + 3 * GC_KEEP) {
        bench.now = at;
        let ops = bench.objects();
        gone.extend(ops.into_iter().map(|op| (op, at - begun)));
    }
    let [(ObjectOp::Delete(_), first), (ObjectOp::Delete(_), last)] = gone[..] else {
        panic!("the group of both and the way to the dead one: {gone:?}");
    };
    assert!(first >= GC_KEEP && last <= GC_KEEP + 2 * GC_DELAY, "{first:?} {last:?}");
    assert_eq!(bench.gateways(), [B]);
}

#[test]
fn a_group_wished_for_again_within_its_keep_stays() {
    let wish = guarded(&[(A, 1)], Some((B, 2)));
    let other = guarded(&[(B, 2)], None);
    let mut bench = Bench::with_routes(&wish);
    bench.state.sources_in_sync(bench.now);
    for wish in [&other, &wish] {
        bench.pass(20_000);
        for i in 0..3 {
            bench.set(&format!("192.0.{i}.0/24"), wish);
        }
        let made = bench.objects();
        assert!(!made.iter().any(|op| matches!(op, ObjectOp::Delete(_))), "{made:?}");
        bench.routes();
    }
    for _ in 0..4 {
        bench.pass(5_000);
        assert_eq!(bench.objects(), []);
    }
    assert_eq!(bench.gateways(), [A]);
}

#[test]
fn without_a_backup_routes_wait_for_the_table() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1)], None));
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.gateways(), [A]);
}

#[test]
fn a_backup_that_has_ended_too_is_none() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1)], Some((B, 2))));
    bench.end(2);
    bench.end(1);
    assert_eq!(bench.gateways(), [A], "the table will tell what comes now");
}

#[test]
fn one_of_several_leaves_the_others() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1), (B, 2)], Some(("10.0.2.3", 3))));
    bench.end(1);
    assert_eq!(bench.gateways(), [B]);
    bench.end(2);
    assert_eq!(bench.gateways(), ["10.0.2.3"]);
}

#[test]
fn a_next_hop_lives_as_long_as_any_of_its_sources() {
    let mut wish = guarded(&[(A, 1)], Some((B, 3)));
    wish.sources.push((nh(A), Source(2)));
    let mut bench = Bench::with_routes(&wish);
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.gateways(), [A]);
    bench.end(2);
    assert_eq!(bench.gateways(), [B]);
}

#[test]
fn a_late_wish_that_names_an_ended_source_goes_to_the_backup() {
    let mut bench = Bench::new(true);
    bench.end(1);
    bench.set("192.0.2.0/24", &guarded(&[(A, 1)], Some((B, 2))));
    bench.objects();
    bench.routes();
    assert_eq!(bench.gateways(), [B]);
}

#[test]
fn an_unreachable_next_hop_moves_to_the_backup_and_back() {
    let mut bench = Bench::with_routes(&guarded(&[(A, 1)], Some((B, 2))));
    bench.link(1, false);
    let ops = bench.objects();
    assert!(matches!(&ops[..], [ObjectOp::Put(_, ObjectKind::Group(_))]), "{ops:?}");
    assert_eq!(bench.gateways(), [B]);
    bench.link(1, true);
    bench.objects();
    assert_eq!(bench.gateways(), [A]);
    assert_eq!(bench.routes(), []);
}

#[test]
fn backups_beyond_the_limit_share_a_group() {
    let mut bench = Bench::new(true);
    let wish = |i: usize| {
        let [_, _, high, low] = u32::try_from(i).expect("few").to_be_bytes();
        let backup = format!("10.0.2.{}", low % 200 + 2);
        guarded(&[(A, 1)], Some((&backup, 1000 + u32::from(high) * 256 + u32::from(low))))
    };
    for i in 0..PAIRS_MAX + 2 {
        bench.set(&format!("172.{}.{}.0/24", 16 + i / 256, i % 256), &wish(i));
    }
    assert_eq!(bench.state.wishes.sets().count(), PAIRS_MAX + 1);
}

#[test]
fn simple_wishes_are_planned_as_they_come() {
    let mut bench = Bench::new(true);
    let (to_a, to_b) = (guarded(&[(A, 1)], None), guarded(&[(B, 2)], None));
    let verbs = |ops: &[RouteOp]| ops.iter().map(|op| op.verb).collect::<Vec<_>>();
    let first = bench.set_at_once("192.0.2.0/24", Some(&to_a));
    assert_eq!(verbs(&first), [Verb::Add]);
    assert_eq!(bench.set_at_once("192.0.2.0/24", Some(&to_b)), [], "the first is on its way");
    assert_eq!(bench.state.plan_routes(10), []);
    bench.state.routes_done(&first, &[], bench.now);
    assert_eq!(bench.routes(), [(Verb::Replace, "192.0.2.0/24".to_owned())]);
    let last = bench.set_at_once("192.0.2.0/24", None);
    assert_eq!(verbs(&last), [Verb::Delete]);
    bench.state.routes_done(&last, &[], bench.now);
    assert_eq!(bench.state.figures().routes_v4, 0);
    assert_eq!(bench.routes(), []);
}

#[test]
fn the_end_deletes_each_route_once_and_spreads_neighbours() {
    let mut bench = Bench::new(false);
    for i in [1, 2, 128] {
        bench.wish(&format!("{i}.0.0.0/8"), &[A]);
    }
    bench.routes();
    let ops = bench.state.flush_routes();
    let prefixes: Vec<_> = ops.iter().map(|op| op.prefix.to_string()).collect();
    assert_eq!(prefixes, ["128.0.0.0/8", "2.0.0.0/8", "1.0.0.0/8"]);
    assert!(ops.iter().all(|op| op.verb == Verb::Delete));
}
