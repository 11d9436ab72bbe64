use margay_model::{Key, Kind, Resource, Revision};

use super::*;
use crate::mirror::{Mirrored, News};

fn registration(v4: PoolWish, v6: PoolWish) -> Registration {
    let mut registration = Registration::default();
    registration.ipv4.pool = v4;
    registration.ipv6.pool = v6;
    registration
}

fn link(addresses: &[&str]) -> LinkFacts {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    LinkFacts { name: "eth0".into(), up: true, addresses }
}

fn named(pools: &[IpPool]) -> Vec<String> {
    pools.iter().map(|pool| format!("{} {}", pool.name(), pool.spec.cidr)).collect()
}

fn news(resource: Resource) -> News {
    News::Resource(Mirrored { text: resource.to_json().to_string().into(), revision: Revision(1) })
}

#[test]
fn nothing_is_invented_unless_it_is_asked_for() {
    let asked = registration(PoolWish::None, PoolWish::None);
    assert!(first(&asked, &Cluster::default(), &[], [0; 5]).is_empty());
}

#[test]
fn a_range_of_its_own_choice_avoids_the_networks_of_the_host() {
    let asked = registration(PoolWish::Auto, PoolWish::Auto);
    let chosen =
        |links: &[LinkFacts]| named(&first(&asked, &Cluster::default(), links, [1, 2, 3, 4, 5]));
    assert_eq!(
        chosen(&[link(&["10.0.0.5/8"])]),
        ["default-ipv4-ippool 192.168.0.0/16", "default-ipv6-ippool fd01:203:405::/48"]
    );
    let at_home = link(&["192.168.178.20/24", "172.16.5.1/12"]);
    assert_eq!(chosen(&[at_home]), ["default-ipv6-ippool fd01:203:405::/48"]);
    let beside = [link(&["192.168.178.20/24"]), link(&["172.16.0.1/16", "172.17.0.1/16"])];
    assert_eq!(
        chosen(&beside).first().map(String::as_str),
        Some("default-ipv4-ippool 172.18.0.0/16")
    );
}

#[test]
fn a_range_avoids_the_networks_of_other_nodes_too() {
    let text = r#"{"apiVersion":"projectcalico.org/v3","kind":"Node","metadata":{"name":"other"},
        "spec":{"bgp":{"ipv4Address":"192.168.1.1/24"}}}"#;
    let other = crate::resources::read(text, false).unwrap();
    let mut cluster = Cluster::default();
    cluster.take("own", vec![news(other)]);
    let pools = first(&registration(PoolWish::Auto, PoolWish::None), &cluster, &[], [0; 5]);
    assert_eq!(named(&pools), ["default-ipv4-ippool 172.16.0.0/16"]);
}

#[test]
fn a_family_that_has_a_pool_gets_no_other() {
    let blue = Object::new("blue", IpPoolSpec::new("10.1.0.0/16".parse().unwrap()));
    let mut cluster = Cluster::default();
    cluster.take("own", vec![news(blue.into())]);
    let range: IpNet = "10.2.0.0/16".parse().unwrap();
    let asked = registration(PoolWish::Range(range), PoolWish::Auto);
    let pools = first(&asked, &cluster, &[], [0; 5]);
    assert_eq!(named(&pools), ["default-ipv6-ippool fd00::/48"]);
    // It went away again.
    cluster.take("own", vec![News::Gone(Key::cluster(Kind::IpPool, "blue"), Revision(2))]);
    assert_eq!(first(&asked, &cluster, &[], [0; 5]).len(), 2);
}

#[test]
fn a_first_pool_is_valid_and_masquerades_ipv4_only() {
    let mut asked = registration(PoolWish::Auto, PoolWish::Auto);
    asked.ipv4.block_size = Some(28);
    for pool in first(&asked, &Cluster::default(), &[], random()) {
        let v4 = pool.spec.cidr.net().addr().is_ipv4();
        assert_eq!(pool.spec.nat_outgoing, Some(v4));
        assert_eq!(pool.spec.block_size, v4.then_some(28));
        Resource::from(pool).check().unwrap();
    }
}
