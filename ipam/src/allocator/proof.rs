//! What the watch may not have told yet, asked of the store itself.
//!
//! News may stay away while commits go on: they come by another daemon, or the watch hangs. A claim is
//! then compared with a list, and a node that is to be cleaned up behind is looked for.

use std::{collections::BTreeMap, time::Duration};

use margay_model::{Key, Kind, Revision, Versioned};

use super::{Allocator, Flight, Output, Snapshot};
use crate::{block::NodeName, time::Now};

/// How long a claim waits for the watch.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two lists: one may be on its way.
const PAUSE: Duration = Duration::from_secs(3);
/// How long a look at nodes that are gone counts.
const FRESH: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// As of which revision all blocks were listed beside the watch.
    pub(super) listed: Revision,
    /// When a list is asked for, if a claim waits.
    list_at: Option<Duration>,
    /// Nodes that were neither there nor alive, and when that was seen.
    gone: BTreeMap<NodeName, Duration>,
}

impl Proof {
    /// When something is to be asked.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.list_at
    }

    /// Whether all of these were seen to be gone just now.
    pub(super) fn has(&self, nodes: &[NodeName], now: Duration) -> bool {
        let fresh = |node| self.gone.get(node).is_some_and(|at| now.saturating_sub(*at) <= FRESH);
        nodes.iter().all(fresh)
    }
}

impl Allocator {
    /// Asks for a list while a claim waits for a watch that is silent.
    pub(super) fn look_past_the_watch(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.flight.as_ref().is_some_and(Flight::is_unsure) {
            self.proof.list_at = None;
            return;
        }
        let at = *self.proof.list_at.get_or_insert(now.steady.saturating_add(PATIENCE));
        if now.steady >= at {
            out.push(Output::List);
            self.proof.list_at = Some(now.steady.saturating_add(PAUSE));
        }
    }

    /// A list came, beside the watch: what the watch tells from before it is old.
    pub(super) fn listed(&mut self, now: Now, list: &Snapshot, out: &mut Vec<Output>) {
        if !self.in_sync {
            return;
        }
        let changed = self.view.learn(&list.blocks, list.at);
        self.leases.replace(&list.leases, list.at, now.steady);
        self.look_at_ends(now);
        self.proof.listed = self.proof.listed.max(list.at);
        self.look_at_orphans(now, &changed);
        self.confirm(now, out);
        self.announce(&changed, out);
    }

    /// Has these nodes looked for.
    pub(super) fn look_for(&mut self, nodes: Vec<NodeName>) {
        for node in nodes {
            self.reading.insert(node_key(&node));
            self.reading.insert(Key::NodeLease(node.to_string()));
        }
    }

    /// Takes in what was found of nodes. One that is there, or alive, is not gone.
    pub(super) fn looked_for(
        &mut self,
        now: Now,
        at: Revision,
        found: &BTreeMap<&Key, &Option<Versioned>>,
    ) {
        self.proof.gone.retain(|_, seen| now.steady.saturating_sub(*seen) <= FRESH);
        for (key, lease) in found {
            let Key::NodeLease(name) = key else { continue };
            let Ok(node) = NodeName::try_from(name.as_str()) else { continue };
            let held = lease.as_ref().map(|there| there.revision);
            // An end that is known already keeps its time.
            if held.is_some() || self.leases.of(&node).is_some() {
                self.leases.apply(&node, held, at, now.steady);
                self.look_at_ends(now);
            }
            match found.get(&node_key(&node)) {
                Some(Some(_)) => {
                    self.gone.remove(&node);
                }
                Some(None) if held.is_none() => {
                    self.proof.gone.insert(node, now.steady);
                    self.next_collection = now.steady;
                }
                Some(None) | None => {}
            }
        }
    }
}

fn node_key(node: &NodeName) -> Key {
    Key::cluster(Kind::Node, node.to_string())
}

#[cfg(test)]
mod tests;
