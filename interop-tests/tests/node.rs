//! A daemon makes itself a node of the cluster: its address, its Node, the first pool.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use interop_tests::pair::SOON;
use serde_json::Value;
use testkit::{
    Host, Lab, Margay,
    etcd::Cluster,
    have_root,
    margay::{EMBEDDED, utf8},
    until,
};

/// The Node called so; null where there is none.
fn node(margay: &Margay, name: &str) -> Result<Value> {
    let output = margay.output(&["-o", "json", "get", "node", name])?;
    if !output.status.success() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn has_address(margay: &Margay, name: &str, address: &str) -> Result<bool> {
    Ok(node(margay, name)?["spec"]["bgp"]["ipv4Address"] == address)
}

/// What `margay status` says of the registration.
fn standing(margay: &Margay) -> Result<Value> {
    Ok(margay.json(&["status"])?["registration"].clone())
}

fn address(host: &Host, verb: &str, address: &str, dev: &str) -> Result<()> {
    host.ip(&["address", verb, address, "dev", dev]).map(drop)
}

fn metrics(host: &Host) -> Result<String> {
    host.enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9179").context("[http] answers")?;
        stream.set_read_timeout(Some(SOON))?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: node\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// Writes made so far.
fn writes(host: &Host) -> Result<Vec<Value>> {
    let log = fs::read_to_string(host.dir().join("state/audit.jsonl"))?;
    Ok(log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

#[test]
fn a_node_in_etcd_finds_its_address_and_follows_it() -> Result<()> {
    if !have_root("a_node_in_etcd_finds_its_address_and_follows_it") {
        return Ok(());
    }
    let mut lab = Lab::new("node-etcd")?;
    let cluster = Cluster::start(&mut lab)?;
    let (host, second) = (lab.host("node1")?, lab.host("node2")?);
    // The first interface is not the one towards the datastore.
    let neighbour = lab.host("neighbour")?;
    lab.link((&host, "lan0", &["10.7.0.5/24"]), (&neighbour, "lan0", &["10.7.0.1/24"]))?;
    lab.plug(cluster.switch(), &host, "eth0", &["10.99.0.101/24"])?;
    lab.plug(cluster.switch(), &second, "eth0", &["10.99.0.102/24"])?;
    host.ip(&["route", "add", "default", "via", "10.7.0.1"])?;
    let mut margay = Margay::new(&host, &cluster.config());
    let mut other = Margay::new(&second, &cluster.config());
    let result = (|| {
        margay.start()?;
        until("it registers with the address towards etcd", SOON, || {
            has_address(&margay, "node1", "10.99.0.101/24")
        })?;
        until("it says so", SOON, || Ok(standing(&margay)?["ipv4"] == "10.99.0.101/24"))?;
        let information = margay.json(&["get", "clusterinformation", "default"])?;
        ensure!(information["spec"]["datastoreReady"] == true, "{information}");
        let pools = margay.json(&["get", "ippools"])?;
        ensure!(!pools.to_string().contains("cidr"), "nobody asked for a pool: {pools}");

        // The address moves; what others wrote stays.
        margay.text(&["label", "node", "node1", "zone=z"])?;
        address(&host, "add", "10.99.0.111/24", "eth0")?;
        address(&host, "del", "10.99.0.101/24", "eth0")?;
        // With the primary address its secondary ones go, too.
        let _ = address(&host, "add", "10.99.0.111/24", "eth0");
        until("it follows its address", SOON, || has_address(&margay, "node1", "10.99.0.111/24"))?;
        let moved = node(&margay, "node1")?;
        ensure!(moved["metadata"]["labels"]["zone"] == "z", "{moved}");

        // The configuration is followed as it runs, and taken back.
        margay.set_node_keys(
            "ipv4-autodetection = \"default-route\"\nasn = 65007\nlabels = { rack = \"a\" }\n",
        );
        let config = margay.config().to_owned();
        margay.reconfigure(&config)?;
        margay.text(&["config", "reload"])?;
        until("another method, another address", SOON, || {
            has_address(&margay, "node1", "10.7.0.5/24")
        })?;
        let changed = node(&margay, "node1")?;
        ensure!(changed["spec"]["bgp"]["asNumber"] == 65007, "{changed}");
        ensure!(changed["metadata"]["labels"]["rack"] == "a", "{changed}");
        margay.set_node_keys("");
        margay.reconfigure(&config)?;
        margay.text(&["config", "reload"])?;
        until("all of it is taken back", SOON, || {
            let node = node(&margay, "node1")?;
            Ok(node["spec"]["bgp"]["ipv4Address"] == "10.99.0.111/24"
                && node["spec"]["bgp"]["asNumber"].is_null()
                && node["metadata"]["labels"]["rack"].is_null()
                && node["metadata"]["labels"]["zone"] == "z")
        })?;

        // The address of another node is not taken.
        other.set_node_keys("ipv4 = \"10.99.0.111/24\"\n");
        other.start()?;
        until("the second node is refused", SOON, || {
            Ok(standing(&other)?["problems"].to_string().contains("that of the node node1"))
        })?;
        ensure!(standing(&other)?["registered"] == false, "{}", standing(&other)?);
        ensure!(node(&other, "node2")?.is_null(), "it is no node");
        ensure!(other.log().contains("ERROR") && other.log().contains("node1"), "{}", other.log());
        let config = other.config().to_owned();
        other.set_node_keys("");
        other.reconfigure(&config)?;
        other.text(&["config", "reload"])?;
        until("with its own address it registers", SOON, || {
            has_address(&margay, "node2", "10.99.0.102/24")
        })?;
        // One that had an address keeps it.
        other.set_node_keys("ipv4 = \"10.99.0.111\"\nlabels = { rack = \"b\" }\n");
        other.reconfigure(&config)?;
        other.text(&["config", "reload"])?;
        until("it says what is wrong", SOON, || {
            Ok(standing(&other)?["problems"].to_string().contains("that of the node node1"))
        })?;
        let kept = node(&margay, "node2")?;
        ensure!(kept["spec"]["bgp"]["ipv4Address"] == "10.99.0.102/24", "{kept}");
        ensure!(kept["metadata"]["labels"]["rack"] == "b", "the rest is written: {kept}");

        // The Node outlives the daemon; one that is deleted under it comes back.
        other.terminate()?;
        ensure!(has_address(&margay, "node2", "10.99.0.102/24")?, "it went with its daemon");
        margay.text(&["delete", "node", "node1"])?;
        until("it registers again", SOON, || has_address(&margay, "node1", "10.99.0.111/24"))?;
        Ok(())
    })();
    lab.told(result, || vec![margay.log(), other.log()])
}

#[test]
fn one_host_alone_becomes_a_node_with_a_pool_and_writes_it_once() -> Result<()> {
    if !have_root("one_host_alone_becomes_a_node_with_a_pool_and_writes_it_once") {
        return Ok(());
    }
    let mut lab = Lab::new("node-alone")?;
    let (host, neighbour) = (lab.host("alone")?, lab.host("neighbour")?);
    lab.link((&host, "eth0", &["192.168.7.5/24"]), (&neighbour, "eth0", &["192.168.7.1/24"]))?;
    let mut margay = Margay::new(&host, EMBEDDED);
    let result = (|| {
        // Without a word it stays a router.
        margay.start()?;
        ensure!(standing(&margay)?.is_null(), "{}", standing(&margay)?);
        margay.terminate()?;
        ensure!(writes(&host)?.is_empty(), "{:?}", writes(&host)?);

        margay.set_node_keys(
            "register = true\ndefault-ipv4-pool = \"auto\"\ndefault-ipv4-block-size = 28\n",
        );
        margay.start()?;
        until("it is a node", SOON, || has_address(&margay, "alone", "192.168.7.5/24"))?;
        until("and has a pool", SOON, || {
            Ok(margay.output(&["get", "ippool", "default-ipv4-ippool"])?.status.success())
        })?;
        let pool = margay.json(&["get", "ippool", "default-ipv4-ippool"])?;
        // 192.168.0.0/16 would overlap the network of the host.
        ensure!(pool["spec"]["cidr"] == "172.16.0.0/16", "{pool}");
        ensure!(pool["spec"]["blockSize"] == 28 && pool["spec"]["natOutgoing"] == true, "{pool}");
        let before = writes(&host)?;
        ensure!(before.len() == 3, "what the cluster is, the Node, the pool: {before:?}");
        let version = |margay: &Margay| -> Result<Value> {
            Ok(node(margay, "alone")?["metadata"]["resourceVersion"].clone())
        };
        let revision = version(&margay)?;

        for restart in ["SIGTERM", "kill -9"] {
            match restart {
                "SIGTERM" => drop(margay.terminate()?),
                _ => margay.kill()?,
            }
            margay.start()?;
            until("it is in sync", SOON, || Ok(standing(&margay)?["registered"] == true))?;
            ensure!(version(&margay)? == revision, "{restart}: {}", node(&margay, "alone")?);
            ensure!(writes(&host)?.len() == before.len(), "{restart}: {:?}", writes(&host)?);
        }
        // Somebody deletes the pool: it does not come back by itself.
        margay.text(&["delete", "ippool", "default-ipv4-ippool"])?;
        margay.text(&["label", "node", "alone", "zone=z"])?;
        address(&host, "add", "192.168.7.6/24", "eth0")?;
        let metrics = metrics(&host)?;
        ensure!(metrics.contains("margay_node_registered 1"), "{metrics}");
        ensure!(metrics.contains("margay_node_address_conflict 0"), "{metrics}");
        let pool = margay.output(&["get", "ippool", "default-ipv4-ippool"])?;
        ensure!(!pool.status.success(), "it came back");
        // A second address beside the first changes nothing.
        ensure!(has_address(&margay, "alone", "192.168.7.5/24")?, "{}", node(&margay, "alone")?);
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn the_tools_of_a_node_see_the_real_host_and_keep_secrets() -> Result<()> {
    if !have_root("the_tools_of_a_node_see_the_real_host_and_keep_secrets") {
        return Ok(());
    }
    let mut lab = Lab::new("node-tools")?;
    let host = lab.host("tools")?;
    let config = "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\n\n[[bgp.peer]]\nname = \
                  \"Global_10_9_9_9\"\naddress = \"10.9.9.9\"\nasn = 65002\npassword = \
                  \"hunter2hunter2\"\nmultihop = 2\n";
    let mut margay = Margay::new(&host, config);
    let result = (|| {
        margay.start()?;
        let status = margay.json(&["node", "status"])?;
        ensure!(status["ipv4"][0]["type"] == "global", "{status}");
        ensure!(status["ipv4"][0]["state"] == "start", "{status}");

        // The lab forwards; a host that does not is told.
        let checks = margay.json(&["node", "checksystem"])?;
        let forward = |checks: &Value| {
            let rows = checks.as_array().into_iter().flatten();
            rows.into_iter().find(|row| row["name"] == "net.ipv4.ip_forward").cloned()
        };
        ensure!(forward(&checks).is_some_and(|row| row["result"] == "ok"), "{checks}");
        host.enter(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "0")?))?;
        let output = margay.output(&["-o", "json", "node", "checksystem"])?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        let checks: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(forward(&checks).is_some_and(|row| row["result"] == "missing"), "{checks}");

        let file = host.dir().join("diags.tar.gz");
        let collected = margay.json(&["node", "diags", utf8(&file)?])?;
        let entries = collected["entries"].as_array().context("entries")?;
        ensure!(entries.iter().any(|entry| entry["name"] == "status.json"), "{collected}");
        let all = host.run("tar", &["-xzOf", utf8(&file)?])?;
        ensure!(all.contains("Global_10_9_9_9") && all.contains("(secret)"), "{all}");
        ensure!(!all.contains("hunter2"), "it tells a secret");

        // Without a daemon an archive is made all the same, and says what is missing.
        margay.kill()?;
        let file = host.dir().join("without.tar.gz");
        let collected = margay.json(&["node", "diags", utf8(&file)?])?;
        ensure!(collected.to_string().contains("is not running"), "{collected}");
        let all = host.run("tar", &["-xzOf", utf8(&file)?])?;
        ensure!(all.contains("problems") || all.contains("status.json:"), "{all}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}
