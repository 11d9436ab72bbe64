use super::*;

const ENDS: Ends =
    Ends { host_index: 7, host_mac: [0xee; 6], container_index: 2, container_mac: [2; 6] };

fn spec(addresses: &[&str]) -> LinkSpec {
    let addresses = addresses.iter().map(|a| a.parse().expect("an address")).collect();
    LinkSpec::new("cali1", "eth0", addresses)
}

fn keys(steps: &[Step], side: Side) -> Vec<String> {
    let mut keys = Vec::new();
    for step in steps {
        if let Step::Sysctls(of, settings) = step
            && *of == side
        {
            keys.extend(settings.iter().map(|(s, _)| format!("{}={}", s.key, s.value)));
        }
    }
    keys
}

fn writes(steps: &[Step], side: Side) -> Vec<Write> {
    let mut all = Vec::new();
    for step in steps {
        if let Step::Writes(of, writes) = step
            && *of == side
        {
            all.extend(writes.iter().cloned());
        }
    }
    all
}

#[test]
fn an_ipv4_workload_needs_nothing_of_ipv6() {
    let steps = finish(&spec(&["10.65.0.1"]), &ENDS);
    let v6 = |key: &String| key.starts_with("ipv6") && !key.ends_with("accept_ra=0");
    assert!(!keys(&steps, Side::Host).iter().any(v6));
    assert!(!keys(&steps, Side::Container).iter().any(v6));
    let gateway = IpAddr::V4(GATEWAY_V4);
    assert_eq!(
        writes(&steps, Side::Container),
        [
            Write::SetLink {
                index: 2,
                mac: None,
                alias: None,
                no_own_link_local: false,
                answers: false,
                up: true
            },
            Write::Address { index: 2, address: "10.65.0.1/32".parse().expect("a prefix") },
            Write::Neighbour { index: 2, address: gateway, mac: [0xee; 6] },
            Write::Route {
                index: 2,
                prefix: "0.0.0.0/0".parse().expect("a prefix"),
                gateway,
                metric: None
            },
        ]
    );
}

#[test]
fn the_host_is_ready_before_the_container_comes_up() {
    let steps = finish(&spec(&["10.65.0.1", "fd00::1"]), &ENDS);
    let sides: Vec<Side> = steps
        .iter()
        .map(|step| match step {
            Step::Sysctls(side, _) | Step::Writes(side, _) => *side,
            Step::KeepRouters => Side::Host,
            Step::Limit(side, ..) => *side,
        })
        .collect();
    assert_eq!(sides, [Side::Host, Side::Host, Side::Host, Side::Container, Side::Container]);
    let host = writes(&steps, Side::Host);
    assert_eq!(
        host.get(1),
        Some(&Write::Address {
            index: 7,
            address: "fe80::ecee:eeff:feee:eeee/64".parse().expect("a prefix")
        })
    );
    let neighbours = host.iter().filter(|w| matches!(w, Write::Neighbour { mac: [2, ..], .. }));
    assert_eq!(neighbours.count(), 2, "the host need not ask for the workload");
}

#[test]
fn a_hardware_address_that_somebody_changed_is_set_again() {
    let ends = Ends { host_mac: [4; 6], ..ENDS };
    let steps = finish(&spec(&[]), &ends);
    let mac = writes(&steps, Side::Host).into_iter().find_map(|w| match w {
        Write::SetLink { mac, .. } => mac,
        _ => None,
    });
    assert_eq!(mac, Some([0xee; 6]));
    let unchanged = writes(&finish(&spec(&[]), &ENDS), Side::Host);
    assert!(matches!(unchanged.as_slice(), [Write::SetLink { mac: None, .. }]));
}

#[test]
fn forwarding_is_touched_only_where_it_is_asked_for() {
    let mut spec = spec(&["10.65.0.1", "fd00::1"]);
    let forwards = |spec: &LinkSpec| -> Vec<String> {
        let all = keys(&finish(spec, &ENDS), Side::Container);
        all.into_iter().filter(|k| k.contains("forward")).collect()
    };
    assert_eq!(forwards(&spec), [""; 0]);
    spec.forwarding = Some(false);
    assert_eq!(forwards(&spec), ["ipv4/ip_forward=0", "ipv6/conf/all/forwarding=0"]);
}

#[test]
fn a_container_without_ipv6_is_given_it_before_its_address() {
    let steps = finish(&spec(&["fd00::1"]), &ENDS);
    let inside = keys(&steps, Side::Container);
    assert!(inside.contains(&"ipv6/conf/all/disable_ipv6=0".to_owned()));
    assert!(inside.contains(&"ipv6/conf/eth0/accept_dad=0".to_owned()));
    assert!(matches!(steps.get(3), Some(Step::Sysctls(Side::Container, _))));
}

#[test]
fn routers_are_kept_before_the_host_forwards_ipv6_and_only_then() {
    assert_eq!(finish(&spec(&["fd00::1"]), &ENDS).first(), Some(&Step::KeepRouters));
    assert!(!finish(&spec(&["10.65.0.1"]), &ENDS).contains(&Step::KeepRouters));
}

#[test]
fn links_that_routers_told_of_are_found_among_the_kernels_routes() {
    let zero = "0".repeat(32);
    let line = |flags: &str, link: &str| {
        format!("{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 {flags} {link:>8}\n")
    };
    let told = line("00450003", "eth0") + &line("004c0001", "eth1.100");
    let static_ = line("00000003", "eth2") + &line("00200200", "lo") + &line("00040001", "eth3");
    let routes = told + &static_ + "what is this\n\n";
    assert_eq!(advertised(&routes).into_iter().collect::<Vec<_>>(), ["eth0", "eth1.100"]);
}

#[test]
fn routes_of_a_further_interface_stand_behind_those_of_the_first() {
    let mut spec = spec(&["10.65.0.1", "fd00::1"]);
    spec.container_name = "net1".to_owned();
    let writes = writes(&finish(&spec, &ENDS), Side::Container);
    let metrics = writes.iter().filter_map(|write| match write {
        Write::Route { metric, .. } => Some(*metric),
        _ => None,
    });
    assert_eq!(metrics.collect::<Vec<_>>(), [Some(2002); 2]);
}

#[test]
fn uplinks_are_the_links_of_default_routes() {
    let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\tFE02000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n\
                  eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
    assert_eq!(uplinks(routes).into_iter().collect::<Vec<_>>(), ["eth0", "eth1"]);
    assert!(uplinks("eth0\t00000000").is_empty(), "cut off");
}

#[test]
fn links_to_who_lives_on_this_host_do_not_hear_routers_because_of_us() {
    let link = |index, name: &str, kind: &str, master| Kin {
        index,
        name: name.to_owned(),
        kind: kind.to_owned(),
        master,
    };
    let links = [
        link(1, "lo", "", None),
        link(2, "eno1", "", None),
        link(3, "bond0", "bond", None),
        link(4, "eno1.7", "vlan", None),
        // Uplink of the host, with a virtual machine beside.
        link(5, "br0", "bridge", None),
        link(6, "eno2", "", Some(5)),
        link(7, "tap0", "tun", Some(5)),
        // Of another runtime.
        link(8, "docker0", "bridge", None),
        link(9, "veth1", "veth", Some(8)),
        link(10, "virbr0", "bridge", None),
        link(11, "veth2", "veth", None),
        // The node is a container itself.
        link(12, "eth0", "veth", None),
    ];
    let hearing = hearing(&links, &BTreeSet::from(["eth0"]));
    let hearing: Vec<&str> = hearing.into_iter().collect();
    assert_eq!(hearing, ["bond0", "br0", "eno1", "eno1.7", "eno2", "eth0"]);
}

#[test]
fn each_end_is_limited_before_it_comes_up() {
    let mut spec = spec(&["10.65.0.1"]);
    let limit = |rate| crate::attach::Bandwidth { rate, burst: None, peak: None };
    (spec.ingress, spec.egress) = (Some(limit(8_000)), Some(limit(80_000)));
    let steps = finish(&spec, &ENDS);
    let at = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted);
    for (side, index, rate) in [(Side::Host, 7, 1_000), (Side::Container, 2, 10_000)] {
        let limited = at(
            &|step| matches!(step, Step::Limit(s, i, b) if (*s, *i, b.rate) == (side, index, rate)),
        );
        let up = at(&|step| matches!(step, Step::Writes(s, _) if *s == side));
        assert!(limited.is_some() && limited < up, "{steps:?}");
    }
}

#[test]
fn what_a_message_sets_is_not_written_into_files_as_well() {
    let steps = finish(&spec(&["10.65.0.1"]), &ENDS);
    let files = keys(&steps, Side::Host);
    assert!(!files.iter().any(|key| key.contains("proxy_arp") || key.contains("route_localnet")));
    let answers = |write: &Write| matches!(write, Write::SetLink { index: 7, answers: true, .. });
    assert!(writes(&steps, Side::Host).iter().any(answers));
    // Where the link is there already, and where it is compared, they are files as any other.
    let again = keys(&settings_again(&spec(&["10.65.0.1"])), Side::Host);
    assert!(again.contains(&"ipv4/conf/cali1/proxy_arp=1".to_owned()), "{again:?}");
    let six = writes(&finish(&spec(&["fd00::1"]), &ENDS), Side::Host);
    assert!(!six.iter().any(answers));
}
