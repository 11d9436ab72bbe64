//! Resources out of files, each in its namespace, and where what is wrong with one stands.

use margay_model::{Document, Item, Place, Resource, Scope};
use margay_proto::error::violations;
use tonic::{Code, Status};

use crate::{
    cli::{Files, Space},
    error::Failure,
    manifests::{self, Found, Told},
};

/// A resource and where it stands.
pub struct Placed {
    /// The resource.
    pub resource: Resource,
    file: String,
    document: usize,
    place: Place,
}

/// Every resource of the files, in their order. All faults are told at once, and then nothing was
/// read.
pub fn read(files: &Files, space: &Space) -> Result<Vec<Resource>, Failure> {
    let placed = placed(files, space, &manifests::plainly)?;
    Ok(placed.into_iter().map(|placed| placed.resource).collect())
}

/// The same with their places, and with faults told in other words.
pub fn placed(files: &Files, space: &Space, told: Told<'_>) -> Result<Vec<Placed>, Failure> {
    let mut resources = Vec::new();
    let mut faults = Vec::new();
    for Found { file, document } in manifests::read(files, told)? {
        let Document { number, place, item } = document;
        let line = format!("{file}: line {}", place.start.line);
        match in_namespace(item, &line, space) {
            Ok(resource) => resources.push(Placed { resource, file, document: number, place }),
            Err(fault) => faults.push(format!("{line}: {fault}")),
        }
    }
    if faults.is_empty() { Ok(resources) } else { Err(Failure::usage(faults.join("\n"))) }
}

/// An answer to a request with these objects: what is wrong with one is told with its place.
pub fn located(status: Status, sent: &[Placed]) -> Failure {
    let found = violations(&status);
    let told = found.iter().map(|(field, text)| {
        let (object, path) = field.strip_prefix("objects[")?.split_once(']')?;
        let placed = sent.get(object.parse::<usize>().ok()?)?;
        let at = placed.place.field(path.trim_start_matches('.'));
        let (file, document) = (&placed.file, placed.document);
        Some(format!("{file}: document {document}, line {}, column {}: {text}", at.line, at.column))
    });
    match told.collect::<Option<Vec<_>>>() {
        Some(told) if told.is_empty() => status.into(),
        Some(told) if status.code() == Code::InvalidArgument => Failure::usage(told.join("\n")),
        Some(told) => Failure::failed(told.join("\n")),
        None => status.into(),
    }
}

fn in_namespace(item: Item, place: &str, space: &Space) -> Result<Resource, String> {
    let mut resource = match item {
        Item::Resource(resource) => resource,
        Item::Kubernetes(object) => {
            let converted = object.into_resource();
            for skipped in &converted.skipped {
                let (path, allowed) = (&skipped.path, &skipped.allowed);
                manifests::warn(&format!("{place}: {path}: rule not used: expected {allowed}"));
            }
            converted.resource.ok_or("stands for no resource: its tier or subject is missing")?
        }
    };
    let kind = resource.kind();
    let own = resource.metadata().namespace.clone();
    let namespace = match (kind.scope(), own, &space.namespace) {
        (Scope::Cluster, Some(_), _) | (Scope::Cluster, None, Some(_)) => {
            return Err(format!("{kind} is not namespaced"));
        }
        (Scope::Cluster, None, None) => return Ok(resource),
        (Scope::Namespaced, Some(own), Some(given)) if own != *given => {
            let name = resource.name();
            return Err(format!("{kind}({name}) is in namespace {own}, but -n says {given}"));
        }
        (Scope::Namespaced, own, given) => {
            own.or_else(|| given.clone()).unwrap_or_else(|| "default".to_owned())
        }
    };
    resource.metadata_mut().namespace = Some(namespace);
    Ok(resource)
}
