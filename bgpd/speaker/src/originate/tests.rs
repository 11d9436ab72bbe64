use super::*;
use bgp_core::config::{DecisionConfig, Redistribution};

fn global(originate: &[&str], redistribute: &[KernelSource]) -> Arc<GlobalConfig> {
    let router_id = Ipv4Addr::new(10, 0, 0, 1);
    Arc::new(GlobalConfig {
        asn: bgp_packet::Asn(65001),
        router_id,
        listen: Vec::new(),
        cluster_id: router_id,
        confederation: None,
        multipath_ebgp: 1,
        multipath_ibgp: 1,
        multipath_relax: false,
        require_policy: false,
        decision: DecisionConfig {
            always_compare_med: false,
            missing_med_worst: false,
            deterministic_med: true,
            prefer_older: false,
        },
        originate: originate
            .iter()
            .map(|prefix| Origination {
                prefix: net(prefix),
                next_hop: None,
                communities: Vec::new(),
                blackhole: false,
            })
            .collect(),
        redistribute: redistribute
            .iter()
            .map(|source| Redistribution { source: *source, table: 254, policy: None })
            .collect(),
    })
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn added(prefix: &str) -> AddedRoute {
    AddedRoute { prefix: net(prefix), next_hop: None, communities: Vec::new() }
}

fn learned(prefix: &str, protocol: u8, metric: u32) -> Learned {
    Learned {
        prefix: net(prefix),
        table: 254,
        protocol,
        metric,
        gateway: None,
        interface: None,
        connected: protocol == 2,
    }
}

/// What changed, as `+prefix source` and `-prefix source`.
fn text(changes: &[(Slot, Option<OwnRoute>)]) -> Vec<String> {
    changes
        .iter()
        .map(|((prefix, source), route)| {
            let sign = if route.is_some() { '+' } else { '-' };
            format!("{sign}{prefix} {source:?}")
        })
        .collect()
}

#[test]
fn configured_routes_are_told_once() {
    let mut own = Originator::new(global(&["10.1.0.0/16"], &[]));
    assert_eq!(text(&own.changes()), ["+10.1.0.0/16 Originate"]);
    assert!(own.changes().is_empty());
}

#[test]
fn a_route_added_by_hand_survives_a_reload() {
    let mut own = Originator::new(global(&["10.1.0.0/16"], &[]));
    own.changes();
    assert_eq!(text(&own.add(added("10.2.0.0/16"))), ["+10.2.0.0/16 Originate"]);
    assert_eq!(text(&own.reconfigure(global(&[], &[]), ByHand::Undo)), ["-10.1.0.0/16 Originate"]);
    assert_eq!(
        text(&own.withdraw(net("10.2.0.0/16")).expect("it is there")),
        ["-10.2.0.0/16 Originate"]
    );
    assert!(own.withdraw(net("10.2.0.0/16")).is_none());
}

#[test]
fn a_configured_route_withdrawn_by_hand_comes_back_with_the_next_reload() {
    let config = global(&["10.1.0.0/16"], &[]);
    let mut own = Originator::new(Arc::clone(&config));
    own.changes();
    assert_eq!(
        text(&own.withdraw(net("10.1.0.0/16")).expect("it is there")),
        ["-10.1.0.0/16 Originate"]
    );
    assert!(own.withdraw(net("10.1.0.0/16")).is_none());
    // What the cluster changes is no reload.
    assert!(own.reconfigure(Arc::clone(&config), ByHand::Keep).is_empty());
    assert_eq!(text(&own.reconfigure(config, ByHand::Undo)), ["+10.1.0.0/16 Originate"]);
}

#[test]
fn kernel_routes_are_redistributed_by_kind() {
    let mut own = Originator::new(global(&[], &[KernelSource::Connected, KernelSource::Static]));
    assert_eq!(text(&own.learned(learned("10.3.0.0/24", 2, 0), true)), ["+10.3.0.0/24 Connected"]);
    assert_eq!(text(&own.learned(learned("10.4.0.0/24", 4, 5), true)), ["+10.4.0.0/24 Static"]);
    assert!(own.learned(learned("10.5.0.0/24", 188, 5), true).is_empty());
    // The better of two; the other one takes over in silence.
    assert!(own.learned(learned("10.4.0.0/24", 4, 9), true).is_empty());
    assert!(own.learned(learned("10.4.0.0/24", 4, 5), false).is_empty());
    assert_eq!(text(&own.learned(learned("10.4.0.0/24", 4, 9), false)), ["-10.4.0.0/24 Static"]);
    assert_eq!(text(&own.reconfigure(global(&[], &[]), ByHand::Undo)), ["-10.3.0.0/24 Connected"]);
}

#[test]
fn a_kernel_route_has_the_name_of_its_link() {
    let link = |index, name: &str| Link {
        index,
        name: name.to_owned(),
        up: true,
        mac: None,
        mtu: 1500,
        addresses: Vec::new(),
    };
    let interface = |changes: &[(Slot, Option<OwnRoute>)]| match changes {
        [(_, Some(route))] => route.interface.map(|name| name.to_string()),
        other => panic!("{other:?}"),
    };
    let mut own = Originator::new(global(&["10.1.0.0/16"], &[KernelSource::Static]));
    own.changes();
    let route = Learned { interface: Some(7), ..learned("10.4.0.0/24", 4, 5) };
    // The route may be told before the link is known.
    assert_eq!(interface(&own.learned(route, true)), None);
    let changes = own.set_links(&[link(7, "vxlan.calico"), link(8, "eth0")]);
    assert_eq!(interface(&changes).as_deref(), Some("vxlan.calico"));
    assert!(own.set_links(&[link(8, "eth0"), link(7, "vxlan.calico")]).is_empty());
    assert_eq!(interface(&own.set_links(&[link(7, "vx1")])).as_deref(), Some("vx1"));
}

#[test]
fn a_route_starts_with_its_communities_of_all_kinds_each_once() {
    let texts = ["65001:1", "large:65001:1:2", "ext:rt:65001:3", "65001:1"];
    let communities: Vec<_> = texts.iter().map(|text| text.parse().expect("a community")).collect();
    let mut global = GlobalConfig::clone(&global(&["10.1.0.0/16"], &[]));
    global.originate[0].communities.clone_from(&communities);
    let mut originator = Originator::new(Arc::new(global));
    let mut changes = originator.changes();
    changes.extend(originator.add(AddedRoute { communities, ..added("10.2.0.0/16") }));
    assert_eq!(changes.len(), 2);
    for (_, route) in changes {
        let attributes = route.expect("a route").attributes;
        assert_eq!(attributes.communities, [bgp_packet::Community(65001 << 16 | 1)]);
        assert_eq!(attributes.large_communities, [bgp_packet::LargeCommunity(65001, 1, 2)]);
        assert_eq!(attributes.ext_communities, [[0, 2, 0xfd, 0xe9, 0, 0, 0, 3]]);
    }
}
