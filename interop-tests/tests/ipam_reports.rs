//! Addresses that leaked, released by reports while the datastore is locked; and a locked datastore
//! moved, with the arguments of both names.

use std::{collections::HashMap, fs, os::unix::fs::symlink, process::Command};

use anyhow::{Context, Result, ensure};
use interop_tests::pair::SOON;
use prost::Message;
use testkit::{
    Lab, Margay, have_root,
    margay::{EMBEDDED, bin, utf8},
    resources, until,
};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// `AssignAddressesRequest`, as far as it is used here.
#[derive(Clone, PartialEq, Message)]
struct Assign {
    #[prost(uint32, tag = "1")]
    ipv4: u32,
    #[prost(string, tag = "5")]
    handle: String,
    #[prost(map = "string, string", tag = "7")]
    attributes: HashMap<String, String>,
}

/// An answer of which nothing is read.
#[derive(Clone, PartialEq, Message)]
struct Ignored {}

/// Addresses of a pod that has no endpoint any more, though it had one.
fn leak(margay: &Margay, handle: &str, addresses: u32) -> Result<()> {
    let socket = margay.host().dir().join("bgpd.sock");
    let attributes = [("namespace", "shop"), ("pod", handle), ("endpoint", "eth0")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let question = Assign { ipv4: addresses, handle: handle.to_owned(), attributes };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel: Channel = endpoint.connect().await?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await?;
        let path = PathAndQuery::from_static("/margay.v1.Ipam/AssignAddresses");
        let codec = ProstCodec::<Assign, Ignored>::default();
        grpc.unary(Request::new(question), path, codec).await?;
        Ok(())
    })
}

/// Runs the program as `calicoctl`; what it printed, and whether it failed with what.
fn calicoctl(margay: &Margay, arguments: &[&str]) -> Result<(String, String)> {
    let link = margay.host().dir().join("calicoctl");
    if !link.exists() {
        symlink(bin("margay")?, &link)?;
    }
    let mut command = Command::new(&link);
    command.args(arguments).env("MARGAY_SOCKET", margay.host().dir().join("bgpd.sock"));
    for name in ["DATASTORE_TYPE", "CALICO_DATASTORE_TYPE", "ETCD_ENDPOINTS"] {
        command.env_remove(name);
    }
    let output = margay.host().output(&mut command)?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

#[test]
fn what_all_reports_call_leaked_is_released_and_a_locked_datastore_can_be_moved() -> Result<()> {
    let test = "what_all_reports_call_leaked_is_released_and_a_locked_datastore_can_be_moved";
    if !have_root(test) {
        return Ok(());
    }
    let mut lab = Lab::new("reports")?;
    let hosts = [lab.host("one")?, lab.host("two")?];
    let [mut margay, mut other] = hosts.each_ref().map(|host| Margay::new(host, EMBEDDED));
    let result = play(&mut margay, &mut other);
    lab.told(result, || vec![margay.log(), other.log()])
}

fn play(margay: &mut Margay, other: &mut Margay) -> Result<()> {
    margay.start()?;
    margay.apply(&resources::pool("pods", "10.10.0.0/24"))?;
    until("it assigns", SOON, || Ok(leak(margay, "lost", 3).is_ok()))?;
    let kept = margay.json(&["ipam", "assign", "--handle", "kept"])?;
    let kept = kept[0]["address"].as_str().context("an address")?.to_owned();
    let file = |name: &str| margay.host().dir().join(name);
    let (before, one, two, backup) =
        (file("before.json"), file("one.json"), file("two.json"), file("backup"));
    let paths = [&before, &one, &two, &backup].map(|path| utf8(path).map(str::to_owned));
    let [before, one, two, backup] = paths;
    let (before, one, two, backup) = (before?, one?, two?, backup?);

    // Locked: nothing is assigned, with the cause; exit code 1, for something is leaked.
    // Who has just been given an address may be about to use it.
    until("they look leaked", SOON, || {
        let (said, error) = calicoctl(margay, &["ipam", "check", "-o", &before])?;
        ensure!(error.is_empty(), "{said}{error}");
        Ok(said.ends_with("Check complete; found 3 problems.\n"))
    })?;
    let (said, error) = calicoctl(margay, &["datastore", "migrate", "export"])?;
    ensure!(said.is_empty() && error.starts_with("Datastore is not locked."), "{said}{error}");
    let (said, error) = calicoctl(margay, &["datastore", "migrate", "lock"])?;
    ensure!(said == "Datastore locked.\n", "{said}{error}");
    until("nothing is assigned", SOON, || {
        let refused = margay.output(&["ipam", "assign", "--handle", "more"])?;
        Ok(String::from_utf8_lossy(&refused.stderr).contains("the datastore is locked"))
    })?;
    margay.text(&["ipam", "release", "--handle", "more"])?;

    // Both names make reports, and take each other's.
    let found =
        margay.output(&["-o", "json", "ipam", "check", "--show-problem-ips", "--report", &one])?;
    let found: serde_json::Value = serde_json::from_slice(&found.stdout)?;
    let leaked = found["addresses"].as_array().context("addresses")?;
    ensure!(leaked.len() == 3 && leaked.iter().all(|it| it["handle"] == "lost"), "{found}");
    let (said, error) = calicoctl(margay, &["ipam", "check", "--show-all-ips", "-o", &two])?;
    ensure!(error.is_empty() && said.contains(&format!("  {kept} in use; ")), "{said}{error}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&two)?)?;
    ensure!(report["datastoreLocked"] == true, "{report}");
    ensure!(report["allocations"].as_object().is_some_and(|all| all.len() == 4), "{report}");

    // None of now; none of this cluster.
    let (_, said) = margay.refusal(&["ipam", "release", "--from-report", &before])?;
    ensure!(said.contains("is of cluster \"\""), "{said}");
    let strange = fs::read_to_string(&one)?.replace("\"clusterGUID\": \"", "\"clusterGUID\": \"0");
    fs::write(&before, strange)?;
    let (_, error) = calicoctl(margay, &["ipam", "release", "--from-report", &before, "--force"])?;
    ensure!(error.contains("not of this one"), "{error}");
    let both = ["ipam", "release", "--from-report", &one, "--from-report", &two];
    let (said, error) = calicoctl(margay, &both)?;
    ensure!(said.ends_with("Released 3 leaked IP addresses.\n"), "{said}{error}");
    let done = margay.json(&both)?;
    ensure!(done["released"].as_array().is_some_and(Vec::is_empty), "{done}");
    let clean = margay.output(&["ipam", "check", "--show-problem-ips"])?;
    ensure!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stdout));

    // What is locked can be moved as a whole.
    let (said, error) = calicoctl(margay, &["datastore", "migrate", "export"])?;
    ensure!(error.is_empty(), "{error}");
    fs::write(&backup, said)?;
    other.start()?;
    let (said, error) = calicoctl(other, &["datastore", "migrate", "import", "-f", &backup])?;
    ensure!(said.starts_with("Successfully imported "), "{said}{error}");
    let there = other.json(&["get", "ippools"])?.to_string();
    ensure!(there.contains("10.10.0.0/24"), "{there}");
    for daemon in [&*margay, &*other] {
        let text = daemon.text(&["datastore", "unlock"])?;
        ensure!(text == "Datastore unlocked.\n", "{text}");
        until("it assigns again", SOON, || {
            Ok(daemon.text(&["ipam", "assign", "--handle", "after"]).is_ok())
        })?;
        let shown = daemon.json(&["ipam", "show", "--ip", &kept])?;
        ensure!(shown["handle"] == "kept", "{shown}");
    }
    let (_, said) = margay.refusal(&[&both[..], &["--force"]].concat())?;
    ensure!(said.contains("no report is of now"), "{said}");
    Ok(())
}
