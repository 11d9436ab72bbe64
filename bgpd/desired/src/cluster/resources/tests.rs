use margay_model::kinds::{NodeBgp, NodeSpec, NodeStatus};

use super::*;

fn node(address: &str) -> Node {
    let cidr = Some(address.parse().expect("a CIDR"));
    let bgp = NodeBgp { ipv4_address: cidr, ..NodeBgp::default() };
    Node::new("a", NodeSpec { bgp: Some(bgp), ..NodeSpec::default() })
}

#[test]
fn only_what_matters_to_the_speaker_is_a_change() {
    let mut resources = Resources::default();
    assert!(resources.set(node("10.0.0.1/24").into()));
    assert!(!resources.set(node("10.0.0.1/24").into()));
    let mut busy = node("10.0.0.1/24");
    busy.status = Some(NodeStatus::default());
    busy.metadata.annotations.insert("seen".into(), "today".into());
    assert!(!resources.set(busy.into()));
    assert!(resources.set(node("10.0.0.2/24").into()));
    assert!(resources.remove(&Key::cluster(Kind::Node, "a")));
    assert!(!resources.remove(&Key::cluster(Kind::Node, "a")));
    assert_eq!(resources, Resources::default());
}

#[test]
fn nodes_are_found_at_the_address_they_have_now() {
    let mut resources = Resources::default();
    let at = |resources: &Resources, address: &str| {
        let address = address.parse().expect("an address");
        resources.nodes_at(address).map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    resources.set(node("10.0.0.1/24").into());
    assert_eq!(at(&resources, "10.0.0.1"), ["a"]);
    resources.set(node("10.0.0.2/24").into());
    assert_eq!(at(&resources, "10.0.0.1"), [""; 0]);
    assert_eq!(at(&resources, "10.0.0.2"), ["a"]);
    // The same address with another subnet.
    resources.set(node("10.0.0.2/16").into());
    assert_eq!(at(&resources, "10.0.0.2"), ["a"]);
    resources.set(Node::new("a", NodeSpec::default()).into());
    assert_eq!(resources, Resources::default());
}
