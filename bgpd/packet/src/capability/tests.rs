use super::*;

#[track_caller]
fn impossible(code: u8, lengths: &[usize]) {
    for &len in lengths {
        let error = CapabilityLength { code, len };
        assert_eq!(Capability::decode(code, &vec![0; len]), Err(error));
    }
}

const VPN: Family = Family { afi: 1, safi: 128 };

fn samples() -> Vec<Capability> {
    vec![
        Capability::Multiprotocol(VPN),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(vec![(Family::IPV4_UNICAST, 2), (VPN, 2)]),
        Capability::ExtendedMessage,
        Capability::Role(3),
        Capability::GracefulRestart {
            restarting: true,
            notification: false,
            restart_time: 4095,
            families: vec![(Family::IPV4_UNICAST, true), (Family::IPV6_UNICAST, false)],
        },
        Capability::FourOctetAsn(Asn(4_200_000_000)),
        Capability::AddPath(vec![
            (Family::IPV4_UNICAST, AddPathMode::Both),
            (Family::IPV6_UNICAST, AddPathMode::Receive),
            (VPN, AddPathMode::Send),
        ]),
        Capability::EnhancedRouteRefresh,
        Capability::LongLivedGracefulRestart(vec![(Family::IPV4_UNICAST, true, 0x00FF_FFFF)]),
        Capability::Fqdn { host: "node1".to_owned(), domain: "example".to_owned() },
        Capability::Unknown { code: 77, value: vec![1, 2, 3] },
    ]
}

#[test]
fn every_capability_reads_back() {
    for sent in samples() {
        let mut octets = Vec::new();
        sent.encode(&mut octets);
        let (value, rest) = take_counted8(&octets[1..]).unwrap();
        assert_eq!(rest, []);
        assert_eq!(Capability::decode(octets[0], value), Ok(sent));
    }
}

#[test]
fn all_together_are_one_after_the_other() {
    let all = Capability::encode_all(&samples());
    let each: Vec<u8> =
        samples().iter().flat_map(|c| Capability::encode_all(std::slice::from_ref(c))).collect();
    assert_eq!(all, each);
}

#[test]
fn impossible_lengths_are_errors() {
    impossible(1, &[0, 3, 5]);
    impossible(5, &[1, 5, 7]);
    impossible(9, &[0, 2]);
    impossible(64, &[0, 1, 3, 5]);
    impossible(65, &[0, 2, 3, 5]);
    impossible(69, &[1, 3, 5]);
    impossible(71, &[1, 6, 8]);
}

#[test]
fn lists_may_be_empty() {
    assert_eq!(Capability::decode(69, &[]), Ok(Capability::AddPath(vec![])));
    assert_eq!(Capability::decode(71, &[]), Ok(Capability::LongLivedGracefulRestart(vec![])));
}

#[test]
fn flags_with_a_value_say_nothing() {
    for code in [2, 6, 70] {
        let kept = Capability::Unknown { code, value: vec![1] };
        assert_eq!(Capability::decode(code, &[1]), Ok(kept));
    }
}

#[test]
fn add_path_entries_of_unknown_mode_are_left_out() {
    let value = [0, 1, 1, 0, 0, 2, 1, 3, 0, 1, 1, 4];
    let expected = Capability::AddPath(vec![(Family::IPV6_UNICAST, AddPathMode::Both)]);
    assert_eq!(Capability::decode(69, &value), Ok(expected));
}

#[test]
fn the_safi_of_an_extended_next_hop_has_two_octets() {
    let value = [0, 1, 0, 1, 0, 2, 0, 1, 1, 1, 0, 2];
    let expected = Capability::ExtendedNextHop(vec![(Family::IPV4_UNICAST, 2)]);
    assert_eq!(Capability::decode(5, &value), Ok(expected));
}

#[test]
fn the_reserved_octet_of_a_family_is_ignored() {
    let expected = Capability::Multiprotocol(Family::IPV4_UNICAST);
    assert_eq!(Capability::decode(1, &[0, 1, 0xFF, 1]), Ok(expected));
}

#[test]
fn restart_flags_and_time_share_two_octets() {
    let expected = Capability::GracefulRestart {
        restarting: false,
        notification: true,
        restart_time: 120,
        families: vec![(Family::IPV4_UNICAST, true)],
    };
    assert_eq!(Capability::decode(64, &[0x40, 120, 0, 1, 1, 0x80]), Ok(expected));
}

#[test]
fn a_name_may_lack_its_domain_and_is_kept_raw_when_cut() {
    let name = Capability::Fqdn { host: "ab".to_owned(), domain: String::new() };
    assert_eq!(Capability::decode(73, &[2, b'a', b'b']), Ok(name));
    let cut = Capability::Unknown { code: 73, value: vec![3, b'a'] };
    assert_eq!(Capability::decode(73, &[3, b'a']), Ok(cut));
}

#[test]
fn what_does_not_fit_a_capability_is_cut_at_a_whole_entry() {
    let families = vec![(VPN, AddPathMode::Both); 100];
    let mut octets = Vec::new();
    Capability::AddPath(families).encode(&mut octets);
    assert_eq!((octets[1], octets.len()), (252, 254));
    let name = Capability::Fqdn { host: "é".repeat(200), domain: "x".repeat(200) };
    octets.clear();
    name.encode(&mut octets);
    assert_eq!(octets.len(), 2 + usize::from(octets[1]));
    let Ok(Capability::Fqdn { host, .. }) = Capability::decode(73, &octets[2..]) else { panic!() };
    assert_eq!(host, "é".repeat(126));
}
