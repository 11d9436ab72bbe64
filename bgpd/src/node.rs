//! The node in the datastore: finding its address, writing its own Node, the first pools.
//!
//! Owns: when to look, what to write, what is said about it. Promises: nothing is written while
//! nothing changed; what others wrote into the Node stays; an address that another Node has is
//! never taken; a datastore that is away holds nobody up, it is tried again for as long as the
//! daemon runs. The Node stays when the daemon stops: others may still route to it. Leaves to
//! [`bgp_desired::autodetect`] which address is chosen, and to the leases of IPAM two daemons of
//! one name.

mod cluster;
mod facts;
mod identity;
mod pools;
mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bgp_desired::{
    Desired, NodeAddress, Registration,
    autodetect::{AddressFamily, Keep, Method, detect, net_of},
};
use ipnet::IpNet;
use margay_fib::FibHandle;
use margay_model::{Actor, Kind, Object, Resource, kinds::ClusterInformationSpec};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use self::{
    cluster::Cluster,
    record::{Said, Wish},
};
use crate::{
    mirror::Mirror,
    resources::{ResourceError, Resources, WriteMode, WriteOptions},
};

pub(crate) use identity::{name_of, settle};

/// How often the host is looked at without a cause.
const POLL: Duration = Duration::from_secs(60);
/// How long changes may gather before they are looked at: interfaces come with several of them.
const SETTLE: Duration = Duration::from_millis(300);
/// Pause after the datastore refused a write, doubled up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How it stands with the node's own entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether there is a Node of ours, and it says what it should.
    pub(crate) registered: bool,
    /// The addresses that stand in it.
    pub(crate) addresses: BTreeMap<AddressFamily, IpNet>,
    /// What keeps it from being as it should.
    pub(crate) problems: Vec<Problem>,
}

/// What keeps a node from being registered as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Nothing of the datastore has been read yet.
    Waiting,
    /// `datastoreReady` is false.
    Locked,
    /// Another Node has the address already.
    Taken { address: IpNet, node: String },
    /// The method finds nothing.
    NoAddress { family: AddressFamily, method: Method },
    /// The datastore, or a rule.
    Write(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for the datastore"),
            Self::Locked => f.write_str("the datastore is locked: datastoreReady is false"),
            Self::Taken { address, node } => {
                write!(f, "the address {} is that of the node {node} already", address.addr())
            }
            Self::NoAddress { family, method } => {
                write!(f, "the host has no {family} address that {method} finds")
            }
            Self::Write(error) => f.write_str(error),
        }
    }
}

/// Keeps the node's own entry as it should be. See the module.
pub(crate) struct Registrar {
    name: Arc<str>,
    resources: Resources,
    mirror: Mirror,
    fib: FibHandle,
    desired: watch::Receiver<Arc<Desired>>,
    /// Rung when links or addresses of the kernel change.
    links: Arc<Notify>,
    standing: watch::Sender<Standing>,
    cluster: Cluster,
    /// What was said of each address last.
    told: BTreeMap<AddressFamily, String>,
    /// For which configuration first pools were looked after.
    pools_for: Option<Registration>,
    pause: Duration,
}

impl Registrar {
    pub(crate) fn new(
        name: Arc<str>,
        resources: Resources,
        mirror: Mirror,
        fib: FibHandle,
        desired: watch::Receiver<Arc<Desired>>,
        links: Arc<Notify>,
        standing: watch::Sender<Standing>,
    ) -> Self {
        Self {
            name,
            resources,
            mirror,
            fib,
            desired,
            links,
            standing,
            cluster: Cluster::default(),
            told: BTreeMap::new(),
            pools_for: None,
            pause: PAUSE,
        }
    }

    /// Runs for as long as the daemon does.
    pub(crate) async fn run(mut self) {
        let kinds = BTreeSet::from([Kind::Node, Kind::IpPool, Kind::ClusterInformation]);
        let news = self.mirror.subscribe(kinds, None);
        let mut configured = true;
        let mut due = Instant::now();
        // From then on an address that the host still has may be exchanged for a better one.
        let mut careful_at = due;
        let mut known = self.desired.borrow_and_update().clone();
        loop {
            tokio::select! {
                news = news.next() => {
                    let ours = self.cluster.take(&self.name, news);
                    if ours || !self.standing.borrow().problems.is_empty() {
                        due = due.min(Instant::now() + SETTLE);
                    }
                }
                () = self.links.notified() => due = due.min(Instant::now() + SETTLE),
                changed = self.desired.changed(), if configured => {
                    configured = changed.is_ok();
                    let desired = self.desired.borrow_and_update().clone();
                    if is_about_us(&known, &desired) {
                        careful_at = Instant::now();
                        due = careful_at;
                    }
                    known = desired;
                }
                () = sleep_until(due) => {
                    let now = Instant::now();
                    let keep =
                        if now >= careful_at { Keep::AmongBest } else { Keep::WhileThere };
                    due = match self.round(&known, keep).await {
                        Round::Done => {
                            self.pause = PAUSE;
                            if keep == Keep::AmongBest {
                                careful_at = now + POLL;
                            }
                            careful_at
                        }
                        Round::Again => {
                            let pause = self.pause;
                            self.pause = (pause * 2).min(MAX_PAUSE);
                            Instant::now() + pause
                        }
                    };
                }
            }
        }
    }

    async fn round(&mut self, desired: &Desired, keep: Keep) -> Round {
        let registration = &desired.node.registration;
        if !registration.enabled {
            self.publish(Standing::default());
            return Round::Done;
        }
        let mut problems = Vec::new();
        let mut round = Round::Done;
        if !self.cluster.in_sync() {
            // Its news wakes us.
            problems.push(Problem::Waiting);
        } else {
            let wish = self.wish(desired, keep, &mut problems).await;
            if self.cluster.locked() {
                problems.push(Problem::Locked);
            } else {
                match self.write(registration, &wish, &problems).await {
                    Ok(()) => {}
                    // Somebody else wrote it: the news is on its way.
                    Err(ResourceError::Changed(_)) => round = Round::Again,
                    Err(error) => {
                        problems.push(Problem::Write(error.to_string()));
                        round = Round::Again;
                    }
                }
            }
        }
        let addresses = self.cluster.own_addresses();
        let registered = self.cluster.own().is_some();
        self.publish(Standing { registered, addresses, problems });
        round
    }

    /// What the Node should say.
    async fn wish(&mut self, desired: &Desired, keep: Keep, problems: &mut Vec<Problem>) -> Wish {
        let mut wish = Wish::of(&desired.node.registration);
        for family in AddressFamily::ALL {
            let said = self.address(desired, family, keep, problems).await;
            wish.addresses.insert(family, said);
        }
        wish
    }

    async fn address(
        &mut self,
        desired: &Desired,
        family: AddressFamily,
        keep: Keep,
        problems: &mut Vec<Problem>,
    ) -> Said<IpNet> {
        let wanted = desired.node.registration.family(family);
        let current = self.cluster.own_addresses().get(&family).copied();
        let net = match wanted.address {
            NodeAddress::AsItIs => return Said::Nothing,
            NodeAddress::None => return Said::Without,
            NodeAddress::Net(net) => net,
            NodeAddress::Address(address) => {
                let links = facts::links(&self.fib);
                net_of(&links, address).unwrap_or_else(|| {
                    self.tell(family, format!("{address}: no interface of the host has it"));
                    current.filter(|net| net.addr() == address).unwrap_or(address.into())
                })
            }
            NodeAddress::Autodetect => {
                let facts = facts::gather(&self.fib, &desired.datastore, family, &wanted.method);
                let facts = facts.await;
                let current = current.map(|net| net.addr());
                let found = detect(family, &wanted.method, &facts, current, keep);
                let Some(chosen) = found.chosen else {
                    let method = wanted.method.clone();
                    problems.push(Problem::NoAddress { family, method });
                    return Said::Nothing;
                };
                let others: Vec<_> = found
                    .others
                    .iter()
                    .map(|other| format!("{} ({}: {})", other.net, other.link, other.why))
                    .collect();
                if current != Some(chosen.net.addr()) || !self.told.contains_key(&family) {
                    self.tell(
                        family,
                        format!(
                            "{} of {}: {}; others: {}",
                            chosen.net,
                            chosen.link,
                            chosen.why,
                            if others.is_empty() { "none".to_owned() } else { others.join(", ") }
                        ),
                    );
                }
                chosen.net
            }
        };
        match self.cluster.holder_of(net.addr(), &self.name) {
            Some(node) => {
                problems.push(Problem::Taken { address: net, node: node.to_owned() });
                Said::Nothing
            }
            None => Said::Is(net),
        }
    }

    /// Logs what is known of an address, once.
    fn tell(&mut self, family: AddressFamily, text: String) {
        if self.told.get(&family) != Some(&text) {
            info!(%family, choice = text, "address of this node");
            self.told.insert(family, text);
        }
    }

    /// Writes what is missing: what the cluster is, the Node, first pools.
    async fn write(
        &mut self,
        registration: &Registration,
        wish: &Wish,
        problems: &[Problem],
    ) -> Result<(), ResourceError> {
        // A Node of which nobody knows how to reach it helps nobody.
        let nowhere = self.cluster.own().is_none() && !problems.is_empty() && !wish.has_address();
        if nowhere {
            return Ok(());
        }
        if !self.cluster.has_information() {
            self.create(cluster_information()).await?;
        }
        if let Some(node) = record::plan(self.cluster.own(), &self.name, wish) {
            let mode = match self.cluster.own() {
                Some(_) => WriteMode::Replace,
                None => WriteMode::Create,
            };
            let text = self.commit(node, mode).await?;
            info!(node = %self.name, ?mode, "wrote the Node of this host");
            // The watch tells it too, later.
            self.cluster.take_own(&text);
        }
        if self.pools_for.as_ref() != Some(registration) {
            let links = facts::links(&self.fib);
            for pool in pools::first(registration, &self.cluster, &links, pools::random()) {
                info!(pool = pool.name(), cidr = %pool.spec.cidr, "there is no pool: creating one");
                self.create(pool.into()).await?;
            }
            self.pools_for = Some(registration.clone());
        }
        Ok(())
    }

    /// Creates a resource unless somebody else was faster.
    async fn create(&self, resource: Resource) -> Result<(), ResourceError> {
        match self.commit(resource, WriteMode::Create).await {
            Ok(_) | Err(ResourceError::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn commit(&self, resource: Resource, mode: WriteMode) -> Result<String, ResourceError> {
        resource.check().map_err(ResourceError::Faults)?;
        let actor = Actor {
            component: "margay-bgpd/node".to_owned(),
            node: self.name.to_string(),
            user: None,
        };
        let options = WriteOptions { mode, dry_run: false, now: SystemTime::now() };
        let written = self.resources.write(vec![resource], &options, &actor).await?;
        Ok(written.into_iter().next().map(|(_, text)| text).unwrap_or_default())
    }

    fn publish(&mut self, standing: Standing) {
        let before = self.standing.borrow().clone();
        for problem in &standing.problems {
            if before.problems.contains(problem) {
                continue;
            }
            match problem {
                Problem::Waiting => info!(err = %problem, "this node is not registered yet"),
                Problem::Taken { .. } => {
                    error!(err = %problem, "the address of this node stays as it was");
                }
                _ => warn!(err = %problem, "this node is not registered as it should be"),
            }
        }
        if before != standing {
            if standing.registered && standing.problems.is_empty() {
                let addresses: Vec<_> = standing.addresses.values().map(IpNet::to_string).collect();
                info!(node = %self.name, addresses = addresses.join(", "), "this node is registered");
            }
            self.standing.send_replace(standing);
        }
    }
}

/// Whether a change of the configuration is a cause to look for a better address.
fn is_about_us(old: &Desired, new: &Desired) -> bool {
    old.node.registration != new.node.registration || old.datastore != new.datastore
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// When something changes, or it is time.
    Done,
    /// After a pause: a write did not come about.
    Again,
}

/// What Calico's tools look for before they trust a datastore.
fn cluster_information() -> Resource {
    let spec = ClusterInformationSpec {
        cluster_guid: Some(uuid::Uuid::new_v4().simple().to_string()),
        cluster_type: Some("margay".to_owned()),
        datastore_ready: Some(true),
        ..ClusterInformationSpec::default()
    };
    Object::new("default", spec).into()
}

#[cfg(test)]
mod tests;
