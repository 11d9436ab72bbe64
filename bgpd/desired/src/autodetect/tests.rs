use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn link(name: &str, addresses: &[&str]) -> LinkFacts {
    let addresses = addresses.iter().map(|text| net(text)).collect();
    LinkFacts { name: name.to_owned(), up: true, addresses }
}

/// A host with everything that gets in the way: containers, tunnels, link-local addresses.
fn host() -> Facts {
    Facts {
        links: vec![
            link("lo", &["127.0.0.1/8", "::1/128", "10.255.0.1/32"]),
            link("docker0", &["172.17.0.1/16"]),
            link("eth0", &["169.254.7.7/16", "192.168.10.5/24", "fe80::1/64"]),
            link("eth1", &["10.0.0.5/24", "10.0.0.77/24", "2001:db8::5/64"]),
            link("cali0123456789a", &["169.254.1.1/32"]),
            link("vxlan.calico", &["10.244.3.0/32"]),
            link("bond0.100", &["10.100.0.5/16"]),
        ],
        reached: Vec::new(),
        default_links: vec!["eth0".to_owned()],
    }
}

fn method(text: &str) -> Method {
    text.parse().unwrap()
}

fn found_by(facts: &Facts, text: &str) -> Option<String> {
    let detection = detect(AddressFamily::V4, &method(text), facts, None, Keep::AmongBest);
    detection.chosen.map(|chosen| chosen.net.to_string())
}

#[test]
fn each_method_finds_its_address() {
    let mut facts = host();
    facts
        .reached
        .push(Reached { target: "203.0.113.9".into(), source: net("10.100.0.5/16").addr() });
    for (text, address) in [
        ("first-found", "192.168.10.5/24"),
        ("default-route", "192.168.10.5/24"),
        ("can-reach=203.0.113.9", "10.100.0.5/16"),
        ("auto", "10.100.0.5/16"),
        ("interface=eth1", "10.0.0.5/24"),
        ("interface=bond.*,eth0", "10.100.0.5/16"),
        ("interface=wlan0,eth0", "192.168.10.5/24"),
        ("interface=docker", "172.17.0.1/16"),
        ("skip-interface=eth0", "10.0.0.5/24"),
        ("skip-interface=^eth,wlan", "10.100.0.5/16"),
        ("cidr=10.0.0.0/8", "10.0.0.5/24"),
        ("cidr=10.100.0.0/16,10.0.0.0/24", "10.0.0.5/24"),
        ("cidr=10.255.0.0/16", "10.255.0.1/32"),
    ] {
        assert_eq!(found_by(&facts, text).as_deref(), Some(address), "{text}");
    }
    for text in ["cidr=198.51.100.0/24", "interface=^th1"] {
        assert_eq!(found_by(&facts, text), None, "{text}");
    }
}

#[test]
fn names_of_containers_tunnels_and_loopback_are_nobodys_first_choice() {
    for name in EXCLUDED.iter().map(|begin| format!("{begin}0")).chain(["lo".into()]) {
        let facts = Facts {
            links: vec![link(&name, &["10.1.0.1/24"]), link("ens3", &["10.2.0.1/24"])],
            ..Facts::default()
        };
        assert_eq!(found_by(&facts, "first-found").as_deref(), Some("10.2.0.1/24"), "{name}");
        assert_eq!(found_by(&facts, "auto").as_deref(), Some("10.2.0.1/24"), "{name}");
        assert_eq!(found_by(&facts, "skip-interface=ens3"), None, "{name}");
        let by_cidr = found_by(&facts, "cidr=10.0.0.0/8");
        assert_eq!(by_cidr.as_deref(), Some("10.2.0.1/24"), "{name}");
    }
    // A mainboard's own port is not the loopback.
    let facts = Facts { links: vec![link("lom1", &["10.1.0.1/24"])], ..Facts::default() };
    assert_eq!(found_by(&facts, "first-found").as_deref(), Some("10.1.0.1/24"));
}

#[test]
fn auto_asks_the_datastore_then_the_default_route_then_takes_the_first() {
    let mut facts = host();
    facts.default_links = vec!["eth1".to_owned()];
    facts.reached.push(Reached { target: "etcd".into(), source: net("10.100.0.5/16").addr() });
    let all = detect(AddressFamily::V4, &Method::Auto, &facts, None, Keep::AmongBest);
    let chosen = all.chosen.unwrap();
    assert_eq!(chosen.why, Why::Reaches("etcd".into()));
    let others: Vec<_> = all.others.iter().map(|c| (c.net.to_string(), c.why.clone())).collect();
    assert_eq!(
        others,
        [
            ("10.0.0.5/24".to_owned(), Why::DefaultRoute),
            ("10.0.0.77/24".to_owned(), Why::DefaultRoute),
            ("192.168.10.5/24".to_owned(), Why::FirstFound),
        ]
    );
    // A datastore on the host itself says nothing about the address that others reach.
    facts.reached = vec![Reached { target: "etcd".into(), source: net("127.0.0.1/8").addr() }];
    let chosen = detect(AddressFamily::V4, &Method::Auto, &facts, None, Keep::AmongBest).chosen;
    assert_eq!(chosen.unwrap().why, Why::DefaultRoute);
    facts.default_links.clear();
    let chosen = detect(AddressFamily::V4, &Method::Auto, &facts, None, Keep::AmongBest).chosen;
    assert_eq!(chosen.unwrap().net, net("192.168.10.5/24"));
}

#[test]
fn ipv6_is_found_beside_link_local_addresses() {
    let chosen = |text| detect(AddressFamily::V6, &method(text), &host(), None, Keep::AmongBest);
    assert_eq!(chosen("auto").chosen.unwrap().net, net("2001:db8::5/64"));
    assert_eq!(chosen("interface=eth0").chosen, None);
}

#[test]
fn an_interface_without_carrier_is_no_choice() {
    let mut facts = host();
    facts.links.iter_mut().filter(|link| link.name == "eth0").for_each(|link| link.up = false);
    assert_eq!(found_by(&facts, "first-found").as_deref(), Some("10.0.0.5/24"));
    assert_eq!(found_by(&facts, "interface=eth0"), None);
}

#[test]
fn an_address_stays_where_the_method_finds_it_too() {
    let facts = host();
    let kept = |text: &str, current: &str, keep| {
        let current = Some(current.parse().unwrap());
        let found = detect(AddressFamily::V4, &method(text), &facts, current, keep);
        found.chosen.map(|chosen| chosen.net.addr().to_string()).unwrap()
    };
    // Beside a lower one that came later.
    assert_eq!(kept("interface=eth1", "10.0.0.77", Keep::AmongBest), "10.0.0.77");
    // On another interface only until somebody looks with care.
    assert_eq!(kept("first-found", "10.100.0.5", Keep::AmongBest), "192.168.10.5");
    assert_eq!(kept("first-found", "10.100.0.5", Keep::WhileThere), "10.100.0.5");
    // The host does not have it any more.
    assert_eq!(kept("first-found", "10.9.9.9", Keep::WhileThere), "192.168.10.5");
}

#[test]
fn a_flap_of_the_interface_moves_nothing() {
    let mut facts = host();
    facts.links.iter_mut().filter(|link| link.name == "eth0").for_each(|link| link.up = false);
    let current = Some("192.168.10.5".parse().unwrap());
    let at_once = detect(AddressFamily::V4, &Method::FirstFound, &facts, current, Keep::WhileThere);
    assert_eq!(at_once.chosen.unwrap().net, net("192.168.10.5/24"));
    let later = detect(AddressFamily::V4, &Method::FirstFound, &facts, current, Keep::AmongBest);
    assert_eq!(later.chosen.unwrap().net, net("10.0.0.5/24"));
}

#[test]
fn a_bare_address_takes_the_length_it_has_on_the_host() {
    let facts = host();
    assert_eq!(net_of(&facts.links, "10.0.0.77".parse().unwrap()), Some(net("10.0.0.77/24")));
    assert_eq!(net_of(&facts.links, "10.0.0.78".parse().unwrap()), None);
}

#[test]
fn a_method_is_written_as_it_is_read() {
    for text in [
        "auto",
        "first-found",
        "can-reach=2001:db8::1",
        "interface=eth.*,bond[0-9]+",
        "skip-interface=^wl",
        "cidr=10.0.0.0/8,192.168.0.0/16",
        "default-route",
    ] {
        assert_eq!(method(text).to_string(), text);
    }
    for text in
        ["", "autodetect", "interface=", "interface=(", "cidr=ten", "can-reach=a b", "auto=1"]
    {
        assert!(text.parse::<Method>().is_err(), "{text}");
    }
    let refused = "kubernetes-internal-ip".parse::<Method>().unwrap_err();
    assert!(refused.contains("not supported in this version"), "{refused}");
}
