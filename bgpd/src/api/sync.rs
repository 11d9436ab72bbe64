//! `margay.v1.Sync`.

use std::{collections::BTreeSet, pin::Pin};

use futures::{Stream, stream};
use margay_model::{Key, Kind, Revision};
use margay_proto::{
    error::invalid_argument,
    v1::{self, sync_event::Event, sync_server},
};
use tonic::{Request as Call, Response, Status};

use super::no_datastore;
use crate::mirror::{Mirror, News};

/// The service.
#[derive(Debug)]
pub(super) struct Sync {
    /// What is told.
    pub(super) mirror: Mirror,
    /// Whether there is a datastore.
    pub(super) there: bool,
}

#[tonic::async_trait]
impl sync_server::Sync for Sync {
    type SubscribeStream =
        Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        call: Call<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        if !self.there {
            return Err(no_datastore());
        }
        let request = call.into_inner();
        let mut kinds = BTreeSet::new();
        for name in &request.kinds {
            let kind = Kind::from_name(name).ok_or_else(|| {
                invalid_argument("kinds", format!("resource type {name:?} is not supported"))
            })?;
            kinds.insert(kind);
        }
        let subscription = self.mirror.subscribe(kinds, request.after_revision.map(Revision));
        // Pulled: what the subscriber does not read stays with the copy, by key.
        let stream = stream::unfold(subscription, |subscription| async move {
            let events = subscription.next().await.into_iter().map(event).collect();
            Some((Ok(v1::SubscribeResponse { events }), subscription))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

fn event(news: News) -> v1::SyncEvent {
    let (event, revision) = match news {
        News::Reset => (Event::Reset(v1::SyncReset {}), Revision::default()),
        News::Resource(mirrored) => (Event::Object(mirrored.text.to_string()), mirrored.revision),
        News::Gone(key, revision) => (Event::Deleted(name(key)), revision),
        News::InSync(revision) => (Event::InSync(v1::InSync { revision: revision.0 }), revision),
    };
    v1::SyncEvent { event: Some(event), revision: revision.0 }
}

fn name(key: Key) -> v1::ResourceName {
    match key {
        Key::Resource(key) => v1::ResourceName {
            kind: key.kind.name().to_owned(),
            namespace: key.namespace,
            name: key.name,
        },
        // The copy holds resources only.
        _ => v1::ResourceName::default(),
    }
}
