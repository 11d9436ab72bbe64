//! The configuration file: where it is, reading it, and handing its parts to who needs them.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
};

use bgp_core::rib::Install;
use bgp_desired::{Desired, Fault, NexthopObjects, Parsed, Severity};
use bgp_speaker::{Knowledge, SpeakerConfig};
use margay_fib::{FibConfig, Link, Reach};

const DEFAULT_FILE: &str = "/etc/margay/bgpd.toml";

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    /// Given on the command line, or read before: then it must be there.
    required: bool,
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// What is wrong in it.
    Faults(Vec<Fault>),
}

impl LoadError {
    /// For people, with the lines of the text.
    pub(crate) fn render(&self) -> String {
        match self {
            Self::Read(path, error) => {
                format!("error: cannot read {}: {error}\n", path.display())
            }
            Self::Faults(faults) => faults.iter().map(Fault::render).collect(),
        }
    }

    /// One line for each fault that keeps it from being used, `FILE:LINE: …`.
    pub(crate) fn lines(&self) -> String {
        match self {
            Self::Read(path, error) => format!("cannot read {}: {error}", path.display()),
            Self::Faults(faults) => {
                let mut out = String::new();
                for fault in faults.iter().filter(|fault| fault.severity == Severity::Error) {
                    let separator = if out.is_empty() { "" } else { "\n" };
                    // Writing to a String cannot fail.
                    let _ = write!(out, "{separator}{fault}");
                }
                out
            }
        }
    }
}

impl Source {
    /// The file given, or the one at the usual place.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        let required = path.is_some();
        Self { path: path.unwrap_or_else(|| DEFAULT_FILE.into()), required }
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on the file must be there if it is there now: one that goes missing later is a
    /// fault, and no wish to stop all of BGP.
    pub(crate) fn settle(&mut self) {
        self.required |= self.path.exists();
    }

    /// Reads and checks the file; without one, everything is at its default.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn load(&self) -> Result<Parsed, LoadError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => self.parse(&text, &self.path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.required => {
                Ok(Parsed { desired: Desired::default(), warnings: Vec::new() })
            }
            Err(error) => Err(LoadError::Read(self.path.clone(), error)),
        }
    }

    /// Checks a text; files it names are relative to our own file.
    ///
    /// # Errors
    /// What is wrong in it.
    pub(crate) fn parse(&self, text: &str, name: &str) -> Result<Parsed, LoadError> {
        let base = self.path.parent().unwrap_or(Path::new("/"));
        let read = |path: &Path| fs::read(base.join(path));
        bgp_desired::parse(text, name, &read).map_err(LoadError::Faults)
    }
}

/// `[fib]` and what is to be learned, for the kernel side.
pub(crate) fn fib(desired: &Desired) -> FibConfig {
    let fib = &desired.fib;
    let redistribute = desired.bgp.iter().flat_map(|bgp| &bgp.redistribute);
    FibConfig {
        enabled: fib.enabled,
        table: fib.table,
        metric: fib.metric,
        protocol: fib.protocol,
        nexthop_objects: match fib.nexthop_objects {
            NexthopObjects::Auto => margay_fib::NexthopObjects::Auto,
            NexthopObjects::On => margay_fib::NexthopObjects::On,
            NexthopObjects::Off => margay_fib::NexthopObjects::Off,
        },
        nexthop_compat_off: fib.nexthop_compat_off,
        preferred_source: fib.preferred_source,
        learn_tables: redistribute.map(|entry| entry.table).collect::<BTreeSet<_>>(),
        ..FibConfig::default()
    }
}

/// What peers need, for the kernel side.
pub(crate) fn reach(desired: &Desired) -> Reach {
    let bgp_desired::Reach { gateways, addresses } = desired.reach.clone();
    // Not on the links of workloads: there the kernel would take it as the source of what it sends to
    // them, and with the last address of a link it drops all routes over it.
    let addresses = [("lo".to_owned(), addresses)].into();
    Reach { gateways, addresses }
}

/// `[bgp]` and the peers, for the speaker. `known`: how much of what there is they are.
pub(crate) fn speaker(desired: &Desired, router_id: Ipv4Addr, known: Knowledge) -> SpeakerConfig {
    SpeakerConfig {
        global: Arc::new(desired.global(router_id)),
        peers: desired.peers().iter().cloned().map(Arc::new).collect(),
        install: match &desired.fib.export {
            _ if !desired.fib.enabled => Install::Nothing,
            Some(policy) => Install::Policy(Arc::clone(policy)),
            None => Install::All,
        },
        known,
        restarted: false,
    }
}

/// The highest IPv4 address of the host that is no loopback address.
pub(crate) fn host_router_id(links: &[Link]) -> Option<Ipv4Addr> {
    let addresses = links.iter().flat_map(|link| &link.addresses);
    addresses
        .filter_map(|net| match net.addr() {
            IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_link_local() => Some(v4),
            _ => None,
        })
        .max()
}

#[cfg(test)]
mod tests;
