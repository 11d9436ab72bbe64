//! Others change what is ours, or have what we want.

use margay_fib::{FibConfig, FibEvent, NexthopObjects, Tuning};

use crate::net::*;

const BOTH: [NexthopObjects; 2] = [NexthopObjects::On, NexthopObjects::Off];

#[test]
fn what_others_delete_or_change_is_put_back() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
        let mut fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
        until("installed", || net.has("192.0.2.0/24") && net.has("2001:db8:1::/48"));
        fib.settle();
        fib.forget();
        net.ip("route del 192.0.2.0/24");
        net.ip("-6 route del 2001:db8:1::/48");
        fib.await_event("told", |e| *e == FibEvent::Installed(prefix("192.0.2.0/24"), false));
        until("back", || net.has("192.0.2.0/24") && net.has("2001:db8:1::/48"));
        until("counted", || fib.handle.status().drift_repaired == 2);
        net.ip("route replace 192.0.2.0/24 via 10.0.0.77 proto 186 metric 32");
        until("corrected", || net.hops("192.0.2.0/24", "") == ["10.0.0.2 dev v0 x1"]);
        // Nobody wished for this one, but it says that it is ours.
        fib.handle.in_sync();
        net.ip("route add 198.51.100.0/24 via 10.0.0.2 proto 186 metric 32");
        until("removed", || !net.has("198.51.100.0/24"));
        fib.handle.stop(true);
    }
}

#[test]
fn objects_others_delete_come_back_with_all_their_routes() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    net.link("v1", &["10.0.1.1/24"]);
    let fib = start(FibConfig::default());
    for i in 0..50 {
        fib.handle.set(prefix(&format!("192.0.{i}.0/24")), via(&["10.0.0.2", "10.0.1.2"]));
    }
    let whole = || net.hops("192.0.7.0/24", "") == ["10.0.0.2 dev v0 x1", "10.0.1.2 dev v1 x1"];
    until("installed", whole);
    fib.settle();
    let shown = net.ip("nexthop show");
    let id = |line: &str| line.split_whitespace().nth(1).map(str::to_owned).expect("an id");
    let group = shown.lines().find(|l| l.contains("group")).map(id).expect("a group");
    let member = shown.lines().find(|l| l.contains("10.0.1.2")).map(id).expect("a member");
    net.ip(&format!("nexthop del id {member}"));
    until("the member is back", whole);
    net.ip(&format!("nexthop del id {group}"));
    until("the group is back", whole);
    until("all routes are", || {
        net.ip("route show proto 186").lines().filter(|l| l.contains("nhid")).count() == 50
    });
    net.ip("nexthop flush");
    until("all are back", || {
        whole()
            && net.ip("route show proto 186").lines().filter(|l| l.contains("nhid")).count() == 50
    });
    fib.handle.stop(true);
}

#[test]
fn a_foreign_route_of_the_same_key_is_left_alone() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
        net.ip("route add 192.0.2.0/24 via 10.0.0.9 metric 32 proto static");
        net.ip("-6 route add 2001:db8:1::/48 via 2001:db8::9 metric 32 proto static");
        let fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.in_sync();
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
        fib.handle.set(prefix("198.51.100.0/24"), via(&["10.0.0.2"]));
        until("known", || fib.handle.status().conflicts == 2);
        fib.settle();
        assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.9 dev v0 x1"]);
        assert_eq!(net.hops("2001:db8:1::/48", ""), ["2001:db8::9 dev v0 x1"]);
        assert_eq!(fib.rows().iter().filter(|row| row.in_kernel).count(), 1);
        let why = fib.rows().iter().filter(|row| row.error.is_some()).count();
        assert_eq!(why, 2, "both rows that give way say so");
        let asked = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8:1::/48", "203.0.113.0/24"];
        let there = fib.handle.in_kernel(asked.map(prefix).to_vec());
        assert_eq!(there, [false, true, false, false], "one for each, in the order asked");
        // When it goes, ours comes.
        net.ip("route del 192.0.2.0/24 proto static");
        net.ip("-6 route del 2001:db8:1::/48 proto static");
        until("installed", || {
            net.hops("192.0.2.0/24", "") == ["10.0.0.2 dev v0 x1"]
                && net.hops("2001:db8:1::/48", "") == ["2001:db8::2 dev v0 x1"]
        });
        // Somebody takes the place of ours: theirs, now.
        net.ip("route replace 198.51.100.0/24 via 10.0.0.9 metric 32 proto static");
        until("noticed", || fib.handle.status().conflicts == 1);
        fib.settle();
        assert_eq!(net.hops("198.51.100.0/24", ""), ["10.0.0.9 dev v0 x1"]);
        // Withdrawing ours does not touch theirs.
        fib.handle.set(prefix("198.51.100.0/24"), None);
        fib.settle();
        assert_eq!(net.hops("198.51.100.0/24", ""), ["10.0.0.9 dev v0 x1"]);
        assert_eq!(fib.handle.status().errors, 0);
        fib.handle.stop(false);
        assert!(net.has("198.51.100.0/24") && !net.has("192.0.2.0/24"));
    }
}

#[test]
fn lost_notifications_lead_to_a_full_reading() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    let tuning = Tuning { listener_buffer: Some(1), ..Tuning::default() };
    let mut fib = start_tuned(FibConfig::default(), tuning);
    for i in 0..100 {
        fib.handle.set(prefix(&format!("192.0.{i}.0/24")), via(&["10.0.0.2"]));
    }
    fib.settle();
    fib.handle.track(nh("172.16.0.1"));
    fib.await_event("unreachable", |e| matches!(e, FibEvent::NextHop(_, None)));
    let mut lines = String::new();
    for i in 0..100 {
        lines.push_str(&format!("route del 192.0.{i}.0/24\n"));
    }
    let noise = |verb: &str| -> String {
        let line =
            |i: u32| format!("route {verb} 100.64.{}.{}/32 via 10.0.0.9\n", i / 250, i % 250);
        (0..2000).map(line).collect()
    };
    lines.push_str(&noise("add"));
    lines.push_str("route add 172.16.0.0/24 via 10.0.0.9\n");
    net.batch(&lines);
    fib.await_event("reachable", |e| matches!(e, FibEvent::NextHop(_, Some(_))));
    until("all back", || net.ip("route show proto 186").lines().count() == 100);
    // A reader that keeps up loses nothing: more noise, until it does not.
    until("read anew", || {
        net.batch(&(noise("del") + &noise("add")));
        fib.handle.status().resyncs > 0
    });
    fib.handle.stop(true);
}

#[test]
fn a_slow_look_finds_nothing_when_all_is_well() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
    let every = std::time::Duration::from_millis(50);
    let fib = start_tuned(FibConfig::default(), Tuning { audit_every: every, ..Tuning::default() });
    for i in 0..2000 {
        let p = format!("10.{}.{}.0/24", 1 + i / 250, i % 250);
        fib.handle.set(prefix(&p), via(&["10.0.0.2"]));
    }
    fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
    until("installed", || fib.handle.status().routes_v6 == 1);
    fib.settle();
    let before = fib.handle.status();
    // Some audits, with changes meanwhile.
    for round in 0..20 {
        let gateway = if round % 2 == 0 { "10.0.0.3" } else { "10.0.0.2" };
        for i in 0..50 {
            fib.handle.set(prefix(&format!("10.1.{i}.0/24")), via(&[gateway]));
        }
        fib.settle();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let after = fib.handle.status();
    assert_eq!(after.drift_repaired, 0);
    assert_eq!(after.errors, 0);
    assert_eq!(after.applied, before.applied + 20 * 50);
    assert!(fib.rows().iter().all(|row| row.in_kernel));
    fib.handle.stop(true);
}
