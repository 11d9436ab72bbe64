//! The WorkloadEndpoint of an attachment.

use std::net::IpAddr;

use ipnet::IpNet;
use margay_model::{
    Cidr, Key, Kind, Resource,
    kinds::{IpNat, WorkloadEndpoint, WorkloadEndpointSpec},
    kubernetes::{namespace_profile, service_account_profile},
    meta::{ObjectMeta, SERVICE_ACCOUNT_LABEL},
};

use crate::{
    attachment::{AttachmentId, Entry, Mode, Spec, State, Uptime},
    failure::Failure,
};

/// The annotation that names the attachment an endpoint was written for: its handle. What has none
/// was applied by hand.
pub const HANDLE: &str = "margay/attachment";

/// The attribute of addresses whose holder has an endpoint: the interface in the container.
pub const ATTRIBUTE: &str = "endpoint";

/// The endpoint of an attachment on this node.
///
/// # Errors
/// Its name cannot be made: the node, the pod or the interface begins or ends with `-`.
pub fn of(entry: &Entry, node: &str) -> Result<WorkloadEndpoint, Failure> {
    let account = entry.spec.labels.get(SERVICE_ACCOUNT_LABEL);
    let (namespace, orchestrator, profiles) = match &entry.spec.pod {
        Some(pod) => {
            let account = account.map_or("default", String::as_str);
            let profiles = vec![
                namespace_profile(&pod.namespace),
                service_account_profile(&pod.namespace, account),
            ];
            (pod.namespace.as_str(), "k8s", profiles)
        }
        None => ("default", "cni", vec![entry.id.network.clone()]),
    };
    let spec = WorkloadEndpointSpec {
        orchestrator: Some(orchestrator.to_owned()),
        node: Some(node.to_owned()),
        container_id: Some(part(&entry.id.container)),
        pod: entry.spec.pod.as_ref().map(|pod| pod.name.clone()),
        endpoint: Some(part(&entry.id.ifname)),
        service_account_name: account.cloned(),
        ip_networks: entry
            .addresses
            .iter()
            .map(|address| Cidr::from(IpNet::from(*address)))
            .collect(),
        ip_nats: nats(entry),
        profiles,
        interface_name: Some(entry.host_interface.clone()),
        mac: Some(entry.mac().to_string()),
        allow_spoofed_source_prefixes: entry.spec.spoofed.iter().copied().map(Cidr::from).collect(),
        qos_controls: entry.spec.qos.controls(),
        ..WorkloadEndpointSpec::default()
    };
    let name = spec.endpoint_name().map_err(|error| {
        Failure::invalid("pod", format!("the WorkloadEndpoint cannot be named: {error}"))
    })?;
    let mut metadata = ObjectMeta::namespaced(namespace, name);
    metadata.labels = entry.spec.labels.clone();
    metadata.annotations.insert(HANDLE.to_owned(), entry.id.handle());
    Ok(WorkloadEndpoint { metadata, spec, status: None })
}

/// Whether what is wanted can have an endpoint on this node, and one that can be read again: to be known
/// before anything is done.
///
/// # Errors
/// As [`of`], and a label or name that endpoints cannot have.
pub fn can_be(id: &AttachmentId, spec: &Spec, node: &str) -> Result<(), Failure> {
    if spec.mode != Mode::Link {
        return Ok(());
    }
    let entry = Entry {
        id: id.clone(),
        state: State::Allocating,
        created: 0,
        begun: Uptime::default(),
        spec: spec.clone(),
        // Any will do.
        host_interface: "cali0".to_owned(),
        addresses: Vec::new(),
    };
    let endpoint = Resource::WorkloadEndpoint(Box::new(of(&entry, node)?));
    match Resource::decode(&endpoint.encode()) {
        Ok(_) => Ok(()),
        Err(faults) => {
            let faults: Vec<_> =
                faults.iter().map(|fault| format!("{}: {}", fault.path, fault.problem)).collect();
            let text = format!("the WorkloadEndpoint is refused: {}", faults.join("; "));
            Err(Failure::invalid("pod", text))
        }
    }
}

/// What it is stored under.
///
/// # Errors
/// As [`of`].
pub fn key(entry: &Entry, node: &str) -> Result<Key, Failure> {
    let endpoint = of(entry, node)?;
    Ok(Key::namespaced(Kind::WorkloadEndpoint, endpoint.namespace(), endpoint.name()))
}

/// By what is stored under the key of an endpoint, readable or not: the handle of the attachment that it
/// was written for.
pub fn handle_of(stored: &[u8]) -> Option<String> {
    let stored: serde_json::Value = serde_json::from_slice(stored).ok()?;
    Some(stored.pointer("/metadata/annotations")?.get(HANDLE)?.as_str()?.to_owned())
}

/// A container's id or an interface's name as a part of an endpoint's name: small letters, digits and
/// `-`. One with other characters is followed by a part of its digest, so that no two become the same.
fn part(text: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let plain: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain == text {
        return plain.to_owned();
    }
    let digest = margay_model::endpoint_name::host_interface("", text, "");
    if plain.is_empty() { digest } else { format!("{plain}-{digest}") }
}

/// Each floating address stands for the first address of its family.
fn nats(entry: &Entry) -> Vec<IpNat> {
    let internal = |external: &IpAddr| {
        let same = |address: &&IpAddr| address.is_ipv4() == external.is_ipv4();
        entry.addresses.iter().find(same).copied()
    };
    let nat = |external: &IpAddr| {
        Some(IpNat { internal_ip: internal(external)?, external_ip: *external })
    };
    entry.spec.floating.iter().filter_map(nat).collect()
}

#[cfg(test)]
mod tests;
