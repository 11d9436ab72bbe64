//! A small cluster in text, and questions to it.

use std::{collections::BTreeMap, net::IpAddr};

use margay_model::{Item, Key, Mode, Resource, decode};
use policy_calc::{
    Class, Compiler, Decision, Direction, EndpointId, Graph, Header, Naive, Outcome, Packet,
    Staged, State, Step,
};

pub const NODE: &str = "here";

#[derive(Clone, Default)]
pub struct World(pub BTreeMap<Key, Resource>);

impl World {
    /// Resources in YAML, after what every test has: namespaces `a` and `b`, and endpoints `web`
    /// 10.0.0.1 and `db` 10.0.0.2 (ports `http` TCP 80, `dns` UDP 53) in `a`, `web` 10.0.1.1 in
    /// `b`, `far` 10.0.0.9 in `a` on another node. Their own label is `app`.
    pub fn new(yaml: &str) -> Self {
        let mut world = Self::default();
        world.add(BASE);
        world.add(yaml);
        world
    }

    pub fn add(&mut self, yaml: &str) {
        let manifest =
            decode(yaml.as_bytes(), Mode::Strict).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
        for document in manifest.documents {
            let mut resource = match document.item {
                Item::Resource(resource) => resource,
                Item::Kubernetes(object) => {
                    object.into_resource().resource.expect("it stands for something")
                }
            };
            resource.apply_defaults();
            self.0.insert(resource.key(), resource);
        }
    }

    pub fn put(&mut self, resource: impl Into<Resource>) {
        let resource = resource.into();
        self.0.insert(resource.key(), resource);
    }

    /// Everybody's answer, which must be one.
    pub fn ask(
        &self,
        endpoint: &EndpointId,
        class: Class,
        direction: Direction,
        packet: &Packet,
    ) -> Outcome {
        let naive = Naive::new(self.0.values());
        let oracle =
            naive.decide(endpoint, class, direction, packet).expect("the endpoint is there");
        let deltas = self.graph().flush();
        let mut state = State::default();
        state.apply(&deltas);
        let answer = state.decide(endpoint, class, direction, packet, Staged::Ignored);
        assert_eq!(answer.as_ref(), Some(&oracle), "what the graph computed");
        let mut compiler = Compiler::new();
        compiler.apply(&deltas);
        let answer = compiler.decide(endpoint, class, direction, packet);
        assert_eq!(answer.as_ref(), Some(&oracle), "what was compiled of it");
        oracle
    }

    /// A graph that heard of everything and told nothing yet.
    pub fn graph(&self) -> Graph {
        let mut graph = Graph::new(NODE);
        for (key, resource) in &self.0 {
            graph.update(key, Some(resource.clone()));
        }
        graph.in_sync();
        graph
    }

    /// What is wanted on this node.
    pub fn state(&self) -> State {
        let mut state = State::default();
        state.apply(&self.graph().flush());
        state
    }

    /// What comes to `a/db` from an address by TCP.
    pub fn to_db(&self, source: &str, port: u16) -> Outcome {
        self.ask(&wep("a", "db"), Class::Normal, Direction::Ingress, &tcp(source, "10.0.0.2", port))
    }

    pub fn lets_in(&self, source: &str, port: u16) -> bool {
        self.to_db(source, port).decision == Decision::Allow
    }

    /// What comes to `a/db`, whatever it is.
    pub fn packet_in(&self, packet: Packet) -> bool {
        let outcome = self.ask(&wep("a", "db"), Class::Normal, Direction::Ingress, &packet);
        outcome.decision == Decision::Allow
    }

    /// What leaves `a/db`.
    pub fn lets_out(&self, destination: &str, port: u16) -> bool {
        let packet = tcp("10.0.0.2", destination, port);
        let outcome = self.ask(&wep("a", "db"), Class::Normal, Direction::Egress, &packet);
        outcome.decision == Decision::Allow
    }
}

/// The endpoint of a pod on this node.
pub fn wep(namespace: &str, pod: &str) -> EndpointId {
    EndpointId::Workload { namespace: namespace.into(), name: format!("{NODE}-k8s-{pod}-eth0") }
}

pub fn hep(name: &str) -> EndpointId {
    EndpointId::Host(name.into())
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn tcp(source: &str, destination: &str, port: u16) -> Packet {
    transport(6, source, destination, 40_000, port)
}

pub fn transport(protocol: u8, source: &str, destination: &str, from: u16, to: u16) -> Packet {
    Packet {
        source: address(source),
        destination: address(destination),
        protocol,
        header: Header::Ports { source: from, destination: to },
    }
}

pub fn icmp(protocol: u8, source: &str, destination: &str, kind: u8, code: u8) -> Packet {
    Packet {
        source: address(source),
        destination: address(destination),
        protocol,
        header: Header::Icmp { kind, code },
    }
}

/// What matched, in words: `TIER/POLICY#RULE ACTION`, `TIER ACTION`, `profile NAME#RULE ACTION`.
pub fn steps(outcome: &Outcome) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Policy { tier, policy, rule, action } => {
            format!("{tier}/{}#{rule} {action}", policy.name())
        }
        Step::TierDefault { tier, action } => format!("{tier} {action}"),
        Step::Profile { profile, rule, action } => format!("profile {profile}#{rule} {action}"),
        Step::NoProfile => "no profile".into(),
    };
    outcome.steps.iter().map(word).collect()
}

/// A policy of namespace `a` that applies to `db`, with more of a spec.
pub fn policy(name: &str, spec: &str) -> String {
    object("NetworkPolicy", "namespace: a, ", name, &format!("selector: app == 'db', {spec}"))
}

/// A global policy with a spec.
pub fn global(name: &str, spec: &str) -> String {
    object("GlobalNetworkPolicy", "", name, spec)
}

/// A tier.
pub fn tier(name: &str, spec: &str) -> String {
    object("Tier", "", name, spec)
}

/// An object of `projectcalico.org/v3`.
pub fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\n\
         metadata: {{ {namespace}name: {name} }}\nspec: {{ {spec} }}\n"
    )
}

/// An endpoint of a pod, with its labels.
pub fn pod(node: &str, namespace: &str, name: &str, address: &str, app: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n\
         metadata: {{ namespace: {namespace}, name: {node}-k8s-{name}-eth0, labels: {{ app: {app} }} }}\n\
         spec:\n  node: {node}\n  orchestrator: k8s\n  pod: {name}\n  endpoint: eth0\n\
         \x20 interfaceName: cali{namespace}{name}\n  serviceAccountName: {app}\n\
         \x20 ipNetworks: [{address}]\n\
         \x20 profiles: [kns.{namespace}, ksa.{namespace}.{app}]\n\
         \x20 ports: [{{ name: http, protocol: TCP, port: 80 }}, {{ name: dns, protocol: UDP, port: 53 }}]\n"
    )
}

const BASE: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: a, labels: { team: red } }
---
apiVersion: v1
kind: Namespace
metadata: { name: b, labels: { team: blue } }
---
apiVersion: v1
kind: ServiceAccount
metadata: { namespace: a, name: web, labels: { trust: high } }
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: a, name: here-k8s-web-eth0, labels: { app: web } }
spec:
  node: here
  orchestrator: k8s
  pod: web
  endpoint: eth0
  interfaceName: caliaweb
  serviceAccountName: web
  ipNetworks: [10.0.0.1/32, \"fd00::1/128\"]
  profiles: [kns.a, ksa.a.web]
  ports: [{ name: http, protocol: TCP, port: 80 }]
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: a, name: here-k8s-db-eth0, labels: { app: db } }
spec:
  node: here
  orchestrator: k8s
  pod: db
  endpoint: eth0
  interfaceName: caliadb
  ipNetworks: [10.0.0.2/32, \"fd00::2/128\"]
  profiles: [kns.a]
  ports: [{ name: http, protocol: TCP, port: 80 }, { name: dns, protocol: UDP, port: 53 }]
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: b, name: here-k8s-web-eth0, labels: { app: web } }
spec:
  node: here
  orchestrator: k8s
  pod: web
  endpoint: eth0
  interfaceName: calibweb
  serviceAccountName: web
  ipNetworks: [10.0.1.1/32]
  profiles: [kns.b]
  ports: [{ name: http, protocol: TCP, port: 8080 }]
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: a, name: there-k8s-far-eth0, labels: { app: far } }
spec:
  node: there
  orchestrator: k8s
  pod: far
  endpoint: eth0
  interfaceName: caliafar
  ipNetworks: [10.0.0.9/32]
  profiles: [kns.a]
";
