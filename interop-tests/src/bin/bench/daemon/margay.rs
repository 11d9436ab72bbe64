//! Margay.

use std::{fmt::Write as _, path::Path, process::Command};

use anyhow::Result;
use testkit::Host;

use super::{DUT, DUT_AS, RELOADED, Role, Running, Setup, TAG, write};

pub fn start(host: &Host, binaries: &Path, setup: &Setup, compat_off: bool) -> Result<Running> {
    let config = write(host, "margay.toml", &text(host.dir(), setup, compat_off, false))?;
    let mut command = Command::new(binaries.join("margay-bgpd"));
    command.arg("--config").arg(&config).args(["--log-level", "warn"]);
    let mut running = Running::one(host, &mut command)?;
    if setup.reload {
        let next = write(host, "next.toml", &text(host.dir(), setup, compat_off, true))?;
        running.reload = Some(format!(
            "cp {} {} && kill -HUP {}",
            next.display(),
            config.display(),
            running.pids()
        ));
    }
    Ok(running)
}

fn text(dir: &Path, setup: &Setup, compat_off: bool, reloaded: bool) -> String {
    let dir = dir.display();
    let fib = if setup.fib {
        let compat = if compat_off { "off" } else { "keep" };
        format!("enabled = true\nnexthop-compat = \"{compat}\"")
    } else {
        "enabled = false".to_owned()
    };
    let mut text = format!(
        "[node]\nname = \"dut\"\nstate-dir = \"{dir}/state\"\n\n[api]\nsocket = \"{dir}/bgpd.sock\"\n\n\
         [http]\nlisten = \"\"\n\n[datastore]\ntype = \"none\"\n\n[bgp]\nasn = {DUT_AS}\n\
         router-id = \"{DUT}\"\nlisten = [\"{DUT}:179\"]\n\n[fib]\n{fib}\n"
    );
    let family = if setup.v6 { "ipv6-unicast" } else { "ipv4-unicast" };
    for n in &setup.neighbors {
        let (export, more) = match n.role {
            Role::Plain if setup.reload => ("reloaded".to_owned(), ""),
            Role::Plain => ("accept".to_owned(), ""),
            Role::ReflectorClient => ("accept".to_owned(), "route-reflector-client = true\n"),
            Role::ServerClient(class) => (format!("class{class}"), "route-server-client = true\n"),
            Role::Keeper => ("reject".to_owned(), ""),
        };
        let _ = write!(
            text,
            "\n[[bgp.peer]]\naddress = \"{}\"\nasn = {}\npassive = true\nfamilies = [\"{family}\"]\n\
             import = \"accept\"\nexport = \"{export}\"\n{more}",
            n.address, n.asn
        );
    }
    for class in setup.classes() {
        let tag = TAG + class - 1;
        let _ = write!(
            text,
            "\n[policy.community-set.tag{class}]\ncommunities = [\"{DUT_AS}:{tag}\"]\n\
             [policy.route.class{class}]\ndefault = \"accept\"\nrules = [\n  \
             {{ match = {{ community-set = \"tag{class}\" }}, then = {{ action = \"reject\" }} }},\n  \
             {{ match = {{ any = true }}, then = {{ set = {{ add-communities = \
             [\"{DUT_AS}:{class}\"] }}, action = \"accept\" }} }},\n]\n"
        );
    }
    if setup.reload {
        text += "\n[policy.route.reloaded]\ndefault = \"accept\"\n";
        if reloaded {
            let _ = writeln!(
                text,
                "rules = [{{ match = {{ any = true }}, then = {{ set = {{ add-communities = \
                 [\"{DUT_AS}:{RELOADED}\"] }}, action = \"accept\" }} }}]"
            );
        }
    }
    text
}
