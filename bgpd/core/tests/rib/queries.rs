//! Rows and counts.

use bgp_core::rib::{Effect, PeerId, Reason, RouteRow, Select, View};
use bgp_packet::Asn;

use super::rig::{OUR_ASN, Rig, net, reject};

const P: &str = "192.0.2.0/24";

fn reasons(rows: &[RouteRow]) -> Vec<(Option<u16>, bool, Reason)> {
    rows.iter().map(|row| (row.peer.map(|peer| peer.0), row.best, row.reason)).collect()
}

#[test]
fn every_path_says_why_it_is_or_is_not_the_best() {
    let mut rig = Rig::new();
    (1..=5).for_each(|id| rig.external(id));
    rig.announce(1, P, |_| {});
    let only = rig.rows(Select::Exact(net(P)), View::Table);
    assert_eq!(reasons(&only), [(Some(1), true, Reason::OnlyPath)]);
    rig.announce(2, P, |_| {});
    rig.announce(3, P, |attributes| attributes.as_path.prepend(Asn(65003), 1));
    rig.announce(4, P, |attributes| attributes.as_path.prepend(OUR_ASN, 1));
    rig.announce(5, P, |_| {});
    rig.resolve("10.0.0.5", None);
    let rows = rig.rows(Select::Exact(net(P)), View::Table);
    assert_eq!(
        reasons(&rows),
        [
            (Some(1), true, Reason::RouterId),
            (Some(2), false, Reason::RouterId),
            (Some(3), false, Reason::AsPathLength),
            (Some(4), false, Reason::AsLoop),
            (Some(5), false, Reason::NextHopUnreachable),
        ]
    );
}

#[test]
fn refused_routes_are_shown_as_received_only() {
    let mut rig = Rig::new();
    rig.up(1, |spec| spec.config.import = reject());
    rig.announce(1, P, |_| {});
    assert!(rig.rows(Select::All, View::Table).is_empty());
    assert!(rig.rows(Select::All, View::Received(PeerId(1))).is_empty());
    let rows = rig.rows(Select::All, View::ReceivedPrePolicy(PeerId(1)));
    assert_eq!(reasons(&rows), [(Some(1), false, Reason::Policy)]);
}

#[test]
fn an_address_is_looked_up_by_its_longest_match() {
    let mut rig = Rig::new();
    rig.external(1);
    for prefix in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32"] {
        rig.announce(1, prefix, |attributes| {
            if prefix.contains(':') {
                attributes.next_hop.address = "2001:db8::1".parse().unwrap();
            }
        });
    }
    let longest = |address: &str| -> Vec<String> {
        let select = Select::Longest(address.parse().unwrap());
        rig.rows(select, View::Table).iter().map(|row| row.prefix.to_string()).collect()
    };
    assert_eq!(longest("10.1.2.3"), ["10.1.2.0/24"]);
    assert_eq!(longest("10.1.3.3"), ["10.1.0.0/16"]);
    assert_eq!(longest("10.9.9.9"), ["10.0.0.0/8"]);
    assert_eq!(longest("192.0.2.1"), ["0.0.0.0/0"]);
    assert_eq!(longest("2001:db8::1"), ["2001:db8::/32"]);
    assert!(longest("2001:db9::1").is_empty());
    let within = rig.rows(Select::Within(net("10.1.0.0/16")), View::Best);
    assert_eq!(within.len(), 2);
    assert_eq!(rig.rows(Select::All, View::Table).len(), 5);
}

#[test]
fn what_is_advertised_is_what_the_peer_holds() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    rig.up(3, |spec| spec.client());
    rig.up(4, |spec| spec.route_server_client());
    rig.up(5, |spec| spec.route_server_client());
    rig.up(9, |spec| spec.add_path(2));
    for id in [1, 2, 3, 4, 5] {
        rig.announce(id, P, |attributes| attributes.med = Some(u32::from(id)));
        rig.announce(id, &format!("10.{id}.0.0/16"), |_| {});
    }
    for id in [1, 2, 3, 4, 5, 9] {
        let mut told: Vec<_> = rig
            .rows(Select::All, View::Advertised(PeerId(id)))
            .iter()
            .map(|row| ((row.prefix, row.path_id.unwrap_or(0)), row.attributes.decode()))
            .collect();
        told.sort_by_key(|(key, _)| *key);
        let held: Vec<_> =
            rig.peers[&id].table.iter().map(|(key, held)| (*key, held.clone())).collect();
        assert_eq!(told, held, "p{id}");
    }
}

#[test]
fn ages_and_sources_are_kept() {
    let mut rig = Rig::new();
    rig.now = 17;
    rig.originate(P, |_| {});
    let rows = rig.rows(Select::All, View::Table);
    assert_eq!((rows[0].since, rows[0].peer, rows[0].peer_name.clone()), (17, None, None));
    assert_eq!(rows[0].path_id, None);
}

#[test]
fn a_watcher_hears_of_each_best_route() {
    let mut rig = Rig::new();
    rig.external(1);
    rig.announce(1, "198.51.100.0/24", |_| {});
    rig.shard.watch(true);
    rig.announce(1, P, |_| {});
    rig.withdraw(1, P);
    rig.shard.watch(false);
    rig.announce(1, P, |_| {});
    let heard: Vec<_> = rig
        .notes
        .iter()
        .filter_map(|note| match note {
            Effect::Changed { prefix, best } => Some((*prefix, best.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(heard, [(net(P), true), (net(P), false)]);
}
