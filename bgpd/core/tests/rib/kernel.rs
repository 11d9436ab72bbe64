//! Wishes for the kernel.

use bgp_core::{
    policy::{RouteSource, RuleAction, definition::SetDefinition},
    rib::{Attrs, Event, Install, LocalRoute, Resolved},
};
use bgp_packet::{NextHop, PathAttributes};

use super::rig::{Rig, net, rule};

const P: &str = "192.0.2.0/24";

fn rig() -> Rig {
    Rig::with(|global| global.require_policy = false, Install::All)
}

fn gateways(rig: &Rig) -> Vec<String> {
    let route = rig.kernel.get(&net(P));
    let hops = route.iter().flat_map(|route| &route.next_hops);
    hops.map(|(hop, _)| hop.address.to_string()).collect()
}

#[test]
fn the_best_route_is_installed_replaced_and_removed() {
    let mut rig = rig();
    (1..=2).for_each(|id| rig.external(id));
    rig.announce(2, P, |_| {});
    assert_eq!(gateways(&rig), ["10.0.0.2"]);
    rig.announce(1, P, |_| {});
    assert_eq!(gateways(&rig), ["10.0.0.1"]);
    rig.withdraw(1, P);
    assert_eq!(gateways(&rig), ["10.0.0.2"]);
    rig.down(2);
    assert!(rig.kernel.is_empty());
}

#[test]
fn a_change_that_forwards_the_same_way_is_not_told() {
    let mut rig = rig();
    rig.external(1);
    rig.announce(1, P, |_| {});
    rig.kernel.clear();
    rig.announce(1, P, |attributes| attributes.med = Some(9));
    assert!(rig.kernel.is_empty());
}

#[test]
fn several_changes_make_one_wish() {
    let mut rig = rig();
    (1..=3).for_each(|id| rig.external(id));
    for id in (1..=3).rev() {
        rig.announce(id, "198.51.100.0/24", |_| {});
    }
    for id in (1..=3).rev() {
        let attributes = rig.attributes(id, |_| {});
        rig.send(id, net(P), 0, Some(&attributes));
    }
    let mut out = Vec::new();
    rig.shard.flush(&mut out);
    let wishes = out.iter().filter(|e| matches!(e, bgp_core::rib::Effect::Install { .. })).count();
    assert_eq!(wishes, 1);
}

#[test]
fn equals_are_installed_side_by_side() {
    let mut rig = Rig::with(
        |global| {
            global.require_policy = false;
            global.multipath_ebgp = 2;
            global.multipath_relax = true;
        },
        Install::All,
    );
    (1..=3).for_each(|id| rig.external(id));
    for id in [3, 2, 1] {
        rig.announce(id, P, |_| {});
    }
    assert_eq!(gateways(&rig), ["10.0.0.1", "10.0.0.2"], "the best two, in order");
    rig.withdraw(2, P);
    assert_eq!(gateways(&rig), ["10.0.0.1", "10.0.0.3"]);
    rig.resolve("10.0.0.3", None);
    assert_eq!(gateways(&rig), ["10.0.0.1"]);
}

fn backup(rig: &Rig) -> Option<String> {
    rig.kernel.get(&net(P))?.backup.map(|(next_hop, _)| next_hop.address.to_string())
}

#[test]
fn what_comes_after_the_best_is_told_and_follows_every_change() {
    let mut rig = rig();
    (1..=3).for_each(|id| rig.external(id));
    rig.announce(1, P, |_| {});
    assert_eq!(backup(&rig), None, "there is nothing else");
    rig.announce(3, P, |_| {});
    assert_eq!(backup(&rig).as_deref(), Some("10.0.0.3"));
    rig.announce(2, P, |_| {});
    assert_eq!(backup(&rig).as_deref(), Some("10.0.0.2"), "better than the third");
    rig.resolve("10.0.0.2", None);
    assert_eq!(backup(&rig).as_deref(), Some("10.0.0.3"), "what cannot be reached is no backup");
    rig.withdraw(3, P);
    assert_eq!(backup(&rig), None);
    assert_eq!(gateways(&rig), ["10.0.0.1"], "the best has been the same all along");
}

#[test]
fn what_ends_with_the_best_is_no_backup_for_it() {
    let mut rig = rig();
    rig.up(1, |spec| spec.add_path(0));
    rig.external(2);
    for (id, path_id) in [(1, 1), (1, 2), (2, 0)] {
        let attributes = rig.attributes(id, |_| {});
        rig.send(id, net(P), path_id, Some(&attributes));
    }
    rig.settle();
    assert_eq!(backup(&rig).as_deref(), Some("10.0.0.2"));
    let route = &rig.kernel[&net(P)];
    assert_eq!(route.sources.len(), 1, "one session told what is in use");
}

#[test]
fn routes_of_our_own_stay_out_but_for_blackholes() {
    let mut rig = rig();
    rig.originate(P, |_| {});
    assert!(rig.kernel.is_empty());
    rig.originate(P, |route| route.blackhole = true);
    assert!(rig.kernel[&net(P)].next_hops.is_empty());
    rig.event(Event::Local { source: RouteSource::Originate, prefix: net(P), route: None });
    rig.settle();
    assert!(rig.kernel.is_empty());
    let attrs = Attrs::new(&PathAttributes::local(NextHop::new([10, 0, 0, 77])));
    let route = LocalRoute {
        attrs: attrs.into(),
        local: Default::default(),
        blackhole: false,
        interface: None,
    };
    let source = RouteSource::Kernel;
    rig.event(Event::Local { source, prefix: net(P), route: Some(route) });
    rig.settle();
    assert!(rig.kernel.is_empty(), "what came from the kernel does not go back");
}

#[test]
fn a_policy_chooses_and_sets_the_metric() {
    let set = SetDefinition { metric: Some(77), ..SetDefinition::default() };
    let policy = rule(&[P], set, RuleAction::Accept).unwrap();
    let mut rig = Rig::with(|global| global.require_policy = false, Install::Policy(policy));
    rig.external(1);
    rig.announce(1, P, |_| {});
    assert_eq!(rig.kernel[&net(P)].local.metric, Some(77));
    let refuse = rule(&[P], SetDefinition::default(), RuleAction::Reject).unwrap();
    rig.install = Install::Policy(refuse);
    rig.reconfigure(|_, _| {});
    rig.settle();
    assert!(rig.kernel.is_empty());
    rig.install = Install::All;
    rig.reconfigure(|_, _| {});
    rig.settle();
    assert_eq!(rig.kernel[&net(P)].local.metric, None);
    rig.install = Install::Nothing;
    rig.reconfigure(|_, _| {});
    rig.settle();
    assert!(rig.kernel.is_empty());
}

#[test]
fn an_unreachable_next_hop_takes_the_route_away_until_it_returns() {
    let mut rig = rig();
    rig.external(1);
    rig.announce(1, P, |_| {});
    rig.resolve("10.0.0.1", None);
    assert!(rig.kernel.is_empty());
    rig.resolve(
        "10.0.0.1",
        Some(Resolved { cost: 0, direct: true, local: false, interface: None }),
    );
    assert_eq!(gateways(&rig), ["10.0.0.1"]);
}

#[test]
fn only_a_peer_on_our_link_must_name_a_next_hop_on_our_link() {
    let far = Resolved { cost: 5, direct: false, local: false, interface: None };
    for (multihop, ttl_security, eligible) in
        [(None, None, false), (None, Some(1), false), (None, Some(2), true), (Some(2), None, true)]
    {
        let mut rig = rig();
        rig.up(1, |spec| {
            spec.config.multihop = multihop;
            spec.config.ttl_security = ttl_security;
        });
        rig.resolve("10.9.0.1", Some(far));
        rig.announce(1, P, |attributes| attributes.next_hop = NextHop::new([10, 9, 0, 1]));
        let used = !gateways(&rig).is_empty();
        assert_eq!(used, eligible, "multihop {multihop:?}, ttl-security {ttl_security:?}");
    }
}
