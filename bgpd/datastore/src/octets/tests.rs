use margay_model::Kind;

use super::*;

fn pool() -> Key {
    Key::cluster(Kind::IpPool, "a")
}

fn stored(key: &Key, value: &'static str) -> String {
    let octets = for_store(key, &Bytes::from_static(value.as_bytes())).unwrap();
    String::from_utf8(octets.to_vec()).unwrap()
}

#[test]
fn a_resource_version_is_never_stored_and_the_rest_keeps_its_octets() {
    let plain = r#"{ "spec" : {"cidr": "10.0.0.0/8"}, "metadata":{"name":"a"} }"#;
    assert_eq!(stored(&pool(), plain), plain);
    let versioned = r#"{"metadata":{"name":"a","resourceVersion":"1","selfLink":"/x"}}"#;
    assert_eq!(stored(&pool(), versioned), r#"{"metadata":{"name":"a"}}"#);
}

#[test]
fn a_resource_that_is_no_object_is_refused_by_name() {
    for bad in ["", "[]", "{", "7"] {
        let refused = for_store(&pool(), &Bytes::from_static(bad.as_bytes())).unwrap_err();
        assert!(refused.to_string().starts_with("IPPool(a): not a JSON object"), "{refused}");
    }
    let block = Key::Block("10.0.0.0/26".parse().unwrap());
    assert_eq!(stored(&block, "not JSON"), "not JSON");
}
