//! What goes to the kernel.

use super::*;

fn kernel(world: &World) -> (Option<Arc<RoutePolicy>>, Vec<String>) {
    let context = world.context();
    let mut policies = Policies::new(&context, []);
    (policies.kernel(), policies.remarks().map(ToString::to_string).collect())
}

#[test]
fn nothing_is_held_back_without_services_and_tunnels() {
    let mut world = World::new("IPPool v4 {cidr: 10.0.0.0/16, disableBGPExport: true}");
    world.blocks = vec!["10.0.0.0/26"];
    assert_eq!(kernel(&world), (None, vec![]));
}

#[test]
fn services_do_not_reach_the_kernel_also_not_of_an_excluded_node() {
    let mut world = World::new(
        "BGPConfiguration default {serviceClusterIPs: [{cidr: 10.96.0.0/12}], \
           serviceExternalIPs: [{cidr: 203.0.113.1/32}]}",
    );
    world.excluded = true;
    let policy = kernel(&world).0.expect("a policy");
    for (route, expected) in [
        ("10.96.0.0/12", "reject: service range 10.96.0.0/12"),
        ("10.96.1.1/32", "reject: service range 10.96.0.0/12"),
        ("203.0.113.1/32", "reject: service range 203.0.113.1/32"),
        ("0.0.0.0/0", "accept: default"),
    ] {
        assert_eq!(verdict(&policy, route), expected, "{route}");
    }
}

#[test]
fn pools_behind_tunnels_stay_out_but_for_what_needs_none() {
    let mut world = World::new(
        "IPPool plain {cidr: 10.0.0.0/16}
         IPPool vxlan {cidr: 10.1.0.0/16, vxlanMode: CrossSubnet}
         IPPool ipip {cidr: 10.2.0.0/16, ipipMode: Always}
         IPPool cross {cidr: 10.3.0.0/16, ipipMode: CrossSubnet}",
    );
    world.blocks = vec!["10.0.0.0/26", "10.1.0.0/26", "10.2.0.0/26"];
    world.subnet = Some("192.0.2.0/24");
    let (policy, remarks) = kernel(&world);
    let policy = policy.expect("a policy");
    for (route, expected) in [
        ("10.0.2.0/26", "accept: default"),
        ("10.1.2.0/26", "reject: pool vxlan: vxlanMode"),
        ("10.1.0.0/26 from=own", "accept: own block 10.1.0.0/26"),
        ("10.1.0.0/26", "reject: pool vxlan: vxlanMode"),
        ("10.2.2.0/26", "reject: pool ipip: ipipMode"),
        ("10.2.0.0/26 from=own", "accept: own block 10.2.0.0/26"),
        ("10.3.2.0/26 via=192.0.2.7", "accept: pool cross: same subnet"),
        ("10.3.2.0/26 via=198.51.100.7", "reject: pool cross: ipipMode"),
    ] {
        assert_eq!(verdict(&policy, route), expected, "{route}");
    }
    assert_eq!(
        remarks,
        [
            "IPPool cross: ipipMode CrossSubnet needs tunnels, which are not there: its routes \
             over other subnets do not reach the kernel",
            "IPPool ipip: ipipMode Always needs tunnels, which are not there: its routes do not \
             reach the kernel",
            "IPPool vxlan: vxlanMode needs tunnels, which are not there: its routes do not reach \
             the kernel",
        ]
    );
    world.subnet = None;
    let policy = kernel(&world).0.expect("a policy");
    assert_eq!(verdict(&policy, "10.3.2.0/26 via=192.0.2.7"), "reject: pool cross: ipipMode");
}

#[test]
fn pools_that_are_left_to_others_stay_out() {
    for (programs, plain, ipip) in [
        ("Enabled", true, true),
        ("EnabledNoEncapOnly", true, false),
        ("EnabledIPIPOnly", false, true),
        ("Disabled", false, false),
    ] {
        let mut world = World::new(&format!(
            "IPPool plain {{cidr: 10.0.0.0/16}}
             IPPool cross {{cidr: 10.3.0.0/16, ipipMode: CrossSubnet}}
             BGPConfiguration default {{programClusterRoutes: {programs}}}"
        ));
        world.subnet = Some("192.0.2.0/24");
        let policy = kernel(&world).0.expect("a policy");
        let accepted = |route| verdict(&policy, route).starts_with("accept");
        assert_eq!(accepted("10.0.2.0/26"), plain, "{programs}");
        assert_eq!(accepted("10.3.2.0/26"), ipip, "{programs}");
    }
}
