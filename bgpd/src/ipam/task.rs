//! The task that owns the allocator: news in, commits and answers out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use margay_datastore::{Lease, LeaseOutcome, Outcome, Store, StoreError, list_all};
use margay_ipam::{
    Allocator, Answer, Grant, IpamError, NodeName, Now,
    allocator::{AskId, CommitEnd, Config, Event, Input, LeaseEnd, Output},
    gc::Evidence,
};
use margay_model::{Actor, Area, Key, Kind, Txn};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tracing::{debug, error, info, warn};

use super::{
    Heard, Lives, OwnAddresses, Request, Sight,
    cluster::{Changed, Cluster, KINDS},
    feed, wall,
};
use crate::{
    mirror::{Mirror, News, Subscription},
    picture::Picture,
};

/// Changes of blocks on their way; beyond, the store keeps the latest of each.
const AHEAD: usize = 16;
/// Between two attempts to learn which nodes there are.
const PAUSE: Duration = Duration::from_secs(2);

/// See the module's text.
pub(super) struct Task {
    allocator: Allocator,
    cluster: Cluster,
    /// The nodes were listed.
    nodes_known: bool,
    node: NodeName,
    store: Arc<dyn Store>,
    lease: Lease,
    actor: Actor,
    requests: mpsc::Receiver<Request>,
    /// What was answered to callers that went away.
    unwanted: mpsc::UnboundedReceiver<Vec<Grant>>,
    subscription: Subscription,
    waiting: BTreeMap<AskId, oneshot::Sender<Result<Answer, IpamError>>>,
    next_ask: u64,
    work: JoinSet<Done>,
    own: watch::Sender<OwnAddresses>,
    started: Instant,
}

/// Something that was to be found out or done at the datastore.
enum Done {
    /// For the allocator.
    Input(Input),
    /// Every node that has a resource, readable or not.
    Nodes(BTreeSet<NodeName>),
    /// There is no resource of this node any more.
    NodeGone(NodeName),
    /// Nothing changes.
    Nothing,
}

impl Task {
    pub(super) fn new(
        config: Config,
        store: Arc<dyn Store>,
        lease: Lease,
        mirror: &Mirror,
        requests: mpsc::Receiver<Request>,
        unwanted: mpsc::UnboundedReceiver<Vec<Grant>>,
        own: watch::Sender<OwnAddresses>,
    ) -> Self {
        let node = config.host.node.clone();
        let actor =
            Actor { component: "margay-bgpd/ipam".to_owned(), node: node.to_string(), user: None };
        Self {
            allocator: Allocator::new(config),
            cluster: Cluster::new(node.clone()),
            nodes_known: false,
            node,
            store,
            lease,
            actor,
            requests,
            unwanted,
            subscription: mirror.subscribe(KINDS.into(), None),
            waiting: BTreeMap::new(),
            next_ask: 0,
            work: JoinSet::new(),
            own,
            started: Instant::now(),
        }
    }

    /// Works until it is told to stop. Then it takes no more requests, and ends once those it took
    /// are answered and what nobody took is released.
    pub(super) async fn run(mut self, heard: Heard) {
        let (sender, mut feed) = mpsc::channel(AHEAD);
        let mut feeder = JoinSet::new();
        feeder.spawn(feed::follow(heard.source, heard.copy, sender));
        let mut stopping: Option<oneshot::Sender<()>> = None;
        loop {
            if self.is_done()
                && let Some(done) = stopping.take()
            {
                if let Err(error) = self.store.drop_lease(&self.lease).await {
                    debug!(err = %error, "the lease of this node is left to end by itself");
                }
                // Whoever asked may have given up waiting.
                let _ = done.send(());
                return;
            }
            let deadline = self.allocator.next_deadline();
            let at = self.started + deadline.unwrap_or_default();
            tokio::select! {
                request = self.requests.recv(), if stopping.is_none() => match request {
                    Some(Request::Stop(done)) => stopping = Some(done),
                    Some(request) => self.request(request),
                    None => return,
                },
                Some(grants) = self.unwanted.recv() => self.act(Input::Unwanted(grants)),
                news = self.subscription.next() => self.news(news),
                // Without its pools the allocator would give up blocks: resources come first.
                input = feed.recv(), if self.cluster.is_in_sync() => match input {
                    Some(input) => self.act(input),
                    None => return,
                },
                Some(done) = self.work.join_next() => self.done(done),
                () = sleep_until(at.into()), if deadline.is_some() => self.act(Input::Tick),
            }
        }
    }

    /// Whether nobody waits and nothing is under way.
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.unwanted.is_empty() && self.allocator.pending() == 0
    }

    fn now(&self) -> Now {
        Now { wall: wall(), steady: self.started.elapsed() }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Ask(mut ask, reply) => {
                // The pools may have changed since it was asked.
                if let Some(there) = ask.elsewhere_mut()
                    && let Some(present) = self.cluster.elsewhere(there.node())
                {
                    *there = Arc::new(present);
                }
                self.next_ask += 1;
                let id = AskId(self.next_ask);
                self.waiting.insert(id, reply);
                self.act(Input::Ask { id, ask, deadline: None });
            }
            Request::Lives(Lives { attachments, addresses, unassigned }) => {
                let taken = self.started.elapsed();
                self.act(Input::Busy(unassigned));
                self.act(Input::Evidence(Evidence { attachments, addresses, taken }));
            }
            Request::Look(look) => look(Sight {
                allocator: &self.allocator,
                cluster: &self.cluster,
                nodes_known: self.nodes_known,
                now: self.now(),
            }),
            // Ends the loop before it comes here.
            Request::Stop(_) => {}
        }
    }

    fn news(&mut self, news: Vec<News>) {
        let changed = self.cluster.apply(news);
        self.changed(changed);
    }

    fn changed(&mut self, changed: Changed) {
        for node in changed.doubtful {
            self.work.spawn(is_gone(Arc::clone(&self.store), node));
        }
        if !self.cluster.is_in_sync() {
            return;
        }
        if changed.in_sync {
            self.work.spawn(nodes(Arc::clone(&self.store)));
        }
        if changed.pools || changed.labels || changed.in_sync {
            let waited_for = self.allocator.elsewhere();
            let present = waited_for.iter().filter_map(|node| self.cluster.elsewhere(node));
            self.act(Input::Elsewhere(present.collect()));
        }
        if changed.pools || changed.in_sync {
            let pools = self.cluster.pools();
            for fault in pools.faults() {
                warn!(err = %fault, "a pool is not used as it is meant");
            }
            self.act(Input::Pools(pools));
        }
        if changed.reservations || changed.in_sync {
            self.act(Input::Reservations(self.cluster.reservations()));
        }
        if changed.settings || changed.in_sync {
            self.act(Input::Settings(self.cluster.settings()));
        }
        if changed.unreadable || changed.in_sync {
            let unreadable = self.cluster.unreadable();
            if unreadable != *self.allocator.unreadable() {
                warn!(?unreadable, "what says how addresses are assigned cannot be read");
                self.act(Input::Unreadable(unreadable));
            }
        }
        if changed.locked || (changed.in_sync && self.cluster.is_locked()) {
            info!(locked = self.cluster.is_locked(), "whether the datastore is locked changed");
            self.act(Input::Locked(self.cluster.is_locked()));
        }
        if changed.nodes && self.nodes_known {
            self.act(Input::Nodes(self.cluster.nodes()));
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Input(input)) => self.act(input),
            Ok(Done::Nodes(listed)) => {
                self.cluster.nodes_listed(listed);
                self.nodes_known = true;
                self.act(Input::Nodes(self.cluster.nodes()));
            }
            Ok(Done::NodeGone(node)) => {
                let changed = self.cluster.node_gone(&node);
                self.changed(changed);
            }
            Ok(Done::Nothing) => {}
            // What it was to find out is never known: only a new life can go on.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// Hands something to the allocator and does what it wants.
    fn act(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.allocator.handle(self.now(), input, &mut out);
            for output in out {
                inputs.extend(self.carry_out(output));
            }
        }
        self.publish();
    }

    /// Does what the allocator wants; what must be told it in turn, if anything.
    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Commit { ticket, txn } => {
                let (store, actor) = (Arc::clone(&self.store), self.actor.clone());
                self.work.spawn(async move {
                    let end = commit(store.as_ref(), txn, &actor).await;
                    Done::Input(Input::Committed { ticket, end })
                });
            }
            Output::KeepLease => {
                let (store, lease) = (Arc::clone(&self.store), self.lease.clone());
                self.work.spawn(async move {
                    Done::Input(Input::Lease(match store.keep_lease(&lease).await {
                        Ok(LeaseOutcome::Held { revision }) => LeaseEnd::Held(revision),
                        Ok(LeaseOutcome::Taken { .. }) => LeaseEnd::Taken,
                        Err(error) => LeaseEnd::Failed(error.to_string()),
                    }))
                });
            }
            Output::List => {
                let store = Arc::clone(&self.store);
                self.work.spawn(async move {
                    match list_all(store.as_ref(), &Area::Ipam).await {
                        Ok((entries, at)) => {
                            Done::Input(Input::Listed(feed::snapshot(entries, at)))
                        }
                        // It is asked for again.
                        Err(error) => {
                            debug!(err = %error, "blocks cannot be listed");
                            Done::Nothing
                        }
                    }
                });
            }
            Output::Read(keys) => {
                let store = Arc::clone(&self.store);
                self.work.spawn(async move { Done::Input(read(store.as_ref(), keys).await) });
            }
            Output::Answer { id, answer } => {
                let reply = self.waiting.remove(&id)?;
                if let Err(Ok(Answer::Assigned(grants))) = reply.send(answer) {
                    return Some(Input::Unwanted(grants));
                }
            }
            Output::Owned { block, ours } => {
                self.own.send_if_modified(|own| {
                    if ours { own.blocks.insert(block) } else { own.blocks.remove(&block) }
                });
            }
            Output::Event(event) => tell(&event),
        }
        None
    }

    fn publish(&self) {
        let borrowed = self.allocator.view().borrowed_by(&self.node);
        let address = |place: &margay_ipam::view::Place| {
            Some(self.allocator.view().block(place.cidr)?.1.address(place.ordinal))
        };
        let borrowed: BTreeSet<_> = borrowed.iter().filter_map(address).collect();
        let in_sync = self.allocator.is_in_sync();
        self.own.send_if_modified(|own| {
            let changed = own.in_sync != in_sync || own.borrowed != borrowed;
            (own.in_sync, own.borrowed) = (in_sync, borrowed);
            changed
        });
    }
}

async fn commit(store: &dyn Store, txn: Txn, actor: &Actor) -> CommitEnd {
    match store.commit(txn, actor).await {
        Ok(Outcome::Committed(committed)) => CommitEnd::Done(committed.revision),
        Ok(Outcome::Conflict(_)) => CommitEnd::Lost,
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Invalid { .. })) => {
            CommitEnd::Refused(error.to_string())
        }
        // Some errors say that nothing was written; reading the block again proves it.
        Err(error) => CommitEnd::Unknown(error.to_string()),
    }
}

async fn read(store: &dyn Store, keys: Vec<Key>) -> Input {
    // What is absent below was absent at some moment after this one.
    let at = store.status().revision;
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        match store.get(&key).await {
            Ok(value) => values.push((key, value)),
            Err(error) => return Input::ReadFailed(error.to_string()),
        }
    }
    Input::Read { at, values }
}

/// Which nodes there are, those included whose resource cannot be read.
async fn nodes(store: Arc<dyn Store>) -> Done {
    loop {
        match list_all(store.as_ref(), &Area::Kind(Kind::Node, None)).await {
            Ok((entries, _)) => {
                let name = |key: &Key| NodeName::try_from(key.resource()?.name.as_str()).ok();
                return Done::Nodes(entries.iter().filter_map(|e| name(&e.key)).collect());
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Whether a node that the mirror does not have any more is gone, or can only not be read.
async fn is_gone(store: Arc<dyn Store>, node: NodeName) -> Done {
    loop {
        match store.get(&Key::cluster(Kind::Node, node.as_str())).await {
            Ok(None) => return Done::NodeGone(node),
            Ok(Some(_)) => return Done::Nothing,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

fn tell(event: &Event) {
    match event {
        Event::Lost { block, claim } => {
            debug!(%block, claim, "somebody else changed a block first")
        }
        Event::Claimed(block) => info!(%block, "a block was claimed"),
        Event::Contested(block) => {
            warn!(%block, "a block overlaps an older one and is not used: run `margay ipam check`");
        }
        Event::Collected { addresses } => {
            info!(addresses, "addresses that nobody used were released");
        }
        Event::BlocksFreed(blocks) => info!(blocks, "blocks were given up"),
        Event::LeaseTaken => info!("the lease of this node is taken"),
        Event::Displaced => {
            error!(
                "another daemon runs under the name of this node; no addresses are assigned here"
            );
        }
    }
}
