//! Walks that overtake the work of a change: members in step must hear what a walk finds first.

use bgp_core::rib::{Event, Install, PeerId};
use bgp_packet::{Asn, Family, RefreshKind, RouteRefresh};

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
    rig.event(Event::PeerDown { peer: PeerId(id), epoch });
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
