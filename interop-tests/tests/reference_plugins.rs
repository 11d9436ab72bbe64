//! The reference plugins (package `containernetworking-plugins`) with ours: those that give addresses
//! to it, those chained behind it, and one that takes addresses from it.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use interop_tests::{
    pair::SOON,
    runtime::{Answer, Container, Runtime, spool},
};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, have_root, margay::bin, resources, until};

/// Where Debian's package puts them.
const REFERENCE: &str = "/usr/lib/cni";
/// The name of all lists.
const NETWORK: &str = "pods";

/// A node with pools of its own, a host beside it, and hosts to be its pods.
struct Node {
    margay: Margay,
    /// All plugins, ours too.
    bins: PathBuf,
    outside: Host,
    pods: [Host; 2],
    lab: Lab,
}

impl Node {
    fn start(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let (host, outside) = (lab.host("n")?, lab.host("outside")?);
        lab.link(
            (&host, "eth0", &["10.99.0.1/24", "fd99::1/64"]),
            (&outside, "eth0", &["10.99.0.2/24", "fd99::2/64"]),
        )?;
        let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
        margay.set_node_keys("register = false\n");
        margay.start()?;
        let pools = [resources::pool("four", "10.10.0.0/16"), resources::pool("six", "fd10::/48")];
        margay.apply(&resources::all(&pools))?;
        let bins = host.dir().join("plugins");
        fs::create_dir(&bins)?;
        for plugin in fs::read_dir(REFERENCE).context("package containernetworking-plugins")? {
            let plugin = plugin?;
            symlink(plugin.path(), bins.join(plugin.file_name()))?;
        }
        for name in ["margay", "margay-ipam"] {
            symlink(bin("margay-cni")?, bins.join(name))?;
        }
        let pods = [lab.host("p1")?, lab.host("p2")?];
        Ok(Self { margay, bins, outside, pods, lab })
    }

    /// The configuration of our plugin.
    fn plugin(&self) -> Value {
        json!({
            "type": "margay",
            "socket": self.margay.socket(),
            "spool_dir": spool(self.margay.host()),
            "ipam": ipam(),
        })
    }

    /// One call of a plugin, in the version that the reference plugins speak.
    fn call(
        &self,
        verb: &str,
        pod: &Container,
        plugin: &Value,
        previous: &Value,
    ) -> Result<Answer> {
        let name = plugin["type"].as_str().context("a plugin has a type")?;
        let mut config = plugin.clone();
        (config["cniVersion"], config["name"]) = ("1.0.0".into(), NETWORK.into());
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        let runtime = Runtime::new(self.margay.host(), self.bins.join(name), config);
        runtime.settled(verb, pod, &Value::Null)
    }

    /// ADD of a list of plugins, each told what came before; the last one's result. When one fails the
    /// list is deleted, as a runtime does it.
    fn add(&self, pod: &Container, plugins: &[Value]) -> Result<Answer> {
        let mut last = None;
        for plugin in plugins {
            let previous = last.as_ref().map_or(Value::Null, |last: &Answer| last.json.clone());
            let answer = self.call("ADD", pod, plugin, &previous)?;
            match answer.done(&format!("ADD of {}", plugin["type"])) {
                Ok(answer) => last = Some(answer),
                Err(error) => {
                    self.delete(pod, plugins, &previous)?;
                    return Err(error);
                }
            }
        }
        last.context("a list has a plugin")
    }

    /// CHECK of a list of plugins with what its ADD came to.
    fn check(&self, pod: &Container, plugins: &[Value], result: &Value) -> Result<()> {
        plugins.iter().try_for_each(|plugin| {
            let answer = self.call("CHECK", pod, plugin, result)?;
            answer.done(&format!("CHECK of {}", plugin["type"])).map(drop)
        })
    }

    /// DEL of a list of plugins, the last one first.
    fn delete(&self, pod: &Container, plugins: &[Value], result: &Value) -> Result<()> {
        plugins.iter().rev().try_for_each(|plugin| {
            let answer = self.call("DEL", pod, plugin, result)?;
            answer.done(&format!("DEL of {}", plugin["type"])).map(drop)
        })
    }

    fn told(mut self, play: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let result = play(&self);
        self.lab.told(result, || vec![self.margay.log()])
    }

    fn reaches(&self, address: &str) -> Result<()> {
        until(&format!("the node reaches {address}"), SOON, || {
            Ok(self.margay.host().pings(address))
        })
    }

    /// How many addresses of our pools are taken.
    fn held(&self) -> Result<u64> {
        let rows = self.margay.json(&["ipam", "show"])?;
        Ok(rows.as_array().context("rows")?.iter().filter_map(|row| row["in_use"].as_u64()).sum())
    }

    /// Waits until there is no link of a pod and no address taken.
    fn clean(&self) -> Result<()> {
        until("nothing is left of the pods", SOON, || {
            let links = self.margay.host().ip(&["-o", "link", "show"])?;
            Ok(!links.contains("cali") && self.held()? == 0)
        })
    }
}

/// Addresses of both families from our pools.
fn ipam() -> Value {
    json!({"type": "margay-ipam", "assign_ipv4": "true", "assign_ipv6": "true"})
}

/// Says past the harness what this kernel cannot show.
fn not_here(what: &str, why: &dyn std::fmt::Display) {
    let text = format!("SKIPPED (not on this kernel): {what}: {why}\n");
    // A terminal that went away is no reason to fail.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The addresses that a `host-local` has given, by its files.
fn given(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder.join(NETWORK)).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    // Beside them it keeps a lock and the last of each range.
    names.filter(|name| name.parse::<IpAddr>().is_ok()).collect()
}

#[test]
fn addresses_of_host_local_are_attached_and_given_back() -> Result<()> {
    if !have_root("addresses_of_host_local_are_attached_and_given_back") {
        return Ok(());
    }
    Node::start("host-local")?.told(|node| {
        let folder = node.margay.host().dir().join("host-local");
        let ranges = json!([[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd20::/64"}]]);
        let ipam = json!({"type": "host-local", "dataDir": folder, "ranges": ranges});
        let mut plugin = node.plugin();
        plugin["ipam"] = ipam;
        let plugins = [plugin];
        let (one, two) = (Container::new("c1", &node.pods[0]), Container::new("c2", &node.pods[1]));
        let first = node.add(&one, &plugins)?;
        let second = node.add(&two, &plugins)?;
        let of_second: BTreeSet<String> = second.addresses().into_iter().collect();
        let all: BTreeSet<String> =
            first.addresses().into_iter().chain(second.addresses()).collect();
        ensure!(all.len() == 4 && all == given(&folder), "{all:?} {:?}", given(&folder));
        for address in &all {
            node.reaches(address)?;
        }
        for address in &of_second {
            until("from pod to pod", SOON, || Ok(node.pods[0].pings(address)))?;
        }
        ensure!(node.held()? == 0, "ours are not touched");
        // Again: the same, and no further address is taken.
        ensure!(node.add(&one, &plugins)?.json == first.json);
        ensure!(all == given(&folder), "{:?}", given(&folder));
        node.check(&one, &plugins, &first.json)?;
        node.delete(&one, &plugins, &first.json)?;
        ensure!(given(&folder) == of_second, "{:?}", given(&folder));
        // What fails behind it gives its address back.
        node.pods[0].ip(&["link", "add", "eth0", "type", "bridge"])?;
        let third = Container::new("c3", &node.pods[0]);
        let refused = node.call("ADD", &third, &plugins[0], &Value::Null)?;
        ensure!(refused.code != 0 && refused.json.to_string().contains("eth0"), "{}", refused.json);
        ensure!(given(&folder) == of_second, "{:?}", given(&folder));
        node.delete(&two, &plugins, &second.json)?;
        ensure!(given(&folder).is_empty(), "{:?}", given(&folder));
        node.clean()
    })
}

#[test]
fn bandwidth_portmap_and_tuning_do_their_work_behind_ours() -> Result<()> {
    if !have_root("bandwidth_portmap_and_tuning_do_their_work_behind_ours") {
        return Ok(());
    }
    Node::start("chain")?.told(|node| {
        let (pod, host) = (Container::new("c1", &node.pods[0]), &node.pods[0]);
        let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let mut portmap = json!({"type": "portmap", "snat": true});
        portmap["runtimeConfig"] = json!({"portMappings": mappings});
        let tuning = json!({"type": "tuning", "sysctl": {"net.ipv4.tcp_keepalive_time": "555"}});
        let bandwidth = bandwidth(node)?;
        let mut plugins = vec![node.plugin(), tuning, portmap];
        plugins.extend(bandwidth);
        let answer = node.add(&pod, &plugins)?;
        let (all, result) = (answer.addresses(), answer.json);
        ensure!(all.len() == 2, "{result}");
        for address in &all {
            node.reaches(address)?;
        }
        let set = host.run("cat", &["/proc/sys/net/ipv4/tcp_keepalive_time"])?;
        ensure!(set.trim() == "555", "{set}");
        through_the_port(node, host)?;
        // portmap 1.1.1 looks for its IPv4 rules in the tables of IPv6, too.
        let checked: Vec<Value> =
            plugins.iter().filter(|plugin| plugin["type"] != "portmap").cloned().collect();
        node.check(&pod, &checked, &result)?;
        let link = result["interfaces"][0]["name"].as_str().context("the host's end")?.to_owned();
        if plugins.len() == 4 {
            let shaped = node.margay.host().run("tc", &["qdisc", "show", "dev", &link])?;
            ensure!(shaped.contains("tbf") && shaped.contains("8Mbit"), "{shaped}");
        }
        for _ in 0..2 {
            node.delete(&pod, &plugins, &result)?;
        }
        let rules = node.margay.host().run("iptables", &["-t", "nat", "-S"])?;
        ensure!(!rules.contains(&all[0]) && !rules.contains("8080"), "{rules}");
        let links = node.margay.host().ip(&["-o", "link", "show"])?;
        ensure!(!links.contains("bwp"), "{links}");
        node.clean()
    })
}

/// As much of `bandwidth` as the kernel has: both ways, towards the pod only, or nothing.
fn bandwidth(node: &Node) -> Result<Option<Value>> {
    let towards = json!({"ingressRate": 8_000_000, "ingressBurst": 1_000_000});
    let mut both = towards.clone();
    both["egressRate"] = 8_000_000.into();
    both["egressBurst"] = 1_000_000.into();
    let plugin =
        |limits: Value| json!({"type": "bandwidth", "runtimeConfig": {"bandwidth": limits}});
    for (what, limits) in [("limits from a pod", both), ("limits towards a pod", towards)] {
        let plugins = [node.plugin(), plugin(limits)];
        let pod = Container::new("probe", &node.pods[1]);
        match node.add(&pod, &plugins) {
            Ok(answer) => {
                node.delete(&pod, &plugins, &answer.json)?;
                let [_, plugin] = plugins;
                return Ok(Some(plugin));
            }
            // Only the kernel is an excuse.
            Err(error) if format!("{error:#}").contains("not supported") => {
                not_here(what, &format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Somebody outside speaks with a server in the pod by the node's port.
fn through_the_port(node: &Node, pod: &Host) -> Result<()> {
    let listener = pod.enter(|| Ok(TcpListener::bind("0.0.0.0:80")?))?;
    let server = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"from the pod")?;
        Ok(())
    });
    let address: SocketAddr = "10.99.0.1:8080".parse()?;
    let mut said = String::new();
    until("an answer at the node's port", SOON, || {
        node.outside.enter(|| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(SOON))?;
            stream.read_to_string(&mut said)?;
            Ok(true)
        })
    })?;
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    ensure!(said == "from the pod", "{said}");
    Ok(())
}

#[test]
fn the_bridge_plugin_takes_addresses_from_our_pools() -> Result<()> {
    if !have_root("the_bridge_plugin_takes_addresses_from_our_pools") {
        return Ok(());
    }
    Node::start("bridge")?.told(|node| {
        let plugin = node.plugin();
        // The daemon's socket is the main plugin's key for both.
        let bridge = json!({
            "type": "bridge",
            "bridge": "cni0",
            "ipam": plugin["ipam"],
            "socket": plugin["socket"],
            "spool_dir": plugin["spool_dir"],
        });
        let plugins = [bridge];
        let pod = Container::new("c1", &node.pods[0]);
        let answer = node.add(&pod, &plugins)?;
        let (all, result) = (answer.addresses(), answer.json);
        ensure!(all.len() == 2 && node.held()? == 2, "{result}");
        let shown = node.pods[0].ip(&["-o", "addr", "show", "dev", "eth0"])?;
        for address in &all {
            ensure!(shown.contains(&format!(" {address}/")), "{address}: {shown}");
        }
        // No CHECK: bridge 1.1.1 fails it for addresses without a gateway.
        ensure!(node.margay.json(&["ipam", "check"])?["problems"] == json!([]));
        for _ in 0..2 {
            node.delete(&pod, &plugins, &result)?;
        }
        node.clean()
    })
}
