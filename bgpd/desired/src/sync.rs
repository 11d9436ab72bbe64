//! `[sync]`, and the certificates by which daemons know each other.

use std::{net::SocketAddr, path::PathBuf};

use bgp_core::config::Secret;

use crate::{
    ReadSecret,
    datastore::{Backend, Datastore},
    desired::Api,
    node::path,
    reader::{Entry, Section},
};

/// `[sync]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sync {
    /// Who tells what changes in the datastore, `HOST:PORT`, the preferred one first; none: the
    /// datastore itself.
    pub upstream: Vec<String>,
    /// How to prove there who we are, unless as in `[api.tls]`.
    pub tls: Option<Tls>,
}

/// Who we are to other daemons, and whom we believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Our certificate, those that lead to the root behind it.
    pub cert: Pem,
    /// Its private key.
    pub key: Pem,
    /// Who must have signed the certificates of others.
    pub ca: Pem,
}

/// A file in PEM and what stood in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pem {
    /// The file.
    pub file: PathBuf,
    /// All of it.
    pub octets: Secret,
}

/// Most upstreams that make sense.
const MAX_UPSTREAMS: usize = 16;
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// PKCS#8, and the older forms of RSA and EC keys.
const KEYS: [&str; 3] = [
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----",
];

/// `None` only where a fault has been reported.
pub(crate) fn read(
    root: &mut Section<'_>,
    api: Option<&Api>,
    datastore: Option<&Datastore>,
    read_secret: ReadSecret<'_>,
) -> Option<Sync> {
    let Some(entry) = root.entry("sync") else { return Some(Sync::default()) };
    let mut section = entry.section()?;
    let upstream = section.entry("upstream");
    let names = upstream.as_ref().map_or(Some(Vec::new()), |entry| upstreams(entry, api));
    let given = section.entry("tls");
    let tls = given.as_ref().and_then(|entry| tls(entry, read_secret));
    section.finish();
    let names = names?;
    let Some(upstream) = upstream.filter(|_| !names.is_empty()) else {
        if let Some(given) = given {
            given.warn_if_sound("has no effect without upstream");
        }
        return Some(Sync { upstream: names, tls });
    };
    if let Some(datastore) = datastore
        && !matches!(datastore.backend, Backend::Etcd(_))
    {
        upstream.fault(format_args!(
            "found datastore.type = {:?}, allowed: \"etcd\", the datastore that all these daemons \
             share",
            datastore.kind()
        ));
    }
    // What is wrong with [api.tls] has been said.
    let silent = api.is_some_and(|api| api.tls.is_none() && api.listen.is_none());
    if given.is_none() && silent {
        upstream.fault("needs cert, key and ca in [sync.tls] or [api.tls]");
    }
    Some(Sync { upstream: names, tls })
}

fn upstreams(entry: &Entry<'_>, api: Option<&Api>) -> Option<Vec<String>> {
    const ALLOWED: &str = "addresses like \"10.0.0.2:9180\"";
    let items = entry.items(&format!("a list of {ALLOWED}"));
    if items.len() > MAX_UPSTREAMS {
        entry.expected(format_args!("at most {MAX_UPSTREAMS} {ALLOWED}"));
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let mut sound = true;
    for item in &items {
        let name = item.string(ALLOWED)?;
        if !is_host_and_port(name) {
            item.expected(ALLOWED);
            sound = false;
        } else if names.iter().any(|other| other == name) {
            item.fault("stands twice");
            sound = false;
        } else if is_us(name, api) {
            item.fault("is this daemon itself (api.listen), allowed: other daemons");
            sound = false;
        }
        names.push(name.to_owned());
    }
    sound.then_some(names)
}

/// `10.0.0.2:9180`, `[2001:db8::2]:9180` or `node2.example:9180`.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) || port.starts_with('+') {
        return false;
    }
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            !host.is_empty() && host.len() <= 253 && host.chars().all(plain)
        }
    }
}

fn is_us(name: &str, api: Option<&Api>) -> bool {
    let listen = api.and_then(|api| api.listen);
    listen.is_some() && name.parse::<SocketAddr>().ok() == listen
}

/// A table of `cert`, `key` and `ca`.
pub(crate) fn tls(entry: &Entry<'_>, read_secret: ReadSecret<'_>) -> Option<Tls> {
    let mut section = entry.section()?;
    let mut pem = |key: &'static str, what: &str, begins: &[&str]| {
        let Some(entry) = section.entry(key) else {
            section.missing(key, format_args!("allowed: a file with {what} in PEM"));
            return None;
        };
        let file = path(&entry)?;
        match read_secret(&file) {
            Ok(octets) => {
                let text = String::from_utf8_lossy(&octets);
                if begins.iter().any(|begin| text.contains(begin)) {
                    return Some(Pem { file, octets: Secret(octets) });
                }
                let name = file.display();
                entry.fault(format_args!("{name} is none, allowed: a file with {what} in PEM"));
            }
            Err(error) => {
                entry.fault(format_args!("{} cannot be read: {error}", file.display()));
            }
        }
        None
    };
    let cert = pem("cert", "a certificate", &[CERTIFICATE]);
    let key = pem("key", "a private key", &KEYS);
    let ca = pem("ca", "the certificates of who signs", &[CERTIFICATE]);
    section.finish();
    Some(Tls { cert: cert?, key: key?, ca: ca? })
}
