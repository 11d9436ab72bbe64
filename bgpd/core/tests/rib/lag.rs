//! Members that are not in step.

use bgp_core::rib::{Event, PeerId};
use bgp_packet::Family;

use super::rig::{Heard, Rig, net};

fn block(rig: &mut Rig, id: u16, blocked: bool) {
    let (peer, epoch) = (PeerId(id), rig.peers[&id].epoch);
    rig.event(if blocked { Event::Blocked(peer, epoch) } else { Event::Drained(peer, epoch) });
}

const ENDS: [Heard; 2] = [Heard::End(Family::IPV4_UNICAST), Heard::End(Family::IPV6_UNICAST)];

#[test]
fn an_empty_table_ends_at_once_in_every_family() {
    let mut rig = Rig::new();
    rig.external(1);
    assert_eq!(rig.peers.get_mut(&1).unwrap().news(), ENDS);
}

#[test]
fn the_first_table_comes_before_its_end() {
    let mut rig = Rig::new();
    rig.external(1);
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.external(2);
    let news = rig.peers.get_mut(&2).unwrap().news();
    assert_eq!(news[0], Heard::Announce(net("192.0.2.0/24")));
    assert_eq!(news[1..], ENDS);
}

#[test]
fn a_route_does_not_go_back_to_where_it_came_from() {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.external(id));
    rig.announce(1, "192.0.2.0/24", |_| {});
    assert!(rig.got(1, "192.0.2.0/24").is_none());
    assert!(rig.got(2, "192.0.2.0/24").is_some() && rig.got(3, "192.0.2.0/24").is_some());
    rig.withdraw(1, "192.0.2.0/24");
    rig.assert_exact();
    assert!(rig.peers.values().all(|peer| peer.table.is_empty()));
}

#[test]
fn when_the_best_moves_the_new_source_alone_is_told_to_forget() {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.external(id));
    rig.announce(2, "192.0.2.0/24", |_| {});
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    rig.announce(1, "192.0.2.0/24", |_| {});
    let news = |rig: &mut Rig, id: u16| rig.peers.get_mut(&id).unwrap().news();
    assert_eq!(news(&mut rig, 1), [Heard::Withdraw(net("192.0.2.0/24"))]);
    assert_eq!(news(&mut rig, 2), [Heard::Announce(net("192.0.2.0/24"))]);
    assert_eq!(news(&mut rig, 3), [Heard::Announce(net("192.0.2.0/24"))]);
}

#[test]
fn withdrawals_go_before_announcements() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.peers.get_mut(&2).unwrap().news();
    let attributes = rig.attributes(1, |_| {});
    rig.send(1, net("198.51.100.0/24"), 0, Some(&attributes));
    rig.send(1, net("192.0.2.0/24"), 0, None);
    rig.settle();
    assert_eq!(
        rig.peers.get_mut(&2).unwrap().news(),
        [Heard::Withdraw(net("192.0.2.0/24")), Heard::Announce(net("198.51.100.0/24"))]
    );
}

#[test]
fn a_blocked_member_is_sent_nothing_and_then_only_the_last_state() {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.external(id));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.announce(1, "203.0.113.0/24", |_| {});
    block(&mut rig, 2, true);
    rig.peers.values_mut().for_each(|peer| drop(peer.news()));
    for med in 0..10 {
        rig.announce(1, "198.51.100.0/24", |attributes| attributes.med = Some(med));
        rig.announce(1, "192.0.2.0/24", |_| {});
        rig.withdraw(1, "192.0.2.0/24");
    }
    assert!(rig.peers.get_mut(&2).unwrap().news().is_empty());
    assert_eq!(rig.peers.get_mut(&3).unwrap().news().len(), 29, "MED is not passed on");
    block(&mut rig, 2, false);
    rig.settle();
    let mut news = rig.peers.get_mut(&2).unwrap().news();
    news.sort_by_key(|heard| matches!(heard, Heard::Announce(_)));
    assert_eq!(
        news,
        [Heard::Withdraw(net("192.0.2.0/24")), Heard::Announce(net("198.51.100.0/24"))]
    );
    rig.assert_exact();
    rig.announce(1, "192.0.2.0/24", |_| {});
    assert_eq!(rig.peers[&2].table, rig.peers[&3].table, "in step again");
}

#[test]
fn what_came_and_went_during_a_blockade_is_never_mentioned() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    block(&mut rig, 2, true);
    rig.peers.get_mut(&2).unwrap().news();
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.withdraw(1, "192.0.2.0/24");
    block(&mut rig, 2, false);
    rig.settle();
    assert!(rig.peers.get_mut(&2).unwrap().news().is_empty());
    assert_eq!(rig.shard.counts()[0].prefixes, 0);
}

#[test]
fn a_prefix_that_a_blocked_member_must_forget_keeps_its_place() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    rig.announce(1, "192.0.2.0/24", |_| {});
    block(&mut rig, 2, true);
    rig.withdraw(1, "192.0.2.0/24");
    // Would take over the place of the prefix that is gone.
    rig.announce(1, "198.51.100.0/24", |_| {});
    block(&mut rig, 2, false);
    rig.settle();
    let held: Vec<_> = rig.peers[&2].table.keys().map(|(prefix, _)| *prefix).collect();
    assert_eq!(held, [net("198.51.100.0/24")]);
}

#[test]
fn members_that_come_while_a_table_is_sent_get_all_of_it() {
    let mut rig = Rig::new();
    rig.external(1);
    for n in 0..50 {
        rig.announce(1, &format!("10.{n}.0.0/16"), |_| {});
    }
    rig.slice = 7;
    // Sessions come up one slice after the other; none waits for the end of another's table.
    for id in 2..6 {
        rig.up(id, |_| {});
        rig.step();
    }
    rig.withdraw(1, "10.3.0.0/16");
    rig.settle();
    for id in 2..6 {
        assert_eq!(rig.peers[&id].table.len(), 49);
    }
    rig.assert_exact();
}

#[test]
fn a_session_that_ends_takes_its_routes_along_and_a_new_one_is_not_confused() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    for n in 0..20 {
        rig.announce(1, &format!("10.{n}.0.0/16"), |_| {});
    }
    rig.slice = 3;
    rig.down(1);
    rig.external(1);
    rig.announce(1, "10.5.0.0/16", |_| {});
    rig.settle();
    let held: Vec<_> = rig.peers[&2].table.keys().map(|(prefix, _)| *prefix).collect();
    assert_eq!(held, [net("10.5.0.0/16")]);
    let notes = std::mem::take(&mut rig.notes);
    assert!(
        notes
            .iter()
            .any(|note| matches!(note, bgp_core::rib::Effect::Flushed { peer: PeerId(1), .. }))
    );
}

#[test]
fn routes_of_an_old_session_are_dropped() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    let old = rig.peers[&1].epoch;
    rig.external(1);
    rig.peers.get_mut(&1).unwrap().epoch = old;
    rig.announce(1, "192.0.2.0/24", |_| {});
    assert!(rig.peers[&2].table.is_empty());
}

#[test]
fn members_with_the_same_output_share_their_octets() {
    let mut rig = Rig::new();
    (1..=5).for_each(|id| rig.external(id));
    let attributes = rig.attributes(1, |_| {});
    rig.send(1, net("192.0.2.0/24"), 0, Some(&attributes));
    // The next hop is answered at once; deciding again is work.
    let mut out = Vec::new();
    rig.shard.work(0, 100, &mut out);
    let sends: Vec<_> = out
        .iter()
        .filter_map(|effect| match effect {
            bgp_core::rib::Effect::Send { to, except, .. } => Some((to.len(), *except)),
            _ => None,
        })
        .collect();
    assert_eq!(sends, [(5, Some(PeerId(1)))], "one message for all but the source");
}
