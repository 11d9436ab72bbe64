use super::*;

fn matches(pattern: &str, name: &str) -> bool {
    let pattern: InterfacePattern = pattern.parse().expect("a pattern");
    pattern.matches(InterfaceName::new(name))
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, name, expected) in [
        ("eth0", "eth0", true),
        ("eth0", "eth01", false),
        ("eth0", "xeth0", false),
        ("eth*", "eth0", true),
        ("eth*", "eth", true),
        ("eth*", "et", false),
        ("*.calico", "vxlan.calico", true),
        ("*.calico", "vxlan.calico6", false),
        ("*.calico", "calico", false),
        ("*.cali", "wireguard.cali", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "a-bb-c", true),
        ("a*b*c", "acb", false),
        ("aa*aa", "aaa", false),
        ("a**a", "aa", true),
        ("*ab*ab*", "ab", false),
        ("*ab*ab*", "xabyabz", true),
        ("*", "lo", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_route_without_an_interface_matches_nothing_but_stars() {
    let matches = |pattern: &str| pattern.parse::<InterfacePattern>().expect("one").matches(None);
    assert!(matches("*"));
    assert!(matches("**"));
    assert!(!matches("*.cali"));
    assert!(!matches("eth0"));
}

#[test]
fn names_have_1_to_15_octets() {
    assert_eq!(InterfaceName::new(""), None);
    assert_eq!(InterfaceName::new("a234567890123456"), None);
    let longest = InterfaceName::new("a23456789012345").expect("15 octets");
    assert_eq!(longest.as_str(), "a23456789012345");
    assert_eq!(longest.to_string(), "a23456789012345");
    for wrong in ["", "a234567890123456", "a b", "a/b", "é"] {
        assert!(wrong.parse::<InterfacePattern>().is_err(), "{wrong}");
    }
}
