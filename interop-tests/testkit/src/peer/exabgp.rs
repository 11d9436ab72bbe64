//! ExaBGP: speaks what it is told and reports what it hears; it keeps no RIB. Its process API
//! is a shell script here: commands come from a FIFO, events go to a file.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, io::Write as _, path::PathBuf, process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Peer, ready, sorted, write};
use crate::{
    Daemon,
    bgp::{Announcement, Communities, Family, Implementation, Received, Speaker},
    lab::Host,
};

/// An ExaBGP on one host.
pub struct ExaBgp {
    host: Host,
    speaker: Speaker,
    daemons: Vec<Daemon>,
}

impl ExaBgp {
    /// A driver, nothing started yet.
    pub fn new(host: &Host, speaker: Speaker) -> Self {
        Self { host: host.clone(), speaker, daemons: Vec::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    fn configuration(&self) -> String {
        let s = &self.speaker;
        let mut text = format!(
            "process api {{\n run /bin/sh {};\n encoder json;\n}}\n",
            self.file("api.sh").display()
        );
        for n in &s.neighbors {
            let _ = writeln!(
                text,
                "neighbor {} {{\n router-id {};\n local-address {};\n local-as {};\n peer-as {};\n \
                 hold-time {};",
                n.address, s.router_id, n.local_address, s.asn, n.asn, n.hold_time
            );
            if n.passive {
                text += " passive true;\n listen 179;\n";
            }
            if let Some(password) = &n.password {
                let _ = writeln!(text, " md5-password \"{password}\";");
            }
            let family = n.family();
            let _ = writeln!(
                text,
                " capability {{ asn4 enable; route-refresh enable; }}\n \
                 family {{ {} unicast; }}\n \
                 api {{ processes [ api ]; neighbor-changes; receive {{ parsed; update; }} }}\n \
                 static {{",
                family.short()
            );
            for route in s.announcements.iter().filter(|a| a.family() == family) {
                let _ = writeln!(text, "  route {};", words(route));
            }
            text += " }\n}\n";
        }
        text
    }

    fn tell(&self, command: &str) -> Result<()> {
        let fifo = self.file("commands");
        let mut file = fs::File::options()
            .write(true)
            .open(&fifo)
            .with_context(|| format!("opening {}", fifo.display()))?;
        writeln!(file, "{command}").context("telling ExaBGP")
    }

    /// What it reported since its last start, oldest first.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.file("events")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Peer for ExaBgp {
    fn implementation(&self) -> Implementation {
        Implementation::ExaBgp
    }

    fn start(&mut self) -> Result<()> {
        self.daemons.clear();
        write(&self.file("exabgp.conf"), &self.configuration())?;
        let (events, commands) = (self.file("events"), self.file("commands"));
        write(&events, "")?;
        // The FIFO is held open for reading and writing, so no writer's close ends it.
        let script = format!(
            "cat >>'{}' &\nexec 3<>'{}'\nexec cat <&3\n",
            events.display(),
            commands.display()
        );
        // A background job of a script has no standard input of its own: hand it over by number.
        let script = script.replace("cat >>", "exec 4<&0\ncat <&4 >>");
        write(&self.file("api.sh"), &script)?;
        if !commands.exists() {
            let made = Command::new("mkfifo").arg(&commands).status().context("running mkfifo")?;
            if !made.success() {
                bail!("mkfifo {}: {made}", commands.display());
            }
        }
        let mut command = Command::new("exabgp");
        command.arg(self.file("exabgp.conf"));
        command
            .env("exabgp.daemon.user", "root")
            .env("exabgp.daemon.daemonize", "false")
            .env("exabgp.daemon.drop", "false")
            .env("exabgp.api.ack", "false")
            .env("exabgp.api.cli", "false")
            .env("exabgp.log.level", "INFO")
            .env("exabgp.log.destination", "stdout")
            .env("exabgp.tcp.delay", "0")
            .env("exabgp.tcp.once", "false");
        let listening: Vec<&str> = self
            .speaker
            .neighbors
            .iter()
            .filter(|n| n.passive)
            .map(|n| n.local_address.as_str())
            .collect();
        if !listening.is_empty() {
            command.env("exabgp.tcp.bind", listening.join(" ")).env("exabgp.tcp.port", "179");
        }
        let daemon = Daemon::spawn(&self.host, &mut command, &self.file("exabgp.out"))?;
        let mut daemons = vec![daemon];
        let out = self.file("exabgp.out");
        ready("ExaBGP loads its configuration", &mut daemons, || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            if text.contains("loaded new configuration") { Ok(()) } else { bail!("{text}") }
        })?;
        self.daemons = daemons;
        Ok(())
    }

    fn daemons(&mut self) -> &mut Vec<Daemon> {
        &mut self.daemons
    }

    fn established(&mut self, address: &str) -> Result<bool> {
        let mut up = false;
        for event in self.events() {
            let neighbor = &event["neighbor"];
            if event["type"] == "state" && neighbor["address"]["peer"] == address {
                up = neighbor["state"] == "up";
            }
        }
        Ok(up)
    }

    fn received(&mut self, address: &str) -> Result<Vec<Received>> {
        let family = format!("{} unicast", Family::of(address).short());
        let mut routes = BTreeMap::new();
        for event in self.events() {
            let neighbor = &event["neighbor"];
            if neighbor["address"]["peer"] != address {
                continue;
            }
            if event["type"] == "state" && neighbor["state"] != "up" {
                routes.clear();
            }
            let update = &neighbor["message"]["update"];
            for gone in update["withdraw"][&family].as_array().into_iter().flatten() {
                if let Some(prefix) = gone["nlri"].as_str() {
                    routes.remove(prefix);
                }
            }
            for (next_hop, list) in update["announce"][&family].as_object().into_iter().flatten() {
                // A link-local next hop stands beside the global one, as if it were a route more.
                if next_hop.starts_with("fe80::") {
                    continue;
                }
                for route in list.as_array().into_iter().flatten() {
                    let prefix = route["nlri"].as_str().unwrap_or_default();
                    let parsed = parse(prefix, next_hop, &update["attribute"]);
                    routes.insert(prefix.to_owned(), parsed);
                }
            }
        }
        Ok(sorted(routes.into_values().collect()))
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.speaker.announce(announcement);
        self.tell(&format!("announce route {}", words(announcement)))
    }

    fn withdraw(&mut self, prefix: &str) -> Result<()> {
        self.speaker.withdraw(prefix);
        self.tell(&format!("withdraw route {prefix} next-hop self"))
    }

    fn refresh(&mut self, address: &str) -> Result<()> {
        self.tell(&format!(
            "neighbor {address} announce route-refresh {} unicast",
            Family::of(address).short()
        ))
    }
}

/// A route in the words of its configuration and commands.
fn words(route: &Announcement) -> String {
    let join = |texts: &std::collections::BTreeSet<String>| -> String {
        texts.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let c = &route.communities;
    let mut text = format!("{} next-hop self", route.prefix);
    if !c.standard.is_empty() {
        let _ = write!(text, " community [ {} ]", join(&c.standard));
    }
    if !c.large.is_empty() {
        let _ = write!(text, " large-community [ {} ]", join(&c.large));
    }
    if !c.extended.is_empty() {
        let list = join(&c.extended).replace("rt:", "target:").replace("ro:", "origin:");
        let _ = write!(text, " extended-community [ {list} ]");
    }
    text
}

/// `ro:65002:0.0.0.9` -> `ro:65002:9`: it shows some local numbers as if they were addresses.
fn local_number(text: &str) -> String {
    let parsed = text.rsplit_once(':').and_then(|(head, tail)| {
        let address: std::net::Ipv4Addr = tail.parse().ok()?;
        Some(format!("{head}:{}", u32::from(address)))
    });
    parsed.unwrap_or_else(|| text.to_owned())
}

fn parse(prefix: &str, next_hop: &str, attribute: &Value) -> Received {
    let numbers = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(ToString::to_string).collect()
    };
    let joined = |name: &str| -> std::collections::BTreeSet<String> {
        attribute[name]
            .as_array()
            .into_iter()
            .flatten()
            .map(|community| numbers(community).join(":"))
            .collect()
    };
    let extended = attribute["extended-community"].as_array().into_iter().flatten();
    Received {
        prefix: prefix.to_owned(),
        next_hop: Some(next_hop.to_owned()),
        as_path: numbers(&attribute["as-path"]).iter().filter_map(|n| n.parse().ok()).collect(),
        communities: Communities {
            standard: joined("community"),
            large: joined("large-community"),
            extended: extended
                .filter_map(|c| c["string"].as_str())
                .map(|text| text.replace("target:", "rt:").replace("origin:", "ro:"))
                .map(|text| local_number(&text))
                .collect(),
        },
        originator_id: attribute["originator-id"].as_str().map(str::to_owned),
        cluster_list: attribute["cluster-list"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect(),
    }
}
