use super::*;

fn read(family: Family, add_path: bool, octets: &[u8]) -> Vec<(u32, String)> {
    let (nlri, _) = Nlri::check(family, add_path, octets).unwrap();
    nlri.iter().map(|(path_id, prefix)| (path_id, prefix.to_string())).collect()
}

fn ignored(family: Family, octets: &[u8]) -> usize {
    Nlri::check(family, false, octets).unwrap().1.count
}

#[test]
fn prefixes_of_every_length_are_read_wherever_they_stand() {
    for len in 0..=32_u8 {
        let used = usize::from(len.div_ceil(8));
        let entry = [&[len][..], &[10, 255, 255, 255][..used]].concat();
        let bits = u32::from_be_bytes([10, 255, 255, 255]);
        let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        let expected = Ipv4Net::new(Ipv4Addr::from_bits(bits & mask), len).unwrap().to_string();
        // Last in the field, and with others behind.
        for times in [1, 2, 5] {
            let prefixes = read(Family::IPV4_UNICAST, false, &entry.repeat(times));
            let silly = len >= 8 && expected.starts_with("0.");
            assert!(!silly);
            assert_eq!(prefixes, vec![(0, expected.clone()); times]);
        }
    }
    for len in 0..=128_u8 {
        let used = usize::from(len.div_ceil(8));
        let entry = [&[len][..], &[0x20; 16][..used]].concat();
        let prefixes = read(Family::IPV6_UNICAST, false, &entry.repeat(3));
        assert_eq!(prefixes.len(), 3);
        let prefix: Ipv6Net = prefixes[0].1.parse().unwrap();
        assert_eq!((prefix.prefix_len(), prefix.trunc()), (len, prefix));
        assert!(prefixes.iter().all(|other| *other == prefixes[0]));
    }
}

#[test]
fn path_identifiers_stand_before_each_prefix() {
    let octets = [0, 0, 0, 7, 8, 10, 0xFF, 0, 0, 1, 32, 10, 0, 0, 1];
    let expected = [(7, "10.0.0.0/8".to_owned()), (0xFF00_0001, "10.0.0.1/32".to_owned())];
    assert_eq!(read(Family::IPV4_UNICAST, true, &octets), expected);
    let octets = [0, 0, 0, 7, 16, 0x20, 1];
    assert_eq!(read(Family::IPV6_UNICAST, true, &octets), [(7, "2001::/16".to_owned())]);
    assert!(Nlri::check(Family::IPV4_UNICAST, true, &octets[..4]).is_err());
    assert!(Nlri::check(Family::IPV4_UNICAST, true, &octets[..3]).is_err());
}

#[test]
fn prefixes_too_long_or_cut_short_are_malformed() {
    for octets in [&[33, 1, 2, 3, 4, 5][..], &[255], &[32, 1, 2, 3], &[8, 10, 9, 1]] {
        assert!(Nlri::check(Family::IPV4_UNICAST, false, octets).is_err(), "{octets:?}");
    }
    for octets in [&[&[129][..], &[0; 20]].concat()[..], &[128, 1, 2], &[1]] {
        assert!(Nlri::check(Family::IPV6_UNICAST, false, octets).is_err(), "{octets:?}");
    }
}

#[test]
fn ipv4_prefixes_that_no_route_can_have_are_left_out() {
    for octets in [&[8, 0][..], &[32, 0, 0, 0, 0], &[8, 127], &[4, 0xE0], &[24, 239, 1, 1]] {
        assert_eq!(ignored(Family::IPV4_UNICAST, octets), 1, "{octets:?}");
        assert_eq!(read(Family::IPV4_UNICAST, false, octets), []);
    }
    for octets in [&[0][..], &[7, 0], &[1, 0], &[7, 126], &[3, 0xE0], &[4, 0xF0], &[8, 10]] {
        assert_eq!(ignored(Family::IPV4_UNICAST, octets), 0, "{octets:?}");
        assert_eq!(read(Family::IPV4_UNICAST, false, octets).len(), 1);
    }
}

#[test]
fn ipv6_prefixes_that_no_route_can_have_are_left_out() {
    let host = |last| [&[128][..], &[0; 15], &[last]].concat();
    for octets in
        [&[8, 0xFF][..], &[10, 0xFE, 0x80], &[64, 0xFE, 0xBF, 0, 0, 0, 0, 0, 0], &host(0), &host(1)]
    {
        assert_eq!(ignored(Family::IPV6_UNICAST, octets), 1, "{octets:?}");
        assert_eq!(read(Family::IPV6_UNICAST, false, octets), []);
    }
    for octets in [&[0][..], &[7, 0xFE], &[9, 0xFE, 0x80], &[7, 0xFC], &[10, 0xFE, 0xC0], &host(2)]
    {
        assert_eq!(ignored(Family::IPV6_UNICAST, octets), 0, "{octets:?}");
        assert_eq!(read(Family::IPV6_UNICAST, false, octets).len(), 1);
    }
}

#[test]
fn typed_iterators_see_the_same_and_only_their_family() {
    let octets = [8, 10, 4, 0xE0, 24, 192, 0, 2];
    let (nlri, _) = Nlri::check(Family::IPV4_UNICAST, false, &octets).unwrap();
    let typed: Vec<(u32, IpNet)> = nlri.iter_v4().map(|(id, net)| (id, net.into())).collect();
    assert_eq!(typed, nlri.iter().collect::<Vec<_>>());
    assert_eq!(nlri.iter_v6().count(), 0);
    let octets = [16, 0x20, 1];
    let (nlri, _) = Nlri::check(Family::IPV6_UNICAST, false, &octets).unwrap();
    assert_eq!(nlri.iter_v4().count(), 0);
    assert_eq!(nlri.iter_v6().count(), 1);
}
