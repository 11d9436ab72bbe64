//! `margay.v1.Sync`.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use futures::{Stream, stream};
use margay_model::{Key, Kind, ResourceKey, Revision};
use margay_proto::{
    error::invalid_argument,
    v1::{self, sync_event::Event, sync_server},
};
use tokio::time::Instant;
use tonic::{Request as Call, Response, Status, Streaming};

use super::no_datastore;
use crate::{
    mirror::{Mirror, News},
    ready::{Ready, Refused, Verdict},
};

/// Longest wait for an endpoint.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The service.
#[derive(Debug)]
pub(super) struct Sync {
    /// What is told.
    pub(super) mirror: Mirror,
    /// Whether there is a datastore.
    pub(super) there: bool,
    /// What is in force.
    pub(super) ready: Ready,
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

    async fn report_ready(
        &self,
        call: Call<Streaming<v1::ReportReadyRequest>>,
    ) -> Result<Response<v1::ReportReadyResponse>, Status> {
        let mut reports = call.into_inner();
        let Some(first) = reports.message().await? else {
            return Ok(Response::new(v1::ReportReadyResponse {}));
        };
        if first.subscriber.is_empty() {
            return Err(invalid_argument("subscriber", "who reports?"));
        }
        // Dropped with this call, however it ends: then nothing of it is in force any more.
        let reporter = self.ready.join(&first.subscriber).await.map_err(refused)?;
        let mut report = Some(first);
        while let Some(message) = report {
            for told in message.endpoints {
                let endpoint = endpoint("endpoints.endpoint", told.endpoint)?;
                reporter.report(endpoint, told.generation.map(Revision)).map_err(refused)?;
            }
            report = reports.message().await?;
        }
        Ok(Response::new(v1::ReportReadyResponse {}))
    }

    async fn await_ready(
        &self,
        call: Call<v1::AwaitReadyRequest>,
    ) -> Result<Response<v1::AwaitReadyResponse>, Status> {
        let request = call.into_inner();
        let endpoint = endpoint("endpoint", request.endpoint)?;
        let patience = Duration::from_millis(request.timeout_milliseconds.into());
        if patience > MAX_WAIT {
            return Err(invalid_argument("timeout_milliseconds", "more than a minute"));
        }
        let deadline = Instant::now() + patience;
        match self.ready.wait(&endpoint, Revision(request.generation), deadline).await {
            Ok(verdict) => {
                let in_force = verdict == Verdict::InForce;
                Ok(Response::new(v1::AwaitReadyResponse { in_force }))
            }
            Err(missing) => Err(Status::deadline_exceeded(missing.to_string())),
        }
    }
}

fn refused(refused: Refused) -> Status {
    match refused {
        Refused::Replaced => Status::aborted(refused.to_string()),
        Refused::Subscribers | Refused::Endpoints => {
            Status::resource_exhausted(refused.to_string())
        }
    }
}

/// An endpoint of a request; `field` holds it.
fn endpoint(field: &str, name: Option<v1::ResourceName>) -> Result<ResourceKey, Status> {
    let name = name.unwrap_or_default();
    let kind = match Kind::from_name(&name.kind) {
        Some(kind @ (Kind::WorkloadEndpoint | Kind::HostEndpoint)) => kind,
        _ => {
            let text = format!("{:?} is neither WorkloadEndpoint nor HostEndpoint", name.kind);
            return Err(invalid_argument(&format!("{field}.kind"), text));
        }
    };
    if name.name.is_empty() {
        return Err(invalid_argument(&format!("{field}.name"), "no name"));
    }
    if name.namespace.is_empty() == (kind == Kind::WorkloadEndpoint) {
        let text = "a WorkloadEndpoint has a namespace, a HostEndpoint has none";
        return Err(invalid_argument(&format!("{field}.namespace"), text));
    }
    Ok(ResourceKey { kind, namespace: name.namespace, name: name.name })
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

#[cfg(test)]
mod tests;
