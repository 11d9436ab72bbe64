//! What Calico adds to resources in etcd, and takes off again.
//!
//! The four kinds of tiered policy carry their name in an annotation there, because older releases
//! put `default.` in front of the name under which such a policy lies.

use bytes::Bytes;
use margay_model::Key;
use serde_json::{Map, Value};

use crate::{
    error::StoreError,
    octets::{parse, print},
};

/// The annotation in which Calico keeps the name of a policy as its user gave it.
const NAME_ANNOTATION: &str = "projectcalico.org/metadata";

/// The octets for etcd: with the name annotation on a tiered policy.
///
/// # Errors
/// As [`octets::for_store`](crate::octets::for_store).
pub(crate) fn to_etcd(key: &Key, value: &Bytes) -> Result<Bytes, StoreError> {
    let Key::Resource(name) = key else { return Ok(value.clone()) };
    if !name.kind.is_tiered() {
        return Ok(value.clone());
    }
    let mut object = parse(name, value)?;
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let given = metadata.get("name").and_then(Value::as_str).unwrap_or(&name.name).to_owned();
    if let Some(metadata) = metadata.as_object_mut() {
        let annotations =
            metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            let note = Value::Object(Map::from_iter([("name".to_owned(), Value::from(given))]));
            annotations.insert(NAME_ANNOTATION.to_owned(), Value::from(note.to_string()));
        }
    }
    Ok(print(object))
}

/// What etcd holds, as every reader wants it. A value that is no JSON is left as it is: whoever
/// parses it says so with its name.
pub(crate) fn from_etcd(key: &Key, value: Bytes) -> Bytes {
    let Key::Resource(name) = key else { return value };
    if !name.kind.is_tiered() {
        return value;
    }
    let Ok(mut object) = parse(name, &value) else { return value };
    let in_default_tier = object
        .get("spec")
        .and_then(|spec| spec.get("tier"))
        .and_then(Value::as_str)
        .is_none_or(|tier| tier == "default");
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return value;
    };
    // Whoever decodes it must know by the annotation that this `default.` belongs to the name.
    let note = metadata.get("annotations").and_then(|all| all.get(NAME_ANNOTATION)?.as_str());
    let note = note.and_then(|note| serde_json::from_str::<Value>(note).ok());
    let given = note.as_ref().and_then(|note| note.get("name")?.as_str());
    if given.is_some_and(|given| given.starts_with("default.")) {
        return value;
    }
    match take_annotation(metadata) {
        Some(note) => {
            let note = serde_json::from_str::<Value>(&note).unwrap_or_default();
            if let Some(given) = note.get("name").filter(|name| name.is_string()) {
                metadata.insert("name".to_owned(), given.clone());
            }
        }
        None => {
            let stripped = metadata
                .get("name")
                .and_then(Value::as_str)
                .filter(|_| in_default_tier)
                .and_then(|name| name.strip_prefix("default."))
                .map(str::to_owned);
            let Some(stripped) = stripped else { return value };
            metadata.insert("name".to_owned(), Value::from(stripped));
        }
    }
    print(object)
}

/// Takes the name annotation off; annotations that hold nothing else go with it.
fn take_annotation(metadata: &mut Map<String, Value>) -> Option<String> {
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let note = annotations.remove(NAME_ANNOTATION)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    Some(note.as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
