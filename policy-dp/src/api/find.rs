//! Endpoints by the names that people give them.

use std::net::IpAddr;

use margay_model::endpoint_name::EndpointName;
use margay_proto::error::invalid_argument;
use policy_calc::{EndpointId, State};
use tonic::Status;

/// The endpoint that `text` names; `field` is where it stands in the request.
///
/// # Errors
/// It names none of this node, or several.
pub(super) fn endpoint(state: &State, field: &str, text: &str) -> Result<EndpointId, Status> {
    let found: Vec<&EndpointId> = if let Ok(address) = text.parse() {
        with_address(state, address).into_iter().collect()
    } else if let Some(name) = text.strip_prefix("hep:") {
        known(state, |id| matches!(id, EndpointId::Host(host) if host == name))
    } else if let Some((space, name)) = text.strip_prefix("wep:").and_then(|t| t.split_once('/')) {
        let is = |one: &str| one == name;
        known(
            state,
            |id| matches!(id, EndpointId::Workload { namespace, name } if namespace == space && is(name)),
        )
    } else if let Some((space, pod)) = text.split_once('/') {
        let is = |name: &str| {
            EndpointName::split(name).is_some_and(|[_, _, workload, _]| workload == pod)
        };
        known(
            state,
            |id| matches!(id, EndpointId::Workload { namespace, name } if namespace == space && is(name)),
        )
    } else {
        let forms = "expected NAMESPACE/POD, wep:NAMESPACE/NAME, hep:NAME or an address";
        return Err(invalid_argument(field, format!("{text:?}: {forms}")));
    };
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Status::not_found(format!("{text} is no endpoint of this node"))),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            let text = format!("{text} has several endpoints: {}", names.join(", "));
            Err(invalid_argument(field, text))
        }
    }
}

/// Who has this address, workloads before others.
pub(super) fn with_address(state: &State, address: IpAddr) -> Option<&EndpointId> {
    let mut all = state.endpoints.iter();
    all.find(|(_, endpoint)| endpoint.addresses.contains(&address)).map(|(id, _)| id)
}

fn known(state: &State, is: impl Fn(&EndpointId) -> bool) -> Vec<&EndpointId> {
    state.endpoints.keys().filter(|id| is(id)).collect()
}
