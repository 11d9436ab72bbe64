//! Everything of a cluster that policy looks at.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use margay_model::{
    Key, Order, Protocol, Resource,
    kinds::{
        BUILT_IN_TIERS, DEFAULT_TIER, HostEndpointSpec, PolicyType, ProfileSpec, Rule,
        SliceAddress, TierAction,
    },
    kubernetes::namespace_profile,
    meta::{NAMESPACE_LABEL, ORCHESTRATOR_LABEL, SERVICE_ACCOUNT_LABEL},
    selector::{Expression, scope},
};

use crate::{EndpointId, PolicyId};

#[derive(Debug)]
pub(super) struct World<'a>(Vec<&'a Resource>);

/// Everybody whom rules can speak of.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) everybody: Vec<Labelled>,
    pub(super) backends: Vec<Backend>,
}

/// An endpoint of a service at one of its addresses, with the ports of its slice.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) address: IpAddr,
    /// Protocol, number.
    pub(super) ports: Vec<(u8, u16)>,
}

/// An endpoint or a network set: something with labels that has addresses.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) nets: Vec<IpNet>,
    /// Name, protocol, number.
    pub(super) ports: Vec<(String, u8, u16)>,
}

/// The endpoint a question is about.
pub(super) struct Subject {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) profiles: Vec<String>,
}

/// A policy that is enforced where it applies.
pub(super) struct Candidate<'a> {
    pub(super) id: PolicyId,
    /// `None`: a global one.
    pub(super) namespace: Option<&'a str>,
    pub(super) tier: &'a str,
    pub(super) order: Option<Order>,
    pub(super) types: &'a [PolicyType],
    pub(super) ingress: &'a [Rule],
    pub(super) egress: &'a [Rule],
    pub(super) selects: Expression,
    pub(super) untracked: bool,
    pub(super) pre_dnat: bool,
    pub(super) on_forward: bool,
}

impl<'a> World<'a> {
    pub(super) fn new(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        Self(resources.into_iter().collect())
    }

    pub(super) fn known(&self) -> Known {
        Known { everybody: self.everybody(), backends: self.backends() }
    }

    fn backends(&self) -> Vec<Backend> {
        let mut all = Vec::new();
        for resource in &self.0 {
            let Resource::EndpointSlice(slice) = resource else { continue };
            let label = slice.metadata.labels.get("kubernetes.io/service-name");
            let Some(service) = label else { continue };
            let mut ports = Vec::new();
            for port in &slice.spec.ports {
                let protocol = port.protocol.unwrap_or(Protocol::Tcp).number();
                ports.extend(port.port.map(|number| (protocol, number)));
            }
            for endpoint in &slice.spec.endpoints {
                for address in &endpoint.addresses {
                    let SliceAddress::Ip(address) = address else { continue };
                    all.push(Backend {
                        namespace: slice.namespace().to_owned(),
                        service: service.clone(),
                        address: *address,
                        ports: ports.clone(),
                    });
                }
            }
        }
        all
    }

    fn everybody(&self) -> Vec<Labelled> {
        let mut all = Vec::new();
        for resource in &self.0 {
            let labels = self.labels(resource);
            let (nets, ports) = match resource {
                Resource::WorkloadEndpoint(object) => (
                    object.spec.ip_networks.iter().map(|cidr| cidr.net()).collect(),
                    (object.spec.ports.iter())
                        .filter_map(|p| Some((p.name.clone()?, p.protocol.number(), p.port)))
                        .collect(),
                ),
                Resource::HostEndpoint(object) => (
                    object.spec.expected_ips.iter().map(|ip| IpNet::from(*ip)).collect(),
                    (object.spec.ports.iter())
                        .map(|p| (p.name.clone(), p.protocol.number(), p.port))
                        .collect(),
                ),
                Resource::NetworkSet(object) => {
                    (object.spec.nets.iter().map(|cidr| cidr.net()).collect(), Vec::new())
                }
                Resource::GlobalNetworkSet(object) => {
                    (object.spec.nets.iter().map(|cidr| cidr.net()).collect(), Vec::new())
                }
                _ => continue,
            };
            all.push(Labelled { labels, nets, ports });
        }
        all
    }

    pub(super) fn subject(&self, endpoint: &EndpointId) -> Option<Subject> {
        let key = Key::Resource(endpoint.key());
        let resource = self.0.iter().find(|resource| resource.key() == key)?;
        Some(Subject { labels: self.labels(resource), profiles: profiles(resource) })
    }

    /// Own labels, then those of profiles in order: who comes first wins.
    fn labels(&self, resource: &Resource) -> BTreeMap<String, String> {
        let mut labels = resource.metadata().labels.clone();
        let mut own = |label: &str, value: &str| {
            labels.insert(label.to_owned(), value.to_owned());
        };
        match resource {
            Resource::WorkloadEndpoint(object) => {
                own(NAMESPACE_LABEL, object.namespace());
                let orchestrator = object.spec.orchestrator.iter();
                orchestrator.for_each(|value| own(ORCHESTRATOR_LABEL, value));
                let account = object.spec.service_account_name.iter();
                account.for_each(|value| own(SERVICE_ACCOUNT_LABEL, value));
            }
            Resource::NetworkSet(object) => own(NAMESPACE_LABEL, object.namespace()),
            _ => {}
        }
        for name in profiles(resource) {
            let inherited = self.profile(&name).map(|profile| profile.labels_to_apply.clone());
            for (label, value) in inherited.into_iter().flatten() {
                labels.entry(label).or_insert(value);
            }
        }
        labels
    }

    pub(super) fn profile(&self, name: &str) -> Option<&'a ProfileSpec> {
        self.0.iter().find_map(|resource| match resource {
            Resource::Profile(profile) if profile.name() == name => Some(&profile.spec),
            _ => None,
        })
    }

    /// `None`: there is no such tier.
    pub(super) fn tier_order(&self, name: &str) -> Option<Option<Order>> {
        let given = self.0.iter().find_map(|resource| match resource {
            Resource::Tier(tier) if tier.name() == name => Some(tier.spec.order),
            _ => None,
        });
        let built_in = BUILT_IN_TIERS.iter().find(|(built_in, ..)| *built_in == name);
        given.or_else(|| built_in.map(|(_, order, _)| Some(Order::from(*order))))
    }

    pub(super) fn tier_action(&self, name: &str) -> TierAction {
        let given = self.0.iter().find_map(|resource| match resource {
            Resource::Tier(tier) if tier.name() == name => Some(tier.spec.default_action),
            _ => None,
        });
        let built_in = BUILT_IN_TIERS.iter().find(|(built_in, ..)| *built_in == name);
        match (given, built_in) {
            (Some(given), _) => given.unwrap_or(TierAction::Deny),
            (None, Some((_, _, action))) => *action,
            (None, None) => TierAction::Deny,
        }
    }

    pub(super) fn host_endpoints(&self) -> impl Iterator<Item = (&'a str, &'a HostEndpointSpec)> {
        self.0.iter().filter_map(|resource| match resource {
            Resource::HostEndpoint(endpoint) => Some((endpoint.name(), &endpoint.spec)),
            _ => None,
        })
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = Candidate<'a>> {
        self.0.iter().filter_map(|resource| match resource {
            Resource::NetworkPolicy(policy) => {
                let spec = &policy.spec;
                Some(Candidate {
                    id: id(resource)?,
                    namespace: Some(policy.namespace()),
                    tier: spec.tier.as_deref().unwrap_or(DEFAULT_TIER),
                    order: spec.order,
                    types: &spec.types,
                    ingress: &spec.ingress,
                    egress: &spec.egress,
                    selects: scope::network_policy(policy.namespace(), spec),
                    untracked: false,
                    pre_dnat: false,
                    on_forward: false,
                })
            }
            Resource::GlobalNetworkPolicy(policy) => {
                let spec = &policy.spec;
                Some(Candidate {
                    id: id(resource)?,
                    namespace: None,
                    tier: spec.tier.as_deref().unwrap_or(DEFAULT_TIER),
                    order: spec.order,
                    types: &spec.types,
                    ingress: &spec.ingress,
                    egress: &spec.egress,
                    selects: scope::global_network_policy(spec),
                    untracked: spec.do_not_track == Some(true),
                    pre_dnat: spec.pre_dnat == Some(true),
                    on_forward: spec.apply_on_forward == Some(true),
                })
            }
            _ => None,
        })
    }
}

impl Labelled {
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(&address))
    }

    /// Whether this is an address of its own, and not one of a range: only there it has ports.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.nets.contains(&IpNet::from(address))
    }
}

fn id(resource: &Resource) -> Option<PolicyId> {
    match resource.key() {
        Key::Resource(key) => PolicyId::of(&key),
        _ => None,
    }
}

/// The profiles a resource inherits labels from.
fn profiles(resource: &Resource) -> Vec<String> {
    match resource {
        Resource::WorkloadEndpoint(object) => object.spec.profiles.clone(),
        Resource::HostEndpoint(object) => object.spec.profiles.clone(),
        Resource::NetworkSet(object) => vec![namespace_profile(object.namespace())],
        _ => Vec::new(),
    }
}
