//! What the rest of the daemon holds: wishes in, facts out, nothing that waits for the kernel.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{
    BgpNextHop, FibConfig, FibError, FibRow, FibStatus, HostRoute, HostRouteError, Link, Reach,
    RowFilter, Source, Wish,
};
use crate::netlink::figures::earliest;
use crate::netlink::inbox::{Inbox, Leave, Order, Work};
use crate::netlink::waiting::Waiter;

/// The kernel side of a daemon. Cheap to clone; all clones speak to the same writer.
#[derive(Debug, Clone)]
pub struct FibHandle {
    shared: Arc<Shared>,
}

/// What handle, writer and listener share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Work for the writer.
    pub inbox: Inbox,
    /// Newest picture of the links.
    pub links: Snapshot<Arc<Vec<Link>>>,
    /// Newest figures.
    pub status: Snapshot<FibStatus>,
    /// What must be joined at the end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    /// Threads to join at the end.
    pub fn keep_threads(&self, threads: Vec<JoinHandle<()>>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(threads);
    }
}

/// A value its owner publishes and others copy.
#[derive(Debug, Default)]
pub struct Snapshot<T>(Mutex<T>);

impl<T: Clone> Snapshot<T> {
    /// The newest one.
    pub fn read(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A newer one.
    pub fn publish(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl FibHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Says what a prefix should do; `None` takes it out of the kernel. Never waits for the kernel;
    /// the last word for a prefix wins.
    pub fn set(&self, prefix: IpNet, wish: Option<Wish>) {
        self.set_all([(prefix, wish.map(Arc::new))]);
    }

    /// Many wishes at once: cheaper than one by one, otherwise the same. Cheapest where neighbours
    /// share a wish.
    pub fn set_all(&self, changes: impl IntoIterator<Item = (IpNet, Option<Arc<Wish>>)>) {
        self.shared.inbox.put(|work| {
            if !work.ended {
                for (prefix, wish) in changes {
                    work.wishes.set(prefix, wish);
                }
            }
        });
    }

    /// A source has ended: routes over a next hop that nobody else told move to their backup, all
    /// at once and before anything else that waits. What they should do in the long run is for
    /// [`set`](Self::set) to say.
    pub fn source_down(&self, source: Source) {
        self.shared.inbox.put(|work| {
            if !work.ended {
                work.ended_sources.push(source);
            }
        });
    }

    /// Follows a next hop: one [`FibEvent::NextHop`](crate::FibEvent::NextHop) soon, and one with
    /// each change. Calls are counted: as many [`untrack`](Self::untrack) end it.
    pub fn track(&self, next_hop: BgpNextHop) {
        self.order(Order::Track(next_hop));
    }

    /// Takes back one [`track`](Self::track).
    pub fn untrack(&self, next_hop: BgpNextHop) {
        self.order(Order::Untrack(next_hop));
    }

    /// Every wish of this start has been told: routes a former process left and nobody wished for
    /// are deleted now, not before.
    pub fn in_sync(&self) {
        self.order(Order::InSync);
    }

    /// Routes of ours, IPv4 first, in order of prefix. Fetched from the writer a slice at a time
    /// between its batches, so this blocks for milliseconds: not for an async task.
    pub fn rows(&self, filter: RowFilter) -> Rows {
        Rows { handle: self.clone(), filter, after: None, slice: VecDeque::new(), done: false }
    }

    /// One slice of [`rows`](Self::rows): at most `limit` rows after `after`. Empty at the end, or
    /// when the writer has stopped.
    pub fn rows_after(&self, filter: RowFilter, after: Option<IpNet>, limit: usize) -> Vec<FibRow> {
        let (tx, rx) = channel();
        self.order(Order::Rows(filter, after, limit, tx));
        rx.recv().unwrap_or_default()
    }

    /// Which of these prefixes are in the kernel as wished, in the order asked; blocks as
    /// [`rows`](Self::rows) does. Empty when the writer has stopped.
    pub fn in_kernel(&self, prefixes: Vec<IpNet>) -> Vec<bool> {
        let (tx, rx) = channel();
        self.order(Order::InKernel(prefixes, tx));
        rx.recv().unwrap_or_default()
    }

    /// Keeps the host's route to a workload over a link, and waits until it is in the kernel, or
    /// cannot be, or `patience` is over.
    ///
    /// The wish stands whatever comes of it, until [`set_host_routes`](Self::set_host_routes) takes
    /// it back: the link may come later, or the conflict end. Blocks: not for an async task.
    pub fn host_route(
        &self,
        address: IpAddr,
        link: &str,
        patience: Duration,
    ) -> Result<(), HostRouteError> {
        let (answer, answered) = channel();
        let until = Instant::now() + patience;
        let waiter = Waiter { address, link: link.to_owned(), until, answer };
        let refused = self.shared.inbox.put(|work| {
            if !work.ended {
                work.locals.insert(address, Some(link.to_owned()));
            }
            work.order(Order::AwaitLocal(waiter)).err()
        });
        drop(refused);
        // The writer gives up first, and says what it waited for, unless it is busy reading.
        match answered.recv_timeout(patience + SLACK) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                let (link, why) = (link.to_owned(), "the kernel's whole state is being read");
                Err(HostRouteError::TimedOut { address, link, why })
            }
            Err(RecvTimeoutError::Disconnected) => Err(HostRouteError::Stopped),
        }
    }

    /// Says over which links workloads' addresses are (`None` = over none), without waiting; the
    /// last word for an address wins.
    pub fn set_host_routes(&self, changes: impl IntoIterator<Item = (IpAddr, Option<String>)>) {
        self.shared.inbox.put(|work| {
            if !work.ended {
                work.locals.extend(changes);
            }
        });
    }

    /// Every workload of this start has been told: routes to others, left by a former process, are
    /// deleted now, not before. Has nothing to do with [`in_sync`](Self::in_sync).
    pub fn host_routes_in_sync(&self) {
        self.order(Order::LocalsInSync);
    }

    /// Says what peers need, all of it, without waiting: what was told before and is not among it
    /// goes. Addresses come and go with the links they are wished on; a route to a peer comes once
    /// its gateway is on a link.
    pub fn set_reach(&self, reach: Reach) {
        self.shared.inbox.put(|work| {
            if !work.ended {
                work.reach = Some(reach);
            }
        });
    }

    /// What peers need has been told whole: what a former process left beside it is deleted now, not
    /// before. Has nothing to do with [`in_sync`](Self::in_sync).
    pub fn reach_in_sync(&self) {
        self.order(Order::ReachInSync);
    }

    /// Routes to workloads, and to peers behind gateways, by address, those that are not in the kernel, too; blocks for a moment.
    /// Empty when the writer has stopped.
    pub fn host_routes(&self) -> Vec<HostRoute> {
        let (tx, rx) = channel();
        self.order(Order::LocalRows(tx));
        rx.recv().unwrap_or_default()
    }

    /// The links over which nodes reach each other: those that have one of these addresses of the
    /// node, or a default route. The smallest [`mtu`](Link::mtu) of them is the underlay's; see
    /// [`pod_mtu`](crate::attach::pod_mtu). Blocks for a moment; empty when the writer has stopped.
    pub fn uplinks(&self, node: &[IpAddr]) -> Vec<Link> {
        let (tx, rx) = channel();
        self.order(Order::Uplinks(node.to_vec(), tx));
        rx.recv().unwrap_or_default()
    }

    /// Interfaces as they are now, by index.
    pub fn links(&self) -> Arc<Vec<Link>> {
        self.shared.links.read()
    }

    /// Figures as of the last batch.
    pub fn status(&self) -> FibStatus {
        let untaken = self.shared.inbox.since();
        let status = self.shared.status.read();
        FibStatus { oldest_wish: earliest([untaken, status.oldest_wish]), ..status }
    }

    /// Takes a new configuration. Another table or protocol moves our routes there; what was
    /// installed under the old one is deleted.
    pub fn reconfigure(&self, config: FibConfig) -> Result<(), FibError> {
        let (tx, rx) = channel();
        self.order(Order::Reconfigure(config, tx));
        rx.recv().unwrap_or(Err(FibError::Stopped))
    }

    /// Ends the threads and waits for them. With `keep_routes` the kernel goes on forwarding, for
    /// the next process to adopt.
    pub fn stop(&self, keep_routes: bool) {
        let leave = if keep_routes { Leave::Routes } else { Leave::Nothing };
        self.order(Order::Stop(leave));
        let threads: Vec<_> = {
            let mut guard = self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner);
            guard.drain(..).collect()
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the kernel side ended in panic");
            }
        }
    }

    /// Dropped when the writer has ended: whoever waits for an answer sees the channel close.
    fn order(&self, order: Order) {
        let refused = self.shared.inbox.put(|work: &mut Work| work.order(order).err());
        drop(refused);
    }
}

/// Rows in slices; see [`FibHandle::rows`].
#[derive(Debug)]
pub struct Rows {
    handle: FibHandle,
    filter: RowFilter,
    after: Option<IpNet>,
    slice: VecDeque<FibRow>,
    done: bool,
}

impl Iterator for Rows {
    type Item = FibRow;

    fn next(&mut self) -> Option<FibRow> {
        if self.slice.is_empty() && !self.done {
            self.slice = self.handle.rows_after(self.filter, self.after, SLICE).into();
            self.done = self.slice.len() < SLICE;
            self.after = self.slice.back().map(|row| row.prefix);
        }
        self.slice.pop_front()
    }
}

/// How much longer than the writer whoever waits for a route waits.
const SLACK: Duration = Duration::from_millis(500);
/// Rows fetched at once: well under a millisecond of the writer's time.
const SLICE: usize = 1024;
