//! `margay-cni` with the daemon away, in real network namespaces: what a DEL takes down and what it
//! leaves alone.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{Host, Lab, have_root, margay::bin};

/// A host with a container that has a link to it, as ADD would have left it.
struct Scene {
    lab: Lab,
    node: Host,
    container: Host,
}

impl Scene {
    fn new(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let (node, container) = (lab.host("node")?, lab.host("pod")?);
        lab.link((&node, "cali0123456789a", &[]), (&container, "eth0", &["10.10.0.7/32"]))?;
        lab.link((&node, "other", &[]), (&container, "net1", &["192.0.2.7/24"]))?;
        Ok(Self { lab, node, container })
    }

    fn netns(&self) -> String {
        format!("/run/netns/{}", self.container.netns())
    }

    /// DEL on the node, whose daemon does not run.
    fn del(&self, netns: &str, ifname: &str) -> Result<Output> {
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "type": "margay",
            "socket": self.lab.dir().join("nobody.sock"),
            "spool_dir": self.lab.dir().join("spool"),
        });
        let mut command = Command::new(bin("margay-cni")?);
        command
            .env_clear()
            .envs([("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c0ffee"), ("CNI_NETNS", netns)])
            .env("CNI_IFNAME", ifname)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.node.bind(&mut command)?;
        let mut child = command.spawn().context("starting margay-cni")?;
        let mut stdin = child.stdin.take().context("a pipe")?;
        stdin.write_all(config.to_string().as_bytes())?;
        drop(stdin);
        Ok(child.wait_with_output()?)
    }

    fn spooled(&self) -> usize {
        fs::read_dir(self.lab.dir().join("spool")).map_or(0, Iterator::count)
    }
}

fn links(host: &Host) -> Result<Vec<String>> {
    let links: Value = serde_json::from_str(&host.ip(&["-j", "link", "show"])?)?;
    let links = links.as_array().context("a list")?;
    let mut names: Vec<String> =
        links.iter().filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn done(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stdout);
    let logged = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}{logged}", output.status);
    ensure!(output.stdout.is_empty(), "{said}");
    Ok(())
}

#[test]
fn a_del_takes_both_ends_of_its_own_link_and_no_other() -> Result<()> {
    if !have_root("a_del_takes_both_ends_of_its_own_link_and_no_other") {
        return Ok(());
    }
    let scene = Scene::new("cni-del")?;
    // As often as the runtime likes.
    for times in 1..=3 {
        done(&scene.del(&scene.netns(), "eth0")?)?;
        ensure!(links(&scene.container)? == ["lo", "net1"], "{:?}", links(&scene.container)?);
        ensure!(links(&scene.node)? == ["lo", "other"], "{:?}", links(&scene.node)?);
        ensure!(scene.spooled() == times, "{} spooled after {times}", scene.spooled());
    }
    Ok(())
}

#[test]
fn a_del_from_within_the_same_namespace_takes_nothing() -> Result<()> {
    if !have_root("a_del_from_within_the_same_namespace_takes_nothing") {
        return Ok(());
    }
    let scene = Scene::new("cni-own")?;
    let own = format!("/run/netns/{}", scene.node.netns());
    done(&scene.del(&own, "other")?)?;
    ensure!(links(&scene.node)? == ["cali0123456789a", "lo", "other"]);
    ensure!(scene.spooled() == 1);
    Ok(())
}

#[test]
fn what_is_left_of_a_namespace_is_no_obstacle() -> Result<()> {
    if !have_root("what_is_left_of_a_namespace_is_no_obstacle") {
        return Ok(());
    }
    let scene = Scene::new("cni-gone")?;
    // An unmounted namespace leaves a file; a folder cannot be a namespace at all.
    let file = scene.lab.dir().join("left");
    fs::write(&file, "")?;
    for netns in [file.as_path(), scene.lab.dir(), Path::new("/run/netns/nowhere")] {
        done(&scene.del(&netns.display().to_string(), "eth0")?)?;
    }
    ensure!(links(&scene.node)? == ["cali0123456789a", "lo", "other"]);
    Ok(())
}

#[test]
fn an_interface_that_cannot_go_is_told() -> Result<()> {
    if !have_root("an_interface_that_cannot_go_is_told") {
        return Ok(());
    }
    let scene = Scene::new("cni-lo")?;
    // The kernel keeps its loopback.
    let output = scene.del(&scene.netns(), "lo")?;
    ensure!(!output.status.success(), "it went");
    let error: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(error["code"] == 5, "{error}");
    // The daemon is to know of it all the same.
    ensure!(scene.spooled() == 1);
    Ok(())
}
