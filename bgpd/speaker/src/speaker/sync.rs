//! When the routes a former process left in the kernel may be swept: once every peer that should
//! be up has sent all it has, or has had its time.

use std::collections::{BTreeMap, BTreeSet};

use bgp_core::rib::Epoch;
use bgp_packet::{Family, FamilySet};

use super::*;

/// How long peers are given to come up and send their routes.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the last End-of-RIB to the sweep: next hops may still be resolving.
const SETTLE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sync {
    waiting: BTreeSet<PeerId>,
    /// Peers nobody can name may come yet: dynamic ones.
    others: bool,
    /// Families whose End-of-RIB has passed so many shards.
    passed: BTreeMap<(PeerId, Epoch), BTreeMap<Family, usize>>,
    deadline: Option<Instant>,
    /// Not all peers are known yet: nothing is swept, whatever has been heard.
    held: bool,
    /// Those who have sent all they have.
    heard: BTreeSet<PeerId>,
}

impl Sync {
    /// Begins once all peers are known, and notes meanwhile who has sent all it has.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Whether it has yet to begin.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Waits for these peers. With `others`, for as long as peers are given at all: who will come
    /// cannot be told, and what they sent before is forwarded until then.
    pub(super) fn begin(&mut self, mut peers: BTreeSet<PeerId>, others: bool) {
        self.held = false;
        peers.retain(|peer| !self.heard.contains(peer));
        let patience = if peers.is_empty() && !others { SETTLE } else { PATIENCE };
        self.waiting = peers;
        self.others = others;
        self.deadline = Some(Instant::now() + patience);
    }

    /// When to sweep; `None` once that is done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A shard has worked off an End-of-RIB.
    pub(super) fn end_of_rib(
        &mut self,
        peer: PeerId,
        epoch: Epoch,
        family: Family,
        families: FamilySet,
        shards: usize,
    ) {
        if !self.held && (self.deadline.is_none() || !self.waiting.contains(&peer)) {
            return;
        }
        let passed = self.passed.entry((peer, epoch)).or_default();
        *passed.entry(family).or_default() += 1;
        if families.iter().all(|family| passed.get(&family).is_some_and(|count| *count >= shards)) {
            self.gone(peer);
            if self.held {
                self.heard.insert(peer);
            }
        }
    }

    /// Nothing more is to be expected of a peer.
    pub(super) fn gone(&mut self, peer: PeerId) {
        self.heard.remove(&peer);
        let last = self.waiting.remove(&peer) && self.waiting.is_empty();
        if self.deadline.is_some() && last && !self.others {
            self.deadline = Some(Instant::now() + SETTLE);
        }
    }

    fn finish(&mut self) {
        *self = Self::default();
    }
}

impl Speaker {
    /// Begins to wait for the peers there are, or for all to be known.
    pub(super) fn begin_sync(&mut self) {
        if self.config.provisional {
            self.sync.hold();
        } else {
            self.sync.begin(self.expected(), self.expects_others());
        }
    }

    /// The peers whose routes are to be expected.
    pub(super) fn expected(&self) -> BTreeSet<PeerId> {
        let enabled =
            |entry: &&Entry| entry.config.enabled && entry.config.password_error.is_none();
        self.peers.values().filter(enabled).map(|entry| entry.handle.id).collect()
    }

    /// Whether peers may come that are not among those.
    pub(super) fn expects_others(&self) -> bool {
        self.templates.values().any(|template| template.enabled)
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        let Notice::EndOfRib { peer, epoch, family, families } = *notice;
        self.sync.end_of_rib(peer, epoch, family, families, self.shards.count());
    }

    pub(super) fn in_sync(&mut self) {
        if !self.sync.waiting.is_empty() {
            let peers = self.sync.waiting.len();
            warn!(peers, "not every peer has sent its routes in time: stale kernel routes go now");
        }
        self.sync.finish();
        let (shards, kernel) = (self.shards.clone(), Arc::clone(&self.kernel));
        self.service_tasks.spawn(async move {
            shards.idle().await;
            info!("routes are in sync with the peers");
            kernel.in_sync();
        });
    }
}

#[cfg(test)]
mod tests;
