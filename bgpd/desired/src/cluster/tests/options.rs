use std::time::Duration;

use bgp_core::config::LocalAsnMode;

use super::*;
use crate::{Impact, LogLevel, diff};

/// A session of node a with 10.0.0.250, of this AS and with these options.
fn with(asn: u32, options: &str) -> PeerConfig {
    rig(asn, options).one("a", "Global_10_0_0_250")
}

fn rig(asn: u32, options: &str) -> Rig {
    let spec = format!("{{peerIP: 10.0.0.250, asNumber: {asn}{options}}}");
    Rig::new().node("a", "10.0.0.1").peer("p", &spec)
}

#[test]
fn an_ebgp_peer_may_be_anywhere_unless_its_hops_are_checked() {
    let peer = with(65000, "");
    assert_eq!((peer.multihop, peer.ttl_security), (Some(64), None));
    let peer = with(65000, ", ttlSecurity: 3");
    assert_eq!((peer.multihop, peer.ttl_security), (None, Some(3)));
    let peer = with(65000, ", ttlSecurity: 0");
    assert_eq!((peer.multihop, peer.ttl_security), (Some(64), None));
    let peer = with(64512, "");
    assert_eq!((peer.multihop, peer.ttl_security), (None, None));
}

#[test]
fn the_source_is_the_nodes_address_unless_none_is_asked_for() {
    let own = Some("10.0.0.1".parse().expect("an address"));
    assert_eq!(with(65000, "").local_address, own);
    assert_eq!(with(65000, ", sourceAddress: UseNodeIP").local_address, own);
    assert_eq!(with(65000, ", sourceAddress: None").local_address, None);
}

#[test]
fn three_keepalives_make_a_hold_time() {
    assert_eq!(with(65000, "").hold_time, Duration::from_secs(90));
    assert_eq!(with(65000, ", keepaliveTime: 5s").hold_time, Duration::from_secs(15));
    assert_eq!(with(65000, ", keepaliveTime: 1500ms").hold_time, Duration::from_secs(6));
    assert_eq!(with(65000, ", keepaliveTime: 100h").hold_time, Duration::from_secs(65535));
    assert_eq!(with(65000, ", keepaliveTime: 100ms").hold_time, Duration::from_secs(90));
}

#[test]
fn every_session_restarts_gracefully_in_the_time_asked_for() {
    let time = |peer: PeerConfig| peer.graceful_restart.map(|graceful| graceful.restart_time);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(time(with(65000, "")), seconds(120));
    assert_eq!(time(with(65000, ", maxRestartTime: 10s")), seconds(10));
    assert_eq!(time(with(65000, ", maxRestartTime: 100h")), seconds(4095), "12 bits");
    let mesh = |rig: Rig| time(rig.one("a", "Mesh_10_0_0_2"));
    assert_eq!(mesh(Rig::three()), seconds(120));
    assert_eq!(mesh(Rig::three().config("{nodeMeshMaxRestartTime: 30s}")), seconds(30));
}

#[test]
fn the_next_hop_is_as_asked() {
    assert_eq!(with(65000, "").next_hop, NextHopMode::SelfAddress);
    assert_eq!(with(65000, ", nextHopMode: Auto").next_hop, NextHopMode::SelfAddress);
    assert_eq!(with(64512, ", nextHopMode: Auto").next_hop, NextHopMode::Auto);
    assert_eq!(with(65000, ", nextHopMode: Self").next_hop, NextHopMode::SelfAddress);
    assert_eq!(with(64512, ", nextHopMode: Self").next_hop, NextHopMode::SelfAddress);
    assert_eq!(with(65000, ", nextHopMode: Keep").next_hop, NextHopMode::Unchanged);
    assert_eq!(with(65000, ", keepOriginalNextHop: true").next_hop, NextHopMode::Unchanged);
    assert_eq!(with(64512, ", keepOriginalNextHop: true").next_hop, NextHopMode::Auto);
    // What counts is the AS that the peer is shown.
    let shown = ", keepOriginalNextHop: true, localASNumber: 65000";
    assert_eq!(with(65000, shown).next_hop, NextHopMode::Auto, "the same AS");
    let shown = ", keepOriginalNextHop: true, localASNumber: 65001";
    assert_eq!(with(64512, shown).next_hop, NextHopMode::Unchanged);
}

#[test]
fn another_local_as_takes_the_place_of_our_own() {
    let peer = with(65000, ", localASNumber: 65099");
    assert_eq!((peer.local_asn, peer.local_asn_mode), (Some(Asn(65099)), LocalAsnMode::Replace));
    let peer = with(65000, ", localASNumber: 64512");
    assert_eq!((peer.local_asn, peer.local_asn_mode), (None, LocalAsnMode::Prepend));
    // Internal to that AS: no TTL to be set.
    assert_eq!(with(65000, ", localASNumber: 65000").multihop, None);
}

#[test]
fn own_as_numbers_are_accepted_so_often() {
    assert_eq!(with(65000, "").allow_own_asn, 0);
    assert_eq!(with(65000, ", numAllowedLocalASNumbers: 2").allow_own_asn, 2);
    assert_eq!(with(65000, ", numAllowedLocalASNumbers: 1000").allow_own_asn, 255);
}

#[test]
fn a_password_is_read_from_its_secret() {
    let mut rig = rig(65000, ", password: {secretKeyRef: {name: bgp, key: tor}}");
    rig.secrets.insert("bgp/tor".into(), b"hush\n".to_vec());
    let peer = rig.one("a", "Global_10_0_0_250");
    assert_eq!(peer.password.map(|secret| secret.0), Some(b"hush".to_vec()));
    assert_eq!(peer.password_error, None);
    assert_eq!(rig.remarks("a"), [""; 0]);
}

#[test]
fn a_session_whose_password_cannot_be_read_stays_down_and_says_so() {
    let mut rig = rig(65000, ", password: {secretKeyRef: {name: bgp, key: tor}}");
    let peer = rig.one("a", "Global_10_0_0_250");
    let why = peer.password_error.expect("it stays down");
    assert!(why.starts_with("key tor of secret bgp cannot be read: "), "{why}");
    assert_eq!(peer.password, None);
    let remarks = rig.remarks("a");
    assert_eq!(remarks, [format!("password: {why}; sessions that need it stay down")]);
    rig.secrets.insert("bgp/tor".into(), b"\n".to_vec());
    let peer = rig.one("a", "Global_10_0_0_250");
    assert_eq!(
        peer.password_error.as_deref(),
        Some("key tor of secret bgp holds 0 octets, allowed: 1 to 80")
    );
}

#[test]
fn a_password_that_may_be_missing_is_none() {
    let options = ", password: {secretKeyRef: {name: bgp, key: tor, optional: true}}";
    let peer = with(65000, options);
    assert_eq!((peer.password, peer.password_error), (None, None));
}

#[test]
fn several_paths_go_both_ways() {
    let peer = with(65000, "");
    assert!(peer.add_path.receive);
    assert_eq!(peer.add_path.send, 16);
    assert_eq!(peer.connect_retry, Duration::from_secs(5));
    assert!(!peer.enforce_first_as);
}

#[test]
fn the_log_level_is_the_files_then_the_nodes_then_the_clusters() {
    let level = |rig: &Rig, node: &str| rig.merged(node).desired.node.log_level;
    let rig = Rig::three();
    assert_eq!(level(&rig, "a"), None, "as usual");
    let rig = rig.config("{logSeverityScreen: warning}");
    assert_eq!(level(&rig, "a"), Some(LogLevel::Warn));
    assert_eq!(level(&rig, "nobody"), None, "it is no node of the cluster");
    let rig = rig.add("BGPConfiguration", "node.b", "{logSeverityScreen: Debug}");
    assert_eq!((level(&rig, "a"), level(&rig, "b")), (Some(LogLevel::Warn), Some(LogLevel::Debug)));
    let rig = rig.file("[node]\nlog-level = \"error\"\n");
    assert_eq!(level(&rig, "b"), Some(LogLevel::Error));
    let fatal = Rig::three().config("{logSeverityScreen: Fatal}");
    assert_eq!(level(&fatal, "a"), Some(LogLevel::Error));
    let steps = diff(&Desired::default(), &fatal.merged("a").desired);
    let step = steps.iter().find(|step| step.subject == "node.log-level").expect("a step");
    assert_eq!((step.impact, step.text.as_str()), (Impact::Live, "not set -> \"error\""));
}
