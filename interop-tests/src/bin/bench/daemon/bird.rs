//! BIRD 2.

use std::{fmt::Write as _, process::Command};

use anyhow::Result;
use testkit::Host;

use super::{DUT, DUT_AS, RELOADED, Role, Running, Setup, TAG, write};

pub fn start(host: &Host, setup: &Setup) -> Result<Running> {
    let config = write(host, "bird.conf", &text(setup, false))?;
    let control = host.dir().join("bird.ctl");
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(&config).arg("-s").arg(&control);
    let mut running = Running::one(host, &mut command)?;
    if setup.reload {
        let next = write(host, "next.conf", &text(setup, true))?;
        let (control, next) = (control.display(), next.display());
        running.reload = Some(format!("birdc -s {control} 'configure \"{next}\"'"));
    }
    Ok(running)
}

fn text(setup: &Setup, reloaded: bool) -> String {
    let mut text = format!("router id {DUT};\nprotocol device {{ }}\n");
    if setup.fib {
        text += "protocol kernel { ipv4 { import none; export all; }; }\n";
    }
    for class in setup.classes() {
        let tag = TAG + class - 1;
        let _ = writeln!(
            text,
            "filter class{class} {{ if ({DUT_AS},{tag}) ~ bgp_community then reject; \
             bgp_community.add(({DUT_AS},{class})); accept; }}"
        );
    }
    if setup.reload {
        let add = format!("bgp_community.add(({DUT_AS},{RELOADED}));");
        let _ =
            writeln!(text, "filter reloaded {{ {} accept; }}", if reloaded { &add } else { "" });
    }
    let family = if setup.v6 { "ipv6" } else { "ipv4" };
    for (i, n) in setup.neighbors.iter().enumerate() {
        let (role, export) = match n.role {
            Role::Plain if setup.reload => ("", "filter reloaded".to_owned()),
            Role::Plain => ("", "all".to_owned()),
            Role::ReflectorClient => ("rr client; ", "all".to_owned()),
            Role::ServerClient(class) => ("rs client; ", format!("filter class{class}")),
            Role::Keeper => ("", "none".to_owned()),
        };
        let _ = writeln!(
            text,
            "protocol bgp p{i} {{ local {DUT} as {DUT_AS}; neighbor {} as {}; direct; passive; \
             {role}{family} {{ import all; export {export}; }}; }}",
            n.address, n.asn
        );
    }
    text
}
