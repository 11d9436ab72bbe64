use super::*;

#[test]
fn origins_have_names() {
    for origin in [Origin::Igp, Origin::Egp, Origin::Incomplete] {
        assert_eq!(origin.to_string().parse(), Ok(origin));
        assert_eq!(Origin::from_wire(origin.to_wire()), Some(origin));
    }
    assert!("IGP".parse::<Origin>().is_err());
    assert_eq!(Origin::from_wire(3), None);
}

#[test]
fn martians_are_told_in_both_families() {
    for address in [
        "0.0.0.1",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::1",
        "::ffff:127.0.0.1",
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert!(NextHop::new(address).is_martian(), "{address}");
    }
    for address in ["10.0.0.1", "2001:db8::1", "fe80::1", "::ffff:10.0.0.1"] {
        let address: IpAddr = address.parse().unwrap();
        assert!(!NextHop::new(address).is_martian(), "{address}");
    }
}

#[test]
fn non_transitive_extended_communities_stay_inside() {
    let mut attributes = PathAttributes::local(Ipv4Addr::LOCALHOST.into());
    attributes.ext_communities = vec![[0x43, 0, 0, 0, 0, 0, 0, 1], [0, 2, 0, 0, 0, 0, 0, 1]];
    let mut inside = [0; 20];
    inside[0] = 0x40;
    attributes.ipv6_ext_communities = vec![[0; 20], inside];
    attributes.strip_non_transitive();
    assert_eq!(attributes.ext_communities, [[0, 2, 0, 0, 0, 0, 0, 1]]);
    assert_eq!(attributes.ipv6_ext_communities, [[0; 20]]);
}

#[test]
fn partial_is_kept_for_optional_transitive_attributes_only() {
    let mut bits = PartialBits::default();
    for code in 0..=255 {
        bits.insert(code);
    }
    let kept: Vec<u8> = (0..=255).filter(|code| bits.contains(*code)).collect();
    assert_eq!(kept, [7, 8, 16, 25, 32, 35]);
    assert!(kept.iter().all(|code| defined_flags(*code) == Some(0xC0)));
}
