//! The in-memory store does what every store does.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use margay_datastore::{MemStore, Store};
use margay_model::Revision;

mod conformance;

struct Memory(MemStore);

#[async_trait]
impl conformance::Rig for Memory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn pass(&self, time: Duration) {
        self.0.advance(time);
    }

    async fn compact(&self, revision: Revision) {
        self.0.compact(revision);
    }
}

#[tokio::test]
async fn the_in_memory_store_conforms() {
    conformance::run(&Memory(MemStore::new())).await;
}
