use super::*;
use crate::{Item, decode};

#[test]
fn uids_are_reversed_but_for_version_and_variant() {
    let (stored, shown) =
        ("0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "d05834bc-72fa-4ad6-8cbe-79f058d43cb2");
    assert_eq!(reversed_uid(stored).as_deref(), Some(shown));
    assert_eq!(reversed_uid(shown).as_deref(), Some(stored));
    assert_eq!(reversed_uid("no-uid"), None);
}

fn decoded(json: &str) -> Resource {
    Resource::decode(json.as_bytes()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn a_stored_policy_is_the_one_calico_would_store() {
    let mut policy = decoded(
        r#"{"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": "allow-dns", "namespace": "prod", "resourceVersion": "7"},
            "spec": {"order": 100, "selector": "app == 'web'", "types": ["Egress"], "egress": [
                {"action": "Allow", "protocol": "UDP", "destination": {"ports": [53]}}]}}"#,
    );
    policy.apply_defaults();
    assert_eq!(
        policy.key().path(),
        "resources/v3/projectcalico.org/networkpolicies/prod/allow-dns"
    );
    let stored: Json = serde_json::from_slice(&policy.encode()).unwrap();
    let expected = serde_json::json!({
        "kind": "NetworkPolicy", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "allow-dns", "namespace": "prod",
            "labels": {"projectcalico.org/tier": "default"},
            "annotations": {"projectcalico.org/metadata": "{\"name\":\"allow-dns\"}"}},
        "spec": {"tier": "default", "order": 100, "selector": "app == 'web'", "types": ["Egress"],
            "egress": [{"action": "Allow", "protocol": "UDP", "destination": {"ports": [53]}}]}
    });
    assert_eq!(stored, expected);
    let read = Resource::decode(&policy.encode()).unwrap();
    assert!(read.metadata().annotations.is_empty());
    assert_eq!(read.name(), "allow-dns");
}

#[test]
fn an_annotation_of_the_store_renames_nothing_that_a_user_wrote() {
    let policy = r#"{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "mine", "annotations":
            {"projectcalico.org/metadata": "{\"name\":\"victim\"}"}},
        "spec": {"selector": "all()"}}"#;
    let manifest = decode(policy.as_bytes(), Mode::Strict).unwrap();
    let Item::Resource(written) = &manifest.documents[0].item else { panic!("no resource") };
    assert_eq!(written.name(), "mine");
    assert!(written.metadata().annotations.is_empty());
    assert_eq!(decoded(policy).name(), "victim");
}

#[test]
fn a_policy_of_an_older_store_loses_the_tier_in_front_of_its_name() {
    let policy = |name: &str, tier: &str| {
        decoded(&format!(
            r#"{{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
                "metadata": {{"name": "{name}"}}, "spec": {{"tier": "{tier}"}}}}"#
        ))
    };
    assert_eq!(policy("default.web", "default").name(), "web");
    assert_eq!(policy("default.web", "other").name(), "default.web");
    assert_eq!(policy("other.web", "other").name(), "other.web");
}

#[test]
fn a_block_affinity_keeps_its_boolean_as_a_string_in_the_store() {
    let affinity = decoded(
        r#"{"apiVersion": "projectcalico.org/v3", "kind": "BlockAffinity",
            "metadata": {"name": "a"}, "spec": {"state": "confirmed", "node": "n",
            "cidr": "10.0.0.0/26", "deleted": "false"}}"#,
    );
    let stored: Json = serde_json::from_slice(&affinity.encode()).unwrap();
    assert_eq!(stored["spec"]["deleted"], "false");
    assert_eq!(affinity.to_json()["spec"]["deleted"], false);
}

#[test]
fn a_custom_resource_gets_its_own_metadata_back() {
    let policy = decoded(
        r#"{"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "default.web", "namespace": "prod",
                "uid": "0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
                "labels": {"projectcalico.org/tier": "default"},
                "annotations": {"projectcalico.org/metadata":
                    "{\"name\":\"web\",\"labels\":{\"a\":\"b\"},\"annotations\":{\"c\":\"d\"}}"}},
            "spec": {}}"#,
    );
    let metadata = policy.metadata();
    assert_eq!(metadata.name.as_deref(), Some("web"));
    assert_eq!(metadata.uid.as_deref(), Some("d05834bc-72fa-4ad6-8cbe-79f058d43cb2"));
    assert_eq!(metadata.labels.len(), 2);
    assert_eq!(metadata.annotations.iter().next(), Some((&"c".into(), &"d".into())));
    assert_eq!(policy.to_json()["apiVersion"], "projectcalico.org/v3");
}

#[test]
fn what_was_put_together_in_code_is_checked() {
    let mut pool = IpPool::new("pool", IpPoolSpec::new("10.0.0.0/16".parse().unwrap()));
    assert_eq!(Resource::from(pool.clone()).check(), Ok(()));
    pool.spec.block_size = Some(40);
    let faults = Resource::from(pool).check().unwrap_err();
    assert!(faults.to_string().contains("spec.blockSize: found number 40, expected 20 to 32"));
}
