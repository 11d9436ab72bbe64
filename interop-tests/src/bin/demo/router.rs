//! A small fabric of real routers, with Margay in the middle of it.
//!
//! ```text
//!   recorded peers (RIPE RIS rrc15)
//!        |
//!   transit: FRR, AS 64999
//!        |
//!   tor: BIRD, AS 65000
//!      /    \
//!   node1   node2    Margay, AS 65001, each with a network of its own
//!      \    /
//!      switch ---- reflector: Margay, AS 65001
//! ```

use std::{path::Path, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Family, Neighbor, Speaker},
    kernel, mrt,
    peer::{Bird, Frr, Peer},
    replay::{self, RecordedPeer, Session},
    until,
};

use crate::{SOON, run, step};

/// What the transit announces beside the real routes; it answers pings.
const TRANSIT_NETWORK: &str = "192.0.2.0/24";

/// The running fabric; dropping it takes it away.
struct Fabric {
    sessions: Vec<Session>,
    nodes: [Margay; 2],
    reflector: Margay,
    tor: Bird,
    transit: Frr,
    hosts: [Host; 2],
    _lab: Lab,
}

/// The first act.
///
/// # Errors
/// When something does not come as it should.
pub fn play() -> Result<()> {
    let mut fabric = build()?;
    let result = show(&mut fabric);
    if result.is_err() {
        for margay in fabric.nodes.iter().chain([&fabric.reflector]) {
            eprintln!("--- {}\n{}", margay.host().name(), margay.log());
        }
        eprintln!("--- tor\n{}\n--- transit\n{}", fabric.tor.log(), fabric.transit.log());
    }
    step("Cleaning up");
    drop(fabric);
    result
}

fn build() -> Result<Fabric> {
    step("Cabling: five routers and a switch in network namespaces");
    let mut lab = Lab::new("demo")?;
    let [feed, transit, tor, node1, node2, reflector] =
        ["feed", "transit", "tor", "node1", "node2", "reflector"].map(|name| lab.host(name));
    let (feed, transit, tor) = (feed?, transit?, tor?);
    let (node1, node2, reflector) = (node1?, node2?, reflector?);
    let switch = lab.switch("switch")?;
    let recorded = recorded_peers()?;
    let addresses: Vec<String> = recorded.iter().map(|p| format!("{}/24", p.address)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    lab.link((&transit, "feed", &["200.219.130.250/24"]), (&feed, "eth0", &addresses))?;
    lab.link((&tor, "transit", &["10.0.9.1/24"]), (&transit, "tor", &["10.0.9.2/24"]))?;
    lab.link((&tor, "node1", &["10.0.1.254/24"]), (&node1, "tor", &["10.0.1.1/24"]))?;
    lab.link((&tor, "node2", &["10.0.2.254/24"]), (&node2, "tor", &["10.0.2.1/24"]))?;
    for (host, own) in
        [(&node1, "10.0.0.1/24"), (&node2, "10.0.0.2/24"), (&reflector, "10.0.0.10/24")]
    {
        lab.plug(&switch, host, "fabric", &[own])?;
    }
    node1.ip(&["address", "add", "10.1.1.1/32", "dev", "lo"])?;
    node2.ip(&["address", "add", "10.1.2.1/32", "dev", "lo"])?;
    transit.ip(&["address", "add", "192.0.2.1/32", "dev", "lo"])?;

    step("Starting BIRD (tor), FRR (transit), and three Margays");
    let mut fabric = Fabric {
        sessions: Vec::new(),
        nodes: [Margay::new(&node1, &node_config(1)), Margay::new(&node2, &node_config(2))],
        reflector: Margay::new(&reflector, REFLECTOR),
        tor: Bird::new(&tor, tor_speaker())
            .with("protocol kernel { ipv4 { import none; export all; }; }\n"),
        transit: Frr::new(&transit, transit_speaker(&recorded)),
        hosts: [node1, node2],
        _lab: lab,
    };
    fabric.tor.start()?;
    fabric.reflector.start()?;
    for node in &mut fabric.nodes {
        node.start()?;
    }
    fabric.transit.start()?;

    let updates: usize = recorded.iter().map(|peer| peer.updates.len()).sum();
    step(&format!(
        "Playing {updates} recorded UPDATEs of {} Internet routers to the transit\n    (RIPE NCC \
         Routing Information Service, collector rrc15, 27 February 2010)",
        recorded.len()
    ));
    fabric.sessions = replay::accept_all(&feed, &recorded)?;
    for (session, peer) in fabric.sessions.iter_mut().zip(&recorded) {
        session.play(&peer.updates)?;
    }
    Ok(fabric)
}

fn show(fabric: &mut Fabric) -> Result<()> {
    let [node1, node2] = &fabric.nodes;
    let [host1, host2] = &fabric.hosts;
    step("Waiting for the sessions");
    for (margay, peers) in [
        (node1, ["tor", "reflector"]),
        (node2, ["tor", "reflector"]),
        (&fabric.reflector, ["10.0.0.1", "10.0.0.2"]),
    ] {
        for peer in peers {
            until(&format!("{} with {peer}", margay.host().name()), SOON, || {
                margay.established(peer)
            })?;
        }
    }
    until("real routes in both kernels", SOON, || {
        let counts = [host1, host2].map(|host| kernel::count_bgp_routes(host, Family::Ipv4));
        let [a, b] = counts;
        let (a, b) = (a?, b?);
        if a != b || a < 300 {
            bail!("{a} and {b} routes");
        }
        Ok(true)
    })?;
    until("node1 reaches node2's network", SOON, || Ok(ping(host1, "10.1.2.1")))?;

    run(node1, &["peers"], usize::MAX)?;
    run(&fabric.reflector, &["peers"], usize::MAX)?;
    run(node1, &["routes", "10.1.2.0/24"], usize::MAX)?;
    run(node1, &["routes", "--received-from", "tor", "--limit", "8"], 12)?;
    let real = some_real_route(node1)?;
    run(&fabric.reflector, &["routes", "explain", &real], usize::MAX)?;
    run(node1, &["fib", "10.1.2.0/24"], usize::MAX)?;
    run(node1, &["fib", &real], usize::MAX)?;
    let routes = kernel::count_bgp_routes(host1, Family::Ipv4)?;
    println!("\nThe kernel of node1 has {routes} routes from Margay, for example:");
    println!("    {}", host1.ip(&["route", "show", "10.1.2.0/24"])?.trim());
    println!("    {}", host1.ip(&["route", "show", &real])?.trim());

    step("Pinging across the fabric through those routes");
    for (what, address) in
        [("node2, by the switch", "10.1.2.1"), ("the transit, by the tor", "192.0.2.1")]
    {
        until(&format!("an answer from {address}"), SOON, || Ok(ping(host1, address)))?;
        println!("    10.1.1.1 -> {address} ({what}): answered");
    }

    step("Cutting node1's cable to the switch");
    host1.ip(&["link", "set", "fabric", "down"])?;
    let cut = Instant::now();
    until("another way to node2", SOON, || Ok(ping(host1, "10.1.2.1")))?;
    println!(
        "    10.1.1.1 -> 10.1.2.1 answers again after {:.1} s, now by the tor:",
        cut.elapsed().as_secs_f32()
    );
    println!("    {}", host1.ip(&["route", "show", "10.1.2.0/24"])?.trim());
    let by_tor = host1.ip(&["route", "get", "10.1.2.1"])?;
    ensure!(by_tor.contains("10.0.1.254"), "not by the tor: {by_tor}");
    run(node1, &["routes", "10.1.2.0/24"], usize::MAX)?;

    step("Mending the cable");
    host1.ip(&["link", "set", "fabric", "up"])?;
    until("back on the switch", SOON, || {
        Ok(host1.ip(&["route", "get", "10.1.2.1"])?.contains("10.0.0.2") && ping(host1, "10.1.2.1"))
    })?;
    println!("    {}", host1.ip(&["route", "show", "10.1.2.0/24"])?.trim());
    Ok(())
}

fn node_config(number: u8) -> String {
    format!(
        "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.{number}\"\nhold-time = 3\n\
         originate = [\"10.1.{number}.0/24\"]\n\n\
         [fib]\npreferred-source = \"10.1.{number}.1\"\n\n\
         [[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.{number}.254\"\nasn = 65000\n\
         import = \"accept\"\nexport = \"own\"\nconnect-retry = 1\n\
         # By the tor to the other node of the same AS, when the switch is gone.\n\
         allow-own-asn = 1\n\n\
         [[bgp.peer]]\nname = \"reflector\"\naddress = \"10.0.0.10\"\nasn = 65001\n\
         next-hop = \"self\"\nconnect-retry = 1\n\n\
         [policy.route.own]\ndefault = \"reject\"\nrules = [\n  \
         {{ match = {{ prefix = \"10.1.0.0/16 le 24\" }}, then = {{ action = \"accept\" }} }},\n]\n"
    )
}

const REFLECTOR: &str = "\
[bgp]
asn = 65001
router-id = \"10.0.0.10\"
hold-time = 3

[[bgp.peer]]
name = \"clients\"
prefix = \"10.0.0.0/24\"
asn = 65001
route-reflector-client = true
max-peers = 100
";

fn tor_speaker() -> Speaker {
    let mut neighbors = vec![Neighbor::new("10.0.9.1", "10.0.9.2", 64999)];
    for number in [1, 2] {
        let (own, node) = (format!("10.0.{number}.254"), format!("10.0.{number}.1"));
        neighbors.push(Neighbor::new(&own, &node, 65001));
    }
    Speaker { asn: 65000, router_id: "10.0.9.1".into(), neighbors, announcements: Vec::new() }
}

fn transit_speaker(recorded: &[RecordedPeer]) -> Speaker {
    let mut neighbors = vec![Neighbor::new("10.0.9.2", "10.0.9.1", 65000)];
    for peer in recorded {
        neighbors.push(Neighbor::new("200.219.130.250", &peer.address.to_string(), peer.asn));
    }
    Speaker {
        asn: 64999,
        router_id: "10.0.9.2".into(),
        neighbors,
        announcements: vec![Announcement::plain(TRANSIT_NETWORK)],
    }
}

/// The recorded routers of one exchange point.
fn recorded_peers() -> Result<Vec<RecordedPeer>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rrc15-updates.20100227.1610.gz");
    let mut peers = replay::peers(&mrt::read(&file)?);
    peers.retain(|peer| peer.address.octets()[..3] == [200, 219, 130]);
    ensure!(!peers.is_empty(), "no peers in the recording");
    Ok(peers)
}

/// A prefix of the recording that came by the tor.
fn some_real_route(node: &Margay) -> Result<String> {
    let routes = node.routes(&["--received-from", "tor", "--best"])?;
    let long = |route: &&serde_json::Value| {
        route["best"] == true && route["as_path"].as_array().is_some_and(|path| path.len() >= 5)
    };
    let route = routes.iter().find(long).context("no real route from the tor")?;
    Ok(route["prefix"].as_str().context("a prefix")?.to_owned())
}

fn ping(host: &Host, address: &str) -> bool {
    host.run("ping", &["-n", "-c", "1", "-W", "1", "-I", "10.1.1.1", address]).is_ok()
}
