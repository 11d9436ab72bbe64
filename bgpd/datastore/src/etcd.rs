//! The datastore of a cluster: etcd v3, in Calico's layout.
//!
//! Owns connections to the members, failover between them, the index kept beside the values, and
//! the leases of this process. Resources lie under the configured prefix as other tools of that
//! layout read them; blocks, leases and the index only under `/margay/`, so one Margay cluster
//! has an etcd (or a user of its own in one). Promises: reads see every answered commit, whichever
//! member serves them; a request that cannot be served fails within [`EtcdConfig::patience`] with
//! the cause; a watch goes on with another member where the first one left, and ends only when
//! etcd has forgotten what it would have to tell.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use margay_model::{Actor, Area, IndexEntry, Key, Revision, Txn, Versioned};
use tokio::task::JoinHandle;

use self::{layout::Layout, members::Members, pb::RangeRequest};
use crate::{
    error::StoreError,
    feed::Watch,
    limits,
    store::{Lease, LeaseOutcome, Listing, Outcome, Page, Status, Store},
};

mod commit;
mod failure;
mod layout;
mod lease;
mod list;
mod members;
pub(crate) mod octets;
mod pace;
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
mod pb {
    tonic::include_proto!("etcdserverpb");
}
mod watch;

/// How to reach etcd.
#[derive(Clone)]
pub struct EtcdConfig {
    /// The members' client addresses, `http://…` or `https://…`; the first that answers is used.
    pub endpoints: Vec<String>,
    /// What resources lie under: `/calico`.
    pub prefix: String,
    /// TLS, for `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// A user of etcd's own authentication, and the password.
    pub user: Option<(String, String)>,
    /// How long a request may take over all members.
    pub patience: Duration,
}

/// What TLS needs, each as the octets of a PEM file.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Certificates of those who may have signed the members' certificates.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl EtcdConfig {
    /// These endpoints with defaults for everything else.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            prefix: "/calico".into(),
            tls: None,
            user: None,
            patience: Duration::from_millis(4500),
        }
    }
}

impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither keys nor passwords go into a log.
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("tls", &self.tls.is_some())
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

/// A datastore in etcd.
#[derive(Debug)]
pub struct EtcdStore {
    members: Arc<Members>,
    layout: Layout,
    index: commit::IndexCache,
    leases: lease::Leases,
}

impl EtcdStore {
    /// Prepares to speak to etcd; nothing is sent before the first request. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the configuration makes no sense.
    pub fn new(config: EtcdConfig) -> Result<Self, StoreError> {
        let layout = Layout::new(&config.prefix)?;
        let members = Arc::new(Members::new(config)?);
        Ok(Self {
            members,
            layout,
            index: commit::IndexCache::default(),
            leases: lease::Leases::default(),
        })
    }

    fn corrupt(&self, key: &[u8], cause: impl Into<String>) -> StoreError {
        let place = String::from_utf8_lossy(key).into_owned();
        StoreError::Corrupt { place, cause: cause.into() }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        let request = RangeRequest { key: self.layout.key(key), ..RangeRequest::default() };
        let response = self.members.range(request).await?;
        Ok(response.kvs.into_iter().next().map(|kv| layout::versioned(key, kv)))
    }

    async fn list(&self, area: &Area, page: &Page) -> Result<Listing, StoreError> {
        self.list_area(area, page).await
    }

    async fn find(&self, entry: &IndexEntry, page: &Page) -> Result<Listing, StoreError> {
        self.find_entry(entry, page).await
    }

    async fn watch(&self, area: &Area, after: Revision) -> Result<Watch, StoreError> {
        // Whether the cluster can be reached and has come so far is known now, not some day.
        let now = self.members.revision_now().await?;
        if after > now {
            return Err(StoreError::Compacted { asked: after, oldest: Revision(0) });
        }
        let feed = crate::feed::Feed::remote(area.clone(), after);
        let source: JoinHandle<()> = tokio::spawn(watch::follow(
            self.members.clone(),
            self.layout.clone(),
            Arc::downgrade(&feed),
            area.clone(),
        ));
        Ok(Watch::new(feed, Some(source)))
    }

    async fn commit(&self, txn: Txn, _actor: &Actor) -> Result<Outcome, StoreError> {
        let txn = limits::check(self.limits(), txn)?;
        self.commit_checked(txn).await
    }

    async fn keep_lease(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError> {
        lease.check()?;
        self.keep(lease).await
    }

    async fn drop_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        lease.check()?;
        self.give_back(lease).await
    }

    fn limits(&self) -> limits::Limits {
        limits::Limits::ETCD
    }

    fn status(&self) -> Status {
        self.members.status()
    }
}
