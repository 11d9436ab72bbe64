use super::*;
use crate::wire::Raw;

fn faults(text: &str) -> Vec<String> {
    let faults = decode(text.as_bytes(), Mode::Strict).expect_err("a fault");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn every_fault_of_every_document_is_told_with_its_place() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: One
spec:
  cidr: 10.0.0.0/16
  blockSise: 26
  natOutgoing: 5
---
# nothing but a comment
---
kind: [broken
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: two
spec:
  cidr: 10.1.0.0/16
  cidr: 10.2.0.0/16
  blockSize: 33
";
    let found = faults(text);
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(found[0].starts_with("document 1, line 4, column 9: metadata.name: found \"One\""));
    assert_eq!(
        found[1],
        "document 1, line 7, column 3: spec.blockSise: field is not recognized or is in the wrong \
         location, did you mean blockSize?"
    );
    assert_eq!(
        found[2],
        "document 1, line 8, column 16: spec.natOutgoing: found number 5, expected true or false"
    );
    assert!(found[3].starts_with("document 3, line 1"), "{}", found[3]);
    assert!(found[3].contains("cannot be parsed"), "{}", found[3]);
    assert_eq!(
        found[4],
        "document 4, line 20, column 3: spec.cidr: field stands twice, first in line 19"
    );
    assert_eq!(
        found[5],
        "document 4, line 21, column 14: spec.blockSize: found number 33, expected 20 to 32"
    );
}

#[test]
fn json_has_places_too() {
    let found = faults(
        "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"Tier\",\n  \
         \"metadata\": {\"name\": \"a\"},\n  \"spec\": {\"order\": \"1\"}}",
    );
    assert_eq!(
        found,
        ["document 1, line 3, column 21: spec.order: found \"1\", expected a number"]
    );
    let found = faults("{\"kind\": \"Tier\",\n \"spec\": ]}");
    assert_eq!(found, ["document 1, line 2, column 10: cannot be parsed: expected a value"]);
}

#[test]
fn unknown_kinds_and_groups_are_told() {
    let text = |group: &str, kind: &str| format!("{{apiVersion: {group}, kind: {kind}}}");
    let found = faults(&text("projectcalico.org/v3", "ippool"));
    assert!(
        found[0].contains("kind: found \"ippool\", expected a known resource type"),
        "{found:?}"
    );
    assert!(found[0].contains("IPPool"), "{found:?}");
    let found = faults(&text("apps/v1", "Deployment"));
    assert!(found[0].contains("apiVersion: found \"apps/v1\""), "{found:?}");
    let found = faults("metadata: {name: a}");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(faults("just text")[0].contains("an object: a mapping"));
}

#[test]
fn lists_and_arrays_are_taken_whole() {
    let pool = |name: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {{name: {name}}}, \
             spec: {{cidr: 10.0.0.0/16}}}}"
        )
    };
    let bare = "{metadata: {name: c}, spec: {cidr: 10.0.0.0/16}}";
    let text = format!(
        "{{apiVersion: v1, kind: List, items: [{}, {}]}}\n---\n[{}]\n---\n{{apiVersion: \
         projectcalico.org/v3, kind: IPPoolList, metadata: {{resourceVersion: '5'}}, items: [{bare}]}}",
        pool("a"),
        pool("b"),
        pool("d"),
    );
    let manifest =
        decode(text.as_bytes(), Mode::Strict).unwrap_or_else(|faults| panic!("{faults}"));
    let found: Vec<_> = manifest
        .documents
        .iter()
        .map(|document| match &document.item {
            Item::Resource(resource) => (document.number, resource.name()),
            Item::Kubernetes(object) => panic!("{object:?}"),
        })
        .collect();
    assert_eq!(found, [(1, "a"), (1, "b"), (2, "d"), (3, "c")]);
    let found = faults(&format!("{{apiVersion: v1, kind: List, items: [{bare}]}}"));
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("items[0].apiVersion: missing"), "{found:?}");
}

#[test]
fn lenient_reading_turns_unknown_fields_into_warnings() {
    let text = "{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: a}, \
                spec: {cidr: 10.0.0.0/16, later: {a: b}, ipip: {enabled: true}}}";
    assert!(faults(text)[0].contains("spec.later"));
    let manifest = decode(text.as_bytes(), Mode::Lenient).unwrap();
    assert_eq!(manifest.documents.len(), 1);
    assert_eq!(manifest.warnings.0.len(), 2);
    // What older releases had is a warning however strict the reading.
    assert_eq!(faults(text).len(), 1);
}

#[test]
fn anchors_merge_keys_and_the_words_of_yaml_1_1_are_understood() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: &meta
  name: a
  labels: {same: &same x}
spec:
  <<: {natOutgoing: no, disabled: yes}
  cidr: 10.0.0.0/16
  disabled: off
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata:
  name: b
  labels:
    rack: &rack r1
    again: *rack
";
    let manifest =
        decode(text.as_bytes(), Mode::Strict).unwrap_or_else(|faults| panic!("{faults}"));
    let [Item::Resource(Resource::IpPool(pool)), Item::Resource(set)] =
        [&manifest.documents[0].item, &manifest.documents[1].item]
    else {
        panic!("{manifest:?}");
    };
    assert_eq!((pool.spec.nat_outgoing, pool.spec.disabled), (Some(false), Some(false)));
    assert_eq!(set.metadata().labels["again"], "r1");
}

#[test]
fn hostile_texts_are_refused() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
        c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
        e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n";
    assert!(faults(bomb)[0].contains("too large"), "{:?}", faults(bomb));
    for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "- ".repeat(100_000)] {
        assert!(!faults(&text).is_empty());
    }
    assert!(decode(b"kind: \xff", Mode::Strict).unwrap_err().to_string().contains("UTF-8"));
    assert!(faults("a: !mine 5")[0].contains("tag"));
    assert!(faults("a: *nowhere").len() == 1);
}

#[test]
fn nothing_a_user_wrote_is_lost_or_changed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let manifest = decode(source.as_bytes(), Mode::Strict).unwrap();
        let parts = text::parse(&source);
        for (part, document) in parts.iter().zip(&manifest.documents) {
            let root = part.root.as_ref().unwrap().as_ref().unwrap();
            let given = Raw::read(root, &mut Reader::new(Mode::Strict, 1)).unwrap().0;
            let Item::Resource(resource) = &document.item else { panic!("{path:?}") };
            assert_kept(&given, &resource.to_json(), &path.display().to_string());
            compared += 1;
        }
    }
    assert!(compared >= Kind::ALL.len());
}

/// Every leaf that was given stands there with the same value, but for an empty list and a number
/// in other digits.
#[track_caller]
fn assert_kept(given: &serde_json::Value, found: &serde_json::Value, path: &str) {
    use serde_json::Value as Json;
    match (given, found) {
        (Json::Object(given), Json::Object(_)) => {
            for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                assert_kept(value, &found[key], &format!("{path}.{key}"));
            }
        }
        (Json::Array(given), Json::Array(items)) => {
            assert_eq!(given.len(), items.len(), "{path}");
            for (index, (given, found)) in given.iter().zip(items).enumerate() {
                assert_kept(given, found, &format!("{path}[{index}]"));
            }
        }
        // A number in a field of strings: its digits, however many.
        (Json::Number(given), Json::String(digits)) => {
            assert_eq!(Some(given.as_f64()), digits.parse().ok().map(Some), "{path}");
        }
        _ => assert_eq!(given, found, "{path}"),
    }
}

#[test]
fn a_scalar_in_a_field_of_strings_is_its_text_where_that_is_clear() {
    let set = |value: &str| {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: a, labels: \
             {{rack: {value}}}}}\n"
        );
        decode(text.as_bytes(), Mode::Strict)
    };
    for value in ["5", "0", "true", "false", "1.5", "1337495556942031415926535"] {
        let manifest = set(value).unwrap_or_else(|faults| panic!("{faults}"));
        let Item::Resource(found) = &manifest.documents[0].item else { panic!("{manifest:?}") };
        assert_eq!(found.metadata().labels["rack"], value);
        assert_eq!(found.to_json()["metadata"]["labels"]["rack"], value);
    }
    for value in ["1.10", "010", "0x10", "1e3", "+5", "True", ".5", "5."] {
        let faults = set(value).expect_err(value).to_string();
        assert!(faults.contains("line 3, column 36: metadata.labels.rack"), "{faults}");
        assert!(faults.contains("expected a string, in quotes"), "{faults}");
    }
    let json =
        br#"{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": 5}}"#;
    assert!(decode(json, Mode::Strict).is_ok());
}

#[test]
fn a_name_that_differs_in_case_only_is_the_field_where_no_other_is() {
    let pool = |spec: &str| {
        let text = format!(
            "apiversion: projectcalico.org/v3\nKind: IPPool\nmetadata: {{Name: a}}\nspec:\n{spec}"
        );
        let manifest =
            decode(text.as_bytes(), Mode::Strict).map_err(|faults| faults.to_string())?;
        match &manifest.documents[0].item {
            Item::Resource(Resource::IpPool(pool)) => Ok(pool.clone()),
            other => Err(format!("{other:?}")),
        }
    };
    let found = pool("  CIDR: 10.0.0.0/16\n  natoutgoing: true\n").unwrap();
    assert_eq!(found.spec.nat_outgoing, Some(true));
    assert_eq!((found.name(), found.spec.cidr.net().to_string()), ("a", "10.0.0.0/16".into()));
    // The one that is written right counts; the other is none.
    let twice = pool("  cidr: 10.0.0.0/16\n  Cidr: 10.1.0.0/16\n").unwrap_err();
    assert!(twice.contains("line 6, column 3: spec.Cidr: field is not recognized"), "{twice}");
    assert!(!twice.contains("10.0.0.0"), "{twice}");
    let twice = pool("  CIDR: 10.0.0.0/16\n  Cidr: 10.1.0.0/16\n").unwrap_err();
    assert!(twice.contains("line 6, column 3: spec.Cidr: field is not recognized"), "{twice}");
    // A fault is told with the name that the field has, at its place.
    let wrong = pool("  CIDR: 10.0.0.0/16\n  BLOCKSIZE: 33\n").unwrap_err();
    assert!(wrong.contains("line 6, column 14: spec.blockSize: found number 33"), "{wrong}");
    // Names of labels are values: their case counts.
    let text = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: a, labels: \
                {Rack: x, rack: y}}\n";
    let manifest = decode(text.as_bytes(), Mode::Strict).unwrap();
    let Item::Resource(set) = &manifest.documents[0].item else { panic!("{manifest:?}") };
    assert_eq!(set.metadata().labels.len(), 2);
}

#[test]
fn a_text_of_something_else_is_read_as_json() {
    let read = |text: &str| decode_json(text.as_bytes());
    let text = "a: 1\nb: [x, 'true', true, ~]\n---\n# nothing\n---\nc: {}\n";
    let expected = [
        serde_json::json!({ "a": 1, "b": ["x", "true", true, null] }),
        serde_json::json!({ "c": {} }),
    ];
    assert_eq!(read(text).as_deref(), Ok(&expected[..]));
    assert_eq!(read("").as_deref(), Ok(&[][..]));
    for wrong in ["a: 1\na: 2\n", "{"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert!(decode_json(b"\xff").is_err());
}
