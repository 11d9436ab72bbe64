use super::*;
use crate::{Impact, diff, show};

/// Four nodes without a mesh, two of them reflectors.
fn reflectors() -> Rig {
    let reflector =
        |n: u8| format!("{{ipv4Address: 10.0.0.{n}/24, routeReflectorClusterID: 244.0.0.1}}");
    Rig::new()
        .config("{nodeToNodeMeshEnabled: false}")
        .labelled("r1", "rr: ''", &reflector(1))
        .labelled("r2", "rr: ''", &reflector(2))
        .node("x", "10.0.0.11")
        .node("y", "10.0.0.12")
}

/// Three nodes without a mesh: a in rack r, b in rack s, c in none.
fn racks() -> Rig {
    Rig::three()
        .config("{nodeToNodeMeshEnabled: false}")
        .labelled("a", "rack: r", "{ipv4Address: 10.0.0.1/24}")
        .labelled("b", "rack: s", "{ipv4Address: 10.0.0.2/24}")
}

#[test]
fn reflectors_serve_everybody_and_each_other_as_no_client() {
    let rig = reflectors().peer("rr", "{nodeSelector: all(), peerSelector: has(rr)}");
    assert_eq!(rig.sessions("x"), ["Node_10_0_0_1 64512", "Node_10_0_0_2 64512"]);
    assert_eq!(
        rig.sessions("r1"),
        ["Node_10_0_0_2 64512", "Node_10_0_0_11 64512 client", "Node_10_0_0_12 64512 client"]
    );
    assert_eq!(rig.remarks("r1"), [""; 0]);
}

#[test]
fn a_reflector_of_another_cluster_is_a_client_and_so_is_whoever_is_named_by_address() {
    let rig = reflectors()
        .labelled("r2", "", "{ipv4Address: 10.0.0.2/24, routeReflectorClusterID: 244.0.0.2}")
        .peer("one", "{node: r1, peerSelector: '!has(rr)'}")
        .peer("two", "{node: r1, peerIP: 10.0.0.200, asNumber: 64512}")
        .peer("three", "{node: r1, peerIP: 10.0.0.201, asNumber: 65000}");
    assert_eq!(
        rig.sessions("r1"),
        [
            "Node_10_0_0_2 64512 client",
            "Node_10_0_0_11 64512 client",
            "Node_10_0_0_12 64512 client",
            "Node_10_0_0_200 64512 client",
            "Node_10_0_0_201 65000",
        ]
    );
}

#[test]
fn a_peer_belongs_to_all_nodes_to_one_or_to_the_selected_ones() {
    let rig = racks()
        .peer("all", "{peerIP: 10.0.0.250, asNumber: 65000}")
        .peer("one", "{node: c, peerIP: 10.0.0.251, asNumber: 65001}")
        .peer("some", "{nodeSelector: rack == 'r', peerIP: 10.0.0.252, asNumber: 65002}");
    assert_eq!(rig.sessions("a"), ["Global_10_0_0_250 65000", "Node_10_0_0_252 65002"]);
    assert_eq!(rig.sessions("b"), ["Global_10_0_0_250 65000"]);
    assert_eq!(rig.sessions("c"), ["Global_10_0_0_250 65000", "Node_10_0_0_251 65001"]);
}

#[test]
fn nobody_is_a_peer_of_itself() {
    let rig = racks()
        .peer("all", "{peerSelector: all()}")
        .peer("own", "{node: c, peerIP: 10.0.0.3, asNumber: 64512}");
    assert_eq!(rig.sessions("c"), ["Node_10_0_0_1 64512", "Node_10_0_0_2 64512"]);
    assert_eq!(rig.remarks("c"), [""; 0]);
}

#[test]
fn selected_nodes_are_peers_in_each_family_with_their_as_and_port() {
    let rig = racks()
        .labelled("a", "", "{ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64'}")
        .labelled(
            "b",
            "rack: s",
            "{ipv4Address: 10.0.0.2/24, ipv6Address: 'fd00::2/64', asNumber: 64001}",
        )
        .add("BGPConfiguration", "node.b", "{listenPort: 1790}")
        .peer("s", "{node: a, peerSelector: rack == 's', localASNumber: 65099}");
    assert_eq!(rig.sessions("a"), ["Node_10_0_0_2 64001 :1790", "Node_fd00__2 64001 :1790"]);
    // That AS is for a peer named by address.
    assert_eq!(rig.one("a", "Node_10_0_0_2").local_asn, None);
}

#[test]
fn the_port_is_the_one_given_else_that_of_the_node_there_else_the_clusters() {
    let rig = racks()
        .config("{nodeToNodeMeshEnabled: false, listenPort: 178}")
        .add("BGPConfiguration", "node.b", "{listenPort: 1790}")
        .peer("one", "{node: a, peerIP: '10.0.0.200:1179', asNumber: 65000}")
        .peer("two", "{node: a, peerIP: 10.0.0.2, asNumber: 64512}")
        .peer("three", "{node: a, peerIP: 10.0.0.201, asNumber: 65000}")
        // There is a node, but with another AS.
        .peer("four", "{node: a, peerIP: 10.0.0.3, asNumber: 65000}");
    assert_eq!(
        rig.sessions("a"),
        [
            "Node_10_0_0_2 64512 :1790",
            "Node_10_0_0_3 65000 :178",
            "Node_10_0_0_200_port_1179 65000 :1179",
            "Node_10_0_0_201 65000 :178",
        ]
    );
}

#[test]
fn the_peered_node_has_the_session_back() {
    let by_address = "{node: a, peerIP: 10.0.0.2, asNumber: 64512}";
    let rig = racks().peer("p", by_address);
    assert_eq!(rig.sessions("a"), ["Node_10_0_0_2 64512"]);
    assert_eq!(rig.sessions("b"), ["Node_10_0_0_1 64512"]);
    assert_eq!(rig.sessions("c"), [""; 0]);
    let manual = "{node: a, peerIP: 10.0.0.2, asNumber: 64512, reversePeering: Manual}";
    assert_eq!(racks().peer("p", manual).sessions("b"), [""; 0]);
    // Not the one that is meant.
    let other = "{node: a, peerIP: 10.0.0.2, asNumber: 65000}";
    assert_eq!(racks().peer("p", other).sessions("b"), [""; 0]);
    let port = "{node: a, peerIP: '10.0.0.2:1179', asNumber: 64512}";
    assert_eq!(racks().peer("p", port).sessions("b"), [""; 0]);
    let selected = racks().peer("p", "{nodeSelector: rack == 'r', peerSelector: has(rack)}");
    assert_eq!(selected.sessions("b"), ["Node_10_0_0_1 64512"]);
    assert_eq!(selected.sessions("c"), [""; 0]);
}

#[test]
fn the_other_side_has_the_same_settings() {
    let rig = racks().peer(
        "p",
        "{node: a, peerIP: 10.0.0.2, asNumber: 64512, ttlSecurity: 2, keepaliveTime: 5s}",
    );
    for (node, peer) in [("a", "Node_10_0_0_2"), ("b", "Node_10_0_0_1")] {
        let peer = rig.one(node, peer);
        assert_eq!((peer.ttl_security, peer.hold_time.as_secs()), (Some(2), 15), "{node}");
    }
}

#[test]
fn the_other_side_expects_the_as_it_is_shown() {
    let rig =
        racks().peer("p", "{node: a, peerIP: 10.0.0.2, asNumber: 64512, localASNumber: 65099}");
    assert_eq!(rig.one("a", "Node_10_0_0_2").local_asn, Some(Asn(65099)));
    assert_eq!(rig.sessions("b"), ["Node_10_0_0_1 65099"]);
    assert_eq!(rig.one("b", "Node_10_0_0_1").local_asn, None);
}

#[test]
fn a_reverse_side_by_address_keeps_to_the_family() {
    let both = |n: u8| format!("{{ipv4Address: 10.0.0.{n}/24, ipv6Address: 'fd00::{n}/64'}}");
    let rig = racks()
        .labelled("a", "", &both(1))
        .labelled("b", "", &both(2))
        .peer("p", "{node: a, peerIP: 'fd00::2', asNumber: 64512}");
    assert_eq!(rig.sessions("b"), ["Node_fd00__1 64512"]);
}

#[test]
fn a_global_peer_that_is_a_node_has_one_passive_side() {
    let rig = racks().peer("p", "{peerIP: 10.0.0.2, asNumber: 64512}");
    assert_eq!(rig.sessions("a"), ["Global_10_0_0_2 64512 passive"]);
    assert_eq!(rig.sessions("c"), ["Global_10_0_0_2 64512"]);
    assert_eq!(rig.sessions("b"), ["Node_10_0_0_1 64512", "Node_10_0_0_3 64512"]);
}

#[test]
fn a_peer_of_the_node_comes_before_one_of_all_nodes() {
    let rig = racks()
        .peer("a-all", "{peerIP: 10.0.0.250, asNumber: 65000}")
        .peer("z-one", "{node: a, peerIP: 10.0.0.250, asNumber: 65001}");
    assert_eq!(rig.sessions("a"), ["Node_10_0_0_250 65001"]);
    assert_eq!(rig.sessions("b"), ["Global_10_0_0_250 65000"]);
    assert_eq!(
        rig.remarks("a"),
        ["BGPPeer a-all: no session with 10.0.0.250: BGPPeer z-one comes first"]
    );
    assert_eq!(rig.remarks("b"), [""; 0]);
}

#[test]
fn among_equals_the_lowest_name_comes_first() {
    let rig = racks()
        .peer("two", "{peerIP: 10.0.0.250, asNumber: 65002}")
        .peer("one", "{peerIP: '10.0.0.250:1179', asNumber: 65001}");
    assert_eq!(rig.sessions("a"), ["Global_10_0_0_250_port_1179 65001 :1179"]);
    assert_eq!(
        rig.remarks("a"),
        ["BGPPeer two: no session with 10.0.0.250: BGPPeer one comes first"]
    );
}

#[test]
fn a_bgp_peer_comes_before_the_mesh_and_its_other_side_too() {
    let rig = Rig::three().peer("p", "{node: a, peerIP: 10.0.0.2, asNumber: 64512}");
    assert_eq!(rig.sessions("a"), ["Node_10_0_0_2 64512", "Mesh_10_0_0_3 64512 passive"]);
    assert_eq!(rig.sessions("b"), ["Node_10_0_0_1 64512", "Mesh_10_0_0_3 64512 passive"]);
    assert_eq!(rig.remarks("a"), [""; 0]);
}

#[test]
fn what_the_file_says_comes_before_everything() {
    let file =
        "[bgp]\nasn = 64512\n[[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.2\"\nasn = 64512\n";
    let rig = Rig::three().file(file).peer("p", "{node: a, peerIP: 10.0.0.2, asNumber: 64512}");
    assert_eq!(rig.sessions("a"), ["tor 64512", "Mesh_10_0_0_3 64512 passive"]);
    assert_eq!(
        rig.remarks("a"),
        [
            "BGPPeer p: no session with 10.0.0.2: that is peer tor of the configuration file",
            "the node-to-node mesh: no session with 10.0.0.2: that is peer tor of the configuration file",
        ]
    );
}

#[test]
fn what_says_nothing_or_cannot_be_done_is_told() {
    let rig = racks()
        .peer("empty", "{node: a}")
        .peer("v6", "{node: a, peerIP: 'fd00::9', asNumber: 65000}")
        .peer("gateway", "{node: a, peerIP: 10.9.9.9, asNumber: 65000, reachableBy: 10.9.9.9}")
        .peer("restart", "{node: a, peerIP: 10.9.9.8, asNumber: 65000, maxRestartTime: 10s}");
    assert_eq!(
        rig.remarks("a"),
        [
            "BGPPeer empty: ignored: it has none of peerIP, peerSelector, localWorkloadSelector",
            "BGPPeer gateway: reachableBy is not in force: 10.9.9.9 is no gateway to a peer",
            "BGPPeer v6: no session with fd00::9: this node has no IPv6 address",
        ]
    );
    assert_eq!(rig.sessions("a"), ["Node_10_9_9_8 65000", "Node_10_9_9_9 65000"]);
}

#[test]
fn a_gateway_belongs_to_the_session_of_the_bgp_peer_that_names_it() {
    let rig = racks()
        .labelled("a", "", "{ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64'}")
        .peer("far", "{node: a, peerIP: 10.9.9.9, asNumber: 65000, reachableBy: 10.0.0.254}")
        .peer("far6", "{node: a, peerIP: 'fd09::9', asNumber: 65000, reachableBy: 'fd00::fe'}")
        // The other has the address.
        .peer("far-all", "{peerIP: 10.9.9.9, asNumber: 65000, reachableBy: 10.0.0.253}")
        // The way back is not by that gateway.
        .peer("node", "{node: a, peerIP: 10.0.0.2, asNumber: 64512, reachableBy: 10.0.0.252}")
        .peer("local", "{node: a, peerIP: 'fd08::8', asNumber: 65000, reachableBy: 'fe80::1'}");
    let gateways = |node: &str| -> Vec<String> {
        let reach = rig.merged(node).desired.reach;
        reach.gateways.iter().map(|(peer, gateway)| format!("{peer} {gateway}")).collect()
    };
    assert_eq!(gateways("a"), ["10.0.0.2 10.0.0.252", "10.9.9.9 10.0.0.254", "fd09::9 fd00::fe"]);
    assert_eq!(gateways("b"), ["10.9.9.9 10.0.0.253"]);
    assert!(rig.remarks("a").contains(
        &"BGPPeer local: reachableBy is not in force: fe80::1 is no gateway to a peer".to_owned()
    ));
    let text = show(&rig.merged("a").desired);
    assert!(text.contains("# peer 10.9.9.9 is reached by 10.0.0.254\n"), "{text}");
    let steps = diff(&Desired::default(), &rig.merged("b").desired);
    let step = steps.iter().find(|step| step.subject == "route to 10.9.9.9").expect("a step");
    assert_eq!(step.impact, Impact::Live);
}
