//! After our own restart: until when nothing is installed, nor told to peers that keep what they had
//! of us (RFC 4724 §4.1), and who has to be heard before.
//!
//! Everybody who waits for us pays for those who are missing, so nobody is awaited for longer than
//! it may be on its way: peers by name, and those that may come from a template, until [`CONNECT`],
//! what a datastore has yet to tell (peers, and routes of our own) and all else for [`PATIENCE`] at
//! most.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bgp_core::rib::{Epoch, PeerId};
use tokio::time::Instant;

use crate::arrivals::Arrival;

/// How long peers are given to send their routes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// From the last End-of-RIB to what follows: next hops may still be resolving.
pub(super) const SETTLE: Duration = Duration::from_secs(1);
/// How long peers are given to come up. Who lives does so by then: we call at once, the kernel
/// repeats a lost SYN after one, three and seven seconds, and who lost a session and calls itself
/// pauses for five seconds or less by most makes' defaults.
const CONNECT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Deferral {
    /// Over then, whoever is missing.
    end: Instant,
    /// Over then, if only such are missing as have not come.
    connect: Instant,
    /// All has been heard that there is to be: who the peers are, and our own routes.
    named: bool,
    /// Peers nobody can name may come, and restart gracefully: those of templates.
    others: bool,
    /// Named peers that restart gracefully and have not come.
    missing: BTreeSet<PeerId>,
    /// Those that have come, and have not sent all they have.
    sending: BTreeMap<PeerId, Epoch>,
    /// Whose session is up.
    up: BTreeSet<PeerId>,
    /// When there was last one less to wait for.
    latest: Instant,
}

impl Deferral {
    /// Begins, before any peer is there.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            end: now + PATIENCE,
            connect: now + CONNECT,
            named: false,
            others: false,
            missing: BTreeSet::new(),
            sending: BTreeMap::new(),
            up: BTreeSet::new(),
            latest: now,
        }
    }

    /// No others will be named than these, who restart gracefully; with `others`, peers of templates
    /// may come that do so, too.
    pub(super) fn named(&mut self, now: Instant, mut peers: BTreeSet<PeerId>, others: bool) {
        peers.retain(|peer| !self.up.contains(peer));
        self.missing = peers;
        self.named = true;
        self.others = others;
        self.connect = now + CONNECT;
        self.latest = now;
    }

    /// A session has come up or gone down.
    pub(super) fn arrived(&mut self, now: Instant, peer: PeerId, arrival: Arrival) {
        let awaited = self.awaits(peer);
        match arrival {
            Arrival::Awaited(epoch) => {
                self.missing.remove(&peer);
                self.sending.insert(peer, epoch);
            }
            Arrival::Up => {
                self.missing.remove(&peer);
                self.sending.remove(&peer);
            }
            Arrival::Down => {
                if self.sending.remove(&peer).is_some() {
                    self.missing.insert(peer);
                }
            }
        }
        match arrival {
            Arrival::Awaited(_) | Arrival::Up => self.up.insert(peer),
            Arrival::Down => self.up.remove(&peer),
        };
        self.less(now, awaited, peer);
    }

    /// A session has sent all it has.
    pub(super) fn heard(&mut self, now: Instant, peer: PeerId, epoch: Epoch) {
        if self.sending.get(&peer) == Some(&epoch) {
            self.sending.remove(&peer);
            self.latest = now;
        }
    }

    /// A peer is none any more.
    pub(super) fn gone(&mut self, now: Instant, peer: PeerId) {
        let awaited = self.awaits(peer);
        self.missing.remove(&peer);
        self.sending.remove(&peer);
        self.up.remove(&peer);
        self.less(now, awaited, peer);
    }

    fn awaits(&self, peer: PeerId) -> bool {
        self.missing.contains(&peer) || self.sending.contains_key(&peer)
    }

    fn less(&mut self, now: Instant, awaited: bool, peer: PeerId) {
        if awaited && !self.awaits(peer) {
            self.latest = now;
        }
    }

    /// When it is over, unless somebody comes before.
    pub(super) fn deadline(&self) -> Instant {
        let settled = self.latest + SETTLE;
        let over = if !self.sending.is_empty() || !self.named {
            self.end
        } else if self.missing.is_empty() && !self.others {
            settled
        } else {
            settled.max(self.connect)
        };
        over.min(self.end)
    }
}

#[cfg(test)]
mod tests;
