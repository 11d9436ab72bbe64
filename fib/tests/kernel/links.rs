//! The kernel drops routes over a link that goes down, IPv4 ones without a word.

use margay_fib::{FibConfig, FibEvent, NexthopObjects};

use crate::net::*;

const BOTH: [NexthopObjects; 2] = [NexthopObjects::On, NexthopObjects::Off];

#[test]
fn a_link_that_goes_down_and_up_has_its_routes_again() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24"]);
        net.ip("addr add 2001:db8::1/64 dev v0 nodad");
        // IPv6 addresses normally go with the link and are not seen again.
        std::fs::write("/proc/sys/net/ipv6/conf/v0/keep_addr_on_down", "1").expect("written");
        let mut fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.in_sync();
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
        until("installed", || net.has("192.0.2.0/24") && net.has("2001:db8:1::/48"));
        fib.settle();
        fib.forget();
        net.ip("link set dev v0 down");
        assert!(!net.has("192.0.2.0/24"), "the kernel dropped it");
        fib.await_event("told", |e| *e == FibEvent::Installed(prefix("192.0.2.0/24"), false));
        until("the rows say so", || fib.rows().iter().all(|row| !row.in_kernel));
        net.ip("link set dev v0 up");
        until("back", || {
            net.hops("192.0.2.0/24", "") == ["10.0.0.2 dev v0 x1"]
                && net.hops("2001:db8:1::/48", "") == ["2001:db8::2 dev v0 x1"]
        });
        until("the rows say so", || fib.rows().iter().all(|row| row.in_kernel));
        assert_eq!(fib.handle.status().drift_repaired, 0, "the kernel did it, not a stranger");
        fib.handle.stop(true);
    }
}

#[test]
fn without_carrier_a_next_hop_is_unreachable_and_its_routes_go() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24"]);
        let mut fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.in_sync();
        fib.handle.track(nh("10.0.0.2"));
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.await_event("up", |e| matches!(e, FibEvent::NextHop(_, Some(_))));
        fib.settle();
        assert!(net.has("192.0.2.0/24"));
        net.ip("link set dev v0p down");
        fib.await_event("down", |e| matches!(e, FibEvent::NextHop(_, None)));
        until("withdrawn", || !net.has("192.0.2.0/24"));
        net.ip("link set dev v0p up");
        fib.await_event("up again", |e| matches!(e, FibEvent::NextHop(_, Some(_))));
        until("back", || net.has("192.0.2.0/24"));
        fib.handle.stop(true);
    }
}

#[test]
fn the_last_address_of_a_link_takes_its_routes_along_and_brings_them_back() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24"]);
        let fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.in_sync();
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.settle();
        net.ip("addr del 10.0.0.1/24 dev v0");
        until("gone", || !net.has("192.0.2.0/24"));
        net.ip("addr add 10.0.0.1/24 dev v0");
        until("back", || net.hops("192.0.2.0/24", "") == ["10.0.0.2 dev v0 x1"]);
        fib.handle.stop(true);
    }
}

#[test]
fn a_link_that_is_removed_and_made_again_is_another_link() {
    for nexthop_objects in BOTH {
        let Some(net) = enter() else { return };
        net.link("v0", &["10.0.0.1/24"]);
        let mut fib = start(FibConfig { nexthop_objects, ..FibConfig::default() });
        fib.handle.in_sync();
        fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
        fib.settle();
        let old = net.index("v0");
        net.ip("link del dev v0");
        fib.await_event("gone", |e| *e == FibEvent::LinkGone(old));
        assert!(fib.handle.links().iter().all(|link| link.name != "v0"));
        net.link("v0", &["10.0.0.1/24"]);
        until("back", || net.hops("192.0.2.0/24", "") == ["10.0.0.2 dev v0 x1"]);
        let links = fib.handle.links();
        let link = links.iter().find(|link| link.name == "v0").expect("listed");
        assert!(link.up && link.mac.is_some() && link.addresses.contains(&prefix("10.0.0.1/24")));
        fib.handle.stop(true);
    }
}
