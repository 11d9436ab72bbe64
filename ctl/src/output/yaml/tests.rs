use serde_json::json;

use super::*;

fn yaml(value: &Value) -> String {
    let mut text = Vec::new();
    object(value, &mut text).expect("writing to memory");
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn nested_values_are_indented_under_their_keys() {
    let value = json!({
        "name": "tor1",
        "last_error": null,
        "families": {"ipv4-unicast": {"received": 1}, "none": {}},
        "as_path": [1, 2, {"type": "set", "asns": [3, 4]}],
        "paths": [{"a": 1, "b": {"c": [[1], [{"d": 2}]]}}, {"a": []}],
    });
    let expected = "\
name: tor1
last_error: null
families:
  ipv4-unicast:
    received: 1
  none: {}
as_path:
- 1
- 2
- type: set
  asns: [3, 4]
paths:
- a: 1
  b:
    c:
    - [1]
    -
      - d: 2
- a: []
";
    assert_eq!(yaml(&value).replace("- \n", "-\n"), expected);
}

#[test]
fn strings_that_could_be_something_else_are_quoted() {
    for text in
        ["", "10.0.0.0/8", "65001:1", "yes", "Null", "1e3", "a: b", "a #b", "-", "a\nb", " a"]
    {
        let quoted = yaml(&json!(text));
        assert!(quoted.starts_with('"'), "{quoted}");
    }
    for text in ["ipv4-unicast", "Established", "next-hop-unreachable", "a/b.c_d"] {
        assert_eq!(yaml(&json!(text)), format!("{text}\n"));
    }
}
