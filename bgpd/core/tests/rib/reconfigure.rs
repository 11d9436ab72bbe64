//! New policies and settings on sessions that stay up.

use std::sync::Arc;

use bgp_core::{
    policy::{RuleAction, definition::SetDefinition},
    rib::{Epoch, Event, PeerId},
};

use super::rig::{Heard, Rig, accept, net, reject, rule};

const P: &str = "192.0.2.0/24";
const Q: &str = "198.51.100.0/24";

fn rig() -> Rig {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.external(id));
    rig.announce(1, P, |_| {});
    rig.announce(1, Q, |_| {});
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    rig
}

#[test]
fn an_export_policy_changes_what_one_peer_holds() {
    let mut rig = rig();
    rig.reconfigure(|id, config| {
        if id == 2 {
            config.export = rule(&[P], SetDefinition::default(), RuleAction::Reject);
        }
    });
    rig.settle();
    assert!(rig.got(2, P).is_none() && rig.got(2, Q).is_some());
    assert!(rig.peers.get_mut(&3).unwrap().news().is_empty(), "nobody else hears of it");
    rig.reconfigure(|_, config| config.export = None);
    rig.settle();
    assert!(rig.got(2, P).is_some());
    rig.assert_exact();
}

#[test]
fn all_members_of_a_group_move_together_and_their_own_routes_are_not_mentioned() {
    let mut rig = rig();
    rig.reconfigure(|_, config| config.export = reject());
    rig.settle();
    for id in 1..=3 {
        assert!(rig.peers[&id].table.is_empty());
    }
    rig.assert_exact();
    assert_eq!(rig.shard.counts()[0].groups, 1);
    rig.reconfigure(|_, config| config.export = accept());
    rig.settle();
    assert_eq!(rig.peers[&2].table.len(), 2);
    rig.assert_exact();
}

#[test]
fn an_import_policy_is_applied_to_what_is_held() {
    let mut rig = rig();
    rig.reconfigure(|id, config| {
        let set = SetDefinition { med: Some(3), ..SetDefinition::default() };
        if id == 1 {
            config.import = rule(&[P], set, RuleAction::Accept);
        }
    });
    rig.settle();
    assert_eq!(rig.got(2, P).unwrap().med, Some(3), "set here, so it is told");
    rig.reconfigure(|_, config| config.import = reject());
    rig.settle();
    assert!(rig.peers[&2].table.is_empty());
    let counts = rig.shard.peer_counts(PeerId(1)).unwrap()[0];
    assert_eq!((counts.received, counts.accepted), (2, 0));
    rig.reconfigure(|_, config| config.import = None);
    rig.settle();
    assert_eq!(rig.got(2, P).unwrap().med, None);
    rig.assert_exact();
}

#[test]
fn the_same_configuration_again_is_no_news() {
    let mut rig = rig();
    rig.reconfigure(|_, _| {});
    rig.settle();
    assert!(rig.peers.values_mut().all(|peer| peer.news().is_empty()));
}

#[test]
fn switches_of_the_decision_are_applied_to_what_is_held() {
    let mut rig = rig();
    rig.announce(2, P, |attributes| attributes.med = Some(0));
    rig.announce(1, P, |attributes| attributes.med = Some(5));
    assert_eq!(rig.best(P), Some(1));
    let mut global = (*rig.global).clone();
    global.decision.always_compare_med = true;
    rig.global = Arc::new(global);
    rig.reconfigure(|_, _| {});
    rig.settle();
    assert_eq!(rig.best(P), Some(2));
    assert!(rig.got(1, P).is_some() && rig.got(2, P).is_none());
}

#[test]
fn a_peer_that_becomes_a_client_has_its_routes_reflected() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.internal(id));
    rig.announce(1, P, |_| {});
    assert!(rig.got(2, P).is_none());
    rig.reconfigure(|id, config| config.route_reflector_client = id == 1);
    rig.settle();
    assert!(rig.got(2, P).is_some());
    rig.reconfigure(|_, config| config.route_reflector_client = false);
    rig.settle();
    assert!(rig.got(2, P).is_none());
}

#[test]
fn a_change_during_the_first_table_still_ends_it() {
    let mut rig = Rig::new();
    rig.external(1);
    for n in 0..30 {
        rig.announce(1, &format!("10.{n}.0.0/16"), |_| {});
    }
    rig.slice = 5;
    rig.peers.get_mut(&1).unwrap().news();
    // `up` settles; take the session down to its first slices by hand.
    rig.up(2, |spec| spec.config.export = accept());
    rig.down(2);
    rig.up(2, |spec| spec.config.export = accept());
    rig.reconfigure(|id, config| {
        if id == 2 {
            config.export = rule(&["10.4.0.0/16"], SetDefinition::default(), RuleAction::Reject);
        }
    });
    rig.settle();
    let news = rig.peers.get_mut(&2).unwrap().news();
    let ends = news.iter().filter(|heard| matches!(heard, Heard::End(_))).count();
    assert_eq!(ends, 2);
    assert_eq!(rig.peers[&2].table.len(), 29);
    assert!(!rig.peers[&2].table.contains_key(&(net("10.4.0.0/16"), 0)));
}

#[test]
fn a_session_that_came_up_with_former_settings_is_given_the_new_ones() {
    let mut rig = rig();
    let peer = &rig.peers[&2];
    let (epoch, mut config) = (peer.epoch, (*peer.config).clone());
    config.export = reject();
    config.import = reject();
    rig.announce(2, "203.0.113.0/24", |_| {});
    assert_eq!(rig.best("203.0.113.0/24"), Some(2));
    let config = Arc::new(config);
    let event = |epoch| Event::PeerConfig { peer: PeerId(2), epoch, config: Arc::clone(&config) };
    rig.event(event(Epoch(epoch.0 + 100)));
    rig.settle();
    assert_eq!(rig.peers[&2].table.len(), 2, "that is another session");
    rig.event(event(epoch));
    rig.settle();
    assert!(rig.peers[&2].table.is_empty());
    assert_eq!(rig.best("203.0.113.0/24"), None);
}
