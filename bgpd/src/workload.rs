//! Workloads of this node: `margay_workload::Desk` at work.
//!
//! Owns: the one task that feeds the desk (calls, ended steps, time) and has done what it wants;
//! the routes to endpoints applied by hand; what the allocator is told of who lives here. Promises:
//! calls are served after the journal was taken up and the spool read; a call that nobody waits for
//! any more is finished all the same. Leaves to `margay-workload` every decision, to `fib` the
//! kernel, to [`crate::api`] the calls.

mod cluster;
mod history;
mod journal;
mod network;
mod spool;
mod steps;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use margay_fib::FibHandle;
use margay_model::Key;
use margay_workload::{
    AttachmentId, Cause, Desk, Entry, Failure, Moment, Reply, Spec, annotation::Unsaid,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{ipam::Ipam, mirror::Mirror, picture::asked, ready::Ready, resources::Resources};
pub(crate) use cluster::Endpoint;
pub(crate) use history::{History, Times};
use journal::Journal;
use network::{Kernel, Network};
pub(crate) use spool::asked as asked_then;
use steps::Steps;
use task::Task;

/// Calls waiting for the task.
const REQUESTS: usize = 1024;
/// How long it may take at the end to finish what is under way; the next start takes up the rest.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to the workloads.
#[derive(Debug, Clone)]
pub(crate) struct Workloads {
    requests: mpsc::Sender<Request>,
    network: Arc<dyn Network>,
    times: Arc<Times>,
    announced: watch::Receiver<BTreeSet<IpAddr>>,
}

/// What is asked of the desk.
#[derive(Debug)]
pub(crate) enum Call {
    /// Attach; what the pod leaves to its namespace.
    Add(AttachmentId, Box<Spec>, Unsaid),
    /// Detach.
    Delete {
        /// Which.
        id: AttachmentId,
        /// When it was asked; `None`: now.
        asked: Option<Moment>,
    },
    /// Detach what the runtime does not know.
    Collect {
        /// Of which network.
        network: String,
        /// Containers and interfaces that it knows.
        valid: BTreeSet<(String, String)>,
    },
}

enum Request {
    Call(Call, oneshot::Sender<Result<Reply, Failure>>),
    Look(Box<dyn FnOnce(Sight<'_>) + Send>),
    Stop(oneshot::Sender<()>),
}

/// What can be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    /// The attachments.
    pub(crate) desk: &'a Desk,
    /// What was done for them.
    pub(crate) history: &'a History,
    /// The endpoints of this node in the datastore.
    pub(crate) endpoints: &'a BTreeMap<Key, Endpoint>,
    /// The MTU of a workload that does not say.
    pub(crate) mtu: u32,
}

/// What the workloads need of the daemon.
pub(crate) struct Surroundings<'a> {
    /// The node's name.
    pub(crate) node: Arc<str>,
    /// Where the journal and the spool are.
    pub(crate) state_dir: &'a Path,
    /// What is written to the datastore.
    pub(crate) resources: Resources,
    /// Its copy.
    pub(crate) mirror: &'a Mirror,
    /// Addresses.
    pub(crate) ipam: Ipam,
    /// Who enforces policy.
    pub(crate) ready: Ready,
}

impl Workloads {
    /// The workloads of this node, and the task to be run for them.
    ///
    /// # Errors
    /// The journal or the spool directory.
    pub(crate) fn new(
        fib: FibHandle,
        around: Surroundings<'_>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        Self::on(Arc::new(Kernel(fib)), around)
    }

    fn on(
        network: Arc<dyn Network>,
        around: Surroundings<'_>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let spool = spool::folder(around.state_dir);
        spool::make(&spool).with_context(|| format!("cannot make {}", spool.display()))?;
        let (journal, found) = Journal::open(around.state_dir)?;
        let own = around.ipam.own();
        let steps = Steps::new(
            Arc::clone(&around.node),
            journal,
            around.ipam,
            around.resources,
            around.ready,
            Arc::clone(&network),
        );
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (announce, announced) = watch::channel(BTreeSet::new());
        let times = Arc::new(Times::default());
        let task = Task::new(task::Parts {
            steps: Arc::new(steps),
            found,
            spool,
            mirror: around.mirror,
            requests: receiver,
            own,
            announce,
            times: Arc::clone(&times),
        });
        Ok((Self { requests, network, times, announced }, task.run()))
    }

    /// Asks, and waits for the answer. What was asked goes on though nobody waits.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Failure> {
        let answer = asked(&self.requests, |reply| Request::Call(call, reply)).await;
        answer.unwrap_or_else(|| Err(stopping()))
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

    /// What of an attachment's link is not as it should be.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(crate) async fn differences(&self, entry: &Entry) -> Result<Vec<String>, Failure> {
        let (network, spec) = (Arc::clone(&self.network), steps::link(entry));
        let netns = entry.spec.netns.clone();
        let found = steps::blocking(move || network.differences(Path::new(&netns), &spec)).await?;
        let found = found.map_err(|error| steps::kernel(&error))?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    /// The addresses that are not over their link, and why.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub(crate) async fn unreached(&self) -> Result<BTreeMap<IpAddr, String>, Failure> {
        let network = Arc::clone(&self.network);
        steps::blocking(move || network.unreached()).await
    }

    /// How long steps and calls took, by name.
    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    /// Addresses here that are in no block of this node and in no block of another: to be announced
    /// one by one.
    pub(crate) fn announced(&self) -> watch::Receiver<BTreeSet<IpAddr>> {
        self.announced.clone()
    }

    /// Lets what is under way come to an end.
    pub(crate) async fn stop(&self) {
        // What is not finished in time the next start takes up.
        let _ = tokio::time::timeout(FAREWELL, asked(&self.requests, Request::Stop)).await;
    }
}

/// The answer while the daemon stops.
pub(crate) fn stopping() -> Failure {
    Failure::new(Cause::Later, "the daemon is stopping")
}

pub(crate) use steps::refused;

#[cfg(test)]
mod tests;
