//! Where everybody leaves work for the writer: wishes are bounded by the number of prefixes, so a
//! route that flaps while the kernel is busy costs no more than any other; orders queue; facts from
//! the listener are bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{
    BgpNextHop, FibConfig, FibError, FibRow, HostRoute, Link, Reach, RowFilter, Source, Wish,
};
use crate::netlink::courier::Delivered;
use crate::netlink::waiting::Waiter;
use crate::plan::fact::Fact;
use crate::plan::key::{Key4, Key6};

/// Work for the writer.
#[derive(Debug, Default)]
pub struct Work {
    /// What prefixes should do.
    pub wishes: Wishes,
    /// Over which links workloads' addresses are; `None` = over none. The last word wins.
    pub locals: BTreeMap<IpAddr, Option<String>>,
    /// What peers need; the last word wins.
    pub reach: Option<Reach>,
    /// Sources that have ended: before anything else.
    pub ended_sources: Vec<Source>,
    /// Orders, oldest first.
    pub orders: VecDeque<Order>,
    /// What the kernel told, oldest first; never more than [`FACTS_MAX`].
    pub facts: Vec<Fact>,
    /// Facts were lost: everything must be read anew.
    pub facts_lost: bool,
    /// Batches the kernel has worked off, oldest first.
    pub delivered: VecDeque<Delivered>,
    /// The writer has ended; nothing is accepted any more.
    pub ended: bool,
}

/// Facts that wait for the writer at most; beyond that a full read is cheaper.
const FACTS_MAX: usize = 1 << 17;

impl Work {
    /// Whether the writer has something to do.
    pub fn any(&self) -> bool {
        !self.wishes.is_empty()
            || !self.locals.is_empty()
            || self.reach.is_some()
            || !self.ended_sources.is_empty()
            || !self.orders.is_empty()
            || !self.facts.is_empty()
            || self.facts_lost
            || !self.delivered.is_empty()
    }

    /// Everything there is; the box stays open or closed as it was.
    pub fn take(&mut self) -> Self {
        let ended = self.ended;
        std::mem::replace(self, Self { ended, ..Self::default() })
    }

    /// Leaves an order unless the writer has ended; then it comes back.
    pub fn order(&mut self, order: Order) -> Result<(), Order> {
        if self.ended {
            return Err(order);
        }
        self.orders.push_back(order);
        Ok(())
    }

    /// Questions about rows alone, the rest stays.
    pub fn take_rows(&mut self) -> VecDeque<Order> {
        let orders = std::mem::take(&mut self.orders);
        let (rows, rest) =
            orders.into_iter().partition(|o| matches!(o, Order::Rows(..) | Order::InKernel(..)));
        self.orders = rest;
        rows
    }

    /// Leaves facts; too many become [`facts_lost`](Self::facts_lost).
    pub fn tell(&mut self, facts: &mut Vec<Fact>) {
        if self.ended || self.facts.len() + facts.len() > FACTS_MAX {
            facts.clear();
            self.lose();
        } else {
            self.facts.append(facts);
        }
    }

    /// Some facts never came: those that did are of no use.
    pub fn lose(&mut self) {
        self.facts.clear();
        self.facts_lost = true;
    }
}

/// Wishes in the order they came; equal ones are kept once. Never much longer than there are
/// prefixes: from time to time, words that are not the last for their prefix are struck out.
#[derive(Debug, Default)]
pub struct Wishes {
    /// IPv4: index into `distinct`, `None` = remove.
    pub v4: Vec<(Key4, Option<u32>)>,
    /// IPv6, likewise.
    pub v6: Vec<(Key6, Option<u32>)>,
    /// The different wishes of this round.
    pub distinct: Vec<Arc<Wish>>,
    /// When the first of them came.
    pub since: Option<Instant>,
    index: HashMap<Arc<Wish>, u32, foldhash::fast::RandomState>,
    /// Length at which words are struck out again.
    crowded: usize,
}

/// Words for one family before any is struck out.
const CROWD: usize = 1 << 20;

/// What a handle asks of the writer beside wishes.
#[derive(Debug)]
pub enum Order {
    /// Follow this next hop.
    Track(BgpNextHop),
    /// No more.
    Untrack(BgpNextHop),
    /// The sources are complete: sweep what nobody wished for.
    InSync,
    /// Rows of ours after this prefix, at most so many.
    Rows(RowFilter, Option<IpNet>, usize, Sender<Vec<FibRow>>),
    /// Which of these are in the kernel as wished.
    InKernel(Vec<IpNet>, Sender<Vec<bool>>),
    /// All workloads have been told: sweep routes to those that were not.
    LocalsInSync,
    /// What peers need has been told whole: sweep what is not among it.
    ReachInSync,
    /// All routes to workloads, and to peers behind gateways.
    LocalRows(Sender<Vec<HostRoute>>),
    /// Tell when one is in the kernel, or cannot be.
    AwaitLocal(Waiter),
    /// Links that have one of these addresses, or a default route.
    Uplinks(Vec<IpAddr>, Sender<Vec<Link>>),
    /// A new configuration.
    Reconfigure(FibConfig, Sender<Result<(), FibError>>),
    /// End; leave the routes in the kernel or not.
    Stop(Leave),
}

/// What becomes of our routes when the writer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// They stay, for the next process to adopt.
    Routes,
    /// They are deleted.
    Nothing,
}

impl Wishes {
    /// Notes a wish; the last word wins.
    pub fn set(&mut self, prefix: IpNet, wish: Option<Arc<Wish>>) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
        let id = wish.and_then(|w| self.intern(w));
        match prefix {
            IpNet::V4(n) => self.v4.push((Key4::from(n), id)),
            IpNet::V6(n) => self.v6.push((Key6::from(n), id)),
        }
        let longest = self.v4.len().max(self.v6.len());
        if longest >= self.crowded.max(CROWD) {
            last_words(&mut self.v4);
            last_words(&mut self.v6);
            self.crowded = 2 * self.v4.len().max(self.v6.len());
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn intern(&mut self, wish: Arc<Wish>) -> Option<u32> {
        // More different wishes in one round than prefixes there are: cannot be.
        let number = |len: usize| u32::try_from(len).ok();
        if let Some(last) = self.distinct.last()
            && Arc::ptr_eq(last, &wish)
        {
            return number(self.distinct.len() - 1);
        }
        if let Some(&id) = self.index.get(&wish) {
            return Some(id);
        }
        let id = number(self.distinct.len())?;
        self.distinct.push(wish.clone());
        self.index.insert(wish, id);
        Some(id)
    }
}

/// Leaves the last word for each key, in order of key.
fn last_words<K: Ord + Copy>(words: &mut Vec<(K, Option<u32>)>) {
    words.sort_by_key(|(key, _)| *key); // stable: the last of equals came last
    words.reverse();
    words.dedup_by_key(|(key, _)| *key); // keeps the first of equals
    words.reverse();
}

/// The letter box itself.
#[derive(Debug, Default)]
pub struct Inbox {
    work: Mutex<Work>,
    filled: Condvar,
}

impl Inbox {
    /// Leaves something and wakes the writer.
    pub fn put<R>(&self, f: impl FnOnce(&mut Work) -> R) -> R {
        let r = f(&mut self.lock());
        self.filled.notify_one();
        r
    }

    /// Everything there is, at once.
    pub fn take(&self) -> Work {
        self.lock().take()
    }

    /// When the oldest wish in the box came.
    pub fn since(&self) -> Option<Instant> {
        self.lock().wishes.since
    }

    /// Waits until there is something or the deadline has come.
    pub fn wait(&self, deadline: Option<Instant>) {
        let mut work = self.lock();
        while !work.any() {
            let Some(d) = deadline else {
                work = self.filled.wait(work).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = d.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return;
            }
            work = self.filled.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for answers of the kernel alone.
    pub fn wait_delivered(&self) -> VecDeque<Delivered> {
        let mut work = self.lock();
        while work.delivered.is_empty() {
            work = self.filled.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut work.delivered)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Each change is one assignment or insertion: a panic cannot leave it half done.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
