//! Names made of other names: workload endpoints and host interfaces.

use sha1::{Digest, Sha1};

/// What the name of a workload endpoint is made of. Which parts count depends on the orchestrator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointName {
    /// The node.
    pub node: String,
    /// The orchestrator: `k8s`, `cni`, `libnetwork` or another.
    pub orchestrator: String,
    /// The pod; counts for `k8s`.
    pub pod: String,
    /// The container; counts for `cni`.
    pub container_id: String,
    /// The workload; counts for other orchestrators.
    pub workload: String,
    /// The interface; always counts.
    pub endpoint: String,
}

/// A part of a name that is missing or cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {allowed}")]
pub struct EndpointNameError {
    /// The field of the spec.
    pub field: &'static str,
    /// What it would be.
    pub allowed: &'static str,
}

impl EndpointName {
    /// `NODE-ORCHESTRATOR-WORKLOAD-ENDPOINT`, with every `-` within a part doubled.
    pub fn format(&self) -> Result<String, EndpointNameError> {
        let workload = match self.orchestrator.as_str() {
            "k8s" => ("pod", self.pod.as_str()),
            "cni" => ("containerID", self.container_id.as_str()),
            "libnetwork" => ("workload", "libnetwork"),
            _ => ("workload", self.workload.as_str()),
        };
        let parts = [
            ("node", self.node.as_str()),
            ("orchestrator", self.orchestrator.as_str()),
            workload,
            ("endpoint", self.endpoint.as_str()),
        ];
        let mut escaped = Vec::with_capacity(parts.len());
        for (field, part) in parts {
            let allowed = match part {
                "" => "a value: the object's name is made of it",
                part if part.starts_with('-') || part.ends_with('-') => "no - at an edge",
                part => {
                    escaped.push(part.replace('-', "--"));
                    continue;
                }
            };
            return Err(EndpointNameError { field, allowed });
        }
        Ok(escaped.join("-"))
    }

    /// Takes a name apart again: node, orchestrator, workload, endpoint. `None` if it has not
    /// four parts.
    pub fn split(name: &str) -> Option<[String; 4]> {
        let mut parts = vec![String::new()];
        let mut rest = name.chars().peekable();
        while let Some(c) = rest.next() {
            if c == '-' && rest.next_if_eq(&'-').is_none() {
                parts.push(String::new());
            } else {
                parts.last_mut()?.push(c);
            }
        }
        parts
            .try_into()
            .ok()
            .filter(|parts: &[String; 4]| parts.iter().all(|part| !part.is_empty()))
    }
}

/// The host's side of a pod's link: the prefix (Calico's is `cali`) and the first 11 hexadecimal
/// digits of SHA-1 of `NAMESPACE.POD`.
pub fn host_interface(prefix: &str, namespace: &str, pod: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{pod}"));
    let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).take(6).collect();
    let digits = hex.get(..11).expect("six octets are twelve digits");
    format!("{prefix}{digits}")
}

#[cfg(test)]
mod tests;
