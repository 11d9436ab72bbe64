use serde_json::{Value, json};

use super::*;
use crate::{
    error::{Code, Error},
    json::At,
    version::Version,
};

fn full() -> NetworkResult {
    NetworkResult {
        interfaces: vec![
            Interface {
                name: "cali0123456789a".into(),
                mac: Some("ee:ee:ee:ee:ee:ee".into()),
                mtu: Some(1450),
                ..Interface::default()
            },
            Interface {
                name: "eth0".into(),
                mac: Some("02:00:00:00:00:01".into()),
                mtu: Some(1450),
                sandbox: Some("/run/netns/blue".into()),
                socket_path: Some("/run/vhost".into()),
                pci_id: Some("0000:00:1f.6".into()),
            },
        ],
        ips: vec![
            Ip { interface: Some(1), address: "10.0.0.7/32".parse().unwrap(), gateway: None },
            Ip {
                interface: Some(1),
                address: "2001:db8::7/128".parse().unwrap(),
                gateway: Some("fe80::1".parse().unwrap()),
            },
        ],
        routes: vec![
            Route {
                mtu: Some(1400),
                advmss: Some(1360),
                priority: Some(10),
                table: Some(100),
                scope: Some(253),
                ..Route::new("0.0.0.0/0".parse().unwrap(), Some("169.254.1.1".parse().unwrap()))
            },
            Route::new("::/0".parse().unwrap(), None),
        ],
        dns: Dns {
            nameservers: vec!["10.96.0.10".into()],
            domain: Some("cluster.local".into()),
            search: vec!["svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        },
    }
}

fn read(value: &Value) -> Result<NetworkResult, Error> {
    NetworkResult::read(&At::root(value))
}

#[test]
fn each_version_has_its_form() {
    for version in Version::ALL {
        let path = format!("{}/tests/golden/result-{version}.json", env!("CARGO_MANIFEST_DIR"));
        testkit::golden::assert_golden(path, &(full().json(version) + "\n"));
    }
}

#[test]
fn what_a_version_can_say_is_read_back() {
    for version in Version::ALL {
        let value: Value = serde_json::from_str(&full().json(version)).expect("JSON");
        assert_eq!(value["cniVersion"], version.text());
        let back = read(&value).expect("valid");
        assert_eq!(back.json(version), full().json(version), "{version}");
    }
    let value = serde_json::from_str(&full().json(Version::V110)).expect("JSON");
    assert_eq!(read(&value), Ok(full()));
}

#[test]
fn a_family_without_address_is_left_out_of_the_oldest_form() {
    let mut four = full();
    four.ips.truncate(1);
    let value: Value = serde_json::from_str(&four.json(Version::V020)).expect("JSON");
    assert!(value.get("ip6").is_none());
    let none = NetworkResult::default().json(Version::V010);
    let value: Value = serde_json::from_str(&none).expect("JSON");
    assert_eq!(value, json!({"cniVersion": "0.1.0"}));
}

#[test]
fn a_chain_keeps_what_came_before_and_moves_our_indices() {
    let before = NetworkResult {
        interfaces: vec![Interface { name: "lo".into(), ..Interface::default() }],
        ips: vec![Ip {
            interface: Some(0),
            address: "127.0.0.1/8".parse().unwrap(),
            gateway: None,
        }],
        dns: Dns { domain: Some("first".into()), ..Dns::default() },
        routes: vec![Route::new("192.0.2.0/24".parse().unwrap(), None)],
    };
    let all = full().after(before);
    assert_eq!(all.interfaces.len(), 3);
    assert_eq!(
        all.ips.iter().map(|ip| ip.interface).collect::<Vec<_>>(),
        [Some(0), Some(2), Some(2)]
    );
    assert_eq!(all.routes.len(), 3);
    assert_eq!(all.dns.domain.as_deref(), Some("first"));
    let alone = full().after(NetworkResult::default());
    assert_eq!(alone, full());
}

#[test]
fn odd_but_common_values_are_taken() {
    let value = json!({
        "interfaces": null,
        "ips": [{"version": "4", "address": "10.0.0.1/24", "interface": -1, "gateway": ""}],
        "routes": [{"dst": "0.0.0.0/0", "gw": null}],
        "dns": {},
        "somebody": "else's",
    });
    let result = read(&value).expect("valid");
    assert_eq!(result.ips[0].interface, None);
    assert_eq!(result.ips[0].gateway, None);
}

#[test]
fn faults_are_told_with_their_path() {
    for (value, told) in [
        (json!([]), "the configuration: expected an object, found a list"),
        (json!({"ips": {}}), "ips: expected a list, found an object"),
        (
            json!({"ips": [{"address": "10.0.0.1"}]}),
            "ips[0].address: expected an address in CIDR notation, found \"10.0.0.1\"",
        ),
        (json!({"ips": [{}]}), "ips[0]: expected an address in CIDR notation, found an object"),
        (
            json!({"routes": [{"gw": "10.0.0.1"}]}),
            "routes[0]: expected a route with dst, found an object",
        ),
        (
            json!({"routes": [{"dst": "10.0.0.0/8", "gw": "x"}]}),
            "routes[0].gw: expected an address, found \"x\"",
        ),
        (json!({"dns": {"search": [1]}}), "dns.search[0]: expected a string, found 1"),
        (json!({"ip4": {"ip": 7}}), "ip4.ip: expected a string, found 7"),
    ] {
        let error = read(&value).expect_err("refused");
        assert_eq!((error.code, error.msg.as_str()), (Code::InvalidConfig, told));
    }
}
