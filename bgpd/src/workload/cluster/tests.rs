use margay_model::Revision;

use super::*;
use crate::mirror::{Mirrored, News};

fn told(text: &str) -> News {
    News::Resource(Mirrored { text: text.into(), revision: Revision(1) })
}

fn resource(kind: &str, name: &str, spec: &str) -> News {
    told(&format!(
        "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"{kind}\",\"metadata\":{{\"name\":\
         \"{name}\"}},\"spec\":{spec}}}"
    ))
}

#[test]
fn overlays_of_pools_and_of_felix_count_and_what_is_said_of_this_node_comes_first() {
    let mut cluster = Cluster::new("n1".into());
    let changed = cluster.apply(vec![
        resource("IPPool", "a", "{\"cidr\":\"10.0.0.0/16\",\"ipipMode\":\"Always\"}"),
        resource("IPPool", "b", "{\"cidr\":\"10.1.0.0/16\",\"vxlanMode\":\"CrossSubnet\"}"),
        resource("IPPool", "c", "{\"cidr\":\"fd00::/48\",\"vxlanMode\":\"Always\"}"),
        resource(
            "IPPool",
            "d",
            "{\"cidr\":\"10.2.0.0/16\",\"vxlanMode\":\"Always\",\"disabled\":true}",
        ),
        resource("FelixConfiguration", "default", "{\"wireguardEnabled\":true}"),
    ]);
    assert!(changed.mtu);
    let all = [Overlay::Ipip, Overlay::Vxlan, Overlay::VxlanV6, Overlay::Wireguard];
    assert_eq!(cluster.overlays(), BTreeSet::from(all));
    cluster.apply(vec![resource("FelixConfiguration", "node.n1", "{\"wireguardEnabled\":false}")]);
    assert!(!cluster.overlays().contains(&Overlay::Wireguard));
    cluster.apply(vec![News::Gone(Key::cluster(Kind::IpPool, "a"), Revision(2))]);
    assert!(!cluster.overlays().contains(&Overlay::Ipip));
}

#[test]
fn only_endpoints_of_this_node_are_known() {
    let mut cluster = Cluster::new("n1".into());
    let endpoint = |node: &str| {
        told(&format!(
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"WorkloadEndpoint\",\"metadata\":\
             {{\"name\":\"{node}-k8s-web-eth0\",\"namespace\":\"shop\"}},\"spec\":{{\
             \"orchestrator\":\"k8s\",\"node\":\"{node}\",\"pod\":\"web\",\"endpoint\":\"eth0\",\
             \"interfaceName\":\"cali1\",\"ipNetworks\":[\"10.0.0.1/32\"]}}}}"
        ))
    };
    assert!(!cluster.apply(vec![endpoint("n2")]).endpoints);
    assert!(cluster.apply(vec![endpoint("n1")]).endpoints);
    assert!(!cluster.apply(vec![endpoint("n1")]).endpoints, "the same again is no news");
    assert_eq!(cluster.by_hand().count(), 1);
}
