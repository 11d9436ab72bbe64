use bgp_packet::NextHop;

use super::*;

fn value(text: &str) -> CommunityValue {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn set(patterns: &[&str]) -> CommunitySet {
    let parse = |text: &&str| text.parse().expect("a pattern in a test");
    CommunitySet::new(patterns.iter().map(parse).collect()).expect("patterns compile")
}

#[test]
fn each_form_has_its_octets() {
    assert_eq!(value("65535:666"), CommunityValue::Plain(Community::BLACKHOLE));
    assert_eq!(
        value("large:4200000000:1:2"),
        CommunityValue::Large(LargeCommunity(4_200_000_000, 1, 2))
    );
    assert_eq!(value("ext:rt:65001:1"), CommunityValue::Ext([0, 2, 0xFD, 0xE9, 0, 0, 0, 1]));
    assert_eq!(value("ext:ro:70000:5"), CommunityValue::Ext([2, 3, 0, 1, 0x11, 0x70, 0, 5]));
    assert_eq!(value("ext:rt:192.0.2.1:9"), CommunityValue::Ext([1, 2, 192, 0, 2, 1, 0, 9]));
    assert_eq!(value("ext:4300000000000001"), CommunityValue::Ext([0x43, 0, 0, 0, 0, 0, 0, 1]));
}

#[test]
fn each_form_is_shown_as_it_is_written() {
    for text in [
        "65535:666",
        "0:0",
        "large:1:2:3",
        "ext:rt:65001:1",
        "ext:ro:70000:5",
        "ext:rt:192.0.2.1:9",
        "ext:4300000000000001",
    ] {
        assert_eq!(value(text).to_string(), text);
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "1",
        "65536:1",
        "1:65536",
        "1:2:3",
        "-1:1",
        "+1:1",
        "large:1:2",
        "large:1:2:3:4",
        "ext:rt:1",
        "ext:xx:1:2",
        "ext:rt:70000:65536",
        "ext:123",
        "ext:430000000000000g",
        "a:b",
        "ext:+300000000000001",
    ] {
        assert!(text.parse::<CommunityValue>().is_err(), "{text}");
    }
}

#[test]
fn patterns_are_found_in_the_text_of_plain_communities() {
    let customers = set(&["re:^65001:.*$"]);
    assert!(customers.contains_plain(Community(65001 << 16 | 7)));
    assert!(!customers.contains_plain(Community(65002 << 16 | 7)));
    assert!(set(&["re:^1:"]).contains_plain(Community(1 << 16 | 500)));
    assert!(!set(&["re:^1:5$"]).contains_plain(Community(1 << 16 | 500)));
}

#[test]
fn a_route_target_is_found_in_both_encodings_of_its_as_number() {
    let target = set(&["ext:rt:65001:1"]);
    assert!(target.contains_ext([0, 2, 0xFD, 0xE9, 0, 0, 0, 1]));
    assert!(target.contains_ext([2, 2, 0, 0, 0xFD, 0xE9, 0, 1]));
    assert!(!target.contains_ext([0, 3, 0xFD, 0xE9, 0, 0, 0, 1]));
}

#[test]
fn a_set_matches_a_route_by_any_kind() {
    let mixed = set(&["1:1", "large:2:2:2", "ext:rt:3:3"]);
    let next_hop = NextHop { address: Ipv4Addr::LOCALHOST.into(), link_local: None };
    let bare = PathAttributes::local(next_hop);
    assert!(!mixed.matches(&bare));
    let plain = PathAttributes { communities: vec![Community(0x1_0001)], ..bare.clone() };
    let large = PathAttributes { large_communities: vec![LargeCommunity(2, 2, 2)], ..bare.clone() };
    let ext = PathAttributes { ext_communities: vec![[0, 2, 0, 3, 0, 0, 0, 3]], ..bare };
    assert!(mixed.matches(&plain) && mixed.matches(&large) && mixed.matches(&ext));
}
