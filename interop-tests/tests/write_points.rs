//! A daemon that dies right before a chosen write to its datastore, one after the other: whatever
//! `margay ipam` or `margay apply` was about to do, started again it says that addresses are in order,
//! what was answered is true, and of a request all is written or nothing.
//!
//! `ipam/tests/sim/crash.rs` and `bgpd/src/resources/undo/tests.rs` do the same without processes;
//! here everything is real: before each flush of the embedded datastore, and before each octets that a
//! daemon of one thread sends to a real etcd.

use std::{
    collections::BTreeSet,
    process::Output,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Host, Lab, Margay, Trap, etcd::Cluster, have_root, resources, trap::Moment, until};

/// Until a daemon that was started again is as it should be: on etcd, with a lease of its former life.
const SOON: Duration = Duration::from_secs(60);
/// No command writes so often.
const MOST: usize = 60;
/// Writes of a file that are gone through one by one, from the last on.
const LAST: usize = 24;
/// Blocks of four addresses, four of them.
const POOL: &str = "10.20.0.0/28";
/// More policies than three transactions of etcd take.
const POLICIES: usize = 130;

fn cluster() -> String {
    let node = "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: other}\n";
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: blue}\n\
                spec: {cidr: 10.20.0.0/28, blockSize: 30}\n";
    format!("{node}---\n{pool}")
}

/// So many policies, and behind how many of them the tier they lie in.
fn policies(tier_at: usize) -> String {
    let tier = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: new}\n\
                spec: {order: 10}\n"
        .to_owned();
    let policy = |n: usize| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n\
             metadata: {{name: new.p{n}}}\nspec: {{tier: new, selector: all()}}\n"
        )
    };
    let mut all: Vec<_> = (0..POLICIES).map(policy).collect();
    all.insert(tier_at, tier);
    resources::all(&all)
}

/// What is about to be written when the daemon dies.
#[derive(Debug, Clone, Copy)]
enum Store {
    Embedded,
    Etcd,
}

/// A command of a user, and what leads to it.
struct Command {
    name: &'static str,
    /// Each must succeed, with the daemon left alone.
    before: &'static [&'static str],
    command: &'static str,
}

/// The writes of the allocator that users can ask for. A command is words with spaces between.
const COMMANDS: [Command; 7] = [
    Command { name: "claim a block", before: &[], command: "ipam assign --handle own" },
    Command {
        name: "assign in a block",
        before: &["ipam assign --handle before"],
        command: "ipam assign --v4 2 --handle own",
    },
    Command {
        name: "assign across blocks",
        before: &["ipam assign --v4 3 --handle before"],
        command: "ipam assign --v4 3 --handle own",
    },
    Command {
        name: "assign a given address in a block of another",
        before: &["ipam assign --handle before --node other"],
        command: "ipam assign --ip 10.20.0.2 --ip 10.20.0.13 --handle own",
    },
    Command {
        name: "borrow",
        before: &["ipam assign --v4 13 --handle before --node other"],
        command: "ipam assign --v4 2 --handle own",
    },
    Command {
        name: "release an address",
        before: &["ipam assign --ip 10.20.0.5 --handle before", "ipam assign --handle own"],
        command: "ipam release --ip 10.20.0.5",
    },
    Command {
        name: "release all of a handle, over blocks of two nodes",
        before: &[
            "ipam assign --v4 13 --handle before --node other",
            "ipam assign --v4 2 --handle own",
        ],
        command: "ipam release --handle own",
    },
];

struct Scene {
    margay: Margay,
    store: Store,
    deaths: usize,
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

impl Scene {
    /// Until the daemon answers as one that knows its cluster.
    fn ready(&self) -> Result<()> {
        until("it assigns", SOON, || {
            let ready = self.margay.output(&["ipam", "assign", "--handle", "ready"])?;
            Ok(ready.status.success())
        })?;
        self.release("ready")
    }

    fn release(&self, handle: &str) -> Result<()> {
        until("it releases", SOON, || {
            let output = self.margay.output(&["ipam", "release", "--handle", handle])?;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok(output.status.success()
                || told.contains("not assigned")
                || told.contains("no address"))
        })
    }

    /// Plays a command while the daemon dies before the n-th write; what was answered, and whether it
    /// died.
    fn die(&mut self, arguments: &[&str], nth: usize) -> Result<(Output, bool)> {
        let file = self.margay.host().dir().join("state/datastore.redb");
        let moment = match self.store {
            Store::Embedded => Moment { call: "fdatasync", file: Some(&file), nth },
            Store::Etcd => Moment { call: "sendto,writev", file: None, nth },
        };
        let (host, pid) = (self.margay.host().clone(), self.margay.daemon()?.pid());
        let trap = Trap::set(&host, pid, host.dir(), moment)?;
        let output = self.margay.output(arguments)?;
        let died = self.margay.daemon()?.wait(Duration::from_millis(20))?.is_some();
        trap.release()?;
        // It may be about to, with all done.
        let died = died || self.margay.daemon()?.wait(Duration::from_millis(100))?.is_some();
        if died {
            self.deaths += 1;
            self.margay.start()?;
        }
        Ok((output, died))
    }

    /// Nothing is to be mended.
    fn check(&self) -> Result<()> {
        let mut said = String::new();
        let clean = until("ipam check is content", SOON, || {
            let output = self.margay.output(&["-o", "json", "ipam", "check"])?;
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            let report: Value = serde_json::from_str(&said).unwrap_or_default();
            Ok(report["problems"] == Value::Array(vec![]))
        });
        clean.with_context(|| said)
    }

    /// The addresses a handle has, as the datastore says.
    fn held(&self, handle: &str) -> Result<BTreeSet<String>> {
        let backup = self.margay.text(&["datastore", "export", "-"])?;
        let mut held = BTreeSet::new();
        for line in backup.lines() {
            let row: Value = serde_json::from_str(line)?;
            let block = &row["value"];
            let (Some(cidr), Some(addresses)) = (block["cidr"].as_str(), block["held"].as_object())
            else {
                continue;
            };
            for (ordinal, of) in addresses {
                if of["handle"] == handle {
                    held.insert(format!("{cidr}+{ordinal}"));
                }
            }
        }
        Ok(held)
    }

    /// One death before the n-th write of a command; false if it makes fewer.
    fn once(&mut self, command: &Command, nth: usize) -> Result<bool> {
        for before in command.before {
            let done = self.margay.output(&words(before))?;
            ensure!(done.status.success(), "{before}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let was = [self.held("own")?, self.held("before")?];
        let (answer, died) = self.die(&words(command.command), nth)?;
        self.ready()?;
        self.check()?;
        let now = [self.held("own")?, self.held("before")?];
        if answer.status.success() {
            ensure!(now != was, "answered, and {was:?} is as it was");
        }
        // Whatever became of it, the same can be done again.
        for handle in ["own", "before"] {
            self.release(handle)?;
        }
        self.check()?;
        ensure!(self.held("own")?.is_empty() && self.held("before")?.is_empty(), "it stays held");
        Ok(died)
    }

    fn commands(&mut self) -> Result<()> {
        for command in &COMMANDS {
            let start = Instant::now();
            let mut nth = 1;
            while self.once(command, nth).with_context(|| format!("{}, {nth}", command.name))? {
                nth += 1;
                ensure!(nth < MOST, "{} never comes to its end", command.name);
            }
            println!("{}: {} deaths in {:?}", command.name, nth - 1, start.elapsed());
            ensure!(nth > 1, "{} writes nothing", command.name);
        }
        Ok(())
    }

    /// How many policies of the file are there.
    fn written(&self) -> Result<usize> {
        let list = self.margay.json(&["get", "globalnetworkpolicies"])?;
        let items = list["items"].as_array().context("a list")?;
        Ok(items.len())
    }

    /// One death before the n-th write of a file of several transactions, which is written whole or not
    /// at all; whether it died, and which.
    fn file(&mut self, path: &str, nth: usize) -> Result<(bool, bool)> {
        let (answer, died) = self.die(&["apply", "-f", path], nth)?;
        until("whole or nothing", SOON, || {
            Ok(self.written().is_ok_and(|written| written == 0 || written == POLICIES))
        })
        .with_context(|| format!("{:?} of {POLICIES}", self.written()))?;
        let whole = self.written()? == POLICIES;
        ensure!(!answer.status.success() || whole, "answered, and not there");
        // What is written once more is not taken back any more.
        self.margay.text(&["apply", "-f", path])?;
        ensure!(self.written()? == POLICIES, "not all is there");
        // Which asks of a tier whether it is empty by then.
        let ordered = self.margay.host().dir().join("ordered.yaml");
        std::fs::write(&ordered, policies(POLICIES))?;
        let ordered = ordered.to_str().context("a path of text")?;
        self.margay.text(&["delete", "-f", ordered])?;
        ensure!(self.written()? == 0, "something is left");
        Ok((died, whole))
    }

    /// The same before each of the last writes: the transactions are among them, behind all that is read.
    fn files(&mut self) -> Result<()> {
        let path = self.margay.host().dir().join("policies.yaml");
        // What is in the tier comes before and behind it.
        std::fs::write(&path, policies(20))?;
        let path = path.to_str().context("a path of text")?.to_owned();
        // How many writes there are: between the last that was reached and the first that was not.
        let (mut reached, mut all) = (0, 4 * POLICIES);
        while all - reached > 1 {
            let nth = usize::midpoint(reached, all);
            match self.file(&path, nth).with_context(|| format!("the file, {nth}"))? {
                (true, _) => reached = nth,
                (false, _) => all = nth,
            }
        }
        let mut outcomes = BTreeSet::new();
        for nth in reached.saturating_sub(LAST).max(1)..=reached {
            outcomes.insert(self.file(&path, nth).with_context(|| format!("the file, {nth}"))?);
        }
        println!("a file of {POLICIES}: {reached} writes, {outcomes:?}");
        // What was only to be flushed outlives the process.
        let middle = matches!(self.store, Store::Embedded) || outcomes.contains(&(true, false));
        ensure!(middle, "it never died in the middle");
        Ok(())
    }
}

fn run(margay: Margay, store: Store) -> (Margay, Result<()>) {
    let mut scene = Scene { margay, store, deaths: 0 };
    let result = (|| {
        scene.margay.start()?;
        until("the cluster is taken", SOON, || scene.margay.apply(&cluster()).map(|()| true))?;
        scene.margay.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
        scene.ready()?;
        scene.commands()?;
        scene.files()?;
        println!("{} deaths in all, in a pool of {POOL}", scene.deaths);
        Ok(())
    })();
    (scene.margay, result)
}

fn die_everywhere(mut lab: Lab, host: &Host, config: &str, store: Store) -> Result<()> {
    let mut margay = Margay::new(host, config);
    margay.set_node_keys("register = false\n");
    // The n-th write is that of one thread.
    margay.set_threads(1);
    let (margay, result) = run(margay, store);
    lab.told(result, || vec![margay.log()])
}

#[test]
fn before_any_flush_of_the_embedded_datastore() -> Result<()> {
    if !have_root("before_any_flush_of_the_embedded_datastore") {
        return Ok(());
    }
    let mut lab = Lab::new("writepoints")?;
    let host = lab.host("n")?;
    let config = "[datastore]\ntype = \"embedded\"\n\n[fib]\nenabled = false\n";
    die_everywhere(lab, &host, config, Store::Embedded)
}

#[test]
fn before_anything_is_sent_to_etcd() -> Result<()> {
    if !have_root("before_anything_is_sent_to_etcd") {
        return Ok(());
    }
    let mut lab = Lab::new("etcdpoints")?;
    let cluster = Cluster::start_one(&mut lab)?;
    let config = cluster.config();
    let host = cluster.host(&mut lab, "n", 101)?;
    die_everywhere(lab, &host, &config, Store::Etcd)
}
