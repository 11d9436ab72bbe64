//! What the kernel has, asked through `ip -json`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{bgp::Family, lab::Host};

/// The route protocol Margay marks its routes with (RTPROT_BGP).
pub const PROTOCOL: &str = "bgp";

/// A route in the kernel's main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// `10.0.0.0/24`; host routes with their length too.
    pub prefix: String,
    /// `unicast` or another type.
    pub kind: String,
    /// `(gateway, interface)`, sorted; the gateway is empty for on-link routes.
    pub hops: Vec<(String, String)>,
    /// Preference.
    pub metric: u64,
}

/// The routes with protocol `bgp` in the main table of `host`, sorted.
///
/// # Errors
/// When `ip` fails.
pub fn bgp_routes(host: &Host, family: Family) -> Result<Vec<KernelRoute>> {
    let flag = if family == Family::Ipv4 { "-4" } else { "-6" };
    let text = host.ip(&["-j", flag, "route", "show", "table", "main", "proto", PROTOCOL])?;
    let rows: Value = serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text })?;
    let mut routes: Vec<KernelRoute> = Vec::new();
    for row in rows.as_array().into_iter().flatten() {
        routes.push(parse(row, family));
    }
    routes.sort();
    Ok(routes)
}

/// How many routes with protocol `bgp` the main table has.
///
/// # Errors
/// When `ip` fails.
pub fn count_bgp_routes(host: &Host, family: Family) -> Result<usize> {
    let flag = if family == Family::Ipv4 { "-4" } else { "-6" };
    let text = host.ip(&["-o", flag, "route", "show", "table", "main", "proto", PROTOCOL])?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).count())
}

fn parse(row: &Value, family: Family) -> KernelRoute {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let gateway = |hop: &Value| {
        let via = &hop["via"]["host"];
        if via.is_string() { text(via) } else { text(&hop["gateway"]) }
    };
    let mut prefix = match (text(&row["dst"]).as_str(), family) {
        ("default", Family::Ipv4) => "0.0.0.0/0".to_owned(),
        ("default", Family::Ipv6) => "::/0".to_owned(),
        (other, _) => other.to_owned(),
    };
    if !prefix.contains('/') {
        prefix += if family == Family::Ipv4 { "/32" } else { "/128" };
    }
    let mut hops: Vec<(String, String)> = match row["nexthops"].as_array() {
        Some(hops) => hops.iter().map(|hop| (gateway(hop), text(&hop["dev"]))).collect(),
        None => vec![(gateway(row), text(&row["dev"]))],
    };
    hops.sort();
    let kind = if row["type"].is_string() { text(&row["type"]) } else { "unicast".into() };
    KernelRoute { prefix, kind, hops, metric: row["metric"].as_u64().unwrap_or_default() }
}

/// `ip monitor` into a file, from now until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    file: PathBuf,
}

impl Monitor {
    /// Starts listening on `host` for what `ip` calls `objects`: `route`, `address`.
    ///
    /// # Errors
    /// When `ip` cannot be started.
    pub fn start(host: &Host, objects: &[&str]) -> Result<Self> {
        let file = host.dir().join("monitor.out");
        let output = File::create(&file)?;
        let mut command = Command::new("ip");
        // A receive buffer for hundreds of thousands of changes.
        command.args(["-rcvbuf", "268435456", "-o", "monitor"]).args(objects);
        host.bind(&mut command)?;
        let child = command
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .context("starting ip monitor")?;
        Ok(Self { child, file })
    }

    /// The lines that tell of deletions so far.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn deletions(&self) -> Result<Vec<String>> {
        let lines = self.lines()?;
        Ok(lines.into_iter().filter(|line| line.starts_with("Deleted")).collect())
    }

    /// Everything heard so far.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn lines(&self) -> Result<Vec<String>> {
        let text = read(&self.file)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended with its namespace.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Family, parse};

    #[test]
    fn routes_over_a_next_hop_of_the_other_family_are_read() {
        let row = json!({"dst": "10.1.0.0/24", "via": {"family": "inet6", "host": "fe80::1"},
            "dev": "eth0", "protocol": "bgp", "metric": 32, "flags": []});
        let route = parse(&row, Family::Ipv4);
        assert_eq!(route.hops, [("fe80::1".to_owned(), "eth0".to_owned())]);
        assert_eq!((route.metric, route.kind.as_str()), (32, "unicast"));
    }

    #[test]
    fn host_routes_and_several_next_hops_are_read() {
        let row = json!({"dst": "10.1.0.1", "protocol": "bgp", "flags": [], "nexthops": [
            {"gateway": "10.0.0.2", "dev": "eth1", "weight": 1, "flags": []},
            {"gateway": "10.0.0.1", "dev": "eth0", "weight": 1, "flags": []}]});
        let route = parse(&row, Family::Ipv4);
        assert_eq!(route.prefix, "10.1.0.1/32");
        assert_eq!(route.hops.first(), Some(&("10.0.0.1".to_owned(), "eth0".to_owned())));
    }
}
