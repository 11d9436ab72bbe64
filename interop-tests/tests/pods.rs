//! Pods through the CNI plugin: two nodes, a switch above them, and daemons that die.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use interop_tests::pair::SOON;
use serde_json::{Value, json};
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Neighbor, Speaker},
    etcd::Cluster,
    have_root,
    margay::bin,
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

/// A runtime on a node.
struct Runtime {
    socket: PathBuf,
    spool: PathBuf,
}

/// What a plugin answered.
struct Answer {
    code: i32,
    json: Value,
}

impl Runtime {
    fn of(margay: &Margay) -> Self {
        let spool = margay.host().dir().join("state/cni-spool");
        Self { socket: margay.socket(), spool }
    }

    /// Calls the plugin for a container whose namespace is that of `host`.
    fn call(&self, verb: &str, container: &str, host: &Host, more: &Value) -> Result<Answer> {
        let mut config = json!({
            "cniVersion": "1.1.0",
            "name": "pods",
            "type": "margay",
            "socket": self.socket,
            "spool_dir": self.spool,
            "ipam": {"type": "margay-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let mut plugin = Command::new(bin("margay-cni")?)
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", format!("/run/netns/{}", host.netns()))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={container}"))
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("margay-cni")?;
        let mut stdin = plugin.stdin.take().context("its stdin")?;
        stdin.write_all(config.to_string().as_bytes())?;
        drop(stdin);
        let output = plugin.wait_with_output()?;
        let json = match output.stdout.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&output.stdout)?,
        };
        Ok(Answer { code: output.status.code().unwrap_or(-1), json })
    }

    /// ADD that must succeed; the result and the addresses, IPv4 first.
    fn add(&self, container: &str, host: &Host) -> Result<(Value, Vec<String>)> {
        let answer = self.call("ADD", container, host, &json!({}))?;
        ensure!(answer.code == 0, "ADD {container}: {}", answer.json);
        let ips = answer.json["ips"].as_array().context("ips")?;
        let plain = |ip: &Value| {
            ip["address"].as_str().and_then(|ip| ip.split('/').next()).map(str::to_owned)
        };
        let addresses = ips.iter().filter_map(plain).collect();
        Ok((answer.json, addresses))
    }

    fn delete(&self, container: &str, host: &Host) -> Result<()> {
        let answer = self.call("DEL", container, host, &json!({}))?;
        ensure!(answer.code == 0, "DEL {container}: {}", answer.json);
        Ok(())
    }
}

fn apply(margay: &Margay, text: &str) -> Result<()> {
    let file = margay.host().dir().join("resources.yaml");
    fs::write(&file, text)?;
    margay.text(&["apply", "-f", file.to_str().context("UTF-8")?]).map(drop)
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
    apply(a, &text)?;
    let (on_a, on_b) = (Runtime::of(a), Runtime::of(b));
    let (result, first) = on_a.add("web", &pods[0])?;
    ensure!(result["interfaces"][0]["name"].as_str().is_some_and(|n| n.starts_with("cali")));
    let (_, second) = on_a.add("db", &pods[1])?;
    let (_, third) = on_b.add("far", &pods[2])?;
    ensure!([&first, &second, &third].iter().all(|pod| pod.len() == 2), "both families");
    // The same again, the same answer.
    ensure!(on_a.add("web", &pods[0])?.0 == result, "a repeated ADD");
    let previous = json!({"prevResult": result});
    let check = on_a.call("CHECK", "web", &pods[0], &previous)?;
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
    let away = on_a.call("ADD", "new", &pods[1], &json!({}))?;
    ensure!(away.json["code"] == 11, "{}", away.json);
    on_a.delete("db", &pods[1])?;
    ensure!(!pods[0].pings(&second[0]), "its link is gone");
    a.start()?;
    ensure!(on_a.add("web", &pods[0])?.0 == result, "after a restart");
    until("the spool is worked off", SOON, || Ok(fs::read_dir(&on_a.spool)?.next().is_none()))?;
    reaches(&pods[2], &first[0])?;
    // Tampered with, a CHECK says so.
    pods[0].ip(&["addr", "del", &format!("{}/32", first[0]), "dev", "eth0"])?;
    let check = on_a.call("CHECK", "web", &pods[0], &previous)?;
    ensure!(
        check.json["msg"].as_str().is_some_and(|text| text.contains(&first[0])),
        "{}",
        check.json
    );
    // Everything goes, however often it is said.
    for _ in 0..3 {
        on_a.delete("web", &pods[0])?;
    }
    on_b.delete("far", &pods[2])?;
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
    apply(&margay, CLUSTER)?;
    let pods = (0..6).map(|n| lab.host(&format!("p{n}"))).collect::<Result<Vec<_>>>()?;
    let runtime = Runtime::of(&margay);
    // The daemon dies at another moment of six ADDs each time.
    for round in 0..12_u64 {
        std::thread::scope(|scope| -> Result<()> {
            let adds: Vec<_> = pods
                .iter()
                .enumerate()
                .map(|(n, pod)| {
                    let (runtime, name) = (&runtime, format!("r{round}p{n}"));
                    scope.spawn(move || runtime.call("ADD", &name, pod, &json!({})))
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(8 * round));
            margay.kill()?;
            for (n, add) in adds.into_iter().enumerate() {
                let answer = add.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
                ensure!(
                    answer.code == 0 || answer.json["code"] == 11,
                    "round {round} pod {n}: {}",
                    answer.json
                );
            }
            Ok(())
        })?;
        margay.start()?;
        // What a runtime does: it tries again, or gives up.
        for (n, pod) in pods.iter().enumerate() {
            let name = format!("r{round}p{n}");
            if n % 2 == 0 {
                let (_, addresses) = runtime.add(&name, pod)?;
                reaches(&host, &addresses[0])?;
            }
            runtime.delete(&name, pod)?;
        }
        clean(&margay).with_context(|| format!("round {round}"))?;
        for pod in &pods {
            ensure!(!pod.ip(&["-o", "link"])?.contains("eth0"), "a link is left in {}", pod.name());
        }
    }
    Ok(())
}
