//! Configurations to start from, for the tests that see this crate from outside.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bgp_core::config::{
    AddPathConfig, DecisionConfig, GlobalConfig, LocalAsnMode, NextHopMode, PeerAddress, PeerAsn,
    PeerConfig, RemovePrivate,
};
use bgp_packet::Asn;

/// A speaker with the defaults of the contract.
pub fn global(asn: Asn, router_id: Ipv4Addr) -> GlobalConfig {
    GlobalConfig {
        asn,
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

/// A peer with the defaults of the contract.
pub fn peer(name: &str, address: IpAddr, asn: Asn) -> PeerConfig {
    PeerConfig {
        name: name.to_owned(),
        group: None,
        address: PeerAddress::Address { address, interface: None },
        port: 179,
        asn: PeerAsn::OneOf(vec![asn]),
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
