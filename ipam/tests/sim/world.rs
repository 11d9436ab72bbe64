//! A cluster in virtual time: allocators, a store, a wire that loses, delays and breaks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use margay_ipam::{
    Allocator, Answer, Ask, Elsewhere, Handle, Instance, NodeName, Now, Owner, Pools, Release,
    Request, Settings, UnixMillis,
    allocator::{AskId, CommitEnd, Config, Counters, Event, Input, LeaseEnd, Output, Ticket},
    gc::Evidence,
};
use margay_model::{Key, Revision, Txn, Versioned, Write};

use crate::store::Store;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// SplitMix64: the same seed, the same run.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from((to - from).as_micros()).unwrap() + 1;
        from + Duration::from_micros(self.below(span))
    }
}

/// How bad the wire is, in chances of a thousand.
#[derive(Clone, Copy, Default)]
pub struct Wire {
    /// A commit's answer never comes back.
    pub answer_lost: u64,
    /// A commit never reaches the store.
    pub commit_lost: u64,
    /// A commit reaches the store after its sender gave up.
    pub commit_late: u64,
    /// The watch breaks instead of delivering.
    pub watch_breaks: u64,
    /// A delivery of the watch is much too late.
    pub watch_late: u64,
    /// One of [`Mishap::ALL`] strikes a commit; who dies of it starts again.
    pub mishaps: u64,
}

/// What goes wrong with the n-th commit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    pub commit: u64,
    pub mishap: Mishap,
}

/// All that can go wrong with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// The daemon dies before the store has it.
    DiesBefore,
    /// The daemon dies once the store has it.
    DiesAfter,
    /// The daemon dies, and the store has it while the next one already works.
    DiesAndArrivesLate,
    /// It is written; the answer is lost.
    AnswerLost,
    /// The store never has it; the daemon cannot know.
    Lost,
    /// The daemon gives up; the store has it only afterwards.
    ArrivesLate,
}

impl Mishap {
    pub const ALL: [Self; 6] = [
        Self::DiesBefore,
        Self::DiesAfter,
        Self::DiesAndArrivesLate,
        Self::AnswerLost,
        Self::Lost,
        Self::ArrivesLate,
    ];
}

#[derive(Clone, Debug)]
enum What {
    Deliver { node: usize, life: u64, input: Box<Input> },
    AtStore { node: usize, life: u64, ticket: Ticket, txn: Txn, reply: bool },
    Read { node: usize, life: u64, keys: Vec<Key> },
    List { node: usize, life: u64 },
    KeepLease { node: usize, life: u64, reply: bool },
    EndLeases,
    Watch { node: usize, life: u64 },
    Tick { node: usize, life: u64 },
    Look { node: usize, life: u64 },
    Start { node: usize },
}

/// A daemon's machine: its pods go on living when the daemon dies.
pub struct Node {
    pub name: NodeName,
    pub instance: Instance,
    pub daemon: Option<Allocator>,
    life: u64,
    watched: usize,
    watch_broken: bool,
    /// A delivery is on its way.
    watch_due: bool,
    /// No news come, though commits go.
    pub deaf: bool,
    /// Wall clock minus true time, in milliseconds.
    pub skew: i64,
    pub exists: bool,
    /// What is live on it.
    pub pods: BTreeMap<Handle, Vec<IpAddr>>,
    /// Pods being added by this life of the daemon.
    pub adding: BTreeMap<AskId, Handle>,
    /// Pods that are gone and not yet released.
    pub spool: BTreeSet<Handle>,
    releasing: BTreeMap<AskId, Handle>,
    pub owned: BTreeSet<ipnet::IpNet>,
    next_tick: Option<Duration>,
    pub refused: Vec<String>,
}

pub struct World {
    pub store: Store,
    pub nodes: Vec<Node>,
    pub pools: Pools,
    pub settings: Settings,
    pub rng: Rng,
    pub wire: Wire,
    pub now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, What>,
    next: u64,
    next_ask: u64,
    /// Pods being added on another node than the one that is asked.
    elsewhere: BTreeMap<AskId, usize>,
    pub commits: u64,
    /// What the commits sent were about, with their numbers.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Which of them met which mishap by chance.
    pub struck: BTreeSet<(&'static str, Mishap)>,
    pub crash: Option<CrashPoint>,
    pub crashed: Option<usize>,
    pub answered: u64,
    pub lost_claims: u64,
    pub retired: Counters,
    pub grace: Duration,
    pub ttl: Duration,
}

/// What a pod asks for.
fn pod(name: &str, addresses: usize) -> Request {
    let mut request = Request::any(Handle::try_from(name).unwrap(), addresses, 0);
    request.attributes =
        [("pod".to_owned(), name.to_owned()), ("namespace".to_owned(), "sim".to_owned())].into();
    request
}

impl World {
    pub fn new(seed: u64, pools: Pools, settings: Settings, nodes: usize) -> Self {
        let mut world = Self {
            store: Store::default(),
            nodes: Vec::new(),
            pools,
            settings,
            rng: Rng(seed),
            wire: Wire::default(),
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            next_ask: 0,
            elsewhere: BTreeMap::new(),
            commits: 0,
            kinds: BTreeMap::new(),
            struck: BTreeSet::new(),
            crash: None,
            crashed: None,
            answered: 0,
            lost_claims: 0,
            retired: Counters::default(),
            grace: secs(20),
            ttl: secs(6),
        };
        for at in 0..nodes {
            world.add_node(&format!("node{at}"), "first");
        }
        world
    }

    /// Adds a machine and starts its daemon.
    pub fn add_node(&mut self, name: &str, instance: &str) -> usize {
        self.nodes.push(Node {
            name: NodeName::try_from(name).unwrap(),
            instance: Instance::try_from(instance).unwrap(),
            daemon: None,
            life: 0,
            watched: 0,
            watch_broken: false,
            watch_due: false,
            deaf: false,
            skew: 0,
            exists: true,
            pods: BTreeMap::new(),
            adding: BTreeMap::new(),
            spool: BTreeSet::new(),
            releasing: BTreeMap::new(),
            owned: BTreeSet::new(),
            next_tick: None,
            refused: Vec::new(),
        });
        let node = self.nodes.len() - 1;
        self.start(node);
        self.tell_nodes();
        node
    }

    fn at(&mut self, time: Duration, what: What) {
        self.next += 1;
        self.events.insert(self.next, what);
        self.queue.push(Reverse((time, self.next)));
    }

    fn after(&mut self, from: Duration, to: Duration, what: What) {
        let delay = self.rng.between(from, to);
        self.at(self.now + delay, what);
    }

    /// Starts a daemon: a list, then a watch.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].daemon.is_some() {
            return;
        }
        let seed = self.rng.next();
        let there = &mut self.nodes[node];
        there.life += 1;
        let life = there.life;
        there.daemon = Some(Allocator::new(Config {
            host: Owner { node: there.name.clone(), instance: there.instance.clone() },
            lease_ttl: self.ttl,
            grace: self.grace,
            patience: secs(5),
            seed,
        }));
        there.watch_broken = true;
        there.watch_due = true;
        there.next_tick = None;
        self.input(node, Input::Pools(self.pools.clone()));
        self.input(node, Input::Settings(self.settings));
        let known = self.known_nodes();
        self.input(node, Input::Nodes(known));
        self.after(ms(1), ms(20), What::Watch { node, life });
        self.after(ms(100), secs(3), What::Look { node, life });
        let spool: Vec<Handle> = self.nodes[node].spool.iter().cloned().collect();
        for handle in spool {
            self.release(node, handle);
        }
    }

    /// Kills a daemon: what it knew is gone, its pods are not.
    pub fn kill(&mut self, node: usize) {
        let there = &mut self.nodes[node];
        let Some(daemon) = there.daemon.take() else { return };
        let counters = daemon.counters();
        self.retired.claims += counters.claims;
        self.retired.claimed += counters.claimed;
        there.adding.clear();
        there.releasing.clear();
        there.owned.clear();
    }

    /// News come again, beginning with a list.
    pub fn hear_again(&mut self, node: usize) {
        let known = self.known_nodes();
        let there = &mut self.nodes[node];
        (there.deaf, there.watch_broken, there.watch_due) = (false, true, true);
        let life = there.life;
        self.input(node, Input::Nodes(known));
        self.after(ms(1), ms(20), What::Watch { node, life });
    }

    pub fn start_later(&mut self, node: usize, delay: Duration) {
        self.at(self.now + delay, What::Start { node });
    }

    fn known_nodes(&self) -> BTreeSet<NodeName> {
        self.nodes.iter().filter(|n| n.exists).map(|n| n.name.clone()).collect()
    }

    /// The resource of a node, if it exists.
    fn resource(&self, name: &str) -> Option<Versioned> {
        let exists = self.nodes.iter().any(|node| node.exists && node.name.as_str() == name);
        exists.then(|| Versioned { value: Bytes::new(), revision: self.store.revision() })
    }

    /// Tells every daemon that hears anything which nodes exist.
    pub fn tell_nodes(&mut self) {
        let known = self.known_nodes();
        for node in (0..self.nodes.len()).filter(|node| !self.nodes[*node].deaf).collect::<Vec<_>>()
        {
            self.input(node, Input::Nodes(known.clone()));
        }
    }

    /// A pod is to be set up; its answer is looked at when it comes.
    pub fn add_pod(&mut self, node: usize, name: &str, addresses: usize) {
        let request = pod(name, addresses);
        self.ask_pod(node, request.handle.clone(), request);
    }

    /// One node is asked for the addresses of a pod on another.
    pub fn add_pod_elsewhere(&mut self, node: usize, there: usize, name: &str, addresses: usize) {
        let other = Elsewhere::new(self.nodes[there].name.clone(), self.pools.clone());
        let request = Request { elsewhere: Some(Arc::new(other)), ..pod(name, addresses) };
        if self.nodes[node].daemon.is_some() {
            self.elsewhere.insert(AskId(self.next_ask + 1), there);
        }
        self.ask_pod(node, request.handle.clone(), request);
    }

    pub fn ask_pod(&mut self, node: usize, handle: Handle, request: Request) {
        if self.nodes[node].daemon.is_none() {
            return;
        }
        self.next_ask += 1;
        let id = AskId(self.next_ask);
        self.nodes[node].adding.insert(id, handle);
        self.input(node, Input::Ask { id, ask: Ask::Assign(request), deadline: None });
    }

    /// Other pools are in force.
    pub fn set_pools(&mut self, pools: Pools) {
        self.pools = pools.clone();
        for node in 0..self.nodes.len() {
            self.input(node, Input::Pools(pools.clone()));
        }
    }

    /// A pod goes: its link at once, its addresses when the store has it.
    pub fn delete_pod(&mut self, node: usize, handle: &Handle) {
        let there = &mut self.nodes[node];
        if there.pods.remove(handle).is_some() {
            there.spool.insert(handle.clone());
            self.release(node, handle.clone());
        }
    }

    fn release(&mut self, node: usize, handle: Handle) {
        if self.nodes[node].daemon.is_none() {
            return;
        }
        self.next_ask += 1;
        let id = AskId(self.next_ask);
        self.nodes[node].releasing.insert(id, handle.clone());
        let ask = Ask::Release(vec![Release::Handle(handle)]);
        self.input(node, Input::Ask { id, ask, deadline: None });
    }

    fn wall(&self, node: usize) -> UnixMillis {
        let base = 1_700_000_000_000_i64 + i64::try_from(self.now.as_millis()).unwrap();
        UnixMillis(u64::try_from(base + self.nodes[node].skew).unwrap())
    }

    /// Hands an input to a daemon and carries out what it wants.
    pub fn input(&mut self, node: usize, input: Input) {
        let now = Now { wall: self.wall(node), steady: self.now };
        let mut out = Vec::new();
        let there = &mut self.nodes[node];
        let Some(daemon) = &mut there.daemon else { return };
        daemon.handle(now, input, &mut out);
        for output in out {
            self.output(node, output);
            if self.nodes[node].daemon.is_none() {
                return; // it died at this commit
            }
        }
        let there = &mut self.nodes[node];
        let life = there.life;
        let Some(daemon) = &there.daemon else { return };
        if let Some(at) = daemon.next_deadline() {
            let at = at.max(self.now + ms(1));
            if there.next_tick.is_none_or(|tick| at < tick || tick <= self.now) {
                there.next_tick = Some(at);
                self.at(at, What::Tick { node, life });
            }
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        let life = self.nodes[node].life;
        match output {
            Output::Commit { ticket, txn } => self.send_commit(node, ticket, txn),
            Output::KeepLease => self.send_keep_lease(node),
            Output::Read(keys) => self.after(ms(1), ms(15), What::Read { node, life, keys }),
            Output::List => self.after(ms(1), ms(15), What::List { node, life }),
            Output::Answer { id, answer } => self.answer(node, id, answer),
            Output::Owned { block, ours } => {
                let owned = &mut self.nodes[node].owned;
                let changed = if ours { owned.insert(block) } else { owned.remove(&block) };
                assert!(changed, "{block} told twice");
            }
            Output::Event(Event::Lost { claim: true, .. }) => self.lost_claims += 1,
            Output::Event(_) => {}
        }
    }

    fn send_commit(&mut self, node: usize, ticket: Ticket, txn: Txn) {
        let life = self.nodes[node].life;
        self.commits += 1;
        let kinds = self.kinds_of(node, &txn);
        for kind in &kinds {
            *self.kinds.entry(kind).or_default() += 1;
        }
        if let Some(point) = self.crash
            && point.commit == self.commits
        {
            return self.mishap(node, ticket, txn, point.mishap);
        }
        if self.wire.mishaps > 0 && self.rng.chance(self.wire.mishaps) {
            return self.strike(node, ticket, txn, kinds);
        }
        let unknown = Input::Committed { ticket, end: CommitEnd::Unknown("timeout".into()) };
        let give_up = What::Deliver { node, life, input: Box::new(unknown) };
        let wire = self.wire;
        if self.rng.chance(wire.commit_lost) {
            self.after(ms(200), ms(400), give_up);
        } else if self.rng.chance(wire.commit_late) {
            self.after(ms(200), ms(400), give_up);
            let late = What::AtStore { node, life, ticket, txn, reply: false };
            self.after(ms(300), secs(8), late);
        } else if self.rng.chance(wire.answer_lost) {
            self.after(ms(200), ms(400), give_up);
            self.after(ms(1), ms(9), What::AtStore { node, life, ticket, txn, reply: false });
        } else {
            self.after(ms(1), ms(9), What::AtStore { node, life, ticket, txn, reply: true });
        }
    }

    /// Something goes wrong by chance, and whoever died of it comes back.
    fn strike(&mut self, node: usize, ticket: Ticket, txn: Txn, kinds: Vec<&'static str>) {
        let which = usize::try_from(self.rng.below(6)).unwrap();
        let mishap = Mishap::ALL[which];
        self.struck.extend(kinds.into_iter().map(|kind| (kind, mishap)));
        self.mishap(node, ticket, txn, mishap);
        if let Some(node) = self.crashed.take() {
            let delay = self.rng.between(ms(50), secs(3));
            self.start_later(node, delay);
        }
    }

    fn mishap(&mut self, node: usize, ticket: Ticket, txn: Txn, mishap: Mishap) {
        let life = self.nodes[node].life;
        let written = matches!(mishap, Mishap::DiesAfter | Mishap::AnswerLost);
        if written && self.store.commit(&txn).is_ok() {
            self.wake_watches();
        }
        if matches!(mishap, Mishap::DiesBefore | Mishap::DiesAfter | Mishap::DiesAndArrivesLate) {
            self.crashed = Some(node);
            self.kill(node);
        } else {
            let end = CommitEnd::Unknown("timeout".into());
            let input = Box::new(Input::Committed { ticket, end });
            self.after(ms(200), ms(400), What::Deliver { node, life, input });
        }
        if matches!(mishap, Mishap::ArrivesLate | Mishap::DiesAndArrivesLate) {
            let late = What::AtStore { node, life, ticket, txn, reply: false };
            self.after(ms(300), secs(2), late);
        }
    }

    /// What a commit is about, by the block as stored and as it is to be.
    fn kinds_of(&self, node: usize, txn: &Txn) -> Vec<&'static str> {
        let read = |value: &[u8]| margay_ipam::Block::from_json(value).expect("a block");
        let write = txn.writes.first().expect("one write");
        let before = self.store.values.get(write.key()).map(|there| read(&there.value));
        let Write::Put { value, .. } = write else { return vec!["delete"] };
        let after = read(value);
        let ours = after.owner().is_some_and(|owner| owner.node == self.nodes[node].name);
        let mut kinds = Vec::new();
        let Some(before) = before else {
            return vec![if after.held().next().is_some() { "claim and assign" } else { "claim" }];
        };
        match (before.owner(), after.owner()) {
            (Some(_), None) => kinds.push("disown"),
            (None, Some(_)) => kinds.push("take over"),
            (Some(one), Some(other)) if one != other => kinds.push("adopt"),
            _ => {}
        }
        let held =
            |block: &margay_ipam::Block| block.held().map(|(at, _)| at).collect::<BTreeSet<_>>();
        let (had, has) = (held(&before), held(&after));
        if has.difference(&had).next().is_some() {
            kinds.push(if ours { "assign" } else { "borrow" });
        }
        if had.difference(&has).next().is_some() {
            kinds.push(if ours { "release" } else { "release elsewhere" });
        }
        kinds
    }

    fn send_keep_lease(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let failed = Input::Lease(LeaseEnd::Failed("timeout".into()));
        let give_up = What::Deliver { node, life, input: Box::new(failed) };
        let wire = self.wire;
        if self.rng.chance(wire.commit_lost) {
            self.after(ms(200), ms(400), give_up);
        } else {
            let reply = !self.rng.chance(wire.answer_lost);
            if !reply {
                self.after(ms(200), ms(400), give_up);
            }
            self.after(ms(1), ms(9), What::KeepLease { node, life, reply });
        }
    }

    fn answer(&mut self, node: usize, id: AskId, answer: Result<Answer, margay_ipam::IpamError>) {
        self.answered += 1;
        let there = &mut self.nodes[node];
        if let Some(handle) = there.adding.remove(&id) {
            match answer {
                Ok(Answer::Assigned(grants)) => {
                    let addresses: Vec<IpAddr> = grants.iter().map(|g| g.address).collect();
                    self.assert_unused(&addresses);
                    self.assert_stored(&handle, &addresses);
                    let on = self.elsewhere.remove(&id).unwrap_or(node);
                    assert!(grants.iter().all(|grant| grant.node == self.nodes[on].name));
                    self.nodes[on].pods.insert(handle, addresses);
                }
                Ok(other) => panic!("an assign is answered with {other:?}"),
                Err(error) => there.refused.push(error.to_string()),
            }
        } else if let Some(handle) = there.releasing.remove(&id) {
            match answer {
                Ok(_) => {
                    there.spool.remove(&handle);
                }
                Err(_) => self.release(node, handle),
            }
        }
    }

    /// No address twice, whatever happened before.
    fn assert_unused(&self, addresses: &[IpAddr]) {
        for there in &self.nodes {
            for (handle, used) in &there.pods {
                for address in addresses {
                    assert!(!used.contains(address), "{address} is given out, {handle} has it");
                }
            }
        }
    }

    /// Never an address that is not committed.
    fn assert_stored(&self, handle: &Handle, addresses: &[IpAddr]) {
        for address in addresses {
            let mut around = self.store.values.iter().filter_map(|(key, there)| match key {
                Key::Block(cidr) if cidr.contains(address) => {
                    Some(margay_ipam::Block::from_json(&there.value).expect("a block"))
                }
                _ => None,
            });
            let stored = around.any(|block| {
                let at = block.ordinal(*address);
                at.is_some_and(|at| {
                    matches!(block.slot(at),
                    Some(margay_ipam::block::Slot::Held(held)) if held.handle == *handle)
                })
            });
            assert!(stored, "{address} is answered and not in the store");
        }
    }

    pub fn blocks(&self) -> Vec<(Revision, margay_ipam::Block)> {
        self.store
            .values
            .iter()
            .filter(|(key, _)| matches!(key, Key::Block(_)))
            .map(|(key, there)| {
                let block = margay_ipam::Block::from_json(&there.value);
                (there.revision, block.unwrap_or_else(|error| panic!("{key}: {error}")))
            })
            .collect()
    }

    /// Runs for a while.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, id))) = self.queue.peek().copied() {
            if at > until {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            let what = self.events.remove(&id).unwrap();
            self.happen(what);
        }
        self.now = until;
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].daemon.is_some()
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Start { node } => {
                if self.nodes[node].exists {
                    self.start(node);
                }
            }
            What::Deliver { node, life, input } => {
                if self.lives(node, life) {
                    self.input(node, *input);
                }
            }
            What::AtStore { node, life, ticket, txn, reply } => {
                let end = match self.store.commit(&txn) {
                    Ok(revision) => {
                        self.wake_watches();
                        CommitEnd::Done(revision)
                    }
                    Err(()) => CommitEnd::Lost,
                };
                if reply {
                    let input = Box::new(Input::Committed { ticket, end });
                    self.after(ms(1), ms(6), What::Deliver { node, life, input });
                }
            }
            What::Read { node, life, keys } => {
                let at = self.store.revision();
                let values = keys
                    .into_iter()
                    .map(|key| {
                        let value = match &key {
                            Key::Resource(node) => self.resource(&node.name),
                            key => self.store.values.get(key).cloned(),
                        };
                        (key, value)
                    })
                    .collect();
                let input = Box::new(Input::Read { at, values });
                self.after(ms(1), ms(15), What::Deliver { node, life, input });
            }
            What::List { node, life } => {
                let input = Box::new(Input::Listed(self.store.snapshot()));
                self.after(ms(1), ms(15), What::Deliver { node, life, input });
            }
            What::KeepLease { node, life, reply } => {
                let there = &self.nodes[node];
                let host = Owner { node: there.name.clone(), instance: there.instance.clone() };
                let (until, before) = (self.now + self.ttl, self.store.revision());
                let end = self.store.keep_lease(&host, until);
                self.at(until, What::EndLeases);
                if self.store.revision() > before {
                    self.wake_watches();
                }
                if reply {
                    let input = Box::new(Input::Lease(end));
                    self.after(ms(1), ms(6), What::Deliver { node, life, input });
                }
            }
            What::EndLeases => {
                if self.store.end_leases(self.now) {
                    self.wake_watches();
                }
            }
            What::Watch { node, life } => self.pump(node, life),
            What::Tick { node, life } => {
                if self.lives(node, life) && self.nodes[node].next_tick == Some(self.now) {
                    self.nodes[node].next_tick = None;
                    self.input(node, Input::Tick);
                }
            }
            What::Look { node, life } => {
                if !self.lives(node, life) {
                    return;
                }
                let there = &self.nodes[node];
                let evidence = Evidence {
                    attachments: there
                        .adding
                        .values()
                        .map(|handle| (handle.clone(), None))
                        .chain(there.pods.iter().map(|(handle, addresses)| {
                            (handle.clone(), Some(addresses.iter().copied().collect()))
                        }))
                        .collect(),
                    addresses: there.pods.values().flatten().copied().collect(),
                    taken: self.now,
                };
                self.input(node, Input::Evidence(evidence));
                self.at(self.now + secs(3), What::Look { node, life });
            }
        }
    }

    /// Delivers the next changes in order, late, or breaks.
    fn pump(&mut self, node: usize, life: u64) {
        if !self.lives(node, life) {
            return;
        }
        if self.nodes[node].deaf {
            // It stays due: nothing wakes it.
            return;
        }
        self.nodes[node].watch_due = false;
        if self.nodes[node].watch_broken {
            self.nodes[node].watch_broken = false;
            self.nodes[node].watched = self.store.log.len();
            let snapshot = self.store.snapshot();
            self.input(node, Input::Snapshot(snapshot));
        } else if self.rng.chance(self.wire.watch_breaks) {
            self.nodes[node].watch_broken = true;
            self.nodes[node].watch_due = true;
            self.after(ms(50), secs(2), What::Watch { node, life });
        } else {
            let upto = self.store.log.len();
            let from = std::mem::replace(&mut self.nodes[node].watched, upto);
            // The latest of each key, in the order of revisions.
            let mut latest = BTreeMap::new();
            for change in &self.store.log[from..upto] {
                latest.insert(change.key.clone(), change.clone());
            }
            let mut changes: Vec<_> = latest.into_values().collect();
            changes.sort_by_key(|change| change.revision);
            self.input(node, Input::Changes(changes));
        }
    }

    /// Every watch has something to deliver, soon or late.
    fn wake_watches(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].daemon.is_none() || self.nodes[node].watch_due {
                continue;
            }
            self.nodes[node].watch_due = true;
            let life = self.nodes[node].life;
            let slow = self.rng.chance(self.wire.watch_late);
            let (from, to) = if slow { (secs(1), secs(3)) } else { (ms(1), ms(10)) };
            self.after(from, to, What::Watch { node, life });
        }
    }

    /// Claims sent and claims that made a block ours, of all daemons ever.
    pub fn claims(&self) -> (u64, u64) {
        let mut sum = (self.retired.claims, self.retired.claimed);
        for daemon in self.nodes.iter().filter_map(|node| node.daemon.as_ref()) {
            sum.0 += daemon.counters().claims;
            sum.1 += daemon.counters().claimed;
        }
        sum
    }
}
