use margay_model::Revision;

use super::*;
use crate::mirror::Mirrored;

fn node(name: &str, address: &str) -> News {
    let text = format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"Node","metadata":{{"name":"{name}",
        "resourceVersion":"4"}},"spec":{{"bgp":{{"ipv4Address":"{address}"}}}}}}"#
    );
    News::Resource(Mirrored { text: text.into(), revision: Revision(4) })
}

fn information(ready: &str) -> News {
    let text = format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"ClusterInformation",
        "metadata":{{"name":"default"}},"spec":{{{ready}}}}}"#
    );
    News::Resource(Mirrored { text: text.into(), revision: Revision(4) })
}

#[test]
fn an_address_is_taken_by_another_node_never_by_ourselves() {
    let mut cluster = Cluster::default();
    assert!(!cluster.take("own", vec![node("other", "10.0.0.2/24")]), "not about this node");
    assert!(cluster.take("own", vec![node("own", "10.0.0.1/24")]));
    // Whatever the length of the network.
    assert_eq!(cluster.holder_of("10.0.0.2".parse().unwrap(), "own"), Some("other"));
    assert_eq!(cluster.holder_of("10.0.0.1".parse().unwrap(), "own"), None);
    let own = cluster.own().unwrap();
    assert_eq!(own.metadata.resource_version.as_deref(), Some("4"), "what a write compares with");
    cluster.take("own", vec![News::Gone(Key::cluster(Kind::Node, "other"), Revision(5))]);
    assert_eq!(cluster.holder_of("10.0.0.2".parse().unwrap(), "own"), None);
}

#[test]
fn our_node_may_be_deleted_under_us() {
    let mut cluster = Cluster::default();
    cluster.take("own", vec![node("own", "10.0.0.1/24")]);
    let gone = News::Gone(Key::cluster(Kind::Node, "own"), Revision(5));
    assert!(cluster.take("own", vec![gone]));
    assert!(cluster.own().is_none() && cluster.own_addresses().is_empty());
}

#[test]
fn a_datastore_is_locked_only_when_it_says_so() {
    let mut cluster = Cluster::default();
    assert!(!cluster.has_information() && !cluster.locked());
    cluster.take("own", vec![information("")]);
    assert!(cluster.has_information() && !cluster.locked());
    cluster.take("own", vec![information("\"datastoreReady\":false")]);
    assert!(cluster.locked());
}

#[test]
fn only_the_first_time_in_sync_is_about_this_node() {
    let mut cluster = Cluster::default();
    assert!(cluster.take("own", vec![News::InSync(Revision(4))]));
    let later = vec![node("other", "10.0.0.2/24"), News::InSync(Revision(5))];
    assert!(!cluster.take("own", later));
}

#[test]
fn a_new_beginning_forgets_everything() {
    let mut cluster = Cluster::default();
    cluster.take("own", vec![node("other", "10.0.0.2/24"), News::InSync(Revision(4))]);
    assert!(cluster.in_sync());
    cluster.take("own", vec![News::Reset]);
    assert!(!cluster.in_sync());
    assert_eq!(cluster.holder_of("10.0.0.2".parse().unwrap(), "own"), None);
}
