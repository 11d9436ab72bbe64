//! The guard outside nf_tables: what becomes of pods when somebody removes the table while nobody is
//! there to put it right.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use interop_tests::{
    pair::SOON,
    runtime::Container,
    shop::{Rig, add, echoes, reaches, serve},
};
use serde_json::Value;
use testkit::{Daemon, Host, Lab, guard_folder, have_root, until};

#[test]
fn pods_are_closed_while_the_table_is_gone_and_the_dataplane_is_dead() -> Result<()> {
    if !have_root("pods_are_closed_while_the_table_is_gone_and_the_dataplane_is_dead") {
        return Ok(());
    }
    let mut rig = Rig::start("guard")?;
    let result = gone(&mut rig);
    rig.told(result)
}

/// What is there of the guard, file by file, with what would differ if it were made anew.
fn attached(folder: &Path) -> Result<BTreeSet<(PathBuf, u64)>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(attached(&entry.path())?),
            false => found.extend([(entry.path(), entry.metadata()?.ino())]),
        }
    }
    Ok(found)
}

/// A pod's addresses, IPv4 first.
fn addresses(pod: &Host) -> Result<[String; 2]> {
    let said: Value = serde_json::from_str(&pod.ip(&["-j", "addr", "show", "dev", "eth0"])?)?;
    let of = |family: &str| {
        let all = said[0]["addr_info"].as_array().into_iter().flatten();
        let mut own = all.filter(|one| one["family"] == family && one["scope"] == "global");
        own.next().and_then(|one| one["local"].as_str()).map(str::to_owned).context("an address")
    };
    Ok([of("inet")?, of("inet6")?])
}

/// Fails if a ping that may not come through does; one that may tells that the machine is not just
/// slow.
fn is_closed(from: &Host, to: &str, control: (&Host, &str)) -> Result<()> {
    until(&format!("a try of {} to {to} that tells", from.name()), SOON, || {
        ensure!(!from.pings(to), "{} reaches {to}", from.name());
        Ok(control.0.pings(control.1))
    })
}

fn opens(from: &Host, to: &str) -> Result<()> {
    until(&format!("{} reaches {to}", from.name()), SOON, || Ok(from.pings(to)))
}

/// One that is no pod, and no matter of ours.
fn plain(lab: &mut Lab, host: &Host, name: &str, link: &str, third: u8) -> Result<Host> {
    let other = lab.host(name)?;
    let of = |number: u8| [format!("10.77.{third}.{number}"), format!("fd77:{third}::{number}")];
    let net = |[four, six]: &[String; 2]| [format!("{four}/24"), format!("{six}/64")];
    let (here, there) = (net(&of(1)), net(&of(2)));
    let [here, there] = [&here, &there].map(|all| [all[0].as_str(), all[1].as_str()]);
    lab.link((host, link, &here), (&other, "eth0", &there))?;
    let [four, six] = of(1);
    other.ip(&["route", "add", "default", "via", &four])?;
    other.ip(&["-6", "route", "add", "default", "via", &six])?;
    Ok(other)
}

fn gone(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, lab } = rig;
    let host = margay.host().clone();
    dataplane.start()?;
    let folder = guard_folder(&host)?;
    ensure!(dataplane.metric("margay_policy_guard")? == 1, "{}", dataplane.log());
    let first = attached(&folder)?;
    ensure!(first.len() == 5, "a rule and four links: {first:?}");

    let [left, right, ..] = pods.as_slice() else { bail!("two pods") };
    for pod in [left, right] {
        add(runtime, &Container::new(pod.name(), pod), &Value::Null)?;
        serve(pod)?;
    }
    let ([left4, left6], [right4, right6]) = (addresses(left)?, addresses(right)?);
    let near = plain(lab, &host, "near", "plain1", 1)?;
    let far = plain(lab, &host, "far", "plain2", 2)?;
    let (far4, far6) = ("10.77.2.2", "fd77:2::2");
    let of_pods = [
        (left, right4.as_str()),
        (left, right6.as_str()),
        (&near, &right4),
        (&near, &right6),
        (right, far4),
        (right, far6),
    ];
    let open = || -> Result<()> {
        let by_host = [(&host, left4.as_str()), (&host, left6.as_str())];
        for (from, to) in of_pods.into_iter().chain(by_host) {
            opens(from, to)?;
        }
        Ok(())
    };
    let closed = || -> Result<()> {
        // To the host itself, also as an answer.
        let to_host = [
            (left, "192.0.2.1"),
            (left, "2001:db8::1"),
            (&host, left4.as_str()),
            (&host, left6.as_str()),
        ];
        for (from, to) in of_pods.into_iter().chain(to_host) {
            is_closed(from, to, (&near, far4))?;
        }
        // Nobody else is stopped.
        for to in [far4, far6] {
            opens(&near, to)?;
            opens(&host, to)?;
        }
        opens(&far, "10.77.1.2")
    };
    let mut known = reaches(left, right4.parse()?)?;
    open()?;

    for deed in ["flush table inet margay", "delete table inet margay", "flush ruleset"] {
        dataplane.daemon()?.kill()?;
        open()?;
        host.run("nft", &deed.split(' ').collect::<Vec<_>>())?;
        closed().context(deed)?;
        dataplane.start()?;
        open().context(deed)?;
        echoes(&mut known)?;
        let now = attached(&folder)?;
        ensure!(now == first, "{deed}: the guard stays as it was: {now:?}, not {first:?}");
    }

    // One that may not make a guard, nor tell the one that it finds, enforces without, and takes that away.
    dataplane.daemon()?.kill()?;
    fs::remove_file(folder.join("rule"))?;
    let whole = dataplane.command()?;
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set", "-bpf,-sys_admin", "--inh-caps", "-bpf,-sys_admin"]);
    bound.arg(whole.get_program()).args(whole.get_args());
    let log = host.dir().join("bound.log");
    let mut bound = Daemon::spawn(&host, &mut bound, &log)?;
    until("policy is enforced", SOON, || {
        bound.check_running()?;
        Ok(dataplane.ask("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
    })?;
    let said = fs::read_to_string(&log)?;
    ensure!(said.contains("no guard") && !folder.exists(), "{said}");
    ensure!(dataplane.metric("margay_policy_guard")? == 0, "{said}");
    open().context("without a guard")?;
    bound.kill()?;

    // It comes back, and goes when it is not wanted.
    dataplane.start()?;
    ensure!(dataplane.metric("margay_policy_guard")? == 1 && attached(&folder)?.len() == 5);
    open().context("with a guard again")?;
    dataplane.daemon()?.kill()?;
    dataplane.configure("[policy]\nguard = false\n")?;
    dataplane.start()?;
    ensure!(dataplane.metric("margay_policy_guard")? == 0 && !folder.exists());
    let ruleset = host.run("nft", &["list", "table", "inet", "margay"])?;
    ensure!(!ruleset.contains("mark set"), "{ruleset}");
    open()?;
    dataplane.daemon()?.kill()?;
    host.run("nft", &["flush", "ruleset"])?;
    open().context("without a guard")
}

#[test]
fn the_bit_of_the_mark_changes_under_traffic_and_nothing_is_lost() -> Result<()> {
    if !have_root("the_bit_of_the_mark_changes_under_traffic_and_nothing_is_lost") {
        return Ok(());
    }
    let mut rig = Rig::start("guardbit")?;
    let result = change(&mut rig);
    rig.told(result)
}

fn change(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    dataplane.start()?;
    let [left, right, ..] = pods.as_slice() else { bail!("two pods") };
    for pod in [left, right] {
        add(runtime, &Container::new(pod.name(), pod), &Value::Null)?;
    }
    let [to, _] = addresses(right)?;
    opens(left, &to)?;
    let host = margay.host().clone();
    let marks = |bit: &str| {
        let list = host.run("nft", &["list", "chain", "inet", "margay", "forward-from"]);
        list.map(|list| list.contains(bit))
    };
    ensure!(marks("0x00040000")?);
    let masks = [(0xff00_u32, "0x00000400"), (0xff00_0000, "0x04000000"), (0xff, "0x00000004")];
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut ping = Command::new("ping");
            left.output(ping.args(["-n", "-q", "-i", "0.002", "-w", "8", &to]))
        });
        for (mask, bit) in masks {
            let felix = format!(
                "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: \
                 default}}\nspec: {{nftablesMarkMask: {mask}}}\n"
            );
            margay.apply(&felix)?;
            until("the table marks with another bit", SOON, || marks(bit))?;
        }
        let said = traffic.join().map_err(|_| anyhow::anyhow!("the traffic panicked"))??;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        ensure!(said.contains(" 0% packet loss"), "{said}");
        Ok(())
    })?;
    // Somebody who died in between, and whom the next one follows.
    dataplane.daemon()?.kill()?;
    margay.text(&["delete", "felixconfiguration", "default"])?;
    dataplane.start()?;
    until("the table marks as ever", SOON, || marks("0x00040000"))?;
    opens(left, &to)?;
    dataplane.daemon()?.kill()?;
    host.run("nft", &["flush", "ruleset"])?;
    is_closed(left, &to, (right, "127.0.0.1"))
}

#[test]
fn links_of_each_prefix_are_workloads_with_the_dataplane_alive_and_dead() -> Result<()> {
    if !have_root("links_of_each_prefix_are_workloads_with_the_dataplane_alive_and_dead") {
        return Ok(());
    }
    let mut rig = Rig::start("guardprefix")?;
    let result = several(&mut rig);
    rig.told(result)
}

fn several(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, lab } = rig;
    let host = margay.host().clone();
    dataplane.start()?;
    let [pod, ..] = pods.as_slice() else { bail!("a pod") };
    add(runtime, &Container::new(pod.name(), pod), &Value::Null)?;
    let [to_pod, _] = addresses(pod)?;
    let tap = plain(lab, &host, "tap", "tap1", 1)?;
    let far = plain(lab, &host, "far", "plain2", 2)?;
    let (tap4, far4, control) = ("10.77.1.2", "10.77.2.2", (&far, "10.77.2.1"));
    for (from, to) in [(&tap, "10.77.1.1"), (&tap, far4), (pod, tap4), (pod, far4)] {
        opens(from, to)?;
    }
    // All of the host's own links; but none of a workload.
    margay.apply(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: all, labels: {role: \
         host}}\nspec: {node: a, interfaceName: '*', profiles: \
         [projectcalico-default-allow]}\n",
    )?;
    let prefix = |text: &str| {
        margay.apply(&format!(
            "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: \
             default}}\nspec: {{interfacePrefix: '{text}'}}\n"
        ))
    };
    // Pods keep what they have, whether their links are of a prefix or not.
    for text in ["cali,tap", "tap, other"] {
        prefix(text)?;
        until("the unknown link is closed", SOON, || Ok(!tap.pings("10.77.1.1")))?;
        for (from, to) in [(&tap, far4), (pod, tap4), (&far, tap4)] {
            is_closed(from, to, control).context(text.to_owned())?;
        }
        for (from, to) in [(&host, to_pod.as_str()), (pod, far4), (&far, "10.77.2.1")] {
            opens(from, to).context(text.to_owned())?;
        }
    }
    prefix("cali,tap")?;
    let chain = || host.run("nft", &["list", "chain", "inet", "margay", "host-raw-prerouting"]);
    until("both are workloads' links", SOON, || {
        let listed = chain()?;
        Ok(listed.contains("\"cali*\"") && listed.contains("\"tap*\""))
    })?;
    dataplane.daemon()?.kill()?;
    host.run("nft", &["flush", "ruleset"])?;
    for (from, to) in [(&tap, "10.77.1.1"), (&tap, far4), (pod, far4), (&far, tap4)] {
        is_closed(from, to, control)?;
    }
    dataplane.start()?;
    opens(pod, far4)?;
    prefix("cali")?;
    opens(&tap, far4)
}
