//! What the cluster says to this node's speaker: resources, own blocks, secrets.
//!
//! Owns the reading of all three, and when it is time to merge again. Promises that nothing is
//! merged of a list of resources that has not come whole. Leaves to `bgp-desired` what they mean,
//! to `reload` taking it into force.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bgp_desired::{
    Desired,
    cluster::{Host, Merged, Remark, Resources, SecretRef, merge},
};
use bgp_speaker::Knowledge;
use margay_model::{Key, Resource};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

use crate::{
    ipam::OwnAddresses,
    memory::{Memory, Recalled},
    mirror::{Mirror, News, Subscription},
};

/// Between two looks at the secrets in use.
const SECRETS: Duration = Duration::from_secs(2);

/// Own addresses that are not gone by.
const NOT_OURS: &str = "without the blocks of this node: it was away for so long that they may be \
                        another's by now, or they were not kept";

/// Keys of secrets as they were read; `None`: they could not be.
type Secrets = BTreeMap<SecretRef, Option<Vec<u8>>>;

/// What a merge came to.
pub(crate) struct Merge {
    /// The daemon as it should be, and what to say about it.
    pub(crate) merged: Merged,
    /// What was read for it.
    secrets: Secrets,
}

/// See the module.
pub(crate) struct Cluster {
    node: Arc<str>,
    secrets_dir: PathBuf,
    /// `None` without a datastore.
    subscription: Option<Subscription>,
    own: Option<watch::Receiver<OwnAddresses>>,
    /// Addresses of workloads that are nobody's of the cluster.
    announced: Option<watch::Receiver<BTreeSet<IpAddr>>>,
    resources: Resources,
    /// The resources are as the datastore has, or had, them.
    resources_known: bool,
    secrets: Secrets,
    look: Interval,
    /// What was told before.
    remarks: BTreeSet<Remark>,
    /// What is kept for a start while the datastore is away; `None` where it is never away.
    memory: Option<Memory>,
    /// The resources as text, for the memory.
    texts: BTreeMap<Key, Arc<str>>,
    /// They are others than those that are kept.
    texts_changed: bool,
    /// What an earlier run was told last, until all has been heard.
    recalled: Option<Recalled>,
}

impl Cluster {
    /// Nothing heard yet. `heard` is where: the copy of the datastore and the allocator, if there is
    /// one.
    pub(crate) fn new(
        node: Arc<str>,
        secrets_dir: PathBuf,
        heard: Option<(&Mirror, watch::Receiver<OwnAddresses>)>,
    ) -> Self {
        let (mirror, own) = heard.unzip();
        let mut look = interval(SECRETS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            node,
            secrets_dir,
            own,
            announced: None,
            subscription: mirror.map(|mirror| mirror.subscribe(Resources::KINDS.into(), None)),
            resources: Resources::default(),
            resources_known: mirror.is_none(),
            secrets: Secrets::new(),
            look,
            remarks: BTreeSet::new(),
            memory: None,
            texts: BTreeMap::new(),
            texts_changed: false,
            recalled: None,
        }
    }

    /// What is heard is to be kept here, for a start while the datastore is away. To be told before
    /// anything is heard.
    pub(crate) fn remember(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    /// Addresses that are to be announced one by one besides.
    pub(crate) fn also(&mut self, announced: watch::Receiver<BTreeSet<IpAddr>>) {
        self.announced = Some(announced);
    }

    /// Whether all that there is has been heard. Until then more peers and routes may come.
    pub(crate) fn in_sync(&self) -> bool {
        self.resources_known && self.own.as_ref().is_none_or(|own| own.borrow().in_sync)
    }

    /// How much of all that is known.
    pub(crate) fn known(&self) -> Knowledge {
        match &self.recalled {
            _ if self.in_sync() => Knowledge::All,
            Some(recalled) if recalled.resources.is_some() => Knowledge::Remembered,
            Some(_) | None => Knowledge::Part,
        }
    }

    /// Waits until all resources have been heard, at most so long; then an earlier run's are taken
    /// for the time being.
    pub(crate) async fn hear(&mut self, patience: Duration) {
        let all = async {
            while !self.in_sync() {
                self.changed().await;
            }
        };
        if timeout(patience, all).await.is_ok() {
            return;
        }
        self.recalled = self.memory.as_ref().and_then(Memory::recall);
        match &self.recalled {
            Some(Recalled { own: Some(own), .. }) => {
                warn!(
                    blocks = own.blocks.len(),
                    "the datastore does not answer: starting with what the cluster said last"
                );
                // They are gone by again, so the next start may, too.
                if let Some(memory) = &self.memory {
                    memory.keep_own(own);
                }
            }
            Some(Recalled { own: None, .. }) => warn!(
                "the datastore does not answer: starting with what the cluster said last, but {NOT_OURS}"
            ),
            None => {
                warn!(
                    "starting without all of the cluster's resources: the datastore does not answer"
                );
            }
        }
    }

    /// Waits until a merge may come to something else.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Without any, nothing wakes an idle daemon for them.
            let has_secrets = !self.secrets.is_empty();
            let Self { subscription, own, announced, look, .. } = self;
            let news = async {
                match subscription {
                    Some(subscription) => subscription.next().await,
                    None => std::future::pending().await,
                }
            };
            let relevant = tokio::select! {
                news = news => self.take(news),
                true = async {
                    match own {
                        Some(own) => own.changed().await.is_ok(),
                        None => false,
                    }
                } => true,
                true = async {
                    match announced {
                        Some(announced) => announced.changed().await.is_ok(),
                        None => false,
                    }
                } => true,
                _ = look.tick(), if has_secrets => self.secrets.iter().any(|(key, known)| {
                    read(&self.secrets_dir, key).ok() != *known
                }),
            };
            if relevant {
                return;
            }
        }
    }

    /// Says whether it matters.
    fn take(&mut self, news: Vec<News>) -> bool {
        let mut relevant = false;
        for news in news {
            relevant |= match news {
                News::Reset => {
                    self.resources = Resources::default();
                    self.texts.clear();
                    false
                }
                News::Resource(mirrored) => match Resource::decode(mirrored.text.as_bytes()) {
                    Ok(Resource::WorkloadEndpoint(endpoint))
                        if endpoint.spec.node.as_deref() != Some(&self.node) =>
                    {
                        self.forget(&endpoint.key())
                    }
                    Ok(resource) => {
                        if self.memory.is_some() {
                            self.texts.insert(resource.key(), mirrored.text);
                            self.texts_changed = true;
                        }
                        self.resources.set(resource)
                    }
                    // What was known of it stays; the mirror has said what is wrong with it.
                    Err(_) => false,
                },
                News::Stored(..) => false,
                News::Gone(key, _) => self.forget(&key),
                News::InSync(_) => !std::mem::replace(&mut self.resources_known, true),
            };
        }
        relevant && self.resources_known
    }

    /// A resource is gone; says whether it mattered.
    fn forget(&mut self, key: &Key) -> bool {
        self.texts_changed |= self.texts.remove(key).is_some();
        self.resources.remove(key)
    }

    /// The resources to go by.
    fn resources(&self) -> Option<&Resources> {
        if self.resources_known {
            return Some(&self.resources);
        }
        self.recalled.as_ref()?.resources.as_ref()
    }

    /// The own addresses to go by.
    fn own(&self) -> OwnAddresses {
        let own = self.own.as_ref().map(|own| own.borrow().clone()).unwrap_or_default();
        match &self.recalled {
            Some(recalled) if !own.in_sync => recalled.own.clone().unwrap_or(own),
            Some(_) | None => own,
        }
    }

    /// What the daemon should be, by this file. `address` is the host's highest; `in_force` is what
    /// the daemon is.
    pub(crate) fn merge(
        &self,
        file: &Desired,
        address: Option<Ipv4Addr>,
        in_force: &Desired,
    ) -> Merge {
        let none = Resources::default();
        let own = self.own();
        let mut borrowed = own.borrowed;
        if let Some(announced) = &self.announced {
            borrowed.extend(announced.borrow().iter());
        }
        let secrets = RefCell::new(Secrets::new());
        let host = Host {
            node: &self.node,
            blocks: &own.blocks,
            borrowed: &borrowed,
            address,
            read_secret: &|key| {
                let read = read(&self.secrets_dir, key);
                secrets.borrow_mut().insert(key.clone(), read.as_ref().ok().cloned());
                read
            },
            policies: &in_force.policies,
        };
        let mut merged = merge(file, self.resources().unwrap_or(&none), &host);
        let own_known = self.own.as_ref().is_none_or(|own| own.borrow().in_sync);
        if let Some(Recalled { own: None, .. }) = &self.recalled
            && !own_known
        {
            merged.remarks.insert(Remark {
                subject: format!("node {}", self.node),
                text: format!("the datastore does not answer: going on {NOT_OURS}"),
            });
        }
        Merge { merged, secrets: secrets.into_inner() }
    }

    /// A merge has been taken into force: tells what is new about it.
    pub(crate) fn settle(&mut self, Merge { merged, secrets }: Merge) {
        self.secrets = secrets;
        for remark in merged.remarks.difference(&self.remarks) {
            warn!(subject = remark.subject, err = remark.text, "cluster");
        }
        for remark in self.remarks.difference(&merged.remarks) {
            info!(subject = remark.subject, was = remark.text, "cluster: no longer so");
        }
        self.remarks = merged.remarks;
        if self.in_sync() {
            if self.recalled.take().is_some() {
                info!("the datastore has answered: what the cluster says now is in force");
            }
            if let Some(memory) = &self.memory {
                memory.keep_own(&self.own());
                if std::mem::take(&mut self.texts_changed) {
                    memory.keep_resources(self.texts.values());
                }
            }
        }
    }

    /// What an operator must know of what is in force.
    pub(crate) fn remarks(&self) -> &BTreeSet<Remark> {
        &self.remarks
    }
}

/// The octets of a key of a secret: a file of that name in a folder of the secret's name, as
/// Kubernetes mounts them.
fn read(secrets_dir: &Path, key: &SecretRef) -> io::Result<Vec<u8>> {
    let mut path = secrets_dir.to_path_buf();
    for part in [&key.name, &key.key] {
        let mut components = Path::new(part).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(name)), None) if name.len() == part.len() => path.push(name),
            _ => {
                let text = format!("{part:?} is no name of a file");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
    }
    fs::read(path)
}

#[cfg(test)]
mod tests;
