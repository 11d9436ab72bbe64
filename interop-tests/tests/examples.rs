//! The README's examples, taken from the README and run against real routers.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use interop_tests::{pair::SOON, wire::Wire};
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Family, Neighbor, Speaker},
    have_root, kernel,
    peer::{Bird, Frr, Peer},
    until,
    wait::until_eq,
};

/// The TOML or YAML below `<!-- example: NAME -->`.
fn example(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(path).context("reading README.md")?;
    let marker = format!("<!-- example: {name} -->\n```");
    let (_, rest) = text.split_once(&marker).with_context(|| format!("no example {name}"))?;
    let (_, rest) = rest.split_once('\n').context("the example has no beginning")?;
    let (example, _) = rest.split_once("```").context("the example has no end")?;
    Ok(example.to_owned())
}

/// Exchanges two texts.
fn exchange(text: &str, one: &str, other: &str) -> String {
    text.replace(one, "\u{0}").replace(other, one).replace('\u{0}', other)
}

fn bird(host: &Host, asn: u32, own: &str, neighbor: &str, prefixes: &[&str]) -> Bird {
    let speaker = Speaker {
        asn,
        router_id: own.into(),
        neighbors: vec![Neighbor::new(own, neighbor, 65001)],
        announcements: prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect(),
    };
    Bird::new(host, speaker)
}

/// The gateways of the kernel's routes from BGP: `(prefix, gateways)`.
fn gateways(host: &Host) -> Result<Vec<(String, Vec<String>)>> {
    let routes = kernel::bgp_routes(host, Family::Ipv4)?;
    let row = |route: kernel::KernelRoute| {
        (route.prefix, route.hops.into_iter().map(|(gateway, _)| gateway).collect())
    };
    Ok(routes.into_iter().map(row).collect())
}

fn rows(wanted: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    wanted.iter().map(|(prefix, hops)| ((*prefix).to_owned(), texts(hops))).collect()
}

#[test]
fn a_host_under_two_top_of_rack_switches() -> Result<()> {
    if !have_root("a_host_under_two_top_of_rack_switches") {
        return Ok(());
    }
    let mut lab = Lab::new("tor")?;
    let (host, one, two) = (lab.host("host")?, lab.host("tor1")?, lab.host("tor2")?);
    lab.link((&host, "eth0", &["10.0.1.1/24"]), (&one, "eth0", &["10.0.1.254/24"]))?;
    lab.link((&host, "eth1", &["10.0.2.1/24"]), (&two, "eth0", &["10.0.2.254/24"]))?;
    let mut margay = Margay::new(&host, &example("tor")?);
    let bogon = "192.0.2.128/25";
    let prefixes = ["10.200.0.0/16", bogon];
    let mut tor1 = bird(&one, 65000, "10.0.1.254", "10.0.1.1", &prefixes);
    let mut tor2 = bird(&two, 65010, "10.0.2.254", "10.0.2.1", &prefixes);
    margay.start()?;
    tor1.start()?;
    tor2.start()?;
    let result = (|| {
        let both = rows(&[("10.200.0.0/16", &["10.0.1.254", "10.0.2.254"])]);
        until_eq("both switches share the load", SOON, &both, || gateways(&host))?;
        for (tor, us) in [(&mut tor1, "10.0.1.1"), (&mut tor2, "10.0.2.1")] {
            // Only its own network: not what the other switch said.
            until_eq("what a switch is told", SOON, &vec!["10.1.0.0/24".to_owned()], || {
                Ok(tor.received(us)?.into_iter().map(|route| route.prefix).collect())
            })?;
        }
        let refused = margay.routes(&["--received-from", "tor1", "--pre-policy"])?;
        ensure!(refused.iter().any(|route| route["prefix"] == bogon), "{refused:?}");
        tor2.kill()?;
        let one = rows(&[("10.200.0.0/16", &["10.0.1.254"])]);
        until_eq("one switch carries on", SOON, &one, || gateways(&host))
    })();
    result.inspect_err(|_| println!("{}\n{}", margay.log(), tor1.log()))
}

#[test]
fn a_full_mesh_inside_one_as() -> Result<()> {
    if !have_root("a_full_mesh_inside_one_as") {
        return Ok(());
    }
    let mut lab = Lab::new("mesh")?;
    let switch = lab.switch("switch")?;
    let first = example("mesh")?;
    let turned = |number: u32| {
        let text = exchange(&first, "\"10.0.0.1\"", &format!("\"10.0.0.{number}\""));
        exchange(&text, "10.1.1.0/24", &format!("10.1.{number}.0/24"))
    };
    let mut hosts = Vec::new();
    let mut margays = Vec::new();
    for number in 1..=3u32 {
        let host = lab.host(&format!("host{number}"))?;
        lab.plug(&switch, &host, "eth0", &[&format!("10.0.0.{number}/24")])?;
        let text = if number == 1 { first.clone() } else { turned(number) };
        let mut margay = Margay::new(&host, &text);
        margay.start()?;
        margays.push(margay);
        hosts.push(host);
    }
    let result = (|| {
        for (at, host) in (1..=3).zip(&hosts) {
            let others: Vec<u32> = (1..=3).filter(|number| *number != at).collect();
            let wanted: Vec<_> = others
                .iter()
                .map(|n| (format!("10.1.{n}.0/24"), vec![format!("10.0.0.{n}")]))
                .collect();
            until_eq(&format!("the routes of host{at}"), SOON, &wanted, || gateways(host))?;
        }
        Ok(())
    })();
    result.inspect_err(|_: &anyhow::Error| {
        for margay in &margays {
            println!("---\n{}", margay.log());
        }
    })
}

#[test]
fn a_route_reflector_and_its_clients() -> Result<()> {
    if !have_root("a_route_reflector_and_its_clients") {
        return Ok(());
    }
    let mut lab = Lab::new("reflector")?;
    let switch = lab.switch("switch")?;
    let (rr, one) = (lab.host("reflector")?, lab.host("client1")?);
    let (two, three) = (lab.host("client2")?, lab.host("client3")?);
    lab.plug(&switch, &rr, "eth0", &["10.0.0.10/24"])?;
    for (host, address) in [(&one, "10.0.0.1/24"), (&two, "10.0.0.2/24"), (&three, "10.0.0.3/24")] {
        lab.plug(&switch, host, "eth0", &[address])?;
    }
    let client = example("reflector-client")?;
    let second = client.replace("10.0.0.1\"", "10.0.0.2\"").replace("10.1.1.0/24", "10.1.2.0/24");
    let mut reflector = Margay::new(&rr, &example("reflector")?);
    let mut clients = [Margay::new(&one, &client), Margay::new(&two, &second)];
    let mut other = bird(&three, 65001, "10.0.0.3", "10.0.0.10", &["10.1.3.0/24"]);
    reflector.start()?;
    for client in &mut clients {
        client.start()?;
    }
    other.start()?;
    let result = (|| {
        let wanted = rows(&[("10.1.2.0/24", &["10.0.0.2"]), ("10.1.3.0/24", &["10.0.0.3"])]);
        until_eq("the first client's routes", SOON, &wanted, || gateways(&one))?;
        until("BIRD has both", SOON, || Ok(other.received("10.0.0.10")?.len() == 2))?;
        ensure!(gateways(&rr)?.is_empty(), "the reflector installs routes");
        ensure!(reflector.peer("10.0.0.3")?["template"] == "hosts");
        Ok(())
    })();
    result.inspect_err(|_| println!("{}\n---\n{}", reflector.log(), clients[0].log()))
}

#[test]
fn a_cable_without_addresses() -> Result<()> {
    if !have_root("a_cable_without_addresses") {
        return Ok(());
    }
    let mut wire = Wire::new("cable")?;
    for host in [&wire.near, &wire.far] {
        for address in ["10.0.0.0/24", "fd00::/64"] {
            host.ip(&["address", "flush", "dev", "eth0", "to", address])?;
        }
    }
    wire.near.ip(&["address", "add", "10.255.0.1/32", "dev", "lo"])?;
    wire.far.ip(&["address", "add", "10.255.0.2/32", "dev", "lo"])?;
    let mut margay = Margay::new(&wire.near, &example("unnumbered")?);
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
        until("FRR's loopback in the kernel", SOON, || {
            Ok(gateways(&wire.near)?
                .iter()
                .any(|(prefix, hops)| prefix == "10.255.0.2/32" && hops[0].starts_with("fe80::")))
        })
    })();
    wire.conclude(result, || format!("{}\n---\n{}", margay.log(), frr.log()))
}

#[test]
fn a_cluster_of_one_host_without_etcd() -> Result<()> {
    if !have_root("a_cluster_of_one_host_without_etcd") {
        return Ok(());
    }
    let mut lab = Lab::new("one")?;
    let (host, above) = (lab.host("node1")?, lab.host("tor")?);
    lab.link((&host, "eth0", &["10.0.0.1/24"]), (&above, "eth0", &["10.0.0.254/24"]))?;
    let speaker = Speaker {
        asn: 65001,
        router_id: "10.0.0.254".into(),
        neighbors: vec![Neighbor::new("10.0.0.254", "10.0.0.1", 64513)],
        announcements: vec![Announcement::plain("198.51.100.0/24")],
    };
    let mut tor = Bird::new(&above, speaker);
    tor.start()?;
    let file = example("alone")?;
    let (node, rest) = file.split_once("[datastore]").context("a datastore")?;
    let mut margay = Margay::new(&host, &format!("[datastore]{rest}"));
    // The rig writes the table's first line, and the name.
    margay.set_node_keys(node.trim_start().strip_prefix("[node]\n").context("a node")?);
    let result = (|| {
        margay.start()?;
        let documents = example("cluster")?;
        let others: Vec<_> =
            documents.split("---\n").filter(|text| !text.contains("kind: Node\n")).collect();
        ensure!(others.len() == 3, "all but the Node: {documents}");
        let resources = host.dir().join("cluster.yaml");
        std::fs::write(&resources, others.join("---\n"))?;
        margay.text(&["apply", "-f", resources.to_str().context("UTF-8")?])?;
        let mut block = String::new();
        until("an address is assigned", SOON, || {
            let rows = margay.json(&["ipam", "assign", "--handle", "web"])?;
            block = rows[0]["block"].as_str().context("a block")?.to_owned();
            Ok(true)
        })?;
        ensure!(block.starts_with("10.10.") && block.ends_with("/26"), "{block}");
        until("the peer is up", SOON, || margay.established("Node_10_0_0_254"))?;
        until_eq("the switch is told of the block", SOON, &vec![block.clone()], || {
            Ok(tor.received("10.0.0.1")?.into_iter().map(|route| route.prefix).collect())
        })?;
        let sent = margay.routes(&["--advertised-to", "Node_10_0_0_254"])?;
        ensure!(sent.len() == 1 && sent[0]["prefix"] == block.as_str(), "{sent:?}");
        let learnt = rows(&[("198.51.100.0/24", &["10.0.0.254"])]);
        until("and tells its own", SOON, || {
            Ok(gateways(&host)?.iter().any(|route| learnt.contains(route)))
        })?;
        margay.text(&["ipam", "release", "--handle", "web"])?;
        let check = margay.output(&["ipam", "check"])?;
        ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        Ok(())
    })();
    result.inspect_err(|_| println!("{}\n{}", margay.log(), tor.log()))
}
