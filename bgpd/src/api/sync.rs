//! `margay.v1.Sync`.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use futures::{Stream, stream};
use margay_model::{Key, Kind, ResourceKey, Revision};
use margay_proto::{
    error::invalid_argument,
    v1::{self, sync_event::Event, sync_server},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tonic::{Request as Call, Response, Status, Streaming};
use tracing::debug;

use super::no_datastore;
use crate::{
    mirror::{Mirror, News, Subscription},
    origin::Origin,
    ready::{Ready, Refused, Verdict},
};

/// Longest wait for an endpoint.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    /// What is told.
    pub(super) mirror: Mirror,
    /// Likewise of blocks and leases, where there is a copy of them.
    pub(super) blocks: Option<Mirror>,
    /// Whether there is a datastore.
    pub(super) there: bool,
    /// Where what is told comes from.
    pub(super) origin: Origin,
    /// What is in force; `None` for those who come from elsewhere, to whom it is no business.
    pub(super) ready: Option<Ready>,
}

impl Sync {
    fn ready(&self) -> Result<&Ready, Status> {
        self.ready.as_ref().ok_or_else(|| {
            Status::permission_denied("what is in force on a node is told over its own socket only")
        })
    }

    /// The copy that is asked for.
    fn copy(&self, area: v1::SyncArea) -> Result<&Mirror, Status> {
        match area {
            v1::SyncArea::Unspecified | v1::SyncArea::Resources => Ok(&self.mirror),
            v1::SyncArea::Ipam => self.blocks.as_ref().ok_or_else(|| {
                Status::failed_precondition(
                    "there is no copy of blocks here: other nodes may not ask (api.listen)",
                )
            }),
        }
    }
}

/// What one subscriber is told.
struct Teller {
    subscription: Subscription,
    origin: Origin,
    /// When to say that all is well.
    alive: Option<Interval>,
    /// It has been said once.
    begun: bool,
}

impl Teller {
    async fn next(&mut self) -> Vec<v1::SyncEvent> {
        let Some(alive) = &mut self.alive else {
            return self.subscription.next().await.into_iter().map(event).collect();
        };
        // A subscriber must know from where it hears before it hears anything.
        if !std::mem::replace(&mut self.begun, true) {
            return vec![self.alive()];
        }
        tokio::select! {
            _ = alive.tick() => vec![self.alive()],
            news = self.subscription.next() => news.into_iter().map(event).collect(),
        }
    }

    /// Where what is told comes from, and how old it may be.
    fn alive(&self) -> v1::SyncEvent {
        let (path, age) = self.origin.now();
        let age = age.filter(|_| self.subscription.is_told());
        let age = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let alive = Event::Alive(v1::SyncAlive { path, age_milliseconds: age });
        v1::SyncEvent { event: Some(alive), revision: 0 }
    }
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
        let copy = self.copy(request.area())?;
        if request.area() == v1::SyncArea::Ipam && !kinds.is_empty() {
            return Err(invalid_argument("kinds", "blocks and leases are of no kind"));
        }
        let alive = (request.alive_seconds > 0).then(|| {
            let mut alive = interval(Duration::from_secs(request.alive_seconds.into()));
            alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
            alive
        });
        let subscription = copy.subscribe(kinds, request.after_revision.map(Revision));
        debug!(subscriber = request.subscriber, area = ?request.area(), "somebody subscribes");
        let teller = Teller { subscription, origin: self.origin.clone(), alive, begun: false };
        // Pulled: what the subscriber does not read stays with the copy, by key.
        let stream = stream::unfold(teller, |mut teller| async move {
            let events = teller.next().await;
            Some((Ok(v1::SubscribeResponse { events }), teller))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report_ready(
        &self,
        call: Call<Streaming<v1::ReportReadyRequest>>,
    ) -> Result<Response<v1::ReportReadyResponse>, Status> {
        self.ready()?;
        let mut reports = call.into_inner();
        let Some(first) = reports.message().await? else {
            return Ok(Response::new(v1::ReportReadyResponse {}));
        };
        if first.subscriber.is_empty() {
            return Err(invalid_argument("subscriber", "who reports?"));
        }
        // Dropped with this call, however it ends: then nothing of it is in force any more.
        let reporter = self.ready()?.join(&first.subscriber).await.map_err(refused)?;
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
        let ready = self.ready()?;
        let request = call.into_inner();
        let endpoint = endpoint("endpoint", request.endpoint)?;
        let patience = Duration::from_millis(request.timeout_milliseconds.into());
        if patience > MAX_WAIT {
            return Err(invalid_argument("timeout_milliseconds", "more than a minute"));
        }
        let deadline = Instant::now() + patience;
        match ready.wait(&endpoint, Revision(request.generation), deadline).await {
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
        News::Stored(key, value) => {
            let stored = v1::SyncStored { key: key.path(), value: Some(value.text.to_string()) };
            (Event::Stored(stored), value.revision)
        }
        News::Gone(Key::Resource(key), revision) => (Event::Deleted(name(key)), revision),
        News::Gone(key, revision) => {
            (Event::Stored(v1::SyncStored { key: key.path(), value: None }), revision)
        }
        News::InSync(revision) => (Event::InSync(v1::InSync { revision: revision.0 }), revision),
    };
    v1::SyncEvent { event: Some(event), revision: revision.0 }
}

fn name(key: ResourceKey) -> v1::ResourceName {
    let ResourceKey { kind, namespace, name } = key;
    v1::ResourceName { kind: kind.name().to_owned(), namespace, name }
}

#[cfg(test)]
mod tests;
