use super::*;
use crate::api::Resolution;
use crate::plan::fact::{
    Arrival, Fact, Hop, KernelAddress, KernelLink, KernelObject, ObjectKind, Origin, Presence,
};
use crate::plan::objects::{FIRST_ID, ObjectOp};
use crate::plan::readings::{Occasion, ReadRoutes, Reading};
use crate::plan::work::{RouteOp, Verb};

mod failover;

/// Two links, v1 and v2, with 10.0.1.1/24 and 10.0.2.1/24.
struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    fn new(objects: bool) -> Self {
        let mut bench = Self {
            state: State::new(FibConfig::default(), Abilities { objects, write: true }),
            now: Instant::now(),
        };
        bench.start(Vec::new(), Vec::new());
        bench
    }

    /// What a fresh process reads.
    fn start(&mut self, objects: Vec<KernelObject>, ours: Vec<KernelRoute>) {
        let mut routes = ReadRoutes::default();
        for route in [1, 2].map(connected).into_iter().chain(ours) {
            self.state.collect(&mut routes, route);
        }
        let reading = Reading {
            links: Some([1, 2].map(|i| link(i, true)).to_vec()),
            addresses: Some([1, 2].map(|i| at(i, &format!("10.0.{i}.1/24"))).to_vec()),
            objects: Some(objects),
            routes: Some(routes),
        };
        self.state.read(reading, Occasion::Start, self.now);
    }

    fn wish(&mut self, prefix: &str, next_hops: &[&str]) {
        let target = Target::Via(next_hops.iter().map(|n| (nh(n), 1)).collect());
        let wish = Wish::plain(target);
        let id = self.state.hold_wish(&wish, self.now);
        self.state.want(net(prefix), Some(id), self.now);
        self.state.release_wish(id, self.now);
    }

    /// All object operations that are due, done.
    fn objects(&mut self) -> Vec<ObjectOp> {
        self.state.settle(self.now);
        let mut all = Vec::new();
        loop {
            let ops = self.state.plan_objects(self.now, true);
            if ops.is_empty() {
                return all;
            }
            for op in ops {
                self.state.object_done(&op, Ok(()), self.now);
                all.push(op);
            }
            self.state.settle(self.now);
        }
    }

    /// All route operations that are due, done: verb and prefix.
    fn routes(&mut self) -> Vec<(Verb, String)> {
        self.routes_refused(&[])
    }

    fn routes_refused(&mut self, refused: &[(usize, i32)]) -> Vec<(Verb, String)> {
        self.state.settle(self.now);
        let ops: Vec<RouteOp> = self.state.plan_routes(1000);
        self.state.routes_done(&ops, refused, self.now);
        ops.iter().map(|op| (op.verb, op.prefix.to_string())).collect()
    }

    fn link(&mut self, index: u32, running: bool) {
        self.state.learn(Fact::Link(link(index, running), Presence::Here), self.now);
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn next_hop_events(&mut self) -> Vec<(String, Option<Resolution>)> {
        let events = self.state.take_events().into_iter();
        let only = |e| match e {
            FibEvent::NextHop(n, to) => Some((n.address.to_string(), to)),
            _ => None,
        };
        events.filter_map(only).collect()
    }
}

fn link(index: u32, running: bool) -> KernelLink {
    KernelLink { index, name: format!("v{index}"), admin_up: true, running, mac: None, mtu: 1500 }
}

fn connected(index: u32) -> KernelRoute {
    let hop = Hop { gateway: None, oif: index, onlink: false };
    KernelRoute {
        prefix: net(&format!("10.0.{index}.0/24")),
        table: 254,
        protocol: 2,
        tos: 0,
        link_scope: true,
        form: Form { via: Via::Hops(vec![(hop, 1)]), metric: 0, prefsrc: None },
    }
}

fn ours(prefix: &str, via: Via) -> KernelRoute {
    KernelRoute {
        prefix: net(prefix),
        table: 254,
        protocol: 186,
        tos: 0,
        link_scope: false,
        form: Form { via, metric: 32, prefsrc: None },
    }
}

fn at(link: u32, address: &str) -> KernelAddress {
    KernelAddress::unmarked(link, net(address))
}

fn net(text: &str) -> IpNet {
    text.parse().expect("prefix")
}

fn nh(text: &str) -> BgpNextHop {
    BgpNextHop { address: text.parse().expect("address"), link_local: None, interface: None }
}

fn hop(gateway: &str, oif: u32) -> Hop {
    Hop { gateway: Some(gateway.parse().expect("address")), oif, onlink: false }
}

fn added(prefix: &str) -> (Verb, String) {
    (Verb::Add, prefix.to_owned())
}

#[test]
fn a_thousand_routes_over_two_next_hops_need_three_objects() {
    let mut bench = Bench::new(true);
    for i in 0..200 {
        bench.wish(&format!("192.0.{i}.0/24"), &["10.0.1.2", "10.0.2.2"]);
    }
    let ops = bench.objects();
    assert_eq!(
        ops,
        [
            ObjectOp::Put(FIRST_ID, ObjectKind::Hop(hop("10.0.1.2", 1))),
            ObjectOp::Put(FIRST_ID + 1, ObjectKind::Hop(hop("10.0.2.2", 2))),
            ObjectOp::Put(FIRST_ID + 2, ObjectKind::Group(vec![(FIRST_ID, 1), (FIRST_ID + 1, 1)])),
        ]
    );
    assert_eq!(bench.routes().len(), 200);
    // One next hop dies: one write, and no route among it.
    bench.link(2, false);
    let group = ObjectKind::Group(vec![(FIRST_ID, 1)]);
    assert_eq!(bench.objects(), [ObjectOp::Put(FIRST_ID + 2, group)]);
    assert_eq!(bench.routes(), []);
}

#[test]
fn routes_over_a_lost_next_hop_stay_for_a_moment_and_then_go_in_one_stroke() {
    let mut bench = Bench::new(true);
    bench.state.sources_in_sync(bench.now);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    bench.wish("192.0.3.0/24", &["10.0.1.2"]);
    bench.objects();
    assert_eq!(bench.routes().len(), 2);
    bench.link(1, false);
    assert_eq!(bench.objects(), []);
    assert_eq!(bench.routes(), []);
    // BGP finds another way for one of them.
    bench.wish("192.0.3.0/24", &["10.0.2.2"]);
    bench.objects();
    assert_eq!(bench.routes(), [(Verb::Replace, "192.0.3.0/24".to_owned())]);
    bench.pass(1000);
    assert!(bench.state.deadline().is_some_and(|at| at <= bench.now));
    assert_eq!(bench.objects(), [ObjectOp::Delete(FIRST_ID + 1)]);
    assert_eq!(bench.routes(), [], "the kernel deletes the routes of a group with it");
    let rows = bench.state.rows(crate::RowFilter::All, None, 10);
    assert_eq!(rows.iter().map(|r| r.in_kernel).collect::<Vec<_>>(), [false, true]);
    // And back.
    bench.link(1, true);
    bench.objects();
    assert_eq!(bench.routes(), [added("192.0.2.0/24")]);
}

#[test]
fn a_next_hop_that_comes_back_is_told_late_one_that_goes_at_once() {
    let mut bench = Bench::new(true);
    bench.state.track(nh("10.0.1.2"));
    bench.state.settle(bench.now);
    let up = Some(Resolution { cost: 0, direct: true, local: false, interface: Some(1) });
    let told = |to: &Option<Resolution>| vec![("10.0.1.2".to_owned(), to.clone())];
    assert_eq!(bench.next_hop_events(), told(&up));
    bench.link(1, false);
    bench.state.settle(bench.now);
    assert_eq!(bench.next_hop_events(), told(&None));
    // It flaps: nothing is told until it stays.
    for running in [true, false, true] {
        bench.link(1, running);
        bench.state.settle(bench.now);
        bench.pass(50);
    }
    bench.state.settle(bench.now);
    assert_eq!(bench.next_hop_events(), []);
    bench.pass(50);
    assert!(bench.state.deadline().is_some_and(|at| at <= bench.now));
    bench.state.settle(bench.now);
    assert_eq!(bench.next_hop_events(), told(&up));
    // Whoever asks anew is answered at once.
    bench.state.track(nh("10.0.1.2"));
    bench.state.settle(bench.now);
    assert_eq!(bench.next_hop_events(), told(&up));
}

#[test]
fn the_more_often_a_route_is_taken_away_the_later_it_is_put_back() {
    let mut bench = Bench::new(false);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    assert_eq!(bench.routes(), [added("192.0.2.0/24")]);
    let gone = || {
        let route = ours("192.0.2.0/24", Via::Hops(vec![(hop("10.0.1.2", 1), 1)]));
        Fact::RouteGone(route, Origin::Other)
    };
    for delay in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        bench.state.learn(gone(), bench.now);
        bench.pass(delay - 1);
        assert_eq!(bench.routes(), [], "not yet after {delay} ms");
        bench.pass(1);
        assert_eq!(bench.routes(), [added("192.0.2.0/24")], "after {delay} ms");
    }
    assert_eq!(bench.state.figures().drift_repaired, 8);
    bench.pass(11_000);
    bench.state.learn(gone(), bench.now);
    bench.pass(100);
    assert_eq!(bench.routes(), [added("192.0.2.0/24")], "soon again after a quiet while");
}

#[test]
fn what_is_refused_is_tried_again_ever_later_and_at_once_when_a_link_comes() {
    let mut bench = Bench::new(false);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    let refused = [(0, libc::ENETUNREACH)];
    assert_eq!(bench.routes_refused(&refused).len(), 1);
    for delay in [1000, 2000, 4000] {
        bench.pass(delay - 1);
        assert_eq!(bench.routes(), []);
        bench.pass(1);
        assert_eq!(bench.routes_refused(&refused).len(), 1, "after {delay} ms");
    }
    assert_eq!(bench.state.figures().failed, 1);
    bench.link(2, false);
    bench.link(2, true);
    assert_eq!(bench.routes(), [added("192.0.2.0/24")]);
    assert_eq!(bench.state.figures().failed, 0);
}

#[test]
fn what_a_former_process_left_is_matched_not_written() {
    let group = |id: u32, member: u32| KernelObject {
        id,
        protocol: 186,
        kind: ObjectKind::Group(vec![(member, 1)]),
    };
    let single = |id: u32, gateway: &str, oif: u32| KernelObject {
        id,
        protocol: 186,
        kind: ObjectKind::Hop(hop(gateway, oif)),
    };
    let left = vec![
        single(FIRST_ID + 5, "10.0.1.2", 1),
        single(FIRST_ID + 6, "10.0.2.2", 2),
        group(FIRST_ID + 8, FIRST_ID + 5),
        group(FIRST_ID + 9, FIRST_ID + 6),
    ];
    let routes = vec![
        ours("192.0.2.0/24", Via::Object(FIRST_ID + 8)),
        ours("192.0.3.0/24", Via::Object(FIRST_ID + 9)),
        ours("192.0.4.0/24", Via::Object(FIRST_ID + 9)),
    ];
    let state = State::new(FibConfig::default(), Abilities { objects: true, write: true });
    let mut bench = Bench { state, now: Instant::now() };
    bench.start(left, routes);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    bench.wish("192.0.3.0/24", &["10.0.2.2"]);
    // What this one resolves through is not known yet: it stays as it is.
    bench.wish("192.0.4.0/24", &["172.16.0.1"]);
    assert_eq!(bench.objects(), []);
    assert_eq!(bench.routes(), []);
    bench.state.sources_in_sync(bench.now);
    assert_eq!(bench.routes(), [(Verb::Delete, "192.0.4.0/24".to_owned())]);
}

#[test]
fn an_audit_does_not_judge_what_changes_under_it() {
    let mut bench = Bench::new(false);
    let via = || Via::Hops(vec![(hop("10.0.1.2", 1), 1)]);
    for i in 0..3 {
        bench.wish(&format!("192.0.{i}.0/24"), &["10.0.1.2"]);
    }
    bench.routes();
    bench.state.begin_audit();
    let mut found = ReadRoutes::default();
    for route in [1, 2].map(connected) {
        bench.state.collect(&mut found, route);
    }
    // The dump saw the first; the second vanished without a word; the third is deleted meanwhile,
    // after the dump saw it.
    bench.state.collect(&mut found, ours("192.0.0.0/24", via()));
    bench.state.collect(&mut found, ours("192.0.2.0/24", via()));
    bench.state.want(net("192.0.2.0/24"), None, bench.now);
    assert_eq!(bench.routes(), [(Verb::Delete, "192.0.2.0/24".to_owned())]);
    let reading = Reading { routes: Some(found), ..Reading::default() };
    bench.state.read(reading, Occasion::Audit, bench.now);
    bench.pass(100);
    assert_eq!(bench.routes(), [added("192.0.1.0/24")]);
    assert_eq!(bench.routes(), []);
}

#[test]
fn an_audit_does_not_judge_what_was_under_way_when_it_began() {
    let mut bench = Bench::new(false);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    bench.state.settle(bench.now);
    let ops = bench.state.plan_routes(10);
    bench.state.begin_audit();
    let mut found = ReadRoutes::default();
    for route in [1, 2].map(connected) {
        bench.state.collect(&mut found, route);
    }
    // The kernel was read just before it got the write.
    bench.state.routes_done(&ops, &[], bench.now);
    let reading = Reading { routes: Some(found), ..Reading::default() };
    bench.state.read(reading, Occasion::Audit, bench.now);
    bench.pass(100);
    assert_eq!(bench.routes(), []);
    assert_eq!(bench.state.figures().drift_repaired, 0);
}

#[test]
fn the_last_of_several_wishes_before_a_write_is_the_one_written() {
    let mut bench = Bench::new(false);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    bench.wish("192.0.2.0/24", &["10.0.1.3"]);
    bench.state.want(net("192.0.2.0/24"), None, bench.now);
    bench.wish("192.0.2.0/24", &["10.0.1.4"]);
    assert_eq!(bench.routes(), [added("192.0.2.0/24")]);
    assert_eq!(bench.routes(), []);
    let rows = bench.state.rows(crate::RowFilter::All, None, 10);
    let gateway = "10.0.1.4".parse().ok();
    assert_eq!(rows[0].next_hops, [(gateway, "v1".to_owned(), 1)]);
}

#[test]
fn a_prefix_whose_write_is_under_way_waits_for_the_answer() {
    let mut bench = Bench::new(false);
    bench.wish("192.0.2.0/24", &["10.0.1.2"]);
    bench.state.settle(bench.now);
    let first = bench.state.plan_routes(10);
    bench.wish("192.0.2.0/24", &["10.0.1.3"]);
    bench.state.settle(bench.now);
    assert_eq!(bench.state.plan_routes(10), []);
    // Somebody else had the key: refused, and nothing of theirs is replaced.
    let theirs = KernelRoute { protocol: 4, ..ours("192.0.2.0/24", Via::Unreachable) };
    bench.state.learn(Fact::Route(theirs, Arrival::Added, Origin::Other), bench.now);
    bench.state.routes_done(&first, &[(0, libc::EEXIST)], bench.now);
    assert!(bench.state.take_asks().everything);
    assert_eq!(bench.routes(), []);
    assert_eq!(bench.state.figures().conflicts, 1);
    assert_eq!(bench.state.take_conflicts(), [(net("192.0.2.0/24"), 4)]);
    assert_eq!(bench.state.take_conflicts(), [], "told once");
}

#[test]
fn rows_come_in_order_and_in_slices() {
    let mut bench = Bench::new(false);
    for prefix in ["192.0.2.0/24", "10.9.0.0/16", "10.9.0.0/24", "2001:db8::/32"] {
        bench.wish(prefix, &["10.0.1.2"]);
    }
    bench.routes();
    let rows = |filter, after: Option<&str>, limit| -> Vec<String> {
        let rows = bench.state.rows(filter, after.map(net), limit);
        rows.iter().map(|r| r.prefix.to_string()).collect()
    };
    use crate::RowFilter::{All, Exact, Lookup, Within};
    assert_eq!(rows(All, None, 2), ["10.9.0.0/16", "10.9.0.0/24"]);
    assert_eq!(rows(All, Some("10.9.0.0/24"), 2), ["192.0.2.0/24", "2001:db8::/32"]);
    assert_eq!(rows(All, Some("2001:db8::/32"), 2), [""; 0]);
    assert_eq!(rows(Exact(net("10.9.0.0/16")), None, 9), ["10.9.0.0/16"]);
    assert_eq!(rows(Within(net("10.0.0.0/8")), None, 9), ["10.9.0.0/16", "10.9.0.0/24"]);
    assert_eq!(rows(Within(net("10.0.0.0/8")), Some("10.9.0.0/16"), 9), ["10.9.0.0/24"]);
    assert_eq!(rows(Lookup("10.9.7.1".parse().expect("address")), None, 9), ["10.9.0.0/16"]);
    assert_eq!(rows(Lookup("8.8.8.8".parse().expect("address")), None, 9), [""; 0]);
}

#[test]
fn a_host_address_is_connected_though_the_kernel_has_no_route_for_it() {
    let mut bench = Bench::new(true);
    bench.state.take_events();
    let host = net("10.255.0.1/32");
    let learned = |bench: &mut Bench| {
        let events = bench.state.take_events().into_iter();
        let only = |event| match event {
            FibEvent::Learned(l, there) if l.prefix == host => Some((l.connected, there)),
            _ => None,
        };
        events.filter_map(only).collect::<Vec<_>>()
    };
    let address = |presence| Fact::Address(KernelAddress::unmarked(1, host), presence);
    bench.state.learn(address(Presence::Here), bench.now);
    // Those that speak for their link or this host only are nobody else's business.
    for other in ["127.0.0.2/32", "169.254.1.1/32", "10.3.0.1/24"] {
        bench.state.learn(Fact::Address(at(1, other), Presence::Here), bench.now);
    }
    assert_eq!(learned(&mut bench), [(true, true)]);
    let down = KernelLink { admin_up: false, ..link(1, false) };
    bench.state.learn(Fact::Link(down, Presence::Here), bench.now);
    assert_eq!(learned(&mut bench), [(true, false)]);
    bench.link(1, true);
    assert_eq!(learned(&mut bench), [(true, true)]);
    // On two links it stays until it is on none.
    bench.state.learn(Fact::Address(KernelAddress::unmarked(2, host), Presence::Here), bench.now);
    bench.state.learn(address(Presence::Gone), bench.now);
    assert_eq!(learned(&mut bench), []);
    let nothing = FibConfig { learn_tables: BTreeSet::new(), ..FibConfig::default() };
    bench.state.reconfigured(nothing, true);
    assert_eq!(learned(&mut bench), [(true, false)]);
    bench.state.reconfigured(FibConfig::default(), true);
    assert_eq!(learned(&mut bench), [(true, true)]);
    let moved = FibConfig { table: 100, learn_tables: BTreeSet::new(), ..FibConfig::default() };
    let abilities = Abilities { objects: true, write: true };
    let mut moved = bench.state.moved(moved, abilities, bench.now);
    let gone = moved.take_events();
    assert!(gone.iter().any(|e| matches!(e, FibEvent::Learned(l, false) if l.prefix == host)));
}

#[test]
fn a_next_hop_with_a_host_route_that_drops_makes_routes_that_drop() {
    for objects in [true, false] {
        let mut bench = Bench::new(objects);
        let hole = |prefix: &str| KernelRoute {
            protocol: 4,
            link_scope: false,
            ..ours(prefix, Via::Blackhole)
        };
        let learn = |bench: &mut Bench, prefix: &str| {
            let fact = Fact::Route(hole(prefix), Arrival::Added, Origin::Other);
            bench.state.learn(fact, bench.now);
        };
        bench.state.sources_in_sync(bench.now);
        // An aggregate that drops says nothing of a next hop inside.
        learn(&mut bench, "192.0.2.0/24");
        bench.state.track(nh("192.0.2.1"));
        bench.wish("10.9.0.1/32", &["192.0.2.1"]);
        bench.wish("10.9.0.2/32", &["192.0.2.1", "10.0.1.2"]);
        bench.objects();
        assert_eq!(bench.routes(), [added("10.9.0.2/32")]);
        assert_eq!(bench.next_hop_events(), [("192.0.2.1".to_owned(), None)]);
        learn(&mut bench, "192.0.2.1/32");
        bench.objects();
        assert_eq!(bench.routes(), [added("10.9.0.1/32")]);
        let kinds = |bench: &Bench| {
            let rows = bench.state.rows(crate::api::RowFilter::All, None, 9);
            rows.iter().map(|row| (row.kind, row.in_kernel)).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&bench), [("blackhole", true), ("unicast", true)]);
        bench.pass(1000);
        let cost = Resolution { cost: 32, direct: false, local: false, interface: None };
        bench.state.settle(bench.now);
        assert_eq!(bench.next_hop_events(), [("192.0.2.1".to_owned(), Some(cost))]);
        // The kernel has them for as long as the host route is there, and no longer.
        bench.pass(60_000);
        assert_eq!((bench.objects().len(), bench.routes().len()), (0, 0));
        bench.state.learn(Fact::RouteGone(hole("192.0.2.1/32"), Origin::Other), bench.now);
        bench.objects();
        assert_eq!(bench.routes(), [(Verb::Delete, "10.9.0.1/32".to_owned())]);
        assert_eq!(bench.next_hop_events(), [("192.0.2.1".to_owned(), None)]);
    }
}

/// What redistribution was told of a prefix: gateway, and whether it is there.
fn told(bench: &mut Bench, prefix: &str) -> Vec<(Option<String>, bool)> {
    let prefix = net(prefix);
    let only = |event| match event {
        FibEvent::Learned(l, there) if l.prefix == prefix => {
            Some((l.gateway.map(|gateway| gateway.to_string()), there))
        }
        _ => None,
    };
    bench.state.take_events().into_iter().filter_map(only).collect()
}

/// A foreign route of 10.9.0.0/24 over a link, as `ip route append` and `ip address add` make them.
fn over(index: u32, gateway: Option<&str>, protocol: u8) -> KernelRoute {
    let gateway = gateway.map(|gateway| gateway.parse().expect("address"));
    let hop = Hop { gateway, oif: index, onlink: false };
    KernelRoute {
        prefix: net("10.9.0.0/24"),
        protocol,
        form: Form { via: Via::Hops(vec![(hop, 1)]), metric: 0, prefsrc: None },
        ..connected(index)
    }
}

#[test]
fn of_two_equal_routes_on_two_links_the_last_that_goes_is_told() {
    for protocol in [2, 4] {
        let mut bench = Bench::new(true);
        bench.state.take_events();
        for index in [1, 2] {
            let route = over(index, None, protocol);
            bench.state.learn(Fact::Route(route, Arrival::Added, Origin::Other), bench.now);
        }
        assert_eq!(told(&mut bench, "10.9.0.0/24"), [(None, true), (None, true)]);
        bench.state.learn(Fact::RouteGone(over(1, None, protocol), Origin::Other), bench.now);
        let after = told(&mut bench, "10.9.0.0/24");
        assert!(after.iter().all(|(_, there)| *there), "{after:?}");
        bench.state.learn(Fact::RouteGone(over(2, None, protocol), Origin::Other), bench.now);
        assert_eq!(told(&mut bench, "10.9.0.0/24"), [(None, false)]);
    }
}

#[test]
fn a_link_that_goes_leaves_an_equal_route_on_another() {
    let mut bench = Bench::new(true);
    for index in [1, 2] {
        let route = over(index, None, 2);
        bench.state.learn(Fact::Route(route, Arrival::Added, Origin::Other), bench.now);
    }
    bench.state.take_events();
    let down = KernelLink { admin_up: false, ..link(1, false) };
    bench.state.learn(Fact::Link(down, Presence::Here), bench.now);
    let after = told(&mut bench, "10.9.0.0/24");
    assert!(after.iter().all(|(_, there)| *there), "{after:?}");
    bench.state.learn(Fact::Link(link(2, false), Presence::Gone), bench.now);
    assert_eq!(told(&mut bench, "10.9.0.0/24").last(), Some(&(None, false)));
}

#[test]
fn a_static_route_that_gets_another_gateway_leaves_the_former_behind() {
    let mut bench = Bench::new(true);
    let via = |gateway| over(1, Some(gateway), 4);
    let first = Fact::Route(via("10.0.1.2"), Arrival::Added, Origin::Other);
    bench.state.learn(first, bench.now);
    bench.state.take_events();
    let second = Fact::Route(via("10.0.1.3"), Arrival::Replaced, Origin::Other);
    bench.state.learn(second, bench.now);
    let (old, new) = (Some("10.0.1.2".to_owned()), Some("10.0.1.3".to_owned()));
    assert_eq!(told(&mut bench, "10.9.0.0/24"), [(new.clone(), true), (old, false)]);
    bench.state.learn(Fact::RouteGone(via("10.0.1.3"), Origin::Other), bench.now);
    assert_eq!(told(&mut bench, "10.9.0.0/24"), [(new, false)]);
}

#[test]
fn connected_routes_are_there_while_their_link_has_carrier() {
    let mut bench = Bench::new(true);
    assert_eq!(told(&mut bench, "10.0.1.0/24"), [(None, true)]);
    bench.link(1, false);
    assert_eq!(told(&mut bench, "10.0.1.0/24"), [(None, false)]);
    // One that comes meanwhile is not there either; one by a gateway is none of these.
    for (index, gateway) in [(1, None), (1, Some("10.0.1.2"))] {
        let route = over(index, gateway, 4);
        bench.state.learn(Fact::Route(route, Arrival::Added, Origin::Other), bench.now);
    }
    let gateway = Some("10.0.1.2".to_owned());
    let after = told(&mut bench, "10.9.0.0/24");
    assert_eq!(after, [(gateway.clone(), true)]);
    bench.link(1, true);
    let events = bench.state.take_events();
    let came: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            FibEvent::Learned(l, true) => Some(l.prefix.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(came, ["10.0.1.0/24", "10.9.0.0/24"]);
    // Down from no carrier, too, it is gone and comes back with a new route only.
    bench.link(1, false);
    let down = KernelLink { admin_up: false, ..link(1, false) };
    bench.state.learn(Fact::Link(down, Presence::Here), bench.now);
    assert_eq!(told(&mut bench, "10.0.1.0/24").last(), Some(&(None, false)));
    bench.link(1, true);
    assert_eq!(told(&mut bench, "10.0.1.0/24"), []);
    bench.state.learn(Fact::Route(connected(1), Arrival::Added, Origin::Other), bench.now);
    assert_eq!(told(&mut bench, "10.0.1.0/24"), [(None, true)]);
}

#[test]
fn a_link_that_goes_down_takes_its_connected_routes_from_redistribution() {
    let mut bench = Bench::new(true);
    bench.state.take_events();
    let down = KernelLink { admin_up: false, ..link(1, false) };
    bench.state.learn(Fact::Link(down, Presence::Here), bench.now);
    assert_eq!(told(&mut bench, "10.0.1.0/24").last(), Some(&(None, false)));
}
