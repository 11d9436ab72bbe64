//! Route server clients and add-path: who is told another path than the best.

use bgp_core::policy::{RuleAction, definition::SetDefinition};
use bgp_packet::{Asn, NextHop};

use super::rig::{Heard, Rig, net, rule};

const P: &str = "192.0.2.0/24";

fn server(clients: u16) -> Rig {
    let mut rig = Rig::new();
    for id in 1..=clients {
        rig.up(id, |spec| spec.route_server_client());
    }
    rig
}

fn first_as(rig: &Rig, id: u16) -> Option<Asn> {
    rig.got(id, P).and_then(|attributes| attributes.as_path.first())
}

#[test]
fn a_route_server_is_not_seen() {
    let mut rig = server(2);
    rig.announce(1, P, |attributes| attributes.med = Some(30));
    let got = rig.got(2, P).unwrap();
    assert_eq!(got.as_path.asns().collect::<Vec<_>>(), [Asn(65001)]);
    assert_eq!(got.next_hop, NextHop::new([10, 0, 0, 1]));
    assert_eq!(got.med, Some(30));
}

#[test]
fn a_client_gets_the_next_path_instead_of_its_own() {
    let mut rig = server(3);
    rig.announce(1, P, |_| {});
    rig.announce(2, P, |_| {});
    assert_eq!(first_as(&rig, 1), Some(Asn(65002)));
    assert_eq!(first_as(&rig, 2), Some(Asn(65001)));
    assert_eq!(first_as(&rig, 3), Some(Asn(65001)));
    rig.withdraw(2, P);
    assert_eq!(first_as(&rig, 1), None);
    rig.announce(2, P, |_| {});
    rig.withdraw(1, P);
    assert_eq!((first_as(&rig, 1), first_as(&rig, 2)), (Some(Asn(65002)), None));
    rig.assert_exact();
    let counts = |rig: &Rig, id| rig.shard.peer_counts(bgp_core::rib::PeerId(id)).unwrap()[0];
    assert_eq!((counts(&rig, 1).advertised, counts(&rig, 2).advertised), (1, 0));
}

#[test]
fn a_path_that_policy_hides_hides_no_other() {
    let mut rig = Rig::new();
    for id in 1..=3 {
        rig.up(id, |spec| {
            spec.route_server_client();
            spec.config.export = {
                use bgp_core::policy::{RoutePolicy, definition as d};
                let matches = d::MatchDefinition {
                    peer_asn: Some(vec![Asn(65001)]),
                    ..d::MatchDefinition::default()
                };
                let rules = vec![d::RuleDefinition {
                    name: None,
                    matches,
                    set: SetDefinition::default(),
                    action: RuleAction::Reject,
                }];
                let definition = d::Definition {
                    name: "not-from-1".to_owned(),
                    default: d::Default::Accept,
                    rules,
                };
                Some(RoutePolicy::compile(definition, &d::Sets::default()).unwrap().into())
            };
        });
    }
    rig.announce(1, P, |_| {});
    assert_eq!(first_as(&rig, 3), None);
    rig.announce(2, P, |_| {});
    assert_eq!(rig.best(P), Some(1));
    assert_eq!(first_as(&rig, 3), Some(Asn(65002)), "the best is hidden, the second is not");
    assert_eq!(first_as(&rig, 1), Some(Asn(65002)));
    assert_eq!(first_as(&rig, 2), None);
    rig.withdraw(2, P);
    assert!(rig.peers.values().all(|peer| peer.table.is_empty()));
    rig.assert_exact();
}

/// Rejects every path of one length.
fn without_length(hops: u32) -> Option<std::sync::Arc<bgp_core::policy::RoutePolicy>> {
    use bgp_core::policy::{RoutePolicy, definition as d};
    let matches = d::MatchDefinition {
        as_path_length: Some(vec![d::Range { ge: hops, le: hops }]),
        ..d::MatchDefinition::default()
    };
    let (set, action) = (SetDefinition::default(), RuleAction::Reject);
    let rules = vec![d::RuleDefinition { name: None, matches, set, action }];
    let definition =
        d::Definition { name: "without-length".into(), default: d::Default::Accept, rules };
    Some(RoutePolicy::compile(definition, &d::Sets::default()).unwrap().into())
}

/// The path's length in AS numbers.
fn long(hops: usize) -> impl Fn(&mut bgp_packet::PathAttributes) {
    move |attributes| {
        let first = attributes.as_path.first().unwrap();
        attributes.as_path.prepend(first, hops - 1);
    }
}

#[test]
fn what_is_behind_what_clients_hold_is_no_news_to_them() {
    let mut rig = server(5);
    rig.announce(1, P, long(1));
    rig.announce(2, P, long(2));
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    rig.announce(3, P, long(3));
    rig.announce(4, P, long(2));
    rig.withdraw(3, P);
    for (id, peer) in &mut rig.peers {
        assert_eq!(peer.news(), [], "p{id}");
    }
    rig.withdraw(2, P);
    assert_eq!(first_as(&rig, 1), Some(Asn(65004)), "what was no news then is the second best now");
    rig.withdraw(1, P);
    assert_eq!((first_as(&rig, 3), first_as(&rig, 4)), (Some(Asn(65004)), None));
    rig.assert_exact();
}

#[test]
fn a_better_path_for_one_group_is_no_news_to_another_whose_policy_rejects_it() {
    let mut rig = Rig::new();
    for id in 1..=6 {
        rig.up(id, |spec| {
            spec.route_server_client();
            if id > 3 {
                spec.config.export = without_length(1);
            }
        });
    }
    rig.announce(4, P, long(1));
    assert_eq!((first_as(&rig, 3), first_as(&rig, 6)), (Some(Asn(65004)), None));
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    rig.announce(1, P, long(1));
    assert_eq!(first_as(&rig, 3), Some(Asn(65001)));
    assert!((4..=6).all(|id| rig.peers.get_mut(&id).unwrap().news().is_empty()));
    rig.announce(2, P, long(3));
    assert_eq!((first_as(&rig, 3), first_as(&rig, 6)), (Some(Asn(65001)), Some(Asn(65002))));
    // The best path changes behind the back of those who hold another.
    rig.announce(1, P, long(2));
    rig.withdraw(4, P);
    assert_eq!((first_as(&rig, 3), first_as(&rig, 6)), (Some(Asn(65001)), Some(Asn(65001))));
    rig.withdraw(1, P);
    rig.withdraw(2, P);
    assert!(rig.peers.values().all(|peer| peer.table.is_empty()));
    rig.assert_exact();
}

#[test]
fn add_path_sends_the_best_so_many_with_lasting_identifiers() {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.external(id));
    rig.up(9, |spec| spec.add_path(2));
    rig.announce(3, P, |_| {});
    rig.announce(2, P, |_| {});
    let ids = |rig: &Rig| -> Vec<(u32, Asn)> {
        let table = &rig.peers[&9].table;
        table.iter().map(|((_, id), a)| (*id, a.as_path.asns().nth(1).unwrap())).collect()
    };
    let two = ids(&rig);
    assert_eq!(two.len(), 2);
    rig.announce(1, P, |_| {});
    let after = ids(&rig);
    assert_eq!(after.len(), 2, "the third best has been withdrawn");
    let of = |asn| two.iter().find(|(_, a)| *a == Asn(asn)).unwrap().0;
    assert!(after.contains(&(of(65002), Asn(65002))), "the same path keeps its identifier");
    assert!(!after.iter().any(|(_, asn)| *asn == Asn(65003)));
    rig.withdraw(1, P);
    assert_eq!(ids(&rig).len(), 2);
    for id in [2, 3] {
        rig.withdraw(id, P);
    }
    assert!(rig.peers[&9].table.is_empty());
    rig.assert_exact();
}

#[test]
fn add_path_does_not_repeat_paths_that_did_not_change() {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.external(id));
    rig.up(9, |spec| spec.add_path(3));
    rig.announce(1, P, |_| {});
    rig.announce(2, P, |_| {});
    rig.peers.get_mut(&9).unwrap().news();
    rig.announce(3, P, |_| {});
    assert_eq!(rig.peers.get_mut(&9).unwrap().news(), [Heard::Announce(net(P))]);
    rig.announce(2, P, |attributes| attributes.atomic_aggregate = true);
    assert_eq!(rig.peers.get_mut(&9).unwrap().news(), [Heard::Announce(net(P))]);
}

#[test]
fn paths_of_one_peer_are_told_apart_by_their_identifiers() {
    let mut rig = Rig::new();
    rig.up(1, |spec| spec.add_path(0));
    rig.external(2);
    rig.announce_path(1, P, 7, |attributes| attributes.as_path.prepend(Asn(65001), 1));
    rig.announce_path(1, P, 8, |_| {});
    assert_eq!(rig.got(2, P).unwrap().as_path.hops(), 2);
    assert_eq!(rig.shard.counts()[0].paths, 2);
    let epoch = rig.peers[&1].epoch;
    let mut batch = bgp_core::rib::Batch::default();
    batch.push(None, 8, net(P));
    let family = bgp_packet::Family::IPV4_UNICAST;
    let peer = bgp_core::rib::PeerId(1);
    rig.event(bgp_core::rib::Event::Routes { peer, epoch, family, batch });
    rig.settle();
    assert_eq!(rig.got(2, P).unwrap().as_path.hops(), 3);
}

#[test]
fn export_policies_that_look_at_prefixes_are_asked_for_each() {
    let mut rig = Rig::new();
    rig.external(1);
    rig.up(2, |spec| {
        let set = SetDefinition { med: Some(5), ..SetDefinition::default() };
        spec.config.export = rule(&["192.0.2.0/24"], set, RuleAction::Accept);
    });
    let attributes = rig.attributes(1, |_| {});
    rig.send(1, net(P), 0, Some(&attributes));
    rig.send(1, net("198.51.100.0/24"), 0, Some(&attributes));
    rig.settle();
    assert_eq!(rig.got(2, P).unwrap().med, Some(5));
    assert_eq!(rig.got(2, "198.51.100.0/24").unwrap().med, None);
}
