//! Pods through the CNI plugin: two nodes, a switch above them, and daemons that die.

use std::fs;

use anyhow::{Context, Result, ensure};
use interop_tests::{
    dataplane::Dataplane,
    pair::SOON,
    runtime::{self, Container, Runtime},
    shop,
};
use serde_json::{Value, json};
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Neighbor, Speaker},
    etcd::Cluster,
    have_root,
    peer::{Bird, Peer},
    resources, until, until_some,
};

/// The AS of all, a pool of each family, and the switch above one node.
fn cluster() -> Vec<String> {
    vec![
        resources::asn(64513),
        resources::pool("four", "10.10.0.0/16"),
        resources::pool("six", "fd10::/48"),
        resources::peer("tor4", "{node: a, peerIP: 10.99.0.254, asNumber: 65001}"),
        resources::peer("tor6", "{node: a, peerIP: \"fd99::254\", asNumber: 65001}"),
    ]
}

/// ADD that must succeed; the result and the addresses, IPv4 first.
fn add(runtime: &Runtime, container: &Container) -> Result<(Value, Vec<String>)> {
    let answer = runtime.add(container)?;
    let addresses = answer.addresses();
    Ok((answer.json, addresses))
}

/// Waits until an address answers.
fn reaches(host: &Host, address: &str) -> Result<()> {
    let what = format!("{} reaches {address}", host.name());
    until(&what, SOON, || Ok(host.pings(address)))
}

/// Waits until nothing of any pod is left on a node.
fn clean(margay: &Margay) -> Result<()> {
    until("nothing is left of the pods", SOON, || {
        let links = margay.host().ip(&["-o", "link", "show"])?;
        let four = margay.host().ip(&["-4", "route", "show"])?;
        let six = margay.host().ip(&["-6", "route", "show"])?;
        let held = margay.json(&["ipam", "show"])?;
        let held: u64 =
            held.as_array().into_iter().flatten().filter_map(|row| row["in_use"].as_u64()).sum();
        let endpoints = margay.json(&["get", "wep", "-A"])?;
        let endpoints = endpoints["items"].as_array().map_or(0, Vec::len);
        Ok(![&links, &four, &six].iter().any(|text| text.contains("cali"))
            && held == 0
            && endpoints == 0)
    })
}

/// Two nodes on one datastore, a switch above the first of them, and hosts to be pods.
struct Rack {
    nodes: [Margay; 2],
    tor: Host,
    pods: [Host; 3],
    _bird: Bird,
    _etcd: Cluster,
    lab: Lab,
}

impl Rack {
    fn start(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let etcd = Cluster::start(&mut lab)?;
        let mut node = |name: &str, last: u8| -> Result<Margay> {
            let host = lab.host(name)?;
            let (four, six) = (format!("10.99.0.{last}/24"), format!("fd99::{last}/64"));
            lab.plug(etcd.switch(), &host, "eth0", &[&four, &six])?;
            let mut margay = Margay::new(&host, &etcd.datastore());
            margay.set_node_keys("register = false\n");
            margay.start()?;
            Ok(margay)
        };
        let nodes = [node("a", 111)?, node("b", 112)?];
        let tor = lab.host("tor")?;
        lab.plug(etcd.switch(), &tor, "eth0", &["10.99.0.254/24", "fd99::254/64"])?;
        let kernel = "protocol kernel { ipv4 { export all; }; }\n\
                      protocol kernel { ipv6 { export all; }; }\n";
        let speaker = Speaker {
            asn: 65001,
            router_id: "10.99.0.254".to_owned(),
            neighbors: vec![
                Neighbor::new("10.99.0.254", "10.99.0.111", 64513),
                Neighbor::new("fd99::254", "fd99::111", 64513),
            ],
            announcements: vec![Announcement::plain("198.51.100.0/24")],
        };
        let mut bird = Bird::new(&tor, speaker).with(kernel);
        bird.start()?;
        let pods = [lab.host("p1")?, lab.host("p2")?, lab.host("p3")?];
        let mut documents = cluster();
        documents.push(resources::node("a", "10.99.0.111/24", Some("fd99::111/64")));
        documents.push(resources::node("b", "10.99.0.112/24", Some("fd99::112/64")));
        nodes[0].apply(&resources::all(&documents))?;
        for node in &nodes {
            let what = format!("the pools on {}", node.host().name());
            until(&what, SOON, || {
                let shown = node.json(&["ipam", "show"])?;
                Ok(shown.as_array().is_some_and(|pools| pools.len() >= 2))
            })?;
        }
        Ok(Self { nodes, tor, pods, _bird: bird, _etcd: etcd, lab })
    }

    /// Of a failure, what the nodes logged.
    fn told(&mut self, result: Result<()>) -> Result<()> {
        let logs = || self.nodes.iter().map(Margay::log).collect();
        self.lab.told(result, logs)
    }
}

#[test]
fn pods_of_two_nodes_and_the_switch_reach_each_other() -> Result<()> {
    if !have_root("pods_of_two_nodes_and_the_switch_reach_each_other") {
        return Ok(());
    }
    let mut rack = Rack::start("pods")?;
    let result = reach_each_other(&mut rack);
    rack.told(result)
}

fn reach_each_other(rack: &mut Rack) -> Result<()> {
    let Rack { nodes: [a, b], tor, pods, .. } = rack;
    let (on_a, on_b) = (Runtime::of(a)?, Runtime::of(b)?);
    let (web, db) = (Container::new("web", &pods[0]), Container::new("db", &pods[1]));
    let far = Container::new("far", &pods[2]);
    let (result, first) = add(&on_a, &web)?;
    ensure!(result["interfaces"][0]["name"].as_str().is_some_and(|n| n.starts_with("cali")));
    let (_, second) = add(&on_a, &db)?;
    let (_, third) = add(&on_b, &far)?;
    ensure!([&first, &second, &third].iter().all(|pod| pod.len() == 2), "both families");
    // The same again, the same answer.
    ensure!(add(&on_a, &web)?.0 == result, "a repeated ADD");
    let previous = json!({"prevResult": result});
    let check = on_a.call("CHECK", &web, &previous)?;
    ensure!(check.code == 0, "{}", check.json);
    for family in 0..2 {
        reaches(a.host(), &first[family])?;
        reaches(&pods[0], &second[family])?;
        reaches(&pods[0], &third[family])?;
        reaches(&pods[2], &first[family])?;
        reaches(&pods[0], ["10.99.0.112", "fd99::112"][family])?;
        reaches(tor, &first[family])?;
        reaches(tor, &third[family])?;
    }
    // A daemon that dies disturbs nobody, and comes again.
    a.kill()?;
    ensure!(pods[1].pings(&first[0]) && a.host().pings(&second[1]), "dead is safe");
    let away = on_a.call("ADD", &Container::new("new", &pods[1]), &Value::Null)?;
    ensure!(away.json["code"] == 11, "{}", away.json);
    on_a.delete(&db)?;
    ensure!(!pods[0].pings(&second[0]), "its link is gone");
    a.start()?;
    ensure!(add(&on_a, &web)?.0 == result, "after a restart");
    until("the spool is worked off", SOON, || {
        Ok(fs::read_dir(runtime::spool(a.host()))?.next().is_none())
    })?;
    reaches(&pods[2], &first[0])?;
    // Tampered with, a CHECK says so.
    pods[0].ip(&["addr", "del", &format!("{}/32", first[0]), "dev", "eth0"])?;
    let check = on_a.call("CHECK", &web, &previous)?;
    ensure!(
        check.json["msg"].as_str().is_some_and(|text| text.contains(&first[0])),
        "{}",
        check.json
    );
    // Everything goes, however often it is said.
    for _ in 0..3 {
        on_a.delete(&web)?;
    }
    on_b.delete(&far)?;
    clean(a)?;
    clean(b)
}

/// The configuration of a pod that asks for these addresses.
fn fixed(addresses: &[&str]) -> Value {
    let wish = json!(addresses).to_string();
    let annotation = json!({"key": "cni.projectcalico.org/ipAddrs", "value": wish});
    json!({"args": {"cni": {"annotations": [annotation]}}})
}

#[test]
fn a_pod_that_starts_again_on_another_node_keeps_the_addresses_it_asks_for() -> Result<()> {
    if !have_root("a_pod_that_starts_again_on_another_node_keeps_the_addresses_it_asks_for") {
        return Ok(());
    }
    let mut rack = Rack::start("moves")?;
    let result = move_with_address(&mut rack);
    rack.told(result)
}

fn move_with_address(rack: &mut Rack) -> Result<()> {
    let Rack { nodes: [a, b], tor, pods: [first, second, other], .. } = rack;
    let (on_a, on_b) = (Runtime::of(a)?, Runtime::of(b)?);
    let wished = ["10.10.3.7", "fd10::7"];
    let config = fixed(&wished);
    let (web, db) = (Container::new("web", first), Container::new("db", other));
    let given = on_a.settled("ADD", &web, &config)?.done("the first ADD")?;
    ensure!(given.addresses() == wished, "{}", given.json);
    // Others of the same blocks.
    let (_, neighbours) = add(&on_a, &db)?;
    for address in wished {
        reaches(b.host(), address)?;
        reaches(tor, address)?;
    }
    // As long as it lives there it is nobody else's.
    let there = Container { pod: "web".to_owned(), ..Container::new("web-again", second) };
    let refused = on_b.settled("ADD", &there, &config)?;
    let said = refused.json.to_string();
    ensure!(refused.code != 0 && said.contains(wished[0]), "{said}");
    clean_links(b)?;
    on_a.call("DEL", &web, &config)?.done("DEL on the first node")?;
    // What is released after a DEL is known on the other node a moment later.
    let moved = until_some("the pod on the other node", SOON, || {
        on_b.call("ADD", &there, &config)?.done("ADD on the other node").map(Some)
    })?;
    ensure!(moved.addresses() == wished, "{}", moved.json);
    for address in wished {
        reaches(a.host(), address)?;
        reaches(tor, address)?;
        reaches(other, address)?;
    }
    for address in &neighbours {
        reaches(second, address)?;
    }
    // By a route of its own, beside the block that the first node has still.
    let host_route = a.best(&format!("{}/32", wished[0]))?.context("a route of its own")?;
    ensure!(host_route["next_hop"] == "10.99.0.112", "{host_route}");
    on_b.call("DEL", &there, &config)?.done("DEL on the other node")?;
    on_a.delete(&db)?;
    clean(a)?;
    clean(b)?;
    until("the route of its own is gone", SOON, || {
        Ok(a.best(&format!("{}/32", wished[0]))?.is_none())
    })
}

/// Waits until no link of a pod is left on a node.
fn clean_links(margay: &Margay) -> Result<()> {
    until("no link is left", SOON, || {
        Ok(!margay.host().ip(&["-o", "link", "show"])?.contains("cali"))
    })
}

/// A node with its own datastore and pools, and hosts to be its pods.
fn alone(lab: &mut Lab, pods: &[&str]) -> Result<(Margay, Vec<Host>)> {
    let host = lab.host("a")?;
    // By which it speaks with its pods.
    host.configure("lo", &["192.0.2.1/32", "2001:db8::1/128"])?;
    let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    margay.apply(&resources::all(&cluster()))?;
    let pods = pods.iter().map(|name| lab.host(name)).collect::<Result<_>>()?;
    Ok((margay, pods))
}

#[test]
fn a_container_with_several_interfaces_is_reached_over_each() -> Result<()> {
    if !have_root("a_container_with_several_interfaces_is_reached_over_each") {
        return Ok(());
    }
    let mut lab = Lab::new("several")?;
    let (margay, pods) = alone(&mut lab, &["p1"])?;
    let result = (|| {
        let (runtime, pod) = (Runtime::of(&margay)?, &pods[0]);
        let interface = |ifname| Container::new("c1", pod).interface(ifname);
        let mut all = Vec::new();
        for ifname in ["eth0", "net1", "net2"] {
            let result = runtime.add(&interface(ifname))?;
            all.push((ifname, result.addresses(), result.json));
        }
        for (ifname, addresses, result) in &all {
            ensure!(addresses.len() == 2, "{result}");
            for address in addresses {
                reaches(margay.host(), address)?;
                let length = if address.contains(':') { 128 } else { 32 };
                let shown = pod.ip(&["-o", "addr", "show", "dev", ifname])?;
                ensure!(shown.contains(&format!("{address}/{length}")), "{ifname}: {shown}");
            }
            let previous = json!({"prevResult": result});
            runtime.call("CHECK", &interface(ifname), &previous)?.done("CHECK")?;
        }
        let first = pod.ip(&["route", "get", "192.0.2.1"])?;
        ensure!(first.contains("dev eth0"), "{first}");
        ensure!(margay.json(&["workload", "list"])?.as_array().map(Vec::len) == Some(3));
        // Each goes by itself.
        runtime.delete(&interface("eth0"))?;
        for address in all[1].1.iter().chain(&all[2].1) {
            reaches(margay.host(), address)?;
        }
        for ifname in ["net2", "net1", "net1"] {
            runtime.delete(&interface(ifname))?;
        }
        clean(&margay)
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn a_pod_gets_addresses_of_the_pools_that_its_namespace_asks_for_unless_it_asks_itself()
-> Result<()> {
    if !have_root(
        "a_pod_gets_addresses_of_the_pools_that_its_namespace_asks_for_unless_it_asks_itself",
    ) {
        return Ok(());
    }
    let mut lab = Lab::new("namespace")?;
    let (margay, pods) = alone(&mut lab, &["p1", "p2", "p3"])?;
    let result = (|| {
        margay.apply(&resources::all(&[
            resources::pool("blue", "10.20.0.0/16"),
            resources::pool("red", "10.30.0.0/16"),
        ]))?;
        let namespace = |pools: &str| {
            margay.apply(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  annotations:\n    \
                 cni.projectcalico.org/ipv4pools: '{pools}'\n    \
                 cni.projectcalico.org/ipFamilies: '[\"IPv4\"]'\n"
            ))
        };
        namespace("[\"blue\"]")?;
        let runtime = Runtime::of(&margay)?;
        // What is applied is known a moment later.
        let web = Container::new("web", &pods[0]);
        until("an address of the namespace's pool", SOON, || {
            let (_, addresses) = add(&runtime, &web)?;
            let blue = addresses.len() == 1 && addresses[0].starts_with("10.20.");
            if !blue {
                runtime.delete(&web)?;
            }
            Ok(blue)
        })?;
        let red = json!({"key": "cni.projectcalico.org/ipv4pools", "value": "[\"red\"]"});
        let own = json!({"args": {"cni": {"annotations": [red]}}});
        let db = Container::new("db", &pods[1]);
        let given = runtime.settled("ADD", &db, &own)?.done("ADD with its own pool")?.addresses();
        ensure!(given.len() == 1 && given[0].starts_with("10.30."), "{given:?}");
        // The first one keeps what it has, whatever its namespace comes to say.
        namespace("blue")?;
        let odd = Container::new("odd", &pods[2]);
        until("a namespace that cannot be read is said", SOON, || {
            let refused = runtime.call("ADD", &odd, &Value::Null)?;
            if refused.code == 0 {
                runtime.delete(&odd)?;
            }
            Ok(refused.json["code"] == 7 && refused.json.to_string().contains("namespace shop"))
        })?;
        let (_, again) = add(&runtime, &web)?;
        ensure!(again.len() == 1 && again[0].starts_with("10.20."), "{again:?}");
        runtime.delete(&web)?;
        runtime.call("DEL", &db, &own)?.done("DEL")?;
        clean(&margay)
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn an_address_that_another_route_leads_away_is_said_and_the_next_try_gets_another() -> Result<()> {
    if !have_root("an_address_that_another_route_leads_away_is_said_and_the_next_try_gets_another")
    {
        return Ok(());
    }
    let mut lab = Lab::new("conflict")?;
    let (margay, pods) = alone(&mut lab, &["p1", "p2"])?;
    let result = (|| {
        let runtime = Runtime::of(&margay)?;
        let host = margay.host();
        let (one, two) = (Container::new("c1", &pods[0]), Container::new("c2", &pods[1]));
        let (_, first) = add(&runtime, &one)?;
        // Somebody else's routes to all that could come next.
        host.ip(&["link", "add", "dummy", "type", "bridge"])?;
        host.ip(&["link", "set", "dummy", "up"])?;
        let (front, last) = first[0].rsplit_once('.').context("an IPv4 address")?;
        let next: u8 = last.parse::<u8>()? + 1;
        host.ip(&["route", "add", &format!("{front}.{next}/32"), "dev", "dummy"])?;
        let refused = runtime.settled("ADD", &two, &Value::Null)?;
        ensure!(refused.code != 0, "{}", refused.json);
        let said = refused.json.to_string();
        ensure!(said.contains(&format!("{front}.{next}")) && said.contains("dummy"), "{said}");
        ensure!(said.contains("help: remove that route"), "{said}");
        ensure!(!pods[1].ip(&["-o", "link"])?.contains("eth0"), "a link is left");
        let (_, second) = add(&runtime, &two)?;
        ensure!(second[0] != format!("{front}.{next}"), "{second:?}");
        for address in &second {
            reaches(host, address)?;
        }
        let theirs = host.ip(&["route", "show", &format!("{front}.{next}")])?;
        ensure!(theirs.contains("dummy"), "it is left alone: {theirs}");
        runtime.delete(&one)?;
        runtime.delete(&two)?;
        clean(&margay)
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn a_daemon_killed_during_adds_and_deletes_leaves_exactly_what_it_should() -> Result<()> {
    if !have_root("a_daemon_killed_during_adds_and_deletes_leaves_exactly_what_it_should") {
        return Ok(());
    }
    let mut lab = Lab::new("podkill")?;
    let host = lab.host("n")?;
    let outside = lab.host("outside")?;
    lab.link(
        (&host, "eth0", &["10.99.0.1/24", "fd99::1/64"]),
        (&outside, "eth0", &["10.99.0.2/24"]),
    )?;
    let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    margay.apply(&resources::all(&cluster()))?;
    let pods = (0..6).map(|n| lab.host(&format!("p{n}"))).collect::<Result<Vec<_>>>()?;
    let runtime = Runtime::of(&margay)?;
    // The daemon dies at another moment of six ADDs each time.
    for round in 0..12_u64 {
        std::thread::scope(|scope| -> Result<()> {
            let adds: Vec<_> = pods
                .iter()
                .enumerate()
                .map(|(n, pod)| {
                    let runtime = &runtime;
                    let container = Container::new(&format!("r{round}p{n}"), pod);
                    scope.spawn(move || runtime.call("ADD", &container, &Value::Null))
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(8 * round));
            margay.kill()?;
            for (n, add) in adds.into_iter().enumerate() {
                let answer = add.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
                let expected = answer.code == 0 || answer.is_later();
                ensure!(expected, "round {round} pod {n}: {}", answer.json);
            }
            Ok(())
        })?;
        margay.start()?;
        // What a runtime does: it tries again, or gives up.
        for (n, pod) in pods.iter().enumerate() {
            let container = Container::new(&format!("r{round}p{n}"), pod);
            if n % 2 == 0 {
                reaches(&host, &add(&runtime, &container)?.1[0])?;
            }
            runtime.delete(&container)?;
        }
        clean(&margay).with_context(|| format!("round {round}"))?;
        for pod in &pods {
            ensure!(!pod.ip(&["-o", "link"])?.contains("eth0"), "a link is left in {}", pod.name());
        }
    }
    Ok(())
}

#[test]
fn a_floating_address_leads_to_its_pod_from_wherever_it_is_asked_for() -> Result<()> {
    if !have_root("a_floating_address_leads_to_its_pod_from_wherever_it_is_asked_for") {
        return Ok(());
    }
    let mut rack = Rack::start("floating")?;
    let mut dataplanes = [Dataplane::new(&rack.nodes[0])?, Dataplane::new(&rack.nodes[1])?];
    let result = float(&mut rack, &mut dataplanes);
    if result.is_err() {
        dataplanes.iter().for_each(|dataplane| eprintln!("{}", dataplane.log()));
    }
    rack.told(result)
}

fn float(rack: &mut Rack, dataplanes: &mut [Dataplane; 2]) -> Result<()> {
    let Rack { nodes: [a, b], tor, pods: [first, second, third], .. } = rack;
    let floating = ["203.0.113.7", "2001:db8:f::7"];
    let used = |how: &str| {
        resources::document("FelixConfiguration", "default", &format!("{{floatingIPs: {how}}}"))
    };
    let open = "{ingress: [{action: Allow}], egress: [{action: Allow}]}";
    a.apply(&resources::all(&[
        resources::document("Profile", "kns.shop", open),
        // What is of no pool is announced to nobody.
        resources::document("IPPool", "out4", "{cidr: 203.0.113.0/24, disabled: true}"),
        resources::document("IPPool", "out6", "{cidr: \"2001:db8:f::/64\", disabled: true}"),
        used("Enabled"),
    ]))?;
    dataplanes.iter_mut().try_for_each(Dataplane::start)?;
    let (on_a, on_b) = (Runtime::of(a)?, Runtime::of(b)?);
    let (web, db) = (Container::new("web", first), Container::new("db", second));
    let far = Container::new("far", third);
    let wish = json!(floating).to_string();
    let annotation = json!({"key": "cni.projectcalico.org/floatingIPs", "value": wish});
    let mut config = json!({"args": {"cni": {"annotations": [annotation]}}});
    let refused = on_a.settled("ADD", &web, &config)?;
    ensure!(refused.code != 0 && refused.json.to_string().contains("floating_ips"), "{refused:?}");
    config["feature_control"] = json!({"floating_ips": true});
    on_a.settled("ADD", &web, &config)?.done("the pod")?;
    add(&on_a, &db)?;
    add(&on_b, &far)?;
    let everywhere = |tor: &Host| -> Result<()> {
        for address in floating {
            // The switch, its own node, another node and its pod, a pod beside it, and itself.
            for from in [tor, a.host(), b.host(), third, second, first] {
                reaches(from, address)?;
            }
        }
        Ok(())
    };
    everywhere(tor)?;
    // The pod's policy decides, by the pod's own address.
    let deny = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: deny, \
                namespace: shop}\nspec: {selector: all(), ingress: [{action: Allow, protocol: TCP}]}\n";
    a.apply(deny)?;
    for address in floating {
        until("policy closes it", SOON, || Ok(!tor.pings(address)))?;
    }
    // A connection outlives the dataplane.
    shop::serve(first)?;
    let mut stream = shop::reaches(tor, floating[0].parse()?)?;
    shop::echoes(&mut stream)?;
    dataplanes[0].daemon()?.kill()?;
    shop::echoes(&mut stream)?;
    drop(shop::reaches(tor, floating[0].parse()?)?);
    dataplanes[0].start()?;
    shop::echoes(&mut stream)?;
    a.text(&["delete", "networkpolicy", "-n", "shop", "deny"])?;
    everywhere(tor)?;
    // Switched off they lead nowhere, and nobody is told of them.
    let told = |expected: bool| {
        until("the switch has a route to it", SOON, || {
            let routes = tor.ip(&["route", "show", "203.0.113.7"])?
                + &tor.ip(&["-6", "route", "show", "2001:db8:f::7"])?;
            Ok(routes.matches("via").count() == if expected { 2 } else { 0 })
        })
    };
    told(true)?;
    a.apply(&used("Disabled"))?;
    told(false)?;
    for address in floating {
        until("it leads nowhere", SOON, || Ok(!a.host().pings(address) && !second.pings(address)))?;
    }
    a.apply(&used("Enabled"))?;
    everywhere(tor)?;
    on_a.delete(&web)?;
    told(false)?;
    on_a.delete(&db)?;
    on_b.delete(&far)?;
    clean(a)?;
    clean(b)
}
