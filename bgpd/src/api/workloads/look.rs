//! Lists, traces, and what is not as it should be.

use margay_ipam::Handle;
use margay_model::{Key, Revision};
use margay_proto::v1;
use margay_workload::{AttachmentId, Entry, Failure, Mode, State, endpoint};

use super::{Node, convert};
use crate::{
    ready::{NotReady, Verdict},
    workload::{Endpoint, Sight, Workloads, stopping},
};

/// Every attachment, and every endpoint applied by hand.
pub(super) fn all(sight: Sight<'_>, node: &str) -> Vec<v1::Workload> {
    let mut all: Vec<_> = sight
        .desk
        .entries()
        .map(|entry| of_entry(entry, node, sight.desk.problem(&entry.id)))
        .collect();
    let by_hand = sight.endpoints.iter().filter(|(_, endpoint)| endpoint.handle.is_none());
    all.extend(by_hand.map(|(key, endpoint)| of_endpoint(key, endpoint)));
    all.sort_by(|a, b| {
        let name = |of: &v1::Workload| (of.endpoint_namespace.clone(), of.endpoint_name.clone());
        name(a).cmp(&name(b))
    });
    all
}

fn of_entry(entry: &Entry, node: &str, problem: Option<&str>) -> v1::Workload {
    let answer = convert::answer(entry, node);
    v1::Workload {
        attachment: Some(convert::attachment(&entry.id)),
        pod: entry.spec.pod.as_ref().map(|pod| v1::PodIdentity {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }),
        state: entry.state.name().to_owned(),
        host_interface: entry.host_interface.clone(),
        mac: if entry.spec.mode == Mode::Link { entry.mac().to_string() } else { String::new() },
        mtu: entry.spec.mtu,
        netns: entry.spec.netns.clone(),
        addresses: entry.addresses.iter().map(ToString::to_string).collect(),
        endpoint_namespace: answer.endpoint_namespace,
        endpoint_name: answer.endpoint_name,
        created: entry.created / 1000,
        problem: problem.unwrap_or_default().to_owned(),
    }
}

fn of_endpoint(key: &Key, endpoint: &Endpoint) -> v1::Workload {
    let name = key.resource().map(|key| (key.namespace.clone(), key.name.clone()));
    let (namespace, name) = name.unwrap_or_default();
    v1::Workload {
        pod: endpoint.pod.as_ref().map(|pod| v1::PodIdentity {
            namespace: namespace.clone(),
            name: pod.clone(),
            uid: String::new(),
        }),
        state: "applied".to_owned(),
        host_interface: endpoint.interface.clone(),
        mac: endpoint.mac.clone(),
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
        endpoint_namespace: namespace,
        endpoint_name: name,
        ..v1::Workload::default()
    }
}

/// Whether a workload is meant by `NAMESPACE/POD`, an address, a link, a container or an endpoint.
pub(super) fn is_called(workload: &v1::Workload, name: &str) -> bool {
    let pod = workload.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
    let container = workload.attachment.as_ref().map(|of| of.container_id.as_str());
    let endpoint = (&*workload.endpoint_namespace, &*workload.endpoint_name);
    pod.as_deref() == Some(name)
        || container == Some(name)
        || workload.host_interface == name
        || workload.addresses.iter().any(|address| address == name)
        || name.split_once('/') == Some(endpoint)
}

/// The steps of an attachment; of one that is gone, what it was known by as well.
pub(super) async fn steps(
    there: &Workloads,
    id: Option<AttachmentId>,
    name: String,
) -> Option<(Option<v1::Workload>, Vec<v1::WorkloadStep>)> {
    there
        .look(move |sight| {
            let is_it = |id: &&AttachmentId| id.container == name || id.to_string() == name;
            let gone = || sight.history.last().find(is_it).cloned();
            let (id, gone) = match id {
                Some(id) => (id, None),
                None => match gone() {
                    Some(id) => (id.clone(), Some(id)),
                    None => return (None, Vec::new()),
                },
            };
            let steps = sight.history.of(&id).map(|record| v1::WorkloadStep {
                step: record.step.to_owned(),
                at: record.at,
                micros: record.micros.into(),
                error: record.error.as_deref().unwrap_or_default().to_owned(),
                detail: record.detail.as_ref().to_owned(),
            });
            let gone = gone.map(|id| v1::Workload {
                attachment: Some(convert::attachment(&id)),
                state: "gone".to_owned(),
                ..v1::Workload::default()
            });
            (gone, steps.collect())
        })
        .await
}

/// What there should be for an attachment, and how it is.
///
/// # Errors
/// The daemon is stopping.
pub(super) async fn findings(
    node: &Node,
    entry: &Entry,
) -> Result<Vec<v1::WorkloadFinding>, Failure> {
    let (Some(there), Some(ipam)) = (&node.workloads, &node.ipam) else {
        return Err(stopping());
    };
    let mut findings = Vec::new();
    let mut find = |what: &str, good: bool, detail: String| {
        findings.push(v1::WorkloadFinding { what: what.to_owned(), good, detail });
    };
    find("journal", entry.state == State::Live, entry.state.name().to_owned());
    if entry.holds_addresses() {
        let (handle, addresses) = (entry.id.handle(), entry.addresses.clone());
        let held = ipam.look(move |sight| {
            let Ok(handle) = Handle::try_from(handle.as_str()) else { return addresses };
            let view = sight.allocator().view();
            let held: Vec<_> = view
                .of_handle(&handle)
                .iter()
                .filter_map(|place| Some(view.block(place.cidr)?.1.address(place.ordinal)))
                .collect();
            addresses.into_iter().filter(|address| !held.contains(address)).collect()
        });
        let lost = held.await.ok_or_else(stopping)?;
        for address in &entry.addresses {
            let good = !lost.contains(address);
            let how = if good { "held by" } else { "not held by" };
            find("address", good, format!("{address} is {how} {}", entry.id.handle()));
        }
    }
    if entry.spec.mode == Mode::Link {
        match there.differences(entry).await {
            Ok(differences) if differences.is_empty() => {
                find("link", true, entry.host_interface.clone());
            }
            Ok(differences) => {
                for difference in differences {
                    find("link", false, difference);
                }
            }
            Err(error) => find("link", false, error.text),
        }
        let unreached = there.unreached().await?;
        for address in &entry.addresses {
            let (good, why) = match unreached.get(address) {
                None => (true, String::new()),
                Some(why) => (false, format!(": {why}")),
            };
            find("route", good, format!("{address} over {}{why}", entry.host_interface));
        }
        let key = endpoint::key(entry, &node.name)?;
        let of = key.clone();
        let known = there.look(move |sight| sight.endpoints.get(&of).cloned()).await;
        let known = known.ok_or_else(stopping)?;
        let good = known.is_some_and(|known| known.handle == Some(entry.id.handle()));
        find("endpoint", good, key.to_string());
        if let (Key::Resource(name), true) = (&key, entry.spec.policy_wait > 0) {
            // What a dataplane that is away had in force stays so.
            let (good, detail) = match node.ready.standing(name, Revision::default()) {
                Ok(Verdict::InForce) => (true, "in force".to_owned()),
                Ok(Verdict::NobodyExpected) => (true, "nobody enforces it here".to_owned()),
                Err(error @ NotReady::Away) => (true, format!("stays as it was: {error}")),
                Err(error @ NotReady::Awaited(_)) => (false, error.to_string()),
            };
            find("policy", good, detail);
        }
    }
    Ok(findings)
}
