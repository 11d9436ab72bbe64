//! Resources in the datastore of a real daemon: embedded, through kill -9, and in real etcd.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use interop_tests::pair::SOON;
use serde_json::Value;
use testkit::{
    Lab, Margay,
    etcd::Cluster,
    have_root,
    margay::{EMBEDDED, utf8},
    until,
};

const POOLS: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: blue
spec:
  cidr: 10.10.0.0/16
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  asNumber: 64513
";

fn datastore(margay: &Margay) -> Result<Value> {
    Ok(margay.json(&["status"])?["datastore"].clone())
}

#[test]
fn what_was_applied_survives_kill_9() -> Result<()> {
    if !have_root("what_was_applied_survives_kill_9") {
        return Ok(());
    }
    let mut lab = Lab::new("resources")?;
    let host = lab.host("node")?;
    let mut margay = Margay::new(&host, EMBEDDED);
    let result = (|| {
        margay.start()?;
        let status = datastore(&margay)?;
        ensure!(status["type"] == "embedded" && status["connected"] == true, "{status}");
        let file = host.dir().join("pools.yaml");
        fs::write(&file, POOLS)?;
        let file = utf8(&file)?;
        let applied = margay.json(&["apply", "-f", file])?;
        ensure!(applied[0]["outcome"] == "created" && applied[1]["name"] == "default", "{applied}");
        let before = margay.json(&["get", "ippool", "blue"])?;
        ensure!(before["spec"]["blockSize"] == 26, "{before}");
        // Answered means durable.
        for round in ["one", "two", "three", "four", "five"] {
            margay.text(&["label", "ippool", "blue", &format!("round={round}"), "--overwrite"])?;
            margay.kill()?;
            margay.start()?;
            let pool = margay.json(&["get", "ippool", "blue"])?;
            ensure!(pool["metadata"]["labels"]["round"] == round, "{pool}");
            ensure!(pool["metadata"]["uid"] == before["metadata"]["uid"], "{pool}");
        }
        // Every fault of a file is told, and nothing of it is written.
        let wrong = POOLS.replace("blue", "red").replace("10.10.", "10.11.").replace("64513", "-1");
        let both = wrong.replace("10.11.0.0/16", "10.11.0.0/33");
        fs::write(file, both)?;
        let (code, said) = margay.refusal(&["apply", "-f", file])?;
        ensure!(
            code == 2 && said.contains("spec.cidr") && said.contains("spec.asNumber"),
            "{said}"
        );
        fs::write(file, wrong)?;
        let (code, said) = margay.refusal(&["apply", "-f", file])?;
        ensure!(code == 2 && said.contains("spec.asNumber"), "{said}");
        ensure!(!margay.output(&["get", "ippool", "red"])?.status.success());
        // Two pools with the same addresses are refused beside each other.
        fs::write(file, POOLS.replace("blue", "red"))?;
        let (code, said) = margay.refusal(&["apply", "-f", file])?;
        ensure!(code == 2 && said.contains("overlaps"), "{code}: {said}");
        // An old revision is refused, and so is what stands beside it in the file.
        let old = POOLS.replace("blue\n", "blue\n  resourceVersion: \"1\"\n");
        let beside = POOLS.split("---").next().context("a pool")?;
        let beside = beside.replace("blue", "green").replace("10.10.", "10.12.");
        fs::write(file, format!("{beside}---\n{old}"))?;
        let (code, said) = margay.refusal(&["apply", "-f", file])?;
        ensure!(code == 1 && said.contains("update conflict"), "{said}");
        ensure!(!margay.output(&["get", "ippool", "green"])?.status.success());
        // Who wrote what.
        let log = fs::read_to_string(host.dir().join("state/audit.jsonl"))?;
        let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(lines.len() == 6, "two resources in one commit, then five labels: {log}");
        ensure!(lines.iter().all(|line| line["user"] == "uid 0"), "{log}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn resources_lie_in_etcd_where_calico_has_them() -> Result<()> {
    if !have_root("resources_lie_in_etcd_where_calico_has_them") {
        return Ok(());
    }
    let mut lab = Lab::new("resetcd")?;
    let mut cluster = Cluster::start(&mut lab)?;
    let host = cluster.client().clone();
    let config = cluster.config();
    let mut margay = Margay::new(&host, &config);
    let result = (|| {
        margay.start()?;
        let file = host.dir().join("pools.yaml");
        fs::write(&file, POOLS)?;
        let file = utf8(&file)?;
        until("etcd takes it", SOON, || {
            Ok(margay.output(&["apply", "-f", file])?.status.success())
        })?;
        // /calico/resources/v3/projectcalico.org/ippools/blue, in base64 as etcd's JSON wants it.
        let key = "L2NhbGljby9yZXNvdXJjZXMvdjMvcHJvamVjdGNhbGljby5vcmcvaXBwb29scy9ibHVl";
        let answer = cluster.call("/v3/kv/range", &format!("{{\"key\":\"{key}\"}}"))?;
        ensure!(answer.contains("\"count\":\"1\""), "{answer}");

        // Without a majority a write fails soon and says why; nothing is forgotten.
        for member in 0..3 {
            cluster.kill(member)?;
        }
        let start = Instant::now();
        let (code, said) = margay.refusal(&["label", "ippool", "blue", "lost=1"])?;
        ensure!(code == 1 && said.contains("datastore"), "{code}: {said}");
        ensure!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
        until("it says so", SOON, || Ok(datastore(&margay)?["connected"] == false))?;
        // What is known is shown, and that it may be old.
        for (arguments, pointer) in [
            (["-o", "json", "get", "ippool", "blue"].as_slice(), "/spec/cidr"),
            (&["-o", "json", "get", "ippools"], "/items/0/spec/cidr"),
        ] {
            let output = margay.output(arguments)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success() && said.contains("what was known"), "{said}");
            let shown: Value = serde_json::from_slice(&output.stdout)?;
            ensure!(shown.pointer(pointer).is_some_and(|cidr| cidr == "10.10.0.0/16"), "{shown}");
        }
        // What is built in is there, stored or not.
        let tier = margay.json(&["get", "tier", "kube-admin"])?;
        ensure!(tier["spec"]["order"] == 1000, "{tier}");
        let tiers = margay.json(&["get", "tiers"])?;
        ensure!(tiers["items"].as_array().is_some_and(|tiers| tiers.len() == 3), "{tiers}");
        for member in 0..3 {
            cluster.start_member(member)?;
        }
        until("etcd is back", SOON, || {
            Ok(margay
                .output(&["label", "ippool", "blue", "back=1", "--overwrite"])?
                .status
                .success())
        })?;
        let pool = margay.json(&["get", "ippool", "blue"])?;
        ensure!(pool["metadata"]["labels"].get("lost").is_none(), "{pool}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}
