use serde_json::json;

use super::*;

#[test]
fn a_resource_stays_the_one_it_is() {
    let before = json!({"apiVersion": "projectcalico.org/v3", "kind": "NetworkSet",
        "metadata": {"namespace": "prod", "name": "a", "uid": "1"}, "spec": {}});
    for (field, patch) in [
        ("apiVersion", json!({"apiVersion": "crd.projectcalico.org/v1"})),
        ("kind", json!({"kind": "NetworkPolicy"})),
        ("metadata.namespace", json!({"metadata": {"namespace": null}})),
        ("metadata.name", json!({"metadata": {"name": "b"}})),
        ("metadata.uid", json!({"metadata": {"uid": "2"}})),
    ] {
        let mut after = before.clone();
        merge(&mut after, &patch);
        let failure = same(&before, &after).expect_err(field);
        assert_eq!(failure.message(), format!("NetworkSet(prod/a): {field} cannot be changed"));
    }
    let mut after = before.clone();
    merge(&mut after, &json!({"metadata": {"name": "a"}, "spec": {"nets": []}}));
    same(&before, &after).expect("the same resource");
}

#[test]
fn a_merge_follows_rfc_7396() {
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"a": "foo"}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ];
    for (mut object, patch, expected) in cases {
        merge(&mut object, &patch);
        assert_eq!(object, expected, "{patch}");
    }
}
