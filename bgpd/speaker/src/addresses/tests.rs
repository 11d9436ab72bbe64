use super::*;

fn link(index: u32, addresses: &[&str]) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        up: true,
        mac: None,
        mtu: 1500,
        addresses: addresses.iter().map(|text| text.parse().expect("a prefix")).collect(),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("a socket address")
}

#[test]
fn a_peer_on_our_link_gives_all_addresses_of_the_link() {
    let links =
        [link(1, &["127.0.0.1/8"]), link(2, &["10.0.0.1/24", "2001:db8::1/64", "fe80::1/64"])];
    let found = session_addresses(&links, at("10.0.0.1:179"), at("10.0.0.2:40000"));
    assert_eq!(found.v4, Some("10.0.0.1".parse().expect("v4")));
    assert_eq!(found.v6, Some("2001:db8::1".parse().expect("v6")));
    assert_eq!(found.link_local, Some("fe80::1".parse().expect("v6")));
    assert_eq!(found.interface, Some(2));
    assert_eq!(found.subnet, Some("10.0.0.0/24".parse().expect("a prefix")));
    let found = session_addresses(&links, at("[2001:db8::1]:179"), at("[2001:db8::2]:40000"));
    assert_eq!(found.subnet, Some("2001:db8::/64".parse().expect("a prefix")));
}

#[test]
fn a_peer_beyond_the_network_of_the_local_address_shares_none() {
    let links = [link(2, &["192.0.2.1/32", "10.0.0.1/24", "10.1.0.1/24"])];
    let subnet = |local, remote| session_addresses(&links, at(local), at(remote)).subnet;
    assert_eq!(subnet("10.0.0.1:179", "10.9.0.2:40000"), None);
    assert_eq!(subnet("192.0.2.1:179", "10.0.0.2:40000"), None);
    assert_eq!(subnet("10.0.0.1:179", "10.1.0.2:40000"), None);
}

#[test]
fn a_far_peer_shares_no_link() {
    let links = [link(1, &["127.0.0.1/8", "192.0.2.1/32", "fe80::9/64"])];
    let found = session_addresses(&links, at("192.0.2.1:179"), at("192.0.2.2:40000"));
    assert_eq!(found.v4, Some("192.0.2.1".parse().expect("v4")));
    assert_eq!((found.link_local, found.interface, found.subnet), (None, None, None));
}

#[test]
fn an_unnumbered_session_takes_the_addresses_of_its_interface() {
    let links = [link(7, &["fe80::7/64"]), link(8, &["fe80::7/64", "10.1.0.1/31"])];
    let found = session_addresses(&links, at("[fe80::7%8]:179"), at("[fe80::2%8]:40000"));
    assert_eq!(found.v4, Some("10.1.0.1".parse().expect("v4")));
    assert_eq!(found.v6, None);
    assert_eq!(found.link_local, Some("fe80::7".parse().expect("v6")));
    assert_eq!((found.interface, found.subnet), (Some(8), None));
}

#[test]
fn without_interfaces_the_address_of_the_session_is_left() {
    let found = session_addresses(&[], at("10.0.0.1:179"), at("10.0.0.2:179"));
    assert_eq!(found.v4, Some("10.0.0.1".parse().expect("v4")));
    assert_eq!(found.interface, None);
}
