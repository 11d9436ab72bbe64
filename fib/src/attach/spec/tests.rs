use super::*;

fn spec() -> LinkSpec {
    let addresses = ["10.65.0.1", "fd00::1"].map(|a| a.parse().expect("an address"));
    LinkSpec::new("cali1", "eth0", addresses.to_vec())
}

fn with(change: impl FnOnce(&mut LinkSpec)) -> Result<(), SpecError> {
    let mut spec = spec();
    change(&mut spec);
    spec.check()
}

#[test]
fn the_usual_link_has_a_default_route_for_each_family_it_has_an_address_of() {
    let routes: Vec<String> = spec().routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["0.0.0.0/0", "::/0"]);
    let v6 = LinkSpec::new("cali1", "eth0", vec!["fd00::1".parse().expect("an address")]);
    assert_eq!(v6.routes.len(), 1);
    assert_eq!(spec().check(), Ok(()));
    assert_eq!(LinkSpec::new("cali1", "eth0", Vec::new()).check(), Ok(()));
}

#[test]
fn the_ipv6_gateway_is_what_follows_from_the_hardware_address() {
    let [a, b, c, d, e, f] = HOST_MAC;
    let mut derived = [0; 16];
    derived[0] = 0xfe;
    derived[1] = 0x80;
    derived[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    assert_eq!(GATEWAY_V6, Ipv6Addr::from(derived));
}

#[test]
fn names_the_kernel_or_a_path_would_not_take_are_refused() {
    for name in ["", "0123456789abcdef", "a/b", "a b", "a:b", ".", "..", "a\n", "a\0"] {
        let refused = with(|s| s.host_name = name.to_owned());
        assert_eq!(refused, Err(SpecError::Name(name.to_owned())));
        assert!(with(|s| s.container_name = name.to_owned()).is_err(), "{name:?}");
    }
    assert_eq!(with(|s| s.container_name = "eth0.12".to_owned()), Ok(()));
}

#[test]
fn packets_too_small_for_a_family_are_refused() {
    assert_eq!(with(|s| s.mtu = 1279), Err(SpecError::Mtu { mtu: 1279, least: 1280 }));
    assert_eq!(with(|s| s.mtu = 70_000), Err(SpecError::Mtu { mtu: 70_000, least: 1280 }));
    let v4 = |s: &mut LinkSpec| {
        s.addresses.pop();
        s.routes.pop();
        s.mtu = 576;
    };
    assert_eq!(with(v4), Ok(()));
}

#[test]
fn addresses_no_workload_can_have_are_refused() {
    for address in ["169.254.1.1", "0.0.0.0", "224.0.0.1", "127.0.0.1", "::1", "fe80::1", "ff02::1"]
    {
        let address: IpAddr = address.parse().expect("an address");
        assert_eq!(with(|s| s.addresses.push(address)), Err(SpecError::Address(address)));
    }
    let twice: IpAddr = "fd00::1".parse().expect("an address");
    assert_eq!(with(|s| s.addresses.push(twice)), Err(SpecError::Twice(twice)));
}

#[test]
fn a_route_needs_an_address_of_its_family() {
    let refused = with(|s| s.addresses.truncate(1));
    assert_eq!(refused, Err(SpecError::Route("::/0".parse().expect("a prefix"))));
}

#[test]
fn settings_outside_the_network_are_refused() {
    for key in ["", "ipv4", "kernel/hostname", "ipv4/../../kernel/hostname", "ipv4//x", "/ipv4/x"] {
        let sysctl = Sysctl { key: key.to_owned(), value: "1".to_owned() };
        assert_eq!(with(|s| s.sysctls.push(sysctl)), Err(SpecError::Sysctl(key.to_owned())));
    }
    let fine = Sysctl { key: "ipv4/conf/eth0.12/arp_notify".to_owned(), value: "1".to_owned() };
    assert_eq!(with(|s| s.sysctls.push(fine)), Ok(()));
}

#[test]
fn hardware_addresses_and_aliases_are_checked() {
    assert_eq!(with(|s| s.host_mac = [1; 6]), Err(SpecError::Mac([1; 6])));
    assert_eq!(with(|s| s.container_mac = Some([0; 6])), Err(SpecError::Mac([0; 6])));
    assert_eq!(with(|s| s.alias = "x".repeat(256)), Err(SpecError::Alias(256)));
    assert_eq!(with(|s| s.alias = "x".repeat(255)), Ok(()));
    assert_eq!(with(|s| s.rp_filter = Some(3)), Err(SpecError::RpFilter(3)));
}
