use std::time::{Duration, Instant};

use super::*;
use crate::api::{BgpNextHop, FibConfig, FibEvent, HostRouteState, RowFilter};
use crate::plan::fact::{
    Arrival, Fact, Form, Hop, KernelAddress, KernelLink, KernelRoute, Origin, Presence,
};
use crate::plan::readings::{Occasion, ReadRoutes, Reading};
use crate::plan::state::Abilities;
use crate::plan::work::Verb;

const PEER: &str = "192.0.2.9";
const PEER6: &str = "2001:db8:9::9";

struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    /// `v1` and `v2` with a network of each family, and these routes to peers that a former process
    /// left: peer, link and gateway.
    fn new(left: &[(&str, u32, &str)]) -> Self {
        let abilities = Abilities { objects: true, write: true };
        let mut state = State::new(FibConfig::default(), abilities);
        let now = Instant::now();
        let mut routes = ReadRoutes::default();
        for index in [1, 2] {
            state.collect(&mut routes, connected(index, 4));
            state.collect(&mut routes, connected(index, 6));
        }
        for (peer, oif, gateway) in left {
            let route = route(&format!("{peer}/{}", bits(peer)), 186, 1, *oif, Some(gateway));
            state.collect(&mut routes, route);
        }
        let own = |i: u32| KernelAddress::unmarked(i, net(&format!("10.0.{i}.1/24")));
        let reading = Reading {
            links: Some([1, 2].map(|i| link(i, true)).to_vec()),
            addresses: Some([1, 2].map(own).to_vec()),
            objects: Some(Vec::new()),
            routes: Some(routes),
        };
        state.read(reading, Occasion::Start, now);
        Self { state, now }
    }

    fn want(&mut self, gateways: &[(&str, &str)]) {
        let gateways = gateways.iter().map(|(peer, gateway)| (ip(peer), ip(gateway)));
        self.state.set_gateways(gateways.collect());
    }

    /// All that is due, done: verb, peer, link and gateway.
    fn work(&mut self) -> Vec<(Verb, String, u32, Option<IpAddr>)> {
        self.state.settle(self.now);
        let ops = self.state.plan_locals(100, self.now);
        self.state.locals_done(&ops, &[], self.now);
        let told = |op: &crate::plan::locals::LocalOp| {
            (op.verb, op.address.to_string(), op.way.oif, op.way.gateway)
        };
        ops.iter().map(told).collect()
    }

    fn added(peer: &str, oif: u32, gateway: &str) -> (Verb, String, u32, Option<IpAddr>) {
        (Verb::Add, peer.to_owned(), oif, Some(ip(gateway)))
    }

    fn told(&mut self, route: KernelRoute, here: bool) {
        let fact = match here {
            true => Fact::Route(route, Arrival::Added, Origin::Kernel),
            false => Fact::RouteGone(route, Origin::Kernel),
        };
        self.state.learn(fact, self.now);
    }

    fn state_of(&self, peer: &str) -> HostRouteState {
        self.state.local_state(ip(peer))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn bits(address: &str) -> u8 {
    if address.contains(':') { 128 } else { 32 }
}

fn link(index: u32, up: bool) -> KernelLink {
    let name = format!("v{index}");
    KernelLink { index, name, admin_up: up, running: up, mac: None, mtu: 1500 }
}

fn route(prefix: &str, protocol: u8, metric: u32, oif: u32, via: Option<&str>) -> KernelRoute {
    let hop = Hop { gateway: via.map(ip), oif, onlink: via.is_some() && protocol == 186 };
    KernelRoute {
        prefix: net(prefix),
        table: 254,
        protocol,
        tos: 0,
        link_scope: via.is_none(),
        form: Form { via: Via::Hops(vec![(hop, 1)]), metric, prefsrc: None },
    }
}

fn connected(index: u32, family: u8) -> KernelRoute {
    match family {
        4 => route(&format!("10.0.{index}.0/24"), 2, 0, index, None),
        _ => route(&format!("2001:db8:{index}::/64"), 2, 256, index, None),
    }
}

#[test]
fn a_peer_is_reached_over_the_link_its_gateway_is_on() {
    let mut bench = Bench::new(&[]);
    bench.want(&[(PEER, "10.0.2.254"), (PEER6, "2001:db8:1::fe")]);
    let expected = [Bench::added(PEER, 2, "10.0.2.254"), Bench::added(PEER6, 1, "2001:db8:1::fe")];
    assert_eq!(bench.work(), expected);
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state_of(PEER), HostRouteState::Installed);
    let rows = bench.state.rows(RowFilter::Exact(net("192.0.2.9/32")), None, 10);
    assert_eq!(rows[0].next_hops, [(Some(ip("10.0.2.254")), "v2".to_owned(), 1)]);
    // Another gateway takes the place of the first; without one the route goes.
    bench.want(&[(PEER, "10.0.1.254")]);
    assert_eq!(
        bench.work(),
        [
            (Verb::Replace, PEER.to_owned(), 1, Some(ip("10.0.1.254"))),
            (Verb::Delete, PEER6.to_owned(), 1, Some(ip("2001:db8:1::fe"))),
        ]
    );
}

#[test]
fn a_gateway_that_is_on_no_link_is_waited_for_and_told() {
    let mut bench = Bench::new(&[]);
    // One is nowhere, one behind another router, one is this host, one means nothing without a link.
    bench.told(route("10.7.0.0/24", 3, 0, 1, Some("10.0.1.254")), true);
    bench.want(&[
        (PEER, "10.9.0.254"),
        ("192.0.2.10", "10.7.0.1"),
        ("192.0.2.11", "10.0.1.1"),
        (PEER6, "fe80::1"),
    ]);
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state_of(PEER), HostRouteState::NoLink);
    let rows = bench.state.rows(RowFilter::All, None, 10);
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.error == Some("the gateway is on no link of ours")));
    bench.told(route("10.9.0.0/16", 3, 0, 2, None), true);
    assert_eq!(bench.work(), [Bench::added(PEER, 2, "10.9.0.254")]);
}

#[test]
fn the_route_outlives_the_word_of_where_its_gateway_is_but_not_the_link() {
    let mut bench = Bench::new(&[]);
    bench.want(&[(PEER, "10.0.1.254")]);
    assert_eq!(bench.work().len(), 1);
    bench.told(connected(1, 4), false);
    assert_eq!(bench.work(), [], "it is never withdrawn while it is wanted");
    assert_eq!(bench.state_of(PEER), HostRouteState::Installed);
    bench.told(connected(1, 4), true);
    bench.state.learn(Fact::Link(link(1, false), Presence::Here), bench.now);
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state_of(PEER), HostRouteState::NoLink);
    bench.state.learn(Fact::Link(link(1, true), Presence::Here), bench.now);
    bench.told(connected(1, 4), true);
    assert_eq!(bench.work(), [Bench::added(PEER, 1, "10.0.1.254")]);
}

#[test]
fn what_a_former_process_left_is_adopted_and_the_rest_goes_when_all_peers_are_told() {
    let left = [(PEER, 1, "10.0.1.254"), ("192.0.2.10", 1, "10.0.1.254")];
    let mut bench = Bench::new(&left);
    bench.want(&[(PEER, "10.0.1.254")]);
    assert_eq!(bench.work(), []);
    bench.state.locals_in_sync();
    assert_eq!(bench.work(), [], "that was about workloads");
    bench.state.gateways_in_sync();
    let gone = (Verb::Delete, "192.0.2.10".to_owned(), 1, Some(ip("10.0.1.254")));
    assert_eq!(bench.work(), [gone]);
    // And the other way round.
    let mut bench = Bench::new(&[]);
    let pod = route("10.65.0.1/32", 186, 1, 1, None);
    let mut read = ReadRoutes::default();
    bench.state.collect(&mut read, pod);
    let reading = Reading { routes: Some(read), ..Reading::default() };
    bench.state.read(reading, Occasion::Start, bench.now);
    bench.state.gateways_in_sync();
    assert_eq!(bench.work(), []);
    bench.state.locals_in_sync();
    assert_eq!(bench.work(), [(Verb::Delete, "10.65.0.1".to_owned(), 1, None)]);
}

#[test]
fn next_hops_at_the_peer_lead_over_its_gateway() {
    let mut bench = Bench::new(&[]);
    let next_hop = BgpNextHop { address: ip(PEER), link_local: None, interface: None };
    bench.state.track(next_hop);
    bench.state.settle(bench.now);
    bench.want(&[(PEER, "10.0.2.254")]);
    bench.state.settle(bench.now);
    bench.now += Duration::from_secs(1); // what comes back is told a moment later
    bench.state.settle(bench.now);
    let events = bench.state.take_events();
    let mut told = events.into_iter().filter_map(|event| match event {
        FibEvent::NextHop(_, to) => Some(to.map(|to| (to.interface, to.direct, to.cost))),
        _ => None,
    });
    assert_eq!(told.next_back(), Some(Some((Some(2), false, 1))));
}

#[test]
fn a_workload_at_the_address_of_a_peer_has_the_route() {
    let mut bench = Bench::new(&[]);
    bench.want(&[(PEER, "10.0.2.254")]);
    assert_eq!(bench.work().len(), 1);
    bench.state.want_local(ip(PEER), Some("v1".to_owned()));
    assert_eq!(bench.work(), [(Verb::Replace, PEER.to_owned(), 1, None)]);
    bench.state.want_local(ip(PEER), None);
    let back = (Verb::Replace, PEER.to_owned(), 2, Some(ip("10.0.2.254")));
    assert_eq!(bench.work(), [back]);
}

#[test]
fn at_the_end_routes_to_peers_go_and_those_to_workloads_stay() {
    let mut bench = Bench::new(&[]);
    bench.want(&[(PEER, "10.0.2.254")]);
    bench.state.want_local(ip("10.65.0.1"), Some("v1".to_owned()));
    assert_eq!(bench.work().len(), 2);
    let ops = bench.state.flush_gateways();
    let gone: Vec<_> = ops.iter().map(|op| (op.verb, op.address)).collect();
    assert_eq!(gone, [(Verb::Delete, ip(PEER))]);
}

#[test]
fn a_route_of_bgp_with_the_same_metric_is_not_taken_for_one_of_these() {
    let mut bench = Bench::new(&[]);
    let mut of_bgp = route("192.0.2.10/32", 186, 1, 1, Some("10.0.1.254"));
    let Via::Hops(hops) = &mut of_bgp.form.via else { panic!("one hop") };
    hops.iter_mut().for_each(|(hop, _)| hop.onlink = false);
    bench.told(of_bgp, true);
    bench.state.gateways_in_sync();
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state.local_rows(), []);
}
