//! Nodes that find each other by their resources: on real etcd, and with the embedded datastore.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use interop_tests::pair::SOON;
use serde_json::Value;
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Neighbor, Speaker},
    etcd::Cluster,
    have_root,
    margay::EMBEDDED,
    peer::{Bird, Peer},
    resources, until,
    wait::until_eq,
};

/// The AS of all and a pool.
fn cluster() -> String {
    resources::all(&[resources::asn(64513), resources::pool("pods", "10.10.0.0/16")])
}

/// The established sessions by name, with how often each has ended.
fn sessions(margay: &Margay) -> Result<Vec<(String, u64)>> {
    let rows = margay.json(&["peers"])?;
    let rows = rows.as_array().context("an array")?;
    let up = rows.iter().filter(|row| row["state"] == "Established");
    let mut up: Vec<_> = up
        .map(|row| {
            let name = row["name"].as_str().unwrap_or_default().to_owned();
            (name, row["flaps"].as_u64().unwrap_or_default())
        })
        .collect();
    up.sort();
    Ok(up)
}

fn up(names: &[&str]) -> Vec<(String, u64)> {
    names.iter().map(|name| ((*name).to_owned(), 0)).collect()
}

/// The next hop of the best path of a prefix.
fn next_hop(margay: &Margay, prefix: &str) -> Result<Option<String>> {
    let best = margay.best(prefix)?;
    Ok(best.and_then(|best| best["next_hop"].as_str().map(str::to_owned)))
}

/// The AS in force; 0 without BGP.
fn asn(margay: &Margay) -> Result<u64> {
    Ok(margay.json(&["status"])?["asn"].as_u64().unwrap_or_default())
}

/// A top-of-rack switch with one node as neighbour.
fn tor(host: &Host, own: &str, node: &str, password: Option<&str>) -> Bird {
    let password = password.map(str::to_owned);
    let speaker = Speaker {
        asn: 65001,
        router_id: own.to_owned(),
        neighbors: vec![Neighbor { password, ..Neighbor::new(own, node, 64513) }],
        announcements: vec![Announcement::plain("198.51.100.0/24")],
    };
    Bird::new(host, speaker)
}

#[test]
fn three_nodes_on_etcd_peer_with_each_other_and_with_a_tor() -> Result<()> {
    if !have_root("three_nodes_on_etcd_peer_with_each_other_and_with_a_tor") {
        return Ok(());
    }
    let mut lab = Lab::new("mesh")?;
    let mut etcd = Cluster::start(&mut lab)?;
    let config = etcd.datastore();
    let mut nodes = Vec::new();
    for (name, last) in [("a", 111), ("b", 112), ("c", 113)] {
        let host = lab.host(name)?;
        lab.plug(etcd.switch(), &host, "eth0", &[&format!("10.99.0.{last}/24")])?;
        let mut margay = Margay::new(&host, &config);
        // The Nodes are those of this test.
        margay.set_node_keys("register = false\n");
        margay.start()?;
        nodes.push(margay);
    }
    let above = lab.host("tor")?;
    lab.plug(etcd.switch(), &above, "eth0", &["10.99.0.254/24"])?;
    let mut bird = tor(&above, "10.99.0.254", "10.99.0.111", None);
    bird.start()?;
    let [a, b, c] = nodes.as_mut_slice() else { unreachable!("three nodes") };
    let result = (|| {
        ensure!(asn(a)? == 0, "nobody has said what it is");
        let documents = [
            cluster(),
            resources::node("a", "10.99.0.111/24", None),
            resources::node("b", "10.99.0.112/24", None),
            resources::node("c", "10.99.0.113/24", None),
        ];
        a.apply(&resources::all(&documents))?;
        a.text(&["label", "node", "a", "rack=one"])?;
        // The mesh, by itself.
        let (to_a, to_b, to_c) = ("Mesh_10_99_0_111", "Mesh_10_99_0_112", "Mesh_10_99_0_113");
        until_eq("the mesh of a", SOON, &up(&[to_b, to_c]), || sessions(a))?;
        until_eq("the mesh of b", SOON, &up(&[to_a, to_c]), || sessions(b))?;
        until_eq("the mesh of c", SOON, &up(&[to_a, to_b]), || sessions(c))?;
        let status = b.json(&["status"])?;
        ensure!(status["asn"] == 64513 && status["router_id"] == "10.99.0.112", "{status}");

        // A switch above one rack.
        let spec = "{nodeSelector: rack == 'one', peerIP: 10.99.0.254, asNumber: 65001}";
        b.apply(&resources::peer("tor", spec))?;
        let to_tor = "Node_10_99_0_254";
        until_eq("a and the switch", SOON, &up(&[to_b, to_c, to_tor]), || sessions(a))?;
        ensure!(sessions(b)? == up(&[to_a, to_c]), "b is in no rack");
        b.text(&["routes", "add", "10.10.7.0/26"])?;
        let by_b = Some("10.99.0.112".to_owned());
        until_eq("c has what b told", SOON, &by_b, || next_hop(c, "10.10.7.0/26"))?;
        until("the switch has it from a", SOON, || {
            let received = bird.received("10.99.0.111")?;
            let found = received.iter().find(|route| route.prefix == "10.10.7.0/26");
            Ok(found.is_some_and(|route| route.next_hop.as_deref() == Some("10.99.0.111")))
        })?;
        let by_tor = Some("10.99.0.254".to_owned());
        until_eq("a has the switch's", SOON, &by_tor, || next_hop(a, "198.51.100.0/24"))?;
        ensure!(next_hop(b, "198.51.100.0/24")?.is_none(), "it lies in no pool");

        // An address is assigned: the block it came from is announced, and leads nowhere else.
        let assigned = c.json(&["ipam", "assign", "--v4", "1"])?;
        let block = assigned[0]["block"].as_str().context("a block")?.to_owned();
        let by_c = Some("10.99.0.113".to_owned());
        until_eq("a has c's block", SOON, &by_c, || next_hop(a, &block))?;
        until("c drops what belongs to nobody in it", SOON, || {
            Ok(c.host().ip(&["route", "show", "type", "blackhole"])?.contains(&block))
        })?;
        until("the switch has the block", SOON, || {
            Ok(bird.received("10.99.0.111")?.iter().any(|route| route.prefix == block))
        })?;

        // One peer changes: nobody else notices.
        let slower = spec.replace("asNumber", "keepaliveTime: 9s, asNumber");
        c.apply(&resources::peer("tor", &slower))?;
        let mut after = Vec::new();
        until("the session with the switch begins again", SOON, || {
            after = sessions(a)?;
            Ok(after.last().is_some_and(|(name, flaps)| name == to_tor && *flaps > 0))
        })?;
        ensure!(after.starts_with(&up(&[to_b, to_c])), "{after:?}");

        // The file is read again: what the resources made of it stays.
        ensure!(a.json(&["config", "diff"])? == Value::Array(Vec::new()));
        let wide = format!("{config}\n[bgp]\nasn = 64513\noriginate = [\"10.10.8.0/26\"]\n");
        a.reconfigure(&wide)?;
        a.text(&["config", "reload"])?;
        let by_a = Some("10.99.0.111".to_owned());
        until_eq("b has what a's file says", SOON, &by_a, || next_hop(b, "10.10.8.0/26"))?;
        ensure!(sessions(b)? == up(&[to_a, to_c]), "{:?}", sessions(b));
        let shown = a.text(&["config", "show"])?;
        ensure!(shown.contains(to_b) && shown.contains("10.10.8.0/26"), "{shown}");

        // Without its datastore the cluster goes on as it is.
        for member in 0..3 {
            etcd.kill(member)?;
        }
        thread::sleep(Duration::from_secs(4));
        ensure!(sessions(c)? == up(&[to_a, to_b]), "{:?}", sessions(c));
        a.text(&["config", "reload"])?;
        ensure!(sessions(b)? == up(&[to_a, to_c]), "{:?}", sessions(b));
        for member in 0..3 {
            etcd.start_member(member)?;
        }
        until("etcd takes writes again", SOON, || {
            Ok(a.output(&["label", "node", "b", "back=1", "--overwrite"])?.status.success())
        })?;

        // A node goes.
        a.text(&["delete", "node", "c"])?;
        let gone = Instant::now();
        until_eq("b has only a", SOON, &up(&[to_a]), || sessions(b))?;
        println!("the session of a deleted node ended after {:?}", gone.elapsed());
        until_eq("c has nobody", SOON, &Vec::new(), || sessions(c))?;
        ensure!(asn(c)? == 0);
        ensure!(sessions(a)?.first() == up(&[to_b]).first(), "{:?}", sessions(a));
        Ok(())
    })();
    lab.told(result, || nodes.iter().map(Margay::log).chain([bird.log()]).collect())
}

#[test]
fn a_node_logs_as_much_as_the_cluster_wants() -> Result<()> {
    if !have_root("a_node_logs_as_much_as_the_cluster_wants") {
        return Ok(());
    }
    let mut lab = Lab::new("loglevel")?;
    let host = lab.host("a")?;
    let mut margay = Margay::new(&host, EMBEDDED);
    margay.set_log_level(None);
    let configuration = |name: &str, level: &str| {
        resources::document("BGPConfiguration", name, &format!("{{logSeverityScreen: {level}}}"))
    };
    // What is logged when one more peer comes, whom nobody can reach.
    let heard = |margay: &Margay, number: u32| -> Result<String> {
        let before = fs::read_to_string(margay.log_file())?.len();
        let name = format!("p{number}");
        let spec = format!("{{peerIP: 10.9.9.{number}, asNumber: 65009}}");
        margay.apply(&resources::peer(&name, &spec))?;
        until("the peer is there", SOON, || {
            Ok(margay.peer(&format!("Global_10_9_9_{number}")).is_ok())
        })?;
        Ok(fs::read_to_string(margay.log_file())?.split_off(before))
    };
    let result = (|| {
        margay.start()?;
        let documents =
            [resources::node("a", "10.0.0.1/24", None), configuration("default", "Info")];
        margay.apply(&resources::all(&documents))?;
        let level = |level: &str| format!("log-level = \"{level}\"");
        let in_force = |margay: &Margay, wanted: &str| {
            until(&format!("the level is {wanted}"), SOON, || {
                Ok(margay.text(&["config", "show"])?.contains(&level(wanted)))
            })
        };
        in_force(&margay, "info")?;
        let lines = heard(&margay, 1)?;
        ensure!(lines.contains("INFO") && !lines.contains("DEBUG"), "{lines}");
        margay.apply(&configuration("node.a", "Debug"))?;
        in_force(&margay, "debug")?;
        let lines = heard(&margay, 2)?;
        ensure!(lines.contains("DEBUG"), "{lines}");
        margay.apply(&configuration("node.a", "Error"))?;
        in_force(&margay, "error")?;
        let lines = heard(&margay, 3)?;
        ensure!(!lines.contains("DEBUG") && !lines.contains("INFO"), "{lines}");
        // What the file says wins.
        margay.set_node_keys("log-level = \"info\"\n");
        margay.reconfigure(EMBEDDED)?;
        margay.text(&["config", "reload"])?;
        in_force(&margay, "info")?;
        let log = fs::read_to_string(margay.log_file())?;
        ensure!(log.contains("configuration reloaded"), "{log}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn one_node_on_its_own_datastore_peers_with_a_tor_once_it_knows_the_password() -> Result<()> {
    if !have_root("one_node_on_its_own_datastore_peers_with_a_tor_once_it_knows_the_password") {
        return Ok(());
    }
    let mut lab = Lab::new("single")?;
    let (host, above) = (lab.host("a")?, lab.host("tor")?);
    lab.link((&host, "eth0", &["10.0.0.1/24"]), (&above, "eth0", &["10.0.0.254/24"]))?;
    let mut bird = tor(&above, "10.0.0.254", "10.0.0.1", Some("hush"));
    bird.start()?;
    let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    margay.start()?;
    let result = (|| {
        let spec = "{peerIP: 10.0.0.254, asNumber: 65001, password: {secretKeyRef: {name: bgp, \
                    key: tor}}}";
        let documents =
            [cluster(), resources::node("a", "10.0.0.1/24", None), resources::peer("tor", spec)];
        margay.apply(&resources::all(&documents))?;
        let name = "Global_10_0_0_254";
        until("the peer is there", SOON, || Ok(margay.peer(name).is_ok()))?;
        let shown = margay.text(&["config", "show"])?;
        ensure!(shown.contains("# password: key tor of secret bgp cannot be read"), "{shown}");
        ensure!(!margay.established(name)?, "without its password");
        let secret = host.dir().join("state/secrets/bgp");
        fs::create_dir_all(&secret)?;
        fs::write(secret.join("tor"), "hush\n")?;
        until("the session comes up", SOON, || margay.established(name))?;
        let by_tor = Some("10.0.0.254".to_owned());
        until_eq("routes come", SOON, &by_tor, || next_hop(&margay, "198.51.100.0/24"))?;
        // It starts as it was: at once, by what the datastore has.
        margay.kill()?;
        let routes = host.ip(&["route", "show", "198.51.100.0/24"])?;
        ensure!(routes.contains("10.0.0.254"), "{routes}");
        margay.start()?;
        ensure!(margay.json(&["status"])?["asn"] == 64513);
        until("the session comes up again", SOON, || margay.established(name))?;
        let routes = host.ip(&["route", "show", "198.51.100.0/24"])?;
        ensure!(routes.contains("10.0.0.254"), "{routes}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log(), bird.log()])
}
