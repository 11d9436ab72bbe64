//! What the cluster said to this node last, on disk: for a start while the datastore is away.
//!
//! Owns two files of the state directory: `last-own.json` (blocks and borrowed addresses, written at
//! once) and `last-resources.json` (written now and then). Promises that what is recalled was told to
//! this node by this datastore since the host was booted: after a boot nothing is left that would
//! have to be kept up, so nothing is recalled. Leaves to [`crate::cluster`] what is done with it; the
//! datastore is right about everything as soon as it answers.

use std::{
    collections::BTreeSet,
    fs,
    future::{Future, pending},
    io::{self, ErrorKind},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bgp_desired::{Etcd, cluster::Resources};
use ipnet::IpNet;
use margay_model::Resource;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::sleep};
use tracing::warn;

use crate::{durable, ipam::OwnAddresses, restart};

const OWN: &str = "last-own.json";
const RESOURCES: &str = "last-resources.json";
/// Between two writes of all resources: in a large cluster that are megabytes.
const PAUSE: Duration = Duration::from_secs(10);

/// Of whom it was heard, by whom, and since which boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    boot: String,
    node: String,
    datastore: String,
}

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<T> {
    #[serde(flatten)]
    mark: Mark,
    last: T,
}

/// What is told of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Own {
    blocks: BTreeSet<IpNet>,
    borrowed: BTreeSet<IpAddr>,
}

/// Resources as they are kept.
type Texts = Arc<[Arc<str>]>;

/// See the module.
pub(crate) struct Memory {
    /// `None` where no boot can be told from another: nothing is kept then.
    mark: Option<Mark>,
    dir: PathBuf,
    own: watch::Sender<Option<Own>>,
    resources: watch::Sender<Option<Texts>>,
}

/// What an earlier run was told last.
#[derive(Debug)]
pub(crate) struct Recalled {
    /// Blocks and addresses of this node; not in sync.
    pub(crate) own: OwnAddresses,
    /// The resources that matter here; `None` if they were not kept.
    pub(crate) resources: Option<Resources>,
}

impl Memory {
    /// The memory of a node and its datastore, and what writes it, to be run for as long as it is
    /// used.
    pub(crate) fn new(
        state_dir: &Path,
        node: &str,
        etcd: &Etcd,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        Self::since(restart::boot(), state_dir, node, etcd)
    }

    fn since(
        boot: Option<String>,
        state_dir: &Path,
        node: &str,
        etcd: &Etcd,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let mut endpoints = etcd.endpoints.clone();
        endpoints.sort();
        let datastore = format!("{} at {}", etcd.prefix, endpoints.join(","));
        let mark = boot.map(|boot| Mark { boot, node: node.to_owned(), datastore });
        let (own, own_kept) = watch::channel(None::<Own>);
        let (resources, resources_kept) = watch::channel(None::<Texts>);
        let (dir, of) = (state_dir.to_path_buf(), mark.clone());
        let writer = async move {
            let Some(mark) = of else { return pending().await };
            tokio::join!(
                write(dir.join(OWN), &mark, own_kept, Duration::ZERO, Own::clone),
                write(dir.join(RESOURCES), &mark, resources_kept, PAUSE, |texts| {
                    texts.iter().map(ToString::to_string).collect::<Vec<_>>()
                }),
            );
            // The daemon is ending.
            pending().await
        };
        (Self { mark, dir: state_dir.to_path_buf(), own, resources }, writer)
    }

    /// Keeps what is announced of addresses.
    pub(crate) fn keep_own(&self, own: &OwnAddresses) {
        let own = Own { blocks: own.blocks.clone(), borrowed: own.borrowed.clone() };
        self.own.send_if_modified(|kept| {
            let changed = kept.as_ref() != Some(&own);
            *kept = Some(own);
            changed
        });
    }

    /// Keeps these resources and no others.
    pub(crate) fn keep_resources<'a>(&self, texts: impl Iterator<Item = &'a Arc<str>>) {
        self.resources.send_replace(Some(texts.cloned().collect()));
    }

    /// What was kept last; `None` if nothing was, or nothing of this boot, node and datastore.
    pub(crate) fn recall(&self) -> Option<Recalled> {
        let Own { blocks, borrowed } = self.read(OWN)?;
        let texts: Option<Vec<String>> = self.read(RESOURCES);
        let resources = texts.map(|texts| {
            let mut resources = Resources::default();
            for text in texts {
                match Resource::decode(text.as_bytes()) {
                    Ok(resource) => {
                        resources.set(resource);
                    }
                    Err(faults) => warn!(err = %faults, "a kept resource cannot be read"),
                }
            }
            resources
        });
        Some(Recalled { own: OwnAddresses { in_sync: false, blocks, borrowed }, resources })
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.dir.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(path = %path.display(), err = %error, "what the cluster said last cannot be read");
                return None;
            }
        };
        match serde_json::from_str::<Kept<T>>(&text) {
            Ok(kept) => (Some(kept.mark) == self.mark).then_some(kept.last),
            Err(error) => {
                warn!(path = %path.display(), err = %error, "what the cluster said last cannot be read");
                None
            }
        }
    }
}

/// Writes the latest of what is to be kept, with a pause behind each write, until nothing comes any
/// more.
async fn write<T, S>(
    path: PathBuf,
    mark: &Mark,
    mut kept: watch::Receiver<Option<T>>,
    pause: Duration,
    last: fn(&T) -> S,
) where
    T: Clone + Send + Sync + 'static,
    S: Serialize + 'static,
{
    let mut failed = false;
    while kept.changed().await.is_ok() {
        let Some(now) = kept.borrow_and_update().clone() else { continue };
        let (to, mark) = (path.clone(), mark.clone());
        let write = move || -> io::Result<()> {
            let text = serde_json::to_string(&Kept { mark, last: last(&now) })?;
            durable::write(&to, &text)
        };
        let error = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(err) = &error
            && !failed
        {
            warn!(path = %path.display(), err, "what the cluster says is not kept: a start without the datastore will not know it");
        }
        failed = error.is_some();
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
