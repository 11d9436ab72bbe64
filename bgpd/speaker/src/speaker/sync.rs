//! When the routes a former process left in the kernel may be swept: once every peer that should
//! be up has sent all it has, or has had its time.
//!
//! After a restart (RFC 4724 §4.1) nothing is told or installed before: peers and kernel keep what
//! they had. Then those who restart as well are not waited for: they wait for us.

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
    /// Nothing is told or installed yet.
    deferring: bool,
    /// When that ends.
    release: Option<Instant>,
    /// Not waited for in that.
    not_awaited: BTreeSet<PeerId>,
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
        self.may_release();
    }

    /// Nothing is told or installed for the time being.
    pub(super) fn defer(&mut self) {
        self.deferring = true;
        self.release = Some(Instant::now() + PATIENCE);
    }

    /// Whether that is so.
    pub(super) fn is_deferring(&self) -> bool {
        self.deferring
    }

    /// That need not wait for this peer.
    pub(super) fn not_awaited(&mut self, peer: PeerId) {
        if self.deferring {
            self.not_awaited.insert(peer);
            self.may_release();
        }
    }

    fn may_release(&mut self) {
        let all = self.waiting.is_subset(&self.not_awaited) && !self.others;
        if let Some(release) = &mut self.release
            && all
            && !self.held
        {
            *release = (*release).min(Instant::now() + SETTLE);
        }
    }

    /// When to tell and install, or to sweep; `None` once that is done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.release).min()
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
        self.may_release();
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
            let graceful =
                |entry: &&Entry| entry.config.enabled && entry.config.graceful_restart.is_some();
            let others = self.peers.values().filter(|entry| !graceful(entry));
            let others: Vec<_> = others.map(|entry| entry.handle.id).collect();
            others.into_iter().for_each(|peer| self.sync.not_awaited(peer));
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

    /// Whether a former process left peers that may wait for us.
    pub(super) fn is_awaited(&self) -> bool {
        let mut peers = self.config.peers.iter();
        let graceful = |peer: &Arc<PeerConfig>| peer.enabled && peer.graceful_restart.is_some();
        self.config.restarted && (self.config.provisional || peers.any(graceful))
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        match *notice {
            Notice::EndOfRib { peer, epoch, family, families } => {
                self.sync.end_of_rib(peer, epoch, family, families, self.shards.count());
            }
            Notice::NotAwaited(peer) => self.sync.not_awaited(peer),
        }
    }

    /// Does what is due.
    pub(super) async fn sync_due(&mut self) {
        let now = Instant::now();
        if self.sync.deadline().is_some_and(|at| at <= now) && self.sync.deferring {
            self.sync.deferring = false;
            self.sync.release = None;
            info!("caught up after the restart: telling and installing routes");
            self.shards.event(|| Event::Defer(false)).await;
            let orders: Vec<_> = self.peers.values().map(|e| e.handle.orders.clone()).collect();
            for peer in orders {
                // A task that ended needs no telling.
                let _ = peer.send(Order::CaughtUp).await;
            }
        }
        if self.sync.deadline.is_some_and(|at| at <= now) {
            self.in_sync();
        }
    }

    fn in_sync(&mut self) {
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
