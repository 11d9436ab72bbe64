use super::*;

fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
    let selector: Selector = selector.parse().unwrap_or_else(|error| panic!("{selector}: {error}"));
    selector.matches(&labels)
}

#[test]
fn selectors_match_as_calico_does() {
    for (selector, labels, expected) in [
        (r#"a != "b""#, &[][..], true),
        (r#"a not in {"b"}"#, &[], true),
        ("a in {}", &[("a", "b")], false),
        ("a not in {}", &[("a", "b")], true),
        (r#"!a == "x""#, &[], true),
        ("!!has(a)", &[("a", "")], true),
        (r#"a contains """#, &[("a", "x")], true),
        (r#"a contains """#, &[], false),
        (r#"a == "1" || b == "2" && c == "3""#, &[("a", "1")], true),
        (" ", &[("a", "x")], true),
        ("", &[], true),
        (r#"a notin {"x",}"#, &[("a", "y")], true),
        ("a startswith 'pre'", &[("a", "prefix")], true),
        ("a starts\t with 'pre'", &[("a", "pref")], true),
        ("a ends with 'x'", &[("a", "prefix")], true),
        ("a endswith 'X'", &[("a", "prefix")], false),
        ("in == 'x'", &[("in", "x")], true),
        ("has( a )", &[], false),
        ("all( )", &[], true),
        ("global()", &[], true),
        ("a in{'x'}", &[("a", "x")], true),
        ("!(a == 'x' && b == 'y')", &[("a", "x")], true),
        ("not == 'in'", &[("not", "in")], true),
        ("hash == 'x'", &[("hash", "x")], true),
        ("example.com/a-b_c == \"it's\"", &[("example.com/a-b_c", "it's")], true),
    ] {
        assert_eq!(matches(selector, labels), expected, "{selector}");
    }
}

#[test]
fn what_is_no_selector_is_refused_with_its_column() {
    for (selector, column) in [
        ("b", 2),
        ("b == b", 6),
        ("'x' == b", 1),
        ("a = \"x\"", 3),
        ("a in \"x\"", 6),
        ("()", 2),
        ("!", 2),
        ("has (a)", 5),
        ("a == \"x\" &", 10),
        ("a == \"x\" b", 10),
        ("a == \"x", 8),
        ("a ==\n'x'", 5),
        ("ä == 'x'", 1),
        ("a == 'ä' b", 10),
        ("has()", 5),
        ("(a == 'x'", 10),
        ("a in {'x' 'y'}", 11),
        ("a in {x}", 7),
        ("a inn {'x'}", 3),
        ("a == 'x' &&", 12),
        ("all() all()", 7),
    ] {
        let error = selector.parse::<Selector>().expect_err(selector);
        assert_eq!(error.column, column, "{selector}: {error}");
    }
    let label = "a".repeat(513);
    assert!(format!("has({label})").parse::<Selector>().is_err());
    assert!("(".repeat(100_000).parse::<Selector>().is_err());
}

#[test]
fn a_fault_says_what_was_found_and_what_could_stand_there() {
    let error = "a = 'x'".parse::<Selector>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "column 3: found `=`, expected ==, !=, in, not in, contains, starts with or ends with"
    );
}

#[test]
fn canonical_forms_are_those_of_calico() {
    for (selector, canonical) in [
        (" (all() )", "all()"),
        ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
        (r#"a in {"z","z","x"}"#, r#"a in {"x", "z"}"#),
        (r#"a!='"'"#, r#"a != '"'"#),
        ("", "all()"),
        ("a=='b'&&c=='d'||has(e)", r#"((a == "b" && c == "d") || has(e))"#),
        ("a notin{}", "a not in {}"),
        ("a startswith'x'", r#"a starts with "x""#),
        ("!!!has(a)", "!has(a)"),
        ("!(!has(a))", "has(a)"),
    ] {
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.canonical(), canonical, "{selector}");
        let again: Selector = canonical.parse().unwrap();
        assert_eq!(again.expression(), parsed.expression(), "{selector}");
    }
}
