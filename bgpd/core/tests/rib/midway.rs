//! Walks that overtake the work of a change: members in step must hear what a walk finds first.

use bgp_core::{
    config::{MaxPrefixAction, MaxPrefixes},
    rib::{Effect, Event, Install, PeerId, RouteCursor, RouteQuery, Select, View},
};
use bgp_packet::{Asn, Family, FamilySet, RefreshKind, RouteRefresh};

use super::rig::{Rig, net};

const PREFIXES: u16 = 600;
/// Slots a walk has passed when the change happens; more than a scan takes in one go.
const AHEAD: usize = 400;

fn prefix(number: u16) -> String {
    format!("10.{}.{}.0/24", 1 + number / 256, number % 256)
}

/// Two feeders (1 and 2) with the same prefixes; `member` 8 is in step, 9 is in the middle of a
/// refresh.
fn halfway(mut rig: Rig, feeder: fn(&mut Rig, u16), member: fn(&mut Rig, u16)) -> Rig {
    for id in [1, 2] {
        feeder(&mut rig, id);
    }
    for id in [8, 9] {
        member(&mut rig, id);
    }
    for number in 0..PREFIXES {
        for id in [1, 2] {
            let attributes = rig.attributes(id, |a| {
                if id == 2 {
                    a.as_path.prepend(Asn(64999), 1);
                }
            });
            rig.send(id, net(&prefix(number)), 0, Some(&attributes));
        }
    }
    rig.settle();
    let (epoch, family) = (rig.peers[&9].epoch, Family::IPV4_UNICAST);
    let refresh = RouteRefresh { family, kind: RefreshKind::Request };
    rig.event(Event::Refresh { peer: PeerId(9), epoch, refresh });
    rig.slice = 1;
    for _ in 0..AHEAD {
        rig.step();
    }
    rig
}

fn open() -> Rig {
    Rig::with(|global| global.require_policy = false, Install::Nothing)
}

fn dies(rig: &mut Rig, id: u16) {
    let epoch = rig.peers[&id].epoch;
    rig.event(Event::PeerDown { peer: PeerId(id), epoch, keep: FamilySet::EMPTY });
    rig.settle();
}

#[test]
fn paths_of_a_dead_session_are_withdrawn_from_members_that_did_not_walk() {
    let feeder = |rig: &mut Rig, id| rig.external(id);
    let member = |rig: &mut Rig, id| rig.up(id, |spec| spec.add_path(2));
    let mut rig = halfway(open(), feeder, member);
    dies(&mut rig, 1);
    for id in [8, 9] {
        assert_eq!(rig.peers[&id].table.len(), usize::from(PREFIXES), "held by p{id}");
    }
}

#[test]
fn a_route_server_client_loses_its_rival_when_that_dies_during_the_walk_of_another() {
    let client = |rig: &mut Rig, id| rig.up(id, |spec| spec.route_server_client());
    let mut rig = halfway(open(), client, client);
    // Feeder 2 was told the routes of 1, and has the only ones now.
    dies(&mut rig, 1);
    assert_eq!(rig.peers[&2].table.len(), 0, "held by p2");
    for id in [8, 9] {
        assert_eq!(rig.peers[&id].table.len(), usize::from(PREFIXES), "held by p{id}");
    }
}

#[test]
fn a_client_that_is_none_any_more_is_withdrawn_from_all_that_are_not_clients() {
    let feeder = |rig: &mut Rig, id| {
        rig.up(id, |spec| match id {
            1 => spec.client(),
            _ => spec.internal(),
        })
    };
    let member = |rig: &mut Rig, id| rig.internal(id);
    let mut rig = halfway(open(), feeder, member);
    assert_eq!(rig.peers[&8].table.len(), usize::from(PREFIXES));
    rig.reconfigure(|_, config| config.route_reflector_client = false);
    rig.settle();
    for id in [8, 9] {
        assert_eq!(rig.peers[&id].table.len(), 0, "held by p{id}");
    }
}

#[test]
fn prefixes_that_come_and_go_while_a_member_is_blocked_take_no_lasting_place() {
    let mut rig = open();
    for id in [1, 8, 9] {
        rig.external(id);
    }
    rig.announce(1, "192.0.2.0/24", |_| {});
    let epoch = rig.peers[&9].epoch;
    rig.event(Event::Blocked(PeerId(9), epoch));
    rig.announce(1, "198.51.100.0/24", |_| {});
    rig.withdraw(1, "192.0.2.0/24");
    for number in 0..5000_u16 {
        rig.announce(1, &prefix(number), |_| {});
        rig.withdraw(1, &prefix(number));
    }
    let query = RouteQuery { select: Select::All, family: None, view: View::Best };
    let (mut cursor, mut rows, mut turns) = (RouteCursor::default(), Vec::new(), 1);
    while !rig.shard.routes(&query, &mut cursor, 100, &mut rows) {
        turns += 1;
    }
    assert!(turns <= 3, "{turns} times 100 places");
    rig.event(Event::Drained(PeerId(9), epoch));
    rig.settle();
    let held: Vec<_> = rig.peers[&9].table.keys().map(|(prefix, _)| *prefix).collect();
    assert_eq!(held, [net("198.51.100.0/24")]);
    rig.assert_exact();
}

#[test]
fn a_lower_limit_of_prefixes_counts_at_once() {
    let mut rig = open();
    rig.external(1);
    for number in 0..10 {
        rig.announce(1, &prefix(number), |_| {});
    }
    let action = MaxPrefixAction::Shutdown;
    rig.reconfigure(|_, config| {
        config.max_prefixes = Some(MaxPrefixes { limit: 5, warn_at: 0.8, action });
    });
    rig.settle();
    let exceeded =
        |note: &Effect| matches!(note, Effect::MaxPrefixes { count: 10, warning: false, .. });
    assert_eq!(rig.notes.iter().filter(|note| exceeded(note)).count(), 1, "{:?}", rig.notes);
}

#[test]
fn a_member_that_was_blocked_may_find_an_empty_table() {
    let mut rig = open();
    for id in [1, 9] {
        rig.external(id);
    }
    let epoch = rig.peers[&9].epoch;
    rig.event(Event::Blocked(PeerId(9), epoch));
    for number in 0..10 {
        rig.announce(1, &prefix(number), |_| {});
    }
    for number in 0..10 {
        rig.withdraw(1, &prefix(number));
    }
    rig.event(Event::Drained(PeerId(9), epoch));
    rig.settle();
    assert!(rig.peers[&9].table.is_empty());
    rig.assert_exact();
}
