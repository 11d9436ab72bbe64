//! A large cluster: every namespace has 100 endpoints and its share of the policies, of 5 rules each;
//! one policy in a hundred is global and selects by label over the whole cluster.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use margay_model::{
    ObjectMeta, Order, Port, Protocol, Resource,
    kinds::{
        Action, EntityRule, GlobalNetworkPolicy, GlobalNetworkPolicySpec, NetworkPolicy,
        NetworkPolicySpec, PolicyType, Profile, ProfileSpec, Rule, WorkloadEndpoint,
        WorkloadEndpointSpec,
    },
};

/// How much there is.
pub struct World {
    /// Policies.
    pub policies: u32,
    /// Endpoints.
    pub endpoints: u32,
    /// How many of them are on the node `here`.
    pub local: u32,
}

impl World {
    /// How many namespaces there are.
    pub fn namespaces(&self) -> u32 {
        (self.endpoints / 100).max(1)
    }

    /// Whether an endpoint is here: the local ones are spread over all namespaces.
    pub fn is_here(&self, index: u32) -> bool {
        u64::from(index) * 7919 % u64::from(self.endpoints) < u64::from(self.local)
    }

    /// All of it.
    pub fn resources(&self) -> impl Iterator<Item = Resource> {
        let node = |index| if self.is_here(index) { "here" } else { "there" };
        let endpoints = (0..self.endpoints).map(move |index| endpoint(index, node(index)));
        let namespaces = self.namespaces();
        let policies = (0..self.policies).map(move |index| policy(index, namespaces));
        endpoints.chain((0..namespaces).map(profile)).chain(policies)
    }
}

fn profile(namespace: u32) -> Resource {
    let mut spec = ProfileSpec {
        ingress: vec![Rule::new(Action::Allow)],
        egress: vec![Rule::new(Action::Allow)],
        ..ProfileSpec::default()
    };
    spec.labels_to_apply.insert("pcns.projectcalico.org/name".into(), format!("ns{namespace}"));
    Profile::new(format!("kns.ns{namespace}"), spec).into()
}

/// An endpoint: every hundred are of one namespace.
pub fn endpoint(index: u32, node: &str) -> Resource {
    let namespace = format!("ns{}", index / 100);
    let name = format!("{node}-k8s-pod{index}-eth0");
    let mut metadata = ObjectMeta::namespaced(namespace.clone(), name);
    for (key, value) in [
        ("app", format!("app{}", index % 10)),
        ("tier", format!("tier{}", index % 3)),
        ("version", format!("v{}", index % 7)),
    ] {
        metadata.labels.insert(key.into(), value);
    }
    let address = Ipv4Addr::from(0x0a00_0000 + index);
    let spec = WorkloadEndpointSpec {
        node: Some(node.into()),
        orchestrator: Some("k8s".into()),
        pod: Some(format!("pod{index}")),
        endpoint: Some("eth0".into()),
        interface_name: Some(format!("cali{index}")),
        ip_networks: vec![IpNet::from(std::net::IpAddr::from(address)).into()],
        profiles: vec![format!("kns.{namespace}")],
        ..WorkloadEndpointSpec::default()
    };
    WorkloadEndpoint { metadata, spec, status: None }.into()
}

fn rules(index: u32) -> Vec<Rule> {
    let rule = |at: u32| Rule {
        protocol: Some(Protocol::Tcp),
        source: Some(EntityRule {
            selector: format!("app == 'app{}' && tier == 'tier{}'", (index + at) % 10, at % 3)
                .parse()
                .ok(),
            ..EntityRule::default()
        }),
        destination: Some(EntityRule {
            ports: vec![Port::Number(u16::try_from(8000 + at + index % 100).unwrap_or(1))],
            ..EntityRule::default()
        }),
        ..Rule::new(Action::Allow)
    };
    (0..5).map(rule).collect()
}

/// A policy of 5 rules: of the namespaces in turn, and one in a hundred of all.
pub fn policy(index: u32, namespaces: u32) -> Resource {
    let selector = format!("app == 'app{}'", index % 10).parse().ok();
    let order = Some(Order::from(i32::try_from(index % 50).unwrap_or(0)));
    let types = vec![PolicyType::Ingress];
    if index.is_multiple_of(100) {
        let spec = GlobalNetworkPolicySpec {
            selector,
            order,
            types,
            ingress: rules(index),
            ..GlobalNetworkPolicySpec::default()
        };
        return GlobalNetworkPolicy::new(format!("p{index}"), spec).into();
    }
    let namespace = format!("ns{}", index % namespaces);
    let metadata = ObjectMeta::namespaced(namespace, format!("p{index}"));
    let spec = NetworkPolicySpec {
        selector,
        order,
        types,
        ingress: rules(index),
        ..NetworkPolicySpec::default()
    };
    NetworkPolicy { metadata, spec, status: None }.into()
}
