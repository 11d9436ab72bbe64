//! The WorkloadEndpoint of an attachment.

use std::net::IpAddr;

use ipnet::IpNet;
use margay_model::{
    Cidr, Key, Kind,
    kinds::{IpNat, WorkloadEndpoint, WorkloadEndpointSpec},
    meta::{ObjectMeta, SERVICE_ACCOUNT_LABEL},
};

use crate::{
    attachment::{AttachmentId, Entry, Mode, Spec, State},
    failure::Failure,
};

/// The annotation that names the attachment an endpoint was written for: its handle. What has none
/// was applied by hand.
pub const HANDLE: &str = "margay/attachment";

/// The endpoint of an attachment on this node.
///
/// # Errors
/// Its name cannot be made: the node, the pod or the interface begins or ends with `-`.
pub fn of(entry: &Entry, node: &str) -> Result<WorkloadEndpoint, Failure> {
    let account = entry.spec.labels.get(SERVICE_ACCOUNT_LABEL);
    let (namespace, orchestrator, profiles) = match &entry.spec.pod {
        Some(pod) => {
            let account = account.map_or("default", String::as_str);
            let profiles =
                vec![format!("kns.{}", pod.namespace), format!("ksa.{}.{account}", pod.namespace)];
            (pod.namespace.as_str(), "k8s", profiles)
        }
        None => ("default", "cni", vec![entry.id.network.clone()]),
    };
    let spec = WorkloadEndpointSpec {
        orchestrator: Some(orchestrator.to_owned()),
        node: Some(node.to_owned()),
        container_id: Some(container(&entry.id.container)),
        pod: entry.spec.pod.as_ref().map(|pod| pod.name.clone()),
        endpoint: Some(entry.id.ifname.clone()),
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

/// Whether what is wanted can have an endpoint on this node: to be known before anything is done.
///
/// # Errors
/// As [`of`].
pub fn can_be(id: &AttachmentId, spec: &Spec, node: &str) -> Result<(), Failure> {
    if spec.mode != Mode::Link {
        return Ok(());
    }
    let entry = Entry {
        id: id.clone(),
        state: State::Allocating,
        created: 0,
        spec: spec.clone(),
        host_interface: String::new(),
        addresses: Vec::new(),
    };
    of(&entry, node).map(drop)
}

/// What it is stored under.
///
/// # Errors
/// As [`of`].
pub fn key(entry: &Entry, node: &str) -> Result<Key, Failure> {
    let endpoint = of(entry, node)?;
    Ok(Key::namespaced(Kind::WorkloadEndpoint, endpoint.namespace(), endpoint.name()))
}

/// Whether an endpoint was written for this attachment, and not for a newer container of its pod.
pub fn is_of(endpoint: &WorkloadEndpoint, id: &AttachmentId) -> bool {
    endpoint.metadata.annotations.get(HANDLE).is_some_and(|handle| *handle == id.handle())
}

/// The id of a container as endpoints may have it: letters, digits and `-`. One with other characters
/// is followed by a part of its digest, so that no two become the same.
fn container(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if id.chars().all(fits) && !id.ends_with('-') {
        return id.to_owned();
    }
    let plain: String = id.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    format!("{plain}-{}", margay_model::endpoint_name::host_interface("", id, ""))
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
