//! BIRD 2, asked through `birdc`.

use std::{fmt::Write, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::{Peer, ready, sorted, write};
use crate::{
    Daemon,
    bgp::{Announcement, Communities, Family, Implementation, Received, Speaker},
    lab::Host,
};

/// A BIRD 2 on one host.
pub struct Bird {
    host: Host,
    speaker: Speaker,
    extra: String,
    recovers: bool,
    waits: bool,
    daemons: Vec<Daemon>,
}

impl Bird {
    /// A driver, nothing started yet.
    pub fn new(host: &Host, speaker: Speaker) -> Self {
        Self {
            host: host.clone(),
            speaker,
            extra: String::new(),
            recovers: false,
            waits: false,
            daemons: Vec::new(),
        }
    }

    /// Adds text to the end of the configuration.
    pub fn with(mut self, extra: &str) -> Self {
        self.extra += extra;
        self
    }

    /// From its next start on it takes itself for one that has restarted (`-R`).
    pub fn recovering(mut self) -> Self {
        self.recovers = true;
        self
    }

    /// Takes part in graceful restart as it does unasked: it waits for a peer that was killed and
    /// asked for that, and it sends End-of-RIB.
    pub fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Asks `birdc` and returns what it printed.
    ///
    /// # Errors
    /// When BIRD does not answer or reports an error.
    pub fn ask(&self, command: &str) -> Result<String> {
        let socket = self.file("bird.ctl");
        let output = Command::new("birdc")
            .args(["-s", &socket.to_string_lossy(), command])
            .output()
            .context("running birdc (package bird2)")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let refused = ["syntax error", "Unable to connect", "CF_SYM"];
        if !output.status.success() || refused.iter().any(|words| text.contains(words)) {
            bail!("birdc {command}: {text}");
        }
        Ok(text)
    }

    /// Every path in BIRD's tables, parsed from `show route all`.
    ///
    /// # Errors
    /// When BIRD does not answer.
    pub fn routes(&self, selection: &str) -> Result<Vec<BirdRoute>> {
        Ok(parse_routes(&self.ask(&format!("show route {selection} all"))?))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    fn protocol(&self, address: &str) -> Result<String> {
        let at = self.speaker.neighbors.iter().position(|n| n.address == address);
        Ok(format!("n{}", at.with_context(|| format!("BIRD has no neighbour {address}"))?))
    }

    fn configuration(&self) -> String {
        let mut text = format!(
            "log \"{}\" all;\nrouter id {};\nprotocol device {{ }}\n",
            self.file("bird.log").display(),
            self.speaker.router_id
        );
        for family in [Family::Ipv4, Family::Ipv6] {
            text += &self.origins(family);
        }
        for (number, n) in self.speaker.neighbors.iter().enumerate() {
            // Without refresh of routes every configure would bounce nothing but the filter. A daemon
            // that is killed shall show at once: whoever wants BIRD to wait for it says so.
            let _ = writeln!(
                text,
                "protocol bgp n{number} {{\n local {} as {};\n neighbor {} as {};\n direct;\n \
                 hold time {};\n connect delay time 1;\n connect retry time 2;\n \
                 error wait time 1, 2;\n graceful restart {};\n deterministic med;\n \
                 {} {{ import all; export all; }};",
                n.local_address,
                self.speaker.asn,
                n.address,
                n.asn,
                n.hold_time,
                if self.waits { "aware" } else { "off" },
                n.family().short(),
            );
            if n.passive {
                text += " passive;\n";
            }
            if n.reflector_client {
                text += " rr client;\n";
            }
            if let Some(password) = &n.password {
                let _ = writeln!(text, " password \"{password}\";");
            }
            text += "}\n";
        }
        text + &self.extra
    }

    fn origins(&self, family: Family) -> String {
        let mut text = format!("protocol static {{\n {};\n", family.short());
        for route in self.speaker.announcements.iter().filter(|a| a.family() == family) {
            let _ = write!(text, " route {} blackhole {{ ", route.prefix);
            for community in &route.communities.standard {
                let _ = write!(text, "bgp_community.add(({})); ", community.replace(':', ","));
            }
            for community in &route.communities.large {
                let _ =
                    write!(text, "bgp_large_community.add(({})); ", community.replace(':', ","));
            }
            for community in &route.communities.extended {
                let _ = write!(text, "bgp_ext_community.add(({})); ", community.replace(':', ","));
            }
            text += "};\n";
        }
        text + "}\n"
    }

    fn reconfigure(&self) -> Result<()> {
        write(&self.file("bird.conf"), &self.configuration())?;
        let answer = self.ask("configure")?;
        if !answer.contains("econfigur") {
            bail!("birdc configure: {answer}");
        }
        Ok(())
    }
}

impl Peer for Bird {
    fn implementation(&self) -> Implementation {
        Implementation::Bird
    }

    fn start(&mut self) -> Result<()> {
        self.daemons.clear();
        write(&self.file("bird.conf"), &self.configuration())?;
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(self.file("bird.conf"));
        command.arg("-s").arg(self.file("bird.ctl")).arg("-P").arg(self.file("bird.pid"));
        command.args(self.recovers.then_some("-R"));
        let daemon = Daemon::spawn(&self.host, &mut command, &self.file("bird.out"))?;
        let mut daemons = vec![daemon];
        ready("BIRD answers", &mut daemons, || self.ask("show status").map(drop))?;
        self.daemons = daemons;
        Ok(())
    }

    fn daemons(&mut self) -> &mut Vec<Daemon> {
        &mut self.daemons
    }

    fn established(&mut self, address: &str) -> Result<bool> {
        Ok(self
            .ask(&format!("show protocols {}", self.protocol(address)?))?
            .contains("Established"))
    }

    fn received(&mut self, address: &str) -> Result<Vec<Received>> {
        let routes = self.routes(&format!("protocol {}", self.protocol(address)?))?;
        Ok(sorted(routes.into_iter().map(Received::from).collect()))
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.speaker.announce(announcement);
        self.reconfigure()
    }

    fn withdraw(&mut self, prefix: &str) -> Result<()> {
        self.speaker.withdraw(prefix);
        self.reconfigure()
    }

    fn refresh(&mut self, address: &str) -> Result<()> {
        self.ask(&format!("reload in {}", self.protocol(address)?)).map(drop)
    }

    fn log(&mut self) -> String {
        let log = std::fs::read_to_string(self.file("bird.log")).unwrap_or_default();
        crate::process::tail(&log, 30)
    }
}

/// One path of `show route all`, with its attributes as BIRD names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BirdRoute {
    /// Masked prefix.
    pub prefix: String,
    /// The protocol it came from.
    pub protocol: String,
    /// BIRD's choice among the paths of the prefix.
    pub best: bool,
    /// Attribute name (`BGP.as_path`) and its text, in order.
    pub attributes: Vec<(String, String)>,
}

impl BirdRoute {
    /// The text of an attribute, by its name without `BGP.`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let (_, text) =
            self.attributes.iter().find(|(known, _)| known.strip_prefix("BGP.") == Some(name))?;
        Some(text)
    }

    /// A community attribute as a list: `(65001,1) (65001,2)` -> `65001:1`, `65001:2`.
    pub fn communities(&self, name: &str) -> Vec<String> {
        let text = self.attribute(name).unwrap_or_default();
        let groups = text.split(')').filter_map(|part| part.split_once('('));
        groups
            .map(|(_, inside)| inside.split(',').map(str::trim).collect::<Vec<_>>().join(":"))
            .collect()
    }
}

impl From<BirdRoute> for Received {
    fn from(route: BirdRoute) -> Self {
        let words = |name: &str| -> Vec<String> {
            let text = route.attribute(name).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        };
        Self {
            prefix: route.prefix.clone(),
            next_hop: words("next_hop").into_iter().next(),
            as_path: words("as_path").iter().filter_map(|asn| asn.parse().ok()).collect(),
            communities: Communities {
                standard: route.communities("community").into_iter().collect(),
                large: route.communities("large_community").into_iter().collect(),
                extended: route.communities("ext_community").into_iter().collect(),
            },
            originator_id: words("originator_id").into_iter().next(),
            cluster_list: words("cluster_list"),
        }
    }
}

fn parse_routes(text: &str) -> Vec<BirdRoute> {
    let mut routes: Vec<BirdRoute> = Vec::new();
    let mut prefix = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix('\t') {
            if let (Some(route), Some((name, text))) = (routes.last_mut(), rest.split_once(": ")) {
                route.attributes.push((name.to_owned(), text.trim().to_owned()));
            }
            continue;
        }
        // `10.0.0.0/8  unicast [n0 12:00:00.000] * (100) [AS65001i]`; further paths of the same
        // prefix start with blanks instead.
        let Some((head, rest)) = line.split_once('[') else { continue };
        let mut words = head.split_whitespace();
        if !line.starts_with(' ') {
            words.next().unwrap_or_default().clone_into(&mut prefix);
        }
        let protocol = rest.split_whitespace().next().unwrap_or_default();
        routes.push(BirdRoute {
            prefix: prefix.clone(),
            protocol: protocol.trim_end_matches(']').to_owned(),
            best: rest.contains("] * ("),
            attributes: Vec::new(),
        });
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::{Received, parse_routes};

    const SHOWN: &str = "\
BIRD 2.0.12 ready.
Table master4:
10.1.0.0/24          unicast [n0 01:00:00.000] * (100) [AS65001i]
\tvia 10.0.0.1 on eth0
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 65001 4200000001
\tBGP.next_hop: 10.0.0.1
\tBGP.community: (65001,1) (65001,2)
\tBGP.large_community: (65001, 1, 2)
\tBGP.ext_community: (rt, 65001, 3)
                     unicast [n1 01:00:00.000] (100) [AS65001i]
\tBGP.as_path: 65002
";

    #[test]
    fn show_route_all_is_read_path_by_path() {
        let routes = parse_routes(SHOWN);
        assert_eq!(routes.len(), 2);
        assert!(routes[0].best && !routes[1].best);
        assert_eq!(routes[1].prefix, "10.1.0.0/24");
        assert_eq!(routes[1].protocol, "n1");
        let first = Received::from(routes[0].clone());
        assert_eq!(first.as_path, [65001, 4_200_000_001]);
        assert!(first.communities.standard.contains("65001:2"));
        assert!(first.communities.large.contains("65001:1:2"));
        assert!(first.communities.extended.contains("rt:65001:3"));
    }
}
