//! OpenBGPD's portable edition.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::Result;
use testkit::Host;

use super::{DUT, DUT_AS, Neighbor, RELOADED, Role, Running, Setup, TAG, write};

/// Where its unprivileged children are locked up. The folder only exists while the packaged
/// service runs, so each daemon gets a /run of its own.
const JAIL: &str = "/run/openbgpd";

pub fn start(host: &Host, setup: &Setup) -> Result<Running> {
    let config = write(host, "bgpd.conf", &text(host.dir(), setup, false))?;
    // It refuses a file that others may read, for the passwords in it.
    let private = || fs::Permissions::from_mode(0o600);
    fs::set_permissions(&config, private())?;
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p {JAIL} && exec bgpd -d -f {}",
        config.display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]);
    let mut running = Running::one(host, &mut command)?;
    if setup.reload {
        let next = write(host, "next.conf", &text(host.dir(), setup, true))?;
        fs::set_permissions(&next, private())?;
        running.reload = Some(format!(
            "cp {} {} && bgpctl -s {}/bgpd.sock reload",
            next.display(),
            config.display(),
            host.dir().display()
        ));
    }
    Ok(running)
}

fn text(dir: &Path, setup: &Setup, reloaded: bool) -> String {
    let mut text = format!(
        "AS {DUT_AS}\nrouter-id {DUT}\nlisten on {DUT}\nsocket \"{}/bgpd.sock\"\nfib-update no\n\
         holdtime min 3\n",
        dir.display()
    );
    if !setup.classes().is_empty() {
        text += "transparent-as yes\n";
    }
    let family = if setup.v6 { "IPv6" } else { "IPv4" };
    for n in setup.neighbors.iter().filter(|n| !matches!(n.role, Role::ServerClient(_))) {
        neighbor(&mut text, n, family);
    }
    text += "allow from any\nallow to any\n";
    // A rule for each group of clients, not for each client.
    for class in setup.classes() {
        let tag = TAG + class - 1;
        let _ = writeln!(text, "group \"class{class}\" {{");
        for n in setup.neighbors.iter().filter(|n| n.role == Role::ServerClient(class)) {
            neighbor(&mut text, n, family);
        }
        let _ = write!(
            text,
            "}}\ndeny to group class{class} community {DUT_AS}:{tag}\n\
             match to group class{class} set community {DUT_AS}:{class}\n"
        );
    }
    if reloaded {
        let _ = writeln!(text, "match to any set community {DUT_AS}:{RELOADED}");
    }
    text
}

fn neighbor(text: &mut String, n: &Neighbor, family: &str) {
    let _ = write!(
        text,
        "neighbor {} {{\n remote-as {}\n local-address {DUT}\n passive\n announce {family} unicast\n",
        n.address, n.asn
    );
    text.push_str(match n.role {
        Role::Plain => "",
        Role::ReflectorClient => " route-reflector\n",
        Role::ServerClient(_) => " set nexthop no-modify\n",
        Role::Keeper => " export none\n",
    });
    text.push_str("}\n");
}
