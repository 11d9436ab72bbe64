//! A packet, played against what is compiled for the kernel.

use std::net::IpAddr;

use margay_model::Protocol;
use margay_proto::{error::invalid_argument, v1};
use policy_calc::{
    Class, Decision, Direction, EndpointId, Header, Outcome, Packet, Staged, State, Step,
};
use tonic::Status;

use super::{action, find, show::policy_name};
use crate::enforcer::Enforcer;

/// The source port where none is given: one that clients take.
const SOURCE_PORT: u16 = 49152;
/// Types of echo requests.
const ECHO: (u8, u8) = (8, 128);

/// Answers `Trace`.
pub(super) fn trace(
    enforcer: &Enforcer,
    request: &v1::TracePolicyRequest,
) -> Result<v1::TracePolicyResponse, Status> {
    let state = enforcer.state();
    let from = End::new(state, "from", &request.from)?;
    let to = End::new(state, "to", &request.to)?;
    if from.endpoint.is_none() && to.endpoint.is_none() {
        let text = format!("neither {} nor {} is an endpoint of this node", from.name, to.name);
        return Err(Status::not_found(text));
    }
    let packet = packet(request, &from, &to)?;
    let way: Vec<(&EndpointId, Direction)> = [
        from.endpoint.as_ref().map(|id| (id, Direction::Egress)),
        to.endpoint.as_ref().map(|id| (id, Direction::Ingress)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let outcome = play(state, &way, &packet, Staged::Ignored);
    let staged = play(state, &way, &packet, Staged::Enforced);
    let not_in_force = |(id, _): &(&EndpointId, Direction)| {
        let why = enforcer.why_not_in_force(id)?;
        Some(format!("{id} is not in force: {why}"))
    };
    Ok(v1::TracePolicyResponse {
        source: packet.source.to_string(),
        destination: packet.destination.to_string(),
        staged: (staged != outcome).then_some(staged),
        outcome: Some(outcome),
        notes: way.iter().filter_map(not_in_force).collect(),
    })
}

/// One end of the way.
struct End {
    /// As it was named.
    name: String,
    /// If it is of this node.
    endpoint: Option<EndpointId>,
    /// What it may have.
    addresses: Vec<IpAddr>,
}

impl End {
    fn new(state: &State, field: &str, name: &str) -> Result<Self, Status> {
        let (endpoint, addresses) = match name.parse() {
            Ok(address) => (find::with_address(state, address).cloned(), vec![address]),
            Err(_) => {
                let id = find::endpoint(state, field, name)?;
                let known = state.endpoints.get(&id);
                (Some(id), known.map(|known| known.addresses.clone()).unwrap_or_default())
            }
        };
        if let Some(EndpointId::Host(host)) = &endpoint {
            let text = format!("hep:{host}: host endpoints are not enforced in this version");
            return Err(Status::failed_precondition(text));
        }
        Ok(Self { name: name.to_owned(), endpoint, addresses })
    }
}

fn packet(request: &v1::TracePolicyRequest, from: &End, to: &End) -> Result<Packet, Status> {
    let number = octet("protocol", request.protocol)?;
    if number == 0 {
        return Err(invalid_argument("protocol", "expected 1 to 255"));
    }
    let protocol = Protocol::Number(number);
    let fits = |address: &IpAddr| match number {
        1 => address.is_ipv4(),
        58 => address.is_ipv6(),
        _ => true,
    };
    let pairs = from.addresses.iter().filter(|address| fits(address)).filter_map(|source| {
        let same = |other: &&IpAddr| other.is_ipv4() == source.is_ipv4();
        Some((*source, *to.addresses.iter().find(same)?))
    });
    // IPv4 where both have it.
    let Some((source, destination)) = pairs.min_by_key(|(source, _)| source.is_ipv6()) else {
        let text = format!("{} and {} have no addresses of one family for it", from.name, to.name);
        return Err(invalid_argument("to", text));
    };
    let unwanted = |field: &str, given: Option<u32>| match given {
        Some(_) => Err(invalid_argument(field, format!("protocol {number} has none"))),
        None => Ok(()),
    };
    let header = if protocol.has_ports() {
        unwanted("icmp_type", request.icmp_type)?;
        unwanted("icmp_code", request.icmp_code)?;
        let Some(wanted) = request.port else {
            return Err(invalid_argument("port", "needed: the protocol has ports"));
        };
        let source = request.source_port.map(|given| port("source_port", given)).transpose()?;
        let destination = port("port", wanted)?;
        Header::Ports { source: source.unwrap_or(SOURCE_PORT), destination }
    } else {
        unwanted("port", request.port)?;
        unwanted("source_port", request.source_port)?;
        let echo = match number {
            1 => Some(ECHO.0),
            58 => Some(ECHO.1),
            _ => None,
        };
        match echo {
            Some(echo) => Header::Icmp {
                kind: request.icmp_type.map_or(Ok(echo), |kind| octet("icmp_type", kind))?,
                code: request.icmp_code.map_or(Ok(0), |code| octet("icmp_code", code))?,
            },
            None => {
                unwanted("icmp_type", request.icmp_type)?;
                unwanted("icmp_code", request.icmp_code)?;
                Header::Other
            }
        }
    };
    Ok(Packet { source, destination, protocol: number, header })
}

fn octet(field: &str, number: u32) -> Result<u8, Status> {
    u8::try_from(number).map_err(|_| invalid_argument(field, format!("{number} is above 255")))
}

fn port(field: &str, number: u32) -> Result<u16, Status> {
    u16::try_from(number).map_err(|_| invalid_argument(field, format!("{number} is above 65535")))
}

/// What becomes of it on its way: who sends asks first, and whoever drops it is the last.
fn play(
    state: &State,
    way: &[(&EndpointId, Direction)],
    packet: &Packet,
    staged: Staged,
) -> v1::PolicyOutcome {
    let mut steps = Vec::new();
    let mut verdict = v1::PolicyVerdict::Allow;
    for (id, direction) in way {
        let decided = state.decide(id, Class::Normal, *direction, packet, staged);
        let Some(Outcome { decision, steps: matched }) = decided else { continue };
        steps.extend(matched.into_iter().map(|one| step(id, *direction, one)));
        if decision != Decision::Allow {
            verdict = v1::PolicyVerdict::Deny;
            break;
        }
    }
    v1::PolicyOutcome { verdict: verdict.into(), steps }
}

fn step(id: &EndpointId, direction: Direction, step: Step) -> v1::PolicyStep {
    let index = |rule: usize| Some(u32::try_from(rule).unwrap_or(u32::MAX));
    let way = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let of = v1::PolicyStep {
        endpoint: id.to_string(),
        direction: way.to_owned(),
        ..v1::PolicyStep::default()
    };
    match step {
        Step::Policy { tier, policy, rule, action: said } => v1::PolicyStep {
            tier,
            kind: policy.kind().to_string(),
            policy: policy_name(&policy),
            rule: index(rule),
            action: action(said.as_str()),
            ..of
        },
        Step::TierDefault { tier, action: said } => {
            v1::PolicyStep { tier, action: action(said.as_str()), ..of }
        }
        Step::Profile { profile, rule, action: said } => {
            v1::PolicyStep { profile, rule: index(rule), action: action(said.as_str()), ..of }
        }
        Step::NoProfile => v1::PolicyStep { action: action("Deny"), ..of },
    }
}
