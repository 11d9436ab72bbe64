//! A table that is kept as resources change is the table that is laid out of them at once, and what
//! is said to be touched is all there is to do.
//!
//! `MARGAY_NFT_CASES` sets how many histories (dozens by default).

use std::collections::{BTreeMap, BTreeSet};

use margay_model::{Item, Key, Mode, Resource, decode};
use policy_calc::{Graph, Interfaces, State};
use policy_nft::{
    layout::{self, Layout, Settings},
    plan,
    plan::{Actual, Op},
    plan_touched,
    table::Table,
};

/// A generator of numbers (splitmix64): equal seeds, equal numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }

    fn entity(&mut self) -> &'static str {
        self.one(&[
            "",
            ", source: { selector: app == 'a' }",
            ", source: { selector: app != 'a' }",
            ", source: { notSelector: has(kind) }",
            ", source: { selector: kind == 'x', notNets: [10.0.0.8/29] }",
            ", source: { nets: [10.0.0.0/30, 10.0.0.4/30] }",
            ", source: { nets: [fd00::/64] }, destination: { notSelector: app == 'b' }",
            ", protocol: TCP, destination: { ports: [http, 80, '90:99'] }",
            ", protocol: TCP, destination: { ports: [http] }, source: { selector: all() }",
            ", protocol: UDP, destination: { notPorts: [53, dns] }",
        ])
    }

    fn rules(&mut self) -> String {
        let rules = (0..self.below(3)).map(|_| {
            let action = self.one(&["Allow", "Deny", "Pass", "Log"]);
            let entity = self.entity();
            let protocol = self.one(&["", "", ", notProtocol: 47"]);
            format!("{{ action: {action}{entity}{protocol} }}")
        });
        rules.collect::<Vec<_>>().join(", ")
    }

    /// Any object of few names: its kind, namespace, name, and the rest of it.
    fn object(&mut self) -> (&'static str, &'static str, String, String) {
        let namespace = self.one(&["n", "m"]);
        match self.below(13) {
            10 => {
                let (app, name) = (self.one(&["a", "b"]), self.one(&["h", "i", "j"]));
                let place = self.one(&[
                    "interfaceName: eth0, expectedIPs: [10.0.0.3]",
                    "interfaceName: eth9",
                    "interfaceName: '*'",
                    "expectedIPs: [10.0.0.3, 10.0.0.4]",
                ]);
                let node = self.one(&["here", "here", "here", "there"]);
                let profiles = self.one(&["", ", profiles: [projectcalico-default-allow]"]);
                let spec = format!("node: {node}, {place}{profiles}");
                let rest = format!("labels: {{ app: {app}, kind: host }} }}\nspec: {{ {spec} }}");
                ("HostEndpoint", "", name.to_owned(), rest)
            }
            11 | 12 => {
                let name = self.one(&["e", "f", "g"]).to_owned();
                let (ingress, egress) = (self.rules(), self.rules());
                let both =
                    format!("types: [Ingress, Egress], ingress: [{ingress}], egress: [{egress}]");
                let class = match self.below(4) {
                    0 => both,
                    1 => format!("applyOnForward: true, {both}"),
                    2 => format!("applyOnForward: true, doNotTrack: true, {both}"),
                    _ => {
                        let early = "applyOnForward: true, preDNAT: true, types: [Ingress]";
                        format!("{early}, ingress: [{ingress}]")
                    }
                };
                let rest = format!("labels: {{}} }}\nspec: {{ selector: has(app), {class} }}");
                ("GlobalNetworkPolicy", "", name, rest)
            }
            0..=3 => {
                let pod = self.one(&["p", "q", "r", "s"]);
                let (app, kind) = (self.one(&["a", "b"]), self.one(&["x", "y"]));
                let link = self.one(&["cali1", "cali2", "eth9", "cali3", "cali4"]);
                let node = self.one(&["here", "here", "there"]);
                // With floating addresses, which several may have.
                let nets = self.one(&[
                    "[10.0.0.1/32]",
                    "[10.0.0.1/32], ipNATs: [{ internalIP: 10.0.0.1, externalIP: 192.0.2.1 }]",
                    "[10.0.0.2/32, 'fd00::2/128'], ipNATs: [{ internalIP: 10.0.0.2, externalIP: 192.0.2.1 \
                     }, { internalIP: 'fd00::2', externalIP: '2001:db8::1' }]",
                    "[10.0.0.2/32, 10.0.0.3/32], ipNATs: [{ internalIP: 10.0.0.3, externalIP: 192.0.2.2 \
                     }, { internalIP: 10.0.0.3, externalIP: 192.0.2.1 }]",
                    "[]",
                ]);
                let spoofed = self.one(&["", ", allowSpoofedSourcePrefixes: [10.9.0.0/16]"]);
                let ports = self.one(&[
                    "",
                    ", ports: [{ name: http, protocol: TCP, port: 8080 }]",
                    ", ports: [{ name: dns, protocol: UDP, port: 53 }]",
                ]);
                let limits = self.one(&["", "", ", qosControls: { egressMaxConnections: 3 }"]);
                let profiles = self.one(&["[kns.n]", "[kns.n, other]", "[]"]);
                (
                    "WorkloadEndpoint",
                    namespace,
                    format!("{node}-k8s-{pod}-eth0"),
                    format!(
                        "labels: {{ app: {app}, kind: {kind} }} }}\nspec: {{ node: {node}, orchestrator: \
                         k8s, pod: {pod}, endpoint: eth0, interfaceName: {link}, ipNetworks: {nets}, \
                         profiles: {profiles}{spoofed}{ports}{limits} }}"
                    ),
                )
            }
            4 | 5 => {
                let kind = self.one(&["NetworkPolicy", "NetworkPolicy", "StagedNetworkPolicy"]);
                let (name, order) = (self.one(&["a", "b", "c"]), self.below(3));
                let selector = self.one(&["all()", "app == 'a'", "kind == 'x'"]);
                let (ingress, egress) = (self.rules(), self.rules());
                (
                    kind,
                    namespace,
                    name.to_owned(),
                    format!(
                        "labels: {{}} }}\nspec: {{ order: {order}, selector: \"{selector}\", types: [Ingress, \
                         Egress], ingress: [{ingress}], egress: [{egress}] }}"
                    ),
                )
            }
            6 => {
                let (tier, ingress) = (self.one(&["default", "t"]), self.rules());
                let name = self.one(&["g", "h"]);
                (
                    "GlobalNetworkPolicy",
                    "",
                    format!("{tier}.{name}"),
                    format!(
                        "labels: {{}} }}\nspec: {{ tier: {tier}, selector: has(app), types: [Ingress], \
                         ingress: [{ingress}] }}"
                    ),
                )
            }
            7 => {
                let action = self.one(&["Pass", "Deny"]);
                let order = self.below(2);
                let spec =
                    format!("labels: {{}} }}\nspec: {{ order: {order}, defaultAction: {action} }}");
                ("Tier", "", "t".to_owned(), spec)
            }
            8 => {
                let (app, kind) = (self.one(&["a", "b"]), self.one(&["x", "y"]));
                let nets =
                    self.one(&["[10.0.0.9/32]", "[10.0.0.4/30]", "['fd00::/80', 10.0.0.8/29]"]);
                let name = self.one(&["v", "w"]);
                (
                    "GlobalNetworkSet",
                    "",
                    name.to_owned(),
                    format!("labels: {{ app: {app}, kind: {kind} }} }}\nspec: {{ nets: {nets} }}"),
                )
            }
            _ => {
                let (name, ingress) = (self.one(&["kns.n", "other"]), self.rules());
                let spec = format!(
                    "labels: {{}} }}\nspec: {{ ingress: [{ingress}], egress: [{{ action: Allow }}] }}"
                );
                ("Profile", "", name.to_owned(), spec)
            }
        }
    }

    fn resource(&mut self) -> Resource {
        let (kind, namespace, name, rest) = self.object();
        let namespace = match namespace {
            "" => String::new(),
            namespace => format!("namespace: {namespace}, "),
        };
        let yaml = format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{ {namespace}name: {name}, {rest}\n"
        );
        let manifest =
            decode(yaml.as_bytes(), Mode::Strict).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
        match manifest.documents.into_iter().next().map(|document| document.item) {
            Some(Item::Resource(mut resource)) => {
                resource.apply_defaults();
                resource
            }
            _ => panic!("{yaml}"),
        }
    }
}

/// Steps whatever their order, which differs among sets.
fn in_words(ops: &[Op]) -> Vec<String> {
    let mut words: Vec<String> = ops.iter().map(|op| format!("{op:?}")).collect();
    words.sort();
    words
}

/// What two tables have that differs: one's, then the other's.
fn differing(one: &Table, other: &Table) -> Vec<String> {
    let chains: BTreeSet<_> = one.chains.keys().chain(other.chains.keys()).collect();
    let chains =
        chains.into_iter().map(|name| (name, one.chains.get(name), other.chains.get(name)));
    let chains = chains.filter(|(_, a, b)| a != b).map(|found| format!("{found:?}"));
    let sets: BTreeSet<_> = one.sets.keys().chain(other.sets.keys()).collect();
    let sets = sets.into_iter().map(|name| (name, one.sets.get(name), other.sets.get(name)));
    chains.chain(sets.filter(|(_, a, b)| a != b).map(|found| format!("{found:?}"))).collect()
}

fn play(seed: u64) {
    let mut dice = Dice(seed);
    // Most lists of policies are long enough to be asked by who they concern.
    let few = usize::try_from(seed % 3).expect("small");
    let settings = Settings { floating: true, few, ..Settings::default() };
    let mut graph = Graph::new("here");
    graph.in_sync();
    let mut state = State::default();
    let mut layout = Layout::new(settings.clone(), &state, &layout::Links::new());
    let mut actual = Actual::default();
    actual.carry_out(&plan(layout.table(), &actual));
    let mut known: BTreeMap<Key, Resource> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    let (mut interfaces, mut links) = (Interfaces::new(), layout::Links::new());
    for step in 0..60 {
        for _ in 0..=dice.below(3) {
            let resource = dice.resource();
            let key = resource.key();
            let gone = dice.below(3) == 0 && known.contains_key(&key);
            let resource = (!gone).then_some(resource);
            match &resource {
                Some(resource) => known.insert(key.clone(), resource.clone()),
                None => known.remove(&key),
            };
            graph.update(&key, resource);
        }
        let deltas = graph.flush();
        state.apply(&deltas);
        if dice.below(5) == 0 {
            let address = |text: &str| text.parse().expect("an address");
            let addresses = dice.one(&["10.0.0.3", "10.0.0.4", "10.0.0.5"]);
            interfaces.insert(
                dice.one(&["eth0", "eth1", "cali1"]).to_owned(),
                [address(addresses)].into(),
            );
        }
        let now = layout::links(&state, &settings, &interfaces);
        let mut changes: BTreeMap<_, _> = links.keys().map(|link| (link.clone(), None)).collect();
        changes.extend(now.iter().map(|(link, endpoint)| (link.clone(), Some(endpoint.clone()))));
        changes.retain(|link, endpoint| links.get(link) != endpoint.as_ref());
        let mut touched = layout.apply(&state, &deltas, &changes);
        links = now;
        // Somebody wants to know what a link's packets meet, or does no more; it may be gone by then.
        let link = dice.one(&["cali1", "cali2", "cali3"]);
        if dice.below(4) == 0 {
            let on = !counted.remove(link) && counted.insert(link);
            touched.join(layout.count(&state, link, on));
        }
        let mut at_once = Layout::new(settings.clone(), &state, &links);
        for link in &counted {
            at_once.count(&state, link, true);
        }
        let others = differing(layout.table(), at_once.table());
        assert!(others.is_empty(), "seed {seed}, step {step}: {others:#?}");
        for chain in counted.iter().flat_map(|link| layout.counted(&state, link)) {
            let rules = layout.table().chains[&chain.chain].rules.len();
            assert_eq!(chain.rules.len(), rules, "seed {seed}, step {step}");
        }
        let ops = plan_touched(layout.table(), &actual, &touched);
        let all = plan(layout.table(), &actual);
        assert_eq!(in_words(&ops), in_words(&all), "seed {seed}, step {step}");
        // By the transactions it goes in.
        for some in plan::stages(ops, layout.table()) {
            actual.carry_out(&some);
        }
        assert_eq!(plan(layout.table(), &actual), Vec::new(), "seed {seed}, step {step}");
    }
}

#[test]
fn any_history_of_changes_leads_to_the_table_that_is_laid_out_at_once() {
    let cases = std::env::var("MARGAY_NFT_CASES").ok().and_then(|text| text.parse().ok());
    for seed in 1..=cases.unwrap_or(25) {
        play(seed);
    }
}
