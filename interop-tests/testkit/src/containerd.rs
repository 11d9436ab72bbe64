//! A real container runtime: containerd with folders of its own, our plugin in them, and an image that
//! needs no network.
//!
//! Whatever it starts is named by its own state folder, so that [`clear`] can end what is left of it:
//! a container outlives its runtime, and would outlive a test that failed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{Daemon, Margay, lab::succeeded, margay::bin, sys, wait::until};

/// The image that every pod can be made of: busybox.
pub const IMAGE: &str = "docker.io/margay/pod:1";
/// Its folder below that of its host.
const FOLDER: &str = "containerd";
/// Where the runtime keeps containers, below its folder.
const BUNDLES: &str = "state/io.containerd.runtime.v2.task/k8s.io";
const CGROUPS: &str = "/sys/fs/cgroup";
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the kernel has to do away with who was killed.
const END: Duration = Duration::from_secs(5);

/// A containerd whose pods are attached by `margay-cni`. Dropping it ends what it started.
#[derive(Debug)]
pub struct Containerd {
    dir: PathBuf,
    daemon: Daemon,
}

impl Containerd {
    /// Starts it on the host of `margay`; pods get an address of each family.
    ///
    /// # Errors
    /// When the program or one it needs is missing, or does not come up.
    pub fn start(margay: &Margay) -> Result<Self> {
        let host = margay.host();
        let dir = host.dir().join(FOLDER);
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
            "spool_dir": host.dir().join("state/cni-spool"),
            "ipam": ipam,
        });
        let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]});
        fs::write(configs.join("10-margay.conflist"), format!("{list:#}\n"))?;
        let file = dir.join("config.toml");
        fs::write(&file, configuration(&dir))?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(&file);
        let daemon = Daemon::spawn(host, &mut command, &dir.join("log"))
            .context("containerd (package containerd)")?;
        let mut containerd = Self { dir, daemon };
        let image = image(&containerd.dir)?;
        until("containerd takes an image", PATIENCE, || {
            containerd.daemon.check_running()?;
            let mut import = Command::new("ctr");
            import.arg("-a").arg(containerd.socket()).args(["-n", "k8s.io", "images", "import"]);
            succeeded("ctr images import", &import.arg(&image).output()?).map(|_| true)
        })?;
        Ok(containerd)
    }

    /// Where its clients, a kubelet for one, reach it.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("c.sock")
    }

    /// The control group that its clients have to give their pods, so that it goes with them.
    pub fn cgroup(&self) -> String {
        cgroup(&self.dir)
    }

    /// The configuration of the network that it reads.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn conflist(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("net.d/10-margay.conflist"))?)
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        crate::process::tail(&self.daemon.log(), 40)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Dead before its containers: it would see them end and begin to clear up itself.
        let _ = self.daemon.kill();
        clear(&self.dir);
    }
}

/// Ends what a runtime that is dead has left, and takes its mounts and namespaces away. `dir` is the
/// folder of one host of a lab, or of the runtime itself. Tells of nothing: what is not there any
/// more is well.
pub(crate) fn clear(dir: &Path) {
    let dir = if dir.ends_with(FOLDER) { dir.to_owned() } else { dir.join(FOLDER) };
    if !dir.is_dir() {
        return;
    }
    let ours = dir.display().to_string();
    for (pid, line) in processes() {
        if line.contains("containerd-shim") && line.contains(&ours) {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
    }
    for bundle in fs::read_dir(dir.join(BUNDLES)).into_iter().flatten().flatten() {
        end(&bundle.path());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below = format!("{ours}/");
    // The last mounted first.
    for point in points.filter(|point| point.starts_with(&below)).collect::<Vec<_>>().iter().rev() {
        let _ = Command::new("umount").args(["-l", point]).output();
    }
    let group = cgroup(&dir);
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    for hierarchy in hierarchies.map(|entry| entry.path()).chain([CGROUPS.into()]) {
        let group = hierarchy.join(&group);
        // Who was killed is in it until the kernel has done away with it.
        let _ = until("an empty control group", END, || Ok(remove_groups(&group)));
    }
}

/// Whether a control group is gone, with those in it.
fn remove_groups(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// By the folder of the lab and the host, of which the runtime's is one.
fn cgroup(dir: &Path) -> String {
    let names = dir.iter().rev().skip(1).take(2).map(|name| name.to_string_lossy());
    let names: Vec<_> = names.collect();
    format!("mgy-{}", names.join("-"))
}

/// Ends one container and takes away what was its own.
fn end(bundle: &Path) {
    let Some(id) = bundle.file_name().and_then(|name| name.to_str()) else { return };
    let pid = fs::read_to_string(bundle.join("init.pid")).unwrap_or_default();
    if let Ok(pid) = pid.trim().parse::<u32>() {
        // The number may be somebody else's by now.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if groups.contains(id) {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
    }
    let socket = fs::read_to_string(bundle.join("address")).unwrap_or_default();
    if let Some(socket) = socket.trim().strip_prefix("unix://") {
        let _ = fs::remove_file(socket);
    }
    // What the runtime remembers of calls of plugins.
    let cache = Path::new("/var/lib/cni/results");
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().contains(id) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn processes() -> impl Iterator<Item = (u32, String)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).into_owned()))
    })
}

fn configuration(dir: &Path) -> String {
    let at = dir.display();
    // Without CAP_SYS_RESOURCE a container's oom score cannot be lowered. A pod has its namespace
    // before anything else: only what is mounted below our folder is found by `clear` even then.
    format!(
        "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
         [grpc]\naddress = \"{at}/c.sock\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{at}/opt\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"{IMAGE}\"\nrestrict_oom_score_adj = true\n\
         netns_mounts_under_state_dir = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
         bin_dir = \"{at}/bin\"\nconf_dir = \"{at}/net.d\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n"
    )
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
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    succeeded(&name, &output)
}
