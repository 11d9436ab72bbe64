//! What rules match, and how criteria combine; contradictory rules.

use margay_model::{Cidr, Port, Protocol, kinds::*};
use policy_calc::{Class, Decision, Direction};

use crate::world::*;

/// Whether an `Allow` rule of a policy in `a` lets a packet from there in.
fn allows(rule: &str, source: &str, port: u16) -> bool {
    World::new(&policy("p", &format!("ingress: [{{ action: Allow, {rule} }}]")))
        .lets_in(source, port)
}

/// The same of a global policy.
fn allows_globally(rule: &str, source: &str) -> bool {
    let spec = format!("selector: app == 'db', ingress: [{{ action: Allow, {rule} }}]");
    World::new(&global("p", &spec)).lets_in(source, 80)
}

/// The same of a rule that was put together in code, past validation.
fn allows_rule(change: impl FnOnce(&mut Rule), source: &str) -> bool {
    let mut world = World::new("");
    let mut rule = Rule::new(Action::Allow);
    change(&mut rule);
    let spec = NetworkPolicySpec {
        ingress: vec![rule],
        types: vec![PolicyType::Ingress],
        ..NetworkPolicySpec::default()
    };
    let mut policy = NetworkPolicy::new("p", spec);
    policy.metadata.namespace = Some("a".into());
    world.put(policy);
    let to = if source.contains(':') { "fd00::2" } else { "10.0.0.2" };
    world.packet_in(tcp(source, to, 80))
}

fn cidrs(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().expect("a CIDR")).collect()
}

#[test]
fn all_criteria_must_hold_and_one_member_of_each_list() {
    let rule = "protocol: TCP, source: { nets: [1.0.0.0/8, 2.0.0.0/8] }, destination: { ports: [80, '90:99'] }";
    assert!(allows(rule, "1.2.3.4", 80) && allows(rule, "2.2.3.4", 95));
    assert!(!allows(rule, "3.2.3.4", 80) && !allows(rule, "1.2.3.4", 81));
}

#[test]
fn negated_lists_mean_none_of_them() {
    let rule = "protocol: TCP, source: { notNets: [1.0.0.0/8, 2.0.0.0/8] }, destination: { notPorts: [80, '90:99'] }";
    assert!(allows(rule, "3.3.3.3", 81));
    assert!(!allows(rule, "2.3.3.3", 81) && !allows(rule, "3.3.3.3", 99));
}

#[test]
fn both_protocol_and_not_protocol_count() {
    assert!(allows("notProtocol: UDP", "1.1.1.1", 80));
    assert!(!allows("notProtocol: TCP", "1.1.1.1", 80));
    assert!(!allows("protocol: TCP, notProtocol: 6", "1.1.1.1", 80));
}

#[test]
fn source_ports_are_those_of_the_source() {
    assert!(allows("protocol: TCP, source: { ports: [40000] }", "1.1.1.1", 80));
    assert!(!allows("protocol: TCP, source: { ports: [80] }", "1.1.1.1", 80));
}

#[test]
fn icmp_matches_the_type_and_the_code_if_there_is_one() {
    let world =
        |rule: &str| World::new(&policy("p", &format!("ingress: [{{ action: Allow, {rule} }}]")));
    let ping = icmp(1, "1.1.1.1", "10.0.0.2", 8, 3);
    assert!(world("protocol: ICMP, icmp: { type: 8 }").packet_in(ping));
    assert!(world("protocol: ICMP, icmp: { type: 8, code: 3 }").packet_in(ping));
    assert!(!world("protocol: ICMP, icmp: { type: 8, code: 0 }").packet_in(ping));
    assert!(!world("protocol: ICMP, notICMP: { type: 8 }").packet_in(ping));
    assert!(
        world("protocol: ICMP, notICMP: { type: 8, code: 0 }").packet_in(ping),
        "the pair is negated"
    );
}

#[test]
fn the_protocol_of_icmp_decides_the_family() {
    let world = World::new(&policy("p", "ingress: [{ action: Allow, protocol: ICMPv6 }]"));
    assert!(world.packet_in(icmp(58, "fd00::1", "fd00::2", 128, 0)));
    assert!(!world.packet_in(icmp(58, "1.1.1.1", "10.0.0.2", 128, 0)));
}

#[test]
fn a_rule_of_one_version_does_not_exist_in_the_other() {
    assert!(allows("ipVersion: 4", "1.1.1.1", 80));
    assert!(!allows("ipVersion: 6", "1.1.1.1", 80));
}

#[test]
fn a_selector_in_a_namespace_is_about_that_namespace() {
    let rule = "source: { selector: app == 'web' }";
    assert!(allows(rule, "10.0.0.1", 80));
    assert!(!allows(rule, "10.0.1.1", 80), "of another namespace");
    assert!(allows("source: { selector: app == 'far' }", "10.0.0.9", 80), "on another node");
}

#[test]
fn a_selector_of_a_global_policy_is_about_everything() {
    let rule = "source: { selector: app == 'web' }";
    assert!(allows_globally(rule, "10.0.0.1") && allows_globally(rule, "10.0.1.1"));
    assert!(!allows_globally(rule, "10.0.0.9") && !allows_globally(rule, "9.9.9.9"));
}

#[test]
fn a_not_selector_lets_unknown_addresses_pass_where_nothing_else_restricts() {
    let rule = "source: { notSelector: has(app) }";
    assert!(allows_globally(rule, "9.9.9.9") && !allows_globally(rule, "10.0.0.1"));
    let rule = "source: { selector: '!has(app)' }";
    assert!(!allows_globally(rule, "9.9.9.9"), "known endpoints only");
}

#[test]
fn a_not_selector_in_a_namespace_is_about_that_namespace_too() {
    let rule = "source: { notSelector: app == 'web' }";
    assert!(allows(rule, "10.0.0.9", 80));
    assert!(!allows(rule, "10.0.0.1", 80));
    assert!(!allows(rule, "10.0.1.1", 80), "of another namespace");
    assert!(!allows(rule, "9.9.9.9", 80), "of none");
}

#[test]
fn a_side_without_any_selector_is_about_any_address() {
    assert!(allows("source: { nets: [0.0.0.0/0] }", "9.9.9.9", 80));
}

#[test]
fn a_namespace_selector_restricts_even_alone() {
    let rule = "source: { namespaceSelector: team == 'blue' }";
    assert!(allows(rule, "10.0.1.1", 80));
    assert!(!allows(rule, "10.0.0.1", 80) && !allows(rule, "9.9.9.9", 80));
    let rule = "source: { namespaceSelector: team == 'blue', selector: app == 'db' }";
    assert!(!allows(rule, "10.0.1.1", 80));
}

#[test]
fn all_namespaces_are_every_namespace_and_global_is_none() {
    let sets = object("NetworkSet", "namespace: b, ", "n", "nets: [7.0.0.0/8]")
        + &object("GlobalNetworkSet", "", "g", "nets: [8.0.0.0/8]");
    let world = |selector: &str| {
        let rule =
            format!("ingress: [{{ action: Allow, source: {{ namespaceSelector: {selector} }} }}]");
        World::new(&(sets.clone() + &policy("p", &rule)))
    };
    let all = world("all()");
    assert!(all.lets_in("10.0.1.1", 80) && all.lets_in("7.1.1.1", 80));
    assert!(!all.lets_in("8.1.1.1", 80) && !all.lets_in("9.9.9.9", 80));
    let global = world("global()");
    assert!(global.lets_in("8.1.1.1", 80));
    assert!(!global.lets_in("10.0.1.1", 80) && !global.lets_in("9.9.9.9", 80));
}

#[test]
fn network_sets_are_selected_by_their_labels_and_those_of_their_namespace() {
    let set = "---\napiVersion: projectcalico.org/v3\nkind: NetworkSet\n\
        metadata: { namespace: b, name: n, labels: { kind: partner } }\n\
        spec: { nets: [7.0.0.0/8, 7.1.0.0/16] }\n";
    let rule =
        |side: &str| policy("p", &format!("ingress: [{{ action: Allow, source: {{ {side} }} }}]"));
    let world = World::new(&(set.to_owned() + &rule("selector: kind == 'partner'")));
    assert!(!world.lets_in("7.1.1.1", 80), "it is in another namespace");
    let side = "selector: kind == 'partner', namespaceSelector: team == 'blue'";
    let world = World::new(&(set.to_owned() + &rule(side)));
    assert!(world.lets_in("7.1.1.1", 80) && world.lets_in("7.2.1.1", 80));
}

#[test]
fn service_accounts_are_matched_by_name_and_by_label() {
    let named = "source: { serviceAccounts: { names: [web, other] } }";
    assert!(allows(named, "10.0.0.1", 80) && !allows(named, "10.0.0.9", 80));
    assert!(!allows(named, "10.0.1.1", 80), "an account of another namespace");
    assert!(allows_globally(named, "10.0.1.1"));
    let labelled = "source: { serviceAccounts: { names: [web], selector: trust == 'high' } }";
    assert!(allows_globally(labelled, "10.0.0.1"));
    assert!(!allows_globally(labelled, "10.0.1.1"), "both must hold");
}

#[test]
fn a_named_port_is_what_the_endpoint_calls_so() {
    let rule = "protocol: TCP, destination: { ports: [http] }";
    assert!(allows(rule, "9.9.9.9", 80) && !allows(rule, "9.9.9.9", 8080));
    let rule = "protocol: TCP, destination: { ports: [http, 443] }";
    assert!(allows(rule, "9.9.9.9", 80) && allows(rule, "9.9.9.9", 443));
    assert!(!allows("protocol: TCP, destination: { ports: [dns] }", "9.9.9.9", 53), "it is UDP");
    assert!(!allows("protocol: TCP, destination: { ports: [nobody] }", "9.9.9.9", 80));
}

#[test]
fn a_named_port_without_a_protocol_is_of_the_protocol_the_endpoint_says() {
    let world =
        World::new(&policy("p", "ingress: [{ action: Allow, destination: { ports: [dns] } }]"));
    assert!(world.packet_in(transport(17, "9.9.9.9", "10.0.0.2", 1, 53)));
    assert!(!world.packet_in(transport(6, "9.9.9.9", "10.0.0.2", 1, 53)));
}

#[test]
fn a_named_port_is_looked_for_among_the_endpoints_of_the_selector() {
    let yaml = |side: &str| {
        global(
            "p",
            &format!(
                "selector: app == 'db', egress: [{{ action: Allow, protocol: TCP, destination: {{ {side} }} }}]"
            ),
        )
    };
    let world = World::new(&yaml("ports: [http]"));
    assert!(world.lets_out("10.0.0.1", 80) && world.lets_out("10.0.1.1", 8080));
    assert!(!world.lets_out("10.0.1.1", 80) && !world.lets_out("9.9.9.9", 80));
    let world = World::new(&yaml("ports: [http], namespaceSelector: team == 'blue'"));
    assert!(!world.lets_out("10.0.0.1", 80) && world.lets_out("10.0.1.1", 8080));
    let world = World::new(&yaml("notPorts: [http], namespaceSelector: team == 'blue'"));
    assert!(!world.lets_out("10.0.1.1", 8080) && world.lets_out("10.0.1.1", 8081));
}

/// A slice of a service of namespace `a`, in YAML.
fn slice(name: &str, service: &str, fields: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ namespace: a, name: \
         {name}, labels: {{ kubernetes.io/service-name: {service} }} }}\n{fields}\n"
    )
}

const BACKENDS: &str = "addressType: IPv4\nendpoints: [{ addresses: [10.0.0.1], conditions: { \
                        ready: false } }, { addresses: [9.9.9.9] }]\nports: [{ name: a, port: 80 \
                        }, { name: b, port: 53, protocol: UDP }, { name: c }]";

#[test]
fn to_a_service_is_to_an_endpoint_of_its_slices_on_one_of_their_ports() {
    let rules =
        "types: [Egress], egress: [{ action: Allow, destination: { services: { name: s } } }]";
    let mut world = World::new(&policy("p", rules));
    assert!(!world.lets_out("10.0.0.1", 80), "there is no such service yet");
    assert!(world.state().faults.is_empty(), "which is no fault");
    world.add(&slice("s-1", "s", BACKENDS));
    assert!(world.lets_out("10.0.0.1", 80) && world.lets_out("9.9.9.9", 80), "ready or not");
    assert!(!world.lets_out("10.0.0.1", 53) && !world.lets_out("10.0.0.9", 80));
    let out = |world: &World, packet| {
        world.ask(&wep("a", "db"), Class::Normal, Direction::Egress, &packet).decision
    };
    let udp = transport(17, "10.0.0.2", "10.0.0.1", 1, 53);
    assert_eq!(out(&world, udp), Decision::Allow);
    assert_eq!(out(&world, icmp(1, "10.0.0.2", "10.0.0.1", 8, 0)), Decision::Deny);
    world.add(&slice(
        "s-2",
        "s",
        "addressType: IPv6\nendpoints: [{ addresses: [\"fd00::1\"] }]\n\
                                  ports: [{ port: 8080 }]",
    ));
    world.add(&slice("t-1", "t", &BACKENDS.replace("9.9.9.9", "9.9.9.8")));
    assert_eq!(out(&world, tcp("fd00::2", "fd00::1", 8080)), Decision::Allow);
    assert!(!world.lets_out("10.0.0.1", 8080), "each slice has ports of its own");
    assert!(!world.lets_out("9.9.9.8", 80), "another service");
}

#[test]
fn from_a_service_is_from_an_address_of_its_endpoints() {
    let with_slice = |rules: &str| {
        let mut world = World::new(&policy("p", rules));
        world.add(&slice("s-1", "s", BACKENDS));
        world
    };
    let world = with_slice("ingress: [{ action: Allow, source: { services: { name: s } } }]");
    assert!(world.lets_in("10.0.0.1", 81) && world.lets_in("9.9.9.9", 80));
    assert!(!world.lets_in("10.0.0.9", 80));
    assert!(world.packet_in(icmp(1, "10.0.0.1", "10.0.0.2", 8, 0)));
    let deny = "ingress: [{ action: Deny, source: { services: { name: s, namespace: a } } }, \
                { action: Allow }]";
    let world = with_slice(deny);
    assert!(!world.lets_in("10.0.0.1", 80) && world.lets_in("10.0.0.9", 80));
    let elsewhere = "ingress: [{ action: Allow, source: { services: { name: s, namespace: b } } }]";
    assert!(!with_slice(elsewhere).lets_in("10.0.0.1", 80), "of another namespace");
}

#[test]
fn a_rule_about_a_service_beside_what_it_excludes_matches_nothing() {
    let answer = |action, change: &dyn Fn(&mut EntityRule)| {
        let mut world = World::new(&slice("s-1", "s", BACKENDS));
        let services = Some(ServiceMatch { name: Some("s".into()), namespace: None });
        let mut side = EntityRule { services, ..EntityRule::default() };
        change(&mut side);
        let mut rule = Rule::new(action);
        rule.destination = Some(side);
        rule.protocol = Some(Protocol::Tcp);
        let spec = NetworkPolicySpec {
            egress: vec![rule],
            types: vec![PolicyType::Egress],
            ..NetworkPolicySpec::default()
        };
        let mut policy = NetworkPolicy::new("p", spec);
        policy.metadata.namespace = Some("a".into());
        world.put(policy);
        (world.lets_out("10.0.0.1", 80), world.state().faults.len())
    };
    assert_eq!(answer(Action::Allow, &|_| {}), (true, 0));
    assert_eq!(answer(Action::Allow, &|side| side.ports = vec![Port::Number(80)]), (false, 1));
    let selector = |side: &mut EntityRule| side.selector = Some("all()".parse().unwrap());
    assert_eq!(answer(Action::Allow, &selector), (false, 1));
    let nameless = |side: &mut EntityRule| {
        side.services = Some(ServiceMatch { name: None, namespace: None });
    };
    assert_eq!(answer(Action::Allow, &nameless), (false, 1));
}

#[test]
fn http_is_left_to_a_proxy() {
    assert!(allows("http: { methods: [GET] }", "10.0.0.1", 80));
}

#[test]
fn a_list_that_loses_all_its_ranges_in_a_family_takes_the_rule_out_of_it() {
    let both = |rule: &mut Rule| {
        let nets = cidrs(&["10.0.0.1/32", "fd00::1/128"]);
        rule.source = Some(EntityRule { nets, ..EntityRule::default() });
    };
    assert!(allows_rule(both, "10.0.0.1") && allows_rule(both, "fd00::1"));
    let one_sided = |rule: &mut Rule| {
        both(rule);
        let nets = cidrs(&["10.0.0.2/32"]);
        rule.destination = Some(EntityRule { nets, ..EntityRule::default() });
    };
    assert!(allows_rule(one_sided, "10.0.0.1") && !allows_rule(one_sided, "fd00::1"));
    let negative = |rule: &mut Rule| {
        let not_nets = cidrs(&["10.0.0.9/32"]);
        rule.source = Some(EntityRule { not_nets, ..EntityRule::default() });
    };
    assert!(allows_rule(negative, "10.0.0.1") && !allows_rule(negative, "fd00::1"));
}

#[test]
fn a_rule_that_excludes_every_address_of_a_family_does_not_exist_there() {
    let rule = |rule: &mut Rule| {
        let not_nets = cidrs(&["0.0.0.0/0", "fd00::/128"]);
        rule.source = Some(EntityRule { not_nets, ..EntityRule::default() });
    };
    assert!(!allows_rule(rule, "10.0.0.1") && allows_rule(rule, "fd00::1"));
}

#[test]
fn host_bits_of_a_range_do_not_count() {
    let rule = |rule: &mut Rule| {
        let nets = cidrs(&["10.0.0.77/24"]);
        rule.source = Some(EntityRule { nets, ..EntityRule::default() });
    };
    assert!(allows_rule(rule, "10.0.0.1"));
}

#[test]
fn a_rule_that_validation_refuses_matches_nothing_whatever_it_says() {
    let ports = |protocol: Option<Protocol>, port: Port| {
        move |rule: &mut Rule| {
            rule.protocol = protocol;
            let ports = vec![port];
            rule.destination = Some(EntityRule { ports, ..EntityRule::default() });
        }
    };
    assert!(allows_rule(ports(Some(Protocol::Tcp), Port::Number(80)), "10.0.0.1"));
    assert!(!allows_rule(ports(None, Port::Number(80)), "10.0.0.1"));
    assert!(!allows_rule(ports(Some(Protocol::Icmp), Port::Named("http".into())), "10.0.0.1"));
    let icmp = |kind, code| move |rule: &mut Rule| rule.not_icmp = Some(IcmpFields { kind, code });
    assert!(!allows_rule(icmp(Some(8), None), "10.0.0.1"), "without the protocol");
    assert!(!allows_rule(icmp(None, Some(0)), "10.0.0.1"), "a code without type");
    assert!(allows_rule(icmp(None, None), "10.0.0.1"), "it asks for nothing");
}
