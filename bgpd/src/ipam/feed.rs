//! Blocks and leases as the allocator takes them.

use std::sync::Arc;

use margay_datastore::{Entry, Store};
use margay_ipam::{
    NodeName,
    allocator::{Input, Snapshot},
};
use margay_model::{Area, Key, Revision};
use tokio::sync::mpsc;
use tracing::warn;

use crate::follow::{Follow, Told};

/// Tells the allocator, for as long as it listens.
pub(super) async fn follow(store: Arc<dyn Store>, to: mpsc::Sender<Input>) {
    let mut follow = Follow::new(store, Area::Ipam);
    loop {
        let input = match follow.next().await {
            Told::Listed(entries, revision) => Input::Snapshot(snapshot(entries, revision)),
            Told::Changed(batch) => {
                let mut changes = batch.changes;
                // All that waits: of a key that changed twice only the later change is told, so
                // what is left out here may be older than what was taken.
                while let Some(batch) = follow.waiting() {
                    changes.extend(batch.changes);
                }
                Input::Changes(changes)
            }
        };
        if to.send(input).await.is_err() {
            return;
        }
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
