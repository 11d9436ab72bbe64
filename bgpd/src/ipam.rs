//! Addresses of this node: `margay_ipam::Allocator` at work.
//!
//! Owns: the one task that feeds the allocator (blocks and leases, resources of the mirror,
//! requests, time) and does what it wants done; the id of this instance. Promises: an
//! address is answered only once it is committed; what is committed for a caller that went away is
//! released again; while the datastore is away requests fail with the cause and nothing is
//! forgotten. Leaves to `margay-ipam` every decision, to [`crate::api`] the calls.
//!
//! What lives on this node [`crate::workload`] tells ([`Ipam::lives`]); until then no address of this
//! node is collected as leaked. What nodes that are gone left is taken back all the same.

mod cluster;
mod feed;
mod instance;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use ipnet::IpNet;
use margay_datastore::{Lease, Store};
use margay_ipam::{
    Allocator, Answer, Ask, Elsewhere, Grant, Handle, Instance, IpamError, NodeName, Now, Owner,
    UnixMillis, allocator::Config,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{follow::Source, mirror::Mirror, picture::asked};
use cluster::Cluster;
use task::Task;

/// How long the node's lease lasts without being kept. A node counts as dead twice as long after
/// its daemon fell silent; only what a *deleted* node left is then taken back.
const LEASE: Duration = Duration::from_secs(10);
/// For how long after a farewell other nodes leave the blocks of this node alone whatever happens: its
/// lease is given back then, and it counts as alive for as long again as a lease lasts.
pub(crate) const OURS_AFTER_FAREWELL: Duration = LEASE;
/// Likewise without one: its lease, kept three times as often as it has to be, ends by itself first.
pub(crate) const OURS_AFTER_CRASH: Duration =
    Duration::from_secs(2 * LEASE.as_secs() - LEASE.as_secs().div_ceil(3));
/// How long something must be seen unused before it is released.
const GRACE: Duration = Duration::from_secs(15 * 60);
/// How long a request may take: it must fail within five seconds while the datastore is away.
const PATIENCE: Duration = Duration::from_millis(4500);
/// Requests waiting for the task.
const REQUESTS: usize = 1024;
/// How long it may take at the end to finish what is under way and give back the lease; otherwise
/// the lease ends by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// What of the cluster's addresses is announced from here. Nothing before `in_sync`: until then
/// what an earlier run announced is to be left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnAddresses {
    /// The blocks of the datastore are known. Never false again: while the datastore is away, what
    /// was known stays.
    pub(crate) in_sync: bool,
    /// Blocks of this instance of the node, proven by what is committed: to be originated as they
    /// are, each with a blackhole behind it.
    pub(crate) blocks: BTreeSet<IpNet>,
    /// Addresses used on this node out of blocks of others: each needs a route of its own.
    pub(crate) borrowed: BTreeSet<IpAddr>,
}

/// What lives on this node, as of now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lives {
    /// What each handle was answered; `None` while that is not settled.
    pub(crate) attachments: BTreeMap<Handle, Option<BTreeSet<IpAddr>>>,
    /// Addresses of links.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Of these, those that were never assigned here.
    pub(crate) unassigned: BTreeSet<IpAddr>,
}

/// Where blocks and leases are heard of.
#[derive(Debug)]
pub(crate) struct Heard {
    /// By whom.
    pub(crate) source: Box<dyn Source>,
    /// A copy for other nodes.
    pub(crate) copy: Option<Mirror>,
}

/// The way to the allocator.
#[derive(Debug, Clone)]
pub(crate) struct Ipam {
    node: NodeName,
    instance: Instance,
    requests: mpsc::Sender<Request>,
    /// Never full: who drops an answer cannot wait.
    unwanted: mpsc::UnboundedSender<Vec<Grant>>,
    own: watch::Receiver<OwnAddresses>,
}

/// A request to the task.
enum Request {
    /// Something is wanted of the allocator.
    Ask(Ask, oneshot::Sender<Result<Answer, IpamError>>),
    /// What lives here.
    Lives(Lives),
    /// Something is looked at.
    Look(Box<dyn FnOnce(Sight<'_>) + Send>),
    /// The daemon ends.
    Stop(oneshot::Sender<()>),
}

/// An answer that is waited for. When the wait is given up and the answer is there already, what
/// it tells of is given back.
struct Coming {
    answer: oneshot::Receiver<Result<Answer, IpamError>>,
    unwanted: mpsc::UnboundedSender<Vec<Grant>>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        // From here on the task hears that nobody takes it.
        self.answer.close();
        if let Ok(Ok(Answer::Assigned(grants))) = self.answer.try_recv() {
            // Without its task there is nobody to release anything.
            let _ = self.unwanted.send(grants);
        }
    }
}

/// What can be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    allocator: &'a Allocator,
    cluster: &'a Cluster,
    nodes_known: bool,
    now: Now,
}

impl Sight<'_> {
    /// The allocator.
    pub(crate) fn allocator(&self) -> &Allocator {
        self.allocator
    }

    /// The nodes that exist or whose daemon lives; `None` while that is not known.
    pub(crate) fn nodes(&self) -> Option<BTreeSet<NodeName>> {
        let mut nodes = self.cluster.nodes();
        if !self.nodes_known || nodes.is_empty() {
            return None;
        }
        nodes.extend(self.allocator.leases().alive(self.now.steady).cloned());
        Some(nodes)
    }

    /// The nodes that were deleted while this daemon ran and whose daemons are dead.
    pub(crate) fn gone(&self) -> BTreeSet<NodeName> {
        self.allocator.gone(self.now.steady)
    }

    /// A node that exists, as addresses are taken for it; `Err` while that is not known.
    pub(crate) fn elsewhere(&self, node: &NodeName) -> Result<Option<Elsewhere>, IpamError> {
        match self.cluster.elsewhere(node) {
            Some(there) => Ok(Some(there)),
            None if self.nodes_known => Ok(None),
            None => Err(IpamError::NotInSync),
        }
    }

    /// The names of the pools that a namespace may not use.
    pub(crate) fn not_for_namespace(&self, namespace: &str) -> BTreeSet<String> {
        self.cluster.not_for_namespace(namespace)
    }
}

impl Ipam {
    /// The allocator of `node`, and the task to be run for it.
    ///
    /// # Errors
    /// The instance id in the state directory; a name that no node can have.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        mirror: &Mirror,
        heard: Heard,
        node: &str,
        state_dir: &Path,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let instance = instance::of(state_dir)?;
        let node = NodeName::try_from(node).context("node.name cannot be the name of a node")?;
        let lease = Lease { node: node.to_string(), holder: instance.to_string(), ttl: LEASE };
        let config = Config {
            host: Owner { node: node.clone(), instance: instance.clone() },
            lease_ttl: LEASE,
            grace: GRACE,
            patience: PATIENCE,
            seed: uuid::Uuid::new_v4().as_u64_pair().0,
        };
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (unwanted, given_back) = mpsc::unbounded_channel();
        let (sender, own) = watch::channel(OwnAddresses::default());
        let task = Task::new(config, store, lease, mirror, receiver, given_back, sender);
        Ok((Self { node, instance, requests, unwanted, own }, task.run(heard)))
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }

    /// The life of the state directory: what holds the lease of the node.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// What is to be announced from here, now and whenever it changes.
    pub(crate) fn own(&self) -> watch::Receiver<OwnAddresses> {
        self.own.clone()
    }

    /// Asks, and waits for the answer: at most as long as requests may take.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, IpamError> {
        let (reply, answer) = oneshot::channel();
        let mut coming = Coming { answer, unwanted: self.unwanted.clone() };
        let gone = || IpamError::Store("the daemon is stopping".into());
        self.requests.send(Request::Ask(ask, reply)).await.map_err(|_| gone())?;
        (&mut coming.answer).await.unwrap_or_else(|_| Err(gone()))
    }

    /// Tells what lives here: what does not, and is held all the same, is collected in time.
    pub(crate) async fn lives(&self, lives: Lives) {
        // While the daemon stops nothing is collected.
        let _ = self.requests.send(Request::Lives(lives)).await;
    }

    /// Looks at what the task has; `None` while the daemon is stopping.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(Sight<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        // Nobody may wait for it any more.
        let told =
            |reply: oneshot::Sender<T>| move |sight: Sight<'_>| drop(reply.send(look(sight)));
        asked(&self.requests, |reply| Request::Look(Box::new(told(reply)))).await
    }

    /// Lets the task finish what it took on, gives the lease of the node back and ends the task.
    pub(crate) async fn stop(&self) {
        // At the latest when it is late: the lease ends by itself.
        let _ = timeout(FAREWELL, asked(&self.requests, Request::Stop)).await;
    }
}

/// The wall clock; 1970 for a clock that is before.
pub(crate) fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
