use super::*;

fn key4(s: &str) -> Key4 {
    match s.parse().expect("prefix") {
        IpNet::V4(n) => Key4::from(n),
        IpNet::V6(_) => unreachable!("IPv4 in the test"),
    }
}

fn key6(s: &str) -> Key6 {
    match s.parse().expect("prefix") {
        IpNet::V6(n) => Key6::from(n),
        IpNet::V4(_) => unreachable!("IPv6 in the test"),
    }
}

#[test]
fn a_key_gives_its_prefix_back_with_host_bits_cleared() {
    assert_eq!(key4("10.1.2.3/16").net().to_string(), "10.1.0.0/16");
    assert_eq!(key4("0.0.0.0/0").net().to_string(), "0.0.0.0/0");
    assert_eq!(key4("1.2.3.4/32").net().to_string(), "1.2.3.4/32");
    assert_eq!(key6("2001:db8::1/32").net().to_string(), "2001:db8::/32");
    assert_eq!(key6("::/0").net().to_string(), "::/0");
    assert_eq!(key6("fe80::1/128").net().to_string(), "fe80::1/128");
}

#[test]
fn the_span_of_a_prefix_holds_what_is_inside_and_nothing_else() {
    let (first, last) = key4("10.0.0.0/8").span();
    for inside in ["10.0.0.0/8", "10.0.0.0/32", "10.255.255.255/32", "10.9.0.0/16"] {
        assert!((first..=last).contains(&key4(inside)), "{inside}");
    }
    for outside in ["10.0.0.0/7", "11.0.0.0/8", "9.255.255.255/32", "0.0.0.0/0"] {
        assert!(!(first..=last).contains(&key4(outside)), "{outside}");
    }
    let (first, last) = key6("2001:db8::/32").span();
    assert!((first..=last).contains(&key6("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128")));
    assert!(!(first..=last).contains(&key6("2001:db9::/128")));
    assert!(!(first..=last).contains(&key6("2001:db8::/31")));
}

#[test]
fn around_masks_the_address_and_refuses_the_other_family() {
    let a = "10.1.2.3".parse().expect("address");
    assert_eq!(Key4::around(a, 24), Some(key4("10.1.2.0/24")));
    assert_eq!(Key6::around(a, 24), None);
}
