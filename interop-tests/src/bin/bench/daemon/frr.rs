//! FRR: bgpd with its zebra, which gets the routes only when the kernel shall have them.

use std::{fmt::Write as _, fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use testkit::{Daemon, Host, until};

use super::{DUT, DUT_AS, RELOADED, Role, Running, Setup, TAG, write};

const USER: &str = "frr";

pub fn start(host: &Host, setup: &Setup) -> Result<Running> {
    write(host, "zebra.conf", "frr defaults traditional\nhostname lab\n")?;
    write(host, "bgpd.conf", &text(setup))?;
    let chown =
        Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(host.dir()).status();
    if !chown.context("running chown")?.success() {
        bail!("chown to {USER} failed");
    }
    let zebra = spawn(host, "zebra", &["-s", "90000000"])?;
    let socket = host.dir().join("zserv.api");
    until("zebra listens", Duration::from_secs(20), || Ok(fs::metadata(&socket).is_ok()))?;
    let address = DUT.to_string();
    let mut options = vec!["-l", &address];
    if !setup.fib {
        options.push("-n");
    }
    let bgpd = spawn(host, "bgpd", &options)?;
    let reload = setup.reload.then(|| {
        format!(
            "vtysh --vty_socket {} -c 'configure terminal' -c 'route-map reloaded permit 10' \
             -c 'set community {DUT_AS}:{RELOADED} additive' -c end -c 'clear bgp * soft out'",
            host.dir().display()
        )
    });
    Ok(Running { daemons: vec![bgpd, zebra], reload })
}

fn spawn(host: &Host, program: &str, extra: &[&str]) -> Result<Daemon> {
    let file = |name: String| host.dir().join(name);
    let mut command = Command::new(format!("/usr/lib/frr/{program}"));
    command.arg("-f").arg(file(format!("{program}.conf")));
    command.arg("-i").arg(file(format!("{program}.pid")));
    command.arg("-z").arg(file("zserv.api".to_owned()));
    command.arg("--vty_socket").arg(host.dir());
    command.args(["-P", "0", "-u", USER, "-g", USER]).args(extra);
    Daemon::spawn(host, &mut command, &file(format!("{program}.out")))
}

fn text(setup: &Setup) -> String {
    let mut text = format!(
        "frr defaults traditional\nhostname lab\nrouter bgp {DUT_AS}\n bgp router-id {DUT}\n \
         no bgp ebgp-requires-policy\n no bgp network import-check\n \
         no bgp default ipv4-unicast\n"
    );
    if setup.reload {
        // It would wait for five seconds before it looks at a changed route map; with no timer it
        // looks when it is told to.
        text = format!("bgp route-map delay-timer 0\n{text}");
    }
    for n in &setup.neighbors {
        let _ = writeln!(text, " neighbor {} remote-as {}", n.address, n.asn);
        let _ = writeln!(text, " neighbor {} passive", n.address);
    }
    let family = if setup.v6 { "ipv6" } else { "ipv4" };
    let _ = writeln!(text, " address-family {family} unicast");
    for n in &setup.neighbors {
        let a = n.address;
        let _ = writeln!(text, "  neighbor {a} activate");
        match n.role {
            Role::Plain if setup.reload => {
                let _ = writeln!(text, "  neighbor {a} route-map reloaded out");
            }
            Role::Plain => {}
            Role::ReflectorClient => {
                let _ = writeln!(text, "  neighbor {a} route-reflector-client");
            }
            Role::ServerClient(class) => {
                let _ = writeln!(text, "  neighbor {a} route-server-client");
                let _ = writeln!(text, "  neighbor {a} route-map class{class} out");
            }
            Role::Keeper => {
                let _ = writeln!(text, "  neighbor {a} route-map nothing out");
            }
        }
    }
    text += " exit-address-family\nexit\nroute-map nothing deny 10\nexit\n";
    for class in setup.classes() {
        let tag = TAG + class - 1;
        let _ = write!(
            text,
            "bgp community-list standard tag{class} permit {DUT_AS}:{tag}\n\
             route-map class{class} deny 10\n match community tag{class}\nexit\n\
             route-map class{class} permit 20\n set community {DUT_AS}:{class} additive\nexit\n"
        );
    }
    if setup.reload {
        text += "route-map reloaded permit 10\nexit\n";
    }
    text
}
