use super::*;
use crate::{AddPathMode, Message, message::decode};

fn body(parameters: &[u8]) -> Vec<u8> {
    [&[4, 0xFD, 0xE9, 0, 90, 10, 0, 0, 1], parameters].concat()
}

#[track_caller]
fn malformed(parameters: &[u8], subcode: u8) {
    let notification = Open::decode(&body(parameters)).unwrap_err();
    assert_eq!((notification.code, notification.subcode), (2, subcode));
}

fn read_back(open: &Open) -> Open {
    match decode(&encode_open(open)).unwrap() {
        Message::Open(open) => open,
        other => panic!("{other:?}"),
    }
}

fn open(capabilities: Vec<Capability>) -> Open {
    Open::new(Asn(65001), 90, Ipv4Addr::new(10, 0, 0, 1), capabilities)
}

#[test]
fn capabilities_may_share_a_parameter_or_have_one_each() {
    let expected = [Capability::RouteRefresh, Capability::FourOctetAsn(Asn(65001))];
    let shared = [10, 2, 8, 2, 0, 65, 4, 0, 0, 0xFD, 0xE9];
    assert_eq!(Open::decode(&body(&shared)).unwrap().capabilities, expected);
    let each = [12, 2, 2, 2, 0, 2, 6, 65, 4, 0, 0, 0xFD, 0xE9];
    assert_eq!(Open::decode(&body(&each)).unwrap().capabilities, expected);
    let empty_parameter = [4, 2, 0, 2, 0];
    assert_eq!(Open::decode(&body(&empty_parameter)).unwrap().capabilities, []);
}

#[test]
fn extended_parameters_are_known_by_the_first_type() {
    let expected = [Capability::RouteRefresh];
    // RFC 9072 §2: also where the length octet is not 255, and below 255 octets.
    for len in [255, 1, 8] {
        let parameters = [len, 255, 0, 5, 2, 0, 2, 2, 0];
        assert_eq!(Open::decode(&body(&parameters)).unwrap().capabilities, expected);
    }
    malformed(&[0, 255, 0, 5, 2, 0, 2, 2, 0], 0);
}

#[test]
fn type_255_after_the_first_is_an_unknown_parameter() {
    malformed(&[6, 2, 2, 2, 0, 255, 0], 4);
    malformed(&[255, 255, 0, 8, 2, 0, 2, 2, 0, 255, 0, 0], 4);
}

#[test]
fn unknown_parameters_are_2_4() {
    malformed(&[2, 1, 0], 4);
    malformed(&[2, 3, 0], 4);
}

#[test]
fn what_overruns_its_container_is_2_0() {
    malformed(&[5, 2, 2, 2, 0], 0); // parameters beyond the message
    malformed(&[3, 2, 2, 2, 0], 0); // octets beyond the parameters
    malformed(&[4, 2, 3, 2, 0], 0); // a parameter beyond the parameters
    malformed(&[4, 2, 2, 2, 1], 0); // a capability beyond its parameter
    malformed(&[3, 2, 1, 2], 0); // a capability without length
    malformed(&[1, 2], 0); // a parameter without length
    malformed(&[255, 255, 0, 9, 2, 0, 2, 2, 0], 0);
    malformed(&[255, 255, 0], 0);
    malformed(&[1, 255], 0);
    malformed(&[], 0);
}

#[test]
fn known_capabilities_of_impossible_length_are_2_0() {
    malformed(&[7, 2, 5, 65, 3, 0, 0, 1], 0);
}

#[test]
fn another_version_is_left_to_the_session() {
    let mut octets = body(&[99, 1, 2, 3]);
    octets[0] = 5;
    let open = Open::decode(&octets).unwrap();
    assert_eq!((open.version, open.capabilities), (5, vec![]));
}

#[test]
fn the_as_is_that_of_the_last_capability_65() {
    let mut open = open(vec![]);
    assert_eq!((open.asn(), open.four_octet_asn()), (Asn(65001), None));
    open.capabilities =
        vec![Capability::FourOctetAsn(Asn(1)), Capability::FourOctetAsn(Asn(70000))];
    assert_eq!(open.asn(), Asn(70000));
    let large = Open::new(Asn(70000), 90, Ipv4Addr::LOCALHOST, vec![]);
    assert_eq!(large.my_as, 23456);
}

#[test]
fn families_are_listed_unknown_ones_too() {
    let vpn = Family { afi: 1, safi: 128 };
    let open = open(vec![
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::RouteRefresh,
        Capability::Multiprotocol(vpn),
    ]);
    assert!(open.families().eq([Family::IPV6_UNICAST, vpn]));
}

#[test]
fn capabilities_that_fit_use_the_plain_form() {
    let open = open(vec![Capability::Unknown { code: 200, value: vec![1; 251 - 2] }]);
    let octets = encode_open(&open);
    assert_eq!(octets[28..31], [253, 2, 251]);
    assert_eq!(read_back(&open), open);
}

#[test]
fn capabilities_that_do_not_fit_use_the_extended_form() {
    let open = open(vec![
        Capability::Unknown { code: 200, value: vec![1; 252] },
        Capability::AddPath(vec![(Family::IPV4_UNICAST, AddPathMode::Both)]),
    ]);
    let octets = encode_open(&open);
    assert_eq!(octets[28..30], [255, 255]);
    assert_eq!(read_back(&open), open);
}

#[test]
fn an_open_never_exceeds_4096_octets() {
    let open = open(vec![Capability::Unknown { code: 200, value: vec![1; 255] }; 20]);
    let octets = encode_open(&open);
    assert!(octets.len() <= MAX_LEN);
    assert_eq!(read_back(&open).capabilities.len(), 15);
}

#[test]
fn an_open_without_capabilities_has_no_parameter() {
    let octets = encode_open(&open(vec![]));
    assert_eq!((octets.len(), octets[28]), (29, 0));
}
