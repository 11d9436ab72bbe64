use super::*;
use crate::api::{BgpNextHop, FibConfig, FibEvent, RowFilter, Target, Wish};
use crate::plan::fact::{Arrival, Fact, KernelAddress, KernelLink, Presence};
use crate::plan::readings::{Occasion, ReadRoutes, Reading};
use crate::plan::state::Abilities;

const POD: &str = "10.65.0.1";
const POD6: &str = "fd00::1";

struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    /// Two links, `v1` and `v2`, and these routes that a former process left.
    fn new(left: &[(&str, u32)]) -> Self {
        let abilities = Abilities { objects: true, write: true };
        let state = State::new(FibConfig::default(), abilities);
        let mut bench = Self { state, now: Instant::now() };
        let links = Some([1, 2].map(|i| link(i, &format!("v{i}"))).to_vec());
        let routes = bench.routes(left);
        let (addresses, objects) = (Some(Vec::new()), Some(Vec::new()));
        let reading = Reading { links, addresses, objects, routes: Some(routes) };
        bench.state.read(reading, Occasion::Start, bench.now);
        bench
    }

    fn routes(&mut self, routes: &[(&str, u32)]) -> ReadRoutes {
        let mut read = ReadRoutes::default();
        for (address, oif) in routes {
            self.state.collect(&mut read, ours(address, *oif));
        }
        read
    }

    fn want(&mut self, address: &str, link: Option<&str>) {
        self.state.want_local(ip(address), link.map(str::to_owned));
    }

    fn plan(&mut self) -> Vec<LocalOp> {
        self.state.settle(self.now);
        self.state.plan_locals(100, self.now)
    }

    /// All that is due, done: verb, address and link.
    fn work(&mut self) -> Vec<(Verb, String, u32)> {
        let ops = self.plan();
        self.state.locals_done(&ops, &[], self.now);
        ops.iter().map(|op| (op.verb, op.address.to_string(), op.way.oif)).collect()
    }

    fn link(&mut self, link: KernelLink, presence: Presence) {
        self.state.learn(Fact::Link(link, presence), self.now);
    }

    fn told(&mut self, route: KernelRoute, arrival: Arrival) {
        self.state.learn(Fact::Route(route, arrival, Origin::Other), self.now);
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn state_of(&self, address: &str) -> HostRouteState {
        self.state.local_state(ip(address))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn link(index: u32, name: &str) -> KernelLink {
    let name = name.to_owned();
    KernelLink { index, name, admin_up: true, running: true, mac: None, mtu: 1500 }
}

fn ours(address: &str, oif: u32) -> KernelRoute {
    let op = LocalOp {
        address: ip(address),
        verb: Verb::Add,
        way: Way { oif, gateway: None },
        old: None,
    };
    KernelRoute {
        prefix: ip(address).into(),
        table: 254,
        protocol: 186,
        tos: 0,
        link_scope: true,
        form: State::local_form(&op),
    }
}

fn foreign(address: &str, oif: u32, metric: u32) -> KernelRoute {
    let mut route = ours(address, oif);
    route.protocol = 3;
    route.form.metric = metric;
    route
}

fn add(address: &str, oif: u32) -> (Verb, String, u32) {
    (Verb::Add, address.to_owned(), oif)
}

#[test]
fn a_workload_has_its_route_as_soon_as_its_link_is_there() {
    let mut bench = Bench::new(&[]);
    bench.want(POD, Some("cali1"));
    bench.want(POD6, Some("v2"));
    assert_eq!(bench.work(), [add(POD6, 2)]);
    assert_eq!(bench.state_of(POD), HostRouteState::NoLink);
    let down = KernelLink { admin_up: false, running: false, ..link(7, "cali1") };
    bench.link(down, Presence::Here);
    assert_eq!(bench.work(), [], "the kernel takes no route over a link that is down");
    bench.link(link(7, "cali1"), Presence::Here);
    assert_eq!(bench.work(), [add(POD, 7)]);
    assert_eq!(bench.state_of(POD), HostRouteState::Installed);
    assert_eq!(bench.work(), []);
    bench.want(POD, None);
    assert_eq!(bench.work(), [(Verb::Delete, POD.to_owned(), 7)]);
}

#[test]
fn a_link_made_again_under_its_name_has_its_routes_again() {
    let mut bench = Bench::new(&[]);
    bench.want(POD, Some("v1"));
    bench.want(POD6, Some("v1"));
    assert_eq!(bench.work().len(), 2);
    bench.link(link(1, "v1"), Presence::Gone);
    assert_eq!(bench.work(), [], "they went with it");
    assert_eq!(bench.state_of(POD), HostRouteState::NoLink);
    bench.link(link(9, "v1"), Presence::Here);
    assert_eq!(bench.work(), [add(POD, 9), add(POD6, 9)]);
    // Down and up: the kernel dropped them without a word.
    bench.link(KernelLink { admin_up: false, running: false, ..link(9, "v1") }, Presence::Here);
    assert_eq!(bench.work(), []);
    bench.link(link(9, "v1"), Presence::Here);
    assert_eq!(bench.work(), [add(POD, 9), add(POD6, 9)]);
    // Another name: not the link that was meant.
    bench.link(link(9, "other"), Presence::Here);
    let gone = bench.work();
    assert!(gone.iter().all(|(verb, ..)| *verb == Verb::Delete) && gone.len() == 2, "{gone:?}");
}

#[test]
fn an_address_that_moves_is_replaced_in_one_write() {
    let mut bench = Bench::new(&[]);
    bench.want(POD, Some("v1"));
    bench.work();
    bench.want(POD, Some("v2"));
    assert_eq!(bench.work(), [(Verb::Replace, POD.to_owned(), 2)]);
}

#[test]
fn a_fresh_process_adopts_what_is_wished_and_sweeps_the_rest_only_when_told() {
    let mut bench = Bench::new(&[(POD, 1), ("10.65.0.2", 2), (POD6, 1), ("10.65.0.3", 2)]);
    assert_eq!(bench.state_of(POD), HostRouteState::Unwanted);
    bench.want(POD, Some("v1"));
    bench.want(POD6, Some("v2"));
    assert_eq!(bench.work(), [(Verb::Replace, POD6.to_owned(), 2)]);
    assert_eq!(bench.state_of(POD), HostRouteState::Installed);
    bench.want("10.65.0.3", None);
    assert_eq!(bench.work(), [(Verb::Delete, "10.65.0.3".to_owned(), 2)], "a word for it");
    bench.state.sources_in_sync(bench.now);
    assert_eq!(bench.work(), [], "BGP's sources know nothing of workloads");
    bench.state.locals_in_sync();
    assert_eq!(bench.work(), [(Verb::Delete, "10.65.0.2".to_owned(), 2)]);
}

#[test]
fn what_others_delete_comes_back_and_what_they_add_in_our_name_goes() {
    let mut bench = Bench::new(&[]);
    bench.state.locals_in_sync();
    bench.want(POD, Some("v1"));
    bench.work();
    bench.state.learn(Fact::RouteGone(ours(POD, 1), Origin::Other), bench.now);
    assert_eq!(bench.work(), [], "not at once: they may have meant the link");
    bench.pass(100);
    assert_eq!(bench.work(), [add(POD, 1)]);
    assert_eq!(bench.state.figures().drift_repaired, 1);
    bench.told(ours("10.65.0.9", 2), Arrival::Added);
    bench.pass(100);
    assert_eq!(bench.work(), [(Verb::Delete, "10.65.0.9".to_owned(), 2)]);
    bench.told(ours(POD, 2), Arrival::Replaced);
    bench.pass(100);
    assert_eq!(bench.work(), [(Verb::Replace, POD.to_owned(), 1)]);
}

#[test]
fn whoever_has_the_address_is_left_alone_and_named() {
    let mut bench = Bench::new(&[]);
    for (metric, oif, conflicts) in [(0, 2, true), (1, 1, true), (1024, 2, true), (1024, 1, false)]
    {
        let route = foreign(POD, oif, metric);
        bench.told(route.clone(), Arrival::Added);
        bench.want(POD, Some("v1"));
        assert_eq!(bench.work().is_empty(), conflicts, "metric {metric} over v{oif}");
        let link = Some(format!("v{oif}"));
        let by = HostRouteConflict::Route { protocol: 3, metric, link };
        let told = if conflicts { HostRouteState::Conflict(by) } else { HostRouteState::Installed };
        assert_eq!(bench.state_of(POD), told);
        bench.state.learn(Fact::RouteGone(route, Origin::Other), bench.now);
        assert_eq!(bench.work().len(), usize::from(conflicts), "it comes when theirs goes");
        assert_eq!(bench.state_of(POD), HostRouteState::Installed);
        bench.want(POD, None);
        bench.state.locals_in_sync();
        bench.work();
    }
    let own = IpNet::from(ip(POD));
    bench.state.learn(Fact::Address(KernelAddress::unmarked(2, own), Presence::Here), bench.now);
    bench.want(POD, Some("v1"));
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state_of(POD), HostRouteState::Conflict(HostRouteConflict::OwnAddress));
    bench.state.learn(Fact::Address(KernelAddress::unmarked(2, own), Presence::Gone), bench.now);
    assert_eq!(bench.work(), [add(POD, 1)]);
    // Somebody takes the very key of ours.
    bench.told(foreign(POD, 2, LOCAL_METRIC), Arrival::Replaced);
    assert_eq!(bench.work(), []);
    assert!(matches!(bench.state_of(POD), HostRouteState::Conflict(_)));
}

#[test]
fn a_refusal_is_told_and_tried_again_later() {
    let mut bench = Bench::new(&[]);
    bench.want(POD, Some("v1"));
    let ops = bench.plan();
    assert_eq!(bench.state_of(POD), HostRouteState::Pending);
    bench.state.locals_done(&ops, &[(0, libc::ENOMEM)], bench.now);
    assert_eq!(bench.state_of(POD), HostRouteState::Refused(libc::ENOMEM));
    assert_eq!(bench.work(), []);
    bench.pass(1000);
    assert_eq!(bench.work(), [add(POD, 1)]);
    assert_eq!(bench.state_of(POD), HostRouteState::Installed);
    // A move that is refused leaves what stood.
    bench.want(POD, Some("v2"));
    let ops = bench.plan();
    bench.state.locals_done(&ops, &[(0, libc::ENODEV)], bench.now);
    bench.want(POD, Some("v1"));
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state_of(POD), HostRouteState::Installed);
}

#[test]
fn what_goes_with_its_link_while_a_write_is_under_way_is_known_to_be_gone() {
    let mut bench = Bench::new(&[]);
    bench.want(POD, Some("v1"));
    let ops = bench.plan();
    bench.link(link(1, "v1"), Presence::Gone);
    bench.link(link(8, "v1"), Presence::Here);
    assert_eq!(bench.plan(), [], "one at a time");
    bench.state.locals_done(&ops, &[], bench.now);
    assert_eq!(bench.work(), [add(POD, 8)]);
}

#[test]
fn an_audit_repairs_what_was_lost_unheard_but_judges_nothing_under_way() {
    let mut bench = Bench::new(&[]);
    bench.state.locals_in_sync();
    bench.want(POD, Some("v1"));
    bench.work();
    bench.want(POD6, Some("v1"));
    let ops = bench.plan();
    bench.state.begin_audit();
    bench.want("10.65.0.3", Some("v2"));
    bench.work();
    let routes = bench.routes(&[("10.65.0.8", 2)]);
    let reading = Reading { routes: Some(routes), ..Reading::default() };
    bench.state.read(reading, Occasion::Audit, bench.now);
    bench.state.locals_done(&ops, &[], bench.now);
    assert_eq!(bench.work(), [add(POD, 1), (Verb::Delete, "10.65.0.8".to_owned(), 2)]);
}

#[test]
fn another_table_takes_the_wishes_along() {
    let mut bench = Bench::new(&[]);
    bench.state.locals_in_sync();
    bench.want(POD, Some("v1"));
    bench.work();
    let gone: Vec<IpAddr> = bench.state.flush_locals().iter().map(|op| op.address).collect();
    assert_eq!(gone, [ip(POD)]);
    let config = FibConfig { table: 100, ..FibConfig::default() };
    let abilities = Abilities { objects: true, write: true };
    bench.state = bench.state.moved(config, abilities, bench.now);
    bench.link(link(1, "v1"), Presence::Here);
    assert_eq!(bench.work(), [add(POD, 1)]);
}

#[test]
fn bgp_has_its_own_route_beside_and_gives_way_at_the_same_metric() {
    let mut bench = Bench::new(&[]);
    bench.state.locals_in_sync();
    bench.want(POD, Some("v1"));
    bench.work();
    let prefix = IpNet::from(ip(POD));
    let mut wish = Wish::plain(Target::Blackhole);
    for (metric, written) in [(None, 1), (Some(LOCAL_METRIC), 0)] {
        wish.metric = metric;
        let id = bench.state.hold_wish(&wish, bench.now);
        bench.state.want(prefix, Some(id), bench.now);
        bench.state.release_wish(id, bench.now);
        let ops = bench.state.plan_routes(10);
        assert_eq!(ops.iter().filter(|op| op.verb != Verb::Delete).count(), written);
        bench.state.routes_done(&ops, &[], bench.now);
    }
    assert_eq!(bench.state.figures().conflicts, 1);
    bench.want(POD, None);
    bench.work();
    assert_eq!(bench.state.plan_routes(10).len(), 1, "its turn");
}

#[test]
fn rows_show_workloads_in_their_place() {
    let mut bench = Bench::new(&[("10.65.0.7", 2)]);
    for pod in ["10.65.0.3", POD, POD6] {
        bench.want(pod, Some("v1"));
    }
    bench.work();
    let id = bench.state.hold_wish(&Wish::plain(Target::Blackhole), bench.now);
    for prefix in ["10.65.0.0/26", "10.65.0.3/32", "10.66.0.0/16"] {
        let prefix = prefix.parse().expect("a prefix");
        bench.state.want(prefix, Some(id), bench.now);
    }
    let all = [
        "10.65.0.0/26",
        "10.65.0.1/32",
        "10.65.0.3/32",
        "10.65.0.3/32",
        "10.65.0.7/32",
        "10.66.0.0/16",
        "fd00::1/128",
    ];
    let names = |rows: Vec<crate::api::FibRow>| -> Vec<String> {
        rows.iter().map(|row| row.prefix.to_string()).collect()
    };
    assert_eq!(names(bench.state.rows(RowFilter::All, None, 100)), all);
    // In slices of any size nothing is lost or told twice.
    for limit in 1..all.len() {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let slice = bench.state.rows(RowFilter::All, after, limit);
            after = slice.last().map(|row| row.prefix);
            if slice.is_empty() {
                break;
            }
            seen.extend(names(slice));
        }
        assert_eq!(seen, all, "slices of {limit}");
    }
    let found = bench.state.rows(RowFilter::Lookup(ip(POD)), None, 9);
    assert_eq!(names(found), ["10.65.0.1/32"]);
}

#[test]
fn a_bgp_next_hop_may_be_a_workload() {
    let mut bench = Bench::new(&[]);
    let next_hop = BgpNextHop { address: ip(POD), link_local: None, interface: None };
    bench.state.track(next_hop);
    bench.state.settle(bench.now);
    bench.state.take_events();
    bench.want(POD, Some("v2"));
    bench.state.settle(bench.now);
    bench.pass(200);
    bench.state.settle(bench.now);
    let events = bench.state.take_events();
    let told = events.iter().find_map(|event| match event {
        FibEvent::NextHop(_, Some(to)) => to.interface,
        _ => None,
    });
    assert_eq!(told, Some(2), "{events:?}");
}
