use super::*;

const V4: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
*\t00000000\t00000000\t0200\t0\t0\t9\t00000000\t0\t0\t0
";

const V6: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth1
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000040 00000003 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

#[test]
fn default_routes_are_told_from_others_and_stand_by_their_metric() {
    assert_eq!(in_order(V4.lines().filter_map(default_v4).collect()), ["eth0", "wlan0"]);
    assert_eq!(in_order(V6.lines().filter_map(default_v6).collect()), ["eth0", "eth1"]);
}

#[test]
fn a_line_cut_short_is_no_route() {
    for cut in 0..V4.len() {
        let _ = V4.get(..cut).map(|text| text.lines().filter_map(default_v4).count());
    }
    for cut in 0..V6.len() {
        let _ = V6.get(..cut).map(|text| text.lines().filter_map(default_v6).count());
    }
    assert_eq!(default_v4(""), None);
    assert_eq!(default_v6("0 0"), None);
}

#[test]
fn endpoints_are_taken_apart() {
    let found = |text| host_and_port(text).map(|(host, port)| format!("{host} {port}"));
    assert_eq!(found("https://10.0.0.1:2379").as_deref(), Some("10.0.0.1 2379"));
    assert_eq!(found("http://[2001:db8::1]:2379").as_deref(), Some("2001:db8::1 2379"));
    assert_eq!(found("http://etcd.example:1").as_deref(), Some("etcd.example 1"));
    assert_eq!(found("etcd"), None);
}

#[tokio::test]
async fn packets_to_the_host_itself_come_from_it() {
    let source = source_towards(AddressFamily::V4, "127.0.0.1", PORT).await;
    assert_eq!(source, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert_eq!(source_towards(AddressFamily::V6, "127.0.0.1", PORT).await, None);
}

#[test]
fn the_routes_are_read_only_where_they_decide() {
    let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let link = LinkFacts {
        name: "eth0".to_owned(),
        up: true,
        addresses: vec!["10.0.0.1/24".parse().expect("an address")],
    };
    let reached = vec![Reached { target: "etcd".to_owned(), source }];
    let with = Facts { links: vec![link.clone()], reached, default_links: Vec::new() };
    let without = Facts { links: vec![link], reached: Vec::new(), default_links: Vec::new() };
    let needs = |method, facts| needs_default_links(AddressFamily::V4, &method, facts);
    assert!(!needs(Method::Auto, &with));
    assert!(needs(Method::Auto, &without));
    assert!(needs(Method::DefaultRoute, &with));
    assert!(!needs(Method::FirstFound, &without));
}
