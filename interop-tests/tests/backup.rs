//! Backups of a real datastore: embedded and etcd, live and stopped, broken off in the middle.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use interop_tests::{examples, pair::SOON};
use serde_json::Value;
use testkit::{
    Lab, Margay,
    etcd::Cluster,
    have_root,
    margay::{EMBEDDED, bin, utf8},
    until,
};

/// A daemon that never runs: a configuration and a folder of its own.
struct Stopped {
    folder: tempfile::TempDir,
}

impl Stopped {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let text = format!("[node]\nname = \"node\"\nstate-dir = \"{}\"\n", state.display());
        fs::write(folder.path().join("bgpd.toml"), text)?;
        Ok(Self { folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(bin("margay")?);
        command.args(["-o", "json", "datastore"]).args(arguments);
        command.args(["--offline", "--config"]).arg(self.file("bgpd.toml"));
        Ok(command)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output()?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What the datastore holds, one value a line.
    fn values(&self) -> Result<Vec<String>> {
        let output = self.run(&["export"])?;
        ensure!(output.status.success(), "{}", stderr(&output));
        Ok(values(&String::from_utf8(output.stdout)?))
    }

    fn import(&self, file: &Path) -> Result<Child> {
        let mut command = self.command(&["import", utf8(file)?])?;
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of a backup without its head, whose revision is the datastore's own, and its end.
fn values(backup: &str) -> Vec<String> {
    let lines: Vec<_> = backup.lines().collect();
    lines
        .get(1..lines.len().saturating_sub(1))
        .unwrap_or_default()
        .iter()
        .map(|l| (*l).into())
        .collect()
}

/// A backup of `count` network sets, each of some hundred octets.
fn sets(count: usize) -> String {
    let mut backup = "{\"format\":\"margay-datastore\",\"version\":1,\"revision\":7}\n".to_owned();
    for number in 0..count {
        let name = format!("s{number:06}");
        let nets: Vec<_> = (0..8).map(|n| format!("\"10.{}.{n}.0/24\"", number % 256)).collect();
        backup += &format!(
            "{{\"key\":\"resources/v3/projectcalico.org/globalnetworksets/{name}\",\"value\":\
             {{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"GlobalNetworkSet\",\
             \"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"nets\":[{}]}}}}}}\n",
            nets.join(",")
        );
    }
    backup + &format!("{{\"entries\":{count}}}\n")
}

#[test]
fn an_import_into_a_file_that_is_killed_is_made_whole_or_not_at_all() -> Result<()> {
    const COUNT: usize = 8000;
    let backup = sets(COUNT);
    let wanted = values(&backup);
    let mut middle = Middle::new(COUNT);
    for round in 0..12 {
        let stopped = Stopped::new()?;
        let file = stopped.file("backup");
        fs::write(&file, &backup)?;
        let mut child = stopped.import(&file)?;
        thread::sleep(middle.wait());
        // The program that does the work is a child of this one; the group has both.
        Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status()?;
        child.wait()?;
        until("the killed process lets go", SOON, || {
            Ok(!stderr(&stopped.run(&["export"])?).contains("held by another"))
        })?;
        let made = stopped.file("state/datastore.redb").exists();
        let part = if made { stopped.values()? } else { Vec::new() };
        ensure!(part.is_empty() || part == wanted, "round {round}: {} values", part.len());
        middle.found(part.len());
        let done = stopped.json(&["import", utf8(&file)?])?;
        ensure!(done["values"] == COUNT && done["written"] == COUNT - part.len(), "{done}");
        ensure!(stopped.values()? == wanted, "round {round}");
    }
    ensure!(middle.ends.iter().all(|times| *times > 0), "{:?}: nothing, all", middle.ends);
    Ok(())
}

/// When to break an import off: after less time where all was written, after more where nothing was.
struct Middle {
    all: usize,
    between: [Duration; 2],
    /// How often it was the middle.
    met: usize,
    /// How often nothing was written, and how often all.
    ends: [usize; 2],
}

impl Middle {
    fn new(all: usize) -> Self {
        Self { all, between: [Duration::ZERO, Duration::from_secs(2)], met: 0, ends: [0; 2] }
    }

    fn wait(&self) -> Duration {
        (self.between[0] + self.between[1]) / 2
    }

    fn found(&mut self, written: usize) {
        let (wait, [from, until]) = (self.wait(), self.between);
        // The machine is not always as fast: a bound that was met may be none the next time.
        let slack = Duration::from_millis(20);
        self.between = match written {
            0 => [wait, until + slack],
            some if some == self.all => [from.saturating_sub(slack), wait],
            _ => [from, until],
        };
        self.met += usize::from(written > 0 && written < self.all);
        self.ends[0] += usize::from(written == 0);
        self.ends[1] += usize::from(written == self.all);
    }
}

#[test]
fn a_datastore_of_a_stopped_daemon_is_filled_and_read() -> Result<()> {
    let stopped = Stopped::new()?;
    // Nothing is made by looking for it.
    let output = stopped.run(&["export"])?;
    ensure!(output.status.code() == Some(1), "{}", stderr(&output));
    ensure!(stderr(&output).contains("there is no datastore"), "{}", stderr(&output));
    ensure!(!stopped.file("state").exists());
    let file = stopped.file("backup");
    for (wrong, told) in [
        (sets(3).replace("\"version\":1", "\"version\":9"), "line 1"),
        (sets(3).replace("\"entries\":3", "\"entries\":4"), "line 5"),
        (sets(3).replace("s000001", "s000002"), "comes twice"),
        (
            sets(3).replace("s000001\",", "s000002\","),
            "line 3: the GlobalNetworkSet(s000001) under",
        ),
        (sets(3).replace("10.1.0.0/24", "10.1.0.0/33"), "line 3: the GlobalNetworkSet(s000001): "),
        (sets(3).lines().take(3).map(|line| format!("{line}\n")).collect(), "it was cut"),
    ] {
        fs::write(&file, wrong)?;
        let output = stopped.run(&["import", utf8(&file)?])?;
        let said = stderr(&output);
        ensure!(!output.status.success() && said.contains(told), "{said}");
    }
    ensure!(stopped.values()?.is_empty(), "a faulty file changes nothing");
    fs::write(&file, sets(3))?;
    let would = stopped.json(&["import", utf8(&file)?, "--dry-run"])?;
    ensure!(would["written"] == 3 && would["dry_run"] == true, "{would}");
    ensure!(stopped.values()?.is_empty(), "a dry run changes nothing");
    stopped.json(&["import", utf8(&file)?])?;
    // Something else is in the way, unless it is meant to go.
    fs::write(&file, sets(2))?;
    let output = stopped.run(&["import", utf8(&file)?])?;
    let said = stderr(&output);
    ensure!(said.contains("not empty") && said.contains("help: --replace"), "{said}");
    let done = stopped.json(&["import", utf8(&file)?, "--replace"])?;
    ensure!(done["written"] == 0 && done["deleted"] == 1, "{done}");
    let out = stopped.file("again");
    let exported = stopped.json(&["export", utf8(&out)?])?;
    ensure!(exported["values"] == 2, "{exported}");
    ensure!(values(&fs::read_to_string(&out)?) == values(&sets(2)));
    Ok(())
}

/// Every resource that is stored, kind by kind.
fn resources(margay: &Margay) -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for (kind, _) in examples::all()? {
        let namespaced = margay.output(&["get", &kind, "-A"])?.status.success();
        let arguments: &[&str] = if namespaced { &["get", &kind, "-A"] } else { &["get", &kind] };
        let list = margay.json(arguments)?;
        // What always exists and was never written has no uid.
        let stored = |item: &&Value| item["metadata"]["uid"].is_string();
        for item in list["items"].as_array().context("a list")?.iter().filter(stored) {
            let mut item = item.clone();
            item["metadata"]["resourceVersion"] = Value::Null;
            all.push((kind.clone(), item));
        }
    }
    Ok(all)
}

#[test]
fn a_backup_of_a_running_daemon_restores_to_the_same_state() -> Result<()> {
    if !have_root("a_backup_of_a_running_daemon_restores_to_the_same_state") {
        return Ok(());
    }
    let mut lab = Lab::new("backup")?;
    let host = lab.host("node")?;
    let mut margay = Margay::new(&host, EMBEDDED);
    let result = (|| {
        margay.start()?;
        let folder = host.dir().join("examples");
        examples::into(&folder)?;
        margay.text(&["apply", "-f", utf8(&folder)?])?;
        margay.text(&["ipam", "assign", "--v4", "3", "--pool", "my.ippool-1"])?;
        let before = resources(&margay)?;
        ensure!(before.len() >= 24, "{} resources", before.len());
        let blocks = margay.json(&["ipam", "show", "--show-blocks"])?;
        let file = host.dir().join("backup");
        let exported = margay.json(&["datastore", "export", utf8(&file)?])?;
        ensure!(exported["values"].as_u64() > u64::try_from(before.len()).ok(), "{exported}");
        // While the daemon runs nobody else gets at its datastore.
        let config = margay.config_file();
        let output =
            margay.output(&["datastore", "export", "--offline", "--config", utf8(&config)?])?;
        ensure!(stderr(&output).contains("held by another margay-bgpd"), "{}", stderr(&output));
        // Another life: what came since goes, what went comes back.
        margay.text(&["delete", "gns", &name_of(&before, "globalnetworkset")?])?;
        margay.text(&["label", "ippool", &name_of(&before, "ippool")?, "changed=1"])?;
        let output = margay.output(&["datastore", "import", utf8(&file)?])?;
        ensure!(stderr(&output).contains("help: --replace"), "{}", stderr(&output));
        let done = margay.json(&["datastore", "import", utf8(&file)?, "--replace"])?;
        ensure!(done["written"].as_u64() >= Some(2), "{done}");
        ensure!(resources(&margay)? == before);
        // A cut file changes nothing.
        let whole = fs::read_to_string(&file)?;
        let cut = host.dir().join("cut");
        fs::write(&cut, whole.trim_end().rsplit_once('\n').context("lines")?.0)?;
        let output = margay.output(&["datastore", "import", utf8(&cut)?, "--replace"])?;
        ensure!(output.status.code() == Some(2), "{}", stderr(&output));
        ensure!(stderr(&output).contains("it was cut"), "{}", stderr(&output));
        // A node that lost everything.
        margay.kill()?;
        fs::remove_dir_all(host.dir().join("state"))?;
        margay.start()?;
        margay.json(&["datastore", "import", utf8(&file)?, "--replace"])?;
        ensure!(resources(&margay)? == before);
        until("its addresses are known again", SOON, || {
            Ok(margay.json(&["ipam", "show", "--show-blocks"])? == blocks)
        })?;
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn a_daemon_killed_in_the_middle_of_an_import_takes_the_rest_afterwards() -> Result<()> {
    const COUNT: usize = 8000;
    if !have_root("a_daemon_killed_in_the_middle_of_an_import_takes_the_rest_afterwards") {
        return Ok(());
    }
    let mut lab = Lab::new("killed")?;
    let cluster = Cluster::start(&mut lab)?;
    let host = cluster.client().clone();
    let mut margay = Margay::new(&host, &cluster.config());
    margay.set_node_keys("register = false\n");
    let (backup, file) = (sets(COUNT), host.dir().join("backup"));
    let wanted = values(&backup);
    let result = (|| {
        fs::write(&file, &backup)?;
        let nothing = host.dir().join("nothing");
        fs::write(&nothing, sets(0))?;
        let mut middle = Middle::new(COUNT);
        for round in 0..8 {
            margay.start()?;
            connected(&margay)?;
            let socket = host.dir().join("bgpd.sock");
            let mut command = Command::new(bin("margay")?);
            command.arg("--socket").arg(socket).args(["datastore", "import", utf8(&file)?]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            thread::sleep(middle.wait());
            margay.kill()?;
            child.wait()?;
            margay.start()?;
            connected(&margay)?;
            let part = values(&margay.text(&["datastore", "export"])?);
            // Never a value that is not in the backup, or was to come later.
            ensure!(part == wanted.get(..part.len()).unwrap_or_default(), "round {round}");
            middle.found(part.len());
            let done = margay.json(&["datastore", "import", utf8(&file)?])?;
            ensure!(done["written"] == COUNT - part.len(), "{done}");
            ensure!(values(&margay.text(&["datastore", "export"])?) == wanted, "round {round}");
            margay.json(&["datastore", "import", utf8(&nothing)?, "--replace"])?;
            margay.kill()?;
        }
        ensure!(middle.met > 0, "no round was broken off in the middle");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

fn connected(margay: &Margay) -> Result<()> {
    until("the datastore is read", SOON, || {
        Ok(margay.json(&["status"])?["datastore"]["connected"] == true)
    })
}

fn migrate(margay: &Margay, from: &Path, to: &Path) -> Result<Output> {
    margay.output(&["datastore", "migrate", "--config", utf8(from)?, "--to", utf8(to)?])
}

fn name_of(resources: &[(String, Value)], kind: &str) -> Result<String> {
    let found = resources.iter().find(|(of, _)| of == kind).context("one of each kind")?;
    Ok(found.1["metadata"]["name"].as_str().context("a name")?.to_owned())
}

#[test]
fn a_datastore_moves_to_etcd_and_back() -> Result<()> {
    if !have_root("a_datastore_moves_to_etcd_and_back") {
        return Ok(());
    }
    let mut lab = Lab::new("migrate")?;
    let mut cluster = Cluster::start(&mut lab)?;
    let host = cluster.client().clone();
    let etcd = cluster.config();
    let mut margay = Margay::new(&host, EMBEDDED);
    margay.set_node_keys("register = false\n");
    let result = (|| {
        margay.start()?;
        let folder = host.dir().join("examples");
        examples::into(&folder)?;
        margay.text(&["apply", "-f", utf8(&folder)?])?;
        let before = resources(&margay)?;
        let old = host.dir().join("old.toml");
        fs::copy(margay.config_file(), &old)?;
        margay.reconfigure(&etcd)?;
        let new = margay.config_file();
        let output = migrate(&margay, &old, &new)?;
        ensure!(stderr(&output).contains("help: the daemons of both"), "{}", stderr(&output));
        margay.terminate()?;
        let output = migrate(&margay, &old, &new)?;
        ensure!(output.status.success(), "{}", stderr(&output));
        margay.start()?;
        connected(&margay)?;
        ensure!(margay.json(&["status"])?["datastore"]["type"] == "etcd");
        ensure!(resources(&margay)? == before);
        // Members that go away in the middle break the way back off; again, and it is whole.
        margay.text(&["label", "ippool", &name_of(&before, "ippool")?, "in=etcd"])?;
        let after = resources(&margay)?;
        margay.terminate()?;
        let back = host.dir().join("back.toml");
        let state = host.dir().join("back");
        let text_of = fs::read_to_string(&old)?
            .replace(&format!("{}/state", host.dir().display()), utf8(&state)?);
        fs::write(&back, text_of)?;
        for member in 0..2 {
            cluster.kill(member)?;
        }
        let output = migrate(&margay, &new, &back)?;
        ensure!(output.status.code() == Some(1), "{}", stderr(&output));
        for member in 0..2 {
            cluster.start_member(member)?;
        }
        until("etcd is back", SOON, || Ok(migrate(&margay, &new, &back)?.status.success()))?;
        fs::remove_dir_all(host.dir().join("state"))?;
        fs::rename(&state, host.dir().join("state"))?;
        margay.reconfigure(EMBEDDED)?;
        margay.start()?;
        ensure!(margay.json(&["status"])?["datastore"]["type"] == "embedded");
        ensure!(resources(&margay)? == after);
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}
