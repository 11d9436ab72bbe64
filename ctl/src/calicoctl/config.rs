//! The configuration file and the environment, which say where the datastore is.
//!
//! Here the daemon knows that. So what is said is read strictly, as the original does, and compared
//! with what the daemon has: whoever names another datastore is not given this one.

use std::path::Path;

use super::cli::CONFIG;
use crate::error::plain;

/// Which datastore is meant, and who says so.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    datastore: Datastore,
    source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Datastore {
    Etcd,
    Kubernetes,
}

/// What a file may say under `spec`.
const KEYS: [&str; 25] = [
    "datastoreType",
    "etcdEndpoints",
    "etcdDiscoverySrv",
    "etcdUsername",
    "etcdPassword",
    "etcdKeyFile",
    "etcdCertFile",
    "etcdCACertFile",
    "etcdKey",
    "etcdCert",
    "etcdCACert",
    "kubeconfig",
    "kubeconfigInline",
    "k8sAPIEndpoint",
    "k8sKeyFile",
    "k8sCertFile",
    "k8sCAFile",
    "k8sAPIToken",
    "k8sInsecureSkipTLSVerify",
    "k8sCurrentContext",
    "usePodCIDR",
    "k8sDisableNodePoll",
    "k8sClientQPS",
    "k8sClientBurst",
    "calicoAPIGroup",
];

impl Wanted {
    /// Whether the daemon's datastore is of this type.
    ///
    /// # Errors
    /// It is another one.
    pub fn must_be(&self, there: &str) -> Result<(), String> {
        let (wanted, name) = match self.datastore {
            Datastore::Etcd => ("etcd", "etcdv3"),
            Datastore::Kubernetes => ("kubernetes", "kubernetes"),
        };
        if wanted == there {
            return Ok(());
        }
        Err(format!(
            "{} names a datastore of type {name}, but that of margay-bgpd is of type {there} \
             ([datastore] in its configuration)",
            self.source
        ))
    }
}

/// Which datastore is meant; `None`: the daemon's, whatever it is. A file that exists is used
/// alone, without the environment.
///
/// # Errors
/// A file that is not there or not right.
pub fn wanted(
    path: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Wanted>, String> {
    let file = path.display();
    match std::fs::read(path) {
        Ok(octets) => in_file(&octets, &file.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new(CONFIG) => {
            in_environment(environment)
        }
        Err(error) => Err(format!("cannot read the configuration file {file}: {}", plain(&error))),
    }
}

fn in_file(octets: &[u8], file: &str) -> Result<Option<Wanted>, String> {
    let wrong = |text: String| format!("configuration file {file}: {text}");
    let mut documents =
        margay_model::decode_json(octets).map_err(|faults| wrong(faults.to_string()))?;
    let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
        return Err(wrong("not one document".to_owned()));
    };
    let text = |field| document.get(field).and_then(|value| value.as_str());
    for (field, expected) in [("apiVersion", "projectcalico.org/v3"), ("kind", "CalicoAPIConfig")] {
        if text(field) != Some(expected) {
            return Err(wrong(format!("{field} is not {expected}")));
        }
    }
    let fields = document.as_object().into_iter().flatten();
    for (field, _) in fields {
        if !["apiVersion", "kind", "metadata", "spec"].contains(&field.as_str()) {
            return Err(wrong(format!("unknown field {field:?}")));
        }
    }
    let spec = document.get("spec").and_then(|spec| spec.as_object());
    for (key, _) in spec.into_iter().flatten() {
        if !KEYS.contains(&key.as_str()) {
            return Err(wrong(format!("unknown field \"spec.{key}\"")));
        }
    }
    let given = |key: &str| {
        let value = spec.and_then(|spec| spec.get(key)).and_then(|value| value.as_str());
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let source = format!("configuration file {file}");
    meant(given("datastoreType"), given("etcdEndpoints"), given("etcdDiscoverySrv"), &source)
        .map_err(wrong)
}

fn in_environment(environment: impl Fn(&str) -> Option<String>) -> Result<Option<Wanted>, String> {
    let given = |name: &str| {
        let value = environment(&format!("CALICO_{name}")).or_else(|| environment(name));
        value.filter(|value| !value.is_empty())
    };
    meant(
        given("DATASTORE_TYPE"),
        given("ETCD_ENDPOINTS"),
        given("ETCD_DISCOVERY_SRV"),
        "the environment",
    )
}

fn meant(
    datastore: Option<String>,
    endpoints: Option<String>,
    discovery: Option<String>,
    source: &str,
) -> Result<Option<Wanted>, String> {
    let datastore = match (datastore.as_deref(), &endpoints, &discovery) {
        (_, Some(_), Some(_)) => {
            return Err("etcdEndpoints and etcdDiscoverySrv exclude each other".to_owned());
        }
        (Some("etcdv3"), ..) => Datastore::Etcd,
        (Some("kubernetes"), ..) => Datastore::Kubernetes,
        (Some(other), ..) => return Err(format!("unknown datastore type: {other}")),
        (None, None, None) => return Ok(None),
        (None, ..) => Datastore::Etcd,
    };
    Ok(Some(Wanted { datastore, source: source.to_owned() }))
}

#[cfg(test)]
mod tests;
