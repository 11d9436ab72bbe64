//! Blocks and leases as the allocator takes them.

use margay_datastore::{Batch, Entry};
use margay_ipam::{
    NodeName,
    allocator::{Input, Snapshot},
};
use margay_model::{Key, Revision};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    follow::{Doubt, Ended, Source, Told},
    mirror::Mirror,
};

/// Tells the allocator, for as long as it listens; and before it the copy that other nodes hear, if
/// there is one.
pub(super) async fn follow(
    mut source: Box<dyn Source>,
    copy: Option<Mirror>,
    to: mpsc::Sender<Input>,
) {
    // Without readers nobody has one.
    let no_doubt = Doubt::default();
    loop {
        let told = match &copy {
            Some(copy) => copy.hear(source.as_mut()).await,
            None => source.next(&no_doubt).await,
        };
        let told = match told {
            Told::Changed(batch) => match with_what_waits(source.as_mut(), batch) {
                Ok(batch) => Told::Changed(batch),
                Err(Ended) => continue, // the list that follows has them
            },
            listed => listed,
        };
        if let Some(copy) = &copy {
            copy.take_in(told.clone());
        }
        let input = match told {
            Told::Listed(entries, revision) => Input::Snapshot(snapshot(entries, revision)),
            Told::Changed(batch) => Input::Changes(batch.changes),
        };
        if to.send(input).await.is_err() {
            return;
        }
    }
}

/// All that waits: of a key that changed twice only the later change is told, so what is left out
/// may be older than what was taken.
fn with_what_waits(source: &mut dyn Source, first: Batch) -> Result<Batch, Ended> {
    let mut all = first;
    while let Some(batch) = source.waiting()? {
        all.changes.extend(batch.changes);
        all.revision = all.revision.max(batch.revision);
    }
    Ok(all)
}

pub(super) fn snapshot(entries: Vec<Entry>, at: Revision) -> Snapshot {
    let mut snapshot = Snapshot { at, ..Snapshot::default() };
    for Entry { key, value, .. } in entries {
        match key {
            Key::Block(cidr) => snapshot.blocks.push((cidr, value.revision, value.value)),
            Key::NodeLease(node) => match NodeName::try_from(node.as_str()) {
                Ok(node) => snapshot.leases.push((node, value.revision)),
                Err(error) => warn!(err = %error, "a lease is left out"),
            },
            Key::Resource(_) | Key::Guard(_) | Key::Undo(_) => {}
        }
    }
    snapshot
}

#[cfg(test)]
mod tests;
