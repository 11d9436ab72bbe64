//! Resources out of files, each in its namespace.

use margay_model::{Item, Resource, Scope};

use crate::{
    cli::{Files, Space},
    error::Failure,
    manifests::{self, Found, Told},
};

/// Every resource of the files, in their order. All faults are told at once, and then nothing was
/// read.
pub fn read(files: &Files, space: &Space) -> Result<Vec<Resource>, Failure> {
    read_as(files, space, &manifests::plainly)
}

/// The same, with faults told in other words.
pub fn read_as(files: &Files, space: &Space, told: Told<'_>) -> Result<Vec<Resource>, Failure> {
    let mut resources = Vec::new();
    let mut faults = Vec::new();
    for Found { file, document } in manifests::read(files, told)? {
        let place = format!("{file}: line {}", document.position.line);
        match in_namespace(document.item, &place, space) {
            Ok(resource) => resources.push(resource),
            Err(fault) => faults.push(format!("{place}: {fault}")),
        }
    }
    if faults.is_empty() { Ok(resources) } else { Err(Failure::usage(faults.join("\n"))) }
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
