//! Everything with labels that has addresses: endpoints of the whole cluster, and network sets.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use margay_model::{
    Resource, ResourceKey,
    kubernetes::namespace_profile,
    meta::{NAMESPACE_LABEL, ORCHESTRATOR_LABEL, SERVICE_ACCOUNT_LABEL},
};

use crate::{EndpointId, Interface, Limits, Member, PortMember, resolve::Definition};

/// Names an item while it lives. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ItemId(pub(super) u64);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Its own labels.
    labels: BTreeMap<String, String>,
    /// The profiles it inherits labels from, in order.
    pub(super) profiles: Vec<String>,
    pub(super) part: Part,
    /// What is to be enforced here, if it is an endpoint of this node.
    pub(super) local: Option<Local>,
}

/// What it adds to sets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    nets: Vec<IpNet>,
    /// Name, protocol, number.
    ports: Vec<(String, u8, u16)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) id: EndpointId,
    pub(super) interface: Interface,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) allowed_sources: Vec<IpNet>,
    pub(super) nats: Vec<(IpAddr, IpAddr)>,
    pub(super) limits: Limits,
}

impl Item {
    /// `None` for resources that are none.
    pub(super) fn of(key: &ResourceKey, resource: Resource, node: &str) -> Option<Self> {
        let here = |on: &Option<String>| on.as_deref() == Some(node);
        Some(match resource {
            Resource::WorkloadEndpoint(object) => {
                let spec = object.spec;
                let mut labels = object.metadata.labels;
                labels.insert(NAMESPACE_LABEL.into(), key.namespace.clone());
                let derived = [
                    (ORCHESTRATOR_LABEL, spec.orchestrator),
                    (SERVICE_ACCOUNT_LABEL, spec.service_account_name),
                ];
                for (label, value) in derived {
                    labels.extend(value.map(|value| (label.to_owned(), value)));
                }
                let nets: Vec<_> = spec.ip_networks.iter().map(|cidr| cidr.net().trunc()).collect();
                let local = here(&spec.node).then(|| Local {
                    id: EndpointId::Workload {
                        namespace: key.namespace.clone(),
                        name: key.name.clone(),
                    },
                    interface: Interface::Named(spec.interface_name.unwrap_or_default()),
                    addresses: nets.iter().map(IpNet::addr).collect(),
                    allowed_sources: (spec.allow_spoofed_source_prefixes.iter())
                        .map(|cidr| cidr.net().trunc())
                        .collect(),
                    nats: (spec.ip_nats.iter())
                        .map(|nat| (nat.external_ip, nat.internal_ip))
                        .collect(),
                    limits: spec.qos_controls.as_ref().map(Limits::of).unwrap_or_default(),
                });
                let ports = spec.ports.into_iter();
                let ports = ports.filter_map(|p| Some((p.name?, p.protocol.number(), p.port)));
                let part = Part { nets, ports: ports.collect() };
                Self { labels, profiles: spec.profiles, part, local }
            }
            Resource::HostEndpoint(object) => {
                let spec = object.spec;
                let local = here(&spec.node).then(|| Local {
                    id: EndpointId::Host(key.name.clone()),
                    interface: match spec.interface_name {
                        None => Interface::ByAddress,
                        Some(name) if name == "*" => Interface::All,
                        Some(name) => Interface::Named(name),
                    },
                    addresses: spec.expected_ips.clone(),
                    allowed_sources: Vec::new(),
                    nats: Vec::new(),
                    limits: Limits::default(),
                });
                let ports = spec.ports.into_iter().map(|p| (p.name, p.protocol.number(), p.port));
                let part = Part {
                    nets: spec.expected_ips.into_iter().map(IpNet::from).collect(),
                    ports: ports.collect(),
                };
                Self { labels: object.metadata.labels, profiles: spec.profiles, part, local }
            }
            Resource::NetworkSet(object) => {
                let mut labels = object.metadata.labels;
                labels.insert(NAMESPACE_LABEL.into(), key.namespace.clone());
                let part = Part::ranges(&object.spec.nets);
                let profiles = vec![namespace_profile(&key.namespace)];
                Self { labels, profiles, part, local: None }
            }
            Resource::GlobalNetworkSet(object) => Self {
                labels: object.metadata.labels,
                profiles: Vec::new(),
                part: Part::ranges(&object.spec.nets),
                local: None,
            },
            _ => return None,
        })
    }

    /// Its labels with those it inherits: its own win, then those of the profile named first.
    pub(super) fn labels<'a>(
        &self,
        profile: impl Fn(&str) -> Option<&'a BTreeMap<String, String>>,
    ) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for inherited in self.profiles.iter().filter_map(|name| profile(name)) {
            for (label, value) in inherited {
                if !labels.contains_key(label) {
                    labels.insert(label.clone(), value.clone());
                }
            }
        }
        labels
    }
}

impl Part {
    fn ranges(nets: &[margay_model::Cidr]) -> Self {
        Self { nets: nets.iter().map(|cidr| cidr.net().trunc()).collect(), ports: Vec::new() }
    }

    /// What it adds to a set that it is selected for; some may come twice.
    pub(super) fn members(&self, definition: &Definition) -> Vec<Member> {
        match definition {
            Definition::Addresses(_) => self.nets.iter().copied().map(Member::Net).collect(),
            Definition::Ports { protocol: wanted, name, .. } => (self.ports.iter())
                .filter(|(found, protocol, _)| {
                    found == name && wanted.is_none_or(|wanted| wanted == *protocol)
                })
                .flat_map(|(_, protocol, port)| {
                    // Validation lets endpoints have single addresses only; no other has ports.
                    let hosts =
                        self.nets.iter().filter(|net| net.prefix_len() == net.max_prefix_len());
                    hosts.map(|net| {
                        let (address, protocol, port) = (net.addr(), *protocol, *port);
                        Member::Port(PortMember { address, protocol, port })
                    })
                })
                .collect(),
            Definition::ServiceAddresses(_) | Definition::ServicePorts(_) => Vec::new(),
        }
    }
}
