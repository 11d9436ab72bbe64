//! Three daemons on real etcd, killed 200 times at random moments while clients assign and release:
//! what was answered is true afterwards, and `margay ipam check` has nothing to say.
//!
//! `ipam/tests/sim/crash.rs` dies at every commit, enumerated; here the moments are random and
//! everything is real.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Host, Lab, Margay, etcd::Cluster, have_root, until};

/// Until a daemon that just started knows its cluster.
const SOON: Duration = Duration::from_secs(20);
/// kill -9 so often in all.
const KILLS: usize = 200;
/// A daemon dies at the latest so long after its start: in the middle of it, or well after.
const LIFE: u64 = 1300;
/// Clients of each daemon.
const CLIENTS: usize = 2;
/// What a client holds at most: together less than the pool has, so blocks fill up, are claimed,
/// borrowed from and given up all the time.
const HOLDS: usize = 30;
const CLUSTER: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: blue
spec:
  cidr: 10.20.0.0/24
  blockSize: 28
";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What all clients together were told.
#[derive(Default)]
struct Ledger {
    /// Answered, and no release of it was sent: by address its handle and node.
    held: BTreeMap<String, (String, String)>,
    /// Asked for or to be released, and no answer came: may be held and may not.
    unknown: BTreeSet<String>,
    /// Released, and told so.
    released: BTreeSet<String>,
    assigned: usize,
    wrong: Vec<String>,
}

impl Ledger {
    fn assigned(&mut self, address: &str, handle: &str, node: &str) {
        self.assigned += 1;
        if let Some((other, at)) = self.held.insert(address.into(), (handle.into(), node.into())) {
            self.wrong.push(format!("{address} of {other} on {at} was given to {handle}"));
        }
    }
}

/// Assigns by the daemon of its host, releases by any of them, until told to stop.
fn client(hosts: &[Host], own: usize, number: usize, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    // Only their command lines are used.
    let daemons: Vec<Margay> = hosts.iter().map(|host| Margay::new(host, "")).collect();
    let ledger = || ledger.lock().expect("nobody panics with it");
    let (daemon, node) = (&daemons[own], hosts[own].name());
    let mut mine: Vec<(String, String)> = Vec::new();
    let mut dice = Dice(number as u64);
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let handle = format!("c{number}-{round}");
        match daemon.json(&["ipam", "assign", "--handle", &handle]) {
            Ok(rows) => {
                let address = rows[0]["address"].as_str().unwrap_or("no address").to_owned();
                ledger().assigned(&address, &handle, node);
                mine.push((address, handle));
            }
            Err(_) => {
                ledger().unknown.insert(handle);
                // It is dead or starts.
                thread::sleep(Duration::from_millis(20));
                continue;
            }
        }
        while mine.len() > HOLDS || (!mine.is_empty() && dice.below(4) == 0) {
            let at = usize::try_from(dice.below(mine.len() as u64)).expect("small");
            let (address, handle) = mine.swap_remove(at);
            ledger().held.remove(&address);
            let by = &daemons[(own + usize::from(dice.below(4) == 0)) % daemons.len()];
            let released = by.text(&["ipam", "release", "--ip", &address, "--handle", &handle]);
            let mut ledger = ledger();
            let _ = match released {
                Ok(_) => ledger.released.insert(handle),
                Err(_) => ledger.unknown.insert(handle),
            };
        }
    }
}

/// Kills a daemon again and again at moments of its life, and starts it at once.
fn killer(daemon: &mut Margay, kills: usize, mut dice: Dice) -> Result<()> {
    (0..kills).try_for_each(|_| {
        thread::sleep(Duration::from_millis(dice.below(LIFE)));
        daemon.daemon()?.check_running()?;
        daemon.kill()?;
        daemon.launch()
    })
}

/// Every block of the datastore, as stored.
fn blocks(margay: &Margay) -> Result<Vec<Value>> {
    let backup = margay.text(&["datastore", "export", "-"])?;
    let mut blocks = Vec::new();
    for line in backup.lines() {
        let row: Value = serde_json::from_str(line)?;
        if row["value"]["free"].is_array() {
            blocks.push(row["value"].clone());
        }
    }
    Ok(blocks)
}

/// What the datastore says against what the clients were told.
fn compare(blocks: &[Value], ledger: &Ledger) -> Result<()> {
    let mut stored: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut ranges: BTreeSet<u32> = BTreeSet::new();
    for block in blocks {
        let cidr = block["cidr"].as_str().context("a CIDR")?;
        let first: Ipv4Addr = cidr.strip_suffix("/28").context("a /28")?.parse()?;
        ensure!(ranges.insert(first.into()), "{cidr} is there twice");
        let owner = &block["owner"];
        ensure!(owner.is_null() || owner["node"].is_string(), "the owner of {block}");
        for (ordinal, held) in block["held"].as_object().context("what is held")? {
            let address = Ipv4Addr::from(u32::from(first) + ordinal.parse::<u32>()?).to_string();
            let text =
                |key: &str| Ok::<_, anyhow::Error>(held[key].as_str().context("text")?.into());
            stored.insert(address, (text("handle")?, text("node")?));
        }
    }
    for (address, held) in &ledger.held {
        let there = stored.get(address);
        ensure!(there == Some(held), "{address} was answered to {held:?}, stored is {there:?}");
    }
    for (address, (handle, _)) in &stored {
        ensure!(!ledger.released.contains(handle), "{address} of {handle} was released");
        let told = ledger.held.contains_key(address) || ledger.unknown.contains(handle);
        ensure!(told, "{address} is held by {handle}, whom nobody knows");
    }
    Ok(())
}

fn check_clean(margay: &Margay) -> Result<()> {
    let mut said = String::new();
    until("ipam check answers", SOON, || {
        let output = margay.output(&["-o", "json", "ipam", "check"])?;
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(true)
    })?;
    let problems: Value = serde_json::from_str(&said)?;
    ensure!(problems["problems"] == Value::Array(vec![]), "{}: {said}", margay.host().name());
    Ok(())
}

#[test]
fn two_hundred_kills_of_three_daemons_on_etcd_leave_nothing_to_mend() -> Result<()> {
    if !have_root("two_hundred_kills_of_three_daemons_on_etcd_leave_nothing_to_mend") {
        return Ok(());
    }
    let mut lab = Lab::new("ipamcrash")?;
    let cluster = Cluster::start(&mut lab)?;
    let config = cluster.config();
    let hosts = (1..=3)
        .map(|number| cluster.host(&mut lab, &format!("node{number}"), 10 + number))
        .collect::<Result<Vec<Host>>>()?;
    let mut daemons: Vec<Margay> = hosts.iter().map(|host| Margay::new(host, &config)).collect();
    let result = run(&hosts, &mut daemons);
    lab.told(result, || daemons.iter().map(Margay::log).collect())
}

fn run(hosts: &[Host], daemons: &mut [Margay]) -> Result<()> {
    daemons.iter_mut().try_for_each(Margay::start)?;
    let first = daemons.first().context("three daemons")?;
    until("etcd takes it", SOON, || Ok(first.apply(CLUSTER).is_ok()))?;
    first.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
    for daemon in &*daemons {
        until("it assigns", SOON, || {
            let ready = daemon.output(&["ipam", "assign", "--handle", "ready"])?;
            Ok(ready.status.success())
        })?;
        daemon.text(&["ipam", "release", "--handle", "ready"])?;
    }

    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let (stop, ledger) = (AtomicBool::new(false), Mutex::new(Ledger::default()));
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS * hosts.len() {
            let (stop, ledger) = (&stop, &ledger);
            scope.spawn(move || client(hosts, number % hosts.len(), number, ledger, stop));
        }
        let (count, mut seeds) = (daemons.len(), Dice(seed));
        let killers: Vec<_> = iter::zip(0.., daemons.iter_mut())
            .map(|(at, daemon)| {
                let kills = KILLS / count + usize::from(at < KILLS % count);
                let dice = Dice(seeds.below(u64::MAX));
                scope.spawn(move || killer(daemon, kills, dice))
            })
            .collect();
        let ended: Vec<_> = killers.into_iter().map(|one| one.join().expect("no panic")).collect();
        stop.store(true, Ordering::Relaxed);
        ended.into_iter().collect::<Result<()>>()
    })?;

    let ledger = ledger.into_inner().expect("nobody panics with it");
    println!(
        "{KILLS} kills in {:?}: {} assigned, {} released, {} without an answer, {} held",
        start.elapsed(),
        ledger.assigned,
        ledger.released.len(),
        ledger.unknown.len(),
        ledger.held.len()
    );
    ensure!(ledger.wrong.is_empty(), "{:#?}", ledger.wrong);
    ensure!(ledger.assigned > 100, "hardly anything happened");
    // What a thread started dies with it, so all of them begin once more.
    daemons.iter_mut().try_for_each(Margay::start)?;
    for daemon in &*daemons {
        check_clean(daemon)?;
        compare(&blocks(daemon)?, &ledger)?;
    }
    // And it goes on: what got no answer is given back, then all of the pool can be had.
    let [one, ..] = daemons else { anyhow::bail!("three daemons") };
    for handle in &ledger.unknown {
        one.text(&["ipam", "release", "--handle", handle])?;
    }
    let free = (256 - ledger.held.len()).to_string();
    until("the rest of the pool is had", SOON, || {
        Ok(one.output(&["ipam", "assign", "--v4", &free, "--handle", "rest"])?.status.success())
    })?;
    check_clean(one)
}
