//! The text of a configuration, made into [`Desired`]: what the daemon should be.
//!
//! Owns: the keys of `bgpd.toml` (and, in [`dataplane`], of `policy-dp.toml`), their ranges and how they go together, the difference between two
//! configurations ([`diff`]), and the text of an effective one ([`show`]). Promises: past
//! [`parse`] there are no half-checked values; every fault is told at once, with its line and what
//! is allowed; a secret never reaches an output. Leaves to others: reading files (the text and the
//! reader of secret files are arguments), the host's name and addresses, and acting on any of it.

#![forbid(unsafe_code)]

pub mod autodetect;
mod bgp;
pub mod cluster;
pub mod dataplane;
mod datastore;
mod desired;
mod diff;
mod fault;
mod fib;
mod node;
mod origin;
mod peer;
mod policy;
mod reader;
mod registration;
mod settings;
mod show;
mod suggest;
mod sync;

use std::{collections::BTreeSet, io, path::Path};

use toml::de::DeTable;

pub use datastore::{AuditLog, Backend, Datastore, Etcd, User};
pub use desired::{Api, Bgp, Desired, Fib, Http, LogLevel, NexthopObjects, Node, Reach};
pub use diff::{Impact, Step, StepKind, diff};
pub use fault::{Fault, Severity, Snippet};
pub use registration::{FamilyWish, NodeAddress, PoolWish, Registration};
pub use show::{rule_settings, show};
pub use sync::{Pem, Sync, Tls};

use reader::{Section, Source};

/// Gives the octets of a secret file; relative paths are the caller's to resolve.
pub type ReadSecret<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub desired: Desired,
    /// What is probably not meant, by line.
    pub warnings: Vec<Fault>,
}

/// Reads a configuration. `file` is only how the text is called in faults.
///
/// # Errors
/// Every fault and warning, by line; at least one is an error. Where the text is no TOML, only
/// that: what a broken line was meant to say would be guesswork.
pub fn parse(text: &str, file: &str, read_secret: ReadSecret<'_>) -> Result<Parsed, Vec<Fault>> {
    let (desired, faults) =
        document(text, file, |source, document| read(source, document, read_secret))?;
    match desired {
        Some(desired) if faults.iter().all(|fault| fault.severity == Severity::Warning) => {
            Ok(Parsed { desired, warnings: faults })
        }
        _ => Err(faults),
    }
}

/// Reads a text that must be TOML; what it was read as, and what is wrong in it, by line.
///
/// # Errors
/// It is no TOML.
fn document<T>(
    text: &str,
    file: &str,
    read: impl for<'a> FnOnce(&'a Source<'a>, &'a DeTable<'a>) -> T,
) -> Result<(T, Vec<Fault>), Vec<Fault>> {
    let source = Source::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut lines = BTreeSet::new();
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            // One mistake often trips the parser more than once.
            if lines.insert(source.line(span.start)) {
                source.report(Severity::Error, span, "", format!("not TOML: {}", error.message()));
            }
        }
        return Err(source.into_faults());
    }
    let value = read(&source, document.get_ref());
    Ok((value, source.into_faults()))
}

/// `None` only where a fault has been reported.
fn read<'a>(
    source: &'a Source<'a>,
    document: &'a DeTable<'a>,
    read_secret: ReadSecret<'_>,
) -> Option<Desired> {
    let mut root = Section::root(source, document);
    // Policies first: everything else names them.
    let policies = policy::read(&mut root);
    let datastore = datastore::read(&mut root, read_secret);
    let node = node::node(&mut root, datastore.as_ref());
    let api = node::api(&mut root, read_secret);
    let http = node::http(&mut root);
    let bgp = bgp::read(&mut root, &policies, read_secret);
    if let Some(Some(bgp)) = &bgp {
        policies.check_peers(&bgp.peers);
    }
    let fib = fib::read(&mut root, &policies);
    let sync = sync::read(&mut root, api.as_ref(), datastore.as_ref(), read_secret);
    for (table, key) in [("rpki", "server"), ("bmp", "station"), ("mrt", "dump")] {
        if let Some(mut section) = root.entry(table).and_then(|entry| entry.section()) {
            section.unsupported(&[key]);
            section.finish();
        }
    }
    root.finish();
    let (policies, sets) = policies.finish();
    Some(Desired {
        node: node?,
        api: api?,
        http: http?,
        datastore: datastore?,
        sync: sync?,
        bgp: bgp?,
        fib,
        reach: Reach::default(),
        policies,
        sets,
    })
}
