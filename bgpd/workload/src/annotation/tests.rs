use super::*;
use crate::attachment::{Mode, Pod, Wish};
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

/// What a pod with some annotations wants whose namespace has others.
fn in_namespace(own: &[(&str, &str)], theirs: &[(&str, &str)]) -> Result<Spec, Failure> {
    let full = |(name, text): &(&str, &str)| (format!("{PREFIX}{name}"), (*text).to_owned());
    let own: BTreeMap<_, _> = own.iter().map(full).collect();
    let pod = Pod { namespace: "shop".into(), name: "web".into(), uid: String::new() };
    let mut spec = Spec { pod: Some(pod), ..spec() };
    apply(&mut spec, &own, Allowed::default())?;
    Unsaid::of(&own).asked_of(&theirs.iter().map(full).collect(), &mut spec).map(|()| spec)
}

#[test]
fn what_the_namespace_asks_for_counts_where_the_pod_says_nothing_itself() {
    let theirs =
        [("ipFamilies", "[\"IPv4\", \"IPv6\"]"), ("ipv4pools", "[\"blue\"]"), ("ipv6pools", "[]")];
    let spec = in_namespace(&[], &theirs).expect("it can be read");
    let all = wish(&spec);
    assert!(all.v4 && all.v6);
    assert_eq!((&*all.v4_pools, &*all.v6_pools), (&["blue".to_owned()][..], &[][..]));
    let own = [("ipFamilies", "[\"IPv4\"]"), ("ipv4pools", "[\"red\"]")];
    let spec = in_namespace(&own, &theirs).expect("it can be read");
    let mixed = wish(&spec);
    assert_eq!((mixed.v4, mixed.v6, &*mixed.v4_pools), (true, false, &["red".to_owned()][..]));
}

#[test]
fn a_namespace_says_nothing_to_who_brings_or_names_addresses() {
    let theirs = [("ipFamilies", "nonsense"), ("ipv4pools", "[\"blue\"]")];
    let spec = in_namespace(&[("ipAddrs", "[\"10.0.0.9\"]")], &theirs).expect("it has its own");
    assert!(wish(&spec).v4_pools.is_empty());
    let mut given = Spec { source: Source::Given(Vec::new()), ..spec };
    let unsaid = Unsaid::of(&BTreeMap::new());
    assert!(!unsaid.matters(&given));
    let theirs = BTreeMap::from([(format!("{PREFIX}ipv4pools"), "nonsense".to_owned())]);
    assert_eq!(unsaid.asked_of(&theirs, &mut given), Ok(()));
}

#[test]
fn what_a_namespace_says_and_cannot_be_read_is_an_error_that_names_it() {
    for (name, text) in [
        ("ipv4pools", "blue"),
        ("ipv6pools", ""),
        ("ipFamilies", "[]"),
        ("ipFamilies", "[\"IPv5\"]"),
    ] {
        let failure = in_namespace(&[], &[(name, text)]).expect_err("it cannot be");
        let begun = format!("namespace shop: annotation {PREFIX}{name}: ");
        assert!(failure.text.starts_with(&begun), "{failure}");
        assert_eq!(failure.cause, Cause::Invalid("annotations"));
    }
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
