//! Routes of one read, sorted by shard.
//!
//! A read of withdrawals can hold very many: beyond [`FULL`] they are handed over before the rest
//! is looked at, so that a shard comes back to its control messages every few milliseconds.

use std::sync::Arc;

use bgp_core::rib::{Attrs, Batch, shard_of};
use bgp_packet::{Family, Nlri};

/// Routes and withdrawals that a shard works off in a few milliseconds.
const FULL: usize = 8192;

/// Routes on their way to the shards: one batch for each shard and family.
#[derive(Debug)]
pub(crate) struct Batches {
    shards: usize,
    held: usize,
    families: [(Family, Vec<Batch>); 2],
}

impl Batches {
    pub(crate) fn new(shards: usize) -> Self {
        let empty = || (0..shards).map(|_| Batch::default()).collect();
        Self { shards, held: 0, families: Family::SUPPORTED.map(|family| (family, empty())) }
    }

    /// Appends withdrawals.
    pub(crate) fn withdraw(&mut self, nlri: &Nlri<'_>) {
        self.push(nlri, None);
    }

    /// Appends routes with these attributes.
    pub(crate) fn announce(&mut self, nlri: &Nlri<'_>, attrs: &Arc<Attrs>) {
        self.push(nlri, Some(attrs));
    }

    fn push(&mut self, nlri: &Nlri<'_>, attrs: Option<&Arc<Attrs>>) {
        let Some((_, batches)) = self.families.iter_mut().find(|(f, _)| *f == nlri.family) else {
            return;
        };
        for (path_id, prefix) in nlri.iter() {
            if let Some(batch) = batches.get_mut(shard_of(prefix, self.shards)) {
                batch.push(attrs, path_id, prefix);
                self.held += 1;
            }
        }
    }

    /// Whether there is enough to hand over at once.
    pub(crate) fn is_full(&self) -> bool {
        self.held >= FULL
    }

    /// Takes what is there: shard, family, batch. Empty ones are left out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (usize, Family, Batch)> {
        self.held = 0;
        self.families.iter_mut().flat_map(|(family, batches)| {
            batches
                .iter_mut()
                .enumerate()
                .filter(|(_, batch)| !batch.is_empty())
                .map(|(shard, batch)| (shard, *family, std::mem::take(batch)))
        })
    }
}
