//! OpenBGPD's portable edition, asked through `bgpctl`.

use std::{fmt::Write, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Peer, ready, sorted, write};
use crate::{
    Daemon,
    bgp::{Announcement, Communities, Family, Implementation, Received, Speaker},
    lab::{Host, succeeded},
};

/// Where its unprivileged children are locked up. The folder only exists while the packaged
/// service runs, so each daemon gets a /run of its own.
const JAIL: &str = "/run/openbgpd";

/// An OpenBGPD on one host.
pub struct OpenBgpd {
    host: Host,
    speaker: Speaker,
    daemons: Vec<Daemon>,
}

impl OpenBgpd {
    /// A driver, nothing started yet.
    pub fn new(host: &Host, speaker: Speaker) -> Self {
        Self { host: host.clone(), speaker, daemons: Vec::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.file("bgpd.sock");
        let output = Command::new("bgpctl")
            .args(["-s", &socket.to_string_lossy()])
            .args(arguments)
            .output()
            .context("running bgpctl (package openbgpd)")?;
        succeeded(&format!("bgpctl {}", arguments.join(" ")), &output)
    }

    fn ask_json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["-j"];
        all.extend(arguments);
        let text = self.ask(&all)?;
        serde_json::from_str(&text).with_context(|| format!("bgpctl {}", arguments.join(" ")))
    }

    fn configuration(&self) -> String {
        let s = &self.speaker;
        let mut text = format!(
            "AS {}\nrouter-id {}\nsocket \"{}\"\nfib-update no\nholdtime min 3\n\
             connect-retry 2\n",
            s.asn,
            s.router_id,
            self.file("bgpd.sock").display()
        );
        let mut listen: Vec<&str> = s.neighbors.iter().map(|n| n.local_address.as_str()).collect();
        listen.dedup();
        for address in listen {
            let _ = writeln!(text, "listen on {address}");
        }
        for route in &s.announcements {
            let _ = write!(text, "network {} set {{ localpref 100", route.prefix);
            for community in &route.communities.standard {
                let _ = write!(text, " community {community}");
            }
            for community in &route.communities.large {
                let _ = write!(text, " large-community {community}");
            }
            for community in &route.communities.extended {
                let (kind, value) = community.split_once(':').unwrap_or_default();
                let kind = if kind == "ro" { "soo" } else { kind };
                let _ = write!(text, " ext-community {kind} {value}");
            }
            text += " }\n";
        }
        for n in &s.neighbors {
            let family = match n.family() {
                Family::Ipv4 => "IPv4 unicast",
                Family::Ipv6 => "IPv6 unicast",
            };
            let _ = writeln!(
                text,
                "neighbor {} {{\n remote-as {}\n local-address {}\n holdtime {}\n announce {family}",
                n.address, n.asn, n.local_address, n.hold_time
            );
            if n.passive {
                text += " passive\n";
            }
            if n.reflector_client {
                text += " route-reflector\n";
            }
            if let Some(password) = &n.password {
                let _ = writeln!(text, " tcp md5sig password {password}");
            }
            text += "}\n";
        }
        // Without rules everything is denied; an eBGP neighbour's ext-communities may pass too.
        text + "allow quick from any\nallow quick to any\n"
    }

    fn reload(&self) -> Result<()> {
        self.write_configuration()?;
        self.ask(&["reload"]).map(drop)
    }

    fn write_configuration(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file("bgpd.conf");
        write(&path, &self.configuration())?;
        // It refuses a file that others may read, for the passwords in it.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(())
    }
}

impl Peer for OpenBgpd {
    fn implementation(&self) -> Implementation {
        Implementation::OpenBgpd
    }

    fn start(&mut self) -> Result<()> {
        self.daemons.clear();
        self.write_configuration()?;
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p {JAIL} && exec bgpd -d -v -f {}",
            self.file("bgpd.conf").display()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]);
        write(&self.file("bgpd.out"), "")?;
        let daemon = Daemon::spawn(&self.host, &mut command, &self.file("bgpd.out"))?;
        let mut daemons = vec![daemon];
        let out = self.file("bgpd.out");
        ready("OpenBGPD answers", &mut daemons, || {
            self.ask(&["show", "summary"])?;
            // Until its filters are loaded it denies what comes, and may not look at it again.
            let log = std::fs::read_to_string(&out)?;
            if !log.contains("RDE soft reconfiguration done") {
                bail!("{log}");
            }
            // What it announces itself may come later still, and then nobody is told of it.
            let rib = self.ask_json(&["show", "rib"])?;
            let rib: Vec<&Value> = rib["rib"].as_array().into_iter().flatten().collect();
            let missing = self.speaker.announcements.iter().find(|own| {
                rib.iter().all(|path| path["prefix"] != own.prefix || path["valid"] == false)
            });
            match missing {
                None => Ok(()),
                Some(own) => bail!("{} is not in its table yet: {log}", own.prefix),
            }
        })?;
        self.daemons = daemons;
        Ok(())
    }

    fn daemons(&mut self) -> &mut Vec<Daemon> {
        &mut self.daemons
    }

    fn established(&mut self, address: &str) -> Result<bool> {
        let answer = self.ask_json(&["show", "neighbor", address])?;
        Ok(answer["neighbors"][0]["state"] == "Established")
    }

    fn received(&mut self, address: &str) -> Result<Vec<Received>> {
        let answer = self.ask_json(&["show", "rib", "neighbor", address, "detail"])?;
        let rib = answer["rib"].as_array().cloned().unwrap_or_default();
        Ok(sorted(rib.iter().map(parse_path).collect()))
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.speaker.announce(announcement);
        self.reload()
    }

    fn withdraw(&mut self, prefix: &str) -> Result<()> {
        self.speaker.withdraw(prefix);
        self.reload()
    }

    fn refresh(&mut self, address: &str) -> Result<()> {
        self.ask(&["neighbor", address, "refresh"]).map(drop)
    }
}

fn parse_path(path: &Value) -> Received {
    let list = |name: &str| -> Vec<String> {
        match &path[name] {
            Value::Array(items) => {
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    // What has no key of its own stands in a list of attributes.
    let others = path["attributes"].as_array();
    let other = |name: &str| others.into_iter().flatten().find_map(|a| a.get(name));
    let extended = list("extended_communities").into_iter();
    Received {
        prefix: path["prefix"].as_str().unwrap_or_default().to_owned(),
        next_hop: path["exit_nexthop"].as_str().map(str::to_owned),
        as_path: list("aspath").iter().filter_map(|asn| asn.parse().ok()).collect(),
        communities: Communities {
            standard: list("communities").into_iter().collect(),
            large: list("large_communities").into_iter().collect(),
            extended: extended
                .map(|text| text.to_lowercase().replace("soo", "ro").replace(' ', ":"))
                .collect(),
        },
        originator_id: other("originator").and_then(|id| id.as_str().map(str::to_owned)),
        cluster_list: other("cluster_list")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect(),
    }
}
