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

#[test]
fn floating_addresses_lead_to_the_first_link_that_has_them_where_they_are_used() {
    let mut cluster = Cluster::new("n1".into());
    let endpoint = |node: &str, number: u8, outside: &str| {
        let spec = format!(
            "{{\"orchestrator\":\"k8s\",\"node\":\"{node}\",\"pod\":\"web{number}\",\"endpoint\":\
             \"eth0\",\"interfaceName\":\"cali{number}\",\"ipNetworks\":[\"10.0.0.{number}/32\"],\
             \"ipNATs\":[{{\"internalIP\":\"10.0.0.{number}\",\"externalIP\":\"{outside}\"}}]}}"
        );
        told(&format!(
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"WorkloadEndpoint\",\"metadata\":\
             {{\"name\":\"{node}-k8s-web{number}-eth0\",\"namespace\":\"shop\"}},\"spec\":{spec}}}"
        ))
    };
    let felix = |name: &str, value: &str| {
        resource("FelixConfiguration", name, &format!("{{\"floatingIPs\":\"{value}\"}}"))
    };
    cluster.apply(vec![
        endpoint("n1", 2, "192.0.2.1"),
        endpoint("n1", 1, "192.0.2.1"),
        endpoint("n1", 3, "192.0.2.3"),
        endpoint("n2", 4, "192.0.2.4"),
    ]);
    assert!(cluster.floating().is_empty(), "they are not used unless somebody says so");
    assert!(cluster.apply(vec![felix("default", "Enabled")]).endpoints);
    let links = |cluster: &Cluster| {
        let all = cluster.floating().into_iter();
        all.map(|(address, link)| format!("{address} {link}")).collect::<Vec<_>>()
    };
    assert_eq!(links(&cluster), ["192.0.2.1 cali1", "192.0.2.3 cali3"]);
    assert!(cluster.apply(vec![felix("node.n1", "Disabled")]).endpoints);
    assert!(cluster.floating().is_empty());
    assert!(!cluster.apply(vec![felix("node.n1", "Disabled")]).endpoints);
    let own = Key::cluster(Kind::FelixConfiguration, "node.n1");
    assert!(cluster.apply(vec![News::Gone(own, Revision(2))]).endpoints);
    assert_eq!(links(&cluster).len(), 2);
}

#[test]
fn what_a_namespace_asks_for_its_pods_is_in_its_profile() {
    let mut cluster = Cluster::new("n1".into());
    let namespace = |annotations: &str| {
        told(&format!(
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"Profile\",\"metadata\":{{\"name\":\
             \"kns.shop\",\"annotations\":{annotations}}},\"spec\":{{}}}}"
        ))
    };
    let pools = "cni.projectcalico.org/ipv4pools";
    cluster.apply(vec![namespace(&format!("{{\"note\":\"n\",\"{pools}\":\"[]\"}}"))]);
    let asked = BTreeMap::from([(pools.to_owned(), "[]".to_owned())]);
    assert_eq!(cluster.asked_by("shop"), Some(&asked));
    assert_eq!(cluster.asked_by("other"), None);
    cluster.apply(vec![namespace("{\"note\":\"n\"}")]);
    assert_eq!(cluster.asked_by("shop"), None);
    cluster.apply(vec![namespace(&format!("{{\"{pools}\":\"[]\"}}"))]);
    cluster.apply(vec![News::Gone(Key::cluster(Kind::Profile, "kns.shop"), Revision(2))]);
    assert_eq!(cluster.asked_by("shop"), None);
}
