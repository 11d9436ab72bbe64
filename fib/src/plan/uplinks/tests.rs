use std::time::Instant;

use super::*;
use crate::api::FibConfig;
use crate::plan::fact::{
    Arrival, Fact, Form, Hop, KernelAddress, KernelLink, KernelRoute, Origin, Presence,
};
use crate::plan::state::Abilities;

#[test]
fn links_with_a_node_address_or_a_default_route_are_uplinks() {
    let now = Instant::now();
    let abilities = Abilities { objects: true, write: true };
    let mut state = State::new(FibConfig::default(), abilities);
    for (index, name, mtu) in
        [(1, "lo", 65536), (2, "eth0", 1500), (3, "eth1", 9000), (4, "x", 576)]
    {
        let name = name.to_owned();
        let link = KernelLink { index, name, admin_up: true, running: true, mac: None, mtu };
        state.learn(Fact::Link(link, Presence::Here), now);
    }
    for (index, net) in [(1, "192.0.2.1/32"), (2, "10.0.0.1/24"), (3, "10.0.1.1/24")] {
        let net = net.parse().expect("a prefix");
        state.learn(Fact::Address(KernelAddress::unmarked(index, net), Presence::Here), now);
    }
    let names = |state: &State, node: &[&str]| -> Vec<(String, u32)> {
        let node: Vec<IpAddr> = node.iter().map(|a| a.parse().expect("an address")).collect();
        state.uplinks(&node).into_iter().map(|l| (l.name, l.mtu)).collect()
    };
    assert_eq!(names(&state, &[]), []);
    // A node's address on lo says nothing of its packets' way.
    assert_eq!(names(&state, &["192.0.2.1", "10.0.1.1"]), [("eth1".to_owned(), 9000)]);
    let gateway = Some("10.0.0.254".parse().expect("an address"));
    let hop = Hop { gateway, oif: 2, onlink: false };
    let default = KernelRoute {
        prefix: "0.0.0.0/0".parse().expect("a prefix"),
        table: 254,
        protocol: 16,
        tos: 0,
        link_scope: false,
        form: Form { via: Via::Hops(vec![(hop, 1)]), metric: 0, prefsrc: None },
    };
    state.learn(Fact::Route(default, Arrival::Added, Origin::Other), now);
    assert_eq!(names(&state, &["192.0.2.1"]), [("eth0".to_owned(), 1500)]);
}
