//! Policies that look at the interface a route leads out by.

use std::sync::Arc;

use bgp_core::{
    policy::{
        InterfaceName, RoutePolicy, RouteSource, RuleAction,
        definition::{
            Default as Otherwise, Definition, MatchDefinition, RuleDefinition, SetDefinition, Sets,
        },
    },
    rib::{Attrs, Event, Install, LocalRoute, Resolved},
};
use bgp_packet::{NextHop, PathAttributes};

use super::rig::{Rig, net};

const P: &str = "192.0.2.0/24";
const Q: &str = "198.51.100.0/24";

/// Accepts what leads out by no `vx*`.
fn policy() -> Arc<RoutePolicy> {
    let interface = Some(vec!["vx*".parse().expect("a pattern")]);
    let rule = RuleDefinition {
        name: None,
        matches: MatchDefinition { interface, ..MatchDefinition::default() },
        set: SetDefinition::default(),
        action: RuleAction::Reject,
    };
    let definition = Definition { name: "p".into(), default: Otherwise::Accept, rules: vec![rule] };
    Arc::new(RoutePolicy::compile(definition, &Sets::default()).expect("it compiles"))
}

fn by(interface: &str) -> Option<Resolved> {
    let interface = InterfaceName::new(interface);
    Some(Resolved { cost: 0, direct: true, local: false, interface })
}

/// Peers 1 and 2 without a policy, 3 with one on export; the kernel with one.
fn rig() -> Rig {
    let install = Install::Policy(policy());
    let mut rig = Rig::with(|global| global.require_policy = false, install);
    (1..=2).for_each(|id| rig.external(id));
    rig.up(3, |spec| spec.config.export = Some(policy()));
    rig
}

#[test]
fn a_route_is_told_by_the_interface_of_its_next_hop_and_follows_it() {
    let mut rig = rig();
    rig.resolve("10.0.0.1", by("eth0"));
    rig.announce(1, P, |_| {});
    assert!(rig.got(2, P).is_some() && rig.got(3, P).is_some());
    assert!(rig.kernel.contains_key(&net(P)));
    rig.resolve("10.0.0.1", by("vx0"));
    assert!(rig.got(2, P).is_some(), "it has no policy");
    assert!(rig.got(3, P).is_none());
    assert!(!rig.kernel.contains_key(&net(P)));
    rig.assert_exact();
    rig.resolve("10.0.0.1", by("eth1"));
    assert!(rig.got(3, P).is_some() && rig.kernel.contains_key(&net(P)));
    rig.assert_exact();
}

#[test]
fn another_interface_alone_is_nobodys_news_where_no_policy_looks() {
    let mut rig = Rig::with(|global| global.require_policy = false, Install::All);
    (1..=2).for_each(|id| rig.external(id));
    rig.resolve("10.0.0.1", by("eth0"));
    rig.announce(1, P, |_| {});
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    rig.kernel.clear();
    rig.resolve("10.0.0.1", by("eth1"));
    assert!(rig.peers.get_mut(&2).unwrap().news().is_empty());
    assert!(rig.kernel.is_empty(), "no wish is told again");
}

#[test]
fn routes_of_the_kernel_have_interfaces_of_their_own() {
    let mut rig = rig();
    let learn = |rig: &mut Rig, prefix: &str, interface: Option<&str>| {
        let attrs = Arc::new(Attrs::new(&PathAttributes::local(NextHop::new([0, 0, 0, 0]))));
        let route = LocalRoute {
            attrs,
            local: Default::default(),
            blackhole: false,
            interface: interface.and_then(InterfaceName::new),
        };
        let (source, prefix) = (RouteSource::Kernel, net(prefix));
        rig.event(Event::Local { source, prefix, route: Some(route) });
        rig.settle();
    };
    // The same attributes, another interface.
    learn(&mut rig, P, Some("vx0"));
    learn(&mut rig, Q, Some("eth0"));
    assert!(rig.got(2, P).is_some() && rig.got(2, Q).is_some());
    assert!(rig.got(3, P).is_none() && rig.got(3, Q).is_some());
    // Nothing but the interface changes.
    learn(&mut rig, P, Some("eth0"));
    learn(&mut rig, Q, Some("vx0"));
    assert!(rig.got(3, P).is_some() && rig.got(3, Q).is_none());
    learn(&mut rig, Q, None);
    assert!(rig.got(3, Q).is_some(), "without an interface it is none of these");
    rig.assert_exact();
    rig.event(Event::Local { source: RouteSource::Kernel, prefix: net(P), route: None });
    rig.settle();
    assert!(rig.got(3, P).is_none() && rig.got(2, P).is_none());
    rig.assert_exact();
}

#[test]
fn at_import_the_interface_is_that_of_the_session() {
    let mut rig = Rig::new();
    for (id, name) in [(1, Some("vx0")), (2, Some("eth0")), (3, None)] {
        rig.up(id, |spec| {
            spec.config.import = Some(policy());
            spec.addresses.interface_name = name.and_then(InterfaceName::new);
        });
    }
    rig.resolve("10.0.0.2", by("vx0"));
    rig.announce(1, P, |_| {});
    assert!(rig.best(P).is_none());
    rig.announce(2, P, |_| {});
    assert!(rig.best(P).is_some(), "where the next hop is found later makes no difference");
    rig.announce(3, Q, |_| {});
    assert!(rig.best(Q).is_some());
}
