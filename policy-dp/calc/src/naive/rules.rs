//! Whether a rule matches a packet: sections 1.5 and 1.6 of the reference.

use std::net::IpAddr;

use ipnet::IpNet;
use margay_model::{
    Cidr, Port, Protocol,
    kinds::{EntityRule, IcmpFields, Rule},
    selector::scope,
};

use super::world::{Known, Labelled};
use crate::Packet;

const ICMP: [u8; 2] = [1, 58];

/// Whether everything a rule asks for holds. `namespace` is that of its policy, if it has one.
pub(super) fn matches(
    known: &Known,
    rule: &Rule,
    namespace: Option<&str>,
    packet: &Packet,
) -> bool {
    if is_broken(rule, namespace) || !exists_for(rule, packet.source.is_ipv4()) {
        return false;
    }
    let is = |protocol: Protocol| protocol.number() == packet.protocol;
    if rule.protocol.is_some_and(|protocol| !is(protocol)) || rule.not_protocol.is_some_and(is) {
        return false;
    }
    if let Some((kind, code)) = wanted(&rule.icmp)
        && !packet.icmp().is_some_and(|(k, c)| k == kind && code.is_none_or(|code| code == c))
    {
        return false;
    }
    if let Some((kind, code)) = wanted(&rule.not_icmp)
        && packet.icmp().is_some_and(|(k, c)| k == kind && code.is_none_or(|code| code == c))
    {
        return false;
    }
    let ports = packet.ports();
    let sides = [
        (&rule.source, true, packet.source, ports.map(|ports| ports.0)),
        (&rule.destination, false, packet.destination, ports.map(|ports| ports.1)),
    ];
    sides.into_iter().all(|(side, is_source, address, port)| {
        side.as_ref().is_none_or(|side| {
            let question =
                Question { known, rule, namespace, side, is_source, address, port, packet };
            question.addresses_match() && question.ports_match() && question.service_matches()
        })
    })
}

fn wanted(icmp: &Option<IcmpFields>) -> Option<(u8, Option<u8>)> {
    icmp.as_ref().and_then(|icmp| Some((icmp.kind?, icmp.code)))
}

fn sides(rule: &Rule) -> impl Iterator<Item = &EntityRule> {
    rule.source.iter().chain(&rule.destination)
}

/// Whether the rule is one that validation refuses; it then matches nothing.
fn is_broken(rule: &Rule, namespace: Option<&str>) -> bool {
    let is_icmp = rule.protocol.is_some_and(|protocol| ICMP.contains(&protocol.number()));
    for icmp in [&rule.icmp, &rule.not_icmp].into_iter().flatten() {
        if icmp.code.is_some() && icmp.kind.is_none() || icmp.kind.is_some() && !is_icmp {
            return true;
        }
    }
    sides(rule).any(|side| {
        let ports = || side.ports.iter().chain(&side.not_ports);
        let numbers = ports().any(|port| !matches!(port, Port::Named(_)));
        match rule.protocol {
            None => numbers,
            Some(protocol) => !protocol.has_ports() && ports().next().is_some(),
        }
    }) || is_service_broken(rule, namespace)
}

/// Whether a service has no name or namespace, or stands beside what it excludes: everything about
/// addresses and, where it stands for ports, about them.
fn is_service_broken(rule: &Rule, namespace: Option<&str>) -> bool {
    [(&rule.source, false), (&rule.destination, true)].into_iter().any(|(side, has_ports)| {
        let Some(side) = side else { return false };
        let Some(service) = &side.services else { return false };
        service.name.is_none()
            || service.namespace.is_none() && namespace.is_none()
            || !side.nets.is_empty()
            || !side.not_nets.is_empty()
            || side.selector.is_some()
            || side.not_selector.is_some()
            || side.namespace_selector.is_some()
            || side.service_accounts.is_some()
            || has_ports && (!side.ports.is_empty() || !side.not_ports.is_empty())
    })
}

/// Whether the rule exists in a family.
fn exists_for(rule: &Rule, v4: bool) -> bool {
    let of_version = match (rule.ip_version, rule.protocol.map(Protocol::number)) {
        (Some(4), _) | (None, Some(1)) => v4,
        (Some(6), _) | (None, Some(58)) => !v4,
        (Some(_), _) => false,
        (None, _) => true,
    };
    let left = |nets: &[Cidr]| -> Vec<IpNet> {
        nets.iter().map(Cidr::net).filter(|net| net.addr().is_ipv4() == v4).collect()
    };
    of_version
        && sides(rule).all(|side| {
            let (nets, not_nets) = (left(&side.nets), left(&side.not_nets));
            (side.nets.is_empty() || !nets.is_empty())
                && (side.not_nets.is_empty() || !not_nets.is_empty())
                && not_nets.iter().all(|net| net.prefix_len() > 0)
        })
}

struct Question<'a> {
    known: &'a Known,
    rule: &'a Rule,
    namespace: Option<&'a str>,
    side: &'a EntityRule,
    is_source: bool,
    address: IpAddr,
    port: Option<u16>,
    packet: &'a Packet,
}

impl Question<'_> {
    fn addresses_match(&self) -> bool {
        let inside = |nets: &[Cidr]| nets.iter().any(|cidr| cidr.net().contains(&self.address));
        if !self.side.nets.is_empty() && !inside(&self.side.nets) || inside(&self.side.not_nets) {
            return false;
        }
        if let Some(wanted) = scope::entity(self.namespace, self.side)
            && !self.owners().any(|owner| wanted.matches(&owner.labels))
        {
            return false;
        }
        let unwanted = self.side.not_selector.as_ref();
        !unwanted.is_some_and(|unwanted| self.owners().any(|owner| unwanted.matches(&owner.labels)))
    }

    fn ports_match(&self) -> bool {
        let (ports, not_ports) = (&self.side.ports, &self.side.not_ports);
        (ports.is_empty() || ports.iter().any(|port| self.is_on(port)))
            && !not_ports.iter().any(|port| self.is_on(port))
    }

    /// The source is an endpoint of the service; the destination is one on one of its ports.
    fn service_matches(&self) -> bool {
        let Some(wanted) = &self.side.services else { return true };
        let namespace = wanted.namespace.as_deref().or(self.namespace);
        self.known.backends.iter().any(|backend| {
            let on_port = || {
                backend.ports.iter().any(|(protocol, number)| {
                    *protocol == self.packet.protocol && Some(*number) == self.port
                })
            };
            Some(backend.namespace.as_str()) == namespace
                && Some(&backend.service) == wanted.name.as_ref()
                && backend.address == self.address
                && (self.is_source || on_port())
        })
    }

    /// Endpoints and network sets with the address.
    fn owners(&self) -> impl Iterator<Item = &Labelled> {
        self.known.everybody.iter().filter(|labelled| labelled.has(self.address))
    }

    fn is_on(&self, port: &Port) -> bool {
        let Some(number) = self.port else { return false };
        match port {
            Port::Number(wanted) => number == *wanted,
            Port::Range(first, last) => (*first..=*last).contains(&number),
            Port::Named(name) => {
                let scope = scope::entity(self.namespace, self.side);
                self.known
                    .everybody
                    .iter()
                    .filter(|owner| owner.is_at(self.address))
                    .filter(|owner| scope.as_ref().is_none_or(|scope| scope.matches(&owner.labels)))
                    .flat_map(|owner| &owner.ports)
                    .any(|(found, protocol, at)| {
                        found == name
                            && *at == number
                            && *protocol == self.packet.protocol
                            && self.rule.protocol.is_none_or(|rule| rule.number() == *protocol)
                    })
            }
        }
    }
}
