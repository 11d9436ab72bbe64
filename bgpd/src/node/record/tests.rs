use bgp_desired::Registration;
use bgp_packet::Asn;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn wish(v4: Said<IpNet>) -> Wish {
    let addresses = [(AddressFamily::V4, v4), (AddressFamily::V6, Said::Nothing)].into();
    Wish { addresses, ..Wish::of(&Registration::default()) }
}

fn full() -> Wish {
    let registration = Registration {
        asn: Some(Asn(65001)),
        cluster_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
        labels: [("rack".to_owned(), "a".to_owned())].into(),
        ..Registration::default()
    };
    let addresses = [(AddressFamily::V4, Said::Is(net("10.0.0.1/24")))].into();
    Wish { addresses, ..Wish::of(&registration) }
}

#[track_caller]
fn written(current: Option<&Node>, wish: &Wish) -> Node {
    let resource = plan(current, "n1", wish).expect("something to write");
    resource.check().expect("a valid Node");
    match resource {
        Resource::Node(node) => *node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_node_says_what_is_wanted_and_nothing_more() {
    let node = written(None, &wish(Said::Is(net("10.0.0.1/24"))));
    let bgp = node.spec.bgp.as_ref().unwrap();
    assert_eq!(bgp.ipv4_address.as_ref().unwrap().as_str(), "10.0.0.1/24");
    assert_eq!((bgp.as_number, &bgp.ipv6_address), (None, &None));
    assert!(node.metadata.labels.is_empty());
    let bare = written(None, &wish(Said::Without));
    assert_eq!(bare.spec.bgp, None, "an empty mapping would not be valid");
}

#[test]
fn a_second_look_writes_nothing() {
    let node = written(None, &full());
    assert_eq!(plan(Some(&node), "n1", &full()), None);
}

#[test]
fn what_others_wrote_stays() {
    let mut node = written(None, &full());
    let spec = &mut node.spec;
    spec.ipv4_vxlan_tunnel_addr = Some(Ipv4Addr::new(10, 244, 0, 1));
    let bgp = spec.bgp.as_mut().unwrap();
    bgp.ipv4_ipip_tunnel_addr = Some(Ipv4Addr::new(10, 244, 0, 2));
    bgp.ipv6_address = Some(net("2001:db8::1/64").into());
    node.metadata.labels.insert("zone".into(), "z".into());
    node.metadata.annotations.insert("note".into(), "n".into());
    node.metadata.resource_version = Some("7".into());
    let moved = written(Some(&node), &wish(Said::Is(net("10.0.0.9/24"))));
    let bgp = moved.spec.bgp.as_ref().unwrap();
    assert_eq!(bgp.ipv4_address.as_ref().unwrap().as_str(), "10.0.0.9/24");
    assert_eq!(bgp.ipv4_ipip_tunnel_addr, Some(Ipv4Addr::new(10, 244, 0, 2)));
    assert!(bgp.ipv6_address.is_some() && moved.spec.ipv4_vxlan_tunnel_addr.is_some());
    assert_eq!(moved.metadata.labels.get("zone").map(String::as_str), Some("z"));
    assert!(moved.metadata.annotations.contains_key("note"));
    assert_eq!(moved.metadata.resource_version.as_deref(), Some("7"), "the compare of the write");
}

#[test]
fn what_leaves_the_configuration_leaves_the_node_unless_others_changed_it() {
    let node = written(None, &full());
    let without = wish(Said::Nothing);
    let after = written(Some(&node), &without);
    let bgp = after.spec.bgp.as_ref().unwrap();
    assert_eq!((bgp.as_number, bgp.route_reflector_cluster_id), (None, None));
    assert!(after.metadata.labels.is_empty());
    assert!(bgp.ipv4_address.is_some(), "an address that is not found any more stays");

    let mut changed = node;
    changed.spec.bgp.as_mut().unwrap().as_number = Some(AsNumber(65002));
    changed.metadata.labels.insert("rack".into(), "b".into());
    let after = written(Some(&changed), &without);
    assert_eq!(after.spec.bgp.as_ref().unwrap().as_number, Some(AsNumber(65002)));
    assert_eq!(after.metadata.labels.get("rack").map(String::as_str), Some("b"));
}

#[test]
fn an_address_goes_only_when_it_is_to_go() {
    let node = written(None, &full());
    let after = written(Some(&node), &wish(Said::Without));
    assert_eq!(after.spec.bgp, None);
    assert!(!after.metadata.annotations.get(ANNOTATION).unwrap().contains("ipv4Address"));
}

#[test]
fn a_record_that_cannot_be_read_takes_nothing_away() {
    let mut node = written(None, &full());
    node.metadata.annotations.insert(ANNOTATION.into(), "[".into());
    let after = written(Some(&node), &wish(Said::Nothing));
    assert_eq!(after.spec.bgp.as_ref().unwrap().as_number, Some(AsNumber(65001)));
    assert_eq!(after.metadata.labels.len(), 1);
}

#[test]
fn the_same_address_written_otherwise_is_left_alone() {
    let mut node = written(None, &wish(Said::Is(net("10.0.0.1/32"))));
    node.spec.bgp.as_mut().unwrap().ipv4_address = Some("10.0.0.1".parse().unwrap());
    let after = written(Some(&node), &wish(Said::Is(net("10.0.0.1/32"))));
    assert!(after.spec.bgp.as_ref().unwrap().ipv4_address.as_ref().unwrap().is_bare());
    assert_eq!(plan(Some(&after), "n1", &wish(Said::Is(net("10.0.0.1/32")))), None);
}

/// A Node as others made it, with a label and an AS.
fn foreign(rack: &str, asn: u32) -> Node {
    let mut node: Node = Object::new("n1", NodeSpec::default());
    node.metadata.labels.insert("rack".into(), rack.into());
    node.spec.bgp = Some(NodeBgp { as_number: Some(AsNumber(asn)), ..NodeBgp::default() });
    node
}

fn values(node: &Node) -> (Option<&str>, Option<u32>) {
    let asn = node.spec.bgp.as_ref().and_then(|bgp| bgp.as_number).map(|asn| asn.0);
    (node.metadata.labels.get("rack").map(String::as_str), asn)
}

#[test]
fn what_others_had_set_alike_stays_theirs() {
    let node = written(Some(&foreign("a", 65001)), &full());
    let after = written(Some(&node), &wish(Said::Nothing));
    assert_eq!(values(&after), (Some("a"), Some(65001)));
}

#[test]
fn what_was_overwritten_comes_back() {
    let node = written(Some(&foreign("z", 65009)), &full());
    assert_eq!(values(&node), (Some("a"), Some(65001)));
    assert_eq!(plan(Some(&node), "n1", &full()), None, "the record is the same again");
    // Another value of ours is no value of theirs.
    let mut other = full();
    other.labels.insert("rack".into(), "b".into());
    let node = written(Some(&node), &other);
    assert_eq!(values(&node), (Some("b"), Some(65001)));
    let after = written(Some(&node), &wish(Said::Nothing));
    assert_eq!(values(&after), (Some("z"), Some(65009)));
    assert!(!after.metadata.annotations.get(ANNOTATION).unwrap().contains("before"));
}

#[test]
fn what_others_change_while_it_is_ours_is_what_comes_back() {
    let mut node = written(None, &full());
    node.metadata.labels.insert("rack".into(), "c".into());
    let node = written(Some(&node), &full());
    assert_eq!(values(&node).0, Some("a"), "the file says so");
    let after = written(Some(&node), &wish(Said::Nothing));
    assert_eq!(values(&after), (Some("c"), None));
}

#[test]
fn a_label_that_others_take_away_is_put_there_as_ours() {
    let mut node = written(Some(&foreign("a", 65001)), &full());
    node.metadata.labels.remove("rack");
    let node = written(Some(&node), &full());
    assert_eq!(values(&node).0, Some("a"));
    let after = written(Some(&node), &wish(Said::Nothing));
    assert_eq!(values(&after), (None, Some(65001)));
}
