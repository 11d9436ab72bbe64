//! Node leases: how a daemon proves that its node lives, and how others judge that it does not.
//!
//! A lease ends by what its observer sees on its own steady clock: a value that did not change for
//! as long as it promised to. No two clocks are ever compared. Nothing about addresses rests on a
//! lease: a block is changed under a compare, whoever changes it. A lease only decides who may
//! clean up behind whom.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use margay_model::Revision;
use serde::{Deserialize, Serialize};

use crate::block::{Instance, NodeName};

/// The stored form of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which life of the node holds it.
    pub instance: Instance,
    /// Grows with each renewal, so that each one is a change.
    pub renewals: u64,
    /// How long the holder may stay silent.
    pub ttl: Duration,
}

/// Why octets are no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease cannot be read: {0}")]
pub struct LeaseError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    instance: String,
    renewals: u64,
    ttl_ms: u64,
}

const VERSION: u32 = 1;

/// The longest silence believed: a lease that asks for more would never end.
const MOST: Duration = Duration::from_secs(600);

impl Lease {
    /// The stored form.
    pub fn to_json(&self) -> Bytes {
        let form = Form {
            version: VERSION,
            instance: self.instance.to_string(),
            renewals: self.renewals,
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
        };
        serde_json::to_vec(&form).expect("text and numbers are always JSON").into()
    }

    /// Reads the stored form.
    pub fn from_json(octets: &[u8]) -> Result<Self, LeaseError> {
        let form: Form =
            serde_json::from_slice(octets).map_err(|error| LeaseError(error.to_string()))?;
        if form.version != VERSION {
            return Err(LeaseError(format!("version {}", form.version)));
        }
        let instance = Instance::try_from(form.instance.as_str())
            .map_err(|error| LeaseError(error.to_string()))?;
        Ok(Self { instance, renewals: form.renewals, ttl: Duration::from_millis(form.ttl_ms) })
    }
}

/// A lease as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it says; `None` if it cannot be read, which somebody of another version wrote.
    pub lease: Option<Lease>,
    /// The commit that wrote it.
    pub revision: Revision,
    /// When this node first saw that commit, on its steady clock.
    pub since: Duration,
}

/// All leases as this node sees them.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    seen: BTreeMap<NodeName, Seen>,
    /// Leases known to be gone, and since when.
    gone: BTreeMap<NodeName, Revision>,
}

impl Leases {
    /// What is known of a node.
    pub fn of(&self, node: &NodeName) -> Option<&Seen> {
        self.seen.get(node)
    }

    /// Takes in what lies under a node's lease key as of `at`; old news change nothing.
    pub fn apply(
        &mut self,
        node: &NodeName,
        value: Option<(Revision, &[u8])>,
        at: Revision,
        now: Duration,
    ) {
        let known = self.seen.get(node).map(|seen| seen.revision);
        let gone = self.gone.get(node).copied();
        match value {
            Some((revision, octets)) => {
                let stale = known.is_some_and(|known| known >= revision)
                    || gone.is_some_and(|gone| gone >= revision);
                if !stale {
                    let lease = Lease::from_json(octets).ok();
                    self.gone.remove(node);
                    self.seen.insert(node.clone(), Seen { lease, revision, since: now });
                }
            }
            None if known.is_none_or(|known| known <= at) => {
                self.seen.remove(node);
                let since = self.gone.entry(node.clone()).or_insert(at);
                *since = (*since).max(at);
            }
            None => {}
        }
    }

    /// Takes in a list of all leases as of `at`.
    pub fn replace(&mut self, all: &[(NodeName, Revision, Bytes)], at: Revision, now: Duration) {
        let missing: Vec<NodeName> = self
            .seen
            .keys()
            .filter(|node| !all.iter().any(|(listed, ..)| listed == *node))
            .cloned()
            .collect();
        for node in missing {
            self.apply(&node, None, at, now);
        }
        for (node, revision, octets) in all {
            self.apply(node, Some((*revision, octets)), at, now);
        }
        self.gone.retain(|_, since| *since > at);
    }

    /// When a lease will have ended if nothing is heard of it; `None` if there is none.
    ///
    /// Twice the promised silence: a renewal may be on its way.
    pub fn ends(&self, node: &NodeName) -> Option<Duration> {
        let seen = self.seen.get(node)?;
        let ttl = seen.lease.as_ref().map_or(MOST, |lease| lease.ttl.min(MOST));
        Some(seen.since.saturating_add(ttl.saturating_mul(2)))
    }

    /// Whether a node can be taken for alive.
    pub fn is_alive(&self, node: &NodeName, now: Duration) -> bool {
        self.ends(node).is_some_and(|end| now < end)
    }

    /// All nodes that can be taken for alive, by name.
    pub fn alive(&self, now: Duration) -> impl Iterator<Item = &NodeName> {
        self.seen.keys().filter(move |node| self.is_alive(node, now))
    }
}

#[cfg(test)]
mod tests;
