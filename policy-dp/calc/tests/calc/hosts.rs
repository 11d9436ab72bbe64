//! Host endpoints and the classes of their policies.

use std::collections::BTreeMap;

use policy_calc::{
    Class::{self, Forward, Normal, PreDnat, Untracked},
    Decision::{self, Allow, Continue, Deny},
    Direction::{self, Egress, Ingress},
    HostLinks,
};

use crate::world::*;

fn world(yaml: &str) -> World {
    let host = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
        metadata: { name: eth0, labels: { role: host } }\n\
        spec: { node: here, interfaceName: eth0, expectedIPs: [192.0.2.1], \
        ports: [{ name: ssh, protocol: TCP, port: 2222 }] }\n";
    World::new(&(host.to_owned() + yaml))
}

fn ask(world: &World, class: Class, direction: Direction) -> Decision {
    let packet = match direction {
        Ingress => tcp("9.9.9.9", "192.0.2.1", 80),
        Egress => tcp("192.0.2.1", "9.9.9.9", 80),
    };
    world.ask(&hep("eth0"), class, direction, &packet).decision
}

#[test]
fn a_host_endpoint_without_policies_and_profiles_denies_its_own_traffic_and_no_other() {
    let world = world("");
    assert_eq!(ask(&world, Normal, Ingress), Deny);
    for class in [Forward, PreDnat, Untracked] {
        assert_eq!(ask(&world, class, Ingress), Continue);
    }
}

#[test]
fn a_policy_of_a_namespace_never_selects_a_host_endpoint() {
    let host = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
        metadata: { name: eth0, labels: { projectcalico.org/namespace: a } }\n\
        spec: { node: here, interfaceName: eth0, profiles: [projectcalico-default-allow] }\n";
    let policy = object("NetworkPolicy", "namespace: a, ", "p", "types: [Ingress]");
    assert_eq!(ask(&World::new(&(host.to_owned() + &policy)), Normal, Ingress), Allow);
}

#[test]
fn a_policy_without_flags_is_about_the_hosts_own_traffic() {
    let world = world(&global("p", "ingress: [{ action: Allow }]"));
    assert_eq!(ask(&world, Normal, Ingress), Allow);
    assert_eq!(ask(&world, Forward, Ingress), Continue);
}

#[test]
fn apply_on_forward_is_about_both() {
    let world = world(&global(
        "p",
        "applyOnForward: true, types: [Ingress], ingress: [{ action: Allow, protocol: UDP }]",
    ));
    assert_eq!(ask(&world, Normal, Ingress), Deny);
    assert_eq!(ask(&world, Forward, Ingress), Deny, "the default of the tier");
    assert_eq!(ask(&world, Forward, Egress), Continue, "nothing governs it");
}

#[test]
fn what_passes_the_last_tier_is_forwarded() {
    let world = world(&global("p", "applyOnForward: true, ingress: [{ action: Pass }]"));
    assert_eq!(ask(&world, Forward, Ingress), Continue);
    assert_eq!(ask(&world, Normal, Ingress), Deny, "there is no profile");
}

#[test]
fn untracked_policies_are_a_class_of_their_own_whose_tiers_pass() {
    let world = world(&global(
        "p",
        "doNotTrack: true, applyOnForward: true, types: [Ingress, Egress], \
         ingress: [{ action: Allow, protocol: UDP }], egress: [{ action: Deny }]",
    ));
    assert_eq!(ask(&world, Untracked, Ingress), Continue, "no default deny");
    assert_eq!(ask(&world, Untracked, Egress), Deny);
    assert_eq!(ask(&world, Forward, Egress), Continue);
    assert_eq!(ask(&world, Normal, Egress), Deny, "no policy and no profile");
}

#[test]
fn policies_before_translation_are_about_ingress_only_and_their_tiers_pass() {
    let world = world(&global(
        "p",
        "preDNAT: true, applyOnForward: true, ingress: [{ action: Deny, protocol: UDP }]",
    ));
    assert_eq!(ask(&world, PreDnat, Ingress), Continue);
    let world = self::world(&global(
        "p",
        "preDNAT: true, applyOnForward: true, ingress: [{ action: Deny }]",
    ));
    assert_eq!(ask(&world, PreDnat, Ingress), Deny);
    assert_eq!(ask(&world, PreDnat, Egress), Continue);
    assert_eq!(ask(&world, Normal, Ingress), Deny);
    assert_eq!(ask(&world, Forward, Ingress), Continue);
}

#[test]
fn a_workload_knows_the_normal_class_only() {
    let early = "doNotTrack: true, applyOnForward: true, ingress: [{ action: Deny }]";
    assert!(world(&global("p", early)).lets_in("10.0.0.1", 80), "ignored");
    let forward = "applyOnForward: true, ingress: [{ action: Deny }]";
    let world = world(&global("p", forward));
    assert!(!world.lets_in("10.0.0.1", 80), "it acts as a normal one");
    let packet = tcp("10.0.0.1", "10.0.0.2", 80);
    let outcome = world.ask(&wep("a", "db"), Forward, Ingress, &packet);
    assert_eq!(outcome.decision, Continue);
}

#[test]
fn rules_know_a_host_by_its_expected_addresses_and_its_ports() {
    let world = world(&global(
        "p",
        "selector: app == 'db', egress: [{ action: Allow, protocol: TCP, \
         destination: { selector: role == 'host', ports: [ssh] } }]",
    ));
    assert!(world.lets_out("192.0.2.1", 2222));
    assert!(!world.lets_out("192.0.2.1", 22));
    assert!(!world.lets_out("192.0.2.2", 2222));
}

/// Which of these interfaces has which endpoint; `cali1` is a workload's, 192.0.2.N the address of ethN.
fn links(yaml: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    let objects = yaml.iter().map(|(name, spec)| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
             metadata: {{ name: {name} }}\nspec: {{ node: here, {spec} }}\n"
        )
    });
    let world = World::new(&objects.collect::<String>());
    let names = [("cali1", "192.0.2.9"), ("eth0", "192.0.2.0"), ("eth1", "192.0.2.1")];
    let address = |text: &str| [text.parse().expect("an address")].into();
    let interfaces = names.map(|(name, text)| (name.to_owned(), address(text))).into();
    let links = HostLinks::of(&world.state(), &interfaces, |name| name.starts_with("cali"));
    let owner = |name: &str| links.of_interface(name).map(|id| id.key().name);
    let mut all: BTreeMap<_, _> =
        ["eth0", "eth1", "eth2"].map(|name| (name.to_owned(), owner(name))).into();
    let named = links.named.get("cali1").map(|id| id.key().name);
    all.insert("cali1".to_owned(), named);
    all
}

fn owners(of: [Option<&str>; 3]) -> BTreeMap<String, Option<String>> {
    let names = ["eth0", "eth1", "eth2"];
    let mut all: BTreeMap<_, _> = names
        .into_iter()
        .zip(of)
        .map(|(name, of)| (name.to_owned(), of.map(str::to_owned)))
        .collect();
    all.insert("cali1".to_owned(), None);
    all
}

#[test]
fn an_interface_is_named_or_has_an_expected_address_or_is_one_of_the_others() {
    let named = ("a", "interfaceName: eth2, expectedIPs: [192.0.2.0]");
    let found = ("b", "expectedIPs: [192.0.2.1]");
    let others = ("c", "interfaceName: '*'");
    assert_eq!(links(&[named]), owners([None, None, Some("a")]), "its addresses say nothing");
    assert_eq!(links(&[found]), owners([None, Some("b"), None]));
    assert_eq!(links(&[named, found, others]), owners([Some("c"), Some("b"), Some("a")]));
}

#[test]
fn of_several_host_endpoints_the_one_whose_name_comes_first_has_the_interface() {
    let found = ("a", "expectedIPs: [192.0.2.0, 192.0.2.1]");
    let named = ("b", "interfaceName: eth0");
    assert_eq!(links(&[found, named]), owners([Some("a"), Some("a"), None]));
    let late = ("c", "expectedIPs: [192.0.2.0, 192.0.2.1]");
    assert_eq!(links(&[late, named]), owners([Some("b"), Some("c"), None]));
    let all = [("y", "interfaceName: '*'"), ("z", "interfaceName: '*'")];
    assert_eq!(links(&all), owners([Some("y"); 3]));
}

#[test]
fn no_host_endpoint_has_the_link_of_a_workload() {
    assert_eq!(links(&[("a", "interfaceName: cali1")]), owners([None; 3]));
    assert_eq!(links(&[("a", "expectedIPs: [192.0.2.9]")]), owners([None; 3]));
}
