//! `margay get`, `apply`, `create`, `replace`, `delete`, `patch`, `label`.

mod change;
pub mod documents;
mod get;
mod write;

pub use change::{change_one, delete, label, merge, patch, relabel, remove};
pub use get::{context, fetch, get, go_template, known, list, rendered, strip};
pub use write::{send, write};

use margay_model::{Kind, Scope};
use margay_proto::v1;
use serde_json::Value;

use crate::{cli::Space, error::Failure};

/// The kind a user means by a word.
pub fn kind(word: &str) -> Result<Kind, Failure> {
    Kind::from_word(word).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
        Failure::usage(format!("resource type {word:?} is not supported"))
            .with_help(format!("known are {}", known.join(", ")))
    })
}

/// The namespace of a resource that names none: empty for a kind without namespaces.
pub fn namespace(kind: Kind, space: &Space) -> Result<String, Failure> {
    match (kind.scope(), &space.namespace) {
        (Scope::Cluster, Some(_)) => Err(Failure::usage(format!("{kind} is not namespaced"))),
        (Scope::Cluster, None) => Ok(String::new()),
        (Scope::Namespaced, namespace) => {
            Ok(namespace.clone().unwrap_or_else(|| "default".to_owned()))
        }
    }
}

/// What an object is called.
pub fn name_of(object: &Value) -> v1::ResourceName {
    let text =
        |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    v1::ResourceName {
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}

/// `IPPool(pool1)`, `NetworkPolicy(prod/web)`.
pub fn shown(name: &v1::ResourceName) -> String {
    match name.namespace.as_str() {
        "" => format!("{}({})", name.kind, name.name),
        namespace => format!("{}({namespace}/{})", name.kind, name.name),
    }
}

/// An object out of an answer.
pub fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::failed(format!("the daemon sent what is not JSON: {error}")))
}
