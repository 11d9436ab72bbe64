use bgp_core::config::Origination;
use bgp_core::policy::{LocalAttributes, RouteSource, RouteView, Verdict};
use bgp_packet::{NextHop, PathAttributes};

use super::*;
use crate::{Impact, diff, show};

fn prefixes(bgp: &Bgp) -> Vec<String> {
    let text =
        |o: &Origination| format!("{}{}", o.prefix, if o.blackhole { " blackhole" } else { "" });
    bgp.originate.iter().map(text).collect()
}

/// What of these prefixes a peer is told.
fn exported(peer: &PeerConfig, prefixes: &[&str]) -> Vec<String> {
    let export = peer.export.as_ref().expect("a policy");
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let attributes = PathAttributes::local(NextHop { address, link_local: None });
    let passes = |prefix: &&&str| {
        let view = RouteView {
            prefix: prefix.parse().expect("a prefix"),
            attributes: &attributes,
            local: LocalAttributes::default(),
            source: RouteSource::Originate,
            peer: None,
            peer_asn: None,
            interface: None,
            local_address: None,
            local_asn: Asn(64512),
            router_id: Ipv4Addr::new(10, 0, 0, 1),
        };
        matches!(export.evaluate(&view), Verdict::Accept { .. })
    };
    prefixes.iter().filter(passes).map(ToString::to_string).collect()
}

#[test]
fn without_a_node_of_our_name_the_file_is_all_there_is() {
    let file = "[bgp]\nasn = 65001\noriginate = [\"10.9.0.0/16\"]\n";
    let rig = Rig::three().file(file).block("10.1.0.0/26");
    let bgp = rig.bgp("d");
    assert_eq!((bgp.asn, bgp.router_id, bgp.peers.len()), (Asn(65001), None, 0));
    assert_eq!(prefixes(&bgp), ["10.9.0.0/16", "10.1.0.0/26 blackhole"]);
    assert_eq!(Rig::three().merged("d").desired, Desired::default());
    assert_eq!(Rig::three().add("Node", "d", "{}").merged("d").desired, Desired::default());
}

#[test]
fn without_a_bgp_section_the_resources_make_one() {
    let bgp = Rig::three().bgp("a");
    assert_eq!(bgp.asn, Asn(64512));
    assert_eq!(bgp.router_id, Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(bgp.listen(), ["0.0.0.0:179".parse().expect("an address")]);
    assert_eq!((bgp.multipath_ebgp, bgp.multipath_ibgp, bgp.multipath_relax), (16, 16, true));
}

#[test]
fn what_the_file_says_wins() {
    let file = "[bgp]\nasn = 65001\nrouter-id = \"10.9.9.9\"\nlisten = [\"10.0.0.1:1179\"]\n\
                cluster-id = \"10.8.8.8\"\n";
    let reflector = "{ipv4Address: 10.0.0.1/24, routeReflectorClusterID: 244.0.0.1}";
    let rig = Rig::three().labelled("a", "", reflector).file(file);
    let bgp = rig.bgp("a");
    assert_eq!(bgp.asn, Asn(65001));
    assert_eq!(bgp.router_id, Some(Ipv4Addr::new(10, 9, 9, 9)));
    assert_eq!(bgp.listen(), ["10.0.0.1:1179".parse().expect("an address")]);
    assert_eq!(bgp.cluster_id, Some(Ipv4Addr::new(10, 8, 8, 8)));
    assert_eq!(
        rig.remarks("a"),
        [
            "Node a: AS 65001 is in force, as the configuration file has it; other nodes expect AS \
         64512",
            "Node a: other nodes connect to port 179, where it does not listen, as the configuration \
         file has it"
        ]
    );
    let rig = Rig::three().labelled("a", "", reflector).file("[bgp]\nasn = 64512\n");
    let rig = rig.config("{listenPort: 178, bindMode: NodeIP}");
    let bgp = rig.bgp("a");
    assert_eq!(bgp.router_id, None, "the host's highest address");
    let everywhere = ["0.0.0.0:179", "[::]:179"].map(|text| text.parse().expect("an address"));
    assert_eq!(bgp.listen(), everywhere);
    assert_eq!(bgp.cluster_id, Some(Ipv4Addr::new(244, 0, 0, 1)));
    assert_eq!(
        rig.remarks("a"),
        [
            "Node a: other nodes connect to port 178, where it does not listen, as the configuration \
         file has it"
        ]
    );
}

#[test]
fn sessions_of_the_file_stay_when_our_node_comes_or_goes() {
    let file = "[bgp]\nasn = 64512\n[[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.254\"\nasn = \
                65000\n";
    let without = || Rig::new().file(file).config("{listenPort: 178, bindMode: NodeIP}");
    let absent = without().node("b", "10.0.0.2").merged("a").desired;
    let present = without().node("b", "10.0.0.2").node("a", "10.0.0.1").merged("a").desired;
    for (before, after) in [(&absent, &present), (&present, &absent)] {
        let steps = diff(before, after);
        let resets = steps.iter().filter(|step| step.impact == Impact::Reset);
        let resets: Vec<_> = resets.map(|step| step.subject.as_str()).collect();
        assert_eq!(resets, ["Mesh_10_0_0_2"], "{steps:?}");
        assert!(steps.iter().all(|step| step.subject != "bgp.listen"), "{steps:?}");
    }
}

#[test]
fn bound_to_the_node_only_its_addresses_are_listened_on() {
    let both = "{ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64'}";
    let rig = Rig::new().labelled("a", "", both).config("{bindMode: NodeIP, listenPort: 178}");
    let own = ["10.0.0.1:178", "[fd00::1]:178"].map(|text| text.parse().expect("an address"));
    assert_eq!(rig.bgp("a").listen(), own);
}

#[test]
fn a_node_without_an_ipv4_address_takes_the_hosts_or_a_hash_as_identifier() {
    let rig = Rig::new().labelled("a", "", "{ipv6Address: 'fd00::1/64'}");
    assert_eq!(rig.bgp("a").router_id, Some(Ipv4Addr::new(192, 0, 2, 9)));
    let read = |_: &SecretRef| Err(io::ErrorKind::NotFound.into());
    let host = Host {
        node: "a",
        blocks: &BTreeSet::new(),
        borrowed: &BTreeSet::new(),
        address: None,
        read_secret: &read,
        policies: &BTreeMap::new(),
    };
    let merged = merge(&rig.file, &rig.resources, &host);
    // sha256("a") begins ca978112, and 0xca is below 224.
    let hashed = Ipv4Addr::new(0xca, 0x97, 0x81, 0x12);
    assert_eq!(merged.desired.bgp.expect("BGP").router_id, Some(hashed));
}

#[test]
fn each_exports_exactly_its_blocks_and_what_it_borrowed() {
    let rig = Rig::three().add("IPPool", "p", "{cidr: 10.1.0.0/16}").block("10.1.0.64/26");
    assert_eq!(prefixes(&rig.bgp("a")), ["10.1.0.64/26 blackhole"]);
    let mut borrower = rig;
    borrower.borrowed.insert("10.1.9.1".parse().expect("an address"));
    let rig = borrower;
    assert_eq!(prefixes(&rig.bgp("a")), ["10.1.0.64/26 blackhole", "10.1.9.1/32"]);
    let told = exported(
        &rig.one("a", "Mesh_10_0_0_2"),
        &["10.1.0.64/26", "10.1.0.65/32", "10.1.9.1/32", "0.0.0.0/0", "10.0.0.0/24"],
    );
    assert_eq!(told, ["10.1.0.64/26", "10.1.9.1/32"]);
}

#[test]
fn blocks_of_other_nodes_are_told_to_a_tor() {
    let rig = Rig::three()
        .labelled("a", "rack: a", "{ipv4Address: 10.0.0.1/24}")
        .add("IPPool", "p", "{cidr: 10.1.0.0/16}")
        .block("10.1.0.64/26")
        .peer("tor", "{nodeSelector: rack == 'a', peerIP: 10.0.0.254, asNumber: 65001}");
    assert!(!rig.sessions("b").contains(&"Node_10_0_0_254 65001".to_owned()));
    let told = exported(&rig.one("a", "Node_10_0_0_254"), &["10.1.0.64/26", "10.1.0.128/26"]);
    assert_eq!(told, ["10.1.0.64/26", "10.1.0.128/26"]);
}

#[test]
fn a_pool_that_is_not_to_be_exported_is_not() {
    let rig = Rig::three()
        .add("IPPool", "p", "{cidr: 10.1.0.0/16, disableBGPExport: true}")
        .block("10.1.0.64/26");
    let told = exported(&rig.one("a", "Mesh_10_0_0_2"), &["10.1.0.64/26", "10.1.9.1/32"]);
    assert_eq!(told, [""; 0]);
}

#[test]
fn sessions_of_the_same_terms_share_their_policies() {
    let peers = Rig::three().bgp("a").peers;
    let [one, two] = peers.as_slice() else { panic!("{peers:?}") };
    for policy in [|p: &PeerConfig| p.import.clone(), |p: &PeerConfig| p.export.clone()] {
        let (one, two) = (policy(one).expect("a policy"), policy(two).expect("a policy"));
        assert!(Arc::ptr_eq(&one, &two));
    }
}

#[test]
fn services_are_advertised_as_ranges() {
    let lists = "serviceClusterIPs: [{cidr: 10.96.0.0/12}], \
                 serviceExternalIPs: [{cidr: 192.0.2.0/24}, {cidr: 198.51.100.1/32}], \
                 serviceLoadBalancerIPs: [{cidr: 203.0.113.0/24}]";
    let rig = Rig::three().config(&format!("{{{lists}}}"));
    let all = ["10.96.0.0/12", "192.0.2.0/24", "203.0.113.0/24"];
    assert_eq!(prefixes(&rig.bgp("a")), all);
    assert_eq!(rig.remarks("a").len(), 1);
    let rig =
        Rig::three().config(&format!("{{{lists}, serviceLoadBalancerAggregation: Disabled}}"));
    assert_eq!(prefixes(&rig.bgp("a")), all[..2]);
    let excluded = "'node.kubernetes.io/exclude-from-external-load-balancers': 'true'";
    let rig = rig.labelled("a", excluded, "{ipv4Address: 10.0.0.1/24}");
    assert_eq!(prefixes(&rig.bgp("a")), [""; 0]);
}

#[test]
fn routes_of_the_host_are_in_the_table_only_where_a_filter_may_let_them_out() {
    let sources = |rules: &str| {
        let rig = Rig::three()
            .config("{ignoredInterfaces: ['docker*']}")
            .add("BGPFilter", "f", &format!("{{exportV4: [{rules}]}}"))
            .peer("tor", "{node: a, peerIP: 10.0.0.254, asNumber: 65001, filters: [f]}");
        assert_eq!(rig.bgp("b").redistribute, [], "its sessions have no filter");
        rig.bgp("a").redistribute.iter().map(|entry| entry.source).collect::<Vec<_>>()
    };
    use bgp_core::config::KernelSource::{Connected, Kernel, Static};
    assert_eq!(sources("{action: Reject}"), []);
    assert_eq!(sources("{action: Accept, source: RemotePeers}"), []);
    let all = [Connected, Static, Kernel];
    assert_eq!(sources("{action: Accept, cidr: 10.9.0.0/16, matchOperator: In}"), all);
}

#[test]
fn a_block_of_one_address_is_no_blackhole() {
    let rig = Rig::three().block("10.1.0.1/32").block("fd00:1::1/128").block("fd00:2::/122");
    assert_eq!(prefixes(&rig.bgp("a")), ["10.1.0.1/32", "fd00:1::1/128", "fd00:2::/122 blackhole"]);
}

#[test]
fn a_peer_that_did_not_change_is_no_step() {
    let rig = Rig::three().peer("p", "{node: a, peerIP: 10.0.0.250, asNumber: 65000}");
    let before = rig.merged("a").desired;
    let rig = rig.peer("p", "{node: a, peerIP: 10.0.0.250, asNumber: 65000, keepaliveTime: 9s}");
    let after = rig.node("d", "10.0.0.4").merged("a").desired;
    let steps = diff(&before, &after);
    let steps: Vec<_> = steps.iter().map(|s| (s.subject.as_str(), s.impact)).collect();
    assert_eq!(steps, [("Mesh_10_0_0_4", Impact::Reset), ("Node_10_0_0_250", Impact::Reset)]);
    assert_eq!(diff(&after, &after), []);
}

#[test]
fn what_came_of_it_reads_again_as_the_same() {
    let rig = Rig::three()
        .add("IPPool", "p", "{cidr: 10.1.0.0/16}")
        .block("10.1.0.64/26")
        .peer("p", "{node: a, peerIP: 10.0.0.250, asNumber: 65000, nextHopMode: Keep}");
    let merged = rig.merged("a").desired;
    let read = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
    let again = parse(&show(&merged), "t.toml", &read).unwrap_or_else(|f| panic!("{f:?}")).desired;
    assert_eq!(diff(&merged, &again), []);
}

proptest! {
    #[test]
    fn the_order_of_resources_does_not_matter(
        order in Just((0..9).collect::<Vec<usize>>()).prop_shuffle(),
        again in 0..9usize,
    ) {
        let all = [
            resource("Node", "a", "rr: ''", "{bgp: {ipv4Address: 10.0.0.1/24}}"),
            resource("Node", "b", "", "{bgp: {ipv4Address: 10.0.0.2/24, asNumber: 64001}}"),
            resource("Node", "c", "", "{bgp: {ipv4Address: 10.0.0.2/24}}"),
            resource("BGPConfiguration", "default", "", "{asNumber: 64999}"),
            resource("BGPConfiguration", "node.b", "", "{listenPort: 1179}"),
            resource("BGPPeer", "x", "", "{peerIP: 10.0.0.250, asNumber: 65000}"),
            resource("BGPPeer", "y", "", "{node: a, peerIP: 10.0.0.250, asNumber: 65001}"),
            resource("BGPPeer", "z", "", "{peerSelector: has(rr)}"),
            resource("IPPool", "p", "", "{cidr: 10.1.0.0/16}"),
        ];
        let mut straight = Rig::new();
        all.iter().for_each(|resource| {
            straight.resources.set(resource.clone());
        });
        let mut shuffled = Rig::new();
        // One comes, goes and comes again on the way.
        let other = resource("Node", "b", "", "{bgp: {ipv4Address: 10.0.0.77/24}}");
        shuffled.resources.set(other);
        for (turn, index) in order.iter().enumerate() {
            shuffled.resources.set(all[*index].clone());
            if turn == again {
                shuffled.resources.remove(&all[*index].key());
                shuffled.resources.set(all[*index].clone());
            }
        }
        prop_assert_eq!(&straight.resources, &shuffled.resources);
        for node in ["a", "b", "c"] {
            prop_assert_eq!(straight.merged(node), shuffled.merged(node));
        }
    }
}
