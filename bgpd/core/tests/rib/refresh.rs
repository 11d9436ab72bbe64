//! Route refresh and its brackets (RFC 2918, RFC 7313).

use bgp_core::rib::{Effect, Event, PeerId, SoftReset};
use bgp_packet::{Capability, Family, RefreshKind, RouteRefresh};

use super::rig::{Heard, Rig, accept, net};

const V4: Family = Family::IPV4_UNICAST;

fn refresh(rig: &mut Rig, id: u16, kind: RefreshKind) {
    let refresh = RouteRefresh { family: V4, kind };
    let event = Event::Refresh { peer: PeerId(id), epoch: rig.peers[&id].epoch, refresh };
    rig.event(event);
    rig.settle();
}

fn pair() -> Rig {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.announce(1, "198.51.100.0/24", |_| {});
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    rig
}

fn prefixes(rig: &Rig, id: u16) -> Vec<String> {
    rig.peers[&id].table.keys().map(|(prefix, _)| prefix.to_string()).collect()
}

#[test]
fn a_request_is_answered_with_everything_in_brackets() {
    let mut rig = pair();
    refresh(&mut rig, 2, RefreshKind::Request);
    let news = rig.peers.get_mut(&2).unwrap().news();
    assert_eq!(
        news,
        [
            Heard::Refresh(RefreshKind::Begin),
            Heard::Announce(net("192.0.2.0/24")),
            Heard::Announce(net("198.51.100.0/24")),
            Heard::Refresh(RefreshKind::End),
        ]
    );
    assert!(rig.peers.get_mut(&1).unwrap().news().is_empty());
}

#[test]
fn the_source_of_all_routes_is_told_nothing_but_the_brackets() {
    let mut rig = pair();
    refresh(&mut rig, 1, RefreshKind::Request);
    let news = rig.peers.get_mut(&1).unwrap().news();
    assert_eq!(news, [Heard::Refresh(RefreshKind::Begin), Heard::Refresh(RefreshKind::End)]);
}

#[test]
fn a_peer_without_the_enhancement_gets_no_brackets() {
    let mut rig = Rig::new();
    rig.external(1);
    rig.up(2, |spec| spec.negotiated.enhanced_refresh = false);
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.peers.get_mut(&2).unwrap().news();
    // And its subtype means nothing: this is a request.
    refresh(&mut rig, 2, RefreshKind::Begin);
    let news = rig.peers.get_mut(&2).unwrap().news();
    assert_eq!(news, [Heard::Announce(net("192.0.2.0/24"))]);
}

#[test]
fn requests_during_a_refresh_are_merged_into_one_more() {
    let mut rig = pair();
    for _ in 0..5 {
        let refresh = RouteRefresh { family: V4, kind: RefreshKind::Request };
        let event = Event::Refresh { peer: PeerId(2), epoch: rig.peers[&2].epoch, refresh };
        rig.event(event);
    }
    rig.settle();
    let news = rig.peers.get_mut(&2).unwrap().news();
    let begun = news.iter().filter(|h| **h == Heard::Refresh(RefreshKind::Begin)).count();
    assert_eq!(begun, 2, "{news:?}");
    assert_eq!(news.last(), Some(&Heard::Refresh(RefreshKind::End)));
}

#[test]
fn a_walk_answers_all_requests_before_it_and_none_follows_unasked() {
    let mut rig = pair();
    let request = RouteRefresh { family: V4, kind: RefreshKind::Request };
    let ask = |rig: &mut Rig| {
        rig.event(Event::Refresh { peer: PeerId(2), epoch: rig.peers[&2].epoch, refresh: request });
    };
    // The second comes during a walk, the third after it and before the one that is owed.
    ask(&mut rig);
    ask(&mut rig);
    let mut news = Vec::new();
    while news.last() != Some(&Heard::Refresh(RefreshKind::End)) {
        assert!(rig.step(), "another walk is owed");
        news.extend(rig.peers.get_mut(&2).unwrap().news());
    }
    ask(&mut rig);
    rig.settle();
    news.extend(rig.peers.get_mut(&2).unwrap().news());
    let begun = news.iter().filter(|h| **h == Heard::Refresh(RefreshKind::Begin)).count();
    assert_eq!(begun, 2, "{news:?}");
}

#[test]
fn a_withdrawal_during_a_refresh_is_not_lost() {
    let mut rig = pair();
    rig.slice = 1;
    let begin = RouteRefresh { family: V4, kind: RefreshKind::Request };
    rig.event(Event::Refresh { peer: PeerId(2), epoch: rig.peers[&2].epoch, refresh: begin });
    rig.step();
    rig.withdraw(1, "192.0.2.0/24");
    rig.withdraw(1, "198.51.100.0/24");
    rig.settle();
    assert!(rig.peers[&2].table.is_empty());
    rig.assert_exact();
}

#[test]
fn what_is_not_repeated_between_the_brackets_goes() {
    let mut rig = pair();
    refresh(&mut rig, 1, RefreshKind::Begin);
    rig.announce(1, "198.51.100.0/24", |_| {});
    assert_eq!(prefixes(&rig, 2).len(), 2, "nothing goes before the end");
    refresh(&mut rig, 1, RefreshKind::End);
    assert_eq!(prefixes(&rig, 2), ["198.51.100.0/24"]);
}

#[test]
fn a_second_beginning_marks_again() {
    let mut rig = pair();
    refresh(&mut rig, 1, RefreshKind::Begin);
    rig.announce(1, "192.0.2.0/24", |_| {});
    refresh(&mut rig, 1, RefreshKind::Begin);
    rig.announce(1, "198.51.100.0/24", |_| {});
    refresh(&mut rig, 1, RefreshKind::End);
    assert_eq!(prefixes(&rig, 2), ["198.51.100.0/24"]);
}

#[test]
fn an_end_without_a_beginning_is_ignored() {
    let mut rig = pair();
    refresh(&mut rig, 1, RefreshKind::End);
    assert_eq!(prefixes(&rig, 2).len(), 2);
}

#[test]
fn a_beginning_before_the_end_of_rib_of_a_restarting_peer_is_ignored() {
    let mut rig = Rig::new();
    rig.up(1, |spec| {
        spec.negotiated.received.capabilities.push(Capability::GracefulRestart {
            restarting: false,
            notification: false,
            restart_time: 120,
            families: Vec::new(),
        });
    });
    rig.external(2);
    rig.announce(1, "192.0.2.0/24", |_| {});
    refresh(&mut rig, 1, RefreshKind::Begin);
    refresh(&mut rig, 1, RefreshKind::End);
    assert_eq!(prefixes(&rig, 2), ["192.0.2.0/24"]);
    rig.event(Event::EndOfRib { peer: PeerId(1), epoch: rig.peers[&1].epoch, family: V4 });
    refresh(&mut rig, 1, RefreshKind::Begin);
    refresh(&mut rig, 1, RefreshKind::End);
    assert!(rig.peers[&2].table.is_empty());
}

#[test]
fn a_refresh_that_never_ends_is_ended_for_the_peer() {
    let mut rig = pair();
    refresh(&mut rig, 1, RefreshKind::Begin);
    rig.announce(1, "198.51.100.0/24", |_| {});
    rig.now = 360;
    rig.settle();
    assert_eq!(prefixes(&rig, 2).len(), 2);
    rig.now = 361;
    rig.settle();
    assert_eq!(prefixes(&rig, 2), ["198.51.100.0/24"]);
}

#[test]
fn a_soft_reset_out_sends_everything_again() {
    let mut rig = pair();
    rig.event(Event::SoftReset { peer: PeerId(2), direction: SoftReset::Out });
    rig.settle();
    let news = rig.peers.get_mut(&2).unwrap().news();
    let sent = news.iter().filter(|heard| matches!(heard, Heard::Announce(_))).count();
    assert_eq!(sent, 2);
    assert!(rig.notes.iter().all(|note| !matches!(note, Effect::MaxPrefixes { .. })));
}

#[test]
fn a_refresh_that_a_new_policy_cuts_short_is_done_over_and_closed() {
    let mut rig = pair();
    rig.slice = 1;
    let request = RouteRefresh { family: V4, kind: RefreshKind::Request };
    rig.event(Event::Refresh { peer: PeerId(2), epoch: rig.peers[&2].epoch, refresh: request });
    rig.step();
    rig.reconfigure(|id, config| {
        if id == 2 {
            config.export = accept();
        }
    });
    rig.settle();
    let news = rig.peers.get_mut(&2).unwrap().news();
    let last = news.iter().rposition(|heard| *heard == Heard::Refresh(RefreshKind::Begin)).unwrap();
    let again = news[last..].iter().filter(|heard| matches!(heard, Heard::Announce(_))).count();
    assert_eq!(again, 2, "{news:?}");
    assert_eq!(news.last(), Some(&Heard::Refresh(RefreshKind::End)));
    rig.assert_exact();
}
