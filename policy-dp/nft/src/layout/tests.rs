use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use margay_model::{
    Kind, ResourceKey,
    kinds::{Action, PolicyType, TierAction},
};
use policy_calc::{
    Class, Deltas, Directions, Endpoint, EndpointId, Families, Interface, Limit, Limits,
    PacketRate, Policy, PolicyId, PortMatch, Profile, Rule, Side, State, TierPolicies,
};

use super::{
    At, Failsafe, Layout, Links, Settings, ToHost, chains_of, closes_without, is_common, table,
};
use crate::{
    expr::{Expr, Reg, Verdict},
    name::Name,
    plan::{Actual, Op, plan},
    table::{Chain, Span, Table, Value},
};

fn policy_id(name: &str) -> PolicyId {
    let key =
        ResourceKey { kind: Kind::NetworkPolicy, namespace: "a".to_owned(), name: name.to_owned() };
    PolicyId::of(&key).expect("a policy")
}

fn rule(action: Action) -> Rule {
    Rule {
        action,
        families: Families { v4: true, v6: true },
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Side::default(),
        destination: Side::default(),
    }
}

fn workload(state: &mut State, name: &str, link: &str, tiers: &[TierPolicies]) {
    let id = EndpointId::Workload { namespace: "a".to_owned(), name: name.to_owned() };
    let endpoint = Endpoint {
        interface: Interface::Named(link.to_owned()),
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        allowed_sources: Vec::new(),
        nats: Vec::new(),
        limits: Limits::default(),
        profiles: vec!["open".to_owned()],
        normal: Directions { ingress: tiers.into(), egress: Arc::new([]) },
        forward: Directions::default(),
        pre_dnat: Directions::default(),
        untracked: Directions::default(),
    };
    state.endpoints.insert(id, Arc::new(endpoint));
}

fn tier(name: &str, default_action: TierAction, policies: &[&str]) -> TierPolicies {
    let policies = policies.iter().map(|name| policy_id(name)).collect();
    TierPolicies { tier: name.to_owned(), exists: true, default_action, policies }
}

fn state(rules: Vec<Rule>) -> State {
    let mut state = State::default();
    let policy = Policy {
        tier: "default".to_owned(),
        types: vec![PolicyType::Ingress],
        ingress: rules,
        egress: Vec::new(),
    };
    state.policies.insert(policy_id("p"), Arc::new(policy));
    let open = Profile {
        exists: true,
        ingress: vec![rule(Action::Allow)],
        egress: vec![rule(Action::Allow)],
    };
    state.profiles.insert("open".to_owned(), Arc::new(open));
    state
}

/// The last steps of the rules of a chain.
fn ends(table: &Table, chain: &Name) -> Vec<Expr> {
    let chain = table.chains.get(chain).unwrap_or_else(|| panic!("no chain {chain}"));
    chain.rules.iter().filter_map(|rule| rule.expressions().last().cloned()).collect()
}

/// Where the rules of a link's chain go in the end.
fn policies_of(table: &Table, link: &str) -> Name {
    let own = Name::of(&format!("to-workload/{link}"));
    match ends(table, &own).pop() {
        Some(Expr::Verdict(Verdict::Goto(chain))) => chain,
        other => panic!("{other:?}"),
    }
}

/// The chain of the first tier of what comes to a link.
fn first_tier_of(table: &Table, link: &str) -> Name {
    match ends(table, &policies_of(table, link)).first() {
        Some(Expr::Verdict(Verdict::Jump(chain))) => chain.clone(),
        other => panic!("{other:?}"),
    }
}

/// The chain of the first policy of the first tier of what comes to a link.
fn first_policy_of(table: &Table, link: &str) -> Name {
    match ends(table, &first_tier_of(table, link)).first() {
        Some(Expr::Verdict(Verdict::Jump(chain))) => chain.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_is_one_chain_whatever_lists_have_it_and_an_edit_costs_that_chain() {
    let mut state = state(vec![rule(Action::Deny)]);
    workload(&mut state, "x", "cali1", &[tier("default", TierAction::Deny, &["p"])]);
    workload(&mut state, "y", "cali2", &[tier("default", TierAction::Deny, &["p", "q"])]);
    let before = table(&state, &Settings::default());
    assert_ne!(first_tier_of(&before, "cali1"), first_tier_of(&before, "cali2"));
    let chain = first_policy_of(&before, "cali1");
    assert_eq!(first_policy_of(&before, "cali2"), chain);
    let edited = self::state(vec![rule(Action::Allow)]);
    state.policies = edited.policies;
    let after = table(&state, &Settings::default());
    let differ = |(name, chain): &(&Name, &Chain)| before.chains.get(*name) != Some(*chain);
    let changed: Vec<_> = after.chains.iter().filter(differ).map(|(name, _)| name).collect();
    assert_eq!(changed, [&chain]);
}

#[test]
fn endpoints_with_equal_policies_share_their_chains() {
    let mut state = state(vec![rule(Action::Deny)]);
    let tiers = [tier("default", TierAction::Deny, &["p"])];
    workload(&mut state, "x", "cali1", &tiers);
    workload(&mut state, "y", "cali2", &tiers);
    workload(&mut state, "z", "cali3", &[]);
    let table = table(&state, &Settings::default());
    assert_eq!(policies_of(&table, "cali1"), policies_of(&table, "cali2"));
    assert_ne!(policies_of(&table, "cali1"), policies_of(&table, "cali3"));
    // A new endpoint with known policies costs its two chains and some elements.
    let mut actual = Actual::default();
    actual.carry_out(&plan(&table, &actual));
    workload(&mut state, "w", "cali4", &tiers);
    let ops = plan(&super::table(&state, &Settings::default()), &actual);
    let rules = ops.iter().filter(|op| matches!(op, Op::AddRule(..))).count();
    assert_eq!((rules, ops.len()), (4, 9), "{ops:?}");
}

#[test]
fn tiers_come_in_order_then_the_profiles() {
    let mut state = state(vec![rule(Action::Pass), rule(Action::Allow), rule(Action::Log)]);
    let tiers = [tier("first", TierAction::Deny, &["p"]), tier("second", TierAction::Pass, &["p"])];
    workload(&mut state, "x", "cali1", &tiers);
    let table = table(&state, &Settings::default());
    let steps = ends(&table, &policies_of(&table, "cali1"));
    let [
        Expr::Verdict(Verdict::Jump(first)),
        Expr::Verdict(Verdict::Jump(second)),
        Expr::Verdict(Verdict::Goto(profiles)),
    ] = &steps[..]
    else {
        panic!("{steps:?}")
    };
    let [accept, back, drop] = [Verdict::Accept, Verdict::Return, Verdict::Drop].map(Expr::Verdict);
    let of_first = ends(&table, first);
    // One rule a family.
    assert_eq!(of_first[..2], [back.clone(), back.clone()]);
    assert_eq!(of_first[2..4], [accept.clone(), accept.clone()]);
    assert!(matches!(of_first[4..6], [Expr::Log(_), Expr::Log(_)]));
    assert!(matches!(of_first[6..], [Expr::Verdict(Verdict::Drop)]));
    assert_eq!(ends(&table, second).last(), Some(&back));
    assert_eq!(ends(&table, profiles), [accept.clone(), accept, drop]);
}

#[test]
fn a_profile_that_is_missing_lets_nothing_through() {
    let mut state = state(Vec::new());
    state.profiles.clear();
    workload(&mut state, "x", "cali1", &[]);
    let table = table(&state, &Settings::default());
    let drop = Expr::Verdict(Verdict::Drop);
    assert_eq!(ends(&table, &policies_of(&table, "cali1")), [drop]);
}

#[test]
fn alternatives_become_rules_and_exclusions_do_not() {
    let mut both = rule(Action::Allow);
    both.families = Families { v4: true, v6: false };
    both.protocol = Some(6);
    let ports = PortMatch { ranges: vec![(80, 90), (85, 100), (443, 443)], sets: Vec::new() };
    both.destination.ports = Some(ports.clone());
    both.source.not_ports = Some(ports);
    both.source.nets =
        vec!["10.0.0.0/8".parse().expect("a net"), "10.1.0.0/16".parse().expect("a net")];
    let mut state = state(vec![both]);
    let tiers = [tier("default", TierAction::Deny, &["p"])];
    workload(&mut state, "x", "cali1", &tiers);
    let table = table(&state, &Settings::default());
    let chain = table.chains.get(&first_policy_of(&table, "cali1")).expect("there");
    assert_eq!(chain.rules.len(), 1, "{chain:?}");
    let sets: Vec<&Name> = chain.rules[0].sets().collect();
    assert_eq!(sets.len(), 3);
    assert_eq!(sets[1], sets[2], "the same ports are one set");
    let ranges = |set: &Name| table.sets[set].elements.len();
    assert_eq!((ranges(sets[0]), ranges(sets[1])), (1, 2));
}

#[test]
fn a_rule_that_asks_for_ranges_of_the_other_family_is_not_there() {
    let mut six = rule(Action::Allow);
    six.source.nets = vec!["fd00::/8".parse().expect("a net")];
    let mut state = state(vec![six]);
    workload(&mut state, "x", "cali1", &[tier("default", TierAction::Deny, &["p"])]);
    let table = table(&state, &Settings::default());
    assert_eq!(ends(&table, &first_policy_of(&table, "cali1")).len(), 1);
}

#[test]
fn a_link_of_another_name_is_caught_by_a_set() {
    let mut state = state(Vec::new());
    workload(&mut state, "x", "tap7", &[]);
    workload(&mut state, "y", "cali1", &[]);
    workload(&mut state, "z", "a-name-that-is-too-long", &[]);
    let table = table(&state, &Settings::default());
    let others = &table.sets[&Name::of("other-links")].elements;
    let key = Span::one(&super::link_name("tap7"));
    assert_eq!(others.iter().collect::<Vec<_>>(), [(&key, &Value::Member)]);
    assert_eq!(table.sets[&Name::of("to-workload")].elements.len(), 2);
}

#[test]
fn what_workloads_may_to_their_host_is_the_end_of_one_chain() {
    let mut last = Vec::new();
    for to_host in [ToHost::Drop, ToHost::Return, ToHost::Accept] {
        let settings = Settings { to_host, ..Settings::default() };
        let table = table(&State::default(), &settings);
        last.push(ends(&table, &"workload-to-host".into()).pop().expect("a rule"));
    }
    let [drop, accept] = [Verdict::Drop, Verdict::Accept].map(Expr::Verdict);
    let states = Expr::VerdictOf { map: "states".into(), from: Reg::FIRST };
    assert_eq!(last, [drop, states, accept]);
}

#[test]
fn what_is_there_without_any_endpoint_is_common_and_nothing_else_is() {
    let names = |table: &Table| -> Vec<Name> {
        table.chains.keys().chain(table.sets.keys()).cloned().collect()
    };
    let empty = names(&table(&State::default(), &Settings::default()));
    assert!(empty.iter().all(is_common), "{empty:?}");
    let mut with = state(vec![rule(Action::Allow)]);
    workload(&mut with, "pod", "cali1", &[tier("default", TierAction::Deny, &["p"])]);
    let with = names(&table(&with, &Settings::default()));
    for name in with.iter().filter(|name| !empty.contains(name)) {
        assert!(!is_common(name), "{name}");
    }
    assert!(chains_of(&At::Workload("cali1".to_owned())).iter().all(|chain| with.contains(chain)));
    for name in ["from-workload", "to-workload", "sources4", "allowed6"] {
        assert!(empty.contains(&name.into()) && closes_without(&name.into()), "{name}");
    }
    assert!(!closes_without(&"other-links".into()));
}

#[test]
fn of_two_endpoints_on_one_link_the_first_has_it_unless_it_is_told() {
    let mut state = State::default();
    workload(&mut state, "b", "cali1", &[tier("default", TierAction::Deny, &["p"])]);
    workload(&mut state, "a", "cali1", &[]);
    let by_name = table(&state, &Settings::default());
    let [a, b] = state.endpoints.values().collect::<Vec<_>>()[..] else { panic!("two") };
    let of = |endpoint: &Arc<Endpoint>| {
        let links = [(At::Workload("cali1".to_owned()), endpoint.clone())].into();
        Layout::new(Settings::default(), &state, &links).table().clone()
    };
    assert_eq!(of(a), by_name);
    assert_ne!(of(b), by_name);
}

#[test]
fn a_workload_whose_link_no_link_can_be_called_has_none() {
    let mut state = State::default();
    workload(&mut state, "c", "a-name-too-long-for-a-link", &[]);
    workload(&mut state, "d", "", &[]);
    assert_eq!(table(&state, &Settings::default()), table(&State::default(), &Settings::default()));
}

#[test]
fn limits_have_a_chain_of_the_link_packets_before_known_connections_and_new_ones_behind() {
    let mut state = state(Vec::new());
    workload(&mut state, "web", "caliweb", &[]);
    let id = EndpointId::Workload { namespace: "a".to_owned(), name: "web".to_owned() };
    let plain = table(&state, &Settings::default());
    let endpoint = state.endpoints.get_mut(&id).expect("just made");
    let packets = Some(PacketRate { per_second: 100, burst: 5 });
    Arc::make_mut(endpoint).limits =
        Limits { ingress: Limit { packets, connections: Some(7) }, egress: Limit::default() };
    let limited = table(&state, &Settings::default());
    let [from, to] = super::own_chains("caliweb");
    let firsts = |table: &Table, chain: &Name| -> Vec<Expr> {
        let rules = &table.chains[chain].rules;
        rules.iter().filter_map(|rule| rule.expressions().first().cloned()).collect()
    };
    let [by_state, goto] = <[Expr; 2]>::try_from(firsts(&plain, &to)).expect("two rules");
    let faster = Expr::Faster { per_second: 100, burst: 5 };
    let more = Expr::MoreConnections { most: 7 };
    let limits = Name::of(&format!("limits/{to}"));
    assert_eq!(firsts(&limited, &to), [Expr::Verdict(Verdict::Jump(limits.clone())), goto]);
    assert_eq!(firsts(&limited, &limits), [faster, by_state, more]);
    assert_eq!(firsts(&limited, &from), firsts(&plain, &from));
    assert_eq!(limited.chains.len(), plain.chains.len() + 1);
}

/// A host endpoint of these policies, in the classes given.
fn host(state: &mut State, name: &str, interface: Interface, classes: &[Class]) {
    let tiers = |class| match classes.contains(&class) {
        true => {
            let tiers: Arc<[TierPolicies]> =
                [tier("default", TierAction::Deny, &[&format!("{class:?}")])].into();
            Directions { ingress: tiers.clone(), egress: tiers }
        }
        false => Directions::default(),
    };
    let endpoint = Endpoint {
        interface,
        addresses: Vec::new(),
        allowed_sources: Vec::new(),
        nats: Vec::new(),
        limits: Limits::default(),
        profiles: Vec::new(),
        normal: tiers(Class::Normal),
        forward: tiers(Class::Forward),
        pre_dnat: tiers(Class::PreDnat),
        untracked: tiers(Class::Untracked),
    };
    state.endpoints.insert(EndpointId::Host(name.to_owned()), Arc::new(endpoint));
    for class in classes {
        let policy = Policy {
            tier: "default".to_owned(),
            types: vec![PolicyType::Ingress, PolicyType::Egress],
            ingress: vec![rule(Action::Allow)],
            egress: vec![rule(Action::Allow)],
        };
        state.policies.insert(policy_id(&format!("{class:?}")), Arc::new(policy));
    }
}

fn named(name: &str) -> Interface {
    Interface::Named(name.to_owned())
}

#[test]
fn nothing_of_the_hosts_links_is_there_without_a_host_endpoint() {
    let mut state = State::default();
    workload(&mut state, "x", "cali1", &[]);
    let without = table(&state, &Settings::default());
    host(&mut state, "eth0", named("eth0"), &Class::ALL);
    let with = table(&state, &Settings::default());
    let more = |(name, chain): &(&Name, &Chain)| without.chains.get(*name) != Some(*chain);
    let bases = with.chains.iter().filter(more).filter(|(_, chain)| chain.hook.is_some());
    assert_eq!(bases.count(), 8);
    assert!(without.chains.keys().all(|name| with.chains.contains_key(name)));
    // What is there for workloads is as it was.
    for (name, chain) in without.chains {
        assert_eq!(with.chains.get(&name), Some(&chain), "{name}");
    }
}

#[test]
fn an_endpoint_is_asked_where_it_has_policies_and_elsewhere_is_not_one_of_the_others() {
    let mut state = State::default();
    host(&mut state, "eth0", named("eth0"), &[Class::Normal, Class::Untracked]);
    host(&mut state, "rest", Interface::All, &[Class::Forward]);
    let table = table(&state, &Settings::default());
    let key = Span::one(&super::link_name("eth0"));
    let at = |map: &str| match table.sets.get(&map.into()).and_then(|map| map.elements.get(&key)) {
        Some(Value::Verdict(verdict)) => verdict.chain().map(Name::to_string).unwrap_or_default(),
        other => panic!("{map}: {other:?}"),
    };
    assert_eq!(at("host-in"), "host-in/eth0");
    assert_eq!(at("host-raw-out"), "host-raw-out/eth0");
    for map in ["host-forward-in", "host-forward-out", "host-pre-dnat"] {
        assert_eq!(at(map), "", "{map}");
    }
    let leads = |base: &str, chain: &str| {
        ends(&table, &base.into()).contains(&Expr::Verdict(Verdict::Goto(chain.into())))
    };
    assert!(leads("host-forward-from", "host-forward-in-others"));
    assert!(!leads("host-raw-prerouting", "host-raw-in-others"));
    // It has no profile, so what is for the host itself is dropped but for what stays open.
    assert!(leads("host-filter-input", "host-in-others"));
}

#[test]
fn what_stays_open_is_asked_before_policies_but_not_of_what_is_forwarded() {
    let mut state = State::default();
    host(&mut state, "eth0", named("eth0"), &Class::ALL);
    let table = table(&state, &Settings::default());
    let steps = |chain: &str| -> Vec<String> {
        let word = |expr: Expr| match expr {
            Expr::Verdict(Verdict::Jump(chain)) => chain.to_string(),
            Expr::Verdict(Verdict::Goto(_)) => "policies".to_owned(),
            Expr::VerdictOf { map, .. } => map.to_string(),
            other => panic!("{other:?}"),
        };
        ends(&table, &chain.into()).into_iter().map(word).collect()
    };
    assert_eq!(steps("host-raw-in/eth0"), ["failsafe-raw-in", "policies"]);
    assert_eq!(steps("host-raw-out/eth0"), ["failsafe-raw-out", "policies"]);
    assert_eq!(steps("host-pre-dnat/eth0"), ["states", "failsafe-in", "policies"]);
    assert_eq!(steps("host-in/eth0"), ["states", "failsafe-in", "policies"]);
    assert_eq!(steps("host-out/eth0"), ["states", "failsafe-out", "policies"]);
    assert_eq!(steps("host-forward-in/eth0"), ["states", "policies"]);
}

#[test]
fn early_classes_say_what_they_let_through_and_no_chain_of_theirs_is_of_others() {
    let mut state = State::default();
    host(&mut state, "eth0", named("eth0"), &Class::ALL);
    let table = table(&state, &Settings::default());
    let of = |prefix: &str| -> Vec<Vec<Expr>> {
        let chains = table.chains.iter().filter(|(name, _)| name.as_str().starts_with(prefix));
        chains.map(|(_, chain)| chain.rules[0].expressions()[2..].to_vec()).collect()
    };
    let accept = || vec![Expr::Verdict(Verdict::Accept)];
    let pass = super::Marks::default().pass();
    assert_eq!(of("ri-"), [accept(), accept()], "of the normal class and of forwarding");
    assert_eq!(of("dri-"), [[pass.clone(), accept()].concat()]);
    assert_eq!(of("uri-"), [[vec![Expr::Notrack], pass, accept()].concat()]);
}

#[test]
fn ports_that_stay_open_have_ranges_that_do_not_overlap() {
    let net = |text: &str| Some(text.parse().expect("a net"));
    let port = |net| Failsafe { protocol: 6, port: 22, net };
    let mut state = State::default();
    host(&mut state, "eth0", named("eth0"), &[]);
    let nets = [net("10.0.0.0/8"), net("10.1.0.0/16"), net("fd00::/8")];
    let settings = Settings { failsafe_inbound: nets.map(port).into(), ..Settings::default() };
    let table = table(&state, &settings);
    let size = |set: &str| table.sets[&Name::of(set)].elements.len();
    assert_eq!((size("failsafe-inbound4"), size("failsafe-inbound6")), (1, 1));
    assert_eq!((size("failsafe-outbound4"), size("failsafe-outbound6")), (9, 9));
}

#[test]
fn a_mask_gives_its_three_lowest_bits() {
    assert_eq!(super::Marks::of(0xffff_0000), Some(super::Marks::default()));
    assert_eq!(super::Marks::of(0xc000_0000), None);
    assert_eq!(super::Marks::of(0x9010_0000).map(super::Marks::guarded), Some(0x8000_0000));
    assert_eq!(super::Marks::of(0), None);
}

#[test]
fn whatever_passes_workloads_links_is_marked_where_there_is_a_guard_and_nothing_else() {
    let settings = Settings::default();
    let unguarded = table(&State::default(), &settings);
    let guarded = table(&State::default(), &Settings { guard: true, ..settings });
    let bit = super::Marks::default().guarded();
    let mark = super::step::changed_mark(!bit, bit);
    for (name, chain) in &guarded.chains {
        let marks = chain.rules.iter().filter(|rule| {
            // Last it is led on.
            rule.expressions().iter().rev().skip(1).take(3).rev().eq(&mark)
        });
        let leads = ["forward-from", "forward-to", "input-from", "input-to-host"];
        let wanted = usize::from(leads.contains(&name.as_str()));
        assert_eq!(marks.count(), wanted, "{name}");
        if wanted == 0 {
            assert_eq!(chain, &unguarded.chains[name]);
        }
    }
}

#[test]
fn of_two_workloads_with_one_floating_address_the_first_has_it_until_it_goes() {
    let settings = Settings { floating: true, ..Settings::default() };
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let [outside, other] = ["192.0.2.1", "192.0.2.2"].map(address);
    let with = |inside: &str, nats: &[IpAddr]| {
        let mut state = State::default();
        workload(&mut state, "x", "cali", &[]);
        let mut endpoint = Endpoint::clone(state.endpoints.values().next().expect("one"));
        endpoint.nats = nats.iter().map(|outside| (*outside, address(inside))).collect();
        Some(Arc::new(endpoint))
    };
    let state = State::default();
    let mut layout = Layout::new(settings.clone(), &state, &Links::new());
    let mut tell = |link: &str, endpoint: Option<Arc<Endpoint>>| {
        let links = BTreeMap::from([(At::Workload(link.to_owned()), endpoint)]);
        let touched = layout.apply(&state, &Deltas::default(), &links);
        let held = |map: &str| -> Vec<(Vec<u8>, Vec<u8>)> {
            let elements = layout.table().sets[&Name::of(map)].elements.iter();
            elements
                .map(|(span, value)| match value {
                    Value::Octets(octets) => (span.from.to_vec(), octets.to_vec()),
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        let maps = touched.elements.keys().filter(|map| map.as_str().starts_with("floating"));
        (held("floating4"), held("itself4"), maps.count())
    };
    let [a, b] = [vec![10, 0, 0, 1], vec![10, 0, 0, 2]];
    let twice = |octets: &[u8]| [octets, octets].concat();
    let [one, two] = [vec![192, 0, 2, 1], vec![192, 0, 2, 2]];
    let second = tell("cali2", with("10.0.0.2", &[outside, other]));
    let both = vec![(one.clone(), b.clone()), (two.clone(), b.clone())];
    assert_eq!(second, (both.clone(), vec![(twice(&b), one.clone())], 1));
    let first = tell("cali1", with("10.0.0.1", &[outside]));
    let shared = vec![(one.clone(), a.clone()), (two.clone(), b.clone())];
    assert_eq!(first, (shared, vec![(twice(&a), one.clone()), (twice(&b), two.clone())], 1));
    let gone = tell("cali1", None);
    assert_eq!(gone, (both, vec![(twice(&b), one)], 1));
    assert_eq!(tell("cali2", with("10.0.0.2", &[])), (Vec::new(), Vec::new(), 1));
    // Without the setting there is nothing of it.
    let without = table(&state, &Settings::default());
    let with = table(&state, &settings);
    let more: Vec<_> =
        with.chains.keys().filter(|name| !without.chains.contains_key(*name)).collect();
    assert_eq!(more.len(), 3);
    assert!(more.into_iter().all(is_common));
}

#[test]
fn each_base_chain_leads_to_workloads_once() {
    let table = table(&State::default(), &Settings::default());
    for name in ["raw-prerouting", "forward-from", "forward-to", "input-from", "input-to-host"] {
        let rules = &table.chains[&Name::of(name)].rules;
        // The kernel walks what is behind each jump whenever rules change.
        let jumps = rules.iter().filter(|rule| {
            matches!(rule.expressions().last(), Some(Expr::Verdict(Verdict::Jump(_))))
        });
        assert_eq!(jumps.count(), 1, "{name}");
    }
}
