use super::*;

#[test]
fn a_string_with_anything_in_it_is_read_back() {
    let odd = "quotes \" and ' and \\, tab\t, line\n, bell\u{7}, delete\u{7f}, é";
    let text = format!("x = {}", string(odd));
    let table = toml::de::DeTable::parse(&text).expect("it is TOML");
    let value = table.get_ref().values().next().and_then(|value| value.get_ref().as_str());
    assert_eq!(value, Some(odd));
}

#[test]
fn names_are_quoted_only_where_they_must_be() {
    assert_eq!(key("policy-name_2"), "policy-name_2");
    assert_eq!(key("my nets"), "\"my nets\"");
    assert_eq!(key(""), "\"\"");
}

#[test]
fn an_empty_configuration_shows_its_defaults() {
    let shown = show(&Desired::default());
    assert!(shown.contains("listen = \"127.0.0.1:9179\""), "{shown}");
    assert!(!shown.contains("[bgp]"), "{shown}");
}

#[test]
fn the_settings_of_a_rule_read_as_in_the_file() {
    let text = "[bgp]\nasn = 65001\n[policy.route.p]\ndefault = \"reject\"\nrules = [{ match = { any = \
                true }, then = { set = { local-pref = 200, add-communities = [\"65001:7\"] }, \
                action = \"accept\" } }]\n";
    let parsed = crate::parse(text, "test.toml", &|_| Ok(Vec::new())).expect("it is valid");
    let rule = &parsed.desired.policies["p"].definition().rules[0];
    assert_eq!(rule_settings(rule), ["local-pref = 200", "add-communities = [\"65001:7\"]"]);
}
