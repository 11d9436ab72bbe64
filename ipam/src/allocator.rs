//! The allocator: requests, news and time in; commits and answers out.
//!
//! Owns the order of things: what waits, what is in flight, what is tried again and when. Promises
//! that an address is answered only once the commit that assigns it has happened and its block
//! overlaps no older one; that what is committed for a request nobody waits for any more is
//! released; that nothing is forgotten while the store is away. Leaves to others the store, the
//! clock and the callers: the shell turns [`Output`] into calls and their results into [`Input`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use ipnet::IpNet;
use margay_model::{Change, Key, Revision, Txn, Versioned};

use crate::{
    block::{Handle, NodeName, Owner},
    error::IpamError,
    gc::{Collector, Evidence, Scene},
    lease::Leases,
    plan::{Answer, Ask, Elsewhere, Grant, unknown},
    pool::{Pools, Reservations, Settings},
    time::Now,
    view::View,
};

mod cleanup;
mod flight;
mod jitter;
mod proof;
mod tenure;

use flight::Flight;
use jitter::Jitter;
use proof::Proof;
use tenure::Tenure;

/// A request of a caller, by the caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A commit under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What does not change while an allocator lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The node and the instance id kept in its state directory.
    pub host: Owner,
    /// How long the lease of the node lasts without being kept; it is kept three times as often.
    /// For as long again after its end the node still counts as alive.
    pub lease_ttl: Duration,
    /// How long something must be seen unused before it is released; zero turns collection off.
    pub grace: Duration,
    /// How long a request may take when it does not say so itself.
    pub patience: Duration,
    /// For the jitter between attempts.
    pub seed: u64,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitEnd {
    /// It happened, as this revision.
    Done(Revision),
    /// A compare did not hold; nothing was written.
    Lost,
    /// The answer got lost or never came: it may have happened, or may still.
    Unknown(String),
    /// The store takes no such write, now or later; nothing was written.
    Refused(String),
}

/// Resources that stand in the datastore and cannot be read, and of which nothing was known before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Pools: whose the blocks in them are nobody can say, so nothing is given up or collected.
    pub pools: BTreeSet<String>,
    /// What says which addresses may be assigned: none is meanwhile.
    pub rules: BTreeSet<String>,
}

/// What became of the wish to keep the lease of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// It is ours for its time from now; taken by this commit, now or earlier.
    Held(Revision),
    /// Another daemon has it.
    Taken,
    /// The store did not answer.
    Failed(String),
}

/// A complete list of what an allocator watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every block.
    pub blocks: Vec<(IpNet, Revision, Bytes)>,
    /// Every node lease.
    pub leases: Vec<(NodeName, Revision)>,
    /// The revision it was read at.
    pub at: Revision,
}

/// What an allocator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Everything, at the start and whenever a watch could not be continued.
    Snapshot(Snapshot),
    /// Changes of blocks and leases out of one watch, with which everything up to the youngest of
    /// them has been told. A watch that gathers changes by key tells the latest of each key only, so
    /// a block may come as it became after a claim was made: all that waits is fed together, because
    /// a claim counts as checked once a change as young as itself was among them.
    Changes(Vec<Change>),
    /// The pools, selectors evaluated for this node. To be told before the first snapshot: without
    /// its pool an empty block of ours is given up.
    Pools(Pools),
    /// Other nodes with the pools as they are for them now: what waits for one is planned with these.
    /// To be told before [`Input::Pools`], with which what waits may be planned.
    Elsewhere(Vec<Elsewhere>),
    /// The reservations.
    Reservations(Reservations),
    /// The settings.
    Settings(Settings),
    /// Whether nobody may write for now (`datastoreReady`). Then nothing is assigned, to those who wait
    /// either, and nothing is collected; what is released is, so that nobody who leaves has to wait.
    Locked(bool),
    /// What there is and cannot be read.
    Unreadable(Unreadable),
    /// The nodes that exist. Only one that was told of once and is not any more counts as gone: one
    /// that never was may have no resource by its own will. Told of none, nothing changes.
    Nodes(BTreeSet<NodeName>),
    /// Addresses live on this node that nobody assigned.
    Busy(BTreeSet<IpAddr>),
    /// What lives on this node. Until told, nothing of this node is collected.
    Evidence(Evidence),
    /// A caller wants something, until a time on the steady clock; `None`: the usual patience.
    Ask {
        /// The caller's number.
        id: AskId,
        /// What.
        ask: Ask,
        /// Until when.
        deadline: Option<Duration>,
    },
    /// A caller does not wait any more. What is assigned to it later is released.
    Cancel(AskId),
    /// Nobody took the answer that told of these: they are released.
    Unwanted(Vec<Grant>),
    /// A commit ended.
    Committed {
        /// Which.
        ticket: Ticket,
        /// How.
        end: CommitEnd,
    },
    /// The answer to an [`Output::KeepLease`].
    Lease(LeaseEnd),
    /// Keys were read again, not older than the [`Output::Read`] that asked for it.
    Read {
        /// The revision of the read.
        at: Revision,
        /// What lies there.
        values: Vec<(Key, Option<Versioned>)>,
    },
    /// The answer to an [`Output::List`], not older than that. News from before it may follow. That it
    /// cannot be had need not be told.
    Listed(Snapshot),
    /// Keys could not be read.
    ReadFailed(String),
    /// Time has passed.
    Tick,
}

/// What an allocator wants done or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Commit this and tell how it ended.
    Commit {
        /// Under which number.
        ticket: Ticket,
        /// What.
        txn: Txn,
    },
    /// Take the lease of this node, or keep it, and tell what came of it.
    KeepLease,
    /// Read these keys, not from a cache.
    Read(Vec<Key>),
    /// List all blocks and leases, not from a cache: the watch is silent.
    List,
    /// An answer to a caller.
    Answer {
        /// Whom.
        id: AskId,
        /// What.
        answer: Result<Answer, IpamError>,
    },
    /// A block began or ceased to be ours, proven by what is committed: announce or withdraw it.
    Owned {
        /// Which.
        block: IpNet,
        /// Whether it is.
        ours: bool,
    },
    /// Something an operator may want to know.
    Event(Event),
}

/// Something worth a log line or a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A commit was lost to somebody else.
    Lost {
        /// On which block.
        block: IpNet,
        /// Whether it was to claim it.
        claim: bool,
    },
    /// A block was claimed.
    Claimed(IpNet),
    /// A claimed block turned out to overlap an older one and is not used.
    Contested(IpNet),
    /// Addresses were collected.
    Collected {
        /// How many.
        addresses: usize,
    },
    /// Blocks were given up.
    BlocksFreed(usize),
    /// The lease of the node is ours.
    LeaseTaken,
    /// Another daemon runs under the name of this node.
    Displaced,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits of blocks sent.
    pub commits: u64,
    /// Of these, lost to somebody else.
    pub lost: u64,
    /// Claims sent.
    pub claims: u64,
    /// Claims that made a block ours.
    pub claimed: u64,
    /// Addresses assigned.
    pub assigned: u64,
    /// Addresses released.
    pub released: u64,
    /// Of these, collected.
    pub collected: u64,
}

/// Who wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A caller.
    Caller(AskId),
    /// Nobody: what was given out must be taken back.
    Undo,
    /// The collector.
    Collector,
}

/// A wish that waits.
#[derive(Clone, Debug)]
struct Waiting {
    asker: Asker,
    ask: Ask,
    deadline: Option<Duration>,
    attempts: u32,
    /// What earlier attempts already got: counts for the answer, is not asked for again.
    kept: Vec<Grant>,
    /// What earlier attempts released, or may have.
    released: BTreeSet<IpAddr>,
    /// Blocks to be read before it goes.
    doubtful: BTreeSet<IpNet>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Allocator {
    config: Config,
    view: View,
    pools: Pools,
    reservations: Reservations,
    settings: Settings,
    locked: bool,
    unreadable: Unreadable,
    busy: BTreeSet<IpAddr>,
    nodes: BTreeSet<NodeName>,
    /// Nodes that existed and do not any more, and since when that is known.
    gone: BTreeMap<NodeName, Duration>,
    evidence: Option<Evidence>,
    leases: Leases,
    tenure: Tenure,
    collector: Collector,
    /// How far the watch has come.
    watched: Revision,
    proof: Proof,
    in_sync: bool,
    queue: VecDeque<Waiting>,
    flight: Option<Flight>,
    /// Until when no new attempt is made.
    pause: Option<Duration>,
    /// Keys to be read before going on.
    reading: BTreeSet<Key>,
    /// The read under way, with the keys it can tell of: one that became doubtful after it was sent
    /// is not among them.
    read_sent: Option<BTreeSet<Key>>,
    read_again: Option<Duration>,
    next_ticket: u64,
    next_collection: Duration,
    owned: BTreeSet<IpNet>,
    store_error: Option<String>,
    jitter: Jitter,
    counters: Counters,
}

/// Most wishes planned together: bounds the time of one step and the size of one write.
const MOST_TOGETHER: usize = 256;

impl Allocator {
    /// An allocator that knows nothing yet.
    pub fn new(config: Config) -> Self {
        let jitter = Jitter::new(config.seed);
        let leases = Leases::new(config.lease_ttl);
        Self {
            config,
            view: View::default(),
            pools: Pools::default(),
            reservations: Reservations::default(),
            settings: Settings::default(),
            locked: false,
            unreadable: Unreadable::default(),
            busy: BTreeSet::new(),
            nodes: BTreeSet::new(),
            gone: BTreeMap::new(),
            evidence: None,
            leases,
            tenure: Tenure::default(),
            collector: Collector::default(),
            watched: Revision::default(),
            proof: Proof::default(),
            in_sync: false,
            queue: VecDeque::new(),
            flight: None,
            pause: None,
            reading: BTreeSet::new(),
            read_sent: None,
            read_again: None,
            next_ticket: 0,
            next_collection: Duration::ZERO,
            owned: BTreeSet::new(),
            store_error: None,
            jitter,
            counters: Counters::default(),
        }
    }

    /// All blocks as last heard of.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The pools as last told.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// The reservations as last told.
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// The settings as last told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What there is and cannot be read, as last told.
    pub fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// The leases as last heard of.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The nodes that were deleted since this allocator lives and whose leases have ended.
    pub fn gone(&self, now: Duration) -> BTreeSet<NodeName> {
        let dead =
            |node: &&NodeName| **node != self.config.host.node && !self.leases.is_alive(node, now);
        self.gone.keys().filter(dead).cloned().collect()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The other nodes for which something waits or is in flight.
    pub fn elsewhere(&self) -> BTreeSet<NodeName> {
        let flying = self.flight.iter().flat_map(Flight::asks);
        let asks = self.queue.iter().map(|waiting| &waiting.ask).chain(flying);
        asks.filter_map(Ask::elsewhere).map(|there| there.node().clone()).collect()
    }

    /// How many handles look leaked and wait for their grace to pass.
    pub fn suspects(&self) -> usize {
        self.collector.suspects()
    }

    /// How many wishes wait or are in flight.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.flight.as_ref().map_or(0, Flight::len)
    }

    /// Whether the view was complete once. What is ours was told then.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Whether requests can be met: the view is complete and the lease is ours.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Why requests cannot be met now.
    pub fn not_ready(&self) -> Option<IpamError> {
        if !self.in_sync {
            return Some(IpamError::NotInSync);
        }
        self.tenure.refusal(&self.config.host.node)
    }

    /// Takes in one thing. Every input has an answer in every state; nothing can fail here.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Snapshot(snapshot) => self.snapshot(now, snapshot, out),
            Input::Changes(changes) => self.changes(now, &changes, out),
            Input::Pools(pools) => {
                self.pools = pools;
                self.look_soon(now);
            }
            Input::Elsewhere(nodes) => self.elsewhere_changed(nodes),
            Input::Reservations(reservations) => self.reservations = reservations,
            Input::Settings(settings) => self.settings = settings,
            Input::Nodes(nodes) => {
                if !nodes.is_empty() {
                    for node in self.nodes.difference(&nodes) {
                        self.gone.insert(node.clone(), now.steady);
                    }
                    self.gone.retain(|node, _| !nodes.contains(node));
                    self.nodes = nodes;
                }
                self.look_soon(now);
            }
            Input::Locked(locked) => {
                self.locked = locked;
                self.look_soon(now);
            }
            Input::Unreadable(unreadable) => {
                self.unreadable = unreadable;
                self.look_soon(now);
            }
            Input::Busy(busy) => self.busy = busy,
            Input::Evidence(evidence) => self.evidence = Some(evidence),
            Input::Ask { id, ask, deadline } => {
                let deadline = deadline.unwrap_or(now.steady.saturating_add(self.config.patience));
                self.ask(id, ask, deadline);
            }
            Input::Cancel(id) => self.cancel(id),
            Input::Unwanted(grants) => self.undo(&grants),
            Input::Lease(end) => self.lease_answered(now, end, out),
            Input::Committed { ticket, end } => self.committed(now, ticket, end, out),
            Input::Listed(list) => self.listed(now, &list, out),
            Input::Read { at, values } => self.read(now, at, values, out),
            Input::ReadFailed(error) => {
                self.store_error = Some(error);
                self.read_sent = None;
                self.read_again = Some(now.steady.saturating_add(self.jitter.delay(4)));
            }
            Input::Tick => {}
        }
        self.advance(now, out);
    }

    /// When to call again with [`Input::Tick`], on the steady clock, if nothing arrives before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.queue.iter().filter_map(|waiting| waiting.deadline).min();
        let flying = self.flight.as_ref().and_then(Flight::next_deadline);
        let pause = self.pause.filter(|_| !self.queue.is_empty());
        let collection = self.next_look();
        let lease = self.tenure.next_deadline().filter(|_| self.in_sync);
        let list = self.proof.next_deadline();
        let times = [waiting, flying, pause, self.read_again, collection, lease, list];
        times.into_iter().flatten().min()
    }

    /// Does everything that can be done now.
    fn advance(&mut self, now: Now, out: &mut Vec<Output>) {
        self.expire(now, out);
        self.hold_back(out);
        self.hold_lease(now, out);
        self.collect(now);
        self.send_read(now, out);
        self.take_off(now, out);
        self.look_past_the_watch(now, out);
    }

    fn enqueue(&mut self, asker: Asker, ask: Ask, deadline: Option<Duration>) {
        self.queue.push_back(Waiting {
            asker,
            ask,
            deadline,
            attempts: 0,
            kept: Vec::new(),
            released: BTreeSet::new(),
            doubtful: BTreeSet::new(),
        });
    }

    /// What waits, and what is tried again, is planned with other pools.
    fn elsewhere_changed(&mut self, nodes: Vec<Elsewhere>) {
        let name = |there: Elsewhere| (there.node().clone(), Arc::new(there));
        let nodes: BTreeMap<NodeName, Arc<Elsewhere>> = nodes.into_iter().map(name).collect();
        let flying = self.flight.iter_mut().flat_map(Flight::asks_mut);
        let asks = self.queue.iter_mut().map(|waiting| &mut waiting.ask).chain(flying);
        for known in asks.filter_map(Ask::elsewhere_mut) {
            if let Some(there) = nodes.get(known.node()) {
                *known = Arc::clone(there);
            }
        }
    }

    /// What a caller wants. One who gives back an address that is not held as told may know of an
    /// assignment whose news has not come yet: its block is read first. Before the first list
    /// everything is news.
    fn ask(&mut self, id: AskId, ask: Ask, deadline: Duration) {
        let doubtful = match &ask {
            Ask::Release(releases) if self.in_sync => unknown(&self.view, &self.pools, releases),
            _ => BTreeSet::new(),
        };
        doubtful.iter().for_each(|cidr| self.doubt(*cidr));
        self.enqueue(Asker::Caller(id), ask, Some(deadline));
        if let Some(waiting) = self.queue.back_mut() {
            waiting.doubtful = doubtful;
        }
    }

    fn snapshot(&mut self, now: Now, snapshot: Snapshot, out: &mut Vec<Output>) {
        let changed = self.view.replace(&snapshot.blocks, snapshot.at);
        self.leases.replace(&snapshot.leases, snapshot.at, now.steady);
        self.look_at_ends(now);
        self.watched = self.watched.max(snapshot.at);
        self.in_sync = true;
        self.look_at_orphans(now, &changed);
        self.confirm(now, out);
        self.announce(&changed, out);
    }

    fn changes(&mut self, now: Now, changes: &[Change], out: &mut Vec<Output>) {
        let mut changed = Vec::new();
        for change in changes {
            match &change.key {
                Key::Block(cidr) => {
                    if self.view.apply(change) {
                        changed.push(*cidr);
                    }
                }
                Key::NodeLease(node) => {
                    if let Ok(node) = NodeName::try_from(node.as_str()) {
                        let held = change.value.as_ref().map(|there| there.revision);
                        self.leases.apply(&node, held, change.revision, now.steady);
                        self.look_at_ends(now);
                    }
                }
                Key::Resource(_) | Key::Guard(_) | Key::Undo(_) => {}
            }
            self.watched = self.watched.max(change.revision);
        }
        self.view.settle(self.watched);
        self.look_at_orphans(now, &changed);
        self.confirm(now, out);
        self.announce(&changed, out);
    }

    fn read(
        &mut self,
        now: Now,
        at: Revision,
        values: Vec<(Key, Option<Versioned>)>,
        out: &mut Vec<Output>,
    ) {
        let asked = self.read_sent.take().unwrap_or_default();
        self.read_again = None;
        let mut changed = Vec::new();
        self.looked_for(now, at, &values.iter().map(|(key, value)| (key, value)).collect());
        for (key, value) in values {
            if asked.contains(&key) {
                self.reading.remove(&key);
            }
            match &key {
                Key::Block(cidr) => {
                    let value = value.as_ref().map(|there| (there.revision, &there.value));
                    if self.view.refresh(*cidr, value, at) {
                        changed.push(*cidr);
                    }
                }
                Key::NodeLease(_) | Key::Resource(_) | Key::Guard(_) | Key::Undo(_) => {}
            }
        }
        self.announce(&changed, out);
        self.resolve_unknown(now, out);
    }

    fn send_read(&mut self, now: Now, out: &mut Vec<Output>) {
        let pausing = self.read_again.is_some_and(|again| now.steady < again);
        if !self.reading.is_empty() && self.read_sent.is_none() && !pausing {
            self.read_sent = Some(self.reading.clone());
            self.read_again = None;
            out.push(Output::Read(self.reading.iter().cloned().collect()));
        }
    }

    /// What is known of a block may be old: nothing goes on by it before it is read.
    fn doubt(&mut self, cidr: IpNet) {
        let key = Key::Block(cidr);
        if let Some(asked) = &mut self.read_sent {
            asked.remove(&key);
        }
        self.reading.insert(key);
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Tells which of these blocks, and of those they overlap, began or ceased to be ours.
    fn announce(&mut self, changed: &[IpNet], out: &mut Vec<Output>) {
        let mut looked_at: BTreeSet<IpNet> = changed.iter().copied().collect();
        for cidr in changed {
            looked_at.extend(self.view.overlaps(*cidr));
        }
        for cidr in looked_at {
            let owned = self
                .view
                .block(cidr)
                .is_some_and(|(_, block)| block.is_owned_by(&self.config.host));
            let unsure = self.flight.as_ref().is_some_and(|flight| flight.is_unsure_of(cidr));
            let ours = owned && !unsure && !self.view.is_contested(cidr);
            let was = self.owned.contains(&cidr);
            if ours != was {
                if ours {
                    self.owned.insert(cidr);
                } else {
                    self.owned.remove(&cidr);
                }
                out.push(Output::Owned { block: cidr, ours });
            }
        }
    }

    /// Handles this daemon is working for: their addresses are no leaks.
    fn spared(&self) -> BTreeSet<Handle> {
        let waiting = self.queue.iter().map(|waiting| &waiting.ask);
        let flying = self.flight.iter().flat_map(Flight::asks);
        waiting
            .chain(flying)
            .filter_map(|ask| match ask {
                Ask::Assign(request) => Some(request.handle.clone()),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
