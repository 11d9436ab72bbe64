//! Node leases: which nodes live, as this node sees it.
//!
//! A living daemon keeps a key in the datastore, which the datastore deletes when the daemon falls
//! silent. Owns the judgement: a node counts as alive while its key is there and for as long again
//! afterwards, by this node's own steady clock. So when the datastore was away for everybody and
//! all keys ended together, whoever lives has the time to come back before anybody cleans up
//! behind it. No two clocks are ever compared. Nothing about addresses rests on a lease: a block
//! is changed under a compare, whoever changes it. Leaves to the datastore who holds a lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use margay_model::Revision;

use crate::block::NodeName;

/// All leases as this node sees them.
#[derive(Clone, Debug)]
pub struct Leases {
    grace: Duration,
    held: BTreeMap<NodeName, Revision>,
    /// Leases known to have ended.
    ended: BTreeMap<NodeName, Ended>,
    /// When the first list of all leases came: a node without one may be about to come.
    known_since: Option<Duration>,
}

/// The end of a lease.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Revision,
    /// When this node heard of it, on its steady clock.
    since: Duration,
}

impl Leases {
    /// None yet. A node whose lease ended counts as alive for `grace` more.
    pub fn new(grace: Duration) -> Self {
        Self { grace, held: BTreeMap::new(), ended: BTreeMap::new(), known_since: None }
    }

    /// The commit by which the present holder of a node's lease took it.
    pub fn of(&self, node: &NodeName) -> Option<Revision> {
        self.held.get(node).copied()
    }

    /// The latest commit known to have changed a node's lease.
    pub fn news(&self, node: &NodeName) -> Revision {
        let ended = self.ended.get(node).map(|ended| ended.at);
        self.of(node).or(ended).unwrap_or_default()
    }

    /// Takes in what lies under a node's lease key as of `at`; old news change nothing.
    pub fn apply(&mut self, node: &NodeName, held: Option<Revision>, at: Revision, now: Duration) {
        match held {
            Some(revision) if revision > self.news(node) => {
                self.ended.remove(node);
                self.held.insert(node.clone(), revision);
            }
            None if self.news(node) < at || self.of(node) == Some(at) => {
                self.held.remove(node);
                self.ended.insert(node.clone(), Ended { at, since: now });
            }
            Some(_) | None => {}
        }
        let grace = self.grace;
        self.ended.retain(|_, ended| {
            // What is that old is told by nobody any more, and nobody waits for it.
            now < ended.since.saturating_add(grace) || ended.at >= at
        });
    }

    /// Takes in a list of all leases as of `at`.
    pub fn replace(&mut self, all: &[(NodeName, Revision)], at: Revision, now: Duration) {
        self.known_since.get_or_insert(now);
        let listed: BTreeSet<&NodeName> = all.iter().map(|(node, _)| node).collect();
        let missing: Vec<NodeName> =
            self.held.keys().filter(|node| !listed.contains(node)).cloned().collect();
        for node in missing {
            self.apply(&node, None, at, now);
        }
        for (node, revision) in all {
            self.apply(node, Some(*revision), at, now);
        }
    }

    /// Whether a node can be taken for alive.
    pub fn is_alive(&self, node: &NodeName, now: Duration) -> bool {
        let since = match self.ended.get(node) {
            Some(ended) => Some(ended.since),
            None => self.known_since,
        };
        self.held.contains_key(node)
            || since.is_none_or(|since| now < since.saturating_add(self.grace))
    }

    /// All nodes that have a lease or lately had one, by name.
    pub fn alive(&self, now: Duration) -> impl Iterator<Item = &NodeName> {
        let ended = self.ended.keys().filter(move |node| self.is_alive(node, now));
        let mut all: Vec<&NodeName> = self.held.keys().chain(ended).collect();
        all.sort();
        all.into_iter()
    }

    /// The first of [`alive`](Self::alive).
    pub fn first_alive(&self, now: Duration) -> Option<&NodeName> {
        let ended = self.ended.keys().find(|node| self.is_alive(node, now));
        self.held.keys().next().into_iter().chain(ended).min()
    }

    /// When the next node stops counting as alive, if nothing is heard of it before.
    pub fn next_end(&self, now: Duration) -> Option<Duration> {
        let since = self.ended.values().map(|ended| ended.since).chain(self.known_since);
        since.map(|since| since.saturating_add(self.grace)).filter(|end| *end > now).min()
    }
}

#[cfg(test)]
mod tests;
