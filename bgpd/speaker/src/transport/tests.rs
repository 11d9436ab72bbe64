use bgp_core::config::{
    AddPathConfig, DecisionConfig, LocalAsnMode, NextHopMode, PeerAddress, RemovePrivate,
};
use bgp_packet::Asn;

use super::*;

pub(crate) fn global() -> GlobalConfig {
    let router_id = std::net::Ipv4Addr::new(10, 0, 0, 1);
    GlobalConfig {
        asn: Asn(65001),
        router_id,
        listen: Vec::new(),
        cluster_id: router_id,
        confederation: None,
        multipath_ebgp: 1,
        multipath_ibgp: 1,
        multipath_relax: false,
        require_policy: true,
        decision: DecisionConfig {
            always_compare_med: false,
            missing_med_worst: false,
            deterministic_med: true,
            prefer_older: false,
        },
        originate: Vec::new(),
        redistribute: Vec::new(),
    }
}

pub(crate) fn peer(asn: PeerAsn) -> PeerConfig {
    PeerConfig {
        name: "peer".to_owned(),
        group: None,
        address: PeerAddress::Interface("eth0".to_owned()),
        port: 179,
        asn,
        local_asn: None,
        local_asn_mode: LocalAsnMode::Prepend,
        local_address: None,
        passive: false,
        families: None,
        import: None,
        export: None,
        hold_time: Duration::from_secs(90),
        connect_retry: Duration::from_secs(10),
        multihop: None,
        ttl_security: None,
        min_hold_time: Duration::from_secs(3),
        enforce_first_as: true,
        reject_as_set: false,
        password: None,
        password_error: None,
        route_reflector_client: false,
        route_server_client: false,
        next_hop: NextHopMode::Auto,
        max_prefixes: None,
        add_path: AddPathConfig::default(),
        graceful_restart: None,
        extended_messages: true,
        extended_next_hop: false,
        allow_own_asn: 0,
        remove_private_asn: RemovePrivate::No,
        as_override: false,
        enabled: true,
        description: String::new(),
    }
}

fn one(asn: u32) -> PeerAsn {
    PeerAsn::OneOf(vec![Asn(asn)])
}

#[test]
fn only_an_external_neighbour_must_be_on_our_link() {
    let ttl = |asn| Hops::of(&global(), &peer(asn)).ttl;
    assert_eq!(ttl(one(65002)), 1);
    assert_eq!(ttl(PeerAsn::External), 1);
    assert_eq!(ttl(one(65001)), 64);
    assert_eq!(ttl(PeerAsn::Internal), 64);
    // It may turn out to be internal.
    assert_eq!(ttl(PeerAsn::Any), 64);
    assert_eq!(ttl(PeerAsn::OneOf(vec![Asn(65001), Asn(65002)])), 64);
}

#[test]
fn multihop_and_ttl_security_are_taken_as_configured() {
    let mut far = peer(one(65002));
    far.multihop = Some(3);
    assert_eq!(Hops::of(&global(), &far), Hops { ttl: 3, min_ttl: 0 });
    let mut safe = peer(one(65002));
    safe.ttl_security = Some(1);
    assert_eq!(Hops::of(&global(), &safe), Hops { ttl: 255, min_ttl: 255 });
    safe.ttl_security = Some(3);
    assert_eq!(Hops::of(&global(), &safe), Hops { ttl: 255, min_ttl: 253 });
}

#[test]
fn only_link_local_addresses_have_a_scope() {
    let text = |address: &str| scoped(address.parse().expect("an address"), 179, 7).to_string();
    assert_eq!(text("fe80::1"), "[fe80::1%7]:179");
    assert_eq!(text("2001:db8::1"), "[2001:db8::1]:179");
    assert_eq!(text("192.0.2.1"), "192.0.2.1:179");
}

#[test]
fn a_mapped_address_is_the_ipv4_one() {
    let mapped = "[::ffff:192.0.2.1]:179".parse().expect("an address");
    assert_eq!(canonical(mapped).to_string(), "192.0.2.1:179");
}
