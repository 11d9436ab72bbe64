use margay_model::{Kind, Resource};

use super::*;

fn pool() -> Key {
    Key::cluster(Kind::IpPool, "a")
}

fn policy() -> Key {
    Key::namespaced(Kind::NetworkPolicy, "ns", "default.allow")
}

fn read(value: &'static str) -> String {
    let octets = from_etcd(&policy(), Bytes::from_static(value.as_bytes()));
    String::from_utf8(octets.to_vec()).unwrap()
}

#[test]
fn a_policy_carries_its_name_so_that_it_is_not_taken_for_an_old_one() {
    let given = r#"{"metadata":{"name":"default.allow"},"spec":{"tier":"default"}}"#;
    let in_etcd = to_etcd(&policy(), &Bytes::from_static(given.as_bytes())).unwrap();
    let object: Value = serde_json::from_slice(&in_etcd).unwrap();
    assert_eq!(
        object["metadata"]["annotations"]["projectcalico.org/metadata"],
        r#"{"name":"default.allow"}"#
    );
    assert_eq!(from_etcd(&policy(), in_etcd.clone()), in_etcd);
    let plain = Bytes::from_static(br#"{"metadata":{"name":"allow"},"spec":{"tier":"default"}}"#);
    let in_etcd = to_etcd(&policy(), &plain).unwrap();
    assert_eq!(from_etcd(&policy(), in_etcd), plain, "everybody else does without");
    let resource = br#"{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy",
        "metadata":{"name":"default.allow","namespace":"ns"},"spec":{"tier":"default"}}"#;
    let in_etcd = to_etcd(&policy(), &Bytes::from_static(resource)).unwrap();
    let read = Resource::decode(&from_etcd(&policy(), in_etcd)).unwrap();
    assert_eq!(read.key(), policy());
    let other = Bytes::from_static(given.as_bytes());
    assert_eq!(to_etcd(&pool(), &other).unwrap(), other);
}

#[test]
fn other_annotations_stay() {
    let read = read(
        r#"{"metadata":{"annotations":{"a":"b","projectcalico.org/metadata":"{}"},"name":"x"}}"#,
    );
    assert_eq!(read, r#"{"metadata":{"annotations":{"a":"b"},"name":"x"}}"#);
}

#[test]
fn an_old_policy_of_the_default_tier_loses_the_tier_in_its_name() {
    assert_eq!(
        read(r#"{"metadata":{"name":"default.allow"}}"#),
        r#"{"metadata":{"name":"allow"}}"#
    );
    for kept in [
        r#"{"metadata":{"name":"default.allow"},"spec":{"tier":"prod"}}"#,
        r#"{"metadata":{"name":"allow"}}"#,
        "broken",
    ] {
        assert_eq!(read(kept), kept);
    }
}
