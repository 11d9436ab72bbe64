use super::*;

fn ext(text: &str) -> ExtCommunity {
    text.parse().unwrap()
}

#[test]
fn communities_are_two_decimal_numbers() {
    assert_eq!("65001:7".parse(), Ok(Community(65001 << 16 | 7)));
    assert_eq!("65535:666".parse(), Ok(Community::BLACKHOLE));
    assert_eq!(Community::NO_EXPORT.to_string(), "65535:65281");
    for text in ["65536:1", "1", "1:2:3", "01:2", "+1:2", "a:b", "", ":"] {
        assert!(text.parse::<Community>().is_err(), "{text}");
    }
}

#[test]
fn large_communities_are_three_numbers_without_leading_zeros() {
    let large = LargeCommunity(4_200_000_000, 0, 7);
    assert_eq!(large.to_string(), "4200000000:0:7");
    assert_eq!("4200000000:0:7".parse(), Ok(large));
    for text in ["1:2", "1:2:3:4", "1:2:03", "4294967296:1:1", "1:2:"] {
        assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
    }
}

#[test]
fn large_communities_keep_their_octets() {
    let octets = [0, 0, 253, 233, 0, 0, 0, 1, 255, 0, 0, 2];
    let large = LargeCommunity::from_wire(octets);
    assert_eq!(large, LargeCommunity(65001, 1, 0xFF00_0002));
    assert_eq!(large.to_wire(), octets);
}

#[test]
fn route_targets_and_origins_are_text_in_all_three_forms() {
    assert_eq!(ext("rt:65001:1").0, [0, 2, 0xFD, 0xE9, 0, 0, 0, 1]);
    assert_eq!(ext("ro:65001:4294967295").0, [0, 3, 0xFD, 0xE9, 255, 255, 255, 255]);
    assert_eq!(ext("rt:10.0.0.1:5").0, [1, 2, 10, 0, 0, 1, 0, 5]);
    assert_eq!(ext("rt:4200000000:5").0, [2, 2, 0xFA, 0x56, 0xEA, 0x00, 0, 5]);
}

#[test]
fn every_extended_community_reads_back_from_its_text() {
    let samples = [
        [0, 2, 0xFD, 0xE9, 0, 0, 0, 1],
        [0, 3, 0, 1, 0, 0, 0, 1],
        [1, 2, 10, 0, 0, 1, 0, 5],
        [2, 2, 0xFA, 0x56, 0xEA, 0x00, 0, 5],
        [2, 2, 0, 0, 0xFD, 0xE9, 0, 5],
        [0x40, 2, 0, 1, 0, 0, 0, 1],
        [0x43, 0, 0, 0, 0, 0, 0, 1],
        [3, 0x0C, 0, 0, 0, 0, 0, 8],
        [0; 8],
        [255; 8],
    ];
    for octets in samples {
        let community = ExtCommunity(octets);
        assert_eq!(community.to_string().parse(), Ok(community), "{community}");
    }
}

#[test]
fn what_has_no_unambiguous_text_is_hexadecimal() {
    // A 4-octet AS below 65536: `rt:65001:5` means the 2-octet form.
    assert_eq!(ExtCommunity([2, 2, 0, 0, 0xFD, 0xE9, 0, 5]).to_string(), "02020000fde90005");
    assert_eq!(ExtCommunity([0x43, 0, 0, 0, 0, 0, 0, 1]).to_string(), "4300000000000001");
}

#[test]
fn text_that_is_no_extended_community_is_refused() {
    for text in [
        "rt:1",
        "rt:65001:4294967296",
        "rt:70000:65536",
        "xx:1:2",
        "12",
        "0x00000000000000",
        "+000000000000001",
    ] {
        assert!(text.parse::<ExtCommunity>().is_err(), "{text}");
    }
}

#[test]
fn bit_0x40_says_non_transitive() {
    assert!(ExtCommunity([0, 2, 0, 0, 0, 0, 0, 0]).is_transitive());
    assert!(!ExtCommunity([0x43, 0, 0, 0, 0, 0, 0, 0]).is_transitive());
}
