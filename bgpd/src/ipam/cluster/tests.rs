use margay_model::Revision;
use serde_json::{Value, json};

use super::*;
use crate::mirror::{Mirrored, News};

fn name(text: &str) -> NodeName {
    NodeName::try_from(text).expect("a name")
}

fn resource(kind: &str, name: &str, labels: Value, spec: Value) -> News {
    let object = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    });
    News::Resource(Mirrored { text: object.to_string().into(), revision: Revision(1) })
}

fn pool(name: &str, spec: Value) -> News {
    resource("IPPool", name, json!({}), spec)
}

fn node(name: &str, labels: Value) -> News {
    resource("Node", name, labels, json!({}))
}

fn gone(kind: Kind, name: &str) -> News {
    News::Gone(Key::cluster(kind, name), Revision(9))
}

fn cluster(news: Vec<News>) -> Cluster {
    let mut cluster = Cluster::new(name("n1"));
    let mut all = vec![News::Reset];
    all.extend(news);
    all.push(News::InSync(Revision(5)));
    assert!(!cluster.is_in_sync());
    assert!(cluster.apply(all).in_sync);
    assert!(cluster.is_in_sync());
    assert_eq!(cluster.apply(vec![News::InSync(Revision(6))]), Changed::default(), "no news");
    cluster
}

#[test]
fn a_pool_selects_this_node_by_its_labels_and_a_node_without_a_resource_has_none() {
    let rack = json!({"cidr": "10.0.0.0/16", "nodeSelector": "rack == 'a'"});
    let mut cluster =
        cluster(vec![pool("rack", rack), pool("all", json!({"cidr": "10.1.0.0/16"}))]);
    let selected = |cluster: &Cluster| -> Vec<String> {
        let pools = cluster.pools();
        pools.iter().filter(|pool| pool.selects_node).map(|pool| pool.name.clone()).collect()
    };
    assert_eq!(selected(&cluster), ["all"]);
    let changed = cluster.apply(vec![node("n1", json!({"rack": "a"}))]);
    assert_eq!(changed, Changed { pools: true, nodes: true, ..Changed::default() });
    assert_eq!(selected(&cluster), ["all", "rack"]);
    // Another node, and a change that is not of the labels, are no news for the pools.
    let changed = cluster.apply(vec![node("n2", json!({"rack": "a"}))]);
    assert_eq!(changed, Changed { nodes: true, labels: true, ..Changed::default() });
    assert_eq!(cluster.apply(vec![node("n2", json!({"rack": "a"}))]), Changed::default());
    assert!(cluster.apply(vec![node("n2", json!({"rack": "b"}))]).labels);
    assert_eq!(cluster.apply(vec![node("n1", json!({"rack": "a"}))]), Changed::default());
    assert!(cluster.apply(vec![gone(Kind::IpPool, "rack")]).pools);
    assert_eq!(selected(&cluster), ["all"]);
}

#[test]
fn a_node_is_gone_only_once_the_datastore_says_so() {
    let mut cluster = cluster(vec![node("n1", json!({})), node("n2", json!({}))]);
    let changed = cluster.apply(vec![gone(Kind::Node, "n2")]);
    assert_eq!(changed.doubtful, [name("n2")]);
    assert!(!changed.nodes && cluster.nodes().contains("n2"));
    assert!(cluster.node_gone(&name("n2")).nodes);
    assert_eq!(cluster.nodes(), [name("n1")].into());
    assert_eq!(cluster.node_gone(&name("n2")), Changed::default());
    // One that cannot be read is in the datastore and not in the mirror.
    cluster.nodes_listed([name("n1"), name("newer")].into());
    assert!(cluster.nodes().contains("newer"));
}

#[test]
fn a_node_that_is_created_again_while_the_datastore_is_asked_is_not_gone() {
    let mut cluster = cluster(vec![node("n1", json!({})), node("n2", json!({}))]);
    cluster.apply(vec![gone(Kind::Node, "n2")]);
    cluster.apply(vec![node("n2", json!({}))]);
    assert_eq!(cluster.node_gone(&name("n2")), Changed::default());
    assert!(cluster.nodes().contains("n2"));
    cluster.apply(vec![gone(Kind::Node, "n2")]);
    assert!(cluster.node_gone(&name("n2")).nodes);
}

#[test]
fn a_namespace_selects_pools_by_the_labels_of_its_profile() {
    let team = json!({"cidr": "10.0.0.0/16", "namespaceSelector": "team == 'a'"});
    let labels = json!({"labelsToApply": {"pcns.team": "a"}});
    let mut cluster = cluster(vec![
        pool("team", team),
        pool("all", json!({"cidr": "10.1.0.0/16"})),
        resource("Profile", "kns.blue", json!({}), labels),
    ]);
    assert!(cluster.not_for_namespace("blue").is_empty());
    assert_eq!(cluster.not_for_namespace("red"), ["team".to_owned()].into());
    cluster.apply(vec![gone(Kind::Profile, "kns.blue")]);
    assert_eq!(cluster.not_for_namespace("blue"), ["team".to_owned()].into());
}

#[test]
fn settings_go_back_to_their_defaults_with_their_object() {
    let spec = json!({"strictAffinity": true, "ipCooldownSeconds": 3});
    let mut cluster = cluster(vec![resource("IPAMConfiguration", "default", json!({}), spec)]);
    assert!(cluster.settings().strict_affinity);
    assert_eq!(cluster.settings().cooldown.as_secs(), 3);
    assert!(cluster.apply(vec![gone(Kind::IpamConfiguration, "default")]).settings);
    assert_eq!(cluster.settings(), Settings::default());
}

#[test]
fn what_cannot_be_read_stays_as_it_was_and_what_never_could_is_named() {
    let broken = |kind: &str, name: &str| resource(kind, name, json!({}), json!("unreadable"));
    let reserved = json!({"reservedCIDRs": ["10.0.0.0/30"]});
    let mut cluster = cluster(vec![
        resource("IPReservation", "known", json!({}), reserved.clone()),
        broken("IPReservation", "never"),
        broken("IPAMConfiguration", "default"),
        broken("ClusterInformation", "default"),
        broken("ClusterInformation", "other"),
        broken("IPPool", "blue"),
        broken("Node", "n2"),
    ]);
    let unreadable = cluster.unreadable();
    let rules = ["ClusterInformation default", "IPAMConfiguration default", "IPReservation never"];
    assert_eq!(unreadable.rules.iter().collect::<Vec<_>>(), rules.iter().collect::<Vec<_>>());
    assert_eq!(unreadable.pools, ["blue".to_owned()].into());
    assert!(cluster.nodes().contains(&name("n2")), "it exists");
    let changed = cluster.apply(vec![broken("IPReservation", "known")]);
    assert_eq!(changed, Changed::default());
    assert!(cluster.reservations().contains("10.0.0.1".parse().expect("an address")));
    let locked = json!({"datastoreReady": false});
    let changed = cluster.apply(vec![
        resource("ClusterInformation", "default", json!({}), locked),
        broken("ClusterInformation", "default"),
        resource("IPReservation", "never", json!({}), reserved),
        gone(Kind::IpamConfiguration, "default"),
        gone(Kind::IpPool, "blue"),
    ]);
    assert!(changed.unreadable && cluster.is_locked());
    assert_eq!(cluster.unreadable(), Unreadable::default());
}
