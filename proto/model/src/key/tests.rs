use super::*;

fn keys() -> Vec<Key> {
    let mut keys = vec![
        Key::Block("10.1.2.0/26".parse().unwrap()),
        Key::Block("fd00::40/122".parse().unwrap()),
        Key::NodeLease("node-1".into()),
    ];
    for kind in Kind::ALL {
        keys.push(match kind.scope() {
            Scope::Cluster => Key::cluster(*kind, "one.two"),
            Scope::Namespaced => Key::namespaced(*kind, "space", "one.two"),
        });
    }
    keys
}

#[test]
fn every_key_reads_back_from_its_path() {
    let guards = [Guard::Pools, Guard::Tiers].map(Key::Guard);
    for key in keys().into_iter().chain(guards) {
        assert_eq!(Key::from_path(&key.path()), Ok(key));
    }
}

#[test]
fn paths_are_those_of_calico() {
    let pool = Key::cluster(Kind::IpPool, "default-ipv4-ippool");
    assert_eq!(pool.path(), "resources/v3/projectcalico.org/ippools/default-ipv4-ippool");
    let policy = Key::namespaced(Kind::NetworkPolicy, "prod", "default.allow-dns");
    assert_eq!(
        policy.path(),
        "resources/v3/projectcalico.org/networkpolicies/prod/default.allow-dns"
    );
}

#[test]
fn what_calico_does_not_keep_lies_where_its_tools_do_not_look() {
    let slice = Key::namespaced(Kind::EndpointSlice, "prod", "web-1");
    assert_eq!(slice.path(), "/margay/resources/v1/endpointslices/prod/web-1");
}

#[test]
fn a_path_that_is_no_key_is_refused() {
    for path in [
        "",
        "/margay/ipam/v1/blocks/10.1.2.1-26",
        "/margay/ipam/v1/blocks/10.1.2.0",
        "/margay/nodes/v1/leases/",
        "/margay/guards/v1/others",
        "resources/v3/projectcalico.org/nothings/a",
        "resources/v3/projectcalico.org/ippools/",
        "resources/v3/projectcalico.org/ippools/a/b",
        "resources/v3/projectcalico.org/networkpolicies/a",
        "resources/v3/projectcalico.org/networkpolicies//a",
        "resources/v3/projectcalico.org/networkpolicies/a/b/c",
        "resources/v3/projectcalico.org/endpointslices/a/b",
        "/margay/resources/v1/ippools/a",
        "/margay/resources/v1/endpointslices/a",
    ] {
        assert!(Key::from_path(path).is_err(), "{path}");
    }
}

fn undo(piece: Piece) -> Key {
    Key::Undo(Undo { request: "0f-1".into(), piece })
}

#[test]
fn the_pieces_of_a_request_have_one_path_each() {
    for piece in [Piece::Head, Piece::Before(0), Piece::Before(7), Piece::Part(u32::MAX)] {
        let key = undo(piece);
        assert_eq!(Key::from_path(&key.path()), Ok(key));
    }
    for rest in
        ["", "head", "/head", "A/head", "0f/part-1", "0f/part-+000000001", "0f/other", "0f/head/x"]
    {
        let path = format!("/margay/undo/v1/{rest}");
        assert!(Key::from_path(&path).is_err(), "{path}");
    }
}

#[test]
fn an_area_holds_its_own_keys_only() {
    let all = keys();
    assert!(all.iter().all(|key| Area::All.contains(key)));
    assert!(!Area::All.contains(&Key::Guard(Guard::Pools)));
    assert!(!Area::All.contains(&undo(Piece::Head)) && Area::Undo.contains(&undo(Piece::Head)));
    let resources = all.iter().filter(|key| Area::Resources.contains(key)).count();
    assert_eq!(resources, Kind::ALL.len());
    assert_eq!(all.iter().filter(|key| Area::Blocks.contains(key)).count(), 2);
    let area = Area::Kind(Kind::NetworkPolicy, Some("space".into()));
    assert_eq!(all.iter().filter(|key| area.contains(key)).count(), 1);
    let area = Area::Kind(Kind::NetworkPolicy, Some("other".into()));
    assert_eq!(all.iter().filter(|key| area.contains(key)).count(), 0);
}

#[test]
fn the_paths_of_an_area_begin_as_it_says_and_those_of_others_do_not() {
    let keys = [
        Key::cluster(Kind::IpPool, "a"),
        Key::cluster(Kind::Node, "a"),
        Key::namespaced(Kind::NetworkPolicy, "ns", "a"),
        Key::namespaced(Kind::NetworkPolicy, "ns2", "a"),
        Key::Block("10.0.0.0/26".parse().unwrap()),
        Key::NodeLease("node1".into()),
        Key::Guard(Guard::Tiers),
        undo(Piece::Part(1)),
    ];
    let areas = [
        Area::Undo,
        Area::All,
        Area::Resources,
        Area::Kind(Kind::IpPool, None),
        Area::Kind(Kind::NetworkPolicy, Some("ns".into())),
        Area::Blocks,
        Area::NodeLeases,
        Area::Ipam,
    ];
    for area in areas {
        let prefixes = area.path_prefixes();
        assert!(prefixes.is_sorted());
        for key in &keys {
            let begins = prefixes.iter().any(|prefix| key.path().starts_with(prefix.as_str()));
            assert_eq!(begins, area.contains(key), "{area:?} {key}");
        }
    }
}
