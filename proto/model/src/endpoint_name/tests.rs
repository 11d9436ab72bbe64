use super::*;

fn pod(node: &str, pod: &str) -> EndpointName {
    EndpointName {
        node: node.into(),
        orchestrator: "k8s".into(),
        pod: pod.into(),
        endpoint: "eth0".into(),
        ..EndpointName::default()
    }
}

#[test]
fn names_are_made_of_their_parts() {
    assert_eq!(pod("node-1", "web-0").format().unwrap(), "node--1-k8s-web--0-eth0");
    let cni = EndpointName {
        node: "n1".into(),
        orchestrator: "cni".into(),
        container_id: "abc".into(),
        endpoint: "eth0".into(),
        ..EndpointName::default()
    };
    assert_eq!(cni.format().unwrap(), "n1-cni-abc-eth0");
    let libnetwork = EndpointName {
        node: "n1".into(),
        orchestrator: "libnetwork".into(),
        workload: "ignored".into(),
        endpoint: "e".into(),
        ..EndpointName::default()
    };
    assert_eq!(libnetwork.format().unwrap(), "n1-libnetwork-libnetwork-e");
}

#[test]
fn a_part_that_is_missing_or_starts_with_a_hyphen_makes_no_name() {
    assert_eq!(pod("", "web").format().unwrap_err().field, "node");
    assert_eq!(pod("n", "-web").format().unwrap_err().field, "pod");
    assert_eq!(pod("n-", "web").format().unwrap_err().field, "node");
}

#[test]
fn names_are_taken_apart_again() {
    let parts = EndpointName::split("node--1-k8s-web--0-eth0").unwrap();
    assert_eq!(parts, ["node-1", "k8s", "web-0", "eth0"]);
    assert_eq!(EndpointName::split("node-k8s-web"), None);
    assert_eq!(EndpointName::split("a-b-c-d-e"), None);
    assert_eq!(EndpointName::split(""), None);
}

#[test]
fn host_interfaces_are_those_of_calico() {
    for (namespace, pod, interface) in [
        ("default", "nginx", "calic440f455693"),
        ("kube-system", "coredns-5d78c9869d-abcde", "cali4d5f75c480c"),
        ("openshift-etcd", "etcd-0", "cali3e01e82f076"),
    ] {
        assert_eq!(host_interface("cali", namespace, pod), interface);
    }
}
