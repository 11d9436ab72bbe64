//! Whose session is up: from the tasks of the peers, who must not wait, to the speaker, who must not
//! miss any. The latest word of each peer, so bounded by their number.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bgp_core::rib::{Epoch, PeerId};
use tokio::sync::Notify;

/// What a peer's task says of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is up, and the peer goes on by what it had of us while it sends what it has: after our
    /// restart that is waited for.
    Awaited(Epoch),
    /// It is up, and nobody waits: the peer marks no end of its routes, or waits for us.
    Up,
    /// It is no longer up.
    Down,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    latest: Mutex<BTreeMap<PeerId, Arrival>>,
    ready: Notify,
}

impl Arrivals {
    /// Takes a word in.
    pub(crate) fn put(&self, peer: PeerId, arrival: Arrival) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, arrival);
        self.ready.notify_one();
    }

    /// Waits for words and takes them; somebody else may have taken them before.
    pub(crate) async fn next(&self) -> BTreeMap<PeerId, Arrival> {
        self.ready.notified().await;
        self.take()
    }

    /// Takes the words there are: whoever has heard of something that came of one must have that
    /// one, too, whichever way was the faster.
    pub(crate) fn take(&self) -> BTreeMap<PeerId, Arrival> {
        std::mem::take(&mut *self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
