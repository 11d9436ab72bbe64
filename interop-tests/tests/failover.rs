//! A peer that dies: the kernel forwards by the survivor, and nothing of the dead one stays behind.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use interop_tests::{pair::SOON, wire::Wire};
use testkit::{
    Host, Margay,
    bgp::{Announcement, Family, Neighbor, Speaker},
    have_root, kernel,
    peer::{Bird, Peer},
    replay, until,
    wait::{holds, until_eq},
};

/// Prefixes both peers have.
const MANY: u32 = 20_000;
/// The survivor's host answers for the first of them.
const SAMPLE: &str = "20.0.0.1";
/// The ways to the two peers.
const PREFERRED: &str = "10.0.0.2 dev eth0";
const SURVIVOR: &str = "10.0.1.2 dev eth1";
const PATIENCE: Duration = Duration::from_secs(60);

/// 10.0.0.2 in AS 65002 is preferred, for its router id is lower; 10.0.1.2 in AS 65003 survives.
fn config(compat: &str, rest: &str) -> String {
    format!(
        "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\n\
         [fib]\nnexthop-compat = \"{compat}\"\n\n\
         [[bgp.peer]]\naddress = \"10.0.0.2\"\nasn = 65002\nconnect-retry = 1\n{rest}\n\
         [[bgp.peer]]\naddress = \"10.0.1.2\"\nasn = 65003\nconnect-retry = 1\n"
    )
}

fn bird(host: &Host, own: &str, gateway: &str, asn: u32, prefixes: &[String]) -> Bird {
    Bird::new(
        host,
        Speaker {
            asn,
            router_id: own.into(),
            neighbors: vec![Neighbor::new(own, gateway, 65001)],
            announcements: prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect(),
        },
    )
    .waiting() // unused next hops go once all have sent End-of-RIB
}

/// A second cable, to the survivor's host.
fn survivor(wire: &mut Wire) -> Result<Host> {
    let host = wire.lab.host("survivor")?;
    wire.lab.link((&wire.near, "eth1", &["10.0.1.1/24"]), (&host, "eth0", &["10.0.1.2/24"]))?;
    Ok(host)
}

/// How many routes of ours there are, and the ways packets take over all of them: `GATEWAY dev
/// INTERFACE`. With `nexthop-compat = "off"` routes name an object and nothing more.
fn ways(host: &Host) -> Result<(usize, BTreeSet<String>)> {
    let text = host.ip(&["route", "show", "table", "main", "proto", kernel::PROTOCOL])?;
    let mut numbers = BTreeSet::new();
    for line in text.lines() {
        let number = after(line, "nhid").with_context(|| format!("no next-hop object: {line}"))?;
        numbers.insert(number);
    }
    let objects = objects(host)?;
    let object = |number: &str| {
        let found = objects.iter().find(|object| after(object, "id") == Some(number));
        found.with_context(|| format!("no object {number} among {objects:?}"))
    };
    let mut ways = BTreeSet::new();
    for number in numbers {
        let first = object(number)?;
        let members = after(first, "group").unwrap_or(number);
        for member in members.split('/') {
            let hop = object(member.split(',').next().unwrap_or_default())?;
            let gateway = after(hop, "via").unwrap_or_default();
            let interface = after(hop, "dev").unwrap_or_default();
            ways.insert(format!("{gateway} dev {interface}"));
        }
    }
    Ok((text.lines().count(), ways))
}

/// The word that follows another.
fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|found| *found == word)?;
    words.next()
}

fn all_by(way: &str) -> (usize, BTreeSet<String>) {
    (MANY as usize, BTreeSet::from([way.to_owned()]))
}

/// Next-hop objects with our protocol, in the words of `ip`.
fn objects(host: &Host) -> Result<Vec<String>> {
    let text = host.ip(&["nexthop", "show", "protocol", "186"])?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

fn a_killed_peers_routes_move(name: &str, compat: &str) -> Result<()> {
    if !have_root(name) {
        return Ok(());
    }
    let mut wire = Wire::new(name)?;
    let other = survivor(&mut wire)?;
    other.ip(&["address", "add", &format!("{SAMPLE}/32"), "dev", "lo"])?;
    let mut margay = Margay::new(&wire.near, &config(compat, ""));
    let prefixes: Vec<String> =
        replay::prefixes(MANY).into_iter().map(|address| format!("{address}/24")).collect();
    let mut first = bird(&wire.far, "10.0.0.2", "10.0.0.1", 65002, &prefixes);
    let mut second = bird(&other, "10.0.1.2", "10.0.1.1", 65003, &prefixes);
    let many = usize::try_from(MANY)?;
    let result = (|| {
        margay.start()?;
        second.start()?;
        first.start()?;
        until_eq("all routes over the preferred peer", PATIENCE, &all_by(PREFERRED), || {
            ways(&wire.near)
        })?;
        let told = u64::from(MANY);
        until("both tables taken in", PATIENCE, || {
            let accepted = |peer: &str| -> Result<bool> {
                Ok(margay.peer(peer)?["families"]["ipv4-unicast"]["accepted"] == told)
            };
            Ok(accepted("10.0.0.2")? && accepted("10.0.1.2")?)
        })?;
        ensure!(!wire.near.pings(SAMPLE), "the preferred peer's host has no such address");

        first.kill()?;
        until("packets reach the survivor", SOON, || Ok(wire.near.pings(SAMPLE)))?;
        until("the session is known to be down", SOON, || Ok(!margay.established("10.0.0.2")?))?;
        let now = ways(&wire.near)?;
        ensure!(now == all_by(SURVIVOR), "{now:?}");
        until("one way is left and no other", PATIENCE, || {
            let objects = objects(&wire.near)?;
            let groups = objects.iter().filter(|object| object.contains("group")).count();
            let hops = objects.iter().filter(|object| object.contains("via 10.0.1.2 ")).count();
            Ok(groups <= 1 && hops == 1 && objects.len() == groups + hops)
        })?;
        let rows = margay.json(&["fib"])?;
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(rows.len() == many, "{} rows", rows.len());
        ensure!(
            rows.iter().all(|row| row["in_kernel"] == true
                && row["next_hops"][0]["address"] == "10.0.1.2"
                && row["next_hops"][1].is_null()),
            "the plan is another: {}",
            rows[0]
        );

        // It comes back, and is preferred as before.
        first.start()?;
        until_eq("all routes over the preferred peer again", PATIENCE, &all_by(PREFERRED), || {
            ways(&wire.near)
        })?;
        first.kill()?;
        second.kill()?;
        until_eq("no route is left", PATIENCE, &0, || {
            kernel::count_bgp_routes(&wire.near, Family::Ipv4)
        })?;
        until_eq("no next-hop object is left", PATIENCE, &Vec::new(), || objects(&wire.near))
    })();
    let objects = objects(&wire.near);
    wire.conclude(result, || format!("{objects:?}\n{}", margay.log()))
}

#[test]
fn a_killed_peers_20k_routes_move_to_the_survivor() -> Result<()> {
    a_killed_peers_routes_move("failover-off", "off")
}

#[test]
fn they_move_as_well_where_the_kernel_announces_each() -> Result<()> {
    a_killed_peers_routes_move("failover-keep", "keep")
}

#[test]
fn a_next_hop_that_drops_keeps_its_routes_from_the_runner_up() -> Result<()> {
    const DROPPED: &str = "20.0.0.0/24";
    if !have_root("a_next_hop_that_drops_keeps_its_routes_from_the_runner_up") {
        return Ok(());
    }
    let mut wire = Wire::new("failover-drop")?;
    let other = survivor(&mut wire)?;
    let policy = "import = \"drop\"\n\n[policy.route.drop]\ndefault = \"accept\"\n\
                  rules = [{ match = { any = true }, then = { set = { next-hop = \"192.0.2.1\" }, \
                  action = \"accept\" } }]\n";
    let mut margay = Margay::new(&wire.near, &config("keep", policy));
    let prefixes = [DROPPED.to_owned()];
    let mut first = bird(&wire.far, "10.0.0.2", "10.0.0.1", 65002, &prefixes);
    let mut second = bird(&other, "10.0.1.2", "10.0.1.1", 65003, &prefixes);
    let result = (|| {
        wire.near.ip(&["route", "add", "blackhole", "192.0.2.1/32"])?;
        margay.start()?;
        second.start()?;
        first.start()?;
        let route = || -> Result<Option<(String, String)>> {
            let routes = kernel::bgp_routes(&wire.near, Family::Ipv4)?;
            Ok(routes.into_iter().find(|route| route.prefix == DROPPED).map(|route| {
                let gateway = route.hops.into_iter().next().map(|(gateway, _)| gateway);
                (route.kind, gateway.unwrap_or_default())
            }))
        };
        let drops = Some(("blackhole".to_owned(), String::new()));
        let survivors = Some(("unicast".to_owned(), "10.0.1.2".to_owned()));
        until_eq("packets are dropped", SOON, &drops, route)?;
        holds("they stay dropped", Duration::from_secs(2), || Ok(route()? == drops))?;
        // Without the host route that next hop leads nowhere: the runner-up is the best there is.
        wire.near.ip(&["route", "del", "blackhole", "192.0.2.1/32"])?;
        until_eq("the survivor's route", SOON, &survivors, route)?;
        wire.near.ip(&["route", "add", "blackhole", "192.0.2.1/32"])?;
        until_eq("packets are dropped again", SOON, &drops, route)?;
        first.kill()?;
        until_eq("the survivor's route, for good", SOON, &survivors, route)?;
        holds("it stays", Duration::from_secs(2), || Ok(route()? == survivors))
    })();
    wire.conclude(result, || margay.log())
}
