use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn prefixes_survive_the_way_into_a_table_and_back() {
    for text in ["0.0.0.0/0", "10.1.2.0/24", "255.255.255.255/32"] {
        assert_eq!(Net4::from_ip(net(text)).unwrap().to_ip(), net(text));
        assert_eq!(Net6::from_ip(net(text)), None);
    }
    for text in ["::/0", "2001:db8:1::/48", "2001:db8::1/128", "fe80::/10"] {
        assert_eq!(Net6::from_ip(net(text)).unwrap().to_ip(), net(text));
        assert_eq!(Net4::from_ip(net(text)), None);
    }
}

#[test]
fn truncating_clears_the_bits_behind_the_length() {
    let host = Net4::host("10.255.3.4".parse().unwrap()).unwrap();
    assert_eq!(host.truncate(0).to_ip(), net("0.0.0.0/0"));
    assert_eq!(host.truncate(9).to_ip(), net("10.128.0.0/9"));
    let host = Net6::host("2001:db8:ffff::1".parse().unwrap()).unwrap();
    assert_eq!(host.truncate(33).to_ip(), net("2001:db8:8000::/33"));
    assert_eq!(host.truncate(0).to_ip(), net("::/0"));
}

#[test]
fn a_prefix_contains_itself_and_what_is_longer_only() {
    let wide = Net4::from_ip(net("10.0.0.0/8")).unwrap();
    let narrow = Net4::from_ip(net("10.1.0.0/16")).unwrap();
    assert!(wide.contains(wide) && wide.contains(narrow));
    assert!(!narrow.contains(wide));
    assert!(!narrow.contains(Net4::from_ip(net("10.2.0.0/16")).unwrap()));
}

#[test]
fn prefixes_spread_over_all_shards() {
    let mut seen = [0u32; 4];
    for i in 0..4096u32 {
        let prefix = net(&format!("10.{}.{}.0/24", i >> 8, i & 255));
        seen[shard_of(prefix, 4)] += 1;
        assert_eq!(shard_of(prefix, 1), 0);
    }
    assert!(seen.iter().all(|n| (800..1300).contains(n)), "{seen:?}");
}
