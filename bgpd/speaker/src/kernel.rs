//! The kernel side as the speaker needs it, and what it reports.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use margay_fib::{BgpNextHop, FibEvent, FibHandle, Learned, Link, Resolution, Source, Wish};
use tokio::sync::Notify;

/// What the speaker asks of the kernel side. No call may wait for the kernel.
pub trait Kernel: Debug + Send + Sync {
    /// Says what prefixes should do; `None` takes one out of the kernel.
    fn set(&self, wishes: Vec<(IpNet, Option<Arc<Wish>>)>);
    /// A source of routes has ended: what hangs on it alone moves to its backup, before anything
    /// else.
    fn source_down(&self, source: Source);
    /// Follows a next hop; answered by [`FibEvent::NextHop`]. Counted.
    fn track(&self, next_hop: BgpNextHop);
    /// Takes back one `track`.
    fn untrack(&self, next_hop: BgpNextHop);
    /// Every route that a former process may have left has been wished for again, if it is to
    /// stay.
    fn in_sync(&self);
    /// Interfaces as they are now.
    fn links(&self) -> Arc<Vec<Link>>;
}

impl Kernel for FibHandle {
    fn set(&self, wishes: Vec<(IpNet, Option<Arc<Wish>>)>) {
        self.set_all(wishes);
    }

    fn source_down(&self, source: Source) {
        Self::source_down(self, source);
    }

    fn track(&self, next_hop: BgpNextHop) {
        Self::track(self, next_hop);
    }

    fn untrack(&self, next_hop: BgpNextHop) {
        Self::untrack(self, next_hop);
    }

    fn in_sync(&self) {
        Self::in_sync(self);
    }

    fn links(&self) -> Arc<Vec<Link>> {
        Self::links(self)
    }
}

/// A route of the kernel by what tells it from others: prefix, table, protocol, metric, gateway.
type LearnedKey = (IpNet, u32, u8, u32, Option<std::net::IpAddr>);

/// What has changed in the kernel since the last look: the latest word for each next hop, route and
/// link, so bounded by their number.
#[derive(Debug, Default)]
pub struct Changes {
    pub(crate) next_hops: BTreeMap<BgpNextHop, Option<Resolution>>,
    pub(crate) learned: BTreeMap<LearnedKey, (Learned, bool)>,
    pub(crate) links: bool,
}

/// Where the kernel side puts its events: never waits, never grows with churn.
#[derive(Debug, Default)]
pub struct KernelEvents {
    changes: Mutex<Changes>,
    ready: Notify,
}

impl KernelEvents {
    /// Takes events in; for the thread of the kernel side.
    pub fn put(&self, events: Vec<FibEvent>) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            match event {
                FibEvent::NextHop(next_hop, resolution) => {
                    changes.next_hops.insert(next_hop, resolution);
                }
                FibEvent::Learned(learned, there) => {
                    let Learned { prefix, table, protocol, metric, gateway, .. } = learned;
                    let key = (prefix, table, protocol, metric, gateway);
                    changes.learned.insert(key, (learned, there));
                }
                FibEvent::Link(_) | FibEvent::LinkGone(_) => changes.links = true,
                FibEvent::InSync | FibEvent::Installed(..) => {}
            }
        }
        drop(changes);
        self.ready.notify_one();
    }

    /// Waits for changes and takes them.
    pub(crate) async fn next(&self) -> Changes {
        self.ready.notified().await;
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
