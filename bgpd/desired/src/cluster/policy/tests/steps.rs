//! Each step of export, and their order.

use super::*;

const INTERNAL: PeerType = PeerType::Ibgp;
const EXTERNAL: PeerType = PeerType::Ebgp;

fn check(policy: &RoutePolicy, expected: &[(&str, &str)]) {
    for (route, expected) in expected {
        assert_eq!(verdict(policy, route), *expected, "{route}");
    }
}

/// A cluster with something of everything.
fn cluster() -> World {
    World {
        blocks: vec!["10.0.0.0/26", "10.0.9.9/32", "fd00::/122"],
        ..World::new(
            "IPPool v4 {cidr: 10.0.0.0/16}
             IPPool v6 {cidr: 'fd00::/48'}
             IPPool hidden {cidr: 10.1.0.0/16, disableBGPExport: true}",
        )
    }
}

#[test]
fn a_node_exports_its_blocks_what_it_borrowed_and_the_blocks_of_others() {
    for peer in [INTERNAL, EXTERNAL] {
        check(
            &cluster().export(peer),
            &[
                ("10.0.0.0/26 from=own", "accept: own block 10.0.0.0/26"),
                ("10.0.0.7/32 from=kernel", "reject: inside own block 10.0.0.0/26"),
                ("10.0.0.0/27", "reject: inside own block 10.0.0.0/26"),
                ("10.0.9.9/32 from=own", "accept: own block 10.0.9.9/32"),
                ("10.0.2.7/32 from=kernel", "accept: pool v4"),
                ("10.0.2.0/26", "accept: pool v4"),
                ("10.0.0.0/16", "accept: pool v4"),
                ("10.0.0.0/15", "reject: outside pools, own blocks and services"),
                ("0.0.0.0/0", "reject: outside pools, own blocks and services"),
                ("192.0.2.0/24 from=connected", "reject: outside pools, own blocks and services"),
                ("fd00::/122 from=own", "accept: own block fd00::/122"),
                ("fd00::1/128 from=kernel", "reject: inside own block fd00::/122"),
                ("fd00::40/122", "accept: pool v6"),
                ("::/0", "reject: outside pools, own blocks and services"),
                ("10.1.0.0/26", "reject: pool hidden: disableBGPExport"),
            ],
        );
    }
}

#[test]
fn a_node_without_anything_exports_nothing() {
    check(&World::default().export(EXTERNAL), &[("10.0.0.0/26", "reject: default")]);
}

#[test]
fn routes_of_our_own_are_told_with_the_normal_priority() {
    let export = cluster().export(INTERNAL);
    assert_eq!(after(&export, "10.0.0.0/26 from=own").local_pref, Some(2_147_482_623));
    assert_eq!(after(&export, "10.0.2.7/32 from=kernel").local_pref, Some(2_147_482_623));
    assert_eq!(after(&export, "10.0.2.0/26").local_pref, None, "of others: as it came");
    assert_eq!(after(&export, "10.0.2.0/26 lp=7").local_pref, Some(7));
    let mut world = World::new(
        "IPPool v4 {cidr: 10.0.0.0/16}
         IPPool v6 {cidr: 'fd00::/48'}
         BGPConfiguration default {ipv4NormalRoutePriority: 512, ipv6NormalRoutePriority: 100}",
    );
    world.blocks = vec!["10.0.0.0/26", "fd00::/122"];
    let export = world.export(INTERNAL);
    assert_eq!(after(&export, "10.0.0.0/26 from=own").local_pref, Some(2_147_483_135));
    assert_eq!(after(&export, "fd00::/122 from=own").local_pref, Some(2_147_483_547));
}

#[test]
fn filters_see_the_priority_of_own_routes() {
    let mut world = World::new(
        "BGPFilter f {exportV4: [{action: Reject, priority: 1024}]}
         IPPool v4 {cidr: 10.0.0.0/16}",
    );
    world.blocks = vec!["10.0.0.0/26"];
    check(
        &world.export(INTERNAL),
        &[
            ("10.0.0.0/26 from=own", "reject: filter f exportV4 1"),
            ("10.0.2.0/26", "accept: pool v4"),
            ("10.0.2.0/26 lp=2147482623", "reject: filter f exportV4 1"),
        ],
    );
}

/// The fourth of the worked expectations.
#[test]
fn a_filter_that_accepts_overrides_everything_built_in() {
    let mut world = cluster();
    world.filters = World::new(
        "BGPFilter f {exportV4: [{action: Accept, cidr: 10.1.0.0/24, matchOperator: In}, \
           {action: Accept, cidr: 10.0.0.7/32, matchOperator: Equal}, \
           {action: Accept, cidr: 192.0.2.0/24, matchOperator: Equal}, \
           {action: Reject, cidr: 10.0.0.0/26, matchOperator: Equal}]}",
    )
    .filters;
    check(
        &world.export(INTERNAL),
        &[
            ("10.1.0.0/26", "accept: filter f exportV4 1"),
            ("10.1.1.0/26", "reject: pool hidden: disableBGPExport"),
            ("10.0.0.7/32 from=kernel dev=vxlan.calico", "accept: filter f exportV4 2"),
            ("192.0.2.0/24 from=connected", "accept: filter f exportV4 3"),
            ("10.0.0.0/26 from=own", "reject: filter f exportV4 4"),
        ],
    );
}

/// The third and the fifth.
#[test]
fn blocks_behind_a_tunnel_device_are_told_to_external_peers_only() {
    let route = "10.0.2.0/26 from=kernel dev=vxlan.calico";
    check(
        &cluster().export(INTERNAL),
        &[
            (route, "reject: tunnel device, internal peer"),
            ("10.0.2.0/26 dev=wireguard.cali", "reject: tunnel device, internal peer"),
            ("10.0.2.0/26 dev=tunl0", "accept: pool v4"),
            ("10.0.2.0/26 dev=bpfin.cali", "reject: tunnel device, internal peer"),
            ("10.0.2.0/26 dev=eth0", "accept: pool v4"),
        ],
    );
    check(
        &cluster().export(EXTERNAL),
        &[
            (route, "accept: pool v4"),
            ("10.0.2.0/26 dev=tunl0", "accept: pool v4"),
            ("10.0.2.0/26 dev=bpfin.cali", "reject: bpf device"),
            ("10.0.2.0/26 dev=eth0", "accept: pool v4"),
        ],
    );
}

#[test]
fn tunl0_counts_as_a_tunnel_where_others_program_ip_in_ip() {
    for (programs, accepted) in [
        ("Enabled", true),
        ("EnabledIPIPOnly", true),
        ("EnabledNoEncapOnly", false),
        ("Disabled", false),
    ] {
        let world = World::new(&format!(
            "IPPool v4 {{cidr: 10.0.0.0/16}}
             BGPConfiguration default {{programClusterRoutes: {programs}}}"
        ));
        let expected =
            if accepted { "accept: pool v4" } else { "reject: tunnel device, internal peer" };
        check(&world.export(INTERNAL), &[("10.0.2.0/26 dev=tunl0", expected)]);
        check(&world.export(EXTERNAL), &[("10.0.2.0/26 dev=tunl0", "accept: pool v4")]);
    }
}

#[test]
fn a_pool_that_is_not_exported_comes_before_tunnels_and_blocks() {
    let mut world = cluster();
    world.blocks.push("10.1.0.0/26");
    check(
        &world.export(INTERNAL),
        &[
            ("10.1.0.0/26 from=own", "reject: pool hidden: disableBGPExport"),
            ("10.1.2.0/26 dev=vxlan.calico", "reject: pool hidden: disableBGPExport"),
        ],
    );
}

#[test]
fn an_elevated_route_inside_an_own_block_is_told() {
    check(
        &cluster().export(INTERNAL),
        &[
            ("10.0.0.7/32 lp=2147482624", "accept: own block 10.0.0.0/26: elevated"),
            ("10.0.0.7/32 lp=2147482623", "reject: inside own block 10.0.0.0/26"),
            ("10.0.0.7/32 lp=2147482624 dev=vxlan.calico", "reject: tunnel device, internal peer"),
            ("10.0.0.7/32 lp=4294967295 from=kernel", "reject: inside own block 10.0.0.0/26"),
        ],
    );
}

#[test]
fn prefix_advertisements_add_communities_by_value_and_by_name() {
    let mut world = World::new(
        "IPPool v4 {cidr: 10.0.0.0/16}
         BGPConfiguration default {communities: [{name: mine, value: '65001:1'}, \
           {name: big, value: '65001:2:3'}], prefixAdvertisements: [\
           {cidr: 10.0.0.0/16, communities: [mine, big]}, {cidr: 10.0.0.0/24, communities: \
           ['65001:7', mine]}, {cidr: 192.0.2.0/24, communities: [mine]}]}",
    );
    world.blocks = vec!["10.0.0.0/26"];
    let communities = |world: &World, route: &str| {
        let sent = after(&world.export(EXTERNAL), route);
        let plain = sent.communities.iter().map(|it| format!("{}:{}", it.0 >> 16, it.0 & 0xffff));
        let large = sent.large_communities.iter().map(|it| format!("{}:{}:{}", it.0, it.1, it.2));
        plain.chain(large).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(communities(&world, "10.0.0.0/26 from=own"), "65001:1 65001:7 65001:2:3");
    assert_eq!(communities(&world, "10.0.2.0/26"), "65001:1 65001:2:3");
    check(
        &world.export(EXTERNAL),
        &[("192.0.2.0/24", "reject: outside pools, own blocks and services")],
    );
    // The node's own list replaces all of it.
    world.configurations.extend(
        World::new(
            "BGPConfiguration node.n1 {prefixAdvertisements: [{cidr: 10.0.2.0/24, \
             communities: ['65009:9']}]}",
        )
        .configurations,
    );
    assert_eq!(communities(&world, "10.0.0.0/26 from=own"), "");
    assert_eq!(communities(&world, "10.0.2.0/26"), "65009:9");
}

#[test]
fn an_unknown_community_is_left_out_and_told() {
    let mut world = World::new(
        "IPPool v4 {cidr: 10.0.0.0/16}
         BGPConfiguration default {prefixAdvertisements: [{cidr: 10.0.0.0/16, communities: \
           ['65001:1']}]}",
    );
    for configuration in &mut world.configurations {
        for advertisement in &mut configuration.spec.prefix_advertisements {
            advertisement.communities.push("unknown".into());
        }
    }
    let context = world.context();
    let mut policies = Policies::new(&context, []);
    let export = policies.export(&[], EXTERNAL);
    assert_eq!(after(&export, "10.0.2.0/26").communities.len(), 1);
    let remarks: Vec<_> = policies.remarks().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        [
            "BGPConfiguration default: community \"unknown\" of the prefix advertisement 10.0.0.0/16 \
          is neither defined nor a value: it is not added"
        ]
    );
}

const SERVICES: &str = "BGPConfiguration default {serviceClusterIPs: [{cidr: 10.96.0.0/12}], \
     serviceExternalIPs: [{cidr: 198.51.100.0/24}, {cidr: 203.0.113.1/32}], \
     serviceLoadBalancerIPs: [{cidr: 192.0.2.0/24}, {cidr: 203.0.113.2/32}]}";

fn service_routes(world: &World) -> Vec<String> {
    world.context().service_routes().iter().map(ToString::to_string).collect()
}

#[test]
fn service_ranges_are_told_whole_but_for_single_addresses() {
    let mut world = World::new(SERVICES);
    world.services = vec!["203.0.113.1/32"];
    assert_eq!(
        service_routes(&world),
        ["10.96.0.0/12", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.1/32"]
    );
    check(
        &world.export(EXTERNAL),
        &[
            ("10.96.0.0/12 from=own", "accept: service range 10.96.0.0/12"),
            ("10.96.7.7/32 from=own", "accept: service range 10.96.0.0/12"),
            ("192.0.2.0/24 from=own", "accept: service range 192.0.2.0/24"),
            ("203.0.113.1/32 from=own", "accept: service address"),
            ("203.0.113.2/32 from=own", "reject: outside pools, own blocks and services"),
        ],
    );
}

#[test]
fn without_aggregation_load_balancer_ranges_are_not_told_whole() {
    let aggregation = "serviceLoadBalancerAggregation: Disabled, serviceClusterIPs";
    let world = World::new(&SERVICES.replace("serviceClusterIPs", aggregation));
    assert_eq!(service_routes(&world), ["10.96.0.0/12", "198.51.100.0/24"]);
    check(
        &world.export(EXTERNAL),
        &[("192.0.2.0/24", "reject: outside pools, own blocks and services")],
    );
}

#[test]
fn a_node_that_is_excluded_advertises_no_services() {
    let mut world = World::new(SERVICES);
    world.excluded = true;
    world.services = vec!["203.0.113.1/32"];
    assert_eq!(service_routes(&world), [""; 0]);
    check(&world.export(EXTERNAL), &[("10.96.0.0/12", "reject: default")]);
}

#[test]
fn a_reflector_passes_on_service_addresses_of_others() {
    let aggregation = "serviceLoadBalancerAggregation: Disabled, serviceClusterIPs";
    let mut world = World::new(&SERVICES.replace("serviceClusterIPs", aggregation));
    world.reflector = true;
    check(
        &world.export(INTERNAL),
        &[
            ("192.0.2.7/32", "accept: reflector: load balancer range 192.0.2.0/24"),
            ("203.0.113.2/32", "accept: reflector: load balancer range 203.0.113.2/32"),
            ("203.0.113.1/32", "accept: reflector: external range 203.0.113.1/32"),
            ("198.51.100.7/32", "accept: service range 198.51.100.0/24"),
            ("10.32.0.0/16", "reject: outside pools, own blocks and services"),
        ],
    );
}

#[test]
fn the_order_of_pools_and_blocks_makes_no_difference() {
    let world = cluster();
    let mut turned = cluster();
    turned.pools.reverse();
    turned.blocks.reverse();
    assert_eq!(world.export(INTERNAL), turned.export(INTERNAL));
}
