use super::*;
use crate::attachment::{Mode, Wish};
use crate::qos::Qos;

fn spec() -> Spec {
    Spec {
        mode: Mode::Link,
        netns: "/run/netns/a".into(),
        pod: None,
        source: Source::Assign(Wish { v4: true, ..Wish::default() }),
        labels: BTreeMap::new(),
        routes: None,
        mtu: 1500,
        mac: None,
        forwarding: None,
        floating: Vec::new(),
        spoofed: Vec::new(),
        qos: Qos::default(),
        policy_wait: 0,
    }
}

fn applied(annotations: &[(&str, &str)], allowed: Allowed) -> Result<Spec, Failure> {
    let mut spec = spec();
    let full = |(name, text): &(&str, &str)| (format!("{PREFIX}{name}"), (*text).to_owned());
    apply(&mut spec, &annotations.iter().map(full).collect(), allowed).map(|()| spec)
}

fn wish(spec: &Spec) -> &Wish {
    match &spec.source {
        Source::Assign(wish) => wish,
        Source::Given(_) | Source::Leased(_) => panic!("assigned"),
    }
}

#[test]
fn pools_and_families_of_the_pod_come_before_the_configuration() {
    let spec = applied(
        &[("ipFamilies", "[\"IPv6\"]"), ("ipv6pools", "[\"blue\", \"fd00::/64\"]")],
        Allowed::default(),
    );
    let spec = spec.expect("it can be read");
    let wish = wish(&spec);
    assert_eq!((wish.v4, wish.v6), (false, true));
    assert_eq!(wish.v6_pools, ["blue", "fd00::/64"]);
}

#[test]
fn an_address_may_be_asked_for_in_each_family() {
    let spec = applied(&[("ipAddrs", "[\"10.0.0.9\", \"fd00::9\"]")], Allowed::default());
    let both: [IpAddr; 2] = ["10.0.0.9".parse().expect("v4"), "fd00::9".parse().expect("v6")];
    assert_eq!(wish(&spec.expect("it can be read")).exactly, both);
}

#[test]
fn hardware_address_sources_and_floating_addresses_are_taken_over() {
    let allowed = Allowed { floating: true, without_ipam: true };
    let spec = applied(
        &[
            ("hwAddr", "02:00:00:00:00:01"),
            ("allowedSourcePrefixes", "[\"10.1.2.3/16\"]"),
            ("floatingIPs", "[\"192.0.2.1\"]"),
            ("ipAddrsNoIpam", "[\"10.9.0.1\"]"),
        ],
        allowed,
    );
    let spec = spec.expect("it can be read");
    assert_eq!(spec.mac, Some(Mac([2, 0, 0, 0, 0, 1])));
    assert_eq!(spec.spoofed, ["10.1.0.0/16".parse().expect("a CIDR")]);
    assert_eq!(spec.floating, ["192.0.2.1".parse::<IpAddr>().expect("an address")]);
    assert_eq!(spec.source, Source::Given(vec!["10.9.0.1".parse().expect("an address")]));
}

#[test]
fn what_cannot_be_read_or_is_not_allowed_is_refused_by_name() {
    for (annotations, cause, named) in [
        (&[("ipAddrs", "10.0.0.9")][..], Cause::Invalid("annotations"), "ipAddrs"),
        (&[("ipAddrs", "[]")], Cause::Invalid("annotations"), "ipAddrs"),
        (&[("ipAddrs", "[\"10.0.0.1\",\"10.0.0.2\"]")], Cause::Invalid("annotations"), "ipAddrs"),
        (&[("ipAddrs", "[\"x\"]")], Cause::Invalid("annotations"), "\"x\""),
        (
            &[("ipAddrs", "[\"10.0.0.1\"]"), ("ipAddrsNoIpam", "[\"10.0.0.1\"]")],
            Cause::Invalid("annotations"),
            "ipAddrsNoIpam",
        ),
        (&[("ipAddrsNoIpam", "[\"10.0.0.1\"]")], Cause::Forbidden, "ip_addrs_no_ipam"),
        (&[("floatingIPs", "[\"10.0.0.1\"]")], Cause::Forbidden, "floating_ips"),
        (&[("ipFamilies", "[\"IPv5\"]")], Cause::Invalid("annotations"), "ipFamilies"),
        (&[("hwAddr", "01:00:00:00:00:01")], Cause::Invalid("annotations"), "single station"),
        (&[("hwAddr", "ee:ee:ee:ee:ee:ee")], Cause::Invalid("annotations"), "of the gateway"),
        (&[("allowedSourcePrefixes", "[\"10/8\"]")], Cause::Invalid("annotations"), "10/8"),
    ] {
        let error = applied(annotations, Allowed::default()).expect_err(named);
        assert_eq!(error.cause, cause);
        assert!(error.text.contains(named), "{error}");
    }
}

#[test]
fn what_comes_to_nothing_is_named_with_why() {
    let all: BTreeMap<String, String> = [
        "cni.projectcalico.org/floatingIPs",
        "cni.projectcalico.org/ipAddrs",
        "example.com/qos",
        "qos.projectcalico.org/dscp",
        "qos.projectcalico.org/ingressBandwidth",
    ]
    .map(|name| (name.to_owned(), String::new()))
    .into();
    let found = without_effect(&all);
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["qos.projectcalico.org/dscp"]);
    assert!(found[0].1.contains("not marked"));
}
