//! Next hops and foreign routes, as BGP hears of them.

use std::process::Command;

use margay_fib::{FibConfig, FibEvent, Learned, Resolution};

use crate::net::*;

fn answer(fib: &mut Running, address: &str) -> Option<Resolution> {
    let wanted = nh(address);
    match fib.await_event(address, |e| matches!(e, FibEvent::NextHop(n, _) if *n == wanted)) {
        FibEvent::NextHop(_, to) => to,
        other => panic!("{other:?}"),
    }
}

fn direct(link: u32) -> Option<Resolution> {
    Some(Resolution { cost: 0, direct: true, local: false, interface: Some(link) })
}

fn over(link: u32, cost: u32) -> Option<Resolution> {
    Some(Resolution { cost, direct: false, local: false, interface: Some(link) })
}

#[test]
fn next_hops_resolve_through_what_the_kernel_has() {
    let Some(net) = enter() else { return };
    let v0 = net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
    net.link("v1", &["10.0.1.1/24"]);
    net.ip("route add 10.9.0.0/16 via 10.0.0.9 metric 70");
    net.ip("route add default via 10.0.0.254 metric 5");
    net.ip("route add blackhole 10.8.0.0/16");
    net.ip("route add blackhole 10.7.0.1/32");
    net.ip("route add 10.6.0.0/16 metric 90 nexthop via 10.0.0.2 nexthop via 10.0.1.2");
    let mut fib = start(FibConfig::default());
    let dropped = Some(Resolution { cost: 0, direct: false, local: false, interface: None });
    let cases = [
        ("10.0.0.2", direct(v0)),
        ("2001:db8::2", direct(v0)),
        ("10.9.1.1", over(v0, 70)),
        ("172.16.0.1", over(v0, 5)),
        ("10.8.1.1", None),
        ("10.7.0.1", dropped),
        ("10.6.0.1", Some(Resolution { interface: None, ..over(v0, 90).expect("one") })),
        ("2001:db8:ffff::1", None),
        ("fe80::1", None),
        ("10.0.0.1", Some(Resolution { cost: 0, direct: true, local: true, interface: None })),
    ];
    for (address, expected) in cases {
        fib.handle.track(nh(address));
        assert_eq!(answer(&mut fib, address), expected, "{address}");
    }
    // Only what changes is told, and only to those whom it concerns.
    fib.forget();
    net.ip("route replace 10.9.0.0/16 via 10.0.0.8 metric 70");
    net.ip("route add 10.9.1.0/24 via 10.0.0.7 metric 80");
    assert_eq!(answer(&mut fib, "10.9.1.1"), over(v0, 80));
    net.ip("route del default");
    assert_eq!(answer(&mut fib, "172.16.0.1"), None);
    net.ip("route del 10.9.0.0/16");
    net.ip("route del 10.9.1.0/24");
    assert_eq!(answer(&mut fib, "10.9.1.1"), None);
    fib.handle.untrack(nh("10.0.0.2"));
    net.ip("link set dev v0 down");
    fib.await_event("down", |e| *e == FibEvent::NextHop(nh("2001:db8::2"), None));
    fib.handle.stop(true);
}

#[test]
fn the_default_route_resolves_only_where_it_may() {
    let Some(net) = enter() else { return };
    let v0 = net.link("v0", &["10.0.0.1/24"]);
    net.ip("route add default via 10.0.0.254");
    let mut fib = start(FibConfig { resolve_default: false, ..FibConfig::default() });
    fib.handle.track(nh("172.16.0.1"));
    assert_eq!(answer(&mut fib, "172.16.0.1"), None);
    fib.handle.reconfigure(FibConfig::default()).expect("taken");
    assert_eq!(answer(&mut fib, "172.16.0.1"), over(v0, 0));
    fib.handle.stop(true);
}

#[test]
fn a_change_below_a_recursive_next_hop_rewrites_one_object() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    net.link("v1", &["10.0.1.1/24"]);
    net.ip("route add 10.255.0.1/32 via 10.0.0.2 proto static");
    let mut fib = start(FibConfig::default());
    fib.handle.track(nh("10.255.0.1"));
    assert!(answer(&mut fib, "10.255.0.1").is_some());
    for i in 0..1000 {
        let p = format!("192.{}.{}.0/24", i / 250, i % 250);
        fib.handle.set(prefix(&p), via(&["10.255.0.1"]));
    }
    fib.settle();
    assert_eq!(net.hops("192.0.7.0/24", ""), ["10.0.0.2 dev v0 x1"]);
    let before = fib.handle.status().applied;
    net.ip("route replace 10.255.0.1/32 via 10.0.1.2 proto static");
    until("moved", || net.hops("192.0.7.0/24", "") == ["10.0.1.2 dev v1 x1"]);
    // Two paths below, with one next hop above.
    net.ip("route replace 10.255.0.1/32 proto static nexthop via 10.0.1.2 weight 2 nexthop via 10.0.0.2");
    until("both", || net.hops("192.3.7.0/24", "") == ["10.0.0.2 dev v0 x1", "10.0.1.2 dev v1 x2"]);
    assert_eq!(fib.handle.status().applied, before, "no route was written");
    fib.handle.stop(true);
}

#[test]
fn next_hops_resolve_through_our_own_routes_but_never_through_themselves() {
    let Some(net) = enter() else { return };
    let v0 = net.link("v0", &["10.0.0.1/24"]);
    let mut fib = start(FibConfig::default());
    fib.handle.in_sync();
    // eBGP brings the loopback, iBGP routes lead there.
    fib.handle.set(prefix("10.255.0.0/24"), via(&["10.0.0.2"]));
    fib.handle.track(nh("10.255.0.1"));
    assert_eq!(answer(&mut fib, "10.255.0.1"), over(v0, 32));
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.255.0.1"]));
    // And the peer announces that very loopback over itself.
    fib.handle.set(prefix("10.255.0.1/32"), via(&["10.255.0.1"]));
    fib.settle();
    assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.2 dev v0 x1"]);
    assert_eq!(net.hops("10.255.0.1/32", ""), ["10.0.0.2 dev v0 x1"]);
    // Two that lead to each other lead nowhere.
    fib.handle.set(prefix("10.1.0.0/16"), via(&["10.2.0.1"]));
    fib.handle.set(prefix("10.2.0.0/16"), via(&["10.1.0.1"]));
    fib.handle.track(nh("10.1.0.1"));
    assert_eq!(answer(&mut fib, "10.1.0.1"), None);
    assert!(!net.has("10.1.0.0/16") && !net.has("10.2.0.0/16"));
    fib.handle.set(prefix("10.255.0.1/32"), None);
    fib.handle.set(prefix("10.255.0.0/24"), None);
    assert_eq!(answer(&mut fib, "10.255.0.1"), None);
    until("gone", || !net.has("192.0.2.0/24"));
    fib.handle.stop(true);
}

#[test]
fn routes_of_others_are_learned_and_ours_are_not() {
    let Some(net) = enter() else { return };
    let v0 = net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
    net.ip("route add 10.9.0.0/16 via 10.0.0.9 metric 70 proto static");
    net.ip("route add 10.7.0.0/16 via 10.0.0.9 table 100 proto static");
    net.ip("route add 10.6.0.0/16 via 10.0.0.9 table 101 proto static");
    let config = FibConfig { learn_tables: [254, 100].into(), ..FibConfig::default() };
    let mut fib = start(config);
    let learned = |p: &str, table, protocol, metric, gateway: Option<&str>| Learned {
        prefix: prefix(p),
        table,
        protocol,
        metric,
        gateway: gateway.map(|g| g.parse().expect("address")),
        // Host addresses are known by themselves only.
        interface: (!p.ends_with("/32")).then_some(v0),
        connected: gateway.is_none(),
    };
    let mut first = Vec::new();
    loop {
        match fib.await_event("in sync", |e| matches!(e, FibEvent::Learned(..) | FibEvent::InSync))
        {
            FibEvent::Learned(l, true) => first.push(l),
            FibEvent::InSync => break,
            other => panic!("{other:?}"),
        }
    }
    for expected in [
        learned("10.0.0.0/24", 254, 2, 0, None),
        learned("2001:db8::/64", 254, 2, 256, None),
        learned("10.9.0.0/16", 254, 4, 70, Some("10.0.0.9")),
        learned("10.7.0.0/16", 100, 4, 0, Some("10.0.0.9")),
    ] {
        assert!(first.contains(&expected), "{expected:?} is not in {first:?}");
    }
    assert!(first.iter().all(|l| l.table != 101 && !l.prefix.to_string().starts_with("fe80")));
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
    fib.settle();
    net.ip("route del 10.9.0.0/16 metric 70");
    net.ip("route add 10.5.0.0/16 via 10.0.0.9 proto 12");
    fib.await_event("gone", |e| {
        *e == FibEvent::Learned(learned("10.9.0.0/16", 254, 4, 70, Some("10.0.0.9")), false)
    });
    fib.await_event("come", |e| {
        *e == FibEvent::Learned(learned("10.5.0.0/16", 254, 12, 0, Some("10.0.0.9")), true)
    });
    net.ip("addr add 10.255.0.1/32 dev lo");
    fib.await_event("host address", |e| {
        *e == FibEvent::Learned(learned("10.255.0.1/32", 254, 2, 0, None), true)
    });
    net.ip("addr del 10.0.0.1/24 dev v0");
    fib.await_event("unconnected", |e| {
        *e == FibEvent::Learned(learned("10.0.0.0/24", 254, 2, 0, None), false)
    });
    fib.handle.stop(true);
}

#[test]
fn a_table_learned_from_later_is_told_whole_and_taken_back_whole() {
    let Some(net) = enter() else { return };
    let v0 = net.link("v0", &["10.0.0.1/24"]);
    net.ip("route add 10.9.0.0/16 via 10.0.0.9 proto static");
    net.ip("route add 10.7.0.0/16 via 10.0.0.9 table 100 proto static");
    let learning = |tables: &[u32]| FibConfig {
        learn_tables: tables.iter().copied().collect(),
        ..FibConfig::default()
    };
    let mut fib = start(learning(&[]));
    fib.await_event("in sync", |e| *e == FibEvent::InSync);
    let learned = |p: &str, table| Learned {
        prefix: prefix(p),
        table,
        protocol: 4,
        metric: 0,
        gateway: Some("10.0.0.9".parse().expect("address")),
        interface: Some(v0),
        connected: false,
    };
    for (tables, there) in [(&[254, 100][..], true), (&[], false), (&[254, 100], true)] {
        fib.handle.reconfigure(learning(tables)).expect("taken");
        for (p, table) in [("10.9.0.0/16", 254), ("10.7.0.0/16", 100)] {
            let expected = FibEvent::Learned(learned(p, table), there);
            fib.await_event(p, |e| *e == expected);
        }
        fib.forget();
    }
    // Another table for our own routes starts from nothing, but not what was told.
    let moved = FibConfig { table: 200, ..learning(&[100]) };
    fib.handle.reconfigure(moved).expect("taken");
    fib.await_event("taken back", |e| *e == FibEvent::Learned(learned("10.9.0.0/16", 254), false));
    fib.handle.stop(true);
}

#[test]
fn foreign_objects_are_followed_whatever_the_compat_mode() {
    for compat in ["0", "1"] {
        let Some(net) = enter() else { return };
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compat).expect("written");
        let v0 = net.link("v0", &["10.0.0.1/24"]);
        net.ip("nexthop add id 7 via 10.0.0.9 dev v0");
        net.ip("nexthop add id 8 group 7");
        net.ip("route add 10.9.0.0/16 nhid 8");
        let mut fib = start(FibConfig::default());
        fib.handle.track(nh("10.9.1.1"));
        assert_eq!(answer(&mut fib, "10.9.1.1"), over(v0, 0));
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.9.1.1"]));
        fib.settle();
        let nexthops = net.ip("nexthop show");
        assert!(nexthops.contains("id 7 ") && nexthops.contains("id 8 "));
        net.ip("nexthop replace id 7 via 10.0.0.10 dev v0");
        until("followed", || net.ip("nexthop show").matches("10.0.0.10").count() == 2);
        net.ip("nexthop del id 7");
        assert_eq!(answer(&mut fib, "10.9.1.1"), None);
        fib.handle.stop(true);
    }
}

#[test]
fn without_the_right_to_write_next_hops_are_followed_all_the_same() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    // A process of its own, for the right does not come back: the same test binary, as nobody.
    let out = Command::new("setpriv")
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "tracking::child_without_rights", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("setpriv runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && said.contains("degraded as it should be"), "{said}");
    assert!(!net.has("192.0.2.0/24"));
}

/// What the process without the right does; nothing unless the test above starts it.
#[test]
fn child_without_rights() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut fib = start(FibConfig::default());
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
    fib.handle.track(nh("10.0.0.2"));
    assert!(answer(&mut fib, "10.0.0.2").is_some_and(|it| it.direct && !it.local));
    fib.settle();
    let status = fib.handle.status();
    assert!(status.degraded.is_some_and(|why| why.contains("CAP_NET_ADMIN")));
    assert!(fib.rows().iter().all(|row| !row.in_kernel));
    fib.handle.stop(false);
    println!("degraded as it should be");
}
