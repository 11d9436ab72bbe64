use serde_json::json;

use super::*;

fn pools() -> Value {
    json!({ "items": [
        { "metadata": { "name": "a" }, "spec": { "cidr": "10.0.0.0/16", "blockSize": 26 } },
        { "metadata": { "name": "b" }, "spec": { "cidr": "10.1.0.0/16" } },
    ] })
}

#[track_caller]
fn rendered(template: &str) -> String {
    Template::parse(template).expect("a template").render(&pools())
}

#[test]
fn paths_find_what_kubectl_finds() {
    assert_eq!(rendered("{.items[*].metadata.name}"), "a b");
    assert_eq!(rendered("{.items[0].spec.blockSize}"), "26");
    assert_eq!(rendered("{.items[?(@.metadata.name=='b')].spec.cidr}"), "10.1.0.0/16");
    assert_eq!(rendered("{$.items[1].spec.blockSize}"), "");
    assert_eq!(rendered("{ .items[0].spec }"), r#"{"cidr":"10.0.0.0/16","blockSize":26}"#);
}

#[test]
fn loops_and_strings_make_lines() {
    let template = "{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.cidr}{'\\n'}{end}done";
    assert_eq!(rendered(template), "a\t10.0.0.0/16\nb\t10.1.0.0/16\ndone");
    assert_eq!(rendered("x{\"}\"}y"), "x}y");
}

#[test]
fn a_template_that_is_none_says_why() {
    for (template, part) in [
        ("{.a", "not closed"),
        ("{range .a[*]}x", "without {end}"),
        ("x{end}", "without {range"),
        ("{.a[}", "{.a["),
        ("{\"a}", "not closed"),
    ] {
        let error = Template::parse(template).expect_err(template).to_string();
        assert!(error.contains(part) || error.contains(".a["), "{template}: {error}");
    }
    let deep = "{range .a[*]}".repeat(50) + &"{end}".repeat(50);
    assert!(Template::parse(&deep).is_err());
}
