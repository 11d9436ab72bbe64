//! Every field and operator of a rule.

use bgp_core::policy::as_path_text;

use super::*;

const EXTERNAL: PeerType = PeerType::Ebgp;

/// A rule (flow-style YAML, without its action), a route, and whether it matches. A rule about
/// prefixes says so for both families by its CIDR; another one is tried as one for IPv4.
const MATCHES: &[(&str, &str, bool)] = &[
    ("", "10.0.0.0/8", true),
    ("", "2001:db8::/32", false),
    // Without lengths.
    ("cidr: 10.0.0.0/16, matchOperator: Equal", "10.0.0.0/16", true),
    ("cidr: 10.0.0.0/16, matchOperator: Equal", "10.0.0.0/17", false),
    ("cidr: 10.0.0.0/16, matchOperator: Equal", "10.0.0.0/15", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotEqual", "10.0.0.0/16", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotEqual", "10.0.0.0/17", true),
    ("cidr: 10.0.0.0/16, matchOperator: NotEqual", "2001:db8::/32", false),
    ("cidr: 10.0.0.0/16, matchOperator: In", "10.0.0.0/16", true),
    ("cidr: 10.0.0.0/16, matchOperator: In", "10.0.7.1/32", true),
    ("cidr: 10.0.0.0/16, matchOperator: In", "10.0.0.0/15", false),
    ("cidr: 10.0.0.0/16, matchOperator: In", "10.1.0.0/24", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn", "10.0.7.1/32", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn", "10.0.0.0/15", true),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn", "2001:db8::/32", false),
    ("cidr: 0.0.0.0/0, matchOperator: In", "10.0.0.0/15", true),
    ("cidr: 0.0.0.0/0, matchOperator: Equal", "0.0.0.0/0", true),
    ("cidr: 0.0.0.0/0, matchOperator: Equal", "0.0.0.0/1", false),
    // With lengths: those of the CIDR's own range, cut to what is given.
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {min: 24, max: 26}", "10.0.3.0/24", true),
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {min: 24, max: 26}", "10.0.3.0/26", true),
    (
        "cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {min: 24, max: 26}",
        "10.0.0.0/16",
        false,
    ),
    (
        "cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {min: 24, max: 26}",
        "10.0.3.0/27",
        false,
    ),
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {min: 8}", "10.0.0.0/16", true),
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {min: 8}", "10.0.0.0/15", false),
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {max: 24}", "10.0.3.0/24", true),
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {max: 24}", "10.0.3.0/25", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn, prefixLength: {min: 24}", "10.0.3.0/24", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn, prefixLength: {min: 24}", "10.0.0.0/16", true),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn, prefixLength: {min: 24}", "10.1.3.0/24", true),
    ("cidr: 10.0.0.0/16, matchOperator: Equal, prefixLength: {min: 24}", "10.0.0.0/24", true),
    ("cidr: 10.0.0.0/16, matchOperator: Equal, prefixLength: {min: 24}", "10.0.0.0/32", true),
    ("cidr: 10.0.0.0/16, matchOperator: Equal, prefixLength: {min: 24}", "10.0.1.0/24", false),
    ("cidr: 10.0.0.0/16, matchOperator: Equal, prefixLength: {min: 24}", "10.0.0.0/16", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotEqual, prefixLength: {min: 24}", "10.0.0.0/24", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotEqual, prefixLength: {min: 24}", "10.0.1.0/24", true),
    // No length is left: nothing matches, whatever the operator.
    ("cidr: 10.0.0.0/16, matchOperator: In, prefixLength: {max: 8}", "10.0.0.0/16", false),
    ("cidr: 10.0.0.0/16, matchOperator: NotIn, prefixLength: {max: 8}", "10.1.0.0/16", false),
    // The other fields.
    ("source: RemotePeers", "10.0.0.0/8", true),
    ("source: RemotePeers", "10.0.0.0/8 from=own", false),
    ("source: RemotePeers", "10.0.0.0/8 from=kernel", false),
    ("interface: eth0", "10.0.0.0/8 dev=eth0", true),
    ("interface: eth0", "10.0.0.0/8 dev=eth1", false),
    ("interface: eth0", "10.0.0.0/8", false),
    ("interface: '*.calico'", "10.0.0.0/8 dev=vxlan.calico", true),
    ("interface: '*'", "10.0.0.0/8", true),
    ("peerType: eBGP", "10.0.0.0/8", true),
    ("peerType: iBGP", "10.0.0.0/8", false),
    ("communities: {values: ['65001:7']}", "10.0.0.0/8 com=65001:7 com=65001:8", true),
    ("communities: {values: ['65001:7']}", "10.0.0.0/8 com=65001:8", false),
    ("communities: {values: ['65001:7']}", "10.0.0.0/8", false),
    ("communities: {values: ['65001:7:9']}", "10.0.0.0/8 com=large:65001:7:9", true),
    ("communities: {values: ['65001:7:9']}", "10.0.0.0/8 com=65001:7", false),
    ("asPathPrefix: [65001, 65002]", "10.0.0.0/8 path=65001,65002,65003", true),
    ("asPathPrefix: [65001, 65002]", "10.0.0.0/8 path=65001,65002", true),
    ("asPathPrefix: [65001, 65002]", "10.0.0.0/8 path=65001", false),
    ("asPathPrefix: [65001, 65002]", "10.0.0.0/8 path=65000,65001,65002", false),
    ("asPathPrefix: [65001]", "10.0.0.0/8", false),
    ("priority: 512", "10.0.0.0/8 lp=2147483135", true),
    ("priority: 512", "10.0.0.0/8 lp=2147482623", false),
    ("priority: 2147483547", "10.0.0.0/8", true),
    // All of them must hold.
    ("source: RemotePeers, interface: eth0", "10.0.0.0/8 dev=eth0", true),
    ("source: RemotePeers, interface: eth0", "10.0.0.0/8 dev=eth0 from=kernel", false),
    ("source: RemotePeers, interface: eth0", "10.0.0.0/8 dev=eth1", false),
];

#[test]
fn every_condition_of_a_rule_holds_where_it_should() {
    for (conditions, route, matches) in MATCHES {
        let separator = if conditions.is_empty() { "" } else { ", " };
        let rule = format!("{{action: Reject{separator}{conditions}}}");
        let world = World::new(&format!("BGPFilter f {{importV4: [{rule}], exportV4: [{rule}]}}"));
        let (import, export) = (world.import(EXTERNAL), world.export(EXTERNAL));
        let told = (verdict(&import, route), verdict(&export, route));
        if *matches {
            assert_eq!(told.0, "reject: filter f importV4 1", "{rule} {route}");
            // Exported routes of our own have the normal priority by then.
            assert_eq!(told.1, "reject: filter f exportV4 1", "{rule} {route}");
        } else {
            assert_eq!(told.0, "accept: default", "{rule} {route}");
            assert_ne!(told.1, "reject: filter f exportV4 1", "{rule} {route}");
        }
    }
}

#[test]
fn ipv6_rules_are_for_ipv6_routes() {
    let world = World::new(
        "BGPFilter f {importV6: [{action: Reject, cidr: '2001:db8::/32', matchOperator: In, \
         prefixLength: {min: 64}}, {action: Accept, cidr: 'fd00::/8', matchOperator: Equal}, \
         {action: Reject}]}",
    );
    let import = world.import(EXTERNAL);
    for (route, expected) in [
        ("2001:db8::/48", "reject: filter f importV6 3"),
        ("2001:db8::/64", "reject: filter f importV6 1"),
        ("2001:db8::1/128", "reject: filter f importV6 1"),
        ("fd00::/8", "accept: filter f importV6 2"),
        ("10.0.0.0/8", "accept: default"),
    ] {
        assert_eq!(verdict(&import, route), expected, "{route}");
    }
}

#[test]
fn rules_and_filters_are_asked_in_their_order() {
    let world = World::new(
        "BGPFilter b {importV4: [{action: Accept, cidr: 10.1.0.0/16, matchOperator: In}, \
           {action: Reject, cidr: 10.0.0.0/8, matchOperator: In}]}
         BGPFilter a {importV4: [{action: Reject, cidr: 10.1.0.0/16, matchOperator: In}, \
           {action: Accept, cidr: 10.0.0.0/8, matchOperator: In}, {action: Reject}]}",
    );
    let import = world.import(EXTERNAL);
    assert_eq!(import.name(), "cluster import: b, a");
    for (route, expected) in [
        ("10.1.2.0/24", "accept: filter b importV4 1"),
        ("10.2.0.0/16", "reject: filter b importV4 2"),
        ("192.0.2.0/24", "reject: filter a importV4 3"),
    ] {
        assert_eq!(verdict(&import, route), expected, "{route}");
    }
}

#[test]
fn operations_are_done_in_order_on_what_is_accepted() {
    let world = World::new(
        "BGPFilter f {exportV4: [{action: Accept, operations: [{addCommunity: {value: '65001:1'}}, \
           {prependASPath: {prefix: [65010, 65011]}}, {setPriority: {value: 600}}, \
           {prependASPath: {prefix: [65012]}}, {addCommunity: {value: '65001:2:3'}}, \
           {setPriority: {value: 512}}]}]}",
    );
    let sent = after(&world.export(EXTERNAL), "10.0.0.0/8 path=65001 com=65001:9");
    assert_eq!(as_path_text(&sent.as_path), "65012 65010 65011 65001");
    assert_eq!(sent.local_pref, Some(2_147_483_135));
    let texts: Vec<_> = sent.communities.iter().map(|it| (it.0 >> 16, it.0 & 0xffff)).collect();
    assert_eq!(texts, [(65001, 9), (65001, 1)]);
    assert_eq!(sent.large_communities.len(), 1);
}

#[test]
fn a_rule_for_one_type_of_peer_is_not_there_for_the_other() {
    let world = World::new("BGPFilter f {importV4: [{action: Reject, peerType: iBGP}]}");
    let context = world.context();
    let mut policies = Policies::new(&context, &world.filters);
    let internal = policies.import(&world.names(), PeerType::Ibgp);
    let external = policies.import(&world.names(), PeerType::Ebgp);
    assert_eq!(internal.name(), "cluster import, internal peers: f");
    assert_eq!(verdict(&internal, "10.0.0.0/8"), "reject: filter f importV4 1");
    assert_eq!(external.name(), "accept");
    assert_eq!(verdict(&external, "10.0.0.0/8"), "accept: default");
}

#[test]
fn peers_with_the_same_filters_share_one_policy() {
    let world = World::new("BGPFilter f {importV4: [{action: Reject, source: RemotePeers}]}");
    let context = world.context();
    let mut policies = Policies::new(&context, &world.filters);
    let names = world.names();
    let first = policies.import(&names, PeerType::Ibgp);
    assert!(Arc::ptr_eq(&first, &policies.import(&names, PeerType::Ibgp)));
    assert!(Arc::ptr_eq(&first, &policies.import(&names, PeerType::Ebgp)), "no rule asks");
    assert!(!Arc::ptr_eq(&first, &policies.import(&[], PeerType::Ibgp)));
    let again = world.import(PeerType::Ibgp);
    assert_eq!(first, again, "made of equals");
}

#[test]
fn without_filters_everything_is_imported() {
    let import = World::default().import(EXTERNAL);
    assert_eq!(*import, RoutePolicy::accept(), "so that nothing needs to be evaluated");
    assert_eq!(verdict(&import, "10.0.0.0/8"), "accept: default");
}

#[test]
fn a_filter_that_is_not_there_rejects_what_comes_to_it_and_is_told() {
    let world = World::new(
        "BGPFilter a {importV4: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In}]}
         IPPool p {cidr: 10.9.0.0/16}",
    );
    let context = world.context();
    let mut policies = Policies::new(&context, &world.filters);
    let names = ["a", "gone"].map(str::to_owned);
    let import = policies.import(&names, EXTERNAL);
    let export = policies.export(&names, EXTERNAL);
    assert_eq!(verdict(&import, "10.1.0.0/16"), "accept: filter a importV4 1");
    assert_eq!(verdict(&import, "192.0.2.0/24"), "reject: filter gone is missing");
    assert_eq!(verdict(&export, "10.9.0.0/16"), "reject: filter gone is missing");
    let remarks: Vec<_> = policies.remarks().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        ["BGPFilter gone does not exist: every route that comes to it is rejected"]
    );
}

#[test]
fn a_rule_that_makes_no_sense_matches_nothing_and_is_told() {
    let mut world = World::new(
        "BGPFilter f {importV4: [{action: Accept, cidr: 10.0.0.0/16, matchOperator: NotIn, \
           prefixLength: {max: 8}}, {action: Reject}]}
         BGPFilter g {exportV4: [{action: Accept, operations: [{prependASPath: {prefix: [0]}}]}]}",
    );
    // What no decoder lets through.
    if let Some(filter) = world.filters.first_mut() {
        let rule = &mut filter.spec.import_v4;
        rule.extend_from_within(1..);
        let last = rule.last_mut().expect("two rules");
        last.match_operator = Some(margay_model::kinds::MatchOperator::NotIn);
    }
    let context = world.context();
    let mut policies = Policies::new(&context, &world.filters);
    let import = policies.import(&world.names(), EXTERNAL);
    let export = policies.export(&world.names(), EXTERNAL);
    assert_eq!(verdict(&import, "10.1.0.0/16"), "reject: filter f importV4 2");
    assert_eq!(verdict(&export, "10.1.0.0/16"), "reject: default");
    let remarks: Vec<_> = policies.remarks().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        [
            "BGPFilter f: importV4[0]: no prefix inside 10.0.0.0/16 has one of these lengths: the \
             rule matches nothing",
            "BGPFilter f: importV4[2]: cidr and matchOperator go together: the rule matches nothing",
            "BGPFilter g: exportV4[0]: AS 0 cannot stand in a path: the rule matches nothing",
        ]
    );
}
