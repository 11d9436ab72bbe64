//! Rules as a dataplane takes them: everything about labels became sets.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use margay_model::kinds::{Action, PolicyType};

use crate::{Direction, Member, SetId};

/// A policy that is in use on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its tier.
    pub tier: String,
    /// The directions it governs, in order. A direction it governs without any rule still counts:
    /// the tier's default action follows.
    pub types: Vec<PolicyType>,
    /// Rules for what comes to an endpoint, in order; none unless it governs ingress.
    pub ingress: Vec<Rule>,
    /// Rules for what leaves it, in order; none unless it governs egress.
    pub egress: Vec<Rule>,
}

/// A profile that a local endpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whether there is such a profile. One that is missing denies everything.
    pub exists: bool,
    /// Rules for what comes to an endpoint, in order.
    pub ingress: Vec<Rule>,
    /// Rules for what leaves it, in order.
    pub egress: Vec<Rule>,
}

/// A rule: all that is given must hold. It stands where it stands in its resource, even if it can
/// match nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is done.
    pub action: Action,
    /// The families in which it exists. In none of them it matches nothing.
    pub families: Families,
    /// The protocol's number.
    pub protocol: Option<u8>,
    /// Any protocol but this.
    pub not_protocol: Option<u8>,
    /// The type and code of ICMP; there is a protocol then.
    pub icmp: Option<IcmpMatch>,
    /// Any type and code but these; there is a protocol then.
    pub not_icmp: Option<IcmpMatch>,
    /// Where it comes from.
    pub source: Side,
    /// Where it goes.
    pub destination: Side,
}

/// Families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// A type of ICMP, and a code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpMatch {
    /// The type.
    pub kind: u8,
    /// The code; any if `None`.
    pub code: Option<u8>,
}

/// One side of a rule: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// In any of these ranges, unless there are none. A range never holds addresses of the other
    /// family.
    pub nets: Vec<IpNet>,
    /// In none of these ranges.
    pub not_nets: Vec<IpNet>,
    /// In this set of addresses.
    pub set: Option<SetId>,
    /// Not in this set of addresses.
    pub not_set: Option<SetId>,
    /// On any of these ports.
    pub ports: Option<PortMatch>,
    /// On none of these ports. A packet without ports is on none.
    pub not_ports: Option<PortMatch>,
    /// The service, as `NAMESPACE/NAME`, whose addresses `set` has, or whose ports `ports` has: for
    /// people.
    pub service: Option<Arc<str>>,
}

/// Ports: those in any of the ranges, or in any of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMatch {
    /// First and last port. The rule then has a protocol with ports.
    pub ranges: Vec<(u16, u16)>,
    /// Sets of ports, for the address, the protocol and the port of the packet on this side.
    pub sets: Vec<SetId>,
}

/// What keeps a rule from meaning what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleFault {
    /// The list it stands in.
    pub direction: Direction,
    /// Its place in the list, from 0.
    pub rule: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Why a rule does not mean what it says, and matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// It asks for a service without saying its name, or its namespace where the rule is in none.
    ServiceWithoutName,
    /// It asks for a service, and on the same side for what a service excludes.
    ServiceBesideOthers,
    /// Numbers of ports stand beside a protocol without ports, or beside none; or names beside a
    /// protocol without ports.
    PortsWithoutProtocol,
    /// A type of ICMP stands beside another protocol, or none.
    IcmpWithoutProtocol,
    /// A code of ICMP stands without its type.
    IcmpCodeWithoutType,
    /// There is no family in which every one of its lists of ranges leaves an address.
    NoFamily,
}

impl std::fmt::Display for RuleFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        write!(f, "{way} rule {}: {}; it matches nothing", self.rule, self.problem)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ServiceWithoutName => "a service without its name or namespace",
            Self::ServiceBesideOthers => "a service beside other addresses or ports",
            Self::PortsWithoutProtocol => "ports without a protocol that has ports",
            Self::IcmpWithoutProtocol => "a type of ICMP without the protocol ICMP or ICMPv6",
            Self::IcmpCodeWithoutType => "a code of ICMP without its type",
            Self::NoFamily => "its version of IP, protocol and ranges exclude each other",
        })
    }
}

impl Families {
    /// Neither.
    pub const NONE: Self = Self { v4: false, v6: false };

    /// Whether the family of an address is among them.
    pub fn has(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// With the families of these members, too.
    pub fn with<'a>(self, members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut all = self;
        let mut members = members.into_iter();
        while !(all.v4 && all.v6)
            && let Some(member) = members.next()
        {
            let is_v4 = match member {
                Member::Net(net) => matches!(net, IpNet::V4(_)),
                Member::Port(port) => port.address.is_ipv4(),
            };
            (all.v4, all.v6) = (all.v4 || is_v4, all.v6 || !is_v4);
        }
        all
    }
}

impl IcmpMatch {
    /// Whether a type and code are these.
    pub fn matches(self, kind: u8, code: u8) -> bool {
        self.kind == kind && self.code.is_none_or(|wanted| wanted == code)
    }
}

impl Policy {
    /// Its rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Profile {
    /// Its rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Rule {
    /// The sets it refers to, in a fixed order; some may come twice.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        [&self.source, &self.destination].into_iter().flat_map(|side| {
            let ports = [&side.ports, &side.not_ports].into_iter().flatten();
            let ports = ports.flat_map(|ports| ports.sets.iter().copied());
            side.set.into_iter().chain(side.not_set).chain(ports)
        })
    }
}
