//! What is wished is what `ip route` shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use margay_fib::{BgpNextHop, FibConfig, FibEvent, NexthopObjects, Target, Wish};

use crate::net::*;

/// With next-hop objects and without: the routes are the same.
const BOTH: [NexthopObjects; 2] = [NexthopObjects::On, NexthopObjects::Off];

#[test]
fn routes_of_both_families_come_change_and_go() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
        let fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.2 dev v0 x1"]);
        assert_eq!(net.hops("2001:db8:1::/48", ""), ["2001:db8::2 dev v0 x1"]);
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.3"]));
        fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::3"]));
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.3 dev v0 x1"]);
        assert_eq!(net.hops("2001:db8:1::/48", ""), ["2001:db8::3 dev v0 x1"]);
        let rows = fib.rows();
        assert!(rows.len() == 2 && rows.iter().all(|row| row.in_kernel), "{rows:?}");
        fib.handle.set(prefix("192.0.2.0/24"), None);
        fib.handle.set(prefix("2001:db8:1::/48"), None);
        fib.settle();
        assert!(!net.has("192.0.2.0/24"));
        assert!(!net.has("2001:db8:1::/48"));
        assert_eq!(fib.handle.status().errors, 0);
        fib.handle.stop(true);
    }
}

#[test]
fn dropping_routes_are_of_their_kind() {
    let Some(net) = enter() else { return };
    let fib = start(FibConfig::default());
    let kinds = [
        (Target::Blackhole, "blackhole"),
        (Target::Unreachable, "unreachable"),
        (Target::Prohibit, "prohibit"),
    ];
    for (target, kind) in kinds {
        fib.handle.set(prefix("192.0.2.0/24"), wish(target.clone()));
        fib.handle.set(prefix("2001:db8:1::/48"), wish(target));
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), [kind]);
        assert_eq!(net.hops("2001:db8:1::/48", ""), [kind]);
        assert!(fib.rows().iter().all(|row| row.kind == kind && row.in_kernel));
    }
    fib.handle.stop(true);
}

#[test]
fn several_next_hops_share_by_weight() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
        net.link("v1", &["10.0.1.1/24", "2001:db8:0:1::1/64"]);
        let fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.set(prefix("192.0.2.0/24"), weighted(&[("10.0.0.2", 3), ("10.0.1.2", 1)]));
        fib.handle.set(
            prefix("2001:db8:1::/48"),
            weighted(&[("2001:db8::2", 1), ("2001:db8:0:1::2", 5)]),
        );
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.2 dev v0 x3", "10.0.1.2 dev v1 x1"]);
        assert_eq!(
            net.hops("2001:db8:1::/48", ""),
            ["2001:db8:0:1::2 dev v1 x5", "2001:db8::2 dev v0 x1"]
        );
        // One of them loses its carrier: the others carry on.
        net.ip("link set dev v1p down");
        until("the dead next hop is out", || {
            net.hops("192.0.2.0/24", "") == ["10.0.0.2 dev v0 x1"]
                && net.hops("2001:db8:1::/48", "") == ["2001:db8::2 dev v0 x1"]
        });
        net.ip("link set dev v1p up");
        until("it is back", || {
            net.hops("192.0.2.0/24", "").len() == 2 && net.hops("2001:db8:1::/48", "").len() == 2
        });
        fib.handle.stop(true);
    }
}

#[test]
fn an_ipv4_route_goes_over_an_ipv6_next_hop() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        let oif = net.link("v0", &["2001:db8::1/64"]);
        let fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.set(prefix("192.0.2.0/24"), via(&["2001:db8::2"]));
        // A link-local next hop needs its link, as unnumbered peers have it.
        let unnumbered = BgpNextHop {
            address: "fe80::7".parse().expect("address"),
            link_local: None,
            interface: Some(oif),
        };
        fib.handle.set(prefix("198.51.100.0/24"), wish(Target::Via(vec![(unnumbered, 1)])));
        fib.handle.set(prefix("2001:db8:1::/48"), wish(Target::Via(vec![(unnumbered, 1)])));
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), ["2001:db8::2 dev v0 x1"]);
        assert_eq!(net.hops("198.51.100.0/24", ""), ["fe80::7 dev v0 x1"]);
        assert_eq!(net.hops("2001:db8:1::/48", ""), ["fe80::7 dev v0 x1"]);
        assert_eq!(fib.handle.status().errors, 0);
        fib.handle.stop(true);
    }
}

#[test]
fn of_two_ipv6_next_hops_the_link_local_one_is_the_gateway() {
    let Some(net) = enter() else { return };
    net.link("v0", &["2001:db8::1/64"]);
    let fib = start(FibConfig::default());
    let both = BgpNextHop {
        address: "2001:db8::2".parse().expect("address"),
        link_local: Some("fe80::2".parse().expect("address")),
        interface: None,
    };
    fib.handle.set(prefix("2001:db8:1::/48"), wish(Target::Via(vec![(both, 1)])));
    fib.settle();
    assert_eq!(net.hops("2001:db8:1::/48", ""), ["fe80::2 dev v0 x1"]);
    fib.handle.stop(true);
}

#[test]
fn a_gateway_outside_every_connected_prefix_is_used_on_its_link() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        let oif = net.link("v0", &["10.0.0.1/32"]);
        let fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        let unnumbered = BgpNextHop {
            address: "10.9.9.9".parse().expect("address"),
            link_local: None,
            interface: Some(oif),
        };
        fib.handle.set(prefix("192.0.2.0/24"), wish(Target::Via(vec![(unnumbered, 1)])));
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), ["10.9.9.9 dev v0 x1"]);
        fib.handle.stop(true);
    }
}

#[test]
fn metric_table_and_source_are_as_wished() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24", "10.0.0.9/24", "2001:db8::1/64"]);
    let config = FibConfig { table: 1000, metric: 77, protocol: 199, ..FibConfig::default() };
    let mut fib = start(config);
    let source = |address: &str| Some(address.parse().expect("address"));
    let plain = via(&["10.0.0.2"]).expect("a wish");
    fib.handle.set(
        prefix("192.0.2.0/24"),
        Some(Wish { preferred_source: source("10.0.0.9"), ..plain.clone() }),
    );
    fib.handle.set(prefix("198.51.100.0/24"), Some(Wish { metric: Some(5), ..plain.clone() }));
    fib.settle();
    let shown = net.ip("route show table 1000");
    let line = |prefix: &str| shown.lines().find(|l| l.starts_with(prefix)).unwrap_or_default();
    for word in ["proto 199", "metric 77", "src 10.0.0.9"] {
        assert!(line("192.0.2.0/24").contains(word), "{shown}");
    }
    assert!(line("198.51.100.0/24").contains("metric 5"), "{shown}");
    assert!(net.ip("route show").lines().all(|l| !l.contains("192.0.2.0/24")));

    // The kernel drops a route whose source address goes; it is back with the address.
    fib.forget();
    net.ip("addr del 10.0.0.9/24 dev v0");
    fib.await_event("lost", |e| *e == FibEvent::Installed(prefix("192.0.2.0/24"), false));
    until("gone", || !net.ip("route show table 1000").contains("192.0.2.0/24"));
    net.ip("addr add 10.0.0.9/24 dev v0");
    until("back", || net.ip("route show table 1000").contains("src 10.0.0.9"));

    // Another metric is another route for the kernel: one of the two remains.
    fib.handle.set(prefix("198.51.100.0/24"), Some(Wish { metric: Some(6), ..plain }));
    fib.settle();
    let shown = net.ip("route show table 1000");
    let found: Vec<_> = shown.lines().filter(|l| l.starts_with("198.51.100.0/24")).collect();
    assert!(found.len() == 1 && found[0].contains("metric 6"), "{shown}");
    fib.handle.stop(true);
}

#[test]
fn stopping_keeps_the_routes_or_takes_them_along() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24"]);
        let config = FibConfig { nexthop_objects, ..FibConfig::default() };
        let fib = start(config.clone());
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.handle.set(prefix("198.51.100.0/24"), wish(Target::Blackhole));
        fib.settle();
        fib.handle.stop(true);
        assert!(net.has("192.0.2.0/24") && net.has("198.51.100.0/24"));
        assert_eq!(fib.rows(), [], "a stopped one answers at once");

        let fib = start(config);
        fib.handle.stop(false);
        assert!(!net.has("192.0.2.0/24") && !net.has("198.51.100.0/24"));
        assert_eq!(net.ip("nexthop show").trim(), "");
    }
}

#[test]
fn a_new_configuration_moves_the_routes() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    let fib = start(FibConfig::default());
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
    fib.settle();
    fib.handle.in_sync();
    let moved = FibConfig { table: 1000, ..FibConfig::default() };
    fib.handle.reconfigure(moved.clone()).expect("taken");
    fib.settle();
    assert!(!net.has("192.0.2.0/24"));
    assert_eq!(net.hops("192.0.2.0/24", "table 1000"), ["10.0.0.2 dev v0 x1"]);
    let other = FibConfig { metric: 9, nexthop_objects: NexthopObjects::Off, ..moved };
    fib.handle.reconfigure(other).expect("taken");
    fib.settle();
    let shown = net.ip("route show table 1000");
    assert!(shown.contains("metric 9") && !shown.contains("nhid"), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(fib.handle.reconfigure(FibConfig { table: 255, ..FibConfig::default() }).is_err());
    fib.handle.stop(true);
}

/// Remotely triggered black hole (RFC 5635 §4): an address with a host route that drops is given as
/// next hop to what is to be dropped.
#[test]
fn what_leads_to_a_discard_address_is_dropped() {
    for objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
        net.ip("route add default via 10.0.0.254");
        net.ip("route add blackhole 192.0.2.1/32");
        net.ip("-6 route add blackhole 2001:db8:dead::1/128");
        let fib = start(FibConfig { nexthop_objects: objects, ..FibConfig::default() });
        fib.handle.set(prefix("203.0.113.9/32"), via(&["192.0.2.1"]));
        fib.handle.set(prefix("2001:db8:9::9/128"), via(&["2001:db8:dead::1"]));
        fib.settle();
        assert!(net.ip("route show 203.0.113.9").starts_with("blackhole 203.0.113.9"));
        assert!(net.ip("-6 route show 2001:db8:9::9").starts_with("blackhole 2001:db8:9::9"));
        assert!(fib.rows().iter().all(|row| row.in_kernel && row.kind == "blackhole"));
        // Without the host route the next hop is one like others.
        net.ip("route del blackhole 192.0.2.1/32");
        until("forwarded", || net.ip("route show 203.0.113.9").contains("via 10.0.0.254"));
        fib.handle.stop(true);
    }
}

#[test]
fn figures_count_messages_and_the_lag_while_there_is_one() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    let fib = start(FibConfig::default());
    assert_eq!(fib.handle.status().lag(Instant::now()), Duration::ZERO);
    let routes: Vec<_> = (0..50_000_u32).map(|n| prefix(&numbered(n))).collect();
    // On a busy machine all may be done before we look again.
    let was_late = ["10.0.0.2", "10.0.0.3"].into_iter().cycle().take(100).any(|hop| {
        let begun = Instant::now();
        let wish = via(&[hop]).map(Arc::new);
        fib.handle.set_all(routes.iter().map(|prefix| (*prefix, wish.clone())));
        let lag = fib.handle.status().lag(Instant::now());
        assert!(lag <= begun.elapsed(), "{lag:?}");
        let late = lag > Duration::ZERO;
        fib.settle();
        late
    });
    assert!(was_late, "50,000 routes a hundred times, and never any lag");
    let status = fib.handle.status();
    assert_eq!(status.lag(Instant::now()), Duration::ZERO);
    assert!(status.messages > 50_000, "{status:?}"); // next-hop objects among them
    assert!(status.batches < status.messages / 100, "{status:?}");
    assert_eq!(status.refusals, []);
    fib.handle.stop(false);
}

/// One prefix of 24 bits after another, from 20.0.0.0 on.
fn numbered(n: u32) -> String {
    let address = std::net::Ipv4Addr::from((20 << 24) + (n << 8));
    format!("{address}/24")
}
