use std::collections::{BTreeMap, BTreeSet};

use margay_model::Resource;

use super::*;
use crate::attachment::{Mode, Pod, Source, Spec, State, Uptime, Wish};
use crate::qos::Qos;

fn entry(container: &str, pod: Option<(&str, &str)>) -> Entry {
    Entry {
        id: AttachmentId::new("net", container, "eth0").expect("it is one"),
        state: State::Configured,
        created: 0,
        begun: Uptime::default(),
        spec: Spec {
            mode: Mode::Link,
            netns: "/run/netns/a".into(),
            pod: pod.map(|(namespace, name)| Pod {
                namespace: namespace.into(),
                name: name.into(),
                uid: String::new(),
            }),
            source: Source::Assign(Wish::default()),
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            routes: None,
            mtu: 1500,
            mac: None,
            forwarding: None,
            floating: vec!["192.0.2.7".parse().expect("an address")],
            spoofed: vec!["10.1.0.0/16".parse().expect("a CIDR")],
            qos: Qos::default(),
            policy_wait: 0,
        },
        host_interface: "cali0123".into(),
        addresses: vec!["10.0.0.5".parse().expect("v4"), "fd00::5".parse().expect("v6")],
    }
}

/// As it will be stored and read again.
fn stored(entry: &Entry) -> WorkloadEndpoint {
    let endpoint = of(entry, "node-1").expect("it has a name");
    let octets = Resource::WorkloadEndpoint(Box::new(endpoint.clone())).encode();
    match Resource::decode(&octets) {
        Ok(Resource::WorkloadEndpoint(read)) => *read,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_becomes_an_endpoint_that_calico_would_know() {
    let endpoint = stored(&entry("c1", Some(("shop", "web-0"))));
    assert_eq!(endpoint.name(), "node--1-k8s-web--0-eth0");
    assert_eq!(endpoint.namespace(), "shop");
    assert_eq!(endpoint.spec.profiles, ["kns.shop", "ksa.shop.default"]);
    assert_eq!(endpoint.metadata.labels["app"], "web");
    let nets: Vec<_> = endpoint.spec.ip_networks.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.5/32", "fd00::5/128"]);
    let nat = &endpoint.spec.ip_nats[0];
    assert_eq!((nat.internal_ip.to_string(), nat.external_ip.to_string()), {
        ("10.0.0.5".to_owned(), "192.0.2.7".to_owned())
    });
    let of_node = key(&entry("c1", Some(("shop", "web-0"))), "node-1").expect("it has a name");
    assert_eq!(of_node, endpoint.key());
}

#[test]
fn a_container_that_is_no_pod_is_named_by_its_id_whatever_is_in_it() {
    assert_eq!(stored(&entry("c1", None)).name(), "node--1-cni-c1-eth0");
    let all = ["c.1", "c_1", "C1", "c1-", "My_Container", "A..b", "X"];
    let names: BTreeSet<_> =
        all.iter().map(|id| stored(&entry(id, None)).name().to_owned()).collect();
    assert_eq!(names.len(), all.len(), "{names:?}");
    let a = stored(&entry("c.1", None));
    assert_eq!(a.namespace(), "default");
    assert_eq!(a.spec.profiles, ["net"]);
}

#[test]
fn an_endpoint_is_of_the_container_it_was_written_for() {
    let (old, new) = (entry("c1", Some(("shop", "web"))), entry("c2", Some(("shop", "web"))));
    let mut endpoint = of(&new, "node-1").expect("it has a name");
    let written = |endpoint: &WorkloadEndpoint| {
        Resource::WorkloadEndpoint(Box::new(endpoint.clone())).encode()
    };
    assert_eq!(handle_of(&written(&endpoint)), Some(new.id.handle()));
    assert_ne!(handle_of(&written(&endpoint)), Some(old.id.handle()));
    // Nobody could read it, and it can be told all the same.
    endpoint.metadata.labels.insert("bad key!".to_owned(), "x".to_owned());
    assert!(Resource::decode(&written(&endpoint)).is_err());
    assert_eq!(handle_of(&written(&endpoint)), Some(new.id.handle()));
    assert_eq!(handle_of(b"{}"), None);
}

#[test]
fn whatever_an_interface_is_called_its_endpoint_can_be_read() {
    let mut names = BTreeSet::new();
    let all = ["eth0", "ETH0", "net_1", "a@b", "-eth0", "é", "_"];
    for ifname in all {
        let mut entry = entry("c1", Some(("shop", "web")));
        entry.id = AttachmentId::new("net", "c1", ifname).expect("it can be one");
        assert_eq!(can_be(&entry.id, &entry.spec, "node-1"), Ok(()), "{ifname}");
        names.insert(stored(&entry).name().to_owned());
    }
    assert_eq!(names.len(), all.len(), "{names:?}");
}

#[test]
fn what_cannot_be_named_is_known_before_anything_is_done() {
    let node = "node-1";
    let mut entry = entry("c1", Some(("shop", "web-")));
    let refused = can_be(&entry.id, &entry.spec, node).expect_err("it ends with a dash");
    assert_eq!(refused.cause.cni_code(), 7);
    entry.spec.mode = Mode::Addresses;
    assert_eq!(can_be(&entry.id, &entry.spec, node), Ok(()), "it has no endpoint");
    entry.spec.mode = Mode::Link;
    entry.spec.pod = None;
    assert_eq!(can_be(&entry.id, &entry.spec, node), Ok(()));
    entry.spec.labels.insert("bad key!".to_owned(), "x".to_owned());
    let refused = can_be(&entry.id, &entry.spec, node).expect_err("nobody could read it");
    assert!(refused.text.contains("bad key!"), "{}", refused.text);
    entry.spec.labels.clear();
    entry.spec.pod =
        Some(Pod { namespace: "Ns_1".into(), name: "Web_X".into(), uid: String::new() });
    assert_eq!(can_be(&entry.id, &entry.spec, node).map_err(|e| e.cause.cni_code()), Err(7));
}
