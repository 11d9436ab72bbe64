//! `[datastore]`: where the resources of the cluster are kept.

use std::path::PathBuf;

use bgp_core::config::Secret;

use crate::{
    ReadSecret,
    node::{path, word},
    reader::{Entry, Section},
    settings::HIDDEN,
};

/// `[datastore]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datastore {
    /// `type` and what belongs to it.
    pub backend: Backend,
    /// Every write is told here; `None` = nowhere.
    pub audit_log: AuditLog,
}

/// `audit-log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditLog {
    /// `audit.jsonl` in the state directory.
    StateDir,
    /// This file.
    File(PathBuf),
    /// `""`: none.
    Off,
}

/// `type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A file of our own in the state directory.
    Embedded,
    /// A cluster of etcd.
    Etcd(Etcd),
    /// The configuration file is all there is.
    None,
}

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// `http://HOST:PORT` or `https://HOST:PORT`, all the same scheme.
    pub endpoints: Vec<String>,
    /// Who signed the servers' certificates (PEM); those of the system when absent.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key (PEM).
    pub client: Option<(PathBuf, PathBuf)>,
    /// Who we are there.
    pub user: Option<User>,
    /// In front of the resources' keys.
    pub prefix: String,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `username`.
    pub name: String,
    /// `password-file`.
    pub file: PathBuf,
    /// What stands in it.
    pub password: Secret,
}

impl Datastore {
    /// `type`.
    pub fn kind(&self) -> &'static str {
        match self.backend {
            Backend::Embedded => "embedded",
            Backend::Etcd(_) => "etcd",
            Backend::None => "none",
        }
    }
}

impl Default for Datastore {
    fn default() -> Self {
        Self { backend: Backend::Embedded, audit_log: AuditLog::StateDir }
    }
}

/// Calico's own.
const PREFIX: &str = "/calico";
/// Most endpoints that make sense.
const MAX_ENDPOINTS: usize = 64;

/// Keys that only etcd has.
const ETCD_KEYS: [&str; 7] =
    ["endpoints", "ca-file", "cert-file", "key-file", "username", "password-file", "prefix"];

pub(crate) fn read(root: &mut Section<'_>, read_secret: ReadSecret<'_>) -> Option<Datastore> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Embedded,
        Etcd,
        None,
    }
    const KINDS: [(&str, Kind); 3] =
        [("embedded", Kind::Embedded), ("etcd", Kind::Etcd), ("none", Kind::None)];
    let Some(entry) = root.entry("datastore") else { return Some(Datastore::default()) };
    let mut section = entry.section()?;
    let kind = match section.entry("type") {
        None => Kind::Embedded,
        Some(entry) if entry.as_str() == Some("kubernetes") => {
            entry.fault(
                "\"kubernetes\" not supported in this version, allowed: \"embedded\", \"etcd\", \
                 \"none\"",
            );
            Kind::None
        }
        Some(entry) => entry.one_of(&KINDS)?,
    };
    let audit_log = section.entry("audit-log");
    let audit_log = match audit_log.as_ref().map(Entry::as_str) {
        None => AuditLog::StateDir,
        Some(Some("")) => AuditLog::Off,
        Some(_) => audit_log.as_ref().and_then(path).map_or(AuditLog::Off, AuditLog::File),
    };
    let backend = match kind {
        Kind::Etcd => etcd(&mut section, read_secret).map(Backend::Etcd),
        Kind::Embedded | Kind::None => {
            for key in ETCD_KEYS {
                if let Some(entry) = section.entry(key) {
                    entry.fault("belongs to type = \"etcd\"");
                }
            }
            Some(if kind == Kind::Embedded { Backend::Embedded } else { Backend::None })
        }
    };
    section.finish();
    Some(Datastore { backend: backend?, audit_log })
}

fn etcd(section: &mut Section<'_>, read_secret: ReadSecret<'_>) -> Option<Etcd> {
    let endpoints = endpoints(section);
    let ca_file = section.entry("ca-file").and_then(|entry| path(&entry));
    let cert = section.entry("cert-file");
    let key = section.entry("key-file");
    let client = match (&cert, &key) {
        (Some(cert), Some(key)) => path(cert).zip(path(key)),
        (Some(alone), None) => {
            alone.fault("needs key-file");
            None
        }
        (None, Some(alone)) => {
            alone.fault("needs cert-file");
            None
        }
        (None, None) => None,
    };
    let name = section.entry("username");
    let file = section.entry("password-file");
    let user = match (&name, &file) {
        (Some(name), Some(file)) => {
            let name = word(name, "a user name");
            let read = path(file)
                .and_then(|path| secret(file, &path, read_secret).map(|password| (path, password)));
            name.zip(read).map(|(name, (file, password))| User { name, file, password })
        }
        (Some(alone), None) => {
            alone.fault("needs password-file");
            None
        }
        (None, Some(alone)) => {
            alone.fault("needs username");
            None
        }
        (None, None) => None,
    };
    let prefix = section.entry("prefix").map_or(Some(PREFIX.to_owned()), |entry| prefix(&entry));
    Some(Etcd { endpoints: endpoints?, ca_file, client, user, prefix: prefix? })
}

fn endpoints(section: &mut Section<'_>) -> Option<Vec<String>> {
    const ALLOWED: &str = "addresses like \"https://10.0.0.10:2379\"";
    let Some(entry) = section.entry("endpoints") else {
        section.missing("endpoints", format_args!("allowed: a list of {ALLOWED}"));
        return None;
    };
    let items = entry.items(&format!("a list of {ALLOWED}"));
    if items.is_empty() || items.len() > MAX_ENDPOINTS {
        entry.expected(format_args!("1 to {MAX_ENDPOINTS} {ALLOWED}"));
        return None;
    }
    let mut endpoints: Vec<String> = Vec::new();
    for item in &items {
        let text = item.string(ALLOWED)?;
        let split = text.split_once("://");
        let Some((scheme @ ("http" | "https"), rest)) = split else {
            item.expected(ALLOWED);
            return None;
        };
        let port = rest.rsplit_once(':').filter(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if port.is_none() || rest.contains(['/', '?', '#', '@', ' ']) {
            item.expected(ALLOWED);
            return None;
        }
        let same = |other: &String| other.starts_with(&format!("{scheme}://"));
        if !endpoints.iter().all(same) {
            item.fault("mixes http and https, allowed: one of the two for all endpoints");
            return None;
        }
        if endpoints.iter().any(|other| other == text) {
            item.fault("stands twice");
        }
        endpoints.push(text.to_owned());
    }
    Some(endpoints)
}

fn prefix(entry: &Entry<'_>) -> Option<String> {
    let allowed = "a path like \"/calico\", without a slash at its end";
    let text = entry.string(allowed)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let fits = text.starts_with('/')
        && text.len() > 1
        && !text.ends_with('/')
        && !text.contains("//")
        && text.len() <= 128
        && text.chars().all(plain);
    // What is ours alone lies there.
    let ours = text == "/margay" || text.starts_with("/margay/");
    if !fits || ours {
        entry.expected(allowed);
        return None;
    }
    Some(text.to_owned())
}

fn secret(entry: &Entry<'_>, path: &std::path::Path, read: ReadSecret<'_>) -> Option<Secret> {
    match read(path) {
        Ok(mut octets) => {
            while octets.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
                octets.pop();
            }
            if octets.is_empty() || octets == HIDDEN.as_bytes() {
                entry.fault(format_args!("{} holds no password", path.display()));
                return None;
            }
            Some(Secret(octets))
        }
        Err(error) => {
            entry.fault(format_args!("{} cannot be read: {error}", path.display()));
            None
        }
    }
}
