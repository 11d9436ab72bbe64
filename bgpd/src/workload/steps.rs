//! Does the steps of attachments: journal, addresses, link, routes, endpoint.
//!
//! Owns what a step means here, and which failure is which for a runtime. Leaves to
//! `margay-workload` the order of steps.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use margay_datastore::{Outcome, Store, StoreError};
use margay_fib::{
    AttachError, HostRouteError, LinkSpec,
    attach::{Bandwidth, Peak},
};
use margay_ipam::{Answer, Ask, Consequence, Handle, IpamError, Release, Request, Use, Want};
use margay_model::{Actor, Key, Resource, Revision, Txn};
use margay_workload::{
    AttachmentId, Cause, Done, Entry, Failure, Mode, Source, Step, Wish, endpoint, name,
    qos::Limits,
};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::{Duration, Instant, timeout_at},
};

use super::{journal::Journal, network::Network};
use crate::{
    ipam::Ipam,
    ready::{Ready, Verdict},
    resources::{ResourceError, Resources, WriteMode, WriteOptions},
};

/// Links made or removed at once: the kernel does one at a time anyway.
const LINKS: usize = 8;
/// How long a route may take to be in the kernel.
const ROUTE: Duration = Duration::from_secs(3);
/// What is said where time runs out.
const STORED: &str = "the datastore did not answer";
const ENDED: &str = "the kernel did not end connections that addresses had before";
/// How often an endpoint is looked at again that others change at the same time.
const TRIES: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) node: Arc<str>,
    pub(super) journal: Journal,
    pub(super) ipam: Ipam,
    pub(super) store: Arc<dyn Store>,
    resources: Resources,
    pub(super) ready: Ready,
    pub(super) network: Arc<dyn Network>,
    links: Semaphore,
    endings: Arc<Endings>,
    actor: Actor,
}

impl Steps {
    pub(super) fn new(
        node: Arc<str>,
        journal: Journal,
        ipam: Ipam,
        resources: Resources,
        ready: Ready,
        network: Arc<dyn Network>,
    ) -> Self {
        let component = "margay-bgpd/workloads".to_owned();
        let actor = Actor { component, node: node.to_string(), user: None };
        let links = Semaphore::new(LINKS);
        let endings = Arc::new(Endings::new(Arc::clone(&network)));
        let store = Arc::clone(resources.store());
        Self { node, journal, ipam, store, resources, ready, network, links, endings, actor }
    }

    /// Does a step of an attachment; after `until` it is of no use.
    pub(super) async fn perform(
        &self,
        id: &AttachmentId,
        step: Step,
        until: Option<Instant>,
    ) -> Result<Done, Failure> {
        match step {
            Step::Record(entry) => self.journal.record(*entry).await.map_err(journal)?,
            Step::Forget => self.journal.forget(id.clone()).await.map_err(journal)?,
            Step::Assign { entry, replaces } => {
                let addresses = in_time(until, STORED, self.assign(&entry, replaces)).await?;
                return Ok(Done::Assigned(addresses));
            }
            Step::Release(handle) => self.release(&handle).await?,
            Step::Disconnect(entry) => {
                in_time(until, ENDED, Arc::clone(&self.endings).end(entry.addresses)).await?;
            }
            Step::Attach(entry) => self.attach(&entry).await?,
            Step::Fulfil(entry) => self.fulfil(&entry).await?,
            Step::Detach { name, alias, half_made } => self.detach(name, alias, half_made).await?,
            Step::Reach(entry) => self.reach(&entry).await?,
            Step::Publish(entry) => in_time(until, STORED, self.publish(&entry)).await?,
            Step::Retract(entry) => self.retract(&entry).await?,
            Step::AwaitPolicy(entry) => self.await_policy(&entry).await?,
        }
        Ok(Done::Done)
    }

    async fn assign(
        &self,
        entry: &Entry,
        replaces: Option<String>,
    ) -> Result<Vec<IpAddr>, Failure> {
        let Source::Assign(wish) = &entry.spec.source else { return Ok(entry.addresses.clone()) };
        let namespace = entry.spec.pod.as_ref().map(|pod| pod.namespace.clone());
        let namespace = namespace.unwrap_or_default();
        let not_for_namespace =
            self.ipam.look(move |sight| sight.not_for_namespace(&namespace)).await;
        let not_for_namespace = not_for_namespace.ok_or_else(stopping)?;
        let handle = handle(&entry.id.handle())?;
        let replaces = replaces.map(|handle| self::handle(&handle)).transpose()?;
        let mut addresses = Vec::new();
        for (want, pools) in wants(wish) {
            let ask = Ask::Assign(Request {
                elsewhere: None,
                handle: handle.clone(),
                want,
                pools,
                not_for_namespace: not_for_namespace.clone(),
                use_: Use::Workload,
                attributes: attributes(entry, &self.node),
                reuse: true,
                replaces: replaces.clone(),
            });
            match self.ipam.ask(ask).await.map_err(|error| refused(&error))? {
                Answer::Assigned(grants) => addresses.extend(grants.iter().map(|g| g.address)),
                _ => return Err(Failure::new(Cause::Later, "the answer is to another question")),
            }
        }
        Ok(addresses)
    }

    async fn release(&self, handle: &str) -> Result<(), Failure> {
        let ask = Ask::Release(vec![Release::Handle(self::handle(handle)?)]);
        self.ipam.ask(ask).await.map(|_| ()).map_err(|error| refused(&error))
    }

    async fn attach(&self, entry: &Entry) -> Result<(), Failure> {
        let (spec, netns) = (link(entry), entry.spec.netns.clone());
        let network = Arc::clone(&self.network);
        let _turn = self.links.acquire().await;
        blocking(move || network.attach(Path::new(&netns), &spec)).await?.map_err(|e| kernel(&e))
    }

    async fn fulfil(&self, entry: &Entry) -> Result<(), Failure> {
        let (spec, netns) = (link(entry), entry.spec.netns.clone());
        let network = Arc::clone(&self.network);
        let _turn = self.links.acquire().await;
        blocking(move || network.fulfil(Path::new(&netns), &spec)).await?.map_err(|e| kernel(&e))
    }

    /// Removes a link, if it carries this alias, or none and may be half made.
    pub(super) async fn detach(
        &self,
        name: String,
        alias: String,
        half_made: bool,
    ) -> Result<(), Failure> {
        let network = Arc::clone(&self.network);
        let _turn = self.links.acquire().await;
        blocking(move || network.detach(&name, &alias, half_made))
            .await?
            .map_err(|error| kernel(&error))
    }

    async fn reach(&self, entry: &Entry) -> Result<(), Failure> {
        for address in entry.addresses.clone() {
            let (network, link) = (Arc::clone(&self.network), entry.host_interface.clone());
            match blocking(move || network.reach(address, &link, ROUTE)).await? {
                // Routes are somebody else's business by configuration.
                Ok(()) | Err(HostRouteError::Off) => {}
                Err(error @ HostRouteError::Conflict { .. }) => {
                    let help = "remove that route or address, or reserve it with an IPReservation";
                    let text = format!("{error}\nhelp: {help}");
                    return Err(Failure::new(Cause::AddressTaken, text));
                }
                Err(error @ HostRouteError::Refused { .. }) => {
                    return Err(Failure::new(Cause::Kernel, error.to_string()));
                }
                Err(error) => return Err(Failure::new(Cause::Later, error.to_string())),
            }
        }
        Ok(())
    }

    async fn publish(&self, entry: &Entry) -> Result<(), Failure> {
        let endpoint = endpoint::of(entry, &self.node)?;
        let resource = Resource::WorkloadEndpoint(Box::new(endpoint));
        let options =
            WriteOptions { mode: WriteMode::Apply, dry_run: false, now: SystemTime::now() };
        match self.resources.write(vec![resource], &options, &self.actor).await {
            Ok(_) => Ok(()),
            Err(ResourceError::Faults(faults)) => Err(Failure::invalid(
                "labels",
                format!("the WorkloadEndpoint is refused: {faults}"),
            )),
            Err(error @ ResourceError::Invalid(_)) => {
                Err(Failure::invalid("labels", error.to_string()))
            }
            Err(error) => Err(Failure::new(Cause::Later, error.to_string())),
        }
    }

    async fn retract(&self, entry: &Entry) -> Result<(), Failure> {
        // What cannot be named was never written.
        let Ok(key) = endpoint::key(entry, &self.node) else { return Ok(()) };
        self.retract_of(&key, &entry.id.handle()).await
    }

    /// Deletes an endpoint, readable or not, if it was written for the attachment with this handle, and
    /// not for a newer container of its pod.
    pub(super) async fn retract_of(&self, key: &Key, handle: &str) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(found) = self.store.get(key).await.map_err(|e| store(&e))? else {
                return Ok(());
            };
            if endpoint::handle_of(&found.value).is_none_or(|of| of != handle) {
                return Ok(());
            }
            let txn = Txn::delete(key.clone(), found.revision);
            match self.store.commit(txn, &self.actor).await.map_err(|e| store(&e))? {
                Outcome::Committed(_) => return Ok(()),
                Outcome::Conflict(_) => {}
            }
        }
        Err(Failure::new(Cause::Later, format!("{key}: others keep changing it")))
    }

    async fn await_policy(&self, entry: &Entry) -> Result<(), Failure> {
        let patience = Duration::from_secs(entry.spec.policy_wait.into());
        let deadline = Instant::now() + patience;
        let key = endpoint::key(entry, &self.node)?;
        let Key::Resource(endpoint) = &key else { return Ok(()) };
        let anybody = self.ready.wait(endpoint, Revision::default(), Instant::now()).await;
        if anybody == Ok(Verdict::NobodyExpected) {
            return Ok(());
        }
        let written = self.store.get(&key).await.map_err(|error| store(&error))?;
        let generation = written.map_or(Revision::default(), |written| written.revision);
        let waited = self.ready.wait(endpoint, generation, deadline).await;
        waited.map(|_| ()).map_err(|error| {
            let text = format!(
                "the policy of the endpoint is not in force after {} s: {error}\nhelp: look at \
                 margay-policy-dp, or raise policy_wait_seconds",
                patience.as_secs()
            );
            Failure::new(Cause::Later, text)
        })
    }
}

/// Addresses whose connections are to be ended, and who waits for that.
type Ending = (Vec<IpAddr>, oneshot::Sender<Result<(), Failure>>);

/// Ends the connections of addresses. An address for which that fails is given to nobody: what policy
/// let through for another would be let through for it.
///
/// The kernel walks all its connections for that, so those who wait for their turn are done together;
/// and whoever waits no longer has begun what others wait for.
#[derive(Debug)]
pub(super) struct Endings {
    network: Arc<dyn Network>,
    /// What is done with the next walk.
    pub(super) waiting: Mutex<Vec<Ending>>,
    /// Held by who walks.
    turn: Semaphore,
}

impl Endings {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, waiting: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// Ends them, also if nobody waits for it any more.
    pub(super) async fn end(self: Arc<Self>, addresses: Vec<IpAddr>) -> Result<(), Failure> {
        let (reply, done) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((addresses, reply));
        let walk = tokio::spawn(async move { self.walk().await });
        match done.await {
            Ok(ended) => ended,
            Err(_) => joined(walk).await.and_then(|()| Err(stopping())),
        }
    }

    async fn walk(&self) {
        let _turn = self.turn.acquire().await;
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        let (all, replies): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let (all, network) = (all.concat(), Arc::clone(&self.network));
        let ended = blocking(move || network.disconnect(&all)).await.and_then(|ended| {
            ended.map_err(|error| {
                let text = format!("cannot end connections that addresses had before: {error}");
                Failure::new(Cause::Kernel, text)
            })
        });
        for reply in replies {
            // Who asked may wait no longer.
            let _ = reply.send(ended.clone());
        }
    }
}

/// What is asked of the allocator: one request, or one a family where only one of them is bound to
/// pools.
fn wants(wish: &Wish) -> Vec<(Want, Vec<String>)> {
    if !wish.exactly.is_empty() {
        return vec![(Want::Exactly(wish.exactly.clone()), Vec::new())];
    }
    let (v4, v6) = (usize::from(wish.v4), usize::from(wish.v6));
    if wish.v4 && wish.v6 && wish.v4_pools.is_empty() != wish.v6_pools.is_empty() {
        let four = (Want::Any { v4, v6: 0 }, wish.v4_pools.clone());
        return vec![four, (Want::Any { v4: 0, v6 }, wish.v6_pools.clone())];
    }
    let of = |wanted: bool, pools: &Vec<String>| if wanted { pools.clone() } else { Vec::new() };
    let pools = [of(wish.v4, &wish.v4_pools), of(wish.v6, &wish.v6_pools)].concat();
    vec![(Want::Any { v4, v6 }, pools)]
}

/// Who has an address, in Calico's words.
fn attributes(entry: &Entry, node: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::from([("node".to_owned(), node.to_owned())]);
    if entry.spec.mode == Mode::Link {
        attributes.insert(endpoint::ATTRIBUTE.to_owned(), entry.id.ifname.clone());
    }
    match &entry.spec.pod {
        Some(pod) => {
            attributes.insert("namespace".to_owned(), pod.namespace.clone());
            attributes.insert("pod".to_owned(), pod.name.clone());
        }
        None => {
            attributes.insert("container".to_owned(), entry.id.container.clone());
        }
    }
    attributes
}

/// The link of an attachment.
pub(super) fn link(entry: &Entry) -> LinkSpec {
    LinkSpec {
        container_mac: Some(entry.mac().0),
        mtu: entry.spec.mtu,
        alias: name::alias(&entry.id),
        routes: entry.routes(),
        forwarding: entry.spec.forwarding,
        rp_filter: (!entry.spec.spoofed.is_empty()).then_some(0),
        ingress: bandwidth(&entry.spec.qos.ingress),
        egress: bandwidth(&entry.spec.qos.egress),
        ..LinkSpec::new(&entry.host_interface, &entry.id.ifname, entry.addresses.clone())
    }
}

/// What the kernel limits of the octets in a direction.
fn bandwidth(limits: &Limits) -> Option<Bandwidth> {
    let number = |value: i64| u64::try_from(value).ok();
    let peak = |rate| {
        let burst = limits.minburst.and_then(|octets| u32::try_from(octets).ok());
        Some(Peak { rate: number(rate)?, burst })
    };
    Some(Bandwidth {
        rate: number(limits.bandwidth?)?,
        burst: limits.burst.and_then(number),
        peak: limits.peakrate.and_then(peak),
    })
}

/// What the kernel side says, as a runtime is told.
pub(super) fn kernel(error: &AttachError) -> Failure {
    let cause = match error {
        // First: a namespace that cannot be opened for want of memory or files is there.
        _ if error.is_transient() => Cause::Later,
        AttachError::Spec(_) => Cause::Invalid("attachment"),
        AttachError::NamespaceMissing { .. }
        | AttachError::NotANamespace { .. }
        | AttachError::HostNamespace { .. }
        | AttachError::NamespaceGone { .. } => Cause::Namespace,
        AttachError::NameTaken { .. }
        | AttachError::ContainerNameTaken { .. }
        | AttachError::Differs { .. } => Cause::NameTaken,
        _ => Cause::Kernel,
    };
    Failure::new(cause, error.to_string())
}

/// What the allocator says, as a runtime is told.
pub(crate) fn refused(error: &IpamError) -> Failure {
    let cause = match error.consequence() {
        Consequence::Invalid => Cause::Invalid("assign"),
        Consequence::Forbidden | Consequence::NotFound => Cause::Forbidden,
        Consequence::AlreadyExists => Cause::AddressTaken,
        Consequence::Exhausted => Cause::Exhausted,
        Consequence::Aborted | Consequence::Unavailable => Cause::Later,
    };
    let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    Failure::new(cause, format!("{error}{help}"))
}

fn store(error: &StoreError) -> Failure {
    Failure::new(Cause::Later, error.to_string())
}

fn journal(error: String) -> Failure {
    Failure::new(Cause::Later, format!("the journal of attachments: {error}"))
}

fn stopping() -> Failure {
    Failure::new(Cause::Later, "the daemon is stopping")
}

fn handle(text: &str) -> Result<Handle, Failure> {
    Handle::try_from(text).map_err(|error| Failure::invalid("attachment", error.to_string()))
}

/// After `until` it is left alone, and what did not happen is said.
async fn in_time<T>(
    until: Option<Instant>,
    what: &str,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(until) = until else { return step.await };
    match timeout_at(until, step).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Cause::Later, format!("{what} in time"))),
    }
}

/// On a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    joined(tokio::task::spawn_blocking(call)).await
}

/// What a task came to; its panic is ours.
async fn joined<T>(task: JoinHandle<T>) -> Result<T, Failure> {
    match task.await {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(stopping()),
        },
    }
}

#[cfg(test)]
mod tests;
