//! What one local endpoint must enforce.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use margay_model::kinds::{PolicyType, QosControls, TierAction};

use crate::PolicyId;

/// A direction, seen from the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards it.
    Ingress,
    /// From it.
    Egress,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word that policies use.
    pub fn policy_type(self) -> PolicyType {
        match self {
            Self::Ingress => PolicyType::Ingress,
            Self::Egress => PolicyType::Egress,
        }
    }
}

/// Where in a packet's way policies apply. Workload endpoints have the normal class only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What ends or begins at the endpoint; profiles come after the policies.
    Normal,
    /// What a host endpoint's host forwards.
    Forward,
    /// Before the translation of destinations, ingress only.
    PreDnat,
    /// Before connection tracking.
    Untracked,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Forward, Self::PreDnat, Self::Untracked];
}

/// A local endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where its traffic passes.
    pub interface: Interface,
    /// Its own addresses; of a host endpoint those it is expected to have.
    pub addresses: Vec<IpAddr>,
    /// Ranges a workload may send from besides its own addresses.
    pub allowed_sources: Vec<IpNet>,
    /// Floating addresses with what each stands for, one of its own; of workloads only.
    pub nats: Vec<(IpAddr, IpAddr)>,
    /// What of its packets and connections is let through; of workloads only.
    pub limits: Limits,
    /// The profiles that come after the normal policies, in order.
    pub profiles: Vec<String>,
    /// What ends or begins here.
    pub normal: Directions,
    /// What the host forwards; host endpoints only.
    pub forward: Directions,
    /// Before the translation of destinations; host endpoints and ingress only.
    pub pre_dnat: Directions,
    /// Before connection tracking; host endpoints only.
    pub untracked: Directions,
}

/// How much an endpoint may, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Towards it.
    pub ingress: Limit,
    /// From it.
    pub egress: Limit,
}

/// How much an endpoint may in a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Packets of all its connections.
    pub packets: Option<PacketRate>,
    /// Connections at a time.
    pub connections: Option<u32>,
}

/// A number of packets in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRate {
    /// As many.
    pub per_second: u32,
    /// So many more at once after a pause.
    pub burst: u32,
}

impl Limits {
    /// What a resource says; of bandwidths the link takes care.
    pub fn of(controls: &QosControls) -> Self {
        let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        let limit = |rate, burst, connections| Limit {
            packets: number(rate)
                .map(|per_second| PacketRate { per_second, burst: number(burst).unwrap_or(BURST) }),
            connections: number(connections),
        };
        let c = controls;
        Self {
            ingress: limit(
                c.ingress_packet_rate,
                c.ingress_packet_burst,
                c.ingress_max_connections,
            ),
            egress: limit(c.egress_packet_rate, c.egress_packet_burst, c.egress_max_connections),
        }
    }

    /// Those of a direction.
    pub fn direction(&self, direction: Direction) -> &Limit {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Packets at once where nobody says, as in Calico.
const BURST: u32 = 5;

/// Where an endpoint's traffic passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// The interface of this name. Where several host endpoints name one interface, the one whose
    /// name comes first counts.
    Named(String),
    /// Every interface that no other host endpoint claims, and no workload.
    All,
    /// The interface that has one of the endpoint's addresses and belongs to no workload.
    ByAddress,
}

/// The policies of a class. Endpoints with equal lists share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// Tiers in order.
    pub ingress: Arc<[TierPolicies]>,
    /// Tiers in order.
    pub egress: Arc<[TierPolicies]>,
}

/// The policies of a tier that apply to an endpoint in one class and direction, at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TierPolicies {
    /// The tier.
    pub tier: String,
    /// Whether there is such a tier. One that is missing comes after all others and denies.
    pub exists: bool,
    /// What is done with a packet that no rule decided, if any of the policies is enforced. Always
    /// `Pass` in the classes before connection tracking and before translation.
    pub default_action: TierAction,
    /// The policies in order, staged ones among them.
    pub policies: Vec<PolicyId>,
}

impl Endpoint {
    /// The policies of a class.
    pub fn class(&self, class: Class) -> &Directions {
        match class {
            Class::Normal => &self.normal,
            Class::Forward => &self.forward,
            Class::PreDnat => &self.pre_dnat,
            Class::Untracked => &self.untracked,
        }
    }
}

impl Directions {
    /// The tiers of a direction, in order.
    pub fn tiers(&self, direction: Direction) -> &Arc<[TierPolicies]> {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl TierPolicies {
    /// Whether any of the policies is enforced: only then the default action counts.
    pub fn is_enforced(&self) -> bool {
        self.policies.iter().any(|policy| !policy.is_staged())
    }
}
