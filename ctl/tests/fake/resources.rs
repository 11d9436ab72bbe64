//! Resources of a fake daemon: kept by name, each write a revision.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use margay_proto::v1::{
    self, WriteMode, WriteOutcome, resources_server::Resources, watch_resources_response::Event,
};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::Batches;

type Name = (String, String, String);

#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<(u64, BTreeMap<Name, Value>)>>);

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn name(object: &Value) -> Name {
    (text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

fn asked(name: Option<v1::ResourceName>) -> Name {
    let name = name.expect("a name");
    (name.kind, name.namespace, name.name)
}

fn missing((kind, _, name): &Name) -> Status {
    Status::not_found(format!("resource does not exist: {kind}({name})"))
}

#[tonic::async_trait]
impl Resources for Store {
    type WatchResourcesStream = Batches<v1::WatchResourcesResponse>;

    async fn get_resource(
        &self,
        request: Request<v1::GetResourceRequest>,
    ) -> Result<Response<v1::GetResourceResponse>, Status> {
        let request = request.into_inner();
        let name = asked(request.name);
        let store = self.0.lock().expect("nobody panics");
        let object = store.1.get(&name).ok_or_else(|| missing(&name))?.to_string();
        // What says so is old: shown to who only looks.
        if !object.contains("\"old\":\"yes\"") {
            return Ok(Response::new(v1::GetResourceResponse { object, warnings: Vec::new() }));
        }
        if !request.or_known {
            return Err(Status::unavailable("the datastore is away"));
        }
        let warnings = vec!["the datastore is away; shown is what was known".to_owned()];
        Ok(Response::new(v1::GetResourceResponse { object, warnings }))
    }

    async fn list_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let request = request.into_inner();
        let (revision, objects) = &*self.0.lock().expect("nobody panics");
        let all: Vec<_> = objects
            .iter()
            .filter(|((kind, namespace, _), _)| {
                *kind == request.kind
                    && (request.namespace.is_empty() || *namespace == request.namespace)
            })
            .map(|(_, object)| object.to_string())
            .collect();
        // Two a page: whoever lists must go on.
        let start: usize = request.continue_token.parse().unwrap_or(0);
        let page: Vec<_> = all.iter().skip(start).take(2).cloned().collect();
        let end = start + page.len();
        // What says so cannot be read.
        let (odd, objects): (Vec<_>, _) =
            page.into_iter().partition(|object| object.contains("\"unreadable\":\"yes\""));
        let warnings = odd.iter().map(|_| "left out: one that cannot be read".to_owned()).collect();
        let continue_token = if end < all.len() { end.to_string() } else { String::new() };
        Ok(Response::new(v1::ListResourcesResponse {
            objects,
            revision: *revision,
            continue_token,
            warnings,
        }))
    }

    async fn write_resources(
        &self,
        request: Request<v1::WriteResourcesRequest>,
    ) -> Result<Response<v1::WriteResourcesResponse>, Status> {
        let request = request.into_inner();
        let mode = request.mode();
        // As a daemon tells of rules between resources.
        let overlaps = |(at, object): (usize, &String)| {
            let pool = object.contains("10.99.").then(|| format!("IPPool {at} overlaps"))?;
            Some((format!("objects[{at}].spec.cidr"), pool))
        };
        let faults: Vec<_> = request.objects.iter().enumerate().filter_map(overlaps).collect();
        if !faults.is_empty() {
            return Err(margay_proto::error::invalid_arguments("pools overlap", faults));
        }
        let (revision, objects) = &mut *self.0.lock().expect("nobody panics");
        let mut written = Vec::new();
        for object in &request.objects {
            let mut object: Value = serde_json::from_str(object).expect("JSON");
            let name = name(&object);
            let outcome = match (mode, objects.contains_key(&name)) {
                (WriteMode::Create, true) => {
                    let text = format!("resource already exists: {}({})", name.0, name.2);
                    return Err(Status::already_exists(text));
                }
                (WriteMode::Replace, false) => return Err(missing(&name)),
                (_, true) => WriteOutcome::Replaced,
                (_, false) => WriteOutcome::Created,
            };
            *revision += 1;
            object["metadata"]["resourceVersion"] = revision.to_string().into();
            let object_text = object.to_string();
            if !request.dry_run {
                objects.insert(name, object);
            }
            written.push(v1::WrittenResource { outcome: outcome.into(), object: object_text });
        }
        Ok(Response::new(v1::WriteResourcesResponse { written }))
    }

    async fn delete_resource(
        &self,
        request: Request<v1::DeleteResourceRequest>,
    ) -> Result<Response<v1::DeleteResourceResponse>, Status> {
        let name = asked(request.into_inner().name);
        let object = self.0.lock().expect("nobody panics").1.remove(&name);
        let object = object.ok_or_else(|| missing(&name))?.to_string();
        Ok(Response::new(v1::DeleteResourceResponse { object }))
    }

    async fn watch_resources(
        &self,
        request: Request<v1::WatchResourcesRequest>,
    ) -> Result<Response<Self::WatchResourcesStream>, Status> {
        let request = request.into_inner();
        let (revision, objects) = &*self.0.lock().expect("nobody panics");
        let of_kind = objects.iter().filter(|((kind, ..), _)| *kind == request.kind);
        let mut events: Vec<_> =
            of_kind.clone().map(|(_, object)| Event::Object(object.to_string())).collect();
        events.push(Event::InSync(v1::InSync { revision: *revision }));
        // The first changes, then goes, then the stream ends.
        if let Some((name, object)) = of_kind.clone().next() {
            events.push(Event::Object(object.to_string()));
            let (kind, namespace, name) = name.clone();
            events.push(Event::Deleted(v1::ResourceName { kind, namespace, name }));
        }
        let events =
            events.into_iter().map(|event| v1::WatchResourcesResponse { event: Some(event) });
        let stream: Box<dyn Stream<Item = _> + Send> = Box::new(tokio_stream::iter(events).map(Ok));
        Ok(Response::new(Box::into_pin(stream)))
    }

    async fn get_datastore(
        &self,
        _: Request<v1::GetDatastoreRequest>,
    ) -> Result<Response<v1::GetDatastoreResponse>, Status> {
        Ok(Response::new(v1::GetDatastoreResponse {
            r#type: "embedded".to_owned(),
            connected: true,
            cause: String::new(),
        }))
    }
}
