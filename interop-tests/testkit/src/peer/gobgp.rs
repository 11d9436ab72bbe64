//! GoBGP, asked through its `gobgp` tool.

use std::{fmt::Write, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Peer, afi, ready, sorted, write};
use crate::{
    Daemon,
    bgp::{Announcement, Communities, Implementation, Received, Speaker},
    lab::{Host, succeeded},
};

/// A GoBGP on one host.
pub struct GoBgp {
    host: Host,
    speaker: Speaker,
    daemons: Vec<Daemon>,
}

impl GoBgp {
    /// A driver, nothing started yet.
    pub fn new(host: &Host, speaker: Speaker) -> Self {
        Self { host: host.clone(), speaker, daemons: Vec::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("gobgp");
        command.args(arguments);
        let output = self.host.output(&mut command)?;
        succeeded(&format!("gobgp {}", arguments.join(" ")), &output)
    }

    fn ask_json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["-j"];
        all.extend(arguments);
        let text = self.ask(&all)?;
        // An empty table is answered in words.
        if !text.trim_start().starts_with(['{', '[']) {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("gobgp {}", arguments.join(" ")))
    }

    fn configuration(&self) -> String {
        let s = &self.speaker;
        let mut addresses: Vec<String> =
            s.neighbors.iter().map(|n| format!("\"{}\"", n.local_address)).collect();
        addresses.dedup();
        let mut text = format!(
            "[global.config]\nas = {}\nrouter-id = \"{}\"\nlocal-address-list = [{}]\n",
            s.asn,
            s.router_id,
            addresses.join(", ")
        );
        for n in &s.neighbors {
            let _ = write!(
                text,
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n",
                n.address, n.asn
            );
            if let Some(password) = &n.password {
                let _ = writeln!(text, "auth-password = \"{password}\"");
            }
            let _ = write!(
                text,
                "[neighbors.transport.config]\npassive-mode = {}\nlocal-address = \"{}\"\n\
                 [neighbors.timers.config]\nhold-time = {}\nkeepalive-interval = {}\n\
                 connect-retry = 1\nidle-hold-time-after-reset = 1\n\
                 [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\n\
                 afi-safi-name = \"{}\"\n",
                n.passive,
                n.local_address,
                n.hold_time,
                (n.hold_time / 3).max(1),
                n.family().unicast(),
            );
            if n.reflector_client {
                let _ = write!(
                    text,
                    "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                     route-reflector-cluster-id = \"{}\"\n",
                    s.router_id
                );
            }
        }
        text
    }
}

impl Peer for GoBgp {
    fn implementation(&self) -> Implementation {
        Implementation::GoBgp
    }

    fn start(&mut self) -> Result<()> {
        self.daemons.clear();
        let conf = self.file("gobgpd.toml");
        write(&conf, &self.configuration())?;
        let mut command = Command::new("gobgpd");
        command.arg("-f").arg(&conf);
        command.args(["-l", "info", "--api-hosts", "127.0.0.1:50051", "--pprof-disable"]);
        let daemon = Daemon::spawn(&self.host, &mut command, &self.file("gobgpd.out"))?;
        let mut daemons = vec![daemon];
        ready("GoBGP answers", &mut daemons, || self.ask(&["global"]).map(drop))?;
        self.daemons = daemons;
        for announcement in self.speaker.announcements.clone() {
            self.announce(&announcement)?;
        }
        Ok(())
    }

    fn daemons(&mut self) -> &mut Vec<Daemon> {
        &mut self.daemons
    }

    fn established(&mut self, address: &str) -> Result<bool> {
        // The state is a number in the protocol buffers' enumeration: 6 is Established.
        let answer = self.ask_json(&["neighbor", address])?;
        let state = &answer["state"]["session_state"];
        Ok(*state == 6 || *state == "ESTABLISHED" || *state == "established")
    }

    fn received(&mut self, address: &str) -> Result<Vec<Received>> {
        let table = self.ask_json(&["neighbor", address, "adj-in", "-a", afi(address)])?;
        let mut routes = Vec::new();
        for (prefix, paths) in table.as_object().into_iter().flatten() {
            let path = if paths.is_array() { &paths[0] } else { paths };
            routes.push(parse_path(prefix, path));
        }
        Ok(sorted(routes))
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.speaker.announce(announcement);
        let c = &announcement.communities;
        let join = |texts: &std::collections::BTreeSet<String>| -> String {
            texts.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        };
        let (standard, large) = (join(&c.standard), join(&c.large));
        let mut arguments =
            vec!["global", "rib", "add", "-a", afi(&announcement.prefix), &announcement.prefix];
        if !standard.is_empty() {
            arguments.extend(["community", &standard]);
        }
        if !large.is_empty() {
            arguments.extend(["large-community", &large]);
        }
        // Its parser takes route targets first.
        for (kind, word) in [("rt:", "rt"), ("ro:", "soo")] {
            let values = c.extended.iter().filter_map(|text| text.strip_prefix(kind));
            arguments.extend(values.flat_map(|value| [word, value]));
        }
        self.ask(&arguments).map(drop)
    }

    fn withdraw(&mut self, prefix: &str) -> Result<()> {
        self.speaker.withdraw(prefix);
        self.ask(&["global", "rib", "del", "-a", afi(prefix), prefix]).map(drop)
    }

    fn refresh(&mut self, address: &str) -> Result<()> {
        // `softresetin` would answer from the Adj-RIB-In; this build has no other command that
        // sends ROUTE-REFRESH.
        self.ask(&["neighbor", address, "softresetin", "-a", afi(address)]).map(drop)
    }
}

/// Reads GoBGP's list of attributes, each with its type code (RFC 4271 and successors).
fn parse_path(prefix: &str, path: &Value) -> Received {
    let mut route = Received { prefix: prefix.to_owned(), ..Received::default() };
    let mut communities = Communities::default();
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        let value = &attribute["value"];
        match attribute["type"].as_u64() {
            Some(2) => {
                let segments = attribute["as_paths"].as_array().into_iter().flatten();
                let asns = segments.filter_map(|segment| segment["asns"].as_array()).flatten();
                route.as_path = asns.filter_map(|asn| u32::try_from(asn.as_u64()?).ok()).collect();
            }
            Some(3 | 14) => {
                let next_hop = attribute["nexthop"].as_str().or_else(|| value.as_str());
                route.next_hop = next_hop.map(str::to_owned);
            }
            Some(8) => {
                let numbers = attribute["communities"].as_array().into_iter().flatten();
                let numbers = numbers.filter_map(Value::as_u64);
                communities.standard =
                    numbers.map(|n| format!("{}:{}", n >> 16, n & 0xffff)).collect();
            }
            Some(9) => route.originator_id = value.as_str().map(str::to_owned),
            Some(10) => {
                let ids = value.as_array().into_iter().flatten();
                route.cluster_list = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
            }
            Some(16) => {
                let list = value.as_array().into_iter().flatten();
                communities.extended = list.filter_map(extended).collect();
            }
            Some(32) => {
                let list = value.as_array().into_iter().flatten();
                communities.large = list
                    .map(|c| format!("{}:{}:{}", c["ASN"], c["LocalData1"], c["LocalData2"]))
                    .collect();
            }
            _ => {}
        }
    }
    route.communities = communities;
    route
}

/// `{"type": 0, "subtype": 2, "value": "65001:3"}` -> `rt:65001:3`.
fn extended(community: &Value) -> Option<String> {
    let kind = match community["subtype"].as_u64()? {
        2 => "rt",
        3 => "ro",
        _ => return Some(community.to_string()),
    };
    Some(format!("{kind}:{}", community["value"].as_str()?))
}
