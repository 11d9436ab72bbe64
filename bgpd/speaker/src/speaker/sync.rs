//! When the routes a former process left in the kernel may be swept: once every peer that should
//! be up has sent all it has, or has had its time.
//!
//! After a restart (RFC 4724 §4.1) nothing is installed, nor told to peers that keep what they had,
//! until the [`Deferral`] is over; the sweep comes behind it.

use std::collections::{BTreeMap, BTreeSet};

use bgp_core::rib::Epoch;
use bgp_packet::Family;

use super::{
    deferral::{Deferral, PATIENCE, SETTLE},
    *,
};
use crate::{
    arrivals::{Arrival, Arrivals},
    peer::Former,
};

/// Peers that may come and cannot be named: dynamic ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Others {
    /// There are none.
    None,
    /// None of them restarts gracefully.
    Plain,
    /// Some of them do.
    Graceful,
}

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
    /// A former process left the kernel forwarding for peers that may wait for us.
    restarted: bool,
    /// Nothing is told or installed yet.
    deferral: Option<Deferral>,
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

    /// Waits for these peers; `graceful` are those of them that restart gracefully. With others, for
    /// as long as peers are given at all: who will come cannot be told, and what they sent before is
    /// forwarded until then.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        mut peers: BTreeSet<PeerId>,
        graceful: BTreeSet<PeerId>,
        others: Others,
    ) {
        self.held = false;
        peers.retain(|peer| !self.heard.contains(peer));
        let patience = if peers.is_empty() && others == Others::None { SETTLE } else { PATIENCE };
        self.waiting = peers;
        self.others = others != Others::None;
        self.deadline = Some(now + patience);
        self.named(now, graceful, others);
    }

    /// Whoever keeps what a former process told it is among these, as far as can be told.
    pub(super) fn named(&mut self, now: Instant, graceful: BTreeSet<PeerId>, others: Others) {
        if let Some(deferral) = &mut self.deferral {
            deferral.named(now, graceful, others == Others::Graceful);
        }
    }

    /// Nothing is told or installed for the time being.
    pub(super) fn defer(&mut self, now: Instant) {
        self.restarted = true;
        self.deferral = Some(Deferral::new(now));
    }

    /// What a peer whose task begins now is to know of the former process.
    pub(super) fn former(&self) -> Former {
        match &self.deferral {
            _ if !self.restarted => Former::Gone,
            Some(_) => Former::Missed,
            None => Former::Replaced,
        }
    }

    /// When to tell and install, or to sweep; `None` once that is done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // What is stale in the kernel is not swept before there is something in its place.
        self.deferral.as_ref().map(Deferral::deadline).or(self.deadline)
    }

    /// Sessions of peers have come up or gone down.
    pub(super) fn arrived(&mut self, now: Instant, arrived: BTreeMap<PeerId, Arrival>) {
        if let Some(deferral) = &mut self.deferral {
            for (peer, arrival) in arrived {
                deferral.arrived(now, peer, arrival);
            }
        }
    }

    /// A shard has worked off an End-of-RIB. Its session came up before, so that is taken first.
    pub(super) fn end_of_rib(
        &mut self,
        now: Instant,
        arrivals: &Arrivals,
        notice: &Notice,
        shards: usize,
    ) {
        self.arrived(now, arrivals.take());
        let Notice { peer, epoch, family, families } = *notice;
        let waits = self.held || (self.deadline.is_some() && self.waiting.contains(&peer));
        if !waits && self.deferral.is_none() {
            return;
        }
        let passed = self.passed.entry((peer, epoch)).or_default();
        *passed.entry(family).or_default() += 1;
        if families.iter().all(|family| passed.get(&family).is_some_and(|count| *count >= shards)) {
            self.no_longer(now, peer);
            if self.held {
                self.heard.insert(peer);
            }
            if let Some(deferral) = &mut self.deferral {
                deferral.heard(now, peer, epoch);
            }
        }
    }

    /// A peer is none any more. What its session did before is taken first.
    pub(super) fn gone(&mut self, now: Instant, arrivals: &Arrivals, peer: PeerId) {
        self.arrived(now, arrivals.take());
        self.no_longer(now, peer);
        if let Some(deferral) = &mut self.deferral {
            deferral.gone(now, peer);
        }
    }

    /// The sweep need not wait for a peer any longer.
    fn no_longer(&mut self, now: Instant, peer: PeerId) {
        self.heard.remove(&peer);
        let last = self.waiting.remove(&peer) && self.waiting.is_empty();
        if self.deadline.is_some() && last && !self.others {
            self.deadline = Some(now + SETTLE);
        }
    }

    /// What is due by now.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let due = |at: Instant| at <= now;
        if let Some(deferral) = &self.deferral {
            if !due(deferral.deadline()) {
                return Due::Nothing;
            }
            self.deferral = None;
            return Due::Tell;
        }
        if !self.deadline.is_some_and(due) {
            return Due::Nothing;
        }
        Due::Sweep { missing: std::mem::take(self).waiting.len() }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet, or nothing any more.
    Nothing,
    /// Telling and installing what has been learnt.
    Tell,
    /// Sweeping; so many peers have not sent all they have.
    Sweep {
        /// How many.
        missing: usize,
    },
}

impl Speaker {
    /// Begins to wait for the peers there are, or for all to be known.
    pub(super) fn begin_sync(&mut self) {
        let graceful = |entry: &&Entry| entry.config.graceful_restart.is_some();
        let graceful = self.enabled().filter(graceful).map(|entry| entry.handle.id).collect();
        let (now, others) = (Instant::now(), self.others());
        match self.config.known {
            Knowledge::All => self.sync.begin(now, self.expected(), graceful, others),
            Knowledge::Remembered => {
                self.sync.hold();
                self.sync.named(now, graceful, others);
            }
            Knowledge::Part => self.sync.hold(),
        }
    }

    /// The peers whose routes are to be expected.
    fn expected(&self) -> BTreeSet<PeerId> {
        self.enabled().map(|entry| entry.handle.id).collect()
    }

    /// Peers that are meant to be up.
    fn enabled(&self) -> impl Iterator<Item = &Entry> {
        let enabled =
            |entry: &&Entry| entry.config.enabled && entry.config.password_error.is_none();
        self.peers.values().filter(enabled)
    }

    /// Which peers may come that are not among those.
    fn others(&self) -> Others {
        let enabled = self.templates.values().filter(|template| template.enabled);
        let each = enabled.map(|template| {
            let comes = template.password_error.is_none();
            let graceful = comes && template.graceful_restart.is_some();
            if graceful { Others::Graceful } else { Others::Plain }
        });
        each.max().unwrap_or(Others::None)
    }

    /// Whether a former process left peers that may wait for us.
    pub(super) fn is_awaited(&self) -> bool {
        let mut peers = self.config.peers.iter();
        let graceful = |peer: &Arc<PeerConfig>| peer.enabled && peer.graceful_restart.is_some();
        self.config.restarted && (self.config.known == Knowledge::Part || peers.any(graceful))
    }

    pub(super) fn arrived(&mut self, arrived: BTreeMap<PeerId, Arrival>) {
        self.sync.arrived(Instant::now(), arrived);
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        self.sync.end_of_rib(Instant::now(), &self.arrivals, notice, self.shards.count());
    }

    /// Does what is due.
    pub(super) async fn sync_due(&mut self) {
        match self.sync.due(Instant::now()) {
            Due::Nothing => {}
            Due::Tell => self.caught_up().await,
            Due::Sweep { missing } => self.in_sync(missing),
        }
    }

    async fn caught_up(&mut self) {
        info!("caught up after the restart: telling and installing routes");
        self.shards.event(|| Event::Defer(false)).await;
        let orders: Vec<_> = self.peers.values().map(|e| e.handle.orders.clone()).collect();
        for peer in orders {
            // A task that ended needs no telling.
            let _ = peer.send(Order::CaughtUp).await;
        }
    }

    fn in_sync(&mut self, missing: usize) {
        if missing > 0 {
            warn!(
                peers = missing,
                "not every peer has sent its routes in time: stale kernel routes go now"
            );
        }
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
