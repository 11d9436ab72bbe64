//! A cluster as case files describe it, and what oracle, graph and compiler say of its packets.

use std::collections::BTreeMap;

use margay_model::{Item, Key, Mode, Resource, decode};
use policy_calc::{
    Class, Compiler, Decision, Direction, EndpointId, Graph, Naive, Outcome, Packet, Staged, State,
};
use policy_nft::{
    layout::{Settings, table},
    table::Table,
};

use crate::{
    cases::Case,
    pods,
    wire::{Family, PODS, PROBES, Seen, places, pod},
};

/// Resources, and what was computed from them on the way.
pub struct Cluster {
    family: Family,
    resources: BTreeMap<Key, Resource>,
    graph: Graph,
    state: State,
    compiler: Compiler,
}

impl Cluster {
    /// Without any; its pods will speak this.
    pub fn new(family: Family) -> Self {
        let mut graph = Graph::new("here");
        graph.in_sync();
        let (state, compiler) = (State::default(), Compiler::new());
        Self { family, resources: BTreeMap::new(), graph, state, compiler }
    }

    /// Tells the graph what is otherwise in a case.
    pub fn become_of(&mut self, case: &Case) {
        let new = resources(case, self.family);
        let old = std::mem::replace(&mut self.resources, new);
        for key in old.keys().filter(|key| !self.resources.contains_key(key)) {
            self.graph.update(key, None);
        }
        for (key, resource) in &self.resources {
            if old.get(key) != Some(resource) {
                self.graph.update(key, Some(resource.clone()));
            }
        }
        let deltas = self.graph.flush();
        self.state.apply(&deltas);
        self.compiler.apply(&deltas);
    }

    /// What the kernel is to have, where more than so many policies are asked by who they concern.
    pub fn table(&self, few: usize) -> Table {
        table(&self.state, &Settings { few, ..Settings::default() })
    }

    /// What comes through, according to the oracle, the graph and the compiler.
    pub fn expected(&self) -> [Seen; 3] {
        let naive = Naive::new(self.resources.values());
        let normal = Class::Normal;
        [
            self.through(|id, direction, packet| naive.decide(id, normal, direction, packet)),
            self.through(|id, direction, packet| {
                self.state.decide(id, normal, direction, packet, Staged::Ignored)
            }),
            self.through(|id, direction, packet| {
                self.compiler.decide(id, normal, direction, packet)
            }),
        ]
    }

    fn through(&self, decide: impl Fn(&EndpointId, Direction, &Packet) -> Option<Outcome>) -> Seen {
        let family = self.family;
        let ids: Vec<_> = (0..PODS).map(id).collect();
        let mut seen = Seen::none();
        for (from, to, probe) in places() {
            let packet = Packet {
                source: family.address(from),
                destination: family.address(to),
                protocol: PROBES[probe].protocol(family),
                header: PROBES[probe].header(family, 30_000),
            };
            let allows = |number: usize, direction| {
                let outcome = decide(&ids[number], direction, &packet).expect("it is of this node");
                outcome.decision == Decision::Allow
            };
            let came = allows(from, Direction::Egress) && allows(to, Direction::Ingress);
            seen.set(from, to, probe, came);
        }
        seen
    }
}

fn id(number: usize) -> EndpointId {
    let (namespace, name) = full(number);
    EndpointId::Workload { namespace, name }
}

fn full(number: usize) -> (String, String) {
    let name = pod(number);
    let (namespace, name) = name.split_once('/').expect("two parts");
    (namespace.to_owned(), format!("here-k8s-{name}-eth0"))
}

/// Namespaces, service accounts and pods of every case, and what its lines say.
fn resources(case: &Case, family: Family) -> BTreeMap<Key, Resource> {
    let said = |word: &str, name: &str, otherwise: String| {
        let key = (word.to_owned(), name.to_owned());
        case.objects.get(&key).cloned().unwrap_or(otherwise)
    };
    let mut yaml = String::new();
    for name in ["x", "y", "z"] {
        let labels = said("namespace", name, format!("{{ ns: {name} }}"));
        yaml += &format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {labels} }}\n"
        );
    }
    for number in 0..PODS {
        let (whole, (namespace, name)) = (pod(number), full(number));
        let short = &whole[2..];
        let trust = if short == "a" { "high" } else { "low" };
        let trust = said("account", &whole, format!("{{ trust: {trust} }}"));
        let labels = said("pod", &whole, format!("{{ pod: {short} }}"));
        let profiles =
            said("profiles", &whole, format!("[kns.{namespace}, ksa.{namespace}.{short}]"));
        let ports = said("ports", &whole, PORTS.to_owned());
        // All have addresses of both families; those that are not spoken are in the sets all the same.
        let [four, six] = Family::BOTH.map(|family| family.address(number));
        let link = pods::name(number);
        yaml += &format!(
            "---
apiVersion: v1
kind: ServiceAccount
metadata: {{ namespace: {namespace}, name: {short}, labels: {trust} }}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{ namespace: {namespace}, name: {name}, labels: {labels} }}
spec:
  node: here
  orchestrator: k8s
  pod: {short}
  endpoint: eth0
  serviceAccountName: {short}
  interfaceName: cali{link}
  ipNetworks: [{four}/32, '{six}/128']
  profiles: {profiles}
  ports: {ports}
"
        );
    }
    for ((word, name), spec) in &case.objects {
        let spec = family.words(spec);
        let Some((_, group, kind)) = KINDS.iter().find(|kind| kind.0 == word) else {
            let pod = ["namespace", "account", "pod", "profiles", "ports"].contains(&word.as_str());
            assert!(pod, "{}: what is {word}?", case.name);
            continue;
        };
        let metadata = match name.split_once('/') {
            Some((namespace, name)) => format!("namespace: {namespace}, name: {name}"),
            None => format!("name: {name}"),
        };
        yaml += &match *kind {
            "EndpointSlice" => slice(&metadata, name, &spec),
            _ => format!(
                "---\napiVersion: {group}\nkind: {kind}\nmetadata: {{ {metadata} }}\nspec: {spec}\n"
            ),
        };
    }
    read(&case.name, &yaml)
}

/// The resources of a text, as a datastore has them.
pub fn read(case: &str, yaml: &str) -> BTreeMap<Key, Resource> {
    let manifest =
        decode(yaml.as_bytes(), Mode::Strict).unwrap_or_else(|err| panic!("{case}: {err}\n{yaml}"));
    let documents = manifest.documents.into_iter().map(|document| {
        let mut resource = match document.item {
            Item::Resource(resource) => resource,
            Item::Kubernetes(object) => object.into_resource().resource.expect("a resource"),
        };
        resource.apply_defaults();
        (resource.key(), resource)
    });
    documents.collect()
}

/// A slice, which is called after its service: `NAMESPACE/SERVICE.MORE`. Its fields have no spec
/// around them.
fn slice(metadata: &str, name: &str, fields: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    let service = name.split('.').next().unwrap_or(name);
    let fields = fields.strip_prefix('{').expect("fields");
    let label = format!("kubernetes.io/service-name: {service}");
    format!(
        "---\n{{ apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{ {metadata}, \
         labels: {{ {label} }} }}, {fields}\n"
    )
}

const KINDS: [(&str, &str, &str); 8] = [
    ("knp", "networking.k8s.io/v1", "NetworkPolicy"),
    ("np", "projectcalico.org/v3", "NetworkPolicy"),
    ("gnp", "projectcalico.org/v3", "GlobalNetworkPolicy"),
    ("tier", "projectcalico.org/v3", "Tier"),
    ("set", "projectcalico.org/v3", "NetworkSet"),
    ("gset", "projectcalico.org/v3", "GlobalNetworkSet"),
    ("profile", "projectcalico.org/v3", "Profile"),
    ("slice", "discovery.k8s.io/v1", "EndpointSlice"),
];

/// Names of ports, as every pod has them unless a case says otherwise.
const PORTS: &str = "[{ name: web, protocol: TCP, port: 80 }, { name: alt, protocol: TCP, port: 81 }, \
                     { name: dns, protocol: UDP, port: 80 }, { name: alt-udp, protocol: UDP, port: 81 }]";
