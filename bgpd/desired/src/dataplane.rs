//! `policy-dp.toml`: what the policy dataplane is told.

use std::{net::SocketAddr, path::PathBuf};

use toml::de::DeTable;

use crate::{
    Api, Fault, LogLevel, Severity, document,
    node::{path, word},
    reader::{Section, Source},
};

/// The configuration of `margay-policy-dp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataplane {
    /// The node's name, as its resources have it; what `margay-bgpd` says if `None`.
    pub name: Option<String>,
    /// How much is logged, unless the command line says so.
    pub log_level: Option<LogLevel>,
    /// Unix socket of the gRPC services.
    pub api: PathBuf,
    /// Unix socket of the node's `margay-bgpd`.
    pub bgpd: PathBuf,
    /// Metrics and health; `None` = off.
    pub http: Option<SocketAddr>,
    /// What enforces.
    pub backend: Enforcement,
    /// Whether each decision about a connection is told of, for flow records.
    pub flow_logs: bool,
    /// Whether others are kept from changing our table, where the kernel can do that.
    pub hold_table: bool,
    /// Whether a guard outside our table closes workloads while that is missing, where the kernel can do
    /// that.
    pub guard: bool,
}

/// What enforces policy in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// The best there is. So far that is nftables.
    #[default]
    Auto,
    /// One table of nf_tables.
    Nftables,
}

impl Default for Dataplane {
    fn default() -> Self {
        Self {
            name: None,
            log_level: None,
            api: "/run/margay/policy-dp.sock".into(),
            bgpd: Api::default().socket,
            http: Some(SocketAddr::from(([127, 0, 0, 1], 9178))),
            backend: Enforcement::default(),
            flow_logs: true,
            hold_table: true,
            guard: true,
        }
    }
}

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub dataplane: Dataplane,
    /// What is probably not meant, by line.
    pub warnings: Vec<Fault>,
}

/// Reads a configuration. `file` is only how the text is called in faults.
///
/// # Errors
/// Those of [`parse`](crate::parse).
pub fn parse(text: &str, file: &str) -> Result<Parsed, Vec<Fault>> {
    let (dataplane, faults) = document(text, file, read)?;
    match dataplane {
        Some(dataplane) if faults.iter().all(|fault| fault.severity == Severity::Warning) => {
            Ok(Parsed { dataplane, warnings: faults })
        }
        _ => Err(faults),
    }
}

/// `None` only where a fault has been reported.
fn read<'a>(source: &'a Source<'a>, document: &'a DeTable<'a>) -> Option<Dataplane> {
    let mut root = Section::root(source, document);
    let mut read = Dataplane::default();
    let mut whole = true;
    let mut section = |key, each: &mut dyn FnMut(&mut Section<'a>)| {
        let Some(entry) = root.entry(key) else { return };
        match entry.section() {
            Some(mut section) => {
                each(&mut section);
                section.finish();
            }
            None => whole = false,
        }
    };
    section("node", &mut |section| {
        read.name = section.entry("name").and_then(|entry| word(&entry, "a name"));
        let level = section.entry("log-level");
        read.log_level = level.and_then(|entry| entry.one_of(&LogLevel::WORDS));
    });
    section("bgpd", &mut |section| {
        if let Some(path) = section.entry("socket").and_then(|entry| path(&entry)) {
            read.bgpd = path;
        }
    });
    section("api", &mut |section| {
        if let Some(path) = section.entry("socket").and_then(|entry| path(&entry)) {
            read.api = path;
        }
    });
    section("http", &mut |section| {
        let Some(entry) = section.entry("listen") else { return };
        if entry.as_str() == Some("") {
            read.http = None;
        } else if let Some(listen) =
            entry.standard("an address with port like \"127.0.0.1:9178\", or \"\" for none")
        {
            read.http = Some(listen);
        }
    });
    section("policy", &mut |section| {
        if let Some(told) = section.entry("flow-logs").and_then(|entry| entry.boolean()) {
            read.flow_logs = told;
        }
        if let Some(hold) = section.entry("hold-table").and_then(|entry| entry.boolean()) {
            read.hold_table = hold;
        }
        if let Some(guard) = section.entry("guard").and_then(|entry| entry.boolean()) {
            read.guard = guard;
        }
        let Some(entry) = section.entry("backend") else { return };
        if entry.as_str() == Some("ebpf") {
            entry.fault("ebpf: not supported in this version");
        } else if let Some(backend) =
            entry.one_of(&[("auto", Enforcement::Auto), ("nftables", Enforcement::Nftables)])
        {
            read.backend = backend;
        }
    });
    root.finish();
    whole.then_some(read)
}

#[cfg(test)]
mod tests;
