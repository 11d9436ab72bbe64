//! Events of the stream as resources.

use margay_model::{Item, Key, Kind, Mode, Resource, ResourceKey, decode};
use margay_proto::v1::ResourceName;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the stream is asked for.
pub(crate) const KINDS: [Kind; 14] = [
    Kind::FelixConfiguration,
    Kind::IpPool,
    Kind::Tier,
    Kind::Profile,
    Kind::GlobalNetworkSet,
    Kind::NetworkSet,
    Kind::GlobalNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::HostEndpoint,
    Kind::WorkloadEndpoint,
    Kind::EndpointSlice,
];

/// A resource as it is now.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) key: ResourceKey,
    pub(super) resource: Resource,
}

/// An object that cannot be read.
#[derive(Debug)]
pub(super) struct Broken {
    /// Which, where that much can be read.
    pub(super) key: Option<ResourceKey>,
    pub(super) why: String,
}

/// Reads an object. Fields that nobody knows here say nothing.
///
/// # Errors
/// It is not as its kind has to be.
pub(super) fn read(text: &str) -> Result<Told, Broken> {
    let why = match resource(text) {
        Ok(resource) => match resource.key() {
            Key::Resource(key) => return Ok(Told { key, resource }),
            other => format!("{other} is no resource"),
        },
        Err(why) => why,
    };
    // As much of it as says which it is.
    let head: Head =
        serde_json::from_str(text).map_err(|error| Broken { key: None, why: error.to_string() })?;
    match key(&head.kind, head.metadata.namespace, head.metadata.name) {
        Some(key) => Err(Broken { key: Some(key), why }),
        None => Err(Broken { key: None, why: format!("{:?} is no kind known here", head.kind) }),
    }
}

/// What stands for a policy that cannot be read, and of which nothing was known: it denies
/// everything to whom it selects, in the directions it governs, both unless it says so. None where
/// it is no policy that is enforced, or where nobody can tell whom it selects.
pub(super) fn closed(text: &str) -> Option<Resource> {
    let value: Value = serde_json::from_str(text).ok()?;
    let kind = value.get("kind")?.as_str()?;
    if !matches!(Kind::from_name(kind)?, Kind::NetworkPolicy | Kind::GlobalNetworkPolicy) {
        return None;
    }
    let metadata = value.get("metadata")?;
    let spec = value.get("spec")?.as_object()?;
    // As much of it as can be read; whom it selects has to be.
    let place = ["tier", "order", "types", "applyOnForward", "doNotTrack", "preDNAT"];
    let incoming_only = spec.get("preDNAT") == Some(&Value::Bool(true));
    for more in [place.as_slice(), &["tier", "order"], &["tier"], &[]] {
        let selects = ["selector", "namespaceSelector", "serviceAccountSelector"];
        let fields = selects.iter().chain(more);
        let mut kept: serde_json::Map<String, Value> = fields
            .filter_map(|field| Some(((*field).to_owned(), spec.get(*field)?.clone())))
            .collect();
        let early = incoming_only && kept.contains_key("preDNAT");
        let both = if early { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        let types = kept.entry("types").or_insert(both).clone();
        for (word, list) in [("Ingress", "ingress"), ("Egress", "egress")] {
            if types.as_array().is_some_and(|types| types.iter().any(|found| found == word)) {
                kept.insert(list.to_owned(), json!([{ "action": "Deny" }]));
            }
        }
        let named = ["name", "namespace"]
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), metadata.get(field)?.clone())));
        let stand_in = json!({
            "apiVersion": value.get("apiVersion"), "kind": kind,
            "metadata": named.collect::<serde_json::Map<_, _>>(), "spec": kept,
        });
        if let Ok(resource) = resource(&stand_in.to_string()) {
            return Some(resource);
        }
    }
    None
}

fn resource(text: &str) -> Result<Resource, String> {
    let manifest = decode(text.as_bytes(), Mode::Lenient).map_err(|faults| {
        let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
        all.join("; ")
    })?;
    match manifest.documents.into_iter().next().map(|document| document.item) {
        Some(Item::Resource(resource)) => Ok(resource),
        Some(Item::Kubernetes(_)) | None => Err("it is no resource".to_owned()),
    }
}

/// The resource of this name; none if its kind is not known here.
pub(super) fn named(name: &ResourceName) -> Option<ResourceKey> {
    key(&name.kind, name.namespace.clone(), name.name.clone())
}

/// For people.
pub(super) fn display(key: &ResourceKey) -> String {
    match key.namespace.as_str() {
        "" => format!("{} {}", key.kind, key.name),
        namespace => format!("{} {namespace}/{}", key.kind, key.name),
    }
}

fn key(kind: &str, namespace: String, name: String) -> Option<ResourceKey> {
    Some(ResourceKey { kind: Kind::from_name(kind)?, namespace, name })
}

/// What an object is called.
#[derive(Deserialize)]
struct Head {
    kind: String,
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    namespace: String,
    name: String,
}
