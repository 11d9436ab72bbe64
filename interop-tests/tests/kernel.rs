//! Routes in the kernel: they survive the daemon, follow several next hops, and cross
//! unnumbered links.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use interop_tests::{pair::SOON, wire::Wire};
use testkit::{
    Margay,
    bgp::{Announcement, Family, Neighbor, Speaker},
    have_root,
    kernel::{self, Monitor},
    peer::{Bird, Frr, Peer},
    replay::{self, RecordedPeer, Session},
    until,
    wait::{holds, until_eq},
};

/// How many routes the daemon is killed under.
const MANY: u32 = 200_000;
/// Of these, how many the peer no longer has when the daemon is back.
const GONE: u32 = 1_000;

const ONE_PEER: &str = "\
[bgp]
asn = 65001
router-id = \"10.0.0.1\"
require-policy = false

[[bgp.peer]]
name = \"feed\"
address = \"10.0.0.2\"
asn = 65002
connect-retry = 1
";

fn feed() -> RecordedPeer {
    RecordedPeer {
        asn: 65002,
        address: Ipv4Addr::new(10, 0, 0, 2),
        four_octet: true,
        updates: Vec::new(),
    }
}

fn play(session: &mut Session, count: u32) -> Result<()> {
    let prefixes = replay::prefixes(count);
    session.play(&replay::announcements(65002, Ipv4Addr::new(10, 0, 0, 2), &prefixes))?;
    session.play(&[replay::end_of_rib()])
}

fn installed(margay: &Margay) -> Result<u64> {
    let status = margay.json(&["status"])?;
    let installed = &status["routes"]["ipv4-unicast"]["installed"];
    installed.as_u64().with_context(|| format!("no count of installed routes in {status}"))
}

#[test]
fn killed_under_200k_routes_it_leaves_them_and_takes_them_over() -> Result<()> {
    if !have_root("killed_under_200k_routes_it_leaves_them_and_takes_them_over") {
        return Ok(());
    }
    let patience = Duration::from_secs(90);
    let mut wire = Wire::new("killed")?;
    let mut margay = Margay::new(&wire.near, ONE_PEER);
    let result = (|| {
        margay.start()?;
        let mut session = Session::accept(&wire.far, &feed())?;
        let start = Instant::now();
        play(&mut session, MANY)?;
        until(
            "200k routes in the kernel",
            patience,
            || Ok(installed(&margay)? == u64::from(MANY)),
        )?;
        let many = usize::try_from(MANY)?;
        ensure!(kernel::count_bgp_routes(&wire.near, Family::Ipv4)? == many);
        println!("{MANY} routes installed after {:.1} s", start.elapsed().as_secs_f32());

        let monitor = Monitor::start(&wire.near, &["route"])?;
        margay.kill()?;
        drop(session);
        ensure!(kernel::count_bgp_routes(&wire.near, Family::Ipv4)? == many, "routes died with it");

        // The same table again: nothing may be taken away, not even for a moment.
        margay.start()?;
        let mut session = Session::accept(&wire.far, &feed())?;
        play(&mut session, MANY)?;
        until("200k routes adopted", patience, || Ok(installed(&margay)? == u64::from(MANY)))?;
        holds("every route stays", Duration::from_secs(5), || Ok(monitor.deletions()?.is_empty()))
            .with_context(|| format!("{:?}", monitor.deletions().map(|d| d.first().cloned())))?;
        ensure!(kernel::count_bgp_routes(&wire.near, Family::Ipv4)? == many);
        drop(monitor);

        // A smaller table: what no longer exists is swept, and nothing else.
        margay.kill()?;
        drop(session);
        let monitor = Monitor::start(&wire.near, &["route"])?;
        margay.start()?;
        let mut session = Session::accept(&wire.far, &feed())?;
        play(&mut session, MANY - GONE)?;
        let left = usize::try_from(MANY - GONE)?;
        until_eq("stale routes swept", patience, &left, || {
            kernel::count_bgp_routes(&wire.near, Family::Ipv4)
        })?;
        let deleted = monitor.deletions()?.len();
        ensure!(deleted == usize::try_from(GONE)?, "{deleted} deletions seen");
        Ok(())
    })();
    wire.conclude(result, || margay.log())
}

/// A BIRD in AS `asn` that calls Margay and announces one prefix of each family.
fn bird(host: &testkit::Host, own: [&str; 2], asn: u32, prefixes: &[&str]) -> Bird {
    let neighbors =
        vec![Neighbor::new(own[0], "10.0.0.1", 65001), Neighbor::new(own[1], "fd00::1", 65001)];
    Bird::new(
        host,
        Speaker {
            asn,
            router_id: own[0].into(),
            neighbors,
            announcements: prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect(),
        },
    )
}

#[test]
fn equal_paths_share_the_load_until_one_is_gone() -> Result<()> {
    if !have_root("equal_paths_share_the_load_until_one_is_gone") {
        return Ok(());
    }
    let mut wire = Wire::new("ecmp")?;
    let other = wire.lab.host("other")?;
    wire.lab.link(
        (&wire.near, "eth1", &["10.0.1.1/24", "fd00:0:0:1::1/64"]),
        (&other, "eth0", &["10.0.1.2/24", "fd00:0:0:1::2/64"]),
    )?;
    let mut text = String::from(
        "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\
         multipath = { ebgp = 4, relax-as-path = true }\n",
    );
    for (address, asn) in
        [("10.0.0.2", 65002), ("fd00::2", 65002), ("10.0.1.2", 65003), ("fd00:0:0:1::2", 65003)]
    {
        text +=
            &format!("\n[[bgp.peer]]\naddress = \"{address}\"\nasn = {asn}\nconnect-retry = 1\n");
    }
    let mut margay = Margay::new(&wire.near, &text);
    let prefixes = ["10.9.0.0/24", "fd09::/64"];
    let mut first = bird(&wire.far, ["10.0.0.2", "fd00::2"], 65002, &prefixes);
    let speaker = Speaker {
        asn: 65003,
        router_id: "10.0.1.2".into(),
        neighbors: vec![
            Neighbor::new("10.0.1.2", "10.0.1.1", 65001),
            Neighbor::new("fd00:0:0:1::2", "fd00:0:0:1::1", 65001),
        ],
        announcements: prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect(),
    };
    let mut second = Bird::new(&other, speaker);
    let result = (|| {
        margay.start()?;
        first.start()?;
        second.start()?;
        // By interface: an IPv6 peer may be reached by its global or its link-local address.
        let via = |family: Family, interfaces: &[&str]| -> Result<()> {
            let wanted: Vec<String> = interfaces.iter().map(|dev| (*dev).to_owned()).collect();
            until_eq("next hops of the route", SOON, &wanted, || {
                let routes = kernel::bgp_routes(&wire.near, family)?;
                let hops = routes.into_iter().flat_map(|route| route.hops);
                let mut interfaces: Vec<String> = hops.map(|(_, interface)| interface).collect();
                interfaces.sort();
                Ok(interfaces)
            })
        };
        via(Family::Ipv4, &["eth0", "eth1"])?;
        via(Family::Ipv6, &["eth0", "eth1"])?;
        let equals = margay.routes(&["10.9.0.0/24"])?;
        let used = equals.iter().filter(|path| path["best"] == true || path["multipath"] == true);
        ensure!(used.count() == 2, "{equals:?}");
        second.kill()?;
        via(Family::Ipv4, &["eth0"])?;
        via(Family::Ipv6, &["eth0"])?;
        second.start()?;
        via(Family::Ipv4, &["eth0", "eth1"])?;
        // The link goes down: the kernel drops IPv4 routes without a word.
        wire.near.ip(&["link", "set", "eth1", "down"])?;
        via(Family::Ipv4, &["eth0"])?;
        via(Family::Ipv6, &["eth0"])
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn foreign_routes_are_left_alone_and_lost_ones_put_back() -> Result<()> {
    if !have_root("foreign_routes_are_left_alone_and_lost_ones_put_back") {
        return Ok(());
    }
    let mut wire = Wire::new("drift")?;
    let mut text = ONE_PEER.to_owned();
    text += "\n[[bgp.peer]]\naddress = \"fd00::2\"\nasn = 65002\nconnect-retry = 1\n";
    let mut margay = Margay::new(&wire.near, &text);
    let mut peer = bird(&wire.far, ["10.0.0.2", "fd00::2"], 65002, &["10.9.0.0/24", "fd09::/64"]);
    let result = (|| {
        wire.near.ip(&["route", "add", "10.8.0.0/24", "via", "10.0.0.2", "proto", "static"])?;
        margay.start()?;
        peer.start()?;
        let present = || -> Result<bool> {
            Ok(kernel::bgp_routes(&wire.near, Family::Ipv4)?.len() == 1
                && kernel::bgp_routes(&wire.near, Family::Ipv6)?.len() == 1)
        };
        until("both routes", SOON, present)?;
        wire.near.ip(&["route", "del", "10.9.0.0/24"])?;
        until("the IPv4 route put back", SOON, present)?;
        wire.near.ip(&["-6", "route", "del", "fd09::/64"])?;
        until("the IPv6 route put back", SOON, present)?;
        peer.kill()?;
        until("both routes gone", SOON, || {
            Ok(kernel::bgp_routes(&wire.near, Family::Ipv4)?.is_empty()
                && kernel::bgp_routes(&wire.near, Family::Ipv6)?.is_empty())
        })?;
        let foreign = wire.near.ip(&["route", "show", "proto", "static"])?;
        ensure!(foreign.contains("10.8.0.0/24"), "the static route is gone: {foreign}");
        Ok(())
    })();
    wire.conclude(result, || margay.log())
}

/// Margay with one interface peer and a network of its own.
fn unnumbered(asn: u32, id: &str, network: &str) -> String {
    format!(
        "[bgp]\nasn = {asn}\nrouter-id = \"{id}\"\nrequire-policy = false\n\
         originate = [\"{network}\"]\n\n[fib]\npreferred-source = \"{id}\"\n\n\
         [[bgp.peer]]\nname = \"link\"\ninterface = \"eth0\"\nasn = \"external\"\n\
         families = [\"ipv4-unicast\", \"ipv6-unicast\"]\nconnect-retry = 1\n"
    )
}

/// Two hosts that share a cable without addresses; each has a loopback address to reach.
fn bare_wire(name: &str) -> Result<Wire> {
    let wire = Wire::new(name)?;
    for (host, loopback) in [(&wire.near, "10.255.0.1/32"), (&wire.far, "10.255.0.2/32")] {
        for address in ["10.0.0.0/24", "fd00::/64"] {
            host.ip(&["address", "flush", "dev", "eth0", "to", address])?;
        }
        host.ip(&["address", "add", loopback, "dev", "lo"])?;
    }
    Ok(wire)
}

#[test]
fn margay_and_margay_meet_on_a_cable_without_addresses() -> Result<()> {
    if !have_root("margay_and_margay_meet_on_a_cable_without_addresses") {
        return Ok(());
    }
    let mut wire = bare_wire("unnumbered")?;
    let mut left = Margay::new(&wire.near, &unnumbered(65001, "10.255.0.1", "10.255.0.1/32"));
    let mut right = Margay::new(&wire.far, &unnumbered(65002, "10.255.0.2", "10.255.0.2/32"));
    let result = (|| {
        left.start()?;
        right.start()?;
        until("session up", SOON, || left.established("link"))?;
        until("reaches the other loopback", SOON, || Ok(wire.near.pings("10.255.0.2")))?;
        let routes = kernel::bgp_routes(&wire.near, Family::Ipv4)?;
        let hop = routes.first().and_then(|route| route.hops.first());
        ensure!(
            hop.is_some_and(|(gateway, dev)| gateway.starts_with("fe80::") && dev == "eth0"),
            "{routes:?}"
        );
        Ok(())
    })();
    wire.conclude(result, || format!("{}\n---\n{}", left.log(), right.log()))
}

#[test]
fn margay_and_frr_meet_on_a_cable_without_addresses() -> Result<()> {
    if !have_root("margay_and_frr_meet_on_a_cable_without_addresses") {
        return Ok(());
    }
    let mut wire = bare_wire("unnumbered-frr")?;
    let mut margay = Margay::new(&wire.near, &unnumbered(65001, "10.255.0.1", "10.255.0.1/32"));
    let speaker = Speaker {
        asn: 65002,
        router_id: "10.255.0.2".into(),
        neighbors: Vec::new(),
        announcements: vec![Announcement::plain("10.255.0.2/32")],
    };
    let mut frr = Frr::new(&wire.far, speaker).with(
        "router bgp 65002\n neighbor eth0 interface remote-as external\n \
         neighbor eth0 timers connect 1\n address-family ipv4 unicast\n  \
         neighbor eth0 activate\n exit-address-family\nexit\n",
    );
    let result = (|| {
        margay.start()?;
        frr.start()?;
        until("session up", SOON, || margay.established("link"))?;
        until("reaches FRR's loopback", SOON, || {
            Ok(wire
                .near
                .run("ping", &["-n", "-c1", "-W1", "-I", "10.255.0.1", "10.255.0.2"])
                .is_ok())
        })
    })();
    wire.conclude(result, || format!("{}\n---\n{}", margay.log(), frr.log()))
}
