//! What goes beyond the matrix, one real speaker each: several paths, long messages, hops,
//! limits, confederations, a route server, well-known communities.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop_tests::{pair::SOON, wire::Wire};
use testkit::{
    Host, Lab, Margay, Tap,
    bgp::{Announcement, Communities, Neighbor, Received, Speaker},
    have_root,
    peer::{Bird, Frr, Peer},
    tap::kind,
    until, until_some,
    wait::{holds, until_eq},
};

/// A BIRD whose one session `x` is written out by the test.
fn bird(host: &Host, router_id: &str, routes: &[Announcement], session: &str) -> Bird {
    let speaker = Speaker {
        asn: 65002,
        router_id: router_id.into(),
        neighbors: Vec::new(),
        announcements: routes.to_vec(),
    };
    Bird::new(host, speaker).with(&format!(
        "protocol bgp x {{\n connect delay time 1;\n connect retry time 2;\n \
         error wait time 1, 2;\n {session}\n}}\n"
    ))
}

fn plain(prefixes: &[&str]) -> Vec<Announcement> {
    prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect()
}

fn received(bird: &Bird) -> Result<Vec<Received>> {
    Ok(bird.routes("protocol x")?.into_iter().map(Received::from).collect())
}

fn margay(host: &Host, bgp: &str, peer: &str) -> Margay {
    Margay::new(
        host,
        &format!(
            "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n{bgp}\n\n\
             [[bgp.peer]]\nname = \"far\"\naddress = \"10.0.0.2\"\nasn = 65002\n\
             connect-retry = 1\n{peer}\n"
        ),
    )
}

const CALLS: &str = "local 10.0.0.2 as 65002; neighbor 10.0.0.1 as 65001; direct;";
const ALL: &str = "ipv4 { import all; export all; };";

#[test]
fn several_paths_of_a_prefix_travel_with_their_ids() -> Result<()> {
    if !have_root("several_paths_of_a_prefix_travel_with_their_ids") {
        return Ok(());
    }
    let mut lab = Lab::new("add-path")?;
    let switch = lab.switch("switch")?;
    let names = ["margay", "one", "two", "taker"];
    let mut hosts = Vec::new();
    for (number, name) in (1..).zip(names) {
        let host = lab.host(name)?;
        lab.plug(&switch, &host, "eth0", &[&format!("10.0.0.{number}/24")])?;
        hosts.push(host);
    }
    let mut text =
        String::from("[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n");
    for (name, number, asn, extra) in [
        ("one", 2, 65002, ""),
        ("two", 3, 65003, ""),
        ("taker", 4, 65004, "add-path = { receive = true, send = 4 }\n"),
    ] {
        text += &format!(
            "\n[[bgp.peer]]\nname = \"{name}\"\naddress = \"10.0.0.{number}\"\nasn = {asn}\n\
             connect-retry = 1\n{extra}"
        );
    }
    let mut margay = Margay::new(&hosts[0], &text);
    let session = |number: u8, asn: u32, channel: &str| {
        format!("local 10.0.0.{number} as {asn}; neighbor 10.0.0.1 as 65001; direct; {channel}")
    };
    let route = plain(&["10.9.0.0/24"]);
    let mut one = bird(&hosts[1], "10.0.0.2", &route, &session(2, 65002, ALL));
    let mut two = bird(&hosts[2], "10.0.0.3", &route, &session(3, 65003, ALL));
    let both = "ipv4 { add paths on; import all; export all; };";
    let mut taker = bird(&hosts[3], "10.0.0.4", &plain(&["10.8.0.0/24"]), &session(4, 65004, both));
    let result = (|| {
        margay.start()?;
        for bird in [&mut one, &mut two, &mut taker] {
            bird.start()?;
        }
        let paths = |bird: &Bird| -> Result<Vec<Vec<u32>>> {
            let mut paths: Vec<Vec<u32>> = received(bird)?
                .into_iter()
                .filter(|route| route.prefix == "10.9.0.0/24")
                .map(|route| route.as_path)
                .collect();
            paths.sort();
            Ok(paths)
        };
        let wanted = vec![vec![65001, 65002], vec![65001, 65003]];
        until_eq("both paths at the taker", SOON, &wanted, || paths(&taker))?;
        // It comes when the taker tells it, which may be after it was told both paths.
        let row = until_some("the taker's own route", SOON, || margay.best("10.8.0.0/24"))?;
        ensure!(row["path_id"].is_number(), "a path without id from the taker: {row}");
        one.kill()?;
        until_eq("one path left", SOON, &vec![vec![65001, 65003]], || paths(&taker))?;
        one.start()?;
        until_eq("both again", SOON, &wanted, || paths(&taker))
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn long_messages_are_sent_where_both_sides_take_them() -> Result<()> {
    if !have_root("long_messages_are_sent_where_both_sides_take_them") {
        return Ok(());
    }
    let mut wire = Wire::new("extended")?;
    let tap = Tap::on(&wire.near, "eth0")?;
    let routes: Vec<String> =
        (0..6000).map(|n| format!("\"20.{}.{}.0/24\"", n >> 8, n & 255)).collect();
    let mut margay = margay(&wire.near, &format!("originate = [{}]", routes.join(", ")), "");
    let session = format!("{CALLS} enable extended messages on; {ALL}");
    let mut peer = bird(&wire.far, "10.0.0.2", &[], &session);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("all routes", SOON, || Ok(peer.ask("show route count")?.contains("6000 of 6000")))?;
        let longest = tap.sent("10.0.0.1", kind::UPDATE).iter().map(|seen| seen.body.len()).max();
        ensure!(longest > Some(4096), "the longest UPDATE has {longest:?} octets");
        Ok(())
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn ttl_security_lets_the_neighbour_in_and_nobody_else() -> Result<()> {
    if !have_root("ttl_security_lets_the_neighbour_in_and_nobody_else") {
        return Ok(());
    }
    let mut wire = Wire::new("gtsm")?;
    let mut margay = margay(&wire.near, "", "ttl-security = 1");
    let secure = format!("{CALLS} ttl security on; {ALL}");
    let mut peer = bird(&wire.far, "10.0.0.2", &plain(&["10.2.0.0/24"]), &secure);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("session up", SOON, || margay.established("far"))?;
        peer.kill()?;
        until("session down", SOON, || Ok(!margay.established("far")?))?;
        // Without it the other side's packets have a TTL of 1.
        let mut weak =
            bird(&wire.far, "10.0.0.2", &[], &format!("{CALLS} ttl security off; {ALL}"));
        weak.start()?;
        holds("no session with a low TTL", Duration::from_secs(5), || {
            Ok(!margay.established("far")?)
        })
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn an_external_session_crosses_a_router_with_multihop() -> Result<()> {
    if !have_root("an_external_session_crosses_a_router_with_multihop") {
        return Ok(());
    }
    let mut lab = Lab::new("multihop")?;
    let (near, middle, far) = (lab.host("near")?, lab.host("middle")?, lab.host("far")?);
    lab.link((&near, "eth0", &["10.0.1.1/24"]), (&middle, "eth0", &["10.0.1.254/24"]))?;
    lab.link((&middle, "eth1", &["10.0.2.254/24"]), (&far, "eth0", &["10.0.2.1/24"]))?;
    near.ip(&["route", "add", "10.0.2.0/24", "via", "10.0.1.254"])?;
    far.ip(&["route", "add", "10.0.1.0/24", "via", "10.0.2.254"])?;
    let text = "[bgp]\nasn = 65001\nrouter-id = \"10.0.1.1\"\nrequire-policy = false\n\
        originate = [\"10.1.0.0/24\"]\n\n[[bgp.peer]]\nname = \"far\"\naddress = \"10.0.2.1\"\n\
        asn = 65002\nmultihop = 2\nconnect-retry = 1\n";
    let mut margay = Margay::new(&near, text);
    let session = format!("local 10.0.2.1 as 65002; neighbor 10.0.1.1 as 65001; multihop 2; {ALL}");
    let mut peer = bird(&far, "10.0.2.1", &plain(&["10.2.0.0/24"]), &session);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("session up", SOON, || margay.established("far"))?;
        until("its route at BIRD", SOON, || Ok(received(&peer)?.len() == 1))?;
        // The next hop is two hops away: resolved by the static route.
        until("installed by way of the router between", SOON, || {
            Ok(near.ip(&["route", "show", "10.2.0.0/24"])?.contains("10.0.1.254"))
        })
    })();
    lab.told(result, || vec![margay.log(), peer.log()])
}

#[test]
fn too_many_prefixes_end_the_session_until_the_pause_is_over() -> Result<()> {
    if !have_root("too_many_prefixes_end_the_session_until_the_pause_is_over") {
        return Ok(());
    }
    let mut wire = Wire::new("max-prefixes")?;
    let tap = Tap::on(&wire.near, "eth0")?;
    let limit = "max-prefixes = { limit = 2, action = \"restart\", restart-after = 3 }";
    let mut margay = margay(&wire.near, "", limit);
    let three = plain(&["10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"]);
    let mut peer = bird(&wire.far, "10.0.0.2", &three, &format!("{CALLS} {ALL}"));
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("Cease, maximum number of prefixes", SOON, || {
            Ok(tap.notifications("10.0.0.1").contains(&(6, 1)))
        })?;
        until("no routes", SOON, || Ok(margay.routes(&[])?.is_empty()))?;
        peer.withdraw("10.4.0.0/24")?;
        until("back after the pause", SOON, || {
            Ok(margay.established("far")? && margay.routes(&[])?.len() == 2)
        })
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn a_confederation_keeps_its_members_to_itself() -> Result<()> {
    if !have_root("a_confederation_keeps_its_members_to_itself") {
        return Ok(());
    }
    // far (AS 65002, a member) -- near: Margay (65001, a member) -- out (AS 65009, outside)
    let mut wire = Wire::new("confederation")?;
    let out = wire.lab.host("out")?;
    wire.lab.link((&wire.near, "eth1", &["10.0.1.1/24"]), (&out, "eth0", &["10.0.1.2/24"]))?;
    let text = "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\
        confederation = { id = 64512, members = [65001, 65002] }\noriginate = [\"10.1.0.0/24\"]\n\
        \n[[bgp.peer]]\nname = \"member\"\naddress = \"10.0.0.2\"\nasn = 65002\nconnect-retry = 1\n\
        next-hop = \"self\"\n\n[[bgp.peer]]\nname = \"out\"\naddress = \"10.0.1.2\"\nasn = 65009\nconnect-retry = 1\n";
    let mut margay = Margay::new(&wire.near, text);
    let member = format!("{CALLS} confederation 64512; confederation member yes; {ALL}");
    let mut far = bird(&wire.far, "10.0.0.2", &plain(&["10.2.0.0/24"]), &member);
    let outside = "local 10.0.1.2 as 65009; neighbor 10.0.1.1 as 64512; direct;";
    let mut outer = bird(&out, "10.0.1.2", &plain(&["10.9.0.0/24"]), &format!("{outside} {ALL}"));
    let result = (|| {
        margay.start()?;
        far.start()?;
        outer.start()?;
        let at = |bird: &Bird, prefix: &str| -> Result<String> {
            let routes = bird.routes(&format!("{prefix} protocol x"))?;
            let route = routes.first().with_context(|| format!("no {prefix}"))?;
            Ok(route.attribute("as_path").unwrap_or_default().to_owned())
        };
        let path = |text: &str| text.to_owned();
        // Outside only the confederation is seen; inside, members stand in parentheses.
        until_eq("outside", SOON, &path("64512"), || at(&outer, "10.2.0.0/24"))?;
        until_eq("our own, outside", SOON, &path("64512"), || at(&outer, "10.1.0.0/24"))?;
        until_eq("inside", SOON, &path("(65001) 65009"), || at(&far, "10.9.0.0/24"))?;
        let route = margay.best("10.2.0.0/24")?.context("the member's route")?;
        let wanted = serde_json::json!([{"type": "confed-sequence", "asns": [65002]}]);
        ensure!(route["as_path"] == wanted, "{route}");
        Ok(())
    })();
    wire.conclude(result, || format!("{}\n{}", margay.log(), far.log()))
}

#[test]
fn a_route_server_stays_out_of_the_path() -> Result<()> {
    if !have_root("a_route_server_stays_out_of_the_path") {
        return Ok(());
    }
    let mut lab = Lab::new("route-server")?;
    let switch = lab.switch("switch")?;
    let (server, a, b) = (lab.host("margay")?, lab.host("bird")?, lab.host("frr")?);
    lab.plug(&switch, &server, "eth0", &["10.0.0.1/24"])?;
    lab.plug(&switch, &a, "eth0", &["10.0.0.2/24"])?;
    lab.plug(&switch, &b, "eth0", &["10.0.0.3/24"])?;
    let mut text =
        String::from("[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n");
    for number in [2, 3] {
        text += &format!(
            "\n[[bgp.peer]]\naddress = \"10.0.0.{number}\"\nasn = 6500{number}\n\
             route-server-client = true\nconnect-retry = 1\n"
        );
    }
    let mut margay = Margay::new(&server, &text);
    let session = format!("{CALLS} enforce first as off; {ALL}");
    let mut left = bird(&a, "10.0.0.2", &plain(&["10.2.0.0/24"]), &session);
    let speaker = Speaker {
        asn: 65003,
        router_id: "10.0.0.3".into(),
        neighbors: vec![Neighbor::new("10.0.0.3", "10.0.0.1", 65001)],
        announcements: plain(&["10.3.0.0/24"]),
    };
    let mut right =
        Frr::new(&b, speaker).with("router bgp 65003\n no bgp enforce-first-as\nexit\n");
    let result = (|| {
        margay.start()?;
        left.start()?;
        right.start()?;
        let at_left = until_some("FRR's route at BIRD", SOON, || {
            Ok(received(&left)?.into_iter().find(|route| route.prefix == "10.3.0.0/24"))
        })?;
        ensure!(at_left.as_path == [65003], "{at_left:?}");
        ensure!(at_left.next_hop.as_deref() == Some("10.0.0.3"), "{at_left:?}");
        let at_right = until_some("BIRD's route at FRR", SOON, || {
            let routes = right.received("10.0.0.1")?;
            Ok(routes.into_iter().find(|route| route.prefix == "10.2.0.0/24"))
        })?;
        ensure!(at_right.as_path == [65002], "{at_right:?}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log(), left.log(), right.log()])
}

#[test]
fn routers_on_a_shared_network_are_told_of_each_other_as_next_hops() -> Result<()> {
    if !have_root("routers_on_a_shared_network_are_told_of_each_other_as_next_hops") {
        return Ok(());
    }
    let mut lab = Lab::new("third-party")?;
    let switch = lab.switch("switch")?;
    let (middle, a, b) = (lab.host("margay")?, lab.host("bird")?, lab.host("frr")?);
    lab.plug(&switch, &middle, "eth0", &["10.0.0.1/24"])?;
    lab.plug(&switch, &a, "eth0", &["10.0.0.2/24"])?;
    lab.plug(&switch, &b, "eth0", &["10.0.0.3/24"])?;
    let mut text = String::from(
        "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\
         originate = [\"10.1.0.0/24\", { prefix = \"10.1.4.0/24\", next-hop = \"10.0.0.4\" }, \
         { prefix = \"10.1.2.0/24\", next-hop = \"10.0.0.2\" }]\n",
    );
    for number in [2, 3] {
        text += &format!(
            "\n[[bgp.peer]]\naddress = \"10.0.0.{number}\"\nasn = 6500{number}\n\
             connect-retry = 1\n"
        );
    }
    let mut margay = Margay::new(&middle, &text);
    let mut left = bird(&a, "10.0.0.2", &plain(&["10.2.0.0/24"]), &format!("{CALLS} {ALL}"));
    let speaker = Speaker {
        asn: 65003,
        router_id: "10.0.0.3".into(),
        neighbors: vec![Neighbor::new("10.0.0.3", "10.0.0.1", 65001)],
        announcements: plain(&["10.3.0.0/24"]),
    };
    let mut right = Frr::new(&b, speaker);
    let result = (|| {
        margay.start()?;
        left.start()?;
        right.start()?;
        let told = |routes: Vec<Received>| -> Vec<(String, Option<String>)> {
            let mut told: Vec<_> =
                routes.into_iter().map(|route| (route.prefix, route.next_hop)).collect();
            told.sort();
            told
        };
        let expected = |routes: &[(&str, &str)]| -> Vec<(String, Option<String>)> {
            routes.iter().map(|(p, n)| ((*p).to_owned(), Some((*n).to_owned()))).collect()
        };
        // Not 10.1.2.0/24, which BIRD would only be told to reach through itself.
        let wanted = expected(&[
            ("10.1.0.0/24", "10.0.0.1"),
            ("10.1.4.0/24", "10.0.0.4"),
            ("10.3.0.0/24", "10.0.0.3"),
        ]);
        until_eq("routes at BIRD", SOON, &wanted, || Ok(told(received(&left)?)))?;
        let wanted = expected(&[
            ("10.1.0.0/24", "10.0.0.1"),
            ("10.1.2.0/24", "10.0.0.2"),
            ("10.1.4.0/24", "10.0.0.4"),
            ("10.2.0.0/24", "10.0.0.2"),
        ]);
        until_eq("routes at FRR", SOON, &wanted, || Ok(told(right.received("10.0.0.1")?)))?;
        margay.reconfigure(&text.replace("connect-retry = 1", "next-hop = \"self\""))?;
        margay.text(&["config", "reload"])?;
        let wanted = expected(&[
            ("10.1.0.0/24", "10.0.0.1"),
            ("10.1.2.0/24", "10.0.0.1"),
            ("10.1.4.0/24", "10.0.0.1"),
            ("10.2.0.0/24", "10.0.0.1"),
        ]);
        until_eq("this router at FRR", SOON, &wanted, || Ok(told(right.received("10.0.0.1")?)))
    })();
    lab.told(result, || vec![margay.log(), left.log(), right.log()])
}

#[test]
fn well_known_communities_are_obeyed() -> Result<()> {
    if !have_root("well_known_communities_are_obeyed") {
        return Ok(());
    }
    // far (AS 65002) tells Margay; second (AS 65003) may only hear what may leave the AS.
    let mut wire = Wire::new("well-known")?;
    let second = wire.lab.host("second")?;
    wire.lab.link((&wire.near, "eth1", &["10.0.1.1/24"]), (&second, "eth0", &["10.0.1.2/24"]))?;
    let text = "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\
        \n[[bgp.peer]]\nname = \"far\"\naddress = \"10.0.0.2\"\nasn = 65002\nconnect-retry = 1\n\
        \n[[bgp.peer]]\nname = \"second\"\naddress = \"10.0.1.2\"\nasn = 65003\nconnect-retry = 1\n";
    let mut margay = Margay::new(&wire.near, text);
    let tagged = |prefix: &str, community: &str| Announcement {
        prefix: prefix.into(),
        communities: Communities::new(&[community], &[], &[]),
    };
    let routes = [
        Announcement::plain("10.2.0.0/24"),
        tagged("10.3.0.0/24", "65535:65281"), // NO_EXPORT
        tagged("10.4.0.0/24", "65535:65282"), // NO_ADVERTISE
        tagged("10.5.0.0/24", "65535:0"),     // GRACEFUL_SHUTDOWN
    ];
    let mut far = bird(&wire.far, "10.0.0.2", &routes, &format!("{CALLS} {ALL}"));
    let outside = "local 10.0.1.2 as 65003; neighbor 10.0.1.1 as 65001; direct;";
    let mut other = bird(&second, "10.0.1.2", &[], &format!("{outside} {ALL}"));
    let result = (|| {
        margay.start()?;
        far.start()?;
        other.start()?;
        until("all four", SOON, || Ok(margay.routes(&["--received-from", "far"])?.len() == 4))?;
        let prefixes = || -> Result<Vec<String>> {
            let mut list: Vec<String> =
                received(&other)?.into_iter().map(|route| route.prefix).collect();
            list.sort();
            Ok(list)
        };
        let wanted = vec!["10.2.0.0/24".to_owned(), "10.5.0.0/24".to_owned()];
        until_eq("what may leave", SOON, &wanted, prefixes)?;
        holds("nothing else follows", Duration::from_secs(1), || Ok(prefixes()? == wanted))?;
        let draining = margay.best("10.5.0.0/24")?.context("the draining route")?;
        ensure!(draining["local_pref"] == 0, "GRACEFUL_SHUTDOWN: {draining}");
        Ok(())
    })();
    wire.conclude(result, || format!("{}\n{}", margay.log(), far.log()))
}

/// The other end advertises itself every ten seconds, unless it is asked.
#[test]
fn a_restarted_daemon_finds_its_unnumbered_neighbour_at_once() -> Result<()> {
    if !have_root("a_restarted_daemon_finds_its_unnumbered_neighbour_at_once") {
        return Ok(());
    }
    let mut wire = Wire::new("unnumbered")?;
    let config = |asn: u32, last: u8| {
        format!(
            "[bgp]\nasn = {asn}\nrouter-id = \"10.255.0.{last}\"\nrequire-policy = false\n\n\
             [[bgp.peer]]\nname = \"far\"\ninterface = \"eth0\"\nasn = \"external\"\n"
        )
    };
    let mut near = Margay::new(&wire.near, &config(65001, 1));
    let mut far = Margay::new(&wire.far, &config(65002, 2));
    let result = (|| {
        far.start()?;
        near.start()?;
        until("the session", SOON, || near.established("far"))?;
        // By chance it would be soon enough once in five times.
        for _ in 0..3 {
            let heard = |near: &Margay| near.log().matches("router heard").count();
            let before = heard(&near);
            near.kill()?;
            near.start()?;
            until("the neighbour", Duration::from_secs(2), || Ok(heard(&near) > before))?;
        }
        Ok(())
    })();
    wire.conclude(result, || format!("{}\n---\n{}", near.log(), far.log()))
}

#[test]
fn a_session_ends_with_its_interface_and_comes_back_with_it() -> Result<()> {
    if !have_root("a_session_ends_with_its_interface_and_comes_back_with_it") {
        return Ok(());
    }
    let mut wire = Wire::new("failover")?;
    let mut margay = margay(&wire.near, "", "");
    let session = format!("hold time 90; {CALLS} {ALL}");
    let mut peer = bird(&wire.far, "10.0.0.2", &plain(&["10.2.0.0/24"]), &session);
    let at_once = Duration::from_secs(5);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        // Set down here; then there, so that only the carrier goes here.
        for host in [&wire.near, &wire.far] {
            until("the session", SOON, || margay.established("far"))?;
            until("the route", SOON, || Ok(margay.best("10.2.0.0/24")?.is_some()))?;
            host.ip(&["link", "set", "eth0", "down"])?;
            until("the end", at_once, || Ok(margay.best("10.2.0.0/24")?.is_none()))?;
            until("the end of the session", at_once, || Ok(!margay.established("far")?))?;
            let error = margay.peer("far")?["last_error"].clone();
            ensure!(error["direction"] == "local", "{error}");
            let text = error["text"].as_str().unwrap_or_default();
            ensure!(text.contains("interface eth0"), "{error}");
            host.ip(&["link", "set", "eth0", "up"])?;
        }
        until("the session again", SOON, || margay.established("far"))
    })();
    wire.conclude(result, || format!("{}\n{}", margay.log(), peer.log()))
}
