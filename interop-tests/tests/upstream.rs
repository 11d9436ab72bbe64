//! Nodes that hear from other nodes what changes in etcd, instead of watching it.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    Lab, Margay,
    certificates::{Authority, Identity},
    etcd::Cluster,
    have_root, resources, until,
    wait::until_eq,
};

/// Patience for what takes a moment on a machine that is not busy.
const SOON: Duration = Duration::from_secs(60);
const PORT: u16 = 9180;

fn tls(table: &str, identity: &Identity) -> String {
    let [cert, key, ca] =
        [&identity.certificate, &identity.key, &identity.ca].map(|path| path.display().to_string());
    format!("[{table}]\ncert = \"{cert}\"\nkey = \"{key}\"\nca = \"{ca}\"\n")
}

/// Nodes on one etcd, by name and the last octet of their address.
struct Fabric {
    lab: Lab,
    etcd: Cluster,
    authority: Authority,
}

impl Fabric {
    fn new(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let etcd = Cluster::start_one(&mut lab)?;
        let authority = Authority::new(lab.dir())?;
        Ok(Self { lab, etcd, authority })
    }

    /// A daemon that may be asked, and asks these others.
    fn node(&mut self, name: &str, last: u8, upstreams: &[u8]) -> Result<Margay> {
        let host = self.etcd.host(&mut self.lab, name, last)?;
        let address = format!("10.99.0.{last}");
        let identity = self.authority.issue(name, &address, host.dir())?;
        let mut config = self.etcd.datastore() + &tls("api.tls", &identity);
        if !upstreams.is_empty() {
            let upstreams: Vec<_> =
                upstreams.iter().map(|last| format!("\"10.99.0.{last}:{PORT}\"")).collect();
            config += &format!("[sync]\nupstream = [{}]\n", upstreams.join(", "));
        }
        let mut margay = Margay::new(&host, &config);
        margay.set_node_keys("register = false\n");
        margay.set_api_keys(&format!("listen = \"{address}:{PORT}\"\n"));
        Ok(margay)
    }
}

/// The upstream that a node is connected to.
fn upstream(margay: &Margay) -> Result<Option<String>> {
    let status = margay.json(&["status"])?;
    let upstream = &status["upstream"];
    let connected = upstream["connected"] == true;
    Ok(upstream["address"].as_str().filter(|_| connected).map(str::to_owned))
}

fn asked(last: u8) -> Option<String> {
    Some(format!("10.99.0.{last}:{PORT}"))
}

/// The peers a node has, as resources say.
fn peers(margay: &Margay) -> Result<BTreeSet<String>> {
    let rows = margay.json(&["peers"])?;
    let names = rows.as_array().context("an array")?.iter();
    Ok(names.filter_map(|row| row["address"].as_str().map(str::to_owned)).collect())
}

/// A page of the HTTP service of a node.
fn page(margay: &Margay, path: &str) -> Result<String> {
    let mut command = std::process::Command::new("curl");
    command.args(["-s", "-i", "--max-time", "10", &format!("http://127.0.0.1:9179{path}")]);
    let output = margay.host().output(&mut command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn peering(name: &str, address: &str) -> String {
    resources::peer(name, &format!("{{peerIP: {address}, asNumber: 65001}}"))
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|address| (*address).to_owned()).collect()
}

/// The address that was assigned.
fn address(assigned: &Value) -> Result<String> {
    Ok(assigned[0]["address"].as_str().context("an address")?.to_owned())
}

/// What stands there in every row, each once.
fn column(rows: &Value, name: &str) -> Result<BTreeSet<String>> {
    let rows = rows.as_array().context("an array")?.iter();
    rows.map(|row| Ok(row[name].as_str().context("a text")?.to_owned())).collect()
}

#[test]
fn followers_have_no_watch_and_lose_nothing_when_their_upstream_is_killed() -> Result<()> {
    if !have_root("followers_have_no_watch_and_lose_nothing_when_their_upstream_is_killed") {
        return Ok(());
    }
    let mut fabric = Fabric::new("upstream")?;
    let idle = fabric.etcd.watchers()?;
    let mut first = fabric.node("first", 111, &[])?;
    let mut second = fabric.node("second", 112, &[])?;
    first.start()?;
    second.start()?;
    first.apply(&resources::all(&[
        resources::document(
            "BGPConfiguration",
            "default",
            "{asNumber: 64513, nodeToNodeMeshEnabled: false}",
        ),
        resources::pool("pods", "10.10.0.0/16"),
        resources::node("a", "10.99.0.113/24", None),
        resources::node("b", "10.99.0.114/24", None),
        resources::node("c", "10.99.0.115/24", None),
    ]))?;
    let watchers = |etcd: &Cluster| etcd.watchers().map(|all| all - idle);
    until_eq("the watches of two daemons", SOON, &4, || watchers(&fabric.etcd))?;

    let mut a = fabric.node("a", 113, &[111, 112])?;
    let mut b = fabric.node("b", 114, &[111, 112])?;
    // One in a chain.
    let mut c = fabric.node("c", 115, &[113])?;
    for node in [&mut a, &mut b, &mut c] {
        node.start()?;
    }
    until_eq("a hears the first", SOON, &asked(111), || upstream(&a))?;
    until_eq("b hears the first", SOON, &asked(111), || upstream(&b))?;
    until_eq("c hears a", SOON, &asked(113), || upstream(&c))?;
    ensure!(watchers(&fabric.etcd)? == 4, "three daemons more, and no watch more");

    // What is written anywhere takes effect on all.
    b.apply(&peering("one", "10.99.0.201"))?;
    for node in [&a, &b, &c] {
        until_eq("a peer", SOON, &set(&["10.99.0.201"]), || peers(node))?;
    }
    let path = c.json(&["status"])?["upstream"]["path"].clone();
    ensure!(path == serde_json::json!(["first", "a"]), "{path}");
    // Addresses: a block each, by the datastore, heard of over the upstream.
    let (of_a, of_c) = (
        address(&a.json(&["ipam", "assign", "--v4", "1", "--handle", "x"])?)?,
        address(&c.json(&["ipam", "assign", "--v4", "1", "--handle", "y"])?)?,
    );
    ensure!(of_a != of_c, "{of_a}");
    // What was written by the node itself is there at once.
    a.apply(&resources::pool("more", "10.11.0.0/16"))?;
    let pools = a.json(&["get", "ippools"])?.to_string();
    ensure!(pools.contains("10.11.0.0/16"), "{pools}");

    // The upstream dies: the next one is asked, and goes on where the first ended.
    first.kill()?;
    until_eq("a hears the second", SOON, &asked(112), || upstream(&a))?;
    until_eq("b hears the second", SOON, &asked(112), || upstream(&b))?;
    second.apply(&peering("two", "10.99.0.202"))?;
    a.text(&["delete", "bgppeer", "one"])?;
    for node in [&a, &b, &c] {
        until_eq("peers after the first", SOON, &set(&["10.99.0.202"]), || peers(node))?;
    }

    // Both are dead: what is known stays, and it is said.
    second.kill()?;
    until_eq("a hears nobody", SOON, &None, || upstream(&a))?;
    until("it says so", SOON, || {
        let (ready, metrics) = (page(&a, "/readyz")?, page(&a, "/metrics")?);
        let down =
            format!("margay_datastore_upstream_connected{{upstream=\"10.99.0.112:{PORT}\"}} 0");
        Ok(ready.contains("200 OK")
            && ready.contains("no upstream is in sync")
            && metrics.contains(&down)
            && metrics.contains("margay_datastore_upstream_lag_seconds"))
    })?;
    ensure!(peers(&a)? == set(&["10.99.0.202"]), "what is known stays");
    // Writes go to the datastore all the same, and so does an address out of a block that is known.
    a.apply(&peering("three", "10.99.0.203"))?;
    a.text(&["delete", "bgppeer", "two"])?;
    let more = address(&a.json(&["ipam", "assign", "--v4", "1", "--handle", "z"])?)?;
    ensure!(more != of_a && more != of_c, "{more}");
    ensure!(peers(&a)? == set(&["10.99.0.202"]), "nobody told it yet");
    // And new blocks: what nobody tells is read from the datastore, so none is claimed twice.
    let had = [&of_a, &of_c, &more].map(String::clone);
    let mut all: BTreeSet<String> = had.into();
    for node in [&a, &b, &c] {
        let many = node.json(&["ipam", "assign", "--v4", "100", "--handle", "many"])?;
        let (addresses, blocks) = (column(&many, "address")?, column(&many, "block")?);
        ensure!(addresses.len() == 100 && blocks.len() >= 2, "more than a block has: {many}");
        for address in addresses {
            ensure!(all.insert(address.clone()), "{address} is given out twice");
        }
    }

    // The first comes back; what happened meanwhile, a deletion among it, is heard of.
    first.start()?;
    until_eq("a hears the first again", SOON, &asked(111), || upstream(&a))?;
    for node in [&a, &b, &c] {
        until_eq("peers after the pause", SOON, &set(&["10.99.0.203"]), || peers(node))?;
        until("it is in sync", SOON, || Ok(upstream(node)?.is_some()))?;
    }
    until_eq("the watches of one daemon", SOON, &2, || watchers(&fabric.etcd))?;
    for node in [&first, &a, &b, &c] {
        let check = node.json(&["ipam", "check"])?;
        ensure!(check["problems"] == serde_json::json!([]), "{check}");
        let one = |address: &str| node.json(&["ipam", "show", "--ip", address]);
        for address in [&of_a, &of_c, &more] {
            one(address)?;
        }
        let shown = node.json(&["ipam", "show"])?;
        let in_use = shown.as_array().context("an array")?.iter().map(|pool| &pool["in_use"]);
        let in_use: u64 = in_use.filter_map(Value::as_u64).sum();
        ensure!(in_use == 303, "what was assigned meanwhile is heard of: {shown}");
    }
    let written = first.json(&["get", "bgppeers"])?.to_string();
    ensure!(written.contains("10.99.0.203") && !written.contains("10.99.0.202"), "{written}");
    Ok(())
}

#[test]
fn who_is_not_known_is_not_let_in_and_nobody_is_believed_whose_name_is_another() -> Result<()> {
    let test = "who_is_not_known_is_not_let_in_and_nobody_is_believed_whose_name_is_another";
    if !have_root(test) {
        return Ok(());
    }
    let mut fabric = Fabric::new("strange")?;
    let mut first = fabric.node("first", 111, &[])?;
    first.start()?;

    // Signed by somebody else.
    let others = fabric.lab.dir().join("others");
    fs::create_dir(&others)?;
    let ours = std::mem::replace(&mut fabric.authority, Authority::new(&others)?);
    let mut stranger = fabric.node("stranger", 112, &[111])?;
    fabric.authority = ours;
    stranger.launch()?;
    let said = |margay: &Margay| -> Result<String> {
        Ok(margay.json(&["status"])?["upstream"]["cause"].to_string())
    };
    until("the stranger cannot connect", SOON, || {
        Ok(said(&stranger).is_ok_and(|cause| cause.contains("ertificate")))
    })?;
    ensure!(page(&stranger, "/readyz")?.contains("503"), "it knows nothing yet");

    // It is at that address, but its certificate is of another.
    let wrong = fabric.authority.issue("first", "10.99.0.99", first.host().dir())?;
    ensure!(wrong.certificate.exists());
    first.terminate()?;
    first.start()?;
    let mut careful = fabric.node("careful", 113, &[111])?;
    careful.launch()?;
    until("it is not believed", SOON, || {
        Ok(said(&careful).is_ok_and(|cause| cause.contains("ertificate")))
    })
}

#[test]
fn daemons_that_have_only_each_other_say_so_and_are_well_once_there_is_a_third() -> Result<()> {
    let test = "daemons_that_have_only_each_other_say_so_and_are_well_once_there_is_a_third";
    if !have_root(test) {
        return Ok(());
    }
    let mut fabric = Fabric::new("loop")?;
    let mut a = fabric.node("a", 113, &[114, 111])?;
    let mut b = fabric.node("b", 114, &[113, 111])?;
    a.start()?;
    b.start()?;
    for node in [&a, &b] {
        until("it is not in sync, and says why", SOON, || {
            let status = node.json(&["status"])?;
            Ok(status["upstream"]["connected"] == false && status["upstream"]["cause"].is_string())
        })?;
        ensure!(page(node, "/readyz")?.contains("503"), "it knows nothing yet");
    }
    let mut root = fabric.node("root", 111, &[])?;
    root.start()?;
    root.apply(&resources::all(&[
        resources::asn(64513),
        resources::node("a", "10.99.0.113/24", None),
        resources::node("b", "10.99.0.114/24", None),
    ]))?;
    for node in [&a, &b] {
        until("it is in sync", SOON, || Ok(upstream(node)?.is_some()))?;
    }
    // The third goes: one may still hear the other, but not both each other.
    root.kill()?;
    until("a loop is broken", SOON, || {
        let both = (upstream(&a)?, upstream(&b)?);
        Ok(both.0.is_none() || both.1.is_none())
    })?;
    root.start()?;
    for (node, address) in [(&a, "10.99.0.204"), (&b, "10.99.0.205")] {
        root.apply(&peering(&address.replace('.', "-"), address))?;
        until("it hears what is new", SOON, || Ok(peers(node)?.contains(address)))?;
    }
    Ok(())
}
