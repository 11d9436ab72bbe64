//! Events of the stream as resources.

use margay_model::{Kind, Resource, ResourceKey};
use margay_proto::v1::ResourceName;
use serde::Deserialize;

/// What the stream is asked for.
pub(crate) const KINDS: [Kind; 13] = [
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

/// Reads an object.
///
/// # Errors
/// It is not as its kind has to be.
pub(super) fn read(text: &str) -> Result<Told, Broken> {
    let head: Head =
        serde_json::from_str(text).map_err(|error| Broken { key: None, why: error.to_string() })?;
    let Some(key) = key(&head.kind, head.metadata.namespace, head.metadata.name) else {
        return Err(Broken { key: None, why: format!("{:?} is no kind known here", head.kind) });
    };
    match Resource::decode(text.as_bytes()) {
        Ok(resource) => Ok(Told { key, resource }),
        Err(faults) => {
            let all: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
            Err(Broken { key: Some(key), why: all.join("; ") })
        }
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
