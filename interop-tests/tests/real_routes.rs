//! Real Internet routes: the recorded updates in `data/` (RIPE NCC Routing Information Service,
//! collector rrc15) played to Margay and to BIRD by one session for each recorded peer; the two
//! must then hold the same paths with the same attributes, and prefer the same ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::{
    Host, Lab, Margay,
    bgp::{Neighbor, Speaker},
    have_root, mrt,
    peer::{Bird, BirdRoute, Peer},
    replay::{self, RecordedPeer, Session},
    until,
};

/// The AS the collector had.
const ASN: u32 = 12654;
/// The speaker under test, in the networks of the recorded next hops.
const ADDRESSES: [&str; 2] = ["200.219.130.250/24", "200.160.0.250/24"];

/// A path and everything that came with it, in words that both implementations are put into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RoutePath {
    prefix: String,
    peer: String,
    attributes: BTreeMap<&'static str, String>,
}

struct Wire {
    lab: Lab,
    speaker: Host,
    peers: Host,
}

/// One wire; the far end has the addresses of all recorded peers.
fn wire(name: &str, recorded: &[RecordedPeer]) -> Result<Wire> {
    let mut lab = Lab::new(name)?;
    let (speaker, peers) = (lab.host("speaker")?, lab.host("peers")?);
    let addresses: Vec<String> = recorded.iter().map(|p| format!("{}/24", p.address)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    lab.link((&speaker, "eth0", &ADDRESSES), (&peers, "eth0", &addresses))?;
    Ok(Wire { lab, speaker, peers })
}

/// Our address in the network of a recorded peer.
fn local_address(peer: &RecordedPeer) -> &'static str {
    if peer.address.octets()[..3] == [200, 160, 0] { "200.160.0.250" } else { "200.219.130.250" }
}

fn play(peers: &Host, recorded: &[RecordedPeer]) -> Result<Vec<Session>> {
    let mut sessions = replay::accept_all(peers, recorded)?;
    for (session, peer) in sessions.iter_mut().zip(recorded) {
        session.play(&peer.updates).with_context(|| format!("AS {}", peer.asn))?;
    }
    Ok(sessions)
}

fn margay_config(recorded: &[RecordedPeer]) -> String {
    let mut text = format!(
        "[bgp]\nasn = {ASN}\nrouter-id = \"200.219.130.250\"\nlisten = []\n\
         require-policy = false\n\n[fib]\nenabled = true\n"
    );
    for peer in recorded {
        text += &format!(
            "\n[[bgp.peer]]\naddress = \"{}\"\nasn = {}\nlocal-address = \"{}\"\n\
             connect-retry = 1\nfamilies = [\"ipv4-unicast\"]\n",
            peer.address,
            peer.asn,
            local_address(peer)
        );
    }
    text
}

fn bird(host: &Host, recorded: &[RecordedPeer]) -> Bird {
    let neighbors = recorded
        .iter()
        .map(|peer| Neighbor::new(local_address(peer), &peer.address.to_string(), peer.asn));
    let speaker = Speaker {
        asn: ASN,
        router_id: "200.219.130.250".into(),
        neighbors: neighbors.collect(),
        announcements: Vec::new(),
    };
    Bird::new(host, speaker).with("protocol kernel { ipv4 { import none; export all; }; }\n")
}

fn from_bird(route: &BirdRoute, recorded: &[RecordedPeer]) -> Result<RoutePath> {
    let number: usize = route.protocol.trim_start_matches('n').parse().context("protocol")?;
    let peer = recorded.get(number).context("no such peer")?;
    let mut attributes = BTreeMap::new();
    let mut put = |name: &'static str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            attributes.insert(name, text);
        }
    };
    let text = |name: &str| route.attribute(name).map(str::to_owned);
    put("best", Some(route.best.to_string()));
    put("origin", text("origin").map(|origin| origin.to_lowercase()));
    put("as_path", text("as_path"));
    put("next_hop", text("next_hop"));
    put("med", text("med"));
    put("communities", Some(route.communities("community").join(" ")));
    put("large_communities", Some(route.communities("large_community").join(" ")));
    // `192.0.2.1 AS65001`
    put("aggregator", text("aggregator").map(|text| text.replace("AS", "")));
    put("atomic_aggregate", route.attribute("atomic_aggr").map(|_| "true".into()));
    Ok(RoutePath { prefix: route.prefix.clone(), peer: peer.address.to_string(), attributes })
}

fn from_margay(route: &Value) -> RoutePath {
    let mut attributes = BTreeMap::new();
    let mut put = |name: &'static str, text: String| {
        if !text.is_empty() {
            attributes.insert(name, text);
        }
    };
    put("best", route["best"].to_string());
    for name in ["origin", "next_hop"] {
        put(name, route[name].as_str().unwrap_or_default().to_owned());
    }
    put("med", route["med"].as_u64().map(|n| n.to_string()).unwrap_or_default());
    let segments = route["as_path"].as_array().into_iter().flatten().map(|segment| {
        let list = |asns: &Value| {
            let asns = asns.as_array().into_iter().flatten();
            asns.map(Value::to_string).collect::<Vec<_>>().join(" ")
        };
        match &segment["type"] {
            Value::String(_) => format!("{{{}}}", list(&segment["asns"])),
            _ => segment.to_string(),
        }
    });
    put("as_path", segments.collect::<Vec<_>>().join(" "));
    for name in ["communities", "large_communities"] {
        let texts = route[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        put(name, texts.collect::<Vec<_>>().join(" "));
    }
    let aggregator = &route["aggregator"];
    if let Some(address) = aggregator["address"].as_str() {
        put("aggregator", format!("{address} {}", aggregator["asn"]));
    }
    if route["atomic_aggregate"] == true {
        put("atomic_aggregate", "true".into());
    }
    RoutePath {
        prefix: route["prefix"].as_str().unwrap_or_default().to_owned(),
        peer: route["peer"].as_str().unwrap_or_default().to_owned(),
        attributes,
    }
}

/// The routes of the kernel by way of a peer.
fn kernel(host: &Host, protocol: &str) -> Result<BTreeSet<String>> {
    let text = host.ip(&["-o", "-4", "route", "show", "proto", protocol])?;
    let routes = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let prefix = words.next()?;
        let via = line.split(" via ").nth(1)?.split_whitespace().next()?;
        Some(format!("{prefix} via {via}"))
    });
    Ok(routes.collect())
}

#[test]
fn real_routes_end_up_as_they_do_at_bird() -> Result<()> {
    if !have_root("real_routes_end_up_as_they_do_at_bird") {
        return Ok(());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rrc15-updates.20100227.1610.gz");
    let recorded = replay::peers(&mrt::read(&file)?);
    ensure!(recorded.len() == 6, "the recording has {} peers", recorded.len());
    ensure!(recorded.iter().any(|peer| peer.four_octet) && recorded.iter().any(|p| !p.four_octet));

    // What BIRD makes of it.
    let mut left = wire("real-bird", &recorded)?;
    let mut bird = bird(&left.speaker, &recorded);
    bird.start()?;
    let _to_bird = play(&left.peers, &recorded)?;
    let theirs = settled(|| {
        let routes = bird.routes("")?;
        routes
            .iter()
            .filter(|route| route.protocol.starts_with('n'))
            .map(|route| from_bird(route, &recorded))
            .collect::<Result<BTreeSet<RoutePath>>>()
    })?;
    ensure!(theirs.len() > 500, "BIRD holds only {} paths", theirs.len());

    // What Margay makes of it.
    let mut right = wire("real-margay", &recorded)?;
    let mut margay = Margay::new(&right.speaker, &margay_config(&recorded));
    margay.start()?;
    let to_margay = play(&right.peers, &recorded)?;
    let ours = settled(|| {
        // BIRD throws away what went through the collector's own AS; Margay keeps it, ineligible.
        let routes = margay.routes(&[])?;
        let (looped, good): (Vec<_>, Vec<_>) =
            routes.iter().partition(|route| route["reason"] == "as-loop");
        for route in looped {
            let path = route["as_path"].as_array().context("an AS path")?;
            ensure!(path.iter().any(|asn| *asn == ASN) && route["best"] == false, "{route}");
        }
        Ok(good.into_iter().map(from_margay).collect::<BTreeSet<RoutePath>>())
    })?;
    let result = (|| {
        ensure!(to_margay.iter().all(|session| !session.is_down()), "a session was lost");
        same(&theirs, &ours)?;
        until("the same kernel routes", Duration::from_secs(20), || {
            let (a, b) = (kernel(&left.speaker, "bird")?, kernel(&right.speaker, "bgp")?);
            let differ: Vec<_> = a.symmetric_difference(&b).take(5).collect();
            if !differ.is_empty() {
                bail!("BIRD installs {}, Margay {}, e.g. {differ:?}", a.len(), b.len());
            }
            Ok(!a.is_empty())
        })
    })();
    println!("{} paths of {} peers compared", theirs.len(), recorded.len());
    result.inspect_err(|_| {
        left.lab.keep();
        right.lab.keep();
        println!("{}", margay.log());
    })
}

/// Asks until two answers in a row are the same and not empty.
fn settled(mut ask: impl FnMut() -> Result<BTreeSet<RoutePath>>) -> Result<BTreeSet<RoutePath>> {
    let mut last = BTreeSet::new();
    until("the table settles", Duration::from_secs(30), || {
        let now = ask()?;
        let same = now == last && !now.is_empty();
        last = now;
        std::thread::sleep(Duration::from_millis(400));
        Ok(same)
    })?;
    Ok(last)
}

/// Fails with the first few differences.
fn same(theirs: &BTreeSet<RoutePath>, ours: &BTreeSet<RoutePath>) -> Result<()> {
    let describe = |paths: Vec<&RoutePath>| -> String {
        paths.iter().take(8).map(|path| format!("\n  {path:?}")).collect()
    };
    let missing: Vec<&RoutePath> = theirs.difference(ours).collect();
    let surplus: Vec<&RoutePath> = ours.difference(theirs).collect();
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    bail!(
        "{} paths of {} only at BIRD:{}\n{} paths of {} only at Margay:{}",
        missing.len(),
        theirs.len(),
        describe(missing),
        surplus.len(),
        ours.len(),
        describe(surplus)
    )
}
