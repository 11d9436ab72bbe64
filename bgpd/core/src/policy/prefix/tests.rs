use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> PrefixPattern {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn prefix(text: &str) -> IpNet {
    text.parse().expect("a prefix in a test")
}

#[test]
fn without_lengths_only_the_network_itself_matches() {
    let set = PrefixSet::new(vec![pattern("10.0.0.0/8")]);
    assert!(set.contains(&prefix("10.0.0.0/8")));
    assert!(!set.contains(&prefix("10.0.0.0/9")));
    assert!(!set.contains(&prefix("0.0.0.0/0")));
}

#[test]
fn ge_alone_reaches_to_the_longest_length() {
    let set = PrefixSet::new(vec![pattern("192.168.0.0/16 ge 24")]);
    assert!(!set.contains(&prefix("192.168.0.0/23")));
    assert!(set.contains(&prefix("192.168.4.0/24")));
    assert!(set.contains(&prefix("192.168.4.1/32")));
}

#[test]
fn le_alone_begins_at_the_network() {
    let set = PrefixSet::new(vec![pattern("2001:db8::/32 le 48")]);
    assert!(set.contains(&prefix("2001:db8::/32")));
    assert!(set.contains(&prefix("2001:db8:1::/48")));
    assert!(!set.contains(&prefix("2001:db8:1::/49")));
}

#[test]
fn the_default_route_and_host_routes_can_be_told_from_the_rest() {
    let set = PrefixSet::new(vec![pattern("0.0.0.0/0"), pattern("::/0 ge 128")]);
    assert!(set.contains(&prefix("0.0.0.0/0")));
    assert!(!set.contains(&prefix("0.0.0.0/1")));
    assert!(set.contains(&prefix("2001:db8::1/128")));
    assert!(!set.contains(&prefix("::/0")));
    assert!(!set.contains(&prefix("2001:db8::/127")));
}

#[test]
fn a_network_inside_another_keeps_what_the_outer_one_allows() {
    let set = PrefixSet::new(vec![pattern("10.0.0.0/8 ge 24 le 24"), pattern("10.1.0.0/16")]);
    assert!(set.contains(&prefix("10.1.0.0/16")));
    assert!(set.contains(&prefix("10.1.2.0/24")));
    assert!(!set.contains(&prefix("10.1.2.0/25")));
}

#[test]
fn wrong_patterns_say_what_is_allowed() {
    let error = |text: &str| text.parse::<PrefixPattern>().expect_err(text).to_string();
    assert_eq!(error("10.0.0.1/8"), "10.0.0.1/8 has host bits set, the network is 10.0.0.0/8");
    assert_eq!(
        error("10.0.0.0/8 ge 7"),
        "ge 7 le 32 does not fit 10.0.0.0/8: allowed is 8 <= ge <= le <= 32"
    );
    for text in ["", "10.0.0.0", "10.0.0.0/8 24", "10.0.0.0/8 ge", "10.0.0.0/8 le 9 le 9", "x/8"] {
        assert!(error(text).contains("is not a prefix"), "{text}");
    }
}

fn any_pattern() -> impl Strategy<Value = PrefixPattern> {
    let v4 = (0u32..4, 0u8..=32, 0u8..=32, 0u8..=32).prop_map(|(bits, len, a, b)| {
        (IpNet::new(IpAddr::V4((bits << 30 | bits << 3).into()), len).expect("in range"), a, b)
    });
    let v6 = (0u128..4, 0u8..=128, 0u8..=128, 0u8..=128).prop_map(|(bits, len, a, b)| {
        (IpNet::new(IpAddr::V6((bits << 126 | bits << 3).into()), len).expect("in range"), a, b)
    });
    prop_oneof![v4, v6].prop_map(|(network, a, b)| {
        let network = network.trunc();
        let (a, b) = (a.max(network.prefix_len()), b.max(network.prefix_len()));
        PrefixPattern::new(network, Some(a.min(b)), Some(a.max(b))).expect("fits")
    })
}

proptest! {
    #[test]
    fn a_set_holds_what_one_of_its_patterns_holds(
        patterns in proptest::collection::vec(any_pattern(), 0..12),
        asked in proptest::collection::vec(any_pattern(), 1..30),
    ) {
        let set = PrefixSet::new(patterns.clone());
        for prefix in asked.iter().map(PrefixPattern::network) {
            let naive = patterns.iter().any(|pattern| pattern.contains(&prefix));
            prop_assert_eq!(set.contains(&prefix), naive, "{}", prefix);
        }
    }

    #[test]
    fn a_pattern_shown_is_read_back(pattern in any_pattern()) {
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
}
