//! A peer is never told to reach a route through itself (RFC 4271 §5.1.3).

use std::net::Ipv4Addr;

use bgp_core::{
    config::NextHopMode,
    rib::{NotSent, PeerId, Select, View},
};
use bgp_packet::{Asn, NextHop, PathAttributes};

use super::rig::{Heard, Rig, net};

const P: &str = "192.0.2.0/24";

/// Through the peer at 10.0.0.id.
fn via(id: u8) -> impl FnOnce(&mut PathAttributes) {
    move |attributes| attributes.next_hop = NextHop::new(Ipv4Addr::new(10, 0, 0, id))
}

fn outcomes(rig: &Rig, to: u16) -> Vec<Result<(), NotSent>> {
    let explanation = rig.shard.explain(net(P), Some(PeerId(to))).unwrap();
    let considered = explanation.export.unwrap().considered;
    considered.into_iter().map(|path| path.outcome.map(drop)).collect()
}

#[test]
fn internal_peers_are_not_told_of_themselves() {
    let mut rig = Rig::new();
    rig.external(1);
    (2..=4).for_each(|id| rig.internal(id));
    rig.announce(1, P, via(3));
    assert!(rig.got(2, P).is_some() && rig.got(4, P).is_some());
    assert!(rig.got(3, P).is_none());
    assert_eq!(outcomes(&rig, 3), [Err(NotSent::OwnNextHop)]);
    assert_eq!(outcomes(&rig, 2), [Ok(())]);
    assert!(rig.rows(Select::Exact(net(P)), View::Advertised(PeerId(3))).is_empty());
    assert_eq!(rig.shard.counts()[0].groups, 2, "the internal peers share theirs");
    rig.assert_exact();
}

#[test]
fn what_such_a_peer_had_is_withdrawn_and_comes_back() {
    let mut rig = Rig::new();
    rig.external(1);
    (2..=3).for_each(|id| rig.internal(id));
    rig.announce(1, P, |_| {});
    assert!(rig.got(3, P).is_some());
    rig.peers.get_mut(&3).unwrap().news();
    rig.announce(1, P, via(3));
    assert_eq!(rig.peers.get_mut(&3).unwrap().news(), [Heard::Withdraw(net(P))]);
    assert!(rig.got(2, P).is_some());
    rig.assert_exact();
    rig.announce(1, P, via(2));
    assert!(rig.got(3, P).is_some() && rig.got(2, P).is_none());
}

#[test]
fn a_first_table_and_a_refresh_leave_it_out() {
    let mut rig = Rig::new();
    rig.external(1);
    rig.announce(1, P, via(3));
    rig.announce(1, "198.51.100.0/24", |_| {});
    (2..=3).for_each(|id| rig.internal(id));
    assert!(rig.got(2, P).is_some() && rig.got(3, P).is_none());
    assert!(rig.got(3, "198.51.100.0/24").is_some());
    rig.event(bgp_core::rib::Event::SoftReset {
        peer: PeerId(3),
        direction: bgp_core::rib::SoftReset::Out,
    });
    rig.settle();
    assert!(rig.got(3, P).is_none() && rig.got(3, "198.51.100.0/24").is_some());
}

#[test]
fn neither_the_source_nor_the_next_hop_of_a_group_is_told() {
    let mut rig = Rig::new();
    for id in 1..=4 {
        rig.up(id, |spec| spec.config.next_hop = NextHopMode::Unchanged);
    }
    rig.announce(1, P, |_| {});
    rig.announce(1, P, via(2));
    assert!(rig.got(3, P).is_some() && rig.got(4, P).is_some());
    assert!(rig.got(1, P).is_none() && rig.got(2, P).is_none());
    rig.down(2);
    rig.up(2, |spec| spec.config.next_hop = NextHopMode::Unchanged);
    assert!(rig.got(2, P).is_none());
    rig.assert_exact();
}

#[test]
fn clients_of_a_route_server_are_not_told_of_themselves() {
    let mut rig = Rig::new();
    (1..=3).for_each(|id| rig.up(id, |spec| spec.route_server_client()));
    rig.announce(1, P, via(2));
    assert!(rig.got(3, P).is_some() && rig.got(2, P).is_none());
    assert_eq!(outcomes(&rig, 2), [Err(NotSent::OwnNextHop)]);
    // The best route's source gets the next one, but not through itself.
    rig.announce(3, P, |attributes| {
        attributes.as_path.prepend(Asn(65003), 1);
        via(1)(attributes);
    });
    assert!(rig.got(1, P).is_none());
    assert_eq!(outcomes(&rig, 1), [Err(NotSent::SplitHorizon), Err(NotSent::OwnNextHop)]);
    assert!(rig.got(2, P).is_none(), "nothing comes instead");
}

#[test]
fn single_paths_are_left_out_with_add_path() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    for id in 3..=4 {
        rig.up(id, |spec| {
            spec.internal();
            spec.add_path(4);
        });
    }
    rig.announce(1, P, |_| {});
    rig.announce(2, P, |_| {});
    assert_eq!(rig.peers[&3].table.len(), 2);
    rig.announce(2, P, via(3));
    assert_eq!(rig.peers[&3].table.len(), 1);
    assert_eq!(rig.peers[&4].table.len(), 2);
    assert!(outcomes(&rig, 3).contains(&Err(NotSent::OwnNextHop)));
    rig.announce(2, P, |_| {});
    assert_eq!(rig.peers[&3].table.len(), 2);
    rig.assert_exact();
}

#[test]
fn external_peers_on_a_shared_network_are_told_of_each_other_but_not_of_themselves() {
    let mut rig = Rig::new();
    for id in 1..=3 {
        rig.up(id, |spec| spec.addresses.subnet = Some(net("10.0.0.0/24")));
    }
    let told = |rig: &Rig, to| rig.got(to, P).map(|attributes| attributes.next_hop.address);
    rig.announce(1, P, |_| {});
    assert_eq!(told(&rig, 2), Some(Ipv4Addr::new(10, 0, 0, 1).into()));
    rig.announce(1, P, via(3));
    assert_eq!(told(&rig, 2), Some(Ipv4Addr::new(10, 0, 0, 3).into()));
    assert_eq!(told(&rig, 3), None);
    assert_eq!(outcomes(&rig, 3), [Err(NotSent::OwnNextHop)]);
    rig.announce(1, P, |attributes| attributes.next_hop = NextHop::new([10, 0, 9, 9]));
    let ours = Some(Ipv4Addr::new(10, 0, 0, 100).into());
    assert_eq!((told(&rig, 2), told(&rig, 3)), (ours, ours));
    assert_eq!(rig.shard.counts()[0].groups, 1, "they share a group");
}
