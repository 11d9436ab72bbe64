//! What the compiler shares, and what a change touches.

use policy_calc::{Changes, ClassId, Compiler, Graph};

use crate::world::*;

fn from(selector: &str) -> String {
    format!("ingress: [{{ action: Allow, source: {{ selector: {selector} }} }}]")
}

/// A graph and what was compiled of it.
fn compiled(world: &World) -> (Graph, Compiler) {
    let mut graph = world.graph();
    let mut compiler = Compiler::new();
    compiler.apply(&graph.flush());
    (graph, compiler)
}

/// Tells of what is in `yaml`.
fn change(graph: &mut Graph, compiler: &mut Compiler, yaml: &str) -> Changes {
    let mut world = World::default();
    world.add(yaml);
    for (key, resource) in world.0 {
        graph.update(&key, Some(resource));
    }
    compiler.apply(&graph.flush())
}

fn class(compiler: &Compiler, address: &str) -> ClassId {
    compiler.class(address.parse().unwrap())
}

#[test]
fn endpoints_with_the_same_policies_and_profiles_share_one_program() {
    let both = pod(NODE, "a", "x", "10.0.0.20/32", "x") + &pod(NODE, "a", "y", "10.0.0.21/32", "x");
    let (_, compiler) = compiled(&World::new(&(both + &global("p", &from("app == 'web'")))));
    let key = |pod: &str, direction| {
        let endpoint = &compiler.state().endpoints[&wep("a", pod)];
        Compiler::key(endpoint, policy_calc::Class::Normal, direction)
    };
    for direction in policy_calc::Direction::BOTH {
        assert_eq!(key("x", direction), key("y", direction));
        assert!(compiler.programs().contains_key(&key("x", direction)));
        assert_ne!(key("x", direction), key("web", direction), "another profile");
        assert_eq!(key("x", direction).digest(), key("y", direction).digest());
        assert_ne!(key("x", direction).digest(), key("web", direction).digest());
    }
}

#[test]
fn addresses_that_the_same_sets_hold_are_one_class_and_unknown_ones_are_class_0() {
    let (_, compiler) = compiled(&World::new(&global("p", &from("app == 'web'"))));
    assert_eq!(class(&compiler, "10.0.0.1"), class(&compiler, "10.0.1.1"));
    assert_ne!(class(&compiler, "10.0.0.1"), ClassId(0));
    assert_eq!(class(&compiler, "9.9.9.9"), ClassId(0));
}

#[test]
fn one_more_member_is_one_more_range_and_touches_no_program() {
    let (mut graph, mut compiler) = compiled(&World::new(&global("p", &from("app == 'web'"))));
    let new = pod("there", "a", "new", "10.0.0.77/32", "web");
    let changes = change(&mut graph, &mut compiler, &new);
    let known = class(&compiler, "10.0.0.1");
    let addresses = [("10.0.0.77/32".parse().unwrap(), Some(known))].into();
    assert_eq!(changes, Changes { addresses, ..Changes::default() });
}

#[test]
fn a_combination_of_sets_that_was_not_there_is_a_new_class_and_compiles_nothing() {
    let yaml = global("p", &from("app == 'web'")) + &global("q", &from("has(zone)"));
    let (mut graph, mut compiler) = compiled(&World::new(&yaml));
    let new = pod("there", "a", "new", "10.0.0.77/32", "web")
        .replace("app: web }", "app: web, zone: x }");
    let changes = change(&mut graph, &mut compiler, &new);
    assert_eq!((changes.addresses.len(), changes.address_classes.len()), (1, 1));
    assert!(changes.programs.is_empty());
}

#[test]
fn an_edited_policy_compiles_the_programs_it_is_part_of() {
    let yaml = policy("p", &from("app == 'web'")) + &global("q", "types: [Ingress]");
    let (mut graph, mut compiler) = compiled(&World::new(&yaml));
    let changes = change(&mut graph, &mut compiler, &policy("p", &from("app == 'far'")));
    // Its rules are for ingress, but who shares a program is told by the policies in it.
    assert_eq!(changes.programs.len(), 1);
    assert!(changes.programs_removed.is_empty());
    assert_eq!(class(&compiler, "10.0.0.1"), ClassId(0));
    assert_ne!(class(&compiler, "10.0.0.9"), ClassId(0));
}

#[test]
fn a_program_that_no_endpoint_uses_any_more_goes() {
    let yaml = policy("p", "types: [Ingress]");
    let (mut graph, mut compiler) = compiled(&World::new(&yaml));
    let world = World::new(&yaml);
    let (key, _) =
        world.0.iter().find(|(key, _)| key.to_string().starts_with("NetworkPolicy")).unwrap();
    graph.update(key, None);
    let changes = compiler.apply(&graph.flush());
    let tiers = |keys: &std::collections::BTreeSet<policy_calc::ProgramKey>| {
        keys.iter().map(|key| key.tiers.len()).collect::<Vec<_>>()
    };
    assert_eq!(tiers(&changes.programs_removed), [1]);
    assert_eq!(tiers(&changes.programs), [0], "the one without policies comes in its place");
    assert!(compiler.programs().keys().all(|key| key.tiers.is_empty()));
}
