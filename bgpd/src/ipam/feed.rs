//! Blocks and leases as the allocator takes them.

use std::sync::Arc;

use margay_datastore::{Batch, Entry, Store};
use margay_ipam::{
    NodeName,
    allocator::{Input, Snapshot},
};
use margay_model::{Area, Change, Key, Revision};
use tokio::sync::mpsc;
use tracing::warn;

use crate::follow::{Ended, Follow, Told};

/// Tells the allocator, for as long as it listens.
pub(super) async fn follow(store: Arc<dyn Store>, to: mpsc::Sender<Input>) {
    let mut follow = Follow::new(store, Area::Ipam);
    loop {
        let input = match follow.next().await {
            Told::Listed(entries, revision) => Input::Snapshot(snapshot(entries, revision)),
            Told::Changed(batch) => match with_what_waits(&mut follow, batch) {
                Ok(changes) => Input::Changes(changes),
                Err(Ended) => continue, // the list that follows has them
            },
        };
        if to.send(input).await.is_err() {
            return;
        }
    }
}

/// All that waits: of a key that changed twice only the later change is told, so what is left out
/// may be older than what was taken.
fn with_what_waits(follow: &mut Follow, first: Batch) -> Result<Vec<Change>, Ended> {
    let mut changes = first.changes;
    while let Some(batch) = follow.waiting()? {
        changes.extend(batch.changes);
    }
    Ok(changes)
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

#[cfg(test)]
mod tests;
