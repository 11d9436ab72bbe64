//! `margay.v1.Resources`.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::SystemTime,
};

use futures::{Stream, StreamExt};
use margay_datastore::{Cursor, Page, Store, StoreError, list_all};
use margay_model::{Area, Change, Key, Kind, Resource, Revision, Scope, Versioned, kinds};
use margay_proto::{
    error::invalid_argument,
    v1::{self, resources_server, watch_resources_response::Event},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request as Call, Response, Status};
use tracing::warn;

use super::{Node, actor, affinities, no_datastore};
use crate::{
    ipam::Ipam,
    mirror::{KnownPage, Mirror},
    resources::{
        ResourceError, Resources as Cluster, WriteMode, WriteOptions, WriteOutcome, built_in,
        listed, read_all, shown,
    },
};

/// Answers on their way to one watcher; beyond, the store keeps the latest state of each key.
const AHEAD: usize = 64;
/// A token that begins so goes on in the copy, behind the path that follows.
const KNOWN: &str = "known:";
/// Resources of the copy in one answer.
const KNOWN_PAGE: usize = 500;
/// Most resources in one request.
const MAX_OBJECTS: usize = 10_000;

/// The service.
#[derive(Debug)]
pub(super) struct Resources {
    cluster: Option<Cluster>,
    mirror: Mirror,
    ipam: Option<Ipam>,
    node: Arc<str>,
}

impl Resources {
    /// On the datastore of this daemon.
    pub(super) fn new(node: &Node) -> Self {
        let (mirror, ipam) = (node.mirror.clone(), node.ipam.clone());
        Self { cluster: node.resources.clone(), mirror, ipam, node: Arc::clone(&node.name) }
    }

    fn store(&self) -> Result<&Arc<dyn Store>, Status> {
        Ok(self.cluster()?.store())
    }

    /// What was known of a resource, and as of when; of one that always exists what it is at least.
    fn known(&self, key: &Key) -> Option<(String, Revision)> {
        if let Some((text, at)) = self.mirror.known(key) {
            return Some((text.to_string(), at));
        }
        Some((built_in(key)?, self.mirror.revision()?))
    }

    fn cluster(&self) -> Result<&Cluster, Status> {
        self.cluster.as_ref().ok_or_else(no_datastore)
    }
}

#[tonic::async_trait]
impl resources_server::Resources for Resources {
    type WatchResourcesStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchResourcesResponse, Status>> + Send>>;

    async fn get_resource(
        &self,
        call: Call<v1::GetResourceRequest>,
    ) -> Result<Response<v1::GetResourceResponse>, Status> {
        let v1::GetResourceRequest { name, or_known } = call.into_inner();
        let key = key(name)?;
        let mut warnings = Vec::new();
        let object = match &key {
            Key::Resource(name) if name.kind == Kind::BlockAffinity => {
                affinities::get(self.ipam.as_ref(), key).await?
            }
            _ => match (self.cluster()?.get(&key).await, or_known) {
                (Err(ResourceError::Store(error)), true) => {
                    let (object, at) = self
                        .known(&key)
                        .filter(|_| is_away(&error))
                        .ok_or(ResourceError::from(error.clone()))?;
                    warnings.push(old(&error, at));
                    object
                }
                (found, _) => found?,
            },
        };
        Ok(Response::new(v1::GetResourceResponse { object, warnings }))
    }

    async fn list_resources(
        &self,
        call: Call<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let request = call.into_inner();
        let kind = kind(&request.kind)?;
        if let Some(after) = request.continue_token.strip_prefix(KNOWN) {
            let area = area(kind, request.namespace)?;
            let after = Key::from_path(after).map_err(|_| wrong_token())?;
            let page = self.mirror.known_in(&area, Some(&after), KNOWN_PAGE);
            return Ok(Response::new(known(page.ok_or_else(wrong_token)?, Vec::new())));
        }
        let page = page(&request.continue_token, request.limit)?;
        let area = area(kind, request.namespace)?;
        if kind == Kind::BlockAffinity {
            // In one page: there are no more than blocks.
            let (objects, revision) = affinities::list(self.ipam.as_ref()).await?;
            let (revision, continue_token) = (revision.0, String::new());
            let warnings = Vec::new();
            let whole = v1::ListResourcesResponse { objects, revision, continue_token, warnings };
            return Ok(Response::new(whole));
        }
        let listing = match self.store()?.list(&area, &page).await {
            Err(error) if request.or_known && page.after.is_none() && is_away(&error) => {
                let page = self.mirror.known_in(&area, None, KNOWN_PAGE);
                let page = page.ok_or(ResourceError::from(error.clone()))?;
                let warning = old(&error, page.revision);
                let unknown = |resource: &Resource| self.mirror.known(&resource.key()).is_none();
                let built_in = kinds::built_in(kind).into_iter().filter(unknown);
                let mut answer = known(page, vec![warning]);
                answer.objects.splice(..0, built_in.map(|found| found.to_json().to_string()));
                return Ok(Response::new(answer));
            }
            listing => listing.map_err(ResourceError::from)?,
        };
        let (mut objects, warnings) = listed(&listing.entries);
        if page.after.is_none() {
            objects.splice(..0, self.cluster()?.not_stored(kind, &listing).await?);
        }
        for text in &warnings {
            warn!(%text, "a list is not whole");
        }
        let revision = listing.revision.0;
        let more = listing.more.map(|cursor| format!("{revision}:{}", cursor.as_str()));
        Ok(Response::new(v1::ListResourcesResponse {
            objects,
            revision,
            continue_token: more.unwrap_or_default(),
            warnings,
        }))
    }

    async fn write_resources(
        &self,
        call: Call<v1::WriteResourcesRequest>,
    ) -> Result<Response<v1::WriteResourcesResponse>, Status> {
        let actor = actor("resources", &self.node, &call);
        let request = call.into_inner();
        let mode = match request.mode() {
            v1::WriteMode::Create => WriteMode::Create,
            v1::WriteMode::Replace => WriteMode::Replace,
            v1::WriteMode::Apply => WriteMode::Apply,
            v1::WriteMode::Unspecified => return Err(invalid_argument("mode", "missing")),
        };
        if request.objects.len() > MAX_OBJECTS {
            let text = format!("more than {MAX_OBJECTS} resources in one request");
            return Err(invalid_argument("objects", text));
        }
        let resources = read_all(&request.objects, request.lenient)?;
        let options = WriteOptions { mode, dry_run: request.dry_run, now: SystemTime::now() };
        let written = self.cluster()?.write(resources, &options, &actor).await?;
        let written = written.into_iter().map(|(outcome, object)| v1::WrittenResource {
            outcome: match outcome {
                WriteOutcome::Created => v1::WriteOutcome::Created,
                WriteOutcome::Replaced => v1::WriteOutcome::Replaced,
                WriteOutcome::Unchanged => v1::WriteOutcome::Unchanged,
            }
            .into(),
            object,
        });
        Ok(Response::new(v1::WriteResourcesResponse { written: written.collect() }))
    }

    async fn delete_resource(
        &self,
        call: Call<v1::DeleteResourceRequest>,
    ) -> Result<Response<v1::DeleteResourceResponse>, Status> {
        let actor = actor("resources", &self.node, &call);
        let request = call.into_inner();
        let key = key(request.name)?;
        let revision = request.revision.map(Revision);
        let object = self.cluster()?.delete(&key, revision, &actor).await?;
        Ok(Response::new(v1::DeleteResourceResponse { object }))
    }

    async fn watch_resources(
        &self,
        call: Call<v1::WatchResourcesRequest>,
    ) -> Result<Response<Self::WatchResourcesStream>, Status> {
        let request = call.into_inner();
        let kind = kind(&request.kind)?;
        if kind == Kind::BlockAffinity {
            return Err(affinities::not_watched());
        }
        let name = Some(request.name).filter(|name| !name.is_empty());
        let watcher = Watcher {
            store: Arc::clone(self.store()?),
            kind,
            area: area(kind, request.namespace)?,
            name,
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            if let Err(error) = watcher.run(&sender).await {
                // Nobody reads any more: nothing to tell.
                let _ = sender.send(Err(ResourceError::from(error).into())).await;
            }
        });
        Ok(Response::new(Box::pin(Joined { stream: ReceiverStream::new(receiver), task })))
    }

    async fn get_datastore(
        &self,
        _: Call<v1::GetDatastoreRequest>,
    ) -> Result<Response<v1::GetDatastoreResponse>, Status> {
        let Some(store) = self.cluster.as_ref().map(Cluster::store) else {
            let none = v1::GetDatastoreResponse { r#type: "none".to_owned(), ..Default::default() };
            return Ok(Response::new(none));
        };
        let status = store.status();
        Ok(Response::new(v1::GetDatastoreResponse {
            r#type: status.kind.to_owned(),
            connected: status.connected,
            cause: status.last_error.unwrap_or_default(),
        }))
    }
}

/// Tells one subscriber what is and what changes.
struct Watcher {
    store: Arc<dyn Store>,
    kind: Kind,
    area: Area,
    name: Option<String>,
}

/// The reader went away.
struct Gone;

type Answers = mpsc::Sender<Result<v1::WatchResourcesResponse, Status>>;

impl Watcher {
    /// Until the reader goes away, or the datastore cannot go on.
    async fn run(&self, to: &Answers) -> Result<(), StoreError> {
        let mut known = BTreeSet::new();
        let mut told = false;
        loop {
            let (entries, revision) = list_all(self.store.as_ref(), &self.area).await?;
            let entries: Vec<_> = entries.into_iter().filter(|e| self.wants(&e.key)).collect();
            let now: BTreeSet<_> = entries.iter().map(|entry| entry.key.clone()).collect();
            // History was lost: what went away meanwhile is told now.
            let gone = known.difference(&now).filter_map(deleted);
            let here = entries.iter().filter_map(|entry| object(&entry.key, &entry.value));
            let mut events: Vec<_> = gone.chain(here).collect();
            if !told {
                let built_in = kinds::built_in(self.kind).into_iter();
                let wanted = built_in.filter(|resource| {
                    let key = resource.key();
                    self.wants(&key) && !now.contains(&key)
                });
                events.extend(wanted.map(|resource| Event::Object(resource.to_json().to_string())));
                events.push(Event::InSync(v1::InSync { revision: revision.0 }));
                told = true;
            }
            if send(to, events).await.is_err() {
                return Ok(());
            }
            known = now;
            let mut watch = self.store.watch(&self.area, revision).await?;
            loop {
                let batch = tokio::select! {
                    () = to.closed() => return Ok(()),
                    batch = watch.next() => batch,
                };
                let changes = match batch {
                    Ok(batch) => batch.changes,
                    Err(StoreError::Compacted { .. }) => break,
                    Err(error) => return Err(error),
                };
                let mut events = Vec::with_capacity(changes.len());
                for Change { key, value, .. } in changes.into_iter().filter(|c| self.wants(&c.key))
                {
                    match value {
                        Some(value) => {
                            events.extend(object(&key, &value));
                            known.insert(key);
                        }
                        None => {
                            events.extend(deleted(&key));
                            known.remove(&key);
                        }
                    }
                }
                if send(to, events).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn wants(&self, key: &Key) -> bool {
        match (key, &self.name) {
            (Key::Resource(key), Some(name)) => key.name == *name,
            _ => true,
        }
    }
}

async fn send(to: &Answers, events: Vec<Event>) -> Result<(), Gone> {
    for event in events {
        let answer = v1::WatchResourcesResponse { event: Some(event) };
        to.send(Ok(answer)).await.map_err(|_| Gone)?;
    }
    Ok(())
}

fn object(key: &Key, value: &Versioned) -> Option<Event> {
    match shown(key, value) {
        Ok(object) => Some(Event::Object(object)),
        Err(error) => {
            warn!(%key, err = %error, "left out of a watch");
            None
        }
    }
}

fn deleted(key: &Key) -> Option<Event> {
    let Key::Resource(key) = key else { return None };
    Some(Event::Deleted(v1::ResourceName {
        kind: key.kind.name().to_owned(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }))
}

/// A stream that takes its task along when it ends.
struct Joined {
    stream: ReceiverStream<Result<v1::WatchResourcesResponse, Status>>,
    task: JoinHandle<()>,
}

impl Stream for Joined {
    type Item = Result<v1::WatchResourcesResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kind(name: &str) -> Result<Kind, Status> {
    Kind::from_name(name)
        .ok_or_else(|| invalid_argument("kind", format!("resource type {name:?} is not supported")))
}

fn key(name: Option<v1::ResourceName>) -> Result<Key, Status> {
    let name = name.ok_or_else(|| invalid_argument("name", "missing"))?;
    let kind = kind(&name.kind)?;
    match (kind.scope(), name.namespace.is_empty()) {
        (Scope::Cluster, false) => {
            return Err(invalid_argument("name.namespace", format!("{kind} is not namespaced")));
        }
        (Scope::Namespaced, true) => {
            return Err(invalid_argument("name.namespace", format!("{kind} is in a namespace")));
        }
        _ => {}
    }
    let key = Key::namespaced(kind, name.namespace, name.name);
    // What reads back as something else would reach into another kind or namespace.
    if Key::from_path(&key.path()).as_ref() != Ok(&key) {
        return Err(invalid_argument("name.name", "cannot be the name of a resource"));
    }
    Ok(key)
}

fn area(kind: Kind, namespace: String) -> Result<Area, Status> {
    if namespace.is_empty() {
        return Ok(Area::Kind(kind, None));
    }
    match kind.scope() {
        Scope::Cluster => Err(invalid_argument("namespace", format!("{kind} is not namespaced"))),
        Scope::Namespaced => Ok(Area::Kind(kind, Some(namespace))),
    }
}

/// Whether what was known is worth showing instead.
fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. })
}

fn old(error: &StoreError, at: Revision) -> String {
    format!("{error}; shown is what was known of it at revision {}", at.0)
}

fn known(page: KnownPage, warnings: Vec<String>) -> v1::ListResourcesResponse {
    let KnownPage { texts, more, revision } = page;
    v1::ListResourcesResponse {
        objects: texts.iter().map(ToString::to_string).collect(),
        revision: revision.0,
        continue_token: more.map(|key| format!("{KNOWN}{}", key.path())).unwrap_or_default(),
        warnings,
    }
}

fn wrong_token() -> Status {
    invalid_argument("continue_token", "not out of an earlier answer")
}

/// Which page: a token is `REVISION:CURSOR`.
fn page(token: &str, limit: u32) -> Result<Page, Status> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if token.is_empty() {
        return Ok(Page { at: None, after: None, limit });
    }
    let (revision, cursor) = token.split_once(':').ok_or_else(wrong_token)?;
    let revision = revision.parse().map_err(|_| wrong_token())?;
    Ok(Page { at: Some(Revision(revision)), after: Some(Cursor::new(cursor)), limit })
}
