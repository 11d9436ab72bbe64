//! A daemon that dies right before a chosen write of an ADD or a DEL, one after the other: before
//! each flush of the journal, so at each of its states, before each flush of the datastore, and
//! before the n-th request to the kernel of whichever thread comes to it first: each of those that
//! make or remove the link, not each of a host route. Started again, and asked again, it leaves
//! exactly what it should.
//!
//! `bgpd/workload/src/desk/tests/sim.rs` does the same with steps; here everything is real.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use interop_tests::{
    inventory::{Inventory, Pod, check_addresses},
    runtime::{Container, Runtime},
};
use serde_json::Value;
use testkit::{
    Host, Lab, Margay, Pods, Trap, have_root, resources, trap::Moment, until, wait::until_eq,
};

/// Until what was interrupted is put in order, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(150);
/// No verb does anything so often.
const MOST: usize = 40;
fn pools() -> String {
    resources::all(&[resources::pool("four", "10.10.0.0/24"), resources::pool("six", "fd10::/112")])
}

/// What the runtime does after the daemon came again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Add,
    Delete,
    /// It has forgotten about it.
    Nothing,
}

/// What is about to be done when the daemon dies.
#[derive(Debug, Clone, Copy)]
enum Before {
    Journal,
    Datastore,
    Kernel,
}

struct Scene<'a> {
    margay: Margay,
    runtime: Runtime,
    pod: &'a Host,
    outside: Host,
    /// Containers so far.
    count: usize,
    /// In which states of the journal the daemon died.
    states: BTreeSet<(&'static str, String)>,
    deaths: usize,
}

impl Scene<'_> {
    fn container(&mut self) -> Container {
        self.count += 1;
        Container { pod: "web".into(), ..Container::new(&format!("c{}", self.count), self.pod) }
    }

    fn state_file(&self, name: &str) -> PathBuf {
        self.margay.host().dir().join("state").join(name)
    }

    /// What the journal says of a container, read from the file.
    fn journaled(&self, container: &Container) -> Result<String> {
        let text = fs::read_to_string(self.state_file("attachments.journal")).unwrap_or_default();
        let mut state = "none".to_owned();
        for line in text.lines() {
            let (_, json) = line.split_once(' ').context("a digest and a line")?;
            let line: Value = serde_json::from_str(json)?;
            if line["put"]["id"]["container"] == *container.id {
                state = line["put"]["state"].as_str().context("a state")?.to_owned();
            } else if line["drop"]["container"] == *container.id {
                state = "none".to_owned();
            }
        }
        Ok(state)
    }

    fn is_there(&self, pods: &[Pod]) -> Result<()> {
        let wanted = Inventory::of_pods(pods);
        until_eq("what there is of pods", PATIENCE, &wanted, || Inventory::of_node(&self.margay))?;
        until("ipam check is content", PATIENCE, || check_addresses(&self.margay).map(|()| true))?;
        let inside = self.pod.ip(&["-o", "link", "show"])?;
        ensure!(inside.contains("eth0") != pods.is_empty(), "in the pod: {inside}");
        Ok(())
    }

    /// ADD that must succeed, and what it promises.
    fn add(&self, container: &Container) -> Result<Pod> {
        let pod = Pod::of(container, &self.runtime.add(container)?)?;
        ensure!(pod.addresses.len() == 2, "both families: {pod:?}");
        self.is_there(std::slice::from_ref(&pod))?;
        for address in &pod.addresses {
            self.reaches(address)?;
        }
        Ok(pod)
    }

    fn reaches(&self, address: &IpAddr) -> Result<()> {
        let address = address.to_string();
        until("the pod is reached", PATIENCE, || Ok(self.outside.pings(&address)))
    }

    fn delete(&self, container: &Container) -> Result<()> {
        self.runtime.delete(container)?;
        self.is_there(&[])
    }

    /// Calls the plugin and waits until the daemon dies, or all is done.
    fn play(&mut self, verb: &str, container: &Container) -> Result<()> {
        let adds = verb == "ADD";
        let end = Instant::now() + PATIENCE;
        let mut answered = false;
        while Instant::now() < end {
            if !answered {
                let answer = self.runtime.call(verb, container, &Value::Null)?;
                // An ADD that is put off is asked again, be the daemon dead or only slow.
                answered = answer.code == 0;
                let expected = answered || (adds && answer.is_later());
                ensure!(expected, "{verb}: {} {}", answer.json, answer.log);
            }
            if self.margay.daemon()?.wait(Duration::from_millis(100))?.is_some() {
                return Ok(());
            }
            // An ADD is over when it is answered, a DEL when its entry is gone: the last it does.
            if answered && (adds || self.lists_nothing()) {
                return Ok(());
            }
        }
        bail!("{verb}: neither over nor dead: {}", self.margay.log())
    }

    fn lists_nothing(&self) -> bool {
        let listed = self.margay.json(&["workload", "list"]);
        listed.is_ok_and(|rows| rows.as_array().is_some_and(Vec::is_empty))
    }

    /// One death before the n-th of such writes; false if there are not so many.
    fn die(&mut self, verb: &'static str, before: Before, nth: usize, then: Then) -> Result<bool> {
        let container = self.container();
        if verb == "DEL" {
            self.add(&container)?;
        }
        let file = match before {
            Before::Journal => Some(self.state_file("attachments.journal")),
            Before::Datastore => Some(self.state_file("datastore.redb")),
            Before::Kernel => None,
        };
        let call = if file.is_some() { "fdatasync" } else { "sendto" };
        let moment = Moment { call, file: file.as_deref(), nth };
        let (host, pid) = (self.margay.host().clone(), self.margay.daemon()?.pid());
        let trap = Trap::set(&host, pid, host.dir(), moment)?;
        self.play(verb, &container)?;
        trap.release()?;
        // It may have died when all was done, or be about to.
        let died = self.margay.daemon()?.wait(Duration::from_millis(500))?.is_some();
        let state = self.journaled(&container)?;
        if died {
            self.deaths += 1;
            self.states.insert((verb, state.clone()));
            self.margay.start()?;
        }
        match then {
            Then::Add => {
                // Of a DEL that succeeded the runtime makes a new container of the pod.
                let again = if verb == "DEL" { self.container() } else { container.clone() };
                let pod = self.add(&again)?;
                self.margay.kill()?;
                self.margay.start()?;
                self.is_there(&[pod])?;
                self.delete(&again)?;
            }
            Then::Delete => self.delete(&container)?,
            // What was to be answered, and may have been, stays until it is deleted.
            Then::Nothing if state == "live" => {
                let there = self.margay.json(&["workload", "list"])?;
                let one = &there[0];
                let is_it = one["container_id"] == *container.id && one["state"] == "live";
                ensure!(is_it && one["problem"].is_null(), "{there}");
                self.delete(&container)?;
            }
            Then::Nothing => self.is_there(&[])?,
        }
        Ok(died)
    }

    /// Dies before every write of a kind.
    fn die_before_all(&mut self, verb: &'static str, before: Before) -> Result<()> {
        for nth in 1..=MOST {
            let both: &[Then] = match before {
                Before::Journal => &[Then::Add, Then::Delete, Then::Nothing],
                _ if nth % 2 == 1 => &[Then::Add],
                _ => &[Then::Delete],
            };
            for then in both {
                let what = || format!("{verb}, before {before:?} {nth}, then {then:?}");
                if !self.die(verb, before, nth, *then).with_context(what)? {
                    println!("{verb}: {} before {before:?}", nth - 1);
                    ensure!(nth > 1, "{verb} never does what it should die before");
                    return Ok(());
                }
            }
        }
        bail!("{verb} never comes to its end before {before:?}")
    }
}

fn run(margay: Margay, pod: &Host, outside: Host) -> Result<(Margay, Result<()>)> {
    let runtime = Runtime::of(&margay)?;
    let states = BTreeSet::new();
    let mut scene = Scene { margay, runtime, pod, outside, count: 0, states, deaths: 0 };
    let result = (|| {
        // The first one claims the blocks.
        let first = scene.container();
        scene.add(&first)?;
        scene.delete(&first)?;
        for verb in ["ADD", "DEL"] {
            for before in [Before::Journal, Before::Datastore, Before::Kernel] {
                scene.die_before_all(verb, before)?;
            }
        }
        println!("{} deaths, in {:?}", scene.deaths, scene.states);
        for wanted in [
            ("ADD", "allocating"),
            ("ADD", "configured"),
            ("ADD", "live"),
            ("DEL", "deleting"),
            ("DEL", "none"),
        ] {
            let died = scene.states.contains(&(wanted.0, wanted.1.to_owned()));
            ensure!(died, "no death in {wanted:?}: {:?}", scene.states);
        }
        Ok(())
    })();
    Ok((scene.margay, result))
}

#[test]
fn a_daemon_that_dies_before_any_write_of_an_add_or_a_delete_leaves_what_it_should() -> Result<()> {
    if !have_root("a_daemon_that_dies_before_any_write_of_an_add_or_a_delete_leaves_what_it_should")
    {
        return Ok(());
    }
    let mut lab = Lab::new("podcrash")?;
    let (host, outside) = (lab.host("n")?, lab.host("outside")?);
    lab.link(
        (&host, "eth0", &["10.99.0.1/24", "fd99::1/64"]),
        (&outside, "eth0", &["10.99.0.2/24", "fd99::2/64"]),
    )?;
    outside.ip(&["route", "add", "default", "via", "10.99.0.1"])?;
    outside.ip(&["-6", "route", "add", "default", "via", "fd99::1"])?;
    let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    until("the pools are taken", PATIENCE, || margay.apply(&pools()).map(|()| true))?;
    margay.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
    let pods = Pods::new(1, lab.dir())?;
    let pod = pods.hosts().first().context("a pod")?;
    let (margay, result) = run(margay, pod, outside)?;
    lab.told(result, || vec![margay.log()])
}
