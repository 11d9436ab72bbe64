//! What the graph tells: sets, who is in use, faults, and what does not change.

use ipnet::IpNet;
use margay_model::{Key, Kind, Port, kinds::*};
use policy_calc::{
    Class, Decision, Direction, Interface, Member, Owner, Problem, SetDelta, SetKind, Staged,
};

use crate::world::*;

fn nets(texts: &[&str]) -> std::collections::BTreeSet<Member> {
    texts.iter().map(|text| Member::Net(text.parse::<IpNet>().unwrap())).collect()
}

fn from(selector: &str) -> String {
    format!("ingress: [{{ action: Allow, source: {{ selector: {selector} }} }}]")
}

#[test]
fn only_endpoints_of_this_node_come_out() {
    let state = World::new("").state();
    let names: Vec<_> = state.endpoints.keys().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["wep:a/here-k8s-db-eth0", "wep:a/here-k8s-web-eth0", "wep:b/here-k8s-web-eth0"]
    );
    let db = state.endpoints.values().next().unwrap();
    assert_eq!(db.interface, Interface::Named("caliadb".into()));
    assert_eq!(db.addresses.len(), 2);
}

#[test]
fn nothing_is_told_before_everything_was_heard() {
    let world = World::new(&policy("p", &from("app == 'web'")));
    let mut graph = policy_calc::Graph::new(NODE);
    for (key, resource) in &world.0 {
        graph.update(key, Some(resource.clone()));
        assert!(graph.flush().is_empty());
    }
    graph.in_sync();
    assert!(!graph.flush().is_empty());
    assert!(graph.flush().is_empty(), "and once only");
}

#[test]
fn what_a_new_snapshot_does_not_tell_is_gone_at_its_end() {
    let world = World::new(&policy("p", &from("app == 'web'")));
    let mut graph = world.graph();
    graph.flush();
    graph.restart();
    for (key, resource) in &world.0 {
        if !matches!(key, Key::Resource(key) if key.kind == Kind::NetworkPolicy) {
            graph.update(key, Some(resource.clone()));
        }
    }
    assert!(graph.flush().is_empty());
    graph.in_sync();
    let deltas = graph.flush();
    assert_eq!((deltas.policies_removed.len(), deltas.sets_removed.len()), (1, 1));
    assert!(deltas.endpoints_removed.is_empty());
}

#[test]
fn a_policy_that_selects_nobody_here_is_not_told_of() {
    let nobody = global("p", "selector: app == 'far', types: [Ingress]");
    assert!(World::new(&nobody).state().policies.is_empty());
}

#[test]
fn a_policy_needed_on_every_node_is_told_of_though_it_selects_nobody() {
    let hint = "selector: app == 'far', performanceHints: [AssumeNeededOnEveryNode], ";
    let state = World::new(&global("p", &format!("{hint}{}", from("app == 'web'")))).state();
    assert_eq!((state.policies.len(), state.sets.len()), (1, 1));
}

#[test]
fn equal_selectors_share_a_set_however_they_are_written() {
    let yaml = global("p", &from("\"app == 'web' && has(zone)\""))
        + &global("q", &from("'app==\"web\"   &&has( zone )'"));
    assert_eq!(World::new(&yaml).state().sets.len(), 1);
}

#[test]
fn a_set_holds_endpoints_of_the_whole_cluster_and_network_sets() {
    let set = object("GlobalNetworkSet", "", "g", "nets: [7.1.0.0/16]")
        .replace("name: g", "name: g, labels: { app: web }");
    let state = World::new(&(set + &global("p", &from("\"app in {'web', 'far'}\"")))).state();
    let members = state.sets.values().next().unwrap();
    let expected =
        nets(&["7.1.0.0/16", "10.0.0.1/32", "10.0.0.9/32", "10.0.1.1/32", "fd00::1/128"]);
    assert_eq!(*members, expected);
}

#[test]
fn a_new_member_is_one_addition_and_nothing_else() {
    let mut world = World::new(&policy("p", &from("app == 'new'")));
    let mut graph = world.graph();
    let id = *graph.flush().sets_added.keys().next().unwrap();
    world.add(&pod("there", "a", "new", "10.0.0.77/32", "new"));
    let (key, resource) =
        world.0.iter().find(|(key, _)| key.to_string().contains("there-k8s-new")).unwrap();
    graph.update(key, Some(resource.clone()));
    let mut deltas = graph.flush();
    let delta = deltas.sets_changed.remove(&id).unwrap();
    assert_eq!(delta, SetDelta { added: nets(&["10.0.0.77/32"]), ..SetDelta::default() });
    assert!(deltas.is_empty());
}

#[test]
fn of_ranges_within_ranges_only_the_outermost_are_members() {
    let set = |nets: &str| {
        object("GlobalNetworkSet", "", "g", &format!("nets: [{nets}]"))
            .replace("name: g", "name: g, labels: { kind: n }")
    };
    let mut world = World::new(
        &(set("7.1.0.0/16, 7.1.2.0/24, 7.1.2.3/32") + &global("p", &from("kind == 'n'"))),
    );
    let mut graph = world.graph();
    let (id, members) = graph.flush().sets_added.pop_first().unwrap();
    assert_eq!(members, nets(&["7.1.0.0/16"]));
    world.add(&set("7.1.2.0/24, 7.1.2.3/32"));
    let key = Key::cluster(Kind::GlobalNetworkSet, "g");
    graph.update(&key, world.0.get(&key).cloned());
    let delta = graph.flush().sets_changed.remove(&id).unwrap();
    assert_eq!(delta, SetDelta { added: nets(&["7.1.2.0/24"]), removed: nets(&["7.1.0.0/16"]) });
}

#[test]
fn two_endpoints_of_one_address_count_twice() {
    let yaml = pod("there", "a", "one", "10.0.0.50/32", "twin")
        + &pod("there", "a", "two", "10.0.0.50/32", "twin");
    let world = World::new(&(yaml + &policy("p", &from("app == 'twin'"))));
    let mut graph = world.graph();
    graph.flush();
    let twins: Vec<_> = world
        .0
        .keys()
        .filter(|key| {
            key.to_string().contains("there-k8s-one") || key.to_string().contains("there-k8s-two")
        })
        .collect();
    graph.update(twins[0], None);
    assert!(graph.flush().is_empty(), "the other still has it");
    graph.update(twins[1], None);
    assert_eq!(graph.flush().sets_changed.len(), 1);
}

#[test]
fn ports_by_name_replace_the_set_of_addresses_of_their_side() {
    let rule = "protocol: TCP, destination: { selector: app == 'web', ports: [http] }";
    let yaml = policy("p", &format!("egress: [{{ action: Allow, {rule} }}]"));
    let kinds: Vec<_> = World::new(&yaml).state().sets.into_keys().map(|id| id.kind()).collect();
    assert_eq!(kinds, [SetKind::Ports]);
}

/// A policy, past validation, whose first rule asks for a port of no protocol, and whose second
/// denies.
fn with_a_fault() -> NetworkPolicy {
    let mut first = Rule::new(Action::Allow);
    let ports = vec![Port::Number(80)];
    first.destination = Some(EntityRule { ports, ..EntityRule::default() });
    let spec = NetworkPolicySpec {
        ingress: vec![first, Rule::new(Action::Deny)],
        types: vec![PolicyType::Ingress],
        ..NetworkPolicySpec::default()
    };
    let mut policy = NetworkPolicy::new("p", spec);
    policy.metadata.namespace = Some("a".into());
    policy
}

#[test]
fn a_fault_is_reported_with_its_rule_and_the_others_stay_enforced() {
    let mut world = World::new("");
    world.put(with_a_fault());
    assert_eq!(steps(&world.to_db("10.0.0.1", 80)), ["default/p#1 Deny"]);
    let state = world.state();
    let (owner, faults) = state.faults.iter().next().unwrap();
    assert_eq!(owner.to_string(), "NetworkPolicy a/p");
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].direction, faults[0].rule), (Direction::Ingress, 0));
    assert_eq!(faults[0].problem, Problem::PortsWithoutProtocol);
}

#[test]
fn a_fault_that_is_mended_is_taken_back() {
    let mut world = World::new("");
    world.put(with_a_fault());
    let mut graph = world.graph();
    assert_eq!(graph.flush().faults.len(), 1);
    world.add(&policy("p", "ingress: [{ action: Allow }]"));
    let key = Key::namespaced(Kind::NetworkPolicy, "a", "p");
    graph.update(&key, world.0.get(&key).cloned());
    let deltas = graph.flush();
    let (owner, faults) = deltas.faults.iter().next().unwrap();
    assert!(matches!(owner, Owner::Policy(_)) && faults.is_empty());
}

#[test]
fn staged_policies_stand_in_the_lists_and_can_be_asked_what_they_would_do() {
    let yaml =
        object(
            "StagedNetworkPolicy",
            "namespace: a, ",
            "s",
            "order: 1, ingress: [{ action: Deny }]",
        ) + &object("StagedKubernetesNetworkPolicy", "namespace: a, ", "k", "podSelector: {}")
            + &policy("p", "order: 2, ingress: [{ action: Allow }]");
    let state = World::new(&yaml).state();
    let db = state.endpoints.get(&wep("a", "db")).unwrap();
    let names: Vec<_> = db.normal.ingress[0].policies.iter().map(|id| id.name()).collect();
    assert_eq!(names, ["s", "p", "k"]);
    let packet = tcp("10.0.0.1", "10.0.0.2", 80);
    let ask = |staged| {
        let outcome =
            state.decide(&wep("a", "db"), Class::Normal, Direction::Ingress, &packet, staged);
        outcome.unwrap().decision
    };
    assert_eq!((ask(Staged::Ignored), ask(Staged::Enforced)), (Decision::Allow, Decision::Deny));
}

#[test]
fn a_staged_policy_that_would_delete_is_not_told_of() {
    let yaml = object("StagedNetworkPolicy", "namespace: a, ", "s", "stagedAction: Delete");
    assert!(World::new(&yaml).state().policies.is_empty());
}

#[test]
fn a_missing_tier_and_a_missing_profile_are_told_as_such() {
    let db = pod(NODE, "a", "db", "10.0.0.2/32", "db");
    let state = World::new(&(db + &policy("gone.p", "tier: gone, types: [Ingress]"))).state();
    let db = state.endpoints.get(&wep("a", "db")).unwrap();
    assert!(!db.normal.ingress[0].exists);
    assert!(state.profiles["kns.a"].exists && !state.profiles["ksa.a.db"].exists);
}

#[test]
fn endpoints_with_the_same_policies_share_their_lists() {
    let state = World::new(&global("p", "types: [Ingress]")).state();
    let lists: Vec<_> = state.endpoints.values().map(|e| e.normal.ingress.clone()).collect();
    assert!(std::sync::Arc::ptr_eq(&lists[0], &lists[1]));
}

#[test]
fn a_service_is_looked_up_only_while_a_rule_asks_and_by_each_way_apart() {
    let slice = |name: &str, fields: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ namespace: a, \
             name: {name}, labels: {{ kubernetes.io/service-name: s }} }}\naddressType: IPv4\n\
             {fields}\n"
        )
    };
    let mut world = World::new(&slice("one", "endpoints: [{ addresses: [10.0.0.1] }]"));
    let mut graph = world.graph();
    assert!(graph.flush().sets_added.is_empty(), "nobody asks");
    let tell = |world: &mut World, graph: &mut policy_calc::Graph, yaml: &str| {
        let before = world.0.clone();
        world.add(yaml);
        for (key, resource) in &world.0 {
            if before.get(key) != Some(resource) {
                graph.update(key, Some(resource.clone()));
            }
        }
        graph.flush()
    };
    let rules = "ingress: [{ action: Allow, source: { services: { name: s } } }], egress: [{ \
                 action: Allow, destination: { services: { name: s } } }]";
    let deltas = tell(&mut world, &mut graph, &policy("p", rules));
    let sizes: Vec<_> =
        deltas.sets_added.iter().map(|(id, members)| (id.kind(), members.len())).collect();
    assert_eq!(sizes, [(SetKind::Addresses, 1), (SetKind::Ports, 0)]);
    let (addresses, ports) = (*deltas.sets_added.keys().next().unwrap(), deltas.sets_added.keys());
    let ports = *ports.last().unwrap();

    // The address stays while any slice has it.
    let both =
        "endpoints: [{ addresses: [10.0.0.1] }, { addresses: [10.0.0.2] }]\nports: [{ port: 80 }]";
    let deltas = tell(&mut world, &mut graph, &slice("two", both));
    let changed = |id| deltas.sets_changed.get(&id).map(|delta: &SetDelta| delta.added.len());
    assert_eq!((changed(addresses), changed(ports)), (Some(1), Some(2)));
    let two = Key::namespaced(Kind::EndpointSlice, "a", "two");
    graph.update(&two, None);
    let deltas = graph.flush();
    assert_eq!(deltas.sets_changed[&addresses].removed, nets(&["10.0.0.2/32"]));
    assert_eq!(deltas.sets_changed[&ports].removed.len(), 2);

    // A new snapshot without the other slice; one that cannot be read stays.
    let one = Key::namespaced(Kind::EndpointSlice, "a", "one");
    graph.restart();
    assert!(graph.keep(&one) && !graph.keep(&two));
    for (key, resource) in world.0.iter().filter(|(key, _)| ![&one, &two].contains(key)) {
        graph.update(key, Some(resource.clone()));
    }
    graph.in_sync();
    assert!(graph.flush().is_empty());
    graph.restart();
    for (key, resource) in world.0.iter().filter(|(key, _)| ![&one, &two].contains(key)) {
        graph.update(key, Some(resource.clone()));
    }
    graph.in_sync();
    assert_eq!(graph.flush().sets_changed[&addresses].removed, nets(&["10.0.0.1/32"]));
}

#[test]
fn what_there_is_in_the_cluster_is_counted_by_kind() {
    let world = World::new(&(policy("p", "types: [Ingress]") + &global("g", "types: [Ingress]")));
    let mut graph = world.graph();
    graph.flush();
    let known = |graph: &policy_calc::Graph| {
        let kinds = [Kind::WorkloadEndpoint, Kind::NetworkPolicy, Kind::GlobalNetworkPolicy];
        kinds.map(|kind| graph.known(kind))
    };
    assert_eq!(known(&graph), [4, 1, 1], "endpoints of other nodes too");
    let key = Key::namespaced(Kind::NetworkPolicy, "a", "p");
    for told in [world.0.get(&key).cloned(), None, None] {
        graph.update(&key, told);
        graph.flush();
    }
    assert_eq!(known(&graph), [4, 0, 1]);
}
