//! Pods through the CNI plugin: two nodes, a switch above them, and daemons that die.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use interop_tests::{
    pair::SOON,
    runtime::{self, Container, Runtime},
};
use serde_json::{Value, json};
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Neighbor, Speaker},
    etcd::Cluster,
    have_root,
    peer::{Bird, Peer},
    until,
};

const CLUSTER: &str = "\
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  asNumber: 64513
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: four
spec:
  cidr: 10.10.0.0/16
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: six
spec:
  cidr: fd10::/48
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: tor4
spec: {node: a, peerIP: 10.99.0.254, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: tor6
spec: {node: a, peerIP: \"fd99::254\", asNumber: 65001}
";

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

#[test]
fn pods_of_two_nodes_and_the_switch_reach_each_other() -> Result<()> {
    if !have_root("pods_of_two_nodes_and_the_switch_reach_each_other") {
        return Ok(());
    }
    let mut lab = Lab::new("pods")?;
    let etcd = Cluster::start(&mut lab)?;
    let endpoints: Vec<_> = etcd.endpoints().iter().map(|e| format!("\"{e}\"")).collect();
    let config = format!("[datastore]\ntype = \"etcd\"\nendpoints = [{}]\n", endpoints.join(", "));
    let mut nodes = Vec::new();
    for (name, last) in [("a", 111), ("b", 112)] {
        let host = lab.host(name)?;
        let (four, six) = (format!("10.99.0.{last}/24"), format!("fd99::{last}/64"));
        lab.plug(etcd.switch(), &host, "eth0", &[&four, &six])?;
        let mut margay = Margay::new(&host, &config);
        margay.set_node_keys("register = false\n");
        margay.start()?;
        nodes.push(margay);
    }
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
    let [a, b] = nodes.as_mut_slice() else { bail!("two nodes") };
    let mut text = CLUSTER.to_owned();
    for (name, last) in [("a", 111), ("b", 112)] {
        text += &format!(
            "---\napiVersion: projectcalico.org/v3\nkind: Node\nmetadata:\n  name: {name}\nspec:\n  \
             bgp:\n    ipv4Address: 10.99.0.{last}/24\n    ipv6Address: fd99::{last}/64\n"
        );
    }
    a.apply(&text)?;
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
        reaches(&tor, &first[family])?;
        reaches(&tor, &third[family])?;
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
    margay.apply(CLUSTER)?;
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
