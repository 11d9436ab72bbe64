//! A packet, played against what is compiled for the kernel.

use std::net::IpAddr;

use margay_model::Protocol;
use margay_proto::{error::invalid_argument, v1};
use policy_calc::{
    Class, Decision, Direction, EndpointId, Header, Limit, Outcome, Packet, Rule, Staged, State,
    Step,
};
use policy_nft::layout::{ToHost, always_to_host};
use tonic::Status;

use super::{
    action, find,
    show::{class_name, matches, policy_name},
};
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
    let from = End::new(enforcer, "from", &request.from)?;
    let floating = request.to.parse().ok().and_then(|address| enforcer.floating(address));
    let to = match floating {
        Some(own) => End::new(enforcer, "to", &own.to_string())?,
        None => End::new(enforcer, "to", &request.to)?,
    };
    if from.endpoint.is_none() && to.endpoint.is_none() {
        let text = format!("neither {} nor {} is an endpoint of this node", from.name, to.name);
        return Err(Status::not_found(text));
    }
    let packet = packet(request, &from, &to)?;
    let way = Way::new(enforcer, &from, &to, &packet);
    let outcome = way.play(&packet, Staged::Ignored);
    let staged = way.play(&packet, Staged::Enforced);
    let mut notes = way.notes.clone();
    notes.extend(floating.map(|own| {
        format!(
            "{} is a floating address and becomes {own} before policies of workloads are asked",
            request.to
        )
    }));
    let ends = [&from.endpoint, &to.endpoint];
    notes.extend(ends.into_iter().flatten().filter_map(|id| {
        let why = enforcer.why_not_in_force(id)?;
        Some(format!("{id} is not in force: {why}"))
    }));
    Ok(v1::TracePolicyResponse {
        source: packet.source.to_string(),
        destination: packet.destination.to_string(),
        staged: (staged != outcome).then_some(staged),
        outcome: Some(outcome),
        notes,
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
    /// It is the host itself.
    is_host: bool,
}

impl End {
    fn new(enforcer: &Enforcer, field: &str, name: &str) -> Result<Self, Status> {
        let state = enforcer.state();
        let (endpoint, addresses, is_host) = match name.parse() {
            Ok(address) => {
                let known = find::with_address(state, address);
                let known = known.or_else(|| enforcer.host_with_address(address)).cloned();
                (known, vec![address], enforcer.has_address(address))
            }
            Err(_) => {
                let id = find::endpoint(state, field, name)?;
                let known = state.endpoints.get(&id);
                let mut addresses = known.map(|known| known.addresses.clone()).unwrap_or_default();
                addresses.extend(enforcer.addresses_of(&id));
                let is_host = matches!(id, EndpointId::Host(_));
                (Some(id), addresses, is_host)
            }
        };
        Ok(Self { name: name.to_owned(), endpoint, addresses, is_host })
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
            let text = "the destination's port is needed, as the protocol has ports";
            return Err(invalid_argument("port", text));
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

/// Who is asked about a packet on its way, in order.
struct Way<'a> {
    enforcer: &'a Enforcer,
    asked: Vec<Asked<'a>>,
    /// It is from a workload for the host itself.
    to_host: bool,
    /// It goes there whatever anybody says.
    unasked: bool,
    /// Who else may be asked, which nobody can tell here.
    notes: Vec<String>,
}

/// Policies of a class of an endpoint.
#[derive(Clone, Copy)]
struct Asked<'a> {
    id: &'a EndpointId,
    class: Class,
    direction: Direction,
}

impl<'a> Way<'a> {
    fn new(enforcer: &'a Enforcer, sender: &'a End, receiver: &'a End, packet: &Packet) -> Self {
        use {Class::*, Direction::*, EndpointId::*};
        let (from, to) = (sender.endpoint.as_ref(), receiver.endpoint.as_ref());
        let others = enforcer.hosts().others.as_ref();
        let (mut asked, mut notes) = (Vec::new(), Vec::new());
        let mut ask = |id: Option<&'a EndpointId>, class, direction| {
            asked.extend(id.map(|id| Asked { id, class, direction }));
        };
        let some_have_policies = |direction| {
            let named = enforcer.hosts().named.values().chain(others);
            let mut known = named.filter_map(|id| enforcer.state().endpoints.get(id));
            known.any(|host| {
                let classes = [Untracked, PreDnat, Forward];
                classes.iter().any(|class| !host.class(*class).tiers(direction).is_empty())
            })
        };
        let unknown = |verb: &str| {
            format!(
                "by which interface it {verb} is not known: policies of its host endpoint about what is forwarded are not asked here"
            )
        };
        let to_host = matches!(from, Some(Workload { .. }))
            && receiver.is_host
            && !matches!(to, Some(Workload { .. }));
        let why = always_to_host(packet).filter(|_| to_host);
        let unasked = why.is_some();
        if let Some(why) = why {
            notes.push(format!("{why}: every workload may send that to its host"));
        }
        match (from, to) {
            _ if unasked => {}
            (Some(Host(_)), Some(Host(_)) | None) if receiver.is_host => {
                notes
                    .push("what stays on the host passes the loopback: nobody is asked".to_owned());
            }
            (Some(Host(_)), Some(Workload { .. })) => {
                notes.push("the host may send its own workloads everything".to_owned());
            }
            (Some(Host(_)), None) => {
                ask(from, Untracked, Egress);
                ask(from, Normal, Egress);
            }
            (_, Some(Host(_))) if !to_host => {
                ask(to, Untracked, Ingress);
                ask(to, PreDnat, Ingress);
                ask(to, Normal, Ingress);
            }
            _ => {
                if from.is_some() {
                    ask(others, PreDnat, Ingress);
                } else if some_have_policies(Ingress) {
                    notes.push(unknown("comes"));
                }
                if from.is_some() && !to_host {
                    ask(others, Forward, Ingress);
                }
                ask(from, Normal, Egress);
                if !to_host {
                    ask(to, Normal, Ingress);
                    if to.is_some() {
                        ask(others, Forward, Egress);
                    } else if some_have_policies(Egress) {
                        notes.push(unknown("leaves"));
                    }
                }
            }
        }
        for (id, direction) in [(from, Egress), (to, Ingress)] {
            let limit = id.filter(|id| matches!(id, Workload { .. }) && !unasked);
            notes.extend(limit.and_then(|id| limits(enforcer, id, direction)));
        }
        Self { enforcer, asked, to_host, unasked, notes }
    }

    /// What becomes of it: whoever drops it is the last.
    fn play(&self, packet: &Packet, staged: Staged) -> v1::PolicyOutcome {
        let (mut steps, mut passed) = (Vec::new(), false);
        for asked in &self.asked {
            let Asked { id, class, direction } = *asked;
            let host = matches!(id, EndpointId::Host(_));
            let late = class == Class::Forward && direction == Direction::Egress;
            if host && passed && !late {
                continue;
            }
            if host
                && class != Class::Forward
                && self.enforcer.settings().stays_open(direction, packet)
            {
                if class == Class::Normal {
                    steps.push(asked.felix(direction, "failsafe ports", "allow"));
                }
                continue;
            }
            let settings = self.enforcer.settings();
            let closed = settings.closed_to_workloads(packet);
            if let Some(field) = closed.filter(|_| !host && direction == Direction::Egress) {
                steps.push(asked.felix(direction, field, "deny"));
                return outcome(v1::PolicyVerdict::Deny, steps);
            }
            let decided = self.enforcer.state().decide(id, class, direction, packet, staged);
            let Some(Outcome { decision, steps: matched }) = decided else { continue };
            steps.extend(matched.into_iter().map(|one| asked.step(self.enforcer.state(), one)));
            match decision {
                Decision::Deny => return outcome(v1::PolicyVerdict::Deny, steps),
                Decision::Allow => {
                    passed |= matches!(class, Class::Untracked | Class::PreDnat);
                }
                Decision::Continue => {}
            }
        }
        if let Some(asked) = self.asked.last().filter(|_| self.to_host && !self.unasked) {
            let (action, verdict) = match self.enforcer.settings().to_host {
                ToHost::Drop => ("deny", v1::PolicyVerdict::Deny),
                ToHost::Accept => ("allow", v1::PolicyVerdict::Allow),
                ToHost::Return => ("pass", v1::PolicyVerdict::Allow),
            };
            steps.push(asked.felix(Direction::Egress, "defaultEndpointToHostAction", action));
            return outcome(verdict, steps);
        }
        outcome(v1::PolicyVerdict::Allow, steps)
    }
}

/// What may drop a packet of a workload that its policies let through.
fn limits(enforcer: &Enforcer, id: &EndpointId, direction: Direction) -> Option<String> {
    let endpoint = enforcer.state().endpoints.get(id)?;
    let Limit { packets, connections } = *endpoint.limits.direction(direction);
    let packets = packets.map(|rate| format!("{} packets a second", rate.per_second));
    let connections = connections.map(|most| format!("{most} connections"));
    let all: Vec<_> = packets.into_iter().chain(connections).collect();
    let way = if direction == Direction::Egress { "from" } else { "to" };
    let said = || format!("what comes {way} {id} beyond {} is dropped", all.join(" and "));
    (!all.is_empty()).then(said)
}

fn outcome(verdict: v1::PolicyVerdict, steps: Vec<v1::PolicyStep>) -> v1::PolicyOutcome {
    v1::PolicyOutcome { verdict: verdict.into(), steps }
}

impl Asked<'_> {
    fn plain(self, direction: Direction) -> v1::PolicyStep {
        let way = match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        v1::PolicyStep {
            endpoint: self.id.to_string(),
            direction: way.to_owned(),
            class: class_name(self.class).to_owned(),
            ..v1::PolicyStep::default()
        }
    }

    /// A step that no policy has a say in.
    fn felix(self, direction: Direction, field: &str, action: &str) -> v1::PolicyStep {
        v1::PolicyStep {
            kind: "FelixConfiguration".to_owned(),
            policy: field.to_owned(),
            action: action.to_owned(),
            ..self.plain(direction)
        }
    }

    fn step(self, state: &State, step: Step) -> v1::PolicyStep {
        let index = |rule: usize| Some(u32::try_from(rule).unwrap_or(u32::MAX));
        let of = self.plain(self.direction);
        let said = |rules: Option<&[Rule]>, rule: usize| {
            let rule = rules.and_then(|rules| rules.get(rule));
            rule.map(|rule| matches(state, rule)).unwrap_or_default()
        };
        match step {
            Step::Policy { tier, policy, rule, action: done } => {
                let rules = state.policies.get(&policy).map(|of| of.rules(self.direction));
                v1::PolicyStep {
                    tier,
                    kind: policy.kind().to_string(),
                    policy: policy_name(&policy),
                    rule: index(rule),
                    matches: said(rules, rule),
                    action: action(done.as_str()),
                    ..of
                }
            }
            Step::TierDefault { tier, action: done } => {
                v1::PolicyStep { tier, action: action(done.as_str()), ..of }
            }
            Step::Profile { profile, rule, action: done } => {
                let rules = state.profiles.get(&profile).map(|of| of.rules(self.direction));
                v1::PolicyStep {
                    profile,
                    rule: index(rule),
                    matches: said(rules, rule),
                    action: action(done.as_str()),
                    ..of
                }
            }
            Step::NoProfile => v1::PolicyStep { action: action("Deny"), ..of },
        }
    }
}
