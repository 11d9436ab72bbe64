//! The host's routes to workloads, in a real kernel.

use std::net::IpAddr;
use std::time::Duration;

use margay_fib::{
    FibConfig, HostRouteConflict, HostRouteError, HostRouteState, LinkSpec, Reach, attach, detach,
    forget_connections,
};

use crate::connections;
use crate::container::Container;
use crate::net::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The link the kernel sends packets to an address over.
fn over(net: Net, address: &str) -> String {
    let (ok, text) = net.try_ip(&format!("route get {address}"));
    if !ok {
        return String::new();
    }
    let mut words = text.split_whitespace().skip_while(|w| *w != "dev");
    words.nth(1).unwrap_or_default().to_owned()
}

#[test]
fn pods_reach_each_other_and_get_their_routes_back() {
    let Some(net) = enter() else { return };
    let fib = start(FibConfig::default());
    let pods: Vec<(Container, LinkSpec)> = (1..=2)
        .map(|n| {
            let addresses = vec![ip(&format!("10.65.0.{n}")), ip(&format!("fd00::{n}"))];
            (Container::new(), LinkSpec::new(&format!("cali{n}"), "eth0", addresses))
        })
        .collect();
    for (container, spec) in &pods {
        attach(container.path(), spec).expect("attached");
        for address in &spec.addresses {
            fib.handle.host_route(*address, &spec.host_name, PATIENCE).expect("installed");
        }
    }
    let shown = net.ip("route show proto 186");
    assert!(shown.contains("10.65.0.1 dev cali1 scope link metric 1"), "{shown}");
    for address in ["10.65.0.2", "fd00::2"] {
        pods[0].0.reaches(address);
    }
    // Somebody deletes them.
    net.ip("route del 10.65.0.1/32 dev cali1");
    net.ip("-6 route del fd00::1/128 dev cali1");
    until("back", || over(net, "10.65.0.1") == "cali1" && over(net, "fd00::1") == "cali1");
    assert_eq!(fib.handle.status().drift_repaired, 2);
    // The link goes down and up.
    net.ip("link set dev cali1 down");
    until("gone", || !net.has("10.65.0.1/32") && !net.has("fd00::1/128"));
    let rows = || fib.handle.host_routes();
    until("told", || rows().iter().filter(|r| r.state == HostRouteState::NoLink).count() == 2);
    net.ip("link set dev cali1 up");
    until("back", || over(net, "10.65.0.1") == "cali1" && over(net, "fd00::1") == "cali1");
    // It is made again under its name.
    detach("cali1").expect("detached");
    until("told", || rows().iter().filter(|r| r.state == HostRouteState::NoLink).count() == 2);
    attach(pods[0].0.path(), &pods[0].1).expect("attached again");
    until("back", || over(net, "10.65.0.1") == "cali1" && over(net, "fd00::1") == "cali1");
    pods[0].0.reaches("10.65.0.2");
    // An address moves.
    fib.handle.host_route(ip("10.65.0.1"), "cali2", PATIENCE).expect("moved");
    assert_eq!(over(net, "10.65.0.1"), "cali2");
    fib.handle.set_host_routes([(ip("10.65.0.1"), None), (ip("10.65.0.2"), None)]);
    until("withdrawn", || net.ip("-4 route show proto 186").is_empty());
    assert_eq!(fib.handle.status().host_routes, 2, "those of IPv6");
    fib.handle.stop(false);
    assert!(net.has("fd00::2/128"), "workloads outlive the daemon");
}

#[test]
fn a_fresh_process_adopts_routes_of_workloads_and_sweeps_when_all_were_told() {
    let Some(net) = enter() else { return };
    net.link("cali1", &[]);
    let first = start(FibConfig::default());
    for address in ["10.65.0.1", "10.65.0.2", "fd00::1", "fd00::2"] {
        first.handle.host_route(ip(address), "cali1", PATIENCE).expect("installed");
    }
    first.handle.stop(true);
    let second = start(FibConfig::default());
    second.handle.in_sync();
    second.settle();
    assert!(net.has("10.65.0.2/32"), "BGP knows nothing of workloads");
    for address in ["10.65.0.1", "fd00::1"] {
        second.handle.host_route(ip(address), "cali1", PATIENCE).expect("adopted");
    }
    assert_eq!(second.handle.status().applied, 0, "nothing was written");
    second.handle.host_routes_in_sync();
    until("swept", || !net.has("10.65.0.2/32") && !net.has("fd00::2/128"));
    assert!(net.has("10.65.0.1/32") && net.has("fd00::1/128"));
    let moved = FibConfig { table: 100, ..FibConfig::default() };
    second.handle.reconfigure(moved).expect("moved");
    // `ip` fails where a table does not exist yet.
    until("moved", || {
        net.try_ip("route show table 100").1.contains("10.65.0.1")
            && net.try_ip("-6 route show table 100").1.contains("fd00::1")
    });
    assert!(!net.has("10.65.0.1/32") && !net.has("fd00::1/128"));
    second.handle.stop(true);
}

#[test]
fn what_stands_in_the_way_is_told_and_left_alone() {
    let Some(net) = enter() else { return };
    net.link("eth0", &["10.0.0.1/24", "2001:db8::1/64"]);
    net.link("cali1", &[]);
    let fib = start(FibConfig::default());
    let conflict = |address: &str| match fib.handle.host_route(ip(address), "cali1", PATIENCE) {
        Err(HostRouteError::Conflict { by, .. }) => by,
        other => panic!("{address}: {other:?}"),
    };
    net.ip("route add 10.65.0.1/32 dev eth0 scope link");
    net.ip("-6 route add fd00::1/128 dev eth0");
    for address in ["10.65.0.1", "fd00::1"] {
        // That somebody made a route is heard a moment later.
        until("heard", || fib.handle.host_route(ip(address), "cali1", PATIENCE).is_err());
        let by = conflict(address);
        let HostRouteConflict::Route { protocol: 3, link: Some(link), .. } = by else {
            panic!("{by:?}");
        };
        assert_eq!(link, "eth0");
        assert_eq!(over(net, address), "eth0", "theirs is left alone");
    }
    assert_eq!(conflict("10.0.0.1"), HostRouteConflict::OwnAddress);
    assert_eq!(conflict("2001:db8::1"), HostRouteConflict::OwnAddress);
    net.ip("route del 10.65.0.1/32 dev eth0");
    net.ip("-6 route del fd00::1/128 dev eth0");
    until("ours come", || over(net, "10.65.0.1") == "cali1" && over(net, "fd00::1") == "cali1");
    let short = Duration::from_millis(50);
    let late = fib.handle.host_route(ip("10.65.0.9"), "cali9", short);
    assert!(matches!(late, Err(HostRouteError::TimedOut { .. })), "{late:?}");
    net.link("cali9", &[]);
    until("it comes all the same", || net.has("10.65.0.9/32"));
    fib.handle.stop(true);
    let stopped = fib.handle.host_route(ip("10.65.0.10"), "cali1", short);
    assert_eq!(stopped, Err(HostRouteError::Stopped));
}

#[test]
fn without_fib_no_route_is_promised() {
    let Some(net) = enter() else { return };
    net.link("cali1", &[]);
    let fib = start(FibConfig { enabled: false, ..FibConfig::default() });
    let off = fib.handle.host_route(ip("10.65.0.1"), "cali1", PATIENCE);
    assert_eq!(off, Err(HostRouteError::Off));
    fib.handle.stop(true);
}

#[test]
fn the_underlays_links_are_found_with_their_mtu() {
    let Some(net) = enter() else { return };
    net.link("eth0", &["10.0.0.1/24"]);
    net.link("eth1", &["10.0.1.1/24"]);
    net.link("cali1", &[]);
    net.ip("link set dev eth1 mtu 9000");
    net.ip("route add default via 10.0.0.254");
    let fib = start(FibConfig::default());
    let of = |node: &[IpAddr]| -> Vec<(String, u32)> {
        fib.handle.uplinks(node).into_iter().map(|l| (l.name, l.mtu)).collect()
    };
    assert_eq!(of(&[]), [("eth0".to_owned(), 1500)]);
    assert_eq!(of(&[ip("10.0.1.1")]), [("eth0".to_owned(), 1500), ("eth1".to_owned(), 9000)]);
    net.ip("link set dev eth0 mtu 1400");
    until("told", || of(&[]) == [("eth0".to_owned(), 1400)]);
    fib.handle.stop(true);
}

#[test]
fn connections_of_an_address_are_forgotten_and_no_others() {
    let Some(_net) = enter() else { return };
    for port in 2000..2300 {
        connections::make("10.0.0.1", "10.0.0.2", port);
    }
    connections::make("10.0.0.1", "10.0.0.3", 3000);
    connections::make("10.0.0.4", "10.0.0.3", 3000);
    connections::make("2001:db8::1", "2001:db8::2", 3001);
    let forget = |all: &[&str]| {
        let all: Vec<_> = all.iter().map(|text| ip(text)).collect();
        forget_connections(&all).expect("asked")
    };
    assert_eq!(forget(&["10.0.0.9"]), 0);
    assert_eq!(forget(&[]), 0);
    assert_eq!(forget(&["10.0.0.2", "2001:db8::2"]), 301, "of both families at once");
    assert_eq!(forget(&["10.0.0.2", "2001:db8::1"]), 0);
    assert_eq!(forget(&["10.0.0.1"]), 1, "with 10.0.0.3");
    assert_eq!(forget(&["10.0.0.3"]), 1, "with 10.0.0.4");
    assert_eq!(forget(&["10.0.0.3"]), 0, "none is left");
}

#[test]
fn a_peer_behind_a_gateway_has_its_route_through_restarts_until_it_is_told_no_more() {
    let Some(net) = enter() else { return };
    net.link("eth0", &["10.0.0.1/24", "2001:db8::1/64"]);
    net.link("cali1", &[]);
    let peers = [("192.0.2.9", "10.0.0.254"), ("2001:db8:9::9", "2001:db8::fe")];
    let left = [("192.0.2.10", "10.0.0.254"), ("2001:db8:9::a", "2001:db8::fe")];
    let reach = |peers: &[(&str, &str)]| Reach {
        gateways: peers.iter().map(|(peer, gateway)| (ip(peer), ip(gateway))).collect(),
        ..Reach::default()
    };
    let prefix = |peer: &str| format!("{peer}/{}", if peer.contains(':') { 128 } else { 32 });
    let via = |gateway: &str| vec![format!("{gateway} dev eth0 x1")];
    let first = start(FibConfig::default());
    first.handle.set_reach(reach(&[peers, left].concat()));
    for (peer, gateway) in [peers, left].concat() {
        until("installed", || net.hops(&prefix(peer), "proto 186 metric 1") == via(gateway));
    }
    first.handle.stop(true);
    let second = start(FibConfig::default());
    second.handle.set_reach(reach(&peers));
    second.handle.host_routes_in_sync();
    until("adopted", || {
        let rows = second.handle.host_routes();
        rows.iter().filter(|row| row.state == HostRouteState::Installed).count() == 2
    });
    assert!(net.has("192.0.2.10/32") && net.has("2001:db8:9::a/128"), "not all are told yet");
    assert_eq!(second.handle.status().applied, 0, "nothing was written");
    second.handle.reach_in_sync();
    until("swept", || !net.has("192.0.2.10/32") && !net.has("2001:db8:9::a/128"));
    // The link goes down and up.
    net.ip("link set dev eth0 down");
    until("gone", || !net.has("192.0.2.9/32"));
    net.ip("link set dev eth0 up");
    net.ip("-6 addr replace 2001:db8::1/64 dev eth0 nodad");
    for (peer, gateway) in peers {
        until("back", || net.hops(&prefix(peer), "proto 186 metric 1") == via(gateway));
    }
    second.handle.set_reach(reach(&peers[..1]));
    until("one is no peer any more", || !net.has("2001:db8:9::9/128"));
    second.handle.stop(false);
    assert!(!net.has("192.0.2.9/32"), "at the end they go");
}

#[test]
fn workloads_call_the_host_by_an_address_that_is_nothing_else() {
    let Some(net) = enter() else { return };
    net.link("eth0", &["10.0.0.1/24", "2001:db8::1/64"]);
    let addresses = vec![ip("10.65.0.1"), ip("fd00::1")];
    let spec = LinkSpec::new("cali1", "eth0", addresses);
    let container = Container::new();
    attach(container.path(), &spec).expect("attached");
    let reach = |ours: &[&str]| {
        let ours = ours.iter().map(|address| ip(address)).collect();
        Reach { addresses: [("lo".to_owned(), ours)].into(), ..Reach::default() }
    };
    let there = |address: &str| net.ip("addr show dev lo").contains(&format!(" {address}/"));
    let first = start(FibConfig::default());
    first.handle.set_reach(reach(&["192.0.2.1", "fd99::1"]));
    first.handle.reach_in_sync();
    until("there", || there("192.0.2.1") && there("fd99::1"));
    for address in &spec.addresses {
        first.handle.host_route(*address, "cali1", PATIENCE).expect("installed");
    }
    for address in ["192.0.2.1", "fd99::1"] {
        container.reaches(address);
    }
    // What the host says of itself to the workload comes from the host's own address all the same.
    for (address, own) in [("10.65.0.1", "src 10.0.0.1"), ("fd00::1", "src 2001:db8::1")] {
        let route = net.ip(&format!("route get {address}"));
        assert!(route.contains(own), "{route}");
    }
    let links = first.handle.links();
    assert!(
        links.iter().all(|link| link.addresses.iter().all(|net| net.addr() != ip("192.0.2.1")))
    );
    first.handle.stop(true);
    let second = start(FibConfig::default());
    second.handle.set_reach(reach(&["192.0.2.1"]));
    second.handle.reach_in_sync();
    until("swept", || !there("fd99::1"));
    assert!(there("192.0.2.1"), "adopted");
    net.ip("addr del 192.0.2.1/32 dev lo");
    until("put back", || there("192.0.2.1"));
    second.handle.host_route(ip("10.65.0.1"), "cali1", PATIENCE).expect("with its routes");
    second.handle.set_reach(Reach::default());
    until("gone", || !there("192.0.2.1"));
    until("the routes stay", || over(net, "10.65.0.1") == "cali1");
    // At the end they go, whatever was told of them, and nobody else's does.
    net.ip("addr add 192.0.2.7/32 dev lo");
    second.handle.set_reach(reach(&["192.0.2.1", "192.0.2.7", "fd99::1"]));
    until("there again", || there("192.0.2.1") && there("fd99::1"));
    second.handle.stop(true);
    assert!(there("192.0.2.1") && there("fd99::1"), "not at a restart");
    start(FibConfig::default()).handle.stop(false);
    assert!(!there("192.0.2.1") && !there("fd99::1") && there("192.0.2.7"));
    assert_eq!(over(net, "10.65.0.1"), "cali1", "workloads outlive the daemon");
}
