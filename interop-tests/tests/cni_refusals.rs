//! ADDs that cannot be: each has the code that the CNI specification has for it, says what is wrong,
//! and leaves nothing behind.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::fs::symlink, path::PathBuf, thread};

use anyhow::{Context, Result, anyhow, ensure};
use interop_tests::{
    pair::SOON,
    runtime::{Answer, Container, Runtime, spool},
};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, have_root, margay::bin, resources, until};

/// A pool of two addresses.
const POOL: &str = r#"{"apiVersion": "projectcalico.org/v3", "kind": "IPPool",
  "metadata": {"name": "small"}, "spec": {"cidr": "10.10.0.0/31", "blockSize": 31}}"#;

/// An IPAM plugin that gives an address when it is told to.
const SLOW: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
cat > /dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
touch begun
while [ ! -e go ]; do sleep 0.1; done
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.77.0.10/24"}]}'
"#;

/// A node alone, and a host to be its pod.
struct Node {
    margay: Margay,
    bins: PathBuf,
    pod: Host,
}

impl Node {
    fn start(lab: &mut Lab) -> Result<Self> {
        let (host, pod) = (lab.host("n")?, lab.host("p")?);
        let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
        margay.set_node_keys("register = false\n");
        margay.start()?;
        let bins = host.dir().join("plugins");
        fs::create_dir(&bins)?;
        symlink(bin("margay-cni")?, bins.join("margay"))?;
        Ok(Self { margay, bins, pod })
    }

    fn runtime(&self, more: &Value) -> Runtime {
        let mut config = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "type": "margay",
            "socket": self.margay.socket(),
            "spool_dir": spool(self.margay.host()),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        Runtime::new(self.margay.host(), self.bins.join("margay"), config)
    }

    /// Waits until there are as many links of pods, attachments and addresses of the pool in use.
    fn has(&self, count: usize) -> Result<()> {
        until(&format!("{count} of everything"), SOON, || {
            let links = self.margay.host().ip(&["-o", "link"])?.matches(": cali").count();
            let all = self.margay.json(&["workload", "list"])?;
            let rows = self.margay.json(&["ipam", "show"])?;
            let held = rows.as_array().context("rows")?.iter();
            let held: u64 = held.filter_map(|row| row["in_use"].as_u64()).sum();
            let all = all.as_array().context("workloads")?.len();
            Ok((links, all) == (count, count) && held == u64::try_from(count)?)
        })
    }
}

/// A refusal with this code and these words, and that words mean something to a human.
fn refused(answer: &Answer, code: u64, words: &[&str]) -> Result<()> {
    let all = format!("{} {}", answer.json, answer.log);
    ensure!(answer.code != 0 && answer.json["code"] == code, "{all}");
    ensure!(answer.json["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{all}");
    for word in words {
        ensure!(all.contains(word), "{word:?} is missing: {all}");
    }
    Ok(())
}

#[test]
fn an_add_that_cannot_be_has_its_code_and_leaves_nothing() -> Result<()> {
    if !have_root("an_add_that_cannot_be_has_its_code_and_leaves_nothing") {
        return Ok(());
    }
    let mut lab = Lab::new("refusals")?;
    let node = Node::start(&mut lab)?;
    let result = refusals(&node);
    lab.told(result, || vec![node.margay.log()])
}

fn refusals(node: &Node) -> Result<()> {
    let runtime = node.runtime(&json!({}));
    let pod = |ifname: &str| Container::new("c1", &node.pod).interface(ifname);
    // What is put off, because the daemon does not know of a pool yet, say, is asked again.
    let add = |container: &Container| runtime.settled("ADD", container, &Value::Null);
    node.margay.apply(POOL)?;

    // No address is left.
    for ifname in ["eth0", "net1"] {
        runtime.settled("ADD", &pod(ifname), &Value::Null)?.done("ADD")?;
    }
    let full = runtime.call("ADD", &pod("net2"), &Value::Null)?;
    refused(&full, 11, &["help: "])?;
    ensure!(full.json["msg"] == "pool small is full", "{}", full.json);
    ensure!(
        full.json["details"].as_str().is_some_and(|text| text.contains("help: ")),
        "{}",
        full.json
    );
    ensure!(full.log.contains("error: pool small is full"), "{}", full.log);
    ensure!(!node.pod.ip(&["-o", "link"])?.contains("net2"), "a link is left");
    node.has(2)?;
    for ifname in ["eth0", "net1", "net2"] {
        runtime.delete(&pod(ifname))?;
    }
    node.has(0)?;
    // What no ADD would have taken a DEL does not find.
    let long = Container::new(&"c".repeat(250), &node.pod);
    refused(&runtime.call("ADD", &long, &Value::Null)?, 7, &[])?;
    runtime.delete(&long)?;

    // Those two cool down.
    node.margay.apply(&resources::pool("large", "10.20.0.0/16"))?;
    // No such namespace, a file that is none, a name that is taken.
    let nowhere = Container { netns: "/run/netns/nowhere-at-all".to_owned(), ..pod("eth0") };
    refused(&add(&nowhere)?, 4, &["nowhere-at-all"])?;
    let file = node.bins.join("no-namespace");
    fs::write(&file, "")?;
    let file = Container { netns: file.display().to_string(), ..pod("eth0") };
    refused(&add(&file)?, 4, &["no-namespace"])?;
    node.pod.ip(&["link", "add", "net9", "type", "bridge"])?;
    refused(&add(&pod("net9"))?, 102, &["net9"])?;
    let links = node.pod.ip(&["-d", "link", "show", "net9"])?;
    ensure!(links.contains("bridge"), "it is left alone: {links}");
    node.has(0)
}

#[test]
fn a_namespace_that_goes_during_an_add_is_said_and_nothing_is_left() -> Result<()> {
    if !have_root("a_namespace_that_goes_during_an_add_is_said_and_nothing_is_left") {
        return Ok(());
    }
    let mut lab = Lab::new("netnsgone")?;
    let node = Node::start(&mut lab)?;
    // Before there is a link, and between the link and its address.
    let result = [false, true].into_iter().try_for_each(|needs| gone_meanwhile(&node, needs));
    lab.told(result, || vec![node.margay.log()])
}

fn gone_meanwhile(node: &Node, needs_interface: bool) -> Result<()> {
    let file = |name: &str| node.bins.join(name);
    for name in ["begun", "go"] {
        // Of the round before.
        let _ = fs::remove_file(file(name));
    }
    fs::write(file("slow"), SLOW)?;
    fs::set_permissions(file("slow"), fs::Permissions::from_mode(0o755))?;
    let config = json!({"ipam": {"type": "slow"}, "ipam_needs_interface": needs_interface});
    let runtime = node.runtime(&config);
    let name = format!("{}-gone", node.pod.netns());
    testkit::lab::ip(&["netns", "add", &name])?;
    let netns = format!("/run/netns/{name}");
    let container = Container { netns, ..Container::new("c1", &node.pod) };
    let answer = thread::scope(|scope| {
        let add = scope.spawn(|| runtime.settled("ADD", &container, &Value::Null));
        let begun = until("the address is asked for", SOON, || Ok(file("begun").exists()));
        let gone = testkit::lab::ip(&["netns", "del", &name]);
        // Whatever became of that: it waits for this.
        fs::write(file("go"), "")?;
        let answer = add.join().map_err(|_| anyhow!("it panicked"))??;
        begun.and(gone.map(drop)).map(|()| answer)
    })?;
    refused(&answer, 4, &[&name])?;
    node.has(0)?;
    runtime.delete(&container)?;
    node.has(0)
}

#[test]
fn a_daemon_that_hangs_is_not_waited_for_and_does_nothing_of_it_later() -> Result<()> {
    if !have_root("a_daemon_that_hangs_is_not_waited_for_and_does_nothing_of_it_later") {
        return Ok(());
    }
    let mut lab = Lab::new("hangs")?;
    let mut node = Node::start(&mut lab)?;
    let result = hanging(&mut node);
    lab.told(result, || vec![node.margay.log()])
}

fn hanging(node: &mut Node) -> Result<()> {
    node.margay.apply(&resources::pool("large", "10.20.0.0/16"))?;
    let runtime = node.runtime(&json!({}));
    let container = |id: &str, ifname: &str| Container::new(id, &node.pod).interface(ifname);
    let (there, asked) = (container("there", "eth0"), container("asked", "net1"));
    let given = runtime.settled("ADD", &there, &Value::Null)?.done("ADD")?;
    let given = json!({ "prevResult": given.json });
    node.has(1)?;
    node.margay.daemon()?.pause()?;
    let answers = (|| -> Result<()> {
        refused(&runtime.call("ADD", &asked, &Value::Null)?, 11, &["hangs"])?;
        refused(&runtime.call("CHECK", &there, &given)?, 11, &["hangs"])?;
        // As a runtime does after an ADD that failed.
        runtime.delete(&asked)?;
        ensure!(fs::read_dir(spool(node.margay.host()))?.count() == 1, "the release is left");
        Ok(())
    })();
    node.margay.daemon()?.resume()?;
    answers?;
    until("the release is worked off", SOON, || {
        Ok(fs::read_dir(spool(node.margay.host()))?.count() == 0)
    })?;
    // The ADD that lay in its socket all the time is nobody's any more.
    node.has(1)?;
    runtime.call("CHECK", &there, &given)?.done("CHECK")?;
    runtime.settled("ADD", &asked, &Value::Null)?.done("ADD")?;
    node.has(2)?;
    runtime.delete(&asked)?;
    runtime.delete(&there)?;
    node.has(0)
}
