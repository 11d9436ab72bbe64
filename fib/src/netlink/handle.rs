//! What the rest of the daemon holds: wishes in, facts out, nothing that waits for the kernel.

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ipnet::IpNet;

use crate::api::{
    BgpNextHop, FibConfig, FibError, FibRow, FibStatus, Link, RowFilter, Source, Wish,
};
use crate::netlink::figures::earliest;
use crate::netlink::inbox::{Inbox, Leave, Order, Work};

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

/// Rows fetched at once: well under a millisecond of the writer's time.
const SLICE: usize = 1024;
