//! 200 pods come and go on three nodes whose daemons are killed at random for a minute: afterwards
//! there is what the runtimes were told, and nothing else, and every pod reaches every node's.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, iter,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use interop_tests::{
    inventory::{Inventory, Pod, check_addresses},
    runtime::{Container, Runtime},
};
use ipnet::IpNet;
use serde_json::Value;
use testkit::{
    Host, Lab, Margay, Pods,
    bgp::{Neighbor, Speaker},
    etcd::Cluster,
    have_root,
    peer::{Bird, Peer},
    resources, until,
    wait::until_eq,
};

const NODES: usize = 3;
const PODS: usize = 200;
/// Threads that do what a node's agent does, each for pods of its own.
const AGENTS: usize = 6;
const CHURN: Duration = Duration::from_secs(60);
/// Until what was interrupted is put in order, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(150);
/// Small blocks in pools with little more room than there are pods: they fill up, are claimed,
/// borrowed from and given up all the time.
fn cluster() -> String {
    resources::all(&[
        resources::asn(64513),
        resources::document("IPPool", "four", "{cidr: 10.10.0.0/24, blockSize: 28}"),
        resources::document("IPPool", "six", "{cidr: \"fd10::/118\", blockSize: 124}"),
        resources::peer("tor4", "{peerIP: 10.99.0.254, asNumber: 65001}"),
        resources::peer("tor6", "{peerIP: \"fd99::254\", asNumber: 65001}"),
    ])
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }

    fn pause(&mut self, least: u64, most: u64) -> Duration {
        let span = usize::try_from(most - least).expect("a pause is short");
        Duration::from_millis(least + self.below(span) as u64)
    }
}

/// A place for a pod, and the container that lives in it now.
struct Slot<'a> {
    number: usize,
    namespace: &'a Host,
    generation: usize,
    live: Option<Live>,
}

#[derive(Clone)]
struct Live {
    node: usize,
    container: Container,
    pod: Pod,
}

/// What all agents share.
struct Work {
    runtimes: Vec<Runtime>,
    /// Who has an address, by what was answered.
    holders: Mutex<BTreeMap<IpAddr, String>>,
    adds: AtomicUsize,
    deletes: AtomicUsize,
    later: AtomicUsize,
}

impl Work {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn runtime(&self, node: usize) -> Result<&Runtime> {
        self.runtimes.get(node).context("a node")
    }

    /// ADD on a node: what is there now, `None` if it is to be asked again.
    fn add(&self, node: usize, container: &Container) -> Result<Option<Live>> {
        let answer = self.runtime(node)?.call("ADD", container, &Value::Null)?;
        if answer.is_later() {
            Self::count(&self.later);
            return Ok(None);
        }
        let answer = answer.done(&format!("ADD {} on node {node}", container.id))?;
        Self::count(&self.adds);
        let pod = Pod::of(container, &answer)?;
        ensure!(pod.addresses.len() == 2, "both families: {pod:?}");
        Ok(Some(Live { node, container: container.clone(), pod }))
    }

    /// DEL, which never fails.
    fn delete(&self, node: usize, container: &Container) -> Result<()> {
        self.runtime(node)?.delete(container)?;
        Self::count(&self.deletes);
        Ok(())
    }

    /// Takes down for good what was answered.
    fn remove(&self, live: &Live) -> Result<()> {
        // From now on they may be somebody else's.
        let mut holders = self.holders.lock().expect("nobody panics with it");
        live.pod.addresses.iter().for_each(|address| drop(holders.remove(address)));
        drop(holders);
        self.delete(live.node, &live.container)
    }

    /// A new container for a slot, as an agent makes it: what fails is tried again or deleted.
    fn begin(&self, slot: &mut Slot<'_>, dice: &mut Dice) -> Result<()> {
        let node = dice.below(NODES);
        slot.generation += 1;
        let id = format!("c{}-{}", slot.number, slot.generation);
        let pod = format!("pod{}", slot.number);
        let container = Container { pod, ..Container::new(&id, slot.namespace) };
        let mut live = self.add(node, &container)?;
        while live.is_none() && dice.below(2) == 0 {
            thread::sleep(dice.pause(10, 300));
            live = self.add(node, &container)?;
        }
        let Some(live) = live else { return self.delete(node, &container) };
        let mut holders = self.holders.lock().expect("nobody panics with it");
        for address in &live.pod.addresses {
            let other = holders.insert(*address, container.id.clone());
            ensure!(other.is_none(), "{address} of {other:?} was given to {}", container.id);
        }
        slot.live = Some(live);
        Ok(())
    }

    /// The next thing that happens to a slot.
    fn act(&self, slot: &mut Slot<'_>, dice: &mut Dice) -> Result<()> {
        let Some(live) = slot.live.take() else { return self.begin(slot, dice) };
        match dice.below(8) {
            // The same again, the same answer.
            0 => {
                let again = self.add(live.node, &live.container)?;
                let same = again.as_ref().is_none_or(|again| again.pod == live.pod);
                ensure!(same, "{:?}, before that {:?}", again.map(|one| one.pod), live.pod);
                slot.live = Some(live);
                Ok(())
            }
            1 => {
                self.remove(&live)?;
                self.delete(live.node, &live.container)
            }
            _ => self.remove(&live),
        }
    }
}

/// Does things to its slots until told to stop.
fn agent(work: &Work, slots: &mut [Slot<'_>], mut dice: Dice, stop: &AtomicBool) -> Result<()> {
    let ended = (|| {
        while !stop.load(Ordering::Relaxed) {
            let at = dice.below(slots.len());
            work.act(slots.get_mut(at).context("a slot")?, &mut dice)?;
        }
        Ok(())
    })();
    // After a failure nobody needs to go on.
    stop.store(true, Ordering::Relaxed);
    ended
}

/// kill -9, now and then of two at once, and up again: for a minute, and longer where the machine is
/// too slow for anything to happen in one.
fn kill_and_launch(
    daemons: &mut [Margay],
    work: &Work,
    dice: &mut Dice,
    stop: &AtomicBool,
) -> Result<usize> {
    let begun = Instant::now();
    let enough = || {
        let [adds, later] = [&work.adds, &work.later].map(|count| count.load(Ordering::Relaxed));
        let passed = begun.elapsed();
        passed >= CHURN && (adds > 2 * PODS && later > 0 || passed >= 5 * CHURN)
    };
    let mut kills = 0;
    while !enough() && !stop.load(Ordering::Relaxed) {
        thread::sleep(dice.pause(100, 2000));
        let first = dice.below(NODES);
        let others = usize::from(dice.below(4) == 0);
        let chosen: Vec<usize> = (0..=others).map(|more| (first + more) % NODES).collect();
        for at in &chosen {
            let daemon = daemons.get_mut(*at).context("a daemon")?;
            daemon.daemon()?.check_running()?;
            daemon.kill()?;
            kills += 1;
        }
        thread::sleep(dice.pause(0, 1000));
        for at in chosen {
            daemons.get_mut(at).context("a daemon")?.launch()?;
        }
    }
    Ok(kills)
}

/// Each node has what the runtimes were told and nothing else.
fn compare(daemons: &[Margay], live: &[Live]) -> Result<()> {
    for (node, daemon) in daemons.iter().enumerate() {
        let pods = live.iter().filter(|one| one.node == node).map(|one| &one.pod);
        let wanted = Inventory::of_pods(pods);
        let what = format!("what {} has of its pods", daemon.host().name());
        until_eq(&what, PATIENCE, &wanted, || Inventory::of_node(daemon))?;
    }
    Ok(())
}

/// Every block, and every address that is not in a block of its node, is originated by one node, and
/// nothing else is; the switch hears of each.
fn one_advertiser_each(daemons: &[Margay], live: &[Live], bird: &Bird) -> Result<()> {
    let first = daemons.first().context("three daemons")?;
    let names: Vec<&str> = daemons.iter().map(|daemon| daemon.host().name()).collect();
    until("one advertiser of each block and borrowed address", PATIENCE, || {
        let rows = first.json(&["ipam", "show", "--show-blocks"])?;
        let mut blocks: BTreeMap<IpNet, usize> = BTreeMap::new();
        for row in rows.as_array().context("rows")? {
            if matches!(row["state"].as_str(), Some("active" | "disabled")) {
                // A pool.
                continue;
            }
            let owner = row["node"].as_str().and_then(|of| names.iter().position(|at| *at == of));
            let block: Option<IpNet> = row["cidr"].as_str().and_then(|cidr| cidr.parse().ok());
            blocks.extend(block.zip(owner));
        }
        let mut wanted: BTreeSet<(IpNet, usize)> =
            blocks.iter().map(|(at, of)| (*at, *of)).collect();
        for one in live {
            let is_own = |address: &&IpAddr| {
                blocks.iter().any(|(net, owner)| net.contains(*address) && *owner == one.node)
            };
            let borrowed = one.pod.addresses.iter().filter(|address| !is_own(address));
            wanted.extend(borrowed.map(|address| (IpNet::from(*address), one.node)));
        }
        let mut originated = BTreeSet::new();
        for (node, daemon) in daemons.iter().enumerate() {
            let own = daemon.routes(&[])?;
            let own = own.iter().filter(|route| route["peer"].is_null());
            let prefixes = own.filter_map(|route| route["prefix"].as_str()?.parse::<IpNet>().ok());
            originated.extend(prefixes.map(|prefix| (prefix, node)));
        }
        ensure!(wanted.len() > NODES, "{} prefixes are too few to be true", wanted.len());
        let odd: Vec<_> = wanted.symmetric_difference(&originated).collect();
        ensure!(odd.is_empty(), "blocks {blocks:?}: wanted or originated, not both: {odd:?}");
        let heard = bird.routes("")?;
        let heard = heard.iter().filter(|route| route.attribute("next_hop").is_some());
        let heard: BTreeSet<IpNet> = heard.filter_map(|route| route.prefix.parse().ok()).collect();
        let told: BTreeSet<IpNet> = wanted.iter().map(|(prefix, _)| *prefix).collect();
        let odd: Vec<_> = told.symmetric_difference(&heard).collect();
        ensure!(odd.is_empty(), "told or heard, not both: {odd:?}");
        Ok(true)
    })
}

/// A namespace has the link of its container, or none.
fn compare_inside(slots: &[Slot<'_>]) -> Result<()> {
    for slot in slots {
        let said = slot.namespace.ip(&["-o", "addr", "show"])?;
        let of_link: Vec<&str> = said.lines().filter(|line| line.contains("eth0")).collect();
        let wanted: BTreeSet<IpAddr> =
            slot.live.iter().flat_map(|live| live.pod.addresses.iter().copied()).collect();
        let found = of_link.iter().filter_map(|line| {
            let address = line.split_whitespace().nth(3)?.split('/').next()?;
            address.parse().ok().filter(|address: &IpAddr| !is_link_local(address))
        });
        let found: BTreeSet<IpAddr> = found.collect();
        ensure!(found == wanted, "pod {}: {found:?}, not {wanted:?}", slot.number);
        ensure!(slot.live.is_some() || of_link.is_empty(), "a link is left: {said}");
    }
    Ok(())
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.is_unicast_link_local())
}

/// From the switch and from a pod of every node, each pod is reached.
fn reach_all(slots: &[Slot<'_>], tor: &Host) -> Result<()> {
    let live: Vec<(&Host, &Live)> =
        slots.iter().filter_map(|slot| Some((slot.namespace, slot.live.as_ref()?))).collect();
    let mut ways: Vec<(&Host, IpAddr)> = Vec::new();
    for (at, (_, to)) in live.iter().enumerate() {
        // Another neighbour each, so that all of them send.
        let around = || live.iter().cycle().skip(at + 1).take(live.len() - 1);
        let of_node = |node| around().find(|(_, from)| from.node == node).map(|(host, _)| *host);
        for from in (0..NODES).filter_map(of_node).chain([tor]) {
            ways.extend(to.pod.addresses.iter().map(|address| (from, *address)));
        }
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (ways, next) = (&ways, &next);
        let ping = move || -> Result<()> {
            while let Some((from, to)) = ways.get(next.fetch_add(1, Ordering::Relaxed)) {
                let what = format!("{} reaches {to}", from.netns());
                until(&what, PATIENCE, || Ok(from.pings(&to.to_string())))?;
            }
            Ok(())
        };
        let pings: Vec<_> = (0..AGENTS).map(|_| scope.spawn(ping)).collect();
        pings.into_iter().try_for_each(|one| one.join().expect("no panic"))
    })
}

fn start(lab: &mut Lab, etcd: &Cluster) -> Result<(Vec<Margay>, Host, Bird)> {
    let mut daemons = Vec::new();
    let mut text = cluster();
    for (name, last) in iter::zip(["a", "b", "c"], 111..) {
        let host = lab.host(name)?;
        let (four, six) = (format!("10.99.0.{last}/24"), format!("fd99::{last}/64"));
        lab.plug(etcd.switch(), &host, "eth0", &[&four, &six])?;
        let mut margay = Margay::new(&host, &etcd.datastore());
        margay.set_node_keys("register = false\n");
        daemons.push(margay);
        text += &format!("---\n{}", resources::node(name, &four, Some(&six)));
    }
    daemons.iter_mut().try_for_each(Margay::start)?;
    let first = daemons.first().context("three daemons")?;
    until("etcd takes it", PATIENCE, || first.apply(&text).map(|()| true))?;
    first.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
    let tor = lab.host("tor")?;
    lab.plug(etcd.switch(), &tor, "eth0", &["10.99.0.254/24", "fd99::254/64"])?;
    let neighbors = (111..).take(NODES).flat_map(|last| {
        [
            Neighbor::new("10.99.0.254", &format!("10.99.0.{last}"), 64513),
            Neighbor::new("fd99::254", &format!("fd99::{last}"), 64513),
        ]
    });
    let speaker = Speaker {
        asn: 65001,
        router_id: "10.99.0.254".to_owned(),
        neighbors: neighbors.collect(),
        announcements: Vec::new(),
    };
    let kernel = "protocol kernel { ipv4 { export all; }; }\n\
                  protocol kernel { ipv6 { export all; }; }\n";
    let mut bird = Bird::new(&tor, speaker).with(kernel);
    bird.start()?;
    Ok((daemons, tor, bird))
}

fn run(daemons: &mut [Margay], namespaces: &[Host], tor: &Host, bird: &Bird) -> Result<()> {
    let seed = match env::var("CHURN_SEED") {
        Ok(text) => text.parse().context("CHURN_SEED")?,
        Err(_) => u64::from(std::process::id()),
    };
    println!("seed {seed} (CHURN_SEED sets it)");
    let mut seeds = Dice(seed);
    let mut dice = move || Dice(seeds.below(usize::MAX) as u64);
    let work = Work {
        runtimes: daemons.iter().map(Runtime::of).collect::<Result<_>>()?,
        holders: Mutex::default(),
        adds: AtomicUsize::default(),
        deletes: AtomicUsize::default(),
        later: AtomicUsize::default(),
    };
    let slot = |(number, namespace)| Slot { number, namespace, generation: 0, live: None };
    let mut slots: Vec<Slot<'_>> = namespaces.iter().enumerate().map(slot).collect();
    let stop = AtomicBool::new(false);
    let kills = thread::scope(|scope| {
        let (work, stop) = (&work, &stop);
        let each = PODS.div_ceil(AGENTS);
        let agents: Vec<_> = slots
            .chunks_mut(each)
            .map(|slots| {
                let dice = dice();
                scope.spawn(move || agent(work, slots, dice, stop))
            })
            .collect();
        let kills = kill_and_launch(daemons, work, &mut dice(), stop);
        stop.store(true, Ordering::Relaxed);
        for agent in agents {
            agent.join().expect("no panic")?;
        }
        kills
    })?;
    let live: Vec<Live> = slots.iter().filter_map(|slot| slot.live.clone()).collect();
    let [adds, deletes, later] =
        [&work.adds, &work.deletes, &work.later].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{kills} kills, {adds} ADDs, {deletes} DELs, {later} ADDs put off; {} pods live",
        live.len()
    );
    ensure!(adds > 2 * PODS && deletes > 0 && later > 0, "hardly anything happened");
    ensure!((0..NODES).all(|node| live.iter().any(|one| one.node == node)), "an empty node");

    // All begin once more; then what they have is what was told, and it is again after a further
    // life, which knows it from the disk.
    for _ in 0..2 {
        for daemon in &mut *daemons {
            daemon.kill()?;
            daemon.start()?;
        }
        compare(daemons, &live)?;
    }
    compare_inside(&slots)?;
    for daemon in &*daemons {
        until("ipam check is content", PATIENCE, || check_addresses(daemon).map(|()| true))?;
    }
    one_advertiser_each(daemons, &live, bird)?;
    reach_all(&slots, tor)?;
    // And all of them go.
    for slot in &mut slots {
        if let Some(live) = slot.live.take() {
            work.remove(&live)?;
        }
    }
    compare(daemons, &[])?;
    compare_inside(&slots)?;
    let Some(first) = daemons.first() else { bail!("three daemons") };
    until("ipam check is content", PATIENCE, || check_addresses(first).map(|()| true))
}

#[test]
fn two_hundred_pods_that_come_and_go_while_daemons_die_leave_nothing_behind() -> Result<()> {
    if !have_root("two_hundred_pods_that_come_and_go_while_daemons_die_leave_nothing_behind") {
        return Ok(());
    }
    let mut lab = Lab::new("podchurn")?;
    let etcd = Cluster::start(&mut lab)?;
    let (mut daemons, tor, bird) = start(&mut lab, &etcd)?;
    let pods = Pods::new(PODS, lab.dir())?;
    let result = run(&mut daemons, pods.hosts(), &tor, &bird);
    lab.told(result, || daemons.iter().map(Margay::log).collect())
}
