//! From a rule of a resource to a rule of a dataplane: sections 1.5 and 1.6 of the reference.

use std::fmt;

use ipnet::IpNet;
use margay_model::{
    Cidr, Port, Protocol,
    kinds::{EntityRule, IcmpFields, Rule as Written, ServiceMatch},
    selector::{Expression, scope},
};
use sha2::{Digest, Sha256};

use crate::{
    Direction, Families, IcmpMatch, PortMatch, Problem, Rule, RuleFault, SetId, SetKind, Side,
};

/// What a set is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Definition {
    /// The addresses of endpoints and network sets that an expression selects.
    Addresses(Expression),
    /// The ports of this name that endpoints have which an expression selects.
    Ports {
        /// The expression.
        of: Expression,
        /// The protocol; any if `None`.
        protocol: Option<u8>,
        /// The name.
        name: String,
    },
    /// The addresses of the endpoints of a service.
    ServiceAddresses(ServiceName),
    /// The ports of the endpoints of a service.
    ServicePorts(ServiceName),
}

/// Who adds to a set.
pub(crate) enum Origin<'a> {
    /// Endpoints and network sets that an expression selects.
    Selected(&'a Expression),
    /// Slices of a service.
    Service(&'a ServiceName),
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A rule, and the sets it needs.
pub(crate) struct Resolved {
    pub(crate) rule: Rule,
    pub(crate) sets: Vec<(SetId, Definition)>,
}

impl Definition {
    /// Who adds to it.
    pub(crate) fn origin(&self) -> Origin<'_> {
        match self {
            Self::Addresses(of) | Self::Ports { of, .. } => Origin::Selected(of),
            Self::ServiceAddresses(of) | Self::ServicePorts(of) => Origin::Service(of),
        }
    }

    /// Its name.
    pub(crate) fn id(&self) -> SetId {
        let (kind, text) = match self {
            Self::Addresses(of) => (SetKind::Addresses, of.to_string()),
            Self::Ports { of, protocol, name } => {
                let protocol = protocol.unwrap_or(0);
                (SetKind::Ports, format!("{protocol} {name} {of}"))
            }
            // No expression is written so, and what is above begins with a number.
            Self::ServiceAddresses(of) => (SetKind::Addresses, format!("service {of}")),
            Self::ServicePorts(of) => (SetKind::Ports, format!("service {of}")),
        };
        let mut digest = [0; 16];
        let hash = Sha256::digest(text);
        digest.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        SetId::new(kind, digest)
    }
}

/// A rule of a policy of a namespace, or (`None`) of a global one or a profile.
pub(crate) fn resolve(namespace: Option<&str>, written: &Written) -> Resolved {
    let mut sets = Vec::new();
    let mut rule = Rule {
        action: written.action,
        families: Families::NONE,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Side::default(),
        destination: Side::default(),
    };
    if problem(namespace, written).is_none() {
        rule.families = families(written);
        rule.protocol = written.protocol.map(Protocol::number);
        rule.not_protocol = written.not_protocol.map(Protocol::number);
        rule.icmp = written.icmp.as_ref().and_then(icmp);
        rule.not_icmp = written.not_icmp.as_ref().and_then(icmp);
        let Written { source, destination, .. } = written;
        let mut side =
            |side, service| self::side(namespace, side, service, rule.protocol, &mut sets);
        rule.source = side(source, Definition::ServiceAddresses);
        rule.destination = side(destination, Definition::ServicePorts);
    }
    Resolved { rule, sets }
}

/// Rules as they are enforced, and the sets they need.
pub(crate) fn resolved(
    namespace: Option<&str>,
    rules: &[Written],
) -> (Vec<Rule>, Vec<(SetId, Definition)>) {
    let mut sets = Vec::new();
    let rules = rules.iter().map(|rule| {
        let resolved = resolve(namespace, rule);
        sets.extend(resolved.sets);
        resolved.rule
    });
    (rules.collect(), sets)
}

/// Rules of a policy of a namespace, or of another (`None`), that do not mean what they say.
pub(crate) fn faults(
    namespace: Option<&str>,
    ingress: &[Written],
    egress: &[Written],
) -> Vec<RuleFault> {
    let lists = [(Direction::Ingress, ingress), (Direction::Egress, egress)];
    let all = lists.into_iter().flat_map(|(direction, rules)| {
        rules.iter().enumerate().filter_map(move |(rule, written)| {
            Some(RuleFault { direction, rule, problem: problem(namespace, written)? })
        })
    });
    all.collect()
}

/// What keeps a rule from matching anything.
fn problem(namespace: Option<&str>, rule: &Written) -> Option<Problem> {
    for side in [&rule.source, &rule.destination] {
        let Some(EntityRule { services: Some(wanted), .. }) = side else { continue };
        if wanted.name.is_none() || wanted.namespace.as_deref().or(namespace).is_none() {
            return Some(Problem::ServiceWithoutName);
        }
    }
    if rule.source.as_ref().is_some_and(asks_besides_service)
        || rule.destination.as_ref().is_some_and(|side| {
            asks_besides_service(side)
                || side.services.is_some() && !(side.ports.is_empty() && side.not_ports.is_empty())
        })
    {
        return Some(Problem::ServiceBesideOthers);
    }
    for side in rule.source.iter().chain(&rule.destination) {
        let named = |port: &Port| matches!(port, Port::Named(_));
        let fits = match rule.protocol {
            Some(protocol) => {
                protocol.has_ports() || side.ports.is_empty() && side.not_ports.is_empty()
            }
            None => side.ports.iter().chain(&side.not_ports).all(named),
        };
        if !fits {
            return Some(Problem::PortsWithoutProtocol);
        }
    }
    let is_icmp = matches!(rule.protocol.map(Protocol::number), Some(1 | 58));
    for fields in [&rule.icmp, &rule.not_icmp].into_iter().flatten() {
        match fields {
            IcmpFields { kind: None, code: Some(_) } => return Some(Problem::IcmpCodeWithoutType),
            IcmpFields { kind: Some(_), .. } if !is_icmp => {
                return Some(Problem::IcmpWithoutProtocol);
            }
            _ => {}
        }
    }
    (families(rule) == Families::NONE).then_some(Problem::NoFamily)
}

/// Whether a side asks for a service and for what a service excludes.
fn asks_besides_service(side: &EntityRule) -> bool {
    let others = side.selector.is_some()
        || side.not_selector.is_some()
        || side.namespace_selector.is_some()
        || side.service_accounts.is_some()
        || !side.nets.is_empty()
        || !side.not_nets.is_empty();
    side.services.is_some() && others
}

/// The service a side asks for, by default in the namespace of its policy.
fn service(namespace: Option<&str>, side: &Option<EntityRule>) -> Option<ServiceName> {
    let ServiceMatch { name, namespace: own } = side.as_ref()?.services.as_ref()?;
    let namespace = own.as_deref().or(namespace)?.to_owned();
    Some(ServiceName { namespace, name: name.clone()? })
}

/// The families a rule exists in: those of its version and protocol in which no list of ranges
/// loses all it had, and none excludes every address.
fn families(rule: &Written) -> Families {
    let protocol = rule.protocol.map(Protocol::number);
    let mut families = match (rule.ip_version, protocol) {
        (Some(version), _) => Families { v4: version == 4, v6: version == 6 },
        (None, Some(1)) => Families { v4: true, v6: false },
        (None, Some(58)) => Families { v4: false, v6: true },
        (None, _) => Families { v4: true, v6: true },
    };
    for side in rule.source.iter().chain(&rule.destination) {
        for list in [&side.nets, &side.not_nets] {
            if !list.is_empty() {
                families.v4 &= list.iter().any(|cidr| matches!(cidr.net(), IpNet::V4(_)));
                families.v6 &= list.iter().any(|cidr| matches!(cidr.net(), IpNet::V6(_)));
            }
        }
        for cidr in side.not_nets.iter().filter(|cidr| cidr.net().prefix_len() == 0) {
            match cidr.net() {
                IpNet::V4(_) => families.v4 = false,
                IpNet::V6(_) => families.v6 = false,
            }
        }
    }
    families
}

/// A type of ICMP; none asks for nothing.
fn icmp(fields: &IcmpFields) -> Option<IcmpMatch> {
    fields.kind.map(|kind| IcmpMatch { kind, code: fields.code })
}

fn side(
    namespace: Option<&str>,
    written: &Option<EntityRule>,
    of_service: fn(ServiceName) -> Definition,
    protocol: Option<u8>,
    sets: &mut Vec<(SetId, Definition)>,
) -> Side {
    let service = service(namespace, written);
    let Some(written) = written else { return Side::default() };
    let scope = scope::entity(namespace, written);
    let mut define = |definition: Definition| {
        let id = definition.id();
        sets.push((id, definition));
        id
    };
    let mut ports = |list: &[Port]| {
        let mut found = PortMatch::default();
        for port in list {
            match port {
                Port::Number(port) => found.ranges.push((*port, *port)),
                Port::Range(first, last) => found.ranges.push((*first, *last)),
                Port::Named(name) => found.sets.push(define(Definition::Ports {
                    of: scope.clone().unwrap_or(Expression::All),
                    protocol,
                    name: name.clone(),
                })),
            }
        }
        (!list.is_empty()).then_some(found)
    };
    let (mut wanted, unwanted) = (ports(&written.ports), ports(&written.not_ports));
    // Ports by name are those of the endpoints in scope, so alone they say it all.
    let only_named = wanted.as_ref().is_some_and(|ports| ports.ranges.is_empty());
    let scope = scope.filter(|_| !only_named);
    let not = written.not_selector.as_ref().map(|selector| selector.expression().clone());
    let mut set = scope.map(|scope| define(Definition::Addresses(scope)));
    // Nothing of its kind stands beside a service.
    match service.clone().map(of_service) {
        Some(of @ Definition::ServicePorts(_)) => {
            wanted = Some(PortMatch { ranges: Vec::new(), sets: vec![define(of)] });
        }
        Some(of) => set = Some(define(of)),
        None => {}
    }
    Side {
        nets: nets(&written.nets),
        not_nets: nets(&written.not_nets),
        set,
        not_set: not.map(|not| define(Definition::Addresses(not))),
        ports: wanted,
        not_ports: unwanted,
        service: service.map(|name| name.to_string().into()),
    }
}

fn nets(list: &[Cidr]) -> Vec<IpNet> {
    list.iter().map(|cidr| cidr.net().trunc()).collect()
}
