//! What the cluster said to this node last, on disk: for a start while the datastore is away.
//!
//! Owns two files of the state directory: `last-own.json` (blocks and borrowed addresses, written at
//! once, and renewed for as long as this process goes by them) and `last-resources.json` (written now
//! and then). Promises that what is recalled was told to this node by this datastore since the host was
//! booted: after a boot nothing is left that would have to be kept up, so nothing is recalled. And that
//! own addresses are recalled only for as long as no other node can have been given them: what a
//! process goes by while the datastore is away the next one may go by, but not after a pause in which
//! the node counted as dead. Leaves to [`crate::cluster`] what is done with it; the datastore is right
//! about everything as soon as it answers.
//!
//! A file that cannot be written is removed, for what it says is no longer so, and tried again.

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
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    durable,
    ipam::{OURS_AFTER_CRASH, OURS_AFTER_FAREWELL, OwnAddresses},
    restart,
};

const OWN: &str = "last-own.json";
const RESOURCES: &str = "last-resources.json";
/// Between two writes of all resources: in a large cluster that are megabytes.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two writes of own addresses that are the same.
const RENEW: Duration = Duration::from_secs(2);
/// Before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long the last writes may take.
const LAST: Duration = Duration::from_secs(1);

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
    /// Until when by [`restart::uptime`] no other node can have been given them, in milliseconds.
    #[serde(default)]
    ours_until: u64,
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
    /// Blocks and addresses of this node, not in sync; `None` if they were not kept or may be another
    /// node's by now.
    pub(crate) own: Option<OwnAddresses>,
    /// The resources that matter here; `None` if they were not kept.
    pub(crate) resources: Option<Resources>,
}

/// The way to have everything written that is to be kept, once, at the end.
#[derive(Debug)]
pub(crate) struct Farewell {
    stop: watch::Sender<bool>,
    written: oneshot::Receiver<()>,
}

impl Farewell {
    /// Has it written. To be called before the node's lease is given back.
    pub(crate) async fn say(self) {
        self.stop.send_replace(true);
        if timeout(LAST, self.written).await.is_err() {
            warn!("what the cluster said last was not kept in time");
        }
    }
}

impl Memory {
    /// The memory of a node and its datastore, what writes it, to be run for as long as it is used,
    /// and how it ends.
    pub(crate) fn new(
        state_dir: &Path,
        node: &str,
        etcd: &Etcd,
    ) -> (Self, impl Future<Output = ()> + Send + use<>, Farewell) {
        Self::since(restart::boot(), state_dir, node, etcd)
    }

    fn since(
        boot: Option<String>,
        state_dir: &Path,
        node: &str,
        etcd: &Etcd,
    ) -> (Self, impl Future<Output = ()> + Send + use<>, Farewell) {
        let mut endpoints = etcd.endpoints.clone();
        endpoints.sort();
        let datastore = format!("{} at {}", etcd.prefix, endpoints.join(","));
        let mark = boot.map(|boot| Mark { boot, node: node.to_owned(), datastore });
        let (own, own_kept) = watch::channel(None::<Own>);
        let (resources, resources_kept) = watch::channel(None::<Texts>);
        let (stop, stopping) = watch::channel(false);
        let (done, written) = oneshot::channel();
        let (dir, of) = (state_dir.to_path_buf(), mark.clone());
        let writer = async move {
            if let Some(mark) = &of {
                let paper = |name, pause, renew| {
                    let (path, mark, stopping) = (dir.join(name), mark.clone(), stopping.clone());
                    Paper { path, mark, stopping, pause, renew }
                };
                tokio::join!(
                    paper(OWN, Duration::ZERO, Some(RENEW)).write(own_kept, |own, last| {
                        let ours = if last { OURS_AFTER_FAREWELL } else { OURS_AFTER_CRASH };
                        Own { ours_until: uptime(ours).unwrap_or(0), ..own.clone() }
                    }),
                    paper(RESOURCES, PAUSE, None).write(resources_kept, |texts, _| {
                        texts.iter().map(ToString::to_string).collect::<Vec<_>>()
                    }),
                );
            }
            // The daemon is ending, and may wait for this no longer.
            let _ = done.send(());
            pending().await
        };
        let memory = Self { mark, dir: state_dir.to_path_buf(), own, resources };
        (memory, writer, Farewell { stop, written })
    }

    /// Keeps what is announced of addresses.
    pub(crate) fn keep_own(&self, own: &OwnAddresses) {
        let (blocks, borrowed) = (own.blocks.clone(), own.borrowed.clone());
        let own = Own { blocks, borrowed, ours_until: 0 };
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
        self.recall_at(uptime(Duration::ZERO).unwrap_or(u64::MAX))
    }

    fn recall_at(&self, now: u64) -> Option<Recalled> {
        let own = self.read::<Own>(OWN).filter(|own| now < own.ours_until);
        let own = own.map(|own| {
            let Own { blocks, borrowed, .. } = own;
            OwnAddresses { in_sync: false, blocks, borrowed }
        });
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
        (own.is_some() || resources.is_some()).then_some(Recalled { own, resources })
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

/// A file, and when it is written.
struct Paper {
    path: PathBuf,
    mark: Mark,
    stopping: watch::Receiver<bool>,
    /// Behind each write.
    pause: Duration,
    /// When it is written again, be it the same.
    renew: Option<Duration>,
}

impl Paper {
    /// Writes the latest of what is to be kept until the end, and then once more if that says more;
    /// `last` makes the text, and is told whether it is the last one.
    async fn write<T, S>(mut self, mut kept: watch::Receiver<Option<T>>, last: fn(&T, bool) -> S)
    where
        T: Clone + Send + Sync + 'static,
        S: Serialize + 'static,
    {
        let mut failed = false;
        let mut stopping = false;
        while !stopping {
            let again = if failed { Some(RETRY) } else { self.renew };
            let is_due = tokio::select! {
                Ok(_) = self.stopping.wait_for(|stop| *stop) => {
                    stopping = true;
                    failed || self.renew.is_some() || kept.has_changed().unwrap_or(true)
                }
                changed = kept.changed() => match changed {
                    Ok(()) => true,
                    // Nobody goes by it any more.
                    Err(_) => return,
                },
                () = sleep(again.unwrap_or_default()), if again.is_some() => true,
            };
            let now = kept.borrow_and_update().clone().filter(|_| is_due);
            let Some(now) = now else { continue };
            let error = self.put(move |mark| Kept { mark, last: last(&now, stopping) }).await.err();
            if let Some(err) = &error
                && !failed
            {
                warn!(path = %self.path.display(), err = %err, "what the cluster says is not kept: a start without the datastore will not know it");
            }
            failed = error.is_some();
            tokio::select! {
                Ok(_) = self.stopping.wait_for(|stop| *stop) => {}
                () = sleep(self.pause) => {}
            }
        }
    }

    async fn put<S: Serialize>(
        &self,
        kept: impl FnOnce(Mark) -> Kept<S> + Send + 'static,
    ) -> io::Result<()> {
        let (path, mark) = (self.path.clone(), self.mark.clone());
        let write = move || -> io::Result<()> {
            let text = serde_json::to_string(&kept(mark))?;
            durable::write_for_this_boot(&path, &text).inspect_err(|_| {
                // What it says is no longer so. It may not be there.
                let _ = fs::remove_file(&path);
            })
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// The uptime in so long, in milliseconds.
fn uptime(after: Duration) -> Option<u64> {
    u64::try_from((restart::uptime()? + after).as_millis()).ok()
}

#[cfg(test)]
mod tests;
