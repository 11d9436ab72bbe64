//! A real container runtime: containerd starts and stops pods through the CNI plugin, as a kubelet
//! would have it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{Host, Lab, Margay, have_root, margay::bin, process::Daemon, until};

use crate::cri::{Client, Pod};

mod cri;

const POOLS: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: four
spec:
  cidr: 10.10.0.0/16
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: six
spec:
  cidr: fd10::/48
";
const IMAGE: &str = "docker.io/margay/pod:1";
const PATIENCE: Duration = Duration::from_secs(20);

/// A containerd with its own folders, and our plugin in them. Dropping it ends what it started.
struct Containerd {
    socket: PathBuf,
    _daemon: Daemon,
}

impl Containerd {
    fn start(host: &Host, margay: &Margay) -> Result<Self> {
        let dir = host.dir().join("containerd");
        let (bins, configs) = (dir.join("bin"), dir.join("net.d"));
        for folder in [&bins, &configs] {
            fs::create_dir_all(folder)?;
        }
        for name in ["margay", "margay-ipam"] {
            std::os::unix::fs::symlink(bin("margay-cni")?, bins.join(name))?;
        }
        // The runtime calls it for every pod, whatever the configuration says.
        std::os::unix::fs::symlink("/usr/lib/cni/loopback", bins.join("loopback"))?;
        let ipam = json!({"type": "margay-ipam", "assign_ipv4": "true", "assign_ipv6": "true"});
        let plugin = json!({
            "type": "margay",
            "socket": margay.socket(),
            "spool_dir": dir.join("spool"),
            "ipam": ipam,
        });
        let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]});
        fs::write(configs.join("10-margay.conflist"), list.to_string())?;
        let socket = dir.join("c.sock");
        let file = dir.join("config.toml");
        let at = dir.display();
        // Without CAP_SYS_RESOURCE a container's oom score cannot be lowered.
        let config = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
             [grpc]\naddress = \"{at}/c.sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{at}/opt\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             sandbox_image = \"{IMAGE}\"\nrestrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
             bin_dir = \"{at}/bin\"\nconf_dir = \"{at}/net.d\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n"
        );
        fs::write(&file, config)?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(&file);
        let mut daemon = Daemon::spawn(host, &mut command, &dir.join("log"))
            .context("containerd (package containerd)")?;
        let image = image(&dir)?;
        until("containerd takes an image", PATIENCE, || {
            daemon.check_running()?;
            let mut import = Command::new("ctr");
            import.arg("-a").arg(&socket).args(["-n", "k8s.io", "images", "import"]).arg(&image);
            Ok(import.output()?.status.success())
        })?;
        Ok(Self { socket, _daemon: daemon })
    }
}

impl Drop for Containerd {
    /// Pods outlive the runtime; those of a test that failed must not.
    fn drop(&mut self) {
        let ours = self.socket.display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.contains("containerd-shim") && line.contains(&ours) {
                let pid = entry.file_name();
                Command::new("kill").arg("-9").arg(pid).status().ok();
            }
        }
    }
}

/// An image of one program, as `docker save` would write it.
fn image(dir: &Path) -> Result<PathBuf> {
    let root = dir.join("image/root/bin");
    fs::create_dir_all(&root)?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|b| Path::new(b).exists());
    fs::copy(busybox.context("busybox (package busybox-static)")?, root.join("busybox"))?;
    for name in ["sleep", "ping", "ip"] {
        std::os::unix::fs::symlink("busybox", root.join(name))?;
    }
    let folder = dir.join("image");
    let layer = folder.join("layer.tar");
    run(Command::new("tar").args(["-cf", "layer.tar", "-C", "root", "bin"]).current_dir(&folder))?;
    let sum = run(Command::new("sha256sum").arg(&layer))?;
    let sum = sum.split_whitespace().next().context("a sum")?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "3600"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    fs::write(folder.join("config.json"), config.to_string())?;
    fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let parts = ["manifest.json", "config.json", "layer.tar"];
    run(Command::new("tar").args(["-cf", "../pod.tar"]).args(parts).current_dir(&folder))?;
    Ok(dir.join("pod.tar"))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the node has of pods: links, routes, addresses taken.
fn left(margay: &Margay) -> Result<(usize, usize, u64)> {
    let lines = |text: String| text.lines().filter(|line| line.contains("cali")).count();
    let links = lines(margay.host().ip(&["-o", "link", "show"])?);
    let ours = |family| margay.host().ip(&[family, "route", "show", "proto", "186"]);
    let routes = lines(ours("-4")?) + lines(ours("-6")?);
    let held = margay.json(&["ipam", "show"])?;
    let held = held.as_array().into_iter().flatten().filter_map(|row| row["in_use"].as_u64()).sum();
    Ok((links, routes, held))
}

#[test]
fn containerd_starts_and_stops_pods_through_the_plugin() -> Result<()> {
    if !have_root("containerd_starts_and_stops_pods_through_the_plugin") {
        return Ok(());
    }
    let mut lab = Lab::new("cri")?;
    let node = lab.host("n")?;
    let outside = lab.host("outside")?;
    lab.link(
        (&node, "eth0", &["10.99.0.1/24", "fd99::1/64"]),
        (&outside, "eth0", &["10.99.0.2/24", "fd99::2/64"]),
    )?;
    outside.ip(&["route", "add", "10.10.0.0/16", "via", "10.99.0.1"])?;
    outside.ip(&["-6", "route", "add", "fd10::/48", "via", "fd99::1"])?;
    let mut margay = Margay::new(&node, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    let file = node.dir().join("pools.yaml");
    fs::write(&file, POOLS)?;
    margay.text(&["apply", "-f", file.to_str().context("UTF-8")?])?;
    let containerd = Containerd::start(&node, &margay)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&containerd.socket).await?;
        let played = play(&client, &mut margay, &node, &outside).await;
        // Pods outlive the runtime, and so would those of a failed test.
        let removed = client.remove_all().await;
        played.and(removed)
    })
}

/// Pods come and go, and so does the daemon.
async fn play(client: &Client, margay: &mut Margay, node: &Host, outside: &Host) -> Result<()> {
    let first = client.run("web", IMAGE).await?;
    let second = client.run("db", IMAGE).await?;
    reach(client, node, &first, &second).await?;
    // The daemon's death disturbs no pod, and the runtime goes on when it is back.
    margay.kill()?;
    client.exec(&first, &["/bin/ping", "-c", "1", "-W", "5", &second.addresses[0]]).await?;
    margay.start()?;
    client.remove(&second).await?;
    let third = client.run("db", IMAGE).await?;
    reach(client, node, &first, &third).await?;
    for address in &third.addresses {
        ensure!(outside.pings(address), "{address} from outside the node");
    }
    client.remove(&first).await?;
    client.remove(&third).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let start = Instant::now();
    for n in 0..10 {
        let client = client.clone();
        tasks.spawn(async move { client.run(&format!("many{n}"), IMAGE).await });
    }
    let mut pods = Vec::new();
    while let Some(pod) = tasks.join_next().await {
        pods.push(pod??);
    }
    println!("ten pods at once: {} ms", start.elapsed().as_millis());
    ensure!(left(margay)? == (10, 20, 20), "{:?}", left(margay)?);
    for pod in &pods {
        ensure!(node.pings(&pod.addresses[0]), "{:?} from the node", pod.addresses);
    }
    for pod in &pods {
        client.remove(pod).await?;
    }
    until("nothing is left of the pods", PATIENCE, || Ok(left(margay)? == (0, 0, 0)))
}

/// Both families, from the node to both pods and between them.
async fn reach(client: &Client, node: &Host, from: &Pod, to: &Pod) -> Result<()> {
    ensure!(to.addresses.len() == 2 && from.addresses.len() == 2, "{from:?} {to:?}");
    for address in &to.addresses {
        ensure!(node.pings(address), "{address} from the node");
        client.exec(from, &["/bin/ping", "-c", "1", "-W", "5", address]).await?;
    }
    for address in ["10.99.0.1", "fd99::2"] {
        client.exec(from, &["/bin/ping", "-c", "1", "-W", "5", address]).await?;
    }
    Ok(())
}
