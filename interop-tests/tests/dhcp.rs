//! Addresses that an IPAM plugin asks for over the pod's own link: the reference plugin `dhcp` and a
//! DHCP server on the host's end, and what is left when the daemon dies in between.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use interop_tests::{
    dataplane::Dataplane,
    pair::SOON,
    runtime::{Answer, Container, Runtime, spool},
};
use serde_json::{Value, json};
use testkit::{Daemon, Host, Lab, Margay, have_root, margay::bin, until};

/// Where Debian's package puts the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";
/// Of the server, and the only one it gives.
const SERVER: &str = "10.77.0.1";
const GIVEN: &str = "10.77.0.10";
/// SIGUSR1, upon which the server writes down what it gave.
const WRITE_DOWN: i32 = 10;

/// A node and a host to be its pod.
struct Node {
    margay: Margay,
    /// All plugins, ours too.
    bins: PathBuf,
    pod: Host,
    lab: Lab,
}

impl Node {
    fn start(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let (host, pod) = (lab.host("n")?, lab.host("p")?);
        // So that it has an address to send from.
        host.ip(&["link", "add", "uplink", "type", "bridge"])?;
        host.configure("uplink", &["10.99.0.1/24"])?;
        let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
        margay.set_node_keys("register = false\n");
        margay.start()?;
        let bins = host.dir().join("plugins");
        fs::create_dir(&bins)?;
        symlink(bin("margay-cni")?, bins.join("margay"))?;
        Ok(Self { margay, bins, pod, lab })
    }

    fn runtime(&self, more: &Value) -> Runtime {
        let mut config = json!({
            "cniVersion": "1.0.0",
            "name": "leased",
            "type": "margay",
            "socket": self.margay.socket(),
            "spool_dir": spool(self.margay.host()),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        Runtime::new(self.margay.host(), self.bins.join("margay"), config)
    }

    fn told(mut self, play: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = play(&mut self);
        self.lab.told(result, || vec![self.margay.log()])
    }

    /// Waits until there is nothing of a pod.
    fn clean(&self) -> Result<()> {
        until("nothing is left of the pod", SOON, || {
            let all = self.margay.json(&["workload", "list"])?;
            Ok(link(self.margay.host())?.is_none() && all.as_array().is_some_and(Vec::is_empty))
        })?;
        ensure!(!self.pod.ip(&["-o", "link"])?.contains("eth0"), "its end of the link is left");
        Ok(())
    }
}

/// The host's end of the only pod.
fn link(host: &Host) -> Result<Option<String>> {
    let links = host.ip(&["-o", "link"])?;
    let name = |line: &str| {
        let name = line.split_ascii_whitespace().nth(1)?.split(['@', ':']).next()?;
        name.starts_with("cali").then(|| name.to_owned())
    };
    Ok(links.lines().find_map(name))
}

/// A DHCP server on the host's end of a pod's link.
struct Server {
    daemon: Daemon,
    leases: PathBuf,
}

impl Server {
    /// Waits for the link, as one that serves links by a pattern of their names does.
    fn on_the_link_to_come(host: &Host, round: &str) -> Result<Self> {
        let mut name = String::new();
        until("the pod has a link", SOON, || {
            name = link(host)?.unwrap_or_default();
            Ok(!name.is_empty())
        })?;
        host.ip(&["addr", "add", &format!("{SERVER}/32"), "dev", &name])?;
        let file = |what: &str| host.dir().join(format!("{round}.{what}"));
        let leases = file("leases");
        fs::write(&leases, "")?;
        let config = format!(
            "interface {name}\nstart {GIVEN}\nend {GIVEN}\nlease_file {}\npidfile {}\noption subnet \
             255.255.255.0\noption router {SERVER}\noption lease 600\n",
            leases.display(),
            file("pid").display(),
        );
        fs::write(file("conf"), config)?;
        let mut command = Command::new("busybox");
        command.args(["udhcpd", "-f"]).arg(file("conf"));
        Ok(Self { daemon: Daemon::spawn(host, &mut command, &file("log"))?, leases })
    }

    /// Whether its address is given, and not given back.
    fn has_given(&mut self, host: &Host) -> Result<bool> {
        self.daemon.check_running()?;
        self.daemon.signal(WRITE_DOWN)?;
        let leases = self.leases.display().to_string();
        let all = host.run("busybox", &["dumpleases", "-f", &leases])?;
        Ok(all.lines().any(|line| line.contains(GIVEN) && !line.contains("expired")))
    }
}

/// ADD with a server on the link that it makes.
fn add(node: &Node, runtime: &Runtime, pod: &Container, round: &str) -> Result<(Answer, Server)> {
    thread::scope(|scope| {
        let answer = scope.spawn(|| runtime.settled("ADD", pod, &Value::Null));
        // Here: it ends with the thread that starts it.
        let server = Server::on_the_link_to_come(node.margay.host(), round);
        let answer = answer.join().map_err(|_| anyhow!("it panicked"))??;
        let server = server.with_context(|| format!("{} {}", answer.json, answer.log))?;
        Ok((answer, server))
    })
}

#[test]
fn a_pod_gets_its_address_from_a_dhcp_server_over_its_own_link() -> Result<()> {
    if !have_root("a_pod_gets_its_address_from_a_dhcp_server_over_its_own_link") {
        return Ok(());
    }
    Node::start("dhcp")?.told(|node| {
        // Which lets nothing else from a link that has no address yet.
        let mut dataplane = Dataplane::new(&node.margay)?;
        dataplane.start()?;
        lease(node)
    })
}

fn lease(node: &Node) -> Result<()> {
    let host = node.margay.host();
    symlink(Path::new(REFERENCE).join("dhcp"), node.bins.join("dhcp"))?;
    let socket = host.dir().join("dhcp.sock");
    let mut command = Command::new(Path::new(REFERENCE).join("dhcp"));
    command.arg("daemon").arg("-socketpath").arg(&socket);
    let mut client = Daemon::spawn(host, &mut command, &host.dir().join("dhcp.log"))?;
    until("the dhcp daemon listens", SOON, || {
        client.check_running()?;
        Ok(socket.exists())
    })?;
    let ipam = json!({"ipam": {"type": "dhcp", "daemonSocketPath": socket}});
    let (runtime, pod) = (node.runtime(&ipam), Container::new("c1", &node.pod));

    // What fails with the address gives it back, over the link, which goes only then.
    host.ip(&["link", "add", "theirs", "type", "bridge"])?;
    host.ip(&["link", "set", "theirs", "up"])?;
    host.ip(&["route", "add", &format!("{GIVEN}/32"), "dev", "theirs"])?;
    let (refused, mut server) = add(node, &runtime, &pod, "refused")?;
    ensure!(refused.json["code"] == 101, "{} {}", refused.json, refused.log);
    ensure!(client.log().contains("lease acquired"), "{}", client.log());
    until("the lease is given back", SOON, || Ok(!server.has_given(host)?))?;
    node.clean()?;
    drop(server);
    host.ip(&["link", "del", "theirs"])?;

    let (answer, mut server) = add(node, &runtime, &pod, "served")?;
    let answer = answer.done("ADD")?;
    ensure!(answer.addresses() == [GIVEN], "{}", answer.json);
    until("the server knows the lease", SOON, || server.has_given(host))?;
    until("the node reaches the pod", SOON, || Ok(host.pings(GIVEN)))?;
    let over = host.ip(&["route", "get", GIVEN])?;
    ensure!(over.contains("dev cali"), "{over}");
    let routes = node.pod.ip(&["route"])?;
    ensure!(routes.contains("default via 169.254.1.1"), "{routes}");
    // Again: the same, and no other is asked for.
    let asked = client.log().matches("acquiring lease").count();
    ensure!(runtime.add(&pod)?.json == answer.json);
    ensure!(client.log().matches("acquiring lease").count() == asked, "{}", client.log());
    let previous = json!({"prevResult": answer.json});
    runtime.call("CHECK", &pod, &previous)?.done("CHECK")?;

    runtime.delete(&pod)?;
    until("the lease is given back", SOON, || Ok(!server.has_given(host)?))?;
    node.clean()?;
    // Nothing is left to give back.
    runtime.delete(&pod)?;
    Ok(())
}

#[test]
fn an_older_container_of_the_pod_is_reached_until_the_newer_has_its_address() -> Result<()> {
    if !have_root("an_older_container_of_the_pod_is_reached_until_the_newer_has_its_address") {
        return Ok(());
    }
    Node::start("dhcpnew")?.told(take_the_place)
}

fn take_the_place(node: &mut Node) -> Result<()> {
    let script = node.bins.join("slow");
    fs::write(&script, SLOW)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let (given, go) = (node.bins.join("given"), node.bins.join("go"));
    let runtime = node.runtime(&json!({"ipam": {"type": "slow"}, "ipam_needs_interface": true}));
    let older = Container::new("c1", &node.pod);
    let newer =
        Container { id: "c2".into(), netns: node.lab.host("q")?.netns_path(), ..older.clone() };
    let host = node.margay.host().clone();
    let reached = |address: &str| Ok(host.pings(address));
    fs::write(&given, "10.77.0.10/24")?;
    fs::write(&go, "")?;
    runtime.add(&older)?;
    until("the node reaches the older one", SOON, || reached("10.77.0.10"))?;
    fs::remove_file(&go)?;
    fs::write(&given, "10.77.0.11/24")?;
    let answer = thread::scope(|scope| {
        let add = scope.spawn(|| runtime.call("ADD", &newer, &Value::Null));
        let between = (|| {
            until("the newer one has a link", SOON, || {
                let all = node.margay.json(&["workload", "list"])?;
                let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
                Ok(all.len() == 2 && all.iter().any(|one| one["state"] == "configured"))
            })?;
            ensure!(reached("10.77.0.10")?, "the older one lost its link");
            Ok(())
        })();
        // Also if that failed: it waits for this.
        fs::write(&go, "")?;
        let answer = add.join().map_err(|_| anyhow!("it panicked"))??;
        between.map(|()| answer)
    })?;
    ensure!(answer.done("ADD")?.addresses() == ["10.77.0.11"]);
    until("the node reaches the newer one", SOON, || reached("10.77.0.11"))?;
    ensure!(!node.pod.ip(&["-o", "link"])?.contains("eth0"), "the older one has its link still");
    let endpoints = node.margay.json(&["get", "workloadendpoints", "-A", "-o", "json"])?;
    let links = host.ip(&["-o", "link"])?;
    let named = endpoints["items"][0]["spec"]["interfaceName"].as_str().unwrap_or("none");
    ensure!(links.contains(named), "{named} is none of\n{links}");
    runtime.delete(&older)?;
    ensure!(reached("10.77.0.11")?, "the DEL of the older one took it down");
    runtime.delete(&newer)?;
    node.clean()
}

#[test]
fn a_daemon_that_dies_while_an_address_is_asked_for_leaves_nothing() -> Result<()> {
    if !have_root("a_daemon_that_dies_while_an_address_is_asked_for_leaves_nothing") {
        return Ok(());
    }
    Node::start("dhcpkill")?.told(die_in_between)
}

/// One that gives what it finds in a file when it is told to, and notes how it was called.
const SLOW: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$CNI_COMMAND" >> calls
cat > /dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
while [ ! -e go ]; do sleep 0.1; done
echo "{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"$(cat given)\"}]}"
"#;

fn die_in_between(node: &mut Node) -> Result<()> {
    let (script, calls) = (node.bins.join("slow"), node.bins.join("calls"));
    fs::write(&script, SLOW)?;
    fs::write(node.bins.join("given"), "10.77.0.10/24")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let runtime = node.runtime(&json!({"ipam": {"type": "slow"}, "ipam_needs_interface": true}));
    let pod = Container::new("c1", &node.pod);
    let called = || fs::read_to_string(&calls).unwrap_or_default();
    // Once as a whole: from now on nothing is put off.
    fs::write(node.bins.join("go"), "")?;
    runtime.add(&pod)?;
    runtime.delete(&pod)?;
    node.clean()?;
    fs::remove_file(node.bins.join("go"))?;
    fs::remove_file(&calls)?;
    let refused = thread::scope(|scope| {
        let add = scope.spawn(|| runtime.call("ADD", &pod, &Value::Null));
        let between = (|| {
            until("the address is asked for", SOON, || Ok(called() == "ADD\n"))?;
            let host = node.margay.host().clone();
            ensure!(link(&host)?.is_some(), "the link is there");
            let all = node.margay.json(&["workload", "list"])?;
            ensure!(all[0]["state"] == "configured", "{all}");
            node.margay.kill()?;
            ensure!(link(&host)?.is_some(), "nobody takes it away");
            node.margay.start()?;
            node.clean()
        })();
        // Also if that failed: it waits for this.
        fs::write(node.bins.join("go"), "")?;
        let refused = add.join().map_err(|_| anyhow!("it panicked"))??;
        between.map(|()| refused)
    })?;
    ensure!(refused.is_later(), "{} {}", refused.json, refused.log);
    ensure!(called() == "ADD\nDEL\n", "what it got goes back: {}", called());
    node.clean()?;
    // The runtime tries again.
    let answer = runtime.add(&pod)?;
    ensure!(answer.addresses() == [GIVEN], "{}", answer.json);
    let host = node.margay.host();
    until("the node reaches the pod", SOON, || Ok(host.pings(GIVEN)))?;
    // A daemon that is away keeps nothing from going.
    node.margay.kill()?;
    runtime.delete(&pod)?;
    ensure!(called().ends_with("ADD\nDEL\n"), "{}", called());
    node.margay.start()?;
    node.clean()
}
