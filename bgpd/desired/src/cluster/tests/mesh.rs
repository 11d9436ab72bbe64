use super::*;

#[test]
fn every_node_peers_with_every_other() {
    let rig = Rig::three();
    assert_eq!(rig.sessions("a"), ["Mesh_10_0_0_2 64512 passive", "Mesh_10_0_0_3 64512 passive"]);
    assert_eq!(rig.sessions("b"), ["Mesh_10_0_0_1 64512", "Mesh_10_0_0_3 64512 passive"]);
    assert_eq!(rig.sessions("c"), ["Mesh_10_0_0_1 64512", "Mesh_10_0_0_2 64512"]);
    assert_eq!(rig.remarks("a"), [""; 0]);
}

#[test]
fn who_connects_is_decided_by_the_text_of_the_addresses() {
    let rig = Rig::new().node("a", "10.0.0.9").node("b", "10.0.0.10");
    assert_eq!(rig.sessions("a"), ["Mesh_10_0_0_10 64512"]);
    assert_eq!(rig.sessions("b"), ["Mesh_10_0_0_9 64512 passive"]);
}

#[test]
fn there_is_none_where_it_is_turned_off() {
    let rig = Rig::three().config("{nodeToNodeMeshEnabled: false}");
    assert_eq!(rig.sessions("a"), [""; 0]);
    let rig = Rig::three().config("{nodeToNodeMeshEnabled: true}");
    assert_eq!(rig.sessions("a").len(), 2);
}

#[test]
fn a_node_without_bgp_or_without_an_address_of_the_family_is_left_out() {
    let rig = Rig::three()
        .add("Node", "d", "{}")
        .labelled("e", "", "{ipv6Address: 'fd00::5/64'}")
        .labelled("f", "", "{asNumber: 64000}");
    assert_eq!(rig.sessions("a").len(), 2);
    assert_eq!(rig.sessions("e"), [""; 0]);
    assert_eq!(rig.remarks("f"), ["Node f: no sessions with anybody: it has no address"]);
}

#[test]
fn a_node_of_both_families_has_a_session_in_each() {
    let both = |n: u8| format!("{{ipv4Address: 10.0.0.{n}/24, ipv6Address: 'fd00::{n}/64'}}");
    let rig = Rig::new().labelled("a", "", &both(1)).labelled("b", "", &both(2));
    assert_eq!(rig.sessions("b"), ["Mesh_10_0_0_1 64512", "Mesh_fd00__1 64512"]);
    let v4 = rig.one("b", "Mesh_10_0_0_1");
    assert_eq!(v4.families, Some([Family::IPV4_UNICAST].into_iter().collect()));
    assert_eq!(v4.local_address, Some("10.0.0.2".parse().expect("an address")));
    let v6 = rig.one("b", "Mesh_fd00__1");
    assert_eq!(v6.families, Some([Family::IPV6_UNICAST].into_iter().collect()));
    assert_eq!(v6.local_address, Some("fd00::2".parse().expect("an address")));
}

#[test]
fn the_peers_as_is_its_nodes_else_the_clusters() {
    let rig = Rig::three()
        .labelled("a", "", "{ipv4Address: 10.0.0.1/24, asNumber: 64000}")
        .labelled("b", "", "{ipv4Address: 10.0.0.2/24, asNumber: 64001}")
        .config("{asNumber: 64999}");
    // Not this node's own AS.
    assert_eq!(rig.sessions("a"), ["Mesh_10_0_0_2 64001 passive", "Mesh_10_0_0_3 64999 passive"]);
    assert_eq!(rig.bgp("a").asn, Asn(64000));
    assert_eq!(rig.bgp("c").asn, Asn(64999));
}

#[test]
fn the_peers_port_is_its_nodes_else_the_clusters() {
    let rig = Rig::three().config("{listenPort: 178}").add(
        "BGPConfiguration",
        "node.b",
        "{listenPort: 1790}",
    );
    assert_eq!(rig.sessions("c"), ["Mesh_10_0_0_1 64512 :178", "Mesh_10_0_0_2 64512 :1790"]);
    assert_eq!(rig.bgp("b").listen(), ["0.0.0.0:1790".parse().expect("an address")]);
    assert_eq!(rig.bgp("c").listen(), ["0.0.0.0:178".parse().expect("an address")]);
}

#[test]
fn a_reflector_is_no_part_of_it() {
    let rig = Rig::three().labelled(
        "c",
        "",
        "{ipv4Address: 10.0.0.3/24, routeReflectorClusterID: 244.0.0.1}",
    );
    let rig = rig.config("{nodeToNodeMeshEnabled: true}");
    assert_eq!(rig.sessions("a"), ["Mesh_10_0_0_2 64512 passive"]);
    assert_eq!(rig.sessions("c"), [""; 0]);
    assert_eq!(rig.bgp("c").cluster_id, Some(Ipv4Addr::new(244, 0, 0, 1)));
}

#[test]
fn its_sessions_have_its_password_and_nothing_of_a_bgp_peer() {
    let mut rig = Rig::three().config("{nodeMeshPassword: {secretKeyRef: {name: bgp, key: mesh}}}");
    rig.secrets.insert("bgp/mesh".into(), b"together\n".to_vec());
    let peer = rig.one("a", "Mesh_10_0_0_2");
    assert_eq!(peer.password.map(|secret| secret.0), Some(b"together".to_vec()));
    assert_eq!((peer.ttl_security, peer.multihop, peer.next_hop), (None, None, NextHopMode::Auto));
    assert_eq!(peer.description, "mesh, node b");
}

#[test]
fn two_nodes_of_one_address_are_one_session_and_a_remark() {
    let rig = Rig::three().node("d", "10.0.0.3").node("e", "10.0.0.1");
    assert_eq!(rig.sessions("a"), ["Mesh_10_0_0_2 64512 passive", "Mesh_10_0_0_3 64512 passive"]);
    assert_eq!(rig.one("a", "Mesh_10_0_0_3").description, "mesh, node c");
    assert_eq!(
        rig.remarks("a"),
        [
            "Node a: node e has the address 10.0.0.1 too",
            "the node-to-node mesh: several have the address 10.0.0.3: only one gets a session",
        ]
    );
}
