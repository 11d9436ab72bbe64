//! FRR: bgpd over its own zebra, asked through `vtysh`.

use std::{
    fmt::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Peer, ready, sorted, write};
use crate::{
    Daemon,
    bgp::{Announcement, Communities, Family, Implementation, Received, Speaker},
    lab::Host,
};

const USER: &str = "frr";

/// FRR on one host.
pub struct Frr {
    host: Host,
    speaker: Speaker,
    extra: String,
    daemons: Vec<Daemon>,
}

impl Frr {
    /// A driver, nothing started yet.
    pub fn new(host: &Host, speaker: Speaker) -> Self {
        Self { host: host.clone(), speaker, extra: String::new(), daemons: Vec::new() }
    }

    /// Adds lines to the end of bgpd's configuration, after its `router bgp` block.
    pub fn with(mut self, extra: &str) -> Self {
        self.extra += extra;
        self
    }

    /// Asks `vtysh` and returns what it printed.
    ///
    /// # Errors
    /// When FRR does not answer or does not know the command.
    pub fn ask(&self, commands: &[&str]) -> Result<String> {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(self.host.dir());
        for line in commands {
            command.args(["-c", line]);
        }
        let output =
            command.stdin(Stdio::null()).output().context("running vtysh (package frr)")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let refused = ["% Unknown command", "% Command incomplete", "failed to connect"];
        if !output.status.success() || refused.iter().any(|words| text.contains(words)) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("vtysh {}: {text}{said}", commands.join("; "));
        }
        Ok(text)
    }

    /// Asks `vtysh` a `show … json` and parses the answer.
    ///
    /// # Errors
    /// When FRR does not answer with JSON.
    pub fn show(&self, command: &str) -> Result<Value> {
        let text = self.ask(&[command])?;
        // vtysh may complain about its own configuration file before the answer.
        let at = text.find('{').with_context(|| format!("vtysh {command}: {text}"))?;
        serde_json::from_str(&text[at..]).with_context(|| format!("vtysh {command}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    /// With its suppression of duplicates FRR would answer ROUTE-REFRESH with nothing.
    fn configuration(&self) -> String {
        let s = &self.speaker;
        let mut text = format!(
            "frr defaults traditional\nhostname lab\nlog file {}\nrouter bgp {}\n \
             bgp router-id {}\n bgp cluster-id {}\n no bgp ebgp-requires-policy\n \
             no bgp network import-check\n no bgp default ipv4-unicast\n \
             no bgp suppress-duplicates\n",
            self.file("bgpd.log").display(),
            s.asn,
            s.router_id,
            s.router_id
        );
        for n in &s.neighbors {
            let a = &n.address;
            let _ = writeln!(text, " neighbor {a} remote-as {}", n.asn);
            let _ = writeln!(text, " neighbor {a} update-source {}", n.local_address);
            let keepalive = (n.hold_time / 3).max(1);
            let _ = writeln!(text, " neighbor {a} timers {keepalive} {}", n.hold_time);
            let _ = writeln!(text, " neighbor {a} timers connect 1");
            let _ = writeln!(text, " neighbor {a} advertisement-interval 0");
            if n.passive {
                let _ = writeln!(text, " neighbor {a} passive");
            }
            if let Some(password) = &n.password {
                let _ = writeln!(text, " neighbor {a} password {password}");
            }
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            let _ = writeln!(text, " address-family {} unicast", family.short());
            for route in s.announcements.iter().filter(|a| a.family() == family) {
                let map = map_name(&route.prefix);
                let _ = writeln!(text, "  network {} route-map {map}", route.prefix);
            }
            for n in s.neighbors.iter().filter(|n| n.family() == family) {
                let _ = writeln!(text, "  neighbor {} activate", n.address);
                if n.reflector_client {
                    let _ = writeln!(text, "  neighbor {} route-reflector-client", n.address);
                }
            }
            text += " exit-address-family\n";
        }
        text += "exit\n";
        for route in &s.announcements {
            text += &route_map(route).join("\n");
            text += "\n";
        }
        text + &self.extra
    }

    fn spawn(&self, program: &str, extra: &[&str]) -> Result<Daemon> {
        let mut command = Command::new(format!("/usr/lib/frr/{program}"));
        command.arg("-f").arg(self.file(&format!("{program}.conf")));
        command.arg("-i").arg(self.file(&format!("{program}.pid")));
        command.arg("-z").arg(self.file("zserv.api"));
        command.arg("--vty_socket").arg(self.host.dir());
        command.args(["-P", "0", "-u", USER, "-g", USER]).args(extra);
        Daemon::spawn(&self.host, &mut command, &self.file(&format!("{program}.out")))
    }

    fn in_family(&self, prefix: &str, line: &str) -> Result<()> {
        let family = format!("address-family {} unicast", Family::of(prefix).short());
        let router = format!("router bgp {}", self.speaker.asn);
        self.ask(&["configure terminal", &router, &family, line]).map(drop)
    }
}

impl Peer for Frr {
    fn implementation(&self) -> Implementation {
        Implementation::Frr
    }

    fn start(&mut self) -> Result<()> {
        self.daemons.clear();
        for stale in ["zserv.api", "bgpd.pid", "zebra.pid", "bgpd.vty", "zebra.vty"] {
            // Left by a killed run, or never there.
            let _ = std::fs::remove_file(self.file(stale));
        }
        write(&self.file("bgpd.conf"), &self.configuration())?;
        let zebra = format!("hostname lab\nlog file {}\n", self.file("zebra.log").display());
        write(&self.file("zebra.conf"), &zebra)?;
        // Both give up root, and still want to make sockets, logs and pid files here.
        let owner = Command::new("chown")
            .arg("-R")
            .arg(format!("{USER}:{USER}"))
            .arg(self.host.dir())
            .status()
            .context("running chown")?;
        if !owner.success() {
            bail!("chown to {USER}: {owner} (is package frr installed?)");
        }
        let mut zebra = [self.spawn("zebra", &["-s", "8000000"])?];
        let socket = self.file("zserv.api");
        ready("zebra listens", &mut zebra, || {
            std::fs::metadata(&socket).context("no zserv.api yet").map(drop)
        })?;
        let mut daemons = vec![self.spawn("bgpd", &[])?];
        daemons.extend(zebra);
        ready("FRR answers", &mut daemons, || self.show("show bgp summary json").map(drop))?;
        self.daemons = daemons;
        Ok(())
    }

    fn daemons(&mut self) -> &mut Vec<Daemon> {
        &mut self.daemons
    }

    fn established(&mut self, address: &str) -> Result<bool> {
        let answer = self.show(&format!("show bgp neighbors {address} json"))?;
        Ok(answer[address]["bgpState"] == "Established")
    }

    fn received(&mut self, address: &str) -> Result<Vec<Received>> {
        let family = Family::of(address).short();
        let table =
            self.show(&format!("show bgp {family} unicast neighbors {address} routes json"))?;
        let mut routes = Vec::new();
        for prefix in table["routes"].as_object().into_iter().flat_map(|routes| routes.keys()) {
            let detail = self.show(&format!("show bgp {family} unicast {prefix} json"))?;
            let paths = detail["paths"].as_array().cloned().unwrap_or_default();
            let ours = paths.iter().find(|path| path["peer"]["peerId"] == address);
            routes.extend(ours.map(|path| parse_path(prefix, path)));
        }
        Ok(sorted(routes))
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.speaker.announce(announcement);
        let map = route_map(announcement);
        let mut lines = vec!["configure terminal"];
        lines.extend(map.iter().map(String::as_str));
        self.ask(&lines)?;
        let prefix = &announcement.prefix;
        self.in_family(prefix, &format!("network {prefix} route-map {}", map_name(prefix)))
    }

    fn withdraw(&mut self, prefix: &str) -> Result<()> {
        self.speaker.withdraw(prefix);
        self.in_family(prefix, &format!("no network {prefix} route-map {}", map_name(prefix)))
    }

    fn refresh(&mut self, address: &str) -> Result<()> {
        let family = Family::of(address).short();
        // Routes are not kept inbound, so this asks the neighbour.
        self.ask(&[&format!("clear bgp {family} unicast {address} in")]).map(drop)
    }

    fn log(&mut self) -> String {
        let log = std::fs::read_to_string(self.file("bgpd.log")).unwrap_or_default();
        crate::process::tail(&log, 30)
    }
}

/// Sets the communities of an originated route.
fn route_map(route: &Announcement) -> Vec<String> {
    let join = |texts: &mut dyn Iterator<Item = &String>| -> String {
        texts.map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let c = &route.communities;
    let mut lines = vec![format!("route-map {} permit 10", map_name(&route.prefix))];
    if !c.standard.is_empty() {
        lines.push(format!(" set community {}", join(&mut c.standard.iter())));
    }
    if !c.large.is_empty() {
        lines.push(format!(" set large-community {}", join(&mut c.large.iter())));
    }
    for (kind, word) in [("rt:", "rt"), ("ro:", "soo")] {
        let values = c.extended.iter().filter_map(|text| text.strip_prefix(kind));
        let values: Vec<&str> = values.collect();
        if !values.is_empty() {
            lines.push(format!(" set extcommunity {word} {}", values.join(" ")));
        }
    }
    lines.push("exit".to_owned());
    lines
}

fn map_name(prefix: &str) -> String {
    let name: String = prefix.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("m{name}")
}

fn parse_path(prefix: &str, path: &Value) -> Received {
    let words = |text: &Value| -> Vec<String> {
        let text = text.as_str().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let extended = words(&path["extendedCommunity"]["string"]);
    Received {
        prefix: prefix.to_owned(),
        next_hop: path["nexthops"][0]["ip"].as_str().map(str::to_owned),
        as_path: words(&path["aspath"]["string"]).iter().filter_map(|a| a.parse().ok()).collect(),
        communities: Communities {
            standard: words(&path["community"]["string"]).into_iter().collect(),
            large: words(&path["largeCommunity"]["string"]).into_iter().collect(),
            extended: extended
                .into_iter()
                .map(|text| text.to_lowercase().replace("soo:", "ro:"))
                .collect(),
        },
        originator_id: path["originatorId"].as_str().map(str::to_owned),
        cluster_list: path["clusterList"]["list"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect(),
    }
}
