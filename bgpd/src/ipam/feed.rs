//! Blocks and leases as they change: one watch, and a list whenever it cannot be continued.

use std::{convert::Infallible, sync::Arc, time::Duration};

use margay_datastore::{Entry, Store, StoreError, list_all};
use margay_ipam::{
    NodeName,
    allocator::{Input, Snapshot},
};
use margay_model::{Area, Key, Revision};
use tokio::{sync::mpsc, time::sleep};
use tracing::warn;

/// Pause after the datastore failed, doubled up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Why following ended.
enum Ended {
    Store(StoreError),
    /// Nobody wants to know any more.
    Unwanted,
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Tells the allocator, for as long as it listens.
pub(super) async fn follow(store: Arc<dyn Store>, to: mpsc::Sender<Input>) {
    let mut pause = PAUSE;
    let mut told = false;
    loop {
        let mut in_sync = false;
        let Err(ended) = follow_once(store.as_ref(), &to, &mut in_sync).await;
        let Ended::Store(error) = ended else { return };
        if in_sync {
            (pause, told) = (PAUSE, false);
            if to.send(Input::WatchLost).await.is_err() {
                return;
            }
        }
        // History that was lost is repaired by the next list.
        if !matches!(error, StoreError::Compacted { .. }) {
            if !told {
                warn!(err = %error, "the datastore does not tell about blocks; going on with what is known");
                told = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

async fn follow_once(
    store: &dyn Store,
    to: &mpsc::Sender<Input>,
    in_sync: &mut bool,
) -> Result<Infallible, Ended> {
    let (entries, revision) = list_all(store, &Area::Ipam).await?;
    let snapshot = Input::Snapshot(snapshot(entries, revision));
    to.send(snapshot).await.map_err(|_| Ended::Unwanted)?;
    *in_sync = true;
    let mut watch = store.watch(&Area::Ipam, revision).await?;
    loop {
        let mut changes = watch.next().await?.changes;
        // All that waits: of a key that changed twice only the later change is told, so what is
        // left out here may be older than what was taken.
        while let Some(batch) = watch.try_next() {
            changes.extend(batch?.changes);
        }
        to.send(Input::Changes(changes)).await.map_err(|_| Ended::Unwanted)?;
    }
}

fn snapshot(entries: Vec<Entry>, at: Revision) -> Snapshot {
    let mut snapshot = Snapshot { at, ..Snapshot::default() };
    for Entry { key, value, .. } in entries {
        match key {
            Key::Block(cidr) => snapshot.blocks.push((cidr, value.revision, value.value)),
            Key::NodeLease(node) => match NodeName::try_from(node.as_str()) {
                Ok(node) => snapshot.leases.push((node, value.revision)),
                Err(error) => warn!(err = %error, "a lease is left out"),
            },
            Key::Resource(_) => {}
        }
    }
    snapshot
}
