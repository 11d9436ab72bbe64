use margay_proto::v1::{NoAddresses, add_workload_request::Ipam as Wire};
use serde_json::{Value, json};

use super::*;
use crate::env::Verb;

fn target() -> Target {
    Target {
        container_id: "c0ffee".into(),
        ifname: "eth0".into(),
        netns: Some("/run/netns/blue".into()),
    }
}

fn config(more: Value, verb: Verb, role: Role) -> Config {
    let mut config = json!({"cniVersion": "1.1.0", "name": "pods", "type": "margay"});
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=5e";
    Config::read(&config, args, verb, role).expect("valid")
}

fn add(more: Value, role: Role, given: Option<&NetworkResult>) -> AddWorkloadRequest {
    let config = config(more, Verb::Add, role);
    Call { role, target: &target(), config: &config }.add(given)
}

fn check(previous: Value, role: Role) -> Result<CheckWorkloadRequest, Error> {
    let config = config(json!({ "prevResult": previous }), Verb::Check, role);
    Call { role, target: &target(), config: &config }.check()
}

#[test]
fn an_add_carries_what_the_configuration_says() {
    let request = add(
        json!({
            "mtu": 1400,
            "num_queues": 2,
            "policy_wait_seconds": 7,
            "ipam": {"type": "margay-ipam", "assign_ipv6": true, "ipv4_pools": ["blue"]},
            "args": {"cni": {"labels": [{"key": "role", "value": "db"}], "ips": ["10.0.0.9"]}},
        }),
        Role::Network,
        None,
    );
    let attachment =
        Attachment { network: "pods".into(), container_id: "c0ffee".into(), ifname: "eth0".into() };
    assert_eq!(request.attachment, Some(attachment));
    assert_eq!(request.mode(), AttachmentMode::Link);
    assert_eq!(request.netns, "/run/netns/blue");
    let pod = request.pod.expect("a pod");
    assert_eq!((pod.namespace, pod.name, pod.uid), ("shop".into(), "web".into(), "5e".into()));
    let expected = AssignByUs {
        ipv4: true,
        ipv6: true,
        addresses: vec!["10.0.0.9".into()],
        ipv4_pools: vec!["blue".into()],
        ipv6_pools: Vec::new(),
    };
    assert_eq!(request.ipam, Some(Wire::Assign(expected)));
    assert_eq!(request.labels.get("role").map(String::as_str), Some("db"));
    assert_eq!((request.mtu, request.queues, request.policy_wait_seconds), (1400, 2, 7));
    assert_eq!(request.deadline_millis, 22_000);
}

#[test]
fn for_addresses_only_no_policy_is_waited_for() {
    let request = add(json!({}), Role::Ipam, None);
    assert_eq!(request.mode(), AttachmentMode::Addresses);
    assert_eq!(request.policy_wait_seconds, 0);
}

#[test]
fn the_longest_wait_does_not_overflow() {
    let request = add(json!({"policy_wait_seconds": u32::MAX}), Role::Network, None);
    assert_eq!(request.deadline_millis, u32::MAX);
}

#[test]
fn what_a_foreign_plugin_gave_is_handed_on_without_its_indices() {
    let given = NetworkResult {
        ips: vec![Ip {
            interface: Some(3),
            address: "10.0.0.7/24".parse().unwrap(),
            gateway: Some("10.0.0.1".parse().unwrap()),
        }],
        ..NetworkResult::default()
    };
    let ipam = json!({"ipam": {"type": "host-local", "routes": [{"dst": "10.0.0.0/8"}]}});
    let request = add(ipam, Role::Network, Some(&given));
    let ip =
        WorkloadIp { address: "10.0.0.7/24".into(), gateway: "10.0.0.1".into(), interface: None };
    assert_eq!(request.ipam, Some(Wire::Given(GivenAddresses { ips: vec![ip] })));
    assert_ne!(request.ipam, Some(Wire::None(NoAddresses {})));
    let routes: Vec<_> = request.routes.into_iter().map(|route| route.destination).collect();
    assert_eq!(routes, ["10.0.0.0/8"]);
    let both = json!({"ipam": {
        "type": "host-local",
        "routes": [{"dst": "10.0.0.0/8"}],
        "include_default_routes": true,
    }});
    let routes = add(both, Role::Network, Some(&given)).routes;
    let routes: Vec<_> = routes.into_iter().map(|route| route.destination).collect();
    assert_eq!(routes, ["10.0.0.0/8", "0.0.0.0/0"]);
    let none = add(json!({"ipam": {"type": "host-local"}}), Role::Network, Some(&given));
    assert_eq!(none.routes, []);
}

#[test]
fn of_a_chain_only_our_part_is_checked() {
    let previous = json!({
        "interfaces": [
            {"name": "br0"},
            {"name": "cali0123456789a", "mac": "ee:ee:ee:ee:ee:ee"},
            {"name": "eth0", "sandbox": "/run/netns/blue", "mtu": 1450},
            {"name": "net1", "sandbox": "/run/netns/blue"},
        ],
        "ips": [
            {"interface": 2, "address": "10.0.0.7/32"},
            {"interface": 3, "address": "192.0.2.7/24"},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
    });
    let request = check(previous.clone(), Role::Network).expect("valid");
    let names: Vec<_> = request.interfaces.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["cali0123456789a", "eth0"]);
    assert_eq!(request.ips.len(), 1);
    assert_eq!(request.ips[0].address, "10.0.0.7/32");
    // They may be the other plugin's.
    assert_eq!(request.routes, []);
    let mut alone = previous;
    alone["ips"].as_array_mut().expect("a list").truncate(1);
    assert_eq!(check(alone, Role::Network).expect("valid").routes.len(), 1);
}

#[test]
fn for_addresses_only_every_address_is_checked() {
    let previous = json!({"ips": [{"interface": 1, "address": "10.0.0.7/24"}]});
    let request = check(previous, Role::Ipam).expect("valid");
    assert_eq!((request.interfaces.len(), request.ips.len(), request.routes.len()), (0, 1, 0));
}

#[test]
fn a_check_without_our_part_of_a_result_is_refused() {
    assert_eq!(check(Value::Null, Role::Network).expect_err("refused").code, Code::InvalidConfig);
    let error = check(json!({"interfaces": [{"name": "eth0"}]}), Role::Network);
    assert_eq!(error.expect_err("refused").code, Code::Differs);
}

#[test]
fn an_answer_with_nonsense_is_no_result() {
    let ip = |address: &str, gateway: &str| AddWorkloadResponse {
        ips: vec![WorkloadIp {
            address: address.into(),
            gateway: gateway.into(),
            interface: Some(1),
        }],
        ..AddWorkloadResponse::default()
    };
    assert!(result(&ip("10.0.0.1/32", "")).is_ok());
    assert_eq!(result(&ip("10.0.0.1", "")).expect_err("refused").code, Code::Daemon);
    assert_eq!(result(&ip("10.0.0.1/32", "x")).expect_err("refused").code, Code::Daemon);
}
