//! The threads of the RIB shards, and the way to them.
//!
//! Each shard has two channels: one for control (sessions, queries, kernel events), emptied before
//! any route is looked at, and a bounded one for routes, which makes readers wait. What a shard
//! wants sent goes into the members' queues without waiting.

mod marks;
mod run;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Instant,
};

use bgp_core::{
    config::PeerConfig,
    fsm::Negotiated,
    rib::{
        Accepted, AttrKey, AttrTable, Attrs, Epoch, Event, PeerId, RouteRow, SessionAddresses,
        Shard, ShardConfig, SoftReset,
    },
};
use bgp_packet::{Family, FamilySet};
use ipnet::IpNet;
use margay_fib::Source;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::{connection::Link, kernel::Kernel, peer::Order};

/// Batches waiting for a shard; what a reader holds comes on top.
const BATCHES: usize = 32;
/// Control messages waiting for a shard.
const CONTROLS: usize = 4096;
/// Tables that attribute sets are spread over, so that readers seldom meet.
const ATTRIBUTE_TABLES: u64 = 16;
/// Most shards: each has one bit in a queue.
pub(crate) const MAX_SHARDS: usize = 64;

/// The best route of a prefix changed.
#[derive(Debug, Clone)]
pub struct RouteChange {
    /// Which prefix.
    pub prefix: IpNet,
    /// Its new best route; `None`: it has none any more.
    pub best: Option<Arc<RouteRow>>,
}

/// What the speaker is told by shards: one has worked off a peer's End-of-RIB.
#[derive(Debug)]
pub(crate) struct Notice {
    /// Of whom.
    pub(crate) peer: PeerId,
    /// Which session.
    pub(crate) epoch: Epoch,
    /// For which family.
    pub(crate) family: Family,
    /// All families of the session.
    pub(crate) families: FamilySet,
}

/// A session, as the kernel side knows it.
fn source(epoch: Epoch) -> Source {
    Source(epoch.0)
}

/// Before a session's first route.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) peer: PeerId,
    pub(crate) epoch: Epoch,
    pub(crate) config: Arc<PeerConfig>,
    pub(crate) negotiated: Arc<Negotiated>,
    pub(crate) addresses: SessionAddresses,
    pub(crate) link: Arc<Link>,
    pub(crate) orders: mpsc::Sender<Order>,
}

type Question = Box<dyn FnOnce(&mut Shard) + Send>;

enum Control {
    Up(Arc<Up>, Arc<Accepted>),
    Event(Event),
    Ask(Question),
    /// Answered once there is nothing left to do.
    Idle(oneshot::Sender<()>),
    Stop,
}

/// Members whose queue has drained; bounded by the number of peers.
#[derive(Debug, Default)]
struct Drained {
    peers: Mutex<Vec<PeerId>>,
    wake: Notify,
}

#[derive(Debug)]
struct Door {
    control: mpsc::Sender<Control>,
    routes: mpsc::Sender<Event>,
    drained: Drained,
    /// Microseconds of the longest turn since the last publication.
    longest_turn_us: AtomicU64,
    /// Turns that had anything to do.
    turns: AtomicU64,
    /// Blocks of messages made, and queued: one for each receiver.
    blocks: AtomicU64,
    copies: AtomicU64,
}

/// The way to all shards; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shards(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    doors: Vec<Door>,
    tables: Vec<Mutex<AttrTable>>,
    base: Instant,
    epoch: AtomicU32,
    changes: broadcast::Sender<RouteChange>,
    kernel: Arc<dyn Kernel>,
}

/// A figure of one shard, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct ShardGauge {
    /// Batches waiting.
    pub waiting: usize,
    /// Longest turn since the last look, in microseconds.
    pub longest_turn_us: u64,
    /// Turns that had anything to do; routes by turns is how much is worked off at once.
    pub turns: u64,
    /// Blocks of encoded messages, each made once.
    pub blocks: u64,
    /// The same blocks as queued for receivers: copies by blocks is the fan-out of groups.
    pub copies: u64,
}

impl Shards {
    /// Starts the threads.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn start(
        count: usize,
        config: &ShardConfig,
        kernel: &Arc<dyn Kernel>,
        notices: &mpsc::Sender<Notice>,
        changes: broadcast::Sender<RouteChange>,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let count = count.clamp(1, MAX_SHARDS);
        let (mut doors, mut inlets) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (control, controls) = mpsc::channel(CONTROLS);
            let (routes, batches) = mpsc::channel(BATCHES);
            doors.push(Door {
                control,
                routes,
                drained: Drained::default(),
                longest_turn_us: AtomicU64::new(0),
                turns: AtomicU64::new(0),
                blocks: AtomicU64::new(0),
                copies: AtomicU64::new(0),
            });
            inlets.push((controls, batches));
        }
        let shards = Self(Arc::new(Inner {
            doors,
            tables: (0..ATTRIBUTE_TABLES).map(|_| Mutex::default()).collect(),
            base: Instant::now(),
            epoch: AtomicU32::new(0),
            changes,
            kernel: Arc::clone(kernel),
        }));
        let mut threads = Vec::new();
        for (index, (controls, batches)) in inlets.into_iter().enumerate() {
            let thread = run::Thread::new(
                index,
                shards.clone(),
                Shard::new(config.clone()),
                (controls, batches),
                Arc::clone(kernel),
                notices.clone(),
            );
            let name = format!("rib-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || thread.run())?);
        }
        Ok((shards, threads))
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.doors.len()
    }

    /// A number that no session had before.
    pub(crate) fn next_epoch(&self) -> Epoch {
        Epoch(self.0.epoch.fetch_add(1, Relaxed).wrapping_add(1))
    }

    /// Seconds since the start, the clock of the shards.
    pub(crate) fn now(&self) -> u32 {
        u32::try_from(self.0.base.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// The shared copy of an attribute set, and whether it was there already.
    pub(crate) fn intern(&self, key: &AttrKey) -> (Arc<Attrs>, bool) {
        // The low bits choose the place inside the table, and the seven highest tell those at one
        // place apart: to choose by these cost a comparison with another set for each lookup.
        let table = (key.content_hash() >> 40) % ATTRIBUTE_TABLES;
        let table = usize::try_from(table).ok().and_then(|table| self.0.tables.get(table));
        let Some(table) = table else { return (Arc::new(Attrs::of(key)), false) };
        let lock = || table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().find(key) {
            return (known, true);
        }
        // Made without the lock: another reader may be first, and then its copy is the shared one.
        let attrs = Attrs::of(key);
        (lock().intern(attrs), false)
    }

    /// Attribute sets held.
    pub(crate) fn attribute_sets(&self) -> usize {
        let len = |t: &Mutex<AttrTable>| t.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.0.tables.iter().map(len).sum()
    }

    /// Forgets attribute sets that nobody uses any more; how many.
    pub(crate) fn collect(&self) -> usize {
        let collect =
            |t: &Mutex<AttrTable>| t.lock().unwrap_or_else(PoisonError::into_inner).collect();
        self.0.tables.iter().map(collect).sum()
    }

    /// Hands routes over, if there is room.
    pub(crate) fn try_route(&self, shard: usize, event: Event) -> Result<(), Event> {
        match self.0.doors.get(shard).map(|door| door.routes.try_reserve()) {
            Some(Ok(permit)) => {
                permit.send(event);
                Ok(())
            }
            _ => Err(event),
        }
    }

    /// Hands routes over, once there is room; false: the shard has ended.
    pub(crate) async fn route(&self, shard: usize, event: Event) -> bool {
        match self.0.doors.get(shard) {
            Some(door) => door.routes.send(event).await.is_ok(),
            None => false,
        }
    }

    /// A session is up: its routes may come.
    pub(crate) async fn peer_up(&self, up: Up) {
        let (up, accepted) = (Arc::new(up), Arc::<Accepted>::default());
        self.control(|| Control::Up(Arc::clone(&up), Arc::clone(&accepted))).await;
    }

    /// A session is down. Packets leave its next hops now, the tables follow; but not where the
    /// peer may be back soon.
    pub(crate) async fn peer_down(&self, peer: PeerId, epoch: Epoch, keep: FamilySet) {
        if keep.is_empty() {
            self.source_down(epoch);
        }
        self.event(|| Event::PeerDown { peer, epoch, keep }).await;
    }

    /// Packets leave the next hops of a session now.
    pub(crate) fn source_down(&self, epoch: Epoch) {
        self.0.kernel.source_down(source(epoch));
    }

    /// Policies are to be worked again for a peer.
    pub(crate) async fn soft_reset(&self, peer: PeerId, direction: SoftReset) {
        self.event(|| Event::SoftReset { peer, direction }).await;
    }

    /// Tells every shard, before the routes that wait.
    pub(crate) async fn event(&self, event: impl Fn() -> Event) {
        self.control(|| Control::Event(event())).await;
    }

    /// Tells the shard that owns a prefix.
    pub(crate) async fn event_for(&self, prefix: IpNet, event: Event) {
        let shard = bgp_core::rib::shard_of(prefix, self.count());
        if let Some(door) = self.0.doors.get(shard) {
            // A shard that has ended is being reported elsewhere.
            let _ = door.control.send(Control::Event(event)).await;
        }
    }

    /// Asks one shard. `None`: it has ended.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        question: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |shard| {
            // Whoever asked may be gone.
            let _ = answer.send(question(shard));
        });
        self.0.doors.get(shard)?.control.send(Control::Ask(question)).await.ok()?;
        answered.await.ok()
    }

    /// Waits until every shard has worked off what it was given before.
    pub(crate) async fn idle(&self) {
        for door in &self.0.doors {
            let (answer, answered) = oneshot::channel();
            let _ = door.control.send(Control::Idle(answer)).await;
            let _ = answered.await;
        }
    }

    /// Ends the threads.
    pub(crate) async fn stop(&self) {
        self.control(|| Control::Stop).await;
    }

    /// Queues of these shards' members have drained; one bit a shard.
    pub(crate) fn drained(&self, peer: PeerId, shards: u64) {
        for (index, door) in self.0.doors.iter().enumerate() {
            if shards >> index & 1 != 0 {
                let peers = &door.drained.peers;
                peers.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
                door.drained.wake.notify_one();
            }
        }
    }

    /// Figures of each shard.
    pub(crate) fn gauges(&self) -> Vec<ShardGauge> {
        let gauge = |door: &Door| ShardGauge {
            waiting: door.routes.max_capacity() - door.routes.capacity(),
            longest_turn_us: door.longest_turn_us.swap(0, Relaxed),
            turns: door.turns.load(Relaxed),
            blocks: door.blocks.load(Relaxed),
            copies: door.copies.load(Relaxed),
        };
        self.0.doors.iter().map(gauge).collect()
    }

    async fn control(&self, control: impl Fn() -> Control) {
        for door in &self.0.doors {
            // A shard that has ended is being reported elsewhere.
            let _ = door.control.send(control()).await;
        }
    }
}
