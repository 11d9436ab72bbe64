//! The program under the name `calicoctl` with a real daemon, embedded and in real etcd; and what
//! the documentation has of each kind, there and back.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use interop_tests::{examples, pair::SOON};
use margay_model::{Item, Mode, Resource, Scope, decode};
use testkit::{
    Lab, Margay,
    etcd::Cluster,
    have_root,
    margay::{EMBEDDED, bin, utf8},
    until,
};

/// The tool beside a daemon.
struct Tool<'a> {
    margay: &'a Margay,
    link: PathBuf,
    /// What the environment says the datastore is.
    datastore: Option<&'static str>,
}

impl<'a> Tool<'a> {
    fn new(margay: &'a Margay, datastore: Option<&'static str>) -> Result<Self> {
        let link = margay.host().dir().join("calicoctl");
        if !link.exists() {
            symlink(bin("margay")?, &link)?;
        }
        Ok(Self { margay, link, datastore })
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let host = self.margay.host();
        let mut command = Command::new(&self.link);
        command.args(arguments).env("MARGAY_SOCKET", host.dir().join("bgpd.sock"));
        for name in ["DATASTORE_TYPE", "CALICO_DATASTORE_TYPE", "ETCD_ENDPOINTS"] {
            command.env_remove(name);
        }
        command.envs(self.datastore.map(|kind| ("DATASTORE_TYPE", kind)));
        host.output(&mut command)
    }

    fn says(&self, arguments: &[&str], out: &str) -> Result<()> {
        let output = self.run(arguments)?;
        let (found, error) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
        ensure!(found == out, "{arguments:?}: {found}");
        Ok(())
    }

    fn refuses(&self, arguments: &[&str], error: &str) -> Result<()> {
        let output = self.run(arguments)?;
        let found = text(&output.stderr);
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}", output.status);
        ensure!(found.contains(error), "{arguments:?}: {found}");
        Ok(())
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

const POOL: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 192.168.0.0/16
  ipipMode: CrossSubnet
  natOutgoing: true
";

const SETUP: &str = "\
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  logSeverityScreen: Info
  nodeToNodeMeshEnabled: false
  asNumber: 63400
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: my-global-peer
spec:
  peerIP: 192.20.30.40
  asNumber: 64567
";

/// What an operator does with the tool.
fn flows(tool: &Tool<'_>) -> Result<()> {
    let folder = tool.margay.host().dir().join("flows");
    fs::create_dir_all(&folder)?;
    let pool = folder.join("pool.yaml");
    fs::write(&pool, POOL)?;
    let setup = folder.join("setup.yaml");
    fs::write(&setup, SETUP)?;
    let (pool, setup) = (utf8(&pool)?, utf8(&setup)?);
    tool.says(&["apply", "-f", setup], "Successfully applied 2 resource(s)\n")?;
    tool.says(&["create", "-f", pool], "Successfully created 1 'IPPool' resource(s)\n")?;
    tool.refuses(
        &["create", "-f", pool],
        "failed to create 'IPPool' resource: [resource already exists: \
         IPPool(default-ipv4-ippool) with error: ",
    )?;
    tool.says(
        &["get", "ippools"],
        "NAME                  CIDR             SELECTOR   \n\
         default-ipv4-ippool   192.168.0.0/16   all()      \n\n",
    )?;
    tool.says(
        &["get", "ippool", "-o", "wide"],
        "NAME                  CIDR             NAT    IPIPMODE      VXLANMODE   DISABLED   \
         DISABLEBGPEXPORT   SELECTOR   ASSIGNMENTMODE   \n\
         default-ipv4-ippool   192.168.0.0/16   true   CrossSubnet   Never       false      \
         false              all()      Automatic        \n\n",
    )?;
    tool.says(
        &["get", "bgpconfig"],
        "NAME      LOGSEVERITY   MESHENABLED   ASNUMBER   \n\
         default   Info          false         63400      \n\n",
    )?;
    tool.says(
        &["get", "bgppeer"],
        "NAME             PEERIP         NODE       ASN     \n\
         my-global-peer   192.20.30.40   (global)   64567   \n\n",
    )?;
    // A resourceVersion that is not the stored one.
    let stale = folder.join("stale.yaml");
    let stored = tool.run(&["get", "ippool", "default-ipv4-ippool", "-o", "yaml"])?;
    fs::write(&stale, &stored.stdout)?;
    tool.says(
        &["patch", "ippool", "default-ipv4-ippool", "-p", "{\"spec\":{\"natOutgoing\":false}}"],
        "Successfully patched 1 'IPPool' resource\n",
    )?;
    tool.refuses(
        &["replace", "-f", utf8(&stale)?],
        "failed to replace 'IPPool' resource: [update conflict: IPPool(default-ipv4-ippool)]",
    )?;
    tool.says(
        &["label", "ippool", "default-ipv4-ippool", "rack=a"],
        "Successfully set label rack on ippool default-ipv4-ippool\n",
    )?;
    // An address range that overlaps another one is refused by the daemon, the tier by its rules.
    let overlap = folder.join("overlap.yaml");
    fs::write(&overlap, POOL.replace("default-ipv4", "other").replace(".0.0/16", ".1.0/24"))?;
    tool.refuses(&["apply", "-f", utf8(&overlap)?], "failed to apply 'IPPool' resource: [")?;
    tool.says(
        &["delete", "ippool", "default-ipv4-ippool"],
        "Successfully deleted 1 'IPPool' resource(s)\n",
    )?;
    tool.refuses(
        &["delete", "ippool", "default-ipv4-ippool"],
        "Failed to delete 'IPPool' resource: resource does not exist: \
         IPPool(default-ipv4-ippool) with error: ",
    )?;
    tool.says(&["delete", "-f", setup], "Successfully deleted 2 resource(s)\n")?;
    tool.says(&["get", "ippools"], "NAME   CIDR   SELECTOR   \n\n")?;
    // A name that looks like one of an older release.
    let policy = folder.join("policy.yaml");
    let text = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: \
                default.web\nspec:\n  selector: all()\n";
    fs::write(&policy, text)?;
    for _ in 0..2 {
        let applied = "Successfully applied 1 'GlobalNetworkPolicy' resource(s)\n";
        tool.says(&["apply", "-f", utf8(&policy)?], applied)?;
        tool.says(&["get", "gnp"], "NAME          TIER      \ndefault.web   default   \n\n")?;
    }
    let deleted = "Successfully deleted 1 'GlobalNetworkPolicy' resource(s)\n";
    tool.says(&["delete", "gnp", "default.web"], deleted)
}

fn resources(octets: &[u8]) -> Result<Vec<Resource>> {
    let manifest = decode(octets, Mode::Strict).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let items = manifest.documents.into_iter().map(|document| document.item);
    items
        .map(|item| match item {
            Item::Resource(resource) => Ok(resource),
            Item::Kubernetes(object) => anyhow::bail!("{object:?}"),
        })
        .collect()
}

/// What an operator asks about addresses.
fn addresses(tool: &Tool<'_>) -> Result<()> {
    let pool = tool.margay.host().dir().join("addresses.yaml");
    fs::write(&pool, POOL.replace("192.168.0.0/16", "10.65.0.0/24"))?;
    tool.says(&["apply", "-f", utf8(&pool)?], "Successfully applied 1 'IPPool' resource(s)\n")?;
    let assigned = tool.margay.json(&["ipam", "assign", "--v4", "1", "--handle", "h1"])?;
    let address = assigned[0]["address"].as_str().context("an address")?.to_owned();
    tool.says(
        &["ipam", "show"],
        "\
+----------+--------------+-----------+------------+--------------+------------+
| GROUPING |     CIDR     | IPS TOTAL | IPS IN USE | IPS RESERVED |  IPS FREE  |
+----------+--------------+-----------+------------+--------------+------------+
| IP Pool  | 10.65.0.0/24 |       256 | 1 (0%)     | 0 (0%)       | 255 (100%) |
+----------+--------------+-----------+------------+--------------+------------+
",
    )?;
    let blocks = tool.run(&["ipam", "show", "--show-blocks"])?;
    ensure!(text(&blocks.stdout).contains("| Block    | 10.65.0."), "{}", text(&blocks.stdout));
    let output = tool.run(&["ipam", "show", &format!("--ip={address}")])?;
    let said = text(&output.stdout);
    let who = format!("IP {address} is in use\nHandle ID: h1\n");
    ensure!(output.status.success() && said.starts_with(&who), "{said}");
    tool.says(
        &["ipam", "check"],
        "Checking IPAM for inconsistencies...\n\nCheck complete; found 0 problems.\n",
    )?;
    tool.says(
        &["ipam", "configure", "--strictaffinity=true"],
        "Successfully set StrictAffinity to: true\n",
    )?;
    let settings = tool.run(&["ipam", "show", "--show-configuration"])?;
    ensure!(text(&settings.stdout).contains("| StrictAffinity "), "{}", text(&settings.stdout));
    let released = format!("Successfully released IP address {address}\n");
    tool.says(&["ipam", "release", "--ip", &address], &released)?;
    tool.refuses(
        &["ipam", "release", "--ip", &address],
        &format!("IP address {address} is not assigned"),
    )?;
    tool.refuses(&["ipam", "configure"], "Invalid option: 'calicoctl ipam configure'")?;
    tool.refuses(&["ipam", "release", "--from-report=/nowhere"], "cannot read /nowhere: ")
}

/// What the documentation has of each kind is applied, shown as YAML, and is what it was.
fn round_trip(tool: &Tool<'_>) -> Result<()> {
    let margay = tool.margay;
    let folder = margay.host().dir().join("examples");
    examples::into(&folder)?;
    // This one only nodes write, and these the tool does not know.
    for kind in ["clusterinformation", "livemigration", "endpointslice"] {
        margay.text(&["apply", "-f", utf8(&folder.join(format!("{kind}.yaml")))?])?;
        fs::remove_file(folder.join(format!("{kind}.yaml")))?;
    }
    let output = tool.run(&["apply", "-f", utf8(&folder)?])?;
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{out}{error}");
    ensure!(out.starts_with("Successfully applied "), "{out}");
    let mut count = 0;
    for (_, file) in examples::all()? {
        for mut wanted in resources(&fs::read(&file)?)? {
            let kind = wanted.kind();
            wanted.apply_defaults();
            let space = wanted.metadata().namespace.clone().unwrap_or_else(|| "default".into());
            let in_space: &[&str] =
                if kind.scope() == Scope::Namespaced { &["-n", &space] } else { &[] };
            let name = wanted.name().to_owned();
            let get = [&["get", kind.name(), &name, "-o", "yaml"], in_space].concat();
            let shown = margay.text(&get)?;
            let found = resources(shown.as_bytes())?;
            let [found] = found.as_slice() else { anyhow::bail!("{name}: {shown}") };
            // What the datastore adds, and nothing else.
            let mut found = found.clone();
            ensure!(found.metadata().uid.is_some() && found.metadata().resource_version.is_some());
            let stored = found.metadata_mut();
            stored.resource_version = None;
            stored.uid = None;
            stored.creation_timestamp = None;
            let given = wanted.metadata_mut();
            given.creation_timestamp = None;
            given.uid = None;
            given.resource_version = None;
            given.namespace = (kind.scope() == Scope::Namespaced).then_some(space.clone());
            ensure!(found == wanted, "{kind} {name}:\n{shown}");
            // Written back, nothing changes.
            let back = margay.host().dir().join("back.yaml");
            fs::write(&back, &shown)?;
            let again = margay.json(&["replace", "-f", utf8(&back)?])?;
            ensure!(again[0]["outcome"] == "unchanged", "{kind} {name}: {again}");
            count += 1;
        }
    }
    ensure!(count >= 24, "{count} examples");
    Ok(())
}

/// The tools that look at the host.
fn host_tools(tool: &Tool<'_>) -> Result<()> {
    let output = tool.run(&["node", "checksystem"])?;
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    ensure!(said.starts_with("Checking kernel version...\n\t\t"), "{said}");
    ensure!(said.contains("\nChecking kernel modules...\n"), "{said}");
    // What this host has is not ours to say, but the verdict is.
    if said.contains("\tFAIL\n") {
        ensure!(
            output.status.code() == Some(1) && error.contains("System doesn't meet"),
            "{error}"
        );
    } else {
        ensure!(said.ends_with("System meets minimum system requirements to run Calico!\n"));
        ensure!(output.status.success() && error.is_empty(), "{error}");
    }
    let dir = tool.margay.host().dir();
    let config = dir.join("kernel-config");
    fs::write(&config, "CONFIG_NF_TABLES=y\n")?;
    let output = tool.run(&["node", "checksystem", "-f", utf8(&config)?])?;
    let said = text(&output.stdout);
    ensure!(output.status.code() == Some(1) && said.contains("veth"), "{said}");
    tool.refuses(&["node", "checksystem", "-f", "/nowhere"], "cannot read /nowhere")?;

    let logs = dir.join("logs");
    fs::create_dir_all(&logs)?;
    fs::write(logs.join("bird.log"), "all is well here\n")?;
    let output = tool.run(&["node", "diags", &format!("--log-dir={}", utf8(&logs)?)])?;
    let said = text(&output.stdout);
    ensure!(output.status.success(), "{said}{}", text(&output.stderr));
    ensure!(said.starts_with("Collecting diagnostics\nUsing temp dir: "), "{said}");
    let saved = said.lines().find_map(|line| line.strip_prefix("Diags saved to "));
    let archive = Path::new(saved.context("a file")?);
    let listed = tool.margay.host().run("tar", &["-tzf", utf8(archive)?])?;
    let all = tool.margay.host().run("tar", &["-xzOf", utf8(archive)?])?;
    fs::remove_dir_all(archive.parent().context("a folder of its own")?)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    ensure!(name.starts_with("diags-") && name.ends_with(".tar.gz"), "{name}");
    for file in ["diagnostics/status.json", "diagnostics/ippools.yaml", "diagnostics/logs/bird.log"]
    {
        ensure!(listed.lines().any(|line| line == file), "no {file}: {listed}");
    }
    // Under its other name the program has answered for itself.
    ensure!(all.contains("all is well here") && all.contains("\"router_id\""), "{all}");
    Ok(())
}

#[test]
fn an_operator_works_as_ever_with_the_embedded_datastore() -> Result<()> {
    if !have_root("an_operator_works_as_ever_with_the_embedded_datastore") {
        return Ok(());
    }
    let mut lab = Lab::new("calicoctl")?;
    let host = lab.host("node")?;
    let mut margay = Margay::new(&host, EMBEDDED);
    let result = (|| {
        margay.start()?;
        let tool = Tool::new(&margay, None)?;
        flows(&tool)?;
        addresses(&tool)?;
        host_tools(&tool)?;
        margay.text(&["delete", "ipamconfig", "default", "--skip-not-exists"])?;
        round_trip(&tool)?;
        let output = Tool::new(&margay, Some("etcdv3"))?.run(&["get", "nodes"])?;
        let said = text(&output.stdout);
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(said.starts_with("Failed to create Calico API client: the environment"), "{said}");
        Ok(())
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn an_operator_works_as_ever_with_etcd() -> Result<()> {
    if !have_root("an_operator_works_as_ever_with_etcd") {
        return Ok(());
    }
    let mut lab = Lab::new("calicoetcd")?;
    let cluster = Cluster::start(&mut lab)?;
    let host = cluster.client().clone();
    let config = cluster.config();
    let mut margay = Margay::new(&host, &config);
    margay.set_node_keys("register = false\n");
    let result = (|| {
        margay.start()?;
        until("etcd answers", SOON, || {
            Ok(margay.json(&["status"])?["datastore"]["connected"] == true)
        })?;
        let tool = Tool::new(&margay, Some("etcdv3"))?;
        flows(&tool)?;
        round_trip(&tool)
    })();
    lab.told(result, || vec![margay.log()])
}
