use bgp_core::config::LocalAsnMode;
use bgp_core::policy::{RouteSource, RouteView, Verdict};
use bgp_packet::{NextHop, PathAttributes};

use super::*;

const PEERING: &str = "{nodeToNodeMeshEnabled: false, localWorkloadPeeringIPV4: 169.254.9.1, \
                       localWorkloadPeeringIPV6: 'fd99::1'}";

impl Rig {
    /// An endpoint of node a.
    fn workload(self, pod: &str, labels: &str, more: &str) -> Self {
        self.workload_of("a", pod, labels, more)
    }

    fn workload_of(mut self, node: &str, pod: &str, labels: &str, more: &str) -> Self {
        let name = format!("{node}-k8s-{pod}-eth0");
        let spec = format!(
            "{{node: {node}, orchestrator: k8s, pod: {pod}, endpoint: eth0, interfaceName: cali0, {more}}}"
        );
        self.resources.set(resource("WorkloadEndpoint", &name, labels, &spec));
        self
    }
}

/// Node a with the addresses that workloads call, and a BGPPeer of those labelled.
fn rig(spec: &str) -> Rig {
    let spec = format!("{{localWorkloadSelector: bgp == 'yes', asNumber: 65001{spec}}}");
    Rig::new().node("a", "10.0.0.1").config(PEERING).peer("vms", &spec).workload(
        "vm",
        "bgp: 'yes'",
        "ipNetworks: [10.1.0.5/32, 10.1.0.6/32, 'fd10::5/128']",
    )
}

#[test]
fn selected_workloads_of_the_node_are_passive_peers_by_their_first_addresses() {
    let rig = rig("")
        .node("b", "10.0.0.2")
        .workload("other", "", "ipNetworks: [10.1.0.7/32]")
        .workload("bare", "bgp: 'yes'", "")
        .workload_of("b", "vm", "bgp: 'yes'", "ipNetworks: [10.1.1.5/32]");
    let expected =
        ["Local_Workload_10_1_0_5 65001 passive", "Local_Workload_fd10__5 65001 passive"];
    assert_eq!(rig.sessions("a"), expected);
    assert_eq!(rig.sessions("b"), ["Local_Workload_10_1_1_5 65001 passive"]);
    assert_eq!(rig.remarks("a"), [""; 0]);
    let peer = rig.one("a", "Local_Workload_fd10__5");
    assert_eq!(peer.description, "BGPPeer vms, workload default/vm");
    assert_eq!(peer.families, Some([Family::IPV6_UNICAST].into_iter().collect()));
    assert_eq!((peer.local_address, peer.multihop, peer.ttl_security), (None, Some(64), None));
    assert_eq!(peer.next_hop, NextHopMode::SelfAddress);
}

#[test]
fn labels_of_profiles_count_unless_the_workload_has_its_own() {
    let profile = |rig: Rig, name: &str, labels: &str| {
        rig.add("Profile", name, &format!("{{labelsToApply: {{{labels}}}}}"))
    };
    let address = |n: u8| format!("profiles: [first, second], ipNetworks: [10.1.0.{n}/32]");
    let base =
        rig("").workload("heir", "", &address(20)).workload("own", "bgp: 'no'", &address(21));
    assert_eq!(base.sessions("a").len(), 2);
    let with = profile(base, "second", "bgp: 'yes'");
    assert!(with.sessions("a").contains(&"Local_Workload_10_1_0_20 65001 passive".to_owned()));
    assert_eq!(with.sessions("a").len(), 3);
    let with = profile(with, "first", "bgp: 'no'");
    assert_eq!(with.sessions("a").len(), 2, "the first profile wins");
}

#[test]
fn the_lowest_name_of_those_that_select_this_node_is_meant() {
    let rig = rig("")
        .peer("a-other-node", "{node: b, localWorkloadSelector: all(), asNumber: 65002}")
        .peer("b-this-node", "{node: a, localWorkloadSelector: pod == 'x', asNumber: 65003}")
        .peer("x-later", "{node: a, localWorkloadSelector: all(), asNumber: 65004}");
    assert_eq!(rig.sessions("a")[0], "Local_Workload_10_1_0_5 65001 passive");
}

#[test]
fn options_of_a_link_of_its_own_are_left_out_and_told() {
    let rig =
        rig(", localASNumber: 64999, maxRestartTime: 5s, keepaliveTime: 1s, ttlSecurity: 1, \
                   sourceAddress: None, numAllowedLocalASNumbers: 3, nextHopMode: Keep, \
                   password: {secretKeyRef: {name: a, key: b}}");
    let peer = rig.one("a", "Local_Workload_10_1_0_5");
    assert_eq!((peer.local_asn, peer.local_asn_mode), (Some(Asn(64999)), LocalAsnMode::Replace));
    assert_eq!((peer.password, peer.password_error), (None, None));
    assert_eq!((peer.hold_time.as_secs(), peer.ttl_security, peer.allow_own_asn), (90, None, 0));
    assert_eq!(peer.graceful_restart.map(|graceful| graceful.restart_time.as_secs()), Some(120));
    assert_eq!(peer.next_hop, NextHopMode::Unchanged);
    let told: Vec<String> = ["keepaliveTime", "maxRestartTime", "numAllowedLocalASNumbers"]
        .into_iter()
        .chain(["password", "sourceAddress", "ttlSecurity"])
        .map(|key| format!("BGPPeer vms: {key} is not for workloads: their sessions go without it"))
        .collect();
    assert_eq!(rig.remarks("a"), told);
}

#[test]
fn an_address_to_call_is_this_nodes_while_there_are_callers() {
    let called = |rig: &Rig| -> Vec<String> {
        let reach = rig.merged("a").desired.reach;
        reach.addresses.iter().map(ToString::to_string).collect()
    };
    let both = rig("");
    assert_eq!(called(&both), ["169.254.9.1", "fd99::1"]);
    let one = rig("").config("{localWorkloadPeeringIPV6: 'fd99::1'}");
    assert_eq!(called(&one), ["fd99::1"]);
    assert_eq!(one.sessions("a"), ["Local_Workload_fd10__5 65001 passive"]);
    assert_eq!(
        one.remarks("a"),
        ["BGPPeer vms: no session with 1 workloads: no localWorkloadPeeringIPV4 for them to call"]
    );
    let none = rig("").peer("vms", "{localWorkloadSelector: has(nothing), asNumber: 65001}");
    assert_eq!(called(&none), [""; 0]);
}

#[test]
fn it_listens_where_workloads_call() {
    let listen = |rig: &Rig| -> Vec<String> {
        rig.bgp("a").listen().iter().map(ToString::to_string).collect()
    };
    // The node has no IPv6 address, so it listens at none unless it is called there.
    assert_eq!(listen(&rig("")), ["0.0.0.0:179", "[fd99::1]:179"]);
    let bound = PEERING.replace('}', ", bindMode: NodeIP, listenPort: 1790}");
    let bound = rig("").config(&bound);
    assert_eq!(listen(&bound), ["10.0.0.1:1790", "169.254.9.1:1790", "[fd99::1]:1790"]);
    let file = rig("").file("[bgp]\nasn = 64512\nlisten = [\"0.0.0.0:179\"]\n");
    assert_eq!(listen(&file), ["0.0.0.0:179"]);
    let told = "Node a: workloads call fd99::1, where it does not listen, as the configuration file \
                has it";
    assert_eq!(file.remarks("a"), [told]);
}

#[test]
fn other_nodes_are_told_that_routes_of_workloads_lead_through_this_one() {
    let mesh = PEERING.replace("false", "true");
    let pool = |rig: Rig| {
        rig.add("IPPool", "pool", "{cidr: 10.1.0.0/16}").block("10.1.0.0/26").node("b", "10.0.0.2")
    };
    let next_hop = |rig: &Rig, peer: &str, learned: &str| {
        let policy = rig.one("a", peer).export.expect("a policy");
        let learned = learned.parse::<IpAddr>().expect("an address");
        let attributes = PathAttributes::local(NextHop::new(learned));
        let view = RouteView {
            prefix: "10.1.200.0/24".parse().expect("a prefix"),
            attributes: &attributes,
            local: bgp_core::policy::LocalAttributes::default(),
            source: RouteSource::Bgp,
            peer: Some("Local_Workload_10_1_0_5"),
            peer_asn: Some(Asn(65001)),
            interface: None,
            local_address: Some("10.0.0.1".parse().expect("an address")),
            local_asn: Asn(64512),
            router_id: Ipv4Addr::new(10, 0, 0, 1),
        };
        match policy.evaluate(&view) {
            Verdict::Accept { attributes: changed, .. } => {
                changed.map_or(attributes.next_hop, |changed| changed.next_hop).address.to_string()
            }
            Verdict::Reject => "rejected".to_owned(),
        }
    };
    let rig_of = |spec: &str| pool(rig(spec).config(&mesh));
    let usual = rig_of("");
    assert_eq!(next_hop(&usual, "Mesh_10_0_0_2", "10.1.0.5"), "10.0.0.1");
    assert_eq!(next_hop(&usual, "Mesh_10_0_0_2", "10.9.9.9"), "10.9.9.9", "no workload of ours");
    // One whose address is out of another node's block.
    let borrowed = usual.workload("far", "bgp: 'yes'", "ipNetworks: [10.1.7.7/32]");
    assert_eq!(next_hop(&borrowed, "Mesh_10_0_0_2", "10.1.7.7"), "10.0.0.1");
    // Who asks for next hops as they are has them.
    let keep = rig_of("").peer(
        "b",
        "{node: a, peerSelector: projectcalico.org/none == 'x' || all(), nextHopMode: Keep}",
    );
    assert_eq!(next_hop(&keep, "Node_10_0_0_2", "10.1.0.5"), "10.1.0.5");
    // Without such peers nobody's policy says anything of it.
    let without = pool(Rig::new().node("a", "10.0.0.1"));
    let policy = without.one("a", "Mesh_10_0_0_2").export.expect("a policy");
    let mut rules = policy.definition().rules.iter();
    assert!(rules.all(|rule| rule.set.next_hop.is_none()));
}

#[test]
fn workloads_are_news_only_where_they_can_be_peers() {
    let endpoint = |n: u8| {
        let spec = format!(
            "{{node: a, orchestrator: k8s, pod: vm, endpoint: eth0, interfaceName: cali0, ipNetworks: [10.1.0.{n}/32]}}"
        );
        resource("WorkloadEndpoint", "a-k8s-vm-eth0", "", &spec)
    };
    let mut resources = Resources::default();
    assert!(!resources.set(endpoint(1)));
    let peer = "{localWorkloadSelector: all(), asNumber: 65001}";
    assert!(resources.set(resource("BGPPeer", "vms", "", peer)));
    assert!(resources.set(endpoint(2)));
    assert!(!resources.set(endpoint(2)));
    assert!(resources.remove(&endpoint(2).key()));
}
