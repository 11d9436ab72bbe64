//! Random clusters: everybody agrees with the oracle, whatever the order and the history.
//!
//! `MARGAY_CALC_CASES` sets how many clusters (hundreds by default), `MARGAY_CALC_SEED` the first.

use std::collections::BTreeMap;

use margay_model::{Key, Resource};
use policy_calc::{
    Class, Compiler, Deltas, Direction, EndpointId, Graph, HostLinks, Interfaces, Naive, Staged,
    State, Step, pieces,
};

use crate::{dice::Dice, world::NODE};

type Resources = BTreeMap<Key, Resource>;

fn seeds(default: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("MARGAY_CALC_SEED").unwrap_or(1);
    (first..).take(usize::try_from(number("MARGAY_CALC_CASES").unwrap_or(default)).unwrap())
}

fn cluster(dice: &mut Dice) -> Resources {
    let size = 3 + dice.below(30);
    (0..size).map(|_| dice.resource()).collect()
}

/// Everything at once.
fn compiled(state: &State) -> Compiler {
    let mut compiler = Compiler::new();
    compiler.apply(&Deltas {
        sets_added: state.sets.clone(),
        policies: state.policies.clone(),
        profiles: state.profiles.clone(),
        endpoints: state.endpoints.clone(),
        faults: state.faults.clone(),
        ..Deltas::default()
    });
    compiler
}

/// The whole state, computed at once from resources in their order.
fn fresh<'a>(resources: impl IntoIterator<Item = (&'a Key, &'a Resource)>) -> State {
    let mut graph = Graph::new(NODE);
    for (key, resource) in resources {
        graph.update(key, Some(resource.clone()));
    }
    graph.in_sync();
    let mut state = State::default();
    state.apply(&graph.flush());
    state
}

fn endpoints(resources: &Resources) -> Vec<EndpointId> {
    let keys = resources.keys().filter_map(|key| match key {
        Key::Resource(key) => EndpointId::of(key),
        _ => None,
    });
    keys.collect()
}

/// Asks everybody about random packets at every local endpoint.
fn compare(
    seed: u64,
    dice: &mut Dice,
    resources: &Resources,
    state: &State,
    compiler: &Compiler,
    packets: u64,
) {
    let pieces = pieces(compiler.ranges());
    for _ in 0..packets {
        let address = dice.packet().source;
        let piece = pieces.iter().find(|piece| (piece.first..=piece.last).contains(&address));
        let class = piece.map(|piece| piece.class).unwrap_or_default();
        assert_eq!(class, compiler.class(address), "seed {seed}: {address}");
    }
    let naive = Naive::new(resources.values());
    let some = |dice: &mut Dice| (0..dice.below(3)).map(|_| dice.packet().source).collect();
    let interfaces: Interfaces =
        ["eth0", "eth1", "lo"].map(|name| (name.to_owned(), some(dice))).into();
    let links = HostLinks::of(state, &interfaces, |name| name == "eth1");
    for (name, addresses) in &interfaces {
        let addresses: Vec<_> = addresses.iter().copied().collect();
        match name.as_str() {
            "eth1" => assert!(!links.named.contains_key(name), "seed {seed}: a workload's"),
            _ => assert_eq!(
                naive.host_endpoint(NODE, name, &addresses).as_ref(),
                links.of_interface(name),
                "seed {seed}: {name} with {addresses:?}"
            ),
        }
    }
    for endpoint in endpoints(resources).iter().filter(|id| state.endpoints.contains_key(id)) {
        for (class, direction) in
            Class::ALL.iter().flat_map(|class| Direction::BOTH.map(|direction| (*class, direction)))
        {
            for _ in 0..packets {
                let packet = dice.packet();
                let oracle = naive.decide(endpoint, class, direction, &packet);
                let state = state.decide(endpoint, class, direction, &packet, Staged::Ignored);
                assert_eq!(
                    oracle, state,
                    "seed {seed}: {endpoint} {class:?} {direction:?} {packet:?}"
                );
                let compiled = compiler.decide(endpoint, class, direction, &packet);
                assert_eq!(
                    oracle, compiled,
                    "seed {seed}, compiled: {endpoint} {class:?} {direction:?} {packet:?}"
                );
            }
        }
    }
}

#[test]
fn the_graph_decides_as_the_oracle_does() {
    for seed in seeds(400) {
        let mut dice = Dice(seed);
        let resources = cluster(&mut dice);
        let state = fresh(&resources);
        compare(seed, &mut dice, &resources, &state, &compiled(&state), 12);
    }
}

/// A test of the test: nothing is compared that never happens.
#[test]
fn random_clusters_see_every_kind_of_step_and_decision() {
    let mut seen = BTreeMap::new();
    for seed in 1..600 {
        let mut dice = Dice(seed);
        let resources = cluster(&mut dice);
        let naive = Naive::new(resources.values());
        for endpoint in endpoints(&resources) {
            for class in Class::ALL.iter().cycle().take(16) {
                let packet = dice.packet();
                let ask = |direction| naive.decide(&endpoint, *class, direction, &packet);
                for outcome in Direction::BOTH.into_iter().filter_map(ask) {
                    *seen.entry(format!("{class:?} {:?}", outcome.decision)).or_insert(0) += 1;
                    for step in outcome.steps {
                        let word = match step {
                            Step::Policy { action, .. } => format!("policy {action}"),
                            Step::TierDefault { action, .. } => format!("tier {action}"),
                            Step::Profile { action, .. } => format!("profile {action}"),
                            Step::NoProfile => "no profile".into(),
                        };
                        *seen.entry(word).or_insert(0) += 1;
                    }
                }
            }
        }
    }
    let mut expected: Vec<String> =
        ["Normal Allow", "Normal Deny", "no profile", "tier Deny", "tier Pass"]
            .map(String::from)
            .to_vec();
    for class in ["Forward", "PreDnat", "Untracked"] {
        for decision in ["Allow", "Deny", "Continue"] {
            expected.push(format!("{class} {decision}"));
        }
    }
    for action in ["Allow", "Deny", "Pass", "Log"] {
        for owner in ["policy", "profile"] {
            expected.push(format!("{owner} {action}"));
        }
    }
    for word in expected {
        assert!(seen.contains_key(&word), "never seen: {word}; seen: {seen:?}");
    }
}

#[test]
fn any_history_of_changes_ends_in_what_is_computed_at_once() {
    for seed in seeds(200) {
        let mut dice = Dice(seed ^ 0x5eed);
        let mut resources = Resources::new();
        let mut graph = Graph::new(NODE);
        let mut state = State::default();
        let mut compiler = Compiler::new();
        let mut in_sync = false;
        for step in 0..60 {
            for _ in 0..1 + dice.below(4) {
                let (key, resource) = dice.resource();
                if dice.chance(30) {
                    let at = dice.below(resources.len() as u64 + 1);
                    let key = resources.keys().nth(usize::try_from(at).unwrap()).cloned();
                    let key = key.unwrap_or_else(|| resource.key());
                    resources.remove(&key);
                    graph.update(&key, None);
                } else {
                    graph.update(&key, Some(resource.clone()));
                    resources.insert(key, resource);
                }
            }
            if !in_sync && dice.chance(20) {
                graph.in_sync();
                in_sync = true;
            }
            if in_sync && dice.chance(5) {
                graph.restart();
                for (key, resource) in &resources {
                    graph.update(key, Some(resource.clone()));
                    assert_eq!(graph.flush(), Deltas::default(), "seed {seed}: amid a snapshot");
                }
                graph.in_sync();
            }
            if dice.chance(60) {
                let deltas = graph.flush();
                if !in_sync {
                    assert!(deltas.is_empty(), "seed {seed}: told before everything was heard");
                    continue;
                }
                check_deltas(seed, &state, &deltas);
                state.apply(&deltas);
                compiler.apply(&deltas);
                assert_eq!(state, fresh(resources.iter().rev()), "seed {seed}, step {step}");
                check_closed(seed, &state);
                if step % 10 == 0 {
                    compare(seed, &mut dice, &resources, &state, &compiler, 1);
                }
            }
        }
        graph.in_sync();
        let deltas = graph.flush();
        state.apply(&deltas);
        compiler.apply(&deltas);
        assert_eq!(state, fresh(&resources), "seed {seed}");
        compare(seed, &mut dice, &resources, &state, &compiler, 4);
        for key in resources.keys() {
            graph.update(key, None);
        }
        let deltas = graph.flush();
        state.apply(&deltas);
        compiler.apply(&deltas);
        assert_eq!(state, State::default(), "seed {seed}: nothing is left of nothing");
        assert_eq!(compiler.ranges().count() + compiler.ports().count(), 0, "seed {seed}");
        assert!(compiler.programs().is_empty(), "seed {seed}");
    }
}

/// A change says nothing that was so before.
fn check_deltas(seed: u64, state: &State, deltas: &Deltas) {
    for (id, delta) in &deltas.sets_changed {
        let set = state.sets.get(id).unwrap_or_else(|| panic!("seed {seed}: {id} is not known"));
        assert!(delta.removed.is_subset(set) && delta.added.is_disjoint(set), "seed {seed}: {id}");
    }
    for id in deltas.sets_added.keys() {
        assert!(!state.sets.contains_key(id), "seed {seed}: {id} is known");
    }
    for id in &deltas.sets_removed {
        assert!(state.sets.contains_key(id), "seed {seed}: {id} is not known");
    }
    for (id, new) in &deltas.policies {
        assert_ne!(state.policies.get(id), Some(new), "seed {seed}: {id}");
    }
    for (id, new) in &deltas.profiles {
        assert_ne!(state.profiles.get(id), Some(new), "seed {seed}: {id}");
    }
    for (id, new) in &deltas.endpoints {
        assert_ne!(state.endpoints.get(id), Some(new), "seed {seed}: {id}");
    }
    let known = |removed: bool| assert!(removed, "seed {seed}: what goes was known");
    known(deltas.policies_removed.iter().all(|id| state.policies.contains_key(id)));
    known(deltas.profiles_removed.iter().all(|id| state.profiles.contains_key(id)));
    known(deltas.endpoints_removed.iter().all(|id| state.endpoints.contains_key(id)));
}

/// What is referred to is there.
fn check_closed(seed: u64, state: &State) {
    for endpoint in state.endpoints.values() {
        for profile in &endpoint.profiles {
            assert!(state.profiles.contains_key(profile), "seed {seed}: {profile}");
        }
        for class in Class::ALL {
            for direction in Direction::BOTH {
                for tier in endpoint.class(class).tiers(direction).iter() {
                    for policy in &tier.policies {
                        assert!(state.policies.contains_key(policy), "seed {seed}: {policy}");
                    }
                }
            }
        }
    }
    let policies = state.policies.values().flat_map(|p| p.ingress.iter().chain(&p.egress));
    let profiles = state.profiles.values().flat_map(|p| p.ingress.iter().chain(&p.egress));
    for set in policies.chain(profiles).flat_map(|rule| rule.sets()) {
        assert!(state.sets.contains_key(&set), "seed {seed}: {set}");
    }
}
