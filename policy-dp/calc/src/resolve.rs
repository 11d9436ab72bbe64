//! From a rule of a resource to a rule of a dataplane: sections 1.5 and 1.6 of the reference.

use ipnet::IpNet;
use margay_model::{
    Cidr, Port, Protocol,
    kinds::{EntityRule, IcmpFields, Rule as Written},
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
}

/// A rule, and the sets it needs.
pub(crate) struct Resolved {
    pub(crate) rule: Rule,
    pub(crate) sets: Vec<(SetId, Definition)>,
}

impl Definition {
    /// The endpoints and network sets that matter to it.
    pub(crate) fn expression(&self) -> &Expression {
        match self {
            Self::Addresses(of) | Self::Ports { of, .. } => of,
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
    let problem = problem(written);
    if problem.is_none_or(|problem| problem.leaves(written.action)) {
        rule.families = families(written);
        rule.protocol = written.protocol.map(Protocol::number);
        rule.not_protocol = written.not_protocol.map(Protocol::number);
        rule.icmp = written.icmp.as_ref().and_then(icmp);
        rule.not_icmp = written.not_icmp.as_ref().and_then(icmp);
        rule.source = side(namespace, &written.source, rule.protocol, &mut sets);
        rule.destination = side(namespace, &written.destination, rule.protocol, &mut sets);
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

/// Rules that do not mean what they say.
pub(crate) fn faults(ingress: &[Written], egress: &[Written]) -> Vec<RuleFault> {
    let lists = [(Direction::Ingress, ingress), (Direction::Egress, egress)];
    let all = lists.into_iter().flat_map(|(direction, rules)| {
        rules.iter().enumerate().filter_map(move |(rule, written)| {
            let (action, problem) = (written.action, problem(written)?);
            Some(RuleFault { direction, rule, action, problem })
        })
    });
    all.collect()
}

/// What keeps a rule from meaning what it says. Services come last: what else is wrong with a rule
/// that asks for them keeps it from matching anything.
pub(crate) fn problem(rule: &Written) -> Option<Problem> {
    let mut sides = rule.source.iter().chain(&rule.destination);
    let services = sides.any(|side| side.services.is_some());
    unmatchable(rule).or(services.then_some(Problem::Services))
}

/// What keeps a rule from matching anything, whatever it does.
fn unmatchable(rule: &Written) -> Option<Problem> {
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
    protocol: Option<u8>,
    sets: &mut Vec<(SetId, Definition)>,
) -> Side {
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
    let (wanted, unwanted) = (ports(&written.ports), ports(&written.not_ports));
    // Ports by name are those of the endpoints in scope, so alone they say it all.
    let only_named = wanted.as_ref().is_some_and(|ports| ports.ranges.is_empty());
    let scope = scope.filter(|_| !only_named);
    let not = written.not_selector.as_ref().map(|selector| selector.expression().clone());
    Side {
        nets: nets(&written.nets),
        not_nets: nets(&written.not_nets),
        set: scope.map(|scope| define(Definition::Addresses(scope))),
        not_set: not.map(|not| define(Definition::Addresses(not))),
        ports: wanted,
        not_ports: unwanted,
    }
}

fn nets(list: &[Cidr]) -> Vec<IpNet> {
    list.iter().map(|cidr| cidr.net().trunc()).collect()
}
