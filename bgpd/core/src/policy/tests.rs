use std::{collections::BTreeMap, sync::Arc};

use bgp_packet::{AsPath, AsSegment, Community, Family, LargeCommunity, NextHop, Origin};
use proptest::{collection::vec, option, prelude::*, sample::select};
use regex_automata::meta::Regex;

use super::{
    definition::{
        CommunityItem, MatchDefinition, NextHopSetting, Prepend, Range, RuleDefinition,
        SetDefinition,
    },
    *,
};

fn attributes() -> PathAttributes {
    PathAttributes {
        as_path: AsPath(vec![AsSegment::Sequence(vec![Asn(65000), Asn(65010)])]),
        ..PathAttributes::local(NextHop {
            address: "192.0.2.254".parse().expect("an address"),
            link_local: None,
        })
    }
}

fn view(attributes: &PathAttributes) -> RouteView<'_> {
    RouteView {
        prefix: "10.1.0.0/16".parse().expect("a prefix"),
        attributes,
        local: LocalAttributes::default(),
        source: RouteSource::Bgp,
        peer: Some("tor1"),
        peer_asn: Some(Asn(65000)),
        interface: InterfaceName::new("eth0"),
        local_address: Some("192.0.2.1".parse().expect("an address")),
        local_asn: Asn(65001),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
    }
}

fn rule(matches: MatchDefinition, set: SetDefinition, action: RuleAction) -> RuleDefinition {
    RuleDefinition { name: None, matches, set, action }
}

fn compile(rules: Vec<RuleDefinition>) -> RoutePolicy {
    compile_with(rules, &Sets::default()).expect("the policy compiles")
}

fn compile_with(rules: Vec<RuleDefinition>, sets: &Sets) -> Result<RoutePolicy, CompileError> {
    RoutePolicy::compile(
        Definition { name: "p".into(), default: DefaultAction::Reject, rules },
        sets,
    )
}

fn pattern(text: &str) -> CommunityItem {
    CommunityItem::Pattern(text.parse().expect("a community"))
}

fn accepted(verdict: Verdict) -> PathAttributes {
    match verdict {
        Verdict::Accept { attributes: Some(attributes), .. } => *attributes,
        other => panic!("expected changed attributes, got {other:?}"),
    }
}

fn unchanged(local: LocalAttributes) -> Verdict {
    Verdict::Accept { attributes: None, local, chosen: Chosen::default() }
}

#[test]
fn a_value_that_was_there_already_counts_as_set() {
    let before = PathAttributes { med: Some(7), ..attributes() };
    let address = before.next_hop.address;
    let chosen = |set: SetDefinition| {
        let rule = rule(MatchDefinition::default(), set, RuleAction::Accept);
        match compile(vec![rule]).evaluate(&view(&before)) {
            Verdict::Accept { attributes: None, chosen, .. } => (chosen.med, chosen.next_hop),
            other => panic!("expected nothing changed, got {other:?}"),
        }
    };
    assert_eq!(chosen(SetDefinition { med: Some(7), ..Default::default() }), (true, false));
    let next_hop = Some(NextHopSetting::Address(address));
    assert_eq!(chosen(SetDefinition { next_hop, ..Default::default() }), (false, true));
    assert_eq!(chosen(SetDefinition { weight: Some(0), ..Default::default() }), (false, false));
}

#[test]
fn the_built_in_policies_take_all_or_nothing() {
    let attributes = attributes();
    let local = LocalAttributes { weight: 7, ..Default::default() };
    let route = RouteView { local, ..view(&attributes) };
    assert_eq!(RoutePolicy::accept().evaluate(&route), unchanged(local));
    assert_eq!(RoutePolicy::reject().evaluate(&route), Verdict::Reject);
}

#[test]
fn later_rules_see_what_earlier_ones_set() {
    let tag = SetDefinition { add_communities: vec![pattern("65001:7")], ..Default::default() };
    let set = CommunitySet::new(vec!["65001:7".parse().expect("a pattern")]).expect("compiles");
    let sets = Sets {
        community: BTreeMap::from([("tagged".to_owned(), Arc::new(set))]),
        ..Default::default()
    };
    let tagged =
        MatchDefinition { community_set: Some(vec!["tagged".to_owned()]), ..Default::default() };
    let policy = compile_with(
        vec![
            rule(MatchDefinition::default(), tag, RuleAction::Next),
            rule(tagged, SetDefinition::default(), RuleAction::Accept),
        ],
        &sets,
    )
    .expect("compiles");
    let before = attributes();
    let after = accepted(policy.evaluate(&view(&before)));
    assert_eq!(after.communities, [Community(65001 << 16 | 7)]);
}

#[test]
fn what_is_set_to_the_value_it_has_is_no_change() {
    let set = SetDefinition {
        origin: Some(Origin::Igp),
        add_communities: vec![pattern("1:1")],
        remove_communities: vec![pattern("2:2")],
        ..Default::default()
    };
    let policy = compile(vec![rule(MatchDefinition::default(), set, RuleAction::Accept)]);
    let before = PathAttributes { communities: vec![Community(0x1_0001)], ..attributes() };
    let local = LocalAttributes::default();
    assert_eq!(policy.evaluate(&view(&before)), unchanged(local));
}

#[test]
fn communities_replaces_all_kinds_before_removing_and_adding() {
    let set = SetDefinition {
        communities: Some(vec![pattern("1:1"), pattern("1:2"), pattern("large:1:1:1")]),
        remove_communities: vec![pattern("re:^1:2$")],
        add_communities: vec![pattern("ext:rt:1:1"), pattern("1:3")],
        ..Default::default()
    };
    let policy = compile(vec![rule(MatchDefinition::default(), set, RuleAction::Accept)]);
    let before = PathAttributes {
        communities: vec![Community::NO_EXPORT],
        large_communities: vec![LargeCommunity(9, 9, 9)],
        ext_communities: vec![[0x43, 0, 0, 0, 0, 0, 0, 1]],
        ..attributes()
    };
    let after = accepted(policy.evaluate(&view(&before)));
    assert_eq!(after.communities, [Community(0x1_0001), Community(0x1_0003)]);
    assert_eq!(after.large_communities, [LargeCommunity(1, 1, 1)]);
    assert_eq!(after.ext_communities, [[0, 2, 0, 1, 0, 0, 0, 1]]);
}

#[test]
fn prepending_extends_the_first_sequence_until_it_is_full() {
    let prepend = |asn, times| {
        let prepend = vec![Prepend { asn, times }];
        let set = SetDefinition { prepend, ..Default::default() };
        compile(vec![rule(MatchDefinition::default(), set, RuleAction::Accept)])
    };
    let before = attributes();
    let after = accepted(prepend(None, 2).evaluate(&view(&before)));
    assert_eq!(as_path_text(&after.as_path), "65001 65001 65000 65010");
    let after = accepted(prepend(Some(Asn(7)), 254).evaluate(&view(&before)));
    assert_eq!(after.as_path.0.len(), 2);
    assert_eq!(after.as_path.0.first(), Some(&AsSegment::Sequence(vec![Asn(7); 254])));
    let set = AsPath(vec![AsSegment::Set(vec![Asn(1)])]);
    let before = PathAttributes { as_path: set, ..before };
    let after = accepted(prepend(Some(Asn(7)), 1).evaluate(&view(&before)));
    assert_eq!(as_path_text(&after.as_path), "7 {1}");
}

#[test]
fn a_next_hop_that_the_route_cannot_carry_is_not_set() {
    let to = |next_hop| {
        let set = SetDefinition { next_hop: Some(next_hop), ..Default::default() };
        compile(vec![rule(MatchDefinition::default(), set, RuleAction::Accept)])
    };
    let before = attributes();
    let v6 = RouteView { prefix: "2001:db8::/32".parse().expect("a prefix"), ..view(&before) };
    let address: IpAddr = "192.0.2.9".parse().expect("an address");
    let fixed = to(NextHopSetting::Address(address));
    assert_eq!(accepted(fixed.evaluate(&view(&before))).next_hop.address, address);
    let unchanged = unchanged(LocalAttributes::default());
    assert_eq!(fixed.evaluate(&v6), unchanged);
    let own = to(NextHopSetting::SelfAddress);
    let after = accepted(own.evaluate(&view(&before)));
    assert_eq!(Some(after.next_hop.address), view(&before).local_address);
    let unknown = RouteView { local_address: None, ..view(&before) };
    assert_eq!(own.evaluate(&unknown), unchanged);
}

#[test]
fn an_explanation_lists_the_rules_that_matched_and_the_default() {
    let never = MatchDefinition { peer: Some(vec!["other".into()]), ..Default::default() };
    let mut named = rule(MatchDefinition::default(), SetDefinition::default(), RuleAction::Next);
    named.name = Some("count-me".to_owned());
    let policy = compile(vec![rule(never, SetDefinition::default(), RuleAction::Accept), named]);
    let before = attributes();
    let (verdict, hits) = policy.explain(&view(&before));
    assert_eq!(verdict, Verdict::Reject);
    assert_eq!(
        hits,
        [
            RuleHit { index: Some(1), name: Some("count-me".to_owned()), action: RuleAction::Next },
            RuleHit { index: None, name: None, action: RuleAction::Reject },
        ]
    );
}

#[test]
fn a_missing_set_and_an_added_pattern_do_not_compile() {
    let missing =
        MatchDefinition { prefix_set: Some(vec!["nowhere".to_owned()]), ..Default::default() };
    let error = compile_with(
        vec![rule(missing, SetDefinition::default(), RuleAction::Accept)],
        &Sets::default(),
    );
    assert_eq!(
        error.expect_err("no such set").to_string(),
        r#"prefix-set "nowhere" is not defined"#
    );
    let add = SetDefinition { add_communities: vec![pattern("re:^1:")], ..Default::default() };
    let error = compile_with(
        vec![rule(MatchDefinition::default(), add, RuleAction::Accept)],
        &Sets::default(),
    );
    assert_eq!(error, Err(CompileError::PatternAdded("re:^1:".to_owned())));
}

#[test]
fn a_policy_equals_another_with_the_same_rules_and_sets() {
    let with = |patterns: &[&str]| {
        let patterns = patterns.iter().map(|p| p.parse().expect("a prefix")).collect();
        let sets = Sets {
            prefix: BTreeMap::from([("s".to_owned(), Arc::new(PrefixSet::new(patterns)))]),
            ..Default::default()
        };
        let matches =
            MatchDefinition { prefix_set: Some(vec!["s".to_owned()]), ..Default::default() };
        compile_with(vec![rule(matches, SetDefinition::default(), RuleAction::Accept)], &sets)
            .expect("compiles")
    };
    assert_eq!(with(&["10.0.0.0/8"]), with(&["10.0.0.0/8"]));
    assert_ne!(with(&["10.0.0.0/8"]), with(&["10.0.0.0/8 le 9"]));
}

/// The rules again, straight from the contract: no order of conditions, no compiled sets.
fn naive(
    definition: &Definition,
    sets: &Sets,
    route: &RouteView<'_>,
) -> Option<(PathAttributes, LocalAttributes)> {
    let (mut now, mut local) = (route.attributes.clone(), route.local);
    for rule in &definition.rules {
        if naive_match(&rule.matches, sets, route, &now) {
            naive_set(&rule.set, sets, route, &mut now, &mut local);
            match rule.action {
                RuleAction::Accept => return Some((now, local)),
                RuleAction::Reject => return None,
                RuleAction::Next => {}
            }
        }
    }
    (definition.default == DefaultAction::Accept).then_some((now, local))
}

fn any<T>(list: &Option<Vec<T>>, holds: impl Fn(&T) -> bool) -> bool {
    list.as_ref().is_none_or(|values| values.iter().any(holds))
}

fn naive_match(
    matches: &MatchDefinition,
    sets: &Sets,
    route: &RouteView<'_>,
    now: &PathAttributes,
) -> bool {
    let v4 = matches!(route.prefix, IpNet::V4(_));
    let family = if v4 { Family::IPV4_UNICAST } else { Family::IPV6_UNICAST };
    let len = now.as_path.0.iter().map(|segment| match segment {
        AsSegment::Sequence(asns) => asns.len() as u32,
        AsSegment::Set(_) => 1,
        _ => 0,
    });
    let len: u32 = len.sum();
    let within = |range: &Range, value: u32| (range.ge..=range.le).contains(&value);
    let text = as_path_text(&now.as_path);
    any(&matches.prefix, |p| p.contains(&route.prefix))
        && any(&matches.prefix_set, |name| {
            sets.prefix[name].patterns().iter().any(|p| p.contains(&route.prefix))
        })
        && none(&matches.not_prefix, |p| p.contains(&route.prefix))
        && none(&matches.not_prefix_set, |name| {
            sets.prefix[name].patterns().iter().any(|p| p.contains(&route.prefix))
        })
        && any(&matches.interface, |pattern| naive_interface(&pattern.to_string(), route))
        && naive_as_path_prefix(&matches.as_path_prefix, now)
        && any(&matches.community, |pattern| {
            values(now).iter().any(|value| naive_community(pattern, value))
        })
        && any(&matches.family, |f| *f == family)
        && any(&matches.next_hop, |network| network.contains(&now.next_hop.address))
        && any(&matches.peer, |name| route.peer == Some(name))
        && any(&matches.peer_asn, |asn| route.peer_asn == Some(*asn))
        && any(&matches.origin, |origin| now.origin == *origin)
        && any(&matches.as_path_set, |name| {
            let patterns = sets.as_path[name].patterns();
            patterns.iter().any(|p| Regex::new(p).expect("compiles").is_match(&text))
        })
        && any(&matches.as_path_length, |range| within(range, len))
        && any(&matches.med, |range| now.med.is_some_and(|med| within(range, med)))
        && any(&matches.local_pref, |range| within(range, now.local_pref.unwrap_or(100)))
        && any(&matches.community_set, |name| {
            let patterns = sets.community[name].patterns();
            values(now).iter().any(|value| patterns.iter().any(|p| naive_community(p, value)))
        })
        && any(&matches.source, |source| *source == route.source)
}

fn none<T>(list: &Option<Vec<T>>, holds: impl Fn(&T) -> bool) -> bool {
    list.as_ref().is_none_or(|list| !list.is_empty() && !list.iter().any(holds))
}

fn naive_interface(pattern: &str, route: &RouteView<'_>) -> bool {
    let regex = format!("^{}$", pattern.replace('.', r"\.").replace('*', ".*"));
    let name = route.interface.map(|name| name.to_string()).unwrap_or_default();
    Regex::new(&regex).expect("compiles").is_match(&name)
}

fn naive_as_path_prefix(asns: &Option<Vec<Asn>>, now: &PathAttributes) -> bool {
    let Some(asns) = asns else { return true };
    let mut path = Vec::new();
    for segment in &now.as_path.0 {
        match segment {
            AsSegment::Sequence(asns) => path.extend(asns.iter().map(|asn| Some(*asn))),
            AsSegment::Set(_) => path.push(None),
            _ => {}
        }
    }
    let asns: Vec<_> = asns.iter().copied().map(Some).collect();
    !asns.is_empty() && path.starts_with(&asns)
}

fn values(now: &PathAttributes) -> Vec<CommunityValue> {
    let plain = now.communities.iter().copied().map(CommunityValue::Plain);
    let large = now.large_communities.iter().copied().map(CommunityValue::Large);
    let ext = now.ext_communities.iter().copied().map(CommunityValue::Ext);
    plain.chain(large).chain(ext).collect()
}

fn naive_community(pattern: &CommunityPattern, value: &CommunityValue) -> bool {
    match pattern {
        // The text is equal for both encodings of a route target.
        CommunityPattern::Value(wanted) => wanted.to_string() == value.to_string(),
        CommunityPattern::Regex(regex) => {
            let regex = Regex::new(regex).expect("compiles");
            matches!(value, CommunityValue::Plain(_)) && regex.is_match(&value.to_string())
        }
    }
}

fn naive_items(items: &[CommunityItem], sets: &Sets) -> Vec<CommunityPattern> {
    let expand = |item: &CommunityItem| match item {
        CommunityItem::Pattern(pattern) => vec![pattern.clone()],
        CommunityItem::Set(name) => sets.community[name].patterns().to_vec(),
    };
    items.iter().flat_map(expand).collect()
}

fn put(now: &mut PathAttributes, values: impl IntoIterator<Item = CommunityValue>) {
    (now.communities, now.large_communities, now.ext_communities) = (vec![], vec![], vec![]);
    for value in values {
        match value {
            CommunityValue::Plain(v) if !now.communities.contains(&v) => now.communities.push(v),
            CommunityValue::Large(v) if !now.large_communities.contains(&v) => {
                now.large_communities.push(v);
            }
            CommunityValue::Ext(v) if !now.ext_communities.contains(&v) => {
                now.ext_communities.push(v);
            }
            _ => {}
        }
    }
}

fn naive_set(
    set: &SetDefinition,
    sets: &Sets,
    route: &RouteView<'_>,
    now: &mut PathAttributes,
    local: &mut LocalAttributes,
) {
    now.local_pref = set.local_pref.or(now.local_pref);
    now.med = set.med.or(now.med);
    now.origin = set.origin.unwrap_or(now.origin);
    let address = match set.next_hop {
        Some(NextHopSetting::Address(address)) => Some(address),
        Some(NextHopSetting::SelfAddress) => route.local_address,
        None => None,
    };
    if let Some(address) = address
        && (address.is_ipv6() || matches!(route.prefix, IpNet::V4(_)))
    {
        now.next_hop = NextHop { address, link_local: None };
    }
    for &Prepend { asn, times } in set.prepend.iter().rev() {
        for _ in 0..times {
            let asn = asn.unwrap_or(route.local_asn);
            match now.as_path.0.first_mut() {
                Some(AsSegment::Sequence(asns)) => asns.insert(0, asn),
                _ => now.as_path.0.insert(0, AsSegment::Sequence(vec![asn])),
            }
        }
    }
    let only = |patterns: Vec<CommunityPattern>| {
        patterns.into_iter().map(|pattern| match pattern {
            CommunityPattern::Value(value) => value,
            CommunityPattern::Regex(_) => panic!("not added"),
        })
    };
    if let Some(items) = &set.communities {
        put(now, only(naive_items(items, sets)));
    }
    let gone = naive_items(&set.remove_communities, sets);
    let kept: Vec<_> = values(now)
        .into_iter()
        .filter(|value| !gone.iter().any(|pattern| naive_community(pattern, value)))
        .collect();
    put(now, kept);
    let more = only(naive_items(&set.add_communities, sets));
    let all: Vec<_> = values(now).into_iter().chain(more).collect();
    put(now, all);
    local.weight = set.weight.unwrap_or(local.weight);
    local.metric = set.metric.or(local.metric);
    local.preferred_source = set.preferred_source.or(local.preferred_source);
}

const PREFIXES: [&str; 6] =
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48"];
const VALUES: [&str; 6] =
    ["65001:1", "65001:2", "65002:1", "large:1:2:3", "ext:rt:1:1", "ext:0202000000010001"];
const ADDRESSES: [&str; 4] = ["192.0.2.1", "192.0.2.254", "198.51.100.1", "2001:db8::1"];

fn parsed<T: std::str::FromStr + std::fmt::Debug + Clone>(
    texts: &'static [&'static str],
) -> impl Strategy<Value = T>
where
    T::Err: std::fmt::Debug,
{
    select(texts).prop_map(|text| text.parse().expect("a value in a test"))
}

fn number() -> impl Strategy<Value = u32> {
    select(&[0u32, 1, 2, 100, 200][..])
}

fn ranges() -> impl Strategy<Value = Option<Vec<Range>>> {
    let range = (number(), number()).prop_map(|(a, b)| Range { ge: a.min(b), le: a.max(b) });
    option::weighted(0.2, vec(range, 0..3))
}

fn list<T: Clone + std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<Vec<T>>> {
    option::weighted(0.2, vec(values, 0..3))
}

fn origins() -> impl Strategy<Value = Origin> {
    select(&[Origin::Igp, Origin::Egp, Origin::Incomplete][..])
}

fn matches() -> impl Strategy<Value = MatchDefinition> {
    let patterns: &[&str] = &["10.0.0.0/8 le 24", "10.1.0.0/16", "0.0.0.0/0 ge 8", "::/0 le 48"];
    let name = |name: &'static str| list(Just(name.to_owned()));
    (
        (list(parsed(patterns)), name("nets"), list(select(&Family::SUPPORTED[..]))),
        (list(parsed(&["192.0.2.0/24", "192.0.2.1/32", "::/0"])), list(origins())),
        (list(select(&["tor1", "tor2"][..]).prop_map(str::to_owned)), list(number().prop_map(Asn))),
        (name("paths"), ranges(), ranges(), ranges(), name("tags")),
        list(select(&[RouteSource::Bgp, RouteSource::Originate][..])),
        (list(parsed(patterns)), name("nets"), list(parsed(&["eth0", "*.cali", "*", "e*0"]))),
        (list(number().prop_map(Asn)), list(parsed(&VALUES).prop_map(CommunityPattern::Value))),
    )
        .prop_map(|(a, b, c, d, source, e, f)| MatchDefinition {
            not_prefix: e.0,
            not_prefix_set: e.1,
            interface: e.2,
            as_path_prefix: f.0,
            community: f.1,
            prefix: a.0,
            prefix_set: a.1,
            family: a.2,
            next_hop: b.0,
            origin: b.1,
            peer: c.0,
            peer_asn: c.1,
            as_path_set: d.0,
            as_path_length: d.1,
            med: d.2,
            local_pref: d.3,
            community_set: d.4,
            source,
        })
}

fn items(removing: bool) -> impl Strategy<Value = Vec<CommunityItem>> {
    let value = parsed(&VALUES).prop_map(CommunityItem::Pattern);
    let other = Just(match removing {
        true => CommunityItem::Set("tags".to_owned()),
        false => CommunityItem::Set("plain".to_owned()),
    });
    vec(prop_oneof![value, other], 0..3)
}

fn sets() -> impl Strategy<Value = SetDefinition> {
    let optional = |p| option::weighted(p, number());
    let next_hop = prop_oneof![
        parsed(&ADDRESSES).prop_map(NextHopSetting::Address),
        Just(NextHopSetting::SelfAddress)
    ];
    let prepend = (option::of(number().prop_map(Asn)), 0u8..4)
        .prop_map(|(asn, times)| Prepend { asn, times });
    (
        (optional(0.2), optional(0.2), option::weighted(0.2, origins())),
        (option::weighted(0.2, next_hop), option::weighted(0.2, vec(prepend, 0..3))),
        (option::weighted(0.2, items(false)), items(true), items(false)),
        (optional(0.2), optional(0.2), option::weighted(0.2, parsed(&ADDRESSES))),
    )
        .prop_map(|(a, b, c, d)| SetDefinition {
            local_pref: a.0,
            med: a.1,
            origin: a.2,
            next_hop: b.0,
            prepend: b.1.unwrap_or_default(),
            communities: c.0,
            remove_communities: c.1,
            add_communities: c.2,
            weight: d.0,
            metric: d.1,
            preferred_source: d.2,
        })
}

fn definition() -> impl Strategy<Value = Definition> {
    use RuleAction::{Accept, Next, Reject};
    let rules = vec((matches(), sets(), select(&[Next, Next, Accept, Reject][..])), 0..6);
    let default = select(&[DefaultAction::Accept, DefaultAction::Reject][..]);
    (rules, default).prop_map(|(rules, default)| Definition {
        name: "p".to_owned(),
        default,
        rules: rules.into_iter().map(|(m, s, action)| rule(m, s, action)).collect(),
    })
}

fn segment() -> impl Strategy<Value = AsSegment> {
    let asns = || vec(number().prop_map(Asn), 1..4);
    prop_oneof![
        4 => asns().prop_map(AsSegment::Sequence),
        1 => asns().prop_map(AsSegment::Set),
        1 => asns().prop_map(AsSegment::ConfedSequence),
        1 => asns().prop_map(AsSegment::ConfedSet),
    ]
}

fn route_attributes() -> impl Strategy<Value = PathAttributes> {
    (
        (origins(), vec(segment(), 0..3), parsed(&ADDRESSES)),
        (option::of(number()), option::of(number())),
        vec(parsed(&VALUES), 0..5),
    )
        .prop_map(|((origin, path, address), (med, local_pref), communities)| {
            let next_hop = NextHop { address, link_local: None };
            let mut out = PathAttributes {
                origin,
                as_path: AsPath(path),
                med,
                local_pref,
                ..PathAttributes::local(next_hop)
            };
            put(&mut out, communities);
            out
        })
}

fn named_sets() -> Sets {
    let communities = |patterns: &[&str]| {
        let patterns = patterns.iter().map(|p| p.parse().expect("a pattern")).collect();
        Arc::new(CommunitySet::new(patterns).expect("compiles"))
    };
    let nets = ["10.1.0.0/16 ge 17", "2001:db8::/32"].map(|p| p.parse().expect("a prefix"));
    let paths = ["^1( |$)", "2 2", r"\{1"].map(str::to_owned);
    Sets {
        prefix: BTreeMap::from([("nets".to_owned(), Arc::new(PrefixSet::new(nets.to_vec())))]),
        community: BTreeMap::from([
            ("tags".to_owned(), communities(&["re:^65001:", "large:1:2:3", "ext:rt:1:1"])),
            ("plain".to_owned(), communities(&["65002:1", "ext:rt:2:2"])),
        ]),
        as_path: BTreeMap::from([(
            "paths".to_owned(),
            Arc::new(AsPathSet::new(paths.to_vec()).expect("compiles")),
        )]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_compiled_policy_does_what_its_definition_says(
        definition in definition(),
        routes in vec((route_attributes(), select(&PREFIXES[..]), 0u8..4), 1..8),
    ) {
        let sets = named_sets();
        let policy = RoutePolicy::compile(definition.clone(), &sets).expect("compiles");
        for (attributes, prefix, mood) in &routes {
            let from_peer = mood & 1 == 0;
            let interfaces = ["eth0", "vxlan.cali", "e0"];
            let route = RouteView {
                interface: interfaces.get(usize::from(*mood)).and_then(|n| InterfaceName::new(n)),
                prefix: prefix.parse().expect("a prefix"),
                peer: from_peer.then_some("tor1"),
                peer_asn: from_peer.then_some(Asn(1)),
                source: if from_peer { RouteSource::Bgp } else { RouteSource::Originate },
                local_address: (mood & 2 == 0).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                ..view(attributes)
            };
            let wanted = naive(&definition, &sets, &route);
            let got = match policy.evaluate(&route) {
                Verdict::Accept { attributes: changed, local, .. } => {
                    if let Some(changed) = &changed {
                        prop_assert_ne!(&**changed, attributes);
                    }
                    Some((changed.map_or_else(|| attributes.clone(), |c| *c), local))
                }
                Verdict::Reject => None,
            };
            prop_assert_eq!(got, wanted);
            prop_assert_eq!(policy.explain(&route).0, policy.evaluate(&route));
        }
    }

    #[test]
    fn a_verdict_differs_by_prefix_or_source_only_where_the_policy_says_so(
        definition in definition(),
        attributes in route_attributes(),
        prefixes in (select(&PREFIXES[..]), select(&PREFIXES[..])),
    ) {
        let policy = RoutePolicy::compile(definition, &named_sets()).expect("compiles");
        let with = |prefix: &str| policy.evaluate(&RouteView {
            prefix: prefix.parse().expect("a prefix"),
            ..view(&attributes)
        });
        if !policy.looks_at_prefix() {
            prop_assert_eq!(with(prefixes.0), with(prefixes.1));
        }
        if !policy.looks_at_source() {
            let own = RouteView {
                source: RouteSource::Static,
                peer: None,
                peer_asn: None,
                ..view(&attributes)
            };
            prop_assert_eq!(policy.evaluate(&own), policy.evaluate(&view(&attributes)));
        }
        if !policy.looks_at_interface() {
            let other = RouteView { interface: None, ..view(&attributes) };
            prop_assert_eq!(policy.evaluate(&other), policy.evaluate(&view(&attributes)));
        }
    }
}
