use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use super::{assert_fails, fake::Daemon, fake::margay, fake::scratch};

/// A host: its plugins and configurations.
struct Host(PathBuf);

impl Host {
    fn new() -> Self {
        let path = scratch("host");
        fs::create_dir_all(&path).expect("a folder can be made");
        fs::write(path.join("plugin"), "the plugin").expect("a file can be written");
        Self(path)
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.0.join("opt/bin").join(name)
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.0.join("etc/net.d").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn run(&self, socket: &Path, command: &str, more: &[&str]) -> Output {
        let mut margay = margay();
        margay.env("MARGAY_SOCKET", socket).args(["node", command, "--bin-dir"]);
        margay.args([&self.text("opt/bin"), "--conf-dir", &self.text("etc/net.d")]);
        margay.args(more).output().expect("margay runs")
    }

    fn install(&self, socket: &Path, more: &[&str]) -> Output {
        let plugin = self.text("plugin");
        self.run(socket, "install-cni", &[&["--plugin", &plugin, "--wait", "0"], more].concat())
    }

    fn uninstall(&self, socket: &Path) -> Output {
        self.run(socket, "uninstall-cni", &[])
    }

    /// Every name in the two folders.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["opt/bin", "etc/net.d"] {
            let Ok(entries) = fs::read_dir(self.0.join(folder)) else { continue };
            for entry in entries {
                let name = entry.expect("an entry").file_name();
                names.push(name.into_string().expect("UTF-8"));
            }
        }
        names.sort();
        names
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

const ALL: [&str; 4] = ["10-margay.conflist", "margay", "margay-cni", "margay-ipam"];

#[test]
fn what_is_installed_is_whole_and_goes_again() {
    let (daemon, host) = (Daemon::start(), Host::new());
    let text = said(&host.install(daemon.socket(), &[]));
    assert_eq!(text.lines().filter(|line| line.starts_with("installed ")).count(), 4, "{text}");
    assert_eq!(host.names(), ALL);
    assert_eq!(fs::read_to_string(host.bin("margay")).expect("it leads there"), "the plugin");
    let mode = fs::metadata(host.bin("margay-ipam")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let list = fs::read_to_string(host.conf("10-margay.conflist")).expect("there");
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list["plugins"][0]["socket"], json!(daemon.socket()));
    // Once more: nothing is touched.
    let text = said(&host.install(daemon.socket(), &[]));
    assert_eq!(text.lines().filter(|line| line.starts_with("unchanged ")).count(), 4, "{text}");
    // A newer one takes its place.
    fs::write(host.0.join("plugin"), "a newer plugin").expect("written");
    let text = said(&host.install(daemon.socket(), &["--mtu", "1400"]));
    assert_eq!(text.lines().filter(|line| line.starts_with("installed ")).count(), 2, "{text}");
    assert_eq!(fs::read_to_string(host.bin("margay")).expect("it leads there"), "a newer plugin");
    let text = said(&host.uninstall(Path::new("/nowhere")));
    assert_eq!(text.lines().filter(|line| line.starts_with("removed ")).count(), 4, "{text}");
    assert_eq!(host.names(), Vec::<String>::new());
    assert_eq!(said(&host.uninstall(Path::new("/nowhere"))), "nothing is installed\n");
}

#[test]
fn without_a_daemon_that_can_serve_pods_there_is_no_configuration() {
    let host = Host::new();
    let output = host.install(Path::new("/nowhere/bgpd.sock"), &[]);
    assert_fails(&output, 1, &["its configuration is not: margay-bgpd is not running"]);
    assert_eq!(host.names(), ["margay", "margay-cni", "margay-ipam"]);
    let daemon = Daemon::start();
    let output = host.install(daemon.socket(), &["--network", "full"]);
    assert_fails(&output, 1, &["no address is left", "help: add a pool"]);
    assert!(!host.conf("10-margay.conflist").exists());
}

#[test]
fn the_names_of_calico_are_taken_when_asked_for() {
    let (daemon, host) = (Daemon::start(), Host::new());
    said(&host.install(daemon.socket(), &["--as-calico"]));
    assert_eq!(fs::read_to_string(host.bin("calico-ipam")).expect("it leads there"), "the plugin");
    said(&host.uninstall(daemon.socket()));
    assert_eq!(host.names(), Vec::<String>::new());
}

#[test]
fn what_others_installed_stays() {
    let (daemon, host) = (Daemon::start(), Host::new());
    said(&host.install(daemon.socket(), &[]));
    for path in [host.bin("calico"), host.bin("bridge"), host.conf("20-bridge.conflist")] {
        fs::write(path, "{}").expect("written");
    }
    symlink("elsewhere", host.bin("calico-ipam")).expect("linked");
    fs::remove_file(host.bin("margay-ipam")).expect("removed");
    fs::write(host.bin("margay-ipam"), "a copy").expect("written");
    fs::write(host.conf("10-margay.conflist"), r#"{"type": "bridge"}"#).expect("written");
    let text = said(&host.uninstall(daemon.socket()));
    assert_eq!(text.lines().filter(|line| line.starts_with("left ")).count(), 2, "{text}");
    let left = [
        "10-margay.conflist",
        "20-bridge.conflist",
        "bridge",
        "calico",
        "calico-ipam",
        "margay-ipam",
    ];
    assert_eq!(host.names(), left);
}

#[test]
fn a_configuration_that_hides_ours_is_named() {
    let (daemon, host) = (Daemon::start(), Host::new());
    fs::create_dir_all(host.conf("")).expect("made");
    for name in ["05-other.conf", "99-later.conflist", "00-notes.txt"] {
        fs::write(host.conf(name), "{}").expect("written");
    }
    let text = said(&host.install(daemon.socket(), &[]));
    assert!(text.contains("05-other.conf first"), "{text}");
    assert!(!text.contains("99-later") && !text.contains("00-notes"), "{text}");
}

#[test]
fn a_configuration_of_ones_own_is_taken_if_it_names_us() {
    let (daemon, host) = (Daemon::start(), Host::new());
    let file = host.text("mine");
    let mine = r#"{"name": "mine", "cniVersion": "0.3.1", "plugins": [{"type": "calico"}]}"#;
    fs::write(&file, mine).expect("written");
    let mine_and = ["--conflist", &file, "--conf-name", "10-calico.conflist"];
    said(&host.install(daemon.socket(), &mine_and));
    assert_eq!(fs::read_to_string(host.conf("10-calico.conflist")).expect("there"), mine);
    for text in [r#"{"plugins": [{"type": "bridge"}]}"#, "nonsense"] {
        fs::write(&file, text).expect("written");
        let output = host.install(daemon.socket(), &["--conflist", &file]);
        assert_fails(&output, 2, &["no list of CNI plugins with one of type margay or calico"]);
    }
}

#[test]
fn the_plugin_does_not_take_the_place_of_this_program() {
    let (daemon, host) = (Daemon::start(), Host::new());
    let me = Path::new(env!("CARGO_BIN_EXE_margay"));
    let mut margay = margay();
    margay.env("MARGAY_SOCKET", daemon.socket()).args(["node", "install-cni", "--plugin"]);
    margay.arg(host.text("plugin")).arg("--bin-dir").arg(me.parent().expect("a folder"));
    margay.args(["--conf-dir", &host.text("etc/net.d")]);
    assert_fails(&margay.output().expect("runs"), 2, &["is where this program is"]);
    assert_eq!(host.names(), Vec::<String>::new());
}

#[test]
fn a_plugin_that_is_not_there_is_asked_for() {
    let (daemon, host) = (Daemon::start(), Host::new());
    let output = host.install(daemon.socket(), &["--plugin", "/nowhere/margay-cni"]);
    // Given twice: the program takes neither.
    assert_fails(&output, 2, &["--plugin"]);
    fs::remove_file(host.0.join("plugin")).expect("removed");
    let output = host.install(daemon.socket(), &[]);
    assert_fails(&output, 1, &["cannot read", "no such file"]);
    assert_eq!(host.names(), Vec::<String>::new());
}
