//! Addresses of real daemons: one alone through kill -9, three on real etcd.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    Host, Lab, Margay,
    etcd::Cluster,
    have_root,
    margay::{EMBEDDED, utf8},
    until,
};

/// How long something may take that needs no lease to end.
const SOON: Duration = Duration::from_secs(20);
/// A lease, its grace, and some time on top.
const ENDED: Duration = Duration::from_secs(35);
/// Clients that assign at once.
const CLIENTS: usize = 8;
/// kill -9 so often, unless `MARGAY_IPAM_KILLS` says otherwise.
const KILLS: u64 = 5;

fn pool(name: &str, cidr: &str, block_size: u8) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: {name}\nspec:\n  \
         cidr: {cidr}\n  blockSize: {block_size}\n---\n"
    )
}

fn node(name: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: Node\nmetadata:\n  name: {name}\n---\n")
}

/// Assigns until it works, and tells the addresses.
fn assign(margay: &Margay, arguments: &[&str]) -> Result<Vec<String>> {
    let all = [&["ipam", "assign"], arguments].concat();
    let rows = margay.json(&all)?;
    let rows = rows.as_array().context("an array")?;
    rows.iter().map(|row| Ok(row["address"].as_str().context("an address")?.to_owned())).collect()
}

/// The blocks of each node; those of nobody under "".
fn blocks(margay: &Margay) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let rows = margay.json(&["ipam", "show", "--show-blocks"])?;
    let mut blocks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows.as_array().context("an array")? {
        if !matches!(row["state"].as_str(), Some("active" | "disabled")) {
            let node = row["node"].as_str().unwrap_or_default().to_owned();
            let cidr = row["cidr"].as_str().context("a CIDR")?.to_owned();
            blocks.entry(node).or_default().insert(cidr);
        }
    }
    Ok(blocks)
}

fn check_clean(margay: &Margay) -> Result<()> {
    let output = margay.output(&["-o", "json", "ipam", "check"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "ipam check: {said}");
    let problems: Value = serde_json::from_str(&said)?;
    ensure!(problems["problems"] == Value::Array(vec![]), "{said}");
    Ok(())
}

/// What the daemons logged.
fn logs(daemons: &[Margay]) -> Vec<String> {
    daemons.iter().map(Margay::log).collect()
}

/// SplitMix64: when the daemon dies.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

/// Assigns and now and then releases until told to stop: what it was answered, by address.
fn client(margay: &Margay, number: usize, stop: &AtomicBool) -> BTreeMap<String, String> {
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let handle = format!("c{number}-{round}");
        // While the daemon is dead nothing is answered.
        if let Ok(addresses) = assign(margay, &["--handle", &handle]) {
            held.extend(addresses.into_iter().map(|address| (address, handle.clone())));
        }
        if round % 4 == 3
            && let Some((address, handle)) = held.pop_first()
        {
            let released = ["ipam", "release", "--ip", &address, "--handle", &handle];
            if margay.text(&released).is_err() {
                // It may be released and may not: nothing is known of it any more.
                continue;
            }
        }
    }
    held
}

#[test]
fn no_answered_address_is_lost_when_the_daemon_is_killed_at_random_moments() -> Result<()> {
    if !have_root("no_answered_address_is_lost_when_the_daemon_is_killed_at_random_moments") {
        return Ok(());
    }
    let mut lab = Lab::new("ipam")?;
    let host = lab.host("node1")?;
    let mut daemons = [Margay::new(&host, EMBEDDED)];
    let result = through_kills(&mut daemons).and_then(|held| {
        let [margay] = &mut daemons;
        // A few more may be held: their answers were lost with the daemon.
        let pools = margay.json(&["ipam", "show"])?;
        let in_use = pools[0]["in_use"].as_u64().context("a count")?;
        ensure!(in_use >= u64::try_from(held)?, "{pools}");
        // A lease ended by an orderly stop, and the same instance after it.
        margay.terminate()?;
        margay.start()?;
        until("it assigns again", SOON, || Ok(assign(margay, &[]).is_ok()))?;
        let metrics = host.run("curl", &["-sf", "http://127.0.0.1:9179/metrics"])?;
        ensure!(metrics.contains("margay_ipam_ready 1\n"), "{metrics}");
        Ok(())
    });
    lab.told(result, || logs(&daemons))
}

#[test]
fn three_nodes_on_etcd_lose_and_double_no_address_when_they_are_killed() -> Result<()> {
    if !have_root("three_nodes_on_etcd_lose_and_double_no_address_when_they_are_killed") {
        return Ok(());
    }
    let mut lab = Lab::new("ipamkill")?;
    let cluster = Cluster::start(&mut lab)?;
    let mut daemons = three(&mut lab, &cluster)?;
    let result = through_kills(&mut daemons).map(drop);
    lab.told(result, || logs(&daemons))
}

/// Kills one of the daemons after the other while clients assign, and looks at what is left; how
/// many addresses were answered and are held.
fn through_kills(daemons: &mut [Margay]) -> Result<usize> {
    daemons.iter_mut().try_for_each(Margay::start)?;
    let first = daemons.first().context("a daemon")?;
    until("the datastore takes it", SOON, || {
        Ok(first.apply(&pool("blue", "10.10.0.0/16", 26)).is_ok())
    })?;
    first.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
    let kills = match std::env::var("MARGAY_IPAM_KILLS") {
        Ok(kills) => kills.parse()?,
        Err(_) => KILLS,
    };
    // Only their command lines are used by clients.
    let hosts: Vec<Host> = daemons.iter().map(|daemon| daemon.host().clone()).collect();
    let stop = AtomicBool::new(false);
    let answered = Mutex::new(Vec::new());
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    thread::scope(|scope| -> Result<()> {
        for (number, host) in (0..CLIENTS).zip(hosts.iter().cycle()) {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || {
                let held = client(&Margay::new(host, EMBEDDED), number, stop);
                answered.lock().expect("nobody panics with it").push(held);
            });
        }
        let killed = (0..kills).try_for_each(|_| {
            thread::sleep(Duration::from_millis(300 + random(&mut seed) % 1200));
            let at = usize::try_from(random(&mut seed))? % daemons.len();
            let daemon = daemons.get_mut(at).context("one of them")?;
            daemon.kill()?;
            daemon.start()
        });
        stop.store(true, Ordering::Relaxed);
        killed
    })?;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for held in answered.into_inner().expect("nobody panics with it") {
        for (address, handle) in held {
            let other = all.insert(address.clone(), handle);
            ensure!(other.is_none(), "{address} was given to two");
        }
    }
    println!("{} addresses were answered and are held", all.len());
    ensure!(all.len() > 50, "only {} addresses", all.len());
    let last = daemons.last_mut().context("a daemon")?;
    last.kill()?;
    last.start()?;
    until("the blocks are known again", SOON, || Ok(blocks(last).is_ok()))?;
    for (address, handle) in &all {
        let shown = last.json(&["ipam", "show", "--ip", address])?;
        ensure!(shown["handle"] == handle.as_str(), "{shown}, not {handle}");
    }
    daemons.iter().try_for_each(check_clean)?;
    Ok(all.len())
}

#[test]
fn what_cannot_be_is_refused_with_the_reason_and_what_to_do() -> Result<()> {
    if !have_root("what_cannot_be_is_refused_with_the_reason_and_what_to_do") {
        return Ok(());
    }
    let mut lab = Lab::new("ipambad")?;
    let host = lab.host("node1")?;
    let mut margay = Margay::new(&host, EMBEDDED);
    let result = (|| {
        margay.start()?;
        let (_, said) = margay.refusal(&["ipam", "assign"])?;
        ensure!(said.contains("no pool gives node node1") && said.contains("help: "), "{said}");
        margay.apply(&pool("small", "10.10.0.0/28", 28))?;
        until("the pool is known", SOON, || Ok(assign(&margay, &["--handle", "one"]).is_ok()))?;
        assign(&margay, &["--v4", "15", "--handle", "rest"])?;
        let (code, said) = margay.refusal(&["ipam", "assign"])?;
        ensure!(code == 1 && said.contains("pool small is full"), "{code}: {said}");
        ensure!(said.contains("help: add an IPPool"), "{said}");
        let (code, said) = margay.refusal(&["ipam", "assign", "--ip", "192.0.2.1"])?;
        ensure!(code == 2 && said.contains("192.0.2.1 is in no pool"), "{code}: {said}");
        let (_, said) = margay.refusal(&["ipam", "assign", "--ip", "10.10.0.3"])?;
        ensure!(said.contains("already assigned to"), "{said}");
        let (_, said) = margay.refusal(&["ipam", "assign", "--pool", "red"])?;
        ensure!(said.contains("pool red does not exist"), "{said}");
        let (code, said) = margay.refusal(&["ipam", "assign", "--node", "node9"])?;
        ensure!(code == 1 && said.contains("there is no Node named node9"), "{code}: {said}");
        ensure!(said.contains("help: `margay get nodes` lists them"), "{said}");
        // Neither another block size, nor the same addresses under another name.
        let file = host.dir().join("wrong.yaml");
        for (wrong, why) in [
            (pool("small", "10.10.0.0/28", 29), "spec.blockSize, which is fixed"),
            (pool("other", "10.10.0.0/24", 28), "overlaps in spec.cidr"),
        ] {
            fs::write(&file, wrong)?;
            let (code, said) = margay.refusal(&["apply", "-f", utf8(&file)?])?;
            ensure!(code == 2 && said.contains(why), "{code}: {said}");
        }
        let (_, said) = margay.refusal(&["ipam", "configure", "--max-blocks-per-host", "3"])?;
        ensure!(said.contains("needs strictAffinity"), "{said}");
        let (_, said) = margay.refusal(&["ipam", "split", "32", "--name", "small"])?;
        ensure!(said.contains("smaller than its blocks"), "{said}");
        // A released address rests; then the pool goes, and with it what is empty.
        margay.text(&["ipam", "release", "--handle", "rest"])?;
        let (_, said) = margay.refusal(&["ipam", "assign"])?;
        ensure!(said.contains("15 cooling down"), "{said}");
        margay.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
        until("they are free", SOON, || Ok(assign(&margay, &["--handle", "two"]).is_ok()))?;
        for handle in ["one", "two"] {
            margay.text(&["ipam", "release", "--handle", handle])?;
        }
        margay.text(&["delete", "ippool", "small"])?;
        until("its block goes", SOON, || Ok(blocks(&margay)?.is_empty()))?;
        check_clean(&margay)?;
        margay.reconfigure("[datastore]\ntype = \"none\"\n\n[fib]\nenabled = false\n")?;
        margay.terminate()?;
        margay.start()?;
        let (_, said) = margay.refusal(&["ipam", "assign"])?;
        ensure!(said.contains("there is no datastore"), "{said}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

/// A backup in which every released address was released at this time.
fn released_at(backup: &str, millis: u64) -> Result<String> {
    let mut text = String::new();
    for line in backup.lines() {
        let mut entry: Value = serde_json::from_str(line)?;
        let cooling = entry.pointer_mut("/value/cooling_ms").and_then(Value::as_object_mut);
        for time in cooling.into_iter().flat_map(|cooling| cooling.values_mut()) {
            *time = millis.into();
        }
        text += &format!("{entry}\n");
    }
    Ok(text)
}

#[test]
fn a_clock_that_jumped_keeps_no_address_from_being_used_again() -> Result<()> {
    if !have_root("a_clock_that_jumped_keeps_no_address_from_being_used_again") {
        return Ok(());
    }
    let mut lab = Lab::new("ipamclock")?;
    let host = lab.host("node1")?;
    let mut margay = Margay::new(&host, EMBEDDED);
    let result = (|| {
        margay.start()?;
        margay.apply(&pool("small", "10.10.0.0/28", 28))?;
        margay.text(&["ipam", "configure", "--ip-cooldown-seconds", "2"])?;
        until("it assigns", SOON, || Ok(assign(&margay, &["--handle", "kept"]).is_ok()))?;
        let file = host.dir().join("backup");
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = u64::try_from(now)?;
        let year = 365 * 24 * 3600 * 1000;
        for (what, released) in [("ahead", now + year), ("behind", now - year), ("at zero", 0)] {
            // As a daemon left it whose clock was wrong when it released them, and is set now.
            until("they have rested", SOON, || {
                Ok(assign(&margay, &["--v4", "15", "--handle", "rest"]).is_ok())
            })?;
            margay.text(&["ipam", "release", "--handle", "rest"])?;
            margay.text(&["datastore", "export", utf8(&file)?])?;
            let backup = released_at(&fs::read_to_string(&file)?, released)?;
            ensure!(backup.contains(&released.to_string()), "{backup}");
            fs::write(&file, backup)?;
            margay.text(&["datastore", "import", utf8(&file)?, "--replace"])?;
            if released > now {
                let found = || margay.output(&["-o", "json", "ipam", "check"]);
                until("check finds it", SOON, || {
                    let said = String::from_utf8(found()?.stdout)?;
                    Ok(said.matches("released-in-future").count() == 15)
                })?;
                margay.text(&["ipam", "check", "--fix"])?;
            }
            until(&format!("all can be had, {what}"), SOON, || {
                Ok(assign(&margay, &["--v4", "15", "--handle", "all"]).is_ok())
            })?;
            check_clean(&margay)?;
            margay.text(&["ipam", "release", "--handle", "all"])?;
        }
        let shown = margay.json(&["ipam", "show", "--ip", "10.10.0.0"])?;
        ensure!(shown["handle"] == "kept", "nothing else was touched: {shown}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

/// Three daemons on etcd.
fn three(lab: &mut Lab, cluster: &Cluster) -> Result<Vec<Margay>> {
    let config = cluster.config();
    (1..=3)
        .map(|number| {
            let host = cluster.host(lab, &format!("node{number}"), 10 + number)?;
            Ok(Margay::new(&host, &config))
        })
        .collect()
}

#[test]
fn three_nodes_share_a_pool_and_what_a_deleted_one_left_is_taken_back() -> Result<()> {
    if !have_root("three_nodes_share_a_pool_and_what_a_deleted_one_left_is_taken_back") {
        return Ok(());
    }
    let mut lab = Lab::new("ipam3")?;
    let cluster = Cluster::start(&mut lab)?;
    let mut daemons = three(&mut lab, &cluster)?;
    let result = share(&mut daemons);
    lab.told(result, || logs(&daemons))
}

fn share(daemons: &mut [Margay]) -> Result<()> {
    daemons.iter_mut().try_for_each(Margay::start)?;
    let [one, two, three] = daemons else { anyhow::bail!("three daemons") };
    let nodes = ["node1", "node2", "node3"].map(node).concat();
    until("etcd takes it", SOON, || {
        Ok(one.apply(&(pool("blue", "10.20.0.0/24", 28) + &nodes)).is_ok())
    })?;
    one.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
    // Each takes a block of its own, all at once; the third one fills its first.
    thread::scope(|scope| {
        let all = [(&*one, "3"), (&*two, "3"), (&*three, "16")].map(|(daemon, count)| {
            scope.spawn(move || {
                until("it knows the pool", SOON, || {
                    Ok(assign(daemon, &["--v4", count, "--handle", "first"]).is_ok())
                })
            })
        });
        all.into_iter().try_for_each(|one| one.join().expect("no panic"))
    })?;
    let kept = assign(three, &["--handle", "second"])?.concat();
    let of = |blocks: &BTreeMap<String, BTreeSet<String>>, node: &str| {
        blocks.get(node).cloned().unwrap_or_default()
    };
    until("all see all", SOON, || {
        let seen = blocks(one)?;
        Ok(of(&seen, "node3").len() == 2 && seen.len() == 3 && seen == blocks(two)?)
    })?;
    let seen = blocks(one)?;
    ensure!(of(&seen, "node1").len() == 1 && of(&seen, "node2").len() == 1, "{seen:?}");
    let distinct: BTreeSet<_> = seen.values().flatten().collect();
    ensure!(distinct.len() == 4, "{seen:?}");
    let affinities = one.json(&["get", "blockaffinities"])?;
    let items = affinities["items"].as_array().context("a list")?;
    let of_three = items.iter().filter(|item| item["spec"]["node"] == "node3").count();
    ensure!(items.len() == 4 && of_three == 2, "{affinities}");
    // Any of them releases what another one holds.
    let full = three.json(&["ipam", "show", "--ip", &kept])?;
    let block = full["block"].as_str().context("a block")?.to_owned();
    let filled = of(&seen, "node3").into_iter().find(|other| *other != block);
    let filled = filled.context("another block")?;
    let first: Ipv4Addr = filled.trim_end_matches("/28").parse()?;
    for number in 0..16 {
        let address = Ipv4Addr::from(u32::from(first) + number);
        two.text(&["ipam", "release", "--ip", &address.to_string()])?;
    }
    // Dead alone is not gone.
    three.kill()?;
    let died = Instant::now();
    thread::sleep(Duration::from_secs(2));
    ensure!(of(&blocks(one)?, "node3").len() == 2);
    one.text(&["delete", "node", "node3"])?;
    until("its blocks are taken back", ENDED, || Ok(of(&blocks(two)?, "node3").is_empty()))?;
    println!("taken back {:?} after it died", died.elapsed());
    ensure!(died.elapsed() > Duration::from_secs(8), "before its lease had ended");
    // The empty one is gone; the one in use belongs to nobody, and the address is still held.
    until("the empty one goes", SOON, || {
        Ok(of(&blocks(two)?, "").into_iter().collect::<Vec<_>>() == [block.clone()])
    })?;
    let shown = one.json(&["ipam", "show", "--ip", &kept])?;
    ensure!(shown["handle"] == "second" && shown["node"] == "node3", "{shown}");
    check_clean(one)?;
    check_clean(two)
}

/// The block of the first address of an answer.
fn block_of(rows: &Value) -> Result<String> {
    Ok(rows[0]["block"].as_str().context("a block")?.to_owned())
}

/// Whether a daemon announces a prefix by itself.
fn originates(margay: &Margay, prefix: &str) -> Result<bool> {
    Ok(margay.best(prefix)?.is_some_and(|best| best["peer"].is_null()))
}

#[test]
fn addresses_taken_for_another_node_are_out_of_its_blocks_and_its_daemon_goes_on_with_them()
-> Result<()> {
    if !have_root("addresses_taken_for_another_node_are_out_of_its_blocks") {
        return Ok(());
    }
    let mut lab = Lab::new("ipamnode")?;
    let cluster = Cluster::start(&mut lab)?;
    let mut daemons = three(&mut lab, &cluster)?;
    let result = elsewhere(&mut daemons);
    lab.told(result, || logs(&daemons))
}

fn elsewhere(daemons: &mut [Margay]) -> Result<()> {
    let [one, two, three] = daemons else { anyhow::bail!("three daemons") };
    // BGP, so that blocks are announced. The third node is one without a daemon.
    let bgp = "\n[bgp]\nasn = 64512\n";
    for daemon in [&mut *one, &mut *two, &mut *three] {
        daemon.reconfigure(&format!("{}{bgp}", daemon.config().to_owned()))?;
    }
    one.start()?;
    two.start()?;
    let nodes = ["node1", "node2", "node3"].map(node).concat();
    until("etcd takes it", SOON, || {
        Ok(one.apply(&(pool("blue", "10.20.0.0/24", 28) + &nodes)).is_ok())
    })?;
    one.text(&["ipam", "configure", "--ip-cooldown-seconds", "0"])?;
    until("node2 is known", SOON, || {
        let probe = ["ipam", "assign", "--node", "node2", "--handle", "probe"];
        Ok(one.json(&probe).is_ok())
    })?;
    let sent = ["ipam", "assign", "--v4", "2", "--node", "node2", "--handle", "sent"];
    let rows = one.json(&sent)?;
    ensure!(rows[0]["node"] == "node2" && rows[1]["node"] == "node2", "{rows}");
    let theirs = block_of(&rows)?;
    // The block is the other one's own: announced there and nowhere else, and it goes on with it.
    until("its daemon announces it", SOON, || originates(two, &theirs))?;
    ensure!(!originates(one, &theirs)?, "it is not ours");
    let own = two.json(&["ipam", "assign", "--handle", "own"])?;
    ensure!(block_of(&own)? == theirs, "{own} is not out of {theirs}");
    let again = one.json(&["ipam", "assign", "--node", "node2", "--handle", "again"])?;
    ensure!(block_of(&again)? == theirs, "{again} is not out of {theirs}");

    // Both at once for the same node: nothing twice, and nothing of anybody else's.
    let got = Mutex::new(Vec::new());
    thread::scope(|scope| -> Result<()> {
        let ask = |daemon: &'_ Margay, who: &str| -> Result<()> {
            for number in 0..12 {
                let handle = format!("{who}{number}");
                let rows =
                    daemon.json(&["ipam", "assign", "--node", "node2", "--handle", &handle])?;
                let address = rows[0]["address"].as_str().context("an address")?.to_owned();
                got.lock().expect("nobody panics with it").push(address);
            }
            Ok(())
        };
        let (one, two) = (&*one, &*two);
        let other = scope.spawn(move || ask(one, "one"));
        ask(two, "two")?;
        other.join().expect("no panic")
    })?;
    let got = got.into_inner().expect("nobody panics with it");
    let distinct: BTreeSet<_> = got.iter().collect();
    ensure!(got.len() == 24 && distinct.len() == 24, "{got:?}");
    until("all see the same", SOON, || Ok(blocks(one)? == blocks(two)?))?;
    ensure!(blocks(one)?.keys().collect::<Vec<_>>() == ["node2"], "{:?}", blocks(one)?);

    // A node without a daemon: the second request, of whomever, finds the block of the first.
    let first = block_of(&one.json(&["ipam", "assign", "--node", "node3", "--handle", "a"])?)?;
    until("two has heard of it", SOON, || Ok(blocks(two)?.contains_key("node3")))?;
    let second = two.json(&["ipam", "assign", "--node", "node3", "--handle", "b"])?;
    ensure!(block_of(&second)? == first, "{second} is not out of {first}");
    ensure!(!originates(one, &first)? && !originates(two, &first)?, "nobody is there");
    // The settings hold for it, too.
    let limits = ["--strict-affinity", "true", "--max-blocks-per-host", "1"];
    one.text(&[&["ipam", "configure"][..], &limits].concat())?;
    until("the limit is in force", SOON, || {
        let (_, said) = one.refusal(&["ipam", "assign", "--v4", "15", "--node", "node3"])?;
        Ok(said.contains("node node3 owns 1 blocks, the most maxBlocksPerHost allows"))
    })?;
    // Its daemon comes, and takes it on with what is held in it.
    three.start()?;
    until("its daemon announces it", SOON, || originates(three, &first))?;
    let own = three.json(&["ipam", "assign", "--handle", "c"])?;
    ensure!(block_of(&own)? == first, "{own} is not out of {first}");
    let held =
        three.json(&["ipam", "show", "--ip", second[0]["address"].as_str().unwrap_or("")])?;
    ensure!(held["handle"] == "b" && held["node"] == "node3", "{held}");
    [&*one, two, three].into_iter().try_for_each(check_clean)
}

#[test]
fn while_etcd_is_away_requests_fail_soon_with_the_cause_and_go_on_afterwards() -> Result<()> {
    if !have_root("while_etcd_is_away_requests_fail_soon_with_the_cause_and_go_on_afterwards") {
        return Ok(());
    }
    let mut lab = Lab::new("ipamaway")?;
    let mut cluster = Cluster::start(&mut lab)?;
    let mut daemons = three(&mut lab, &cluster)?;
    let result = (|| {
        let [margay, ..] = daemons.as_mut_slice() else { anyhow::bail!("three daemons") };
        margay.start()?;
        until("etcd takes it", SOON, || {
            Ok(margay.apply(&pool("blue", "10.20.0.0/24", 28)).is_ok())
        })?;
        until("it assigns", SOON, || Ok(assign(margay, &["--handle", "before"]).is_ok()))?;
        let before = blocks(margay)?;
        for member in 0..3 {
            cluster.kill(member)?;
        }
        for _ in 0..2 {
            let start = Instant::now();
            let (code, said) = margay.refusal(&["ipam", "assign", "--handle", "away"])?;
            let took = start.elapsed();
            println!("after {took:?}: {said}");
            ensure!(code == 1 && said.contains("datastore at http://10.99.0."), "{code}: {said}");
            ensure!(took < Duration::from_secs(5), "took {took:?}");
        }
        ensure!(blocks(margay)? == before, "what was known is shown");
        for member in 0..3 {
            cluster.start_member(member)?;
        }
        until("it assigns again", SOON, || Ok(assign(margay, &["--handle", "after"]).is_ok()))?;
        // What was asked for while it was away was never given to anybody.
        let released = margay.json(&["ipam", "release", "--handle", "away"])?;
        ensure!(released["released"] == Value::Array(vec![]), "{released}");
        ensure!(blocks(margay)? == before, "the same block");
        check_clean(margay)
    })();
    lab.told(result, || logs(&daemons))
}
