//! The octets of resources: what is kept out of a stored value.
//!
//! A stored resource never carries `metadata.resourceVersion` (the datastore knows better) nor
//! `metadata.selfLink`.

use bytes::Bytes;
use margay_model::{Key, ResourceKey};
use serde_json::{Map, Value};

use crate::error::StoreError;

/// The form in which any backend keeps `value`. What needs no change keeps its octets.
///
/// # Errors
/// When `key` is a resource and the value is no JSON object.
pub(crate) fn for_store(key: &Key, value: &Bytes) -> Result<Bytes, StoreError> {
    let Key::Resource(name) = key else { return Ok(value.clone()) };
    let mut object = parse(name, value)?;
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Ok(value.clone());
    };
    let before = metadata.len();
    metadata.remove("resourceVersion");
    metadata.remove("selfLink");
    if metadata.len() == before { Ok(value.clone()) } else { Ok(print(object)) }
}

/// The object of a resource.
///
/// # Errors
/// When it is no JSON object.
pub(crate) fn parse(key: &ResourceKey, value: &Bytes) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_slice(value).map_err(|e| {
        StoreError::invalid(format!("{}({}): not a JSON object: {e}", key.kind, key.name))
    })
}

/// Its octets.
pub(crate) fn print(object: Map<String, Value>) -> Bytes {
    Bytes::from(Value::Object(object).to_string())
}

#[cfg(test)]
mod tests;
